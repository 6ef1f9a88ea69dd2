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
from benchmarks.processes import run
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


@needs_programs
def test_a_second_of_sound_is_measured(
    tmp_path, second, tiny_model, in_the_repository, monkeypatch
):
    monkeypatch.setattr(speed, "commands_of_encodec", lambda _file, _work: [])
    settings = speed.Settings(runs=2, model=tiny_model)
    work = tmp_path / "work"
    work.mkdir()
    file = speed.as_flac(second, work)
    report = speed.measure_all([file], work, settings)
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
