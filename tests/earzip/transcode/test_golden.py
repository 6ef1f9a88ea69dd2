from __future__ import annotations

from pathlib import Path

import mutagen.flac
import numpy as np
import pytest
import soundfile

from earzip.formats.archive.layout import MAJOR_VERSION, MINOR_VERSION
from earzip.formats.archive.reader import ArchiveReader
from earzip.options import RestoreOptions
from earzip.transcode.inspect import read_info
from earzip.transcode.restore import restore_file
from earzip.transcode.restore_plan import plan_restore

GOLDEN = Path(__file__).parents[2] / "data" / "golden"
pytestmark = pytest.mark.usefixtures("tiny_model")


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.earz")), ids=lambda p: p.stem)
def test_golden_archives_restore_for_ever(path: Path, tmp_path: Path) -> None:
    """Archives written by every format version still decode to the sound recorded beside them."""
    restore_file(path, tmp_path / "o.flac")
    restored, expected = (
        soundfile.read(p)[0] for p in (tmp_path / "o.flac", path.with_suffix(".flac"))
    )
    np.testing.assert_allclose(restored, expected, atol=2e-4)
    assert mutagen.flac.FLAC(tmp_path / "o.flac")["title"] == ["Golden"]


def test_the_exact_copy_of_a_golden_archive_comes_back_to_the_bit_for_ever(tmp_path: Path) -> None:
    restore_file(GOLDEN / "v1.2.earz", tmp_path / "o.flac", RestoreOptions(as_source=True))
    restored, expected = (
        soundfile.read(p, dtype="int16")[0] for p in (tmp_path / "o.flac", GOLDEN / "v1.2.flac")
    )
    np.testing.assert_array_equal(restored, expected)
    assert read_info(GOLDEN / "v1.2.earz").header.check is not None


def test_there_is_a_golden_archive_of_this_version() -> None:
    assert (GOLDEN / f"v{MAJOR_VERSION}.{MINOR_VERSION}.earz").exists()


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.earz")), ids=lambda p: p.stem)
def test_golden_archives_state_the_version_they_are_named_after(path: Path) -> None:
    assert f"v{read_info(path).format_version}" == path.stem


def test_what_was_restored_by_an_earlier_version_is_known_again() -> None:
    """By the digest in it: another one would make every restored file a stranger's."""
    archive = GOLDEN / "v1.1.earz"
    with ArchiveReader(archive) as reader:
        plan = plan_restore(reader.header, RestoreOptions(container="flac"), archive, exact=False)
        assert plan.digest(reader, whole=True).hex() == "07cb91b602c4d596881c2c2c15ded280"
