"""What a model makes of sources unlike its training set: `python -m benchmarks.behaviours`.

Codes synthetic sounds, and real ones that are named, each as a file, and writes a picture of each
(see `benchmarks.spectrograms`) and a row of figures: `behaviours.md` and `behaviours.json`.

- sparse: notes of strings, one at a time, without noise: is anything put between their partials?
- quiet: chords and soft noise, 4 s at −18 and 8 s at −40 dBFS: is the level kept?
- mono: chords and bursts, the same on both channels: does a side appear?
- limited: noise and chords up to 16 kHz: does the codec go on above?
- silence: 5 s of digital silence between two tones: does it stay silent?
- sweep: a sine from 20 Hz to 20 kHz in 12 s at −12 dBFS: does it stay one, and as loud?

dB are of full scale, a sine of which is 0. Bias is the mean, over the frames of an STFT in which original
or restored are above −90 dBFS, of how much louder the restored is; quieter counts as −90.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray

from benchmarks import behaviour_sources
from benchmarks.behaviour_sources import (
    FADE_S,
    LOUD_S,
    SILENCE_S,
    SWEEP_DB,
    TONE_S,
    sweep_hz,
    sweep_phase,
)
from benchmarks.coders import Coder, EarzipCoder
from benchmarks.data.pcm import SAMPLE_RATE, Samples
from benchmarks.spectrograms import HOP, N_FFT, Sound, draw, power_spectrogram
from earzip.metrics.measures import si_sdr_db
from earzip.models.store import find_model
from earzip.options import DEFAULT_MODEL, QUALITIES

EDGES_HZ = (0, 100, 500, 2_000, 5_000, 10_000, 16_000, 20_000)
ABOVE_LIMIT_HZ = 16_500
QUIET_TREBLE_HZ = 5_000
FLOOR_DB = -90.0
NOTHING_DB = -200.0
"""What stands for the level of nothing at all."""
BELOW_LOUDEST_DB = 40.0
"""By how much a bin is under the loudest of its frame for it to be between partials."""

EDGE_S = 0.1
"""Of a passage that is looked at by itself, this much is left out at its ends."""

Array = NDArray[np.float64]
Figures = dict[str, float | None]
"""By name, of which the last word is the unit; None where there was nothing to measure."""


def spectrum(sound: Samples) -> Array:
    """Return the power of each bin `[bins, frames]`, 1 for a sine of full scale."""
    return power_spectrogram(Sound(sound, SAMPLE_RATE, 0.0))


def decibels(power: Array, floor_db: float = NOTHING_DB) -> Array:
    """Return power in dB, at least `floor_db`."""
    found: Array = 10 * np.log10(np.maximum(power, 10 ** (floor_db / 10)))
    return found


def band_power(power: Array, low_hz: float, high_hz: float) -> Array:
    """Return the power of a band in each frame of `power` `[bins, frames]`, 1 for a full-scale sine."""
    f_hz = np.arange(len(power)) * SAMPLE_RATE / N_FFT
    # A Hann window spreads a sine over bins that add up to 1.5 times its power.
    total: Array = power[(f_hz >= low_hz) & (f_hz < high_hz)].sum(0) / 1.5
    return total


def bias_db(restored: Array, original: Array) -> float | None:
    """Return by how many dB powers are too high in the mean; None where all are too low to count."""
    after, before = decibels(restored, FLOOR_DB), decibels(original, FLOOR_DB)
    heard = (after > FLOOR_DB) | (before > FLOOR_DB)
    return float((after - before)[heard].mean()) if heard.any() else None


def band_biases_db(restored: Samples, original: Samples) -> Figures:
    """Return the bias of each band, by its edges in Hz."""
    after, before = spectrum(restored), spectrum(original)
    return {
        f"{low}_{high}_hz": bias_db(band_power(after, low, high), band_power(before, low, high))
        for low, high in pairwise(EDGES_HZ)
    }


def sparse_figures(restored: Samples, original: Samples) -> Figures:
    """Return the bias of the bins far under the loudest of their frame.

    Of those above −90 dBFS in the original, most of them in the skirts of partials and weak partials
    themselves; and of all, with those that were empty.
    """
    after, before = spectrum(restored), spectrum(original)
    level = decibels(before)
    between = level < level.max(0) - BELOW_LOUDEST_DB
    heard = between & (level > FLOOR_DB)
    return {
        "between_partials_bias_db": bias_db(after[heard], before[heard]),
        "with_empty_bins_bias_db": bias_db(after[between], before[between]),
    }


def quiet_figures(restored: Samples, original: Samples) -> Figures:
    """Return the bias of the quiet passage, of everything and of what is above 5 kHz."""
    top = EDGES_HZ[-1]
    part = slice(round((LOUD_S + EDGE_S) * SAMPLE_RATE), None)
    after, before = spectrum(restored[part]), spectrum(original[part])
    return {
        name: bias_db(band_power(after, low, top), band_power(before, low, top))
        for name, low in (("quiet_bias_db", 0), ("quiet_treble_bias_db", QUIET_TREBLE_HZ))
    }


def mono_figures(restored: Samples, original: Samples) -> Figures:
    """Return the level of the side over that of the mid."""
    return {
        "side_over_mid_before_db": side_over_mid_db(original),
        "side_over_mid_after_db": side_over_mid_db(restored),
    }


def side_over_mid_db(sound: Samples) -> float:
    """Return the level of the difference of both channels over that of their sum."""
    left, right = sound.T.astype(np.float64)
    mid, side = (np.square(x).mean() for x in (left + right, left - right))
    return float(decibels(side / max(mid, 1e-20)))


def limited_figures(restored: Samples, original: Samples) -> Figures:
    """Return the level above 16.5 kHz."""
    before, after = (
        float(decibels(band_power(spectrum(sound), ABOVE_LIMIT_HZ, SAMPLE_RATE).mean()))
        for sound in (original, restored)
    )
    name = f"above_{ABOVE_LIMIT_HZ}_hz"
    return {f"{name}_before_dbfs": before, f"{name}_after_dbfs": after}


def silence_figures(restored: Samples, _original: Samples) -> Figures:
    """Return the peak in the silence, but for its first and last 100 ms."""
    start, end = TONE_S + EDGE_S, TONE_S + SILENCE_S - EDGE_S
    inside = restored[round(start * SAMPLE_RATE) : round(end * SAMPLE_RATE)]
    return {"peak_dbfs": float(decibels(np.square(np.abs(inside).max())))}


def sweep_figures(restored: Samples, _original: Samples) -> Figures:
    """Return the worst error of the tone's level, where it is, and the median of all else over the tone.

    The tone of a frame is the sine and cosine of the sweep's phase that fit best, of each channel.
    """
    tone_db, rest_db, f_hz = track(restored)
    error = tone_db - SWEEP_DB
    worst = int(np.abs(error).argmax())
    return {
        "tone_worst_error_db": float(error[worst]),
        "at_hz": float(f_hz[worst]),
        "all_else_over_tone_db": float(np.median(rest_db)),
    }


def track(sound: Samples) -> tuple[Array, Array, Array]:
    """Return by frame the level of the sweep in `sound`, that of all else over it, and its frequency.

    In dB, dB and Hz. Frames in the fades are left out.
    """
    phase = sweep_phase()
    margin = round(FADE_S * SAMPLE_RATE)

    def frames(signal: Array) -> Array:
        inside = signal[margin : len(phase) - margin]
        windows: Array = np.lib.stride_tricks.sliding_window_view(inside, N_FFT, axis=0)[::HOP]
        return windows

    weight = np.hanning(N_FFT + 1)[:-1]
    basis = np.stack([frames(np.cos(phase)), frames(np.sin(phase))], 1)  # [F, 2, N]
    gram = np.einsum("fin,fjn,n->fij", basis, basis, weight, optimize=True)
    signal = frames(sound.astype(np.float64))  # [F, C, N]
    projected = np.einsum("fin,fcn,n->fic", basis, signal, weight, optimize=True)
    amplitudes = np.linalg.solve(gram, projected)  # [F, 2, C]
    tone = np.einsum("fin,fic->fcn", basis, amplitudes, optimize=True)
    tone_power, rest_power = (
        (np.square(part) @ weight).mean(1) / weight.sum() for part in (tone, signal - tone)
    )
    centres = (margin + N_FFT / 2 + HOP * np.arange(len(signal))) / SAMPLE_RATE
    level = decibels(np.square(amplitudes).sum(1).mean(1))
    return level, decibels(rest_power / np.maximum(tone_power, 1e-20)), sweep_hz(centres)


@dataclass(frozen=True)
class Behaviour:
    """What came back of a source."""

    kbps: float
    si_sdr_db: float
    bias_db: Figures
    """By band."""
    figures: Figures


SYNTHETIC: dict[str, tuple[Callable[[], Samples], Callable[[Samples, Samples], Figures]]] = {
    "sparse": (behaviour_sources.sparse, sparse_figures),
    "quiet": (behaviour_sources.quiet, quiet_figures),
    "mono": (behaviour_sources.mono, mono_figures),
    "limited": (behaviour_sources.limited, limited_figures),
    "silence": (behaviour_sources.silence, silence_figures),
    "sweep": (behaviour_sources.sweep, sweep_figures),
}
"""Name, sound, and the figures that tell most about what comes back of it."""


def behaviour(n_bytes: int, restored: Samples, original: Samples, own: Figures) -> Behaviour:
    """Return what is known of a source; `own` are the figures that only it has."""
    estimate, reference = (torch.from_numpy(sound.T.copy()) for sound in (restored, original))
    return Behaviour(
        kbps=n_bytes * 8 / (len(original) / SAMPLE_RATE) / 1000,
        si_sdr_db=si_sdr_db(estimate, reference),
        bias_db=band_biases_db(restored, original),
        figures=own,
    )


def code(coder: Coder, sound: Samples) -> tuple[int, Samples]:
    """Return the bytes of the coded file, and the decoded sound."""
    with tempfile.TemporaryDirectory(prefix="earzip-behaviours-") as name:
        wav = Path(name, "source.wav")
        soundfile.write(wav, sound, SAMPLE_RATE, subtype="FLOAT")
        return coder.code(wav, Path(name))


def to_markdown(title: str, found: dict[str, Behaviour]) -> str:
    """Return the table for people."""
    bands = [f"{low}–{high}" for low, high in pairwise(EDGES_HZ)]
    lines = [
        f"# Behaviours of {title}",
        "",
        "The bands, in Hz, hold by how many dB the restored is louder in the mean.",
        "",
        f"| source | kbps | SI-SDR dB | {' | '.join(bands)} | |",
        f"|---|{'---:|' * (2 + len(bands))}---|",
    ]
    for name, one in found.items():
        biases = [_shown(value, "+") for value in one.bias_db.values()]
        own = [f"{_in_words(figure)} {_shown(value)}" for figure, value in one.figures.items()]
        cells = [name, f"{one.kbps:.2f}", _shown(one.si_sdr_db), *biases, ", ".join(own)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _shown(value: float | None, sign: str = "") -> str:
    """Return a figure with one decimal; those of a thousand and more, which are Hz, without."""
    if value is None:
        return "–"
    return f"{value:{sign}.{0 if abs(value) >= 1000 else 1}f}".replace("-", "−")


def _in_words(figure: str) -> str:
    units = {"db": "dB", "dbfs": "dBFS", "hz": "Hz"}
    return " ".join(units.get(word, word) for word in figure.split("_"))


def _named_sound(text: str) -> tuple[str, Samples]:
    """Return the name and the sound of NAME=WAV."""
    name, _, path = text.partition("=")
    if not name or "/" in name or name in SYNTHETIC:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=WAV with a new name")
    try:
        sound, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise argparse.ArgumentTypeError(f"{path}: {error}") from error
    if rate != SAMPLE_RATE or sound.shape[1] != 2:
        raise argparse.ArgumentTypeError(f"{path}: {rate} Hz, {sound.shape[1]} channels")
    return name, sound


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default=DEFAULT_MODEL, help="name or .json file")
    parser.add_argument("--quality", choices=QUALITIES, default="medium", help="[default: medium]")
    parser.add_argument("--out", type=Path, required=True, help="folder for report and pictures")
    parser.add_argument(
        "--sound",
        "--tier-clip",
        dest="sounds",
        metavar="NAME=WAV",
        type=_named_sound,
        action="append",
        default=[],
        help="a recording, 44.1 kHz and stereo, to be looked at like sparse; may be repeated",
    )
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(1)
    spec = find_model(arguments.model)
    # Archives name their model by its identity, which is looked for in these folders.
    folders = [str(spec.path.parent), *filter(None, [os.environ.get("EARZIP_MODELS")])]
    os.environ["EARZIP_MODELS"] = os.pathsep.join(folders)
    coder = EarzipCoder(spec, arguments.quality)
    title = f"{spec.name} {arguments.quality}"
    arguments.out.mkdir(parents=True, exist_ok=True)
    sources = {name: (make(), figures) for name, (make, figures) in SYNTHETIC.items()}
    sources |= {name: (sound, sparse_figures) for name, sound in arguments.sounds}
    found = {}
    for name, (original, figures) in sources.items():
        n_bytes, restored = code(coder, original)
        own = figures(restored, original)
        found[name] = behaviour(n_bytes, restored, original, own)
        before, after = (Sound(sound, SAMPLE_RATE, 0.0) for sound in (original, restored))
        draw(before, {"restored": after}, f"{name}, {title}", arguments.out / f"{name}.png")
    report = {
        "model": spec.name,
        "version": coder.version,
        "quality": arguments.quality,
        "sources": {name: asdict(one) for name, one in found.items()},
    }
    text = json.dumps(report, indent=1, ensure_ascii=False) + "\n"
    (arguments.out / "behaviours.json").write_text(text, encoding="utf-8")
    markdown = to_markdown(title, found)
    (arguments.out / "behaviours.md").write_text(markdown, encoding="utf-8")
    print(markdown, end="")


if __name__ == "__main__":
    main()
