"""``earzip restore -o -`` in processes of its own: sound leaves while later sound is decoded."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import soundfile

from tests.cli.conftest import write_sound
from tests.earzip.tiny_archives import damage_segment
from tests.formats.audio.audio_files import needs_ffmpeg, needs_flac

pytestmark = pytest.mark.usefixtures("tiny_model")

RESTORE = [sys.executable, "-m", "earzip", "restore", "-o", "-", "--threads", "1"]
KINDS = ["flac", "wav"]
SECONDS = 10


@pytest.fixture
def long_archive(earzip, tmp_path: Path) -> Path:
    """Return an archive of more sound than a pipe holds."""
    song = write_sound(tmp_path / "song.wav", SECONDS)
    earzip("compress", "--model", "tiny", song, "-o", tmp_path)
    return tmp_path / "song.wav.earz"


@contextmanager
def restoring(*arguments: object, **options: object) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [*RESTORE, *map(str, arguments)],
        bufsize=0,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,  # type: ignore[call-overload]
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def restored(*arguments: object, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [*RESTORE, *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, check=False)


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_block_is_read_before_the_rest_is_made(long_archive, tmp_path, kind):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environment = os.environ | {"TMPDIR": str(temporary)}
    with restoring(long_archive, "--format", kind, env=environment) as process:
        assert process.stdout
        first = process.stdout.read(4096)
        assert first[:4] == {"flac": b"fLaC", "wav": b"RIFF"}[kind]
        assert process.poll() is None
        # No more is made than the pipe takes, and none of it lies in a file.
        time.sleep(0.5)
        assert sum(p.stat().st_size for p in temporary.rglob("*") if p.is_file()) < 1000
        rest, errors = process.communicate()
    assert process.returncode == 0
    assert errors.splitlines()[0] == b"written     standard output (0:10)"
    assert soundfile.info(io.BytesIO(first + rest)).frames == SECONDS * 44_100


@pytest.mark.parametrize("kind", KINDS)
def test_late_damage_ends_a_stream_early_and_says_where(long_archive, kind):
    damage_segment(long_archive, 25)
    run = restored(long_archive, "--format", kind)
    assert run.returncode == 3
    assert len(run.stdout) > 100_000
    failed, summary = run.stderr.decode().splitlines()
    assert failed.startswith(f"earzip: failed: {long_archive}: 0:09.")
    assert failed.endswith(
        "of 0:10.00 were sent; --keep-going restores the rest, with silence there"
    )
    assert summary.startswith("1 failed")
    assert "written" not in failed + summary
    going_on = restored(long_archive, "--format", kind, "--keep-going")
    assert going_on.returncode == 3
    assert going_on.stderr.startswith(b"incomplete  standard output")
    assert soundfile.info(io.BytesIO(going_on.stdout)).frames == SECONDS * 44_100


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("kind", KINDS)
def test_a_full_device_ends_the_run_and_nothing_is_called_written(long_archive, kind):
    with Path("/dev/full").open("wb") as full:
        command = [*RESTORE, long_archive, "--format", kind]
        run = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (run.returncode, run.stderr) == (
        1,
        "earzip: cannot write to standard output: No space left on device\n",
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_reader_that_leaves_ends_the_run_quietly(long_archive, kind):
    with restoring(long_archive, "--format", kind) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.read(1000)
        process.stdout.close()
        assert process.wait(timeout=60) == 1
        assert process.stderr.read() == b""


def test_a_signal_ends_a_run_whose_reader_takes_nothing(long_archive):
    with restoring(long_archive, "--grace", "0") as process:
        assert process.stdout
        assert process.stderr
        process.stdout.read(1000)
        time.sleep(0.5)  # the pipe is full now
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 75
        errors = process.stderr.read()
    assert errors.endswith(b"earzip: stopped with 1 file left; run again to continue\n")
    assert b"written" not in errors


@needs_ffmpeg
@needs_flac
@pytest.mark.parametrize("kind", KINDS)
def test_other_programs_read_from_the_pipe(long_archive, kind):
    readers = {"ffmpeg -v error -i pipe: -f s24le -": b""}
    if kind == "flac":
        no_md5 = b"-: WARNING, cannot check MD5 signature since it was unset in the STREAMINFO\n"
        raw = "--force-raw-format --endian=little --sign=signed"
        readers[f"flac --silent --decode {raw} --stdout -"] = no_md5
    target = long_archive.with_name(f"x.{kind}")
    subprocess.run([*RESTORE, long_archive, "-o", target, "--format", kind], check=True)
    sound = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", target, "-f", "s24le", "-"], stdout=-1, check=True
    ).stdout
    for command, errors in readers.items():
        with restoring(long_archive, "--format", kind) as process:
            run = subprocess.run(
                command.split(), stdin=process.stdout, capture_output=True, check=True
            )
            assert process.wait(timeout=30) == 0
        assert (run.stdout == sound, run.stderr) == (True, errors)


def test_an_archive_goes_through_from_pipe_to_pipe(long_archive):
    run = restored("-", "--format", "wav", stdin=long_archive.read_bytes())
    assert run.returncode == 0
    assert soundfile.info(io.BytesIO(run.stdout)).frames == SECONDS * 44_100


def test_a_file_that_is_redirected_to_takes_the_stream_at_its_end(long_archive, tmp_path):
    target = tmp_path / "x.wav"
    target.write_bytes(b"before")
    with target.open("ab") as file:
        command = [*RESTORE, long_archive, "--format", "wav", "--end", "1"]
        subprocess.run(command, stdout=file, stderr=subprocess.PIPE, check=True)
    assert target.read_bytes().startswith(b"beforeRIFF")
    assert soundfile.info(io.BytesIO(target.read_bytes()[6:])).frames == 44_100
