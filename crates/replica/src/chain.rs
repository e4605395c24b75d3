//! Executes finalised blocks: state, log, epochs and checkpoints, stored in one commit. Knows
//! nothing of the engine that ordered them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use salus_contract::{BlockContext, Overlay, StateRead};
use salus_ledger::{Frontier, MemberList, StateChange, StateTree};
use salus_proto::checkpoint::{Checkpoint, MEMBERS_STATE_KEY};
use salus_proto::command::ENTRY_LIMIT;
use salus_proto::{Digest, TimestampMs};

use crate::Error;
use crate::machine::{Machine, command_id};
use crate::replica::lock;
use crate::store::{Commit, Edge, Epoch, Handover, Mark, Snapshot, Store, Tip};
use crate::tree::ProvableTree;

/// How far execution may trail a height that is voted on, in blocks; an epoch ends so many blocks
/// after the change of members that ends it.
pub(crate) const LAG: u64 = 16;
/// Blocks in the journal after which the database is made durable.
const FLUSHED_AFTER_BLOCKS: u64 = 1024;
/// The same in bytes.
const FLUSHED_AFTER_BYTES: usize = 64 << 20;
/// The same in milliseconds of block time.
const FLUSHED_AFTER_MS: u64 = 2000;
/// Least time between two checkpoints, in milliseconds of block time.
pub(crate) const CHECKPOINT_INTERVAL_MS: u64 = 100;

/// A finalised block without the engine's types.
#[derive(Clone, Debug)]
pub(crate) struct Ordered {
    pub(crate) height: u64,
    pub(crate) digest: Digest,
    pub(crate) parent: Digest,
    pub(crate) time_ms: u64,
    pub(crate) commands: Vec<Bytes>,
    /// The block itself, if the journal is to make it durable: the engine has not archived it.
    pub(crate) journaled: Option<Bytes>,
}

/// What became of a block.
#[derive(Debug)]
pub(crate) struct Executed {
    pub(crate) height: u64,
    pub(crate) time_ms: u64,
    /// Index of the first entry.
    pub(crate) first: u64,
    pub(crate) entries: Vec<Bytes>,
    /// Every command's id and the index of its entry, if it became one.
    pub(crate) commands: Vec<(Digest, Option<u64>)>,
}

/// What a batch of blocks did.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) blocks: Vec<Executed>,
    /// The checkpoint that holds after the last block.
    pub(crate) checkpoint: Option<Checkpoint>,
    /// Epochs that began or whose end was decided.
    pub(crate) epochs: BTreeMap<u64, Epoch>,
    /// The encoded list of the members to come, if it changed.
    pub(crate) members: Option<Vec<u8>>,
}

/// The name of a log and what it starts from.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    /// Digest of the genesis file.
    pub(crate) genesis: Digest,
    /// Origin line of the checkpoints.
    pub(crate) name: String,
    /// When the consortium was founded, milliseconds since 1970: the time of block 0.
    pub(crate) time_ms: u64,
    /// Digest of block 0.
    pub(crate) block: Digest,
}

/// The chain as executed so far.
pub(crate) struct Chain<M> {
    machine: Arc<M>,
    store: Store,
    origin: Origin,
    tip: Tip,
    frontier: Frontier,
    edge: Edge,
    tree: Arc<Mutex<ProvableTree>>,
    /// The newest epoch and its number.
    epoch: (u64, Epoch),
    /// Heights of journaled blocks that the engine has archived.
    archived: std::ops::Range<u64>,
    /// The last block that is durable in the database itself.
    flushed: Flushed,
    /// The last block in the database; what is above `flushed` is durable in the journal.
    stored: u64,
    /// Bytes of the journal's blocks since the last flush.
    unflushed_bytes: usize,
}

/// Those of some blocks that the journal is to make durable.
struct Journaled {
    /// Height of the first.
    first: u64,
    bytes: usize,
}

impl Journaled {
    fn of(blocks: &[&Ordered]) -> Option<Self> {
        let mut found = None;
        for block in blocks {
            if let Some(bytes) = &block.journaled {
                let found = found.get_or_insert(Self {
                    first: block.height,
                    bytes: 0,
                });
                found.bytes += bytes.len();
            }
        }
        found
    }
}

/// Up to where the database needs no journal.
#[derive(Clone, Copy, Debug)]
struct Flushed {
    height: u64,
    time_ms: u64,
}

impl<M: Machine> Chain<M> {
    /// Loads the chain, or founds it.
    pub(crate) fn open(machine: Arc<M>, store: Store, origin: Origin) -> Result<Self, Error> {
        if store.read()?.tip()?.is_none() {
            store.commit(genesis(&*machine, &origin)?)?;
        }
        let snapshot = store.read()?;
        let tip = snapshot
            .tip()?
            .ok_or_else(|| Error::corrupt("the tip is missing"))?;
        let frontier = Frontier::from_bytes(&tip.frontier)?;
        let edge = Edge::load(&snapshot, frontier.size())?;
        let tree = StateTree::from_leaves(snapshot.leaves()?)?;
        if tree.root() != tip.state_root {
            return Err(Error::corrupt(
                "the state does not lead to its root; run fsck",
            ));
        }
        let tree = Arc::new(Mutex::new(ProvableTree::new(tree)));
        let epoch = snapshot.epochs()?.pop_last();
        let epoch = epoch.ok_or_else(|| Error::corrupt("the epochs are missing"))?;
        let kept = store.journal().blocks()?;
        let first = kept.first().map_or(tip.height + 1, |(height, _)| *height);
        let flushed = Flushed {
            height: tip.height,
            time_ms: tip.time_ms,
        };
        Ok(Self {
            machine,
            store,
            origin,
            stored: flushed.height,
            unflushed_bytes: 0,
            flushed,
            tip,
            frontier,
            edge,
            tree,
            epoch,
            archived: first..first,
        })
    }

    /// Notes that the engine has archived the blocks up to `height`.
    pub(crate) fn archived(&mut self, height: u64) {
        let end = height.min(self.tip.height) + 1;
        self.archived.end = end.max(self.archived.end);
    }

    pub(crate) fn tip(&self) -> &Tip {
        &self.tip
    }

    pub(crate) fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// The state's tree, shared with who proves.
    pub(crate) fn tree(&self) -> Arc<Mutex<ProvableTree>> {
        self.tree.clone()
    }

    /// Whether a block without commands is wanted soon, for a checkpoint or the turn of an epoch.
    pub(crate) fn block_wanted(&self) -> bool {
        self.frontier.size() > self.tip.checkpoint.size || self.epoch.1.last.is_some()
    }

    /// The checkpoint that holds now, unless entries were added since the last one was due.
    pub(crate) fn checkpoint(&self) -> Result<Option<Checkpoint>, Error> {
        let Mark { height, size, .. } = self.tip.checkpoint;
        if height == 0 || size != self.frontier.size() {
            return Ok(None);
        }
        Ok(Some(self.marked(&self.members_of(height)?)))
    }

    /// The checkpoint at the last mark, to be signed by these members; nothing changed since.
    fn marked(&self, members: &MemberList) -> Checkpoint {
        let Mark {
            height,
            time_ms,
            size,
        } = self.tip.checkpoint;
        Checkpoint {
            origin: self.origin.name.clone(),
            size,
            root: self.frontier.root(),
            height,
            time: TimestampMs(time_ms),
            state: lock(&self.tree).root(),
            members: members.digest(),
        }
    }

    /// What the members of an epoch that ends with the last executed block leave behind: that block
    /// or one before it was marked, and no entry came after the mark.
    fn handover(&self, ending: &Epoch) -> Result<Handover, Error> {
        let checkpoint = self.marked(&MemberList::from_bytes(&ending.members)?);
        Ok(Handover {
            size: checkpoint.size,
            text: checkpoint.text().map_err(salus_ledger::Error::from)?,
            proof: lock(&self.tree).prove_newest(MEMBERS_STATE_KEY),
        })
    }

    /// Executes blocks in the order of their heights and stores the result durably. Blocks that were
    /// executed before change nothing, so a block may be delivered again after a crash.
    /// `prepared` is what this node's admission made of a command, if it has seen it.
    pub(crate) fn execute(
        &mut self,
        blocks: &[Ordered],
        prepared: impl Fn(&Digest) -> Option<Arc<M::Prepared>>,
    ) -> Result<Outcome, Error> {
        let snapshot = self.store.read()?;
        let mut batch = Overlay::new(&snapshot);
        let mut outcome = Outcome::default();
        let mut tiles = BTreeMap::new();
        let first_entry = self.frontier.size();
        let new = |block: &&Ordered| block.height > self.tip.height;
        let new: Vec<_> = blocks.iter().filter(new).collect();
        let journaled = Journaled::of(&new);
        // Written while the blocks are executed; the database waits for it.
        let mut written = journaled.is_some().then(|| {
            let blocks = new.iter().filter_map(|block| {
                let bytes = block.journaled.clone()?;
                Some((block.height, bytes))
            });
            let settled = self.settled();
            self.store.journal().write(blocks.collect(), settled)
        });
        let mut dirty = false;
        for block in new {
            if block.height != self.tip.height + 1 || block.parent != self.tip.block {
                return Err(Error::corrupt(format!(
                    "block {} does not follow block {}",
                    block.height, self.tip.height
                )));
            }
            let mut overlay = Overlay::new(&batch);
            let mut executed = Executed {
                height: block.height,
                time_ms: block.time_ms,
                first: self.frontier.size(),
                entries: Vec::new(),
                commands: Vec::with_capacity(block.commands.len()),
            };
            for command in &block.commands {
                let id = command_id(command);
                let index = self.frontier.size();
                let time = TimestampMs(block.time_ms);
                let context = BlockContext {
                    height: block.height,
                    time,
                    index,
                };
                let known = prepared(&id);
                let entry = self
                    .machine
                    .apply(&mut overlay, command, known.as_deref(), context);
                let entry = entry.filter(|entry| entry.len() <= ENTRY_LIMIT);
                executed
                    .commands
                    .push((id, entry.is_some().then_some(index)));
                if let Some(entry) = entry {
                    let leaf = salus_ledger::tree::leaf_hash(&entry);
                    self.frontier
                        .append(leaf, |node| self.edge.add(node, &mut tiles));
                    executed.entries.push(entry.into());
                }
            }
            let changes = overlay.into_writes();
            lock(&self.tree).apply(
                block.height,
                changes
                    .iter()
                    .map(|(k, v)| StateChange::new(k, v.as_deref()))
                    .collect(),
            )?;
            batch.absorb(changes);
            dirty |= !block.commands.is_empty() || block.journaled.is_some();
            dirty |= self.advance(block, &batch, &mut outcome)?;
            outcome.blocks.push(executed);
        }
        if let Some(failure) = snapshot.failure() {
            return Err(failure);
        }
        // Blocks without commands change nothing but height and time; the engine keeps them, so
        // they are stored with the next one that does.
        if dirty {
            self.edge.flush(&mut tiles);
            self.tip.frontier = self.frontier.to_bytes();
            self.tip.state_root = lock(&self.tree).root();
            let entries = outcome.blocks.iter().flat_map(|block| &block.entries);
            let flush = !outcome.epochs.is_empty() || self.flush_due(journaled.as_ref());
            self.unflushed_bytes += journaled.map_or(0, |journaled| journaled.bytes);
            self.store.commit(Commit {
                tip: self.tip.clone(),
                state: batch.into_writes(),
                first_entry,
                entries: entries.cloned().collect(),
                tiles,
                epochs: outcome.epochs.clone(),
                flush,
                journaled: written.take(),
            })?;
            self.stored = self.tip.height;
            if flush {
                self.has_flushed();
            }
        }
        outcome.checkpoint = self.checkpoint()?;
        Ok(outcome)
    }

    /// Whether the database has to be made durable with the blocks of this commit.
    fn flush_due(&self, journaled: Option<&Journaled>) -> bool {
        let Some(journaled) = journaled else {
            return true;
        };
        // A restart goes on from the last flush with the journal, which does not have the blocks
        // without commands that came by votes.
        let follows = self.stored + 1 == journaled.first;
        !follows
            || self.tip.height >= self.flushed.height + FLUSHED_AFTER_BLOCKS
            || self.tip.time_ms >= self.flushed.time_ms + FLUSHED_AFTER_MS
            || self.unflushed_bytes >= FLUSHED_AFTER_BYTES
    }

    /// Heights that the journal is to let go now that it is written: the engine has them, and the
    /// database too.
    fn settled(&mut self) -> std::ops::Range<u64> {
        let start = self.archived.start;
        let end = self.archived.end.min(self.flushed.height + 1);
        self.archived.start = start.max(end);
        start..self.archived.start
    }

    /// Makes the database durable as it is, if the journal alone holds some of it.
    ///
    /// # Errors
    /// If the disk fails.
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        if self.stored > self.flushed.height {
            self.store.flush()?;
            self.has_flushed();
        }
        Ok(())
    }

    fn has_flushed(&mut self) {
        self.flushed = Flushed {
            height: self.stored,
            time_ms: self.tip.time_ms,
        };
        self.unflushed_bytes = 0;
    }

    /// Moves the tip to `block` and decides checkpoints and epochs; whether that must be stored.
    fn advance(
        &mut self,
        block: &Ordered,
        state: &dyn StateRead,
        outcome: &mut Outcome,
    ) -> Result<bool, Error> {
        self.tip.height = block.height;
        self.tip.block = block.digest;
        self.tip.time_ms = block.time_ms;
        let (number, mut epoch) = self.epoch.clone();
        let ends = epoch.last == Some(block.height);
        let size = self.frontier.size();
        let due = block.time_ms >= self.tip.checkpoint.time_ms + CHECKPOINT_INTERVAL_MS || ends;
        let marked = size > self.tip.checkpoint.size && due;
        if marked {
            self.tip.checkpoint = Mark {
                height: block.height,
                time_ms: block.time_ms,
                size,
            };
        }
        let members = || {
            state
                .get(MEMBERS_STATE_KEY)
                .ok_or_else(|| Error::corrupt("the state names no members"))
        };
        if ends {
            let next = Epoch {
                first: block.height + 1,
                last: None,
                parent: block.digest,
                members: members()?,
                handover: None,
            };
            epoch.handover = Some(self.handover(&epoch)?);
            outcome.epochs.insert(number, epoch);
            outcome.epochs.insert(number + 1, next.clone());
            self.epoch = (number + 1, next);
            outcome.members = Some(members()?);
        } else if epoch.last.is_none() && members()? != epoch.members {
            outcome.members = Some(members()?);
            epoch.last = Some(block.height + LAG);
            outcome.epochs.insert(number, epoch.clone());
            self.epoch = (number, epoch);
        }
        Ok(marked || ends)
    }

    /// Who signs after `height`, one of the last executed: the members of the epoch that holds it.
    fn members_of(&self, height: u64) -> Result<MemberList, Error> {
        let (number, epoch) = &self.epoch;
        if height >= epoch.first {
            return Ok(MemberList::from_bytes(&epoch.members)?);
        }
        let epochs = self.store.read()?.epochs()?;
        let holds = epochs
            .range(..number)
            .rev()
            .find(|(_, epoch)| height >= epoch.first);
        let (_, epoch) = holds.ok_or_else(|| Error::corrupt("an epoch is missing"))?;
        Ok(MemberList::from_bytes(&epoch.members)?)
    }
}

impl<M> std::fmt::Debug for Chain<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chain")
            .field("tip", &self.tip)
            .finish_non_exhaustive()
    }
}

/// Block 0: the state that the machine founds, and the first epoch.
pub(crate) fn genesis<M: Machine>(machine: &M, origin: &Origin) -> Result<Commit, Error> {
    let empty = BTreeMap::new();
    let mut state = Overlay::new(&empty);
    machine.genesis(&mut state)?;
    let members = state
        .get(MEMBERS_STATE_KEY)
        .ok_or_else(|| Error::Configuration("genesis names no members".into()))?;
    MemberList::from_bytes(&members).map_err(|e| Error::Configuration(e.to_string()))?;
    let state = state.into_writes();
    let mut tree = StateTree::new();
    tree.apply(
        state
            .iter()
            .map(|(k, v)| StateChange::new(k, v.as_deref()))
            .collect(),
    )?;
    let epoch = Epoch {
        first: 0,
        last: None,
        parent: origin.block,
        members,
        handover: None,
    };
    Ok(Commit {
        tip: Tip {
            height: 0,
            block: origin.block,
            time_ms: origin.time_ms,
            frontier: Frontier::new().to_bytes(),
            state_root: tree.root(),
            checkpoint: Mark {
                height: 0,
                time_ms: 0,
                size: 0,
            },
        },
        state,
        first_entry: 0,
        entries: Vec::new(),
        tiles: BTreeMap::new(),
        epochs: [(0, epoch)].into(),
        flush: true,
        journaled: None,
    })
}

/// A view of the store for reading, shared until the next block.
pub(crate) type View = Arc<Snapshot>;
