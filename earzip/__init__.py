"""earzip: archive music as quantised latents of a neural audio VAE, and restore it on demand.

The public names are loaded on first use, so that ``import earzip`` and the commands that need no
network start without torch.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from earzip.errors import EarzipError
    from earzip.options import CompressOptions, CompressResult, Floor, RestoreOptions, RestoreResult
    from earzip.transcode.compress import compress_file
    from earzip.transcode.inspect import read_info
    from earzip.transcode.restore import restore_file

__all__ = [
    "CompressOptions",
    "CompressResult",
    "EarzipError",
    "Floor",
    "RestoreOptions",
    "RestoreResult",
    "__version__",
    "compress_file",
    "read_info",
    "restore_file",
]

_HOMES = {
    "CompressOptions": "earzip.options",
    "CompressResult": "earzip.options",
    "EarzipError": "earzip.errors",
    "Floor": "earzip.options",
    "RestoreOptions": "earzip.options",
    "RestoreResult": "earzip.options",
    "compress_file": "earzip.transcode.compress",
    "read_info": "earzip.transcode.inspect",
    "restore_file": "earzip.transcode.restore",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("earzip")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'earzip' has no attribute {name!r}")
