"""Codecs by two measures beside those of the quality benchmark: `python -m benchmarks.unseen`.

ViSQOL in audio mode (MOS-LQO, 1 to 5), which no model was trained on, and the error of log magnitude
from 10 to 20 kHz, whose like over all frequencies is one of the losses of `earzip train`. ViSQOL is
`pip install 'visqol-python[accel]'`, no dependency of earzip: without it the other measure stands alone.

Every clip is coded and decoded once per setting and its scores kept in the cache, so that an interrupted
run goes on. The report, `unseen.md` and `unseen.json` in the output folder, is of all that the cache
holds of these versions of the codecs and these models and that is complete for a tier.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import soxr
import torch

from benchmarks.arguments import let_archives_find, parse_arguments
from benchmarks.clips import Clip
from benchmarks.coders import Coder, name_of
from benchmarks.data.pcm import SAMPLE_RATE, Samples
from benchmarks.quality import ALL_TIERS, HashedClip, hash_clips, key_of
from benchmarks.results import Key, pooled_kbps
from benchmarks.treble import treble_error_db

VISQOL_HZ = 48_000
LOWEST_MOS = 1.0

MosScorer = Callable[[Samples, Samples], float]
"""Returns MOS-LQO of a decoded sound and its original, both float32 `[T, 2]` at 44.1 kHz."""


@dataclass(frozen=True)
class Scores:
    """One clip coded at one setting."""

    n_bytes: int
    n_samples: int
    treble_db: float
    """See `treble_error_db`; lower is better."""
    moslqo: float | None
    """Higher is better; None where ViSQOL was not installed."""


class ScoreCache:
    """A file of scores as JSON lines, read once and appended to; the last line of a key counts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.scores: dict[Key, Scores] = {}
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        for number, line in enumerate(lines, 1):
            if not line:
                continue
            try:
                fields = json.loads(line)
                self.scores[Key(**fields["key"])] = Scores(**fields["scores"])
            except (ValueError, KeyError, TypeError) as error:
                print(f"{path}:{number}: left out: {error!r}", file=sys.stderr)

    def add(self, key: Key, scores: Scores, name: str) -> None:
        """Keep the scores of a clip; `name` is for people who read the file."""
        self.scores[key] = scores
        line = json.dumps({"name": name, "key": asdict(key), "scores": asdict(scores)})
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Begun anew, because a crash may have cut the last line short; one write, so that lines of
        # two processes do not mix.
        with self.path.open("ab", buffering=0) as file:
            file.write(f"\n{line}\n".encode())


@dataclass(frozen=True)
class Row:
    """A codec at one setting on all clips of a tier, by the clips' names."""

    codec: str
    setting: str
    version: str
    clips: list[tuple[str, Scores]]
    model: str | None = None

    @property
    def name(self) -> str:
        """Codec, model and setting."""
        return name_of(self.codec, self.model, self.setting)

    @property
    def kbps(self) -> float:
        """Bytes of all clips over their duration."""
        return pooled_kbps([scores for _, scores in self.clips])

    @property
    def treble_db(self) -> float:
        """Unweighted mean over the clips."""
        return mean(scores.treble_db for _, scores in self.clips)

    @property
    def by_mos(self) -> list[tuple[float, str]]:
        """MOS-LQO and name of every clip, the worst first; empty where one was not scored."""
        scored = [(s.moslqo, name) for name, s in self.clips if s.moslqo is not None]
        return sorted(scored) if len(scored) == len(self.clips) else []


@dataclass(frozen=True)
class Tier:
    """What is known of a tier."""

    name: str
    n_clips: int
    seconds: float
    rows: list[Row]


def visqol_scorer() -> MosScorer | None:
    """Return ViSQOL in audio mode, None where it is not installed.

    It hears the mean of both channels, up to 15 kHz, brought to the original's level. Digital silence,
    which cannot be brought there, gets the lowest score.
    """
    try:
        from visqol import VisqolApi  # noqa: PLC0415  # not a dependency
    except ImportError:
        return None
    api = VisqolApi()
    api.create(mode="audio")

    def score(decoded: Samples, original: Samples) -> float:
        heard = [
            soxr.resample(sound.mean(1, dtype=np.float64), SAMPLE_RATE, VISQOL_HZ)
            for sound in (original, decoded)
        ]
        if not heard[1].any():
            return LOWEST_MOS
        return float(api.measure_from_arrays(heard[0], heard[1], VISQOL_HZ).moslqo)

    return score


def code_and_score(coder: Coder, clip: Clip, mos: MosScorer | None) -> Scores:
    """Code a clip, decode it and compare."""
    original = clip.load()
    with tempfile.TemporaryDirectory(prefix="earzip-unseen-") as name:
        folder = Path(name)
        n_bytes, decoded = coder.code(clip.wav(folder), folder)
    if decoded.shape != original.shape:
        raise RuntimeError(
            f"{clip.name}: {coder.codec} {coder.setting} decodes to {decoded.shape}, "
            f"expected {original.shape}"
        )
    estimate, reference = (torch.from_numpy(sound.T.copy()) for sound in (decoded, original))
    return Scores(
        n_bytes=n_bytes,
        n_samples=len(original),
        treble_db=treble_error_db(estimate, reference),
        moslqo=mos(decoded, original) if mos else None,
    )


def complete(
    coder: Coder, clips: Sequence[HashedClip], cache: ScoreCache, mos: MosScorer | None
) -> None:
    """Bring the cache up to date with `coder` on every clip."""
    missing = [hashed for hashed in clips if not _is_scored(cache, key_of(coder, hashed), mos)]
    for number, hashed in enumerate(missing, 1):
        label = name_of(coder.codec, coder.model, coder.setting)
        label += f" {number}/{len(missing)} {hashed.clip.name}"
        print(label, file=sys.stderr, flush=True)
        scores = code_and_score(coder, hashed.clip, mos)
        cache.add(key_of(coder, hashed), scores, f"{hashed.clip.tier} {hashed.clip.name}")


def _is_scored(cache: ScoreCache, key: Key, mos: MosScorer | None) -> bool:
    scores = cache.scores.get(key)
    return scores is not None and (scores.moslqo is not None or mos is None)


def gather(coders: Iterable[Coder], clips: Sequence[HashedClip], cache: ScoreCache) -> list[Tier]:
    """Return the scores by tier, and of all tiers, of the settings that are complete there."""
    coders = list(coders)
    names = list(dict.fromkeys(hashed.clip.tier for hashed in clips))
    tiers = []
    for name in [*names, ALL_TIERS] if len(names) > 1 else names:
        inside = [hashed for hashed in clips if name in (hashed.clip.tier, ALL_TIERS)]
        rows = []
        for coder in coders:
            found = [
                (hashed.clip.name, cache.scores.get(key_of(coder, hashed))) for hashed in inside
            ]
            scored = [(clip, scores) for clip, scores in found if scores is not None]
            if len(scored) == len(inside):
                rows.append(Row(coder.codec, coder.setting, coder.version, scored, coder.model))
        seconds = sum(hashed.n_samples for hashed in inside) / SAMPLE_RATE
        tiers.append(Tier(name, len(inside), seconds, rows))
    return tiers


def to_markdown(tiers: Sequence[Tier]) -> str:
    """Return the report for people."""
    versions = dict.fromkeys(
        f"- {row.name if row.model else row.codec}: {row.version}"
        for tier in tiers
        for row in tier.rows
    )
    lines = [
        "# ViSQOL and the error of the treble",
        "",
        *versions,
        "",
        "kbps: all bytes of a tier's files (but pictures) over its duration. Treble: mean absolute "
        "error of log magnitude from 10 to 20 kHz (floor −90 dBFS), both channels; training minimises "
        "its like. MOS-LQO: ViSQOL in audio mode, of the mean of both channels; no model was trained "
        "on it. Means over the clips; clips under 20 s are joined for every codec.",
        "",
    ]
    for tier in tiers:
        lines += [f"## {tier.name}: {tier.n_clips} clips, {tier.seconds / 60:.1f} min", ""]
        lines += ["| codec | kbps | treble dB ↓ | MOS-LQO ↑ | worst | of |"]
        lines += ["|---|---:|---:|---:|---:|---|"]
        lines += [*map(_markdown_row, tier.rows), ""]
    return "\n".join(lines)


def _markdown_row(row: Row) -> str:
    cells = [row.name, f"{row.kbps:.2f}", f"{row.treble_db:.2f}"]
    if row.by_mos:
        worst, clip = row.by_mos[0]
        cells += [f"{mean(mos for mos, _ in row.by_mos):.3f}", f"{worst:.3f}", clip]
    else:
        cells += ["–"] * 3
    return f"| {' | '.join(cells)} |"


def to_json(tiers: Sequence[Tier]) -> str:
    """Return the report for programs."""
    report = {
        tier.name: {
            "n_clips": tier.n_clips,
            "seconds": round(tier.seconds, 3),
            "settings": [_json_row(row) for row in tier.rows],
        }
        for tier in tiers
    }
    return json.dumps(report, indent=1, ensure_ascii=False) + "\n"


def _json_row(row: Row) -> dict[str, Any]:
    by_mos = row.by_mos
    return {
        "codec": row.codec,
        "model": row.model,
        "setting": row.setting,
        "version": row.version,
        "kbps": row.kbps,
        "treble_db": row.treble_db,
        "moslqo": mean(mos for mos, _ in by_mos) if by_mos else None,
        "moslqo_worst": by_mos[0][0] if by_mos else None,
        "clips": {name: asdict(scores) for name, scores in row.clips},
    }


def write_report(folder: Path, tiers: Sequence[Tier]) -> None:
    """Write `unseen.md` and `unseen.json`, replacing them whole."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("unseen.md", to_markdown(tiers)), ("unseen.json", to_json(tiers))):
        partial = folder / f".{name}.{os.getpid()}"
        partial.write_text(text, encoding="utf-8")
        partial.replace(folder / name)


def main() -> None:
    arguments = parse_arguments(__doc__, codecs=("opus", "earzip"))
    let_archives_find(arguments.models)
    torch.set_num_threads(1)
    mos = visqol_scorer()
    if mos is None:
        print("visqol-python is not installed: no MOS-LQO", file=sys.stderr)
    clips = hash_clips(arguments.root, arguments.tiers)
    cache = ScoreCache(arguments.cache)
    for coder in arguments.wanted:
        complete(coder, clips, cache, mos)
        # Another process may have added to the cache meanwhile.
        cache = ScoreCache(arguments.cache)
        write_report(arguments.out, gather(arguments.known, clips, cache))
    print(arguments.out / "unseen.md")


if __name__ == "__main__":
    main()
