"""What failing file systems leave of a run: `python -m benchmarks.faults --out DIR`.

A library in C (faults.c, loaded by LD_PRELOAD) makes one call of a command fail: the first, the second,
and so on to the last, each call of a file system by itself. Others make every read short, kill the
process at each call, fill a small disk, or take hard links and locks away. Judged is each time whether

- the exit code is right: 0 only if everything is done, else an error that names a file;
- there is no traceback, and the process neither hangs nor dies;
- no file is half-written, and nothing temporary is left;
- the bytes, times and permissions of the sources are as before;
- a second run, without the fault, completes.

Needs gcc, and root for the small disk; Linux only.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.fault_bench import COMMANDS, Bench, State, faults_of
from benchmarks.fault_server import Fault, FaultServer

ERRORS: dict[str, tuple[str, ...]] = {
    "open": ("EIO", "EACCES", "ENOSPC"),
    "close": ("EIO",),
    "read": ("EIO",),
    "pread": ("EIO",),
    "lseek": ("EIO",),
    "stat": ("EIO", "EACCES"),
    "fstat": ("EIO",),
    "opendir": ("EIO", "EACCES"),
    "readdir": ("EIO",),
    "readlink": ("EIO",),
    "write": ("EIO", "ENOSPC"),
    "truncate": ("EIO",),
    "fsync": ("EIO", "ENOSPC"),
    "flock": ("EIO", "ENOLCK"),
    "mkdir": ("EIO", "ENOSPC"),
    "rename": ("EIO", "ENOSPC"),
    "link": ("EIO",),
    "unlink": ("EIO",),
    "utime": ("EIO", "EPERM"),
}
"""Calls, and the errors that each is made to fail with."""


# ---- the cases


def cases_of_calls(bench: Bench, names: Iterable[str], most: int) -> Iterator[dict[str, Any]]:
    """Fail each call of each command, ``most`` of a kind at the most, spread over the run."""
    for name in names:
        for call, errors in ERRORS.items():
            n_calls = bench.count(name, call)
            for error in errors:
                for nth in _spread(n_calls, most):
                    yield bench.case(name, Fault(call, error, nth))
            if n_calls and call in ("read", "pread", "write"):
                yield bench.case(name, Fault(call, nth=1, mode="short", lasting=True))


def cases_of_kills(bench: Bench, names: Iterable[str], most: int) -> Iterator[dict[str, Any]]:
    """Kill each command at each of its calls."""
    for name in names:
        for nth in _spread(bench.count(name, "any"), most):
            yield bench.case(name, Fault("any", nth=nth, mode="kill"))


def cases_without(bench: Bench, names: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Take calls away that not every file system has."""
    for name in names:
        for calls in ((), ("link",), ("renameat2",), ("link", "renameat2")):
            if calls:
                yield bench.case(name, Fault(refused=calls))
            yield bench.case(name, Fault(refused=(*calls, "flock")))


def _spread(n: int, most: int) -> list[int]:
    """Return the numbers 1 to ``n``, or ``most`` of them."""
    if n <= most:
        return list(range(1, n + 1))
    return sorted({1 + i * (n - 1) // (most - 1) for i in range(most)}) if most > 1 else [1]


@contextmanager
def small_disk(folder: Path, n_kib: int) -> Iterator[Path]:
    """Give a file system of its own of so many KiB. Raises OSError where that is not allowed."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={n_kib}k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        raise PermissionError(errno.EPERM, "only root may mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)
        folder.rmdir()


def cases_of_full_disks(bench: Bench, n_levels: int) -> Iterator[dict[str, Any]]:
    """Compress and restore to a disk that is full at so many levels; then make room and go on."""
    n_kib = 512
    for name in ("compress", "restore"):
        for level in range(n_levels):
            disk = bench.root / "disk"
            with small_disk(disk, n_kib) as folder:
                filler = folder / "filler"
                filler.write_bytes(bytes((n_kib - 8 - 12 * level) << 10))
                out = folder / "out"
                before = State.of(bench.music), State.of(bench.archives)
                ended = bench.server.run(bench._arguments(name, out), bench.root)
                fault = Fault("write", "ENOSPC", nth=level + 1, lasting=True)
                wrong = list(faults_of(ended, State.of(out), bench.expected[name], fault))
                filler.unlink()
                again = bench.server.run(bench._arguments(name, out), bench.root)
                if again.exit_code or State.of(out).digests != bench.expected[name]:
                    wrong.append("the second run does not complete")
                if (State.of(bench.music), State.of(bench.archives)) != before:
                    wrong.append("a source has changed")
            yield {
                "command": name,
                **asdict(fault),
                "mode": "full disk",
                "exit_code": ended.exit_code,
                "wrong": wrong,
                "stderr": ended.stderr[-1000:] if wrong else "",
            }


def case_of_hosts(bench: Bench, n_files: int, n_runs: int) -> dict[str, Any]:
    """Let runs that see no lock of each other, on a file system without links, share a folder."""
    music, out = bench.root / "many", bench.root / "shared"
    one = bench.music / "one.flac"
    for i in range(n_files):
        (music / f"disc {i % 10}").mkdir(parents=True, exist_ok=True)
        # Each file has bytes of its own, behind the sound.
        (music / f"disc {i % 10}" / f"{i:03}.flac").write_bytes(one.read_bytes())
    command = [*COMMANDS["compress"].split()[:-3], "--json", music, "-o", out]
    fault = Fault(refused=("twin", "link"))
    ended = bench.server.run_at_once([command] * n_runs, bench.root, fault)
    wrong = []
    written: Counter[str] = Counter()
    for each in ended:
        records = [json.loads(line) for line in each.stdout.splitlines()]
        statuses = Counter(r["status"] for r in records if r["type"] == "file")
        written.update(r["source"] for r in records if r.get("status") == "written")
        if each.exit_code or set(statuses) - {"written", "up_to_date"}:
            wrong.append(f"exit code {each.exit_code}, {dict(statuses)}")
    if len(written) != n_files or max(written.values(), default=0) > 1:
        n_twice = sum(n > 1 for n in written.values())
        wrong.append(f"{len(written)} of {n_files} files were written, {n_twice} of them twice")
    state = State.of(out)
    if len(state.digests) != n_files or state.temporaries:
        wrong.append(
            f"there are {len(state.digests)} files and {len(state.temporaries)} temporaries"
        )
    shutil.rmtree(out, ignore_errors=True)
    shutil.rmtree(music)
    return {
        "command": "compress",
        **asdict(fault),
        "mode": f"{n_runs} runs",
        "exit_code": max(each.exit_code for each in ended),
        "wrong": wrong,
        "stderr": "\n".join(each.stderr[-300:] for each in ended) if wrong else "",
    }


def case_of_same_names(bench: Bench, *options: str) -> dict[str, Any]:
    """Let Song.wav and song.wav have one archive, as their disk sees it."""
    music, out = bench.root / "alike", bench.root / "folded"
    shutil.copytree(bench.music, music)
    for name in ("Song.wav", "song.wav"):
        sound = (music / "disc" / "two.wav").read_bytes()
        (music / name).write_bytes(sound[:-1] + name[:1].encode())  # their last samples differ
    command = [*COMMANDS["compress"].split()[:-3], music, "-o", out, *options]
    fault = Fault(folding=str(out))
    wrong = []
    for _ in range(2):
        ended = bench.server.run(command, bench.root, fault)
        if ended.exit_code != 3 or ended.stderr.count("does not tell the names apart") != 2:
            wrong.append(f"exit code {ended.exit_code}: {ended.stderr[-300:]}")
        if State.of(out).digests != bench.expected["compress"] or State.of(out).temporaries:
            wrong.append(f"there are {sorted(State.of(out).files)}")
    shutil.rmtree(out, ignore_errors=True)
    shutil.rmtree(music)
    return {
        "command": "compress",
        **asdict(fault),
        "mode": "same names",
        "exit_code": ended.exit_code,
        "wrong": wrong,
        "stderr": ended.stderr[-1000:] if wrong else "",
    }


def rows(results: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return for each command and kind of fault how many cases there were, and how they ended."""
    kinds: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for result in results:
        kinds[result["command"], _kind(result)].append(result)
    return [
        {
            "command": command,
            "fault": kind,
            "cases": len(found),
            "as_promised": sum(not result["wrong"] for result in found),
            "exit_codes": dict(sorted(Counter(result["exit_code"] for result in found).items())),
        }
        for (command, kind), found in kinds.items()
    ]


def _kind(result: dict[str, Any]) -> str:
    refused = [_WITHOUT.get(call, f"no {call}") for call in result["refused"]]
    if refused:
        return ", ".join([result["mode"]] * (result["mode"] != "fail") + refused)
    match result["mode"]:
        case "fail":
            return f"{result['call']} fails"
        case "short":
            return f"{result['call']} is short"
    return str(result["mode"])


_WITHOUT = {"link": "no hard links", "flock": "no locks", "twin": "locks unseen"}


def table(found: Sequence[dict[str, Any]]) -> str:
    """Return `rows` as a table in Markdown."""
    lines = ["| command | fault | cases | as promised | exit codes |", "|---|---|---|---|---|"]
    for row in found:
        codes = ", ".join(f"{n} × {code}" for code, n in row["exit_codes"].items())
        cells = (row["command"], row["fault"], row["cases"], row["as_promised"], codes)
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    n_cases, n_right = (sum(row[key] for row in found) for key in ("cases", "as_promised"))
    return "\n".join([*lines, f"| all | | {n_cases} | {n_right} | |"]) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the cases, print the table and write it beside faults.json; return 1 if anything is wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="folder for faults.json and faults.md")
    parser.add_argument("--most", type=int, default=1000, help="cases of a kind [default: all]")
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=list(COMMANDS))
    asked = parser.parse_args(arguments)
    results = []
    with tempfile.TemporaryDirectory() as name, FaultServer(Path(name, "server")) as server:
        bench = Bench(server, Path(name, "bench"))
        for result in all_cases(bench, asked.commands, asked.most):
            results.append(result)
            if result["wrong"]:
                print(json.dumps(result, indent=1), file=sys.stderr, flush=True)
    found = rows(results)
    print(table(found))
    if asked.out:
        asked.out.mkdir(parents=True, exist_ok=True)
        wrong = [result for result in results if result["wrong"]]
        text = json.dumps({"rows": found, "wrong": wrong}, indent=1)
        (asked.out / "faults.json").write_text(text + "\n")
        (asked.out / "faults.md").write_text(table(found))
    return int(any(result["wrong"] for result in results))


def all_cases(bench: Bench, names: Sequence[str], most: int) -> Iterator[dict[str, Any]]:
    """Yield the result of every case."""
    yield from cases_of_calls(bench, names, most)
    yield from cases_without(bench, names)
    yield from cases_of_kills(bench, names, most)
    if os.geteuid() == 0:
        yield from cases_of_full_disks(bench, min(most, 20))
    yield case_of_same_names(bench)
    yield case_of_same_names(bench, "--force")
    yield case_of_hosts(bench, min(200, 20 * most), 8)


if __name__ == "__main__":
    sys.exit(main())
