//! The bytes of a pack: many small blobs in one object that says what it holds.
//!
//! ```text
//!  "SALUSPK1"   length of the index   index                        blob 1 │ blob 2 │ …
//!   8 bytes     4 bytes, big-endian   CBOR [[digest, length], …]
//!  └────────────── SHA-256 of these is the pack's id ─────────┘
//! ```
//!
//! The id commits to the digest of every blob, so a pack proves its whole content.

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use minicbor::{Decode, Encode};
use salus_proto::{Digest, encode};

use super::{Location, Place};
use crate::error::{Error, Result};

/// Most bytes of one blob in a pack; larger ones are uploaded in parts.
pub const SMALL_MAX: usize = 8 << 20;

/// Most blobs in one pack.
pub const PACK_BLOBS_MAX: usize = 16_384;

/// Most bytes of all blobs in one pack.
pub const PACK_BYTES_MAX: usize = 64 << 20;

const MAGIC: &[u8; 8] = b"SALUSPK1";

/// Bytes before the index.
pub(super) const PREFIX: usize = MAGIC.len() + 4;

/// Most bytes of an index: 34 for a digest, 5 for a length, 1 around them, each entry; 5 outside.
pub(super) const INDEX_MAX: usize = 40 * PACK_BLOBS_MAX + 5;

#[derive(Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
struct Index(#[n(0)] Vec<Entry>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
struct Entry {
    #[n(0)]
    digest: Digest,
    #[n(1)]
    length: u32,
}

/// SHA-256 of some bytes.
pub(super) fn sha256(bytes: &[u8]) -> Digest {
    let mut out = Digest::default();
    out.0.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}

/// A pack that is ready to be written.
pub(super) struct Built {
    pub(super) id: Digest,
    pub(super) content: Vec<Bytes>,
    pub(super) locations: Vec<Location>,
}

/// Lays out a pack after checking every blob against its digest.
pub(super) fn build(blobs: Vec<(Digest, Bytes)>) -> Result<Built> {
    let too_large = |what, size: usize, limit: usize| Error::TooLarge {
        what,
        size: size as u64,
        limit: limit as u64,
    };
    if blobs.len() > PACK_BLOBS_MAX {
        return Err(too_large("blobs in a pack", blobs.len(), PACK_BLOBS_MAX));
    }
    let total: usize = blobs.iter().map(|(_, bytes)| bytes.len()).sum();
    if total > PACK_BYTES_MAX {
        return Err(too_large("bytes in a pack", total, PACK_BYTES_MAX));
    }
    let mut entries = Vec::with_capacity(blobs.len());
    for (expected, bytes) in &blobs {
        if bytes.len() > SMALL_MAX {
            return Err(too_large("bytes of a small blob", bytes.len(), SMALL_MAX));
        }
        if sha256(bytes) != *expected {
            return Err(Error::WrongDigest {
                expected: *expected,
            });
        }
        entries.push(Entry {
            digest: *expected,
            length: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
        });
    }
    let index = encode::to_bytes(&Index(entries.clone()));
    let mut header = Vec::with_capacity(PREFIX + index.len());
    header.extend_from_slice(MAGIC);
    header.extend_from_slice(&u32::try_from(index.len()).unwrap_or(u32::MAX).to_be_bytes());
    header.extend_from_slice(&index);
    let id = sha256(&header);
    let locations = locations(id, header.len(), &entries);
    let mut content = vec![Bytes::from(header)];
    content.extend(blobs.into_iter().map(|(_, bytes)| bytes));
    Ok(Built {
        id,
        content,
        locations,
    })
}

/// The length of the index from a pack's first [`PREFIX`] bytes.
pub(super) fn index_length(prefix: &[u8]) -> Result<usize, String> {
    let (magic, length) = prefix.split_at_checked(MAGIC.len()).ok_or("too short")?;
    if magic != MAGIC {
        return Err("it does not begin as a pack does".into());
    }
    let length: [u8; 4] = length.try_into().map_err(|_| "too short")?;
    match usize::try_from(u32::from_be_bytes(length)) {
        Ok(length) if length <= INDEX_MAX => Ok(length),
        _ => Err("its index is longer than any pack's".into()),
    }
}

/// What a pack with this header holds.
pub(super) fn read_header(id: Digest, header: &[u8]) -> Result<Vec<Location>, String> {
    if sha256(header) != id {
        return Err("its header does not have the digest that names it".into());
    }
    let index = header.get(PREFIX..).ok_or("too short")?;
    let Index(entries) =
        encode::from_bytes(index, INDEX_MAX, "pack index").map_err(|e| e.to_string())?;
    Ok(locations(id, header.len(), &entries))
}

/// What this whole pack holds, after checking every byte of it.
pub(super) fn check(id: Digest, bytes: &[u8]) -> Result<Vec<Location>, String> {
    let prefix = bytes.get(..PREFIX).ok_or("it is cut short")?;
    let header = bytes.get(..PREFIX + index_length(prefix)?);
    let header = header.ok_or("it is cut short")?;
    let locations = read_header(id, header)?;
    let mut rest = bytes.get(header.len()..).unwrap_or_default();
    for location in &locations {
        let length = usize::try_from(location.length).unwrap_or(usize::MAX);
        let (blob, others) = rest.split_at_checked(length).ok_or("it is cut short")?;
        if sha256(blob) != location.digest {
            return Err(format!("blob {} has another digest", location.digest));
        }
        rest = others;
    }
    if rest.is_empty() {
        Ok(locations)
    } else {
        Err("it goes on after its last blob".into())
    }
}

fn locations(pack: Digest, header_length: usize, entries: &[Entry]) -> Vec<Location> {
    let mut offset = header_length as u64;
    entries
        .iter()
        .map(|entry| {
            let location = Location {
                digest: entry.digest,
                length: entry.length.into(),
                place: Place::Pack { pack, offset },
            };
            offset += location.length;
            location
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blobs() -> Vec<(Digest, Bytes)> {
        [&b"one"[..], b"", b"three"]
            .into_iter()
            .map(|bytes| (sha256(bytes), Bytes::from_static(bytes)))
            .collect()
    }

    #[test]
    fn the_bytes_of_a_pack_are_these() {
        let built = build(blobs()).expect("builds");
        let bytes = built.content.concat();
        let expected = [
            b"SALUSPK1\x00\x00\x00\x6d\x83".to_vec(),
            [b"\x82\x58\x20".to_vec(), sha256(b"one").0.to_vec(), vec![3]].concat(),
            [b"\x82\x58\x20".to_vec(), sha256(b"").0.to_vec(), vec![0]].concat(),
            [
                b"\x82\x58\x20".to_vec(),
                sha256(b"three").0.to_vec(),
                vec![5],
            ]
            .concat(),
            b"onethree".to_vec(),
        ]
        .concat();
        assert_eq!(hex::encode(&bytes), hex::encode(expected));
        assert_eq!(built.id, sha256(&bytes[..bytes.len() - 8]));
    }

    #[test]
    fn a_header_says_where_each_blob_lies_and_an_altered_one_is_refused() {
        let built = build(blobs()).expect("builds");
        let bytes = built.content.concat();
        let header = bytes.len() - 8;
        assert_eq!(index_length(&bytes[..PREFIX]), Ok(header - PREFIX));
        let read = read_header(built.id, &bytes[..header]).expect("reads");
        assert_eq!(read, built.locations);
        for position in 0..header {
            let mut altered = bytes[..header].to_vec();
            altered[position] ^= 1;
            assert!(read_header(built.id, &altered).is_err());
        }
    }

    #[test]
    fn what_does_not_fit_or_match_is_refused() {
        let zeros = Bytes::from(vec![0; SMALL_MAX + 1]);
        let digest = sha256(&zeros);
        assert!(matches!(
            build(vec![(digest, zeros.clone())]),
            Err(Error::TooLarge { size, limit, .. }) if size == limit + 1
        ));
        assert!(matches!(
            build(vec![(digest, zeros.slice(1..))]),
            Err(Error::WrongDigest { expected }) if expected == digest
        ));
        let many = vec![(digest, Bytes::new()); PACK_BLOBS_MAX + 1];
        assert!(matches!(build(many), Err(Error::TooLarge { .. })));
    }

    #[test]
    fn the_largest_index_fits_its_limit() {
        let entry = Entry {
            digest: Digest([0xff; 32]),
            length: u32::MAX,
        };
        let index = encode::to_bytes(&Index(vec![entry; PACK_BLOBS_MAX]));
        assert!(index.len() <= INDEX_MAX);
    }
}
