"""``earzip decode-latents``: latents in files back to sound."""

from __future__ import annotations

import json
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from tests.conftest import tones

NAMES = ("one.flac", "Live/02. two.mp3")
RESTORED = ("one.flac", "Live/02. two.mp3.flac")
ENDS = 32  # samples at each end of a track, whose errors only the archive has


@pytest.fixture
def library(earzip, tiny_model, tmp_path):
    """Archives of two tracks, and what they restore to."""
    for i, name in enumerate(NAMES):
        path = tmp_path / "Music" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, tones(30_000 + 5_000 * i, i).T, 44_100)
    archives = tmp_path / "Archive"
    earzip("compress", "--model", tiny_model, tmp_path / "Music", "-o", archives)
    assert earzip("restore", archives, "-o", tmp_path / "Restored", "--bits", 24).exit_code == 0
    return archives


@pytest.fixture
def array(earzip, library, tmp_path):
    """The latents of one track as ``song.npy``, with its JSON."""
    assert (
        earzip(
            "latents", library / "one.flac.earz", "-o", tmp_path / "song.npy", "--format", "npy"
        ).exit_code
        == 0
    )
    return tmp_path / "song.npy"


def change_facts(array: Path, **changes: object) -> None:
    facts = json.loads(array.with_suffix(".json").read_text()) | changes
    kept = {key: value for key, value in facts.items() if value is not None}
    array.with_suffix(".json").write_text(json.dumps(kept))


def assert_same_sound(got: Path, wanted: Path, tolerance: float = 1e-6) -> None:
    (one, rate), (other, other_rate) = soundfile.read(got), soundfile.read(wanted)
    assert (one.shape, rate) == (other.shape, other_rate)
    np.testing.assert_allclose(one[ENDS:-ENDS], other[ENDS:-ENDS], atol=tolerance)


@pytest.mark.parametrize("form", ["npy", "safetensors", "webdataset"])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("float16", 2e-3)])
def test_what_latents_writes_decodes_to_what_restore_gives(
    form, dtype, tolerance, earzip, library, tmp_path
):
    earzip("latents", library, "-o", tmp_path / "L", "--format", form, "--dtype", dtype)
    outcome = earzip("decode-latents", tmp_path / "L", "-o", tmp_path / "D")
    assert outcome.exit_code == 0, outcome.stderr
    assert {str(p.relative_to(tmp_path / "D")) for p in (tmp_path / "D").rglob("*.*")} == {
        *RESTORED
    }
    for name in RESTORED:
        assert_same_sound(tmp_path / "D" / name, tmp_path / "Restored" / name, tolerance)


def test_latents_of_a_network_need_a_model_alone(earzip, library, array, tmp_path):
    made = np.load(array)[:, :40]
    np.save(tmp_path / "made.npy", np.asfortranarray(made))
    save_file({"x": made.astype(np.float16)}, tmp_path / "half.safetensors")
    for source in ("made.npy", "half.safetensors"):
        refused = earzip("decode-latents", tmp_path / source)
        assert refused.exit_code == 3
        assert f"{source}: names no model; say which with --model" in refused.stderr
        target = (tmp_path / source).with_suffix(".wav")
        arguments = ("--model", "tiny", "-o", target, "--bits", "float")
        assert earzip("decode-latents", tmp_path / source, *arguments).exit_code == 0
        audio, rate = soundfile.read(target)
        assert rate == 44_100
        assert (
            40 * 256 - 1024 <= len(audio) <= 40 * 256
        )  # of the hop of the tiny model, less its lead
        assert soundfile.info(target).subtype == "FLOAT"
        assert np.abs(audio).max() > 0.01


def test_edited_latents_are_heard(earzip, array, tmp_path):
    np.save(array, np.zeros_like(np.load(array)))
    assert earzip("decode-latents", array, "-o", tmp_path / "quiet.wav").exit_code == 0
    audio, _ = soundfile.read(tmp_path / "quiet.wav")
    loud, _ = soundfile.read(tmp_path / "Restored" / "one.flac")
    assert audio.shape == loud.shape
    assert np.abs(audio - loud).max() > 0.01


def _save(array: Path, change) -> None:
    np.save(array, change(np.load(array)))


def _with(values: np.ndarray, value: float) -> np.ndarray:
    values[3, 7] = value
    return values


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: _with(x, np.nan), "has NaN or infinite values, first in frame 7"),
        (lambda x: _with(x, -np.inf), "has NaN or infinite values, first in frame 7"),
        (
            lambda x: x.T,
            "latents a frame, expected the 52 of its model; they are [frames, latents]",
        ),
        (lambda x: x[:-1], "has 51 latents a frame, expected the 52 of its model"),
        (lambda x: x[None], "expected [latents, frames]"),
        (lambda x: x.astype(np.int32), "has values of the type int32, expected float32 or float16"),
        (lambda x: x.astype(np.complex64), "has values of the type complex64"),
        (lambda x: x[:, :-5], "30000 samples do not take"),
        (lambda x: x * 1e37, "decodes to infinite or far too large samples"),
        (lambda x: x[:, :0], "30000 samples do not take 0 frames"),
    ],
)
def test_latents_that_do_not_fit_are_refused(earzip, array, tmp_path, change, message):
    _save(array, change)
    outcome = earzip("decode-latents", array, "-o", tmp_path / "x.flac")
    assert outcome.exit_code == 3
    assert f"{array}: " in outcome.stderr
    assert message in outcome.stderr
    assert not (tmp_path / "x.flac").exists()


@pytest.mark.parametrize(
    ("changes", "arguments", "message"),
    [
        ({"model_sha256": "ab" * 32}, [], "needs model 'tiny' with SHA-256 abab"),
        ({"model_sha256": "ab" * 32}, ["--model", "tiny"], "latents of tiny (abababab"),
        ({}, ["--model", "tiny-transform"], "not of tiny-transform"),
        ({"model_sha256": 7}, [], "model_sha256 is 7, expected text"),
        ({"n_samples": "many"}, [], 'n_samples is "many", expected a whole number'),
        ({"gain_db": 1e9}, [], "gain_db is 1000000000.0"),
        ({"n_samples": float("inf")}, [], "n_samples is Infinity, expected a whole number"),
        ({"n_samples": -1}, [], "-1 samples do not take"),
    ],
)
def test_facts_that_do_not_fit_are_refused(earzip, array, tmp_path, changes, arguments, message):
    change_facts(array, **changes)
    outcome = earzip("decode-latents", array, "-o", tmp_path / "x.flac", *arguments)
    assert outcome.exit_code == 3
    assert message in outcome.stderr
    assert not (tmp_path / "x.flac").exists()


@pytest.mark.parametrize(
    "value",
    [
        1.5,
        30_000.5,
        True,
        False,
        "30000",
        float("nan"),
        -float("inf"),
        10**400,
        [30_000],
        {},
        "9" * 99,
    ],
)
@pytest.mark.parametrize(
    ("name", "expected"),
    [("n_samples", "a whole number"), ("gain_db", "a number of decibels")],
)
def test_a_fact_that_is_no_such_number_is_refused(earzip, array, tmp_path, name, expected, value):
    if name == "gain_db" and isinstance(value, float) and value > 0:
        value = None  # those are gains
    facts = array.with_suffix(".json")
    facts.write_text(json.dumps(json.loads(facts.read_text()) | {name: value}))
    outcome = earzip("decode-latents", array, "-o", tmp_path / "x.flac")
    assert outcome.exit_code == 3
    text = json.dumps(value)
    shown = text if len(text) <= 40 else f"{text[:40]}…"
    assert f"{facts}: {name} is {shown}, expected {expected}\n" in outcome.stderr
    assert not (tmp_path / "x.flac").exists()


@pytest.mark.parametrize(
    ("name", "text"), [("n_samples", "1.5"), ("n_samples", "x"), ("gain_db", "nan")]
)
def test_metadata_that_are_no_such_numbers_are_refused(earzip, library, tmp_path, name, text):
    path = tmp_path / "x.safetensors"
    earzip("latents", library / "one.flac.earz", "-o", path)
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    save_file(load_file(path), path, metadata | {name: text})
    outcome = earzip("decode-latents", path, "-o", tmp_path / "x.flac")
    assert outcome.exit_code == 3
    assert f"{path}: {name} is " in outcome.stderr
    assert ", expected a " in outcome.stderr


def test_a_whole_number_may_be_written_as_a_float(earzip, array, tmp_path):
    change_facts(array, n_samples=30_000.0, gain_db=0)
    assert earzip("decode-latents", array, "-o", tmp_path / "x.flac").exit_code == 0
    assert soundfile.info(tmp_path / "x.flac").frames == 30_000


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("x.npy", b"no array", "is not a .npy file"),
        ("x.safetensors", b"no tensors", "is not a safetensors file"),
        ("x.tar", b"no tar" * 1000, "is not a readable tar file"),
    ],
)
def test_what_holds_no_latents_is_refused(earzip, tiny_model, tmp_path, name, data, message):
    (tmp_path / name).write_bytes(data)
    outcome = earzip("decode-latents", tmp_path / name, "--model", tiny_model)
    assert outcome.exit_code == 3
    assert f"{name}: {message}" in outcome.stderr


def test_a_shape_below_zero_is_refused(earzip, array):
    values = np.load(array)
    head = {"descr": "<f4", "fortran_order": False, "shape": tuple(-n for n in values.shape)}
    with array.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, head)
        file.write(values.tobytes())
    outcome = earzip("decode-latents", array)
    assert outcome.exit_code == 3
    assert "expected [latents, frames]" in outcome.stderr


@pytest.mark.parametrize(
    ("old", "new"), [(b"), }", b" , }"), (b"'<f4'", b"'<,4'"), (b"{'descr", b"{3: 1, '")]
)
def test_a_damaged_header_is_refused(earzip, array, old, new):
    data = array.read_bytes()
    assert data.count(old) == 1
    array.write_bytes(data.replace(old, new))
    outcome = earzip("decode-latents", array, "-o", array.with_suffix(".flac"))
    assert outcome.exit_code == 3
    assert f"{array}: is not a .npy file: " in outcome.stderr


def test_a_header_of_too_many_layers_is_refused(earzip, array):
    header = b"-" * 9000 + b"1"
    array.write_bytes(b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header)
    outcome = earzip("decode-latents", array, "-o", array.with_suffix(".flac"))
    assert outcome.exit_code == 3
    assert f"{array}: is not a .npy file: its header is damaged\n" in outcome.stderr


def test_a_tar_that_leaves_out_zeros_is_refused(earzip, array):
    size = array.stat().st_size
    with array.open("r+b") as file:  # a hole in place of the values
        file.truncate(128)
        file.truncate(size)
    tar = array.with_suffix(".tar")
    subprocess.run(["tar", "--sparse", "-cf", tar, "-C", array.parent, array.name], check=True)
    outcome = earzip("decode-latents", tar, "-o", array.parent / "D")
    assert outcome.exit_code == 3
    told = f"{tar}: has song.npy without its zeros; pack it without --sparse"
    assert told in outcome.stderr


def test_facts_that_are_named_say_what_to_name(earzip, array):
    outcome = earzip("decode-latents", array.with_suffix(".json"))
    assert outcome.exit_code == 3
    assert "has facts of latents, not latents: name the .npy" in outcome.stderr


def test_an_array_that_was_cut_short_is_refused(earzip, array):
    array.write_bytes(array.read_bytes()[:-100])
    outcome = earzip("decode-latents", array)
    assert outcome.exit_code == 3
    assert "bytes of values, its header says" in outcome.stderr


def test_objects_are_not_unpickled(earzip, tiny_model, tmp_path):
    np.save(tmp_path / "x.npy", np.array([{}], object), allow_pickle=True)
    outcome = earzip("decode-latents", tmp_path / "x.npy", "--model", tiny_model)
    assert outcome.exit_code == 3
    assert "has values of the type object" in outcome.stderr


def test_a_tensor_among_several_must_be_called_latents(earzip, library, tmp_path):
    earzip("latents", library / "one.flac.earz", "-o", tmp_path / "x.safetensors")
    tensors = load_file(tmp_path / "x.safetensors")
    save_file({"a": tensors["latents"], "b": tensors["latents"]}, tmp_path / "y.safetensors")
    outcome = earzip("decode-latents", tmp_path / "y.safetensors", "--model", "tiny")
    assert "has no tensor 'latents' among its 2" in outcome.stderr


def test_a_shard_of_archives_is_for_restore(earzip, library, tmp_path):
    earzip("latents", library, "-o", tmp_path / "L", "--format", "webdataset-earz")
    outcome = earzip("decode-latents", tmp_path / "L", "-o", tmp_path / "D")
    assert outcome.exit_code == 3
    assert "holds no .npy files, but archives" in outcome.stderr


@pytest.mark.parametrize("name", ["../../out", "/etc/out", "a/../../out", "", "\ud800", 7])
def test_no_name_in_a_tar_leads_out_of_the_output(earzip, array, tmp_path, name):
    change_facts(array, name=name)
    with tarfile.open(tmp_path / "evil.tar", "w") as tar:
        tar.add(array, "../KEY.npy")
        tar.add(array.with_suffix(".json"), "../KEY.json")
    outcome = earzip("decode-latents", tmp_path / "evil.tar", "-o", tmp_path / "deep" / "D")
    assert outcome.exit_code == 0, outcome.stderr
    assert [p.name for p in (tmp_path / "deep").rglob("*.flac")] == ["KEY.flac"]
    assert not list(tmp_path.glob("*.flac"))


def test_an_existing_file_is_replaced_by_force_alone(earzip, array, tmp_path):
    target = tmp_path / "x.flac"
    target.write_bytes(b"precious")
    refused = earzip("decode-latents", array, "-o", target)
    assert (refused.exit_code, target.read_bytes()) == (3, b"precious")
    assert "already exists; use --force" in refused.stderr
    assert earzip("decode-latents", array, "-o", target, "--force").exit_code == 0
    assert_same_sound(target, tmp_path / "Restored" / "one.flac")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "x.flac", "--format", "wav"], "contradicts the name of the output"),
        (["--bits", "float"], "--bits float needs --format wav"),
        (["-o", "x.mp3"], "must end in .flac or .wav"),
        (["-o", "-"], "not through -"),
    ],
)
def test_contradictions_are_refused(earzip, array, arguments, message):
    outcome = earzip("decode-latents", array, *arguments)
    assert outcome.exit_code == 2
    assert message in outcome.stderr


def test_a_folder_without_latents_fails(earzip, tmp_path):
    outcome = earzip("decode-latents", tmp_path)
    assert outcome.exit_code == 3
    assert "contains no latents" in outcome.stderr
