"""Rates and measures of earzip beside other codecs: `python -m benchmarks.quality`.

Opus, AAC, Vorbis, MP3 and earzip's models on the test tiers. Every clip is coded and decoded once per
setting, and its result kept in the cache, so that a run that was interrupted goes on, and a new model is
measured beside an Opus that is there already. The report covers everything in the cache, of these
versions of the codecs and of these models, that is complete for a tier. It is written after each setting
that was run: `quality.md`, `quality.json`, and the curves, `quality.png` and `quality-tiers.png`, in the
output folder; with `--perceptual` also `perceptual.json`.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks import perceptual_report
from benchmarks.arguments import CODECS, let_archives_find, parse_arguments
from benchmarks.clips import Clip, lag, read_clips, sound_sha256
from benchmarks.coders import Coder, name_of
from benchmarks.data.pcm import SAMPLE_RATE, Samples
from benchmarks.quality_plot import draw, draw_by_tier
from benchmarks.quality_report import Row, Tier, to_json, to_markdown
from benchmarks.results import Key, Result, ResultCache
from benchmarks.treble import treble_error_db
from earzip.metrics.measures import measure
from earzip.metrics.perceptual import perceptual_measures

ALL_TIERS = "all"


@dataclass(frozen=True)
class HashedClip:
    """A clip and the SHA-256 of its samples."""

    clip: Clip
    sha256: str
    n_samples: int


def key_of(coder: Coder, hashed: HashedClip) -> Key:
    """Return where the cache keeps the result of `coder` on a clip."""
    return Key(coder.codec, coder.setting, coder.version, hashed.sha256)


def code_and_measure(coder: Coder, clip: Clip, *, perceptual: bool = False) -> Result:
    """Code a clip, decode it and compare, by perceptual measures too if they are asked for."""
    original = clip.load()
    with tempfile.TemporaryDirectory(prefix="earzip-quality-") as name:
        folder = Path(name)
        n_bytes, decoded = coder.code(clip.wav(folder), folder)
    if decoded.shape != original.shape:
        raise RuntimeError(
            f"{clip.name}: {coder.codec} {coder.setting} decodes to {decoded.shape}, "
            f"expected {original.shape}"
        )
    estimate, reference = _tensor(decoded), _tensor(original)
    return Result(
        n_bytes=n_bytes,
        n_samples=len(original),
        lag=lag(decoded, original),
        measures=measure(estimate, reference),
        perceptual=perceptual_measures(decoded.T, original.T) if perceptual else None,
        treble_db=treble_error_db(estimate, reference),
    )


def _tensor(sound: Samples) -> torch.Tensor:
    return torch.from_numpy(sound.T.copy())


def complete(
    coder: Coder, clips: Sequence[HashedClip], cache: ResultCache, *, perceptual: bool = False
) -> int:
    """Bring the cache up to date with `coder` on every clip, and return how many it lacked.

    A result without perceptual measures is lacked if they are asked for.
    """

    def is_there(hashed: HashedClip) -> bool:
        result = cache.results.get(key_of(coder, hashed))
        return result is not None and (result.perceptual is not None or not perceptual)

    missing = [hashed for hashed in clips if not is_there(hashed)]
    for number, hashed in enumerate(missing, 1):
        label = name_of(coder.codec, coder.model, coder.setting)
        label += f" {number}/{len(missing)} {hashed.clip.name}"
        print(label, file=sys.stderr, flush=True)
        result = code_and_measure(coder, hashed.clip, perceptual=perceptual)
        cache.add(key_of(coder, hashed), result, f"{hashed.clip.tier} {hashed.clip.name}")
    return len(missing)


def gather(coders: Iterable[Coder], clips: Sequence[HashedClip], cache: ResultCache) -> list[Tier]:
    """Return the results by tier, and of all tiers, of the settings that are complete there."""
    coders = list(coders)
    names = list(dict.fromkeys(hashed.clip.tier for hashed in clips))
    tiers = []
    for name in [*names, ALL_TIERS] if len(names) > 1 else names:
        inside = [hashed for hashed in clips if name in (hashed.clip.tier, ALL_TIERS)]
        rows = []
        for coder in coders:
            found = [cache.results.get(key_of(coder, hashed)) for hashed in inside]
            results = [result for result in found if result is not None]
            if len(results) == len(inside):
                rows.append(Row(coder.codec, coder.setting, coder.version, results, coder.model))
        seconds = sum(hashed.n_samples for hashed in inside) / SAMPLE_RATE
        clip_names = tuple(hashed.clip.name for hashed in inside)
        tiers.append(Tier(name, len(inside), seconds, rows, clip_names))
    return tiers


def write_report(folder: Path, tiers: Sequence[Tier]) -> None:
    """Write `quality.md`, `quality.json`, `quality.png` and `quality-tiers.png`, replacing them whole.

    Where there are perceptual measures, they are in `quality.md` and in `perceptual.json`.
    `quality.png` is of the last of `tiers`: all of them together, where there are several.
    """
    folder.mkdir(parents=True, exist_ok=True)
    heard = perceptual_report.to_markdown(tiers)
    texts = (to_markdown(tiers), heard)
    contents = {
        "quality.md": "\n".join(filter(None, texts)).encode(),
        "quality.json": to_json(tiers).encode(),
        "quality.png": draw(tiers[-1]),
        "quality-tiers.png": draw_by_tier([tier for tier in tiers if tier.name != ALL_TIERS]),
    }
    if heard:
        contents["perceptual.json"] = perceptual_report.to_json(tiers).encode()
    for name, content in contents.items():
        partial = folder / f".{name}.{os.getpid()}"
        partial.write_bytes(content)
        partial.replace(folder / name)


def hash_clips(root: Path, tiers: Sequence[str]) -> list[HashedClip]:
    """Return the clips of `tiers`."""
    clips = []
    for clip in read_clips(root, tiers):
        sound = clip.load()
        clips.append(HashedClip(clip, sound_sha256(sound), len(sound)))
    return clips


def main() -> None:
    arguments = parse_arguments(__doc__, codecs=CODECS)
    let_archives_find(arguments.models)
    torch.set_num_threads(1)
    clips = hash_clips(arguments.root, arguments.tiers)
    for coder in arguments.wanted:
        cache = ResultCache(arguments.cache)
        if complete(coder, clips, cache, perceptual=arguments.perceptual):
            # The cache is read again, because another process may have added to it meanwhile.
            tiers = gather(arguments.known, clips, ResultCache(arguments.cache))
            write_report(arguments.out, tiers)
    write_report(arguments.out, gather(arguments.known, clips, ResultCache(arguments.cache)))
    print(arguments.out / "quality.md")


if __name__ == "__main__":
    main()
