"""Models by name, by file or by the SHA-256 an archive names; their files, checked and loaded.

A model is two files: ``NAME.json``, its specification, and ``NAME.safetensors``, its weights. They are
looked for inside the package, then in the folders of ``EARZIP_MODELS`` (separated like PATH), then in
``earzip/models`` under ``XDG_DATA_HOME`` (default ``~/.local/share``); that of an archive at last
beside it (`earzip.models.beside`). A malformed specification in a folder hides no other one. This
module loads torch only to build a network.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from earzip.errors import EarzipError, ModelDamagedError, ModelNotFoundError
from earzip.formats.atomic import sha256_of
from earzip.formats.names import MODEL_FOLDER
from earzip.models.beside import models_beside
from earzip.models.hub import PUBLICATIONS
from earzip.models.spec import ModelSpec
from earzip.runtime import Runtime

if TYPE_CHECKING:
    from earzip.coding.codec import Codec


_EMBEDDED = Path(__file__).parent.parent / "weights"


def model_folders() -> list[Path]:
    """Return the folders that models are looked for in, in order."""
    named = [Path(p) for p in os.environ.get("EARZIP_MODELS", "").split(os.pathsep) if p]
    folders = [_EMBEDDED, *named]
    if data_home := os.environ.get("XDG_DATA_HOME"):
        folders.append(Path(data_home, "earzip", "models"))
    else:
        with suppress(RuntimeError):  # a user without a home
            folders.append(Path.home() / ".local" / "share" / "earzip" / "models")
    return folders


def _installed() -> Iterator[ModelSpec | EarzipError]:
    """Yield each specification in the folders, or why it is none, in the order of looking."""
    for folder in model_folders():
        for path in sorted(folder.glob("*.json")):
            try:
                yield ModelSpec.read(path)
            except (ModelNotFoundError, ModelDamagedError) as error:
                yield error


def list_models() -> tuple[list[ModelSpec], list[EarzipError]]:
    """Return every installed model, the first of a name, and the errors of others."""
    found: dict[str, ModelSpec] = {}
    problems: list[EarzipError] = []
    for spec in _installed():
        if isinstance(spec, ModelSpec):
            found.setdefault(spec.name, spec)
        else:
            problems.append(spec)
    return list(found.values()), problems


def find_model(name_or_path: str) -> ModelSpec:
    """Return the model of that name, or in that ``.json`` file.

    Raises ModelNotFoundError if there is none, ModelDamagedError if it is malformed.
    """
    if name_or_path.endswith(".json"):
        return ModelSpec.read(Path(name_or_path))
    for spec in _installed():
        if isinstance(spec, ModelSpec) and spec.name == name_or_path:
            return spec
    if problem := _problem_of(name_or_path):
        raise problem
    names = ", ".join(spec.name for spec in list_models()[0])
    raise ModelNotFoundError(
        f"no model {name_or_path!r} is installed; installed: {names}; {_how_to_install(name_or_path)}"
    )


def models_of_archive(name: str, sha256: str, archive: Path | None = None) -> Iterator[ModelSpec]:
    """Yield the models an archive names by ``sha256``: installed ones, then those kept beside it.

    All are the same, but the weights of one may be missing or damaged. Raises ModelNotFoundError if there
    is none.
    """
    found = False
    installed = (spec for spec in _installed() if isinstance(spec, ModelSpec))
    for spec in chain(
        (spec for spec in installed if spec.sha256 == sha256),
        models_beside(archive, sha256) if archive else (),
    ):
        found = True
        yield spec
    if not found:
        raise ModelNotFoundError(_not_installed(name, sha256))


def find_model_of_archive(name: str, sha256: str, archive: Path | None = None) -> ModelSpec:
    """Return the first of `models_of_archive`. Raises ModelNotFoundError if there is none."""
    return next(models_of_archive(name, sha256, archive))


def _not_installed(name: str, sha256: str) -> str:
    """Return in words that no model has the SHA-256, and what there is instead."""
    others = [spec.sha256[:16] for spec in list_models()[0] if spec.name == name]
    another = f" (one of that name is, with SHA-256 {others[0]}…)" if others else ""
    if problem := _problem_of(name):
        another += f" ({problem})"
    return (
        f"needs model {name!r} with SHA-256 {sha256}, which is not installed{another}; "
        f"{_how_to_install(name)}"
    )


def _problem_of(name: str) -> EarzipError | None:
    """Return the error of the file of the model ``name``, if there is an invalid one."""
    problems = (p for p in list_models()[1] if p.path and Path(p.path).stem == name)
    return next(problems, None)


def _how_to_install(name: str) -> str:
    """Return in words how to get a missing model."""
    files = (
        f"put its .json and .safetensors (from `earzip models export`) into "
        f"{model_folders()[-1]} or into {MODEL_FOLDER} beside the archive, or set EARZIP_MODELS to their "
        f"directory"
    )
    if name in PUBLICATIONS:
        return f"`earzip models fetch {name} --music PATH` installs the published one, or {files}"
    if Path(_EMBEDDED, f"{name}.json").exists():
        return f"it is embedded in another version of earzip, or {files}"
    return files


def verify_model(spec: ModelSpec) -> None:
    """Check the weights against the specification; ModelNotFoundError or ModelDamagedError."""
    spec.require_weights(sha256_of(spec.weights_path, ModelNotFoundError))


def load_codec(spec: ModelSpec, runtime: Runtime | None = None) -> Codec:
    """Return the codec of ``spec``, its weights checked and in float32; on the CPU by default.

    ``runtime.device`` is a device by name, as `earzip.coding.device.choose_device` gives it. Raises
    ModelNotFoundError, ModelDamagedError, or DeviceError where a GPU's memory is too small; see
    `earzip.coding.codec.Codec` for the options.
    """
    runtime = runtime or Runtime("cpu")
    # Here, because they load torch, which listing and finding models does not need.
    from safetensors import SafetensorError  # noqa: PLC0415
    from safetensors.torch import load_file  # noqa: PLC0415

    from earzip.coding.codec import Codec  # noqa: PLC0415
    from earzip.formats.geometry import SAMPLE_RATE, Geometry  # noqa: PLC0415
    from earzip.network.networks import (  # noqa: PLC0415
        WithoutDrawing,
        build_network,
        ready_to_run,
    )

    verify_model(spec)
    _require_its_network(spec)
    try:
        with WithoutDrawing():
            network = build_network(spec.architecture, spec.config)
        ready_to_run(network, load_file(spec.weights_path))
    except (
        SafetensorError,
        RuntimeError,
        TypeError,
        ValueError,
        OverflowError,
        MemoryError,
    ) as error:
        raise ModelDamagedError(
            f"weights do not fit the specification: {error}", spec.path
        ) from error
    return Codec(
        network,
        Geometry(SAMPLE_RATE, **spec.geometry),
        spec.n_latents,
        **asdict(runtime),
    )


def _require_its_network(spec: ModelSpec) -> None:
    """Refuse a configuration of another network than ``spec`` is of, before one is allocated."""
    from earzip.network.config import network_config  # noqa: PLC0415  # loads torch

    try:
        config = network_config(spec.architecture, spec.config)
    except ValueError as error:
        raise ModelDamagedError(
            f"config does not describe a network: {error}", spec.path
        ) from error
    for what, got, said in (
        ("n_latents", config.n_latents, spec.n_latents),
        ("hop", config.hop, spec.geometry["hop"]),
    ):
        if got != said:
            raise ModelDamagedError(f"{what} is {said}, its config has {got}", spec.path)
