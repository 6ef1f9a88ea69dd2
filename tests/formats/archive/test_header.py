import json
import os
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earzip.errors import ArchiveError, DamagedArchiveError, UnsupportedArchiveError
from earzip.formats.archive.header import EXACT_FORMS, MAX_EDGE, MIN_EDGED_SAMPLES, Header
from earzip.formats.archive.records import (
    CheckRecord,
    EncoderRecord,
    ModelRecord,
    QuantizerRecord,
    SourceRecord,
)
from earzip.formats.geometry import MAX_CONTEXT_FRAMES, Geometry, n_samples_at
from earzip.formats.names import portable_name
from earzip.formats.symbols.layout import CONTEXT, LEVELS, PACKED, SYMBOL_CODINGS
from tests.formats.archive.samples import canonical, sample_header, with_samples

ASCII = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=32)
WORDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}", fullmatch=True)
CHECKS = st.builds(CheckRecord, *6 * [st.integers(-(10**7), 10**7)])
SHA256 = st.from_regex(r"[0-9a-f]{64}", fullmatch=True)
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), max_size=200).filter(
    lambda name: name not in (".", "..")
)


@st.composite
def headers(draw: st.DrawFn) -> Header:
    n_latents = draw(st.integers(1, 300))
    lowest = draw(st.integers(-1024, 1024 - 255))
    rate = draw(st.integers(1, 768_000))
    source = SourceRecord(
        name=draw(NAMES),
        sha256=draw(SHA256),
        n_bytes=draw(st.integers(0, 2**63 - 1)),
        mtime_ns=draw(st.none() | st.integers(-(2**62), 2**62)),
        container=draw(ASCII),
        codec=draw(ASCII),
        sample_rate=draw(st.integers(1, 768_000)),
        channels=draw(st.integers(1, 1024)),
        bit_depth=draw(st.none() | st.integers(1, 64)),
        is_float=draw(st.booleans()),
        lossless=draw(st.booleans()),
        n_frames=draw(st.integers(0, 2**16)),  # × 768,000 Hz are no more samples than there may be
        downmix=draw(ASCII),
        truncated=draw(st.none() | st.text(st.characters(codec="utf-8"), max_size=100)),
    )
    steps = st.lists(st.integers(lowest, lowest + 255), min_size=n_latents, max_size=n_latents)
    n_samples = n_samples_at(source.n_frames, source.sample_rate, rate)
    edges = st.just((0, 0, 0, 0))
    if n_samples >= MIN_EDGED_SAMPLES:
        edges = st.tuples(*4 * [st.integers(-MAX_EDGE, MAX_EDGE)])
    is_pcm = source.lossless and not source.is_float and 1 <= (source.bit_depth or 0) <= 32
    has_flac = is_pcm and source.channels <= 8 and 0 < source.n_frames < 2**36
    return Header(
        encoder=EncoderRecord(*(draw(ASCII) for _ in range(5))),
        model=ModelRecord(draw(WORDS), draw(SHA256), n_latents),
        geometry=Geometry(
            sample_rate=rate,
            hop=draw(st.integers(1, 65_536)),
            lead=draw(st.integers(0, 2**20)),
            core=draw(st.integers(1, min(MAX_CONTEXT_FRAMES, (4 << 20) // (2 * n_latents)))),
            encoder_context=draw(st.integers(0, 65_536)),
            decoder_context=draw(st.integers(0, 65_536)),
        ),
        quantizer=QuantizerRecord(draw(WORDS), tuple(draw(steps))),
        symbols=draw(st.sampled_from(SYMBOL_CODINGS)),
        gain_centibels=draw(st.integers(-1200, 1200)),
        n_samples=n_samples,
        edges=draw(edges),
        source=source,
        settings=draw(st.from_regex(r"[0-9a-f]{16,64}", fullmatch=True)),
        check=draw(st.none() | st.just(CheckRecord()) | CHECKS),
        exact=draw(st.sampled_from([None, *EXACT_FORMS] if has_flac else [None, "file"])),
    )


@given(headers())
@settings(max_examples=80, deadline=None)
def test_a_header_comes_back_from_its_bytes(header: Header) -> None:
    data = header.to_bytes()
    assert Header.from_bytes(data) == header
    assert Header.from_bytes(data).to_bytes() == data
    assert data == canonical(json.loads(data))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


def paths(members: dict[str, object], before: str = "") -> list[str]:
    found = []
    for key, value in members.items():
        found.append(before + key)
        if isinstance(value, dict):
            found += paths(value, f"{before}{key}.")
    return found


@given(st.sampled_from(paths(json.loads(sample_header().to_bytes()))), JSON)
@settings(max_examples=400, deadline=None)
def test_any_value_in_any_field_is_read_or_refused_as_an_archive_error(
    path: str, value: object
) -> None:
    members = json.loads(sample_header().to_bytes())
    *outer, last = path.split(".")
    inner = members
    for key in outer:
        inner = inner[key]
    inner[last] = value
    data = canonical(members)
    try:
        header = Header.from_bytes(data)
    except (DamagedArchiveError, UnsupportedArchiveError):
        return
    assert json.loads(header.to_bytes())["samples"] == members["samples"]


@given(st.binary(max_size=60))
def test_any_bytes_are_refused_as_an_archive_error(data: bytes) -> None:
    with pytest.raises(ArchiveError):
        Header.from_bytes(data)


def test_a_header_with_224_steps_is_small() -> None:
    assert len(sample_header(n_latents=224).to_bytes()) < 1250


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gain_centibels": 2000}, "gain is 2000"),
        ({"n_samples": 100}, "100 samples at 44100 Hz, but 8192 frames at 44100 Hz make 8192"),
        ({"symbols": "x"}, "symbols is 'x'"),
        ({"quantizer": QuantizerRecord("low", (1, 2))}, "2 steps for 8 latents"),
    ],
)
def test_a_header_that_contradicts_itself_cannot_be_made(
    change: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        replace(sample_header(), **change)  # type: ignore[arg-type]


def test_a_segment_may_be_longer_packed_than_by_context() -> None:
    assert sample_header(core=65_536, symbols=PACKED).n_segments == 1
    assert sample_header(core=1024, symbols=CONTEXT).n_segments == 1
    assert sample_header(core=1024, symbols=LEVELS).n_segments == 1
    for symbols in (CONTEXT, LEVELS):
        message = f"segments have 1025 frames, the limit of {symbols} is 1024"
        with pytest.raises(ValueError, match=message):
            sample_header(core=1025, symbols=symbols)


def test_steps_too_far_apart_cannot_be_made() -> None:
    assert QuantizerRecord("low", (-100, 155)).to_json()["steps"] == "00ff"
    with pytest.raises(ValueError, match="differ by 256, the limit is 255"):
        QuantizerRecord("low", (-100, 156))
    with pytest.raises(ValueError, match="steps is empty"):
        QuantizerRecord("low", ())


def test_frames_and_segments_follow_from_the_samples() -> None:
    header = sample_header(core=4)  # hop 1024, lead 512
    for n_samples, n_frames, n_segments in (
        (0, 0, 0),
        (1, 2, 1),
        (1024, 2, 1),
        (1025, 3, 1),
        (3 * 1024, 4, 1),
        (3 * 1024 + 1, 5, 2),
    ):
        changed = with_samples(header, n_samples)
        assert (changed.n_frames, changed.n_segments) == (n_frames, n_segments)
    assert [changed.segment_frames(i) for i in range(2)] == [4, 1]
    assert changed.max_segment_bytes == 8 * 4 * 2 + 65_536
    assert changed.duration_s == (3 * 1024 + 1) / 44_100


@pytest.mark.parametrize(
    ("n_frames", "rate", "expected"),
    [(0, 48_000, 0), (1, 44_100, 1), (1, 88_200, 1), (1, 88_201, 0), (48_000, 48_000, 44_100)],
)
def test_half_a_sample_is_rounded_up(n_frames: int, rate: int, expected: int) -> None:
    assert n_samples_at(n_frames, rate, 44_100) == expected


def test_a_name_that_is_not_utf8_is_made_so() -> None:
    assert portable_name("/music/Ærø.flac") == "Ærø.flac"
    assert portable_name(os.fsdecode(b"/music/caf\xe9.mp3")) == "caf\N{REPLACEMENT CHARACTER}.mp3"
    assert portable_name("-") == "-"
