//! The journal of the blocks that a member alone orders: one table in a redb file of its own. A block is
//! written there while it is executed.
//!
//! ```text
//! journal      height -> certified block         ordered alone, and not yet both in the engine's
//!                                                archive and durable in the database
//! ```

use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use bytes::Bytes;
use redb::{Database, ReadableDatabase, ReadableTable as _, StorageBackend, TableDefinition};

use crate::Error;

const JOURNAL: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("journal");
/// File name of the journal.
const FILE: &str = "journal.redb";
/// Bytes of redb's page cache.
const CACHE_BYTES: usize = 4 << 20;

/// The open journal.
#[derive(Debug)]
pub(crate) struct Journal {
    database: Arc<Database>,
    /// Writes beside whoever waits for it; without one, writes are done before `write` returns.
    writer: Option<Writer>,
}

#[derive(Debug)]
struct Writer {
    work: mpsc::Sender<Work>,
    thread: JoinHandle<()>,
}

struct Work {
    blocks: Vec<(u64, Bytes)>,
    settled: Range<u64>,
    done: mpsc::SyncSender<Result<(), Error>>,
}

/// A write that may be under way still.
#[derive(Debug)]
pub(crate) struct Pending(mpsc::Receiver<Result<(), Error>>);

impl Pending {
    /// Waits until the blocks are durable.
    ///
    /// # Errors
    /// If the disk fails.
    pub(crate) fn wait(self) -> Result<(), Error> {
        let gone = |_| Error::Stopped("the journal's thread ended".into());
        self.0.recv().map_err(gone)?
    }
}

impl Journal {
    /// Opens or creates the journal in a folder.
    pub(crate) fn open(directory: &Path) -> Result<Self, Error> {
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE_BYTES);
        let database = Arc::new(builder.create(directory.join(FILE))?);
        let (work, queue) = mpsc::channel::<Work>();
        let written = database.clone();
        let thread = std::thread::Builder::new()
            .name("salus-journal".into())
            .spawn(move || {
                for Work {
                    blocks,
                    settled,
                    done,
                } in queue
                {
                    // Who began it may have failed since.
                    drop(done.send(write(&written, &blocks, settled)));
                }
            })
            .map_err(|error| Error::Io(error.to_string()))?;
        let writer = Some(Writer { work, thread });
        Ok(Self { database, writer })
    }

    /// The same over any storage, for the simulation: the order of writes is that of the calls.
    pub(crate) fn open_backend(storage: impl StorageBackend) -> Result<Self, Error> {
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE_BYTES);
        let database = Arc::new(builder.create_with_backend(storage)?);
        Ok(Self {
            database,
            writer: None,
        })
    }

    /// Begins to write blocks, and to let go those of the heights in `settled`.
    pub(crate) fn write(&self, blocks: Vec<(u64, Bytes)>, settled: Range<u64>) -> Pending {
        let (done, result) = mpsc::sync_channel(1);
        match &self.writer {
            None => drop(done.send(write(&self.database, &blocks, settled))),
            // A thread that ended drops `done`, which whoever waits is told.
            Some(writer) => drop(writer.work.send(Work {
                blocks,
                settled,
                done,
            })),
        }
        Pending(result)
    }

    /// The journal's blocks, ascending by height.
    pub(crate) fn blocks(&self) -> Result<Vec<(u64, Vec<u8>)>, Error> {
        let read = self.database.begin_read()?;
        let journal = match read.open_table(JOURNAL) {
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            journal => journal?,
        };
        let mut found = Vec::new();
        for item in journal.iter()? {
            let (height, block) = item?;
            found.push((height.value(), block.value().to_vec()));
        }
        Ok(found)
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if let Some(Writer { work, thread }) = self.writer.take() {
            drop(work);
            // It holds the file, which may be opened again at once.
            drop(thread.join());
        }
    }
}

fn write(database: &Database, blocks: &[(u64, Bytes)], settled: Range<u64>) -> Result<(), Error> {
    let write = database.begin_write()?;
    {
        let mut journal = write.open_table(JOURNAL)?;
        for height in settled {
            journal.remove(height)?;
        }
        for (height, block) in blocks {
            journal.insert(height, &block[..])?;
        }
    }
    write.commit()?;
    Ok(())
}
