"""The speed benchmark on a second of sound and a tiny model, whose processes are real."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
from PIL import Image

from benchmarks import speed
from benchmarks.processes import Usage, run
from benchmarks.speed_log import Log, code_here
from benchmarks.speed_report import Report
from tests.conftest import tones

PROGRAMS = ("opusenc", "opusdec", "flac", "ffmpeg", "ffprobe")
needs_programs = pytest.mark.skipif(
    not all(map(shutil.which, PROGRAMS)), reason=f"needs {', '.join(PROGRAMS)}"
)


@pytest.fixture
def in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])


@pytest.fixture
def second(tmp_path: Path) -> Path:
    path = tmp_path / "second.wav"
    soundfile.write(path, tones(44_100).T, 44_100, subtype="PCM_16")
    return path


def test_a_process_is_measured_by_itself(in_the_repository: None):
    # By a process of its own: one that has much itself, as this may have, makes for a higher peak.
    measure = (
        "import sys\n"
        "from benchmarks.processes import run\n"
        "burn = 'import time; x = bytearray(200_000_000)\\nwhile time.process_time() < 0.5: pass'\n"
        "for code in burn, '':\n"
        "    usage = run([sys.executable, '-c', code])\n"
        "    print(usage.cpu_s, usage.peak_mb)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", measure], check=True, capture_output=True, text=True
    )
    (cpu_s, peak_mb), (least_s, _) = (map(float, line.split()) for line in said.stdout.splitlines())
    assert 0.5 <= cpu_s < 5
    assert 200 < peak_mb < 400
    assert least_s < cpu_s


def test_a_process_that_fails_is_an_error_with_what_it_said():
    with pytest.raises(RuntimeError, match="exit code 7\nbecause"):
        run([sys.executable, "-c", "import sys; print('because', file=sys.stderr); sys.exit(7)"])


def test_a_set_of_instructions_is_for_earzip_alone(tmp_path, monkeypatch):
    found = []
    monkeypatch.setattr(speed, "run", lambda words, env: found.append(env))
    settings = speed.Settings(isa="avx2")
    for coder in (speed.EXACT, speed.OPUS):
        speed.Command("restore", coder, (), tmp_path / "out").run(settings)
    assert [env.get("ATEN_CPU_CAPABILITY") for env in found] == ["avx2", None]
    assert [env["OMP_NUM_THREADS"] for env in found] == ["1", "1"]


@pytest.fixture
def commands(tmp_path: Path) -> list[speed.Command]:
    """Two that take turns."""
    return [speed.Command("compress", coder, (coder,), tmp_path / "made") for coder in "ab"]


class Machine:
    """Runs nothing, and stops after ``n_most``."""

    def __init__(self, n_most: int = 99) -> None:
        self.n_most, self.ran = n_most, 0

    def __call__(self, _words: object, **_: object) -> Usage:
        if self.ran == self.n_most:
            raise KeyboardInterrupt
        self.ran += 1
        return Usage(self.ran, self.ran, self.ran)


def test_a_run_that_was_stopped_goes_on_with_the_round_it_was_in(tmp_path, commands, monkeypatch):
    path, about = tmp_path / "out" / "log", {"code": "this"}
    monkeypatch.setattr(speed, "run", first := Machine(n_most=5))
    with pytest.raises(KeyboardInterrupt):
        speed.measure(commands, "x", 1, speed.Settings(runs=4), Log(path, about))
    assert len(path.read_text().splitlines()) == first.ran == 5

    path.write_text(path.read_text()[:-20])  # what was being written
    monkeypatch.setattr(speed, "run", again := Machine())
    rows = speed.measure(commands, "x", 1, speed.Settings(runs=4), Log(path, about))
    assert again.ran == 4
    found = [[usage.wall_s for usage in row.runs] for row in rows]
    assert found == [[1, 3, 1, 3], [2, 4, 2, 4]]
    assert rows == speed.measure(commands, "x", 1, speed.Settings(runs=4), Log(path, about))
    assert again.ran == 4


def test_measurements_of_other_code_or_sound_are_made_again(tmp_path, commands, monkeypatch):
    path, sound = tmp_path / "log", tmp_path / "sound"
    for n, (code, content) in enumerate(
        [("this", "a"), ("that", "a"), ("this", "b"), ("this", "a")]
    ):
        sound.write_text(content)
        monkeypatch.setattr(speed, "run", machine := Machine())
        log = Log(path, {"code": code}).of_file(sound)
        speed.measure(commands, "x", 1, speed.Settings(runs=1), log)
        assert machine.ran == (2 if n < 3 else 0)


def test_code_is_another_once_it_is_changed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    git = ("git", "-c", "user.name=x", "-c", "user.email=x")
    (tmp_path / "code").write_text("a")
    for words in (("init", "-q"), ("add", "code"), ("commit", "-qm", "a")):
        subprocess.run([*git, *words], check=True)
    committed = code_here()
    (tmp_path / "code").write_text("b")
    changed = code_here()
    (tmp_path / "code").write_text("c")
    assert len({committed, changed, code_here()}) == 3
    (tmp_path / "code").write_text("a")
    assert code_here() == committed


@needs_programs
def test_a_second_of_sound_is_measured(
    tmp_path, second, tiny_model, in_the_repository, monkeypatch
):
    monkeypatch.setattr(speed, "commands_of_encodec", lambda _file, _work: [])
    settings = speed.Settings(runs=2, model=tiny_model)
    work = tmp_path / "work"
    work.mkdir()
    file = speed.as_flac(second, work)
    log_path = tmp_path / "measured.jsonl"
    report = speed.measure_all([file], work, settings, log_path=log_path)
    assert len(log_path.read_text().splitlines()) == 2 * len(report.rows) + len(report.stages)
    again = speed.measure_all([file], work, settings, log_path=log_path)
    assert (again.rows, again.stages) == (report.rows, report.stages)
    assert {(row.task, row.coder) for row in report.rows} == {
        (task, coder)
        for task in ("compress", "restore")
        for coder in ("earzip", "Opus, 24 kbps", "flac")
    } | {("restore", "earzip --precision float32")}
    for row in report.rows:
        assert (len(row.runs), row.duration_s) == (2, pytest.approx(1, abs=0.01))
        assert all(usage.peak_mb > 1 for usage in row.runs)
        assert len(report.ratios(row)) == (2 if row.coder.startswith("earzip") else 0)
    for stages in report.stages:
        assert stages.seconds["start-up"] > 0.3, "torch was not loaded"
        worked = ("reading", "network", "integers", "writing", "the rest")
        assert all(stages.seconds[name] > 0 for name in worked)
    speed.write(report, tmp_path / "out")
    assert Report.from_json((tmp_path / "out" / "speed.json").read_text()) == report
    assert (tmp_path / "out" / "speed.md").read_text() == report.to_markdown()
    assert Image.open(tmp_path / "out" / "speed.png").format == "PNG"


@needs_programs
def test_many_files_are_measured_beside_one_with_their_sound(
    tmp_path, second, tiny_model, in_the_repository, monkeypatch
):
    monkeypatch.setattr(speed, "N_MANY", 3)
    monkeypatch.setattr(speed, "MANY_S", 2)
    long, folder = speed.make_many(speed.as_flac(second, tmp_path), tmp_path)
    parts = [soundfile.read(folder / f"{i}.wav", dtype="int16")[0] for i in range(3)]
    assert [len(part) for part in parts] == [88_200] * 3
    joined = b"".join(part.tobytes() for part in parts)
    assert joined == soundfile.read(long, dtype="int16")[0].tobytes()

    settings = speed.Settings(runs=1, model=tiny_model)
    commands = speed.commands_on_many(long, folder, tmp_path, settings)
    rows = speed.measure(commands, long.name, 6, settings)
    report = Report({}, {}, tuple(rows), ())
    pairs = [(row.task, row.coder) for row in rows if report.ratios(row)]
    assert pairs == [("compress", "earzip, 3 files"), ("restore", "earzip, 3 files")]
    assert len(list((tmp_path / "restored").iterdir())) == 3
