"""Tracks side by side in threads of one process, with one pool of codecs."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile
import torch

from earzip.batch.locks import claim
from earzip.errors import LockedError
from earzip.models import pool as pool_module
from earzip.models.pool import CodecPool
from earzip.models.store import find_model
from earzip.options import RestoreOptions
from earzip.runtime import Runtime
from earzip.transcode.compress import compress_file
from earzip.transcode.decode_check import decode_check
from earzip.transcode.latents import extract_latents
from earzip.transcode.restore import restore_file
from tests.conftest import tones
from tests.earzip.tiny_archives import TINY

THREADS = 8
TIMES = 2


@pytest.fixture
def library(tmp_path: Path) -> list[Path]:
    """24 tracks of half a second: kinds, rates and channels mixed."""
    folder = tmp_path / "library"
    folder.mkdir()
    paths = []
    rates = (44_100, 48_000, 22_050, 96_000, 8_000, 37_800)
    for i in range(24):
        audio = tones(12_000 + 997 * i, seed=i)[: 1 if i % 4 == 0 else 2]
        suffix, subtype = (("wav", "PCM_16"), ("flac", "PCM_24"), ("wav", "FLOAT"))[i % 3]
        paths.append(folder / f"{i:02}.{suffix}")
        soundfile.write(paths[-1], audio.T, rates[i % len(rates)], subtype=subtype)
    return paths


def in_threads(work: object, items: list[Path]) -> None:
    """Call ``work`` with each of ``items`` and its number, on `THREADS` threads that begin together."""
    begin = threading.Barrier(THREADS)

    def of_thread(first: int) -> None:
        begin.wait(60)
        for i in range(first, len(items), THREADS):
            work(i, items[i])  # type: ignore[operator]

    with ThreadPoolExecutor(THREADS) as threads:
        for _ in threads.map(of_thread, range(THREADS)):
            pass


def test_many_threads_write_what_one_writes(
    library: list[Path], tmp_path: Path, tiny_model: str
) -> None:
    one = tmp_path / "one"
    archives = [one / f"{path.name}.earz" for path in library]
    restored = [
        one / f"{path.stem}{('.wav', '.flac', '.wav')[i % 3]}" for i, path in enumerate(library)
    ]
    options = [RestoreOptions(as_source=bool(i % 2)) for i in range(len(library))]
    with CodecPool(Runtime("cpu", threads=1)) as pool:
        for path, archive, sound, how in zip(library, archives, restored, options, strict=True):
            compress_file(path, archive, TINY, codecs=pool)
            restore_file(archive, sound, how, codecs=pool)
    latents = tmp_path / "one.safetensors"
    extract_latents(archives[0], latents)
    for attempt in range(TIMES):
        folder = tmp_path / f"many{attempt}"
        with CodecPool(Runtime("cpu", threads=2)) as pool:

            def both(i: int, path: Path, folder: Path = folder, pool: CodecPool = pool) -> None:
                archive, sound = folder / archives[i].name, folder / restored[i].name
                compress_file(path, archive, TINY, codecs=pool)
                restore_file(archive, sound, options[i], codecs=pool)
                assert archive.read_bytes() == archives[i].read_bytes()
                assert sound.read_bytes() == restored[i].read_bytes()
                assert decode_check(archive, codecs=pool) == []
                extract_latents(archives[0], folder / f"{i}.safetensors")
                assert (folder / f"{i}.safetensors").read_bytes() == latents.read_bytes()

            in_threads(both, library)


def test_checked_archives_do_not_depend_on_threads(
    library: list[Path], tmp_path: Path, tiny_model: str
) -> None:
    pytest.importorskip("auraloss")
    pytest.importorskip("pyloudnorm")
    checked = replace(TINY, check=True)
    sources = library[:THREADS]
    alone = [tmp_path / "one" / f"{path.name}.earz" for path in sources]
    with CodecPool(Runtime("cpu", threads=1)) as pool:
        for path, archive in zip(sources, alone, strict=True):
            compress_file(path, archive, checked, codecs=pool)

    with CodecPool(Runtime("cpu", threads=2)) as pool:

        def compress(i: int, path: Path) -> None:
            archive = tmp_path / "many" / alone[i].name
            compress_file(path, archive, checked, codecs=pool)
            assert archive.read_bytes() == alone[i].read_bytes()

        in_threads(compress, sources)


def test_measures_are_summed_on_one_thread(
    library: list[Path], tmp_path: Path, tiny_model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("auraloss")
    pytest.importorskip("pyloudnorm")
    from earzip.metrics.measures import QualityMeter  # noqa: PLC0415

    n_threads = set()
    add = QualityMeter.add

    def noting(meter: QualityMeter, *blocks: object) -> None:
        n_threads.add(torch.get_num_threads())
        add(meter, *blocks)  # type: ignore[arg-type]

    monkeypatch.setattr(QualityMeter, "add", noting)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        compress_file(library[0], tmp_path / "a.earz", replace(TINY, check=True))
    finally:
        torch.set_num_threads(before)
    assert n_threads == {1}


def test_a_model_is_loaded_once(tiny_model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    n_loads = 0
    load = pool_module.load_codec

    def counting(*args: object, **options: object) -> object:
        nonlocal n_loads
        n_loads += 1
        threading.Event().wait(0.05)  # so that all the others ask meanwhile
        return load(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(pool_module, "load_codec", counting)
    spec = find_model(tiny_model)
    with CodecPool(Runtime("cpu", threads=1)) as pool:
        codecs = set()
        in_threads(lambda _i, _path: codecs.add(pool.of_model(spec)), [Path()] * THREADS)
        assert len(codecs) == n_loads == 1


def test_a_target_is_claimed_by_one_thread_at_a_time(tmp_path: Path) -> None:
    n_inside = n_done = 0

    def work(_i: int, target: Path) -> None:
        nonlocal n_inside, n_done
        while True:
            try:
                with claim(target):
                    n_inside += 1
                    assert n_inside == 1
                    threading.Event().wait(0.001)
                    n_inside -= 1
                    n_done += 1
            except LockedError:
                continue
            return

    in_threads(work, [tmp_path / "a.earz"] * (4 * THREADS))
    assert n_done == 4 * THREADS
    assert list(tmp_path.iterdir()) == []


def test_a_fork_takes_no_claim_along_that_another_thread_is_making(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, claimed = threading.Event(), threading.Event()
    descriptors: list[int] = []
    open_file = os.open

    def slowly(*args: object, **options: object) -> int:
        descriptors.append(open_file(*args, **options))  # type: ignore[arg-type]
        opened.set()
        claimed.wait(0.2)  # the fork would come here
        return descriptors[-1]

    def claiming() -> None:
        with claim(tmp_path / "a.earz"):
            assert claimed.wait(60)

    monkeypatch.setattr(os, "open", slowly)
    with ThreadPoolExecutor(1) as threads:
        done = threads.submit(claiming)
        assert opened.wait(60)
        child = os.fork()
        if not child:
            try:
                os.fstat(descriptors[0])
            except OSError:
                os._exit(0)
            os._exit(1)
        _, status = os.waitpid(child, 0)
        claimed.set()
        done.result(60)
    assert status == 0, "the child holds the claim"
