"""The tamper matrix: a flipped bit is found, or changes nothing of what is proven.

Bundles of a consortium with one member are small enough to flip every byte of their JSON and every
bit of their short fields; larger ones are sampled.
"""

import base64
import json
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import writer
from vectors import altered, load
from writer import STAFF, Ledger, b64url

from salus_verify import verify
from salus_verify.bundle import Bundle, StateClaim

SEED = 20261122
IN_STATE = "record, keys in the state"


def bundles() -> dict[str, tuple[bytes, bytes]]:
    """Name, JSON and pinned digest of small bundles, one of each claim."""
    ledger = Ledger()
    state = {
        "keys": b64url(ledger.state[b"keys/" + STAFF]),
        "proof": writer.state_proof(ledger.state, b"keys/" + STAFF),
    }
    claims = {
        "record": ledger.record(),
        IN_STATE: ledger.record(signer={"state": state}),
        "entry": ledger.entry(0, "listed"),
        "unsigned": ledger.entry(2),
        "present": ledger.value(b"a"),
        "absent": ledger.value(b"none"),
    }
    return {name: (ledger.bundle(claim), ledger.digest) for name, claim in claims.items()}


BUNDLES = bundles()
# Genesis file and checkpoint are the same in all of them; their bytes are flipped in this one.
WHOLE = "present"


def shared(good: bytes) -> int:
    """Where the part ends that all bundles have in common."""
    return good.index(b',"claim":')


def still_true(good: bytes, bad: bytes) -> bool:
    """Whether an accepted bundle says the same, or that another absent key is absent."""
    one, other = Bundle.from_json(good), Bundle.from_json(bad)
    match other.claim:
        case StateClaim(key=key, value=None) if key not in Ledger().state:
            return replace(other, claim=replace(other.claim, key=b"none")) == one
        case _:
            return one == other


@pytest.mark.parametrize("name", [name for name in BUNDLES if name != IN_STATE])
def test_every_byte_of_the_json(name: str) -> None:
    good, pinned = BUNDLES[name]
    assert verify(good, pinned).verified
    dice = random.Random(SEED)  # noqa: S311 - seeded, so that a failure replays
    for at in range(0 if name == WHOLE else shared(good), len(good)):
        bad = bytearray(good)
        bad[at] ^= 1 << dice.randrange(8)
        if verify(bytes(bad), pinned).verified:
            assert still_true(good, bytes(bad)), f"byte {at} to {bad[at]:#x}"


def leaves(value: Any, pointer: str = "") -> Iterator[tuple[str, Any]]:
    """All strings and numbers with their JSON pointers."""
    items: Any = ()
    match value:
        case dict():
            items = value.items()
        case list():
            items = enumerate(value)
        case _:
            yield pointer, value
    for key, item in items:
        yield from leaves(item, f"{pointer}/{key}")


def flips(pointer: str, value: Any) -> Iterator[Any]:
    """The value with bits of its binary content flipped: every bit where it is short."""
    if isinstance(value, int):
        yield from (value ^ 1 << bit for bit in range(63))
        return
    parent, name = pointer.split("/")[-2:]
    if parent in ("path", "leaf"):
        for flipped in flipped_bytes(bytes.fromhex(value)):
            yield flipped.hex()
    elif name not in ("checkpoint", "signer"):
        for flipped in flipped_bytes(base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))):
            yield b64url(flipped)


def flipped_bytes(data: bytes) -> Iterator[bytes]:
    # The long fields are keys and signatures, whose bytes the test above flips.
    for at in range(0, len(data), 1 if len(data) <= 400 else 7):
        for bit in range(8) if len(data) <= 100 else [at % 8]:
            flipped = bytearray(data)
            flipped[at] ^= 1 << bit
            yield bytes(flipped)


@pytest.mark.parametrize("name", BUNDLES)
def test_bits_of_the_decoded_fields(name: str) -> None:
    good, pinned = BUNDLES[name]
    document = json.loads(good)
    count = 0
    for pointer, value in leaves(document):
        part = "/claim/record/signer" if name == IN_STATE else "" if name == WHOLE else "/claim"
        if pointer.startswith(part):
            for other in flips(pointer, value):
                bad = writer.to_json(altered(document, pointer, other))
                report = verify(bad, pinned)
                assert not report.verified or still_true(good, bad), pointer
                count += 1
    assert count > 300


@pytest.mark.parametrize("name", load("ledger/bundle.json")["bundles"])
def test_samples_of_the_golden_bundles(name: str) -> None:
    vectors = load("ledger/bundle.json")
    good = writer.to_json(vectors["bundles"][name])
    pinned = bytes.fromhex(vectors["genesis_digest"])
    proven = verify(good, pinned).proven
    dice = random.Random(SEED)  # noqa: S311 - seeded, so that a failure replays
    for _ in range(150):
        bad = bytearray(good)
        bad[at := dice.randrange(len(bad))] ^= 1 << dice.randrange(8)
        report = verify(bytes(bad), pinned)
        # A surplus member's signature may become a stranger's, which proves nothing less.
        assert not report.verified or report.proven == proven, f"byte {at} to {bad[at]:#x}"


@pytest.mark.parametrize("name", ["record", "absent"])
def test_a_cut_bundle_is_none(name: str) -> None:
    good, pinned = BUNDLES[name]
    for end in range(0, len(good), 23):
        assert verify(good[:end], pinned).failed == "bundle"
