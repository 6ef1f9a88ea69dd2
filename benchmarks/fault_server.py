"""Commands of earzip with faults of the file system: forks of one process that has loaded torch.

The process (`python -m benchmarks.fault_server FOLDER`) has faults.c loaded by LD_PRELOAD. A fork arms it
and becomes the command, which costs a hundredth of a process of its own.
"""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Self

HERE = Path(__file__).parent
MODELS = HERE.parent / "tests" / "data" / "models"
HUNG = -int(signal.SIGALRM)
"""The exit code of a command that had to be killed."""
_MODES = {"fail": 0, "short": 1, "kill": 2}
_HANGS_S = 120.0


@dataclass(frozen=True)
class Fault:
    """The call number ``nth`` about a path below the case's folder that goes wrong; 0: none does.

    ``lasting``: and all after it. ``refused``: calls that the file system does not have; "twin": its
    locks are no hindrance. ``folding``: a folder in which upper and lower case are the same.
    """

    call: str = "any"
    error: str = "EIO"
    nth: int = 0
    mode: str = "fail"
    lasting: bool = False
    refused: tuple[str, ...] = ()
    folding: str = ""


@dataclass(frozen=True)
class Ended:
    """What a command has left: its exit code, or minus the signal that ended it."""

    exit_code: int
    seen: int
    stdout: str
    stderr: str


class FaultServer:
    """Runs commands of earzip with faults in forks of one process, which has loaded torch.

    A context manager. ``folder`` is for the library and what commands print.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._library = build_library(folder)

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.fault_server", str(self._folder)],
            cwd=HERE.parent,
            env=os.environ
            | {
                "LD_PRELOAD": str(self._library),
                "EARZIP_MODELS": str(MODELS),
                "XDG_CONFIG_HOME": str(self._folder / "config"),
                "XDG_STATE_HOME": str(self._folder / "state"),
                "OMP_NUM_THREADS": "1",
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def run(self, command: Sequence[object], under: Path, fault: Fault | None = None) -> Ended:
        """Run ``earzip`` with these arguments to its end."""
        return self.run_at_once([command], under, fault)[0]

    def run_at_once(
        self, commands: Sequence[Sequence[object]], under: Path, fault: Fault | None = None
    ) -> list[Ended]:
        """Run several commands beside each other, all with the same fault; return how each ended."""
        asked = {
            "commands": [list(map(str, command)) for command in commands],
            "under": str(under),
            "fault": asdict(fault or Fault()),
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        self._process.stdin.flush()
        return [Ended(**each) for each in json.loads(self._process.stdout.readline())]


def build_library(folder: Path) -> Path:
    """Compile faults.c; return the library."""
    library = folder / "faults.so"
    source = str(HERE / "faults.c")
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-O1", "-o", str(library), source, "-ldl"], check=True
    )
    return library


def _serve(folder: Path) -> None:
    """Answer the questions of a `FaultServer` until its end of the pipe is closed."""
    for name in _LOADED:  # before the forks, which have it then
        import_module(name)
    library = ctypes.CDLL(None)
    counter = mmap.mmap(-1, 8)
    for line in sys.stdin:
        asked = json.loads(line)
        fault = Fault(**asked["fault"])
        counter[:8] = bytes(8)
        started = []
        for i, command in enumerate(asked["commands"]):
            pid = os.fork()
            if not pid:
                _be_earzip(library, counter, command, asked["under"], fault, folder / f"{i}")
            started.append((i, pid))
        ended = []
        for i, pid in started:
            code = _wait(pid)
            texts = [(folder / f"{i}.{name}").read_text(errors="replace") for name in _STREAMS]
            ended.append(asdict(Ended(code, struct.unpack("<q", counter[:8])[0], *texts)))
        print(json.dumps(ended), flush=True)


_STREAMS = ("out", "err")
_LOADED = [
    *(
        f"earzip.cli.{name}"
        for name in ("compress", "restore", "verify", "info", "latents", "report")
    ),
    *("earzip.transcode.compress", "earzip.transcode.restore", "earzip.coding.codec"),
]


def _be_earzip(
    library: ctypes.CDLL,
    counter: mmap.mmap,
    command: Sequence[str],
    under: str,
    fault: Fault,
    prefix: Path,
) -> None:
    """Become the command, in a fork."""
    from earzip.cli.main import main  # noqa: PLC0415

    code: Any = 1
    try:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, name in enumerate(_STREAMS, 1):
            path = prefix.with_suffix(f".{name}")
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666), number)
        sys.argv = ["earzip", *command]
        address = ctypes.addressof(ctypes.c_char.from_buffer(counter))
        library.faults_refuse(f",{','.join(fault.refused)},".encode())
        library.faults_fold(fault.folding.encode())
        library.faults_arm(
            fault.call.encode(),
            under.encode(),
            getattr(errno, fault.error),
            ctypes.c_long(fault.nth),
            _MODES[fault.mode],
            int(fault.lasting),
            ctypes.c_void_p(address),
        )
        main()
    except SystemExit as end:
        code = end.code
    except BaseException:  # as Python itself would
        sys.excepthook(*sys.exc_info())
    finally:
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


def _wait(pid: int) -> int:
    until = time.monotonic() + _HANGS_S
    while time.monotonic() < until:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return HUNG


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
