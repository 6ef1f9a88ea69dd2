from __future__ import annotations

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
