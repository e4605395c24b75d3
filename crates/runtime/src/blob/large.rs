//! The list that makes stored parts one large blob.

use core::fmt;
use std::ops::Range;

use aws_lc_rs::digest::{Context, SHA256};
use minicbor::{Decode, Encode};
use salus_proto::{Digest, encode};

use super::name::UploadId;
use crate::error::{Error, Result};

/// Bytes of each part but the last that the store cuts itself.
pub const PART_BYTES: usize = 8 << 20;

/// Most bytes of a part that a caller cuts.
pub const PART_MAX: usize = 16 << 20;

/// Most parts of one blob: 512 GiB in parts of [`PART_BYTES`].
pub const PARTS_MAX: usize = 65_536;

/// Most bytes of a list: 34 for a digest, 5 for a length, 1 around them, each entry; 64 outside.
pub(super) const INDEX_MAX: usize = 40 * PARTS_MAX + 64;

/// The parts of a complete blob, in order. Stored as CBOR.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(super) struct Index {
    #[n(1)]
    upload: UploadId,
    #[n(2)]
    parts: Vec<Part>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
struct Part {
    #[n(0)]
    digest: Digest,
    #[n(1)]
    length: u32,
}

/// A part that a range of bytes touches.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Touched {
    pub(super) digest: Digest,
    /// The part's length in bytes.
    pub(super) length: u64,
    /// The bytes of the range within the part.
    pub(super) within: Range<usize>,
}

impl Index {
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let index: Self =
            encode::from_bytes(bytes, INDEX_MAX, "list of parts").map_err(|e| e.to_string())?;
        if index.parts.len() > PARTS_MAX {
            return Err("it has more parts than any blob".into());
        }
        Ok(index)
    }

    pub(super) fn upload(&self) -> UploadId {
        self.upload
    }

    /// The digests of the parts, in order.
    pub(super) fn order(&self) -> impl Iterator<Item = Digest> {
        self.parts.iter().map(|part| part.digest)
    }

    /// The blob's length in bytes.
    pub(super) fn length(&self) -> u64 {
        self.parts.iter().map(|part| u64::from(part.length)).sum()
    }

    /// The parts that hold bytes `range`, in order.
    pub(super) fn touched(&self, range: Range<u64>) -> Vec<Touched> {
        let mut begin = 0;
        let mut touched = Vec::new();
        for part in &self.parts {
            let end = begin + u64::from(part.length);
            let from = range.start.clamp(begin, end) - begin;
            let to = range.end.clamp(begin, end) - begin;
            // Both are at most a part's length, which is 32 bits.
            if let (Ok(from), Ok(to)) = (usize::try_from(from), usize::try_from(to))
                && from < to
            {
                touched.push(Touched {
                    digest: part.digest,
                    length: part.length.into(),
                    within: from..to,
                });
            }
            begin = end;
        }
        touched
    }
}

/// A large blob as its parts arrive in order.
pub(super) struct Parts {
    index: Index,
    context: Context,
}

impl Parts {
    pub(super) fn new(upload: UploadId) -> Self {
        Self {
            index: Index {
                upload,
                parts: Vec::new(),
            },
            context: Context::new(&SHA256),
        }
    }

    /// Adds the bytes of the next part to the blob's digest.
    pub(super) fn hash(&mut self, bytes: &[u8]) {
        self.context.update(bytes);
    }

    /// Adds the next part to the list.
    pub(super) fn push(&mut self, digest: Digest, length: usize) -> Result<()> {
        let too_large = |what, size: usize, limit: usize| Error::TooLarge {
            what,
            size: size as u64,
            limit: limit as u64,
        };
        if self.index.parts.len() == PARTS_MAX {
            return Err(too_large("parts of a blob", PARTS_MAX + 1, PARTS_MAX));
        }
        let length =
            u32::try_from(length).map_err(|_| too_large("bytes of a part", length, PART_MAX))?;
        self.index.parts.push(Part { digest, length });
        Ok(())
    }

    /// The blob's digest and length, and the bytes of its list.
    pub(super) fn finish(self) -> (Digest, u64, Vec<u8>) {
        let mut digest = Digest::default();
        digest.0.copy_from_slice(self.context.finish().as_ref());
        (digest, self.index.length(), encode::to_bytes(&self.index))
    }
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Parts({:?})", self.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(lengths: &[u32]) -> Index {
        Index {
            upload: UploadId([7; 16]),
            parts: (1..=u8::MAX)
                .cycle()
                .zip(lengths)
                .map(|(number, &length)| Part {
                    digest: Digest([number; 32]),
                    length,
                })
                .collect(),
        }
    }

    #[test]
    fn the_bytes_of_a_list_are_these() {
        let bytes = encode::to_bytes(&index(&[300, 5]));
        let expected = format!(
            "a20150{}0282825820{}19012c825820{}05",
            "07".repeat(16),
            "01".repeat(32),
            "02".repeat(32)
        );
        assert_eq!(hex::encode(&bytes), expected);
        assert_eq!(Index::from_bytes(&bytes), Ok(index(&[300, 5])));
    }

    #[test]
    fn a_range_touches_the_parts_that_hold_it_and_no_others() {
        let index = index(&[10, 20, 5]);
        let touched = |range| -> Vec<(u8, Range<usize>)> {
            let touched = index.touched(range).into_iter();
            touched.map(|t| (t.digest.0[0], t.within)).collect()
        };
        assert_eq!(index.length(), 35);
        assert_eq!(touched(0..35), [(1, 0..10), (2, 0..20), (3, 0..5)]);
        assert_eq!(touched(9..11), [(1, 9..10), (2, 0..1)]);
        assert_eq!(touched(10..30), [(2, 0..20)]);
        assert_eq!(touched(34..99), [(3, 4..5)]);
        assert_eq!(touched(7..7), []);
    }

    #[test]
    fn malformed_lists_are_refused() {
        let bytes = encode::to_bytes(&index(&[1]));
        for cut in 0..bytes.len() {
            assert!(Index::from_bytes(&bytes[..cut]).is_err());
        }
        assert!(Index::from_bytes(&[bytes, vec![0]].concat()).is_err());
    }

    #[test]
    fn the_longest_list_fits_its_limit() {
        let bytes = encode::to_bytes(&index(&vec![u32::MAX; PARTS_MAX]));
        assert!(bytes.len() <= INDEX_MAX);
    }
}
