"""The part of the Hugging Face hub that a repository of files takes, as a server in this process."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote

from tests.cli.served import served

_WHEN = "2026-01-02T03:04:05.000Z"


@dataclass
class Hub:
    """The server; its only repository is the dataset me/music."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[list[str]] = field(default_factory=list)
    """The files of each commit."""

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer a request, as WSGI has it."""
        n_bytes = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(n_bytes)
        path = unquote(environ["PATH_INFO"])
        status, headers, answer = self._answer(path, environ, body)
        headers = {"Content-Length": str(len(answer)), **headers}
        start_response(status, list(headers.items()))
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [answer]

    def _answer(
        self, path: str, environ: dict[str, Any], body: bytes
    ) -> tuple[str, dict[str, str], bytes]:
        api = "/api/datasets/me/music"
        if path.startswith("/datasets/me/music/resolve/"):
            return self._file(path.split("/", 6)[6], environ)
        if not path.startswith(api):
            return "404 Not Found", {"X-Error-Code": "RepoNotFound"}, b"{}"
        kind, _, rest = path[len(api) :].strip("/").partition("/")
        if kind == "tree":
            return self._tree(rest.partition("/")[2])
        return self._of_repository(kind, body)

    def _of_repository(self, kind: str, body: bytes) -> tuple[str, dict[str, str], bytes]:
        if kind == "paths-info":
            wanted = (
                parse_qs(body.decode())["paths"] if body[:1] != b"{" else json.loads(body)["paths"]
            )
            wanted = [wanted] if isinstance(wanted, str) else wanted
            return _json([self._entry(name) for name in wanted if name in self.files])
        if kind == "preupload":
            files = json.loads(body)["files"]
            modes = {"uploadMode": "regular", "shouldIgnore": False}
            return _json({"files": [{"path": each["path"], **modes} for each in files]})
        if kind == "commit":
            return self._commit(body)
        return _json({"id": "me/music", "sha": "0" * 40, "siblings": [], "tags": [], "private": False,
                      "disabled": False, "gated": False, "downloads": 0, "likes": 0})  # fmt: skip

    def _tree(self, folder: str) -> tuple[str, dict[str, str], bytes]:
        below = [
            name for name in sorted(self.files) if name.startswith(f"{folder}/" if folder else "")
        ]
        if not below:
            return "404 Not Found", {"X-Error-Code": "EntryNotFound"}, b"{}"
        return _json([self._entry(name) for name in below])

    def _entry(self, name: str) -> dict[str, Any]:
        data = self.files[name]
        commit = {"id": "0" * 40, "title": "x", "date": _WHEN}
        oid = hashlib.sha1(data).hexdigest()
        return {"type": "file", "path": name, "oid": oid, "size": len(data), "lastCommit": commit}

    def _file(self, name: str, environ: dict[str, Any]) -> tuple[str, dict[str, str], bytes]:
        if name not in self.files:
            return "404 Not Found", {"X-Error-Code": "EntryNotFound"}, b""
        data = self.files[name]
        headers = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": "0" * 40}
        span = environ.get("HTTP_RANGE", "")
        if not span:
            return "200 OK", headers, data
        first, last = span.removeprefix("bytes=").split("-")
        part = data[int(first) : int(last) + 1 if last else None]
        headers["Content-Range"] = f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}"
        return "206 Partial Content", headers, part

    def _commit(self, body: bytes) -> tuple[str, dict[str, str], bytes]:
        lines = [json.loads(line) for line in body.splitlines()]
        files = {each["value"]["path"]: base64.b64decode(each["value"]["content"])
                 for each in lines if each["key"] == "file"}  # fmt: skip
        self.files |= files
        self.commits.append(sorted(files))
        url = f"{self.url}/datasets/me/music/commit/{'0' * 40}"
        return _json({"commitUrl": url, "commitOid": "0" * 40, "pullRequestUrl": None})


def _json(value: object) -> tuple[str, dict[str, str], bytes]:
    return "200 OK", {"Content-Type": "application/json"}, json.dumps(value).encode()


@contextmanager
def serving() -> Iterator[Hub]:
    """Give a hub that runs until the block ends."""
    hub = Hub()
    with served(hub) as hub.url:
        yield hub
