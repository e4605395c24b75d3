"""Reads deterministic CBOR (RFC 8949, section 4.2.1) and refuses every other encoding.

The subset that Salus uses: integers, byte and text strings, arrays, maps with integer keys, tags,
and null (which only a detached COSE payload may be).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from salus_verify.errors import Refused

T = TypeVar("T")

# Deeper than any format here; bounds the recursion.
DEPTH_LIMIT = 16

U32 = (1 << 32) - 1
U64 = (1 << 64) - 1


@dataclass(frozen=True)
class Tag:
    """A tagged value."""

    number: int
    value: "Value"


Value = int | bytes | str | list["Value"] | dict[int, "Value"] | Tag | None


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, length: int) -> bytes:
        if length > len(self.data) - self.at:
            raise Refused("CBOR ends early")
        taken = self.data[self.at : self.at + length]
        self.at += length
        return taken

    def head(self) -> tuple[int, int]:
        """Major type and argument; only the shortest form is accepted."""
        first = self.take(1)[0]
        major, short = first >> 5, first & 31
        if short < 24:
            return major, short
        if short > 27:
            raise Refused("CBOR of indefinite length, or a reserved head")
        size = 1 << (short - 24)
        argument = int.from_bytes(self.take(size), "big")
        if argument < (24 if size == 1 else 1 << (4 * size)):
            raise Refused("a CBOR number is not in its shortest form")
        return major, argument

    def value(self, depth: int) -> Value:
        if depth > DEPTH_LIMIT:
            raise Refused("CBOR nests too deeply")
        if self.data[self.at : self.at + 1] == b"\xf6":
            self.at += 1
            return None
        major, argument = self.head()
        match major:
            case 0:
                return argument
            case 1:
                return -1 - argument
            case 2:
                return self.take(argument)
            case 3:
                return _text(self.take(argument))
            case 4:
                self.fits(argument)
                return [self.value(depth + 1) for _ in range(argument)]
            case 5:
                self.fits(2 * argument)
                return self.map(argument, depth)
            case 6:
                return Tag(argument, self.value(depth + 1))
            case _:
                raise Refused("a float or simple value in CBOR")

    def fits(self, items: int) -> None:
        """Every item takes at least one byte; refused before anything is allocated."""
        if items > len(self.data) - self.at:
            raise Refused("CBOR ends early")

    def map(self, pairs: int, depth: int) -> dict[int, Value]:
        result: dict[int, Value] = {}
        last = b""
        for _ in range(pairs):
            start = self.at
            major, argument = self.head()
            if major > 1:
                raise Refused("a CBOR map key is no integer")
            encoded = self.data[start : self.at]
            if encoded <= last:
                raise Refused("CBOR map keys do not ascend")
            last = encoded
            result[argument if major == 0 else -1 - argument] = self.value(depth + 1)
        return result


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused("CBOR text is not UTF-8") from None


def decode(data: bytes, limit: int) -> Value:
    """The value that `data`, of at most `limit` bytes, encodes."""
    if len(data) > limit:
        raise Refused(f"{len(data)} bytes where at most {limit} are allowed")
    reader = _Reader(data)
    value = reader.value(0)
    if reader.at != len(data):
        raise Refused("bytes follow the CBOR value")
    return value


def field_bytes(data: bytes, key: int) -> bytes:
    """The bytes of field `key` of the map, without that field's key, that `data` encodes."""
    reader = _Reader(data)
    _, pairs = reader.head()
    for _ in range(pairs):
        found = reader.value(1)
        start = reader.at
        reader.value(1)
        if found == key:
            return data[start : reader.at]
    raise Refused(f"the map lacks field {key}")


class Fields:
    """A map read field by field; what was not read is unknown, and refused by `end`."""

    def __init__(self, value: Value, what: str) -> None:
        """`what` names the map in errors."""
        if not isinstance(value, dict):
            raise Refused(f"{what} is no map")
        self._left = dict(value)
        self._what = what

    def take(self, key: int, read: Callable[[Value], T]) -> T:
        """The field `key`, which must be there."""
        if key not in self._left:
            raise Refused(f"{self._what} lacks field {key}")
        return read(self._left.pop(key))

    def optional(self, key: int, read: Callable[[Value], T]) -> T | None:
        """The field `key`, or None where it is absent."""
        return self.take(key, read) if key in self._left else None

    def end(self) -> None:
        """Refuses unknown fields."""
        if self._left:
            raise Refused(f"{self._what} has unknown fields")


def unsigned(value: Value, largest: int = U64) -> int:
    """An unsigned integer."""
    if not isinstance(value, int) or not 0 <= value <= largest:
        raise Refused("not an unsigned integer in range")
    return value


def u32(value: Value) -> int:
    """An unsigned integer below 2^32."""
    return unsigned(value, U32)


def index_below(count: int) -> Callable[[Value], int]:
    """An enumeration with `count` values, by number."""
    return lambda value: unsigned(value, count - 1)


def byte_string(value: Value) -> bytes:
    """A byte string of any length."""
    if not isinstance(value, bytes):
        raise Refused("not a byte string")
    return value


def byte_string_of(length: int) -> Callable[[Value], bytes]:
    """A byte string of exactly `length` bytes."""

    def read(value: Value) -> bytes:
        if len(found := byte_string(value)) != length:
            raise Refused(f"not a byte string of {length} bytes")
        return found

    return read


def text(value: Value) -> str:
    """A text string."""
    if not isinstance(value, str):
        raise Refused("not a text string")
    return value


def array_of(read: Callable[[Value], T]) -> Callable[[Value], list[T]]:
    """An array whose items `read` reads."""

    def read_all(value: Value) -> list[T]:
        if not isinstance(value, list):
            raise Refused("not an array")
        return [read(item) for item in value]

    return read_all


def variant(value: Value) -> tuple[int, Value]:
    """An enumeration with content: `[number, content]`."""
    if not isinstance(value, list) or len(value) != 2:
        raise Refused("not a pair of number and content")
    return unsigned(value[0]), value[1]
