"""Reads the JSON of a proof bundle, strictly: nothing unknown, doubled, missing or null."""

import base64
import binascii
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from salus_verify.cbor import U64
from salus_verify.errors import Refused
from salus_verify.merkle import StateProof

T = TypeVar("T")

BUNDLE_LIMIT = 32 << 20
_HASH = re.compile(r"[0-9A-Fa-f]{64}")


@dataclass(frozen=True)
class EntryProof:
    """An entry and its place in the log."""

    entry: bytes
    index: int
    path: tuple[bytes, ...]


@dataclass(frozen=True)
class StateKeys:
    """Public keys and the proof that they stand in the state."""

    keys: bytes
    proof: StateProof


@dataclass(frozen=True)
class Listed:
    """The keys stand in a list of the bundle."""


KeyProof = Listed | EntryProof | StateKeys


@dataclass(frozen=True)
class RecordClaim:
    """That a sealed record was anchored by its signer."""

    anchor: bytes
    position: int
    path: tuple[bytes, ...]
    manifest: bytes
    signer: KeyProof
    entry: EntryProof


@dataclass(frozen=True)
class EntryClaim:
    """That an entry stands in the log."""

    entry: EntryProof
    signer: KeyProof | None


@dataclass(frozen=True)
class StateClaim:
    """That the state has this value, or none, under a key."""

    key: bytes
    value: bytes | None
    proof: StateProof


Claim = RecordClaim | EntryClaim | StateClaim


@dataclass(frozen=True)
class Handover:
    """A change of who signs."""

    checkpoint: str
    members: bytes
    proof: StateProof


@dataclass(frozen=True)
class Bundle:
    """A proof bundle as read; nothing in it is verified yet."""

    genesis: bytes
    handovers: tuple[Handover, ...]
    checkpoint: str
    claim: Claim

    @classmethod
    def from_json(cls, data: bytes) -> "Bundle":
        """Refuses whatever is not a proof bundle of version 1."""
        fields = _Object(_load(data), "bundle")
        if fields.take("version", _integer) != 1:
            raise Refused("the bundle has an unknown version")
        bundle = cls(
            fields.take("genesis", _bytes),
            fields.take("handovers", _array_of(_handover)),
            fields.take("checkpoint", _text),
            fields.take("claim", _claim),
        )
        fields.end()
        return bundle


def _load(data: bytes) -> Any:
    if len(data) > BUNDLE_LIMIT:
        raise Refused("the bundle is too long")
    try:
        return json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_without_duplicates,
            parse_int=_plain_integer,
            parse_float=_no_number,
            parse_constant=_no_number,
        )
    except (ValueError, RecursionError):
        raise Refused("the bundle is not JSON") from None


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise Refused("the bundle has a field twice")
    return result


def _plain_integer(digits: str) -> int:
    if digits.startswith("-") or len(digits) > 20:
        raise Refused("the bundle has a number that is no unsigned integer")
    return int(digits)


def _no_number(_: str) -> Any:
    raise Refused("the bundle has a number that is no unsigned integer")


class _Object:
    def __init__(self, value: Any, what: str) -> None:
        if not isinstance(value, dict):
            raise Refused(f"{what} is no object")
        self._left = dict(value)
        self._what = what

    def take(self, name: str, read: Callable[[Any], T]) -> T:
        if name not in self._left:
            raise Refused(f"{self._what} lacks {name}")
        return read(self._left.pop(name))

    def optional(self, name: str, read: Callable[[Any], T]) -> T | None:
        return self.take(name, read) if name in self._left else None

    def end(self) -> None:
        if self._left:
            raise Refused(f"{self._what} has unknown fields")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise Refused("the bundle has something else where text belongs")
    if any("\ud800" <= c <= "\udfff" for c in value):
        raise Refused("the bundle has a lone surrogate in a text")
    return value


def _integer(value: Any) -> int:
    if type(value) is not int or value > U64:
        raise Refused("the bundle has something else where an integer belongs")
    return value


def _bytes(value: Any) -> bytes:
    """base64url without padding and with zero trailing bits."""
    text = _text(value)
    try:
        data = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    except (UnicodeEncodeError, binascii.Error, ValueError):
        raise Refused("the bundle has bytes that are not base64url") from None
    if base64.urlsafe_b64encode(data).rstrip(b"=").decode() != text:
        raise Refused("the bundle has bytes that are not base64url")
    return data


def _hash(value: Any) -> bytes:
    if not _HASH.fullmatch(_text(value)):
        raise Refused("the bundle has a hash that is not 64 hexadecimal digits")
    return bytes.fromhex(value)


def _array_of(read: Callable[[Any], T]) -> Callable[[Any], tuple[T, ...]]:
    def read_all(value: Any) -> tuple[T, ...]:
        if not isinstance(value, list):
            raise Refused("the bundle has something else where an array belongs")
        return tuple(read(item) for item in value)

    return read_all


_path = _array_of(_hash)


def _handover(value: Any) -> Handover:
    fields = _Object(value, "handover")
    handover = Handover(
        fields.take("checkpoint", _text),
        fields.take("members", _bytes),
        fields.take("proof", state_proof),
    )
    fields.end()
    return handover


def state_proof(value: Any) -> StateProof:
    """A state proof from its JSON."""
    fields = _Object(value, "state proof")
    proof = StateProof(
        fields.take("depth", _integer),
        fields.take("mask", _bytes),
        fields.take("siblings", _bytes),
        fields.optional("leaf", _state_leaf),
    )
    fields.end()
    return proof


def _state_leaf(value: Any) -> tuple[bytes, bytes]:
    fields = _Object(value, "leaf")
    leaf = fields.take("path", _hash), fields.take("value", _hash)
    fields.end()
    return leaf


def _entry_proof(value: Any) -> EntryProof:
    fields = _Object(value, "entry proof")
    proof = EntryProof(
        fields.take("entry", _bytes), fields.take("index", _integer), fields.take("path", _path)
    )
    fields.end()
    return proof


def _state_keys(value: Any) -> StateKeys:
    fields = _Object(value, "state keys")
    keys = StateKeys(fields.take("keys", _bytes), fields.take("proof", state_proof))
    fields.end()
    return keys


def _one_of(value: Any, what: str, readers: dict[str, Callable[[Any], T]]) -> T:
    """An object with exactly one field, whose name says how to read it."""
    if not isinstance(value, dict) or len(value) != 1:
        raise Refused(f"{what} does not say exactly one thing")
    [(name, content)] = value.items()
    if name not in readers:
        raise Refused(f"{what} is of an unknown kind")
    return readers[name](content)


def _key_proof(value: Any) -> KeyProof:
    if value == "listed":
        return Listed()
    readers: dict[str, Callable[[Any], KeyProof]] = {"entry": _entry_proof, "state": _state_keys}
    return _one_of(value, "key proof", readers)


def _claim(value: Any) -> Claim:
    readers: dict[str, Callable[[Any], Claim]] = {
        "record": _record_claim,
        "entry": _entry_claim,
        "state": _state_claim,
    }
    return _one_of(value, "claim", readers)


def _record_claim(value: Any) -> RecordClaim:
    fields = _Object(value, "record claim")
    claim = RecordClaim(
        fields.take("anchor", _bytes),
        fields.take("position", _integer),
        fields.take("path", _path),
        fields.take("manifest", _bytes),
        fields.take("signer", _key_proof),
        fields.take("entry", _entry_proof),
    )
    fields.end()
    return claim


def _entry_claim(value: Any) -> EntryClaim:
    fields = _Object(value, "entry claim")
    claim = EntryClaim(fields.take("entry", _entry_proof), fields.optional("signer", _key_proof))
    fields.end()
    return claim


def _state_claim(value: Any) -> StateClaim:
    fields = _Object(value, "state claim")
    claim = StateClaim(
        fields.take("key", _bytes),
        fields.optional("value", _bytes),
        fields.take("proof", state_proof),
    )
    fields.end()
    return claim
