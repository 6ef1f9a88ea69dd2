"""earzip: archive music as quantised latents of a neural audio VAE, and restore it on demand.

The public names are loaded on first use, so that ``import earzip`` and the commands that need no
network start without torch.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from earzip.errors import (
        ArchiveError,
        BelowFloorError,
        DamagedArchiveError,
        DeviceError,
        EarzipError,
        LockedError,
        MissingPictureError,
        ModelDamagedError,
        ModelNotFoundError,
        NoSoundError,
        NotAnArchiveError,
        SourceError,
        TagError,
        TargetError,
        UnsupportedArchiveError,
        UsageError,
    )
    from earzip.formats.tag_payload import Chapter
    from earzip.formats.tags.model import Picture
    from earzip.models.pool import CodecPool
    from earzip.options import CompressOptions, Floor, RestoreOptions
    from earzip.runtime import Runtime
    from earzip.transcode.archive import Archive, Segment
    from earzip.transcode.archive import open_archive as open  # noqa: A004
    from earzip.transcode.compress import compress_file
    from earzip.transcode.encoded import Encoded, decode, encode
    from earzip.transcode.inspect import ArchiveInfo, VerifyResult, read_info, verify_archive
    from earzip.transcode.restore import restore_file
    from earzip.transcode.results import CompressResult, RestoreResult
    from earzip.transcode.sound import Sound, open_sound

__all__ = [
    "Archive",
    "ArchiveError",
    "ArchiveInfo",
    "BelowFloorError",
    "Chapter",
    "CodecPool",
    "CompressOptions",
    "CompressResult",
    "DamagedArchiveError",
    "DeviceError",
    "EarzipError",
    "Encoded",
    "Floor",
    "LockedError",
    "MissingPictureError",
    "ModelDamagedError",
    "ModelNotFoundError",
    "NoSoundError",
    "NotAnArchiveError",
    "Picture",
    "RestoreOptions",
    "RestoreResult",
    "Runtime",
    "Segment",
    "Sound",
    "SourceError",
    "TagError",
    "TargetError",
    "UnsupportedArchiveError",
    "UsageError",
    "VerifyResult",
    "__version__",
    "compress_file",
    "decode",
    "encode",
    "open",
    "open_sound",
    "read_info",
    "restore_file",
    "verify_archive",
]

_HOMES = {
    "earzip.formats.tag_payload": ["Chapter"],
    "earzip.formats.tags.model": ["Picture"],
    "earzip.models.pool": ["CodecPool"],
    "earzip.options": ["CompressOptions", "Floor", "RestoreOptions"],
    "earzip.runtime": ["Runtime"],
    "earzip.transcode.archive": ["Archive", "Segment", "open"],
    "earzip.transcode.compress": ["compress_file"],
    "earzip.transcode.encoded": ["Encoded", "decode", "encode"],
    "earzip.transcode.inspect": ["ArchiveInfo", "VerifyResult", "read_info", "verify_archive"],
    "earzip.transcode.restore": ["restore_file"],
    "earzip.transcode.results": ["CompressResult", "RestoreResult"],
    "earzip.transcode.sound": ["Sound", "open_sound"],
}


_NAMES_THERE = {"open": "open_archive"}
"""Public names that would hide a built-in one at home."""


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("earzip")
    if name in __all__:
        home = next((home for home, names in _HOMES.items() if name in names), "earzip.errors")
        return getattr(import_module(home), _NAMES_THERE.get(name, name))
    raise AttributeError(f"module 'earzip' has no attribute {name!r}")
