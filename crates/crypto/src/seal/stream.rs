//! Sealing and opening between a reader and a writer, in constant memory.

use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::sync::mpsc;

use salus_proto::Entropy;
use salus_proto::sealed::{BINDING_LEN, TAG_LEN};

use super::{Opener, Options, Sealer, header_length, short_start};
use crate::Error;

/// Buffers in flight between the threads: one being read, one in the cipher, one being written, and
/// one to spare.
const BUFFERS: usize = 4;

/// Seals everything that `content` yields into `sealed` and returns the sealed stream's length. Holds
/// two chunks in memory.
///
/// # Errors
/// [`Error::ContentLength`] if the content is not as long as announced, [`Error::TooManyChunks`],
/// [`Error::Io`].
pub fn seal_stream(
    record_key: &[u8; 32],
    context: &[u8],
    options: Options,
    entropy: &mut dyn Entropy,
    content: impl Read,
    mut sealed: impl Write,
) -> Result<u64, Error> {
    let sealer = Sealer::new(record_key, context, options, entropy)?;
    sealed.write_all(sealer.prelude())?;
    let mut chunks = Chunks::new(content, options.chunk_size.as_usize());
    let (mut here, mut ahead) = (chunks.buffer(), chunks.buffer());
    let mut written = sealer.prelude().len() as u64;
    chunks.prime(&mut here)?;
    loop {
        let place = chunks.advance(&here, &mut ahead)?;
        let chunk = seal_one(&sealer, place, &mut here)?;
        sealed.write_all(chunk)?;
        written += chunk.len() as u64;
        if place.last {
            return Ok(written);
        }
        core::mem::swap(&mut here, &mut ahead);
    }
}

/// As [`seal_stream`], with reading, encrypting and writing on three threads: the fastest way to seal
/// a large file. Holds five chunks in memory.
///
/// # Errors
/// As for [`seal_stream`].
pub fn seal_stream_threaded(
    record_key: &[u8; 32],
    context: &[u8],
    options: Options,
    entropy: &mut dyn Entropy,
    content: impl Read + Send,
    mut sealed: impl Write,
) -> Result<u64, Error> {
    let sealer = Sealer::new(record_key, context, options, entropy)?;
    sealed.write_all(sealer.prelude())?;
    let written = pipeline(
        Chunks::new(content, options.chunk_size.as_usize()),
        |place, buffer| seal_one(&sealer, place, buffer).map(|chunk| chunk.len()),
        |chunk| Ok(sealed.write_all(chunk)?),
    )?;
    Ok(sealer.prelude().len() as u64 + written)
}

/// Opens a sealed stream into `content` and returns the content's length. Holds three chunks in
/// memory.
///
/// Each chunk is verified before it is written, but only a return without error says that the
/// content is complete: discard what was written otherwise.
///
/// # Errors
/// See the table of [`super`]; also [`Error::Io`].
pub fn open_stream(
    record_key: &[u8; 32],
    context: &[u8],
    mut sealed: impl Read,
    mut content: impl Write,
) -> Result<u64, Error> {
    let opener = read_prelude(record_key, context, &mut sealed)?;
    let mut chunks = Chunks::new(sealed, opener.chunk_size().as_usize() + TAG_LEN);
    let (mut here, mut ahead) = (chunks.buffer(), chunks.buffer());
    let mut plain = vec![0; opener.chunk_size().as_usize()];
    let mut written = 0;
    chunks.prime(&mut here)?;
    loop {
        let place = chunks.advance(&here, &mut ahead)?;
        let opened = open_one(&opener, place, &here, &mut plain)?;
        content.write_all(opened)?;
        written += opened.len() as u64;
        if place.last {
            return Ok(written);
        }
        core::mem::swap(&mut here, &mut ahead);
    }
}

/// As [`open_stream`], with reading, decrypting and writing on three threads. Holds six chunks in
/// memory.
///
/// # Errors
/// As for [`open_stream`].
pub fn open_stream_threaded(
    record_key: &[u8; 32],
    context: &[u8],
    mut sealed: impl Read + Send,
    mut content: impl Write,
) -> Result<u64, Error> {
    let opener = read_prelude(record_key, context, &mut sealed)?;
    let chunks = Chunks::new(sealed, opener.chunk_size().as_usize() + TAG_LEN);
    let mut plain = chunks.buffer().bytes;
    pipeline(
        chunks,
        |place, buffer| {
            let length = open_one(&opener, place, buffer, &mut plain)?.len();
            // The buffer leaves with the content; the next chunk is opened into what it held.
            core::mem::swap(&mut buffer.bytes, &mut plain);
            Ok(length)
        },
        |chunk| Ok(content.write_all(chunk)?),
    )
}

/// Opens the content bytes of `range` and returns how many were written, reading no other chunks than
/// those that hold them.
///
/// # Errors
/// As for [`open_stream`], and [`Error::Range`] if the content has no such bytes.
pub fn open_range(
    record_key: &[u8; 32],
    context: &[u8],
    mut sealed: impl Read + Seek,
    range: Range<u64>,
    mut content: impl Write,
) -> Result<u64, Error> {
    let sealed_length = sealed.seek(SeekFrom::End(0))?;
    sealed.rewind()?;
    let opener = read_prelude(record_key, context, &mut sealed)?;
    let layout = opener.layout(sealed_length)?;
    let wanted = layout.chunks_of(range.clone()).ok_or(Error::Range)?;
    let mut cipher = vec![0; opener.chunk_size().as_usize() + TAG_LEN];
    let mut plain = vec![0; opener.chunk_size().as_usize()];
    for index in wanted {
        let place = layout.chunk(index).ok_or(Error::Range)?;
        let length = usize::try_from(place.content_length).map_err(|_| Error::Range)?;
        let chunk = cipher.get_mut(..length + TAG_LEN).ok_or(Error::Buffer)?;
        let opened = plain.get_mut(..length).ok_or(Error::Buffer)?;
        sealed.seek(SeekFrom::Start(place.sealed_offset))?;
        sealed.read_exact(chunk).map_err(cut_short)?;
        opener.open_chunk(index, place.last, chunk, opened)?;
        let from = range.start.saturating_sub(place.content_offset);
        let to = (range.end - place.content_offset).min(place.content_length);
        let part = usize::try_from(from).ok().zip(usize::try_from(to).ok());
        let part = part
            .and_then(|(from, to)| opened.get(from..to))
            .ok_or(Error::Range)?;
        content.write_all(part)?;
    }
    Ok(range.end - range.start)
}

/// Reads and checks a prelude, leaving the reader at the first chunk.
pub(crate) fn read_prelude(
    record_key: &[u8; 32],
    context: &[u8],
    sealed: &mut impl Read,
) -> Result<Opener, Error> {
    let mut prelude = vec![0; 10];
    let read = read_full(sealed, &mut prelude)?;
    if read < prelude.len() {
        return Err(short_start(prelude.get(..read).unwrap_or_default()));
    }
    let rest = header_length(&prelude)? + BINDING_LEN;
    prelude.resize(10 + rest, 0);
    let (_, rest) = prelude.split_at_mut(10);
    sealed.read_exact(rest).map_err(cut_short)?;
    Opener::new(record_key, context, &prelude)
}

fn cut_short(error: std::io::Error) -> Error {
    match error.kind() {
        ErrorKind::UnexpectedEof => Error::Truncated,
        _ => Error::Io(error),
    }
}

/// Encrypts what a buffer holds, in place.
fn seal_one<'b>(sealer: &Sealer, place: Place, buffer: &'b mut Buffer) -> Result<&'b [u8], Error> {
    let chunk = buffer
        .bytes
        .get_mut(..buffer.filled + TAG_LEN)
        .ok_or(Error::Buffer)?;
    // The sealer refuses a chunk that ends elsewhere than the announced length says.
    sealer
        .seal_chunk_in_place(place.index, place.last, chunk)
        .map_err(|error| match error {
            Error::Buffer => Error::ContentLength,
            other => other,
        })?;
    Ok(chunk)
}

/// Decrypts what a buffer holds into `plain`.
fn open_one<'p>(
    opener: &Opener,
    place: Place,
    buffer: &Buffer,
    plain: &'p mut [u8],
) -> Result<&'p [u8], Error> {
    let chunk = buffer.bytes.get(..buffer.filled).ok_or(Error::Buffer)?;
    let length = chunk.len().checked_sub(TAG_LEN).ok_or(Error::Truncated)?;
    if let Some(total) = opener.content_length() {
        let ends = u64::from(place.index) * opener.chunk_size().bytes() + length as u64;
        if ends > total || (ends == total && !place.last) {
            return Err(Error::Overlong);
        }
        if ends < total && place.last {
            return Err(Error::Truncated);
        }
    }
    let plain = plain.get_mut(..length).ok_or(Error::Buffer)?;
    opener.open_chunk(place.index, place.last, chunk, plain)?;
    Ok(plain)
}

/// A chunk's position, known once the reader has looked one chunk ahead.
#[derive(Clone, Copy)]
struct Place {
    index: u32,
    last: bool,
}

/// A chunk's bytes with room for a tag.
struct Buffer {
    bytes: Vec<u8>,
    filled: usize,
}

/// Cuts a reader into chunks and knows which is the last by reading one ahead.
struct Chunks<R> {
    reader: R,
    length: usize,
    next: u64,
}

impl<R: Read> Chunks<R> {
    fn new(reader: R, length: usize) -> Self {
        Self {
            reader,
            length,
            next: 0,
        }
    }

    fn buffer(&self) -> Buffer {
        Buffer {
            bytes: vec![0; self.length + TAG_LEN],
            filled: 0,
        }
    }

    /// Reads the first chunk.
    fn prime(&mut self, first: &mut Buffer) -> Result<(), Error> {
        self.fill(first)
    }

    /// Reads the chunk after `here` and says where `here` stands.
    fn advance(&mut self, here: &Buffer, ahead: &mut Buffer) -> Result<Place, Error> {
        let index = u32::try_from(self.next).map_err(|_| Error::TooManyChunks)?;
        self.next += 1;
        // A chunk that is not full is the last without asking the reader again.
        if here.filled < self.length {
            return Ok(Place { index, last: true });
        }
        self.fill(ahead)?;
        Ok(Place {
            index,
            last: ahead.filled == 0,
        })
    }

    fn fill(&mut self, buffer: &mut Buffer) -> Result<(), Error> {
        let room = buffer.bytes.get_mut(..self.length).ok_or(Error::Buffer)?;
        buffer.filled = read_full(&mut self.reader, room)?;
        Ok(())
    }
}

/// Reads until the buffer is full or the reader ends.
fn read_full(reader: &mut impl Read, buffer: &mut [u8]) -> Result<usize, Error> {
    let mut filled = 0;
    while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty()) {
        match reader.read(room) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(filled)
}

/// Reads chunks on one thread, turns them over on a second and writes them on the caller's. Buffers
/// circulate; none is allocated per chunk. `work` leaves its output at the front of the buffer and
/// says how long it is.
fn pipeline<R: Read + Send>(
    mut chunks: Chunks<R>,
    mut work: impl FnMut(Place, &mut Buffer) -> Result<usize, Error> + Send,
    mut write: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<u64, Error> {
    let (to_work, from_read) = mpsc::sync_channel::<Result<(Place, Buffer), Error>>(BUFFERS);
    let (to_write, from_work) =
        mpsc::sync_channel::<Result<(Place, usize, Buffer), Error>>(BUFFERS);
    let (to_read, empty) = mpsc::sync_channel::<Buffer>(BUFFERS);
    for _ in 0..BUFFERS {
        // The channel has room for all of them, and both ends are alive.
        let _ = to_read.send(chunks.buffer());
    }
    let mut here = chunks.buffer();
    std::thread::scope(|scope| {
        // A thread that cannot send or receive stops: the error that ended its neighbour is already
        // on its way to the caller.
        scope.spawn(move || {
            let mut read = || -> Result<(), Error> {
                chunks.prime(&mut here)?;
                while let Ok(mut ahead) = empty.recv() {
                    let place = chunks.advance(&here, &mut ahead)?;
                    let full = core::mem::replace(&mut here, ahead);
                    if to_work.send(Ok((place, full))).is_err() || place.last {
                        break;
                    }
                }
                Ok(())
            };
            if let Err(error) = read() {
                let _ = to_work.send(Err(error));
            }
        });
        scope.spawn(move || {
            for chunk in from_read {
                let done = chunk.and_then(|(place, mut buffer)| {
                    let length = work(place, &mut buffer)?;
                    Ok((place, length, buffer))
                });
                let failed = done.is_err();
                if to_write.send(done).is_err() || failed {
                    break;
                }
            }
        });
        // Owned here so that leaving early closes both neighbours' channels before the scope waits.
        let (from_work, to_read) = (from_work, to_read);
        let mut written = 0;
        for done in from_work {
            let (place, length, buffer) = done?;
            let chunk = buffer.bytes.get(..length).ok_or(Error::Buffer)?;
            write(chunk)?;
            written += length as u64;
            if place.last {
                return Ok(written);
            }
            let _ = to_read.send(buffer);
        }
        // The reader's thread ended without a last chunk or an error: it panicked.
        Err(Error::Io(std::io::Error::other("the reader stopped")))
    })
}
