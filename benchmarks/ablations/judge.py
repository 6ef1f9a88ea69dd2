"""How good a trained network is on validation music."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchmarks.data.pcm import FULL_SCALE, SAMPLE_RATE, read_set
from benchmarks.treble import treble_error_db
from earzip.coding.level import REFERENCE_LEVEL_DB
from earzip.metrics.measures import Measures, mean_measures, measure
from earzip.models.trained import read_run
from earzip.network.networks import Network, build_network, ready_to_run
from earzip.training.rate import bits_to_kbps, entropy_bits

EXCERPTS = 24
SECONDS = 6


class Judged(NamedTuple):
    """Rate and measures, means over the excerpts but for the rate, which is pooled."""

    kbps: float
    measures: Measures
    treble_db: float
    """Mean absolute error of log magnitude above 10 kHz."""


def judge(run: Path, music: Path) -> Judged:
    """Measure the weights of a run on the middles of tracks of the validation set in ``music``.

    Latents are rounded to steps of one mean posterior scale; their rate is the order-0 entropy, a table
    a channel.
    """
    trained = read_run(run)
    network = build_network(trained.architecture, trained.config.to_json())
    ready_to_run(network, trained.weights)
    clips = excerpts(music, network.config.hop)
    with torch.inference_mode():
        posteriors = [network.encode(clip[None]) for clip in clips]
        step = torch.cat([p.scale for p in posteriors]).mean((0, 2), keepdim=True)
        symbols = [(p.mean / step).round() for p in posteriors]
        decoded = [network.decode(s * step)[0] for s in symbols]
    # Frames at the ends lack the context that they have inside of a track.
    margin = min(_reach(network) * network.config.hop, clips[0].shape[1] // 4)
    inside = slice(margin, clips[0].shape[1] - margin)
    pairs = [(d[:, inside], c[:, inside]) for d, c in zip(decoded, clips, strict=True)]
    all_symbols = torch.cat(symbols, 2)[0]
    bits = entropy_bits(all_symbols) / all_symbols.shape[1]
    return Judged(
        kbps=bits_to_kbps(bits, network.config.hop, SAMPLE_RATE),
        measures=mean_measures([measure(d, c) for d, c in pairs]),
        treble_db=float(np.mean([treble_error_db(d, c) for d, c in pairs])),
    )


def excerpts(music: Path, hop: int) -> list[Tensor]:
    """Middles of tracks from all over the validation set, at the reference level: ``[2, T]`` each."""
    samples, entries = read_set(music, "val")
    n_samples = SECONDS * SAMPLE_RATE // hop * hop
    long_enough = [entry for entry in entries if entry["frames"] > n_samples]
    chosen = [long_enough[i * len(long_enough) // EXCERPTS] for i in range(EXCERPTS)]
    clips = []
    for entry in chosen:
        start = entry["start"] + (entry["frames"] - n_samples) // 2
        clip: npt.NDArray[np.float32] = samples[start : start + n_samples].T.astype(np.float32)
        gain = 10 ** ((REFERENCE_LEVEL_DB - entry["rms_db"]) / 20) / FULL_SCALE
        clips.append(torch.from_numpy(np.ascontiguousarray(clip) * np.float32(gain)))
    return clips


def _reach(network: Network) -> int:
    return network.config.encoder_reach + network.config.decoder_reach
