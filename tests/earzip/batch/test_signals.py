"""The first signal asks a run to end, the second ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from earzip.batch.signals import StopSignal


def test_the_second_signal_ends_the_process_at_once():
    hang = "import time; from earzip.batch.signals import StopSignal\n"
    hang += "with StopSignal(): print('ready', flush=True); [time.sleep(0.05) for _ in range(999)]"
    process = subprocess.Popen([sys.executable, "-c", hang], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)  # what Slurm does, and means the same
    time.sleep(1.2)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=10) == 130
    process.stdout.close()


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with StopSignal() as stop:
            os.kill(os.getpid(), signal.SIGINT)
            assert not stop.requested
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_lost_terminal_stops_nothing():
    before = signal.getsignal(signal.SIGHUP)
    with StopSignal() as stop:
        os.kill(os.getpid(), signal.SIGHUP)
        assert not stop.requested
        # Ignored there too: processes of a run belong to the same terminal.
        ask = "import signal as s; print(s.getsignal(s.SIGHUP) == s.SIG_IGN)"
        child = subprocess.run([sys.executable, "-c", ask], check=True, capture_output=True)
        assert child.stdout == b"True\n"
    assert signal.getsignal(signal.SIGHUP) == before
