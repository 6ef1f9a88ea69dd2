import pytest

from tests.formats.tags.tag_files import MAKERS


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """One tagged file of each format."""
    folder = tmp_path_factory.mktemp("tagged")
    return {name: maker(folder / f"song.{name}") for name, maker in MAKERS.items()}
