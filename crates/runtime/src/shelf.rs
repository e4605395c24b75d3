//! Files that come and go whole: models, updates and states of federated jobs.
//!
//! Not for sealed records: those are blobs. A name is chosen by the caller from digests, ids and
//! numbers. What arrives over a network arrives in pieces, which survive a restart of the process, and
//! gets its name when it is complete and has the digest that was announced.
//!
//! **Invariant:** when `put` or `complete` has returned, a power cut does not undo it, and no name ever
//! stands for half a file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use salus_proto::Digest;

use crate::error::{self, Error, Result};

/// Longest name, bytes.
const NAME_LIMIT: usize = 200;
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
}

/// A folder of such files. Clones share it.
#[derive(Debug, Clone)]
pub struct Shelf {
    folder: PathBuf,
}

impl Shelf {
    /// Opens a folder, which is made when absent; only its owner may read it.
    ///
    /// # Errors
    /// Failures of the disk.
    pub async fn open(folder: &Path) -> Result<Self> {
        let shelf = Self {
            folder: folder.to_owned(),
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
        Err(Error::Corrupt {
            what: format!("the file {name}"),
            detail: "it has another digest".into(),
        })
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
            let mut bytes = vec![0; usize::try_from(end - start).map_err(io::Error::other)?];
            file.seek(SeekFrom::Start(start))?;
            file.read_exact(&mut bytes)?;
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
    /// exceeds `limit` bytes.
    ///
    /// # Errors
    /// [`Error::TooLarge`]; failures of the disk.
    pub async fn append(&self, name: &str, at: u64, piece: Bytes, limit: u64) -> Result<Appended> {
        let size = at.saturating_add(piece.len() as u64);
        if size > limit {
            let what = "bytes of an arriving file";
            return Err(Error::TooLarge { what, size, limit });
        }
        let name = checked(name)?;
        self.work(move |folder| {
            let part = folder.join(format!("{name}{ARRIVING}"));
            let mut file = open_or_create(&part)?;
            let arrived = file.metadata()?.len();
            if arrived != at {
                return Ok(Appended::Expected(arrived));
            }
            file.seek(SeekFrom::Start(at))?;
            file.write_all(&piece)?;
            Ok(Appended::Now(size))
        })
        .await
    }

    /// Gives a file that has arrived its name and returns its bytes. One with another digest is thrown
    /// away; `None` when nothing has arrived under that name.
    ///
    /// # Errors
    /// [`Error::WrongDigest`]; failures of the disk.
    pub async fn complete(&self, name: &str, expected: Digest) -> Result<Option<Bytes>> {
        let name = checked(name)?;
        let done = self
            .work(move |folder| {
                let part = folder.join(format!("{name}{ARRIVING}"));
                let mut file = match File::open(&part) {
                    Ok(file) => file,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                    Err(error) => return Err(error),
                };
                let mut bytes = Vec::new();
                file.read_to_end(&mut bytes)?;
                if sha256(&bytes) != expected {
                    fs::remove_file(&part)?;
                    return Ok(Some(None));
                }
                file.sync_all()?;
                settle(folder, &part, &name)?;
                Ok(Some(Some(Bytes::from(bytes))))
            })
            .await?;
        match done {
            None => Ok(None),
            Some(None) => Err(Error::WrongDigest { expected }),
            Some(bytes) => Ok(bytes),
        }
    }

    /// Removes a file, arrived or arriving; it need not exist.
    ///
    /// # Errors
    /// Failures of the disk.
    pub async fn remove(&self, name: &str) -> Result<()> {
        let name = checked(name)?;
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
        let done = tokio::task::spawn_blocking(move || work(&folder)).await;
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
    let mut out = Digest::default();
    out.0.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
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
    options.write(true).create(true).truncate(false);
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
        let piece = |range: Range<usize>| Bytes::copy_from_slice(&whole[range]);
        assert_eq!(
            shelf.append(name, 0, piece(0..5), 12).await.unwrap(),
            Appended::Now(5)
        );
        let again = Shelf::open(&folder.path().join("training")).await.unwrap();
        assert_eq!(again.arrived(name).await.unwrap(), 5);
        assert_eq!(
            again.append(name, 7, piece(7..12), 12).await.unwrap(),
            Appended::Expected(5)
        );
        again.append(name, 5, piece(5..12), 12).await.unwrap();
        assert!(matches!(
            again.append(name, 12, piece(0..1), 12).await,
            Err(Error::TooLarge { .. })
        ));
        assert_eq!(again.get(name, 100).await.unwrap(), None, "not yet a file");
        let bytes = again.complete(name, sha256(whole)).await.unwrap().unwrap();
        assert_eq!(&bytes[..], whole);
        assert_eq!(again.complete(name, sha256(whole)).await.unwrap(), None);
        assert_eq!(again.range(name, 7..99).await.unwrap(), "world");
        assert!(again.get(name, 11).await.is_err());
        let checked = again.get_checked(name, sha256(whole), 12).await.unwrap();
        assert_eq!(&checked.unwrap()[..], whole);
        again.remove(name).await.unwrap();
        assert_eq!(again.length(name).await.unwrap(), None);
    }

    #[tokio::test]
    async fn other_bytes_than_announced_are_thrown_away_and_altered_ones_found() {
        let (shelf, folder) = shelf().await;
        let expected = sha256(b"right");
        shelf
            .append("x", 0, Bytes::from_static(b"wrong"), 5)
            .await
            .unwrap();
        assert!(matches!(
            shelf.complete("x", expected).await,
            Err(Error::WrongDigest { .. })
        ));
        assert_eq!(shelf.arrived("x").await.unwrap(), 0);
        shelf.put("x", Bytes::from_static(b"right")).await.unwrap();
        fs::write(folder.path().join("training/x"), b"wrong").unwrap();
        assert!(matches!(
            shelf.get_checked("x", expected, 5).await,
            Err(Error::Corrupt { .. })
        ));
    }

    #[tokio::test]
    async fn no_name_leads_out_of_the_folder() {
        let (shelf, _folder) = shelf().await;
        for name in ["", ".", "..", "../x", "a/b", ".hidden", "a..b", "\u{e9}"] {
            assert!(shelf.put(name, Bytes::new()).await.is_err(), "{name:?}");
        }
    }
}
