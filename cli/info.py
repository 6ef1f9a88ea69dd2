"""``earzip info``: what archives say of themselves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from earzip.batch.filters import Choice
from earzip.cli.choice import choice_options
from earzip.cli.help import EXIT_CODES
from earzip.cli.output import measures_text, rate, size
from earzip.cli.piping import plan_reading
from earzip.cli.run import run as run_task
from earzip.cli.run_options import RunOptions, run_options
from earzip.cli.stores import takes_urls
from earzip.cli.where import Query, matching, where_option
from earzip.errors import count
from earzip.formats.geometry import clock
from earzip.formats.names import MODEL_FOLDER
from earzip.results import FileRecord
from earzip.tasks import InfoTask


@click.command(epilog=EXIT_CODES, short_help="Show the contents of archives.")
@choice_options
@where_option
@run_options("as_json")
@takes_urls
def info(*, paths: tuple[Path, ...], choice: Choice, where: Query | None, run: RunOptions) -> int:
    """Show the contents of archives: audio, source, model, tags and pictures.

    PATH is an archive or a directory (searched recursively). Needs no model.
    """
    return run_task(
        matching(plan_reading(paths, choice), where),
        InfoTask(),
        run,
        one_by_one=True,
        keeps_results=False,
        describe=_describe,
    )


def _describe(record: FileRecord) -> Iterator[str]:
    archive: Any = record.figures["archive"]
    source, n_bytes = archive["source"], archive["bytes"]
    sound = [clock(archive["duration_s"]), count(archive["n_samples"], "sample")]
    kbps = rate(archive["kbps"], archive["duration_s"], decimals=2)
    yield "sound     " + ", ".join(sound + [f"{each} without pictures" for each in kbps])
    parts = ", ".join(f"{part} {size(n_bytes[part])}" for part in _PARTS)
    if n_bytes["exact"]:
        parts += f", exact copy {size(n_bytes['exact'])}"
    yield f"file      {size(n_bytes['total'])}: {parts}; format {archive['format_version']}"
    yield f"source    {_source(source)}"
    if source["truncated"]:
        yield f"truncated {source['truncated']}"
    model = archive["model"]
    quality = archive["quantizer"]["quality"]
    yield f"model     {model['name']} {model['sha256'][:16]}, quality {quality}{_place(model['path'])}"
    encoder = archive["encoder"]
    yield (
        f"made by   {encoder['name']} {encoder['version']}, torch {encoder['torch']}, "
        f"{encoder['device']} {encoder['dtype']}"
    )
    yield from _check(archive)
    yield from _tags(archive["tags"] or {})
    yield from _pictures(archive)
    if chapters := (archive["tags"] or {}).get("chapters"):
        yield f"chapters  {len(chapters)}"


_PARTS = ("sound", "overhead", "tags", "pictures")


def _check(archive: dict[str, Any]) -> Iterator[str]:
    """Yield the measures of a check, and the kind of exact copy."""
    if archive["checked"]:
        measures = archive["measures"]
        yield f"check     {measures_text(measures) if measures else 'silence, or too short to measure'}"
    if archive["exact"]:
        form = {"file": "the source file", "flac": "its samples as FLAC"}[archive["exact"]]
        yield f"exact     {form}, {size(archive['bytes']['exact'])}"


def _place(path: str | None) -> str:
    """Return in words where a model is, if it is not an installed one."""
    if path is None:
        return "; not installed"
    return f"; kept in {Path(path).parent}" if Path(path).parent.name == MODEL_FOLDER else ""


def _source(source: dict[str, Any]) -> str:
    return (
        f"{source['name'] or '-'}: {_form(source)}, "
        f"{source['sample_rate']} Hz, {count(source['channels'], 'channel')} "
        f"({source['downmix']}), {count(source['n_frames'], 'frame')}, {size(source['n_bytes'])}"
    )


def _form(source: dict[str, Any]) -> str:
    """Return the kind of a source as people call it: ``WAV, 16 bit`` or ``Ogg Vorbis (lossy)``."""
    container, codec = source["container"].capitalize(), source["codec"].capitalize()
    if container != "Ogg":
        container, codec = source["container"], source["codec"]
    implied = codec == container or codec.startswith(("PCM_", "MPEG_")) or source["is_float"]
    form = container if implied else f"{container} {codec}"
    if codec == "DSD":  # its bits are kept as no samples are, but nothing was lost before
        return form
    if not source["lossless"]:
        return f"{form} (lossy)"
    depth = f"{source['bit_depth']} bit" if source["bit_depth"] else "lossless"
    return f"{form}, {depth}{' float' if source['is_float'] else ''}"


def _tags(tags: dict[str, Any]) -> Iterator[str]:
    """Yield a line for each value."""
    for name, values in tags.get("fields", {}).items():
        for value in values:
            yield f"tag       {name}: {_shortened(value)}"


def _pictures(archive: dict[str, Any]) -> Iterator[str]:
    """Yield a line for each picture, and what became of those that the source has."""
    pictures = (archive["tags"] or {}).get("pictures", ())
    facts = zip(pictures, archive["picture_bytes"], archive["picture_files"], strict=True)
    for picture, n_bytes, file in facts:
        missing = ", missing" if file in archive["missing_files"] else ""
        place = f"; shared{missing}: {file}" if file else ""
        yield f"picture   {picture['mime']}, {size(n_bytes)}{place}"
    if archive["pictures"] == "dropped":
        yield "pictures  left out"
    elif archive["pictures"]:
        yield f"pictures  scaled to fit {archive['pictures'].removeprefix('fit-')} pixels"


def _shortened(value: str) -> str:
    return value if len(value) <= _MAX_SHOWN else f"{value[:_MAX_SHOWN]}… ({len(value)} characters)"


_MAX_SHOWN = 160  # of lyrics and cue sheets; --json gives all of it
