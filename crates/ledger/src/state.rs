//! The authenticated key-value state: one root hash over all keys, proofs of presence and absence.
//!
//! A compact sparse Merkle tree. A key's place is its path `SHA-256(key)`, read from the most
//! significant bit; bit 0 goes left. A subtree with one key is that key's leaf, so a leaf stands
//! at the shortest prefix that no other key shares; a subtree without keys is 32 zero bytes.
//!
//! ```text
//!                 root = inner(x, C)
//!               /                    \
//!     x = inner(empty, y)             C   path 1....
//!              /       \
//!          empty    y = inner(A, B)       A path 010.., B path 011..
//! ```
//!
//! - leaf: `SHA-256(0x10 || path || SHA-256(value))`
//! - inner node: `SHA-256(0x11 || left || right)`
//! - empty subtree: 32 zero bytes, never hashed on its own
//!
//! The tags differ from the log's (0x00 and 0x01), so no hash of one tree means anything in the
//! other. The root depends on the set of entries only, never on the order of their insertion.

use minicbor::{Decode, Encode};
use salus_crypto::digest::sha256;
use salus_proto::{Digest, encode};
use serde::{Deserialize, Serialize};

use crate::{Error, hash};

/// Root of the state without keys, and the hash of every empty subtree.
pub const EMPTY_ROOT: Digest = Digest([0; 32]);

/// Most keys that one tree holds.
pub const MAX_KEYS: usize = 1 << 30;

/// Bits in a path, and so the greatest depth of a leaf.
const PATH_BITS: usize = 256;

/// Where a key stands in the tree: `SHA-256(key)`.
pub fn path_of(key: &[u8]) -> Digest {
    sha256(key)
}

/// What the tree commits to for a value: `SHA-256(value)`.
pub fn value_digest(value: &[u8]) -> Digest {
    sha256(value)
}

/// Hash of a leaf.
fn leaf_hash(path: &Digest, value: &Digest) -> Digest {
    hash::tagged_pair(0x10, path, value)
}

/// Hash of an inner node.
fn inner_hash(left: &Digest, right: &Digest) -> Digest {
    hash::tagged_pair(0x11, left, right)
}

/// One key's path and the digest of its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(deny_unknown_fields)]
#[cbor(map)]
pub struct StateLeaf {
    /// `SHA-256(key)`.
    #[n(0)]
    pub path: Digest,
    /// `SHA-256(value)`.
    #[n(1)]
    pub value: Digest,
}

/// What becomes of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateChange {
    /// `SHA-256(key)`.
    pub path: Digest,
    /// `SHA-256(value)`, or `None` to remove the key.
    pub value: Option<Digest>,
}

impl StateChange {
    /// The change that sets `key` to `value`, or removes it.
    pub fn new(key: &[u8], value: Option<&[u8]>) -> Self {
        Self {
            path: path_of(key),
            value: value.map(value_digest),
        }
    }
}

/// The whole tree in memory: about 170 bytes a key, no values.
///
/// Nodes lie in two vectors and refer to each other by number. An inner node keeps its children's
/// hashes, so rehashing it touches no other node.
#[derive(Debug, Clone)]
pub struct StateTree {
    root: Subtree,
    inner: Vec<Inner>,
    leaves: Vec<StateLeaf>,
    free_inner: Vec<u32>,
    free_leaves: Vec<u32>,
}

/// A subtree by its node and hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Subtree {
    node: Link,
    hash: Digest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Inner {
    left: Subtree,
    right: Subtree,
}

/// Nothing, a leaf or an inner node, in 32 bits: 0 is nothing, the top bit marks a leaf, the rest
/// is the place in its vector plus one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Link(u32);

enum Kind {
    Empty,
    Leaf(u32),
    Inner(u32),
}

impl Link {
    const LEAF: u32 = 1 << 31;

    fn kind(self) -> Kind {
        match self.0 {
            0 => Kind::Empty,
            bits if bits & Self::LEAF != 0 => Kind::Leaf((bits & !Self::LEAF) - 1),
            bits => Kind::Inner(bits - 1),
        }
    }

    fn is_leaf(self) -> bool {
        self.0 & Self::LEAF != 0
    }
}

const NOTHING: Subtree = Subtree {
    node: Link(0),
    hash: EMPTY_ROOT,
};

impl Default for StateTree {
    fn default() -> Self {
        Self {
            root: NOTHING,
            inner: Vec::new(),
            leaves: Vec::new(),
            free_inner: Vec::new(),
            free_leaves: Vec::new(),
        }
    }
}

impl StateTree {
    /// The state without keys.
    pub fn new() -> Self {
        Self::default()
    }

    /// Builds the tree over all leaves of a stored state, in any order (fastest when sorted by
    /// path).
    ///
    /// # Errors
    /// [`Error::DuplicateKey`] if two leaves share a path; [`Error::StateFull`] above [`MAX_KEYS`].
    pub fn from_leaves(mut leaves: Vec<StateLeaf>) -> Result<Self, Error> {
        if leaves.len() > MAX_KEYS {
            return Err(Error::StateFull { limit: MAX_KEYS });
        }
        leaves.sort_unstable_by_key(|leaf| leaf.path);
        if leaves.windows(2).any(|pair| pair[0].path == pair[1].path) {
            return Err(Error::DuplicateKey);
        }
        let mut tree = Self::new();
        tree.leaves.reserve_exact(leaves.len());
        // A random trie has 1 / ln 2 = 1.44 inner nodes a leaf (Knuth, TAOCP vol. 3, 6.3).
        tree.inner.reserve(leaves.len() + leaves.len() / 2);
        tree.root = tree.build(&leaves, 0);
        Ok(tree)
    }

    /// Root hash of the state.
    pub fn root(&self) -> Digest {
        self.root.hash
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.leaves.len() - self.free_leaves.len()
    }

    /// Whether the state has no keys.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The digest of the value at `path`.
    pub fn value(&self, path: &Digest) -> Option<Digest> {
        let leaf = self.descend(path, |_, _| ())?;
        (leaf.path == *path).then_some(leaf.value)
    }

    /// Sets `key` to `value`.
    ///
    /// # Errors
    /// [`Error::StateFull`] above [`MAX_KEYS`].
    pub fn insert(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.apply(vec![StateChange::new(key, Some(value))])
            .map(drop)
    }

    /// Removes `key` if it is there.
    ///
    /// # Errors
    /// None in practice; the signature is that of [`Self::apply`].
    pub fn remove(&mut self, key: &[u8]) -> Result<(), Error> {
        self.apply(vec![StateChange::new(key, None)]).map(drop)
    }

    /// Applies the changes of a block; of several to one key the last counts. Every inner node on
    /// the way to a changed key is rehashed once.
    ///
    /// Returns the changes that undo these, so that a proof under the previous root can be had by
    /// applying them, proving, and applying what that returned.
    ///
    /// # Errors
    /// [`Error::StateFull`] if there might be more than [`MAX_KEYS`] afterwards; nothing is changed
    /// then.
    pub fn apply(&mut self, mut changes: Vec<StateChange>) -> Result<Vec<StateChange>, Error> {
        if self.len().saturating_add(changes.len()) > MAX_KEYS {
            return Err(Error::StateFull { limit: MAX_KEYS });
        }
        // A stable sort keeps the order of changes to one key; the last of each run survives.
        changes.sort_by_key(|change| change.path);
        changes.reverse();
        changes.dedup_by_key(|change| change.path);
        changes.reverse();
        let mut undo = Vec::with_capacity(changes.len());
        self.root = self.update(self.root, 0, &changes, &mut undo);
        Ok(undo)
    }

    /// The proof that `key` has the value it has, or none.
    pub fn prove(&self, key: &[u8]) -> StateProof {
        let mut depth = 0;
        let mut mask = Vec::new();
        let mut siblings = Vec::new();
        let leaf = self.descend(&path_of(key), |at, sibling| {
            if at % 8 == 0 {
                mask.push(0);
            }
            if let Some(byte) = mask.last_mut()
                && sibling.node != NOTHING.node
            {
                *byte |= 0x80 >> (at % 8);
                siblings.extend_from_slice(&sibling.hash.0);
            }
            depth += 1;
        });
        StateProof {
            depth,
            mask,
            siblings,
            leaf,
        }
    }

    /// Follows `path` down to a leaf or an empty subtree; `visit` gets the depth of every inner
    /// node on the way and its child off the path.
    fn descend(&self, path: &Digest, mut visit: impl FnMut(usize, Subtree)) -> Option<StateLeaf> {
        let mut at = self.root.node;
        for depth in 0.. {
            match at.kind() {
                Kind::Empty => return None,
                Kind::Leaf(place) => return Some(self.leaves[place as usize]),
                Kind::Inner(place) => {
                    let Inner { left, right } = self.inner[place as usize];
                    let (on, off) = if bit(path, depth) {
                        (right, left)
                    } else {
                        (left, right)
                    };
                    visit(depth, off);
                    at = on.node;
                }
            }
        }
        None
    }

    /// Builds the subtree of leaves that are sorted, distinct and share their first `depth` bits.
    fn build(&mut self, leaves: &[StateLeaf], depth: usize) -> Subtree {
        match leaves {
            [] => NOTHING,
            [leaf] => self.add_leaf(*leaf),
            _ => {
                let (left, right) =
                    leaves.split_at(leaves.partition_point(|leaf| !bit(&leaf.path, depth)));
                let (left, right) = (self.build(left, depth + 1), self.build(right, depth + 1));
                self.add_inner(Inner { left, right })
            }
        }
    }

    /// Applies changes that are sorted, distinct and share their first `depth` bits with the
    /// subtree; appends what undoes them.
    fn update(
        &mut self,
        subtree: Subtree,
        depth: usize,
        changes: &[StateChange],
        undo: &mut Vec<StateChange>,
    ) -> Subtree {
        if changes.is_empty() {
            return subtree;
        }
        match subtree.node.kind() {
            Kind::Empty => self.regrow(None, depth, changes, undo),
            Kind::Leaf(place) => {
                let leaf = self.leaves[place as usize];
                if let [
                    StateChange {
                        path,
                        value: Some(value),
                    },
                ] = *changes
                    && path == leaf.path
                {
                    undo.push(StateChange {
                        path,
                        value: Some(leaf.value),
                    });
                    self.leaves[place as usize].value = value;
                    return Subtree {
                        node: subtree.node,
                        hash: leaf_hash(&path, &value),
                    };
                }
                self.free_leaves.push(place);
                self.regrow(Some(leaf), depth, changes, undo)
            }
            Kind::Inner(place) => {
                let old = self.inner[place as usize];
                let (left, right) =
                    changes.split_at(changes.partition_point(|change| !bit(&change.path, depth)));
                let left = self.update(old.left, depth + 1, left, undo);
                let right = self.update(old.right, depth + 1, right, undo);
                let new = Inner { left, right };
                if new == old {
                    return subtree;
                }
                // A leaf without a neighbour moves up; its hash does not depend on its depth.
                for (kept, gone) in [(left, right), (right, left)] {
                    if gone == NOTHING && (kept == NOTHING || kept.node.is_leaf()) {
                        self.free_inner.push(place);
                        return kept;
                    }
                }
                self.inner[place as usize] = new;
                Subtree {
                    node: subtree.node,
                    hash: inner_hash(&left.hash, &right.hash),
                }
            }
        }
    }

    /// Builds anew what was empty or one leaf, with the changes made.
    fn regrow(
        &mut self,
        existing: Option<StateLeaf>,
        depth: usize,
        changes: &[StateChange],
        undo: &mut Vec<StateChange>,
    ) -> Subtree {
        let mut leaves = Vec::with_capacity(changes.len() + 1);
        let mut survivor = existing;
        for &StateChange { path, value } in changes {
            let before = existing.filter(|leaf| leaf.path == path);
            if before.is_some() {
                survivor = None;
            }
            if let Some(leaf) = survivor.take_if(|leaf| leaf.path < path) {
                leaves.push(leaf);
            }
            if value.is_some() || before.is_some() {
                undo.push(StateChange {
                    path,
                    value: before.map(|leaf| leaf.value),
                });
            }
            leaves.extend(value.map(|value| StateLeaf { path, value }));
        }
        leaves.extend(survivor);
        self.build(&leaves, depth)
    }

    fn add_leaf(&mut self, leaf: StateLeaf) -> Subtree {
        let place = place_in(&mut self.leaves, &mut self.free_leaves, leaf);
        let node = Link((place + 1) | Link::LEAF);
        Subtree {
            node,
            hash: leaf_hash(&leaf.path, &leaf.value),
        }
    }

    fn add_inner(&mut self, inner: Inner) -> Subtree {
        let hash = inner_hash(&inner.left.hash, &inner.right.hash);
        let place = place_in(&mut self.inner, &mut self.free_inner, inner);
        Subtree {
            node: Link(place + 1),
            hash,
        }
    }
}

/// Puts `item` into a free place or a new one.
fn place_in<T>(items: &mut Vec<T>, free: &mut Vec<u32>, item: T) -> u32 {
    if let Some(place) = free.pop() {
        items[place as usize] = item;
        return place;
    }
    #[expect(
        clippy::expect_used,
        reason = "MAX_KEYS leaves are 2^30 and have fewer than 2^31 inner nodes, unless somebody \
                  found paths that share hundreds of bits"
    )]
    let place = u32::try_from(items.len())
        .ok()
        .filter(|place| place + 1 < Link::LEAF)
        .expect("fewer than 2^31 nodes");
    items.push(item);
    place
}

/// Bit `depth` of a path, the most significant bit of the first byte being bit 0.
///
/// # Panics
/// At depth 256 and beyond, where distinct paths have parted already.
fn bit(path: &Digest, depth: usize) -> bool {
    path.0[depth / 8] & (0x80 >> (depth % 8)) != 0
}

/// Evidence of what a state with a known root says about one key. About 900 bytes at ten million
/// keys.
///
/// The fields are as they came; [`Self::verify`] refuses whatever is not the one valid form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode)]
#[serde(deny_unknown_fields)]
#[cbor(map)]
pub struct StateProof {
    /// Inner nodes between the root and the place where the search ended, 0 to 256.
    #[n(0)]
    pub depth: u16,
    /// One bit per such node from the root on, most significant bit first, padded with zeros to a
    /// byte: whether the child off the path is not empty.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    #[serde(with = "encode::base64url")]
    pub mask: Vec<u8>,
    /// Hashes of those children, from the root on, 32 bytes each.
    #[n(2)]
    #[cbor(with = "minicbor::bytes")]
    #[serde(with = "encode::base64url")]
    pub siblings: Vec<u8>,
    /// The leaf where the search ended; absent if it ended at an empty subtree.
    #[n(3)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaf: Option<StateLeaf>,
}

impl StateProof {
    /// Longest CBOR encoding of a valid proof, in bytes.
    pub const MAX_BYTES: usize = PATH_BITS * 33 + 128;

    /// Deterministic CBOR.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode::to_bytes(self)
    }

    /// Reads what [`Self::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`Error::Malformed`] for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        Ok(encode::from_bytes(bytes, Self::MAX_BYTES, "state proof")?)
    }

    /// What the state with this `root` holds for `key`: the digest of its value, or `None` if the
    /// key is absent.
    ///
    /// # Errors
    /// [`Error::StateProof`] if it is not a well-formed proof about `key`; [`Error::RootMismatch`]
    /// if it does not lead to `root`.
    pub fn verify(&self, root: &Digest, key: &[u8]) -> Result<Option<Digest>, Error> {
        let path = path_of(key);
        let depth = usize::from(self.depth);
        let (hashes, rest) = self.siblings.as_chunks::<32>();
        if depth > PATH_BITS || self.mask.len() != depth.div_ceil(8) || !rest.is_empty() {
            return Err(Error::StateProof("lengths disagree"));
        }
        let set = |at: usize| self.mask[at / 8] & (0x80 >> (at % 8)) != 0;
        if (depth..self.mask.len() * 8).any(set) {
            return Err(Error::StateProof("padding bits are set"));
        }
        if hashes.len() != (0..depth).filter(|at| set(*at)).count() {
            return Err(Error::StateProof(
                "as many siblings as bits in the mask are needed",
            ));
        }
        if hashes.contains(&EMPTY_ROOT.0) {
            return Err(Error::StateProof("an empty sibling is listed"));
        }
        // A leaf or an empty place next to an empty place would have moved up.
        if depth > 0 && !set(depth - 1) {
            return Err(Error::StateProof("the search would have ended earlier"));
        }
        let mut computed = EMPTY_ROOT;
        if let Some(leaf) = &self.leaf {
            if (0..depth).any(|at| bit(&leaf.path, at) != bit(&path, at)) {
                return Err(Error::StateProof("the leaf is not on the key's path"));
            }
            computed = leaf_hash(&leaf.path, &leaf.value);
        }
        let mut hashes = hashes.iter().rev();
        for at in (0..depth).rev() {
            let sibling = if set(at) {
                hashes.next().map(|hash| Digest(*hash))
            } else {
                None
            };
            let sibling = sibling.unwrap_or(EMPTY_ROOT);
            computed = if bit(&path, at) {
                inner_hash(&sibling, &computed)
            } else {
                inner_hash(&computed, &sibling)
            };
        }
        if computed != *root {
            return Err(Error::RootMismatch);
        }
        Ok(self
            .leaf
            .filter(|leaf| leaf.path == path)
            .map(|leaf| leaf.value))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    type Model = BTreeMap<Vec<u8>, Vec<u8>>;

    /// The definition, recomputed from nothing.
    fn naive_root(leaves: &[StateLeaf], depth: usize) -> Digest {
        match leaves {
            [] => EMPTY_ROOT,
            [leaf] => leaf_hash(&leaf.path, &leaf.value),
            _ => {
                let (right, left): (Vec<_>, Vec<_>) =
                    leaves.iter().partition(|leaf| bit(&leaf.path, depth));
                inner_hash(
                    &naive_root(&left, depth + 1),
                    &naive_root(&right, depth + 1),
                )
            }
        }
    }

    fn leaves(model: &Model) -> Vec<StateLeaf> {
        let leaf = |(key, value): (&Vec<u8>, &Vec<u8>)| StateLeaf {
            path: path_of(key),
            value: value_digest(value),
        };
        model.iter().map(leaf).collect()
    }

    fn check(tree: &StateTree, model: &Model, probes: &[Vec<u8>]) {
        assert_eq!(tree.root(), naive_root(&leaves(model), 0));
        assert_eq!(tree.len(), model.len());
        assert_eq!(tree.is_empty(), model.is_empty());
        for key in model.keys().chain(probes) {
            let expected = model.get(key).map(|value| value_digest(value));
            let proof = tree.prove(key);
            assert_eq!(proof.verify(&tree.root(), key), Ok(expected));
            assert_eq!(StateProof::from_bytes(&proof.to_bytes()).unwrap(), proof);
            assert_eq!(tree.value(&path_of(key)), expected);
        }
    }

    fn key() -> impl Strategy<Value = Vec<u8>> {
        (0..60_u8).prop_map(|n| vec![n])
    }

    proptest! {
        #[test]
        fn any_history_gives_the_root_of_the_definition(
            blocks in prop::collection::vec(
                prop::collection::vec((key(), prop::option::of(any::<u8>())), 0..30),
                1..12,
            ),
        ) {
            let (mut tree, mut model) = (StateTree::new(), Model::new());
            let probes: Vec<_> = (0..64_u8).map(|n| vec![n]).collect();
            for block in blocks {
                let (before, root_before) = (model.clone(), tree.root());
                let changes = block
                    .iter()
                    .map(|(key, value)| {
                        StateChange::new(key, value.as_ref().map(core::slice::from_ref))
                    })
                    .collect();
                for (key, value) in block {
                    match value {
                        Some(value) => drop(model.insert(key, vec![value])),
                        None => drop(model.remove(&key)),
                    }
                }
                let undo = tree.apply(changes).unwrap();
                check(&tree, &model, &probes);
                let redo = tree.apply(undo).unwrap();
                prop_assert_eq!(tree.root(), root_before);
                check(&tree, &before, &[]);
                tree.apply(redo).unwrap();
                check(&tree, &model, &[]);
            }
            let built = StateTree::from_leaves(leaves(&model)).unwrap();
            prop_assert_eq!(built.root(), tree.root());
        }

        #[test]
        fn arbitrary_proofs_never_panic_and_never_verify(
            depth in 0..300_u16,
            mask in prop::collection::vec(any::<u8>(), 0..40),
            siblings in prop::collection::vec(any::<u8>(), 0..200),
            leaf in prop::option::of((any::<[u8; 32]>(), any::<[u8; 32]>())),
        ) {
            let leaf =
                leaf.map(|(path, value)| StateLeaf { path: Digest(path), value: Digest(value) });
            let proof = StateProof { depth, mask, siblings, leaf };
            prop_assert!(proof.verify(&Digest([1; 32]), b"key").is_err());
        }
    }

    /// Paths are digests of keys, so deep trees need paths made by hand.
    #[test]
    fn paths_that_part_at_the_last_bit_get_256_levels() {
        let leaf = |last: u8| {
            let mut path = Digest([0xaa; 32]);
            path.0[31] = last;
            StateLeaf {
                path,
                value: Digest([last; 32]),
            }
        };
        let pair = vec![leaf(2), leaf(3)];
        let mut tree = StateTree::from_leaves(pair.clone()).unwrap();
        assert_eq!(tree.root(), naive_root(&pair, 0));
        assert_eq!(tree.inner.len(), 256);
        assert_eq!(tree.value(&leaf(3).path), Some(leaf(3).value));
        tree.apply(vec![StateChange {
            path: leaf(2).path,
            value: None,
        }])
        .unwrap();
        assert_eq!(tree.root(), naive_root(&pair[1..], 0));
        assert_eq!(tree.free_inner.len(), 256);
        tree.apply(vec![StateChange {
            path: leaf(2).path,
            value: Some(leaf(2).value),
        }])
        .unwrap();
        assert_eq!(tree.root(), naive_root(&pair, 0));
        assert_eq!(tree.inner.len(), 256, "freed nodes are used again");
    }

    #[test]
    fn duplicate_leaves_are_refused() {
        let leaf = StateLeaf {
            path: path_of(b"a"),
            value: value_digest(b"1"),
        };
        assert_eq!(
            StateTree::from_leaves(vec![leaf; 2]).err(),
            Some(Error::DuplicateKey)
        );
    }

    #[test]
    fn every_changed_bit_of_a_proof_is_found() {
        let mut tree = StateTree::new();
        for n in 0..200_u8 {
            tree.insert(&[n], b"value").unwrap();
        }
        let root = tree.root();
        for key in [b"\x05".as_slice(), b"absent", b"also absent", b"\xfe"] {
            let proof = tree.prove(key);
            let truth = proof.verify(&root, key).unwrap();
            let bytes = proof.to_bytes();
            for bit in 0..bytes.len() * 8 {
                let mut bad = bytes.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                let verdict = StateProof::from_bytes(&bad).and_then(|p| p.verify(&root, key));
                assert!(
                    verdict.is_err(),
                    "bit {bit} of the proof for {key:?}: {truth:?}"
                );
            }
            for bit in 0..256 {
                let mut bad = root;
                bad.0[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(proof.verify(&bad, key), Err(Error::RootMismatch));
            }
            assert!(proof.verify(&root, b"another key").is_err());
        }
    }

    #[test]
    fn a_proof_in_another_than_its_one_form_is_refused() {
        let mut tree = StateTree::new();
        for n in 0..20_u8 {
            tree.insert(&[n], b"value").unwrap();
        }
        let (root, key) = (tree.root(), [7]);
        let good = tree.prove(&key);
        let refused = |change: &dyn Fn(&mut StateProof), why: &'static str| {
            let mut bad = good.clone();
            change(&mut bad);
            assert_eq!(bad.verify(&root, &key), Err(Error::StateProof(why)));
        };
        let (lengths, count) = (
            "lengths disagree",
            "as many siblings as bits in the mask are needed",
        );
        refused(&|p| p.mask.push(0), lengths);
        refused(&|p| p.depth = 257, lengths);
        refused(&|p| p.siblings.truncate(31), lengths);
        refused(&|p| p.siblings.extend([1; 32]), count);
        refused(
            &|p| *p.mask.last_mut().unwrap() |= 1,
            "padding bits are set",
        );
        refused(&|p| p.siblings[..32].fill(0), "an empty sibling is listed");
        refused(
            &|p| {
                p.mask.iter_mut().for_each(|byte| *byte = 0);
                p.siblings.clear();
            },
            "the search would have ended earlier",
        );
        refused(
            &|p| p.leaf.as_mut().unwrap().path.0[0] ^= 0x80,
            "the leaf is not on the key's path",
        );
    }
}
