"""Sound files as blocks of float32, whatever their format: the one way in."""

from __future__ import annotations

import io
import os
import stat
from typing import BinaryIO

import soundfile

from earzip.errors import SourceError
from earzip.formats.audio.array import ArraySource
from earzip.formats.audio.mpeg_search import why_no_mpeg
from earzip.formats.audio.reader import OnTruncated, SourceReader
from earzip.formats.audio.sndfile import SndfileSource, open_with_sndfile
from earzip.formats.containers.outer import inner_range
from earzip.formats.containers.spans import SpanFile
from earzip.formats.names import AUDIO_EXTENSIONS, SNDFILE_EXTENSIONS


def open_source(path: str | os.PathLike[str], on_truncated: OnTruncated = None) -> SourceReader:
    """Return the opened sound file, a context manager.

    Its content says what it is. The name matters in one case: MPEG audio behind bytes that mean nothing
    is sought further where the name promises it. SourceError if it is not there, is empty, or is not
    sound that can be read.
    """
    path = os.fspath(path)
    try:
        file = open(path, "rb", opener=_open_without_waiting)  # noqa: SIM115
    except OSError as error:
        raise SourceError(error.strerror or str(error), path) from error
    try:
        n_bytes = _require_content(path, file)
    except BaseException:
        file.close()
        raise
    reader = open_source_file(file, n_bytes, path)
    reader.on_truncated = on_truncated
    return reader


def reopen_source(first: SourceReader) -> SourceReader:
    """Return the file of ``first``, a reader at its end, opened anew; what it found out is taken over.

    The file must not have changed since. SourceError if it cannot be read.
    """
    if isinstance(first, ArraySource):
        return first.again()
    if not isinstance(first, SndfileSource):
        reader = open_source(first.path, first.on_truncated)
        reader.digest = first.digest
        return reader
    try:
        file = open(first.path, "rb", opener=_open_without_waiting)  # noqa: SIM115
    except OSError as error:
        raise SourceError(error.strerror or str(error), first.path) from error
    try:
        return first.again(_inner_file(file, os.fstat(file.fileno()).st_size)[0])
    except soundfile.LibsndfileError as error:
        file.close()
        raise SourceError("changed while earzip read it", first.path) from error
    except BaseException:
        file.close()
        raise


def open_source_file(file: BinaryIO, n_bytes: int, name: str) -> SourceReader:
    """Return the sound of an open file of ``n_bytes``, a context manager that closes the file too.

    ``name`` stands for the file in messages; its extension matters as in `open_source`, and in the advice
    to install PyAV. SourceError if it is not sound that can be read.
    """
    try:
        file, n_bytes = _inner_file(file, n_bytes)
        if not n_bytes:
            raise SourceError("is not sound: it has nothing but tags", name)
        try:
            return open_with_sndfile(name, file, n_bytes)
        except soundfile.LibsndfileError as error:
            return _open_with_av(name, file, n_bytes, error)
    except OSError as error:
        file.close()
        raise SourceError(f"cannot be read: {error.strerror or error}", name) from error
    except BaseException:
        file.close()
        raise


def _inner_file(file: BinaryIO, n_bytes: int) -> tuple[BinaryIO, int]:
    """Return the file without the tags around it, and its size."""
    start, end = inner_range(file, n_bytes)
    if (start, end) == (0, n_bytes):
        return file, n_bytes
    return io.BufferedReader(_InnerFile(file, [(start, end - start)])), end - start


def _open_without_waiting(path: str, flags: int) -> int:
    """Open the file; a named pipe would otherwise wait for someone to write into it."""
    return os.open(path, flags | os.O_NONBLOCK)


def _require_content(path: str, file: BinaryIO) -> int:
    """Return the size of a regular file that is not empty."""
    try:
        status = os.fstat(file.fileno())
    except OSError as error:
        raise SourceError(f"cannot be read: {error.strerror or error}", path) from error
    if not stat.S_ISREG(status.st_mode):
        raise SourceError("not a regular file", path)
    if status.st_size == 0:
        raise SourceError("the file is empty", path)
    return status.st_size


class _InnerFile(SpanFile):
    """The part of a file between outer tags; closing it closes the file."""

    def close(self) -> None:
        self._file.close()
        super().close()


def _open_with_av(
    path: str, file: BinaryIO, size: int, refusal: soundfile.LibsndfileError
) -> SourceReader:
    why = refusal.error_string.rstrip(".")
    try:
        import av.error  # noqa: PLC0415

        from earzip.formats.audio.pyav import AvSource  # noqa: PLC0415
    except ImportError as error:
        unread = why_no_mpeg(file, size, path) or _why_unread(path, why)
        raise SourceError(unread, path) from error
    try:
        return AvSource(path, file, size)
    except av.error.FFmpegError as error:
        unread = f"is not sound that libsndfile ({why}) or FFmpeg ({error.strerror}) can read"
        raise SourceError(why_no_mpeg(file, size, path) or unread, path) from error


# Containers that sound may be in, which are not looked for in directories.
_FILMS = frozenset({".3gp", ".m4v", ".mkv", ".mov"})


def _why_unread(path: str, refusal: str) -> str:
    """Return why a file cannot be read without PyAV, which is advised only where it may help."""
    suffix = os.path.splitext(path)[1].lower()  # noqa: PTH122  # the path is a str
    advice = "needs PyAV, which is not installed; in the clone of earzip: pip install '.[av]'"
    if suffix in (AUDIO_EXTENSIONS - SNDFILE_EXTENSIONS) | _FILMS:
        return advice
    unread = f"is not sound that libsndfile can read ({refusal})"
    if suffix in SNDFILE_EXTENSIONS:
        return unread
    return "is not a sound file" if suffix else f"{unread}, or {advice}"
