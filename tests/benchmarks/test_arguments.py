from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

# `benchmarks` is not part of the package, so it is found from the repository.
sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.arguments import CODECS, Arguments, let_archives_find, parse_arguments
from benchmarks.coders import Coder, name_of
from earzip.errors import ModelNotFoundError
from earzip.models.store import find_model, find_model_of_archive
from tests.conftest import MODELS

PATHS = ["--root", "music", "--cache", "cache.jsonl", "--out", "out"]
QUALITIES = ("low", "medium", "high")


def parse(*argv: str) -> Arguments:
    return parse_arguments("help", CODECS, [*PATHS, *argv])


def names(coders: list[Coder]) -> list[str]:
    return [name_of(coder.codec, coder.model, coder.setting) for coder in coders]


def test_without_a_choice_every_setting_is_run() -> None:
    found = parse()
    assert (found.root, found.tiers) == (Path("music"), ["T1", "T2", "T3", "T4"])
    further = {"opus-av", "he-aac"}
    assert names(found.wanted) == names([c for c in found.known if c.codec not in further])
    assert {coder.codec for coder in found.known} - {
        coder.codec for coder in found.wanted
    } == further
    assert {coder.codec for coder in found.wanted} == {"opus", "aac", "vorbis", "mp3", "earzip"}
    assert names(found.wanted)[-3:] == [f"earzip mini-2 {quality}" for quality in QUALITIES]


def test_codecs_and_rates_are_run_in_the_order_given_where_a_codec_has_them() -> None:
    found = parse("--codecs", "mp3,opus", "--bitrates", "48,24,96")
    assert names(found.wanted) == ["mp3 48", "mp3 96", "opus 48", "opus 24", "opus 96"]
    assert "vorbis 45" in names(found.known)


def test_several_models_are_run_in_turn() -> None:
    tiny = str(MODELS / "tiny.json")
    found = parse("--codecs", "earzip", "--model", "mini", "--model", tiny)
    expected = [f"earzip {model} {quality}" for model in ("mini", "tiny") for quality in QUALITIES]
    assert names(found.wanted) == names(found.known)[-6:] == expected


def test_archives_find_the_models_that_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EARZIP_MODELS", str(tmp_path))
    tiny = find_model(str(MODELS / "tiny.json"))
    with pytest.raises(ModelNotFoundError):
        find_model_of_archive(tiny.name, tiny.sha256)
    let_archives_find([tiny])
    assert find_model_of_archive(tiny.name, tiny.sha256).path == tiny.path
    assert str(tmp_path) in os.environ["EARZIP_MODELS"].split(os.pathsep)


def test_a_model_that_is_not_installed_matters_only_to_earzip() -> None:
    found = parse("--codecs", "opus", "--model", "unheard-of")
    assert not [coder for coder in found.known if coder.codec == "earzip"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            ["--codecs", "opus,flac"],
            "'flac' is none of opus, aac, vorbis, mp3, opus-av, he-aac, earzip",
        ),
        (["--bitrates", "24,25"], "'25' is none of 10, 12, 16"),
        (["--qualities", "best"], "'best' is none of low, medium, high"),
        (["--tiers", "T7"], "'T7' is none of T1, T2, T3, T4, T5, T6, val"),
        (["--model", "unheard-of"], "no model 'unheard-of' is installed; installed: mini"),
        (["--model", "mini", "--model", "mini"], "two of mini,mini have one name"),
        (["--codecs", "vorbis,mp3", "--bitrates", "24"], "vorbis,mp3 at 24 kbps: not measured"),
    ],
)
def test_what_there_is_not_is_refused(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        parse(*argv)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
