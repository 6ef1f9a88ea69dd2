"""docs/reference.md has every command, option, error and exit code, docs/python.md every public name."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click
import pytest

import earzip
from earzip import errors
from earzip.cli.help import EXIT_CODES
from earzip.cli.main import cli
from tests.docs.pages import ROOT

PAGE = ROOT / "docs" / "reference.md"
pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="not in a checkout")


def _leaves(group: click.Group, prefix: str = "earzip") -> Iterator[tuple[str, click.Command]]:
    ctx = click.Context(group)
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from _leaves(command, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}", command


COMMANDS = dict(_leaves(cli))


def _section(title: str) -> str:
    """Return the text under the heading ``title``, of whatever level."""
    found = re.search(
        rf"^(#+) {re.escape(title)}\n(.*?)(?=^#{{1,3}} |\Z)", PAGE.read_text(), re.M | re.S
    )
    assert found, f"there is no heading {title!r}"
    return found[2]


def _options(command: click.Command) -> set[str]:
    return {
        name
        for parameter in command.params
        if isinstance(parameter, click.Option) and not parameter.hidden
        for name in (*parameter.opts, *parameter.secondary_opts)
    }


def test_every_command_has_a_section_and_no_other():
    headings = re.findall(r"^### (earzip .+)$", PAGE.read_text(), re.MULTILINE)
    assert set(headings) == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_section_has_the_options_of_its_command_and_no_other(name):
    described = set(re.findall(r"`(--?[a-z][a-z0-9-]*)", _section(name)))
    assert described == _options(COMMANDS[name]), name


def test_the_shared_options_are_those_that_sections_name():
    shared = set(re.findall(r"^\| `(--[a-z-]+)", _section("Shared options"), re.MULTILINE))
    named = {
        option
        for name in COMMANDS
        for line in re.findall(r"^Shared: .*?(?=\n\n|\Z)", _section(name), re.M | re.S)
        for option in re.findall(r"`(--[a-z-]+)`", line)
    }
    assert shared == named


def test_exit_codes_are_those_of_the_help():
    said = re.findall(r"^  (\d+) +(.+)$", EXIT_CODES, re.MULTILINE)
    rows = dict(re.findall(r"^\| (\d+) \| (.+) \|$", _section("Exit codes"), re.MULTILINE))
    assert set(rows) == {code for code, _ in said}


def test_every_public_name_is_there():
    api, tree = (ROOT / "docs" / "python.md").read_text(), _section("Errors")
    for name in earzip.__all__:
        assert re.search(rf"`{re.escape(name)}\b|── {name} |^{name} ", api + tree, re.M), name


def test_the_tree_of_errors_is_that_of_the_code():
    drawn = dict(re.findall(r"^[│├└─ ]*(\w+Error) +(\d+) ", _section("Errors"), re.MULTILINE))
    classes = {
        name: str(int(error.exit_code))
        for name, error in vars(errors).items()
        if isinstance(error, type) and issubclass(error, errors.EarzipError)
    }
    assert drawn == classes
