"""Codecs of a run, each model loaded once."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import TYPE_CHECKING, Self

from earzip.models.spec import ModelSpec
from earzip.models.store import load_codec
from earzip.runtime import choose_device

if TYPE_CHECKING:
    from earzip.coding.codec import Codec


class CodecPool:
    """Codecs on one device, for any number of threads; see `earzip.coding.codec.Codec` for the options.

    A context manager. ``device`` is a name for `earzip.runtime.choose_device`. Nothing is loaded, torch
    least of all, before the first codec is asked for: a run that finds all its files done, or their
    models absent, goes without.
    """

    def __init__(
        self,
        *,
        device: str = "cpu",
        precision: str = "float32",
        threads: int | None = None,
        batch_size: int | None = None,
    ) -> None:
        self._device = device
        self._precision = precision
        self._threads = threads
        self._batch_size = batch_size
        self._codecs: dict[str, Codec] = {}
        # One at a time: threads that want the same model wait for the one that loads it. And what
        # `choose_device` does to warnings is done to the whole process, so it must not run twice at once.
        self._loading = threading.Lock()

    def of_model(self, spec: ModelSpec) -> Codec:
        """Return the codec of ``spec``.

        Raises as `earzip.models.store.load_codec` and `earzip.runtime.choose_device` do.
        """
        with self._loading:
            if spec.sha256 not in self._codecs:
                self._codecs[spec.sha256] = load_codec(
                    spec,
                    device=choose_device(self._device, self._precision),
                    precision=self._precision,
                    threads=self._threads,
                    batch_size=self._batch_size,
                )
            return self._codecs[spec.sha256]

    def close(self) -> None:
        """End the codecs' threads, once no track is in hand."""
        with self._loading:
            for codec in self._codecs.values():
                codec.close()
            self._codecs.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
