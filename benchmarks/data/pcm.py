"""Flat PCM sets: a file of interleaved int16 stereo at 44.1 kHz, and a list of what lies where."""

import json
import subprocess
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypedDict

import numpy as np
import numpy.typing as npt

SAMPLE_RATE = 44_100
CHANNELS = 2
FULL_SCALE = 32_768

BLOCK_S = 0.4
ABSOLUTE_GATE_DB = -70.0
RELATIVE_GATE_DB = -10.0

Samples = npt.NDArray[np.float32]  # [T, 2], ±1


class Entry(TypedDict):
    """One track of a flat set; `start` and `frames` count stereo frames."""

    name: str
    start: int
    frames: int
    rms_db: float  # gated, dBFS


def gated_rms_db(audio: Samples) -> float:
    """Level in dBFS of the loud parts of `audio` (float32 `[T, 2]`, ±1); the gate for silence.

    Mean power over both channels in blocks of 400 ms; blocks above −70 dBFS count, and of those
    the ones above their mean less 10 dB: the gating of ITU-R BS.1770-4 without its weighting and
    overlap.
    """
    if not len(audio):
        return ABSOLUTE_GATE_DB
    block = round(BLOCK_S * SAMPLE_RATE)
    whole = len(audio) // block * block
    blocks = audio[:whole].reshape(-1, block * CHANNELS) if whole else audio.reshape(1, -1)
    power = np.einsum("bt,bt->b", blocks, blocks, dtype=np.float64) / blocks.shape[1]
    power = power[power > 10 ** (ABSOLUTE_GATE_DB / 10)]
    if not power.size:
        return ABSOLUTE_GATE_DB
    kept = power[power > power.mean() * 10 ** (RELATIVE_GATE_DB / 10)]
    return float(10 * np.log10(kept.mean()))


def decode(path: Path) -> Samples:
    """Whole of an audio file as float32 `[T, 2]` at 44.1 kHz, resampled with soxr.

    Mono is put on both channels. A lossy decoder may overshoot ±1: nothing is clipped here.
    """
    command = [
        "ffmpeg",
        "-v",
        "error",
        "-nostdin",
        "-i",
        str(path),
        "-map",
        "0:a:0",
        "-threads",
        "1",
    ]
    # The pan filter copies mono at full level; ffmpeg's own up-mix would take 3 dB off.
    upmix = "pan=stereo|c0=c0|c1=c0," if _channels(path) == 1 else ""
    filters = f"{upmix}aresample={SAMPLE_RATE}:resampler=soxr:precision=28"
    command += ["-af", filters, "-ac", str(CHANNELS), "-f", "f32le", "-"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    return np.frombuffer(done.stdout, np.float32).reshape(-1, CHANNELS)


def _channels(path: Path) -> int:
    command = [
        "ffprobe",
        "-v",
        "error",
        "-select_streams",
        "a:0",
        "-show_entries",
        "stream=channels",
    ]
    done = subprocess.run(
        [*command, "-of", "default=nk=1:nw=1", str(path)], check=True, stdout=subprocess.PIPE
    )
    return int(done.stdout.split()[0])


def mix(parts: Iterable[Samples]) -> Samples:
    """Sum of `parts` (float32 `[T, 2]` each), as long as the longest."""
    loaded = list(parts)
    total = np.zeros((max(len(part) for part in loaded), CHANNELS), np.float32)
    for part in loaded:
        total[: len(part)] += part
    return total


def fit(audio: Samples, peak: float = 1.0) -> Samples:
    """`audio` turned down to `peak` if it goes above, otherwise as it is."""
    highest = float(np.abs(audio).max(initial=0.0))
    return audio * np.float32(peak / highest) if highest > peak else audio


def normalise(audio: Samples, peak_db: float = -1.0) -> Samples:
    """`audio` with its peak at `peak_db` dBFS; silence as it is."""
    highest = float(np.abs(audio).max(initial=0.0))
    return audio * np.float32(10 ** (peak_db / 20) / highest) if highest else audio


def to_int16(audio: Samples) -> npt.NDArray[np.int16]:
    """Round to 16 bits, without dither; ±1 and beyond saturate."""
    scaled = np.rint(audio * FULL_SCALE)
    return np.clip(scaled, -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)


def write_set(
    root: Path,
    name: str,
    items: Iterable[tuple[str, Callable[[], Samples]]],
    jobs: int = 2,
) -> list[Entry]:
    """Make every item with `jobs` threads and write `name.s16` and `name.json`, in their order.

    `items` are a track's name and a function that returns its audio (float32 `[T, 2]`, 44.1 kHz).
    Audio above full scale is turned down, empty audio left out. Returns the entries written.
    """
    root.mkdir(parents=True, exist_ok=True)
    pcm, listing = root / f"{name}.s16", root / f"{name}.json"
    partial = pcm.with_suffix(".s16.partial")
    entries: list[Entry] = []
    start = 0
    with partial.open("wb") as out:
        for track, (audio, rms_db) in _in_order(items, jobs):
            if not len(audio):
                continue
            out.write(audio.tobytes())
            entries.append(
                {"name": track, "start": start, "frames": len(audio), "rms_db": round(rms_db, 2)}
            )
            start += len(audio)
    listing.write_text(json.dumps(entries, indent=0, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(pcm)
    return entries


def _in_order(
    items: Iterable[tuple[str, Callable[[], Samples]]], jobs: int
) -> Iterator[tuple[str, tuple[npt.NDArray[np.int16], float]]]:
    """Results in the order of `items`, with at most `jobs` + 1 tracks in memory."""

    def finish(make: Callable[[], Samples]) -> tuple[npt.NDArray[np.int16], float]:
        audio = fit(make())
        return to_int16(audio), gated_rms_db(audio)

    waiting: deque[tuple[str, Future[tuple[npt.NDArray[np.int16], float]]]] = deque()
    with ThreadPoolExecutor(jobs) as pool:
        for track, make in items:
            waiting.append((track, pool.submit(finish, make)))
            if len(waiting) > jobs:
                first, result = waiting.popleft()
                yield first, result.result()
        for first, result in waiting:
            yield first, result.result()


def read_set(root: Path, name: str) -> tuple[npt.NDArray[np.int16], list[Entry]]:
    """Flat set as `write_set` left it: the samples, memory-mapped `[T, 2]`, and the entries."""
    entries: list[Entry] = json.loads((root / f"{name}.json").read_text(encoding="utf-8"))
    samples = np.memmap(root / f"{name}.s16", np.int16, mode="r").reshape(-1, CHANNELS)
    return samples, entries


def hours(entries: Iterable[Entry]) -> float:
    """Total duration of the entries."""
    return sum(entry["frames"] for entry in entries) / SAMPLE_RATE / 3600
