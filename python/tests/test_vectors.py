"""The golden vectors of crypto, log, state, checkpoints and records."""

import base64
import hashlib
import hmac
from typing import Any

import pytest
from vectors import altered, load

from salus_verify import Refused, cbor
from salus_verify.bundle import state_proof
from salus_verify.ledger import Anchor, Manifest, MemberList
from salus_verify.merkle import (
    check_consistency,
    check_inclusion,
    leaf_hash,
    root_of,
)
from salus_verify.note import Note
from salus_verify.signatures import (
    Envelope,
    PublicKeys,
    label,
    verify_ed25519,
    verify_ml_dsa_65,
)


def unhex(text: str) -> bytes:
    return bytes.fromhex(text)


def unbase64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def hkdf(secret: bytes, salt: bytes, info: bytes) -> bytes:
    """RFC 5869, one block of output."""
    key = hmac.digest(salt or bytes(32), secret, "sha256")
    return hmac.digest(key, info + b"\x01", "sha256")


def test_labels() -> None:
    vectors = load("crypto/labels.json")["labels"]
    assert len({v["name"] for v in vectors}) == len(vectors) > 20
    for vector in vectors:
        assert label(vector["name"]) == unhex(vector["bytes"])


def test_digests_commitments_and_derivations() -> None:
    vectors = load("crypto/digest.json")
    for v in vectors["digests"]:
        message = unhex(v["message"])
        assert hashlib.sha256(message).hexdigest() == v["sha256"]
        assert hmac.digest(unhex(v["hmac_key"]), message, "sha256").hex() == v["hmac_sha256"]
        committed = hmac.digest(unhex(v["salt"]), label("commitment") + message, "sha256")
        assert committed.hex() == v["salted_commitment"]
    for v in vectors["derivations"]:
        info = unhex(v["label"]) + unhex(v["context"])
        assert hkdf(unhex(v["secret"]), unhex(v["salt"]), info).hex() == v["key"]


def public_keys() -> list[PublicKeys]:
    encoded = [v["public_keys_cbor"] for v in load("crypto/keys.json")["keys"]]
    return [PublicKeys.read(cbor.decode(unhex(keys), 1 << 13)) for keys in encoded]


def test_public_keys_are_read_and_checked() -> None:
    for keys, vector in zip(public_keys(), load("crypto/keys.json")["keys"], strict=True):
        assert keys.ed25519.hex() == vector["ed25519"]
        assert keys.ml_dsa_65.hex() == vector["ml_dsa_65"]
        assert keys.x_wing.hex() == vector["x_wing"]
        keys.check()


P = 2**255 - 19
ORDER_8 = "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"


@pytest.mark.parametrize(
    ("why", "key"),
    [
        ("the identity", (1).to_bytes(32, "little")),
        ("order 2", (P - 1).to_bytes(32, "little")),
        ("order 4", bytes(32)),
        ("order 4, negative", bytes(31) + b"\x80"),
        ("order 8", unhex(ORDER_8)),
        ("order 8, negative", unhex(ORDER_8[:-2] + "85")),
        ("the identity with a sign", (1 + (1 << 255)).to_bytes(32, "little")),
        ("y = p + 3, which is 3", (P + 3).to_bytes(32, "little")),
        ("off the curve", (2).to_bytes(32, "little")),
        ("31 bytes", bytes(31)),
    ],
)
def test_keys_that_nobody_may_accept_are_refused(why: str, key: bytes) -> None:
    good = public_keys()[0]
    with pytest.raises(Refused, match="Ed25519"):
        PublicKeys(key, good.ml_dsa_65, good.x_wing).check()
    # R = identity and S = 0 satisfy the equation for keys of small order.
    identity = (1).to_bytes(32, "little")
    assert not verify_ed25519(key, b"any", identity + bytes(32))


def test_an_x_wing_key_passes_the_modulus_check() -> None:
    good = public_keys()[0]
    with pytest.raises(Refused, match="modulus"):
        PublicKeys(good.ed25519, good.ml_dsa_65, b"\xff" * 3 + good.x_wing[3:]).check()


def test_single_signatures() -> None:
    keys = public_keys()[0]
    vectors = load("crypto/signatures.json")["single"]
    verifiers = {
        "Ed25519": (verify_ed25519, keys.ed25519),
        "ML-DSA-65": (verify_ml_dsa_65, keys.ml_dsa_65),
    }
    assert {v["valid"] for v in vectors} == {True, False}
    for v in vectors:
        verifier, key = verifiers[v["algorithm"]]
        signed = unhex(v["label"]) + unhex(v["message"])
        assert verifier(key, signed, unhex(v["signature"])) == v["valid"], v["name"]


@pytest.mark.parametrize(
    "vector", load("crypto/signatures.json")["envelopes"], ids=lambda v: str(v["name"])
)
def test_envelopes(vector: Any) -> None:
    detached = vector["detached_payload"]

    def opened() -> bytes:
        envelope = Envelope.decode(unhex(vector["envelope"]))
        payload = unhex(detached) if detached is not None else None
        return envelope.verify(public_keys()[0], unhex(vector["label"]), payload)

    if vector["error"] is None:
        assert opened() == unhex(vector["payload"])
    else:
        with pytest.raises(Refused):
            opened()


def test_log_roots() -> None:
    vectors = load("ledger/log.json")
    entries = [unhex(e) for e in vectors["entries"]]
    for size, root in enumerate(vectors["roots"]):
        assert root_of(entries[:size]).hex() == root


def inclusion(vectors: Any, v: Any) -> None:
    leaf = leaf_hash(unhex(vectors["entries"][min(v["index"], len(vectors["entries"]) - 1)]))
    root = unhex(vectors["roots"][v["size"]])
    check_inclusion(leaf, v["index"], v["size"], [unhex(h) for h in v["path"]], root)


def consistency(vectors: Any, v: Any) -> None:
    first, second = unhex(vectors["roots"][v["first"]]), unhex(vectors["roots"][v["second"]])
    path = [unhex(h) for h in v["path"]]
    check_consistency(v["first"], first, v["second"], second, path)


def test_log_proofs() -> None:
    vectors = load("ledger/log.json")
    for v in vectors["inclusion"]:
        inclusion(vectors, v)
    for v in vectors["consistency"]:
        consistency(vectors, v)
    for v in vectors["malformed_inclusion"]:
        with pytest.raises(Refused):
            inclusion(vectors, v)
    for v in vectors["malformed_consistency"]:
        with pytest.raises(Refused):
            consistency(vectors, v)


def test_every_bit_of_a_log_proof_counts() -> None:
    vectors = load("ledger/log.json")
    for name, check in (("inclusion", inclusion), ("consistency", consistency)):
        for v in vectors[name]:
            if name == "consistency" and v["first"] == 0:
                continue
            for i, text in enumerate(v["path"]):
                for bit in range(0, 256, 5):
                    flipped = bytearray(unhex(text))
                    flipped[bit // 8] ^= 1 << bit % 8
                    with pytest.raises(Refused):
                        check(vectors, altered(v, f"/path/{i}", flipped.hex()))


def test_state_proofs() -> None:
    vectors = load("ledger/state.json")
    for case in vectors["cases"]:
        for v in case["proofs"]:
            found = state_proof(v["proof"]).value_digest(unbase64(v["key"]), unhex(case["root"]))
            value = v.get("value")
            expected = None if value is None else hashlib.sha256(unbase64(value)).digest()
            assert found == expected
    for v in vectors["malformed"]:
        root = unhex(vectors["malformed_root"])
        with pytest.raises(Refused):
            state_proof(v["proof"]).value_digest(unbase64(v["key"]), root)


def test_checkpoint_notes() -> None:
    vectors = load("ledger/checkpoint.json")
    members = MemberList.decode(unbase64(vectors["members"]))
    assert hashlib.sha256(members.encoded).hexdigest() == vectors["members_digest"]
    assert (len(members.members), members.quorum) == (4, 3)
    for v in vectors["certified"]:
        checkpoint = Note.parse(v["note"]).certify(vectors["origin"], members)
        assert (checkpoint.size, checkpoint.height) == (7, 3)
    for v in vectors["refused"]:
        with pytest.raises(Refused):
            Note.parse(v["note"]).certify(vectors["origin"], members)


def test_anchors_and_manifest_of_a_batch() -> None:
    made = load("record/batch.json")["made"]
    anchors = [unhex(record["anchor"]) for record in made["records"]]
    assert root_of(anchors).hex() == made["anchors_root"]
    for anchor, record in zip(anchors, made["records"], strict=True):
        statement = Anchor.decode(anchor).statement
        assert (statement is None) == (record["statement"] is None)
    manifest = Manifest.decode(unhex(made["manifest"]))
    assert manifest.anchors_root.hex() == made["anchors_root"]
    assert manifest.count == len(anchors)
    batch = cbor.decode(unhex(load("record/batch.json")["batch"]), 1 << 20)
    envelope = cbor.Fields(batch, "batch").take(0, cbor.byte_string)
    keys = PublicKeys.read(cbor.decode(unhex(made["hospital_keys"]), 1 << 13))
    assert Envelope.decode(envelope).verify(keys, label("manifest")) == unhex(made["manifest"])
