//! Takes finalised blocks from the engine in order, executes them and tells everybody. A member alone
//! orders here, without the engine's votes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use commonware_actor::Feedback;
use commonware_consensus::marshal::core::Mailbox;
use commonware_consensus::marshal::standard::Standard;
use commonware_consensus::marshal::{Identifier, Update};
use commonware_consensus::simplex::scheme::ed25519::Scheme;
use commonware_consensus::types::Height;
use commonware_consensus::{Heightable as _, Reporter};
use commonware_cryptography::sha256::Digest as BlockDigest;
use commonware_cryptography::{Digested, Digestible as _};
use commonware_runtime::Clock;
use commonware_utils::Acknowledgement as _;
use commonware_utils::acknowledgement::Exact;
use salus_ledger::MemberList;
use salus_proto::Digest;
use salus_proto::checkpoint::MEMBERS_STATE_KEY;
use salus_proto::member::Member;
use tokio::sync::mpsc;

use super::Known;
use super::app::App;
use super::block::Block;
use super::epochs::Epochs;
use super::notes::Due;
use super::solo::{Certified, Unarchived};
use crate::Error;
use crate::chain::{Chain, Ordered};
use crate::machine::Machine;
use crate::replica::{Shared, lock};
use crate::store::{Mark, Snapshot};

/// Most blocks in one commit.
const BATCH_LIMIT: usize = 16;
/// With so many blocks waiting they are stored together; fewer are stored one by one, so that every
/// checkpoint can be signed.
const BACKLOG: usize = 4;

/// Blocks ordered alone that are handed to the engine's archive together.
const ARCHIVED_AT_ONCE: usize = 256;
/// The same in bytes.
const ARCHIVED_AT_ONCE_BYTES: usize = 8 << 20;
/// After so many milliseconds of block time they are handed over even if they are fewer.
const ARCHIVED_AFTER_MS: u64 = 1000;

/// Blocks ordered alone that the archive has not been told of.
#[derive(Default)]
struct Unsent {
    /// The last one.
    last: Option<Certified>,
    count: usize,
    bytes: usize,
    /// Time of the first.
    since_ms: u64,
}

impl Unsent {
    fn add(&mut self, certified: Certified, bytes: usize) {
        if self.count == 0 {
            self.since_ms = certified.block().inner().time_ms;
        }
        self.count += 1;
        self.bytes += bytes;
        self.last = Some(certified);
    }

    /// Whether they are many enough, or the first has waited long enough at block time `now_ms`.
    fn is_due(&self, now_ms: u64) -> bool {
        self.count >= ARCHIVED_AT_ONCE
            || self.bytes >= ARCHIVED_AT_ONCE_BYTES
            || (self.count > 0 && now_ms >= self.since_ms + ARCHIVED_AFTER_MS)
    }
}

/// The engine's way to hand over a block.
#[derive(Clone)]
pub(crate) struct Delivery(pub(crate) mpsc::UnboundedSender<Update<Block>>);

impl Reporter for Delivery {
    type Activity = Update<Block>;

    fn report(&mut self, update: Update<Block>) -> Feedback {
        match self.0.send(update) {
            Ok(()) => Feedback::Ok,
            Err(_) => Feedback::Closed,
        }
    }
}

/// A change of who orders or who is reachable.
#[derive(Debug)]
pub(crate) struct Turn {
    /// The epoch to enter.
    pub(crate) epoch: Option<u64>,
    /// The members to connect to.
    pub(crate) known: Option<Known>,
}

pub(crate) struct Executor<M: Machine> {
    pub(crate) app: App<M>,
    pub(crate) chain: Chain<M>,
    pub(crate) shared: Arc<Shared<M>>,
    pub(crate) epochs: Epochs,
    pub(crate) marshal: Mailbox<Scheme, Standard<Block>>,
    pub(crate) unarchived: Unarchived,
    pub(crate) due: mpsc::UnboundedSender<Due>,
    pub(crate) turn: mpsc::UnboundedSender<Turn>,
}

impl<M: Machine> Executor<M> {
    /// Runs until the engine goes away or the store fails.
    pub(crate) async fn run(
        mut self,
        clock: impl Clock,
        mut delivered: mpsc::UnboundedReceiver<Update<Block>>,
    ) -> Result<(), Error> {
        let result = self.serve(&clock, &mut delivered).await;
        if let Err(error) = &result {
            tracing::error!(%error, "the replica stops");
            self.shared.fail(error.clone());
        }
        result
    }

    async fn serve(
        &mut self,
        clock: &impl Clock,
        delivered: &mut mpsc::UnboundedReceiver<Update<Block>>,
    ) -> Result<(), Error> {
        // Blocks without commands are not stored here; the engine's archive still has them.
        let processed = self.marshal.get_processed().await;
        let processed = processed.map_or(0, |processed| processed.height().get());
        self.catch_up(processed).await?;
        self.chain.archived(processed);
        let mut unsent = Unsent::default();
        for (height, bytes) in self.shared.store.journal().blocks()? {
            if height > processed {
                let length = bytes.len();
                let certified = Certified::from_bytes(bytes).await?;
                self.unarchived.put(certified.block().clone());
                unsent.add(certified, length);
            }
        }
        self.archive(&mut unsent);
        self.announce()?;
        let (app, none_taken) = (self.app.clone(), BTreeSet::new());
        let mut updates = Vec::new();
        loop {
            let alone = self.alone();
            if alone.is_none() {
                self.archive(&mut unsent);
            }
            let may_order = alone.is_some() && !self.unarchived.is_full();
            tokio::select! {
                biased;
                received = delivered.recv_many(&mut updates, BATCH_LIMIT) => {
                    if received == 0 {
                        return self.chain.flush();
                    }
                    self.deliver(&mut updates).await?;
                }
                commands = app.commands(clock, &none_taken), if may_order => {
                    let idle = commands.is_empty();
                    if let Some(epoch) = alone {
                        self.order(clock, epoch, commands, &mut unsent).await?;
                    }
                    // Many at once share the archive's flushes.
                    if idle {
                        self.chain.flush()?;
                    }
                    if idle || unsent.is_due(self.chain.tip().time_ms) {
                        self.archive(&mut unsent);
                    }
                }
            }
        }
    }

    /// Number and first height of the epoch of the next block, if this member is its only one.
    fn alone(&self) -> Option<(u64, u64)> {
        let number = self.epochs.number_at(self.chain.tip().height + 1)?;
        let first = self.epochs.get(number)?.first;
        self.epochs.alone(number).then_some((number, first))
    }

    /// Orders commands as the only member and executes them, if there is need for a block, which the
    /// engine is to archive.
    async fn order(
        &mut self,
        clock: &impl Clock,
        epoch: (u64, u64),
        commands: Vec<bytes::Bytes>,
        unsent: &mut Unsent,
    ) -> Result<(), Error> {
        if commands.is_empty() && !self.chain.block_wanted() {
            return Ok(());
        }
        let tip = self.chain.tip();
        let parent = (
            BlockDigest(tip.block.0),
            Height::new(tip.height),
            tip.time_ms,
        );
        let block = self.app.block(clock, parent, commands).await;
        let scheme = self.epochs.scheme(epoch.0);
        let scheme = scheme.ok_or_else(|| Error::corrupt("an epoch is missing"))?;
        let certified = Certified::sign(&scheme, epoch, block)?;
        let mut next = ordered(certified.block());
        let bytes = certified.to_bytes();
        let length = bytes.len();
        next.journaled = Some(bytes.into());
        self.execute(&[next])?;
        self.unarchived.put(certified.block().clone());
        unsent.add(certified, length);
        Ok(())
    }

    fn archive(&mut self, unsent: &mut Unsent) {
        if let Some(last) = std::mem::take(unsent).last {
            last.archive(&mut self.marshal);
        }
    }

    async fn deliver(&mut self, updates: &mut Vec<Update<Block>>) -> Result<(), Error> {
        let mut waiting: Vec<(Digested<Block>, Exact)> = Vec::new();
        for update in updates.drain(..) {
            if let Update::Block(block, acknowledgement) = update {
                self.chain.archived(block.height().get());
                self.unarchived.remove(&block.digest());
                waiting.push((block, acknowledgement));
            }
        }
        let step = if waiting.len() > BACKLOG {
            BATCH_LIMIT
        } else {
            1
        };
        while !waiting.is_empty() {
            let rest = waiting.split_off(step.min(waiting.len()));
            let (blocks, done): (Vec<_>, Vec<_>) = waiting.into_iter().unzip();
            let new = |block: &&Digested<Block>| block.height().get() > self.chain.tip().height;
            let new: Vec<Ordered> = blocks.iter().filter(new).map(ordered).collect();
            if let Some(first) = new.first() {
                // The engine delivers block 0 too, which was never executed.
                self.catch_up(first.height.saturating_sub(1)).await?;
                self.execute(&new)?;
            }
            done.into_iter().for_each(Exact::acknowledge);
            waiting = rest;
        }
        Ok(())
    }

    /// Executes what the engine has archived up to `height` and we have not executed.
    async fn catch_up(&mut self, height: u64) -> Result<(), Error> {
        while self.chain.tip().height < height {
            let next = Height::new(self.chain.tip().height + 1);
            let block = self.marshal.get_block(Identifier::Height(next)).await;
            let block = block.ok_or_else(|| {
                Error::corrupt(format!("block {next} is missing from the engine's archive"))
            })?;
            self.execute(&[ordered(&block)])?;
        }
        Ok(())
    }

    fn execute(&mut self, ordered: &[Ordered]) -> Result<(), Error> {
        let shared = self.shared.clone();
        let outcome = self
            .chain
            .execute(ordered, |id| lock(&shared.pool).prepared(id))?;
        for (number, epoch) in &outcome.epochs {
            self.epochs.put(*number, epoch.clone())?;
        }
        let members = outcome
            .members
            .as_deref()
            .map(MemberList::from_bytes)
            .transpose()?;
        let entered = outcome
            .epochs
            .iter()
            .find(|(_, epoch)| epoch.last.is_none());
        let executed_any = !outcome.blocks.is_empty();
        let view = Arc::new(self.shared.store.read()?);
        self.shared
            .block_wanted
            .store(self.chain.block_wanted(), Ordering::Relaxed);
        self.shared.publish(outcome.blocks, view, self.chain.size());
        if executed_any {
            self.announce()?;
        }
        if members.is_some() || entered.is_some() {
            let turn = Turn {
                epoch: entered.map(|(number, _)| *number),
                known: members.map(|list| Known {
                    before: self.members_before(),
                    members: list.members().to_vec(),
                    version: list.version(),
                }),
            };
            // Closed only when the engine is stopping, as below.
            drop(self.turn.send(turn));
        }
        Ok(())
    }

    /// Who validated before the latest epoch, or still does until it ends.
    fn members_before(&self) -> Vec<Member> {
        let Some((number, latest)) = self.epochs.latest() else {
            return Vec::new();
        };
        let before = match latest.last {
            None => number.saturating_sub(1),
            Some(_) => number,
        };
        let members = self.epochs.members(before);
        members.map_or_else(Vec::new, |list| list.members().to_vec())
    }

    /// Tells the notes task where we are.
    fn announce(&self) -> Result<(), Error> {
        let tip = self.chain.tip();
        let mark = Mark {
            height: tip.height,
            time_ms: tip.time_ms,
            size: self.chain.size(),
        };
        drop(self.due.send(Due::Executed(mark)));
        if let Some(checkpoint) = self.chain.checkpoint()? {
            let view = Arc::new(self.shared.store.read()?);
            drop(self.due.send(Due::Checkpoint(checkpoint, view)));
        }
        Ok(())
    }
}

pub(super) fn ordered(block: &Digested<Block>) -> Ordered {
    let inner = block.inner();
    Ordered {
        height: block.height().get(),
        digest: Digest(block.digest().0),
        parent: Digest(inner.parent.0),
        time_ms: inner.time_ms,
        commands: inner.commands().collect(),
        journaled: None,
    }
}

/// Everybody to connect to: who validates now and who will.
pub(crate) fn known_members(snapshot: &Snapshot, epochs: &Epochs) -> Result<Known, Error> {
    let mut known = Known {
        before: Vec::new(),
        members: Vec::new(),
        version: 0,
    };
    if let Some((number, _)) = epochs.latest() {
        let of = |number| epochs.members(number);
        let list = |list: Arc<MemberList>| list.members().to_vec();
        known.before = number
            .checked_sub(1)
            .and_then(of)
            .map_or_else(Vec::new, list);
        known.members = of(number).map_or_else(Vec::new, list);
    }
    if let Some(bytes) = snapshot.value(MEMBERS_STATE_KEY)? {
        let list = MemberList::from_bytes(&bytes)?;
        known.version = list.version();
        for member in list.members() {
            if known
                .members
                .iter()
                .all(|other| other.engine_key != member.engine_key)
            {
                known.members.push(member.clone());
            }
        }
    }
    Ok(known)
}
