"""Spectrograms of originals and what was restored of them: `python -m benchmarks.spectrograms`.

One picture for each pair of files: the original, the restored, by how many dB they differ, and the
level over time. `--set` puts several restored versions of one original into one picture, each named by
its file or, where the files are called alike, by its folder. Look for holes (blue in the difference),
birdies (red), a lost top octave, pumping.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import soundfile

mpl.use("Agg")  # before pyplot, which would look for a display

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

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
    """Return `[bins, frames]` in dB, 0 for a sine of full scale; at least FLOOR_DB."""
    return _decibels(power_spectrogram(sound))


def power_spectrogram(sound: Sound) -> npt.NDArray[np.float64]:
    """Return `[bins, frames]`, 1 for a sine of full scale; mean power of the channels.

    The power is averaged and not the samples, which could cancel.
    """
    padded = np.pad(sound.samples, ((0, max(0, N_FFT - len(sound.samples))), (0, 0)))
    window = np.hanning(N_FFT + 1)[:-1]
    windows = np.lib.stride_tricks.sliding_window_view(padded, N_FFT, axis=0)[::HOP]
    power = np.zeros((len(windows), N_FFT // 2 + 1))
    for channel in range(padded.shape[1]):
        spectrum = np.fft.rfft(windows[:, channel] * window)
        power += np.abs(spectrum) ** 2 / padded.shape[1]
    scaled: npt.NDArray[np.float64] = power.T / (window.sum() / 2) ** 2
    return scaled


def level_db(sound: Sound) -> Decibels:
    """Return the level of each block of 50 ms, in dB, 0 for a square wave of full scale."""
    block = round(LEVEL_BLOCK_S * sound.sample_rate)
    whole = len(sound.samples) // block * block
    blocks = sound.samples[:whole].reshape(-1, block * sound.samples.shape[1])
    return _decibels(np.square(blocks, dtype=np.float64).mean(1))


def _decibels(power: npt.NDArray[np.float64]) -> Decibels:
    decibels: Decibels = 10 * np.log10(np.maximum(power, 10 ** (FLOOR_DB / 10)))
    return decibels


def names_of(restored: Sequence[Path]) -> list[str]:
    """Return what tells the files apart: their stems, their folders' names, or their whole paths."""
    for names in ([path.stem for path in restored], [path.parent.name for path in restored]):
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in restored]


def draw(original: Sound, restored: Mapping[str, Sound], title: str, target: Path) -> None:
    """Write the picture of an original and restored versions, all of equal length and sample rate.

    `restored` is by name; the panels are the original, each version, and each less the original.
    """
    before = spectrogram_db(original)
    after = {name: spectrogram_db(sound) for name, sound in restored.items()}
    seconds = len(original.samples) / original.sample_rate
    extent = (
        original.start_s,
        original.start_s + seconds,
        0.0,
        original.sample_rate / 2000,
    )
    levels = {"magma": (FLOOR_DB, -10.0), "RdBu_r": (-DIFFERENCE_DB, DIFFERENCE_DB)}
    panels = [
        ("original", before, "magma"),
        *((name, values, "magma") for name, values in after.items()),
        *((f"{name} − original", values - before, "RdBu_r") for name, values in after.items()),
    ]
    heights = [1.0] * len(panels) + [0.4]
    inches = 5.0 if len(restored) == 1 else 3.5
    figure, axes = plt.subplots(
        len(heights),
        1,
        figsize=(16, inches * sum(heights)),
        sharex=True,
        height_ratios=heights,
        layout="constrained",
    )
    figure.suptitle(title, fontsize=16)
    for axis, (name, values, colours) in zip(axes, panels, strict=False):
        low, high = levels[colours]
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
        figure.colorbar(image, ax=axis, label="dB", pad=0.01)
    _plot_levels(axes[-1], [("original", original), *restored.items()])
    figure.savefig(target, dpi=100)
    plt.close(figure)


def _plot_levels(axis: Axes, sounds: Sequence[tuple[str, Sound]]) -> None:
    """Plot the level of each sound over time; the range is that of the first, the original."""
    for number, (name, sound) in enumerate(sounds):
        levels = level_db(sound)
        times = sound.start_s + (np.arange(len(levels)) + 0.5) * LEVEL_BLOCK_S
        colour = f"C{3 * number}" if number else "black"
        axis.plot(times, levels, label=name, color=colour, linewidth=1.0, alpha=0.8)
    loudest = float(level_db(sounds[0][1]).max(initial=-60.0))
    axis.set_ylim(loudest - 50, loudest + 5)
    axis.set_title("level in blocks of 50 ms", loc="left", fontsize=14)
    axis.set_ylabel("dB", fontsize=12)
    axis.set_xlabel("seconds", fontsize=12)
    axis.legend(loc="lower right", ncols=len(sounds))
    axis.grid(alpha=0.3)


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
        default=[],
        help="44.1 kHz files of equal length; may be repeated",
    )
    parser.add_argument(
        "--set",
        dest="sets",
        nargs="+",
        metavar=("ORIGINAL", "RESTORED"),
        type=Path,
        action="append",
        default=[],
        help="an original and several restored versions; may be repeated",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the PNG files")
    parser.add_argument("--start", type=float, default=0.0, help="second to begin at")
    parser.add_argument("--seconds", type=float, help="duration of the excerpt")
    arguments = parser.parse_args()
    if not arguments.pairs and not arguments.sets:
        parser.error("nothing to draw: give --pair or --set")
    arguments.out.mkdir(parents=True, exist_ok=True)
    pictures: list[tuple[Path, dict[str, Path], str, str]] = []
    for original, restored in arguments.pairs:
        pictures.append((original, {"restored": restored}, restored.name, restored.stem))
    for original, *versions in arguments.sets:
        if not versions:
            parser.error(f"--set {original} names no restored version")
        names = names_of(versions)
        by_name = dict(zip(names, versions, strict=True))
        pictures.append((original, by_name, ", ".join(names), f"{original.stem}-set"))
    for original, by_name, called, stem in pictures:
        sounds = [
            read_excerpt(path, arguments.start, arguments.seconds)
            for path in (original, *by_name.values())
        ]
        if len({(sound.sample_rate, len(sound.samples)) for sound in sounds}) > 1:
            parser.error(f"{original} and {called} differ in length or sample rate")
        target = arguments.out / f"{stem}.png"
        after = dict(zip(by_name, sounds[1:], strict=True))
        draw(sounds[0], after, f"{original.name} and {called}", target)
        print(target)


if __name__ == "__main__":
    main()
