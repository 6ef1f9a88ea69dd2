import pytest

from tests.formats.audio.audio_files import music, write_wav


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    """A WAV of 1.5 s and a bit, a length that no codec's frame divides."""
    path = tmp_path_factory.mktemp("clip") / "clip.wav"
    return write_wav(path, music(66_667))
