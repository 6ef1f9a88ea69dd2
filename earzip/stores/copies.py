"""Whole directories of files fetched from a store, and put into one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from earzip.errors import SourceError, TargetError
from earzip.stores.store import Clients
from earzip.stores.urls import Url


def fetch(url: Url, folder: Path) -> Path:
    """Fetch the object at ``url``, or all below it, into ``folder``; return its place there.

    Raises UsageError without the client of the store, SourceError for what cannot be fetched.
    """
    store, place = Clients().store(url), folder / url.name
    found = False
    try:
        for stored in store.listed():
            found = True
            if stored.key.endswith("/"):
                continue  # what some programs put in place of a directory
            path = place.joinpath(*stored.key[len(store.root) :].split("/"))
            if not path.resolve().is_relative_to(folder.resolve()):
                raise SourceError("has a name that no file can have", url / path.name)
            path.parent.mkdir(parents=True, exist_ok=True)
            store.get(stored.key, path)
    except OSError as error:
        raise SourceError(f"cannot be fetched: {error.strerror or error}", url) from error
    if not found:
        raise SourceError("is not there", url)
    return place


def put(paths: Iterable[Path], url: Url, *, replace: bool) -> list[Url]:
    """Put files below ``url``, in this order; return what they are called there.

    Without ``replace`` one that is there already is not replaced. Raises UsageError without the client
    of the store, TargetError for what cannot be written.
    """
    clients, places = Clients(), []
    for path in paths:
        place = url / path.name
        store = clients.store(place)
        try:
            store.put(path, store.root, must_be_new=not replace)
        except FileExistsError as error:
            raise TargetError("already exists; use --force to replace it", place) from error
        except OSError as error:
            raise TargetError(f"cannot be written: {error.strerror or error}", place) from error
        places.append(place)
    return places
