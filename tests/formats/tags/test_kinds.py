"""A tag family stands wherever it must: a forgotten place is found here."""

from importlib.resources import files

from earzip.formats.tags.model import FAMILIES, KINDS
from earzip.formats.tags.read import PARSERS
from tests.formats.tags.test_hostile import MALFORMED

PAYLOAD = (
    files("earzip.formats")
    .joinpath("SPEC.md")
    .read_text("utf-8")
    .partition("\n### Payload\n")[2]
    .partition("\n## ")[0]
)


def test_every_kind_has_a_parser():
    assert PARSERS.keys() == KINDS.keys()


def test_every_kind_has_malformed_examples():
    assert MALFORMED.keys() == KINDS.keys()


def test_every_family_and_kind_is_specified():
    (families,) = (line for line in PAYLOAD.splitlines() if line.startswith("| `family` |"))
    assert set(families.split("`")[3::2]) == set(FAMILIES)
    kinds = PAYLOAD.partition("\n- `kind` is ")[2].partition(":")[0]
    assert set(kinds.split("`")[1::2]) == KINDS.keys()
