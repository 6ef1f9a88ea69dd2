"""Tags as the bytes that go ahead of sound that is sent as it is made."""

from __future__ import annotations

from typing import Literal

from earzip.formats.tags.flac import pack_flac_blocks
from earzip.formats.tags.model import SoundFacts, TagSet
from earzip.formats.tags.provenance import flac_provenance_of_stream, wav_provenance_of_stream
from earzip.formats.tags.riff import pack_wav_chunks
from earzip.formats.tags.write import flac_blocks, wav_chunks


def tags_ahead(
    container: Literal["flac", "wav"], tags: TagSet, sound: SoundFacts, vendor: bytes
) -> tuple[bytes, list[str]]:
    """The tags, and that the file is earzip's, as bytes; a sentence for each loss.

    They are what ``write_tags`` writes: FLAC metadata that goes behind STREAMINFO and ends with a block
    marked as the last, or WAV chunks. ``vendor``: the library that encodes FLAC.
    """
    if container == "flac":
        blocks, losses = flac_blocks(tags, sound, vendor)
        return pack_flac_blocks([flac_provenance_of_stream(), *blocks]), losses
    chunks, losses = wav_chunks(tags, sound)
    return pack_wav_chunks([wav_provenance_of_stream(), *chunks]), losses
