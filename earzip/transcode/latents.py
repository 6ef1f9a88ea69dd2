"""The latents of an archive, for training. Needs neither the model nor torch."""

from __future__ import annotations

import json
import os
from pathlib import Path

from earzip.errors import TargetError
from earzip.formats.archive.reader import ArchiveReader
from earzip.formats.atomic import atomic_write, look_again, make_folder, private_as
from earzip.results import LatentsResult
from earzip.transcode.sound import read_segment


def extract_latents(archive: Path, target: Path, *, force: bool = False) -> LatentsResult:
    """Write the dequantised latents of ``archive`` to the safetensors file ``target``.

    It holds one tensor ``latents``, float32 ``[D, F]``, of sound brought to the models' working
    level; its metadata name the archive's checksum, the model, hop, sample rate, gain and length. A
    target of the same metadata and size is left as it is. Raises ArchiveError, or TargetError where
    another file is in the way (without ``force``) or the target cannot be written. Memory does not
    grow with the track.
    """
    return look_again(lambda: _extract(archive, target, force=force))


def _extract(archive: Path, target: Path, *, force: bool) -> LatentsResult:
    with ArchiveReader(archive) as reader:
        reader.require_work()
        header = reader.header
        shape = header.model.n_latents, header.n_frames
        head = _safetensors_head(shape, _metadata(reader))
        if not force and os.path.lexists(target):
            if _begins_with(target, head, len(head) + 4 * shape[0] * shape[1]):
                return LatentsResult("up_to_date", archive, target, *shape)
            raise TargetError(
                "already exists with other content; to replace it, run latents on this archive "
                "alone with --force",
                target,
            )
        make_folder(target)
        with atomic_write(target, replace=force, mode=private_as(reader.status)) as file:
            file.write(head)
            for i in range(reader.n_segments):
                latents = read_segment(reader, i)
                first = i * header.geometry.core
                for channel, row in enumerate(latents):
                    file.seek(len(head) + 4 * (channel * shape[1] + first))
                    file.write(row.astype("<f4").tobytes())
    return LatentsResult("written", archive, target, *shape)


def _metadata(reader: ArchiveReader) -> dict[str, str]:
    header = reader.header
    return {
        "archive": reader.prefix.pack()[-8:].hex(),
        "model": header.model.name,
        "model_sha256": header.model.sha256,
        "sample_rate": str(header.geometry.sample_rate),
        "hop": str(header.geometry.hop),
        "lead": str(header.geometry.lead),
        "gain_db": str(header.gain_centibels / 10),
        "n_samples": str(header.n_samples),
    }


def _safetensors_head(shape: tuple[int, int], metadata: dict[str, str]) -> bytes:
    """Return what a safetensors file of one tensor has before its data.

    Written here because the library wants the whole tensor in memory: 64-bit length, then JSON filled up
    with spaces to a multiple of eight (https://github.com/huggingface/safetensors, "Format").
    """
    end = 4 * shape[0] * shape[1]
    tensor = {"dtype": "F32", "shape": list(shape), "data_offsets": [0, end]}
    text = json.dumps({"__metadata__": metadata, "latents": tensor}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _begins_with(path: Path, head: bytes, n_bytes: int) -> bool:
    try:
        with path.open("rb") as file:
            return os.fstat(file.fileno()).st_size == n_bytes and file.read(len(head)) == head
    except OSError as error:
        raise TargetError(f"cannot be read: {error.strerror or error}", path) from error
