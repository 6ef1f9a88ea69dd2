"""Codecs of a run, each model loaded once."""

from __future__ import annotations

import threading
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Self

from earzip.models.spec import ModelSpec
from earzip.models.store import load_codec
from earzip.runtime import Runtime, choose_device

if TYPE_CHECKING:
    from earzip.coding.codec import Codec


class CodecPool:
    """Codecs on one device, the CPU unless ``runtime`` says otherwise, for any number of threads.

    A context manager. Nothing is loaded, torch least of all, before the first codec is asked for: a run
    that finds all its files done, or their models absent, goes without.
    """

    def __init__(self, runtime: Runtime | None = None) -> None:
        self._runtime = runtime or Runtime("cpu")
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
                device = choose_device(self._runtime.device, self._runtime.precision)
                runtime = replace(self._runtime, device=device)
                self._codecs[spec.sha256] = load_codec(spec, runtime)
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
