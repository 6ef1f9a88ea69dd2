"""The group: help, laziness, errors and their exit codes."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import click
import pytest

from earzip.cli.main import cli
from earzip.errors import LockedError, ModelNotFoundError
from tests.cli.conftest import write_sound
from tests.formats.archive.samples import sample_header, write_sample

COMMANDS = [
    "compress", "restore", "verify", "info", "list", "latents", "evaluate", "report", "models",
    "completion",
]  # fmt: skip


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("arguments", "modules"),
    [
        (["--help"], ["torch", "soundfile", "numpy", "tqdm"]),
        (["compress", "--help"], ["torch", "soundfile", "numpy", "tqdm"]),
        (["evaluate", "--help"], ["torch", "soundfile", "numpy", "tqdm"]),
        (["models", "list"], ["torch", "soundfile", "numpy", "tqdm"]),
        (["compress", "--dry-run", "."], ["torch", "tqdm"]),
        (["info", "."], ["torch", "tqdm"]),
        (["verify", "."], ["torch", "tqdm"]),
        (["list", "."], ["torch", "tqdm"]),
    ],
)
def test_commands_load_only_what_they_need(tmp_path, arguments, modules):
    (tmp_path / "x.earz").write_bytes(b"no archive")
    (tmp_path / "x.flac").write_bytes(b"no sound")
    program = (
        "import sys; from earzip.cli.main import cli\n"
        f"try: cli.main({arguments})\n"
        f"except SystemExit: sys.exit(' '.join(m for m in {modules} if m in sys.modules) or 0)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [
        (["restore", ".", "-o", "out"], 3),
        (["restore", "x.earz", "-o", "x.wav", "--devices", "cpu"], 3),
        (["verify", "--decode", "."], 3),
        (["compress", "x.flac", "--model", "ear-vae-44k"], 1),
        (["latents", "x.earz"], 0),
    ],
)
def test_an_absent_model_is_told_without_torch(tmp_path, arguments, exit_code):
    """Which takes a second to load; so does the library of the hub that models are fetched from."""
    header = sample_header()
    write_sample(tmp_path / "x.earz", replace(header, model=replace(header.model, name="mine")))
    (tmp_path / "x.flac").write_bytes(b"no sound")
    program = (
        "import sys; from earzip.cli.main import cli\n"
        f"try: cli.main({arguments})\n"
        "except SystemExit as end: code = end.code\n"
        "print([code, *(m for m in ('torch', 'huggingface_hub') if m in sys.modules)])"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert run.stdout.splitlines()[-1] == f"[{exit_code}]"
    if exit_code:
        assert "EARZIP_MODELS" in run.stderr


@pytest.mark.smoke
def test_a_run_on_a_cpu_loads_no_accelerate_and_ends_without_looking_for_garbage(
    tmp_path, tiny_model
):
    for name in ("a.wav", "b.wav"):
        write_sound(tmp_path / name)
    program = (
        "import atexit, gc, sys; from earzip.cli.main import main\n"
        "def seen():\n"
        "    loaded = [name for name in ('torch', 'accelerate') if name in sys.modules]\n"
        "    print(*loaded, gc.get_freeze_count() > 100_000)\n"
        "atexit.register(seen)\n"
        "main()"
    )
    command = [sys.executable, "-c", program, "compress", ".", "--model", tiny_model]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "2 written" in run.stderr
    assert run.stdout.splitlines()[-1] == "torch True"


def test_the_help_says_of_each_command_what_it_says_itself():
    from earzip.cli.main import _COMMANDS, cli  # noqa: PLC0415

    for name, told in _COMMANDS.items():
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        assert command.get_short_help_str(limit=100) == told


@pytest.mark.parametrize("command", ["", *COMMANDS[:8], "models verify"])
def test_help_states_the_exit_codes(earzip, command):
    help_text = earzip(*command.split(), "--help").stdout
    for code in (0, 1, 2, 3, 4, 75, 130):
        assert re.search(rf"^ +{code} {{2,}}\w", help_text, re.MULTILINE), code


@pytest.mark.parametrize("command", ["", *COMMANDS, "models list", "models verify"])
def test_help_fits_a_terminal_of_80_columns(earzip, command):
    lines = earzip(*command.split(), "--help").stdout.splitlines()
    # The fish line of `completion` is a command to copy: it cannot be broken.
    assert [line for line in lines if len(line) > 80 and ".fish" not in line] == []


@pytest.mark.parametrize("command", ["", *COMMANDS, "status", "models import", "train run"])
def test_help_has_a_short_name(earzip, command):
    short = earzip(*command.split(), "-h")
    assert (short.exit_code, short.stdout) == (0, earzip(*command.split(), "--help").stdout)
    assert "-h, --help" in short.stdout


def test_the_version_is_told(earzip):
    assert re.fullmatch(r"earzip \d+\.\d+\.\d+\S*\n", earzip("--version").stdout)


@pytest.mark.parametrize("arguments", [["nonsense"], ["compress"], ["compress", "--nonsense", "x"]])
def test_a_wrong_command_line_ends_with_2(earzip, arguments):
    outcome = earzip(*arguments)
    assert outcome.exit_code == 2
    assert "Usage: earzip" in outcome.stderr
    assert not outcome.stdout


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [(ModelNotFoundError("no such model"), 1), (LockedError("busy", "a\n.earz"), 75)],
)
def test_an_earzip_error_is_one_line_and_its_exit_code(earzip, monkeypatch, error, exit_code):
    @click.command()
    def failing() -> None:
        raise error

    monkeypatch.setattr(type(cli), "get_command", lambda self, ctx, name: failing)
    outcome = earzip("info")
    assert outcome.exit_code == exit_code
    assert outcome.stderr == f"earzip: {error}\n".replace("a\n", "a\\n")


def test_an_interrupt_outside_of_a_run_asks_to_run_again(earzip, monkeypatch):
    @click.command()
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(type(cli), "get_command", lambda self, ctx, name: interrupted)
    assert earzip("info").exit_code == 75


def test_a_bug_keeps_its_traceback(earzip, monkeypatch):
    @click.command()
    def broken() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(type(cli), "get_command", lambda self, ctx, name: broken)
    with pytest.raises(ZeroDivisionError):
        earzip("info")


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_names_that_are_no_text_are_printed_all_the_same(tmp_path, encoding):
    folder = os.fsencode(tmp_path)
    with open(folder + b"/\xff\xe4\n\x1b[31m.flac", "wb"):  # noqa: PTH123  # a name in bytes
        pass
    for arguments in (["--json"], []):
        run = subprocess.run(
            [sys.executable, "-m", "earzip", "compress", "--dry-run", ".", *arguments],
            cwd=tmp_path,
            capture_output=True,
            check=True,
            env={**os.environ, "PYTHONIOENCODING": encoding, "XDG_CONFIG_HOME": str(tmp_path)},
        )
        assert b"planned" in run.stdout
        assert b"\x1b" not in run.stdout
        assert len(run.stdout.splitlines()) == (2 if arguments else 1)


def test_output_into_a_closed_pipe_ends_quietly(tmp_path):
    for i in range(2000):
        (tmp_path / f"{i:0100}.flac").touch()
    command = f"{sys.executable} -m earzip compress --dry-run {tmp_path} | head -1"
    run = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert "Traceback" not in run.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    "arguments",
    ["compress --dry-run .", "compress --dry-run --json .", "--help", "models list", "info x.earz"],
)
def test_output_that_cannot_be_written_is_one_line_and_1(tmp_path, arguments, unbuffered):
    for i in range(200):
        (tmp_path / f"{i:0100}.flac").touch()
    write_sample(tmp_path / "x.earz")
    run = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m earzip {arguments} > /dev/full"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )  # fmt: skip
    assert run.returncode == 1
    assert run.stderr == "earzip: cannot write the output: No space left on device\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_names_the_program(earzip, shell):
    outcome = earzip("completion", shell)
    assert outcome.exit_code == 0
    assert "_EARZIP_COMPLETE" in outcome.stdout


def test_a_command_that_is_misspelt_is_told_with_the_one_that_may_be_meant(earzip):
    outcome = earzip("verif", "x.earz")
    assert outcome.exit_code == 2
    assert "No such command 'verif'; did you mean verify?" in outcome.stderr
    assert "did you mean" not in earzip("xyz").stderr


def test_the_place_of_the_configuration_is_told(earzip, tmp_path):
    outcome = earzip("compress", "--config", tmp_path / "config.toml", tmp_path)
    assert outcome.exit_code == 2
    place = "Error: --config stands before the command: earzip --config FILE COMMAND\n"
    assert place in outcome.stderr
    assert place not in earzip("compress", "--configs", tmp_path).stderr


def test_bash_completes_commands_and_options():
    program = str(Path(sys.executable).with_name("earzip"))
    script = (
        f'PATH="{Path(program).parent}:$PATH"; eval "$(earzip completion bash)"\n'
        "COMP_WORDS=(earzip restore --for); COMP_CWORD=2\n"
        '_earzip_completion earzip; echo "${COMPREPLY[@]}"'
    )
    run = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["--format", "--force"]


def test_a_working_directory_that_was_removed_is_told(tmp_path):
    (tmp_path / "gone").mkdir()
    command = f"cd gone && rmdir ../gone && exec {sys.executable} -m earzip info {tmp_path}"
    run = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    what = "the working directory cannot be used: No such file or directory; change to another"
    assert run.stderr == f"earzip: {what}\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a file system")
@pytest.mark.parametrize("closed", ["", ">&-", ">&- 2>&-"])
def test_no_devices_are_needed(tmp_path, closed):
    write_sample(tmp_path / "x.earz")
    verify = f"{sys.executable} -m earzip verify {tmp_path} {closed}"
    command = f"mount -t tmpfs none /dev && exec {verify}"
    run = subprocess.run(
        ["unshare", "-m", "sh", "-c", command], capture_output=True, text=True, check=False
    )
    if "unshare" in run.stderr or "mount" in run.stderr:
        pytest.skip("no file system may be mounted here")
    assert run.returncode == 0
    assert "Traceback" not in run.stderr


def test_an_error_of_a_file_that_nothing_has_named_is_one_line(earzip, monkeypatch):
    @click.command()
    def failing() -> None:
        raise OSError(errno.EIO, "Input/output error", "a\n.earz")

    monkeypatch.setattr(type(cli), "get_command", lambda self, ctx, name: failing)
    outcome = earzip("info")
    assert outcome.exit_code == 1
    assert outcome.stderr == "earzip: a\\n.earz: cannot be read or written: Input/output error\n"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError(), "needs more memory"),
        (OSError("cannot load library 'libx.so'"), "a library cannot be loaded: cannot load lib"),
        (ImportError("libtorch.so: failed to map segment from shared object"), "needs more memory"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"),
            "needs more memory",
        ),
        (RuntimeError("can't start new thread"), "no thread can be started"),
        (RuntimeError("Unable to open /dev/urandom"), "PyTorch needs /dev/urandom"),
    ],
)
def test_what_the_system_has_too_little_of_is_told_in_one_line(earzip, monkeypatch, error, message):
    @click.command()
    def failing() -> None:
        raise error

    monkeypatch.setattr(type(cli), "get_command", lambda self, ctx, name: failing)
    outcome = earzip("info")
    assert outcome.exit_code == 1
    assert outcome.stderr.startswith(f"earzip: {message}")
    assert outcome.stderr.count("\n") == 1
