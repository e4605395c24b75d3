"""The checks of a proof bundle, in the order and under the names of `docs/formats.md`."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256

from salus_verify import cbor
from salus_verify.bundle import (
    Bundle,
    EntryClaim,
    EntryProof,
    KeyProof,
    Listed,
    RecordClaim,
    StateClaim,
    StateKeys,
)
from salus_verify.errors import Refused
from salus_verify.ledger import (
    ANCHOR_BATCH,
    GENESIS_LIMIT,
    MANIFEST_LIMIT,
    REGISTER,
    ROTATE_KEYS,
    Anchor,
    Entry,
    Genesis,
    Manifest,
    MemberList,
)
from salus_verify.merkle import StateProof, check_inclusion, leaf_hash
from salus_verify.note import Checkpoint, Note
from salus_verify.signatures import Envelope, PublicKeys, label, verify_ed25519


@dataclass(frozen=True)
class Check:
    """One check and how it ended."""

    name: str
    ok: bool
    reason: str = ""


@dataclass
class Report:
    """All checks up to the first that failed, and what the bundle proves if none did."""

    checks: list[Check] = field(default_factory=list)
    proven: dict[str, str | int | bool] = field(default_factory=dict)

    @property
    def failed(self) -> str | None:
        """The name of the check that failed."""
        return next((check.name for check in self.checks if not check.ok), None)

    @property
    def verified(self) -> bool:
        """Whether every check passed."""
        return bool(self.checks) and self.failed is None


class _CheckError(Exception):
    """Ends the verification; the report says why."""


def verify(data: bytes, genesis_digest: bytes) -> Report:
    """Checks the bundle in `data` against the SHA-256 of the consortium's genesis file.

    Bytes that are no bundle at all fail a check named `bundle`.
    """
    verification = _Verification(genesis_digest)
    try:
        verification.run(data)
    except _CheckError:
        verification.report.proven.clear()
    return verification.report


class _Verification:
    def __init__(self, pinned: bytes) -> None:
        self.pinned = pinned
        self.report = Report()

    @contextmanager
    def check(self, name: str, listed: bool = True) -> Iterator[None]:
        try:
            yield
        except Refused as refused:
            self.report.checks.append(Check(name, False, str(refused)))
            raise _CheckError from None
        if listed:
            self.report.checks.append(Check(name, True))

    def run(self, data: bytes) -> None:
        with self.check("bundle", listed=False):
            bundle = Bundle.from_json(data)
        with self.check("genesis"):
            if sha256(bundle.genesis).digest() != self.pinned:
                raise Refused("the genesis file is not the pinned one")
            self.genesis = Genesis.decode(bundle.genesis)
        self.lists = [self.genesis.members]
        self.height = 0
        for number, handover in enumerate(bundle.handovers, 1):
            with self.check(f"handover {number}"):
                checkpoint = self.certified(handover.checkpoint)
                _expect_value(handover.proof, b"members", handover.members, checkpoint.state_root)
                following = MemberList.decode(handover.members)
                if following.version <= self.lists[-1].version:
                    raise Refused("the list of members is not newer than the one before")
                self.lists.append(following)
        with self.check("checkpoint"):
            self.checkpoint = self.certified(bundle.checkpoint)
        self.prove(
            consortium=self.genesis.name,
            size=self.checkpoint.size,
            height=self.checkpoint.height,
            time=self.checkpoint.time,
        )
        match bundle.claim:
            case StateClaim() as claim:
                self.state(claim)
            case EntryClaim() as claim:
                self.entry_and_signer(claim.entry, claim.signer)
            case RecordClaim() as claim:
                self.record(claim)

    def prove(self, **facts: str | int | bool) -> None:
        self.report.proven.update(facts)

    def certified(self, note: str) -> Checkpoint:
        """The note's checkpoint, certified under the list in force and not older than the last."""
        checkpoint = Note.parse(note).certify(self.genesis.origin, self.lists[-1])
        if checkpoint.height < self.height:
            raise Refused("the checkpoint is older than the handover before it")
        self.height = checkpoint.height
        return checkpoint

    def state(self, claim: StateClaim) -> None:
        with self.check("state"):
            _expect_value(claim.proof, claim.key, claim.value, self.checkpoint.state_root)
        self.prove(claim="state", key=claim.key.hex(), present=claim.value is not None)
        if claim.value is not None:
            self.prove(value=claim.value.hex())

    def included(self, proof: EntryProof) -> Entry:
        """The entry, if it stands in the log and decodes."""
        checkpoint = self.checkpoint
        leaf = leaf_hash(proof.entry)
        check_inclusion(leaf, proof.index, checkpoint.size, proof.path, checkpoint.root)
        entry = Entry.decode(proof.entry)
        if entry.index != proof.index or entry.height > checkpoint.height:
            raise Refused("the entry's index or height is another one")
        if entry.command.consortium != self.genesis.consortium:
            raise Refused("the command was made for another consortium")
        return entry

    def entry_and_signer(
        self, proof: EntryProof, signer: KeyProof | None
    ) -> tuple[Entry, PublicKeys | None]:
        with self.check("entry"):
            entry = self.included(proof)
        self.prove(
            claim="entry",
            index=entry.index,
            entry_time=entry.time,
            principal=entry.command.principal.hex(),
            action=entry.command.action.name,
            accepted=entry.accepted,
            signature_checked=signer is not None,
        )
        if signer is None:
            return entry, None
        with self.check("signer"):
            candidates = self.keys(entry, signer)
        with self.check("command"):
            command = entry.command
            signed = label("command") + command.signed
            for keys in candidates:
                if verify_ed25519(keys.ed25519, signed, command.signature):
                    return entry, keys
            raise Refused("the signature of the command does not verify")

    def keys(self, entry: Entry, proof: KeyProof) -> list[PublicKeys]:
        """The public keys of the entry's principal; several only where lists differ."""
        principal = entry.command.principal
        match proof:
            case Listed():
                found = [keys for founder, keys in self.genesis.founders if founder == principal]
                listed = [members.keys_of(principal) for members in reversed(self.lists)]
                found += [keys for keys in listed if keys is not None]
                if not found:
                    raise Refused("no list of the bundle names the signer")
                return list(dict.fromkeys(found))
            case StateKeys():
                key = b"keys/" + principal
                _expect_value(proof.proof, key, proof.keys, self.checkpoint.state_root)
                return [PublicKeys.read(cbor.decode(proof.keys, GENESIS_LIMIT))]
            case EntryProof():
                return [self.keys_in_entry(entry, self.included(proof))]

    @staticmethod
    def keys_in_entry(entry: Entry, earlier: Entry) -> PublicKeys:
        if not earlier.accepted or earlier.index >= entry.index:
            raise Refused("the entry with the keys was refused or comes later")
        if earlier.command.principal != entry.command.principal:
            raise Refused("the entry with the keys is that of somebody else")
        action = earlier.command.action
        keys = action.fields.get({REGISTER: 2, ROTATE_KEYS: 0}.get(action.kind, -1))
        if not isinstance(keys, PublicKeys):
            raise Refused("the entry with the keys holds none")
        return keys

    def record(self, claim: RecordClaim) -> None:
        entry, keys = self.entry_and_signer(claim.entry, claim.signer)
        with self.check("manifest"):
            manifest = _manifest(claim.manifest, entry, keys)
        with self.check("anchor"):
            leaf = leaf_hash(claim.anchor)
            check_inclusion(leaf, claim.position, manifest.count, claim.path, manifest.anchors_root)
            anchor = Anchor.decode(claim.anchor)
        self.prove(
            claim="record",
            record=anchor.record.hex(),
            record_version=anchor.version,
            alias=manifest.alias.hex(),
            organisation=manifest.organisation.hex(),
            ciphertext=anchor.ciphertext.hex(),
            length=anchor.length,
        )


def _expect_value(proof: StateProof, key: bytes, value: bytes | None, root: bytes) -> None:
    """Refuses unless the state has exactly this value, or none, under the key."""
    expected = None if value is None else sha256(value).digest()
    if proof.value_digest(key, root) != expected:
        raise Refused("the state proof shows something else for this key")


def _manifest(data: bytes, entry: Entry, keys: PublicKeys | None) -> Manifest:
    """The manifest, if the signer's keys verify it and the entry anchors it."""
    command = entry.command
    if not entry.accepted or keys is None:
        raise Refused("the command was refused")
    if len(data) > MANIFEST_LIMIT:
        raise Refused("the manifest is too long")
    envelope = Envelope.decode(data)
    if envelope.key_id != command.principal:
        raise Refused("the manifest is signed by another key id")
    manifest = Manifest.decode(envelope.verify(keys, label("manifest")))
    if manifest.signer != command.principal:
        raise Refused("the manifest names another signer")
    expected = {
        0: manifest.batch,
        1: manifest.alias,
        2: sha256(data).digest(),
        3: manifest.anchors_root,
        4: manifest.count,
    }
    action = command.action
    if action.kind != ANCHOR_BATCH or any(action.fields[k] != v for k, v in expected.items()):
        raise Refused("the command anchors another batch")
    return manifest
