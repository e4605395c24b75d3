//! Bytes of everything sealed: the sealed stream's header and layout, the file for recipients, the
//! account's keyring. What computes them is `crypto`; docs/formats.md is the reading for strangers.

use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};

use crate::encode::{self, Malformed};

/// Opens a sealed stream; its last byte is the version.
pub const STREAM_MAGIC: [u8; 8] = *b"salus.s1";
/// Opens a file sealed to recipients; its last byte is the version.
pub const FILE_MAGIC: [u8; 8] = *b"salus.f1";
/// Bytes that AES-256-GCM adds to each chunk.
pub const TAG_LEN: usize = 16;
/// Bytes of the binding that closes a stream's prelude.
pub const BINDING_LEN: usize = 32;
/// Longest CBOR header of a sealed stream, in bytes.
pub const MAX_HEADER_LEN: usize = 128;
/// Longest prelude: magic, header length, header, binding.
pub const MAX_PRELUDE_LEN: usize = 8 + 2 + MAX_HEADER_LEN + BINDING_LEN;
/// Most chunks in one stream: the counter has 32 bits.
pub const MAX_CHUNKS: u64 = 1 << 32;
/// Bytes of one HPKE wrap of a 32-byte key: encapsulation 1,120, ciphertext 32, tag 16.
pub const WRAPPED_KEY_LEN: usize = X_WING_ENCAPSULATION_LEN + 32 + TAG_LEN;
/// Bytes of an X-Wing encapsulation.
pub const X_WING_ENCAPSULATION_LEN: usize = 1120;
/// Bytes of a 32-byte key wrapped under another: nonce 12, ciphertext 32, tag 16.
pub const KEY_WRAP_LEN: usize = 12 + 32 + TAG_LEN;
/// Most recipients of one sealed file.
pub const MAX_RECIPIENTS: usize = 1024;
/// Longest recipient list of a sealed file, in bytes of CBOR.
pub const MAX_RECIPIENT_LIST_LEN: usize = 16 + MAX_RECIPIENTS * (WRAPPED_KEY_LEN + 3);
/// Most doors of one keyring.
pub const MAX_DOORS: usize = 32;
/// Longest encoded sealed keyring, in bytes.
pub const MAX_SEALED_KEYRING_LEN: usize = 64 * 1024;

/// Plaintext bytes per chunk: a power of two from 64 KiB to 16 MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkSize(u32);

impl ChunkSize {
    /// 64 KiB.
    pub const MIN: Self = Self(1 << 16);
    /// 1 MiB, the default: what browsers need to be fast.
    pub const DEFAULT: Self = Self(1 << 20);
    /// 16 MiB.
    pub const MAX: Self = Self(1 << 24);

    /// Accepts a power of two from 64 KiB to 16 MiB.
    pub fn new(bytes: u32) -> Option<Self> {
        let size = Self(bytes);
        (bytes.is_power_of_two() && (Self::MIN..=Self::MAX).contains(&size)).then_some(size)
    }

    /// Plaintext bytes per chunk.
    pub fn bytes(self) -> u64 {
        u64::from(self.0)
    }

    /// Plaintext bytes per chunk, as a buffer length.
    pub fn as_usize(self) -> usize {
        // At most 2^24, which every target we build for can hold.
        self.0 as usize
    }
}

impl Default for ChunkSize {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The header of a sealed stream.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct StreamHeader {
    /// Plaintext bytes per chunk; see [`ChunkSize`].
    #[n(1)]
    pub chunk_size: u32,
    /// First seven bytes of every chunk's nonce, random.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub nonce_prefix: [u8; 7],
    /// HKDF of the record key: a stream opens under one key only.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub commitment: [u8; 32],
    /// Plaintext bytes, absent where the sealer did not know them beforehand (a pipe).
    #[n(4)]
    pub content_length: Option<u64>,
}

impl StreamHeader {
    /// Reads a header of at most [`MAX_HEADER_LEN`] bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        encode::from_bytes(bytes, MAX_HEADER_LEN, "the header of a sealed stream")
    }
}

/// Where the chunks of a stream lie: pure arithmetic, for range reads and resumable uploads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamLayout {
    prelude_length: u64,
    chunk_size: ChunkSize,
    content_length: u64,
}

/// One chunk's place in the sealed bytes and in the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkPlace {
    /// Position, from 0.
    pub index: u32,
    /// Whether it is the stream's last.
    pub last: bool,
    /// First byte in the sealed stream.
    pub sealed_offset: u64,
    /// Bytes in the sealed stream, tag included.
    pub sealed_length: u64,
    /// First byte in the content.
    pub content_offset: u64,
    /// Bytes of content.
    pub content_length: u64,
}

impl StreamLayout {
    /// The layout for a content of `content_length` bytes; `None` if it needs more than
    /// [`MAX_CHUNKS`] chunks.
    pub fn of_content(
        prelude_length: u64,
        chunk_size: ChunkSize,
        content_length: u64,
    ) -> Option<Self> {
        let layout = Self {
            prelude_length,
            chunk_size,
            content_length,
        };
        (layout.chunks() <= MAX_CHUNKS).then_some(layout)
    }

    /// The layout of a whole sealed stream of `sealed_length` bytes; `None` if no content has a
    /// sealed form of that length.
    pub fn of_sealed(
        prelude_length: u64,
        chunk_size: ChunkSize,
        sealed_length: u64,
    ) -> Option<Self> {
        let body = sealed_length.checked_sub(prelude_length)?;
        let full = chunk_size.bytes() + TAG_LEN as u64;
        let chunks = body.div_ceil(full);
        let content_length = body.checked_sub(chunks * TAG_LEN as u64)?;
        let layout = Self::of_content(prelude_length, chunk_size, content_length)?;
        (layout.sealed_length() == sealed_length).then_some(layout)
    }

    /// Number of chunks, at least 1.
    pub fn chunks(&self) -> u64 {
        self.content_length.div_ceil(self.chunk_size.bytes()).max(1)
    }

    /// Bytes of the content.
    pub fn content_length(&self) -> u64 {
        self.content_length
    }

    /// Bytes of the whole sealed stream.
    pub fn sealed_length(&self) -> u64 {
        self.prelude_length + self.content_length + self.chunks() * TAG_LEN as u64
    }

    /// The place of a chunk; `None` beyond the last.
    pub fn chunk(&self, index: u32) -> Option<ChunkPlace> {
        let i = u64::from(index);
        if i >= self.chunks() {
            return None;
        }
        let content_offset = i * self.chunk_size.bytes();
        let content_length = (self.content_length - content_offset).min(self.chunk_size.bytes());
        Some(ChunkPlace {
            index,
            last: i + 1 == self.chunks(),
            sealed_offset: self.prelude_length + content_offset + i * TAG_LEN as u64,
            sealed_length: content_length + TAG_LEN as u64,
            content_offset,
            content_length,
        })
    }

    /// The chunks that hold the content bytes of `range`; `None` if the range is empty, reversed or
    /// reaches beyond the content.
    pub fn chunks_of(
        &self,
        range: core::ops::Range<u64>,
    ) -> Option<core::ops::RangeInclusive<u32>> {
        if range.start >= range.end || range.end > self.content_length {
            return None;
        }
        let first = u32::try_from(range.start / self.chunk_size.bytes()).ok()?;
        let last = u32::try_from((range.end - 1) / self.chunk_size.bytes()).ok()?;
        Some(first..=last)
    }
}

/// One recipient's wrap of a sealed file's key.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(transparent)]
pub struct RecipientWrap(#[cbor(n(0), with = "minicbor::bytes")] pub Vec<u8>);

/// Who can open a sealed file; nothing in it names them.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct RecipientList {
    /// One HPKE wrap of the file key per recipient, [`WRAPPED_KEY_LEN`] bytes each.
    #[n(1)]
    pub wraps: Vec<RecipientWrap>,
}

impl RecipientList {
    /// Reads a list of 1 to [`MAX_RECIPIENTS`] wraps of the right length.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        const WHAT: &str = "the recipient list of a sealed file";
        let list: Self = encode::from_bytes(bytes, MAX_RECIPIENT_LIST_LEN, WHAT)?;
        let in_bounds = (1..=MAX_RECIPIENTS).contains(&list.wraps.len())
            && list
                .wraps
                .iter()
                .all(|wrap| wrap.0.len() == WRAPPED_KEY_LEN);
        if !in_bounds {
            let reason = "wraps missing, too many, or of the wrong length".to_owned();
            return Err(Malformed::Structure { what: WHAT, reason });
        }
        Ok(list)
    }
}

/// What opens an account's vault.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Encode, Decode)]
#[cbor(index_only)]
pub enum DoorKind {
    /// The account's password, through OPAQUE's export key.
    #[n(0)]
    Password,
    /// A printed recovery code.
    #[n(1)]
    RecoveryCode,
    /// A passkey, through WebAuthn's PRF output.
    #[n(2)]
    Passkey,
}

/// The vault key wrapped for one door.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Door {
    /// What opens it.
    #[n(1)]
    pub kind: DoorKind,
    /// Which one, where there are several of a kind: the passkey's credential id; else empty. At
    /// most 1,023 bytes (WebAuthn level 3, section 4).
    #[cbor(n(2), with = "minicbor::bytes")]
    pub name: Vec<u8>,
    /// Salt of the door key's derivation, random.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub salt: [u8; 32],
    /// The vault key under the door key, [`KEY_WRAP_LEN`] bytes.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub wrap: Vec<u8>,
}

/// An account's keyring as its server stores it: unreadable without one of its doors.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct SealedKeyring {
    /// Format version: 1.
    #[n(1)]
    pub version: u32,
    /// Ways in, at least one.
    #[n(2)]
    pub doors: Vec<Door>,
    /// The encoded [`Keyring`] under the vault key: nonce 12, ciphertext, tag 16.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub keyring: Vec<u8>,
}

impl SealedKeyring {
    /// The version that this crate writes.
    pub const VERSION: u32 = 1;

    /// Reads a sealed keyring with 1 to [`MAX_DOORS`] doors.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        const WHAT: &str = "a sealed keyring";
        let sealed: Self = encode::from_bytes(bytes, MAX_SEALED_KEYRING_LEN, WHAT)?;
        let in_bounds = (1..=MAX_DOORS).contains(&sealed.doors.len())
            && sealed
                .doors
                .iter()
                .all(|door| door.name.len() <= 1023 && door.wrap.len() == KEY_WRAP_LEN);
        if !in_bounds {
            let reason = "doors missing, too many, or of the wrong length".to_owned();
            return Err(Malformed::Structure { what: WHAT, reason });
        }
        Ok(sealed)
    }
}

/// A principal's three secret seeds. Holds secrets: whoever decodes one wipes it.
#[derive(PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Keyring {
    /// Format version: 1.
    #[n(1)]
    pub version: u32,
    /// Ed25519 seed (RFC 8032).
    #[cbor(n(2), with = "minicbor::bytes")]
    pub ed25519: [u8; 32],
    /// ML-DSA-65 seed (FIPS 204, xi).
    #[cbor(n(3), with = "minicbor::bytes")]
    pub ml_dsa_65: [u8; 32],
    /// X-Wing seed (draft-connolly-cfrg-xwing-kem, the decapsulation key).
    #[cbor(n(4), with = "minicbor::bytes")]
    pub x_wing: [u8; 32],
    /// X-Wing seeds that were replaced, newest first: they open what was wrapped before. At most
    /// [`FORMER_KEYS_LIMIT`], absent when there are none.
    #[n(5)]
    pub former: Option<Vec<ByteArray<32>>>,
    /// The three seeds, in the order above, that will replace these once the ledger says so.
    #[n(6)]
    pub next: Option<ByteArray<96>>,
}

/// Most replaced X-Wing seeds of one keyring.
pub const FORMER_KEYS_LIMIT: usize = 64;

impl Keyring {
    /// The version that this crate writes.
    pub const VERSION: u32 = 1;

    /// Reads a keyring.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        const WHAT: &str = "a keyring";
        let keyring: Self = encode::from_bytes(bytes, 4096, WHAT)?;
        let former = keyring.former.as_ref().map(Vec::len);
        if former.is_some_and(|count| count == 0 || count > FORMER_KEYS_LIMIT) {
            let reason = "no former keys, or too many".to_owned();
            return Err(Malformed::Structure { what: WHAT, reason });
        }
        Ok(keyring)
    }
}

impl core::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Keyring(secret)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn chunk_sizes_are_powers_of_two_within_bounds() {
        for bad in [0, 1, 65_535, 65_537, 1 << 15, 1 << 25, 3 << 16, u32::MAX] {
            assert_eq!(ChunkSize::new(bad), None, "{bad}");
        }
        for good in 16..=24 {
            assert!(ChunkSize::new(1 << good).is_some());
        }
    }

    #[test]
    fn an_empty_content_is_one_chunk_of_a_tag() {
        let layout = StreamLayout::of_content(100, ChunkSize::MIN, 0).unwrap();
        assert_eq!((layout.chunks(), layout.sealed_length()), (1, 116));
        assert_eq!(layout.chunks_of(0..0), None);
    }

    #[test]
    fn more_chunks_than_the_counter_holds_are_refused() {
        let most = MAX_CHUNKS * ChunkSize::MIN.bytes();
        assert!(StreamLayout::of_content(0, ChunkSize::MIN, most).is_some());
        assert!(StreamLayout::of_content(0, ChunkSize::MIN, most + 1).is_none());
        assert!(StreamLayout::of_content(0, ChunkSize::MIN, u64::MAX).is_none());
    }

    proptest! {
        #[test]
        fn chunks_tile_the_stream_and_lengths_agree(content in 0u64..5_000_000, prelude in 0u64..200) {
            let layout = StreamLayout::of_content(prelude, ChunkSize::MIN, content).unwrap();
            let (mut sealed, mut plain) = (prelude, 0);
            for index in 0..u32::try_from(layout.chunks()).unwrap() {
                let chunk = layout.chunk(index).unwrap();
                prop_assert_eq!((chunk.sealed_offset, chunk.content_offset), (sealed, plain));
                sealed += chunk.sealed_length;
                plain += chunk.content_length;
                prop_assert_eq!(chunk.last, plain == content);
            }
            prop_assert_eq!((sealed, plain), (layout.sealed_length(), content));
            prop_assert_eq!(
                StreamLayout::of_sealed(prelude, ChunkSize::MIN, sealed),
                Some(layout)
            );
        }
    }
}
