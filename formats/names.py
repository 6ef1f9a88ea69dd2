"""Names of archives, restored files and sound files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import count
from pathlib import PurePath

ARCHIVE_SUFFIX = ".earz"
PICTURE_SUFFIX = ".earzpic"
"""Ends the names of pictures that archives share: the SHA-256 of the picture stands before it."""
MODEL_FOLDER = ".earzip"
"""The folder among archives that holds their models, their recovery data and their trash: no run looks
for sound there."""
RECOVERY_NAME = "recovery.par2"
"""What the recovery data of a folder is called, in its `MODEL_FOLDER`."""
TRASH = "trash"
"""Where archives without a source go, in the `MODEL_FOLDER` of a run's directory of archives."""

# Those that only PyAV reads too, also without it: such files are reported, not skipped.
# fmt: off
SNDFILE_EXTENSIONS = frozenset({
    ".aif", ".aifc", ".aiff", ".au", ".bwf", ".caf", ".fla", ".flac", ".mp1", ".mp2", ".mp3", ".mpa",
    ".mpga", ".oga", ".ogg", ".opus", ".rf64", ".snd", ".w64", ".wav", ".wave",
})
FILM_EXTENSIONS = frozenset({".3ga", ".asf", ".mp4", ".ogx", ".webm"})
"""Those of files that may hold pictures, and no sound at all."""
_AV_EXTENSIONS = FILM_EXTENSIONS | frozenset({
    ".aac", ".ac3", ".adts", ".ape", ".dff", ".dsf", ".eac3", ".ec3", ".m4a", ".m4b", ".m4r", ".mka",
    ".mp+", ".mpc", ".mpp", ".spx", ".tak", ".tta", ".weba", ".wma", ".wv",
})
AUDIO_EXTENSIONS = SNDFILE_EXTENSIONS | _AV_EXTENSIONS
_UNREAD_EXTENSIONS = frozenset({
    ".aa", ".aax", ".amr", ".at3", ".dts", ".la", ".mlp", ".ofr", ".ofs", ".oma",
    ".qcp", ".ra", ".shn", ".thd", ".vqf", ".wsd",
})
# fmt: on
_OTHER_EXTENSIONS = frozenset(
    {ARCHIVE_SUFFIX, ".html", ".json", ".npy", ".npz", ".pt", ".safetensors", ".tar"}
)
# Of the containers in headers; other extensions are called like their containers.
_CONTAINER_SUFFIXES = {
    "ADTS": ".aac",
    "ASF": ".wma",
    "EAC3": ".ac3",
    "MATROSKA": ".mka",
    "MP4": ".m4a",
    "RF64": ".wav",
    "WAVPACK": ".wv",
}
# The usual one of the extensions that files of a kind have.
_USUAL = {
    ".3ga": ".m4a",
    ".adts": ".aac",
    ".aif": ".aiff",
    ".aifc": ".aiff",
    ".asf": ".wma",
    ".bwf": ".wav",
    ".eac3": ".ac3",
    ".ec3": ".ac3",
    ".fla": ".flac",
    ".m4b": ".m4a",
    ".m4r": ".m4a",
    ".mp+": ".mpc",
    ".mp4": ".m4a",
    ".mpga": ".mp3",
    ".mpp": ".mpc",
    ".oga": ".ogg",
    ".ogx": ".ogg",
    ".opus": ".ogg",
    ".rf64": ".wav",
    ".spx": ".ogg",
    ".wave": ".wav",
    ".weba": ".mka",
    ".webm": ".mka",
}


# fmt: off
_JUNK_NAMES = frozenset({
    ".apdisk", ".ds_store", ".localized", "desktop.ini", "ehthumbs.db", "icon\r", "thumbs.db",
    # Folders of systems, file managers and network storage:
    "#recycle", "#snapshot", "$recycle.bin", ".@__thumb", ".appledouble", ".documentrevisions-v100",
    ".fseventsd", ".spotlight-v100", ".temporaryitems", ".trashes", "@eadir", "@recycle", "__macosx",
    "system volume information",
})
_SHARED_PICTURE = re.compile("[0-9a-f]{64}" + re.escape(PICTURE_SUFFIX))
_JUNK_PREFIXES = ("._", ".fuse_hidden", ".nfs", ".smbdelete", ".trash-")
# fmt: on


def is_junk(name: str) -> bool:
    """Return whether a file or folder of that name is one that systems make for themselves."""
    name = name.lower()
    return name in _JUNK_NAMES or name.startswith(_JUNK_PREFIXES)


def archive_name(source_name: str) -> str:
    """Return what the archive of a file is called: ``song.flac`` -> ``song.flac.earz``."""
    return source_name + ARCHIVE_SUFFIX


def name_without_archive_suffix(name: str) -> str:
    """Return the name of the file that was archived, the inverse of `archive_name`."""
    return name[: -len(ARCHIVE_SUFFIX)] if is_archive_name(name) else name


def is_archive_name(name: str) -> bool:
    """Return whether ``name`` is that of an archive."""
    return name.lower().endswith(ARCHIVE_SUFFIX)


def shared_picture_name(sha256: str) -> str:
    """Return what the file beside archives is called that holds the picture of that SHA-256."""
    return sha256 + PICTURE_SUFFIX


def is_shared_picture_name(name: str) -> bool:
    """Return whether ``name`` is that of a picture that archives share."""
    return _SHARED_PICTURE.fullmatch(name) is not None


LOSSY_SUFFIXES = {"opus": ".opus", "mp3": ".mp3", "aac": ".m4a"}
"""Of the lossy formats that archives can be restored to."""


def restored_name(archive: str, container: str) -> str:
    """Return what the file restored from the archive of that name is called.

    ``a.flac.earz`` becomes ``a.flac``; in another container, or from another, the extension is
    appended: ``a.mp3.earz`` becomes ``a.mp3.flac``, so that no two archives share a name. Lossy files
    have the extension alone, as players show it: ``a.flac.earz`` becomes ``a.opus``.
    """
    name = name_without_archive_suffix(archive)
    if container in LOSSY_SUFFIXES:
        return name_without_sound_suffix(name) + LOSSY_SUFFIXES[container]
    return name if name.lower().endswith(f".{container}") else f"{name}.{container}"


def further_restored_names(archive: str, restored: str) -> Iterator[str]:
    """Yield names for what is restored from an archive, where that called ``restored`` is another's.

    They begin with the whole name of the archive: ``a.mp3.earz`` becomes ``a.mp3.earz.flac``, then
    ``a.mp3.earz.2.flac`` and so on; a directory of tracks ``a.mp3.earz.tracks``.
    """
    ending = sound_suffix(restored) or ".tracks"
    yield archive + ending
    for i in count(2):
        yield f"{archive}.{i}{ending}"


def name_without_sound_suffix(name: str) -> str:
    """Return ``name`` without the extension of a sound file, if it has one and is more than that."""
    suffix = sound_suffix(name)
    return name[: -len(suffix)] if suffix else name


def is_file_name(name: str) -> bool:
    """Return whether ``name`` is one that a file has and hardly a folder: of sound, latents or a page."""
    suffix = PurePath(name).suffix.lower()
    return suffix in AUDIO_EXTENSIONS | _UNREAD_EXTENSIONS | _OTHER_EXTENSIONS


def is_unread_sound_name(name: str) -> bool:
    """Return whether sound files that earzip does not read, such as OptimFROG, are called so."""
    return PurePath(name).suffix.lower() in _UNREAD_EXTENSIONS


def portable_name(path: str | os.PathLike[str]) -> str:
    """Return the last part of ``path`` as text that UTF-8 can hold, U+FFFD for other bytes."""
    return os.fsencode(os.path.basename(path)).decode("utf-8", "replace")  # noqa: PTH119


def usual_suffix(suffix: str) -> str:
    """Return the usual one of the extensions that files of a kind have."""
    return _USUAL.get(suffix, suffix)


def sound_suffix(name: str) -> str:
    """Return the extension of ``name``, in lower case, if sound files have it, else nothing."""
    suffix = PurePath(name).suffix.lower()
    return suffix if suffix in AUDIO_EXTENSIONS else ""


def container_suffix(container: str) -> str:
    """Return an extension for a header's container if sound files have it, else nothing."""
    return sound_suffix("x" + _CONTAINER_SUFFIXES.get(container, f".{container.lower()}"))
