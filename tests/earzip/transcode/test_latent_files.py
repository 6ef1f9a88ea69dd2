"""Latents in files, read."""

from __future__ import annotations

import numpy as np
import pytest

from earzip.errors import SourceError
from earzip.transcode.latent_files import open_latents


def test_only_errors_of_the_file_itself_are_called_its_own(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((2, 3), np.float32))
    with pytest.raises(OSError, match="no room"), open_latents(path):
        raise OSError("no room")
    gone = tmp_path / "gone.npy"
    with pytest.raises(SourceError, match="cannot be read: No such file"), open_latents(gone):
        pass
