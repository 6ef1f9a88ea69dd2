import pytest

from tests.formats.audio.audio_files import music, write_wav
from tests.formats.audio.truncated_files import N_FRAMES


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    """A WAV of 1.5 s and a bit, a length that no codec's frame divides."""
    path = tmp_path_factory.mktemp("clip") / "clip.wav"
    return write_wav(path, music(66_667))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A directory for files that the tests of a module share."""
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="module")
def long_clip(folder):
    """A WAV that is long enough to be cut at many places."""
    return write_wav(folder / "clip.wav", music(N_FRAMES))
