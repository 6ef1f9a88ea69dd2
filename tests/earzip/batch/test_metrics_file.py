"""The textfile for node_exporter, read back by Prometheus' own parser."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from earzip.batch.metrics_file import MetricsFile, exposition
from earzip.errors import TargetError
from earzip.results import FileRecord, FileStatus, Report


def _report() -> Report:
    report = Report(n_undone=4, coded_s=12.5, elapsed_s=2.25)
    figures = {
        "duration_s": 240.25,
        "source_bytes": 40_000_000_000,
        "archive_bytes": 360_000,
        "picture_bytes": 60_000,
        "exact_bytes": 7,
        "below_floor": ["mel"],
    }
    report.add(FileRecord(FileStatus.WRITTEN, Path("a"), warnings=("one", "two"), figures=figures))
    report.add(FileRecord(FileStatus.FAILED, Path("b"), message="unreadable"))
    return report


def _parsed(text: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    """Return the samples of each metric as Prometheus understands them; all must be gauges."""
    parser = pytest.importorskip("prometheus_client.parser")
    samples = {}
    for family in parser.text_string_to_metric_families(text):
        assert family.type == "gauge", family.name
        assert family.documentation.endswith(".")
        assert family.name not in samples
        samples[family.name] = [(s.labels, s.value) for s in family.samples]
    return samples


def _text(labels: dict[str, str], *, running: bool = False) -> str:
    return exposition(_report(), labels=labels, started_at=1e9, updated_at=1e9 + 2, running=running)


def test_prometheus_reads_every_figure_of_a_run():
    labels = {"command": "compress", "shard": "3/8"}
    samples = _parsed(_text(labels))
    files = samples.pop("earzip_run_files")
    assert {own.pop("status"): (own, value) for own, value in files} == {
        status.value: (labels, float(status in (FileStatus.WRITTEN, FileStatus.FAILED)))
        for status in FileStatus
    }
    assert samples == {
        f"earzip_run_{name}": [(labels, value)]
        for name, value in {
            "files_undone": 4,
            "files_below_floor": 1,
            "warnings": 2,
            "lost_processes": 0,
            "audio_seconds": 240.25,
            "coded_audio_seconds": 12.5,
            "source_bytes": 4e10,
            "archive_bytes": 360_000,
            "picture_bytes": 60_000,
            "shared_picture_bytes": 0,
            "exact_copy_bytes": 7,
            "start_timestamp_seconds": 1e9,
            "last_update_timestamp_seconds": 1e9 + 2,
            "running": 0,
            "elapsed_seconds": 2.25,
            "exit_code": 3,
        }.items()
    }


def test_a_run_that_goes_on_has_no_exit_code_yet():
    ended = set(_parsed(_text({"command": "restore"})))
    samples = _parsed(_text({"command": "restore"}, running=True))
    assert ended - set(samples) == {"earzip_run_exit_code", "earzip_run_elapsed_seconds"}
    assert samples["earzip_run_running"] == [({"command": "restore"}, 1)]


@pytest.mark.parametrize(
    "output",
    [r"C:\new", 'the "best" of', "two\nlines", r"a\nb", "\\", "\\\\n\n\"'", "Šašiš ☃", "{,}=#", ""],
)
def test_a_label_holds_any_text(output):
    samples = _parsed(_text({"command": "compress", "output": output}))
    assert samples["earzip_run_running"] == [({"command": "compress", "output": output}, 0)]


def test_bytes_of_a_name_that_are_no_text_are_spelt_out(tmp_path):
    metrics = MetricsFile(tmp_path / "a.prom", "compress", Path(os.fsdecode(b"caf\xe9")))
    metrics.write(_report(), running=False)
    samples = _parsed(metrics.path.read_text("utf-8"))
    assert samples["earzip_run_running"][0][0]["output"] == r"caf\udce9"


def test_a_file_has_the_labels_and_times_of_its_run(tmp_path):
    before = time.time()
    metrics = MetricsFile(tmp_path / "a.prom", "compress", Path("/archive"), "2/4")
    metrics.prepare()
    assert not metrics.path.exists()
    metrics.write(Report(), running=True)
    labels = {"command": "compress", "output": "/archive", "shard": "2/4"}
    samples = _parsed(metrics.path.read_text())
    ((own, started),) = samples["earzip_run_start_timestamp_seconds"]
    ((_, updated),) = samples["earzip_run_last_update_timestamp_seconds"]
    assert own == labels
    assert before <= started <= updated <= time.time()
    assert metrics.path.read_text().startswith("# HELP")
    assert [p.name for p in tmp_path.iterdir()] == ["a.prom"]


def test_what_does_not_apply_is_no_label(tmp_path):
    metrics = MetricsFile(tmp_path / "a.prom", "restore")
    metrics.write(Report(), running=True)
    assert 'earzip_run_running{command="restore"} 1\n' in metrics.path.read_text()


def test_others_may_read_it_if_the_umask_lets_them(tmp_path):
    before = os.umask(0o027)
    try:
        MetricsFile(tmp_path / "a.prom", "compress").write(Report(), running=True)
    finally:
        os.umask(before)
    assert (tmp_path / "a.prom").stat().st_mode & 0o777 == 0o640


def _missing(folder: Path) -> Path:
    return folder / "missing" / "a.prom"


def _folder(folder: Path) -> Path:
    (folder / "a.prom").mkdir()
    return folder / "a.prom"


def _below_a_file(folder: Path) -> Path:
    (folder / "file").touch()
    return folder / "file" / "a.prom"


def _pipe(folder: Path) -> Path:
    os.mkfifo(folder / "a.prom")
    return folder / "a.prom"


def _link(folder: Path) -> Path:
    (folder / "b.prom").touch()
    (folder / "a.prom").symlink_to("b.prom")
    return folder / "a.prom"


def _long(folder: Path) -> Path:
    return folder / ("a" * 300 + ".prom")


@pytest.mark.parametrize("make", [_missing, _folder, _below_a_file, _pipe, _link, _long])
def test_a_file_that_cannot_be_is_named_before_the_work(make, tmp_path):
    path = make(tmp_path)
    with pytest.raises(TargetError, match="cannot be written") as error:
        MetricsFile(path, "compress").prepare()
    assert error.value.path == str(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_named_before_the_work(tmp_path):
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(TargetError, match="its directory is not writable"):
            MetricsFile(tmp_path / "a.prom", "compress").prepare()
    finally:
        tmp_path.chmod(0o755)


@pytest.mark.parametrize("make", [_missing, _folder, _below_a_file, _long])
def test_an_error_of_writing_names_the_file(make, tmp_path):
    path = make(tmp_path)
    with pytest.raises(TargetError, match="cannot be written") as error:
        MetricsFile(path, "compress").write(Report(), running=False)
    assert error.value.path == str(path)


def test_what_a_killed_run_has_left_is_removed(tmp_path):
    stale = tmp_path / ".a.prom.0123456789abcdef.earzip-tmp"
    stale.touch()
    (tmp_path / "others.prom").touch()
    MetricsFile(tmp_path / "a.prom", "compress").prepare()
    assert [p.name for p in tmp_path.iterdir()] == ["others.prom"]


_WRITER = """
import sys
from pathlib import Path
from earzip.batch.metrics_file import MetricsFile
from earzip.results import Report
metrics = MetricsFile(Path(sys.argv[1]), "compress")
for i in range(200):
    metrics.write(Report(n_undone=10 ** (i % 20)), running=True)
"""


def test_a_reader_at_any_time_sees_a_whole_file(tmp_path):
    path = tmp_path / "a.prom"
    MetricsFile(path, "compress").write(Report(), running=True)
    n_lines = path.read_text().count("\n")
    writer = subprocess.Popen([sys.executable, "-c", _WRITER, path])
    seen = set()
    while writer.poll() is None:
        text = path.read_text()
        assert text.count("\n") == n_lines
        assert text.endswith("\n")
        seen.add(text)
        # The collector takes every name that ends so.
        assert [p.name for p in tmp_path.glob("*.prom")] == ["a.prom"]
    assert writer.returncode == 0
    assert len(seen) > 1
