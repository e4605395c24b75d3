//! Checks a replica's whole store offline, values included, and names what is wrong.
//!
//! The log is replayed from genesis: every signature is verified again, every entry must come out as
//! it is stored, and the state that results must be the stored state, key by key.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use salus_contract::{BlockContext, Overlay};
use salus_ledger::state::value_digest;
use salus_ledger::tree::leaf_hash;
use salus_ledger::{CertifiedCheckpoint, Frontier, MemberList, StateChange, StateTree};
use salus_proto::checkpoint::{Checkpoint, MEMBERS_STATE_KEY, SignedNote};
use salus_proto::command::{ENTRY_LIMIT, Entry};
use salus_proto::{Digest, encode};

use crate::chain::{Chain, Origin};
use crate::engine::solo::roll_forward;
use crate::machine::Machine;
use crate::store::{DATABASE, Edge, Epoch, Snapshot, Store, Tip};
use crate::{Error, chain, engine};

/// Most findings that a report lists.
const FINDINGS_LIMIT: usize = 1000;
/// Entries read at once.
const PAGE: usize = 1024;

/// What a check of the store found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Entries in the log.
    pub entries: u64,
    /// Keys in the state.
    pub keys: u64,
    /// Certified checkpoints whose signatures and roots were checked.
    pub checkpoints: u64,
    /// What is wrong; empty for a sound store.
    pub findings: Vec<Finding>,
    /// The state that the log leads to, whatever state is stored; absent when an entry is missing
    /// or unfounded.
    pub state: Option<BTreeMap<Vec<u8>, Vec<u8>>>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// The database itself is damaged.
    #[error("the database is damaged: {0}")]
    Database(String),
    /// The genesis file is not the one that the store was made for.
    #[error("the store was made for another genesis file")]
    Genesis,
    /// An entry is not there.
    #[error("entry {0} is missing")]
    EntryMissing(u64),
    /// An entry's bytes do not hash to what the log's tree holds.
    #[error("entry {0} is not the one that the log's tree holds")]
    EntryAltered(u64),
    /// Executing an entry's command again gives another entry.
    #[error("entry {0} is not what its command leads to")]
    EntryUnfounded(u64),
    /// A tile of the log's tree is wrong or missing.
    #[error("tile {tile} of level {level} of the log's tree is wrong")]
    Tile {
        /// Level of tiles.
        level: u8,
        /// Index within the level.
        tile: u64,
    },
    /// The stored tip does not fit the log or the state.
    #[error("the stored {0} does not fit the log")]
    Tip(&'static str),
    /// The value under a key is not what the log leads to.
    #[error("the state's value under key {} is wrong", hex(.0))]
    Value(Vec<u8>),
    /// A key is missing from the state.
    #[error("the state lacks key {}", hex(.0))]
    ValueMissing(Vec<u8>),
    /// A key is in the state that the log does not lead to.
    #[error("the state has key {} that the log does not lead to", hex(.0))]
    ValueUnfounded(Vec<u8>),
    /// An epoch's list of members was never in force.
    #[error("the members of epoch {0} are not those that the log leads to")]
    Epoch(u64),
    /// An epoch's handover to the next members does not show who they are.
    #[error("the handover that ends epoch {0} does not show the next members")]
    Handover(u64),
    /// A certified checkpoint does not hold.
    #[error("the checkpoint over {size} entries does not hold: {reason}")]
    Checkpoint {
        /// Its log size.
        size: u64,
        /// What does not hold.
        reason: String,
    },
}

impl Finding {
    /// What is wrong, by name.
    pub fn thing(&self) -> String {
        match self {
            Self::Database(_) => "the database".into(),
            Self::Genesis => "the genesis file".into(),
            Self::EntryMissing(index) | Self::EntryAltered(index) | Self::EntryUnfounded(index) => {
                format!("entry {index}")
            }
            Self::Tile { level, tile } => format!("tile {level}/{tile}"),
            Self::Tip(what) => (*what).into(),
            Self::Value(key) | Self::ValueMissing(key) | Self::ValueUnfounded(key) => {
                format!("state key {}", hex(key))
            }
            Self::Epoch(epoch) | Self::Handover(epoch) => format!("epoch {epoch}"),
            Self::Checkpoint { size, .. } => format!("checkpoint {size}"),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Checks the store of a replica that is not running.
///
/// # Errors
/// If the store cannot be opened at all: missing, in use, or failing disk. Damage is not an error
/// but a [`Finding`].
pub fn fsck<M: Machine>(
    directory: &Path,
    machine: &Arc<M>,
    genesis: &Digest,
    origin: &str,
    founded_ms: u64,
) -> Result<Report, Error> {
    let path = directory.join(DATABASE);
    if !path.is_file() {
        return Err(Error::Configuration(format!(
            "there is no {}",
            path.display()
        )));
    }
    let mut report = Report::default();
    let store = match Store::open_checked(directory, genesis) {
        Err(Error::Corrupt(what)) => {
            report.found(Finding::Database(what));
            return Ok(report);
        }
        Err(Error::WrongGenesis) => {
            report.found(Finding::Genesis);
            return Ok(report);
        }
        store => store?,
    };
    let origin = Origin {
        genesis: *genesis,
        name: origin.to_owned(),
        time_ms: founded_ms,
        block: engine::genesis_block(genesis, founded_ms),
    };
    match check_whole(&store, machine, &origin, &mut report) {
        // A row that does not decode: what was found before it stays.
        Err(Error::Corrupt(what)) => report.found(Finding::Database(what)),
        checked => checked?,
    }
    Ok(report)
}

/// Checks an open store together with what its journal is ahead, which is executed first, as a start
/// would.
pub(crate) fn check_whole<M: Machine>(
    store: &Store,
    machine: &Arc<M>,
    origin: &Origin,
    report: &mut Report,
) -> Result<(), Error> {
    let forward = || {
        let ahead = store.journal().blocks()?.pop().map(|(height, _)| height);
        if ahead > store.read()?.tip()?.map(|tip| tip.height) {
            let mut chain = Chain::open(machine.clone(), store.clone(), origin.clone())?;
            roll_forward(&mut chain, store)?;
        }
        Ok(())
    };
    match forward() {
        // What the database has is looked at all the same.
        Err(Error::Corrupt(what)) => report.found(Finding::Database(what)),
        done => done?,
    }
    check(&store.read()?, &**machine, origin, report)
}

/// Checks an open store.
fn check<M: Machine>(
    snapshot: &Snapshot,
    machine: &M,
    origin: &Origin,
    report: &mut Report,
) -> Result<(), Error> {
    let Some(tip) = snapshot.tip()? else {
        report.found(Finding::Tip("tip"));
        return Ok(());
    };
    let notes = snapshot.checkpoints()?;
    let replayed = replay(snapshot, machine, origin, &notes, report)?;
    check_tip(&tip, &replayed, &notes, report);
    check_tiles(snapshot, &replayed, report)?;
    if replayed.complete {
        check_values(snapshot, &replayed.state, report)?;
    }
    let epochs = snapshot.epochs()?;
    check_epochs(&epochs, &replayed, report);
    for (size, note) in &notes {
        report.checkpoints += 1;
        if let Err(reason) = check_note(*size, note, &epochs, &replayed, origin) {
            report.found(Finding::Checkpoint {
                size: *size,
                reason,
            });
        }
    }
    report.state = replayed.complete.then_some(replayed.state);
    Ok(())
}

impl Report {
    fn found(&mut self, finding: Finding) {
        if self.findings.len() < FINDINGS_LIMIT {
            self.findings.push(finding);
        }
    }
}

/// What the log leads to.
struct Replayed {
    frontier: Frontier,
    state: BTreeMap<Vec<u8>, Vec<u8>>,
    state_root: Digest,
    /// Whether every entry could be executed again.
    complete: bool,
    tiles: BTreeMap<(u8, u64), Vec<u8>>,
    /// Log and state roots at the sizes of the stored checkpoints.
    roots: BTreeMap<u64, (Digest, Option<Digest>)>,
    /// Every list of members that was in force.
    members: BTreeSet<Vec<u8>>,
    /// Heights of blocks with entries, and the size of the log after each.
    heights: BTreeMap<u64, u64>,
}

fn replay<M: Machine>(
    snapshot: &Snapshot,
    machine: &M,
    origin: &Origin,
    notes: &[(u64, Vec<u8>)],
    report: &mut Report,
) -> Result<Replayed, Error> {
    let founding = chain::genesis(machine, origin)?;
    let mut state: BTreeMap<_, _> = founding
        .state
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
        .collect();
    let mut tree = StateTree::new();
    tree.apply(
        state
            .iter()
            .map(|(k, v)| StateChange::new(k, Some(v)))
            .collect(),
    )?;
    let sizes: BTreeSet<u64> = notes.iter().map(|(size, _)| *size).collect();
    let (mut frontier, mut edge) = (Frontier::new(), Edge::default());
    let (mut tiles, mut roots, mut members) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
    let mut heights = BTreeMap::new();
    members.extend(state.get(MEMBERS_STATE_KEY).cloned());
    let mut complete = true;
    loop {
        let next = frontier.size();
        let page = snapshot.entries(next, PAGE)?;
        if page.is_empty() {
            break;
        }
        for (index, bytes) in page {
            if index != frontier.size() {
                report.found(Finding::EntryMissing(frontier.size()));
                complete = false;
                break;
            }
            let leaf = leaf_hash(&bytes);
            if stored_leaf(snapshot, index)? != Some(leaf) {
                report.found(Finding::EntryAltered(index));
            }
            if complete {
                match execute(machine, &state, index, &bytes) {
                    Some((height, changes)) => {
                        heights.insert(height, index + 1);
                        let digests = changes
                            .iter()
                            .map(|(k, v)| StateChange::new(k, v.as_deref()));
                        tree.apply(digests.collect())?;
                        for (key, value) in changes {
                            match value {
                                Some(value) => drop(state.insert(key, value)),
                                None => drop(state.remove(&key)),
                            }
                        }
                        members.extend(state.get(MEMBERS_STATE_KEY).cloned());
                    }
                    None => {
                        report.found(Finding::EntryUnfounded(index));
                        complete = false;
                    }
                }
            }
            frontier.append(leaf, |node| edge.add(node, &mut tiles));
            if sizes.contains(&frontier.size()) {
                let state_root = complete.then(|| tree.root());
                roots.insert(frontier.size(), (frontier.root(), state_root));
            }
        }
        if frontier.size() == next {
            break;
        }
    }
    edge.flush(&mut tiles);
    report.entries = frontier.size();
    Ok(Replayed {
        frontier,
        state,
        state_root: tree.root(),
        complete,
        tiles,
        roots,
        members,
        heights,
    })
}

type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// Executes an entry's command again: its block's height and what it changes; `None` unless that
/// gives the same entry.
fn execute<M: Machine>(
    machine: &M,
    state: &BTreeMap<Vec<u8>, Vec<u8>>,
    index: u64,
    bytes: &[u8],
) -> Option<(u64, Changes)> {
    let entry: Entry = encode::from_bytes(bytes, ENTRY_LIMIT, "entry").ok()?;
    let context = BlockContext {
        height: entry.height,
        time: entry.time,
        index,
    };
    let mut overlay = Overlay::new(state);
    let again = machine.apply(&mut overlay, &entry.signed_command, None, context)?;
    (again == bytes).then(|| (entry.height, overlay.into_writes()))
}

fn stored_leaf(snapshot: &Snapshot, index: u64) -> Result<Option<Digest>, Error> {
    use salus_ledger::NodeRead as _;
    let leaf = snapshot.node(0, index);
    snapshot.failure().map_or(Ok(leaf), Err)
}

fn check_tip(tip: &Tip, replayed: &Replayed, notes: &[(u64, Vec<u8>)], report: &mut Report) {
    if tip.frontier != replayed.frontier.to_bytes() {
        report.found(Finding::Tip("log root"));
    }
    if replayed.complete && tip.state_root != replayed.state_root {
        report.found(Finding::Tip("state root"));
    }
    if !replayed.complete {
        return;
    }
    let last = replayed.heights.last_key_value().map_or(0, |(at, _)| *at);
    if tip.height < last {
        report.found(Finding::Tip("height"));
    }
    let mark = tip.checkpoint;
    let held = replayed.heights.range(..=mark.height).next_back();
    let note = notes.iter().find(|(size, _)| *size == mark.size);
    // What members signed at that size, where it is still kept.
    let signed = note.and_then(|(_, note)| {
        let note = SignedNote::parse(std::str::from_utf8(note).ok()?).ok()?;
        let checkpoint = Checkpoint::parse(note.text()).ok()?;
        Some((checkpoint.height, checkpoint.time.0))
    });
    if mark.height > tip.height
        || held.map_or(0, |(_, size)| *size) != mark.size
        || signed.is_some_and(|signed| signed != (mark.height, mark.time_ms))
    {
        report.found(Finding::Tip("last checkpoint"));
    }
}

fn check_tiles(snapshot: &Snapshot, replayed: &Replayed, report: &mut Report) -> Result<(), Error> {
    let mut left: BTreeMap<_, _> = replayed.tiles.iter().collect();
    snapshot.each_tile(|level, tile, hashes| {
        if left
            .remove(&(level, tile))
            .is_none_or(|expected| expected != hashes)
        {
            report.found(Finding::Tile { level, tile });
        }
    })?;
    for (level, tile) in left.into_keys() {
        report.found(Finding::Tile {
            level: *level,
            tile: *tile,
        });
    }
    Ok(())
}

fn check_values(
    snapshot: &Snapshot,
    state: &BTreeMap<Vec<u8>, Vec<u8>>,
    report: &mut Report,
) -> Result<(), Error> {
    let mut left: BTreeSet<&[u8]> = state.keys().map(Vec::as_slice).collect();
    snapshot.each_value(|key, value| {
        report.keys += 1;
        left.remove(key);
        match state.get(key) {
            None => report.found(Finding::ValueUnfounded(key.to_vec())),
            Some(expected) if expected != value => report.found(Finding::Value(key.to_vec())),
            Some(_) => {}
        }
    })?;
    for key in left {
        report.found(Finding::ValueMissing(key.to_vec()));
    }
    Ok(())
}

fn check_epochs(epochs: &BTreeMap<u64, Epoch>, replayed: &Replayed, report: &mut Report) {
    let next = epochs.values().skip(1).map(Some).chain([None]);
    for ((number, epoch), next) in epochs.iter().zip(next) {
        if !replayed.members.contains(&epoch.members) {
            report.found(Finding::Epoch(*number));
        } else if next.is_some_and(|next| !hands_over(epoch, next)) {
            report.found(Finding::Handover(*number));
        }
    }
}

/// Whether an ended epoch's handover shows who the next members are.
fn hands_over(epoch: &Epoch, next: &Epoch) -> bool {
    let Some(handover) = &epoch.handover else {
        return false;
    };
    let Ok(checkpoint) = Checkpoint::parse(&handover.text) else {
        return false;
    };
    let shown = handover.proof.verify(&checkpoint.state, MEMBERS_STATE_KEY);
    checkpoint.size == handover.size && shown == Ok(Some(value_digest(&next.members)))
}

fn check_note(
    size: u64,
    note: &[u8],
    epochs: &BTreeMap<u64, Epoch>,
    replayed: &Replayed,
    origin: &Origin,
) -> Result<(), String> {
    let text = std::str::from_utf8(note).map_err(|_| "it is not text")?;
    let note = SignedNote::parse(text).map_err(|error| error.to_string())?;
    let checkpoint = Checkpoint::parse(note.text()).map_err(|error| error.to_string())?;
    let holds = epochs
        .values()
        .rev()
        .find(|epoch| epoch.first <= checkpoint.height);
    let members = holds.ok_or("no epoch holds its height")?;
    let members = MemberList::from_bytes(&members.members).map_err(|error| error.to_string())?;
    CertifiedCheckpoint::verify(&note, &members, &origin.name)
        .map_err(|error| error.to_string())?;
    match replayed.roots.get(&size) {
        Some((root, _)) if *root != checkpoint.root => Err("the log has another root".into()),
        Some((_, Some(state))) if *state != checkpoint.state => {
            Err("the state has another root".into())
        }
        Some(_) if checkpoint.size == size => Ok(()),
        _ => Err("the log does not have as many entries".into()),
    }
}
