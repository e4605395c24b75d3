"""Whole bundles: the golden ones, and one for each rule that those do not reach."""

import json
from hashlib import sha256
from typing import Any

import pytest
import writer
from vectors import altered, load
from writer import (
    STAFF,
    Ledger,
    Signer,
    b64url,
    cbor,
    log_root,
    state_proof,
    state_root,
    to_json,
)

from salus_verify import verify

VECTORS = load("ledger/bundle.json")
PINNED = bytes.fromhex(VECTORS["genesis_digest"])
CHECKS = {
    "record": ["entry", "signer", "command", "manifest", "anchor"],
    "entry": ["entry", "signer", "command"],
    "founder": ["entry", "signer", "command"],
    "replaced": ["entry", "signer", "command"],
    "unsigned": ["entry"],
    "present": ["state"],
    "absent": ["state"],
}


@pytest.mark.parametrize("name", VECTORS["bundles"])
def test_good_bundles_verify(name: str) -> None:
    report = verify(writer.to_json(VECTORS["bundles"][name]), PINNED)
    assert report.verified, report.checks
    expected = ["genesis", "handover 1", "checkpoint", *CHECKS[name]]
    assert [check.name for check in report.checks] == expected


@pytest.mark.parametrize(
    "vector", VECTORS["malformed"] + VECTORS["unreadable"], ids=lambda v: str(v["why"])
)
def test_altered_bundles_fail_the_named_check(vector: Any) -> None:
    bundle = altered(VECTORS["bundles"][vector["bundle"]], vector["at"], vector["value"])
    report = verify(writer.to_json(bundle), PINNED)
    assert not report.verified
    assert report.failed == vector.get("failed", "bundle")
    assert not report.proven


@pytest.mark.parametrize(
    ("why", "edit"),
    [
        ("a field twice", lambda b: b.replace(b'{"version":1', b'{"version":1,"version":1', 1)),
        ("bytes that follow", lambda b: b + b"{}"),
        ("a byte order mark", lambda b: b"\xef\xbb\xbf" + b),
        ("bytes that are not UTF-8", lambda b: b.replace(b"salus/", b"salus\xff", 1)),
        ("cut short", lambda b: b[:-1]),
        ("nothing", lambda _: b""),
        ("an array", lambda b: b"[" + b + b"]"),
        ("a version with a fraction", lambda b: b.replace(b'"version":1', b'"version":1.0', 1)),
        ("minus zero", lambda b: b.replace(b'"position":1', b'"position":-0', 1)),
        ("a boolean for a number", lambda b: b.replace(b'"version":1', b'"version":true', 1)),
        ("a lone surrogate", lambda b: b.replace(b"salus/t", rb"salus\ud800t", 1)),
        ("null for a signer", lambda b: b.replace(b'"listed"', b"null", 1)),
        ("listed with null", lambda b: b.replace(b'"listed"', b'{"listed":null}', 1)),
        ("an array for the bundle", lambda b: to_json(list(json.loads(b).values()))),
        ("deep nesting", lambda _: b"[" * 1_000_000),
        ("a huge number", lambda b: b.replace(b'"position":1', b'"position":1' + b"0" * 9999, 1)),
    ],
)
def test_what_is_not_strictly_the_json_is_no_bundle(why: str, edit: Any) -> None:
    ledger = Ledger()
    good = ledger.bundle(ledger.record())
    assert verify(good, ledger.digest).verified
    assert edit(good) != good
    assert verify(edit(good), ledger.digest).failed == "bundle"


def failed(ledger: Ledger, claim: dict[str, Any], **changes: Any) -> str | None:
    return verify(ledger.bundle(claim, **changes), ledger.digest).failed


def test_every_kind_of_key_proof_verifies() -> None:
    ledger = Ledger()
    register = [2, {0: 3, 1: b"\x01" * 16, 2: ledger.staff.public, 3: bytes(32)}]
    ledger.entries[0] = writer.entry(0, STAFF, ledger.staff, register)
    state = {
        "keys": b64url(cbor(ledger.staff.public)),
        "proof": state_proof(ledger.state, b"keys/" + STAFF),
    }
    for signer in ("listed", {"entry": ledger.entry_proof(0)}, {"state": state}):
        assert failed(ledger, ledger.record(signer=signer)) is None
        assert failed(ledger, ledger.entry(1, signer)) is None
    assert failed(ledger, ledger.entry(2)) is None
    assert failed(ledger, ledger.value(b"a")) is None
    assert failed(ledger, ledger.value(b"none")) is None
    rotated = Signer(10)
    ledger.entries[0] = writer.entry(0, STAFF, rotated, [4, {0: rotated.public, 1: bytes(64)}])
    signer = {"entry": ledger.entry_proof(0)}
    assert failed(ledger, ledger.record(signer=signer)) == "command"


def test_keys_of_a_refused_entry_are_none() -> None:
    ledger = Ledger()
    register = [2, {0: 3, 1: b"\x01" * 16, 2: ledger.staff.public, 3: bytes(32)}]
    ledger.entries[0] = writer.entry(0, STAFF, ledger.staff, register, [1, [8]])
    assert failed(ledger, ledger.entry(1, {"entry": ledger.entry_proof(0)})) == "signer"


def test_a_refused_batch_proves_no_record() -> None:
    ledger = Ledger()
    action = ledger.anchoring(ledger.manifest)
    ledger.entries[1] = writer.entry(1, STAFF, ledger.staff, action, [1, [6]])
    assert failed(ledger, ledger.record()) == "manifest"
    assert failed(ledger, ledger.entry(1, "listed")) is None


@pytest.mark.parametrize("field", range(5))
def test_the_command_anchors_exactly_the_manifest(field: int) -> None:
    ledger = Ledger()
    action = ledger.anchoring(ledger.manifest)
    value = action[1][field]
    action[1][field] = value + 1 if isinstance(value, int) else bytes(len(value))
    ledger.entries[1] = writer.entry(1, STAFF, ledger.staff, action)
    assert failed(ledger, ledger.record()) == "manifest"


def test_a_manifest_by_somebody_else_is_refused() -> None:
    ledger = Ledger()
    for manifest in (
        ledger.manifest_by(STAFF, Signer(10)),
        ledger.manifest_by(b"\x01" * 16, ledger.staff),
    ):
        ledger.manifest = manifest
        ledger.entries[1] = writer.entry(1, STAFF, ledger.staff, ledger.anchoring(manifest))
        assert failed(ledger, ledger.record()) == "manifest"


def test_an_entry_that_says_another_index_height_or_consortium_is_refused() -> None:
    ledger = Ledger()
    good = ledger.entries[0]
    for bad in (
        good.replace(b"\x00\x00\x01\x01", b"\x00\x05\x01\x01", 1),
        good.replace(b"\x00\x00\x01\x01", b"\x00\x00\x01\x02", 1),
        good.replace(writer.CONSORTIUM, bytes(16), 1),
        good + b"\x00",
        good.replace(b"\x04\x82\x00\x80", b"\x04\x82\x01\x80", 1),
    ):
        assert bad != good
        ledger.entries[0] = bad
        assert failed(ledger, ledger.entry(0)) == "entry"


class Handover:
    """Members 1 to 4 hand over to 1, 2, 3 and 5 at height 1."""

    def __init__(self, old: bytes, following: bytes, signers: list[int], height: int = 1) -> None:
        self.state = {b"members": following, b"a": b"b"}
        root = state_root(self.state)
        self.json = {
            "checkpoint": writer.note(old, signers, 3, bytes(32), root, height),
            "members": b64url(following),
            "proof": state_proof(self.state, b"members"),
        }


def handed_over(
    version: int = 1, height: int = 1, signers: tuple[int, ...] = (1, 2, 5), **changes: Any
) -> str | None:
    ledger = Ledger([1, 2, 3, 4])
    following = changes.get("following", writer.member_list(version, [1, 2, 3, 5]))
    handover = Handover(ledger.members, following, changes.get("old_signers", [1, 2, 4]), height)
    root, state = log_root(ledger.entries), state_root(ledger.state)
    newest = writer.note(following, list(signers), len(ledger.entries), root, state)
    return failed(ledger, ledger.value(b"a"), handovers=[handover.json], checkpoint=newest)


def test_a_handover_verifies() -> None:
    assert handed_over() is None
    assert handed_over(version=7) is None


def test_handovers_that_break_a_rule_are_refused() -> None:
    assert handed_over(version=0) == "handover 1"
    assert handed_over(old_signers=[1, 2]) == "handover 1"
    assert handed_over(old_signers=[1, 2, 5]) == "handover 1"
    assert handed_over(signers=(1, 2, 4)) == "checkpoint"
    assert handed_over(height=2) == "checkpoint"


def test_lists_of_members_that_break_a_rule_are_refused() -> None:
    twice = cbor({0: 1, 1: [writer.member(1), writer.member(2, Signer(1))]})
    short = writer.member(1)
    short[3] = Signer(1).public | {1: bytes(1951)}
    for following in (
        cbor({0: 1, 1: []}),
        writer.member_list(1, [2, 1]),
        writer.member_list(1, [1, 1]),
        twice,
        cbor({0: 1, 1: [short]}),
        cbor({0: 1, 1: [writer.member(1)], 2: 0}),
        cbor({0: 1, 1: [writer.member(1) | {1: "x" * 204_800}]}),
    ):
        assert handed_over(following=following, signers=(1, 2)) == "handover 1"


def test_a_genesis_file_that_breaks_a_rule_is_refused() -> None:
    good = Ledger()
    for bad in (
        good.genesis.replace(b"\xa6\x00\x01", b"\xa6\x00\x02", 1),
        good.genesis + b"\x00",
        writer.genesis([]),
        writer.genesis([2, 1]),
    ):
        ledger = Ledger()
        ledger.genesis = bad
        assert failed(ledger, ledger.value(b"a")) == "genesis"


def test_a_single_member_is_its_own_quorum_and_nobody_elses_notes_count() -> None:
    ledger = Ledger()
    root, state = log_root(ledger.entries), state_root(ledger.state)
    stranger = writer.note(ledger.members, [2], 3, root, state)
    assert failed(ledger, ledger.value(b"a"), checkpoint=stranger) == "checkpoint"
    both = writer.note(ledger.members, [2, 1], 3, root, state)
    assert failed(ledger, ledger.value(b"a"), checkpoint=both) is None
    text, lines = ledger.note().rstrip("\n").rpartition("\n\n")[::2]
    ed, ml = lines.split("\n")
    for half in (ed, ml, f"{ed}\n{ed}"):
        assert failed(ledger, ledger.value(b"a"), checkpoint=f"{text}\n\n{half}\n") == "checkpoint"


def test_the_pinned_digest_decides() -> None:
    ledger = Ledger()
    other = sha256(b"other").digest()
    assert verify(ledger.bundle(ledger.record()), other).failed == "genesis"


def test_hashes_are_read_in_either_case() -> None:
    ledger = Ledger()
    claim = ledger.record()
    claim["record"]["path"] = [h.upper() for h in claim["record"]["path"]]
    assert failed(ledger, claim) is None
    assert json.loads(ledger.bundle(claim))["claim"] == claim


def test_null_does_not_stand_for_an_absent_field() -> None:
    ledger = Ledger()
    claim = ledger.entry(2)
    assert failed(ledger, claim) is None
    claim["entry"]["signer"] = None
    assert failed(ledger, claim) == "bundle"
