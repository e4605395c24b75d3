"""Writes the ledger's golden vectors, from the formats' description alone.

An independent reading of docs/formats.md: it shares no code with the Rust crates. Run it in this
folder with Python 3.11 and `cryptography` 47 or later. ML-DSA signatures are randomised, so notes and
bundles differ from run to run; everything else is the same bytes.
"""

import base64
import hashlib
import json

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey


def sha256(data):
    return hashlib.sha256(data).digest()


def b64(data):
    return base64.b64encode(data).decode()


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def write(name, value):
    with open(name, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=1, ensure_ascii=False)
        file.write("\n")


# Deterministic CBOR (RFC 8949, 4.2.1): unsigned and negative integers, bytes, text, arrays, maps.


def head(major, n):
    if n < 24:
        return bytes([major << 5 | n])
    for extra, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if n < 1 << 8 * size:
            return bytes([major << 5 | extra]) + n.to_bytes(size, "big")
    raise ValueError(n)


def cbor(value):
    match value:
        case int() if value >= 0:
            return head(0, value)
        case int():
            return head(1, -1 - value)
        case bytes():
            return head(2, len(value)) + value
        case str():
            return head(3, len(value.encode())) + value.encode()
        case list():
            return head(4, len(value)) + b"".join(map(cbor, value))
        case dict():
            pairs = sorted((cbor(key), cbor(item)) for key, item in value.items())
            return head(5, len(pairs)) + b"".join(key + item for key, item in pairs)
    raise TypeError(value)


# The log: RFC 9162, 2.1.


def leaf(entry):
    return sha256(b"\x00" + entry)


def node(left, right):
    return sha256(b"\x01" + left + right)


def split(n):
    return 1 << (n - 1).bit_length() - 1


def mth(entries):
    if not entries:
        return sha256(b"")
    if len(entries) == 1:
        return leaf(entries[0])
    k = split(len(entries))
    return node(mth(entries[:k]), mth(entries[k:]))


def path(m, entries):
    if len(entries) == 1:
        return []
    k = split(len(entries))
    if m < k:
        return path(m, entries[:k]) + [mth(entries[k:])]
    return path(m - k, entries[k:]) + [mth(entries[:k])]


def subproof(m, entries, whole):
    if m == len(entries):
        return [] if whole else [mth(entries)]
    k = split(len(entries))
    if m <= k:
        return subproof(m, entries[:k], whole) + [mth(entries[k:])]
    return subproof(m - k, entries[k:], False) + [mth(entries[:k])]


def consistency(m, entries):
    return subproof(m, entries, True) if 0 < m < len(entries) else []


# The state.

EMPTY = bytes(32)


def bit(digest, at):
    return digest[at // 8] >> 7 - at % 8 & 1


def state_leaf(item):
    return sha256(b"\x10" + item[0] + item[1])


def state_root(items, depth=0):
    if not items:
        return EMPTY
    if len(items) == 1:
        return state_leaf(items[0])
    sides = ([], [])
    for item in items:
        sides[bit(item[0], depth)].append(item)
    return sha256(b"\x11" + state_root(sides[0], depth + 1) + state_root(sides[1], depth + 1))


def state_items(state):
    return [(sha256(key), sha256(value)) for key, value in state.items()]


def state_proof(state, key):
    target, items, siblings = sha256(key), state_items(state), []
    while len(items) > 1:
        depth = len(siblings)
        sides = ([], [])
        for item in items:
            sides[bit(item[0], depth)].append(item)
        on = bit(target, depth)
        items = sides[on]
        siblings.append(state_root(sides[1 - on], depth + 1))
    mask = bytearray((len(siblings) + 7) // 8)
    for at, sibling in enumerate(siblings):
        if sibling != EMPTY:
            mask[at // 8] |= 0x80 >> at % 8
    proof = {
        "depth": len(siblings),
        "mask": b64url(bytes(mask)),
        "siblings": b64url(b"".join(s for s in siblings if s != EMPTY)),
    }
    if items:
        proof["leaf"] = {"path": items[0][0].hex(), "value": items[0][1].hex()}
    return proof


# Keys, members, checkpoints.


class Keys:
    def __init__(self, seed):
        self.ed25519 = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
        self.ml_dsa_65 = MLDSA65PrivateKey.from_seed_bytes(bytes([seed]) * 32)
        self.public = {
            0: self.ed25519.public_key().public_bytes_raw(),
            1: self.ml_dsa_65.public_key().public_bytes_raw(),
            2: bytes([seed]) * 1216,
        }


def member(seed):
    return {
        0: bytes([seed]) * 16,
        1: f"Hospital {seed}",
        2: [0],
        3: Keys(seed).public,
        4: bytes([seed]) * 32,
        5: f"h{seed}.example:9000",
        6: f"https://h{seed}.example",
    }


def member_list(version, seeds, replaced=None):
    """`replaced`: seeds of the new keys of members, by their old seed."""
    members = [member(seed) for seed in seeds]
    for old, new in (replaced or {}).items():
        members[seeds.index(old)][3] = Keys(new).public
    return cbor({0: version, 1: members})


def key_id(name, kind, key):
    return sha256(name.encode() + b"\n" + kind + key)[:4]


def text(origin, size, root, height, time, state, members):
    lines = [origin, str(size), b64(root), f"height {height}", f"time {time}"]
    lines += [f"state {b64(state)}", f"members {b64(sha256(members))}"]
    return "".join(line + "\n" for line in lines)


def signature_lines(body, seed):
    keys, name = Keys(seed), f"salus/{(bytes([seed]) * 16).hex()}"
    data = body.encode()
    first = key_id(name, b"\x01", keys.public[0]) + keys.ed25519.sign(data)
    second = key_id(name, b"\xffsalus/ml-dsa-65", keys.public[1])
    second += keys.ml_dsa_65.sign(b"salus/v1/checkpoint\0" + data)
    return [f"— {name} {b64(first)}\n", f"— {name} {b64(second)}\n"]


def note(body, seeds):
    return body + "\n" + "".join(line for seed in seeds for line in signature_lines(body, seed))


# COSE_Sign (RFC 9052) with Ed25519 and ML-DSA-65.


def cose_sign(keys, label, signer, payload):
    signatures = []
    for algorithm, key in ((-8, keys.ed25519), (-49, keys.ml_dsa_65)):
        protected = cbor({1: algorithm, 4: signer})
        signed = cbor(["Signature", b"", protected, label, payload])
        signatures.append([protected, {}, key.sign(signed)])
    return b"\xd8\x62" + cbor([b"", {}, payload, signatures])


def flipped(data, at=0):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def log_vectors():
    published = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657",
                 "606162636465666768696a6b6c6d6e6f"]
    entries = [bytes.fromhex(entry) for entry in published]
    roots = [mth(entries[:size]) for size in range(9)]
    inclusion = [
        {"index": index, "size": size, "path": [h.hex() for h in path(index, entries[:size])]}
        for size in range(1, 9)
        for index in range(size)
    ]
    growth = [
        {"first": m, "second": n, "path": [h.hex() for h in consistency(m, entries[:n])]}
        for n in range(9)
        for m in range(n + 1)
    ]
    long = [h.hex() for h in path(5, entries)]
    step = [h.hex() for h in consistency(6, entries)]
    other = flipped(bytes.fromhex(long[1])).hex()
    write("log.json", {
        "about": "Entries of the RFC 6962 reference implementation; all roots and proofs.",
        "entries": published,
        "roots": [root.hex() for root in roots],
        "inclusion": inclusion,
        "consistency": growth,
        "malformed_inclusion": [
            {"why": "a hash altered", "index": 5, "size": 8, "path": [long[0], other, long[2]]},
            {"why": "a hash missing", "index": 5, "size": 8, "path": long[:2]},
            {"why": "a hash too many", "index": 5, "size": 8, "path": long + [long[0]]},
            {"why": "hashes swapped", "index": 5, "size": 8, "path": [long[1], long[0], long[2]]},
            {"why": "another index", "index": 4, "size": 8, "path": long},
            {"why": "index beyond the tree", "index": 8, "size": 8, "path": long},
            {"why": "a tree without entries", "index": 0, "size": 0, "path": []},
        ],
        "malformed_consistency": [
            {"why": "a hash altered", "first": 6, "second": 8,
             "path": [flipped(bytes.fromhex(step[0])).hex()] + step[1:]},
            {"why": "a hash missing", "first": 6, "second": 8, "path": step[:-1]},
            {"why": "a hash too many", "first": 6, "second": 8, "path": step + step[:1]},
            {"why": "sizes out of order", "first": 8, "second": 6, "path": step},
            {"why": "hashes for one and the same tree", "first": 8, "second": 8, "path": step},
            {"why": "hashes from the empty tree", "first": 0, "second": 8, "path": step},
        ],
    })


def state_vectors():
    def named(count):
        return {f"key {n}".encode(): f"value {n}".encode() for n in range(count)}

    cases = []
    for count in (0, 1, 2, 3, 10, 100):
        state = named(count)
        probes = list(state)[:4] + [b"absent", b"key 1000", b""]
        cases.append({
            "entries": [{"key": b64url(key), "value": b64url(value)} for key, value in state.items()],
            "root": state_root(state_items(state)).hex(),
            "proofs": [{
                "key": b64url(key),
                **({"value": b64url(state[key])} if key in state else {}),
                "proof": state_proof(state, key),
            } for key in probes],
        })
    state, key = named(100), b"key 7"
    root, good = state_root(state_items(state)), state_proof(state, b"key 7")
    siblings = base64.urlsafe_b64decode(good["siblings"] + "==")
    mask = base64.urlsafe_b64decode(good["mask"] + "==")

    def bad(why, **changed):
        proof = {**good, **changed}
        return {"why": why, "key": b64url(key), "proof": {k: v for k, v in proof.items() if v is not None}}

    elsewhere = state_proof(state, b"key 8")
    write("state.json", {
        "about": "Keys and values base64url; roots and proofs of presence (with value) and absence.",
        "cases": cases,
        "malformed_root": root.hex(),
        "malformed": [
            bad("a sibling altered", siblings=b64url(flipped(siblings))),
            bad("a sibling missing", siblings=b64url(siblings[:-32])),
            bad("a sibling cut", siblings=b64url(siblings[:-1])),
            bad("a sibling of zeros", siblings=b64url(bytes(32) + siblings[32:])),
            bad("a mask bit cleared", mask=b64url(bytes([mask[0] & 0x7F]) + mask[1:])),
            bad("padding bits set", mask=b64url(mask[:-1] + bytes([mask[-1] | 1]))),
            bad("a mask too long", mask=b64url(mask + b"\0")),
            bad("one level less", depth=good["depth"] - 1),
            bad("one level more", depth=good["depth"] + 1),
            bad("more levels than bits in a path", depth=257),
            bad("the leaf left out", leaf=None),
            bad("another value", leaf={**good["leaf"], "value": sha256(b"other").hex()}),
            bad("another path", leaf={**good["leaf"], "path": sha256(b"other").hex()}),
            bad("the proof of another key", **elsewhere),
        ],
    })


def checkpoint_vectors():
    seeds = [1, 2, 3, 4]
    members = member_list(0, seeds)
    arguments = ["salus/vectors", 7, sha256(b"root"), 3, 1795341600123, sha256(b"state"), members]
    body = text(*arguments)
    good = note(body, seeds)
    lines = good[len(body) + 1 :].splitlines(keepends=True)

    def without(*dropped):
        return body + "\n" + "".join(l for at, l in enumerate(lines) if at not in dropped)

    def altered(at):
        name, signature = lines[at][2:-1].split(" ")
        bad = flipped(base64.b64decode(signature), 20)
        return body + "\n" + "".join(
            f"— {name} {b64(bad)}\n" if n == at else line for n, line in enumerate(lines))

    stranger = signature_lines(body, 9)
    again = signature_lines(body, 1)[1]
    write("checkpoint.json", {
        "about": "Notes under one list of four members, of which three are needed.",
        "origin": "salus/vectors",
        "members": b64url(members),
        "members_digest": sha256(members).hex(),
        "certified": [
            {"why": "all four signed", "note": good, "signers": 4},
            {"why": "a quorum signed", "note": without(0, 1), "signers": 3},
            {"why": "a stranger signed too", "note": good + "".join(stranger), "signers": 4},
            {"why": "half a signature is ignored beyond the quorum", "note": without(0), "signers": 3},
        ],
        "refused": [
            {"why": "too few signed", "note": without(0, 1, 2, 3)},
            {"why": "Ed25519 alone counts for nothing", "note": without(1, 3)},
            {"why": "ML-DSA-65 alone counts for nothing", "note": without(0, 2)},
            {"why": "a member twice and a stranger are no quorum",
             "note": without(4, 5, 6, 7) + again + "".join(stranger)},
            {"why": "a wrong Ed25519 signature spoils the note", "note": altered(0)},
            {"why": "a wrong ML-DSA-65 signature spoils the note", "note": altered(1)},
            {"why": "another text", "note": good.replace("height 3", "height 4", 1)},
            {"why": "another log", "note": note(text("salus/other", *arguments[1:]), seeds)},
            {"why": "another list", "note": note(text(*arguments[:6], member_list(1, seeds)), seeds)},
            {"why": "size with a leading zero", "note": note(body.replace("\n7\n", "\n07\n"), seeds)},
            {"why": "root without padding", "note": note(body.replace("=\nheight", "\nheight"), seeds)},
            {"why": "an extension line too many", "note": note(body + "more\n", seeds)},
            {"why": "an extension line missing",
             "note": note(body.replace("time 1795341600123\n", ""), seeds)},
            {"why": "lines in another order",
             "note": note(body.replace("height 3\ntime 1795341600123\n",
                                       "time 1795341600123\nheight 3\n"), seeds)},
            {"why": "carriage returns", "note": note(body.replace("\n", "\r\n"), seeds)},
            {"why": "no signatures", "note": body + "\n"},
            {"why": "no blank line", "note": body + "".join(lines)},
            {"why": "no newline at the end", "note": good[:-1]},
            {"why": "two hyphens for the dash", "note": good.replace("— ", "-- ", 1)},
            {"why": "base64url in a signature line",
             "note": body + "\n" + "".join(l.replace("+", "-").replace("/", "_").replace("salus_", "salus/", 1) for l in lines)},
        ],
    })


def bundle_vectors():
    consortium, staff, hospital = b"\x77" * 16, b"\x55" * 16, bytes([1]) * 16
    alias, batch = b"\x33" * 16, b"\x44" * 16
    author = Keys(5)
    founders = member_list(0, [1, 2, 3])
    successors = member_list(1, [1, 2, 3, 4], {3: 8})
    genesis = cbor({
        0: 1, 1: consortium, 2: "vectors", 3: 1795000000000,
        4: [member(seed) for seed in (1, 2, 3)],
        5: [{0: b"\x66" * 16, 1: ROLE_STAFF, 2: hospital, 3: Keys(6).public}],
    })

    def entry(index, height, keys, principal, action, outcome=(0, [])):
        command = cbor({0: consortium, 1: principal, 2: index + 1, 3: 1795341700000, 4: action})
        signed = cbor({0: command, 1: keys.ed25519.sign(b"salus/v1/command\0" + command)})
        return cbor({0: index, 1: height, 2: 1795341600000 + height * 1000, 3: signed,
                     4: list(outcome)})

    anchors = [
        cbor({0: bytes([n]) * 16, 1: 1, 2: 2, 3: 0, 4: 1, 5: sha256(bytes([n])), 6: 1})
        for n in range(5)
    ]
    manifest = cose_sign(author, b"salus/v1/manifest\0", staff, cbor({
        0: batch, 1: alias, 2: hospital, 3: staff, 4: 1795341605000, 5: mth(anchors), 6: 5}))
    register = [2, {0: ROLE_STAFF, 1: hospital, 2: author.public, 3: sha256(b"profile")}]
    anchor_batch = [8, {0: batch, 1: alias, 2: sha256(manifest), 3: mth(anchors), 4: 5}]
    filler = [6, {0: b"\x22" * 16}]
    entries = [entry(0, 1, author, staff, register)]
    entries += [entry(n, 2, Keys(6), b"\x66" * 16, filler, (1, [7])) for n in range(1, 4)]
    entries += [entry(4, 2, Keys(3), bytes([3]) * 16, filler)]
    entries += [entry(5, 4, author, staff, anchor_batch)]
    entries += [entry(n, 5, Keys(6), b"\x66" * 16, filler, (1, [7])) for n in range(6, 9)]

    state = {f"filler/{n}".encode(): b"x" for n in range(20)}
    state[b"members"] = successors
    state[b"keys/" + staff] = cbor(author.public)
    state[b"keys/" + b"\x66" * 16] = cbor(Keys(7).public)
    root = state_root(state_items(state))
    old = text("salus/vectors", 5, mth(entries[:5]), 2, 1795341602000, root, founders)
    new = text("salus/vectors", 9, mth(entries), 5, 1795341605000, root, successors)

    def located(index):
        return {"entry": b64url(entries[index]), "index": index,
                "path": [h.hex() for h in path(index, entries)]}

    def bundle(claim):
        return {
            "version": 1,
            "genesis": b64url(genesis),
            "handovers": [{"checkpoint": note(old, [1, 2, 3]), "members": b64url(successors),
                           "proof": state_proof(state, b"members")}],
            "checkpoint": note(new, [1, 2, 4]),
            "claim": claim,
        }

    record = {"record": {
        "anchor": b64url(anchors[3]), "position": 3, "path": [h.hex() for h in path(3, anchors)],
        "manifest": b64url(manifest),
        "signer": {"state": {"keys": b64url(state[b"keys/" + staff]),
                             "proof": state_proof(state, b"keys/" + staff)}},
        "entry": located(5)}}
    bundles = {
        "record": bundle(record),
        "entry": bundle({"entry": {"entry": located(5), "signer": {"entry": located(0)}}}),
        "founder": bundle({"entry": {"entry": located(7), "signer": "listed"}}),
        "replaced": bundle({"entry": {"entry": located(4), "signer": "listed"}}),
        "unsigned": bundle({"entry": {"entry": located(7)}}),
        "present": bundle({"state": {"key": b64url(b"filler/7"), "value": b64url(b"x"),
                                     "proof": state_proof(state, b"filler/7")}}),
        "absent": bundle({"state": {"key": b64url(b"no such key"),
                                    "proof": state_proof(state, b"no such key")}}),
    }
    cose_other = cose_sign(author, b"salus/v1/document\0", staff, b"other")
    # Certified and proven like the good one, but the state holds a list of the founders' version.
    stale_state = {**state, b"members": member_list(0, [1, 2, 3, 4])}
    stale = text("salus/vectors", 5, mth(entries[:5]), 2, 1795341602000,
                 state_root(state_items(stale_state)), founders)
    not_newer = {"checkpoint": note(stale, [1, 2, 3]), "members": b64url(stale_state[b"members"]),
                 "proof": state_proof(stale_state, b"members")}
    malformed = [
        ("another genesis file", "record", "/genesis", b64url(flipped(genesis, 60)), "genesis"),
        ("handover left out", "record", "/handovers", [], "checkpoint"),
        ("handover signed by too few", "record", "/handovers/0/checkpoint", note(old, [1, 2]), "handover 1"),
        ("handover to another list", "record", "/handovers/0/members", b64url(member_list(1, [1, 2, 3, 5])), "handover 1"),
        ("handover to a list that is not newer", "record", "/handovers", [not_newer], "handover 1"),
        ("handover proof of another key", "record", "/handovers/0/proof", state_proof(state, b"filler/1"), "handover 1"),
        ("checkpoint signed by the old list", "record", "/checkpoint", note(new, [1, 2, 3]), "checkpoint"),
        ("checkpoint of the old list", "record", "/checkpoint", note(old, [1, 2, 3]), "checkpoint"),
        ("checkpoint signed by too few", "record", "/checkpoint", note(new, [1, 4]), "checkpoint"),
        ("another entry", "record", "/claim/record/entry/entry", b64url(entries[6]), "entry"),
        ("another index", "record", "/claim/record/entry/index", 6, "entry"),
        ("an entry that anchors nothing", "record", "/claim/record/entry", located(0), "manifest"),
        ("keys of another signer", "record", "/claim/record/signer/state/keys", b64url(cbor(Keys(6).public)), "signer"),
        ("a signer that no list names", "record", "/claim/record/signer", "listed", "signer"),
        ("keys from a later entry", "entry", "/claim/entry/entry", located(0), "signer"),
        ("keys from an entry of somebody else", "entry", "/claim/entry/signer/entry", located(1), "signer"),
        ("an author's entry under another's keys", "entry", "/claim/entry/entry", located(7), "signer"),
        ("an entry of somebody else", "record", "/claim/record/entry", located(8), "signer"),
        ("keys that the author no longer has", "founder", "/claim/entry/signer",
         {"state": {"keys": b64url(cbor(Keys(6).public)),
                    "proof": state_proof(state, b"keys/" + b"\x66" * 16)}}, "signer"),
        ("keys that did not sign the command", "founder", "/claim/entry/signer",
         {"state": {"keys": b64url(cbor(Keys(7).public)),
                    "proof": state_proof(state, b"keys/" + b"\x66" * 16)}}, "command"),
        ("another manifest", "record", "/claim/record/manifest", b64url(cose_other), "manifest"),
        ("an altered manifest", "record", "/claim/record/manifest", b64url(flipped(manifest, len(manifest) - 1)), "manifest"),
        ("another anchor", "record", "/claim/record/anchor", b64url(anchors[2]), "anchor"),
        ("another position", "record", "/claim/record/position", 2, "anchor"),
        ("a position beyond the batch", "record", "/claim/record/position", 5, "anchor"),
        ("another value", "present", "/claim/state/value", b64url(b"y"), "state"),
        ("presence of an absent key", "absent", "/claim/state/value", b64url(b"x"), "state"),
        ("another key", "absent", "/claim/state/key", b64url(b"filler/7"), "state"),
    ]
    unreadable = [
        ("version 2", "record", "/version", 2),
        ("an unknown field", "record", "/extra", 1),
        ("an unknown claim", "record", "/claim", {"rumour": {}}),
        ("an unknown field in a claim", "present", "/claim/state/extra", 1),
        ("null for an absent value", "absent", "/claim/state/value", None),
        ("null for an absent signer", "unsigned", "/claim/entry/signer", None),
        ("an object for a word", "founder", "/claim/entry/signer", {"listed": None}),
        ("a list for an object", "record", "/claim/record/entry", list(located(5).values())),
        ("a list for a handover", "record", "/handovers", [["", "", []]]),
        ("base64 with padding", "record", "/genesis", b64url(genesis) + "="),
        ("a hash of the wrong length", "record", "/claim/record/path", ["00"]),
        ("a negative index", "record", "/claim/record/entry/index", -1),
        ("a fraction", "record", "/claim/record/entry/index", 5.5),
    ]
    write("bundle.json", {
        "about": "Bundles that verify, and changes (JSON pointer and new value) after which the named "
                 "check is the first that fails, or the file cannot be read at all.",
        "genesis_digest": sha256(genesis).hex(),
        "bundles": bundles,
        "malformed": [dict(zip(("why", "bundle", "at", "value", "failed"), row)) for row in malformed],
        "unreadable": [dict(zip(("why", "bundle", "at", "value"), row)) for row in unreadable],
    })


ROLE_STAFF = 3

log_vectors()
state_vectors()
checkpoint_vectors()
bundle_vectors()
