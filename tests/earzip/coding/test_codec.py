from __future__ import annotations

from concurrent.futures import Future

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from earzip.coding.codec import Codec
from earzip.coding.windows import Network
from earzip.errors import UsageError
from earzip.formats.geometry import SAMPLE_RATE, Geometry
from earzip.models.store import find_model, load_codec
from earzip.network.config import EarConfig
from earzip.network.ear import EarVae
from earzip.runtime import Runtime
from tests.conftest import tones

Audio = NDArray[np.float32]


def blocks(audio: Audio, size: int) -> list[Audio]:
    return [audio[:, i : i + size] for i in range(0, audio.shape[1], size)]


@pytest.fixture
def codec(tiny_model: str) -> Codec:
    return load_codec(find_model(tiny_model), Runtime("cpu", threads=1))


def encode(codec: Codec, audio: Audio, size: int = 5000) -> list[Audio]:
    return list(codec.encode(blocks(audio, size)))


def decode(
    codec: Codec, segments: list[Audio], n_samples: int, which: range | None = None
) -> Audio:
    which = range(len(segments)) if which is None else which
    pieces = codec.decode(lambda i: segments[i], n_samples, which)
    return np.concatenate([np.zeros((2, 0), np.float32), *pieces], 1)


def whole_track(codec: Codec, audio: Audio) -> tuple[Audio, Audio]:
    """Latents and sound of ``audio`` coded in one piece, mirrored at its ends as windows see it."""
    g = codec.geometry
    n_frames = g.n_frames(audio.shape[1])
    around = g.encoder_context
    before, size = around * g.hop + g.lead, (n_frames + 2 * around) * g.hop
    after = size - before - audio.shape[1]
    padded = np.pad(audio, ((0, 0), (before, after)), mode="symmetric")
    with torch.inference_mode():
        mean = codec.vae.encode(torch.from_numpy(padded)[None]).mean[
            0, :, around : around + n_frames
        ]
        c = g.decoder_context
        latents = torch.nn.functional.pad(mean, (c, c))
        sound = codec.vae.decode(latents[None])[0].numpy()
    start = c * g.hop + g.lead
    return mean.numpy(), sound[:, start : start + audio.shape[1]]


@pytest.mark.parametrize("n_samples", [0, 1, 127, 128, 129, 256, 16_127, 16_128, 16_129, 50_000])
def test_windows_equal_the_track_in_one_piece(codec: Codec, n_samples: int) -> None:
    audio = tones(n_samples)
    segments = encode(codec, audio)
    assert len(segments) == codec.geometry.n_segments(n_samples)
    got = decode(codec, segments, n_samples)
    assert got.shape == audio.shape
    if n_samples:
        latents, sound = whole_track(codec, audio)
        np.testing.assert_allclose(np.concatenate(segments, 1), latents, atol=1e-5)
        np.testing.assert_allclose(got, sound, atol=1e-5)


def frames_of_windows(
    codec: Codec, n_samples: int, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[int], list[int]]:
    """Return how many frames windows have beside the context as a track is encoded, and decoded."""
    g, submit = codec.geometry, codec._engine.submit
    found: list[int] = []

    def noted(network: Network, window: Audio) -> Future[Audio]:
        found.append(window.shape[1])
        return submit(network, window)

    monkeypatch.setattr(codec._engine, "submit", noted)
    segments = encode(codec, tones(n_samples))
    of_encoder = [size // g.hop - 2 * g.encoder_context for size in found]
    found.clear()
    assert decode(codec, segments, n_samples).shape == (2, n_samples)
    return of_encoder, [size - 2 * g.decoder_context for size in found]


def test_the_last_window_ends_where_the_track_does(
    codec: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    g = codec.geometry
    n_samples = (g.core + 3) * g.hop - 2 * g.lead
    assert frames_of_windows(codec, n_samples, monkeypatch) == ([g.core, 3], [g.core, 3])


def test_a_network_that_sees_all_of_a_window_gets_all_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = EarConfig(channels=4, n_latents=8, transformer_depth=1, head_size=8)
    g = Geometry(SAMPLE_RATE, config.hop, lead=0, core=4, encoder_context=2, decoder_context=2)
    codec = Codec(EarVae(config).eval(), g, config.n_latents, threads=1)
    assert frames_of_windows(codec, 5 * g.hop, monkeypatch) == ([4, 4], [4, 4])


def test_first_and_last_samples_are_as_good_as_the_rest(codec: Codec) -> None:
    n = np.arange(40_000)
    audio = tones(40_000) * np.minimum(1, np.minimum(n, n[::-1]) / 400).astype(np.float32)
    error = np.abs(decode(codec, encode(codec, audio), 40_000) - audio).max(0)
    assert error[:128].max() <= np.percentile(error, 99.9)
    assert error[-128:].max() <= np.percentile(error, 99.9)


@pytest.mark.parametrize("size", [1, 333, 16_384, 10**6])
def test_latents_do_not_depend_on_the_blocks(codec: Codec, size: int) -> None:
    audio = tones(33_000 if size > 1 else 300)
    for a, b in zip(encode(codec, audio), encode(codec, audio, size), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("threads", "batch_size"), [(2, None), (3, 4), (1, 16)])
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_results_do_not_depend_on_threads_or_batch(
    tiny_model: str, precision: str, threads: int, batch_size: int
) -> None:
    audio = tones(120_000)
    one, other = (
        load_codec(
            find_model(tiny_model), Runtime("cpu", precision=precision, threads=n, batch_size=batch)
        )
        for n, batch in ((1, None), (threads, batch_size))
    )
    assert_same_results(one, other, audio)


def test_mini_in_bfloat16_does_not_depend_on_threads() -> None:
    one, two = (
        load_codec(find_model("mini"), Runtime("cpu", precision="bfloat16", threads=n))
        for n in (1, 2)
    )
    assert_same_results(one, two, tones(2_500_000))


def assert_same_results(one: Codec, other: Codec, audio: Audio) -> None:
    first, second = encode(one, audio), encode(other, audio)
    assert len(first) > 2
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    n_samples = audio.shape[1]
    np.testing.assert_array_equal(decode(one, first, n_samples), decode(other, first, n_samples))


@pytest.mark.parametrize(("precision", "least_db"), [("bfloat16", 40), ("float16", 60)])
def test_reduced_precision_is_near_float32(
    tiny_model: str, codec: Codec, precision: str, least_db: float
) -> None:
    reduced = load_codec(find_model(tiny_model), Runtime("cpu", precision=precision, threads=1))
    audio = tones(40_000)
    latents, others = encode(codec, audio), encode(reduced, audio)
    sound, other = decode(codec, latents, 40_000), decode(reduced, latents, 40_000)
    for got, wanted in ((np.concatenate(others, 1), np.concatenate(latents, 1)), (other, sound)):
        assert got.dtype == np.float32
        noise = np.square(got - wanted).sum()
        assert noise > 0
        assert 10 * np.log10(np.square(wanted).sum() / noise) > least_db


def test_the_edges_of_a_track_are_those_of_float32(tiny_model: str, codec: Codec) -> None:
    reduced = load_codec(find_model(tiny_model), Runtime("cpu", precision="bfloat16", threads=1))
    (latents,) = encode(codec, tones(3_000))
    ends = codec.decode_ends(latents, latents, 3_000)
    np.testing.assert_array_equal(reduced.decode_ends(latents, latents, 3_000), ends)


def test_a_precision_that_is_none_is_a_usage_error(tiny_model: str) -> None:
    with pytest.raises(UsageError, match="'half', expected one of float32, bfloat16, float16"):
        load_codec(find_model(tiny_model), Runtime("cpu", precision="half"))


def test_means_and_scales_come_in_one_pass(codec: Codec) -> None:
    audio = tones(33_000)
    both = list(codec.encode_posterior(blocks(audio, 5000)))
    for mean, posterior in zip(encode(codec, audio), both, strict=True):
        np.testing.assert_array_equal(posterior[0], mean)
        np.testing.assert_allclose(posterior[1], 0.25, rtol=1e-3)  # the tiny model's own


def test_a_range_of_segments_decodes_as_in_the_whole(codec: Codec) -> None:
    segments = encode(codec, tones(80_000))
    span = codec.geometry.core * codec.geometry.hop
    whole = decode(codec, segments, 80_000)
    part = decode(codec, segments, 80_000, range(2, 4))
    start = 2 * span - codec.geometry.lead
    np.testing.assert_array_equal(part, whole[:, start : start + part.shape[1]])


def test_only_a_few_windows_are_held(codec: Codec) -> None:
    """A generator of an hour is not read further than the windows in flight."""
    taken = 0

    def endless() -> object:
        nonlocal taken
        while True:
            taken += 1
            yield tones(16_384)

    latents = codec.encode(endless())  # type: ignore[arg-type]
    next(latents)
    assert taken <= 9
    latents.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize(("lead", "hop"), [(512, 1024), (0, 1024), (128, 256)])
def test_every_sample_has_a_frame(lead: int, hop: int) -> None:
    geometry = Geometry(44_100, hop, lead, 4, 1, 1)
    for n in range(3 * hop + 2):
        n_frames = geometry.n_frames(n)
        assert n_frames * hop >= n + 2 * lead or n == 0
        assert (n_frames - 1) * hop < n + 2 * lead
        assert geometry.segments_of(0, n) == range(
            geometry.n_segments(n - lead) if n > lead else min(n, 1)
        )
