"""Speed and memory of whole processes on one thread: `python -m benchmarks.speed`.

Runs `earzip compress` and `earzip restore`, opusenc and opusdec, flac, and EnCodec where it can be
imported, in turn, several times, and prints medians as a Markdown table: × real time of one core, peak
memory, and the CPU time of each run beside that of its pair. Then where the CPU time goes, by stage.
Without files it makes two FLAC files of 4 and 60 minutes from the test tracks, with ffmpeg, and keeps
them in the working folder. With --out it writes down each measurement as it is made, in measured.jsonl:
started again after a stop, with the same code, settings and files, it goes on with the first round that
is not complete. Linux only.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.data.tracks import read_tracks
from benchmarks.processes import Usage, machine, run
from benchmarks.speed_log import Log, code_here
from benchmarks.speed_report import Report, Row, Stages

# Nothing heavy may be imported here before the last measurement: see benchmarks.processes.

TRACK_MINUTES = (4, 60)
N_MANY, MANY_S = 100, 20
"""The files of --many, and their length."""
EARZIP, EXACT, OPUS = "earzip", "earzip --precision float32", "Opus, 24 kbps"
ONE_THREAD = ("--threads", "1", "--processes", "1", "--devices", "cpu")
ISA = {"avx2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}}
"""What keeps PyTorch to a set of instructions."""
_ALONE = {"OMP_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Settings:
    """What the user chose."""

    runs: int = 5
    quality: str = "medium"
    model: str | None = None
    isa: str | None = None

    @property
    def of_compress(self) -> list[str]:
        """Options of `earzip compress`."""
        return ["--quality", self.quality, *(["--model", self.model] if self.model else [])]

    @property
    def environment(self) -> dict[str, str]:
        """What is set for processes of earzip."""
        return {**_ALONE, **(ISA[self.isa] if self.isa else {})}


@dataclass(frozen=True)
class Command:
    """What is run in each round."""

    task: str
    coder: str
    words: tuple[str | Path, ...]
    makes: Path
    """Removed before each run: earzip passes by what is up to date."""
    against: str | None = None

    def run(self, settings: Settings) -> Usage:
        """Run it; return what it took."""
        if self.makes.is_dir():
            shutil.rmtree(self.makes)
        self.makes.unlink(missing_ok=True)
        is_earzip = self.coder.startswith(EARZIP)
        return run(self.words, env=settings.environment if is_earzip else _ALONE)


def commands_on(file: Path, work: Path, settings: Settings) -> list[Command]:
    """Return the commands of a round on ``file``, a FLAC; later ones read what earlier ones wrote."""
    archive, opus, wav = work / "a.earz", work / "a.opus", work / "a.wav"
    compress = _compress(file, archive, settings)
    restore = _restore(archive, work / "restored.flac")
    to_opus = ("opusenc", "--quiet", "--bitrate", "24", file, opus)
    return [
        Command("compress", EARZIP, compress, archive, OPUS),
        Command("compress", OPUS, to_opus, opus),
        Command("restore", EARZIP, restore, work / "restored.flac", OPUS),
        Command(
            "restore", EXACT, (*restore, "--precision", "float32"), work / "restored.flac", OPUS
        ),
        Command("restore", OPUS, ("opusdec", "--quiet", opus, work / "o.wav"), work / "o.wav"),
        Command("restore", "flac", ("flac", "--silent", "-d", file, "-o", wav), wav),
        Command(
            "compress",
            "flac",
            ("flac", "--silent", "-5", wav, "-o", work / "f.flac"),
            work / "f.flac",
        ),
    ]


def commands_of_encodec(file: Path, work: Path) -> list[Command]:
    """Return EnCodec's commands on the first minute of ``file``; none where it cannot be imported."""
    words = [sys.executable, "-c", "import encodec"]
    found = subprocess.run(words, check=False, capture_output=True)
    if found.returncode:
        print("without EnCodec: the package encodec cannot be imported", file=sys.stderr)
        return []
    codes, sound = work / "a.codes", work / "encodec.flac"
    module = (sys.executable, "-m", "benchmarks.encodec_run")
    name = "EnCodec, 6 kbps"
    return [
        Command("compress", name, (*module, "compress", file, codes), codes),
        Command("restore", name, (*module, "restore", codes, sound), sound),
    ]


def commands_on_many(long: Path, folder: Path, work: Path, settings: Settings) -> list[Command]:
    """Return the commands of a round on one file, and on a folder of many with the same sound."""
    archive, archives = work / "a.earz", work / "archives"
    one, many = f"{EARZIP}, one file", f"{EARZIP}, {N_MANY} files"
    restored, all_restored = work / "restored.flac", work / "restored"
    return [
        Command("compress", one, _compress(long, archive, settings), archive),
        Command("compress", many, _compress(folder, archives, settings), archives, one),
        Command("restore", one, _restore(archive, restored), restored),
        Command("restore", many, _restore(archives, all_restored), all_restored, one),
    ]


def _compress(source: Path, target: Path, settings: Settings) -> tuple[str | Path, ...]:
    words = _earzip("compress", source, "-o", target)
    return (*words, *ONE_THREAD, *settings.of_compress)


def _restore(source: Path, target: Path) -> tuple[str | Path, ...]:
    return (*_earzip("restore", source, "-o", target), *ONE_THREAD)


def _earzip(*arguments: str | Path) -> tuple[str | Path, ...]:
    return (sys.executable, "-m", "earzip", *arguments)


def measure(
    commands: Sequence[Command],
    name: str,
    duration_s: float,
    settings: Settings,
    log: Log | None = None,
) -> list[Row]:
    """Return the rows of ``commands`` on what is called ``name``, run in turn.

    Rounds that ``log`` has are not run again. They are whole: runs of a round are compared, and read
    what others wrote.
    """
    log = log or Log()
    rounds: list[list[Usage]] = []
    for i in range(settings.runs):
        names = [f"{name}: {command.task} {command.coder}, run {i + 1}" for command in commands]
        if found := log.found(names):
            rounds.append([Usage(**usage) for usage in found])
            continue
        rounds.append([])
        for command, of_run in zip(commands, names, strict=True):
            print(of_run, file=sys.stderr)
            rounds[-1].append(command.run(settings))
            log.add(of_run, asdict(rounds[-1][-1]))
    return [
        Row(command.task, command.coder, name, duration_s, command.against, runs)
        for command, runs in zip(commands, zip(*rounds, strict=True), strict=True)
    ]


def measure_stages(
    file: Path, work: Path, settings: Settings, log: Log | None = None
) -> list[Stages]:
    """Return the CPU seconds of compressing and restoring ``file`` by stage; as `measure`."""
    log = log or Log()
    archive, out = work / "stages.earz", work / "stages.json"
    compress = _compress(file, archive, settings)
    restore = _restore(archive, work / "stages.flac")
    tasks = {"compress": compress, "restore": restore}
    names = [f"{file.name}: {task} by stages" for task in tasks]
    found = log.found(names)
    if not found:
        found = []
        for name, words in zip(names, tasks.values(), strict=True):
            print(name, file=sys.stderr)
            stages = [sys.executable, "-m", "benchmarks.stages", out, *words[3:]]
            run(stages, env=settings.environment)
            found.append(json.loads(out.read_text()))
            log.add(name, found[-1])
    return [Stages(task, file.name, seconds) for task, seconds in zip(tasks, found, strict=True)]


def measure_all(
    files: Sequence[Path],
    work: Path,
    settings: Settings,
    *,
    many: bool = False,
    log_path: Path | None = None,
) -> Report:
    """Return all rows of ``files``, FLACs; those of EnCodec and the stages are of the first one.

    ``many``: also of `N_MANY` files cut from the first one, beside one file of the same length.
    ``log_path``: where measurements are written, and taken from if they were made of the same.
    """
    about = {**machine(), "opusenc": _version("opusenc"), "flac": _version("flac")}
    log = Log(log_path, _measured_of(about, settings) if log_path else None)
    rows: list[Row] = []
    for file in files:
        commands = commands_on(file, work, settings)
        rows += measure(commands, file.name, duration(file), settings, log.of_file(file))
    first = files[0]
    log = log.of_file(first)
    minute_s = min(60.0, duration(first))
    if commands := commands_of_encodec(first, work):
        rows += measure(commands, f"{first.name}, first minute", minute_s, settings, log)
    if many:
        long, folder = make_many(first, work)
        commands = commands_on_many(long, folder, work, settings)
        rows += measure(commands, long.name, N_MANY * MANY_S, settings, log)
    stages = measure_stages(first, work, settings, log)
    chosen = {name: value for name, value in vars(settings).items() if value is not None}
    return Report(about, chosen, tuple(rows), tuple(stages))


def _measured_of(about: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """Return what measurements depend on beside the sound; not the load, nor how often they are made."""
    on = {name: value for name, value in about.items() if name != "load_at_start"}
    how = {name: value for name, value in vars(settings).items() if name != "runs"}
    return {"code": code_here(), "machine": on, "settings": how}


def _version(program: str) -> str:
    """Return what ``program`` says of itself, without its name."""
    said = subprocess.run([program, "--version"], check=True, capture_output=True, text=True)
    return said.stdout.partition("\n")[0].removeprefix(f"{program} ")


def duration(file: Path) -> float:
    """Return the seconds of sound in ``file``."""
    command = ["ffprobe", "-v", "error", "-show_entries", "format=duration"]
    command += ["-of", "default=nk=1:nw=1", str(file)]
    return float(subprocess.run(command, check=True, capture_output=True).stdout)


def as_flac(file: Path, work: Path) -> Path:
    """Return ``file``, or a FLAC of its sound in ``work`` if it is none: all coders read that."""
    if file.suffix.lower() == ".flac":
        return file
    target = work / f"{file.name}.flac"
    _ffmpeg("-i", file, "-map", "0:a:0", "-sample_fmt", "s16", target)
    return target


def make_many(file: Path, work: Path) -> tuple[Path, Path]:
    """Write the sound of ``file``, over and over, into one WAV, and into a folder of `N_MANY`."""
    long, folder = work / f"{N_MANY * MANY_S} seconds.wav", work / "many"
    _ffmpeg("-stream_loop", "-1", "-i", file, "-map", "0:a:0", "-t", N_MANY * MANY_S, long)
    folder.mkdir()
    for i in range(N_MANY):
        _ffmpeg("-ss", i * MANY_S, "-t", MANY_S, "-i", long, folder / f"{i}.wav")
    return long, folder


def make_track(root: Path, minutes: int, target: Path) -> None:
    """Write the first `minutes` of the test tracks, one after the other, as 16-bit FLAC."""
    files = []
    missing_s = 60.0 * minutes
    for track in read_tracks("test"):
        if missing_s <= 0:
            break
        files.append(track.stems(root)[0])
        missing_s -= track.duration_s
    inputs = [word for file in files for word in ("-i", file)]
    same = "aresample=44100,aformat=sample_fmts=s16:channel_layouts=stereo"
    chains = [f"[{i}:a:0]{same}[a{i}]" for i in range(len(files))]
    labels = "".join(f"[a{i}]" for i in range(len(files)))
    # Time stamps counted anew: those of some tracks are off by a few samples.
    joined = f"{labels}concat=n={len(files)}:v=0:a=1,asetpts=N/SR/TB[out]"
    partial = target.with_name(f".{target.name}")
    graph = ("-filter_complex", ";".join([*chains, joined]), "-map", "[out]")
    _ffmpeg(*inputs, *graph, "-t", 60 * minutes, "-c:a", "flac", "-f", "flac", partial)
    partial.replace(target)


def _ffmpeg(*arguments: object) -> None:
    command = ["ffmpeg", "-v", "error", "-nostdin", "-y", *map(str, arguments)]
    subprocess.run(command, check=True)


def write(report: Report, folder: Path) -> None:
    """Write speed.json, speed.md and, of the longest file that all coders had, speed.png."""
    from benchmarks.speed_plot import draw  # noqa: PLC0415  # heavy: after the last measurement

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "speed.json").write_text(report.to_json())
    (folder / "speed.md").write_text(report.to_markdown())
    all_had = [row for row in report.rows if row.coder == OPUS]
    longest = max(all_had, key=lambda row: row.duration_s).file
    drawn = [row for row in report.rows if row.file == longest or row.coder.startswith("EnCodec")]
    (folder / "speed.png").write_bytes(draw(drawn))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", metavar="FILE", type=Path, nargs="*", help="sound files")
    parser.add_argument("--root", type=Path, default=Path("data"), help="where fetch.py put music")
    parser.add_argument(
        "--work", type=Path, default=Path("data/speed"), help="folder for the files made"
    )
    parser.add_argument("--runs", type=int, default=5, help="runs of each  [default: 5]")
    parser.add_argument("--quality", default="medium", help="of compress  [default: medium]")
    parser.add_argument("--model", help="of compress  [default: earzip's]")
    parser.add_argument("--isa", choices=ISA, help="keep earzip to these instructions of the CPU")
    parser.add_argument(
        "--many", action="store_true", help=f"also {N_MANY} files of {MANY_S} s in one run"
    )
    parser.add_argument(
        "--out", type=Path, help="folder for measured.jsonl, speed.json, speed.md and speed.png"
    )
    arguments = parser.parse_args()
    files = arguments.files
    arguments.work.mkdir(parents=True, exist_ok=True)
    if not files:
        files = [arguments.work / f"{minutes}-minutes.flac" for minutes in TRACK_MINUTES]
        for file, minutes in zip(files, TRACK_MINUTES, strict=True):
            if not file.exists():
                make_track(arguments.root, minutes, file)
    settings = Settings(arguments.runs, arguments.quality, arguments.model, arguments.isa)
    with tempfile.TemporaryDirectory(prefix="earzip-speed-", dir=arguments.work) as name:
        work = Path(name)
        flacs = [as_flac(file, work) for file in files]
        log_path = arguments.out and arguments.out / "measured.jsonl"
        report = measure_all(flacs, work, settings, many=arguments.many, log_path=log_path)
    print(report.to_markdown(), end="")
    if arguments.out:
        write(report, arguments.out)


if __name__ == "__main__":
    main()
