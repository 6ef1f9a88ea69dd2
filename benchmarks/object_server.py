"""A server that lists a bucket of S3 and holds nothing: `python -m benchmarks.object_server N`.

Prints its address, and ends with its standard input. Of each of the N objects it says what S3 does, a
thousand an answer: tracks of 12 an album, the same each time.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

_PAGE = 1000  # objects, as S3 lists at once
_OBJECT = (
    "<Contents><Key>artist {:05}/album {}/{:02} track.flac</Key>"
    "<LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>&quot;{:032x}&quot;</ETag>"
    "<Size>{}</Size><StorageClass>STANDARD</StorageClass></Contents>"
)


@contextmanager
def serving(n_objects: int) -> Iterator[dict[str, str]]:
    """Give the environment in which s3fs finds a server of so many objects, a process of its own."""
    command = [sys.executable, "-m", "benchmarks.object_server", str(n_objects)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout
        yield {
            "AWS_ENDPOINT_URL": server.stdout.readline().strip(),
            "AWS_ACCESS_KEY_ID": "none",
            "AWS_SECRET_ACCESS_KEY": "none",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        server.communicate("")


def page(n_objects: int, start: int) -> str:
    """Return the answer to a request for the objects from number ``start`` on."""
    stop = min(start + _PAGE, n_objects)
    found = "".join(
        _OBJECT.format(i // 120, i // 12 % 10, i % 12 + 1, i, 23_760_000 + i)
        for i in range(start, stop)
    )
    more = f"<NextContinuationToken>{stop}</NextContinuationToken>" if stop < n_objects else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>music</Name>'
        f"<KeyCount>{stop - start}</KeyCount><IsTruncated>{str(bool(more)).lower()}</IsTruncated>"
        f"{more}{found}</ListBucketResult>"
    )


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    n_objects = 0

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        body = page(self.n_objects, int(query.get("continuation-token", ["0"])[0])).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None: ...


def main() -> None:
    _Handler.n_objects = int(sys.argv[1])
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
