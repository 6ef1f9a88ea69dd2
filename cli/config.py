"""The configuration file: defaults of options, a TOML table for each command.

    [compress]
    output = "/mnt/archive"
    quality = "high"

Keys are the long names of options. `apply_config` gives them to click, which puts the command line
above them.
"""

from __future__ import annotations

import os
import stat
import tomllib
from pathlib import Path
from typing import Any

import click

from earzip.errors import UsageError


def default_config_path() -> Path | None:
    """Return where the configuration is looked for if the command line does not say.

    None for a user without a home.
    """
    try:
        folder = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    except RuntimeError:
        return None
    return Path(folder, "earzip", "config.toml")


def apply_config(ctx: click.Context, path: Path | None) -> None:
    """Make the values of the file at ``path`` the defaults of the commands under ``ctx``.

    The default file may be missing, a named one may not. Raises `UsageError`, naming the file and
    the key, for everything that is not an option of a command or not a value of it.
    """
    named = path is not None
    path = path or default_config_path()
    if path is None:
        return
    try:
        tables = tomllib.loads(_read(path).decode())
    except FileNotFoundError as error:
        if named:
            raise UsageError("the configuration file does not exist", path) from error
        return
    except OSError as error:
        raise UsageError(f"cannot read: {error.strerror or error}", path) from error
    except RecursionError as error:
        raise UsageError(
            "is not a configuration: its values are nested too deeply", path
        ) from error
    except (
        ValueError
    ) as error:  # of tomllib, of bytes that are no UTF-8, of a number of 5,000 digits
        raise UsageError(f"is not valid TOML: {error}", path) from error
    assert isinstance(ctx.command, click.Group)
    defaults = _commands(ctx, ctx.command, tables, path, "")
    defaults["status"] = _of_compress(defaults.get("status", {}), defaults.get("compress", {}))
    ctx.default_map = defaults


_SHARED_WITH_STATUS = {
    "output",
    "quality",
    "bitrate",
    "model",
    "pictures",
    "fit_pictures",
    "exclude",
    "include",
}


def _of_compress(status: dict[str, Any], compress: dict[str, Any]) -> dict[str, Any]:
    """Return the defaults of `status`, which compares with what `compress` would do by its own."""
    taken = {name: value for name, value in compress.items() if name in _SHARED_WITH_STATUS}
    if "quality" in status:  # a bitrate would take its place
        taken.pop("bitrate", None)
    return taken | status


def _read(path: Path) -> bytes:
    """Return the bytes of a file. Raises OSError, or UsageError for a pipe, which may wait for ever."""
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        if stat.S_ISFIFO(os.fstat(file.fileno()).st_mode):
            raise UsageError("is a pipe; expected a file", path)
        return file.read()


def _commands(
    ctx: click.Context, group: click.Group, tables: dict[str, Any], path: Path, prefix: str
) -> dict[str, Any]:
    defaults: dict[str, Any] = {}
    for name, table in tables.items():
        command = group.get_command(ctx, name)
        if command is None:
            names = ", ".join(prefix + known for known in group.list_commands(ctx))
            raise UsageError(f"{prefix}{name} is not a command; expected one of {names}", path)
        if not isinstance(table, dict):
            raise UsageError(f"{prefix}{name} is not a table of options", path)
        if isinstance(command, click.Group):
            defaults[name] = _commands(ctx, command, table, path, f"{prefix}{name}.")
        else:
            defaults[name] = _options(command, table, path, f"{prefix}{name}.")
    return defaults


def _options(
    command: click.Command, table: dict[str, Any], path: Path, prefix: str
) -> dict[str, Any]:
    options = {
        spelling.removeprefix("--"): parameter
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for spelling in parameter.opts
        if spelling.startswith("--")
    }
    ctx = click.Context(command, resilient_parsing=True)
    defaults: dict[str, Any] = {}
    for key, value in table.items():
        if key not in options:
            raise UsageError(
                f"{prefix}{key} is not an option; expected one of {', '.join(sorted(options))}",
                path,
            )
        option = options[key]
        assert option.name is not None
        defaults[option.name] = _value(ctx, option, value, path, prefix + key)
    return defaults


def _value(ctx: click.Context, option: click.Option, value: Any, path: Path, key: str) -> Any:
    """Return ``value`` in the form in which click takes a default, checked as the option checks."""
    if option.is_flag:
        if not isinstance(value, bool):
            raise UsageError(f"{key} is {value!r}, expected true or false", path)
        return value
    if isinstance(value, list) and option.multiple:
        return [text for each in value for text in _value(ctx, option, each, path, key)]
    if isinstance(value, bool | dict | list):
        raise UsageError(f"{key} is {value!r}, expected a string or a number", path)
    text = str(value)
    if isinstance(option.type, click.Path) or option.name == "model":
        text = os.path.expanduser(text)  # noqa: PTH111  # keeps "-" and "./-" as they are
    try:
        option.process_value(ctx, [text] if option.multiple else text)
    except click.BadParameter as error:
        raise UsageError(f"{key}: {error.message}", path) from error
    return [text] if option.multiple else text
