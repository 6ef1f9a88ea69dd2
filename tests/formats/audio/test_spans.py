"""Files that are put together from spans of others."""

import errno
import os

import pytest

from earzip.formats.containers.spans import DecoderFile, SpanFile
from tests.formats.faulty_files import FailingFile


def test_a_span_file_is_its_spans_joined(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)))
    spans = [b"head", (10, 5), b"", (100, 0), (3, 2), b"x", (250, 6)]
    joined = b"head" + bytes(range(10, 15)) + bytes([3, 4]) + b"x" + bytes(range(250, 256))
    with path.open("rb") as file:
        span_file = SpanFile(file, spans)
        assert span_file.read() == joined
        for start in range(len(joined) + 2):
            for length in range(len(joined) + 2):
                span_file.seek(start)
                assert span_file.read(length) == joined[start : start + length]
        assert span_file.seek(-3, os.SEEK_END) == len(joined) - 3
        assert span_file.seek(1, os.SEEK_CUR) == len(joined) - 2 == span_file.tell()
    with pytest.raises(OSError, match="Input/output error"):
        SpanFile(FailingFile(), spans).read(100)
    decoder_file = DecoderFile(FailingFile(), spans)
    assert decoder_file.read(100) == b""
    assert decoder_file.error.errno == errno.EIO
