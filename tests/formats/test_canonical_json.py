import pytest
from hypothesis import given
from hypothesis import strategies as st

from earzip.formats.canonical_json import dump_canonical, load_canonical

TEXT = st.text(st.characters(codec="utf-8"))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
)


@given(VALUES, st.booleans())
def test_a_value_comes_back_and_has_one_spelling(value: object, sort_keys: bool) -> None:
    data = dump_canonical(value, sort_keys=sort_keys)  # type: ignore[arg-type]
    loaded = load_canonical(data, sort_keys=sort_keys)
    assert loaded == value
    assert dump_canonical(loaded, sort_keys=sort_keys) == data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"1.0",
        b"1e3",
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"-0",
        b"01",
        b"9223372036854775808",
        b"-9223372036854775809",
        b"1" * 10_000,
        b" 1",
        b"1\n",
        b"[1, 2]",
        b'{"a":1,"a":1}',
        b'{"a":1,"\\u0061":2}',
        b'"\\/"',
        b'"\\u0041"',
        b'"\\ud83d\\ude00"',
        b'"\\ud800"',
        b'"\xed\xa0\x80"',
        b'"\xff"',
        b'"\t"',
        b"\xef\xbb\xbf1",
        b"[1]]",
        b"[1",
        b"[" * 100_000,
        b'{"b":1,"a":2}',
    ],
)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        load_canonical(data, sort_keys=True)


@pytest.mark.parametrize(
    "value", [1.5, float("nan"), 2**63, b"x", {1: 2}, [{"a": (1, 2)}], "\ud800", {"\udcff": 1}]
)
def test_what_has_no_spelling_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r".+"):
        dump_canonical(value, sort_keys=True)  # type: ignore[arg-type]


def test_the_order_of_keys_is_kept_unless_they_are_sorted() -> None:
    data = b'{"b":1,"a":2}'
    assert list(load_canonical(data, sort_keys=False)) == ["b", "a"]  # type: ignore[arg-type]
    assert dump_canonical({"b": 1, "a": 2}, sort_keys=True) == b'{"a":2,"b":1}'
