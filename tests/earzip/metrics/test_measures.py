from __future__ import annotations

import importlib.util
import json
import math
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, astuple

import numpy as np
import pytest
import torch
from torch import Tensor

from earzip.errors import UsageError
from earzip.metrics import require_eval
from earzip.metrics.measures import MIN_SAMPLES, Measures, QualityMeter, measure, si_sdr_db
from earzip.metrics.windows import CONTEXT, FFT_SIZE

auraloss = pytest.importorskip("auraloss")
# It needs the extra eval itself.
from tests.earzip.metrics import reference  # noqa: E402

SMALL = 1 << 15  # a window's FFT where tests need several windows
FIRST_FULL = SMALL - CONTEXT  # samples: the longest track of one window
SECOND_FULL = 2 * FIRST_FULL - 2 * CONTEXT


def noise(seed: int, n: int = 44_100) -> Tensor:
    return torch.randn(2, n, generator=torch.Generator().manual_seed(seed)) * 0.1


def music(n: int = 44_100) -> Tensor:
    """Partials that fade under a little noise, different left and right."""
    t = torch.arange(n, dtype=torch.float64) / 44_100
    tones = [
        torch.stack([torch.sin(f * t + p) for p in (0.3, 1.1 * f)]) * torch.exp(-t * f / 4000) / i
        for i, f in enumerate((700.0, 1391.0, 5402.0, 31_000.0), 1)
    ]
    return (0.2 * sum(tones)).float() + 0.002 * noise(7, n)


def coded(y: Tensor) -> Tensor:
    """What a codec might make of ``y``."""
    return 0.9 * y.roll(3, dims=1) + 0.3 * y.flip(0) + 0.02 * noise(8, y.shape[1])


def streamed(
    x: Tensor, y: Tensor, sizes: Sequence[int] = (1 << 20,), fft_size: int = SMALL
) -> Measures:
    meter = QualityMeter(fft_size)
    position, i = 0, 0
    while position < x.shape[1]:
        end = position + sizes[i % len(sizes)]
        meter.add(x[:, position:end].numpy(), y[:, position:end].numpy())
        position, i = end, i + 1
    measures = meter.measures()
    assert measures is not None
    return measures


def auralosss_own(x: Tensor, y: Tensor) -> tuple[float, float]:
    """The STFT and the mel distance, in float64: sums of float32 over many frames are less exact."""
    sizes = [4096, 2048, 1024, 512, 256, 128]
    values = []
    for used, extra in ((sizes, {}), (sizes[:4], {"scale": "mel", "n_bins": 64})):
        options = {"sample_rate": 44_100, "perceptual_weighting": True, **extra}
        loss = auraloss.freq.MultiResolutionSTFTLoss(used, [n // 4 for n in used], used, **options)
        for each in loss.stft_losses:
            each.window = each.window.double()
            each.prefilter.fir.weight.data = each.prefilter.fir.weight.data.double()
            each.fb = each.fb.double() if extra else None
        values.append(float(loss(x[None].double(), y[None].double())))
    return values[0], values[1]


@pytest.mark.parametrize(
    "n", [MIN_SAMPLES, 44_101, FIRST_FULL, FIRST_FULL + 1, SECOND_FULL, SECOND_FULL + 1]
)
def test_spectral_distances_of_a_stream_are_auralosss_own_of_the_whole(n: int) -> None:
    y = music(n)
    x = coded(y)
    m = streamed(x, y, [12_000, 777, 1])
    assert (m.stft, m.mel) == pytest.approx(auralosss_own(x, y), rel=1e-5)


@pytest.mark.parametrize("fft_size", [SMALL, FFT_SIZE])
@pytest.mark.parametrize("make", [music, lambda: noise(3, FIRST_FULL + 1000)])
def test_measures_are_those_of_their_definitions(make: Callable[[], Tensor], fft_size: int) -> None:
    y = make()
    x = coded(y)
    m = streamed(x, y, fft_size=fft_size)
    a, b = x.double().numpy(), y.double().numpy()
    stft = reference.spectral_distance(a, b, reference.STFT_SIZES, mel=False)
    assert m.stft == pytest.approx(stft, rel=1e-4)
    mel = reference.spectral_distance(a, b, reference.MEL_SIZES, mel=True)
    assert m.mel == pytest.approx(mel, rel=1e-4)
    assert m.icpc == pytest.approx(reference.icpc(a, b), rel=1e-4)
    assert m.ccpc == pytest.approx(reference.ccpc(a, b), rel=1e-4)
    assert m.si_sdr_db == pytest.approx(reference.si_sdr_db(a, b), rel=1e-4)


def test_true_peaks_are_those_of_another_oversampling() -> None:
    y = music(FIRST_FULL + 1000)
    x = 0.7 * y
    x[:, -2000:] *= 3
    a, b = x.double().numpy(), y.double().numpy()
    expected = abs(reference.true_peak_db(a) - reference.true_peak_db(b))
    assert streamed(x, y).dbtp == pytest.approx(expected, abs=0.02)


def test_blocks_of_any_length_give_the_same_measures() -> None:
    y = music(SECOND_FULL + 5_000)
    x = coded(y)
    whole = astuple(streamed(x, y))
    for sizes in ([1023, 1025], [FIRST_FULL], [25_000, 0, 3]):
        assert astuple(streamed(x, y, sizes)) == pytest.approx(whole, rel=1e-12)


def test_every_window_counts() -> None:
    y = music(3 * FIRST_FULL)
    whole = streamed(coded(y), y)
    for position in (0, FIRST_FULL, 2 * FIRST_FULL, 3 * FIRST_FULL - 300):
        x = coded(y)
        x[:, position : position + 300] += noise(1, 300)
        m = streamed(x, y)
        assert m.si_sdr_db < whole.si_sdr_db
        assert m.stft > whole.stft
        assert m.mel > whole.mel
        assert m.icpc < whole.icpc
        x[:, position : position + 300] += 4
        assert streamed(x, y).dbtp > 10


def test_identity_is_perfect() -> None:
    m = measure(noise(0), noise(0))
    assert m.si_sdr_db == 200
    assert m.mel == m.stft == m.dbtp == 0
    assert m.icpc == pytest.approx(1, abs=1e-5)
    assert m.ccpc == pytest.approx(1, abs=1e-5)


def test_si_sdr_of_known_noise() -> None:
    y = noise(0)
    e = noise(1)
    e = e - (e.flatten() @ y.flatten()) / (y.flatten() @ y.flatten()) * y
    e = e * y.norm() / e.norm() * 0.1
    assert si_sdr_db(3 * (y + e), y) == pytest.approx(20, abs=1e-2)
    assert measure(3 * (y + e), y).si_sdr_db == pytest.approx(20, abs=1e-2)


def test_si_sdr_tells_small_errors_of_long_tracks() -> None:
    y = music(10 * 44_100)
    x = y + 1e-6 * y.roll(1, dims=1)
    expected = reference.si_sdr_db(x.double().numpy(), y.double().numpy())
    assert expected > 100
    assert si_sdr_db(x, y) == pytest.approx(expected, abs=1e-3)


def test_an_inverted_channel_keeps_both_coherences() -> None:
    y = noise(0)
    m = measure(torch.stack([y[0], -y[1]]), y)
    assert m.icpc == pytest.approx(1, abs=1e-5)
    assert m.ccpc == pytest.approx(1, abs=1e-5)


def test_random_phases_are_incoherent() -> None:
    y = noise(0)
    spectrum = torch.fft.rfft(y)
    phases = torch.rand(spectrum.shape, generator=torch.Generator().manual_seed(0)) * 2 * math.pi
    m = measure(torch.fft.irfft(spectrum.abs() * torch.exp(1j * phases), y.shape[1]), y)
    assert m.icpc < 0.15
    assert m.ccpc < 0.15


def test_independent_noise_is_incoherent() -> None:
    m = measure(noise(0), noise(1))
    assert m.icpc < 0.15
    assert m.ccpc < 0.15


def test_a_channel_of_independent_noise_loses_half_of_one_coherence_and_all_of_the_other() -> None:
    y = noise(0)
    m = measure(torch.stack([noise(1)[0], y[1]]), y)
    assert 0.4 < m.icpc < 0.6
    assert m.ccpc < 0.15


def test_a_silent_channel_has_no_coherence_to_lose() -> None:
    y = noise(0)
    y[1] = 0
    assert measure(y, y).icpc == pytest.approx(1, abs=1e-5)
    assert measure(y, y).ccpc == 1
    x = y + torch.stack([torch.zeros(44_100), noise(1)[1]])
    assert measure(x, y).icpc == pytest.approx(1, abs=1e-5)


def test_true_peak_lies_between_samples() -> None:
    t = torch.arange(44_100, dtype=torch.float64)
    sine = torch.sin(math.pi / 2 * t + math.pi / 4).float()
    assert float(sine.abs().max()) == pytest.approx(math.sqrt(0.5), abs=1e-4)
    shifted = torch.sin(math.pi / 2 * t).float()
    assert float(shifted.abs().max()) == pytest.approx(1, abs=1e-4)
    assert measure(sine.expand(2, -1), shifted.expand(2, -1)).dbtp == pytest.approx(0, abs=0.3)


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="lengths differ"):
        measure(noise(0), noise(0)[:, :-1])
    with pytest.raises(ValueError, match="expected \\[2, T\\]"):
        measure(noise(0)[:1], noise(0)[:1])


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (noise(0), torch.zeros(2, 44_100)),
        (torch.zeros(2, 44_100), torch.zeros(2, 44_100)),
        (noise(0, MIN_SAMPLES - 1), noise(1, MIN_SAMPLES - 1)),
        (noise(0, 0), noise(0, 0)),
        (noise(0) * 1e30, noise(0)),
        (noise(0), noise(0) * 1e30),
        (noise(0) * math.nan, noise(0)),
    ],
    ids=["silent-original", "silence", "short", "empty", "huge", "huge-original", "nan"],
)
def test_what_is_not_defined_is_none(x: Tensor, y: Tensor) -> None:
    meter = QualityMeter()
    meter.add(x, y)
    assert meter.measures() is None
    with pytest.raises(ValueError, match="silent or too short"):
        measure(x, y)


@pytest.mark.parametrize("x", [torch.zeros(2, MIN_SAMPLES), noise(0, MIN_SAMPLES) * 1e-20])
def test_measures_of_next_to_nothing_are_numbers(x: Tensor) -> None:
    y = noise(1, MIN_SAMPLES)
    json.dumps(asdict(measure(x, y)), allow_nan=False)
    json.dumps(asdict(measure(y, x + 1e-25)), allow_nan=False)
    assert measure(torch.zeros_like(y), y).si_sdr_db == -200


def test_missing_packages_are_named_with_what_installs_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    require_eval()
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        "earzip.metrics.find_spec", lambda name: None if name == "auraloss" else find_spec(name)
    )
    with pytest.raises(UsageError, match=r"auraloss.*pip install '\.\[eval\]'"):
        require_eval()


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length() -> None:
    """Of a process that measures one minute, and of one that measures six."""
    program = (
        "import torch, sys; torch.set_num_threads(1)\n"
        "from pathlib import Path; from earzip.metrics.measures import QualityMeter\n"
        "y = torch.randn(2, 441_000) * 0.1; x = y + 0.02 * torch.randn_like(y)\n"
        "meter = QualityMeter()\n"
        "for _ in range(int(sys.argv[1])): meter.add(x, y)\n"
        "assert meter.measures()\n"
        "print(Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0])"
    )
    short, long = (
        int(
            subprocess.run(
                [sys.executable, "-c", program, n], capture_output=True, check=True
            ).stdout
        )
        for n in ("6", "36")
    )
    assert long < short * 1.1


@pytest.mark.filterwarnings("error")
def test_arrays_that_cannot_be_written_are_taken_too() -> None:
    y = noise(0).numpy()
    y.flags.writeable = False
    assert measure(0.5 * y, y).si_sdr_db == 200


def test_arrays_of_float64_are_taken_too() -> None:
    y = noise(0)
    meter = QualityMeter()
    meter.add(y.double().numpy() * 0.5, np.asarray(y, np.float64))
    assert meter.measures() == measure(y * 0.5, y)
