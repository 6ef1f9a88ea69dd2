"""The files of this machine that stand in for the objects of a run, so that it can be planned as ever.

What is listed below each URL becomes a tree of files without contents, in a temporary folder:

    s3://bucket/music/a.flac    ->    /tmp/earzip-x1y2/s3/bucket/music/a.flac

All of them are in one tree, so that one URL may lie below another. What is read of an archive there is
fetched first: `earzip.formats.archive.stand_in`.
"""

from __future__ import annotations

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
_MAX_NAME_BYTES = 255  # of every common file system
_BUCKET_PARTS = 2  # of the URL of a bucket
_A_FOLDER_TOO = "has the name of a directory too"


class StandIns:
    """The objects below some URLs as files. A context manager, which removes them."""

    def __init__(self) -> None:
        self._opened = ExitStack()
        self._clients = Clients()
        self._listed: dict[Url, Store] = {}
        self._objects: dict[Path, tuple[Store, Stored]] = {}
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
        self._objects[path] = store, stored
        if path.name == IGNORE_FILE:
            self._fill(path, 0, None)

    def _store_of(self, url: Url) -> Store | None:
        """Return the store in whose listing ``url`` is, if it is in one."""
        return next(filter(None, map(self._listed.get, (url, *url.parents))), None)

    def with_remotes(self, plan: Plan, *, with_tags: bool = False) -> None:
        """Tell the jobs of ``plan`` of their objects, and refuse the objects that cannot be files.

        ``with_tags``: whether the tags of archives will be read too. Raises SourceError.
        """
        for url, why in self._odd:
            plan.refuse(url, why)
        self._odd.clear()
        plan.jobs = [replace(job, remote=self._remote(job)) for job in plan.jobs]
        # Of a source that is sound nothing is read here.
        ends = [
            (job.source if is_archive_name(job.source.name) else None, job.target)
            for job in plan.jobs
        ]
        self._order = [path for pair in ends for path in pair if path in self._objects]
        self._places = {path: i for i, path in enumerate(self._order)}
        self._with_tags = with_tags

    def _remote(self, job: Job) -> Remote | None:
        source = self.url_of(job.source)
        target = self.url_of(job.target) if job.target else None
        if not source and not target:
            return None
        stored = self._objects[job.source][1] if source else None
        if job.target and target:
            self._look_up(target, job.target)
        found = [url for url in map(self.url_of, job.found) if url]
        return Remote(
            source=str(source) if source else None,
            version=stored.version if stored else "",
            mtime_ns=stored.mtime_ns if stored else 0,
            target=str(target) if target else None,
            is_there=job.target in self._objects,
            found=tuple(map(str, found)),
        )

    def _look_up(self, url: Url, path: Path) -> None:
        """Make what stands in for an object that is beside those listed, if it is there."""
        if self._store_of(url) or path in self._objects:
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

    def _file_of(self, path: Path) -> StandIn | None:
        if path not in self._files and path in self._objects:
            self._files[path] = StandIn(path, *self._objects[path])
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
        self._fill_spans([(path, 0, HEAD_BYTES) for path in paths if self._is_empty(path)])
        if self._with_tags:
            known = [path for path in paths if not self._is_empty(path)]
            self._fill_spans([span for path in known if (span := _tags_of(path))])

    def _is_empty(self, path: Path) -> bool:
        file = self._file_of(path)
        return file is not None and file.is_empty

    def _fill_spans(self, wanted: Sequence[tuple[Path, int, int]]) -> None:
        by_store: dict[Store, list[tuple[Path, int, int]]] = {}
        for path, start, stop in wanted:
            store, stored = self._objects[path]
            if start < min(stop, stored.n_bytes):
                by_store.setdefault(store, []).append((path, start, min(stop, stored.n_bytes)))
        for store, spans in by_store.items():
            keys = [self._objects[path][1].key for path, *_ in spans]
            found = store.read_many(keys, [(start, stop) for _, start, stop in spans])
            for (path, start, _), data in zip(spans, found, strict=True):
                file = self._file_of(path)
                if data is not None and file:  # else it is requested again, and the error told
                    file.put(start, data)


def _tags_of(path: Path) -> tuple[Path, int, int] | None:
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
