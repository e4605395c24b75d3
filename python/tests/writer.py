"""Writes small proof bundles for the tests, from `docs/formats.md`; the inverse of the readers."""

import base64
import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey

from salus_verify.merkle import leaf_hash, node_hash, state_leaf_hash, state_node_hash
from salus_verify.signatures import label

CONSORTIUM = b"\x77" * 16
STAFF = b"\x55" * 16
ALIAS = b"\x33" * 16
BATCH = b"\x44" * 16


class Tagged:
    """A tagged value to encode."""

    def __init__(self, number: int, value: object) -> None:
        """`number` below 2^32."""
        self.number, self.value = number, value


def _head(major: int, n: int) -> bytes:
    if n < 24:
        return bytes([major << 5 | n])
    size = next(size for size in (1, 2, 4, 8) if n < 1 << 8 * size)
    return bytes([major << 5 | 23 + size.bit_length()]) + n.to_bytes(size, "big")


def cbor(value: object) -> bytes:
    """Deterministic CBOR."""
    match value:
        case None:
            return b"\xf6"
        case int() if value >= 0:
            return _head(0, value)
        case int():
            return _head(1, -1 - value)
        case bytes():
            return _head(2, len(value)) + value
        case str():
            return _head(3, len(value.encode())) + value.encode()
        case list():
            return _head(4, len(value)) + b"".join(map(cbor, value))
        case dict():
            pairs = sorted((cbor(key), cbor(item)) for key, item in value.items())
            return _head(5, len(pairs)) + b"".join(key + item for key, item in pairs)
        case Tagged():
            return _head(6, value.number) + cbor(value.value)
    raise TypeError(type(value))


def b64url(data: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


class Signer:
    """A principal's signing keys, from a number."""

    def __init__(self, number: int) -> None:
        """`number` below 256 is the seed of both keys."""
        self.ed = Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)
        self.ml = MLDSA65PrivateKey.from_seed_bytes(bytes([number ^ 0x80]) * 32)
        self.ed_public = self.ed.public_key().public_bytes_raw()
        self.ml_public = self.ml.public_key().public_bytes_raw()

    @property
    def public(self) -> dict[int, bytes]:
        """The public keys as CBOR fields; the sealing key is never used here."""
        return {0: self.ed_public, 1: self.ml_public, 2: bytes(1216)}


def member(number: int, signer: Signer | None = None) -> dict[int, object]:
    """A member organisation."""
    return {
        0: bytes([number]) * 16,
        1: f"Hospital {number}",
        2: [0],
        3: (signer or Signer(number)).public,
        4: bytes(32),
        5: "h:1",
        6: "https://h",
    }


def genesis(members: Sequence[int], founders: Sequence[tuple[bytes, Signer]] = ()) -> bytes:
    """A genesis file."""
    listed = [{0: who, 1: 3, 2: b"\x01" * 16, 3: signer.public} for who, signer in founders]
    return cbor({0: 1, 1: CONSORTIUM, 2: "t", 3: 7, 4: [member(n) for n in members], 5: listed})


def member_list(version: int, members: Sequence[int]) -> bytes:
    """An encoded member list."""
    return cbor({0: version, 1: [member(n) for n in members]})


def entry(
    index: int,
    principal: bytes,
    signer: Signer,
    action: list[Any],
    outcome: list[Any] | None = None,
) -> bytes:
    """An encoded entry, its command signed."""
    command = cbor({0: CONSORTIUM, 1: principal, 2: index + 1, 3: 9, 4: action})
    signed = cbor({0: command, 1: signer.ed.sign(label("command") + command)})
    return cbor({0: index, 1: 1, 2: 8, 3: signed, 4: outcome or [0, []]})


def _split(n: int) -> int:
    return 1 << ((n - 1).bit_length() - 1)


def log_root(leaves: Sequence[bytes]) -> bytes:
    """RFC 9162 root over leaf contents."""
    if len(leaves) == 1:
        return leaf_hash(leaves[0])
    k = _split(len(leaves))
    return node_hash(log_root(leaves[:k]), log_root(leaves[k:]))


def log_path(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """RFC 9162 inclusion path."""
    if len(leaves) == 1:
        return []
    k = _split(len(leaves))
    if index < k:
        return [*log_path(index, leaves[:k]), log_root(leaves[k:])]
    return [*log_path(index - k, leaves[k:]), log_root(leaves[:k])]


def _state(items: Sequence[tuple[bytes, bytes]], depth: int) -> bytes:
    """Hash of the subtree of (path, value digest) pairs."""
    if not items:
        return bytes(32)
    if len(items) == 1:
        return state_leaf_hash(*items[0])
    sides = [[i for i in items if _bit(i[0], depth) == side] for side in (0, 1)]
    return state_node_hash(_state(sides[0], depth + 1), _state(sides[1], depth + 1))


def _bit(data: bytes, index: int) -> int:
    return data[index // 8] >> (7 - index % 8) & 1


def state_root(state: Mapping[bytes, bytes]) -> bytes:
    """The root of a state."""
    return _state([(sha256(k).digest(), sha256(v).digest()) for k, v in state.items()], 0)


def state_proof(state: Mapping[bytes, bytes], key: bytes) -> dict[str, Any]:
    """The JSON of a state proof."""
    path = sha256(key).digest()
    items = [(sha256(k).digest(), sha256(v).digest()) for k, v in state.items()]
    siblings: list[bytes] = []
    while len(items) > 1:
        depth = len(siblings)
        side = _bit(path, depth)
        siblings.append(_state([i for i in items if _bit(i[0], depth) != side], depth + 1))
        items = [i for i in items if _bit(i[0], depth) == side]
    mask = bytearray((len(siblings) + 7) // 8)
    for depth, sibling in enumerate(siblings):
        if sibling != bytes(32):
            mask[depth // 8] |= 0x80 >> depth % 8
    proof: dict[str, Any] = {
        "depth": len(siblings),
        "mask": b64url(bytes(mask)),
        "siblings": b64url(b"".join(s for s in siblings if s != bytes(32))),
    }
    if items:
        proof["leaf"] = {"path": items[0][0].hex(), "value": items[0][1].hex()}
    return proof


def note(
    members: bytes, signers: Sequence[int], size: int, root: bytes, state: bytes, height: int = 1
) -> str:
    """A signed checkpoint note."""
    digest = _b64(sha256(members).digest())
    text = f"salus/t\n{size}\n{_b64(root)}\nheight {height}\ntime 8\nstate {_b64(state)}\n"
    text += f"members {digest}\n"
    lines = []
    for number in signers:
        signer, name = Signer(number), f"salus/{(bytes([number]) * 16).hex()}"
        for typed, signature in (
            (b"\x01" + signer.ed_public, signer.ed.sign(text.encode())),
            (
                b"\xffsalus/ml-dsa-65" + signer.ml_public,
                signer.ml.sign(label("checkpoint") + text.encode()),
            ),
        ):
            key_id = sha256(name.encode() + b"\n" + typed).digest()[:4]
            lines.append(f"\u2014 {name} {_b64(key_id + signature)}\n")
    return text + "\n" + "".join(lines)


def envelope(key_id: bytes, signer: Signer, payload: bytes, aad: bytes) -> bytes:
    """A COSE_Sign with both signatures."""
    signers: list[object] = []
    for algorithm, sign in ((-8, signer.ed.sign), (-49, signer.ml.sign)):
        header = cbor({1: algorithm, 4: key_id})
        signers.append([header, {}, sign(cbor(["Signature", b"", header, aad, payload]))])
    return cbor(Tagged(98, [b"", {}, payload, signers]))


class Ledger:
    """A consortium's log and state, and the bundles that prove what is in them.

    Staff member `STAFF`, a founder, anchors a batch of three records in entry 1.
    """

    def __init__(self, members: Sequence[int] = (1,)) -> None:
        """`members` by number; all of them sign."""
        self.numbers = list(members)
        self.staff = Signer(9)
        self.genesis = genesis(self.numbers, [(STAFF, self.staff)])
        self.members = member_list(0, self.numbers)
        self.anchors = [
            cbor({0: bytes([i]) * 16, 1: 1, 2: 2, 3: 0, 4: 1, 5: bytes([i]) * 32, 6: 100})
            for i in range(3)
        ]
        self.manifest = self.manifest_by(STAFF, self.staff)
        self.entries = [
            entry(0, b"\x01" * 16, Signer(1), [6, {0: ALIAS}]),
            entry(1, STAFF, self.staff, self.anchoring(self.manifest)),
            entry(2, b"\x01" * 16, Signer(1), [15, {0: 0, 1: bytes(32)}], [1, [6]]),
        ]
        self.state = {
            b"members": self.members,
            b"a": b"b",
            b"keys/" + STAFF: cbor(self.staff.public),
        }

    def manifest_by(self, principal: bytes, signer: Signer) -> bytes:
        """The signed manifest of the batch."""
        fields = {0: BATCH, 1: ALIAS, 2: b"\x01" * 16, 3: principal, 4: 6}
        payload = cbor(fields | {5: log_root(self.anchors), 6: len(self.anchors)})
        return envelope(principal, signer, payload, label("manifest"))

    def anchoring(self, manifest: bytes) -> list[Any]:
        """The action that anchors the batch."""
        digest = sha256(manifest).digest()
        return [8, {0: BATCH, 1: ALIAS, 2: digest, 3: log_root(self.anchors), 4: 3}]

    @property
    def digest(self) -> bytes:
        """What a verifier pins."""
        return sha256(self.genesis).digest()

    def note(self) -> str:
        """The newest checkpoint, signed by all."""
        root, state = log_root(self.entries), state_root(self.state)
        return note(self.members, self.numbers, len(self.entries), root, state)

    def entry_proof(self, index: int) -> dict[str, Any]:
        """The JSON of an entry proof."""
        path = [h.hex() for h in log_path(index, self.entries)]
        return {"entry": b64url(self.entries[index]), "index": index, "path": path}

    def bundle(self, claim: dict[str, Any], **changes: Any) -> bytes:
        """A bundle's JSON, without white space."""
        document = {
            "version": 1,
            "genesis": b64url(self.genesis),
            "handovers": [],
            "checkpoint": self.note(),
            "claim": claim,
        }
        return to_json(document | changes)

    def record(self, position: int = 1, signer: Any = "listed", index: int = 1) -> dict[str, Any]:
        """The claim that a record was anchored."""
        path = [h.hex() for h in log_path(position, self.anchors)]
        return {
            "record": {
                "anchor": b64url(self.anchors[position]),
                "position": position,
                "path": path,
                "manifest": b64url(self.manifest),
                "signer": signer,
                "entry": self.entry_proof(index),
            }
        }

    def entry(self, index: int, signer: Any = None) -> dict[str, Any]:
        """The claim that an entry stands in the log."""
        claim = {"entry": self.entry_proof(index)}
        return {"entry": claim if signer is None else claim | {"signer": signer}}

    def value(self, key: bytes) -> dict[str, Any]:
        """The claim that the state has what it has under a key."""
        claim: dict[str, Any] = {"key": b64url(key), "proof": state_proof(self.state, key)}
        return {"state": claim | ({"value": b64url(v)} if (v := self.state.get(key)) else {})}


def to_json(document: object) -> bytes:
    """JSON without white space, characters as they are."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
