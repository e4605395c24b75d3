//! One member alone orders without votes: there is nobody to ask, so a block is final when it is
//! durable. It is written to the journal and executed first, and goes to the engine's archive after
//! that, with the certificate that a quorum of one gives; so who joins later fetches and checks it as
//! any other. What the archive or the database may not have yet stays in the journal.

use bytes::Bytes;
use commonware_codec::{Encode as _, Read as _};
use commonware_consensus::marshal::core::Mailbox;
use commonware_consensus::marshal::standard::Standard;
use commonware_consensus::simplex::scheme::ed25519::Scheme;
use commonware_consensus::simplex::types::{Activity, Finalization, Finalize, Proposal};
use commonware_consensus::types::{Epoch, Round, View};
use commonware_consensus::{Heightable as _, Reporter as _};
use commonware_cryptography::sha256::Digest;
use commonware_cryptography::{Digested, Digestible as _};
use commonware_parallel::Sequential;
use commonware_utils::channel::oneshot;
use commonware_utils::iter::NonEmpty;
use futures::executor::block_on;

use super::block::Block;
use super::executor::ordered;
use crate::Error;
use crate::chain::Chain;
use crate::machine::Machine;
use crate::store::Store;

/// Blocks that may be executed and not yet archived; with more, ordering waits for the archive.
pub(crate) const UNARCHIVED_LIMIT: u64 = 1024;

/// Blocks that are executed together after a crash.
const FORWARD_AT_ONCE: usize = 64;

/// Executes what the journal has and the database lost in a crash.
///
/// # Errors
/// If the journal is damaged or the disk fails.
pub(crate) fn roll_forward<M: Machine>(chain: &mut Chain<M>, store: &Store) -> Result<(), Error> {
    let mut lost = Vec::new();
    for (height, block) in store.journaled()? {
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

    /// Hands it to the archive.
    pub(crate) fn archive(self, marshal: &mut Mailbox<Scheme, Standard<Block>>) {
        // The archive makes its own copy durable before it delivers; nobody waits for this one.
        let (stored, _) = oneshot::channel();
        marshal.verified_deferred(self.certificate.proposal.round, self.block, stored);
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
