"""The sound of a track as segments of an archive, at one quality or at several in turn."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from earzip.arrays import Audio, Latents, Symbols
from earzip.coding.edges import TrackEnds, edge_errors
from earzip.coding.quantizer import dequantize
from earzip.errors import SourceError, TargetError
from earzip.formats.archive.frames import compress_frames
from earzip.formats.archive.header import Edges, Header
from earzip.formats.archive.records import EncoderRecord, ModelRecord, QuantizerRecord, SourceRecord
from earzip.formats.geometry import max_segment_bytes
from earzip.formats.symbols.coding import pack
from earzip.formats.symbols.packed import MAX_SYMBOL
from earzip.models.spec import ModelSpec, Preset
from earzip.transcode.archive_settings import ArchiveSettings

if TYPE_CHECKING:
    from earzip.coding.codec import Codec

_TOO_LARGE = "its samples are too large, expected about ±1 at the loudest"
_SAMPLED_SEGMENTS = 3
_CLOSE = 0.004  # of a rate: an exponent of all steps moves it by 2 to 3 %
_QUALITIES = [q / 10 for q in range(101)]


class Coded(NamedTuple):
    """What was found out about a track's sound as it was coded."""

    gain_db: float
    n_samples: int
    edges: Edges
    quality: str


def header_of(
    coded: Coded, codec: Codec, settings: ArchiveSettings, source: SourceRecord
) -> Header:
    """Return the header of a track that ``codec`` has coded with ``settings``."""
    import torch  # noqa: PLC0415  # only what is encoded needs it, not what is up to date

    spec = settings.spec
    exponents = spec.exponents_at(spec.preset_at(coded.quality))
    return Header(
        encoder=EncoderRecord(
            name="earzip",
            version=version("earzip"),
            torch=str(torch.__version__),
            device=codec.device.type,
            dtype=codec.precision,
        ),
        model=ModelRecord(spec.name, spec.sha256, codec.n_latents),
        geometry=codec.geometry,
        quantizer=QuantizerRecord(coded.quality, tuple(exponents.tolist())),
        symbols=spec.layout.coding,
        gain_centibels=round(10 * coded.gain_db),
        n_samples=coded.n_samples,
        edges=coded.edges,
        source=source,
        settings=settings.digest,
    )


class SegmentEncoder:
    """Encodes the sound of ``source`` once, and codes it at any quality of ``spec``.

    ``source`` is None for sound that is in no file.
    """

    def __init__(self, codec: Codec, spec: ModelSpec, source: Path | None) -> None:
        self._codec, self._spec, self._source = codec, spec, source
        self._ends = TrackEnds(codec.n_latents, codec.end_frames)
        self._gain = np.float32(1)
        self.n_samples = 0

    def encode(
        self, blocks: Iterable[Audio], gain_db: float, on_samples: Callable[[int], None]
    ) -> Iterator[Latents]:
        """Yield the latents ``[D, F]`` of each segment. Raises SourceError where they overflow."""
        self._gain = np.float32(10 ** (gain_db / 20))

        def amplified() -> Iterator[Audio]:
            for block in blocks:
                self._ends.add_samples(block)
                self.n_samples += block.shape[1]
                yield block * self._gain
                on_samples(block.shape[1])

        for latents in self._codec.encode(amplified()):
            if not np.isfinite(latents).all():
                raise SourceError(self._why_not_finite(), self._source)
            yield latents

    def code(self, segments: Iterable[Latents], preset: Preset) -> Iterator[list[bytes]]:
        """Yield the pieces of each segment; SourceError where an archive cannot hold one."""
        for symbols in self.quantized(segments, preset):
            yield pack_segment(symbols, self._spec, self._source)

    def quantized(self, segments: Iterable[Latents], preset: Preset) -> Iterator[Symbols]:
        """Yield the integers ``[D, F]`` of each segment; SourceError where they are too large."""
        self._ends.forget_symbols()
        for latents in segments:
            symbols = self._spec.quantize(latents, preset)
            if np.abs(symbols).max() == MAX_SYMBOL:  # where the quantiser cuts off
                raise SourceError(
                    f"{_TOO_LARGE}: its latents pass ±{MAX_SYMBOL} steps, the limit of an archive",
                    self._source,
                )
            self._ends.add_symbols(symbols)
            yield symbols

    def edges(self, preset: Preset) -> Edges:
        """Return the errors of the track's ends as they were coded last, at ``preset``."""
        if not self.n_samples:
            return 0, 0, 0, 0
        exponents = self._spec.exponents_at(preset)
        first, last = (dequantize(s, exponents) for s in (self._ends.first, self._ends.last))
        decoded = self._codec.decode_ends(first, last, self.n_samples) / self._gain
        return edge_errors(self._ends.samples, decoded, self.n_samples)

    def _why_not_finite(self) -> str:
        if self._codec.precision == "float16":
            return "overflows in float16; --precision float32 or bfloat16 has a greater range"
        return "its samples are too large for the model"


def pack_segment(symbols: Symbols, spec: ModelSpec, source: Path | None) -> list[bytes]:
    """Return the pieces of a segment of ``source``; SourceError where they are too large."""
    pieces = pack(symbols, spec.layout)
    n_bytes = sum(map(len, pieces))
    most = max_segment_bytes(spec.n_latents, spec.geometry["core"])
    if n_bytes > most:
        raise SourceError(
            f"{_TOO_LARGE}: a segment has {n_bytes} bytes, the limit is {most}", source
        )
    return pieces


class LatentSpool(AbstractContextManager["LatentSpool"]):
    """Latents of segments in an unnamed file beside ``target``, to be read as often as needed."""

    def __init__(self, segments: Iterable[Latents], target: Path) -> None:
        self._target = target
        self._shapes: list[tuple[int, int]] = []
        try:
            self._file = tempfile.TemporaryFile(dir=target.parent)  # noqa: SIM115  # see __exit__
        except OSError as error:
            raise self._failed(error) from error
        for latents in segments:
            self._shapes.append((latents.shape[0], latents.shape[1]))
            try:
                self._file.write(np.ascontiguousarray(latents, np.float32).tobytes())
            except OSError as error:
                self._file.close()
                raise self._failed(error) from error

    def __exit__(self, *exc: Any) -> None:
        with suppress(OSError):  # writing its buffer may fail again
            self._file.close()

    def __iter__(self) -> Iterator[Latents]:
        yield from self._each(1)

    def sampled(self) -> Iterator[Latents]:
        """Yield a few segments from all over the track."""
        yield from self._each(max(1, len(self._shapes) // _SAMPLED_SEGMENTS))

    def _each(self, step: int) -> Iterator[Latents]:
        n_bytes = [4 * n * f for n, f in self._shapes]
        for i in range(step // 2, len(self._shapes), step):
            try:
                self._file.seek(sum(n_bytes[:i]))
                data = self._file.read(n_bytes[i])
            except OSError as error:
                raise self._failed(error) from error
            yield np.frombuffer(data, np.float32).reshape(self._shapes[i])

    def _failed(self, error: OSError) -> TargetError:
        return TargetError(f"cannot be written: {error.strerror or error}", self._target)


def quality_for(
    n_bytes: float, encoder: SegmentEncoder, spool: LatentSpool, spec: ModelSpec
) -> str:
    """Return the quality, a number from 0 to 10, at which all segments come nearest to ``n_bytes``.

    A few segments say which quality it is about, and all of them which it is.
    """

    def size(segments: Iterable[Latents], quality: float) -> int:
        preset = spec.preset_at(f"{quality:g}")
        return sum(len(compress_frames(p)) for p in encoder.code(segments, preset))

    sizes: dict[float, int] = {}

    def at(quality: float) -> int:
        if quality not in sizes:
            sizes[quality] = size(spool, quality)
        return sizes[quality]

    middle = _QUALITIES[len(_QUALITIES) // 2]
    scale = at(middle) / max(size(spool.sampled(), middle), 1)
    low, high = 0, len(_QUALITIES) - 1
    while high - low > 1:  # by the few: the largest that is not too large
        between = (low + high) // 2
        is_over = scale * size(spool.sampled(), _QUALITIES[between]) > n_bytes
        low, high = (low, between) if is_over else (between, high)
    i = low
    for _ in range(6):  # by all: some steps on, as far as they bring it nearer
        error = at(_QUALITIES[i]) / n_bytes - 1
        towards = i + (-1 if error > 0 else 1)
        if abs(error) < _CLOSE or not 0 <= towards < len(_QUALITIES):
            break
        if abs(at(_QUALITIES[towards]) / n_bytes - 1) >= abs(error):
            break
        i = towards
    return f"{_QUALITIES[i]:g}"
