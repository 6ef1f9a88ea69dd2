"""What people read."""

from __future__ import annotations

from pathlib import Path

import pytest

from earzip.batch.events import Opened
from earzip.cli.output import Printer, Table, size, usual_in
from earzip.cli.streams import printable
from earzip.errors import count
from earzip.formats.geometry import clock
from earzip.results import FileRecord, FileStatus, LostProcess, Report


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Ænima – 音.flac", "Ænima – 音.flac"),
        ("a\nb\x1b[2J\x7f\x9b", r"a\nb\x1b[2J\x7f\x9b"),
        ("\u2028\udcff", r"\u2028\udcff"),
    ],
)
def test_control_characters_are_spelt_out(text, shown):
    assert printable(text) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0:00"), (59.6, "1:00"), (3599.4, "59:59"), (3600, "1:00:00"), (360_000, "100:00:00")],
)
def test_durations(seconds, shown):
    assert clock(seconds) == shown


@pytest.mark.parametrize(
    ("n_bytes", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (355_432, "355 kB"),
        (999_600, "1 MB"),
        (3_420_000, "3.42 MB"),
        (2.5e12, "2.5 TB"),
    ],
)
def test_sizes(n_bytes, shown):
    assert size(n_bytes) == shown


def test_counts():
    assert (count(1, "file"), count(0, "file")) == ("1 file", "0 files")


def _compressed(name: str) -> FileRecord:
    figures = {
        "duration_s": 100.0,
        "source_bytes": 20_000_000,
        "archive_bytes": 650_000,
        "picture_bytes": 500_000,
        "kbps": 12.0,
    }
    return FileRecord(FileStatus.WRITTEN, Path(name), Path(f"{name}.earz"), figures=figures)


def _failed(name: str) -> FileRecord:
    return FileRecord(FileStatus.FAILED, Path(name), message="is empty", warnings=("odd",))


def test_results_go_to_stdout_and_problems_to_stderr(capsys):
    printer = Printer(as_json=False)
    printer.record(_compressed("a.flac"))
    printer.record(_failed("b\n.flac"))
    printed = capsys.readouterr()
    assert (
        printed.out == "written     a.flac.earz (1:40, 150 kB and 500 kB of pictures, 12.0 kbps)\n"
    )
    assert printed.err == ("earzip: failed: b\\n.flac: is empty\nearzip: warning: b\\n.flac: odd\n")


def test_the_summary_gives_sizes_with_and_without_pictures(capsys):
    report = Report(coded_s=200.0, elapsed_s=4.0)
    for name in "ab":
        report.add(_compressed(name))
    Printer(as_json=False).summary(report)
    assert capsys.readouterr().err == (
        "2 written; 3:20 of audio; "
        "40 MB → 1.3 MB with pictures, 300 kB without (12.0 kbps); 4.0 s at 50 × real time\n"
    )


def test_the_speed_says_what_it_is_of_where_files_were_up_to_date(capsys):
    report = Report(coded_s=110.0, elapsed_s=10.0)
    for name in "ab":
        report.add(_compressed(name))
    Printer(as_json=False).summary(report)
    assert capsys.readouterr().err.endswith("; 1:50 of it done in 10.0 s at 11 × real time\n")


def test_a_result_on_standard_output_is_called_so(capsys):
    record = FileRecord(FileStatus.WRITTEN, Path("a.earz"), Path("-"), figures={"duration_s": 25})
    Printer(as_json=False, results_to_stderr=True).record(record)
    assert capsys.readouterr() == ("", "written     standard output (0:25)\n")


def test_what_is_missing_of_an_incomplete_file_is_said_once(capsys):
    record = FileRecord(
        FileStatus.INCOMPLETE, Path("a.earz"), Path("a.flac"), "damaged", figures={"duration_s": 5}
    )
    Printer(as_json=False).record(record)
    assert capsys.readouterr() == (
        "incomplete  a.flac (0:05)\n",
        "earzip: incomplete: a.earz: damaged\n",
    )


def test_less_than_a_second_has_no_rate(capsys):
    figures = {"duration_s": 0.9, "source_bytes": 9, "archive_bytes": 700, "kbps": 6.2}
    record = FileRecord(FileStatus.WRITTEN, Path("a"), Path("a.earz"), figures=figures)
    report = Report()
    report.add(record)
    printer = Printer(as_json=False)
    printer.record(record)
    printer.summary(report)
    printed = capsys.readouterr()
    assert printed.out == "written     a.earz (0:01, 700 B)\n"
    assert "kbps" not in printed.err


@pytest.mark.parametrize("as_json", [False, True])
def test_a_bug_is_printed_with_its_traceback(capsys, as_json):
    record = FileRecord(
        FileStatus.FAILED, Path("a"), message="internal error", traceback="x\n  y\n"
    )
    Printer(as_json).record(record)
    printed = capsys.readouterr()
    assert printed.err == "earzip: failed: a: internal error\nx\n  y\n"
    assert "traceback" not in printed.out


@pytest.mark.parametrize(("n_lines", "repeated"), [(20, False), (21, True)])
def test_problems_are_named_again_where_many_lines_have_followed(capsys, n_lines, repeated):
    printer, report = Printer(as_json=False), Report()
    for record in (_failed("bad"), *(_compressed(str(i)) for i in range(n_lines))):
        printer.record(record)
        report.add(record)
    printer.summary(report)
    assert ("1 problem in this run:\nearzip: failed: bad" in capsys.readouterr().err) == repeated


def test_problems_are_not_named_again_where_other_files_are_only_counted(capsys):
    printer, report = Printer(as_json=False, counts_only=usual_in([])), Report()
    intact = [FileRecord(FileStatus.INTACT, Path(str(i))) for i in range(300)]
    for record in (*intact[:100], _failed("bad"), *intact[100:]):
        printer.record(record)
        report.add(record)
    printer.summary(report)
    assert capsys.readouterr().err.count("earzip: failed: bad") == 1


@pytest.mark.parametrize(
    ("report", "message"),
    [
        (Report(stopped=True, n_undone=3), "stopped with 3 files left; run again to continue"),
        (Report(gave_up=True, n_undone=1), "too many failures: stopped with 1 file left"),
    ],
)
def test_an_early_end_says_what_is_left(capsys, report, message):
    Printer(as_json=False).summary(report)
    assert capsys.readouterr().err == f"earzip: {message}\n"


def test_a_command_that_keeps_nothing_does_not_promise_to_continue(capsys):
    printer = Printer(as_json=False, keeps_results=False)
    printer.summary(Report(stopped=True, n_undone=3))
    assert capsys.readouterr().err == (
        "earzip: stopped with 3 files left; only what is printed is kept: another run begins anew\n"
    )


def test_a_few_seconds_of_sound_say_nothing_of_speed(capsys):
    report = Report(coded_s=2.0, elapsed_s=4.0)
    report.add(_compressed("a"))
    Printer(as_json=False).summary(report)
    assert capsys.readouterr().err.endswith("; 4.0 s\n")


def test_evaluated_files_are_rows_of_a_table_that_ends_with_their_mean(capsys):
    printer = Printer(
        as_json=False,
        table=Table("MEL", lambda figures, name: f"{figures['measures']['mel']} {name}"),
    )
    report = Report()
    for name, mel in (("a\n.flac", 0.25), ("b.flac", 0.75)):
        record = FileRecord(FileStatus.EVALUATED, Path(name), figures={"measures": {"mel": mel}})
        report.add(record)
        printer.record(record)
        assert len(capsys.readouterr().out.splitlines()) == (2 if name[0] == "a" else 1)
    printer.record(_failed("c.flac"))
    printer.summary(report)
    printed = capsys.readouterr()
    assert printed.out == "0.5 mean of 2 files\n"
    assert printed.err.endswith("2 evaluated\n")


def test_a_gpu_is_named_once_and_a_lost_process_with_its_device_and_cause(capsys):
    printer = Printer(as_json=False, how_on_gpu="in float32")
    for event in (
        Opened(0, "cuda:0", "NVIDIA H100"),
        Opened(1, "cuda:1", "NVIDIA H100"),
        Opened(2, "cpu"),
        LostProcess(1, "cuda:1", "cannot use its device: CUDA error: uncorrectable ECC error"),
        LostProcess(2, "cpu", "was killed by SIGKILL"),
    ):
        printer.process(event)
    out, err = capsys.readouterr()
    assert (out, err.splitlines()) == (
        "",
        [
            "earzip: info: the network runs on NVIDIA H100 in float32",
            "earzip: rank 1: warning: the worker process on cuda:1 cannot use its device: CUDA error: "
            "uncorrectable ECC error",
            "earzip: rank 2: warning: the worker process was killed by SIGKILL",
        ],
    )


def test_quiet_says_nothing_of_gpus_but_of_lost_processes(capsys):
    printer = Printer(as_json=False, how_on_gpu="in float32", quiet=True)
    printer.process(Opened(0, "cuda:0", "NVIDIA H100"))
    assert capsys.readouterr() == ("", "")
    printer.process(LostProcess(2, "cpu", "was killed by SIGKILL"))
    assert "was killed" in capsys.readouterr().err


def test_lost_processes_of_a_long_run_are_told_again_at_its_end(capsys):
    report = Report(lost_processes=[LostProcess(1, "cuda:1", "was killed by SIGKILL")])
    told = "earzip: rank 1: warning: the worker process on cuda:1 was killed by SIGKILL"
    for n_files, is_told in ((20, False), (21, True)):
        report.counts[FileStatus.WRITTEN] = n_files
        Printer(as_json=False).summary(report)
        assert (told in capsys.readouterr().err.splitlines()) is is_told
    assert report.to_json()["lost_processes"] == [
        {"rank": 1, "device": "cuda:1", "cause": "was killed by SIGKILL"}
    ]
    assert report.exit_code == 0
