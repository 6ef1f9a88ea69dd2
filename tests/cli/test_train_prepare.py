"""``earzip train prepare``: what it prints, its options and its exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from earzip.cli.main import LazyGroup
from earzip.cli.train_prepare import prepare
from earzip.training.data import MusicPool
from earzip.training.filtering import Limits

from .conftest import Earzip, Outcome, write_sound

RATE = 44_100


class _Prepare(LazyGroup):
    """The command line with only this command."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return prepare if cmd_name == "prepare" else None


@pytest.fixture
def earzip() -> Earzip:
    def run(*arguments: object, stdin: bytes = b"") -> Outcome:
        group = _Prepare("earzip")
        result = CliRunner().invoke(group, ["prepare", *map(str, arguments)], input=stdin)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Outcome(result.exit_code, result.stdout, result.stderr, result.stdout_bytes)

    return run


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """Return a folder of one good track of 11 s and one that is mono."""
    rng = np.random.default_rng(0)
    bursts = 0.02 + (np.arange(11 * RATE) // 11_025 % 3 == 0)
    audio = 0.08 * np.clip(rng.normal(0, 1, (11 * RATE, 2)) * bursts[:, None], -5, 5)
    root = tmp_path / "library"
    root.mkdir()
    soundfile.write(root / "good.flac", audio, RATE)
    soundfile.write(root / "mono.flac", audio[:, 0], RATE)
    return root


def test_tracks_and_the_summary_are_told(earzip, library, tmp_path):
    outcome = earzip(library, "-o", tmp_path / "pools" / "music")
    assert outcome.exit_code == 0
    assert outcome.stdout == (
        f"kept        {library}/good.flac (0:11)\n"
        f"rejected    {library}/mono.flac "
        "(mono: side over mid is -120.0 dB; the minimum is -40 dB)\n"
    )
    name = tmp_path / "pools" / "music"
    assert outcome.stderr == (
        "kept 1 track (0.00 h), rejected 1; reasons: 1 stereo\n"
        f"earzip: {name}.s16: written; {name}.report.jsonl lists every track\n"
    )
    assert MusicPool(tmp_path / "pools" / "music.s16", RATE).hours == pytest.approx(11 / 3600)


def test_json_is_the_report_and_a_summary(earzip, library, tmp_path):
    outcome = earzip(library, "-o", tmp_path / "music", "--json", "--jobs", 2)
    *tracks, summary = outcome.records
    report = (tmp_path / "music.report.jsonl").read_text().splitlines()
    assert tracks == [{"type": "file", **json.loads(line)} for line in report]
    assert [track["kept"] for track in tracks] == [True, False]
    assert summary == {
        "type": "summary",
        "kept": 1,
        "kept_s": 11,
        "rejected": 1,
        "failed": 0,
        "reasons": {"stereo": 1},
        "exit_code": 0,
    }


def test_what_cannot_be_decoded_is_named_and_the_exit_code_is_3(earzip, library, tmp_path):
    (library / "text.flac").write_text("no music")
    outcome = earzip(library, "-o", tmp_path / "music")
    assert outcome.exit_code == 3
    lines = outcome.stderr.splitlines()
    assert lines[0].startswith(f"earzip: failed: {library}/text.flac: cannot be decoded: it is not")
    assert lines[1] == "kept 1 track (0.00 h), rejected 2; reasons: 1 stereo, 1 unreadable"
    assert (tmp_path / "music.s16").exists()


def test_nothing_kept_ends_with_1_and_leaves_the_report(earzip, library, tmp_path):
    outcome = earzip(library / "mono.flac", "-o", tmp_path / "music")
    assert outcome.exit_code == 1
    assert outcome.stderr.splitlines()[1] == (
        f"earzip: {tmp_path}/music.s16: not written, because no track was kept; "
        f"see {tmp_path}/music.report.jsonl"
    )
    assert not (tmp_path / "music.s16").exists()


def test_keep_all_keeps_what_the_report_speaks_against(earzip, library, tmp_path):
    outcome = earzip(library, "-o", tmp_path / "music", "--keep-all")
    assert outcome.exit_code == 0
    assert "mono.flac (0:11; mono: side over mid is -120.0 dB" in outcome.stdout
    assert outcome.stderr.startswith("kept 2 tracks (0.01 h), rejected 0\nearzip: ")


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        (["--min-length", "11.5"], "length"),
        (["--min-bandwidth", "22.04", "--min-stereo", "20"], "stereo"),
        (["--max-silence", "0", "--min-level", "-10"], "level"),
        (["--max-level", "-49"], "level"),
    ],
)
def test_limits_are_taken_from_options(earzip, library, tmp_path, options, kind):
    outcome = earzip(library / "good.flac", "-o", tmp_path / "music", "--json", *options)
    assert outcome.exit_code == 1
    assert kind in outcome.records[-1]["reasons"]


def test_options_have_the_units_that_the_help_says(earzip, tmp_path):
    t = np.arange(2 * RATE) / RATE
    tone = np.stack([np.sin(880 * t), np.sin(900 * t)], 1)
    tone[: RATE // 2] = 0
    soundfile.write(tmp_path / "clipped.wav", np.clip(tone, -0.9, 0.9), RATE)
    write_sound(tmp_path / "dull.wav")
    limits = (
        "--min-length", 3, "--min-bandwidth", 12.5, "--max-clipping", 1.5, "--max-silence", 2.5,
        "--min-stereo", 30, "--min-level", -11.25, "--max-level", -12.25,
    )  # fmt: skip
    outcome = earzip(tmp_path, "-o", tmp_path / "music", "--json", *limits)
    wanted = [[each.partition("; ")[2] for each in t["reasons"]] for t in outcome.records[:2]]
    assert wanted == [
        [
            "the minimum is 3 s",
            "the maximum is 1.5 %",
            "the maximum is 2.5 %",
            "the minimum is 30 dB",
            "the maximum is -12.25 dBFS",
        ],
        [
            "the minimum is 3 s",
            "the minimum is 12.5 kHz",
            "the minimum is 30 dB",
            "the minimum is -11.25 dBFS",
        ],
    ]


def test_a_limit_is_switched_off_by_off(earzip, library, tmp_path):
    outcome = earzip(library, "-o", tmp_path / "music", "--min-stereo", "off")
    assert (outcome.exit_code, outcome.stdout.count("kept  ")) == (0, 2)
    names = ["min-length", "min-bandwidth", "max-clipping", "max-silence", "min-level", "max-level"]
    off = [word for name in [*names, "min-stereo"] for word in (f"--{name}", "off")]
    write_sound(tmp_path / "short.wav", 0.3, channels=1)
    outcome = earzip(tmp_path / "short.wav", "-o", tmp_path / "all", *off)
    assert outcome.stdout == f"kept        {tmp_path}/short.wav (0:00)\n"


def test_the_defaults_are_those_of_limits():
    context = click.Context(prepare)
    given = {option.name: option.get_default(context) for option in prepare.params}
    values = {name: float(value) for name, value in given.items() if name[:4] in ("min_", "max_")}
    limits = Limits()
    assert values == {
        "min_length": limits.min_duration_s,
        "min_bandwidth": limits.min_bandwidth_hz / 1000,
        "max_clipping": 100 * limits.max_clipping,
        "max_silence": 100 * limits.max_silence,
        "min_stereo": limits.min_side_mid_db,
        "min_level": limits.min_level_db,
        "max_level": limits.max_level_db,
    }


def test_a_pool_that_exists_is_refused_until_force(earzip, library, tmp_path):
    arguments = (library, "-o", tmp_path / "music")
    assert earzip(*arguments).exit_code == 0
    refused = earzip(*arguments)
    assert refused.exit_code == 1
    expected = f"earzip: {tmp_path}/music.s16: already exists; add --force to replace it\n"
    assert (refused.stderr, refused.stdout) == (expected, "")
    assert earzip(*arguments, "--force").exit_code == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--min-bandwidth", "low"], "'low' is neither 0 to 22.05 nor off"),
        (["--max-clipping", "101"], "'101' is neither 0 to 100 nor off"),
        (["--max-silence", "nan"], "'nan' is neither 0 to 100 nor off"),
        (["--jobs", "0"], "0 is not in the range x>=1"),
    ],
)
def test_a_value_out_of_range_is_a_wrong_command_line(earzip, library, tmp_path, options, message):
    outcome = earzip(library, "-o", tmp_path / "music", *options)
    assert outcome.exit_code == 2
    assert message in outcome.stderr


def test_a_folder_is_no_name_for_a_pool(earzip, library, tmp_path):
    outcome = earzip(library, "-o", tmp_path)
    assert outcome.exit_code == 2
    assert outcome.stderr == f"earzip: {tmp_path}: is a directory; expected DIR/NAME for the pool\n"


def test_a_folder_without_sound_is_told(earzip, tmp_path):
    (tmp_path / "empty").mkdir()
    outcome = earzip(tmp_path / "empty", "-o", tmp_path / "music")
    assert outcome.exit_code == 1
    assert outcome.stderr == f"earzip: {tmp_path}/empty: contains no audio files\n"


def test_ctrl_c_ends_with_75_and_leaves_nothing(library, tmp_path):
    for i in range(100):
        os.link(library / "good.flac", library / f"{i:03}.flac")
    code = (
        "import sys; from earzip.cli.train_prepare import prepare;"
        "sys.exit(prepare.main(sys.argv[1:], standalone_mode=False))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, library, "-o", tmp_path / "out" / "music", "--jobs", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 75
    assert errors == "earzip: stopped; nothing was written\n"
    assert list((tmp_path / "out").iterdir()) == []


def test_the_command_line_is_known_without_torch():
    code = "import earzip.cli.train_prepare, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
