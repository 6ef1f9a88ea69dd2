"""What is fuzzed: readers of foreign bytes, and the only errors that they may raise."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import click

from earzip.cli.config import apply_config
from earzip.cli.main import cli
from earzip.errors import (
    ArchiveError,
    EarzipError,
    ModelDamagedError,
    SourceError,
    TagError,
    UsageError,
)
from earzip.formats.archive.reader import ArchiveReader
from earzip.formats.archive.verify import verify_structure
from earzip.formats.audio.source import open_source
from earzip.formats.tags.model import Found, TagSet
from earzip.formats.tags.read import PARSERS, read_tags, tag_set
from earzip.formats.tags.write import write_tags
from earzip.models.spec import ModelSpec
from earzip.transcode.inspect import read_info
from earzip.transcode.saved_tags import read_saved_tags
from fuzz.archives import archives, damaged_archive
from fuzz.mutation import damaged
from fuzz.sounds import blocks, kind_and_block, sounds, tagged
from tests.formats.tags.tag_files import blank

ROOT = Path(__file__).parents[1]
_MOST_SAMPLES = 2_000_000  # decoded of one input: 45 s, more is the same again


@dataclass(frozen=True)
class Target:
    """A reader, called with the path of a file; whatever it raises beside ``allowed`` is a finding."""

    read: Callable[[Path], None]
    allowed: type[EarzipError]
    seeds: Callable[[Path], Iterator[bytes]]
    """Yields whole inputs; it may write into the folder that it is given."""
    damaged: Callable[[bytes, random.Random], bytes] = damaged


def read_archive(path: Path) -> None:
    """Verify an archive; if it is whole, all of it must be readable."""
    damages = verify_structure(path)
    if damages:
        for read in (read_info, _read_all):
            try:
                read(path)
            except ArchiveError:
                continue
        return
    try:
        read_info(path).to_json()
        _read_all(path)
    except ArchiveError as error:
        raise AssertionError(f"verify passes what cannot be read: {error}") from error


def _read_all(path: Path) -> None:
    with ArchiveReader(path) as reader:
        for i in range(reader.n_segments):
            reader.header.unpack_segment(reader.segment(i), i)
        reader.pictures()
        read_saved_tags(reader, keep_going=False)


def read_container(path: Path) -> None:
    """Read the tags of a file, and take them back from what an archive would hold."""
    _kept(read_tags(path))


def read_block(path: Path) -> None:
    """Parse a tag block; write what is in it to a FLAC or a WAV file, as `restore` does."""
    kind, block = kind_and_block(path.read_bytes())
    tags = _kept(tag_set(Found(blocks=[(kind, block)])))
    empty = _empty_files()[len(block) % 2]
    with tempfile.NamedTemporaryFile(suffix=empty.suffix) as target:
        shutil.copyfile(empty, target.name)
        write_tags(Path(target.name), tags)
    PARSERS[kind](block)


def _kept(tags: TagSet) -> TagSet:
    """Return tags as they come from an archive."""
    payload, blobs = tags.to_payload()
    again = TagSet.from_payload(payload, blobs, [picture.data for picture in tags.pictures])
    assert again == tags, "tags do not come back from an archive"
    return again


@cache
def _empty_files() -> tuple[Path, ...]:
    folder = Path(tempfile.mkdtemp(prefix="earzip-fuzz-"))
    return tuple(blank(folder / f"blank.{e}", seconds=0.01) for e in ("flac", "wav"))


def read_sound(path: Path) -> None:
    """Decode a sound file."""
    with open_source(path) as source:
        n_samples = 0
        for block in source.blocks():
            n_samples += block.shape[1]
            if n_samples > _MOST_SAMPLES:
                break


def read_config(path: Path) -> None:
    """Take a file for the configuration."""
    apply_config(click.Context(cli), path)


def configs(_folder: Path) -> Iterator[bytes]:
    """Yield configuration files: that of the reference, and one of many kinds of values."""
    page = (ROOT / "docs" / "reference.md").read_text()
    yield page.split("```toml\n")[1].split("```")[0].encode()
    yield (
        b'[compress]\noutput = "~/a"\nquality = 7.5\nbitrate = 20\nwith-model = true\nmin-si-sdr = -1\n'
        b'[models.calibrate]\nmusic = "/nowhere"\n[restore]\nstart = "1:30.5"\nbits = "24"\n'
        b'[train.run]\nworkers = 2\n[verify]\nshard = "1/2"\ndevices = "cpu"\n'
    )


def read_model(path: Path) -> None:
    """Take a file for the specification of a model, as one beside an archive is."""
    spec = ModelSpec.read(path)
    spec.to_bytes()
    assert len(spec.sha256) == 64


def models(_folder: Path) -> Iterator[bytes]:
    """Yield the specifications of the models of the tests."""
    for path in sorted((ROOT / "tests" / "data" / "models").glob("*.json")):
        yield path.read_bytes()


TARGETS = {
    "archive": Target(read_archive, ArchiveError, archives, damaged_archive),
    "tags": Target(read_container, SourceError, tagged),
    "blocks": Target(read_block, TagError, blocks),
    "sound": Target(read_sound, SourceError, sounds),
    "config": Target(read_config, UsageError, configs),
    "model": Target(read_model, ModelDamagedError, models),
}
