"""The commands of the acceptance run, in the order in which a user gives them, and their checks."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.acceptance.command import (
    Checks,
    Earzip,
    Outcome,
    contents,
    finish,
    read_tree,
)
from benchmarks.acceptance.flips import check_flips
from benchmarks.acceptance.music import ITEMS, NOT_SOUND, SIDECARS
from benchmarks.acceptance.restored import (
    VARIANTS,
    Source,
    Variant,
    check_archive,
    check_restored,
    check_sound,
)
from benchmarks.acceptance.sound import Likeness, Shape

_ALL_DONE, _SOME_FAILED, _RUN_AGAIN = 0, 3, 75
_FOREIGN = b"a file that earzip did not write"
_REPEATED = ("Sonic Pi/ambi sauna.flac", "Odd ones/48k.wav", "Hyper Rogue/07 Caves.ogg")
_FLIPPED = (*_REPEATED, "Odd ones/mono.flac", "Horizons/Goldenvalley.m4a")


@dataclass
class Line:
    """What the table says of one source."""

    seconds: float = 0.0
    archive_bytes: int = 0
    kbps: float = 0.0
    fate: str = ""
    like: Likeness | None = None
    n_losses: dict[str, int] = field(default_factory=dict)


@dataclass
class Acceptance:
    """One run in the folder ``work``, whose subfolder ``music`` is made already."""

    work: Path
    earzip: Earzip
    checks: Checks = field(default_factory=Checks)
    lines: dict[str, Line] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=dict)
    """What archives say of their sources, by name."""

    def __post_init__(self) -> None:
        self.music, self.archive = self.work / "music", self.work / "archive"
        self.sources = {item.name: Source(item, self.music / item.name) for item in ITEMS}
        self.good = [item.name for item in ITEMS if item.fate != "refused"]
        self.bad = [item.name for item in ITEMS if item.fate == "refused"] + list(NOT_SOUND)

    def run(self, n_flips: int) -> None:
        """Do everything."""
        music = read_tree(self.music)
        stages: dict[str, Callable[[], None]] = {
            "compress": self.compress,
            "compress again": self.compress_again,
            "verify": self.verify,
            "info": self.info,
            **{f"restore {v.name}": partial(self.restore, v) for v in VARIANTS},
            "overwrite nothing": self.overwrite_nothing,
            "repeat": self.repeat,
            "flips": partial(self.flip, n_flips),
        }
        for name, stage in stages.items():
            started = time.monotonic()
            stage()
            took_s, n_failed = time.monotonic() - started, self.checks.n_failed
            print(f"{name}: {took_s:.0f} s, {n_failed} failures so far", file=sys.stderr)
        self.checks.require("sources untouched", read_tree(self.music) == music, "music")
        left = [str(path) for path in self.earzip.temporary.rglob("*")]
        self.checks.require("no stray temporaries", not left, f"TMPDIR: {left}")

    def compress(self) -> None:
        """Archive the folder: the bad files are named, the others are there."""
        outcome = self.earzip("compress", self.music, "-o", self.archive, "--json")
        self.checks.require_exit(outcome, _SOME_FAILED)
        records = outcome.by_source(self.music)
        for name in self.good:
            self._require_status(records, name, "written")
        self._check_failures(outcome, records)
        for name in SIDECARS:
            self._require_status(records, name, "skipped")
        self._require_files(self.archive, (f"{name}.earz" for name in self.good))
        self.good = [name for name in self.good if (self.archive / f"{name}.earz").is_file()]
        for name in self.good:
            record, fate = records[name], self.sources[name].item.fate
            line = self.lines[name] = Line(record["duration_s"], record["archive_bytes"])
            line.kbps, line.fate = record["kbps"], fate
            told = any("cut short" in warning for warning in record["warnings"])
            self.checks.require_equal("truncated is flagged", told, fate == "truncated", name)

    def _check_failures(self, outcome: Outcome, records: dict[str, dict[str, Any]]) -> None:
        for name in self.bad:
            self._require_status(records, name, "failed")
            reason = records.get(name, {}).get("message")
            self.checks.require("failures have a reason", bool(reason), name)
            self.lines[name] = Line(fate=f"refused: {reason}")
            line = f"failed: {self.music / name}: {reason}"
            self.checks.require("failures are named on stderr", line in outcome.stderr, name)

    def compress_again(self) -> None:
        """Nothing is done again; the sidecars are copied when asked for."""
        before = read_tree(self.archive)
        outcome = self.earzip("compress", self.music, "-o", self.archive, "--json")
        self.checks.require_exit(outcome, _SOME_FAILED)
        records = outcome.by_source(self.music)
        for name in self.good:
            self._require_status(records, name, "up_to_date")
        self._check_failures(outcome, records)
        self.checks.require("again: nothing changed", read_tree(self.archive) == before, "archive")
        outcome = self.earzip("compress", self.music, "-o", self.archive, "--copy-other")
        self.checks.require_exit(outcome, _SOME_FAILED)
        for name, data in SIDECARS.items():
            path = self.archive / name
            self.checks.require("sidecars", path.is_file() and path.read_bytes() == data, name)
        self._require_files(self.archive, [*(f"{name}.earz" for name in self.good), *SIDECARS])

    def verify(self) -> None:
        """All archives are whole, and decode."""
        before = read_tree(self.archive)
        for options in ((), ("--decode",)):
            outcome = self.earzip("verify", self.archive, "--json", *options)
            self.checks.require_exit(outcome, _ALL_DONE)
            statuses = [record["status"] for record in outcome.files]
            expected = ["intact"] * len(self.good)
            self.checks.require_equal("verify", statuses, expected, outcome.command)
        self.checks.require("archives only read", read_tree(self.archive) == before, "verify")

    def info(self) -> None:
        """Archives say what their sources were."""
        outcome = self.earzip("info", self.archive, "--json")
        self.checks.require_exit(outcome, _ALL_DONE)
        records = outcome.by_source(self.archive)
        for name in self.good:
            record = records.get(f"{name}.earz")
            if self.checks.require("info", record is not None, name):
                assert record is not None
                source = self.sources[name]
                self.shapes[name] = check_archive(self.checks, source, record["archive"])

    def restore(self, variant: Variant) -> None:
        """Restore the tree, look at each file, and restore it again: nothing is done twice."""
        target = self.work / variant.name
        arguments = ("restore", self.archive, "-o", target, "--json", *variant.options)
        outcome = self.earzip(*arguments)
        self.checks.require_exit(outcome, _ALL_DONE)
        records = outcome.by_source(self.archive)
        self._require_files(target, (variant.restored_name(name) for name in self.good))
        for name in self.good:
            record = records.get(f"{name}.earz", {"status": "missing", "tag_losses": []})
            self.checks.require_equal("restored", record["status"], "written", name)
            source, path = self.sources[name], target / variant.restored_name(name)
            losses = record["tag_losses"]
            check_restored(self.checks, source, self.shapes[name], variant, path, losses)
            self.lines[name].n_losses[variant.name] = len(losses)
            if variant.name == "flac":
                self.lines[name].like = check_sound(self.checks, source, path)
        before = read_tree(target)
        outcome = self.earzip(*arguments)
        self.checks.require_exit(outcome, _ALL_DONE)
        statuses = {record["status"] for record in outcome.files} - {"skipped"}
        self.checks.require_equal("restored again", statuses, {"up_to_date"}, variant.name)
        self.checks.require("again: nothing changed", read_tree(target) == before, variant.name)

    def overwrite_nothing(self) -> None:
        """Give commands whose targets are taken, by sources, strangers or each other."""
        place = self.work / "taken"
        (place / "one").mkdir(parents=True)
        (place / "two").mkdir()
        song, other = self.music / _REPEATED[0], self.music / _REPEATED[1]
        for folder in ("one", "two"):
            shutil.copy2(song, place / folder / "song.flac")
        archive = shutil.copy2(self.archive / f"{_REPEATED[0]}.earz", place / "song.flac.earz")
        shutil.copy2(song, place / "song.flac")
        shutil.copy2(song, place / "stranger.flac")
        (place / "stranger.flac.earz").write_bytes(_FOREIGN)
        shutil.copy2(song, place / "other.flac")
        shutil.copy2(self.archive / f"{_REPEATED[1]}.earz", place / "other.flac.earz")
        (place / "name.wav").write_bytes(_FOREIGN)
        shutil.copy2(archive, place / "name.wav.earz")
        two = (place / "one/song.flac", place / "two/song.flac")
        before = read_tree(place)
        for arguments, expected in (
            (("compress", place / "stranger.flac", "-o", place), _SOME_FAILED),
            (("compress", place / "stranger.flac"), _SOME_FAILED),
            (("compress", place / "other.flac", "-o", place), _SOME_FAILED),
            (("compress", *two, "-o", place / "new"), _SOME_FAILED),
            (("compress", archive, "-o", place / "new"), _SOME_FAILED),
            (("compress", other, "-o", other), 2),
            (("restore", archive, "-o", place), _SOME_FAILED),
            (("restore", archive), _SOME_FAILED),
            (("restore", place / "name.wav.earz", "--format", "wav"), _SOME_FAILED),
            (("restore", archive, "-o", archive, "--force"), 2),
            (("restore", archive, "-o", place / "x.wav", "--format", "flac"), 2),
            (("latents", archive, "-o", place / "name.wav"), 2),
        ):
            self.checks.require_exit(self.earzip(*arguments), expected)
            after = read_tree(place)
            about = f"{arguments}: {sorted(set(before.items()) ^ set(after.items()))}"
            self.checks.require("nothing overwritten", after == before, about)

    def repeat(self) -> None:
        """Give some files again, in other ways: the archives have the same bytes each time."""
        files = [self.music / name for name in _REPEATED]
        archives = contents(read_tree(self.archive))
        expected = {f"{Path(name).name}.earz": archives[f"{name}.earz"] for name in _REPEATED}
        ways = {
            "twice": (),
            "1 thread": ("--threads", "1"),
            "2 threads": ("--threads", "2"),
            "batches of 1": ("--batch-size", "1"),
        }
        for name, options in ways.items():
            target = self.work / "repeated" / name
            outcome = self.earzip("compress", *files, "-o", target, *options)
            self.checks.require_exit(outcome, _ALL_DONE)
            found = contents(read_tree(target))
            self.checks.require_equal("identical bytes", found, expected, name)
        self._two_processes(files, expected)

    def _two_processes(self, files: Iterable[Path], expected: dict[str, str]) -> None:
        """Let two processes archive the same files to one folder at the same time."""
        target = self.work / "repeated" / "2 processes"
        arguments = ("compress", *files, "-o", target)
        outcomes = [finish(each) for each in [self.earzip.start(*arguments) for _ in range(2)]]
        for outcome in outcomes:
            fits = outcome.exit_code in (_ALL_DONE, _RUN_AGAIN)
            about = f"{outcome.exit_code}: {outcome.stderr}"
            self.checks.require("two processes", fits, about)
        found = contents(read_tree(target))
        self.checks.require_equal("identical bytes", found, expected, "2 processes")

    def flip(self, n_flips: int) -> None:
        """Change bytes of five archives."""
        archives = [self.archive / f"{name}.earz" for name in _FLIPPED]
        check_flips(self.checks, self.earzip, archives, n_flips, self.work / "flipped")

    def _require_status(self, records: dict[str, dict[str, Any]], name: str, expected: str) -> None:
        record = records.get(name, {"status": "missing", "message": None})
        about = f"{name} ({record['message']})"
        self.checks.require_equal(f"status {expected}", record["status"], expected, about)

    def _require_files(self, folder: Path, expected: Iterable[str]) -> None:
        """Check that ``folder`` holds these files and no others: no temporaries, no claims."""
        odd = sorted(set(read_tree(folder)) ^ set(expected))
        self.checks.require("no stray temporaries", not odd, f"{folder.name}: {odd}")
