"""Checkpoints as C2SP signed notes, and when a list of members certifies one."""

import base64
import binascii
from dataclasses import dataclass
from hashlib import sha256

from salus_verify.cbor import U64
from salus_verify.errors import Refused
from salus_verify.ledger import Member, MemberList
from salus_verify.signatures import label, verify_ed25519, verify_ml_dsa_65

NOTE_LIMIT = 512 << 10
LINES_LIMIT = 200
SIGNATURE_LIMIT = 5120
NAME_LIMIT = 256


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint's text says."""

    origin: str
    size: int
    root: bytes
    height: int
    time: int
    state_root: bytes
    members_digest: bytes

    @classmethod
    def parse(cls, text: str) -> "Checkpoint":
        """Exactly seven lines, each ended by a newline."""
        lines = text.split("\n")
        if len(lines) != 8 or lines[7]:
            raise Refused("the checkpoint does not have seven lines")
        origin, size, root, height, time, state, members = lines[:7]
        if not 1 <= len(origin.encode()) <= NAME_LIMIT:
            raise Refused("the checkpoint's origin is empty or too long")
        return cls(
            origin,
            _decimal(size),
            _hash(root),
            _decimal(_after("height ", height)),
            _decimal(_after("time ", time)),
            _hash(_after("state ", state)),
            _hash(_after("members ", members)),
        )


def _after(keyword: str, line: str) -> str:
    if not line.startswith(keyword):
        raise Refused("a checkpoint's line has another keyword")
    return line.removeprefix(keyword)


def _decimal(digits: str) -> int:
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 20:
        raise Refused("a checkpoint's number is not decimal")
    if digits != str(number := int(digits)) or number > U64:
        raise Refused("a checkpoint's number is out of range or has leading zeros")
    return number


def _base64(text: str) -> bytes:
    """Standard base64 with padding and zero trailing bits."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error, ValueError):
        raise Refused("a note holds text that is not base64") from None
    if base64.b64encode(data).decode() != text:
        raise Refused("a note holds base64 that is not canonical")
    return data


def _hash(text: str) -> bytes:
    if len(data := _base64(text)) != 32:
        raise Refused("a checkpoint's hash does not have 32 bytes")
    return data


@dataclass(frozen=True)
class Note:
    """A signed note: text, and per signature line its key name, key id and signature."""

    text: str
    signatures: tuple[tuple[str, bytes, bytes], ...]

    @classmethod
    def parse(cls, note: str) -> "Note":
        """Refuses what is not exactly a signed note."""
        if len(note.encode()) > NOTE_LIMIT:
            raise Refused("the note is too long")
        if any(c < " " and c != "\n" for c in note):
            raise Refused("the note has control characters")
        text, gap, rest = note.rpartition("\n\n")
        if not gap or not rest.endswith("\n"):
            raise Refused("the note lacks its empty line or its last newline")
        lines = rest[:-1].split("\n")
        if len(lines) > LINES_LIMIT:
            raise Refused("the note has too many signatures")
        return cls(text + "\n", tuple(_signature_line(line) for line in lines))

    def certify(self, origin: str, members: MemberList) -> Checkpoint:
        """The checkpoint, if a quorum of these members certifies it."""
        checkpoint = Checkpoint.parse(self.text)
        if checkpoint.origin != origin:
            raise Refused("the checkpoint is that of another log")
        if checkpoint.members_digest != sha256(members.encoded).digest():
            raise Refused("the checkpoint names another list of members")
        signed = sum([self._signed_by(member) for member in members.members])
        if signed < members.quorum:
            raise Refused(f"{signed} of {members.quorum} needed members signed the checkpoint")
        return checkpoint

    def _signed_by(self, member: Member) -> bool:
        """Whether the member signed with both keys; refused if a line under its keys is wrong."""
        name = f"salus/{member.organisation.hex()}"
        text = self.text.encode()
        ed, ml = member.keys.ed25519, member.keys.ml_dsa_65
        ed_id = _key_id(name, b"\x01" + ed)
        ml_id = _key_id(name, b"\xffsalus/ml-dsa-65" + ml)
        by_ed = by_ml = False
        for line_name, key_id, signature in self.signatures:
            if line_name != name or key_id not in (ed_id, ml_id):
                continue
            if key_id == ed_id:
                valid = by_ed = verify_ed25519(ed, text, signature)
            else:
                valid = by_ml = verify_ml_dsa_65(ml, label("checkpoint") + text, signature)
            if not valid:
                raise Refused("a member's signature of the checkpoint does not verify")
        return by_ed and by_ml


def _key_id(name: str, typed_key: bytes) -> bytes:
    return sha256(name.encode() + b"\n" + typed_key).digest()[:4]


def _signature_line(line: str) -> tuple[str, bytes, bytes]:
    match line.split(" "):
        case ["\u2014", name, text]:
            pass
        case _:
            raise Refused("a signature line has another shape")
    if not 1 <= len(name.encode()) <= NAME_LIMIT or "+" in name or any(map(str.isspace, name)):
        raise Refused("a key name is empty, too long, or has white space or a plus")
    data = _base64(text)
    if not 5 <= len(data) <= SIGNATURE_LIMIT:
        raise Refused("a signature is too short or too long")
    return name, data[:4], data[4:]
