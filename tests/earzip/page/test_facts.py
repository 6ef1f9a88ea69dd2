from __future__ import annotations

import numpy as np
import pytest

from earzip.errors import DamagedArchiveError, NotAnArchiveError
from earzip.page.facts import library_totals, read_facts
from tests.earzip.tiny_archives import exact
from tests.formats.archive.samples import BLOCKS, PICTURES, TAGS, sample_header, write_sample


def test_facts_are_those_of_tags_header_and_sizes(tmp_path):
    path = tmp_path / "a.flac.earz"
    sizes = write_sample(path)
    facts = read_facts(path)
    header = sample_header()
    assert facts.tags == {"title": ("Ærø",), "artist": ("B", "A")}
    assert facts.tag("artist") == "B, A"
    assert facts.tag("album") == ""
    assert (facts.archive_bytes, facts.picture_bytes) == (sizes.total, sizes.pictures)
    assert facts.duration_s == header.n_samples / 44_100
    assert facts.wav_bytes == 44 + 4 * header.n_samples
    assert (facts.model, facts.quality) == ("mini", "medium")
    assert facts.check is None


def test_the_front_cover_is_chosen_among_the_pictures(tmp_path):
    path = tmp_path / "a.earz"
    described = [{"type": number, "mime": "image/png"} for number in (4, 3, 4)]
    write_sample(path, tags={**TAGS, "pictures": described}, blocks=BLOCKS, pictures=PICTURES)
    cover = read_facts(path).cover
    assert (cover.part, cover.n_bytes) == (1, len(PICTURES[1]))


def test_equal_covers_of_two_archives_are_the_same_image(tmp_path):
    for name in ("a", "b"):
        write_sample(tmp_path / f"{name}.earz")
    a, b = (read_facts(tmp_path / f"{name}.earz").cover for name in ("a", "b"))
    assert a.image == b.image


def test_what_is_no_archive_and_what_is_cut_short_are_errors(tmp_path):
    path = tmp_path / "a.earz"
    path.write_bytes(b"no archive, but long enough to be looked at as if it were one of them")
    with pytest.raises(NotAnArchiveError):
        read_facts(path)
    write_sample(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DamagedArchiveError):
        read_facts(path)


def test_text_of_a_track_without_tags_is_empty(tmp_path):
    path = tmp_path / "a.earz"
    write_sample(path, sample_header(), tags=None)
    facts = read_facts(path)
    assert facts.tags == {}
    assert facts.cover is None
    assert np.isfinite(facts.kbps)


def test_an_exact_copy_is_told_with_the_quality(song, tmp_path, tiny_model):
    facts = read_facts(exact(song, tmp_path / "x.earz"))
    assert (facts.quality, facts.exact_bytes > 0) == ("medium + exact copy", True)
    assert library_totals([facts])["exact_bytes"] == facts.exact_bytes
