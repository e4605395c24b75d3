//! Files as the blob store needs them: the real ones, behind a trait that faults can be put into.
//!
//! Names are relative, made of lower-case hexadecimal digits, `-` and `/`, and come only from
//! digests, ids and counters of ours, so that nothing from outside can name a file.
//!
//! What survives a power cut, and only that: the content of a file after [`Disk::sync_file`], and
//! its name after [`Disk::sync_folder`] of the folder it is in.

use core::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::ops::Range;
use std::path::PathBuf;

use bytes::Bytes;

/// The file operations of a local blob store. Calls may block.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Makes a folder unless it is there.
    ///
    /// # Errors
    /// Those of the operating system, as for every method here.
    fn create_folder(&self, name: &str) -> io::Result<()>;

    /// Makes a new file with this content; `AlreadyExists` when there is one.
    fn create_file(&self, name: &str, content: &[Bytes]) -> io::Result<()>;

    /// Makes a file's content survive a power cut.
    fn sync_file(&self, name: &str) -> io::Result<()>;

    /// Makes the names in a folder survive a power cut; the empty name is the root.
    fn sync_folder(&self, name: &str) -> io::Result<()>;

    /// Gives a file another name at once, replacing what has it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// A file's length in bytes.
    fn length(&self, name: &str) -> io::Result<u64>;

    /// Bytes `range` of a file; `UnexpectedEof` when it is shorter.
    fn read(&self, name: &str, range: Range<u64>) -> io::Result<Vec<u8>>;

    /// The names of the files in a folder, without the folder, sorted.
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;

    /// Whether calls may take long, so that they go to a thread of their own.
    fn blocks(&self) -> bool {
        true
    }
}

/// A folder of the operating system. Files and folders in it are their owner's alone.
#[derive(Debug)]
pub struct SystemDisk {
    root: PathBuf,
}

impl SystemDisk {
    /// The disk below `root`, which is made when absent.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn open(root: impl Into<PathBuf>) -> io::Result<Self> {
        let disk = Self { root: root.into() };
        disk.create_folder("")?;
        Ok(disk)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }
}

impl Disk for SystemDisk {
    fn create_folder(&self, name: &str) -> io::Result<()> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(self.path(name))
    }

    fn create_file(&self, name: &str, content: &[Bytes]) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = io::BufWriter::new(options.open(self.path(name))?);
        for piece in content {
            file.write_all(piece)?;
        }
        file.flush()
    }

    fn sync_file(&self, name: &str) -> io::Result<()> {
        File::open(self.path(name))?.sync_all()
    }

    fn sync_folder(&self, name: &str) -> io::Result<()> {
        // Other systems have no such call and keep names safe by themselves.
        if cfg!(unix) {
            File::open(self.path(name))?.sync_all()?;
        }
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn length(&self, name: &str) -> io::Result<u64> {
        Ok(fs::metadata(self.path(name))?.len())
    }

    fn read(&self, name: &str, range: Range<u64>) -> io::Result<Vec<u8>> {
        let mut file = File::open(self.path(name))?;
        let wanted = range.end.saturating_sub(range.start);
        // Bounds the allocation by what is there.
        if range.end > file.metadata()?.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        file.seek(SeekFrom::Start(range.start))?;
        let mut bytes = vec![0; usize::try_from(wanted).map_err(io::Error::other)?];
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.path(folder))? {
            let entry = entry?;
            // Foreign names are not ours to touch.
            if let (true, Ok(name)) = (
                entry.file_type()?.is_file(),
                entry.file_name().into_string(),
            ) {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }
}
