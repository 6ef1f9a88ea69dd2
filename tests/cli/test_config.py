"""The configuration file gives options their defaults, and mistakes in it are named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import soundfile

from earzip.cli.config import default_config_path
from tests.cli.conftest import write_sound


@pytest.fixture
def song(tmp_path: Path) -> Path:
    path = tmp_path / "song.flac"
    path.write_bytes(b"not looked at in a dry run")
    return path


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def test_options_take_their_defaults_from_the_file(earzip, song, config, tmp_path):
    config.write_text(f'[compress]\noutput = "{tmp_path}/archive"\ndry-run = true\njson = true\n')
    outcome = earzip("--config", config, "compress", song)
    assert outcome.records[0]["status"] == "planned"
    assert outcome.records[0]["target"] == f"{tmp_path}/archive/song.flac.earz"


def test_the_command_line_stands_above_the_file(earzip, song, config, tmp_path):
    config.write_text(f'[compress]\noutput = "{tmp_path}/archive"\n')
    outcome = earzip(
        "--config", config, "compress", song, "-o", tmp_path / "b", "--dry-run", "--json"
    )
    assert outcome.records[0]["target"] == f"{tmp_path}/b/song.flac.earz"


def test_the_name_of_the_output_stands_above_the_file(earzip, song, config, tmp_path, tiny_model):
    archive, target = tmp_path / "a.earz", tmp_path / "back.flac"
    write_sound(song)
    earzip("compress", song, "-o", archive, "--model", tiny_model)
    config.write_text('[restore]\nformat = "wav"\n')
    assert earzip("--config", config, "restore", archive, "-o", target).exit_code == 0
    assert soundfile.info(target).format == "FLAC"
    again = earzip("--config", config, "restore", archive, "-o", target, "--format", "wav")
    assert again.exit_code == 2


def test_status_goes_by_what_compress_does(earzip, song, config, tmp_path, tiny_model):
    write_sound(song)
    (tmp_path / "music").mkdir()
    song.rename(tmp_path / "music" / "song.flac")
    compress = f'[compress]\noutput = "{tmp_path}/archive"\nmodel = "tiny"\nforce = true\n'
    config.write_text(f"{compress}bitrate = 5\nthreads = 1\n")
    command = ("--config", config, "status", tmp_path / "music", "--json")
    assert earzip("--config", config, "compress", tmp_path / "music").exit_code == 0
    assert earzip(*command).exit_code == 0
    assert earzip(*command, "-o", tmp_path / "elsewhere").records[0]["state"] == "new"
    assert earzip(*command, "--quality", "high").records[0]["state"] == "replaced"
    config.write_text(f'{compress}bitrate = 5\n[status]\nquality = "high"\n')
    assert "→ high" in earzip(*command).records[0]["message"]


def test_an_option_that_may_be_repeated_takes_one_value(earzip, config, tmp_path, tiny_model):
    config.write_text(f'[models.calibrate]\nmusic = "{tmp_path}/nowhere"\n')
    outcome = earzip("--config", config, "models", "calibrate", tiny_model)
    assert f"{tmp_path}/nowhere: cannot be read: there is no such file" in outcome.stderr


def test_an_option_that_may_be_repeated_takes_a_list(earzip, config, tmp_path, tiny_model):
    for name in ("a.wav", "b.wav", "c.wav"):
        write_sound(tmp_path / "music" / name)
    config.write_text('[compress]\nexclude = ["a.*", "b.*"]\n')
    outcome = earzip("--config", config, "compress", "--dry-run", tmp_path / "music", "--json")
    assert outcome.statuses() == {"a.wav": "skipped", "b.wav": "skipped", "c.wav": "planned"}
    config.write_text("[compress]\nexclude = [true]\n")
    outcome = earzip("--config", config, "compress", tmp_path / "music")
    assert "compress.exclude is True, expected a string or a number" in outcome.stderr


def test_sub_commands_have_tables_in_tables(earzip, config, tiny_model):
    config.write_text("[models.list]\njson = true\n")
    names = [model["name"] for model in earzip("--config", config, "models", "list").records]
    assert tiny_model in names


def test_the_default_file_is_read_if_it_is_there(earzip, song, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert default_config_path() == tmp_path / "earzip" / "config.toml"
    assert earzip("compress", song, "--dry-run").exit_code == 0
    (tmp_path / "earzip").mkdir()
    (tmp_path / "earzip" / "config.toml").write_text("[compress]\nnonsense = 1\n")
    assert earzip("compress", song, "--dry-run").exit_code == 2


def test_numbers_and_times_may_be_toml_values(earzip, config):
    config.write_text("[restore]\nbits = 16\nstart = 90.5\nthreads = 2\n")
    assert earzip("--config", config, "restore", "missing.earz").exit_code == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[compress]\nqualty = 'high'", "compress.qualty is not an option; expected one of "),
        ("[compres]\n", "compres is not a command; expected one of compress, restore"),
        ("[models.lst]\n", "models.lst is not a command; expected one of models.calibrate"),
        ("quality = 'high'", "quality is not a command"),
        ("compress = 'high'", "compress is not a table of options"),
        ("[compress]\npaths = 'x'", "compress.paths is not an option"),
        (
            "[compress]\nquality = 'best'",
            "compress.quality: 'best' is not low, medium, high or a number from 0 to 10",
        ),
        ("[compress]\nthreads = 0", "compress.threads: 0 is not in the range"),
        ("[compress]\nthreads = true", "compress.threads is True, expected a string or a number"),
        ("[compress]\nforce = 'yes'", "compress.force is 'yes', expected true or false"),
        ("[restore]\nstart = '1:75'", "restore.start: '1:75': minutes and seconds"),
        ("compress", "is not valid TOML: "),
        ("x = '\udcff'", "is not valid TOML: "),
    ],
)
def test_a_mistake_in_the_file_is_named(earzip, song, config, text, message):
    config.write_bytes(text.encode(errors="surrogateescape"))
    outcome = earzip("--config", config, "compress", song, "--dry-run")
    assert outcome.exit_code == 2
    assert outcome.stderr.startswith(f"earzip: {config}: {message}")


def test_a_pipe_is_no_configuration(earzip, song, tmp_path):
    """Reading one may wait for ever."""
    os.mkfifo(tmp_path / "pipe")
    outcome = earzip("--config", tmp_path / "pipe", "compress", "--dry-run", song)
    assert outcome.exit_code == 2
    assert outcome.stderr == f"earzip: {tmp_path / 'pipe'}: is a pipe; expected a file\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[compress]\nquality = " + "[" * 50_000, "nested too deeply"),
        ("[compress]\nquality = " + "{a = " * 50_000, "nested too deeply"),
        ("[compress]\nthreads = " + "1" * 5_000, "is not valid TOML"),
    ],
)
def test_a_file_that_no_parser_can_take_is_named(earzip, song, config, text, message):
    config.write_text(text)
    outcome = earzip("--config", config, "compress", "--dry-run", song)
    assert outcome.exit_code == 2
    assert message in outcome.stderr


def test_a_named_file_must_be_there(earzip, song, config):
    outcome = earzip("--config", config, "compress", song, "--dry-run")
    assert (outcome.exit_code, outcome.stderr) == (
        2, f"earzip: {config}: the configuration file does not exist\n",
    )  # fmt: skip


@pytest.mark.parametrize("command", ["compress", "restore"])
def test_a_tilde_is_the_home(earzip, song, config, tmp_path, monkeypatch, command):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    config.write_text(f'[{command}]\noutput = "~/Arc"\n')
    outcome = earzip("--config", config, command, song, "--dry-run", "--json")
    assert Path(outcome.records[0]["target"]).parent == tmp_path / "home" / "Arc"


def test_a_model_may_be_in_the_home(earzip, song, config, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    config.write_text('[compress]\nmodel = "~/none.json"\n')
    outcome = earzip("--config", config, "compress", song)
    assert f"{tmp_path}/none.json: cannot read the model" in outcome.stderr


def test_a_user_without_a_home_has_no_default_file(earzip, song, monkeypatch):
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setattr(Path, "home", no_home)
    assert default_config_path() is None
    assert earzip("compress", song, "--dry-run").exit_code == 0
