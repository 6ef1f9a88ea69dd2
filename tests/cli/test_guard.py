"""``compress --check`` and a floor, over a folder in which some tracks reach it and some do not."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earzip.formats.audio.source import open_source
from tests.cli.conftest import write_sound

pytestmark = pytest.mark.usefixtures("tiny_model")

FLOOR = ("--model", "tiny", "--min-si-sdr", 5)
"""The tiny model passes the tones, and nothing of the noise."""


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Return a folder of two tones above the floor, and noise in three formats below it."""
    root = tmp_path / "music"
    write_sound(root / "tone.flac", 1.0)
    write_sound(root / "album" / "tone.wav", 1.0, 48_000, 1)
    noise = 0.1 * np.random.default_rng(0).standard_normal((44_100, 2))
    soundfile.write(root / "noise.flac", noise, 44_100, subtype="PCM_24")
    soundfile.write(root / "album" / "noise.ogg", noise, 44_100)
    soundfile.write(root / "album" / "noise.wav", noise, 44_100, subtype="FLOAT")
    return root


def by_name(outcome) -> dict[str, dict]:
    return {Path(r["source"]).name: r for r in outcome.records if r["type"] == "file"}


def samples(path: Path) -> np.ndarray:
    with open_source(path) as reader:
        return np.concatenate(list(reader.blocks()), axis=1)


def test_what_is_below_the_floor_is_stored_exactly_and_all_comes_back(earzip, mixed, tmp_path):
    archive, out = tmp_path / "archive", tmp_path / "out"
    options = (*FLOOR, "--below-floor", "lossless", mixed, "-o", archive)
    outcome = earzip("compress", *options, "--json")
    assert outcome.exit_code == 0
    records, summary = by_name(outcome), outcome.records[-1]
    for name, record in records.items():
        is_low = name.startswith("noise")
        assert bool(record["exact_bytes"]) is bool(record["below_floor"]) is is_low
        assert (record["measures"]["si_sdr_db"] < 5) is is_low
    sizes = [r["archive_bytes"] for r in records.values()]
    assert summary["archive_bytes"] == sum(sizes)
    assert summary["exact_bytes"] == sum(r["exact_bytes"] for r in records.values())
    assert summary["below_floor"] == 3
    assert earzip("compress", *options, "--json").records[-1]["up_to_date"] == 5
    assert earzip("verify", "--decode", archive).exit_code == 0

    outcome = earzip("restore", "--as-source", archive, "-o", out, "--json")
    assert outcome.exit_code == 0
    assert sorted(str(p.relative_to(out)) for p in out.rglob("*.*")) == [
        "album/noise.ogg",
        "album/noise.wav",
        "album/tone.wav.flac",
        "noise.flac",
        "tone.flac",
    ]
    for name in ("album/noise.ogg", "album/noise.wav"):
        digests = {hashlib.sha256((root / name).read_bytes()).digest() for root in (mixed, out)}
        assert len(digests) == 1, name
    assert np.array_equal(samples(out / "noise.flac"), samples(mixed / "noise.flac"))
    assert not np.array_equal(samples(out / "tone.flac"), samples(mixed / "tone.flac"))
    assert (
        earzip("restore", "--as-source", archive, "-o", out, "--json").records[-1]["up_to_date"]
        == 5
    )


def test_a_person_reads_what_the_check_found(earzip, mixed, tmp_path):
    outcome = earzip(
        "compress", *FLOOR, "--below-floor", "lossless", mixed / "noise.flac", "-o", tmp_path
    )
    written, check, copy = outcome.stdout.splitlines()
    assert written.startswith("written")
    assert check.startswith("            check: SI-SDR ")
    assert "exact copy: " in copy
    assert "required 5" in copy
    assert "of it exact copies" in outcome.stderr
    assert "1 archive below the quality floor" in outcome.stderr
    info = earzip("info", tmp_path / "noise.flac.earz").stdout
    assert "exact     its samples as FLAC, " in info
    assert "check     SI-SDR " in info
    assert "format 1.4" in info


def test_tracks_below_the_floor_are_kept_with_a_warning(earzip, mixed, tmp_path):
    outcome = earzip("compress", *FLOOR, mixed, "-o", tmp_path / "a")
    assert outcome.exit_code == 0
    assert outcome.stderr.count("below the floor: SI-SDR is ") == 3
    assert len(list((tmp_path / "a").rglob("*.earz"))) == 5


def test_tracks_below_the_floor_can_fail(earzip, mixed, tmp_path):
    outcome = earzip(
        "compress", *FLOOR, "--below-floor", "fail", mixed, "-o", tmp_path / "a", "--json"
    )
    assert outcome.exit_code == 3
    statuses = outcome.statuses()
    assert {name for name, status in statuses.items() if status == "failed"} == {
        "noise.flac",
        "noise.ogg",
        "noise.wav",
    }
    assert "is below the floor: SI-SDR is" in by_name(outcome)["noise.ogg"]["message"]
    assert len(list((tmp_path / "a").rglob("*.earz"))) == 2


def test_a_policy_without_a_floor_is_refused(earzip, mixed):
    outcome = earzip("compress", "--below-floor", "lossless", mixed)
    assert outcome.exit_code == 2
    assert "--below-floor lossless needs a floor: --min-si-sdr or --max-mel" in outcome.stderr


def test_a_source_file_goes_to_stdout_as_it_was(earzip, mixed, tmp_path):
    source, archive = mixed / "album" / "noise.ogg", tmp_path / "x.earz"
    earzip("compress", *FLOOR, "--below-floor", "lossless", source, "-o", archive)
    command = [sys.executable, "-m", "earzip", "restore", "--as-source", archive, "-o", "-"]
    run = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    assert run.stdout == source.read_bytes()


def test_an_archive_under_another_name_gives_a_source_file_with_its_extension(
    earzip, mixed, tmp_path
):
    source, archive = mixed / "album" / "noise.ogg", tmp_path / "x.earz"
    earzip("compress", *FLOOR, "--below-floor", "lossless", source, "-o", archive)
    earzip("restore", "--as-source", archive, "-o", tmp_path / "out")
    assert (tmp_path / "out" / "x.ogg").read_bytes() == source.read_bytes()
    # A container, or a part, is not the source file: then it is its sound.
    earzip("restore", "--as-source", "--end", "0.5", archive, "-o", tmp_path / "part")
    assert soundfile.info(tmp_path / "part" / "x.flac").frames == 22_050


def test_a_copy_that_is_damaged_is_told(earzip, mixed, tmp_path):
    archive = tmp_path / "x.flac.earz"
    earzip("compress", *FLOOR, "--below-floor", "lossless", mixed / "noise.flac", "-o", archive)
    data = bytearray(archive.read_bytes())
    data[-50] ^= 4
    archive.write_bytes(data)
    assert earzip("verify", archive).exit_code == 4
    outcome = earzip("restore", "--keep-going", archive, "-o", tmp_path / "x.flac", "--json")
    record = outcome.records[0]
    assert (outcome.exit_code, record["status"]) == (3, "incomplete")
    assert (record["lost_exact"], record["exact"]) == (True, False)
    assert record["message"].startswith("damaged: the exact copy, restored from the coded sound")
