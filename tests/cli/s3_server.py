"""A server of S3 in this process: moto's, with a count of requests, and faults at will."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import soundfile

from tests.cli.served import served
from tests.conftest import tones

SETTINGS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""The environment of a client, but for AWS_ENDPOINT_URL."""

Fault = Callable[["Request"], tuple[int, str] | None]
"""Returns the status and the code of the error that answers a request; None for a real answer."""


@dataclass(frozen=True)
class Request:
    """What a client has asked for."""

    method: str
    path: str
    query: str
    span: str
    """The header Range."""
    n_sent: int
    """The bytes of its body."""


@dataclass
class S3Server:
    """The server, and what was asked of it."""

    url: str
    requests: list[Request] = field(default_factory=list)
    n_received: int = 0
    """The bytes of all answers."""
    fault: Fault = lambda _request: None

    def forget(self) -> None:
        """Count from here."""
        self.requests.clear()
        self.n_received = 0

    def count(self, method: str, **filters: str) -> int:
        """Return how many requests there were of this method, to paths that contain a text."""
        part = filters.get("path", "")
        return sum(r.method == method and part in r.path for r in self.requests)

    @property
    def kinds(self) -> dict[str, int]:
        """How many requests there were of each kind: LIST, HEAD, GET, PUT and others."""
        found: dict[str, int] = {}
        for request in self.requests:
            kind = "LIST" if "list-type" in request.query else request.method
            found[kind] = found.get(kind, 0) + 1
        return found


@contextmanager
def serving() -> Iterator[S3Server]:
    """Give a server that runs until the block ends."""
    from moto.moto_server.werkzeug_app import (  # noqa: PLC0415  # of the extra dev
        DomainDispatcherApplication,
        create_backend_app,
    )

    app = DomainDispatcherApplication(create_backend_app)
    found = S3Server("")

    def counted(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        request = Request(
            environ["REQUEST_METHOD"],
            environ["PATH_INFO"],
            environ["QUERY_STRING"],
            environ.get("HTTP_RANGE", ""),
            int(environ.get("CONTENT_LENGTH") or 0),
        )
        found.requests.append(request)
        if error := found.fault(request):
            environ["wsgi.input"].read(request.n_sent)
            status, code = error
            body = f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
            start_response(f"{status} {code}", [("Content-Length", str(len(body)))])
            return [body]
        answer = list(app(environ, start_response))
        found.n_received += sum(map(len, answer))
        return answer

    with served(counted) as found.url:
        yield found


class Bucket:
    """The bucket ``music``, of one test, and the server that it is on."""

    def __init__(self, server: S3Server) -> None:
        import boto3  # noqa: PLC0415  # of the extra dev

        self.server = server
        self.client = boto3.client("s3")
        self.client.create_bucket(Bucket="music")

    def put(self, key: str, data: bytes) -> None:
        """Write an object."""
        self.client.put_object(Bucket="music", Key=key, Body=data)

    def get(self, key: str) -> bytes:
        """Return the bytes of an object."""
        data: bytes = self.client.get_object(Bucket="music", Key=key)["Body"].read()
        return data

    @property
    def keys(self) -> list[str]:
        """The names of all objects, in order."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket="music")
        return [each["Key"] for page in pages for each in page.get("Contents", ())]

    def remove(self) -> None:
        """Remove the bucket and all that is in it."""
        for key in self.keys:
            self.client.delete_object(Bucket="music", Key=key)
        self.client.delete_bucket(Bucket="music")


def song_bytes(seconds: float = 0.5, seed: int = 0) -> bytes:
    """Return a FLAC file of chords."""
    file = io.BytesIO()
    soundfile.write(file, tones(round(seconds * 44_100), seed).T, 44_100, format="FLAC")
    return file.getvalue()
