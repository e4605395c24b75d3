//! The append-only Merkle tree of the log: hashing and appending, not proofs and not storage.
//!
//! ```text
//! level 2        h            A tree of 7 leaves is three full subtrees ("peaks"): h, e, 6.
//!              /   \          Appending touches peaks only; the root folds them from the right:
//! level 1     c     d     e        root = node(h, node(e, 6))
//!            / \   / \   / \  A node is named by its level above the leaves and its index within
//! level 0   0   1 2   3 4   5  6    that level, and only full subtrees have a name.
//! ```
//!
//! Hashing is RFC 9162 section 2.1.1: leaf `SHA-256(0x00 || entry)`, node
//! `SHA-256(0x01 || left || right)`, empty tree `SHA-256("")`.

use minicbor::{Decode, Encode};
use salus_crypto::digest::sha256;
use salus_proto::{Digest, encode};

use crate::{Error, hash};

/// Largest tree that proofs and stored frontiers may speak of, in leaves.
pub const MAX_TREE_SIZE: u64 = 1 << 62;

/// Hash of a leaf: `SHA-256(0x00 || entry)`.
pub fn leaf_hash(entry: &[u8]) -> Digest {
    hash::tagged(0x00, entry)
}

/// Hash of an inner node: `SHA-256(0x01 || left || right)`.
pub fn node_hash(left: &Digest, right: &Digest) -> Digest {
    hash::tagged_pair(0x01, left, right)
}

/// Root of the tree without leaves: `SHA-256("")`.
pub fn empty_root() -> Digest {
    sha256(b"")
}

/// A completed full subtree, to be stored by whoever serves proofs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// Height of the subtree; 0 is a leaf hash.
    pub level: u8,
    /// Position among the subtrees of this level; it covers leaves
    /// `index << level .. (index + 1) << level`.
    pub index: u64,
    /// Root hash of the subtree.
    pub hash: Digest,
}

/// The right edge of a growing tree: all that appending and the root need, at most 63 hashes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    /// Roots of the full subtrees, the largest first; one per set bit of `size`.
    peaks: Vec<Digest>,
}

impl Frontier {
    /// The tree without leaves.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Root hash, RFC 9162 section 2.1.1.
    pub fn root(&self) -> Digest {
        let mut peaks = self.peaks.iter().rev();
        match peaks.next() {
            None => empty_root(),
            Some(last) => peaks.fold(*last, |root, peak| node_hash(peak, &root)),
        }
    }

    /// Appends the leaf with this hash and hands every subtree that it completes to `store`, the
    /// leaf first. One inner hash per leaf on average.
    pub fn append(&mut self, leaf: Digest, mut store: impl FnMut(Node)) {
        let mut node = Node {
            level: 0,
            index: self.size,
            hash: leaf,
        };
        store(node);
        while node.index & 1 == 1
            && let Some(left) = self.peaks.pop()
        {
            node = Node {
                level: node.level + 1,
                index: node.index >> 1,
                hash: node_hash(&left, &node.hash),
            };
            store(node);
        }
        self.peaks.push(node.hash);
        self.size += 1;
    }

    /// Appends the entries of a block; `store` as for [`Self::append`].
    pub fn extend<'e>(
        &mut self,
        entries: impl IntoIterator<Item = &'e [u8]>,
        mut store: impl FnMut(Node),
    ) {
        for entry in entries {
            self.append(leaf_hash(entry), &mut store);
        }
    }

    /// Deterministic CBOR `{0: size, 1: [peak, ...]}`, for storage.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode::to_bytes(&Stored {
            size: self.size,
            peaks: self.peaks.clone(),
        })
    }

    /// Reads what [`Self::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`Error::Malformed`] and [`Error::Frontier`] for bytes that are nothing of the kind.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        /// 63 peaks of 34 bytes each, and the size.
        const LIMIT: usize = 63 * 34 + 32;
        let Stored { size, peaks } = encode::from_bytes(bytes, LIMIT, "log frontier")?;
        if size > MAX_TREE_SIZE || peaks.len() != size.count_ones() as usize {
            return Err(Error::Frontier);
        }
        Ok(Self { size, peaks })
    }
}

#[derive(Encode, Decode)]
#[cbor(map)]
struct Stored {
    #[n(0)]
    size: u64,
    #[n(1)]
    peaks: Vec<Digest>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 9162 section 2.1.1 to the letter.
    fn naive_root(entries: &[Vec<u8>]) -> Digest {
        match entries {
            [] => empty_root(),
            [entry] => leaf_hash(entry),
            _ => {
                let (left, right) = entries.split_at(entries.len().next_power_of_two() / 2);
                node_hash(&naive_root(left), &naive_root(right))
            }
        }
    }

    proptest! {
        #[test]
        fn appending_gives_the_root_of_the_definition(
            entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..70),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut frontier = Frontier::new();
            let (before, after) = entries.split_at(cut.index(entries.len() + 1));
            frontier.extend(before.iter().map(Vec::as_slice), |_| ());
            prop_assert_eq!(frontier.root(), naive_root(before));
            let mut frontier = Frontier::from_bytes(&frontier.to_bytes()).unwrap();
            frontier.extend(after.iter().map(Vec::as_slice), |_| ());
            prop_assert_eq!(frontier.root(), naive_root(&entries));
            prop_assert_eq!(frontier.size(), entries.len() as u64);
        }
    }

    #[test]
    fn every_completed_subtree_is_handed_out_once() {
        let mut frontier = Frontier::new();
        let mut nodes = Vec::new();
        for leaf in 0..8_u8 {
            frontier.append(leaf_hash(&[leaf]), |node| {
                nodes.push((node.level, node.index));
            });
        }
        let expected = [
            vec![(0, 0)],
            vec![(0, 1), (1, 0)],
            vec![(0, 2)],
            vec![(0, 3), (1, 1), (2, 0)],
            vec![(0, 4)],
            vec![(0, 5), (1, 2)],
            vec![(0, 6)],
            vec![(0, 7), (1, 3), (2, 1), (3, 0)],
        ];
        assert_eq!(nodes, expected.concat());
    }

    #[test]
    fn a_damaged_frontier_is_refused() {
        let mut frontier = Frontier::new();
        frontier.extend([b"a".as_slice(), b"b", b"c"], |_| ());
        let good = frontier.to_bytes();
        assert_eq!(Frontier::from_bytes(&good).unwrap(), frontier);
        for end in 0..good.len() {
            assert!(Frontier::from_bytes(&good[..end]).is_err(), "{end} bytes");
        }
        for size in [0, 1, 2, 4, 7, MAX_TREE_SIZE + 1] {
            let bad = Stored {
                size,
                peaks: frontier.peaks.clone(),
            };
            assert_eq!(
                Frontier::from_bytes(&encode::to_bytes(&bad)),
                Err(Error::Frontier)
            );
        }
    }
}
