"""Rates and measures of Opus and earzip on the test tiers: `python -m benchmarks.quality`.

Every clip is coded and decoded once per setting, and its result kept in the cache, so that a run
that was interrupted goes on, and a new model is measured beside an Opus that is there already. The
report covers everything in the cache, of this opusenc and this model, that is complete for a tier.
It is written after each setting: `quality.md` and `quality.json` in the output folder.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.clips import Clip, lag, read_clips, sound_sha256
from benchmarks.coders import Coder, EarzipCoder, OpusCoder
from benchmarks.data.pcm import SAMPLE_RATE, Samples
from benchmarks.quality_report import Row, Tier, to_json, to_markdown
from benchmarks.results import Key, Result, ResultCache
from earzip.checkpoints import DEFAULT_MODEL, find_model
from earzip.errors import ModelNotFoundError
from earzip.metrics.measures import measure
from earzip.model_spec import QUALITIES, ModelSpec

LADDER_KBPS = (10, 12, 16, 20, 24, 32, 48, 64, 96)
TIERS = ("T1", "T2", "T3", "T4")
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


def code_and_measure(coder: Coder, clip: Clip) -> Result:
    """Code a clip, decode it and compare."""
    original = clip.load()
    with tempfile.TemporaryDirectory(prefix="earzip-quality-") as name:
        folder = Path(name)
        n_bytes, decoded = coder.code(clip.wav(folder), folder)
    if decoded.shape != original.shape:
        raise RuntimeError(
            f"{clip.name}: {coder.codec} {coder.setting} decodes to {decoded.shape}, "
            f"expected {original.shape}"
        )
    return Result(
        n_bytes=n_bytes,
        n_samples=len(original),
        lag=lag(decoded, original),
        measures=measure(_tensor(decoded), _tensor(original)),
    )


def _tensor(sound: Samples) -> torch.Tensor:
    return torch.from_numpy(sound.T.copy())


def complete(coder: Coder, clips: Sequence[HashedClip], cache: ResultCache) -> None:
    """Bring the cache up to date with `coder` on every clip."""
    missing = [hashed for hashed in clips if key_of(coder, hashed) not in cache.results]
    for number, hashed in enumerate(missing, 1):
        label = f"{coder.codec} {coder.setting} {number}/{len(missing)} {hashed.clip.name}"
        print(label, file=sys.stderr, flush=True)
        result = code_and_measure(coder, hashed.clip)
        cache.add(key_of(coder, hashed), result, f"{hashed.clip.tier} {hashed.clip.name}")


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
                rows.append(Row(coder.codec, coder.setting, coder.version, results))
        seconds = sum(hashed.n_samples for hashed in inside) / SAMPLE_RATE
        tiers.append(Tier(name, len(inside), seconds, rows))
    return tiers


def write_report(folder: Path, tiers: Sequence[Tier]) -> None:
    """Write `quality.md` and `quality.json`, replacing them whole."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("quality.md", to_markdown(tiers)), ("quality.json", to_json(tiers))):
        partial = folder / f".{name}.{os.getpid()}"
        partial.write_text(text, encoding="utf-8")
        partial.replace(folder / name)


def some_of(allowed: Iterable[str]) -> Callable[[str], list[str]]:
    """Return a type of argument: some of `allowed`, separated by commas."""
    known = list(allowed)

    def parse(text: str) -> list[str]:
        words = text.split(",")
        for word in words:
            if word not in known:
                raise argparse.ArgumentTypeError(f"{word!r} is none of {', '.join(known)}")
        return words

    return parse


def parse_arguments(description: str | None) -> argparse.Namespace:
    """Return what to code, and where to keep the results; ``description`` is for the help."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, required=True, help="folder that holds tiers/")
    parser.add_argument("--cache", type=Path, required=True, help="JSON lines file of results")
    parser.add_argument("--out", type=Path, required=True, help="folder for the report")
    parser.add_argument(
        "--codecs",
        type=some_of(("opus", "earzip")),
        default=["opus", "earzip"],
        help="what to run, in this order, separated by commas  [default: opus,earzip]",
    )
    parser.add_argument(
        "--bitrates",
        type=some_of(map(str, LADDER_KBPS)),
        default=[str(kbps) for kbps in LADDER_KBPS],
        help="of Opus, in this order  [default: the whole ladder]",
    )
    parser.add_argument(
        "--qualities",
        type=some_of(QUALITIES),
        default=list(QUALITIES),
        help=f"of earzip, in this order  [default: {','.join(QUALITIES)}]",
    )
    parser.add_argument("--model", default=DEFAULT_MODEL, help="name or .json file")
    parser.add_argument(
        "--tiers",
        type=some_of((*TIERS, "val")),
        default=list(TIERS),
        help="val is for choosing models, the rest for judging one  [default: T1,T2,T3,T4]",
    )
    return parser.parse_args()


def let_archives_find(spec: ModelSpec) -> None:
    """Add the model's folder to those that archives' models are looked for in."""
    folders = [str(spec.path.parent), *filter(None, [os.environ.get("EARZIP_MODELS")])]
    os.environ["EARZIP_MODELS"] = os.pathsep.join(folders)


def main() -> None:
    arguments = parse_arguments(__doc__)
    torch.set_num_threads(1)
    opus = {kbps: OpusCoder(kbps) for kbps in LADDER_KBPS}
    earzip = {}
    try:
        spec = find_model(arguments.model)
        let_archives_find(spec)
        earzip = {quality: EarzipCoder(spec, quality) for quality in QUALITIES}
    except ModelNotFoundError:
        if "earzip" in arguments.codecs:
            raise
    wanted: dict[str, list[Coder]] = {
        "opus": [opus[int(kbps)] for kbps in arguments.bitrates],
        "earzip": [earzip[quality] for quality in arguments.qualities] if earzip else [],
    }
    clips = []
    for clip in read_clips(arguments.root, arguments.tiers):
        sound = clip.load()
        clips.append(HashedClip(clip, sound_sha256(sound), len(sound)))
    cache = ResultCache(arguments.cache)
    reported: list[Coder] = [*opus.values(), *earzip.values()]
    for codec in arguments.codecs:
        for coder in wanted[codec]:
            complete(coder, clips, cache)
            # Another process may have added to the cache meanwhile.
            cache = ResultCache(arguments.cache)
            write_report(arguments.out, gather(reported, clips, cache))
    print(arguments.out / "quality.md")


if __name__ == "__main__":
    main()
