"""`verify` is the truth about `restore`: of archives that each break one rule, both refuse all."""

from __future__ import annotations

from pathlib import Path

import pytest

from earzip.errors import ArchiveError, UnsupportedArchiveError
from earzip.formats.archive.verify import verify_structure
from earzip.models.pool import CodecPool
from earzip.options import RestoreOptions
from earzip.transcode.restore import restore_file
from tests.conftest import MODELS
from tests.earzip.transcode.whole_archives import write_wholes
from tests.formats.archive.rules import (  # noqa: F401
    copies,
    header,
    layout,
    shared,
    symbols,
    tags,
)
from tests.formats.archive.rules.registry import BREAKERS, KINDS, Breaker
from tests.formats.archive.samples import Pieces


@pytest.fixture(autouse=True)
def models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARZIP_MODELS", str(MODELS))


@pytest.fixture(scope="module")
def wholes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return a whole archive of each kind."""
    return write_wholes(tmp_path_factory.mktemp("rules"))


@pytest.fixture(scope="module")
def codecs() -> CodecPool:
    return CodecPool()


def broken(breaker: Breaker, wholes: dict[str, Path], path: Path) -> Path:
    pieces = Pieces.of(wholes[breaker.kind])
    data = breaker.make(pieces)
    path.write_bytes(pieces.to_bytes() if data is None else data)
    return path


def verified(path: Path) -> bool:
    """Return whether `verify` takes the archive."""
    try:
        return verify_structure(path) == []
    except UnsupportedArchiveError:
        return False


def restored(path: Path, target: Path, codecs: CodecPool) -> bool:
    """Return whether `restore` takes it."""
    target.unlink(missing_ok=True)
    try:
        restore_file(path, target, RestoreOptions(container="wav"), codecs=codecs)
    except ArchiveError:
        return False
    return True


@pytest.mark.parametrize("kind", KINDS)
def test_what_breaks_no_rule_is_taken(
    kind: str, wholes: dict[str, Path], codecs: CodecPool, tmp_path: Path
) -> None:
    assert verify_structure(wholes[kind]) == []
    assert restored(wholes[kind], tmp_path / "out.wav", codecs)


def test_there_are_many_rules_and_archives() -> None:
    sections = {breaker.section for breaker in BREAKERS.values()}
    assert len(BREAKERS) > 1000
    assert sections >= {
        "Prefix",
        "Layout",
        "Index",
        "Zstd frames",
        "Canonical JSON",
        "Header",
        "Check",
        "Tags",
        "Payload",
        "Symbols",
        "packed-1",
        "context-1",
        "levels-1",
        "Exact copy",
        "Shared pictures",
    }


@pytest.mark.parametrize("section", sorted({breaker.section for breaker in BREAKERS.values()}))
def test_what_breaks_a_rule_is_refused_by_verify_and_by_restore(
    section: str, wholes: dict[str, Path], codecs: CodecPool, tmp_path: Path
) -> None:
    taken = {}
    for name, breaker in BREAKERS.items():
        if breaker.section == section:
            path = broken(breaker, wholes, tmp_path / "broken.earz")
            took = verified(path), restored(path, tmp_path / "out.wav", codecs)
            if took != (False, breaker.only_verify):
                taken[name] = took
    assert taken == {}
