"""What stands on the ledger: genesis file, member list, entries, commands, manifests, anchors."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from salus_verify import cbor
from salus_verify.cbor import Fields, Value
from salus_verify.errors import Refused
from salus_verify.signatures import PublicKeys

GENESIS_LIMIT = 1 << 20
MEMBER_LIST_LIMIT = 204_800
COMMAND_LIMIT = 62 << 10
ENTRY_LIMIT = COMMAND_LIMIT + 1024
MANIFEST_LIMIT = 16 << 10
MEMBERS_LIMIT = 50
NODE_ROLES = 4
ROLES = 7
RECORD_KINDS = 18
KEY_CLASSES = 3

_id = cbor.byte_string_of(16)
_digest = cbor.byte_string_of(32)
_signature = cbor.byte_string_of(64)


@dataclass(frozen=True)
class Member:
    """A member organisation."""

    organisation: bytes
    name: str
    keys: PublicKeys
    engine_key: bytes

    @classmethod
    def read(cls, value: Value) -> "Member":
        """From decoded CBOR."""
        fields = Fields(value, "member")
        organisation = fields.take(0, _id)
        name = fields.take(1, cbor.text)
        fields.take(2, cbor.array_of(cbor.index_below(NODE_ROLES)))
        keys = fields.take(3, PublicKeys.read)
        engine_key = fields.take(4, _digest)
        fields.take(5, cbor.text)
        fields.take(6, cbor.text)
        fields.end()
        return cls(organisation, name, keys, engine_key)


@dataclass(frozen=True)
class MemberList:
    """The members who sign, of one version."""

    version: int
    members: tuple[Member, ...]
    encoded: bytes

    @classmethod
    def decode(cls, data: bytes) -> "MemberList":
        """Refuses lists that break a rule of `docs/formats.md`, Member list."""
        fields = Fields(cbor.decode(data, MEMBER_LIST_LIMIT), "member list")
        version = fields.take(0, cbor.unsigned)
        members = fields.take(1, cbor.array_of(Member.read))
        fields.end()
        _check_members(members)
        return cls(version, tuple(members), data)

    @property
    def quorum(self) -> int:
        """How many of the members certify a checkpoint."""
        return len(self.members) - (len(self.members) - 1) // 3

    def keys_of(self, organisation: bytes) -> PublicKeys | None:
        """The keys of that member."""
        return next((m.keys for m in self.members if m.organisation == organisation), None)


def _check_members(members: list[Member]) -> None:
    if not 1 <= len(members) <= MEMBERS_LIMIT:
        raise Refused("the number of members is out of range")
    ids = [m.organisation for m in members]
    if any(a >= b for a, b in pairwise(ids)):
        raise Refused("the members do not ascend")
    for member in members:
        member.keys.check_lengths()
    for keys in ([m.keys.ed25519 for m in members], [m.keys.ml_dsa_65 for m in members]):
        if len(set(keys)) != len(keys):
            raise Refused("two members have the same key")


@dataclass(frozen=True)
class Genesis:
    """The genesis file."""

    consortium: bytes
    name: str
    founders: tuple[tuple[bytes, PublicKeys], ...]
    members: MemberList

    @classmethod
    def decode(cls, data: bytes) -> "Genesis":
        """Refuses whatever is not a genesis file of version 1."""
        value = cbor.decode(data, GENESIS_LIMIT)
        fields = Fields(value, "genesis file")
        if fields.take(0, cbor.u32) != 1:
            raise Refused("the genesis file has an unknown version")
        consortium = fields.take(1, _id)
        name = fields.take(2, cbor.text)
        fields.take(3, cbor.unsigned)
        members = fields.take(4, cbor.array_of(Member.read))
        founders = fields.take(5, cbor.array_of(_founder))
        fields.end()
        _check_members(members)
        # Field 4 has the bytes of field 1 of the member list of version 0.
        encoded = b"\xa2\x00\x00\x01" + cbor.field_bytes(data, 4)
        return cls(consortium, name, tuple(founders), MemberList(0, tuple(members), encoded))

    @property
    def origin(self) -> str:
        """The first line of this consortium's checkpoints."""
        return f"salus/{self.name}"


def _founder(value: Value) -> tuple[bytes, PublicKeys]:
    fields = Fields(value, "founder")
    principal = fields.take(0, _id)
    fields.take(1, cbor.index_below(ROLES))
    fields.take(2, _id)
    keys = fields.take(3, PublicKeys.read)
    fields.end()
    return principal, keys


Read = Callable[[Value], object]


def _change(value: Value) -> object:
    """A change of membership: join, leave, replace, revoke."""
    number, content = cbor.variant(value)
    if number > 3 or not isinstance(content, list) or len(content) != 1:
        raise Refused("an unknown change of membership")
    return (Member.read if number in (0, 2) else _id)(content[0])


_purpose, _decision, _reason = cbor.index_below(5), cbor.index_below(2), cbor.index_below(10)
_class, _basis, _incident = cbor.index_below(KEY_CLASSES), cbor.index_below(2), cbor.index_below(4)
_ids = cbor.array_of(_id)


def _nested(value: Value) -> object:
    """A map of its own."""
    if not isinstance(value, dict):
        raise Refused("a record of a federated job is not a map")
    return value


REGISTER, ROTATE_KEYS, ANCHOR_BATCH = 2, 4, 8
# Name, required fields and optional fields of each kind of action (`docs/formats.md`, Commands).
ACTIONS: tuple[tuple[str, dict[int, Read], dict[int, Read]], ...] = (
    ("ProposeMembership", {0: _id, 1: _change}, {}),
    ("ApproveMembership", {0: _id}, {}),
    ("Register", {0: cbor.index_below(ROLES), 1: _id, 2: PublicKeys.read, 3: _digest}, {}),
    ("DecidePrincipal", {0: _id, 1: _decision, 2: _reason}, {}),
    ("RotateKeys", {0: PublicKeys.read, 1: _signature}, {}),
    ("RevokePrincipal", {0: _id, 1: _reason}, {}),
    ("OpenPatient", {0: _id}, {}),
    ("LinkPatient", {0: _id, 1: _id}, {}),
    ("AnchorBatch", {0: _id, 1: _id, 2: _digest, 3: _digest, 4: cbor.u32}, {5: _id}),
    (
        "RequestAccess",
        {0: _id, 1: _id, 2: cbor.array_of(_class), 3: _purpose, 4: cbor.unsigned},
        {},
    ),
    ("DecideAccess", {0: _id, 1: _decision, 2: _reason, 3: _basis}, {}),
    ("RevokeAccess", {0: _id, 1: _reason}, {}),
    (
        "OpenConsultation",
        {0: _id, 1: _id, 2: _id, 3: _id, 4: _ids, 5: _id, 6: cbor.unsigned},
        {},
    ),
    ("AnswerConsultation", {0: _id, 1: _id, 2: cbor.u32}, {}),
    ("ReadRecords", {0: _id, 2: _ids, 3: _purpose}, {1: _id}),
    ("ReportIncident", {0: _incident, 1: _digest}, {}),
    # Records of federated jobs stand in no proof bundle: what is within them is not looked into.
    ("OfferData", {0: _nested}, {}),
    ("ProposeJob", {0: _nested}, {}),
    ("DecideJob", {0: _id, 1: _digest, 2: _decision}, {}),
    ("OpenRound", {0: _nested}, {}),
    ("SendUpdate", {0: _nested}, {}),
    ("CloseRound", {0: _nested}, {}),
    ("PublishRound", {0: _nested}, {}),
    ("UseModel", {0: _id, 1: _digest, 2: _id, 4: _id}, {3: _id}),
)
REFUSALS = 16


@dataclass(frozen=True)
class Action:
    """What a command asks for."""

    kind: int
    fields: dict[int, object]

    @property
    def name(self) -> str:
        """The name of its kind."""
        return ACTIONS[self.kind][0]

    @classmethod
    def read(cls, value: Value) -> "Action":
        """From decoded CBOR; unknown kinds are refused."""
        kind, content = cbor.variant(value)
        if kind >= len(ACTIONS):
            raise Refused("an unknown kind of action")
        name, required, optional = ACTIONS[kind]
        fields = Fields(content, name)
        found: dict[int, object] = {key: fields.take(key, read) for key, read in required.items()}
        for key, read in optional.items():
            if (item := fields.optional(key, read)) is not None:
                found[key] = item
        fields.end()
        return cls(kind, found)


@dataclass(frozen=True)
class Command:
    """A command and the signature that came with it."""

    consortium: bytes
    principal: bytes
    action: Action
    signed: bytes
    signature: bytes

    @classmethod
    def decode(cls, data: bytes) -> "Command":
        """From an encoded signed command; the signature is not checked here."""
        outer = Fields(cbor.decode(data, COMMAND_LIMIT), "signed command")
        signed = outer.take(0, cbor.byte_string)
        signature = outer.take(1, _signature)
        outer.end()
        fields = Fields(cbor.decode(signed, COMMAND_LIMIT), "command")
        consortium = fields.take(0, _id)
        principal = fields.take(1, _id)
        fields.take(2, cbor.unsigned)
        fields.take(3, cbor.unsigned)
        action = fields.take(4, Action.read)
        fields.end()
        return cls(consortium, principal, action, signed, signature)


@dataclass(frozen=True)
class Entry:
    """One entry of the log."""

    index: int
    height: int
    time: int
    accepted: bool
    command: Command

    @classmethod
    def decode(cls, data: bytes) -> "Entry":
        """From an encoded entry, its command included."""
        fields = Fields(cbor.decode(data, ENTRY_LIMIT), "entry")
        index = fields.take(0, cbor.unsigned)
        height = fields.take(1, cbor.unsigned)
        time = fields.take(2, cbor.unsigned)
        signed_command = fields.take(3, cbor.byte_string)
        accepted = fields.take(4, _outcome)
        fields.end()
        return cls(index, height, time, accepted, Command.decode(signed_command))


def _outcome(value: Value) -> bool:
    """Whether the command was accepted."""
    match cbor.variant(value):
        case (0, []):
            return True
        case (1, [int() as code]) if 0 <= code < REFUSALS:
            return False
        case _:
            raise Refused("an unknown outcome")


@dataclass(frozen=True)
class Manifest:
    """What the signer of a batch vouches for."""

    batch: bytes
    alias: bytes
    organisation: bytes
    signer: bytes
    created: int
    anchors_root: bytes
    count: int

    @classmethod
    def decode(cls, data: bytes) -> "Manifest":
        """From the payload of the manifest's envelope."""
        fields = Fields(cbor.decode(data, MANIFEST_LIMIT), "manifest")
        manifest = cls(
            fields.take(0, _id),
            fields.take(1, _id),
            fields.take(2, _id),
            fields.take(3, _id),
            fields.take(4, cbor.unsigned),
            fields.take(5, _digest),
            fields.take(6, cbor.u32),
        )
        fields.end()
        return manifest


@dataclass(frozen=True)
class Anchor:
    """What the world may know of one sealed record."""

    record: bytes
    version: int
    key_class: int
    epoch: int
    kind: int
    ciphertext: bytes
    length: int
    statement: bytes | None

    @classmethod
    def decode(cls, data: bytes) -> "Anchor":
        """From an encoded anchor."""
        fields = Fields(cbor.decode(data, MANIFEST_LIMIT), "anchor")
        anchor = cls(
            fields.take(0, _id),
            fields.take(1, cbor.u32),
            fields.take(2, _class),
            fields.take(3, cbor.u32),
            fields.take(4, cbor.index_below(RECORD_KINDS)),
            fields.take(5, _digest),
            fields.take(6, cbor.unsigned),
            fields.optional(7, _digest),
        )
        fields.end()
        return anchor
