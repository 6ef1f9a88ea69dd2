"""Whether an archive gives sound: it is decoded without output."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from earzip.errors import DamagedArchiveError
from earzip.formats.archive.reader import ArchiveReader
from earzip.models.pool import CodecPool
from earzip.results import Progress
from earzip.transcode.sound import CodedSound, ExactSound, codec_of


def decode_check(
    archive: Path, *, codecs: CodecPool | None = None, on_progress: Progress | None = None
) -> list[str]:
    """Decode ``archive`` without output; return a sentence for each thing that is wrong.

    Raises ArchiveError for a file that cannot be opened as an archive, ModelNotFoundError or
    ModelDamagedError.
    """
    problems: list[str] = []
    with ArchiveReader(archive) as reader, ExitStack() as stack:
        pool = codecs or stack.enter_context(CodecPool())
        n_expected = reader.header.n_samples
        sound = CodedSound(reader, codec_of(reader, pool), 0, n_expected, keep_going=True)
        n_samples = 0
        for block in sound.blocks():
            n_samples += block.shape[1]
            if on_progress:
                on_progress(block.shape[1] / reader.header.geometry.sample_rate)
        problems += sound.problems
        if n_samples != n_expected:
            problems.append(f"{n_samples} samples decode, the header says {n_expected}")
        problems += _exact_problems(reader, on_progress)
    return problems


def _exact_problems(reader: ArchiveReader, on_progress: Progress | None) -> list[str]:
    """Return what is wrong with the exact copy, if there is one."""
    if reader.header.exact is None:
        return []
    n_frames = reader.header.source.n_frames
    try:
        with reader.exact_copy() as copy:
            if reader.header.exact == "file":  # whose SHA-256 says all
                return []
            track = ExactSound(reader, copy, 0, n_frames, at_source_rate=True)
            for _block in track.channel_blocks():
                if on_progress:
                    on_progress(0)
    except DamagedArchiveError as error:
        return [error.message]
    return []
