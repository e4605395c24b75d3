"""Public keys, signatures with labels, and COSE_Sign envelopes with two signers."""

from dataclasses import dataclass
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PublicKey

from salus_verify import cbor
from salus_verify.errors import Refused

ED25519_LENGTH = 32
ML_DSA_65_LENGTH = 1952
ML_KEM_768_LENGTH = 1184
X_WING_LENGTH = 1216
KEY_ID_LIMIT = 64
PAYLOAD_LIMIT = 16 << 20
# Two signatures, headers, and a payload of the largest size.
ENVELOPE_LIMIT = PAYLOAD_LIMIT + (16 << 10)

COSE_SIGN = 98
ALG_EDDSA = -8
ALG_ML_DSA_65 = -49


def label(name: str) -> bytes:
    """The label of that name."""
    return b"salus/v1/" + name.encode() + b"\x00"


def verify_ed25519(key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the signature of exactly these bytes verifies, and the key is one to accept."""
    try:
        _check_ed25519(key)
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError, Refused):
        return False
    return True


def verify_ml_dsa_65(key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the signature of exactly these bytes verifies (empty context string)."""
    try:
        MLDSA65PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


@dataclass(frozen=True)
class PublicKeys:
    """The public keys of a principal."""

    ed25519: bytes
    ml_dsa_65: bytes
    x_wing: bytes

    @classmethod
    def read(cls, value: cbor.Value) -> "PublicKeys":
        """From decoded CBOR, as they stand in an entry: it may have been refused for bad keys."""
        fields = cbor.Fields(value, "public keys")
        keys = cls(
            fields.take(0, cbor.byte_string_of(ED25519_LENGTH)),
            fields.take(1, cbor.byte_string),
            fields.take(2, cbor.byte_string),
        )
        fields.end()
        return keys

    def check_lengths(self) -> None:
        """Refuses keys that do not have their algorithms' lengths."""
        if len(self.ml_dsa_65) != ML_DSA_65_LENGTH or len(self.x_wing) != X_WING_LENGTH:
            raise Refused("a public key has the wrong length")

    def check(self) -> None:
        """Refuses keys that nobody may accept (`docs/formats.md`, Keys)."""
        self.check_lengths()
        _check_ed25519(self.ed25519)
        _check_ml_kem_768(self.x_wing[:ML_KEM_768_LENGTH])


def _check_ml_kem_768(key: bytes) -> None:
    """FIPS 203, section 7.2: each 12-bit coefficient of the encoded vector lies below q."""
    for i in range(0, 1152, 3):
        word = int.from_bytes(key[i : i + 3], "little")
        if word & 0xFFF >= 3329 or word >> 12 >= 3329:
            raise Refused("an X-Wing key fails the modulus check")


# edwards25519 (RFC 8032, section 5.1): just enough to tell a key of small order.
_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P


@lru_cache(maxsize=256)
def _check_ed25519(key: bytes) -> None:
    """Refuses what is not the canonical encoding of a point, and points of small order."""
    encoded = int.from_bytes(key, "little")
    y, sign = encoded & (1 << 255) - 1, encoded >> 255
    if len(key) != ED25519_LENGTH or y >= _P:
        raise Refused("an Ed25519 key is not in canonical encoding")
    # x^2 = (y^2 - 1) / (d y^2 + 1), its root as in RFC 8032, section 5.1.3.
    u, v = (y * y - 1) % _P, (_D * y * y + 1) % _P
    x = u * pow(v, 3, _P) * pow(u * pow(v, 7, _P), (_P - 5) // 8, _P) % _P
    if v * x * x % _P == -u % _P:
        x = x * pow(2, (_P - 1) // 4, _P) % _P
    if v * x * x % _P != u or (x == 0 and sign):
        raise Refused("an Ed25519 key is no point of the curve")
    if x & 1 != sign:
        x = _P - x
    # Three doublings multiply by the cofactor 8; projective, so without inversions.
    px, py, pz = x, y, 1
    for _ in range(3):
        b, c, d = (px + py) ** 2 % _P, px * px % _P, py * py % _P
        f = (d - c) % _P
        j = (f - 2 * pz * pz) % _P
        px, py, pz = (b - c - d) * j % _P, f * (-c - d) % _P, f * j % _P
    if px == 0 and py == pz:
        raise Refused("an Ed25519 key has small order")


@dataclass(frozen=True)
class Envelope:
    """A COSE_Sign with an Ed25519 and an ML-DSA-65 signer (`docs/formats.md`, Signatures)."""

    key_id: bytes
    payload: bytes | None
    ed25519_header: bytes
    ed25519: bytes
    ml_dsa_65_header: bytes
    ml_dsa_65: bytes

    @classmethod
    def decode(cls, data: bytes) -> "Envelope":
        """Refuses every other shape, header, order or encoding."""
        tag = cbor.decode(data, ENVELOPE_LIMIT)
        if not isinstance(tag, cbor.Tag) or tag.number != COSE_SIGN:
            raise Refused("the envelope is no tagged COSE_Sign")
        match tag.value:
            case [b"", dict() as unprotected, (bytes() | None) as payload, [first, second]]:
                pass
            case _:
                raise Refused("the envelope has another shape")
        if unprotected:
            raise Refused("the envelope has an unprotected header")
        if payload is not None and len(payload) > PAYLOAD_LIMIT:
            raise Refused("the envelope's payload is too long")
        ed_id, ed_header, ed = _signer(first, ALG_EDDSA, 64)
        ml_id, ml_header, ml = _signer(second, ALG_ML_DSA_65, 3309)
        if ed_id != ml_id:
            raise Refused("the envelope's signers differ")
        return cls(ed_id, payload, ed_header, ed, ml_header, ml)

    def verify(self, keys: PublicKeys, aad: bytes, detached: bytes | None = None) -> bytes:
        """The payload, if both signatures verify under the label `aad`."""
        if (self.payload is None) == (detached is None):
            raise Refused("the envelope's payload is missing, or there twice")
        payload = self.payload if self.payload is not None else detached
        assert payload is not None  # noqa: S101 - one of the two is there
        ed = _to_be_signed(self.ed25519_header, aad, payload)
        ml = _to_be_signed(self.ml_dsa_65_header, aad, payload)
        if not verify_ed25519(keys.ed25519, ed, self.ed25519):
            raise Refused("the envelope's Ed25519 signature does not verify")
        if not verify_ml_dsa_65(keys.ml_dsa_65, ml, self.ml_dsa_65):
            raise Refused("the envelope's ML-DSA-65 signature does not verify")
        return payload


def _signer(value: cbor.Value, algorithm: int, length: int) -> tuple[bytes, bytes, bytes]:
    """Key id, protected header and signature."""
    match value:
        case [bytes() as header, dict() as unprotected, bytes() as signature] if not unprotected:
            pass
        case _:
            raise Refused("a signer of the envelope has another shape")
    match cbor.decode(header, len(header)):
        case {1: int() as found, 4: bytes() as key_id, **rest} if not rest and found == algorithm:
            pass
        case _:
            raise Refused("a signer's header is another one")
    if not 1 <= len(key_id) <= KEY_ID_LIMIT or len(signature) != length:
        raise Refused("a signer's key id or signature has the wrong length")
    return key_id, header, signature


def _to_be_signed(header: bytes, aad: bytes, payload: bytes) -> bytes:
    """The Sig_structure of RFC 9052, section 4.4."""
    parts = [b"\x85\x69Signature\x40"]
    for part in (header, aad, payload):
        parts += [_byte_string_head(len(part)), part]
    return b"".join(parts)


def _byte_string_head(length: int) -> bytes:
    if length < 24:
        return bytes([0x40 | length])
    for short, size in ((24, 1), (25, 2), (26, 4)):
        if length < 1 << 8 * size:
            return bytes([0x40 | short]) + length.to_bytes(size, "big")
    raise Refused("a byte string is too long")
