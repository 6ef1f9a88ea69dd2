"""Models imported and exported, with the published network at four base channels."""

from __future__ import annotations

import gzip
import io
import pickle
import zipfile
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file, save, save_file

from earzip.errors import ModelDamagedError, SourceError, TargetError, UsageError
from earzip.models.checkpoint_file import read_tensors
from earzip.models.install import export_model, import_model
from earzip.models.spec import ModelSpec
from earzip.models.store import find_model, load_codec
from earzip.options import CompressOptions
from earzip.runtime import Runtime
from earzip.transcode.compress import compress_file
from earzip.transcode.inspect import read_info
from earzip.transcode.restore import restore_file
from tests.conftest import tones
from tests.earzip.models.conftest import CHECKPOINT, contents, options


def test_an_imported_model_is_found_by_its_name(spec: ModelSpec, folder: Path) -> None:
    assert find_model("tiny-ear") == spec
    assert contents(folder) == ["tiny-ear.json", "tiny-ear.safetensors"]
    assert (spec.licence, spec.source) == ("Apache-2.0", "random")


@pytest.mark.parametrize("n_samples", [0, 1, 1023, 1024, 256 * 1024 + 5])
def test_archives_of_an_imported_model_come_back(
    spec: ModelSpec, tmp_path: Path, n_samples: int
) -> None:
    song, archive, restored = (tmp_path / n for n in ("s.wav", "s.wav.earz", "r.wav"))
    soundfile.write(song, tones(n_samples).T, 44_100)
    compress_file(song, archive, CompressOptions(model="tiny-ear"))
    assert read_info(archive).header.model.sha256 == spec.sha256
    restore_file(archive, restored)
    assert soundfile.info(restored).frames == n_samples


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_archives_do_not_depend_on_threads(spec: ModelSpec, precision: str) -> None:
    audio = tones(600_000)
    one, two = (
        list(load_codec(spec, Runtime("cpu", precision=precision, threads=threads)).encode([audio]))
        for threads in (1, 2)
    )
    assert len(one) > 2
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_pickled_checkpoint_gives_the_same_model(
    spec: ModelSpec, music: Path, tmp_path: Path
) -> None:
    torch.save(load_file(CHECKPOINT), tmp_path / "tiny.pyt")
    again = import_model(tmp_path / "tiny.pyt", [music], options(), tmp_path / "models")
    assert again.sha256 == spec.sha256


def test_nothing_in_a_pickle_is_run(music: Path, tmp_path: Path, folder: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "owned",)  # type: ignore[return-value]

    (tmp_path / "evil.pyt").write_bytes(pickle.dumps({"weight": Evil()}, protocol=2))
    torch.save({"weight": Evil()}, tmp_path / "evil2.pyt")
    for name in ("evil.pyt", "evil2.pyt"):
        with pytest.raises(ModelDamagedError, match=f"{name}: cannot be read as a checkpoint"):
            import_model(tmp_path / name, [music], options())
    assert not (tmp_path / "owned").exists()
    assert contents(folder) == []


def _zipped(name: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, "text")
    return file.getvalue()


def _saved(value: object) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
TENSORS = {"weight": torch.zeros(2)}


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("x.pyt", b"", "it is empty"),
        ("x.safetensors", b"", "it is empty"),
        (
            "x.pyt",
            POINTER,
            "it is a Git LFS pointer, which stands for the file; `git lfs pull` gets that",
        ),
        (
            "x.safetensors",
            POINTER,
            "it is a Git LFS pointer, which stands for the file; `git lfs pull` gets that",
        ),
        (
            "x.pyt",
            b"\n<!DOCTYPE html><html>",
            "it is a web page, not the file that was to be downloaded",
        ),
        ("x.pyt", b"Entry not\nfound", "it is text, which begins with 'Entry not found'"),
        ("x.pyt", gzip.compress(b"x", mtime=0), "it is compressed by gzip"),
        ("x.pyt", b"RIFF\0\0\0\0WAVEfmt ", "it is neither a PyTorch file nor a safetensors file"),
        ("x.pyt", _zipped("readme.txt"), "it is a ZIP archive without a PyTorch checkpoint"),
        (
            "x.pyt",
            _saved(TENSORS)[:400],
            "it is a PyTorch file or a ZIP archive that is cut short or damaged",
        ),
        (
            "x.pyt",
            _saved({"args": Decimal(1)}),
            "it is a pickle of more than tensors (decimal.Decimal), which earzip does not load",
        ),
        (
            "x.pyt",
            pickle.dumps(Decimal(1)),
            "it is a pickle of more than tensors, which earzip does not load",
        ),
        ("x.pyt", save(TENSORS), "it is a safetensors file; its name has to end in .safetensors"),
        ("x.safetensors", _saved(TENSORS), "it is a PyTorch file; its name has to end in .pyt"),
        (
            "x.safetensors",
            save(TENSORS)[:-1],
            "it is a safetensors file that is cut short or damaged",
        ),
    ],
)
@pytest.mark.filterwarnings("error")
def test_a_wrong_file_is_one_sentence_on_what_it_is(
    tmp_path: Path, name: str, content: bytes, what: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelDamagedError) as refused:
        read_tensors(tmp_path / name)
    assert refused.value.message == f"cannot be read as a checkpoint: {what}"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("decoder.layers.7.weight_g"), "decoder.layers.7.weight_g is missing"),
        (lambda w: w.update(extra=torch.ones(1)), "extra is not a part of the network"),
        (
            lambda w: w.update({"encoder.layers.0.bias": torch.ones(5)}),
            r"encoder.layers.0.bias has the shape \(5,\), expected \(4,\)",
        ),
    ],
)
def test_a_checkpoint_of_another_network_is_refused(
    music: Path, tmp_path: Path, folder: Path, change, message: str
) -> None:
    weights = load_file(CHECKPOINT)
    change(weights)
    save_file(weights, tmp_path / "other.safetensors")
    with pytest.raises(ModelDamagedError, match=message):
        import_model(tmp_path / "other.safetensors", [music], options())
    assert contents(folder) == []


def test_the_configuration_of_the_full_size_is_the_default(music: Path) -> None:
    with pytest.raises(ModelDamagedError, match=r"expected \(128,"):
        import_model(CHECKPOINT, [music], options(config=None))


@pytest.mark.parametrize("text", ["{", "[]", '{"encoder": 3}'])
def test_a_bad_configuration_is_a_usage_error(music: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UsageError, match=r"config.json: not the configuration of an εar-VAE"):
        import_model(CHECKPOINT, [music], options(config=tmp_path / "config.json"))


def test_a_model_of_that_name_is_replaced_by_force_alone(spec: ModelSpec, music: Path) -> None:
    with pytest.raises(TargetError, match=r"tiny-ear.safetensors: already exists"):
        import_model(CHECKPOINT, [music], options())
    forced = import_model(CHECKPOINT, [music], options(force=True, licence="MIT"))
    assert find_model("tiny-ear") == forced
    assert forced.licence == "MIT"


def test_music_that_cannot_be_read_leaves_the_installed_model_alone(
    spec: ModelSpec, tmp_path: Path, folder: Path
) -> None:
    (tmp_path / "text.flac").write_text("no music")
    with pytest.raises(SourceError, match=r"text.flac"):
        import_model(CHECKPOINT, [tmp_path / "text.flac"], options(force=True))
    with pytest.raises(SourceError, match="no sound file to calibrate with"):
        import_model(CHECKPOINT, [folder], options(force=True))
    with pytest.raises(SourceError, match="there is no such file"):
        import_model(CHECKPOINT, [tmp_path / "nowhere"], options(force=True))
    assert find_model("tiny-ear") == spec
    assert contents(folder) == ["tiny-ear.json", "tiny-ear.safetensors"]


def test_an_export_is_all_that_archives_need(
    spec: ModelSpec, tmp_path: Path, song: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "song.earz"
    compress_file(song, archive, CompressOptions(model="tiny-ear"))
    kept = tmp_path / "kept"
    exported = export_model(spec, kept)
    assert contents(kept) == ["SPEC.md", "tiny-ear.json", "tiny-ear.safetensors"]
    assert sorted(exported) == sorted(kept.iterdir())
    for path in folder.iterdir():
        path.unlink()
    monkeypatch.setenv("EARZIP_MODELS", str(kept))
    restore_file(archive, tmp_path / "restored.flac")
    with pytest.raises(TargetError, match="already exists"):
        export_model(find_model("tiny-ear"), kept)


def test_damaged_weights_are_not_exported(spec: ModelSpec, tmp_path: Path) -> None:
    data = bytearray(spec.weights_path.read_bytes())
    data[-1] ^= 1
    spec.weights_path.write_bytes(data)
    with pytest.raises(ModelDamagedError, match="weights have SHA-256"):
        export_model(spec, tmp_path / "kept")


@pytest.mark.parametrize("name", ["", "../x", "a b", "x" * 65])
def test_names_that_models_cannot_have_are_usage_errors(music: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot name a model"):
        import_model(CHECKPOINT, [music], options(name=name))


def test_a_track_that_cannot_be_read_is_told_and_left_out(music: Path) -> None:
    (music / "text.flac").write_text("no music")
    told: list[SourceError] = []
    spec = import_model(CHECKPOINT, [music], options(on_unreadable=told.append))
    assert [Path(str(error.path)).name for error in told] == ["text.flac"]
    (music / "text.flac").unlink()
    again = import_model(CHECKPOINT, [music], options(force=True))
    assert again.step_exponents == spec.step_exponents


def test_the_name_of_an_embedded_model_is_refused(music: Path) -> None:
    with pytest.raises(UsageError, match="'mini' is the name of an embedded model"):
        import_model(CHECKPOINT, [music], options(name="mini"))
