"""What loaders of training data are told of a track: a JSON object of the same keys and types for all.

Loaders take the types from the first samples that they see, so there is no key that a track may lack, and
no list that may be empty. ``padding_mask`` (a 1 for each frame) and ``seconds_total`` are what
stable-audio-tools reads of a sample that was encoded beforehand, and ``text`` becomes its prompt
(https://github.com/Stability-AI/stable-audio-tools, ``stable_audio_tools/data/dataset.py``).
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from earzip.formats.archive.reader import ArchiveReader
from earzip.transcode.saved_tags import read_tag_payload

_TAGS = ("title", "artist", "album", "genre", "date")
"""Tags with a key of their own, and what ``text`` is made of, in this order."""
_BETWEEN_VALUES = "; "


def sample_key(name: str) -> str:
    """Return the key of the track of that path: 32 hexadecimal digits, so that no loader cuts it."""
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:32]


def facts_beside(array: Path) -> Path:
    """Return the path of the JSON file that loaders look for beside ``array``, a ``.npy`` file."""
    return array.with_suffix(".json")


def sample_json(reader: ArchiveReader, name: str) -> bytes:
    """Return the JSON object of an archive; ``name``: what its track is called, maybe with folders.

    Raises DamagedArchiveError for tags that cannot be read.
    """
    header, fields = reader.header, read_tag_payload(reader).fields
    tags = {tag: _BETWEEN_VALUES.join(fields.get(tag, ())) for tag in _TAGS}
    facts = {
        "name": os.fsencode(name).decode("utf-8", "replace"),
        "text": ", ".join(value for value in tags.values() if value),
        "seconds_total": header.n_samples / header.geometry.sample_rate,
        "padding_mask": [1] * header.n_frames,
        "sample_rate": header.geometry.sample_rate,
        "hop": header.geometry.hop,
        "n_latents": header.model.n_latents,
        "n_frames": header.n_frames,
        "n_samples": header.n_samples,
        "gain_db": header.gain_centibels / 10,
        "model": header.model.name,
        "model_sha256": header.model.sha256,
        "quality": header.quantizer.quality,
        "archive": reader.prefix.pack()[-8:].hex(),
        **tags,
        # As text: their names differ from track to track.
        "tags": json.dumps(fields, sort_keys=True),
    }
    return json.dumps(facts, separators=(",", ":")).encode()
