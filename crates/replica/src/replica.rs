//! The handle to a running replica: submit, read, watch. Cheap to clone; knows no engine.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use bytes::Bytes;
use salus_contract::StateRead;
use salus_ledger::bundle::Handover;
use salus_ledger::{ConsistencyProof, InclusionProof, StateProof};
use salus_proto::checkpoint::Checkpoint;
use salus_proto::ids::OrganisationId;
use salus_proto::{Digest, TimestampMs};
use tokio::sync::{Notify, broadcast, oneshot};

use crate::Error;
use crate::chain::{Executed, View};
use crate::machine::{Machine, command_id};
use crate::pool::{NotTaken, Pool};
use crate::store::Store;
use crate::tree::ProvableTree;

/// Most submissions that wait for an answer at once.
const WAITERS_LIMIT: usize = 1 << 15;
/// Blocks that a slow subscriber may fall behind before it misses some.
const FEED_LIMIT: usize = 1024;
/// Most entries that one call returns.
const ENTRIES_LIMIT: usize = 1024;
/// Most keys that one call returns.
const RANGE_LIMIT: usize = 4096;

/// A running replica.
pub struct Replica<M: Machine> {
    pub(crate) shared: Arc<Shared<M>>,
}

impl<M: Machine> fmt::Debug for Replica<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replica").finish_non_exhaustive()
    }
}

impl<M: Machine> Clone for Replica<M> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
        }
    }
}

/// Where a submitted command ended up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Its entry's position in the log.
    pub index: u64,
    /// Height of its block.
    pub height: u64,
    /// The block's agreed time, milliseconds since 1970.
    pub time_ms: u64,
    /// The entry's bytes; they say whether the command was accepted or refused.
    pub entry: Bytes,
}

/// Why a submission has no entry to show.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError<R: std::error::Error> {
    /// Turned away before it was ordered; it never will be from here.
    #[error("{0}")]
    Refused(R),
    /// Ordered, but its bytes may not become an entry.
    #[error("the command is not admissible")]
    Inadmissible,
    /// The very same bytes were ordered before.
    #[error("the command was ordered before")]
    AlreadyOrdered,
    /// Too many commands wait; try again later.
    #[error("too many commands are waiting; try again later")]
    Overloaded,
    /// Too few members are reachable. The command still waits and may be ordered later; submitting
    /// the same bytes again is safe.
    #[error("waiting for members that do not answer: {}", names(.missing))]
    NoQuorum {
        /// Members that have not been heard lately.
        missing: Vec<OrganisationId>,
    },
    /// Members are reachable but did not agree in time. The command may still be ordered.
    #[error("the command was not ordered in time; it may be ordered later")]
    TimedOut,
    /// The replica or its store failed; nothing more is acknowledged.
    #[error(transparent)]
    Failed(#[from] Error),
}

fn names(members: &[OrganisationId]) -> String {
    members
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

/// One executed block, as subscribers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its height.
    pub height: u64,
    /// Its agreed time, milliseconds since 1970.
    pub time_ms: u64,
    /// Index of its first entry.
    pub first: u64,
    /// Its entries in order.
    pub entries: Vec<Bytes>,
}

/// How a replica is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Height of the last executed block.
    pub height: u64,
    /// That block's agreed time, milliseconds since 1970.
    pub time_ms: u64,
    /// Entries in the log.
    pub size: u64,
    /// Entries under the latest certified checkpoint.
    pub certified_size: u64,
    /// Number of the epoch, which counts changes of membership.
    pub epoch: u64,
    /// Commands that wait to be ordered.
    pub waiting: u64,
    /// The other members.
    pub peers: Vec<Peer>,
    /// Whether another member is known to be far ahead.
    pub syncing: bool,
    /// Why nothing can be ordered now, if so.
    pub stalled: Option<Stall>,
}

/// Another member as last heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The member.
    pub organisation: OrganisationId,
    /// When it was last heard, milliseconds since 1970; `None` if never.
    pub heard_ms: Option<u64>,
    /// The height that it last reported.
    pub height: u64,
}

/// Why nothing can be ordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stall {
    /// Too few members answer.
    NoQuorum {
        /// Those that do not.
        missing: Vec<OrganisationId>,
    },
    /// The replica failed and must be started again.
    Failed(Error),
}

/// A checkpoint that a quorum signed, with the state as it was then.
#[derive(Clone)]
pub struct Certified {
    /// What was certified.
    pub checkpoint: Checkpoint,
    /// The signed note, text form.
    pub note: Arc<str>,
    pub(crate) view: Option<View>,
}

impl fmt::Debug for Certified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certified")
            .field("checkpoint", &self.checkpoint)
            .finish_non_exhaustive()
    }
}

/// A key of the state under a certified checkpoint.
#[derive(Clone, Debug)]
pub struct ProvenValue {
    /// The value, or `None` if the key is absent.
    pub value: Option<Vec<u8>>,
    /// Proof of either under the checkpoint's state root.
    pub proof: StateProof,
    /// The checkpoint.
    pub certified: Certified,
}

/// Keys of the state with their values, ascending by key.
pub type Values = Vec<(Vec<u8>, Vec<u8>)>;

/// A consistent view of the committed state and log that later blocks do not change.
#[derive(Clone)]
pub struct ReadView {
    view: View,
    size: u64,
}

impl fmt::Debug for ReadView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadView")
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

impl StateRead for ReadView {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.view.get(key)
    }
}

impl ReadView {
    /// Entries in the log.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The value under a key of the state.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        self.view.value(key)
    }

    /// At most 4,096 keys of the state that start with `prefix` and lie after `after`, ascending.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn range(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Values, Error> {
        self.view.range(prefix, after, limit.min(RANGE_LIMIT))
    }

    /// The entry at `index`.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn entry(&self, index: u64) -> Result<Option<Vec<u8>>, Error> {
        self.view.entry(index)
    }

    /// At most 1,024 entries from `from` on, ascending, each with its index.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn entries(&self, from: u64, limit: usize) -> Result<Vec<(u64, Vec<u8>)>, Error> {
        self.view.entries(from, limit.min(ENTRIES_LIMIT))
    }

    /// The hashes of a C2SP tile, 32 bytes each.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn tile(&self, level: u8, tile: u64) -> Result<Option<Vec<u8>>, Error> {
        self.view.tile(level, tile)
    }

    /// Proof that the log of `size` entries holds the one at `index`.
    ///
    /// # Errors
    /// If there is no such entry or the store cannot be read.
    pub fn inclusion(&self, index: u64, size: u64) -> Result<InclusionProof, Error> {
        let proof = InclusionProof::new(&*self.view, index, size);
        Ok(proof?)
    }

    /// Proof that the log of `second` entries extends the one of `first`.
    ///
    /// # Errors
    /// If the sizes are out of order or the store cannot be read.
    pub fn consistency(&self, first: u64, second: u64) -> Result<ConsistencyProof, Error> {
        Ok(ConsistencyProof::new(&*self.view, first, second)?)
    }
}

impl<M: Machine> Replica<M> {
    /// Submits a signed command and waits until it is executed and durable on this node.
    ///
    /// Cancel-safe: a dropped call leaves the command waiting.
    ///
    /// # Errors
    /// [`SubmitError`]; after `NoQuorum` and `TimedOut` the outcome is open.
    pub async fn submit(
        &self,
        command: impl Into<Bytes>,
    ) -> Result<Committed, SubmitError<M::Refusal>> {
        let command = command.into();
        let id = command_id(&command);
        let answer = self.shared.enqueue(id, command)?;
        match answer.await {
            Ok(answer) => answer,
            // The waiting list went away with the engine.
            Err(_) => Err(SubmitError::Failed(self.shared.failure_or_stopped())),
        }
    }

    /// The committed state and log as of now.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn read(&self) -> Result<ReadView, Error> {
        let latest = lock(&self.shared.latest);
        Ok(ReadView {
            view: latest.view.clone(),
            size: latest.size,
        })
    }

    /// The latest certified checkpoint; `None` before the first.
    pub fn certified(&self) -> Option<Certified> {
        self.shared.certified()
    }

    /// Waits for a certified checkpoint over at least `size` entries.
    ///
    /// # Errors
    /// If the replica stops first.
    pub async fn certified_at(&self, size: u64) -> Result<Certified, Error> {
        let reached = || self.certified().filter(|c| c.checkpoint.size >= size);
        self.shared.until(reached).await
    }

    /// A stored certified checkpoint over at most `size` entries, as a signed note.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn checkpoint(&self, size: u64) -> Result<Option<(u64, String)>, Error> {
        self.shared.store.read()?.checkpoint(size)
    }

    /// Every stored certified checkpoint, ascending by size: those that ended an epoch, and the
    /// latest few hundred.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn checkpoints(&self) -> Result<Vec<(u64, Vec<u8>)>, Error> {
        self.shared.store.read()?.checkpoints()
    }

    /// Every change of who signs before the checkpoint at `height`, in order. `None` while one is not
    /// certified here: too few of the members before it have signed yet, or this replica has only
    /// just caught up and is asking the others for it.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn handovers(&self, height: u64) -> Result<Option<Vec<Handover>>, Error> {
        let view = self.shared.store.read()?;
        let epochs = view.epochs()?;
        let mut handovers = Vec::new();
        for (before, next) in epochs.values().zip(epochs.values().skip(1)) {
            if next.first > height {
                break;
            }
            let Some(handover) = &before.handover else {
                return Ok(None);
            };
            let Some((size, checkpoint)) = view.checkpoint(handover.size)? else {
                return Ok(None);
            };
            if size != handover.size {
                return Ok(None);
            }
            handovers.push(Handover {
                checkpoint,
                members: next.members.clone(),
                proof: handover.proof.clone(),
            });
        }
        Ok(Some(handovers))
    }

    /// Waits for [`Replica::handovers`].
    ///
    /// # Errors
    /// If the replica stops first or the store cannot be read.
    pub async fn handed_over(&self, height: u64) -> Result<Vec<Handover>, Error> {
        let certified = || self.handovers(height).transpose();
        self.shared.until(certified).await?
    }

    /// A key's value, or its absence, with a proof under the latest certified checkpoint; waits for
    /// the next one if the state has moved too far since.
    ///
    /// # Errors
    /// If the replica stops first or the store cannot be read.
    pub async fn prove(&self, key: &[u8]) -> Result<ProvenValue, Error> {
        let proven = || {
            let certified = self.certified()?;
            let view = certified.view.clone()?;
            let proof = lock(&self.shared.tree).prove(key, &certified.checkpoint)?;
            let value = view.value(key);
            Some(value.map(|value| ProvenValue {
                value,
                proof,
                certified,
            }))
        };
        self.shared.until(proven).await?
    }

    /// Notes with which members convicted themselves: two different logs under one key.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn evidence(&self) -> Result<Vec<String>, Error> {
        self.shared.store.read()?.evidence()
    }

    /// How the replica is doing.
    pub fn status(&self) -> Status {
        let mut status = lock(&self.shared.status).clone();
        status.waiting = lock(&self.shared.pool).len() as u64;
        if let Some(failure) = self.shared.failure() {
            status.stalled = Some(Stall::Failed(failure));
        }
        status
    }

    /// Blocks with entries as they are executed. A receiver that falls 1,024 blocks behind is told
    /// how many it missed and reads them with [`ReadView::entries`].
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Block>> {
        self.shared.feed.subscribe()
    }

    /// Waits until at least `size` entries are executed and durable here.
    ///
    /// # Errors
    /// If the replica stops first.
    pub async fn executed(&self, size: u64) -> Result<(), Error> {
        let sizes = || self.shared.executed_size.load(Ordering::Relaxed) >= size;
        self.shared.until(|| sizes().then_some(())).await
    }

    /// Waits until the epoch with this number has begun here: a member that leaves must stay until
    /// the members to come have taken over.
    ///
    /// # Errors
    /// If the replica stops first.
    pub async fn turned(&self, epoch: u64) -> Result<(), Error> {
        let turned = || self.shared.epoch.load(Ordering::Relaxed) >= epoch;
        self.shared.until(|| turned().then_some(())).await
    }

    /// Asks the engine to end; what is acknowledged is durable already.
    pub fn stop(&self) {
        self.shared.stop();
    }
}

type Answer<M> = Result<Committed, SubmitError<<M as Machine>::Refusal>>;

pub(crate) struct Waiter<M: Machine> {
    answers: Vec<oneshot::Sender<Answer<M>>>,
    command: Bytes,
    since_ms: u64,
    sent_ms: u64,
}

struct Latest {
    view: View,
    size: u64,
}

/// What the handle and the engine share.
pub(crate) struct Shared<M: Machine> {
    pub(crate) machine: Arc<M>,
    pub(crate) store: Store,
    pub(crate) pool: Mutex<Pool<M::Prepared>>,
    /// Wakes a leader that waits for commands.
    pub(crate) pool_grew: Notify,
    /// Commands to pass on to the other members.
    pub(crate) outbox: Mutex<Vec<Bytes>>,
    pub(crate) outbox_ready: Notify,
    waiters: Mutex<Option<BTreeMap<Digest, Waiter<M>>>>,
    latest: Mutex<Latest>,
    tree: Arc<Mutex<ProvableTree>>,
    /// Whether a block without commands is wanted soon: for a checkpoint or the turn of an epoch.
    pub(crate) block_wanted: AtomicBool,
    /// Wakes who waits for blocks, certificates, epochs or the end. First come, first woken, so that
    /// a simulated run repeats itself.
    progress: Notify,
    executed_height: AtomicU64,
    executed_size: AtomicU64,
    epoch: AtomicU64,
    certified: RwLock<Option<Certified>>,
    feed: broadcast::Sender<Arc<Block>>,
    pub(crate) status: Mutex<Status>,
    failure: Mutex<Option<Error>>,
    /// The engine's clock at its last tick, milliseconds since 1970.
    now_ms: AtomicU64,
    stopping: AtomicBool,
}

impl<M: Machine> fmt::Debug for Shared<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl<M: Machine> Shared<M> {
    pub(crate) fn new(
        machine: Arc<M>,
        store: Store,
        tree: Arc<Mutex<ProvableTree>>,
        size: u64,
    ) -> Result<Self, Error> {
        let view = Arc::new(store.read()?);
        Ok(Self {
            machine,
            store,
            pool: Mutex::default(),
            pool_grew: Notify::new(),
            outbox: Mutex::default(),
            outbox_ready: Notify::new(),
            waiters: Mutex::new(Some(BTreeMap::new())),
            latest: Mutex::new(Latest { view, size }),
            tree,
            block_wanted: AtomicBool::new(false),
            progress: Notify::new(),
            executed_height: AtomicU64::new(0),
            executed_size: AtomicU64::new(size),
            epoch: AtomicU64::new(0),
            certified: RwLock::new(None),
            feed: broadcast::Sender::new(FEED_LIMIT),
            status: Mutex::default(),
            failure: Mutex::default(),
            now_ms: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
        })
    }

    /// Sets the time by which submissions are judged, milliseconds since 1970.
    pub(crate) fn tell_time(&self, now_ms: u64) {
        self.now_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Checks a command and puts it into the pool, the outbox and the waiting list.
    fn enqueue(
        &self,
        id: Digest,
        command: Bytes,
    ) -> Result<oneshot::Receiver<Answer<M>>, SubmitError<M::Refusal>> {
        if let Some(failure) = self.failure() {
            return Err(SubmitError::Failed(failure));
        }
        let view = lock(&self.latest).view.clone();
        let now_ms = self.now_ms.load(Ordering::Relaxed);
        let ready = self.machine.prepare(&command, &*view, TimestampMs(now_ms));
        let ready = ready.map_err(SubmitError::Refused)?;
        let (answer, receiver) = oneshot::channel();
        {
            // One lock over both, so that the command cannot be executed between them.
            let mut waiters = lock(&self.waiters);
            let Some(waiters) = waiters.as_mut() else {
                return Err(SubmitError::Failed(self.failure_or_stopped()));
            };
            if waiters.len() >= WAITERS_LIMIT {
                return Err(SubmitError::Overloaded);
            }
            match lock(&self.pool).add(id, command.clone(), ready) {
                Ok(()) | Err(NotTaken::Known) => {}
                Err(NotTaken::Done) => return Err(SubmitError::AlreadyOrdered),
                Err(NotTaken::Full) => return Err(SubmitError::Overloaded),
            }
            let waiter = waiters.entry(id).or_insert_with(|| Waiter {
                answers: Vec::new(),
                command: command.clone(),
                since_ms: now_ms,
                sent_ms: now_ms,
            });
            waiter.answers.push(answer);
        }
        lock(&self.outbox).push(command);
        self.outbox_ready.notify_one();
        self.pool_grew.notify_waiters();
        Ok(receiver)
    }

    /// Takes a command that another member passed on.
    pub(crate) fn receive(&self, command: Bytes) -> bool {
        let id = command_id(&command);
        if lock(&self.pool).knows(&id) {
            return false;
        }
        let view = lock(&self.latest).view.clone();
        let now = TimestampMs(self.now_ms.load(Ordering::Relaxed));
        let Ok(ready) = self.machine.prepare(&command, &*view, now) else {
            return false;
        };
        lock(&self.pool).add(id, command, ready).is_ok()
    }

    /// Makes executed blocks visible and answers who waited for them.
    pub(crate) fn publish(&self, blocks: Vec<Executed>, view: View, size: u64) {
        let Some(height) = blocks.last().map(|last| last.height) else {
            return;
        };
        *lock(&self.latest) = Latest { view, size };
        let mut answers = Vec::new();
        {
            let mut waiters = lock(&self.waiters);
            let mut pool = lock(&self.pool);
            for block in &blocks {
                for (id, index) in &block.commands {
                    pool.finish(*id);
                    if let Some(waiter) = waiters.as_mut().and_then(|all| all.remove(id)) {
                        answers.push((waiter, committed(block, *index)));
                    }
                }
            }
        }
        for (waiter, outcome) in answers {
            for answer in waiter.answers {
                // Who stopped waiting needs no answer.
                drop(answer.send(outcome.clone().ok_or(SubmitError::Inadmissible)));
            }
        }
        for block in blocks.into_iter().filter(|block| !block.entries.is_empty()) {
            let Executed {
                height,
                time_ms,
                first,
                entries,
                ..
            } = block;
            drop(self.feed.send(Arc::new(Block {
                height,
                time_ms,
                first,
                entries,
            })));
        }
        self.executed_size.store(size, Ordering::Relaxed);
        self.tell_height(height);
    }

    /// Makes a certified checkpoint visible if it is newer.
    pub(crate) fn certify(&self, certified: Certified) {
        let size = certified.checkpoint.size;
        {
            let mut current = self
                .certified
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            if current
                .as_ref()
                .is_some_and(|current| current.checkpoint.size >= size)
            {
                return;
            }
            lock(&self.tree).forget(certified.checkpoint.height);
            *current = Some(certified);
        }
        lock(&self.status).certified_size = size;
        self.progress.notify_waiters();
    }

    /// Gives the certified checkpoint the state that proofs are made from.
    pub(crate) fn refresh(&self, view: View) {
        if let Some(certified) = &mut *self
            .certified
            .write()
            .unwrap_or_else(PoisonError::into_inner)
        {
            certified.view = Some(view);
        }
        self.progress.notify_waiters();
    }

    /// Own commands that nobody has ordered for a while, to be passed on again.
    pub(crate) fn resend(&self, now_ms: u64, after_ms: u64) {
        let mut again = Vec::new();
        for waiter in lock(&self.waiters)
            .iter_mut()
            .flat_map(BTreeMap::values_mut)
        {
            if now_ms >= waiter.sent_ms + after_ms {
                waiter.sent_ms = now_ms;
                again.push(waiter.command.clone());
            }
        }
        if !again.is_empty() {
            lock(&self.outbox).append(&mut again);
            self.outbox_ready.notify_one();
        }
    }

    /// Answers submissions that have waited for longer than `timeout_ms`.
    pub(crate) fn time_out(
        &self,
        now_ms: u64,
        timeout_ms: u64,
        missing: Option<&[OrganisationId]>,
    ) {
        let mut waiters = lock(&self.waiters);
        let Some(waiters) = waiters.as_mut() else {
            return;
        };
        let late = waiters.extract_if(.., |_, waiter| now_ms >= waiter.since_ms + timeout_ms);
        for answer in late.flat_map(|(_, waiter)| waiter.answers) {
            drop(answer.send(Err(match missing {
                Some(missing) => SubmitError::NoQuorum {
                    missing: missing.to_vec(),
                },
                None => SubmitError::TimedOut,
            })));
        }
    }

    /// Records why the replica cannot go on; the first reason counts.
    pub(crate) fn fail(&self, error: Error) {
        lock(&self.failure).get_or_insert(error);
        self.close();
    }

    /// Lets go of everybody who waits; the engine is gone.
    pub(crate) fn close(&self) {
        drop(lock(&self.waiters).take());
        self.stop();
    }

    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.progress.notify_waiters();
    }

    pub(crate) async fn stopped(&self) {
        // Stopping is what ends the wait, one way or the other.
        drop(self.until(|| None::<()>).await);
    }

    /// Height of the last executed block.
    pub(crate) fn height(&self) -> u64 {
        self.executed_height.load(Ordering::Relaxed)
    }

    pub(crate) fn tell_height(&self, height: u64) {
        self.executed_height.store(height, Ordering::Relaxed);
        self.progress.notify_waiters();
    }

    /// Wakes who waits for something that has just been stored.
    pub(crate) fn tell_progress(&self) {
        self.progress.notify_waiters();
    }

    pub(crate) fn tell_epoch(&self, epoch: u64) {
        self.epoch.store(epoch, Ordering::Relaxed);
        self.progress.notify_waiters();
    }

    /// Waits until `check` finds something.
    ///
    /// # Errors
    /// If the replica stops first.
    pub(crate) async fn until<T>(&self, mut check: impl FnMut() -> Option<T>) -> Result<T, Error> {
        loop {
            let progress = self.progress.notified();
            tokio::pin!(progress);
            // Before the check, so that what happens between them is not missed.
            progress.as_mut().enable();
            if let Some(found) = check() {
                return Ok(found);
            }
            if self.stopping.load(Ordering::Relaxed) {
                return Err(self.failure_or_stopped());
            }
            progress.await;
        }
    }

    pub(crate) fn certified(&self) -> Option<Certified> {
        self.certified
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn failure(&self) -> Option<Error> {
        lock(&self.failure).clone()
    }

    fn failure_or_stopped(&self) -> Error {
        self.failure()
            .unwrap_or_else(|| Error::Stopped("the node is shutting down".into()))
    }
}

fn committed(block: &Executed, index: Option<u64>) -> Option<Committed> {
    let index = index?;
    let entry = block
        .entries
        .get(usize::try_from(index.checked_sub(block.first)?).ok()?)?;
    let Executed {
        height, time_ms, ..
    } = *block;
    Some(Committed {
        index,
        height,
        time_ms,
        entry: entry.clone(),
    })
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
