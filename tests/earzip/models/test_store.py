"""Models in folders: what is malformed hides nothing, and what a specification may say."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from earzip.coding.quantizer import quantize
from earzip.errors import ModelDamagedError, ModelNotFoundError
from earzip.formats.archive.records import QuantizerRecord
from earzip.formats.geometry import MAX_CONTEXT_FRAMES, MAX_INTEGER_BYTES
from earzip.models.spec import ModelSpec, Preset
from earzip.models.store import (
    find_model,
    find_model_of_archive,
    list_models,
    load_codec,
    model_folders,
)
from tests.conftest import MODELS


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of models that holds `tiny`, and before it by name a file that is no model."""
    shelf = tmp_path / "models"
    shutil.copytree(MODELS, shelf)
    (shelf / "a.json").write_text("{}")
    monkeypatch.setenv("EARZIP_MODELS", str(shelf))
    return shelf


def _spec(**changes: Any) -> dict[str, Any]:
    return json.loads((MODELS / "tiny.json").read_text()) | changes


def test_a_stray_file_hides_no_model(shelf):
    spec = find_model("tiny")
    assert find_model_of_archive("tiny", spec.sha256) == spec
    with pytest.raises(ModelNotFoundError, match=r"no model 'none' is installed; .*tiny"):
        find_model("none")


def test_the_list_tells_what_is_malformed(shelf):
    specs, problems = list_models()
    assert "tiny" in [spec.name for spec in specs]
    assert [problem.path for problem in problems] == [str(shelf / "a.json")]


def test_a_malformed_file_that_is_named_is_an_error(shelf):
    with pytest.raises(ModelDamagedError, match=r"not a model specification: it has no 'format'$"):
        find_model(str(shelf / "a.json"))


def test_a_malformed_model_that_is_asked_for_is_told_with_its_reason(shelf):
    (shelf / "big.json").write_text(json.dumps(_spec(name="big", n_latents=0)))
    why = r"big.json: not a model specification: n_latents is 0"
    with pytest.raises(ModelDamagedError, match=why):
        find_model("big")
    sha256 = "0123456789abcdef" * 4
    with pytest.raises(ModelNotFoundError, match=rf"not installed \(\S*{why}.*\); put its "):
        find_model_of_archive("big", sha256)


def test_a_malformed_file_hides_no_model_of_its_name_in_a_later_folder(shelf, monkeypatch):
    monkeypatch.setenv("EARZIP_MODELS", f"{shelf}:{MODELS}")
    (shelf / "tiny.json").write_text("{}")
    assert find_model("tiny").path == MODELS / "tiny.json"


def test_the_search_ends_at_the_first_match(shelf, monkeypatch):
    later = shelf / "later"
    later.mkdir()
    (later / "b.json").write_text("{}")
    monkeypatch.setenv("EARZIP_MODELS", f"{shelf}:{later}")
    read, original = [], ModelSpec.read
    monkeypatch.setattr(ModelSpec, "read", lambda path: read.append(path) or original(path))
    find_model("tiny")
    assert later / "b.json" not in read


def test_a_user_without_a_home_has_no_folder_there(monkeypatch):
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setattr(Path, "home", no_home)
    assert len(model_folders()) == 1
    assert find_model("mini").name == "mini"


def test_an_archives_absent_model_is_named_with_ways_to_it(shelf):
    sha256 = "0123456789abcdef" * 4
    need = f"needs model {{!r}} with SHA-256 {sha256}, which is not installed"
    embedded = find_model("mini").sha256[:16]
    by_hand = (
        f"put its .json and .safetensors .* into {model_folders()[-1]} "
        "or into .earzip beside the archive, or set EARZIP_MODELS to their directory$"
    )
    for name, way in (
        ("ear-vae-44k", "; `earzip models fetch ear-vae-44k --music PATH` installs the published"),
        ("mini", rf" \(one of that name is, .* {embedded}…\); it is embedded in another ver"),
        ("mine", "; put "),
    ):
        with pytest.raises(ModelNotFoundError, match=by_hand) as caught:
            find_model_of_archive(name, sha256)
        assert re.match(need.format(name) + way, caught.value.message)


@pytest.mark.parametrize("name", ["ear-vae-44k", "mine"])
def test_a_model_that_is_asked_for_and_absent_is_told_with_ways_to_it(shelf, name):
    with pytest.raises(ModelNotFoundError, match=r"its \.json and \.safetensors .*") as caught:
        find_model(name)
    published = "`earzip models fetch ear-vae-44k --music PATH`" in caught.value.message
    assert published is (name == "ear-vae-44k")


def test_rates_of_presets_are_optional_and_no_part_of_the_identity(tmp_path):
    rates = {"low": 6, "medium": 12.5, "high": 0}
    presets = {name: {**_PRESETS[name], "kbps": kbps} for name, kbps in rates.items()}
    path = tmp_path / "x.json"
    path.write_text(json.dumps(_spec(presets=presets)))
    rated, plain = ModelSpec.read(path), ModelSpec.read(MODELS / "tiny.json")
    assert {name: preset.kbps for name, preset in rated.presets.items()} == rates
    assert {preset.kbps for preset in plain.presets.values()} == {None}
    assert rated.sha256 == plain.sha256
    assert rated.to_json() == json.loads(path.read_text())
    assert plain.to_json() == _spec()


def test_presets_move_the_steps_of_a_transform_by_their_shares():
    spec = ModelSpec.read(MODELS / "tiny-transform.json")
    assert spec.layout.n_sparse == 200
    assert spec.exponents_at(Preset(17, 0.5)).tolist() == [17] * 200 + [-32 + 8] * 4
    spectral = ModelSpec.read(MODELS / "tiny.json")
    assert spectral.layout.n_sparse == 0
    assert spectral.exponents_at(Preset(17, 0.5)).tolist() == [-32 + 17] * 52


def test_presets_that_move_others_by_a_number_of_their_own_are_read(tmp_path):
    low = {"exponent": 30, "rounding": 0.35, "others": -8, "thrift": 0.12}
    members = {**_TRANSFORM, "presets": {**_PRESETS, "low": low}}
    path = tmp_path / "x.json"
    path.write_text(json.dumps(members))
    spec = ModelSpec.read(path)
    assert spec.presets["low"] == Preset(30, 0.35, others=-8, thrift=0.12)
    assert spec.to_json() == members  # of the other presets without either
    assert spec.exponents_at(spec.presets["low"]).tolist() == [30] * 200 + [-40] * 4
    still = replace(spec.presets["low"], others=0)
    assert spec.exponents_at(still).tolist() == [30] * 200 + [-32] * 4


@pytest.mark.parametrize(
    ("others", "is_read"), [(287, True), (288, False), (-223, True), (-224, False)]
)
def test_what_a_preset_adds_to_others_counts_for_the_limits_of_an_archive(others, is_read):
    """Here on exponents of −32, beside coefficients at 0: 255 apart at the most."""
    spec = ModelSpec.read(MODELS / "tiny-transform.json")
    presets = spec.presets | {"low": Preset(0, 0.5, others=others)}
    with nullcontext() if is_read else pytest.raises(ValueError, match="steps of low"):
        moved = replace(spec, presets=presets)
        QuantizerRecord("low", tuple(moved.exponents_at(presets["low"]).tolist()))


def test_integers_are_rounded_as_the_architecture_has_them():
    transform, levels = (ModelSpec.read(MODELS / f"tiny-{x}.json") for x in ("transform", "levels"))
    rng = np.random.default_rng(0)
    for spec in (transform, levels):
        latents = rng.normal(0, 2, (spec.n_latents, 20)).astype(np.float32)
        plain = {thrift: Preset(0, 0.5, thrift=thrift) for thrift in (None, 0.0, 0.3)}
        q = {thrift: spec.quantize(latents, preset) for thrift, preset in plain.items()}
        np.testing.assert_array_equal(q[None], q[0.0])
        expected = quantize(latents, spec.exponents_at(plain[None]))
        n = spec.layout.n_sparse
        if spec is transform:
            np.testing.assert_array_equal(q[0.3], expected)
        else:
            assert np.abs(q[0.3][:n]).sum() < np.abs(q[0.0][:n]).sum()
        halves = np.abs(latents[:n] / 2 ** (spec.exponents_at(plain[None])[:n, None] / 16)) % 1
        is_sure = np.abs(halves - 0.5) > 1e-3
        np.testing.assert_array_equal(q[0.0][:n][is_sure], expected[:n][is_sure])


_GEOMETRY = _spec()["geometry"]
_PRESETS = _spec()["presets"]
_TRANSFORM = json.loads((MODELS / "tiny-transform.json").read_text())


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "../x"},
        {"name": "a b"},
        {"name": 3},
        {"licence": None},
        {"n_latents": 0, "step_exponents": []},
        {"n_latents": 4097, "step_exponents": [0] * 4097},
        {"step_exponents": [1025] * 52},
        {"step_exponents": [-1025] * 52},
        {"step_exponents": [0.5] * 52},
        {"step_exponents": [True] * 52},
        {"step_exponents": ["0"] * 52},
        {"step_exponents": [0] * 51},
        {"step_exponents": 0},
        {"step_exponents": None},
        {"step_exponents": [0] * 51 + [256]},
        {"step_exponents": [1010] * 52},  # 1026 with what `low` adds
        {"config": []},
        {"config": "n_bins"},
        {"config": None},
        {"geometry": []},
        {"presets": []},
        {"geometry": {**_GEOMETRY, "hop": 0}},
        {"geometry": {**_GEOMETRY, "hop": 256.0}},
        {"geometry": {**_GEOMETRY, "lead": -1}},
        {"geometry": {**_GEOMETRY, "core": True}},
        {"geometry": {**_GEOMETRY, "core": MAX_INTEGER_BYTES // (2 * 52) + 1}},
        {**_TRANSFORM, "geometry": {**_TRANSFORM["geometry"], "core": MAX_CONTEXT_FRAMES + 1}},
        {"geometry": {**_GEOMETRY, "encoder_context": 65}},
        {"geometry": {**_GEOMETRY, "decoder_context": 65}},
        {"geometry": {**_GEOMETRY, "extra": 1}},
        {"geometry": {"hop": 256}},
        {"presets": {**_PRESETS, "low": {"exponent": 5000, "rounding": 0.5}}},
        {"presets": {**_PRESETS, "low": {"exponent": 0, "rounding": float("nan")}}},
        *(
            {"presets": {**_PRESETS, "low": {**_PRESETS["low"], **odd}}}
            for odd in (
                {"others": 1025},
                {"others": -1025},
                {"others": 0.5},
                {"others": None},
                {"thrift": -0.1},
                {"thrift": 10.1},
                {"thrift": True},
                {"thrift": float("nan")},
                {"thrift": "0.1"},
            )
        ),
        *(
            {"presets": {**_PRESETS, "low": {**_PRESETS["low"], "kbps": kbps}}}
            for kbps in (-1, float("nan"), float("inf"), True, "6")
        ),
    ],
)
def test_a_specification_out_of_range_is_malformed(tmp_path, changes):
    path = tmp_path / "x.json"
    path.write_text(json.dumps(_spec(**changes)))
    with pytest.raises(ModelDamagedError, match="not a model specification"):
        ModelSpec.read(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": 3},
        {"weights_sha256": None},
        {"step_exponents": 0},
        {"presets": dict.fromkeys(_PRESETS)},
    ],
)
def test_a_specification_of_wrong_types_is_a_value_error(changes):
    spec = ModelSpec.read(MODELS / "tiny.json")
    with pytest.raises(ValueError, match=f"^{'|'.join(changes)}.* is "):
        replace(spec, **changes)


@pytest.mark.parametrize("rounding", ["a", None, True, -0.01, 1.01])
def test_a_preset_of_wrong_types_is_a_value_error(rounding):
    with pytest.raises(ValueError, match=r"^rounding is "):
        Preset(0, rounding)
    with pytest.raises(ValueError, match=r"^kbps is '6'"):
        Preset(0, 0.5, "6")


def test_steps_at_the_limits_of_an_archive_are_read(tmp_path):
    path = tmp_path / "x.json"
    path.write_text(json.dumps(_spec(step_exponents=[*range(52 - 1), 255])))
    spec = ModelSpec.read(path)
    for preset in spec.presets.values():
        QuantizerRecord("x", tuple(spec.exponents_at(preset).tolist()))


@pytest.mark.parametrize(("exponent", "is_read"), [(-1008, True), (-1009, False)])
def test_steps_below_the_least_of_an_archive_are_malformed(exponent, is_read):
    """Here `high` adds −16: the finest step of an archive is at −1024."""
    spec = ModelSpec.read(MODELS / "tiny.json")
    presets = spec.presets | {"high": Preset(-16, 0.5)}
    with nullcontext() if is_read else pytest.raises(ValueError, match=r"steps of high .* -1025"):
        fine = replace(spec, step_exponents=(exponent,) * 52, presets=presets)
        QuantizerRecord("high", tuple(fine.exponents_at(presets["high"]).tolist()))


@pytest.mark.parametrize("added", [17, 19])
@pytest.mark.parametrize(("spread", "is_read"), [(246, True), (247, False)])
def test_half_of_an_odd_preset_counts_as_it_is_rounded(added, spread, is_read):
    """Half of 17 is 8 and half of 19 is 10, to the even one: 9 more between the latents by either."""
    spec = ModelSpec.read(MODELS / "tiny-transform.json")
    presets = spec.presets | {"low": Preset(added, 0.5)}
    with nullcontext() if is_read else pytest.raises(ValueError, match="steps of low"):
        wide = replace(spec, step_exponents=(spread,) * 200 + (0,) * 4, presets=presets)
        QuantizerRecord("low", tuple(wide.exponents_at(presets["low"]).tolist()))


def test_half_a_preset_that_latents_behind_coefficients_get_counts(tmp_path):
    """Of a transform `low` adds 16 to coefficients and 8 to the rest: 8 more between them."""
    path = tmp_path / "x.json"
    for spread, is_read in ((247, True), (248, False)):
        steps = [spread] * 200 + [0] * 4
        path.write_text(json.dumps({**_TRANSFORM, "step_exponents": steps}))
        with nullcontext() if is_read else pytest.raises(ModelDamagedError, match="steps of low"):
            spec = ModelSpec.read(path)
            QuantizerRecord("low", tuple(spec.exponents_at(spec.presets["low"]).tolist()))


_CONFIG = _spec()["config"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"n_latents": 51, "step_exponents": [0] * 51},
            "n_latents is 51, its config has 52$",
        ),
        ({"geometry": {**_GEOMETRY, "hop": 128}}, "hop is 128, its config has 256$"),
        ({"config": {}}, "n_latents is 52, its config has 224$"),
        (
            {"config": {"hop": "x"}},
            "config does not describe a network: hop is 'x', expected an integer",
        ),
        ({"config": {"x": 1}}, "config does not describe a network: x is unknown"),
        (
            {"config": {**_CONFIG, "hop": 2**70}},
            "config does not describe a network: hop is 1180591620",
        ),
        (
            {"config": {**_CONFIG, "width": 2**40}},
            "config does not describe a network: width is 10995116",
        ),
        ({"config": {**_CONFIG, "width": 8}}, "weights do not fit the specification: "),
        (
            {"architecture": "ear"},
            "config does not describe a network: .* is unknown; expected one of channels",
        ),
        (
            {"architecture": "deaf"},
            "config does not describe a network: unknown architecture 'deaf'",
        ),
    ],
)
def test_a_specification_of_another_network_is_not_loaded(tmp_path, changes, message):
    path = tmp_path / "x.json"
    path.write_text(json.dumps(_spec(**changes)))
    shutil.copy(MODELS / "tiny.safetensors", tmp_path / "x.safetensors")
    with pytest.raises(ModelDamagedError, match=rf"x.json: {message}"):
        load_codec(ModelSpec.read(path))


@pytest.mark.parametrize("error", [OverflowError, MemoryError])
def test_a_network_that_cannot_be_allocated_is_a_damaged_model(monkeypatch, error):
    monkeypatch.setattr("earzip.network.networks.SpectralVae", _raising(error))
    with pytest.raises(ModelDamagedError, match=r"tiny.json: weights do not fit"):
        load_codec(ModelSpec.read(MODELS / "tiny.json"))


def test_a_network_of_another_size_is_refused_before_it_is_allocated(tmp_path, monkeypatch):
    path = tmp_path / "x.json"
    path.write_text(json.dumps(_spec(config={**_CONFIG, "hop": 32_768})))
    shutil.copy(MODELS / "tiny.safetensors", tmp_path / "x.safetensors")
    monkeypatch.setattr("earzip.network.networks.SpectralVae", _raising(AssertionError))
    with pytest.raises(ModelDamagedError, match="hop is 256, its config has 32768"):
        load_codec(ModelSpec.read(path))


def _raising(error: type[Exception]) -> Callable[..., None]:
    def fail(*_arguments: object) -> None:
        raise error

    return fail


def test_a_file_nested_beyond_measure_is_malformed(tmp_path):
    path = tmp_path / "x.json"
    path.write_text("[" * 200_000)
    with pytest.raises(ModelDamagedError):
        ModelSpec.read(path)
