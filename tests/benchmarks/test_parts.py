"""Figures of the parts of a benchmark, in one file."""

from __future__ import annotations

import json

import pytest

from benchmarks.parts import measure_parts, parts_parser


def test_parts_are_kept_one_by_one_beside_those_that_are_there(tmp_path, capsys):
    out = tmp_path / "figures.json"
    out.write_text(json.dumps({"first": {"n": 0}, "second": {"n": 0}}))

    def measure(part: str) -> dict[str, int]:
        if part == "third":
            raise RuntimeError(part)
        return {"n": 1}

    with pytest.raises(RuntimeError, match="third"):
        measure_parts(["second", "third"], out, measure)
    assert json.loads(out.read_text()) == {"first": {"n": 0}, "second": {"n": 1}}
    assert json.loads(capsys.readouterr().out) == {"second": {"n": 1}}


def test_all_parts_are_measured_unless_some_are_named(tmp_path):
    parser = parts_parser("help", {"a": 1, "b": 2})
    out = ["--out", str(tmp_path / "x")]
    assert parser.parse_args(out).parts == ["a", "b"]
    assert parser.parse_args([*out, "--parts", "b"]).parts == ["b"]
    with pytest.raises(SystemExit):
        parser.parse_args([*out, "--parts", "c"])
