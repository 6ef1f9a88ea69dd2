"""Spectrograms of originals and what was restored of them: `python -m benchmarks.spectrograms`.

One picture for each pair of files: the original, the restored, by how many dB they differ, and the
level over time. Look for holes (blue in the difference), birdies (red), a lost top octave, pumping.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import soundfile

mpl.use("Agg")  # before pyplot, which would look for a display

import matplotlib.pyplot as plt

N_FFT = 2048
HOP = 512
FLOOR_DB = -110.0
"""Quieter is shown as this, so that a difference between two inaudible noises is none."""
DIFFERENCE_DB = 30.0
LEVEL_BLOCK_S = 0.05

Decibels = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Sound:
    """An excerpt of a file."""

    samples: npt.NDArray[np.float32]  # [T, C]
    sample_rate: int
    start_s: float


def read_excerpt(path: Path, start_s: float, duration_s: float | None) -> Sound:
    """Return part of a file, or all of it from `start_s` on without a duration."""
    with soundfile.SoundFile(path) as file:
        rate = file.samplerate
        file.seek(min(round(start_s * rate), file.frames))
        frames = -1 if duration_s is None else round(duration_s * rate)
        return Sound(file.read(frames, dtype="float32", always_2d=True), rate, start_s)


def spectrogram_db(sound: Sound) -> Decibels:
    """Return `[bins, frames]` in dB, 0 for a sine of full scale; mean power of the channels.

    The power is averaged and not the samples, which could cancel. At least FLOOR_DB.
    """
    padded = np.pad(sound.samples, ((0, max(0, N_FFT - len(sound.samples))), (0, 0)))
    window = np.hanning(N_FFT + 1)[:-1]
    windows = np.lib.stride_tricks.sliding_window_view(padded, N_FFT, axis=0)[::HOP]
    power = np.zeros((len(windows), N_FFT // 2 + 1))
    for channel in range(padded.shape[1]):
        spectrum = np.fft.rfft(windows[:, channel] * window)
        power += np.abs(spectrum) ** 2 / padded.shape[1]
    return _decibels(power.T / (window.sum() / 2) ** 2)


def level_db(sound: Sound) -> Decibels:
    """Return the level of each block of 50 ms, in dB, 0 for a square wave of full scale."""
    block = round(LEVEL_BLOCK_S * sound.sample_rate)
    whole = len(sound.samples) // block * block
    blocks = sound.samples[:whole].reshape(-1, block * sound.samples.shape[1])
    return _decibels(np.square(blocks, dtype=np.float64).mean(1))


def _decibels(power: npt.NDArray[np.float64]) -> Decibels:
    decibels: Decibels = 10 * np.log10(np.maximum(power, 10 ** (FLOOR_DB / 10)))
    return decibels


def draw(original: Sound, restored: Sound, title: str, target: Path) -> None:
    """Write the picture of one pair of equal length and sample rate."""
    before, after = spectrogram_db(original), spectrogram_db(restored)
    seconds = len(original.samples) / original.sample_rate
    extent = (
        original.start_s,
        original.start_s + seconds,
        0.0,
        original.sample_rate / 2000,
    )
    figure, axes = plt.subplots(
        4, 1, figsize=(16, 17), sharex=True, height_ratios=[3, 3, 3, 1.2], layout="constrained"
    )
    figure.suptitle(title, fontsize=16)
    panels = [
        ("original", before, "magma", FLOOR_DB, -10.0, "dB"),
        ("restored", after, "magma", FLOOR_DB, -10.0, "dB"),
        ("restored − original", after - before, "RdBu_r", -DIFFERENCE_DB, DIFFERENCE_DB, "dB"),
    ]
    for axis, (name, values, colours, low, high, unit) in zip(axes, panels, strict=False):
        image = axis.imshow(
            values,
            origin="lower",
            aspect="auto",
            extent=extent,
            cmap=colours,
            vmin=low,
            vmax=high,
            interpolation="antialiased",
        )
        axis.set_title(name, loc="left", fontsize=14)
        axis.set_ylabel("kHz", fontsize=12)
        axis.set_yticks(range(0, int(extent[3]) + 1, 2))
        figure.colorbar(image, ax=axis, label=unit, pad=0.01)
    for sound, name, colour in ((original, "original", "black"), (restored, "restored", "C3")):
        levels = level_db(sound)
        times = sound.start_s + (np.arange(len(levels)) + 0.5) * LEVEL_BLOCK_S
        axes[3].plot(times, levels, label=name, color=colour, linewidth=1.0, alpha=0.8)
    loudest = float(level_db(original).max(initial=-60.0))
    axes[3].set_ylim(loudest - 50, loudest + 5)
    axes[3].set_title("level in blocks of 50 ms", loc="left", fontsize=14)
    axes[3].set_ylabel("dB", fontsize=12)
    axes[3].set_xlabel("seconds", fontsize=12)
    axes[3].legend(loc="lower right", ncols=2)
    axes[3].grid(alpha=0.3)
    figure.savefig(target, dpi=100)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--pair",
        dest="pairs",
        nargs=2,
        metavar=("ORIGINAL", "RESTORED"),
        type=Path,
        action="append",
        required=True,
        help="44.1 kHz files of equal length; may be repeated",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the PNG files")
    parser.add_argument("--start", type=float, default=0.0, help="second to begin at")
    parser.add_argument("--seconds", type=float, help="duration of the excerpt")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for original, restored in arguments.pairs:
        before, after = (
            read_excerpt(path, arguments.start, arguments.seconds) for path in (original, restored)
        )
        if (before.sample_rate, len(before.samples)) != (after.sample_rate, len(after.samples)):
            parser.error(f"{original} and {restored} differ in length or sample rate")
        target = arguments.out / f"{restored.stem}.png"
        draw(before, after, f"{original.name} and {restored.name}", target)
        print(target)


if __name__ == "__main__":
    main()
