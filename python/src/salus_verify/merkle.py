"""Merkle trees: the log (RFC 9162, section 2.1) and the sparse tree of the state."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from salus_verify.errors import Refused

EMPTY_ROOT = sha256(b"").digest()
SIZE_LIMIT = 1 << 62
EMPTY_SUBTREE = bytes(32)


def leaf_hash(entry: bytes) -> bytes:
    """The leaf hash of a log entry."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node of the log."""
    return sha256(b"\x01" + left + right).digest()


def root_of(entries: Sequence[bytes]) -> bytes:
    """The root of a log of these entries (`MTH`)."""
    if len(entries) < 2:
        return leaf_hash(entries[0]) if entries else EMPTY_ROOT
    split = 1 << ((len(entries) - 1).bit_length() - 1)
    return node_hash(root_of(entries[:split]), root_of(entries[split:]))


def check_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """Refuses unless `path` leads from the hash of leaf `index` of `size` to `root`."""
    if not 0 <= index < size <= SIZE_LIMIT:
        raise Refused("the index lies outside the tree")
    inner = (index ^ (size - 1)).bit_length()
    border = (index >> inner).bit_count()
    if len(path) != inner + border:
        raise Refused("the inclusion path has the wrong length")
    current = leaf
    for i, sibling in enumerate(path):
        left = i < inner and not index >> i & 1
        current = node_hash(current, sibling) if left else node_hash(sibling, current)
    if current != root:
        raise Refused("the inclusion path does not lead to the root")


def check_consistency(
    first: int, first_root: bytes, second: int, second_root: bytes, path: Sequence[bytes]
) -> None:
    """Refuses unless the tree of size `first` is a prefix of that of size `second`.

    RFC 9162, section 2.1.4.2.
    """
    if not 0 <= first <= second <= SIZE_LIMIT:
        raise Refused("the second tree is smaller than the first")
    if first in (0, second):
        expected = EMPTY_ROOT if first == 0 else second_root
        if path or first_root != expected:
            raise Refused("the trees are not consistent")
        return
    hashes = list(path)
    if first & (first - 1) == 0:
        hashes.insert(0, first_root)
    if not hashes:
        raise Refused("the consistency path has the wrong length")
    fn, sn = first - 1, second - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = hashes[0]
    for c in hashes[1:]:
        if sn == 0:
            raise Refused("the consistency path has the wrong length")
        if fn & 1 or fn == sn:
            fr, sr = node_hash(c, fr), node_hash(c, sr)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node_hash(sr, c)
        fn, sn = fn >> 1, sn >> 1
    if sn != 0:
        raise Refused("the consistency path has the wrong length")
    if (fr, sr) != (first_root, second_root):
        raise Refused("the trees are not consistent")


def state_leaf_hash(path: bytes, value_digest: bytes) -> bytes:
    """The hash of a subtree of the state with exactly one key."""
    return sha256(b"\x10" + path + value_digest).digest()


def state_node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of a subtree of the state with two keys or more."""
    return sha256(b"\x11" + left + right).digest()


def _bit(data: bytes, index: int) -> int:
    """Bit `index`, most significant first."""
    return data[index // 8] >> (7 - index % 8) & 1


@dataclass(frozen=True)
class StateProof:
    """What the state holds for one key (`docs/formats.md`, State proof)."""

    depth: int
    mask: bytes
    siblings: bytes
    leaf: tuple[bytes, bytes] | None

    def value_digest(self, key: bytes, root: bytes) -> bytes | None:
        """The SHA-256 of the key's value under `root`, or None where the state has none.

        Refuses a proof that does not lead to the root.
        """
        path = sha256(key).digest()
        siblings = self._siblings()
        current = EMPTY_SUBTREE
        if self.leaf is not None:
            if any(_bit(self.leaf[0], d) != _bit(path, d) for d in range(self.depth)):
                raise Refused("the leaf lies off the key's path")
            current = state_leaf_hash(*self.leaf)
        for d in reversed(range(self.depth)):
            pair = (current, siblings[d]) if _bit(path, d) == 0 else (siblings[d], current)
            current = state_node_hash(*pair)
        if current != root:
            raise Refused("the state proof does not lead to the root")
        return self.leaf[1] if self.leaf is not None and self.leaf[0] == path else None

    def _siblings(self) -> list[bytes]:
        """The sibling at each depth, empty subtrees filled in."""
        if self.depth > 256 or len(self.mask) != (self.depth + 7) // 8:
            raise Refused("the state proof's depth or mask does not fit")
        listed = [_bit(self.mask, d) for d in range(self.depth)]
        if any(_bit(self.mask, d) for d in range(self.depth, 8 * len(self.mask))):
            raise Refused("the state proof's mask has padding bits")
        if len(self.siblings) != 32 * sum(listed):
            raise Refused("the state proof's siblings do not fit its mask")
        if self.depth and not listed[-1]:
            raise Refused("the state proof is longer than needed")
        result, at = [], 0
        for present in listed:
            if present:
                result.append(self.siblings[at : at + 32])
                at += 32
                if result[-1] == EMPTY_SUBTREE:
                    raise Refused("the state proof lists an empty sibling")
            else:
                result.append(EMPTY_SUBTREE)
        return result
