"""Deterministic CBOR: one encoding of each value, everything else refused."""

import pytest
from writer import Tagged
from writer import cbor as encode

from salus_verify import Refused
from salus_verify.cbor import Fields, Tag, decode, text, unsigned

LIMIT = 1 << 16


@pytest.mark.parametrize(
    "value",
    [
        0,
        23,
        24,
        255,
        256,
        65535,
        65536,
        (1 << 32) - 1,
        1 << 32,
        (1 << 64) - 1,
        -1,
        -49,
        b"",
        b"x" * 300,
        "",
        "Zürich",
        [1, [2, b"3"]],
        {0: 1, 1: {4: "x"}, 24: [], -1: 5},
        None,
    ],
)
def test_what_is_written_is_read(value: object) -> None:
    assert decode(encode(value), LIMIT) == value


def test_a_tag_is_read() -> None:
    assert decode(encode(Tagged(98, [1])), LIMIT) == Tag(98, [1])


@pytest.mark.parametrize(
    ("why", "data"),
    [
        ("nothing", ""),
        ("an overlong integer", "1817"),
        ("a two-byte integer of one byte", "1900ff"),
        ("a four-byte integer of two bytes", "1a0000ffff"),
        ("an eight-byte integer of four bytes", "1b00000000ffffffff"),
        ("an overlong length", "580161"),
        ("a reserved head", "1c"),
        ("an indefinite byte string", "5f4161ff"),
        ("an indefinite array", "9f01ff"),
        ("an indefinite map", "bf0001ff"),
        ("a half float", "f90000"),
        ("a double", "fb0000000000000000"),
        ("true", "f5"),
        ("undefined", "f7"),
        ("keys out of order", "a201000000"),
        ("a key twice", "a200000000"),
        ("a text key", "a1616100"),
        ("text that is not UTF-8", "61ff"),
        ("text with a surrogate", "63eda080"),
        ("a byte that follows", "0000"),
        ("a byte string cut short", "4261"),
        ("a length of 2^64 - 1", "5bffffffffffffffff"),
        ("an array of 2^64 - 1", "9bffffffffffffffff"),
        ("a map of 2^64 - 1", "bbffffffffffffffff"),
        ("deep nesting", "81" * 1000 + "00"),
    ],
)
def test_other_encodings_are_refused(why: str, data: str) -> None:
    with pytest.raises(Refused):
        decode(bytes.fromhex(data), LIMIT)


def test_the_limit_holds() -> None:
    assert decode(bytes.fromhex("4161"), 2) == b"a"
    with pytest.raises(Refused):
        decode(bytes.fromhex("4161"), 1)


def test_missing_unknown_and_null_fields_are_refused() -> None:
    fields = Fields(decode(encode({0: 7, 1: "x"}), LIMIT), "map")
    assert fields.take(0, unsigned) == 7
    assert fields.optional(2, unsigned) is None
    with pytest.raises(Refused, match="unknown"):
        fields.end()
    with pytest.raises(Refused, match="lacks"):
        fields.take(3, text)
    with pytest.raises(Refused):
        Fields(decode(encode({0: None}), LIMIT), "map").optional(0, unsigned)
