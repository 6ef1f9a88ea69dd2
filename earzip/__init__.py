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
    from earzip.models.pool import CodecPool
    from earzip.options import CompressOptions, Floor, RestoreOptions
    from earzip.results import CompressResult, RestoreResult
    from earzip.transcode.compress import compress_file
    from earzip.transcode.inspect import ArchiveInfo, VerifyResult, read_info, verify_archive
    from earzip.transcode.restore import restore_file
    from earzip.transcode.sound import Sound, open_sound

__all__ = [
    "ArchiveError",
    "ArchiveInfo",
    "BelowFloorError",
    "CodecPool",
    "CompressOptions",
    "CompressResult",
    "DamagedArchiveError",
    "DeviceError",
    "EarzipError",
    "Floor",
    "LockedError",
    "ModelDamagedError",
    "ModelNotFoundError",
    "NoSoundError",
    "NotAnArchiveError",
    "RestoreOptions",
    "RestoreResult",
    "Sound",
    "SourceError",
    "TagError",
    "TargetError",
    "UnsupportedArchiveError",
    "UsageError",
    "VerifyResult",
    "__version__",
    "compress_file",
    "open_sound",
    "read_info",
    "restore_file",
    "verify_archive",
]

_HOMES = {
    "earzip.models.pool": ["CodecPool"],
    "earzip.options": ["CompressOptions", "Floor", "RestoreOptions"],
    "earzip.results": ["CompressResult", "RestoreResult"],
    "earzip.transcode.compress": ["compress_file"],
    "earzip.transcode.inspect": ["ArchiveInfo", "VerifyResult", "read_info", "verify_archive"],
    "earzip.transcode.restore": ["restore_file"],
    "earzip.transcode.sound": ["Sound", "open_sound"],
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("earzip")
    if name in __all__:
        home = next((home for home, names in _HOMES.items() if name in names), "earzip.errors")
        return getattr(import_module(home), name)
    raise AttributeError(f"module 'earzip' has no attribute {name!r}")
