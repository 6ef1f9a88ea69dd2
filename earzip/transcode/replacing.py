"""The commands that replace one file that is in the way: advice for who is refused."""

from __future__ import annotations

import shlex
from pathlib import Path

from earzip.options import DEFAULT_MODEL, CompressOptions, LatentDtype

_USUAL = CompressOptions()


def to_replace_archive(source: Path, target: Path, options: CompressOptions) -> str:
    """Return how to put an archive of ``source`` alone, made as ``options`` say, in place of ``target``.

    With all other sources --force would encode those again too.
    """
    words = ["compress", "--force"]
    if options.model != DEFAULT_MODEL:
        words += ["--model", options.model]
    if options.bitrate_kbps is not None:
        words += ["--bitrate", f"{options.bitrate_kbps:g}"]
    elif options.quality != _USUAL.quality:
        words += ["--quality", options.quality]
    return _to_replace(*words, str(source), "-o", str(target))


def to_replace_latents(archive: Path, target: Path, dtype: LatentDtype) -> str:
    """Return how to write the latents of ``archive`` alone in place of what is at ``target``."""
    words = ["latents", "--force"]
    if target.suffix.lower() == ".npy":
        words += ["--format", "npy"]
    if dtype != "float32":
        words += ["--dtype", dtype]
    return _to_replace(*words, str(archive), "-o", str(target))


def _to_replace(*words: str) -> str:
    # The whole name of the result: a directory would be right only for a source named by itself there.
    return f"to replace it: {shlex.join(['earzip', *words])}"
