"""Models kept beside archives: in a folder ``.earzip`` of theirs, or of one above.

    Archive/.earzip/mini-5f0c….json, mini-5f0c….safetensors      put there by `keep_model`
    Archive/Artist/song.flac.earz                                finds them by `models_beside`

What such files are called proves nothing: a model counts only if its identity is the SHA-256 that the
archive names. Loads no torch.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import IO

from earzip.errors import ModelDamagedError, ModelNotFoundError, TargetError
from earzip.formats.atomic import atomic_write, look_again, make_folder, reap_stale, sha256_of
from earzip.formats.names import MODEL_FOLDER
from earzip.models.spec import ModelSpec

_MOST_FOLDERS = 64  # above an archive
_MOST_ENTRIES = 1000  # of a folder that is looked in
_MOST_SPECS = 32
_MOST_WEIGHT_BYTES = 4 << 30  # beyond any model that is meant: hashing more is no one's wish
_COPY_BYTES = 1 << 20


def kept_weights(spec: ModelSpec, folder: Path) -> Path:
    """Return where `keep_model` puts the weights for the archives in and below ``folder``."""
    return folder / MODEL_FOLDER / f"{spec.name}-{spec.sha256[:16]}.safetensors"


def is_kept(spec: ModelSpec, folder: Path) -> bool:
    """Return whether `keep_model` has nothing left to do.

    Raises TargetError where another file has the name of one of the model's.
    """
    weights = kept_weights(spec, folder)
    return all([_has_weights(spec, weights), _has_spec(spec, weights.with_suffix(".json"))])


def keep_model(spec: ModelSpec, folder: Path) -> None:
    """Put the files of ``spec`` into the ``.earzip`` of ``folder``, unless they are there.

    Any number of runs may do so at once. Raises TargetError where they cannot be written or another file
    has the name of one, which is never replaced; ModelNotFoundError or ModelDamagedError for weights that
    are not the specified ones, of which nothing is left there.
    """
    weights = kept_weights(spec, folder)
    make_folder(weights)
    reap_stale(weights.parent)
    # The specification last: without it the weights are not found.
    look_again(lambda: _put_weights(spec, weights))
    look_again(lambda: _put_spec(spec, weights.with_suffix(".json")))


def models_beside(archive: Path, sha256: str) -> Iterator[ModelSpec]:
    """Yield each model of identity ``sha256`` that is kept beside ``archive``, the nearest first.

    Its weights are not checked yet: `earzip.models.store.load_codec` does that. Raises nothing.
    """
    for folder in _folders_above(archive):
        for path in _spec_files(folder / MODEL_FOLDER, sha256):
            try:
                spec = ModelSpec.read(path)
            except (ModelNotFoundError, ModelDamagedError):
                continue
            if spec.sha256 == sha256 and _is_usable(spec.weights_path):
                yield spec


def _has_weights(spec: ModelSpec, path: Path) -> bool:
    if not os.path.lexists(path):
        return False
    if not path.is_file() or sha256_of(path, TargetError) != spec.weights_sha256:
        raise TargetError(
            f"is there, but not as the weights of {spec.name!r}, or has changed; remove it",
            path,
        )
    return True


def _has_spec(spec: ModelSpec, path: Path) -> bool:
    if not os.path.lexists(path):
        return False
    try:
        if path.is_file() and ModelSpec.read(path).sha256 == spec.sha256:
            return True
    except (ModelNotFoundError, ModelDamagedError):
        pass
    raise TargetError(f"is there, but does not specify {spec.name!r}; remove it", path)


def _put_weights(spec: ModelSpec, path: Path) -> None:
    if _has_weights(spec, path):
        return
    with atomic_write(path, replace=False) as file:
        _copy_checked(spec, file)


def _put_spec(spec: ModelSpec, path: Path) -> None:
    if _has_spec(spec, path):
        return
    with atomic_write(path, replace=False) as file:
        file.write(spec.to_bytes())


def _copy_checked(spec: ModelSpec, file: IO[bytes]) -> None:
    """Copy the weights to ``file``, and only then say that they are damaged: nothing is left of it."""
    digest = hashlib.sha256()
    try:
        with spec.weights_path.open("rb") as weights:
            while block := weights.read(_COPY_BYTES):
                digest.update(block)
                file.write(block)
    except OSError as error:
        raise ModelNotFoundError(
            f"cannot be read: {error.strerror or error}", spec.weights_path
        ) from error
    spec.require_weights(digest.hexdigest())


def _folders_above(archive: Path) -> Iterator[Path]:
    """Yield the folder of ``archive`` and those above it; then those of the file that a link leads to."""
    named = archive.absolute().parents
    real = Path(os.path.realpath(archive)).parents
    chained = chain(named[:_MOST_FOLDERS], real[:_MOST_FOLDERS])
    yield from dict.fromkeys(chained)


def _spec_files(folder: Path, sha256: str) -> list[Path]:
    """Return the specifications in ``folder``, those that are called like what is wanted first."""
    try:
        with os.scandir(folder) as entries:
            found = [
                entry.name
                for entry in islice(entries, _MOST_ENTRIES)
                if entry.name.endswith(".json") and entry.is_file()  # a pipe would be waited for
            ]
    except OSError:
        return []
    found.sort(key=lambda name: (sha256[:16] not in name, name))
    return [folder / name for name in found[:_MOST_SPECS]]


def _is_usable(path: Path) -> bool:
    try:
        return path.is_file() and path.stat().st_size <= _MOST_WEIGHT_BYTES
    except OSError:
        return False
