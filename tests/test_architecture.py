"""Who may import whom: the table of docs/architecture.md, lazy and type-only imports counted."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.skipif(
    not (ROOT / "benchmarks").exists(), reason="not in a checkout: the tests of a built wheel"
)
sys.path.insert(0, str(ROOT))

EVERYONE = {"errors", "arrays", "native"}
"""Rooms that any other may import."""

MAY_IMPORT = {
    "__main__": {"cli"},
    "cli": {"tasks", "stores", "batch", "models", "evaluate", "metrics", "page", "playback", "training",
            "formats", "options", "results", "runtime"},
    "tasks": {"transcode", "evaluate", "models", "batch", "formats", "options", "results",
              "runtime"},
    "webdataset": {"transcode", "formats"},
    "page": {"transcode", "metrics", "models", "coding", "formats", "results"},
    "playback": {"transcode", "models", "formats", "options"},
    "evaluate": {"transcode", "coding", "models", "metrics", "formats", "options", "results"},
    "transcode": {"coding", "models", "metrics", "formats", "options", "results"},
    "training": {"network", "models", "coding", "formats", "batch", "results", "runtime"},
    "models": {"coding", "network", "formats", "options", "runtime"},
    "coding": {"network", "runtime", "formats"},
    "stores": {"batch", "formats", "results", "runtime"},
    "batch": {"results", "runtime", "formats"},
    "options": set(),
    "metrics": {"formats"},
    "runtime": set(),
    "results": set(),
    "network": {"formats"},
    "formats": set(),
    "arrays": set(),
    "errors": set(),
    "native": set(),
}  # fmt: skip

INSIDE_FORMATS = {
    "archive": {"containers", "symbols", "canonical_json", "atomic", "checked", "geometry", "names",
                "tag_payload"},
    "tags": {"containers", "canonical_json", "checked", "names", "tag_payload"},
    "audio": {"containers", "names", "geometry"},
    "symbols": {"geometry"},
    "containers": set(),
    "atomic": set(),
    "canonical_json": set(),
    "checked": {"canonical_json"},
    "geometry": {"checked"},
    "names": set(),
    "tag_payload": set(),
}  # fmt: skip

LIBRARIES = {
    "formats": {"numpy", "soundfile", "soxr", "mutagen", "zstandard", "av"},
    "network": {"torch"},
}
"""What is not ours, in rooms that are kept small; the standard library may always be imported."""

ONLY_IN = {"click": {"cli"}, "tqdm": {"cli"}, "ray": {"batch"}, "fsspec": {"stores"}}


@pytest.fixture(scope="module")
def modules():
    from benchmarks.structure import read_modules  # noqa: PLC0415

    return read_modules(ROOT)


def test_rooms_import_only_those_below_them(modules):
    from benchmarks.structure import room_graph  # noqa: PLC0415

    graph = room_graph(modules)
    graph.pop("earzip")  # the package's face hands public names on
    assert set(graph) == set(MAY_IMPORT)
    for room, targets in graph.items():
        assert targets <= MAY_IMPORT[room] | EVERYONE, f"{room} imports {targets}"


def test_the_table_has_no_circle_and_no_arrow_that_nobody_uses(modules):
    from benchmarks.structure import circles, room_graph  # noqa: PLC0415

    assert circles(MAY_IMPORT) == []
    graph = room_graph(modules)
    unused = {room: MAY_IMPORT[room] - graph[room] for room in MAY_IMPORT}
    assert {room: targets for room, targets in unused.items() if targets} == {}


def test_parts_of_formats_import_only_those_below_them(modules):
    from benchmarks.structure import circles, room_graph  # noqa: PLC0415

    inner = {
        name.removeprefix("formats."): {
            target.removeprefix("formats.") for target in targets if target.startswith("formats.")
        }
        for name, targets in room_graph(modules, depth=2).items()
        if name.startswith("formats.")
    }
    assert set(inner) == set(INSIDE_FORMATS)
    assert circles(INSIDE_FORMATS) == []
    for part, targets in inner.items():
        assert targets <= INSIDE_FORMATS[part], f"formats/{part} imports {targets}"


def test_no_modules_import_each_other_in_a_circle(modules):
    from benchmarks.structure import circles, module_graph  # noqa: PLC0415

    assert circles(module_graph(modules)) == []


def test_measures_are_taken_at_one_place_of_transcode(modules):
    users = {
        module.path.stem
        for module in modules.values()
        if module.room == "transcode"
        and any(name.startswith("earzip.metrics.") for name in module.imports)
    }
    assert users <= {"quality", "compress"}  # compress asks for the extra before it begins


@pytest.mark.parametrize("room", sorted(LIBRARIES))
def test_rooms_use_only_their_libraries(modules, room):
    for module in modules.values():
        if module.room == room:
            tops = {name.split(".")[0] for name in module.imports} - {"earzip"}
            others = tops - set(sys.stdlib_module_names) - LIBRARIES[room]
            assert not others, f"{module.path} imports {others}"


@pytest.mark.parametrize("library", sorted(ONLY_IN))
def test_libraries_are_used_in_one_room(modules, library):
    users = {
        module.room
        for module in modules.values()
        if library in {name.split(".")[0] for name in module.imports}
    }
    assert users == ONLY_IN[library]


def test_few_modules_lie_flat():
    assert len(list((ROOT / "earzip").glob("*.py"))) <= 8
    assert len(list((ROOT / "formats").glob("[!_]*.py"))) <= 6
