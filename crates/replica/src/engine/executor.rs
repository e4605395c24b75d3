//! Takes finalised blocks from the engine in order, executes them and tells everybody.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use commonware_actor::Feedback;
use commonware_consensus::marshal::core::Mailbox;
use commonware_consensus::marshal::standard::Standard;
use commonware_consensus::marshal::{Identifier, Update};
use commonware_consensus::simplex::scheme::ed25519::Scheme;
use commonware_consensus::types::Height;
use commonware_consensus::{Heightable as _, Reporter};
use commonware_cryptography::{Digested, Digestible as _};
use commonware_utils::Acknowledgement as _;
use commonware_utils::acknowledgement::Exact;
use salus_ledger::MemberList;
use salus_proto::Digest;
use salus_proto::checkpoint::MEMBERS_STATE_KEY;
use salus_proto::member::Member;
use tokio::sync::mpsc;

use super::block::Block;
use super::epochs::Epochs;
use super::notes::Due;
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
    pub(crate) members: Option<Vec<Member>>,
}

pub(crate) struct Executor<M: Machine> {
    pub(crate) chain: Chain<M>,
    pub(crate) shared: Arc<Shared<M>>,
    pub(crate) epochs: Epochs,
    pub(crate) marshal: Mailbox<Scheme, Standard<Block>>,
    pub(crate) due: mpsc::UnboundedSender<Due>,
    pub(crate) turn: mpsc::UnboundedSender<Turn>,
}

impl<M: Machine> Executor<M> {
    /// Runs until the engine goes away or the store fails.
    pub(crate) async fn run(
        mut self,
        mut delivered: mpsc::UnboundedReceiver<Update<Block>>,
    ) -> Result<(), Error> {
        let result = self.serve(&mut delivered).await;
        if let Err(error) = &result {
            tracing::error!(%error, "the replica stops");
            self.shared.fail(error.clone());
        }
        result
    }

    async fn serve(
        &mut self,
        delivered: &mut mpsc::UnboundedReceiver<Update<Block>>,
    ) -> Result<(), Error> {
        // Blocks without commands are not stored here; the engine's archive still has them.
        if let Some(processed) = self.marshal.get_processed().await {
            self.catch_up(processed.height().get()).await?;
        }
        self.announce()?;
        let mut updates = Vec::new();
        while delivered.recv_many(&mut updates, BATCH_LIMIT).await > 0 {
            let mut waiting: Vec<(Digested<Block>, Exact)> = Vec::new();
            for update in updates.drain(..) {
                if let Update::Block(block, acknowledgement) = update {
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
                if let Some(first) = blocks.first() {
                    // The engine delivers block 0 too, which was never executed.
                    self.catch_up(first.height().get().saturating_sub(1))
                        .await?;
                }
                self.execute(&blocks)?;
                done.into_iter().for_each(Exact::acknowledge);
                waiting = rest;
            }
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
            self.execute(&[block])?;
        }
        Ok(())
    }

    fn execute(&mut self, blocks: &[Digested<Block>]) -> Result<(), Error> {
        let ordered: Vec<Ordered> = blocks.iter().map(ordered).collect();
        let shared = self.shared.clone();
        let outcome = self
            .chain
            .execute(&ordered, |id| lock(&shared.pool).prepared(id))?;
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
                members: members.map(|members| members.members().to_vec()),
            };
            // Closed only when the engine is stopping, as below.
            drop(self.turn.send(turn));
        }
        Ok(())
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

fn ordered(block: &Digested<Block>) -> Ordered {
    let inner = block.inner();
    Ordered {
        height: block.height().get(),
        digest: Digest(block.digest().0),
        parent: Digest(inner.parent.0),
        time_ms: inner.time_ms,
        commands: inner.commands().collect(),
    }
}

/// Everybody to connect to: who validates now and who will.
pub(crate) fn known_members(snapshot: &Snapshot, epochs: &Epochs) -> Result<Vec<Member>, Error> {
    let mut members = Vec::new();
    if let Some((number, _)) = epochs.latest()
        && let Some(list) = epochs.members(number)
    {
        members.extend_from_slice(list.members());
    }
    if let Some(bytes) = snapshot.value(MEMBERS_STATE_KEY)? {
        for member in MemberList::from_bytes(&bytes)?.members() {
            if members
                .iter()
                .all(|known| known.engine_key != member.engine_key)
            {
                members.push(member.clone());
            }
        }
    }
    Ok(members)
}
