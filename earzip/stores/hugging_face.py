"""Files put into repositories and buckets of the Hugging Face hub: each is one commit."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def root_of(file_system: Any, url: str) -> str:
    """Return what a `HfFileSystem` calls a URL in its listings."""
    name: str = file_system.resolve_path(url).unresolve()
    return name


def upload(file_system: Any, path: Path, key: str) -> None:
    """Write the file ``path`` to ``key`` of a `HfFileSystem`, whole or not at all."""
    from huggingface_hub import HfApi  # noqa: PLC0415  # only for hf://

    api = HfApi(endpoint=file_system.endpoint, token=file_system.token)
    place = file_system.resolve_path(key)
    if hasattr(place, "bucket_id"):
        api.batch_bucket_files(place.bucket_id, add=[(str(path), place.path)])
        return
    api.upload_file(
        path_or_fileobj=str(path),
        path_in_repo=place.path_in_repo,
        repo_id=place.repo_id,
        repo_type=place.repo_type,
        revision=place.revision,
        commit_message=f"Write {path.name} with earzip",
    )
