"""Tag names across formats, as MusicBrainz Picard's public mapping table gives them.

The neutral name is the Vorbis comment's, in lower case. Where Picard has no row, TagLib's property
names in lower case are used. Text frames, items and keys without a row keep their own name.
"""

from __future__ import annotations

MUSICBRAINZ_OWNER = "http://musicbrainz.org"  # of the UFID frame with the recording's id

ID3_TEXT_FRAMES = {
    "GRP1": "grouping",
    "MVNM": "movementname",
    "TALB": "album",
    "TBPM": "bpm",
    "TCAT": "podcastcategory",
    "TCMP": "compilation",
    "TCOM": "composer",
    "TCON": "genre",
    "TCOP": "copyright",
    "TDEN": "encodingtime",
    "TDES": "podcastdescription",
    "TDLY": "playlistdelay",
    "TDOR": "originaldate",
    "TDRC": "date",
    "TDRL": "releasedate",
    "TDTG": "taggingdate",
    "TENC": "encodedby",
    "TEXT": "lyricist",
    "TFLT": "filetype",
    "TGID": "podcastid",
    "TIT1": "grouping",
    "TIT2": "title",
    "TIT3": "subtitle",
    "TKEY": "key",
    "TKWD": "podcastkeywords",
    "TLAN": "language",
    "TLEN": "length",
    "TMED": "media",
    "TMOO": "mood",
    "TOAL": "originalalbum",
    "TOFN": "originalfilename",
    "TOLY": "originallyricist",
    "TOPE": "originalartist",
    "TOWN": "owner",
    "TPE1": "artist",
    "TPE2": "albumartist",
    "TPE3": "conductor",
    "TPE4": "remixer",
    "TPRO": "producednotice",
    "TPUB": "label",
    "TRSN": "radiostation",
    "TRSO": "radiostationowner",
    "TSO2": "albumartistsort",
    "TSOA": "albumsort",
    "TSOC": "composersort",
    "TSOP": "artistsort",
    "TSOT": "titlesort",
    "TSRC": "isrc",
    "TSSE": "encodersettings",
    "TSST": "discsubtitle",
}
ID3_TIME_FRAMES = frozenset(["TDEN", "TDOR", "TDRC", "TDRL", "TDTG"])
# "3/12" in one frame, two names elsewhere.
ID3_PAIR_FRAMES = {
    "MVIN": ("movement", "movementtotal"),
    "TPOS": ("discnumber", "disctotal"),
    "TRCK": ("tracknumber", "tracktotal"),
}
ID3_URL_FRAMES = {
    "WCOM": "commercialurl",
    "WCOP": "license",
    "WFED": "podcasturl",
    "WOAF": "fileurl",
    "WOAR": "website",
    "WOAS": "sourceurl",
    "WORS": "radiostationurl",
    "WPAY": "paymenturl",
    "WPUB": "publisherurl",
}
# Roles of the involved people list.
ID3_ROLES = {
    "arranger": "arranger",
    "dj-mix": "djmixer",
    "engineer": "engineer",
    "mix": "mixer",
    "producer": "producer",
}
# TXXX descriptions, which MP4 freeform items and (with "/" for the first space) ASF share.
SPOKEN_NAMES = {
    "Acoustid Fingerprint": "acoustid_fingerprint",
    "Acoustid Id": "acoustid_id",
    "Artists": "artists",
    "MusicBrainz Album Artist Id": "musicbrainz_albumartistid",
    "MusicBrainz Album Id": "musicbrainz_albumid",
    "MusicBrainz Album Release Country": "releasecountry",
    "MusicBrainz Album Status": "releasestatus",
    "MusicBrainz Album Type": "releasetype",
    "MusicBrainz Artist Id": "musicbrainz_artistid",
    "MusicBrainz Disc Id": "musicbrainz_discid",
    "MusicBrainz Original Album Id": "musicbrainz_originalalbumid",
    "MusicBrainz Original Artist Id": "musicbrainz_originalartistid",
    "MusicBrainz Release Group Id": "musicbrainz_releasegroupid",
    "MusicBrainz Release Track Id": "musicbrainz_releasetrackid",
    "MusicBrainz TRM Id": "musicbrainz_trmid",
    "MusicBrainz Track Id": "musicbrainz_trackid",
    "MusicBrainz Work Id": "musicbrainz_workid",
    "MusicIP PUID": "musicip_puid",
    "MusicMagic Fingerprint": "musicip_fingerprint",
    "Writer": "writer",
}
_SPOKEN_LOWER = {spoken.lower(): name for spoken, name in SPOKEN_NAMES.items()}

APE_ITEMS = {
    "album artist": "albumartist",
    "mixartist": "remixer",
    "musicbrainz_albumstatus": "releasestatus",
    "musicbrainz_albumtype": "releasetype",
    "original artist": "originalartist",
    "weblink": "website",
    "year": "date",
}
APE_PAIRS = {"disc": ("discnumber", "disctotal"), "track": ("tracknumber", "tracktotal")}

MP4_TEXT_ATOMS = {
    "aART": "albumartist",
    "catg": "podcastcategory",
    "cprt": "copyright",
    "desc": "podcastdescription",
    "egid": "podcastid",
    "keyw": "podcastkeywords",
    "ldes": "longdescription",
    "purd": "purchasedate",
    "purl": "podcasturl",
    "soaa": "albumartistsort",
    "soal": "albumsort",
    "soar": "artistsort",
    "soco": "composersort",
    "sonm": "titlesort",
    "sosn": "showsort",
    "tvsh": "show",
    "©ART": "artist",
    "©alb": "album",
    "©cmt": "comment",
    "©con": "conductor",
    "©day": "date",
    "©dir": "director",
    "©enc": "encodedby",
    "©gen": "genre",
    "©grp": "grouping",
    "©lyr": "lyrics",
    "©mvn": "movementname",
    "©nam": "title",
    "©too": "encodedby",
    "©wrk": "work",
    "©wrt": "composer",
}
# Directly in udta: of QuickTime, where the names of item lists mean the same, and of 3GPP.
QUICKTIME_TEXTS = {
    "albm": "album",
    "auth": "writer",
    "cprt": "copyright",
    "dscp": "description",
    "gnre": "genre",
    "kywd": "keywords",
    "perf": "artist",
    "titl": "title",
    "yrrc": "date",
    "©aut": "writer",
    "©cpy": "copyright",
    "©inf": "comment",
    "©mak": "make",
    "©mod": "model",
    "©prd": "producer",
    "©prf": "performer",
    "©src": "source",
    "©swr": "encodedby",
    "©trk": "tracknumber",
    "©url": "website",
    "©xyz": "location.iso6709",
}
# Keys of QuickTime metadata, less "com.apple.quicktime."; others keep their name.
QUICKTIME_KEYS = {
    "creationdate": "date",
    "displayname": "title",
    "information": "comment",
    "software": "encodedby",
    "track": "tracknumber",
    "year": "date",
}
MP4_INTEGER_ATOMS = {
    "cpil": "compilation",
    "pcst": "podcast",
    "pgap": "gapless",
    "shwm": "showmovement",
    "tmpo": "bpm",
    "tves": "tvepisode",
    "tvsn": "tvseason",
    "©mvc": "movementtotal",
    "©mvi": "movement",
}
MP4_PAIR_ATOMS = {"disk": ("discnumber", "disctotal"), "trkn": ("tracknumber", "tracktotal")}

ASF_ATTRIBUTES = {
    "author": "artist",
    "description": "comment",
    "wm/albumartist": "albumartist",
    "wm/albumartistsortorder": "albumartistsort",
    "wm/albumsortorder": "albumsort",
    "wm/albumtitle": "album",
    "wm/artists": "artists",
    "wm/artistsortorder": "artistsort",
    "wm/authorurl": "website",
    "wm/barcode": "barcode",
    "wm/beatsperminute": "bpm",
    "wm/catalogno": "catalognumber",
    "wm/composer": "composer",
    "wm/composersortorder": "composersort",
    "wm/conductor": "conductor",
    "wm/contentgroupdescription": "grouping",
    "wm/djmixer": "djmixer",
    "wm/encodedby": "encodedby",
    "wm/encodingsettings": "encodersettings",
    "wm/engineer": "engineer",
    "wm/genre": "genre",
    "wm/initialkey": "key",
    "wm/iscompilation": "compilation",
    "wm/isrc": "isrc",
    "wm/language": "language",
    "wm/lyrics": "lyrics",
    "wm/media": "media",
    "wm/mixer": "mixer",
    "wm/modifiedby": "remixer",
    "wm/mood": "mood",
    "wm/originalalbumtitle": "originalalbum",
    "wm/originalartist": "originalartist",
    "wm/originalfilename": "originalfilename",
    "wm/originalreleasetime": "originaldate",
    "wm/originalreleaseyear": "originalyear",
    "wm/producer": "producer",
    "wm/publisher": "label",
    "wm/script": "script",
    "wm/setsubtitle": "discsubtitle",
    "wm/subtitle": "subtitle",
    "wm/titlesortorder": "titlesort",
    "wm/work": "work",
    "wm/writer": "lyricist",
    "wm/year": "date",
}
ASF_PAIRS = {
    "wm/partofset": ("discnumber", "disctotal"),
    "wm/tracknumber": ("tracknumber", "tracktotal"),
}

RIFF_INFO_IDS = {
    "IART": "artist",
    "ICMT": "comment",
    "ICNT": "releasecountry",
    "ICOP": "copyright",
    "ICRD": "date",
    "IENC": "encodedby",
    "IENG": "engineer",
    "IGNR": "genre",
    "IKEY": "keywords",
    "ILNG": "language",
    "IMED": "media",
    "IMUS": "composer",
    "INAM": "title",
    "IPRD": "album",
    "IPRO": "producer",
    "ISBJ": "subject",
    "ISFT": "encodersettings",
    "ISRC": "source",  # the chunk's "source", not the recording code
    "ISRF": "sourceform",
    "ITCH": "technician",
    "IWRI": "writer",
}
RIFF_INFO_TRACK_IDS = ("ITRK", "IPRT", "TRCK")  # taggers disagree

# Texts of a bext chunk in their order, the coding history last. Picard and TagLib have no names for
# them: these are FFmpeg's, whose "origination_date" becomes a date.
BEXT_TEXTS = (
    "description",
    "originator",
    "originator_reference",
    "date",
    "origination_time",
    "coding_history",
)

AIFF_TEXT_IDS = {"(c) ": "copyright", "ANNO": "comment", "AUTH": "artist", "NAME": "title"}

# Other spellings in Vorbis comments of what ID3 has a frame of its own for.
USUAL_FIELDS = frozenset({
    *ID3_TEXT_FRAMES.values(), *(name for pair in ID3_PAIR_FRAMES.values() for name in pair),
    "comment", "lyrics",
})  # fmt: skip
"""Neutral names that most taggers know, whether a library has them or not."""

SYNONYMS = {
    "album artist": "albumartist",
    "totaldiscs": "disctotal",
    "totaltracks": "tracktotal",
    "unsyncedlyrics": "lyrics",
}


def free_name(name: str) -> str:
    """The neutral name of a freely named field: TXXX, MP4 freeform or ASF attribute."""
    return _SPOKEN_LOWER.get(name.lower().replace("/", " ", 1), name.lower())


def split_pair(value: str) -> tuple[str, str]:
    """``("3", "12")`` of ``"3/12"``; an absent part is empty.

    A value that is not just that ("3/", "3 / 12") is the first part as it stands.
    """
    number, _, total = value.partition("/")
    exact = value in ("/".join(filter(None, (number, total))), f"/{total}")
    return (number, total) if exact and value == value.strip() else (value, "")
