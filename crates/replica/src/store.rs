//! The replica's database: state, log and tip in one redb file, written in one commit; beside it the
//! journal.
//!
//! ```text
//! state        key -> value                      what the contract reads and writes
//! entries      index -> entry bytes              the log's leaves
//! tiles        (tile level, tile) -> hashes      C2SP tiles of the log's tree, the last one partial
//! meta         "tip" -> Tip, "genesis" -> digest
//! epochs       epoch -> Epoch                    who validated which heights
//! checkpoints  size -> signed note               certified by a quorum
//! evidence     digest -> two signed notes        a member that signed two different logs
//! ```
//!
//! State keys are digests, so a block's changes lie all over the database, and making them durable takes
//! many times as long as a write in one place. A block that the engine has archived is made durable here
//! once; one that was ordered alone is durable when it is in the journal, and the database follows.
//!
//! Knows bytes and atomicity; what they mean is the executor's business.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use minicbor::{Decode, Encode};
use redb::{
    Database, Durability, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable,
    ReadableTableMetadata, StorageBackend, TableDefinition,
};
use salus_contract::StateRead;
use salus_ledger::state::{StateLeaf, path_of, value_digest};
use salus_ledger::tree::node_hash;
use salus_ledger::{NodeRead, StateProof};
use salus_proto::command::ENTRY_LIMIT;
use salus_proto::{Digest, encode};

use crate::Error;
use crate::journal::{Journal, Pending};

const STATE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("state");
const ENTRIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("entries");
const TILES: TableDefinition<'_, (u8, u64), &[u8]> = TableDefinition::new("tiles");
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const EPOCHS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("epochs");
const CHECKPOINTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("checkpoints");
const EVIDENCE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("evidence");

/// Levels of the tree between two levels of tiles (C2SP tlog-tiles: height 8).
const TILE_HEIGHT: u8 = 8;
/// Hashes in a full tile.
const TILE_WIDTH: u64 = 1 << TILE_HEIGHT;
/// Bytes of redb's page cache.
const CACHE_BYTES: usize = 256 << 20;
/// The same under simulation.
const SMALL_CACHE_BYTES: usize = 4 << 20;
/// Certified checkpoints kept besides those that end an epoch.
const CHECKPOINTS_KEPT: u64 = 256;
/// Most pieces of evidence kept.
const EVIDENCE_LIMIT: u64 = 1024;
/// Largest stored record of ours besides state and entries, in bytes.
const RECORD_LIMIT: usize = 4 << 20;

/// Where the chain stands after the last stored block.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Tip {
    /// Height of the block; 0 is genesis.
    #[n(0)]
    pub(crate) height: u64,
    /// The block's digest.
    #[n(1)]
    pub(crate) block: Digest,
    /// The block's agreed time, milliseconds since 1970.
    #[n(2)]
    pub(crate) time_ms: u64,
    /// The log's frontier, as the ledger crate encodes it.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub(crate) frontier: Vec<u8>,
    /// Root of the state.
    #[n(4)]
    pub(crate) state_root: Digest,
    /// The last block after which members signed.
    #[n(5)]
    pub(crate) checkpoint: Mark,
}

/// A block after which a checkpoint was due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Mark {
    /// Its height.
    #[n(0)]
    pub(crate) height: u64,
    /// Its agreed time.
    #[n(1)]
    pub(crate) time_ms: u64,
    /// Entries in the log after it.
    #[n(2)]
    pub(crate) size: u64,
}

/// A run of heights with one set of validators.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Epoch {
    /// Its first height; epoch 0 begins at genesis, height 0.
    #[n(0)]
    pub(crate) first: u64,
    /// Its last height, once decided.
    #[n(1)]
    pub(crate) last: Option<u64>,
    /// Digest of the block before `first`, or of genesis.
    #[n(2)]
    pub(crate) parent: Digest,
    /// The encoded list of its members.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub(crate) members: Vec<u8>,
    /// Its members' last word, once it has ended.
    #[n(4)]
    pub(crate) handover: Option<Handover>,
}

/// The last checkpoint of an epoch, whose state names the next members.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Handover {
    /// Entries in the log.
    #[n(0)]
    pub(crate) size: u64,
    /// The checkpoint's text; its certificate is among the checkpoints once a quorum has signed.
    #[n(1)]
    pub(crate) text: String,
    /// Proof under its state root of the list of the next members.
    #[n(2)]
    pub(crate) proof: StateProof,
}

/// What one or more blocks change, to be stored at once.
#[derive(Debug)]
pub(crate) struct Commit {
    pub(crate) tip: Tip,
    pub(crate) state: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    pub(crate) first_entry: u64,
    pub(crate) entries: Vec<bytes::Bytes>,
    pub(crate) tiles: BTreeMap<(u8, u64), Vec<u8>>,
    pub(crate) epochs: BTreeMap<u64, Epoch>,
    /// Whether this and all before it is durable in the database itself afterwards.
    pub(crate) flush: bool,
    /// The write that makes its blocks durable, if that is the journal's part.
    pub(crate) journaled: Option<Pending>,
}

/// File name of the database.
pub(crate) const DATABASE: &str = "ledger.redb";
/// The open database and journal. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    database: Arc<Database>,
    journal: Arc<Journal>,
}

impl Store {
    /// Opens or creates the database and the journal of the consortium with this genesis.
    pub(crate) fn open(directory: &Path, genesis: &Digest) -> Result<Self, Error> {
        let mut builder = Database::builder();
        let database = builder
            .set_cache_size(CACHE_BYTES)
            .create(directory.join(DATABASE))?;
        Self::prepare(database, Journal::open(directory)?, genesis)
    }

    /// Opens an existing database after checking every page of it.
    pub(crate) fn open_checked(directory: &Path, genesis: &Digest) -> Result<Self, Error> {
        let mut builder = Database::builder();
        let database = builder
            .set_check_integrity_on_open(true)
            .open(directory.join(DATABASE))?;
        Self::prepare(database, Journal::open(directory)?, genesis)
    }

    /// The same over any storage, for the simulation.
    pub(crate) fn open_backends(
        database: impl StorageBackend,
        journal: impl StorageBackend,
        genesis: &Digest,
    ) -> Result<Self, Error> {
        let mut builder = Database::builder();
        builder.set_cache_size(SMALL_CACHE_BYTES);
        Self::prepare(
            builder.create_with_backend(database)?,
            Journal::open_backend(journal)?,
            genesis,
        )
    }

    fn prepare(database: Database, journal: Journal, genesis: &Digest) -> Result<Self, Error> {
        let store = Self {
            database: Arc::new(database),
            journal: Arc::new(journal),
        };
        let known = store.read()?.meta("genesis")?;
        match known {
            Some(found) if found == genesis.0 => return Ok(store),
            Some(_) => return Err(Error::WrongGenesis),
            None => {}
        }
        let write = store.database.begin_write()?;
        {
            write.open_table(STATE)?;
            write.open_table(ENTRIES)?;
            write.open_table(TILES)?;
            write.open_table(EPOCHS)?;
            write.open_table(CHECKPOINTS)?;
            write.open_table(EVIDENCE)?;
            write.open_table(META)?.insert("genesis", &genesis.0[..])?;
        }
        write.commit()?;
        Ok(store)
    }

    /// A view of the last commit that later ones do not change.
    pub(crate) fn read(&self) -> Result<Snapshot, Error> {
        let read = self.database.begin_read()?;
        Ok(Snapshot {
            read,
            state: Mutex::new(None),
            failure: Mutex::new(None),
        })
    }

    /// Stores a batch of blocks durably.
    pub(crate) fn commit(&self, commit: Commit) -> Result<(), Error> {
        let mut write = self.database.begin_write()?;
        let durability = match commit.flush {
            true => Durability::Immediate,
            false => Durability::None,
        };
        write
            .set_durability(durability)
            .map_err(|e| Error::Io(e.to_string()))?;
        {
            let mut state = write.open_table(STATE)?;
            for (key, value) in &commit.state {
                match value {
                    Some(value) => drop(state.insert(key.as_slice(), value.as_slice())?),
                    None => drop(state.remove(key.as_slice())?),
                }
            }
            let mut entries = write.open_table(ENTRIES)?;
            for (index, entry) in (commit.first_entry..).zip(&commit.entries) {
                entries.insert(index, &entry[..])?;
            }
            let mut tiles = write.open_table(TILES)?;
            for (place, hashes) in &commit.tiles {
                tiles.insert(place, hashes.as_slice())?;
            }
            if !commit.epochs.is_empty() {
                let mut epochs = write.open_table(EPOCHS)?;
                for (epoch, record) in &commit.epochs {
                    epochs.insert(epoch, encode::to_bytes(record).as_slice())?;
                }
            }
            write
                .open_table(META)?
                .insert("tip", encode::to_bytes(&commit.tip).as_slice())?;
        }
        if let Some(journaled) = commit.journaled {
            journaled.wait()?;
        }
        write.commit()?;
        Ok(())
    }

    /// The blocks that a member alone ordered lately.
    pub(crate) fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Makes durable what was committed without that.
    pub(crate) fn flush(&self) -> Result<(), Error> {
        // An empty commit of the database's own durability makes those before it durable.
        self.database.begin_write()?.commit()?;
        Ok(())
    }

    /// Keeps a certified checkpoint; older ones than [`CHECKPOINTS_KEPT`] go, unless one of `keep`.
    pub(crate) fn put_checkpoint(&self, size: u64, note: &str, keep: &[u64]) -> Result<(), Error> {
        let mut write = self.database.begin_write()?;
        // A lost certificate can be had again from the members, and the next block makes it durable.
        // Those of a handover may have left since.
        let durability = match keep.contains(&size) {
            true => Durability::Immediate,
            false => Durability::None,
        };
        write
            .set_durability(durability)
            .map_err(|e| Error::Io(e.to_string()))?;
        {
            let mut table = write.open_table(CHECKPOINTS)?;
            table.insert(size, note.as_bytes())?;
            let mut excess = table.len()?.saturating_sub(CHECKPOINTS_KEPT);
            if excess > 0 {
                table.retain(|size, _| {
                    let kept = excess == 0 || keep.contains(&size);
                    excess -= u64::from(!kept);
                    kept
                })?;
            }
        }
        write.commit()?;
        Ok(())
    }

    /// Keeps two notes that convict a member.
    pub(crate) fn put_evidence(&self, id: &Digest, notes: &str) -> Result<(), Error> {
        let write = self.database.begin_write()?;
        {
            let mut table = write.open_table(EVIDENCE)?;
            if table.len()? < EVIDENCE_LIMIT {
                table.insert(&id.0[..], notes.as_bytes())?;
            }
        }
        write.commit()?;
        Ok(())
    }
}

/// Keys of the state with their values.
pub(crate) type Values = Vec<(Vec<u8>, Vec<u8>)>;

type StateTable = Arc<ReadOnlyTable<&'static [u8], &'static [u8]>>;

/// A consistent view of the store.
pub(crate) struct Snapshot {
    read: ReadTransaction,
    /// The state table, opened once.
    state: Mutex<Option<StateTable>>,
    /// The first failure of a read whose signature has no place for one.
    failure: Mutex<Option<Error>>,
}

impl Snapshot {
    fn table<K: redb::Key + 'static, V: redb::Value + 'static>(
        &self,
        table: TableDefinition<'static, K, V>,
    ) -> Result<Option<ReadOnlyTable<K, V>>, Error> {
        match self.read.open_table(table) {
            Ok(table) => Ok(Some(table)),
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn state_table(&self) -> Result<Option<StateTable>, Error> {
        let mut cached = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if cached.is_none() {
            *cached = self.table(STATE)?.map(Arc::new);
        }
        Ok(cached.clone())
    }

    fn meta(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        let Some(table) = self.table(META)? else {
            return Ok(None);
        };
        Ok(table.get(key)?.map(|value| value.value().to_vec()))
    }

    /// The tip, or `None` before genesis was stored.
    pub(crate) fn tip(&self) -> Result<Option<Tip>, Error> {
        let bytes = self.meta("tip")?;
        Ok(bytes
            .map(|b| encode::from_bytes(&b, RECORD_LIMIT, "tip"))
            .transpose()?)
    }

    /// The value under a key of the state.
    pub(crate) fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let Some(table) = self.state_table()? else {
            return Ok(None);
        };
        Ok(table.get(key)?.map(|value| value.value().to_vec()))
    }

    /// Up to `limit` keys of the state that start with `prefix` and lie after `after`, ascending.
    pub(crate) fn range(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Values, Error> {
        let mut found = Vec::new();
        let Some(table) = self.state_table()? else {
            return Ok(found);
        };
        let start = after.filter(|after| *after > prefix).unwrap_or(prefix);
        for item in table.range(start..)? {
            let (key, value) = item?;
            if !key.value().starts_with(prefix) || found.len() == limit {
                break;
            }
            if after != Some(key.value()) {
                found.push((key.value().to_vec(), value.value().to_vec()));
            }
        }
        Ok(found)
    }

    /// Path and value digest of every key of the state.
    pub(crate) fn leaves(&self) -> Result<Vec<StateLeaf>, Error> {
        let Some(table) = self.state_table()? else {
            return Ok(Vec::new());
        };
        let mut leaves = Vec::with_capacity(usize::try_from(table.len()?).unwrap_or(0));
        for item in table.iter()? {
            let (key, value) = item?;
            leaves.push(StateLeaf {
                path: path_of(key.value()),
                value: value_digest(value.value()),
            });
        }
        Ok(leaves)
    }

    /// Visits every key of the state in order.
    pub(crate) fn each_value(&self, mut visit: impl FnMut(&[u8], &[u8])) -> Result<(), Error> {
        if let Some(table) = self.state_table()? {
            for item in table.iter()? {
                let (key, value) = item?;
                visit(key.value(), value.value());
            }
        }
        Ok(())
    }

    /// The entry at `index`.
    pub(crate) fn entry(&self, index: u64) -> Result<Option<Vec<u8>>, Error> {
        let Some(table) = self.table(ENTRIES)? else {
            return Ok(None);
        };
        Ok(table.get(index)?.map(|entry| entry.value().to_vec()))
    }

    /// Up to `limit` entries from `from` on, ascending.
    pub(crate) fn entries(&self, from: u64, limit: usize) -> Result<Vec<(u64, Vec<u8>)>, Error> {
        let Some(table) = self.table(ENTRIES)? else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        for item in table.range(from..)?.take(limit) {
            let (index, entry) = item?;
            if entry.value().len() > ENTRY_LIMIT {
                return Err(Error::corrupt(format!(
                    "entry {} is too long",
                    index.value()
                )));
            }
            found.push((index.value(), entry.value().to_vec()));
        }
        Ok(found)
    }

    /// The hashes of a tile, 32 bytes each; full tiles have 256.
    pub(crate) fn tile(&self, level: u8, tile: u64) -> Result<Option<Vec<u8>>, Error> {
        let Some(table) = self.table(TILES)? else {
            return Ok(None);
        };
        Ok(table
            .get((level, tile))?
            .map(|hashes| hashes.value().to_vec()))
    }

    /// Visits every tile in order.
    pub(crate) fn each_tile(&self, mut visit: impl FnMut(u8, u64, &[u8])) -> Result<(), Error> {
        if let Some(table) = self.table(TILES)? {
            for item in table.iter()? {
                let (place, hashes) = item?;
                let (level, tile) = place.value();
                visit(level, tile, hashes.value());
            }
        }
        Ok(())
    }

    /// Every epoch so far.
    pub(crate) fn epochs(&self) -> Result<BTreeMap<u64, Epoch>, Error> {
        let mut epochs = BTreeMap::new();
        if let Some(table) = self.table(EPOCHS)? {
            for item in table.iter()? {
                let (epoch, record) = item?;
                let record = encode::from_bytes(record.value(), RECORD_LIMIT, "epoch")?;
                epochs.insert(epoch.value(), record);
            }
        }
        Ok(epochs)
    }

    /// The certified checkpoint of at most `size` entries, as a signed note.
    pub(crate) fn checkpoint(&self, size: u64) -> Result<Option<(u64, String)>, Error> {
        let Some(table) = self.table(CHECKPOINTS)? else {
            return Ok(None);
        };
        let Some(item) = table.range(..=size)?.next_back() else {
            return Ok(None);
        };
        let (size, note) = item?;
        let note = String::from_utf8(note.value().to_vec())
            .map_err(|_| Error::corrupt(format!("checkpoint {} is not text", size.value())))?;
        Ok(Some((size.value(), note)))
    }

    /// Every stored certified checkpoint, ascending by size.
    pub(crate) fn checkpoints(&self) -> Result<Vec<(u64, Vec<u8>)>, Error> {
        let Some(table) = self.table(CHECKPOINTS)? else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        for item in table.iter()? {
            let (size, note) = item?;
            found.push((size.value(), note.value().to_vec()));
        }
        Ok(found)
    }

    /// Every stored piece of evidence.
    pub(crate) fn evidence(&self) -> Result<Vec<String>, Error> {
        let Some(table) = self.table(EVIDENCE)? else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        for item in table.iter()? {
            found.push(String::from_utf8_lossy(item?.1.value()).into_owned());
        }
        Ok(found)
    }

    /// The failure that a read without a place for it met, if any.
    pub(crate) fn failure(&self) -> Option<Error> {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn keep_failure(&self, error: Error) {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(error);
    }
}

impl StateRead for Snapshot {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.value(key).unwrap_or_else(|error| {
            self.keep_failure(error);
            None
        })
    }
}

impl NodeRead for Snapshot {
    fn node(&self, level: u8, index: u64) -> Option<Digest> {
        let (tile_level, above) = (level / TILE_HEIGHT, level % TILE_HEIGHT);
        let first = index << above;
        let hashes = match self.tile(tile_level, first / TILE_WIDTH) {
            Ok(hashes) => hashes?,
            Err(error) => {
                self.keep_failure(error);
                return None;
            }
        };
        let start = usize::try_from(first % TILE_WIDTH).ok()? * Digest::LEN;
        let hashes = hashes.get(start..start + (Digest::LEN << above))?;
        let mut row: Vec<Digest> = hashes.as_chunks().0.iter().copied().map(Digest).collect();
        while row.len() > 1 {
            row = row
                .as_chunks()
                .0
                .iter()
                .map(|[left, right]| node_hash(left, right))
                .collect();
        }
        row.pop()
    }
}

/// The last, partial tile of every level: where the log grows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Edge {
    open: BTreeMap<u8, (u64, Vec<u8>)>,
}

impl Edge {
    /// Reads the partial tiles of a log of `size` entries.
    pub(crate) fn load(snapshot: &Snapshot, size: u64) -> Result<Self, Error> {
        let mut open = BTreeMap::new();
        let (mut level, mut width) = (0, size);
        while width > 0 {
            let (tile, held) = (width / TILE_WIDTH, width % TILE_WIDTH);
            if held > 0 {
                let stored = snapshot.tile(level, tile)?.unwrap_or_default();
                if stored.len() as u64 != held * Digest::LEN as u64 {
                    return Err(Error::corrupt(format!("tile {tile} of level {level}")));
                }
                open.insert(level, (tile, stored));
            }
            width = tile;
            level += 1;
        }
        Ok(Self { open })
    }

    /// Adds a completed subtree; tiles that it touches are put into `changed`.
    pub(crate) fn add(
        &mut self,
        node: salus_ledger::tree::Node,
        changed: &mut BTreeMap<(u8, u64), Vec<u8>>,
    ) {
        if !node.level.is_multiple_of(TILE_HEIGHT) {
            return;
        }
        let (level, tile) = (node.level / TILE_HEIGHT, node.index / TILE_WIDTH);
        let open = self.open.entry(level).or_insert_with(|| (tile, Vec::new()));
        if open.0 != tile {
            *open = (tile, Vec::new());
        }
        open.1.extend_from_slice(&node.hash.0);
        // Copied when its block is done would be cheaper by a constant; a tile is 8 KiB at most.
        if open.1.len() as u64 == TILE_WIDTH * Digest::LEN as u64 {
            changed.insert((level, tile), std::mem::take(&mut open.1));
            open.0 = tile + 1;
        }
    }

    /// Puts the partial tiles of the levels into `changed`.
    pub(crate) fn flush(&self, changed: &mut BTreeMap<(u8, u64), Vec<u8>>) {
        for (level, (tile, hashes)) in &self.open {
            if !hashes.is_empty() {
                changed.insert((*level, *tile), hashes.clone());
            }
        }
    }
}
