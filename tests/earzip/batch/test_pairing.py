"""Restored files and their originals, by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from earzip.batch.pairing import pair
from earzip.errors import UsageError
from earzip.formats.names import restored_name


def _tree(root: Path, *names: str) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def _pairs(original: Path, restored: Path) -> dict[str, str]:
    pairing = pair(original, restored)
    assert [job.source for job in pairing.plan.jobs] == list(pairing.originals)
    return {
        str(x.relative_to(restored)): str(y.relative_to(original))
        for x, y in pairing.originals.items()
    }


def _refusals(original: Path, restored: Path) -> dict[str, str]:
    root = original.parent
    return {
        str(record.source.relative_to(root)): str(record.message)
        for record in pair(original, restored).plan.refused
    }


def test_two_files_are_a_pair_whatever_their_names(tmp_path):
    a, b = (_tree(tmp_path, name) / name for name in ("a.flac", "b.x"))
    pairing = pair(a, b)
    assert pairing.originals == {b: a}
    assert [(job.source, job.target) for job in pairing.plan.jobs] == [(b, None)]


@pytest.mark.parametrize("name", ["a.flac", "b.mp3", "c.wav", "D.FLAC", "sub/e.ogg", "f.x.flac"])
@pytest.mark.parametrize("container", ["flac", "wav"])
def test_restored_files_and_archives_find_the_original_of_their_name(tmp_path, name, container):
    archive = f"{name}.earz"
    restored = str(Path(name).with_name(restored_name(Path(archive).name, container)))
    music = _tree(tmp_path / "music", name)
    assert _pairs(music, _tree(tmp_path / "archive", archive)) == {archive: name}
    assert _pairs(music, _tree(tmp_path / "restored", restored)) == {restored: name}
    both = _tree(tmp_path / "both", archive, restored)
    assert _pairs(music, both) == {archive: name, restored: name}
    assert _refusals(music, both) == {}


@pytest.mark.parametrize("name", ["a.flac", "b.mp3", "D.FLAC", "sub/e.ogg", "f.x.wav"])
@pytest.mark.parametrize("container", ["opus", "mp3", "aac"])
def test_lossy_files_find_the_original_whose_extension_they_lack(tmp_path, name, container):
    restored = str(Path(name).with_name(restored_name(f"{Path(name).name}.earz", container)))
    music = _tree(tmp_path / "music", name, f"{name}.earz", "a.txt", "b.jpg", "other.flac")
    found = pair(music, _tree(tmp_path / "restored", restored))
    assert found.originals == {tmp_path / "restored" / restored: music / name}
    archives = _tree(tmp_path / "archives", f"{name}.earz")
    assert _pairs(archives, tmp_path / "restored") == {restored: f"{name}.earz"}


def test_a_lossy_file_of_several_originals_is_not_compared_with_any(tmp_path):
    music = _tree(tmp_path / "music", "a.flac", "a.ogg", "b.opus", "b.flac")
    restored = _tree(tmp_path / "restored", "a.opus", "b.opus")
    assert _pairs(music, restored) == {"b.opus": "b.opus"}
    refused = _refusals(music, restored)["restored/a.opus"]
    assert refused == f"may be of any of a.flac, a.ogg in {music}; compare two files"


def test_an_original_of_the_very_name_stands_before_one_without_its_suffix(tmp_path):
    music = _tree(tmp_path / "music", "a.mp3", "a.mp3.flac")
    assert _pairs(music, _tree(tmp_path / "archive", "a.mp3.flac.earz")) == {
        "a.mp3.flac.earz": "a.mp3.flac"
    }


def test_originals_may_be_archives(tmp_path):
    high = _tree(tmp_path / "high", "a.flac.earz", "b.mp3.earz", "c.wav.earz")
    low = _tree(tmp_path / "low", "a.flac.earz", "b.mp3.flac", "c.wav")
    assert _pairs(high, low) == {
        "a.flac.earz": "a.flac.earz", "b.mp3.flac": "b.mp3.earz", "c.wav": "c.wav.earz",
    }  # fmt: skip
    assert _refusals(high, low) == {}


def test_archives_beside_their_originals(tmp_path):
    music = _tree(tmp_path / "music", "a.flac", "a.flac.earz", "b.mp3", "b.mp3.earz", "b.mp3.flac")
    assert _pairs(music, music) == {"a.flac.earz": "a.flac", "b.mp3.earz": "b.mp3"}
    assert _refusals(music, music) == {}
    _tree(music, "c.flac", "d.flac.earz")
    assert _refusals(music, music) == {
        "music/c.flac": f"has no restored file or archive in {music}",
        "music/d.flac.earz": f"has no original: d.flac or d.flac.earz is not in {music}",
    }
    restored = _tree(tmp_path / "restored", "a.flac", "b.mp3.flac", "c.flac", "d.flac")
    assert _pairs(music, restored) == {
        "a.flac": "a.flac", "b.mp3.flac": "b.mp3.flac", "c.flac": "c.flac", "d.flac": "d.flac.earz",
    }  # fmt: skip


def test_files_without_their_like_are_named_on_both_sides(tmp_path):
    music = _tree(tmp_path / "music", "a.flac", "sub/only.flac", "cover.jpg", ".hidden.flac")
    restored = _tree(tmp_path / "restored", "a.flac", "sub/new.mp3.wav", "text.txt")
    assert _pairs(music, restored) == {"a.flac": "a.flac"}
    where = music / "sub"
    assert _refusals(music, restored) == {
        "restored/sub/new.mp3.wav": "has no original: new.mp3.wav or new.mp3 or "
        f"new.mp3.wav.earz or new.mp3.earz is not in {where}",
        "music/sub/only.flac": f"has no restored file or archive in {restored / 'sub'}",
    }
    assert not pair(music, restored).plan.other_files


def test_a_link_to_the_original_is_no_restored_file(tmp_path):
    music = _tree(tmp_path / "music", "a.flac")
    (tmp_path / "restored").mkdir()
    (tmp_path / "restored" / "a.flac").symlink_to(music / "a.flac")
    assert _pairs(music, tmp_path / "restored") == {}


def test_a_folder_and_a_file_are_no_pair(tmp_path):
    music = _tree(tmp_path / "music", "a.flac")
    for pair_of in ((music, music / "a.flac"), (music / "a.flac", music), (music, tmp_path / "x")):
        with pytest.raises(
            UsageError, match=r"music: is a directory and .* is not; give two files"
        ):
            pair(*pair_of)


def test_a_file_that_is_not_there_is_on_record(tmp_path):
    music = _tree(tmp_path / "music", "a.flac")
    (record,) = pair(music / "a.flac", tmp_path / "gone.flac").plan.refused
    assert "No such file" in str(record.message)


def test_folders_with_nothing_to_compare_are_on_record(tmp_path):
    music = _tree(tmp_path / "music", "cover.jpg")
    restored = _tree(tmp_path / "restored")
    assert _refusals(music, restored) == {"restored": f"has nothing to compare, nor does {music}"}


def test_a_folder_of_restored_files_inside_of_the_originals_is_no_part_of_them(tmp_path):
    root = _tree(tmp_path / "m", "a.flac", "b/c.mp3", "restored/a.flac", "restored/b/c.mp3.flac")
    assert _pairs(root, root / "restored") == {"a.flac": "a.flac", "b/c.mp3.flac": "b/c.mp3"}
    assert _refusals(root, root / "restored") == {}


def test_a_link_to_the_original_is_told_as_that(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "x.flac").write_bytes(b"sound")
    (tmp_path / "b" / "x.flac").symlink_to(tmp_path / "a" / "x.flac")
    (record, *_) = pair(tmp_path / "a", tmp_path / "b").plan.refused
    assert record.message == f"is the original itself, {tmp_path / 'a' / 'x.flac'}"
