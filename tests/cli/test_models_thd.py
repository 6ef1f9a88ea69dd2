"""``earzip models thd``: a tone through a model."""

from __future__ import annotations

import pytest

pytest.importorskip("auraloss")


def test_a_tone_through_a_model_is_a_table_and_a_picture(earzip, tiny_model, tmp_path):
    picture = tmp_path / "thd.png"
    outcome = earzip("models", "thd", tiny_model, "-o", picture)
    assert outcome.exit_code == 0
    heading, *rows = outcome.stdout.splitlines()
    assert heading == "quality  sine dBFS  restored dBFS  THD+N dB  THD+N %"
    assert [row.split()[:2] for row in rows] == [
        [quality, level] for quality in ("low", "medium", "high") for level in ("-1.0", "-20.0")
    ]
    assert picture.read_bytes().startswith(b"\x89PNG")
    again = earzip("models", "thd", tiny_model, "-o", picture)
    assert again.exit_code == 1
    assert again.stderr == f"earzip: {picture}: already exists; add --force to replace it\n"
    assert not again.stdout


def test_a_tone_through_a_model_as_json(earzip, tiny_model):
    records = earzip("models", "thd", tiny_model, "--json").records
    assert [record["type"] for record in records] == ["tone"] * 6
    assert records[0]["thd_n_db"] < 0


def test_an_absent_model_is_named(earzip):
    outcome = earzip("models", "thd", "tiny")
    assert outcome.exit_code == 1
    assert "no model 'tiny' is installed" in outcome.stderr


def test_a_picture_that_cannot_be_written_is_refused_before_the_work(earzip, tiny_model, tmp_path):
    outcome = earzip("models", "thd", "tiny", "-o", tmp_path / "none" / "a.png")
    assert (outcome.exit_code, outcome.stdout) == (1, "")
    assert "its directory does not exist" in outcome.stderr
    (tmp_path / "b.png").mkdir()
    outcome = earzip("models", "thd", "tiny", "--force", "-o", tmp_path / "b.png")
    assert (outcome.exit_code, outcome.stdout) == (2, "")
    assert "is a directory; expected a file for the picture" in outcome.stderr


def test_a_picture_is_a_png_file(earzip, tiny_model):
    outcome = earzip("models", "thd", tiny_model, "-o", "thd.jpg")
    assert (outcome.exit_code, outcome.stderr) == (
        2,
        "earzip: thd.jpg: a picture must end in .png\n",
    )
