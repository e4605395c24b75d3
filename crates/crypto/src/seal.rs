//! The sealed stream: AES-256-GCM in chunks, committed to its key and bound to its context.
//!
//! ```text
//! magic (8) | header length (2, big-endian) | header (CBOR) | binding (32) | chunk 0 | chunk 1 | ..
//!
//! key        = HKDF(record key, salt = nonce prefix, label STREAM_KEY)
//! commitment = HKDF(record key, salt = nonce prefix, label STREAM_COMMITMENT)     in the header
//! binding    = HMAC(HKDF(record key, salt = nonce prefix, label STREAM_BINDING),
//!                   everything before the binding || context)
//! chunk i    = AES-256-GCM(key, nonce = nonce prefix (7) || i (4, big-endian) || last (1),
//!                          aad = binding, content bytes), ciphertext || tag (16)
//! ```
//!
//! Chunks are STREAM (Hoang, Reyhanitabar, Rogaway, Vizar, 2015) in the 32-bit big-endian form of
//! RustCrypto's `aead-stream`. All but the last hold exactly the chunk size; only an empty content
//! has an empty last chunk. The commitment is compared, in constant time, before anything is
//! decrypted, so one stream opens under one key; the context (alias, record id, version, signer, as
//! the caller encodes them) is not in the stream, and opening needs the same.
//!
//! A record key seals one content. A changed content gets a fresh record key.
//!
//! | Fault | Error |
//! |---|---|
//! | other key | [`Error::WrongKey`] |
//! | other context, altered header | [`Error::WrongContext`] |
//! | cut short | [`Error::Truncated`] |
//! | bytes added | [`Error::Overlong`] |
//! | bit flipped, chunk moved, chunk of another stream | [`Error::Chunk`] |

mod stream;

use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce};
use salus_proto::Entropy;
use salus_proto::sealed::{
    BINDING_LEN, ChunkSize, MAX_CHUNKS, MAX_HEADER_LEN, STREAM_MAGIC, StreamHeader, StreamLayout,
    TAG_LEN,
};

pub use stream::{
    open_range, open_stream, open_stream_threaded, seal_stream, seal_stream_threaded,
};

use crate::digest::{derive, equal_in_constant_time, hmac_sha256};
use crate::{Error, label, wrap};

/// What the sealer chooses.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Content bytes per chunk.
    pub chunk_size: ChunkSize,
    /// Content bytes in all, where known beforehand; it lets readers find the last chunk.
    pub content_length: Option<u64>,
}

/// Seals `content`: the whole stream in one buffer, with the content's length in the header.
///
/// # Errors
/// [`Error::TooManyChunks`] beyond 2^32 chunks.
pub fn seal(
    record_key: &[u8; 32],
    context: &[u8],
    content: &[u8],
    entropy: &mut dyn Entropy,
) -> Result<Vec<u8>, Error> {
    let mut sealed = Vec::new();
    seal_into(
        record_key,
        context,
        content,
        ChunkSize::DEFAULT,
        entropy,
        &mut sealed,
    )?;
    Ok(sealed)
}

/// Seals `content` into `sealed`, replacing what it held; reusing one buffer for many records spares
/// its allocation and clearing.
///
/// # Errors
/// As for [`seal`].
pub fn seal_into(
    record_key: &[u8; 32],
    context: &[u8],
    content: &[u8],
    chunk_size: ChunkSize,
    entropy: &mut dyn Entropy,
    sealed: &mut Vec<u8>,
) -> Result<(), Error> {
    let content_length = Some(content.len() as u64);
    let sealer = Sealer::new(
        record_key,
        context,
        Options {
            chunk_size,
            content_length,
        },
        entropy,
    )?;
    let prelude_length = sealer.prelude().len();
    let layout = StreamLayout::of_content(prelude_length as u64, chunk_size, content.len() as u64)
        .ok_or(Error::TooManyChunks)?;
    let length = usize::try_from(layout.sealed_length()).map_err(|_| Error::TooManyChunks)?;
    sealed.resize(length, 0);
    let (prelude, body) = sealed.split_at_mut(prelude_length);
    prelude.copy_from_slice(sealer.prelude());
    // `chunks` of an empty content yields nothing, yet an empty content has one empty chunk.
    let mut pieces = content.chunks(chunk_size.as_usize());
    let mut places = body.chunks_mut(chunk_size.as_usize() + TAG_LEN).peekable();
    let mut index = 0;
    while let Some(place) = places.next() {
        let last = places.peek().is_none();
        sealer.seal_chunk(index, last, pieces.next().unwrap_or_default(), place)?;
        index = index.wrapping_add(1);
    }
    Ok(())
}

/// Opens a whole sealed stream.
///
/// # Errors
/// See the table of the module; also [`Error::NotSealed`], [`Error::UnknownVersion`],
/// [`Error::Malformed`] and [`Error::ChunkSize`].
pub fn open(record_key: &[u8; 32], context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Error> {
    let mut content = Vec::new();
    open_into(record_key, context, sealed, &mut content)?;
    Ok(content)
}

/// Opens a whole sealed stream into `content`, replacing what it held. After an error `content` is
/// empty.
///
/// # Errors
/// As for [`open`].
pub fn open_into(
    record_key: &[u8; 32],
    context: &[u8],
    sealed: &[u8],
    content: &mut Vec<u8>,
) -> Result<(), Error> {
    let opened = open_whole(record_key, context, sealed, content);
    if opened.is_err() {
        content.clear();
    }
    opened
}

fn open_whole(
    record_key: &[u8; 32],
    context: &[u8],
    sealed: &[u8],
    content: &mut Vec<u8>,
) -> Result<(), Error> {
    let (prelude, body) = split_prelude(sealed)?;
    let opener = Opener::new(record_key, context, prelude)?;
    let layout = opener.layout(sealed.len() as u64)?;
    let length = usize::try_from(layout.content_length()).map_err(|_| Error::TooManyChunks)?;
    content.resize(length, 0);
    let chunk_size = opener.chunk_size().as_usize();
    let mut chunks = body.chunks(chunk_size + TAG_LEN).peekable();
    let mut rest = content.as_mut_slice();
    let mut index = 0;
    while let Some(chunk) = chunks.next() {
        let (place, after) = rest
            .split_at_mut_checked(chunk.len().saturating_sub(TAG_LEN))
            .ok_or(Error::Truncated)?;
        opener.open_chunk(index, chunks.peek().is_none(), chunk, place)?;
        rest = after;
        index = index.wrapping_add(1);
    }
    Ok(())
}

/// Splits a sealed stream (or enough of its start) into prelude and chunks.
///
/// # Errors
/// [`Error::NotSealed`], [`Error::UnknownVersion`], [`Error::Truncated`], and [`Error::Malformed`]
/// for a header longer than the format's.
pub fn split_prelude(sealed: &[u8]) -> Result<(&[u8], &[u8]), Error> {
    let (start, rest) = sealed
        .split_at_checked(10)
        .ok_or_else(|| short_start(sealed))?;
    let header_length = header_length(start)?;
    if rest.len() < header_length + BINDING_LEN {
        return Err(Error::Truncated);
    }
    sealed
        .split_at_checked(10 + header_length + BINDING_LEN)
        .ok_or(Error::Truncated)
}

fn short_start(start: &[u8]) -> Error {
    let magic = start.get(..8).unwrap_or(start);
    if STREAM_MAGIC.starts_with(magic) {
        Error::Truncated
    } else {
        Error::NotSealed
    }
}

/// Checks the ten bytes that open a stream and reads the header's length from them.
fn header_length(start: &[u8]) -> Result<usize, Error> {
    let (magic, length) = start.split_last_chunk::<2>().ok_or(Error::Truncated)?;
    check_magic(magic, &STREAM_MAGIC)?;
    let length = usize::from(u16::from_be_bytes(*length));
    if length > MAX_HEADER_LEN {
        let limit = MAX_HEADER_LEN;
        return Err(salus_proto::encode::Malformed::TooLong { length, limit }.into());
    }
    Ok(length)
}

/// Tells another format from another version of ours: the magic's last byte is the version.
pub(crate) fn check_magic(found: &[u8], expected: &[u8; 8]) -> Result<(), Error> {
    if found == expected {
        return Ok(());
    }
    let same_format = found.len() == 8 && found.get(..7) == expected.get(..7);
    Err(if same_format {
        Error::UnknownVersion
    } else {
        Error::NotSealed
    })
}

/// Encrypts the chunks of one stream, in any order: for uploads in parts.
pub struct Sealer {
    prelude: Vec<u8>,
    chunks: ChunkCipher,
    content_length: Option<u64>,
}

impl Sealer {
    /// Starts a stream with a fresh nonce prefix.
    ///
    /// # Errors
    /// [`Error::TooManyChunks`] if the announced content needs more than 2^32 chunks.
    pub fn new(
        record_key: &[u8; 32],
        context: &[u8],
        options: Options,
        entropy: &mut dyn Entropy,
    ) -> Result<Self, Error> {
        let most = MAX_CHUNKS * options.chunk_size.bytes();
        if options.content_length.is_some_and(|length| length > most) {
            return Err(Error::TooManyChunks);
        }
        let mut nonce_prefix = [0; 7];
        entropy.fill(&mut nonce_prefix);
        let header = StreamHeader {
            // At most 2^24.
            chunk_size: u32::try_from(options.chunk_size.bytes()).map_err(|_| Error::ChunkSize)?,
            nonce_prefix,
            commitment: *derive(record_key, &nonce_prefix, label::STREAM_COMMITMENT, &[]),
            content_length: options.content_length,
        };
        let header_bytes = salus_proto::encode::to_bytes(&header);
        let header_length = u16::try_from(header_bytes.len()).map_err(|_| Error::TooLong)?;
        let mut prelude = STREAM_MAGIC.to_vec();
        prelude.extend_from_slice(&header_length.to_be_bytes());
        prelude.extend_from_slice(&header_bytes);
        let binding = binding(record_key, &nonce_prefix, &prelude, context);
        prelude.extend_from_slice(&binding);
        let chunks = ChunkCipher::new(record_key, nonce_prefix, binding, options.chunk_size)?;
        Ok(Self {
            prelude,
            chunks,
            content_length: options.content_length,
        })
    }

    /// Continues a stream whose prelude was kept, for an interrupted upload.
    ///
    /// The content must be the same, byte for byte: sealing two contents under one chunk index
    /// reveals their difference and lets chunks be forged. Keep the content's digest with the
    /// prelude and check it before resuming.
    ///
    /// # Errors
    /// As for [`Opener::new`].
    pub fn resume(record_key: &[u8; 32], context: &[u8], prelude: &[u8]) -> Result<Self, Error> {
        let Opener {
            chunks,
            content_length,
            ..
        } = Opener::new(record_key, context, prelude)?;
        Ok(Self {
            prelude: prelude.to_vec(),
            chunks,
            content_length,
        })
    }

    /// The bytes before the first chunk.
    pub fn prelude(&self) -> &[u8] {
        &self.prelude
    }

    /// Content bytes per chunk.
    pub fn chunk_size(&self) -> ChunkSize {
        self.chunks.chunk_size
    }

    /// Encrypts one chunk into `sealed`, which is exactly a tag longer than `content`. Chunks may be
    /// sealed in any order and again, always with the same content.
    ///
    /// # Errors
    /// [`Error::Buffer`] unless `content` is as long as a chunk at this place is.
    pub fn seal_chunk(
        &self,
        index: u32,
        last: bool,
        content: &[u8],
        sealed: &mut [u8],
    ) -> Result<(), Error> {
        self.check_length(index, last, content.len())?;
        let (place, tag) = sealed
            .split_at_mut_checked(content.len())
            .ok_or(Error::Buffer)?;
        self.chunks
            .key
            .seal_out_of_place_scatter(
                self.chunks.nonce(index, last),
                Aad::from(self.chunks.binding),
                content,
                place,
                &[],
                tag,
            )
            .map_err(|_| Error::Buffer)
    }

    /// Encrypts one chunk in place: the buffer holds the content, then room for the tag.
    ///
    /// # Errors
    /// As for [`Self::seal_chunk`].
    pub fn seal_chunk_in_place(
        &self,
        index: u32,
        last: bool,
        chunk: &mut [u8],
    ) -> Result<(), Error> {
        let length = chunk.len().checked_sub(TAG_LEN).ok_or(Error::Buffer)?;
        self.check_length(index, last, length)?;
        let (content, room) = chunk.split_at_mut(length);
        let tag = self
            .chunks
            .key
            .seal_in_place_separate_tag(
                self.chunks.nonce(index, last),
                Aad::from(self.chunks.binding),
                content,
            )
            .map_err(|_| Error::Buffer)?;
        room.copy_from_slice(tag.as_ref());
        Ok(())
    }

    /// Holds every chunk to its one place and length, so that a stream has one form.
    fn check_length(&self, index: u32, last: bool, length: usize) -> Result<(), Error> {
        let full = self.chunks.chunk_size.as_usize();
        let fits = if last {
            length <= full && (length > 0 || index == 0)
        } else {
            length == full
        };
        let ends = u64::from(index) * self.chunks.chunk_size.bytes() + length as u64;
        let announced = match self.content_length {
            Some(total) if last => ends == total,
            Some(total) => ends < total,
            None => true,
        };
        if fits && announced {
            Ok(())
        } else {
            Err(Error::Buffer)
        }
    }
}

impl core::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Sealer")
            .field("chunk_size", &self.chunk_size())
            .finish_non_exhaustive()
    }
}

/// Decrypts the chunks of one stream, in any order: for range reads and downloads in parts.
pub struct Opener {
    prelude_length: u64,
    chunks: ChunkCipher,
    content_length: Option<u64>,
}

impl Opener {
    /// Checks a prelude: version, header, key, then header and context together.
    ///
    /// # Errors
    /// [`Error::NotSealed`], [`Error::UnknownVersion`], [`Error::Truncated`], [`Error::Malformed`],
    /// [`Error::ChunkSize`], [`Error::TooManyChunks`], [`Error::WrongKey`], [`Error::WrongContext`].
    pub fn new(record_key: &[u8; 32], context: &[u8], prelude: &[u8]) -> Result<Self, Error> {
        let (prelude, after) = split_prelude(prelude)?;
        if !after.is_empty() {
            return Err(Error::Overlong);
        }
        let (bound, found) = prelude
            .split_last_chunk::<BINDING_LEN>()
            .ok_or(Error::Truncated)?;
        let header = StreamHeader::from_bytes(bound.get(10..).unwrap_or_default())?;
        let chunk_size = ChunkSize::new(header.chunk_size).ok_or(Error::ChunkSize)?;
        let prefix = header.nonce_prefix;
        let commitment = derive(record_key, &prefix, label::STREAM_COMMITMENT, &[]);
        if !equal_in_constant_time(&*commitment, &header.commitment) {
            return Err(Error::WrongKey);
        }
        let binding = binding(record_key, &prefix, bound, context);
        if !equal_in_constant_time(&binding, found) {
            return Err(Error::WrongContext);
        }
        if header
            .content_length
            .is_some_and(|l| l > MAX_CHUNKS * chunk_size.bytes())
        {
            return Err(Error::TooManyChunks);
        }
        Ok(Self {
            prelude_length: prelude.len() as u64,
            chunks: ChunkCipher::new(record_key, prefix, binding, chunk_size)?,
            content_length: header.content_length,
        })
    }

    /// Content bytes per chunk.
    pub fn chunk_size(&self) -> ChunkSize {
        self.chunks.chunk_size
    }

    /// Content bytes in all, if the sealer knew them.
    pub fn content_length(&self) -> Option<u64> {
        self.content_length
    }

    /// Where the chunks lie in a stream of `sealed_length` bytes, prelude included.
    ///
    /// # Errors
    /// [`Error::Truncated`] or [`Error::Overlong`] if that is not the length that the header
    /// announces, [`Error::Truncated`] if no stream has that length.
    pub fn layout(&self, sealed_length: u64) -> Result<StreamLayout, Error> {
        let size = self.chunks.chunk_size;
        match self.content_length {
            Some(length) => {
                let layout = StreamLayout::of_content(self.prelude_length, size, length)
                    .ok_or(Error::TooManyChunks)?;
                match sealed_length.cmp(&layout.sealed_length()) {
                    core::cmp::Ordering::Less => Err(Error::Truncated),
                    core::cmp::Ordering::Equal => Ok(layout),
                    core::cmp::Ordering::Greater => Err(Error::Overlong),
                }
            }
            None => StreamLayout::of_sealed(self.prelude_length, size, sealed_length)
                .ok_or(Error::Truncated),
        }
    }

    /// Decrypts one chunk into `content`, which is exactly a tag shorter than `sealed`. After an
    /// error `content` is zeroed.
    ///
    /// # Errors
    /// [`Error::Chunk`] if it is altered or not the chunk of this place; [`Error::Truncated`] or
    /// [`Error::Overlong`] if it is the right chunk but `last` is not what it was sealed with;
    /// [`Error::Buffer`] if the buffers' lengths do not fit.
    pub fn open_chunk(
        &self,
        index: u32,
        last: bool,
        sealed: &[u8],
        content: &mut [u8],
    ) -> Result<(), Error> {
        let (ciphertext, tag) = sealed
            .split_last_chunk::<TAG_LEN>()
            .ok_or(Error::Truncated)?;
        if ciphertext.len() != content.len() || ciphertext.len() > self.chunk_size().as_usize() {
            return Err(Error::Buffer);
        }
        if last && ciphertext.is_empty() && index > 0 {
            return Err(Error::Truncated);
        }
        let mut attempt = |last| {
            let nonce = self.chunks.nonce(index, last);
            let aad = Aad::from(self.chunks.binding);
            self.chunks
                .key
                .open_separate_gather(nonce, aad, ciphertext, tag, content)
        };
        if attempt(last).is_ok() {
            return Ok(());
        }
        let misplaced = attempt(!last).is_ok();
        content.fill(0);
        Err(match (misplaced, last) {
            (true, true) => Error::Truncated,
            (true, false) => Error::Overlong,
            (false, _) => Error::Chunk { index },
        })
    }
}

impl core::fmt::Debug for Opener {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Opener")
            .field("chunk_size", &self.chunk_size())
            .field("content_length", &self.content_length)
            .finish_non_exhaustive()
    }
}

struct ChunkCipher {
    key: LessSafeKey,
    nonce_prefix: [u8; 7],
    binding: [u8; BINDING_LEN],
    chunk_size: ChunkSize,
}

impl ChunkCipher {
    fn new(
        record_key: &[u8; 32],
        nonce_prefix: [u8; 7],
        binding: [u8; BINDING_LEN],
        chunk_size: ChunkSize,
    ) -> Result<Self, Error> {
        let key = derive(record_key, &nonce_prefix, label::STREAM_KEY, &[]);
        Ok(Self {
            key: wrap::cipher(&key)?,
            nonce_prefix,
            binding,
            chunk_size,
        })
    }

    fn nonce(&self, index: u32, last: bool) -> Nonce {
        let mut nonce = [0; 12];
        let (prefix, rest) = nonce.split_at_mut(7);
        prefix.copy_from_slice(&self.nonce_prefix);
        let (counter, flag) = rest.split_at_mut(4);
        counter.copy_from_slice(&index.to_be_bytes());
        flag.fill(u8::from(last));
        Nonce::assume_unique_for_key(nonce)
    }
}

fn binding(
    record_key: &[u8; 32],
    nonce_prefix: &[u8; 7],
    bound: &[u8],
    context: &[u8],
) -> [u8; BINDING_LEN] {
    let key = derive(record_key, nonce_prefix, label::STREAM_BINDING, &[]);
    // What is bound ends where its own length field says, so bound || context reads in one way.
    hmac_sha256(&*key, &[bound, context])
}

#[cfg(test)]
mod tests;
