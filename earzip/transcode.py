"""One file: what the batch and the Python API call."""

from earzip.codec_pool import CodecPool
from earzip.compression import compress_file
from earzip.decoding import decode_check
from earzip.existing import compressed_already
from earzip.options import (
    CompressOptions,
    CompressResult,
    Floor,
    LatentsResult,
    RestoreOptions,
    RestoreResult,
)
from earzip.restoration import restore_file, restored_already

__all__ = [
    "CodecPool",
    "CompressOptions",
    "CompressResult",
    "Floor",
    "LatentsResult",
    "RestoreOptions",
    "RestoreResult",
    "compress_file",
    "compressed_already",
    "decode_check",
    "restore_file",
    "restored_already",
]
