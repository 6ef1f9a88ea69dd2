"""Everything a file's tags say, in and out.

`read.read_tags` takes any source. Each of its tag blocks is kept as it is (``TagSet.raw``) and seen in
neutral terms. `write.write_tags` restores to FLAC or WAV: into the same family (Vorbis comments to
FLAC, ID3 and RIFF INFO to WAV) the block itself is written; into another, the neutral view is, and
each thing that did not come through is named in a sentence.
"""
