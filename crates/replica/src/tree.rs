//! The state's tree in memory, able to prove under the latest certified root as well as the newest.

use salus_ledger::{StateChange, StateProof, StateTree};
use salus_proto::Digest;
use salus_proto::checkpoint::Checkpoint;

use crate::Error;

/// State changes that may be undone to prove under an older root; beyond, proofs wait.
const UNDO_LIMIT: usize = 1 << 18;

/// The tree after the last executed block, with what leads back to the latest certified root.
#[derive(Debug)]
pub(crate) struct ProvableTree {
    tree: StateTree,
    /// Heights and what undoes their changes, ascending.
    undo: Vec<(u64, Vec<StateChange>)>,
}

impl ProvableTree {
    /// A tree that nobody has certified yet.
    pub(crate) fn new(tree: StateTree) -> Self {
        Self {
            tree,
            undo: Vec::new(),
        }
    }

    /// The root after the last executed block.
    pub(crate) fn root(&self) -> Digest {
        self.tree.root()
    }

    /// The proof of `key` under the root after the last executed block.
    pub(crate) fn prove_newest(&self, key: &[u8]) -> StateProof {
        self.tree.prove(key)
    }

    /// Applies the changes of a block.
    pub(crate) fn apply(&mut self, height: u64, changes: Vec<StateChange>) -> Result<(), Error> {
        if changes.is_empty() {
            return Ok(());
        }
        let undo = self.tree.apply(changes)?;
        self.undo.push((height, undo));
        if self.undo.iter().map(|(_, undo)| undo.len()).sum::<usize>() > UNDO_LIMIT {
            self.undo.clear();
        }
        Ok(())
    }

    /// Forgets what leads back further than to `height`.
    pub(crate) fn forget(&mut self, height: u64) {
        self.undo.retain(|(at, _)| *at > height);
    }

    /// The proof of `key` under a checkpoint, if the tree leads back there.
    pub(crate) fn prove(&mut self, key: &[u8], checkpoint: &Checkpoint) -> Option<StateProof> {
        let later = self
            .undo
            .iter()
            .rev()
            .take_while(|(at, _)| *at > checkpoint.height);
        // Newest first: of several changes to one key the last counts, which is the oldest value.
        let undo: Vec<StateChange> = later.flat_map(|(_, undo)| undo.iter().copied()).collect();
        let redo = self.tree.apply(undo).ok()?;
        let proof = (self.tree.root() == checkpoint.state).then(|| self.tree.prove(key));
        self.tree.apply(redo).ok()?;
        proof
    }
}
