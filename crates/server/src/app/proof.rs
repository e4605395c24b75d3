//! Offline proof bundles: from the genesis digest to an entry, a record or a value of the state.

use salus_ledger::bundle::{
    Bundle, Claim, EntryClaim, EntryProof, KeyProof, RecordClaim, StateClaim, VERSION,
};
use salus_policy::{Operation, Relation};
use salus_proto::command::{Action, Outcome};
use salus_proto::encode::to_bytes;
use salus_proto::ids::{PrincipalId, RecordId};
use salus_runtime::params;

use super::command::command_of;
use super::{Actor, App};
use crate::node::{CertifiedNote, members};
use crate::problem::{Problem, Result};

/// Longest key of the state, in bytes.
const STATE_KEY_LIMIT: usize = 256;

impl App {
    /// Proof that an entry stands in the log, with its author's keys.
    pub(crate) async fn entry_bundle_of(&self, actor: &Actor, index: u64) -> Result<Bundle> {
        actor.must(Operation::ReadLedger, Relation::Stranger)?;
        let entry = self.entry(index)?;
        let command = command_of(&entry)?;
        let certified = self.certified_over(index).await?;
        let signer = match command.action {
            // The key stands in the command itself.
            Action::Register { .. } => None,
            _ => Some(self.key_proof(command.principal, index, &certified).await?),
        };
        let entry = self.entry_proof(index, &certified)?;
        self.bundle(
            certified,
            Claim::Entry(Box::new(EntryClaim { entry, signer })),
        )
    }

    /// Proof that a record was anchored by who signed it.
    pub(crate) async fn record_bundle(&self, actor: &Actor, record: RecordId) -> Result<Bundle> {
        let evidence = self.vault.evidence(record, None).await?;
        self.must_see(actor, evidence.alias, record).await?;
        let certified = self.certified_over(evidence.entry).await?;
        let claim = RecordClaim {
            anchor: to_bytes(&evidence.anchor),
            position: evidence.path.index,
            path: evidence.path.path,
            manifest: evidence.manifest,
            signer: self
                .key_proof(evidence.signer, evidence.entry, &certified)
                .await?,
            entry: self.entry_proof(evidence.entry, &certified)?,
        };
        self.bundle(certified, Claim::Record(Box::new(claim)))
    }

    /// Proof that the state holds a value for a key, or none.
    pub(crate) async fn state_bundle(&self, actor: &Actor, key: Vec<u8>) -> Result<Bundle> {
        actor.must(Operation::ReadLedger, Relation::Stranger)?;
        if key.len() > STATE_KEY_LIMIT {
            return Err(Problem::not_found());
        }
        let proven = self.ledger.prove(key.clone()).await?;
        let claim = StateClaim {
            key,
            value: proven.value,
            proof: proven.proof,
        };
        self.bundle(proven.certified, Claim::State(claim))
    }

    async fn certified_over(&self, index: u64) -> Result<CertifiedNote> {
        Ok(self.ledger.certified_at(index.saturating_add(1)).await?)
    }

    fn entry_proof(&self, index: u64, certified: &CertifiedNote) -> Result<EntryProof> {
        let view = self.view()?;
        let found = view.entries(index, 1)?;
        let (_, entry) = found.into_iter().next().ok_or_else(Problem::not_found)?;
        let path = view.inclusion(index, certified.checkpoint.size)?.path;
        Ok(EntryProof { entry, index, path })
    }

    /// Where the keys stand that a principal had when it signed what became the entry at `before`.
    async fn key_proof(
        &self,
        principal: PrincipalId,
        before: u64,
        certified: &CertifiedNote,
    ) -> Result<KeyProof> {
        self.wait_projected(before).await?;
        let changes: Vec<(u64,)> = self
            .database
            .read()
            .await?
            .all(
                "SELECT entry FROM event WHERE kind = 'principal' AND subject = $1 AND entry < $2
                 ORDER BY entry DESC LIMIT 1000",
                &params![principal.to_string(), before],
            )
            .await?;
        for (index,) in changes {
            let entry = self.entry(index)?;
            let command = command_of(&entry)?;
            let keys = matches!(
                command.action,
                Action::Register { .. } | Action::RotateKeys { .. }
            );
            if keys && command.principal == principal && entry.outcome == Outcome::Accepted {
                return Ok(KeyProof::Entry(self.entry_proof(index, certified)?));
            }
        }
        // Whoever never registered came with the genesis file or as a member.
        Ok(KeyProof::Listed)
    }

    fn bundle(&self, certified: CertifiedNote, claim: Claim) -> Result<Bundle> {
        if members(&*self.view()?)?.version > 0 {
            // A handover's proof has to be made while its checkpoint is the latest.
            return Err(Problem::unavailable(
                "no-handover",
                "The membership has changed, and this node keeps no proof of the handover",
            ));
        }
        Ok(Bundle {
            version: VERSION,
            genesis: self.genesis.to_vec(),
            handovers: Vec::new(),
            checkpoint: certified.note,
            claim,
        })
    }
}
