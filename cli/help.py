"""How the help of a command is laid out: options in sections, and the exit codes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

EXIT_CODES = """\b
Exit codes (the most severe wins):
  0    all done
  1    fatal error
  2    wrong command line
  3    finished, but some files failed
  4    an archive is damaged
  75   stopped early or locked: run again to continue
  130  interrupted twice
"""

_SECTIONS = {
    "Quality": ("quality", "bitrate", "model", "check", "min_si_sdr", "max_mel", "below_floor"),
    "Input and output": (
        "output", "exclude", "include", "files_from", "where", "container", "form", "dtype",
        "samples_per_shard", "bits", "no_dither", "start", "end", "split", "as_source", "player",
        "copy_other", "with_model", "pictures", "fit_pictures", "truncated", "verify_sources",
        "decode", "subset", "older_than_s", "align", "redundancy", "as_json",
    ),
    "Run": ("force", "prune", "yes", "dry_run", "keep_going", "max_failures", "verbose", "quiet"),
    "Hardware": ("device", "precision", "threads", "batch_size", "processes"),
    "Scheduling": ("engine", "gpus_per_process", "shard", "no_lock", "grace_s", "metrics"),
}  # fmt: skip


class SectionedCommand(click.Command):
    """A command whose help lists its options in sections."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options."""
        rows = {
            parameter.name: row
            for parameter in self.get_params(ctx)
            if isinstance(parameter, click.Option) and (row := parameter.get_help_record(ctx))
        }
        for title, names in _SECTIONS.items():
            if section := [rows.pop(name) for name in names if name in rows]:
                with formatter.section(title):
                    formatter.write_dl(section)
        with formatter.section("Other"):
            formatter.write_dl(list(rows.values()))


def sectioned_command(short_help: str) -> Callable[[Callable[..., Any]], SectionedCommand]:
    """Return a decorator that makes a function such a command, whose help ends with the exit codes."""
    return click.command(cls=SectionedCommand, epilog=EXIT_CODES, short_help=short_help)
