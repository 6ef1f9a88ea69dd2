from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
in_checkout = pytest.mark.skipif(
    not (ROOT / "pyproject.toml").exists() or not (ROOT / "formats").exists(),
    reason="not in a checkout: the tests of a built wheel",
)

ALLOWED = {
    "formats": {"numpy", "soundfile", "soxr", "mutagen", "zstandard", "av"},
    "earzip/network": {"torch"},
    "cli": {"click", "tqdm"},
}


@in_checkout
def test_every_package_is_listed_for_the_wheel() -> None:
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    tree = set()
    for folder, package in {
        "earzip": "earzip",
        "cli": "earzip.cli",
        "formats": "earzip.formats",
    }.items():
        for marker in (ROOT / folder).rglob("__init__.py"):
            tree.add(".".join((package, *marker.parent.relative_to(ROOT / folder).parts)))
    assert set(tool["packages"]) == tree


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


@in_checkout
@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_rooms_import_only_what_they_may(room: str) -> None:
    for path in (ROOT / room).rglob("*.py"):
        for name in imported(path):
            top = name.split(".")[0]
            if top in sys.stdlib_module_names or name in {"earzip.errors", "earzip.arrays"}:
                continue
            own = {"formats": "earzip.formats", "earzip/network": "earzip.network"}.get(
                room, "earzip"
            )
            assert top in ALLOWED[room] or name.startswith(own), f"{path} imports {name}"


@in_checkout
def test_only_the_command_line_imports_click_and_tqdm() -> None:
    for folder in ("earzip", "formats"):
        for path in (ROOT / folder).rglob("*.py"):
            tops = {name.split(".")[0] for name in imported(path)}
            assert not tops & {"click", "tqdm"}, path


@in_checkout
def test_only_crews_on_ray_import_ray() -> None:
    for folder in ("cli", "earzip", "formats"):
        for path in (ROOT / folder).rglob("*.py"):
            tops = {name.split(".")[0] for name in imported(path)}
            assert path.name == "ray_backend.py" or not tops & {"pyarrow", "ray"}, path


@pytest.mark.smoke
@pytest.mark.parametrize("arguments", [["--help"], ["compress", "--help"], ["--version"]])
def test_help_loads_neither_torch_nor_numpy(arguments: list[str]) -> None:
    code = (
        "import sys; from earzip.cli.main import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "assert not {'torch', 'numpy', 'soundfile', 'mutagen'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True)


@pytest.mark.smoke
def test_info_loads_no_torch(tmp_path: Path) -> None:
    golden = sorted((Path(__file__).parent / "data" / "golden").glob("*.earz"))
    assert golden
    code = (
        "import sys; import earzip\n"
        "for path in sys.argv[1:]: earzip.read_info(path)\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, *golden], check=True)


@pytest.mark.smoke
def test_the_package_names_what_it_exports() -> None:
    import earzip  # noqa: PLC0415

    for name in earzip.__all__:
        assert getattr(earzip, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = earzip.nothing
