"""The command ``earzip``: the one place where an EarzipError becomes text and an exit code."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import click

from earzip.cli.config import apply_config
from earzip.cli.help import EXIT_CODES
from earzip.cli.streams import complain, echo, open_null, printable
from earzip.cli.values import NamedPath
from earzip.errors import EarzipError, ExitCode
from earzip.runtime import keep_what_is_loaded, what_is_lacking

PROGRAM = "earzip"
_COMMANDS = {  # in the order of a user's work; as the commands say it, so that the help loads none
    "compress": "Compress audio files.",
    "restore": "Restore archives to sound files.",
    "play": "Listen to archives.",
    "status": "Compare sources with their archives.",
    "verify": "Check archives for damage.",
    "protect": "Make recovery data of archives, with par2.",
    "repair": "Repair archives with their recovery data.",
    "info": "Show the contents of archives.",
    "list": "List archived tracks, a line each.",
    "latents": "Extract latents for training.",
    "decode-latents": "Decode latents to sound files.",
    "evaluate": "Measure restored files against their originals.",
    "report": "One HTML page about archives.",
    "models": "List, check, fetch, import, calibrate, measure and export models.",
    "devices": "List what the network can run on, and what fits.",
    "train": "Train models: prepare music, then run a configuration on it.",
    "completion": "Print a shell completion script.",
}


class LazyGroup(click.Group):
    """Imports a command's module when it is used; ends with earzip's exit codes.

    The module ``earzip.cli.NAME`` holds the command NAME, with ``_`` for ``-``. Commands return their
    exit code.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names of the commands."""
        return list(_COMMANDS)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write what each command is for."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Return the command of that name, or None."""
        if cmd_name not in _COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        command: click.Command = getattr(import_module(f"earzip.cli.{name}"), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that is called. Raises UsageError, with the name that may be meant."""
        name = args[0]
        is_known = self.get_command(ctx, name) is not None
        meant = [] if is_known else get_close_matches(name, self.list_commands(ctx), 1)
        if meant and not ctx.resilient_parsing:
            raise click.UsageError(f"No such command {name!r}; did you mean {meant[0]}?", ctx)
        return super().resolve_command(ctx, args)

    def main(  # type: ignore[override]  # always ends the process
        self, args: Sequence[str] | None = None, **_extra: Any
    ) -> NoReturn:
        """Run the command line ``args`` (default: this process's) and exit."""
        for stream in (sys.stdout, sys.stderr):
            # File names may have bytes that are not text, and terminals may lack characters.
            getattr(stream, "reconfigure", lambda **_: None)(errors="backslashreplace")
        code = self._run(args)
        _discard_what_cannot_be_written()
        sys.exit(int(code))

    def _run(self, args: Sequence[str] | None) -> int:
        try:
            code: int | None = super().main(args, prog_name=PROGRAM, standalone_mode=False)
            return code or ExitCode.OK
        except click.ClickException as error:
            if isinstance(error, click.NoSuchOption) and error.option_name == "--config":
                place = "--config stands before the command: earzip --config FILE COMMAND"
                error = click.UsageError(place, error.ctx)
            error.show()
            return error.exit_code
        except click.Abort:  # Ctrl-C outside a run over files
            echo(f"{PROGRAM}: stopped", err=True)
            return ExitCode.STOPPED
        except EarzipError as error:
            complain(error)
            # An error of one file among others is worth 3; one that ends the command is fatal.
            some_failed = error.exit_code == ExitCode.SOME_FAILED
            return ExitCode.FATAL if some_failed else error.exit_code
        except OSError as error:
            text = what_is_lacking(error) or f"{_what_failed(error)}: {error.strerror or error}"
            echo(f"{PROGRAM}: {text}", err=True)
        except Exception as error:
            lacking = what_is_lacking(error)
            if lacking is None:
                raise
            echo(f"{PROGRAM}: {lacking}", err=True)
        return ExitCode.FATAL


def _what_failed(error: OSError) -> str:
    # Errors of files are EarzipErrors, or name their file; others are of a stream, or of a library.
    if error.errno is None:
        return "a library cannot be loaded"
    if error.filename is None:
        return "cannot write the output"
    return f"{printable(os.fsdecode(error.filename))}: cannot be read or written"


def _discard_what_cannot_be_written() -> None:
    """Keep Python, which flushes once more as it ends, from complaining a second time."""
    for stream in (sys.stdout, sys.stderr):
        if stream is None:  # it was closed when the process began
            continue
        try:
            stream.flush()
        except OSError:
            os.dup2(open_null(), stream.fileno())


@click.group(
    cls=LazyGroup,
    epilog=EXIT_CODES,
    # Of the commands below it too.
    context_settings={"max_content_width": 100, "help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="earzip", prog_name=PROGRAM, message="%(prog)s %(version)s")
@click.option(
    "--config",
    type=NamedPath(dir_okay=False, path_type=Path),
    help="Read defaults of options from this TOML file.  "
    "[default: $XDG_CONFIG_HOME/earzip/config.toml]",
)
@click.pass_context
def cli(ctx: click.Context, config: Path | None) -> None:
    """Archive music in about a hundredth of the size of WAV, and restore it as FLAC or WAV.

    Compression is lossy: keep your masters. Tags and pictures are kept unchanged.
    """
    apply_config(ctx, config)


def _fill_closed_streams() -> None:
    """Open the null device where a stream is closed, or a file would get its number, and what is said."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # It gets the lowest free number. For the processes of a run too.
            os.set_inheritable(open_null(), True)


def _require_working_directory() -> None:
    """End the process if its working directory was removed: no relative path has a meaning then."""
    try:
        os.getcwd()  # noqa: PTH109  # whether it works is all that is asked
    except OSError as error:
        reason = f"the working directory cannot be used: {error.strerror}; change to another"
        echo(f"{PROGRAM}: {reason}", err=True)
        sys.exit(int(ExitCode.FATAL))


def main() -> NoReturn:
    """Run the command line of this process."""
    _fill_closed_streams()
    _require_working_directory()
    # Outside a run over files these end the process like Ctrl-C: temporaries are removed.
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.default_int_handler)
    keep_what_is_loaded()
    cli.main()
