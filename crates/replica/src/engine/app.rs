//! What the engine asks of us: propose a block, judge a block.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use commonware_consensus::marshal::ancestry::Ancestry;
use commonware_consensus::simplex::scheme::ed25519::Scheme;
use commonware_consensus::simplex::types::Context;
use commonware_consensus::types::Height;
use commonware_consensus::{Application, Block as _, Epochable as _, Heightable as _};
use commonware_cryptography::ed25519::PublicKey;
use commonware_cryptography::sha256::Digest;
use commonware_cryptography::{Digested, Digestible as _};
use commonware_macros::select;
use commonware_parallel::Sequential;
use commonware_runtime::Clock;
use futures::StreamExt as _;

use super::Timing;
use super::block::{BODY_LIMIT, Block, COMMANDS_LIMIT};
use super::epochs::Epochs;
use crate::chain::{CHECKPOINT_INTERVAL_MS, LAG};
use crate::machine::{Machine, command_id};
use crate::replica::{Shared, lock};

/// The application behind the engine; every clone is the same.
pub(crate) struct App<M: Machine> {
    pub(crate) shared: Arc<Shared<M>>,
    pub(crate) epochs: Epochs,
    pub(crate) timing: Timing,
    pub(crate) ahead_ms: u64,
}

impl<M: Machine> Clone for App<M> {
    fn clone(&self) -> Self {
        let Self {
            shared,
            epochs,
            timing,
            ahead_ms,
        } = self;
        Self {
            shared: shared.clone(),
            epochs: epochs.clone(),
            timing: timing.clone(),
            ahead_ms: *ahead_ms,
        }
    }
}

impl<M: Machine> App<M> {
    /// Waits until the block [`LAG`] below `height` is executed, so that its epoch is known.
    async fn executed_enough(&self, height: Height) -> bool {
        let needed = height.get().saturating_sub(LAG);
        let reached = || (self.shared.height() >= needed).then_some(());
        self.shared.until(reached).await.is_ok()
    }

    fn in_epoch(&self, height: Height, context: &Context<Digest, PublicKey>) -> bool {
        self.epochs.number_at(height.get()) == Some(context.epoch().get())
    }
}

impl<E: Clock, M: Machine> Application<E> for App<M> {
    type SigningScheme = Scheme;
    type Context = Context<Digest, PublicKey>;
    type Block = Block;
    type Input = ();

    async fn propose(
        &mut self,
        (clock, context): (E, Self::Context),
        mut ancestry: impl Ancestry<Block>,
        (): (),
    ) -> Option<Digested<Block>> {
        let parent = ancestry.next().await?;
        let height = parent.height().next();
        if !self.executed_enough(height).await || !self.in_epoch(height, &context) {
            return None;
        }
        // What stands in blocks that are not executed yet must not be ordered again.
        let mut taken = BTreeSet::new();
        let mut ancestor = Some(parent.clone());
        while let Some(block) = ancestor
            && block.height().get() > self.shared.height()
        {
            taken.extend(block.inner().commands().map(|command| command_id(&command)));
            ancestor = if block.height().get() > 1 {
                ancestry.next().await
            } else {
                None
            };
        }
        let commands = self.commands(&clock, &taken).await;
        let parent = (parent.digest(), parent.height(), parent.inner().time_ms);
        Some(self.block(&clock, parent, commands).await)
    }

    async fn verify(
        &mut self,
        (clock, context): (E, Self::Context),
        mut ancestry: impl Ancestry<Block>,
    ) -> bool {
        let (Some(block), Some(parent)) = (ancestry.next().await, ancestry.next().await) else {
            return false;
        };
        let time_ms = block.inner().time_ms;
        if time_ms <= parent.inner().time_ms || block.inner().parent() != parent.digest() {
            return false;
        }
        if !self.executed_enough(block.height()).await || !self.in_epoch(block.height(), &context) {
            return false;
        }
        // A block from too far ahead is not wrong for ever: judge it when its time has come.
        let skew_ms = u64::try_from(self.timing.clock_skew.as_millis()).unwrap_or(u64::MAX);
        let earliest = Duration::from_millis(time_ms.saturating_sub(skew_ms));
        if let Some(earliest) = UNIX_EPOCH.checked_add(earliest) {
            if earliest > clock.current() {
                clock.sleep_until(earliest).await;
            }
            return true;
        }
        false
    }
}

impl<M: Machine> App<M> {
    /// The block after the one with this digest, height and time.
    pub(crate) async fn block(
        &self,
        clock: &impl Clock,
        (parent, height, time_ms): (Digest, Height, u64),
        commands: Vec<bytes::Bytes>,
    ) -> Digested<Block> {
        let time_ms = (now_ms(clock) + self.ahead_ms).max(time_ms + 1);
        let block = Block::new(parent, height.next(), time_ms, commands);
        Digested::compute(block, &Sequential).await
    }

    /// The commands to propose: those that wait, or the first that come, or none after a while.
    pub(crate) async fn commands(
        &self,
        clock: &impl Clock,
        taken: &BTreeSet<salus_proto::Digest>,
    ) -> Vec<bytes::Bytes> {
        let start = clock.current();
        loop {
            // Threads that are about to add commands go first: a larger block costs each of them less.
            std::thread::yield_now();
            let grew = self.shared.pool_grew.notified();
            tokio::pin!(grew);
            grew.as_mut().enable();
            let now = salus_proto::TimestampMs(now_ms(clock));
            let picked = lock(&self.shared.pool).pick(taken, now, COMMANDS_LIMIT, BODY_LIMIT);
            let wanted = self.shared.block_wanted.load(Ordering::Relaxed) || !taken.is_empty();
            let patience = if wanted {
                Duration::from_millis(CHECKPOINT_INTERVAL_MS)
            } else {
                self.timing.idle
            };
            let waited = clock.current().duration_since(start).unwrap_or(patience);
            if !picked.is_empty() || waited >= patience {
                return picked;
            }
            select! {
                _ = &mut grew => {},
                // Now and then look whether a block has become wanted.
                _ = clock.sleep((patience - waited).min(Duration::from_millis(CHECKPOINT_INTERVAL_MS))) => {},
            }
        }
    }
}

/// The clock in milliseconds since 1970.
pub(crate) fn now_ms(clock: &impl Clock) -> u64 {
    since_1970_ms(clock.current())
}

fn since_1970_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
