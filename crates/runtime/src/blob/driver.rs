//! Whole objects on a local disk or in an S3 bucket, put so that they are there or not.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::name::{FOLDERS, shard_folder};
use super::s3::Bucket;
use crate::disk::Disk;
use crate::error::{self, Error, Result};

/// Where objects are.
#[derive(Debug, Clone)]
pub(super) enum Driver {
    Local(Arc<Local>),
    S3(Arc<Bucket>),
}

/// A local disk: written to `incoming/N`, made durable, then given its name.
#[derive(Debug)]
pub(super) struct Local {
    disk: Arc<dyn Disk>,
    next: AtomicU64,
}

/// Files on their way; what a crash leaves here was never acknowledged.
const INCOMING: &str = "incoming";

/// Damaged objects, kept for whoever investigates.
pub(super) const QUARANTINE: &str = "quarantine";

impl Driver {
    /// Prepares the folders and clears what a crash left behind.
    pub(super) async fn local(disk: Arc<dyn Disk>) -> Result<Self> {
        let local = Arc::new(Local {
            disk,
            next: AtomicU64::new(0),
        });
        let driver = Self::Local(Arc::clone(&local));
        driver.on_disk(local, Local::prepare).await?;
        Ok(driver)
    }

    /// Stores an object durably; it becomes visible whole, and replaces one of the same name.
    pub(super) async fn put(&self, place: (String, String), content: Vec<Bytes>) -> Result<()> {
        match self {
            Self::Local(local) => {
                let work = move |local: &Local| local.put(&place.0, &place.1, &content);
                self.on_disk(Arc::clone(local), work).await
            }
            Self::S3(bucket) => bucket.put(&path(&place), content).await,
        }
    }

    /// Bytes `range` of an object; [`Error::Corrupt`] when it is shorter.
    pub(super) async fn read(&self, place: (String, String), range: Range<u64>) -> Result<Bytes> {
        match self {
            Self::Local(local) => {
                let work = move |local: &Local| {
                    let path = path(&place);
                    let read = local.disk.read(&path, range);
                    read.map(Bytes::from).map_err(|error| failed(&path, &error))
                };
                self.on_disk(Arc::clone(local), work).await
            }
            Self::S3(bucket) => bucket.read(&path(&place), range).await,
        }
    }

    /// An object's length in bytes.
    pub(super) async fn length(&self, place: (String, String)) -> Result<u64> {
        match self {
            Self::Local(local) => {
                let work = move |local: &Local| {
                    let path = path(&place);
                    let length = local.disk.length(&path);
                    length.map_err(|error| failed(&path, &error))
                };
                self.on_disk(Arc::clone(local), work).await
            }
            Self::S3(bucket) => bucket.length(&path(&place)).await,
        }
    }

    /// The names in one folder, sorted.
    pub(super) async fn list(&self, folder: String) -> Result<Vec<String>> {
        match self {
            Self::Local(local) => {
                let work = move |local: &Local| {
                    let listed = local.disk.list(&folder);
                    listed.map_err(|error| failed(&folder, &error))
                };
                self.on_disk(Arc::clone(local), work).await
            }
            Self::S3(bucket) => bucket.list(&folder).await,
        }
    }

    /// Removes an object, which need not exist, for good.
    pub(super) async fn delete(&self, place: (String, String)) -> Result<()> {
        match self {
            Self::Local(local) => {
                let work = move |local: &Local| local.delete(&place.0, &place.1);
                self.on_disk(Arc::clone(local), work).await
            }
            Self::S3(bucket) => bucket.delete(&path(&place)).await,
        }
    }

    /// Moves an object to the quarantine folder.
    pub(super) async fn quarantine(&self, place: (String, String)) -> Result<()> {
        match self {
            Self::Local(local) => {
                let work = move |local: &Local| local.quarantine(&place.0, &place.1);
                self.on_disk(Arc::clone(local), work).await
            }
            Self::S3(bucket) => {
                let to = format!("{QUARANTINE}/{}", place.1);
                bucket.rename(&path(&place), &to).await
            }
        }
    }

    async fn on_disk<T: Send + 'static>(
        &self,
        local: Arc<Local>,
        work: impl FnOnce(&Local) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        if local.disk.blocks() {
            blocking(move || work(&local)).await?
        } else {
            work(&local)
        }
    }
}

/// Runs what takes long on a thread that may block.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::Bug {
        what: "a task of the blob store".into(),
        detail: error.to_string(),
    })
}

impl Local {
    /// Whether calls may take long.
    pub(super) fn blocks(&self) -> bool {
        self.disk.blocks()
    }

    fn prepare(&self) -> Result<()> {
        let disk = &self.disk;
        let folder = |name: &str| {
            let made = disk.create_folder(name);
            made.map_err(|error| failed(name, &error))
        };
        let sync = |name: &str| {
            let synced = disk.sync_folder(name);
            synced.map_err(|error| failed(name, &error))
        };
        for kind in FOLDERS {
            for first in 0..=u8::MAX {
                folder(&shard_folder(kind, first))?;
            }
            sync(kind)?;
        }
        folder(INCOMING)?;
        folder(QUARANTINE)?;
        sync("")?;
        for leaf in disk
            .list(INCOMING)
            .map_err(|error| failed(INCOMING, &error))?
        {
            let name = format!("{INCOMING}/{leaf}");
            disk.remove(&name).map_err(|error| failed(&name, &error))?;
        }
        Ok(())
    }

    fn put(&self, folder: &str, leaf: &str, content: &[Bytes]) -> Result<()> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let incoming = format!("{INCOMING}/{number}");
        let name = format!("{folder}/{leaf}");
        let disk = &self.disk;
        let put = disk
            .create_file(&incoming, content)
            .and_then(|()| disk.sync_file(&incoming))
            .and_then(|()| disk.rename(&incoming, &name))
            .and_then(|()| disk.sync_folder(folder));
        put.map_err(|error| {
            // Gives its space back; when even that fails, the next start does it.
            let _ = disk.remove(&incoming);
            failed(&name, &error)
        })
    }

    fn delete(&self, folder: &str, leaf: &str) -> Result<()> {
        let name = format!("{folder}/{leaf}");
        match self.disk.remove(&name) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            removed => removed
                .and_then(|()| self.disk.sync_folder(folder))
                .map_err(|error| failed(&name, &error)),
        }
    }

    fn quarantine(&self, folder: &str, leaf: &str) -> Result<()> {
        let name = format!("{folder}/{leaf}");
        let disk = &self.disk;
        disk.rename(&name, &format!("{QUARANTINE}/{leaf}"))
            .and_then(|()| disk.sync_folder(QUARANTINE))
            .and_then(|()| disk.sync_folder(folder))
            .map_err(|error| failed(&name, &error))
    }
}

fn failed(name: &str, error: &std::io::Error) -> Error {
    if error.kind() == std::io::ErrorKind::UnexpectedEof {
        return cut_short(name);
    }
    error::from_io(name, error)
}

/// An object that ends before bytes that it must have.
pub(super) fn cut_short(name: &str) -> Error {
    Error::Corrupt {
        what: name.to_owned(),
        detail: "it is cut short".into(),
    }
}

pub(super) fn path((folder, leaf): &(String, String)) -> String {
    format!("{folder}/{leaf}")
}
