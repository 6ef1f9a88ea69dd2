"""For loaders of training data: archives in tar files to latents, in the loader's own processes.

`decode` is a function for WebDataset's ``.decode``; of shards that `earzip latents --format
webdataset-earz` wrote, or any tar file of archives. Needs neither the model nor torch.
"""

from __future__ import annotations

from tempfile import NamedTemporaryFile

import numpy as np

from earzip.arrays import Latents
from earzip.errors import ArchiveError
from earzip.formats.names import is_archive_name
from earzip.transcode.archive import open_archive


def decode(key: str, data: bytes) -> Latents | None:
    """Return the latents of the archive ``data``, dequantised: float32 ``[D, F]``.

    None for a ``key``, the name of a sample's file or what it ends in, that is not of an archive
    (``earz``, ``.earz`` or ``….earz``): then WebDataset asks its next decoder. Raises ArchiveError for
    what is no archive, DamagedArchiveError for damage.
    """
    if not is_archive_name("." + key):
        return None
    try:
        with NamedTemporaryFile(prefix="earzip-") as file:  # whose parts are read where they are
            file.write(data)
            file.flush()
            with open_archive(file.name) as track:
                return np.concatenate(
                    [np.zeros((track.n_latents, 0), np.float32), *track.latents()], axis=1
                )
    except ArchiveError as error:
        raise type(error)(error.message, key) from error
