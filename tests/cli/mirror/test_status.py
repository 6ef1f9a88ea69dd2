"""``earzip status`` and dry runs: what has become of each source and archive."""

from __future__ import annotations

import os
from pathlib import Path

import mutagen.flac
import pytest
import soundfile

from tests.cli.mirror.conftest import archives, compress
from tests.conftest import tones

pytestmark = pytest.mark.usefixtures("tiny_model")


def status(earzip, library: Path, *options: str):
    out = library.parent / "Archive"
    return earzip("status", "--model", "tiny", library, "-o", out, *options)


def states(outcome, library: Path) -> dict[str, str]:
    return {
        os.path.relpath(record["source"], library.parent): record.get("state", record["status"])
        for record in outcome.records[:-1]
    }


def test_status_of_a_library_before_and_after(earzip, library):
    new = status(earzip, library, "--json")
    assert new.exit_code == 3
    assert set(states(new, library).values()) == {"new"}
    assert new.records[-1]["to_encode_s"] > 0
    compress(earzip, library)
    done = status(earzip, library)
    assert done.exit_code == 0
    assert done.stdout == ""
    assert done.stderr.startswith("4 up to date; ")
    assert done.stderr.endswith("\nearzip: info: sound was not checked; earzip verify does\n")
    for option in ("--quiet", "--json"):
        assert "sound was not checked" not in status(earzip, library, option).stderr


def test_status_tells_what_has_become_of_each(earzip, library):
    compress(earzip, library)
    before = {name: (library.parent / "Archive" / name).read_bytes() for name in archives(library)}
    tags = mutagen.flac.FLAC(library / "A/1.flac")
    tags["title"] = "another title"
    tags.save()
    soundfile.write(library / "A/2.flac", tones(20_001, seed=9).T, 44_100, subtype="PCM_16")
    (library / "B").rename(library / "C")
    (library / "C/2.flac").unlink()
    soundfile.write(library / "C/3.flac", tones(20_000, seed=5).T, 44_100, subtype="PCM_16")
    outcome = status(earzip, library, "--json")
    assert outcome.exit_code == outcome.records[-1]["exit_code"] == 3
    assert states(outcome, library) == {
        "Music/A/1.flac": "retagged",
        "Music/A/2.flac": "changed",
        "Music/C/1.flac": "moved",
        "Music/C/3.flac": "new",
        "Archive/B/1.flac.earz": "orphaned",
        "Archive/B/2.flac.earz": "orphaned",
    }
    text = status(earzip, library).stdout
    assert "planned     " in text
    assert "tags have changed" in text
    assert "its source is gone" in text
    after = {name: (library.parent / "Archive" / name).read_bytes() for name in archives(library)}
    assert after == before
    (library.parent / "Archive/A/1.flac.earz").write_bytes(b"\0" * 100)
    assert "refused" in states(status(earzip, library, "--json"), library).values()


def test_status_tells_of_damage_and_of_other_settings(earzip, library):
    compress(earzip, library)
    archive = library.parent / "Archive/A/1.flac.earz"
    data = bytearray(archive.read_bytes())
    data[len(data) // 2] ^= 1
    archive.write_bytes(data)
    os.utime(library / "A/1.flac", ns=(0, 0))  # so that it is read
    outcome = status(earzip, library, "--json")
    assert outcome.exit_code == 4
    assert outcome.records[-1]["damaged"] == 1
    again = compress(earzip, library, "--dry-run")  # what a run does: it makes the archive anew
    assert (again.exit_code, again.records[-1]["planned"], again.records[-1]["damaged"]) == (
        0,
        1,
        0,
    )
    higher = status(earzip, library, "--quality", "high", "--json")
    assert set(states(higher, library).values()) == {"replaced"}
    lower = status(earzip, library, "--quality", "low", "--json")
    assert lower.exit_code == 3
    assert "is of quality medium, low is lower" in lower.stderr


def test_a_dry_run_ends_as_the_run_does_over_damage_that_it_cannot_mend(earzip, library):
    """Neither the archive nor its source is as it was: status calls that damage, a run fails."""
    compress(earzip, library)
    archive = library.parent / "Archive/A/1.flac.earz"
    data = bytearray(archive.read_bytes())
    data[len(data) // 2] ^= 1
    archive.write_bytes(data)
    soundfile.write(library / "A/1.flac", tones(20_000, seed=9).T, 44_100, subtype="PCM_16")
    assert status(earzip, library).exit_code == 4
    planned, done = compress(earzip, library, "--dry-run"), compress(earzip, library)
    assert (planned.exit_code, done.exit_code) == (3, 3)
    for outcome in (planned, done):
        assert "is damaged, and made from an earlier version of this source" in outcome.stderr


def test_a_dry_run_tells_what_is_done_from_what_is_to_do(earzip, library):
    compress(earzip, library)
    soundfile.write(library / "A/3.flac", tones(200_000).T, 44_100, subtype="PCM_16")
    command = ["compress", "--model", "tiny", library, "-o", library.parent / "Archive"]
    assert "up to date" not in earzip(*command, "--dry-run").stdout
    outcome = earzip(*command, "--dry-run", "--verbose")
    assert outcome.exit_code == 0
    assert outcome.stdout.count("up to date") == 4
    assert outcome.stdout.count("planned") == 1
    assert "4 up to date, 1 planned; 0:02 of audio up to date; " in outcome.stderr
    assert "of audio to encode" in outcome.stderr
    assert not (library.parent / "Archive/A/3.flac.earz").exists()


def test_status_without_a_source_is_no_true_mirror(earzip, library):
    (library.parent / "empty").mkdir()
    outcome = earzip("status", library.parent / "empty", "-o", library.parent / "none")
    assert outcome.exit_code == 2
    assert "no source was found; is a disk not mounted?" in outcome.stderr


def test_status_of_archives_of_a_rate(earzip, library):
    for path in library.rglob("*.flac"):
        soundfile.write(path, tones(100_000).T, 44_100)
    compress(earzip, library, "--bitrate", "20")
    assert status(earzip, library, "--bitrate", "20").exit_code == 0
    assert status(earzip, library).exit_code == 3
