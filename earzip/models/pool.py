"""Codecs of a run, each model loaded once."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

from earzip.models.spec import ModelSpec
from earzip.models.store import load_codec
from earzip.runtime import AUTOMATIC, Runtime, garbage_left

if TYPE_CHECKING:
    from earzip.coding.codec import Codec


class CodecPool:
    """Codecs on one device, the CPU unless ``runtime`` says otherwise, for any number of threads.

    A context manager. Nothing is loaded, above all not torch, before the first codec is needed: a run
    whose files are all done, or whose models are missing, does not wait for it.
    """

    def __init__(self, runtime: Runtime | None = None) -> None:
        self._runtime = runtime or Runtime("cpu")
        self._codecs: dict[str, Codec] = {}
        # One at a time: threads that want the same model wait for the one that loads it. And what
        # `usable_runtime` does to warnings is done to the whole process, so it must not run at once.
        self._loading = threading.Lock()

    def checked(self) -> Self:
        """Return this pool. Raises UsageError if its device is missing or cannot do the work.

        Defaults that work on any machine are not tested, and so do not load torch.
        """
        runtime = self._runtime
        works_anywhere = runtime.precision in ("float32", AUTOMATIC)
        if runtime.device not in ("auto", "cpu") or not works_anywhere:
            from earzip.coding.device import usable_runtime  # noqa: PLC0415  # loads torch

            usable_runtime(runtime)
        return self

    def of_model(self, spec: ModelSpec) -> Codec:
        """Return the codec of ``spec``.

        Raises as `earzip.models.store.load_codec` and `earzip.coding.device.usable_runtime` do.
        """
        with self._loading:
            if spec.sha256 not in self._codecs:
                with garbage_left():
                    self._codecs[spec.sha256] = self._loaded(spec)
            return self._codecs[spec.sha256]

    def _loaded(self, spec: ModelSpec) -> Codec:
        from earzip.coding.device import usable_runtime  # noqa: PLC0415  # loads torch

        return load_codec(spec, usable_runtime(self._runtime))

    def close(self) -> None:
        """End the codecs' threads, once no track is in progress."""
        with self._loading:
            for codec in self._codecs.values():
                codec.close()
            self._codecs.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
