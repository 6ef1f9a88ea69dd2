"""The files of this machine that stand in for the objects of a run, so that it can be planned as ever.

What is listed below each URL becomes a tree of files without contents, in a temporary folder:

    s3://bucket/music/a.flac    ->    /tmp/earzip-x1y2/s3/bucket/music/a.flac

All of them are in one tree, so that one URL may lie below another. What is read of an archive there is
fetched first: `earzip.formats.archive.stand_in`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

from earzip.batch.events import Task
from earzip.batch.filters import IGNORE_FILE
from earzip.batch.jobs import Job, Plan
from earzip.batch.remote import Remote
from earzip.errors import ArchiveError, SourceError
from earzip.formats.archive.stand_in import standing_in
from earzip.formats.names import is_archive_name
from earzip.results import FileRecord
from earzip.stores.holes import HEAD_BYTES, StandIn
from earzip.stores.names import renamed
from earzip.stores.staged import StagedTask
from earzip.stores.store import Clients, Store, Stored
from earzip.stores.urls import CLIENTS, Url

_AT_ONCE = 64
"""Archives whose first bytes are requested side by side."""
_WHOLE_BYTES = 256 << 10
"""Archives up to here are fetched whole where their tags are read, which stand behind the sound."""
_MAX_NAME_BYTES = 255  # of every common file system
_BUCKET_PARTS = 2  # of the URL of a bucket
_A_FOLDER_TOO = "has the name of a directory too"

_Span = tuple[Path, int, int]
"""A file that stands in for an object, and where bytes of it begin and end."""


class StandIns:
    """The objects below some URLs as files. A context manager, which removes them."""

    def __init__(self) -> None:
        self._opened = ExitStack()
        self._clients = Clients()
        self._listed: dict[Url, Store] = {}
        self._objects: dict[str, tuple[Store, Stored]] = {}
        """By the path of the file that stands in: a `Path` takes three times the room."""
        self._files: dict[Path, StandIn] = {}
        """Those of which something was read."""
        self._odd: list[tuple[Url, str]] = []
        """Objects that no file can stand in for, and why."""
        self._order: list[Path] = []
        """What will be read from its beginning, in this order."""
        self._places: dict[Path, int] = {}
        self._with_tags = False

    def __enter__(self) -> Self:
        folder = self._opened.enter_context(TemporaryDirectory(prefix="earzip-"))
        self._root = Path(folder).resolve()
        self._name = re.compile(rf"{re.escape(str(self._root))}/({'|'.join(CLIENTS)})(?=/|\W|$)")
        self._opened.enter_context(standing_in(self._root, self._fill))
        return self

    def __exit__(self, *exc: object) -> None:
        self._opened.close()

    def path_of(self, url: Url) -> Path:
        """Return the file or directory that stands in for ``url``, whether it is there or not."""
        return self._root.joinpath(url.scheme, *url.parts[1:])

    def url_of(self, path: Path) -> Url | None:
        """Return the URL of a file here; None for any other path."""
        if not path.is_relative_to(self._root):
            return None
        scheme, *parts = path.relative_to(self._root).parts
        return Url(f"{scheme}:", *parts)

    def named(self, text: str) -> str:
        """Return ``text`` with URLs in place of the files that stand in for them."""
        return self._name.sub(r"\1:/", text)

    def renamed(self, record: FileRecord) -> FileRecord:
        """Return ``record`` with URLs in place of the files that stand in for them."""
        target = record.target and (self.url_of(record.target) or record.target)
        return renamed(record, self.named, self.url_of(record.source) or record.source, target)

    def make(self, sources: Collection[Url], others: Iterable[Url] = ()) -> None:
        """Make what stands in for the objects at and below ``sources``, and below ``others``.

        Raises UsageError without the client of a store, SourceError where it cannot be listed.
        """
        found = []
        # The outer ones first: what is below them is listed with them.
        for url in sorted({*sources, *others}, key=lambda each: len(each.parts)):
            if self._store_of(url) is None:
                self._listed[url] = store = self._clients.store(url)
                with _errors_of(url):
                    listed = list(store.listed())
                folders = _folders_of(stored.key for stored in listed)
                found += [(url, store, stored, stored.key in folders) for stored in listed]
                if len(url.parts) == _BUCKET_PARTS:  # a bucket is there, with nothing in it too
                    self.path_of(url).mkdir(parents=True, exist_ok=True)
        # Archives last: one counts as out of date if its source has changed after it.
        found.sort(key=lambda each: is_archive_name(each[2].key))
        for url, store, stored, is_folder in found:
            inner = stored.key[len(store.root) :].removeprefix("/")
            if stored.key.endswith("/") or (is_folder and not stored.n_bytes):
                # What some programs put in place of a directory.
                if not inner:
                    self.path_of(url).mkdir(parents=True, exist_ok=True)
            elif why_not := _A_FOLDER_TOO if is_folder else _why_no_file(inner):
                self._odd.append((Url(f"{url}/{inner}"), why_not))
            else:
                self._add(self.path_of(url) / inner, store, stored)
        self._odd = [
            each for each in self._odd if any(each[0].is_relative_to(url) for url in sources)
        ]

    def _add(self, path: Path, store: Store, stored: Stored) -> None:
        try:
            StandIn(path, store, stored).make()
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            url = self.url_of(path)
            assert url
            self._odd.append((url, _A_FOLDER_TOO))
            return
        self._objects[os.fspath(path)] = store, stored
        if path.name == IGNORE_FILE:
            self._fill(path, 0, None)

    def _store_of(self, url: Url) -> Store | None:
        """Return the store in whose listing ``url`` is, if it is in one."""
        return next(filter(None, map(self._listed.get, (url, *url.parents))), None)

    def refuse_odd(self, plan: Plan) -> None:
        """Refuse the objects that cannot be files."""
        for url, why in self._odd:
            plan.refuse(url, why)
        self._odd.clear()

    def with_remotes(self, plan: Plan) -> None:
        """Tell the jobs of ``plan`` of their objects. Raises SourceError.

        That takes memory: do it for the jobs of a shard, not for all of a bucket.
        """
        plan.jobs = [replace(job, remote=self._remote(job)) for job in plan.jobs]

    def expect(self, plan: Plan, *, with_tags: bool) -> None:
        """Have the archives of ``plan`` requested side by side as they are read, in its order.

        ``with_tags``: whether their tags will be read, beside their beginnings.
        """
        # Of a source that is sound nothing is read here.
        ends = [
            (job.source if is_archive_name(job.source.name) else None, job.target)
            for job in plan.jobs
        ]
        self._order = [path for pair in ends for path in pair if path and self._stored(path)]
        self._places = {path: i for i, path in enumerate(self._order)}
        self._with_tags = with_tags

    def _remote(self, job: Job) -> Remote | None:
        source = self.url_of(job.source)
        target = self.url_of(job.target) if job.target else None
        if not source and not target:
            return None
        stored = self._stored(job.source) if source else None
        if job.target and target:
            self._look_up(target, job.target)
        found = [url for url in map(self.url_of, job.found) if url]
        return Remote(
            source=str(source) if source else None,
            version=stored.version if stored else "",
            mtime_ns=stored.mtime_ns if stored else 0,
            target=str(target) if target else None,
            is_there=job.target is not None and self._stored(job.target) is not None,
            found=tuple(map(str, found)),
        )

    def _look_up(self, url: Url, path: Path) -> None:
        """Make what stands in for an object that is beside those listed, if it is there."""
        if self._store_of(url) or self._stored(path):
            return
        with _errors_of(url):
            store = self._clients.store(url)
            if stored := store.look_up(store.root):
                self._add(path, store, stored)
        self._listed[url] = store

    def staged(self, task: Task) -> Task:
        """Return ``task``, done with objects."""
        return StagedTask(task, self.forget)

    def forget(self, path: Path | None) -> None:
        """Give back the room on the disk that was filled of ``path``."""
        if path and (file := self._files.pop(path, None)):
            file.make()

    def _stored(self, path: Path) -> Stored | None:
        """Return the object that a file here stands in for; None for any other path."""
        found = self._objects.get(os.fspath(path))
        return found and found[1]

    def _file_of(self, path: Path) -> StandIn | None:
        if path not in self._files and (found := self._objects.get(os.fspath(path))):
            self._files[path] = StandIn(path, *found)
        return self._files.get(path)

    def _fill(self, path: Path, offset: int, n_bytes: int | None) -> None:
        file = self._file_of(path)
        if file is None:
            return
        if file.is_empty and n_bytes is not None and path in self._places:
            self._fill_heads(self._places[path])
        file.fill(offset, n_bytes)

    def _fill_heads(self, first: int) -> None:
        """Fetch the beginnings of the next archives together, and their tags if they will be read."""
        paths = self._order[first : first + _AT_ONCE]
        missing = [path for path in paths if self._is_empty(path)]
        tags: list[_Span] = []
        for path, _, data in self._fetched([(path, 0, self._n_first(path)) for path in missing]):
            # The sound that came along is not kept: with --where all archives stay filled.
            self._put(path, 0, data[:HEAD_BYTES])
            if self._with_tags and (span := _tags_of(path)):
                _, start, stop = span
                if stop <= len(data):
                    self._put(path, start, data[start:stop])
                else:
                    tags.append(span)
        for path, start, data in self._fetched(tags):
            self._put(path, start, data)

    def _n_first(self, path: Path) -> int:
        """Return how many bytes of an archive to request first."""
        stored = self._stored(path)
        is_whole = self._with_tags and stored and stored.n_bytes <= _WHOLE_BYTES
        return _WHOLE_BYTES if is_whole else HEAD_BYTES

    def _is_empty(self, path: Path) -> bool:
        file = self._file_of(path)
        return file is not None and file.is_empty

    def _put(self, path: Path, start: int, data: bytes) -> None:
        if file := self._file_of(path):
            file.put(start, data)

    def _fetched(self, spans: Sequence[_Span]) -> Iterator[tuple[Path, int, bytes]]:
        """Yield the bytes of spans from their starts on, requested side by side.

        What failed is left out: reading requests it again, and then the error is told.
        """
        by_store: dict[Store, list[tuple[str, _Span]]] = {}
        for path, start, stop in spans:
            store, stored = self._objects[os.fspath(path)]
            if start < min(stop, stored.n_bytes):
                span = path, start, min(stop, stored.n_bytes)
                by_store.setdefault(store, []).append((stored.key, span))
        for store, wanted in by_store.items():
            keys = [key for key, _ in wanted]
            found = store.read_many(keys, [(start, stop) for _, (_, start, stop) in wanted])
            for (_, (path, start, _)), data in zip(wanted, found, strict=True):
                if data is not None:
                    yield path, start, data


def _tags_of(path: Path) -> _Span | None:
    """Return the span of an archive's tags, of what is known of it; None if that is not known."""
    from earzip.formats.archive.reader import ArchiveReader  # noqa: PLC0415  # loads numpy

    with suppress(ArchiveError), ArchiveReader(path, salvage=True) as reader:
        if span := reader.tags_span:
            return path, *span
    return None


def _folders_of(keys: Iterable[str]) -> set[str]:
    """Return the names that keys have others below."""
    found = set[str]()
    for key in keys:
        folder = key.rpartition("/")[0]
        while folder and folder not in found:
            found.add(folder)
            folder = folder.rpartition("/")[0]
    return found


def _why_no_file(name: str) -> str | None:
    """Return why no file can have the name of an object below a URL; None if one can."""
    parts = name.split("/") if name else []
    if {"", ".", ".."} & set(parts) or "\0" in name:
        return "its name has an empty part, or one that no file can have"
    if any(len(part.encode()) > _MAX_NAME_BYTES for part in parts):
        return f"a part of its name has more than {_MAX_NAME_BYTES} bytes"
    return None


@contextmanager
def _errors_of(url: Url) -> Iterator[None]:
    """Give the OSErrors of a block the name of the URL that cannot be listed. Raises SourceError."""
    try:
        yield
    except OSError as error:
        raise SourceError(f"cannot be listed: {error.strerror or error}", url) from error
