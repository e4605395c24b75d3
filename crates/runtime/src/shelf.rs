//! Files that come and go whole: models, updates and states of federated jobs.
//!
//! Not for sealed records: those are blobs. A name is chosen by the caller from digests, ids and
//! numbers. What arrives over a network arrives in pieces, which survive a restart of the process, and
//! gets its name when it is complete and has the digest that was announced.
//!
//! **Invariant:** when `put` or `complete` has returned, a power cut does not undo it, and no name ever
//! stands for half a file.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use salus_proto::Digest;
use tokio::sync::Semaphore;

use crate::error::{self, Error, Result};

/// Longest name, bytes.
const NAME_LIMIT: usize = 200;
/// Files that are worked on at a time. Every thread keeps memory of its own back for its next piece, and
/// a disk is not faster for more of them.
const AT_ONCE: usize = 4;
/// Bytes that are read or written at a time.
const PIECE: usize = 256 << 10;
/// Ending of a file that is still arriving.
const ARRIVING: &str = ".part";
/// Ending of a file that is being written.
const WRITING: &str = ".new";

/// What became of a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// It is kept; so many bytes have arrived.
    Now(u64),
    /// It does not continue what has arrived, which is so many bytes.
    Expected(u64),
    /// What has arrived has another digest than was announced; so many bytes of it are left.
    Spoilt(u64),
}

/// A folder of such files. Clones share it.
#[derive(Debug, Clone)]
pub struct Shelf {
    folder: PathBuf,
    turns: Arc<Semaphore>,
    arrivals: Arc<Mutex<BTreeMap<String, Arrival>>>,
}

/// The beginning of an arriving file as it is hashed while it comes in, so that nothing is read again when it is
/// complete. Made from the file itself after a restart.
#[derive(Clone)]
struct Arrival {
    hasher: Context,
    /// Bytes hashed.
    length: u64,
    /// Bytes whose digest was as announced.
    confirmed: u64,
}

impl core::fmt::Debug for Arrival {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Arrival")
            .field("length", &self.length)
            .field("confirmed", &self.confirmed)
            .finish_non_exhaustive()
    }
}

impl Shelf {
    /// Opens a folder, which is made when absent; only its owner may read it.
    ///
    /// # Errors
    /// Failures of the disk.
    pub async fn open(folder: &Path) -> Result<Self> {
        let shelf = Self {
            folder: folder.to_owned(),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            arrivals: Arc::default(),
        };
        shelf
            .work(|folder| {
                let mut builder = fs::DirBuilder::new();
                builder.recursive(true);
                #[cfg(unix)]
                std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
                builder.create(folder)
            })
            .await?;
        Ok(shelf)
    }

    /// Where the files are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes a file durably, replacing one of the same name.
    ///
    /// # Errors
    /// [`Error::Bug`] for a name that is none; failures of the disk.
    pub async fn put(&self, name: &str, bytes: Bytes) -> Result<()> {
        let name = checked(name)?;
        self.work(move |folder| {
            let beside = folder.join(format!("{name}{WRITING}"));
            let mut file = create(&beside)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            settle(folder, &beside, &name)
        })
        .await
    }

    /// As [`Shelf::put`] for bytes that are written piece by piece: `write` is called once, with what takes
    /// them. Returns their digest and what `write` returned.
    ///
    /// # Errors
    /// As [`Shelf::put`].
    pub async fn put_pieces<T: Send + 'static>(
        &self,
        name: &str,
        write: impl FnOnce(&mut dyn FnMut(&[u8])) -> T + Send + 'static,
    ) -> Result<(Digest, T)> {
        let name = checked(name)?;
        self.work(move |folder| {
            let beside = folder.join(format!("{name}{WRITING}"));
            let mut file = BufWriter::with_capacity(PIECE, create(&beside)?);
            let (mut hasher, mut outcome) = (Context::new(&SHA256), Ok(()));
            let returned = write(&mut |piece| {
                hasher.update(piece);
                if outcome.is_ok() {
                    outcome = file.write_all(piece);
                }
            });
            outcome?;
            file.into_inner()
                .map_err(io::IntoInnerError::into_error)?
                .sync_all()?;
            settle(folder, &beside, &name)?;
            Ok((finish(hasher), returned))
        })
        .await
    }

    /// As [`Shelf::put`] without waiting for the disk: it outlives the process, but a power cut may lose or
    /// spoil it, so whoever reads it checks it.
    ///
    /// # Errors
    /// As [`Shelf::put`].
    pub async fn put_loosely(&self, name: &str, bytes: Bytes) -> Result<()> {
        let name = checked(name)?;
        self.work(move |folder| {
            let beside = folder.join(format!("{name}{WRITING}"));
            create(&beside)?.write_all(&bytes)?;
            fs::rename(beside, folder.join(name))
        })
        .await
    }

    /// A whole file of at most `limit` bytes; `None` if there is none.
    ///
    /// # Errors
    /// [`Error::TooLarge`]; failures of the disk.
    pub async fn get(&self, name: &str, limit: u64) -> Result<Option<Bytes>> {
        let Some(length) = self.length(name).await? else {
            return Ok(None);
        };
        if length > limit {
            return Err(Error::TooLarge {
                what: "bytes of a stored file",
                size: length,
                limit,
            });
        }
        self.range(name, 0..length).await.map(Some)
    }

    /// A whole file of at most `limit` bytes, checked against its digest.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where the stored bytes have another digest; as [`Shelf::get`].
    pub async fn get_checked(
        &self,
        name: &str,
        expected: Digest,
        limit: u64,
    ) -> Result<Option<Bytes>> {
        let Some(bytes) = self.get(name, limit).await? else {
            return Ok(None);
        };
        let hashed = bytes.clone();
        let found = self.work(move |_| Ok(sha256(&hashed))).await?;
        if found == expected {
            return Ok(Some(bytes));
        }
        Err(corrupt(name))
    }

    /// A file's length in bytes; `None` if there is none.
    ///
    /// # Errors
    /// Failures of the disk.
    pub async fn length(&self, name: &str) -> Result<Option<u64>> {
        let name = checked(name)?;
        self.work(move |folder| length(&folder.join(name))).await
    }

    /// Bytes of a file, cut at its end. They are not checked.
    ///
    /// # Errors
    /// [`Error::NotFound`]; failures of the disk.
    pub async fn range(&self, name: &str, range: Range<u64>) -> Result<Bytes> {
        let name = checked(name)?;
        self.work(move |folder| {
            let mut file = File::open(folder.join(name))?;
            let end = range.end.min(file.metadata()?.len());
            let start = range.start.min(end);
            let length = usize::try_from(end - start).map_err(io::Error::other)?;
            let mut bytes = Vec::with_capacity(length);
            file.seek(SeekFrom::Start(start))?;
            file.take(length as u64).read_to_end(&mut bytes)?;
            if bytes.len() < length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Ok(bytes.into())
        })
        .await
    }

    /// Bytes of a file that have arrived so far.
    ///
    /// # Errors
    /// Failures of the disk.
    pub async fn arrived(&self, name: &str) -> Result<u64> {
        let name = checked(name)?;
        self.work(move |folder| {
            let part = folder.join(format!("{name}{ARRIVING}"));
            Ok(length(&part)?.unwrap_or(0))
        })
        .await
    }

    /// Adds a piece to a file that is arriving, if it begins where the last one ended and nothing
    /// exceeds `limit` bytes. The piece may be in parts. With `expected`, the digest of all that has
    /// arrived after it, what came since the last such confirmation is thrown away where it is another.
    ///
    /// # Errors
    /// [`Error::TooLarge`]; failures of the disk.
    pub async fn append(
        &self,
        name: &str,
        at: u64,
        piece: Vec<Bytes>,
        limit: u64,
        expected: Option<Digest>,
    ) -> Result<Appended> {
        let length = piece.iter().map(|part| part.len() as u64).sum();
        let size = at.saturating_add(length);
        if size > limit {
            let what = "bytes of an arriving file";
            return Err(Error::TooLarge { what, size, limit });
        }
        let name = checked(name)?;
        let arrivals = Arc::clone(&self.arrivals);
        self.work(move |folder| {
            let part = folder.join(format!("{name}{ARRIVING}"));
            let mut file = open_or_create(&part)?;
            let arrived = file.metadata()?.len();
            if arrived != at {
                return Ok(Appended::Expected(arrived));
            }
            let mut arrival = arrival(&arrivals, &name, &mut file, at)?;
            file.seek(SeekFrom::Start(at))?;
            for part in piece {
                arrival.hasher.update(&part);
                file.write_all(&part)?;
            }
            arrival.length = size;
            if let Some(expected) = expected {
                if finish(arrival.hasher.clone()) != expected {
                    file.set_len(arrival.confirmed)?;
                    return Ok(Appended::Spoilt(arrival.confirmed));
                }
                arrival.confirmed = size;
            }
            locked(&arrivals).insert(name, arrival);
            Ok(Appended::Now(size))
        })
        .await
    }

    /// Gives a file that has arrived its name, after `look` has seen all of it in pieces, each with where it
    /// begins; returns what `look` made of `state`, or `None` when nothing has arrived under that name. One
    /// with another digest is thrown away.
    ///
    /// # Errors
    /// [`Error::WrongDigest`]; failures of the disk.
    pub async fn complete<S: Send + 'static>(
        &self,
        name: &str,
        expected: Digest,
        state: S,
        look: impl Fn(&mut S, u64, &[u8]) + Send + 'static,
    ) -> Result<Option<S>> {
        let name = checked(name)?;
        let arrivals = Arc::clone(&self.arrivals);
        let done = self
            .work(move |folder| {
                let part = folder.join(format!("{name}{ARRIVING}"));
                let Some(mut file) = existing(&part)? else {
                    return Ok(None);
                };
                let length = file.metadata()?.len();
                let found = arrival(&arrivals, &name, &mut file, length)?.hasher;
                if finish(found) != expected {
                    fs::remove_file(&part)?;
                    return Ok(Some(None));
                }
                file.seek(SeekFrom::Start(0))?;
                let mut state = state;
                in_pieces(&mut file, |at, piece| look(&mut state, at, piece))?;
                file.sync_all()?;
                settle(folder, &part, &name)?;
                Ok(Some(Some(state)))
            })
            .await?;
        match done {
            None => Ok(None),
            Some(None) => Err(Error::WrongDigest { expected }),
            Some(state) => Ok(state),
        }
    }

    /// Checks a file against its digest while `look` sees all of it, as in [`Shelf::complete`].
    ///
    /// # Errors
    /// [`Error::Corrupt`] where the stored bytes have another digest; failures of the disk.
    pub async fn check<S: Send + 'static>(
        &self,
        name: &str,
        expected: Digest,
        state: S,
        look: impl Fn(&mut S, u64, &[u8]) + Send + 'static,
    ) -> Result<Option<S>> {
        let file = checked(name)?;
        let done = self
            .work(move |folder| match existing(&folder.join(file))? {
                Some(mut file) => {
                    let (mut hasher, mut state) = (Context::new(&SHA256), state);
                    in_pieces(&mut file, |at, piece| {
                        hasher.update(piece);
                        look(&mut state, at, piece);
                    })?;
                    Ok(Some((finish(hasher), state)))
                }
                None => Ok(None),
            })
            .await?;
        match done {
            Some((found, _)) if found != expected => Err(corrupt(name)),
            done => Ok(done.map(|(_, state)| state)),
        }
    }

    /// As [`Shelf::complete`] without waiting for the disk: a power cut may lose or spoil the file, so
    /// whoever reads it later checks it. `false` where it has another digest and was thrown away.
    ///
    /// # Errors
    /// Failures of the disk.
    pub async fn complete_loosely(&self, name: &str, expected: Digest) -> Result<bool> {
        let name = checked(name)?;
        let arrivals = Arc::clone(&self.arrivals);
        self.work(move |folder| {
            let part = folder.join(format!("{name}{ARRIVING}"));
            let mut file = File::open(&part)?;
            let length = file.metadata()?.len();
            let found = arrival(&arrivals, &name, &mut file, length)?.hasher;
            if finish(found) != expected {
                fs::remove_file(&part)?;
                return Ok(false);
            }
            fs::rename(part, folder.join(name))?;
            Ok(true)
        })
        .await
    }

    /// Removes a file, arrived or arriving; it need not exist.
    ///
    /// # Errors
    /// Failures of the disk.
    pub async fn remove(&self, name: &str) -> Result<()> {
        let name = checked(name)?;
        locked(&self.arrivals).remove(&name);
        self.work(move |folder| {
            for ending in ["", ARRIVING, WRITING] {
                match fs::remove_file(folder.join(format!("{name}{ending}"))) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            Ok(())
        })
        .await
    }

    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T> {
        let folder = self.folder.clone();
        // Never closed.
        let turn = self.turns.acquire().await.ok();
        let done = tokio::task::spawn_blocking(move || work(&folder)).await;
        drop(turn);
        let done = done.map_err(|error| Error::Bug {
            what: "a task of the shelf".into(),
            detail: error.to_string(),
        })?;
        done.map_err(|error| error::from_io("a training file", &error))
    }
}

/// Names hold letters, digits, `-` and single dots between them: no separators, no way out.
fn checked(name: &str) -> Result<String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.');
    let fits = !name.is_empty()
        && name.len() <= NAME_LIMIT
        && name.bytes().all(plain)
        && !name.starts_with('.')
        && !name.contains("..");
    if fits {
        return Ok(name.to_owned());
    }
    Err(Error::Bug {
        what: "a name on the shelf".into(),
        detail: "it has characters that no name has".into(),
    })
}

fn sha256(bytes: &[u8]) -> Digest {
    let mut hasher = Context::new(&SHA256);
    hasher.update(bytes);
    finish(hasher)
}

fn finish(hasher: Context) -> Digest {
    let mut out = Digest::default();
    out.0.copy_from_slice(hasher.finish().as_ref());
    out
}

fn corrupt(name: &str) -> Error {
    Error::Corrupt {
        what: format!("the file {name}"),
        detail: "it has another digest".into(),
    }
}

fn existing(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Shows a file from where it stands to its end. All pieces but the last have the same length.
fn in_pieces(file: &mut File, mut look: impl FnMut(u64, &[u8])) -> io::Result<()> {
    let (mut at, mut piece) = (0, Vec::with_capacity(PIECE));
    loop {
        piece.clear();
        (&*file).take(PIECE as u64).read_to_end(&mut piece)?;
        if piece.is_empty() {
            return Ok(());
        }
        look(at, &piece);
        at += piece.len() as u64;
    }
}

fn locked(
    arrivals: &Mutex<BTreeMap<String, Arrival>>,
) -> std::sync::MutexGuard<'_, BTreeMap<String, Arrival>> {
    arrivals.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes what is known of an arriving file of this length; hashes it where that is nothing or too little.
fn arrival(
    arrivals: &Mutex<BTreeMap<String, Arrival>>,
    name: &str,
    file: &mut File,
    length: u64,
) -> io::Result<Arrival> {
    let known = locked(arrivals).remove(name);
    if let Some(known) = known.filter(|known| known.length == length) {
        return Ok(known);
    }
    let mut hasher = Context::new(&SHA256);
    file.seek(SeekFrom::Start(0))?;
    in_pieces(file, |_, piece| hasher.update(piece))?;
    Ok(Arrival {
        hasher,
        length,
        confirmed: 0,
    })
}

fn length(path: &Path) -> io::Result<Option<u64>> {
    match fs::metadata(path) {
        Ok(about) => Ok(Some(about.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

fn open_or_create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Gives a synced file its name for good.
fn settle(folder: &Path, from: &Path, name: &str) -> io::Result<()> {
    fs::rename(from, folder.join(name))?;
    // Other systems keep names safe by themselves.
    if cfg!(unix) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shelf() -> (Shelf, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(&folder.path().join("training")).await.unwrap();
        (shelf, folder)
    }

    #[tokio::test]
    async fn pieces_arrive_in_order_across_restarts_and_become_a_file_by_their_digest() {
        let (shelf, folder) = shelf().await;
        let whole = b"hello, world";
        let name = "a-1";
        let piece = |range: Range<usize>| vec![Bytes::copy_from_slice(&whole[range])];
        assert_eq!(
            shelf.append(name, 0, piece(0..5), 12, None).await.unwrap(),
            Appended::Now(5)
        );
        let again = Shelf::open(&folder.path().join("training")).await.unwrap();
        assert_eq!(again.arrived(name).await.unwrap(), 5);
        assert_eq!(
            again.append(name, 7, piece(7..12), 12, None).await.unwrap(),
            Appended::Expected(5)
        );
        again
            .append(name, 5, piece(5..12), 12, Some(sha256(whole)))
            .await
            .unwrap();
        assert!(matches!(
            again.append(name, 12, piece(0..1), 12, None).await,
            Err(Error::TooLarge { .. })
        ));
        assert_eq!(again.get(name, 100).await.unwrap(), None, "not yet a file");
        let look =
            |seen: &mut Vec<(u64, Vec<u8>)>, at, piece: &[u8]| seen.push((at, piece.to_vec()));
        let seen = again.complete(name, sha256(whole), Vec::new(), look).await;
        assert_eq!(seen.unwrap().unwrap(), [(0, whole.to_vec())]);
        let complete = again.complete(name, sha256(whole), Vec::new(), look).await;
        assert_eq!(complete.unwrap(), None, "it has its name already");
        let seen = again.check(name, sha256(whole), Vec::new(), look).await;
        assert_eq!(seen.unwrap().unwrap(), [(0, whole.to_vec())]);
        assert_eq!(again.range(name, 7..99).await.unwrap(), "world");
        assert!(again.get(name, 11).await.is_err());
        let checked = again.get_checked(name, sha256(whole), 12).await.unwrap();
        assert_eq!(&checked.unwrap()[..], whole);
        again.remove(name).await.unwrap();
        assert_eq!(again.length(name).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_spoilt_piece_is_thrown_away_and_what_was_confirmed_stays() {
        let (shelf, folder) = shelf().await;
        let piece = |text: &'static str| vec![Bytes::from_static(text.as_bytes())];
        let so_far = |text: &str| Some(sha256(text.as_bytes()));
        let first = shelf.append("x", 0, piece("hello"), 12, so_far("hello"));
        assert_eq!(first.await.unwrap(), Appended::Now(5));
        let half = shelf.append("x", 5, piece(", w"), 12, None).await;
        assert_eq!(half.unwrap(), Appended::Now(8));
        let spoilt = shelf.append("x", 8, piece("oRld"), 12, so_far("hello, world"));
        assert_eq!(spoilt.await.unwrap(), Appended::Spoilt(5));
        assert_eq!(shelf.arrived("x").await.unwrap(), 5);
        let second = shelf.append("x", 5, piece(", w"), 12, so_far("hello, w"));
        assert_eq!(second.await.unwrap(), Appended::Now(8));
        // After a restart nobody remembers what was confirmed.
        let again = Shelf::open(&folder.path().join("training")).await.unwrap();
        let spoilt = again.append("x", 8, piece("orl!"), 12, so_far("hello, world"));
        assert_eq!(spoilt.await.unwrap(), Appended::Spoilt(0));
        let nothing = again.append("x", 0, piece("hello, world"), 12, so_far("hello, world"));
        assert_eq!(nothing.await.unwrap(), Appended::Now(12));
        let whole = sha256(b"hello, world");
        let complete = again.complete("x", whole, 0, |seen, _, piece| *seen += piece.len());
        assert_eq!(complete.await.unwrap(), Some(12));
        assert!(again.arrivals.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn other_bytes_than_announced_are_thrown_away_and_altered_ones_found() {
        let (shelf, folder) = shelf().await;
        let expected = sha256(b"right");
        shelf
            .append(
                "x",
                0,
                vec![Bytes::from_static(b"wro"), Bytes::from_static(b"ng")],
                5,
                None,
            )
            .await
            .unwrap();
        assert!(matches!(
            shelf.complete("x", expected, (), |(), _, _| {}).await,
            Err(Error::WrongDigest { .. })
        ));
        assert_eq!(shelf.arrived("x").await.unwrap(), 0);
        shelf.put("x", Bytes::from_static(b"right")).await.unwrap();
        fs::write(folder.path().join("training/x"), b"wrong").unwrap();
        assert!(matches!(
            shelf.get_checked("x", expected, 5).await,
            Err(Error::Corrupt { .. })
        ));
        assert!(matches!(
            shelf.check("x", expected, (), |(), _, _| {}).await,
            Err(Error::Corrupt { .. })
        ));
    }

    #[tokio::test]
    async fn what_comes_in_pieces_has_the_digest_of_the_whole() {
        let (shelf, _folder) = shelf().await;
        let parts: Vec<Vec<u8>> = (0..7).map(|n| vec![n; 100_000]).collect();
        let whole = parts.concat();
        let write = move |take: &mut dyn FnMut(&[u8])| parts.iter().for_each(|part| take(part));
        let (digest, ()) = shelf.put_pieces("p", write).await.unwrap();
        assert_eq!(digest, sha256(&whole));
        let read = shelf.get_checked("p", sha256(&whole), 700_000).await;
        assert_eq!(read.unwrap().unwrap(), whole);

        shelf
            .append("q", 0, vec![whole.clone().into()], 700_000, None)
            .await
            .unwrap();
        assert!(shelf.complete_loosely("q", digest).await.unwrap());
        shelf
            .append("s", 0, vec![Bytes::from_static(b"other")], 5, None)
            .await
            .unwrap();
        assert!(!shelf.complete_loosely("s", digest).await.unwrap());
        assert_eq!(shelf.arrived("s").await.unwrap(), 0);
        shelf.put_loosely("r", whole.clone().into()).await.unwrap();
        for name in ["q", "r"] {
            assert_eq!(
                shelf.get(name, 700_000).await.unwrap().unwrap(),
                whole,
                "{name}"
            );
        }
    }

    #[tokio::test]
    async fn no_name_leads_out_of_the_folder() {
        let (shelf, _folder) = shelf().await;
        for name in ["", ".", "..", "../x", "a/b", ".hidden", "a..b", "\u{e9}"] {
            assert!(shelf.put(name, Bytes::new()).await.is_err(), "{name:?}");
        }
    }
}
