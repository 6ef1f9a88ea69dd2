"""Published checkpoints from the Hugging Face hub: where they are, fetched and checked.

The hub's library is loaded only to fetch: listing them does not wait for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from earzip.errors import ModelDamagedError, ModelNotFoundError, UsageError
from earzip.formats.atomic import sha256_of


@dataclass(frozen=True)
class Publication:
    """A published checkpoint: its file in a repository of the hub, and its terms."""

    repository: str
    file: str
    licence: str


PUBLICATIONS = {
    "ear-vae-44k": Publication("earlab/EAR_VAE", "pretrained_weight/ear_vae_44k.pyt", "Apache-2.0"),
}


@dataclass(frozen=True)
class FetchedCheckpoint:
    """A file in the hub's own cache on this machine, and what identifies it."""

    path: Path
    publication: Publication
    revision: str
    sha256: str

    @property
    def source(self) -> str:
        """Where the weights come from, to be kept with the model."""
        p = self.publication
        return f"{p.repository}@{self.revision}, {p.file}, SHA-256 {self.sha256}"


def fetch_checkpoint(
    name: str, *, revision: str | None = None, sha256: str | None = None
) -> FetchedCheckpoint:
    """Return the published checkpoint ``name``, from the cache if it is there, else from the hub.

    ``revision`` (a commit, tag or branch of the repository) and ``sha256`` are required. Raises
    UsageError for a name of no publication, ModelNotFoundError where it cannot be fetched, and
    ModelDamagedError for another SHA-256 than the required one.
    """
    if name not in PUBLICATIONS:
        raise UsageError(f"{name!r} is not published; expected one of {', '.join(PUBLICATIONS)}")
    from huggingface_hub import hf_hub_download  # noqa: PLC0415
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError  # noqa: PLC0415

    publication = PUBLICATIONS[name]
    try:
        path = Path(hf_hub_download(publication.repository, publication.file, revision=revision))
    except (OSError, ValueError, HfHubHTTPError, EntryNotFoundError) as error:
        at = f" at revision {revision}" if revision else ""
        raise ModelNotFoundError(
            f"{publication.file} of {publication.repository}{at} cannot be fetched from the Hugging "
            f"Face hub: {str(error).splitlines()[0]} Get that file some other way, and install it "
            f"with: earzip models import {Path(publication.file).name} --name {name} "
            "--music PATH"
        ) from error
    found = sha256_of(path)
    if sha256 is not None and found != sha256.lower():
        raise ModelDamagedError(f"has SHA-256 {found}, expected {sha256}", path)
    return FetchedCheckpoint(path, publication, _revision(path, publication.file), found)


def _revision(path: Path, file: str) -> str:
    """Return the commit that a file in the hub's cache is of: ``snapshots/COMMIT/FILE``."""
    return path.parents[len(Path(file).parts) - 1].name
