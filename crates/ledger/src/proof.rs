//! Proofs about the log: that an entry is in it, and that it only ever grew.
//!
//! Proofs are made from the hashes of full subtrees, wherever they are kept ([`NodeRead`]), and
//! checked with nothing but the roots. Algorithms: RFC 9162 sections 2.1.3 and 2.1.4.

use salus_proto::Digest;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::tree::{MAX_TREE_SIZE, Node, empty_root, leaf_hash, node_hash};

/// Where the hashes of full subtrees are kept.
pub trait NodeRead {
    /// Hash of the full subtree over leaves `index << level .. (index + 1) << level`.
    fn node(&self, level: u8, index: u64) -> Option<Digest>;
}

impl<R: NodeRead + ?Sized> NodeRead for &R {
    fn node(&self, level: u8, index: u64) -> Option<Digest> {
        (**self).node(level, index)
    }
}

/// Evidence that a leaf stands at one place of a tree of one size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InclusionProof {
    /// Zero-based index of the leaf.
    pub index: u64,
    /// Leaves in the tree.
    pub size: u64,
    /// Sibling hashes from the leaf to the root.
    pub path: Vec<Digest>,
}

impl InclusionProof {
    /// Makes the proof for the leaf at `index` of the tree of `size` leaves.
    ///
    /// # Errors
    /// [`Error::NoSuchEntry`] outside the tree; [`Error::MissingNode`] if `nodes` lacks a hash.
    pub fn new(nodes: &impl NodeRead, index: u64, size: u64) -> Result<Self, Error> {
        if index >= size || size > MAX_TREE_SIZE {
            return Err(Error::NoSuchEntry { index, size });
        }
        let mut path = Vec::new();
        let (mut begin, mut end) = (0, size);
        while end - begin > 1 {
            let middle = begin + split(end - begin);
            if index < middle {
                path.push(range_root(nodes, middle, end)?);
                end = middle;
            } else {
                path.push(range_root(nodes, begin, middle)?);
                begin = middle;
            }
        }
        path.reverse();
        Ok(Self { index, size, path })
    }

    /// Checks that the tree with this `root` holds the leaf with this hash.
    ///
    /// # Errors
    /// [`Error::NoSuchEntry`], [`Error::ProofLength`] or [`Error::RootMismatch`].
    pub fn verify(&self, leaf: &Digest, root: &Digest) -> Result<(), Error> {
        let Self { index, size, path } = self;
        if index >= size || *size > MAX_TREE_SIZE {
            return Err(Error::NoSuchEntry {
                index: *index,
                size: *size,
            });
        }
        // Below the level at which the leaf's path meets the right edge, its index says on which
        // side the sibling stands; above it, siblings only ever stand to the left.
        let inner = (u64::BITS - (index ^ (size - 1)).leading_zeros()) as usize;
        let expected = inner + (index >> inner).count_ones() as usize;
        if path.len() != expected {
            return Err(Error::ProofLength {
                expected,
                found: path.len(),
            });
        }
        let computed = path
            .iter()
            .enumerate()
            .fold(*leaf, |below, (level, sibling)| {
                if level < inner && index >> level & 1 == 0 {
                    node_hash(&below, sibling)
                } else {
                    node_hash(sibling, &below)
                }
            });
        if computed == *root {
            Ok(())
        } else {
            Err(Error::RootMismatch)
        }
    }
}

/// Evidence that a tree is a prefix of a later one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsistencyProof {
    /// Leaves in the earlier tree.
    pub first: u64,
    /// Leaves in the later tree.
    pub second: u64,
    /// Hashes in the order of RFC 9162 section 2.1.4.1; empty if `first` is 0 or equals `second`.
    pub path: Vec<Digest>,
}

impl ConsistencyProof {
    /// Makes the proof that the first `first` leaves of the tree of `second` are the earlier tree.
    ///
    /// # Errors
    /// [`Error::NoPrefix`] for sizes out of order; [`Error::MissingNode`] if `nodes` lacks a hash.
    pub fn new(nodes: &impl NodeRead, first: u64, second: u64) -> Result<Self, Error> {
        if first > second || second > MAX_TREE_SIZE {
            return Err(Error::NoPrefix { first, second });
        }
        let mut path = Vec::new();
        let (mut begin, mut end) = (0, second);
        if first > 0 {
            while first != end {
                let middle = begin + split(end - begin);
                if first <= middle {
                    path.push(range_root(nodes, middle, end)?);
                    end = middle;
                } else {
                    path.push(range_root(nodes, begin, middle)?);
                    begin = middle;
                }
            }
            // The verifier has the earlier root itself when it is one full subtree.
            if begin > 0 {
                path.push(range_root(nodes, begin, end)?);
            }
            path.reverse();
        }
        Ok(Self {
            first,
            second,
            path,
        })
    }

    /// Checks that the tree with `first_root` is a prefix of the one with `second_root`.
    ///
    /// # Errors
    /// [`Error::NoPrefix`], [`Error::ProofLength`] or [`Error::RootMismatch`].
    pub fn verify(&self, first_root: &Digest, second_root: &Digest) -> Result<(), Error> {
        let Self {
            first,
            second,
            path,
        } = self;
        if first > second || *second > MAX_TREE_SIZE {
            return Err(Error::NoPrefix {
                first: *first,
                second: *second,
            });
        }
        let expected = consistency_length(*first, *second);
        if path.len() != expected {
            return Err(Error::ProofLength {
                expected,
                found: path.len(),
            });
        }
        let matches = if *first == 0 {
            *first_root == empty_root() && (*second > 0 || *second_root == empty_root())
        } else if first == second {
            first_root == second_root
        } else {
            self.roots(first_root) == Some((*first_root, *second_root))
        };
        if matches {
            Ok(())
        } else {
            Err(Error::RootMismatch)
        }
    }

    /// Both roots as the path yields them; RFC 9162 section 2.1.4.2 steps 3 to 7, for
    /// `0 < first < second`.
    fn roots(&self, first_root: &Digest) -> Option<(Digest, Digest)> {
        let mut hashes = self.path.iter();
        let seed = if self.first.is_power_of_two() {
            *first_root
        } else {
            *hashes.next()?
        };
        let shift = (self.first - 1).trailing_ones();
        let (mut left, mut right) = ((self.first - 1) >> shift, (self.second - 1) >> shift);
        let (mut earlier, mut later) = (seed, seed);
        for hash in hashes {
            if right == 0 {
                return None;
            }
            if left & 1 == 1 || left == right {
                earlier = node_hash(hash, &earlier);
                later = node_hash(hash, &later);
                while left != 0 && left & 1 == 0 {
                    (left, right) = (left >> 1, right >> 1);
                }
            } else {
                later = node_hash(&later, hash);
            }
            (left, right) = (left >> 1, right >> 1);
        }
        (right == 0).then_some((earlier, later))
    }
}

/// A whole tree in memory, for manifests and tests; 64 bytes a leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryTree {
    size: u64,
    /// Hashes of full subtrees by level, leaves first.
    levels: Vec<Vec<Digest>>,
}

impl MemoryTree {
    /// The tree over these leaf hashes.
    pub fn from_leaf_hashes(leaves: Vec<Digest>) -> Self {
        let size = leaves.len() as u64;
        let mut levels = vec![leaves];
        while let Some(below) = levels.last().filter(|level| level.len() > 1) {
            let (pairs, _) = below.as_chunks::<2>();
            let level = pairs
                .iter()
                .map(|[left, right]| node_hash(left, right))
                .collect();
            levels.push(level);
        }
        Self { size, levels }
    }

    /// The tree over these entries.
    pub fn from_entries<'e>(entries: impl IntoIterator<Item = &'e [u8]>) -> Self {
        Self::from_leaf_hashes(entries.into_iter().map(leaf_hash).collect())
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Root hash.
    ///
    /// # Panics
    /// Never: every full subtree of the tree is in memory.
    pub fn root(&self) -> Digest {
        if self.size == 0 {
            return empty_root();
        }
        #[expect(
            clippy::expect_used,
            reason = "every full subtree below `size` is in `levels`"
        )]
        range_root(self, 0, self.size).expect("a complete tree")
    }

    /// Proof for the leaf at `index`.
    ///
    /// # Errors
    /// [`Error::NoSuchEntry`] outside the tree.
    pub fn inclusion(&self, index: u64) -> Result<InclusionProof, Error> {
        InclusionProof::new(self, index, self.size)
    }
}

impl NodeRead for MemoryTree {
    fn node(&self, level: u8, index: u64) -> Option<Digest> {
        self.levels
            .get(usize::from(level))?
            .get(usize::try_from(index).ok()?)
            .copied()
    }
}

/// Root of the tree of `size` leaves whose full subtrees are in `nodes`.
///
/// # Errors
/// [`Error::MissingNode`] if `nodes` lacks a hash.
pub fn root(nodes: &impl NodeRead, size: u64) -> Result<Digest, Error> {
    if size == 0 {
        Ok(empty_root())
    } else {
        range_root(nodes, 0, size)
    }
}

/// The hash of the subtree over leaves `begin .. end`, which RFC 9162's recursion reaches: `begin`
/// is a multiple of the smallest power of two that is at least `end - begin`.
fn range_root(nodes: &impl NodeRead, begin: u64, end: u64) -> Result<Digest, Error> {
    let length = end - begin;
    if length.is_power_of_two() {
        #[expect(clippy::cast_possible_truncation, reason = "at most 63")]
        let level = length.trailing_zeros() as u8;
        let index = begin >> level;
        return nodes
            .node(level, index)
            .ok_or(Error::MissingNode { level, index });
    }
    let middle = begin + split(length);
    Ok(node_hash(
        &range_root(nodes, begin, middle)?,
        &range_root(nodes, middle, end)?,
    ))
}

/// The largest power of two below `length`, which is at least 2.
fn split(length: u64) -> u64 {
    1 << (u64::BITS - 1 - (length - 1).leading_zeros())
}

/// Hashes in the consistency proof between trees of these sizes.
fn consistency_length(first: u64, second: u64) -> usize {
    if first == 0 || first == second {
        return 0;
    }
    let (mut begin, mut end, mut hashes) = (0, second, 0);
    while first != end {
        let middle = begin + split(end - begin);
        if first <= middle {
            end = middle;
        } else {
            begin = middle;
        }
        hashes += 1;
    }
    hashes + usize::from(begin > 0)
}

impl FromIterator<Node> for MemoryTree {
    /// The tree whose completed subtrees [`Frontier::append`](crate::tree::Frontier::append)
    /// handed out, in that order, from an empty tree on.
    fn from_iter<I: IntoIterator<Item = Node>>(nodes: I) -> Self {
        let mut levels: Vec<Vec<Digest>> = vec![Vec::new()];
        for node in nodes {
            let level = usize::from(node.level);
            if level == levels.len() {
                levels.push(Vec::new());
            }
            if let Some(level) = levels.get_mut(level) {
                level.push(node.hash);
            }
        }
        Self {
            size: levels.first().map_or(0, |leaves| leaves.len() as u64),
            levels,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tree::Frontier;

    fn tree(size: u64) -> MemoryTree {
        MemoryTree::from_leaf_hashes((0..size).map(|i| leaf_hash(&i.to_be_bytes())).collect())
    }

    fn flipped(hash: Digest, bit: usize) -> Digest {
        let mut hash = hash;
        hash.0[bit / 8] ^= 1 << (bit % 8);
        hash
    }

    #[test]
    fn the_memory_tree_and_the_frontier_agree() {
        let mut frontier = Frontier::new();
        let mut nodes = Vec::new();
        for size in 0..=130 {
            assert_eq!(frontier.root(), tree(size).root(), "size {size}");
            assert_eq!(
                root(&tree(130), size).unwrap(),
                tree(size).root(),
                "size {size}"
            );
            frontier.append(leaf_hash(&size.to_be_bytes()), |node| nodes.push(node));
        }
        assert_eq!(nodes.into_iter().collect::<MemoryTree>(), tree(131));
    }

    #[test]
    fn every_inclusion_proof_up_to_130_leaves_verifies_there_and_nowhere_else() {
        let whole = tree(130);
        for size in 1..=130_u64 {
            let root = tree(size).root();
            for index in 0..size {
                let leaf = leaf_hash(&index.to_be_bytes());
                let proof = InclusionProof::new(&whole, index, size).unwrap();
                proof.verify(&leaf, &root).unwrap();
                let moved = InclusionProof {
                    index: (index + 1) % size,
                    ..proof.clone()
                };
                assert!(size == 1 || moved.verify(&leaf, &root).is_err());
                let mut longer = proof.clone();
                longer.path.push(leaf);
                assert!(longer.verify(&leaf, &root).is_err());
                let mut shorter = proof.clone();
                assert!(shorter.path.pop().is_none() || shorter.verify(&leaf, &root).is_err());
            }
            let beyond = Error::NoSuchEntry { index: size, size };
            assert_eq!(InclusionProof::new(&whole, size, size), Err(beyond.clone()));
            let beyond_proof = InclusionProof {
                index: size,
                size,
                path: Vec::new(),
            };
            assert_eq!(beyond_proof.verify(&root, &root), Err(beyond));
        }
    }

    #[test]
    fn every_consistency_proof_up_to_130_leaves_verifies_for_its_roots_only() {
        let whole = tree(130);
        let roots: Vec<_> = (0..=130).map(|size| tree(size).root()).collect();
        for (second, second_root) in (0_u64..).zip(&roots) {
            for (first, first_root) in (0..=second).zip(&roots) {
                let proof = ConsistencyProof::new(&whole, first, second).unwrap();
                proof.verify(first_root, second_root).unwrap();
                let other = flipped(*first_root, 3);
                assert_eq!(proof.verify(&other, second_root), Err(Error::RootMismatch));
                if first > 0 {
                    let other = flipped(*second_root, 200);
                    assert_eq!(proof.verify(first_root, &other), Err(Error::RootMismatch));
                }
                let mut longer = proof.clone();
                longer.path.push(*first_root);
                assert!(longer.verify(first_root, second_root).is_err());
                let mut shorter = proof;
                assert!(
                    shorter.path.pop().is_none()
                        || shorter.verify(first_root, second_root).is_err()
                );
            }
        }
    }

    #[test]
    fn every_flipped_bit_of_a_proof_is_found() {
        for size in [2, 3, 7, 8, 21, 64, 65, 130] {
            let (whole, root) = (tree(size), tree(size).root());
            for index in [0, size / 2, size - 1] {
                let leaf = leaf_hash(&index.to_be_bytes());
                let proof = whole.inclusion(index).unwrap();
                for bit in 0..proof.path.len() * 256 {
                    let mut bad = proof.clone();
                    bad.path[bit / 256] = flipped(bad.path[bit / 256], bit % 256);
                    assert_eq!(bad.verify(&leaf, &root), Err(Error::RootMismatch));
                }
                for bit in 0..256 {
                    assert!(proof.verify(&flipped(leaf, bit), &root).is_err());
                    assert!(proof.verify(&leaf, &flipped(root, bit)).is_err());
                }
                for bit in 0..64 {
                    let bad = InclusionProof {
                        index: index ^ 1 << bit,
                        ..proof.clone()
                    };
                    assert!(
                        bad.verify(&leaf, &root).is_err(),
                        "{index} of {size}, bit {bit}"
                    );
                }
            }
            for first in 1..size {
                let first_root = tree(first).root();
                let proof = ConsistencyProof::new(&whole, first, size).unwrap();
                for bit in 0..proof.path.len() * 256 {
                    let mut bad = proof.clone();
                    bad.path[bit / 256] = flipped(bad.path[bit / 256], bit % 256);
                    assert_eq!(bad.verify(&first_root, &root), Err(Error::RootMismatch));
                }
            }
        }
    }

    #[test]
    fn a_store_with_a_hole_says_which_node_is_missing() {
        struct Hole(MemoryTree);
        impl NodeRead for Hole {
            fn node(&self, level: u8, index: u64) -> Option<Digest> {
                if (level, index) == (2, 1) {
                    None
                } else {
                    self.0.node(level, index)
                }
            }
        }
        let missing = Err(Error::MissingNode { level: 2, index: 1 });
        assert_eq!(InclusionProof::new(&Hole(tree(8)), 0, 8), missing);
    }

    proptest! {
        #[test]
        fn arbitrary_proofs_never_panic(
            (a, b) in (any::<u64>(), any::<u64>()),
            path in prop::collection::vec(any::<[u8; 32]>(), 0..70),
        ) {
            let path: Vec<_> = path.into_iter().map(Digest).collect();
            let zero = Digest::default();
            let inclusion = InclusionProof { index: a, size: b, path: path.clone() };
            prop_assert!(inclusion.verify(&zero, &zero).is_err());
            let consistency = ConsistencyProof { first: a.min(b), second: a.max(b), path };
            prop_assert!(consistency.verify(&zero, &Digest([1; 32])).is_err());
        }
    }
}
