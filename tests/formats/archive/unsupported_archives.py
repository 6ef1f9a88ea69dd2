"""Archives that a later version may write, and that this one must refuse without calling it damage.

`UNSUPPORTED` is what `ATTACKS` of archive_attacks is.
"""

from tests.formats.archive.attacks import Attack, header
from tests.formats.archive.samples import Pieces

UNSUPPORTED: dict[str, tuple[Attack, str]] = {}


def unsupported(name: str, message: str, make: Attack) -> None:
    UNSUPPORTED[name] = (make, message)


def major(version: int) -> Attack:
    def make(pieces: Pieces) -> None:
        pieces.major = version

    return make


unsupported(
    "major 2", r"format version 2\.0 needs a newer earzip: this one reads version 1", major(2)
)
unsupported("major 0", r"format version 0\.0 needs", major(0))
unsupported("unknown critical field", "'dither' needs a newer", header("critical", ["dither"]))
unsupported(
    "unknown critical field in a record",
    "'quantizer.dither' needs a newer",
    header("critical", ["gain", "quantizer.steps", "quantizer.dither"]),
)
unsupported("unknown symbols", "symbol coding 'packed-9' needs", header("symbols", "packed-9"))
