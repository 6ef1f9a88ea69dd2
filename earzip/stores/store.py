"""A store, through its fsspec file system: the one place where clients' errors become ours.

Whatever a client raises becomes an OSError whose ``strerror`` says in one sentence what is wrong, without
the object's name. An object is written by one upload of a whole file, so it is whole or absent. Never by
an open file: clients publish what was written so far where an error ends the writing.
"""

from __future__ import annotations

import errno
import importlib
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import gettempdir
from typing import Any, TypeVar

from earzip.errors import SourceError, UsageError
from earzip.stores.hugging_face import root_of, upload
from earzip.stores.urls import CLIENTS, Url

T = TypeVar("T")

OnBytes = Callable[[], None]

MOST_AT_ONCE_BYTES = 64 << 20
"""The most that one request asks for, since its answer is held in memory."""
_WAITS_S = (0.5, 2.0)
"""Between tries of a request. The clients try again too, of what they know to pass."""
_FOR_GOOD = (FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError)
_NO_CREDENTIALS = (
    "NoCredentials",
    "DefaultCredentials",
    "CredentialUnavailable",
    "PartialCredentials",
)
"""Parts of the names of the errors that clients raise where they find no credentials."""
_DENIED = ("ClientAuthentication", "Unauthorized", "Forbidden", "TokenRetrieval", "RefreshError")
_GCS_RESUMABLE_BYTES = 5 << 20
"""From here on gcsfs uploads in pieces, for which servers may not heed that the object must be new."""


_TELL_LITTLE = {"az", "abfs", "abfss"}
"""Here a listing tells neither of an object at the very name nor of a container that is not there."""
NO_BUCKET = "there is no such bucket or repository, or it cannot be seen"


class StoreError(OSError):
    """A request failed; ``strerror`` says why."""

    def __init__(self, message: str, number: int = errno.EIO) -> None:
        super().__init__(number, message)


@dataclass(frozen=True, slots=True)  # there may be a million
class Stored:
    """An object, as a store lists it."""

    key: str
    """What the client calls it: with the bucket."""
    n_bytes: int
    mtime_ns: int
    """Its time of modification, in whole seconds: that is all that some requests tell."""
    version: str
    """Changes with its content."""


class Clients:
    """The clients of stores, one for each bucket. Safe to use from several threads."""

    def __init__(self) -> None:
        self._file_systems: dict[str, Any] = {}
        self._opening = threading.Lock()

    def store(self, url: Url) -> Store:
        """Return the store of a URL.

        Raises UsageError without the extra that has its client, SourceError for a URL that it refuses.
        """
        bucket = str(Url(*url.parts[:2]))
        with self._opening:
            if bucket not in self._file_systems:
                self._file_systems[bucket] = _file_system(bucket, url)
        file_system = self._file_systems[bucket]
        if url.scheme != "hf":
            root = file_system._strip_protocol(str(url))
        else:
            try:
                root = _told(lambda: root_of(file_system, str(url)), url.scheme)
            except OSError as error:
                is_missing = isinstance(error, FileNotFoundError)
                message = NO_BUCKET if is_missing else error.strerror
                raise SourceError(f"cannot be listed: {message}", url) from error
        return Store(file_system, url.scheme, root.rstrip("/"))


class Store:
    """What is at a URL, and below it. Safe to use from several threads; the methods raise OSError."""

    def __init__(self, file_system: Any, scheme: str, root: str) -> None:
        self._fs = file_system
        self._scheme = scheme
        self.root = root
        """What the client calls the URL."""

    def listed(self) -> Iterator[Stored]:
        """Yield what is at `root`, or below it; nothing if nothing is there."""
        self._fs.invalidate_cache()
        # Of a repository of Hugging Face only this gives the times.
        more = {"expand_info": True} if self._scheme == "hf" else {}
        is_empty_told = self._scheme not in _TELL_LITTLE
        try:
            found = self._again(lambda: self._fs.find(self.root, detail=True, **more))
        except FileNotFoundError:
            found, is_empty_told = {}, False
        if self._scheme in _TELL_LITTLE and not (found and isinstance(found, dict)):
            found = {}
            if one := self.look_up(self.root):
                yield one
                return
        if not (found or is_empty_told or self._has_bucket()):
            raise StoreError(NO_BUCKET, errno.ENOENT)
        self._fs.invalidate_cache()  # what a client tells of an object takes a kB
        for key in sorted(found):
            info = found.pop(key)
            if info.get("type") != "directory":
                yield _stored(key, info)

    def _has_bucket(self) -> bool:
        if self._scheme == "hf":  # known since its name was resolved
            return True
        with suppress(OSError):
            return bool(_told(lambda: self._fs.exists(self.root.split("/")[0]), self._scheme))
        return False

    def look_up(self, key: str) -> Stored | None:
        """Return an object as it is now; None if there is none."""
        self._fs.invalidate_cache()
        try:
            info = self._again(lambda: self._fs.info(key))
        except FileNotFoundError:
            return None
        return None if info.get("type") == "directory" else _stored(key, info)

    def read(self, key: str, start: int, stop: int) -> bytes:
        """Return the bytes ``[start, stop)`` of an object."""
        data: bytes = self._again(lambda: self._fs.cat_file(key, start=start, end=stop))
        if len(data) != stop - start:
            message = (
                f"gave {len(data)} of {stop - start} bytes: it has changed since it was listed"
            )
            raise StoreError(message)
        return data

    def read_many(
        self, keys: Sequence[str], spans: Sequence[tuple[int, int]]
    ) -> list[bytes | None]:
        """Return the bytes of a span of each object, requested side by side; None for what failed."""
        starts, stops = [list(ends) for ends in zip(*spans, strict=True)]
        found = _told(
            lambda: self._fs.cat_ranges(list(keys), starts, stops, on_error="return"), self._scheme
        )
        return [
            data if isinstance(data, bytes) and len(data) == stop - start else None
            for data, (start, stop) in zip(found, spans, strict=True)
        ]

    def get(self, key: str, path: Path, on_bytes: OnBytes = lambda: None) -> None:
        """Write an object to the file ``path``; ``on_bytes`` is called as bytes come, and may raise."""
        self._again(lambda: self._fs.get_file(key, str(path), callback=_callback(on_bytes)))

    def put(
        self, path: Path, key: str, on_bytes: OnBytes = lambda: None, *, must_be_new: bool
    ) -> None:
        """Write the file ``path`` to an object, whole or not at all.

        With ``must_be_new`` an object that is there is not replaced: FileExistsError. ``on_bytes`` is
        called as bytes go, and may raise.
        """
        tries = 0

        def put() -> None:
            nonlocal tries
            tries += 1
            try:
                self._put(path, key, on_bytes, must_be_new)
            except FileExistsError:
                # The request that failed before may have come through.
                if tries == 1 or not self._holds(key, path):
                    raise

        self._again(put)

    def _put(self, path: Path, key: str, on_bytes: OnBytes, must_be_new: bool) -> None:
        n_bytes = path.stat().st_size
        is_unheeded = self._scheme == "hf" or (
            self._scheme == "gs" and n_bytes >= _GCS_RESUMABLE_BYTES
        )
        if must_be_new and is_unheeded and self.look_up(key) is not None:
            raise FileExistsError(errno.EEXIST, "exists")
        if self._scheme == "hf":
            upload(self._fs, path, key)
        else:
            mode = "create" if must_be_new else "overwrite"
            self._fs.put_file(str(path), key, callback=_callback(on_bytes), mode=mode)

    def _holds(self, key: str, path: Path) -> bool:
        found, n_bytes = self.look_up(key), path.stat().st_size
        if found is None or found.n_bytes != n_bytes:
            return False
        with path.open("rb") as file:
            return all(
                self.read(key, start, min(n_bytes, start + MOST_AT_ONCE_BYTES))
                == file.read(MOST_AT_ONCE_BYTES)
                for start in range(0, n_bytes, MOST_AT_ONCE_BYTES)
            )

    def _again(self, call: Callable[[], T]) -> T:
        """Return what ``call`` returns, which is tried again where that may help."""
        for wait_s in _WAITS_S:
            try:
                return _told(call, self._scheme)
            except _FOR_GOOD:
                raise
            except OSError:
                time.sleep(wait_s)
        return _told(call, self._scheme)


def _file_system(bucket: str, url: Url) -> Any:
    client = CLIENTS[url.scheme]
    try:
        importlib.import_module(client.module)
    except ImportError as error:
        what = (
            f"{url.scheme}:// needs the extra {client.extra}; "
            f"in the clone of earzip: pip install '.[{client.extra}]'"
        )
        raise UsageError(what, url) from error
    import fsspec  # noqa: PLC0415  # only for URLs

    try:
        return _told(lambda: fsspec.core.url_to_fs(bucket, skip_instance_cache=True)[0], url.scheme)
    except OSError as error:
        raise SourceError(f"cannot be opened: {error.strerror}", url) from error


def _callback(on_bytes: OnBytes) -> Any:
    """Return the callback of fsspec that calls ``on_bytes`` for each piece."""
    from fsspec.callbacks import Callback  # noqa: PLC0415

    def call(*_args: object, **_more: object) -> None:
        try:
            on_bytes()
        except BaseException as error:
            raise _GivenUpError(error) from error

    return Callback(hooks={"piece": call})


class _GivenUpError(Exception):
    """Brings what a callback has raised through a client: fsspec loses what is no Exception."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__(cause)
        self.cause = cause


def _stored(key: str, info: dict[str, Any]) -> Stored:
    commit = info.get("last_commit")
    when = commit.date if commit else None
    for name in ("LastModified", "mtime", "last_modified", "updated", "uploaded_at"):
        when = when or info.get(name)
    if isinstance(when, str):
        when = datetime.fromisoformat(when)
    seconds = int(when.timestamp()) if isinstance(when, datetime) else int(when or 0)
    names = ("ETag", "etag", "generation", "blob_id", "xet_hash")
    version = next((str(info[name]) for name in names if info.get(name)), "").strip('"')
    n_bytes = int(info["size"] or 0)
    return Stored(key, n_bytes, seconds * 10**9, f"{version} {n_bytes} {seconds}")


def _told(call: Callable[[], T], scheme: str) -> T:
    """Return what ``call`` returns. Raises OSError with one sentence for whatever it raises."""
    try:
        return call()
    except StoreError:
        raise
    except FileNotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, "is not there (any more)") from error
    except FileExistsError as error:
        raise FileExistsError(errno.EEXIST, "is there already") from error
    except Exception as error:
        for each in _chain(error):
            if isinstance(each, _GivenUpError):
                raise each.cause from None
        names = [type(each).__name__ for each in _chain(error)]
        if any(part in name for name in names for part in _NO_CREDENTIALS):
            message = f"no credentials for {scheme}:// were found, {CREDENTIALS[scheme]}"
            raise PermissionError(errno.EACCES, message) from error
        if isinstance(error, PermissionError) or any(
            part in name for name in names for part in _DENIED
        ):
            message = f"access is denied: {_sentence(error)}"
            raise PermissionError(errno.EACCES, message) from error
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            where = f"in {gettempdir()}, the temporary directory (TMPDIR)"
            raise OSError(errno.ENOSPC, f"there is no room left {where}") from error
        raise StoreError(_sentence(error)) from error


CREDENTIALS = {
    "s3": "which boto3 would find: AWS_ACCESS_KEY_ID, ~/.aws, or the role of the machine",
    "gs": "which Google's libraries would find: GOOGLE_APPLICATION_CREDENTIALS, gcloud, or the machine's",
    **dict.fromkeys(
        ("az", "abfs", "abfss"),
        "which adlfs would find: AZURE_STORAGE_CONNECTION_STRING and others",
    ),
    "hf": "which huggingface_hub would find: HF_TOKEN, or `hf auth login`",
}
"""Where each client looks for credentials."""


def _chain(error: BaseException) -> Iterator[BaseException]:
    each: BaseException | None = error
    while each is not None:
        yield each
        each = each.__cause__ or each.__context__


_MAX_SENTENCE = 300
_SECRETS = re.compile(r"(\w://)(?:[^\s/@\"'`]*@)?([^\s?\"'`]*)(?:\?[^\s\"'`]*)?")


def _sentence(error: Exception) -> str:
    """Return the first line of what a client says, or the name of its error if that is nothing.

    Of addresses in it, the parts that may be secret are left out: a user's, and the query.
    """
    text = getattr(error, "strerror", None) or str(error)
    line = next(iter(text.strip().splitlines()), "") or type(error).__name__
    line = _SECRETS.sub(r"\1\2", line)
    return line if len(line) <= _MAX_SENTENCE else f"{line[:_MAX_SENTENCE]}…"
