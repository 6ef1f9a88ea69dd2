"""Everything a file's tags say, in and out: the door to the ``tags_*`` modules.

``read_tags`` takes any source. Each of its tag blocks is kept as it is (``TagSet.raw``) and seen in
neutral terms. ``write_tags`` restores to FLAC or WAV: into the same family (Vorbis comments to
FLAC, ID3 and RIFF INFO to WAV) the block itself is written; into another, the neutral view is, and
each thing that did not come through is named in a sentence.
"""

from earzip.formats.tags_model import Chapter, Picture, TagSet
from earzip.formats.tags_raw import Cut, RawBlock
from earzip.formats.tags_read import read_tags
from earzip.formats.tags_write import write_tags

__all__ = ["Chapter", "Cut", "Picture", "RawBlock", "TagSet", "read_tags", "write_tags"]
