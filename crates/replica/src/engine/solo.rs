//! One member alone orders without votes: there is nobody to ask, so a block is final when it is
//! durable. It is written to the journal and executed first, and goes to the engine's archive after
//! that; so who joins later fetches and checks it as any other. The archive gets many at a time: the last
//! one's certificate, from which it walks back through the parents. What the archive or the database may
//! not have yet stays in the journal.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use commonware_broadcast::buffered;
use commonware_codec::{Encode as _, EncodeSize as _, Read as _};
use commonware_consensus::marshal::core::{Buffer, Mailbox};
use commonware_consensus::marshal::standard::Standard;
use commonware_consensus::simplex::scheme::ed25519::Scheme;
use commonware_consensus::simplex::types::{Activity, Finalization, Finalize, Proposal};
use commonware_consensus::types::{Epoch, Round, View};
use commonware_consensus::{Heightable as _, Reporter as _};
use commonware_cryptography::ed25519::PublicKey;
use commonware_cryptography::sha256::Digest;
use commonware_cryptography::{Digested, Digestible as _};
use commonware_p2p::Recipients;
use commonware_parallel::Sequential;
use commonware_utils::channel::oneshot;
use commonware_utils::iter::NonEmpty;
use futures::executor::block_on;

use super::block::Block;
use super::executor::ordered;
use crate::Error;
use crate::chain::Chain;
use crate::machine::Machine;
use crate::replica::lock;
use crate::store::Store;

/// Blocks that may be executed and not yet archived; with more, ordering waits for the archive.
const UNARCHIVED_LIMIT: usize = 1024;
/// The same in bytes.
const UNARCHIVED_BYTES_LIMIT: usize = 64 << 20;

/// Blocks that are executed together after a crash.
const FORWARD_AT_ONCE: usize = 64;

/// Executes what the journal has and the database lost in a crash.
///
/// # Errors
/// If the journal is damaged or the disk fails.
pub(crate) fn roll_forward<M: Machine>(chain: &mut Chain<M>, store: &Store) -> Result<(), Error> {
    let mut lost = Vec::new();
    for (height, block) in store.journal().blocks()? {
        if height > chain.tip().height {
            let certified = block_on(Certified::from_bytes(block))?;
            lost.push(ordered(certified.block()));
        }
    }
    for blocks in lost.chunks(FORWARD_AT_ONCE) {
        chain.execute(blocks, |_| None)?;
    }
    Ok(())
}

/// A block with the certificate of the one member.
#[derive(Clone)]
pub(crate) struct Certified {
    block: Digested<Block>,
    certificate: Finalization<Scheme, Digest>,
}

impl Certified {
    /// Certifies a block of the epoch that begins at height `first`. Views count its blocks.
    pub(crate) fn sign(
        scheme: &Scheme,
        (epoch, first): (u64, u64),
        block: Digested<Block>,
    ) -> Result<Self, Error> {
        let before = View::new(block.height().get() - first);
        let round = Round::new(Epoch::new(epoch), before.next());
        let vote = Finalize::sign(scheme, Proposal::new(round, before, block.digest()));
        let vote =
            vote.ok_or_else(|| Error::Configuration("the engine key is not the member's".into()))?;
        let votes = NonEmpty::new(&vote, std::iter::empty());
        let certificate = Finalization::from_finalizes(scheme, votes, &Sequential)
            .map_err(|error| Error::Configuration(error.to_string()))?;
        Ok(Self { block, certificate })
    }

    pub(crate) fn block(&self) -> &Digested<Block> {
        &self.block
    }

    /// Has the archive take this block, and its ancestors where it lacks them.
    pub(crate) fn archive(self, marshal: &mut Mailbox<Scheme, Standard<Block>>) {
        marshal.report(Activity::Finalization(self.certificate));
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        [self.block.inner().encode(), self.certificate.encode()].concat()
    }

    pub(crate) async fn from_bytes(bytes: Vec<u8>) -> Result<Self, Error> {
        let damaged = |_| Error::corrupt("a block that is not archived yet");
        let mut rest = Bytes::from(bytes);
        let block = Block::read_cfg(&mut rest, &()).map_err(damaged)?;
        // One participant.
        let certificate = Finalization::read_cfg(&mut rest, &1).map_err(damaged)?;
        let block = Digested::compute(block, &Sequential).await;
        Ok(Self { block, certificate })
    }
}

/// Blocks that were ordered alone and that the archive has not delivered. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Unarchived(Arc<Mutex<Held>>);

#[derive(Default)]
struct Held {
    blocks: BTreeMap<Digest, Digested<Block>>,
    bytes: usize,
}

impl Unarchived {
    pub(crate) fn put(&self, block: Digested<Block>) {
        let mut held = lock(&self.0);
        held.bytes += block.inner().encode_size();
        held.blocks.insert(block.digest(), block);
    }

    /// Lets go a block, if it is one of them.
    pub(crate) fn remove(&self, digest: &Digest) {
        let mut held = lock(&self.0);
        if let Some(block) = held.blocks.remove(digest) {
            held.bytes -= block.inner().encode_size();
        }
    }

    /// Whether ordering has to wait for the archive.
    pub(crate) fn is_full(&self) -> bool {
        let held = lock(&self.0);
        held.blocks.len() >= UNARCHIVED_LIMIT || held.bytes >= UNARCHIVED_BYTES_LIMIT
    }

    fn get(&self, digest: &Digest) -> Option<Digested<Block>> {
        lock(&self.0).blocks.get(digest).cloned()
    }
}

/// Where the archive finds blocks: among those ordered alone, then among those that members sent.
#[derive(Clone)]
pub(crate) struct Found {
    pub(crate) unarchived: Unarchived,
    pub(crate) sent: buffered::Mailbox<PublicKey, Block>,
}

impl Buffer<Standard<Block>> for Found {
    type PublicKey = PublicKey;

    async fn find_by_digest(&self, digest: Digest) -> Option<Digested<Block>> {
        match self.unarchived.get(&digest) {
            Some(block) => Some(block),
            None => self.sent.find_by_digest(digest).await,
        }
    }

    async fn find_by_commitment(&self, commitment: Digest) -> Option<Digested<Block>> {
        self.find_by_digest(commitment).await
    }

    fn subscribe_by_digest(&self, digest: Digest) -> Option<oneshot::Receiver<Digested<Block>>> {
        let Some(block) = self.unarchived.get(&digest) else {
            return self.sent.subscribe_by_digest(digest);
        };
        let (sender, receiver) = oneshot::channel();
        // The receiver is at hand.
        drop(sender.send(block));
        Some(receiver)
    }

    fn subscribe_by_commitment(
        &self,
        commitment: Digest,
    ) -> Option<oneshot::Receiver<Digested<Block>>> {
        self.subscribe_by_digest(commitment)
    }

    fn send(&self, round: Round, block: Digested<Block>, recipients: Recipients<PublicKey>) {
        self.sent.send(round, block, recipients);
    }
}
