"""URLs of objects, and of what a store has below a name, as paths. Loads no client of a store."""

from __future__ import annotations

import os
import re
from pathlib import PosixPath
from typing import NamedTuple

from earzip.errors import UsageError


class Client(NamedTuple):
    """The package that talks to a kind of store."""

    module: str
    extra: str | None
    """The extra of earzip that brings it; None if earzip itself does."""


CLIENTS = {
    "s3": Client("s3fs", "s3"),
    "gs": Client("gcsfs", "gcs"),
    "az": Client("adlfs", "azure"),
    "abfs": Client("adlfs", "azure"),
    "abfss": Client("adlfs", "azure"),
    "hf": Client("huggingface_hub", None),
}
"""By the scheme of a URL."""

_URL = re.compile(rf"({'|'.join(CLIENTS)})://(.*)", re.DOTALL)
_OTHER_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")  # the scheme: RFC 3986, section 3.1
SUPPORTED = "s3://, gs://, az:// and hf://"
"""What messages call the schemes of `CLIENTS`; abfs and abfss are others of Azure."""


class Url(PosixPath):
    """A URL such as ``s3://bucket/music``, with the names, parents and joins of a path.

    No file has it: `earzip.stores.stand_ins.StandIns` makes one that stands in for the object.
    """

    def __str__(self) -> str:
        return super().__str__().replace(":/", "://", 1)

    @property
    def scheme(self) -> str:
        """What stands before the colon."""
        return self.parts[0][:-1]


def is_url(text: str | os.PathLike[str]) -> bool:
    """Return whether ``text`` begins as a URL of a store does."""
    return _URL.match(os.fspath(text)) is not None


def is_other_url(text: str | os.PathLike[str]) -> bool:
    """Return whether ``text`` begins as a URL does that is none of a store: ``file://``, ``https://``."""
    return _OTHER_URL.match(os.fspath(text)) is not None and not is_url(text)


def parse_url(text: str) -> Url:
    """Return the URL that ``text`` spells. Raises UsageError without a bucket, or with a part ``..``."""
    found = _URL.fullmatch(text)
    if not found or not found[2] or found[2].startswith("/"):
        raise UsageError("names no bucket; expected a URL as s3://bucket/music", text)
    if {".", ".."} & set(found[2].split("/")):
        raise UsageError("has a part . or .., which stands for itself in a store", text)
    return Url(text)
