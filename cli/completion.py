"""``earzip completion``: the script that teaches a shell earzip's commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

_COMPLETE_VARIABLE = "_EARZIP_COMPLETE"  # the name that click derives from the program's


# Not the docstring: click wants a real backspace before lines that it must not join.
_HELP = """Print the completion script for a shell.

\b
bash, in ~/.bashrc:  eval "$(earzip completion bash)"
zsh, in ~/.zshrc:    eval "$(earzip completion zsh)"
fish, once:          earzip completion fish > ~/.config/fish/completions/earzip.fish
"""


@click.command(help=_HELP, short_help="Print a shell completion script.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script for ``shell``."""
    script = get_completion_class(shell)
    assert script is not None
    root = ctx.find_root()
    assert root.info_name is not None
    click.echo(script(root.command, {}, root.info_name, _COMPLETE_VARIABLE).source())
