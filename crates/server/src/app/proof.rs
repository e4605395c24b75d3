//! Offline proof bundles: from the genesis digest to an entry, a record or a value of the state.

use salus_contract::table::{Principals, Proposals, Table as _, get};
use salus_crypto::keys::PeerKeys;
use salus_crypto::sign::Ed25519Verifier;
use salus_crypto::{hybrid, label};
use salus_ledger::MemberList;
use salus_ledger::bundle::{
    Bundle, Claim, EntryClaim, EntryProof, Handover, KeyProof, RecordClaim, StateClaim, VERSION,
    keys_state_key,
};
use salus_policy::{Operation, Relation};
use salus_proto::Digest;
use salus_proto::api::consultation::PrescriptionEvidence;
use salus_proto::command::{Action, COMMAND_LIMIT, Entry, Outcome, SignedCommand};
use salus_proto::encode::{from_bytes, to_bytes};
use salus_proto::ids::{PrincipalId, ProposalId, RecordId};
use salus_proto::keys::PublicKeys;
use salus_proto::member::MembershipChange;
use salus_proto::record::{MANIFEST_LIMIT, RecordKind, Statement};
use salus_runtime::params;
use salus_vault::Evidence;

use super::command::command_of;
use super::ledger::genesis;
use super::{Actor, App};
use crate::node::CertifiedNote;
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
        let (signer, certified) = match command.action {
            // The key stands in the command itself.
            Action::Register { .. } => (None, certified),
            _ => {
                let (signer, certified) =
                    self.key_proof(command.principal, &entry, certified).await?;
                (Some(signer), certified)
            }
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
        // Who signed a record may prove it after their grant has ended, as they may still read it.
        if evidence.signer != actor.id {
            self.must_see(actor, evidence.alias, record).await?;
        }
        self.evidence_bundle(evidence).await
    }

    /// Evidence of a prescription for whoever knows its plaintext, whoever that is: a statement's
    /// digest cannot be guessed (the plaintext has a salt), so it stands for the paper. Wrong words
    /// and unknown records get the same answer.
    pub(crate) async fn prescription_evidence(
        &self,
        record: RecordId,
        content: Digest,
    ) -> Result<PrescriptionEvidence> {
        let found = self.vault.evidence(record, None).await;
        let evidence = match found {
            Err(salus_vault::Error::NotFound { .. }) => return Err(Problem::hidden()),
            found => found?,
        };
        let statement = evidence.statement.clone();
        let statement = statement.filter(|_| evidence.anchor.kind == RecordKind::Prescription);
        let envelope = statement.ok_or_else(Problem::hidden)?;
        let keys = self.signing_keys(evidence.signer, evidence.entry).await?;
        let keys = PeerKeys::parse(&keys).map_err(|_| Problem::internal())?;
        let payload = hybrid::verify(&keys, label::DOCUMENT, &envelope);
        let payload = payload.map_err(|_| Problem::internal())?;
        let statement: Statement =
            from_bytes(&payload, MANIFEST_LIMIT, "a statement").map_err(|_| Problem::internal())?;
        if statement.content != content {
            return Err(Problem::hidden());
        }
        let doctor = self.proven_state(Principals::key(&evidence.signer)).await?;
        let proof = self.evidence_bundle(evidence).await?;
        let text = |bundle: &Bundle| {
            let json = bundle.to_json().map_err(|_| Problem::internal())?;
            String::from_utf8(json).map_err(|_| Problem::internal())
        };
        Ok(PrescriptionEvidence {
            statement: envelope.into(),
            proof: text(&proof)?,
            doctor: text(&doctor)?,
        })
    }

    async fn evidence_bundle(&self, evidence: Evidence) -> Result<Bundle> {
        let certified = self.certified_over(evidence.entry).await?;
        let entry = self.entry(evidence.entry)?;
        let (signer, certified) = self.key_proof(evidence.signer, &entry, certified).await?;
        let claim = RecordClaim {
            anchor: to_bytes(&evidence.anchor),
            position: evidence.path.index,
            path: evidence.path.path,
            manifest: evidence.manifest,
            signer,
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
        self.proven_state(key).await
    }

    async fn proven_state(&self, key: Vec<u8>) -> Result<Bundle> {
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

    /// Where the keys stand with which a principal signed an entry, and the checkpoint that shows it:
    /// the given one, or a newer one.
    async fn key_proof(
        &self,
        principal: PrincipalId,
        entry: &Entry,
        certified: CertifiedNote,
    ) -> Result<(KeyProof, CertifiedNote)> {
        if let Some((_, index)) = self.registered_keys(principal, entry.index).await? {
            let proof = KeyProof::Entry(self.entry_proof(index, &certified)?);
            return Ok((proof, certified));
        }
        // Whoever never registered came with the genesis file or as a member.
        let handovers = self.handovers(&certified)?;
        let genesis = genesis(&self.genesis).map_err(|_| Problem::internal())?;
        let founders = genesis.founders.into_iter().map(|f| (f.principal, f.keys));
        let members = genesis.members.into_iter();
        let mut listed: Vec<_> = members
            .map(|m| (m.principal(), m.keys))
            .chain(founders)
            .collect();
        for handover in handovers {
            let list =
                MemberList::from_bytes(&handover.members).map_err(|_| Problem::internal())?;
            listed.extend(
                list.members()
                    .iter()
                    .map(|m| (m.principal(), m.keys.clone())),
            );
        }
        if listed
            .iter()
            .any(|(id, keys)| *id == principal && signed(entry, keys))
        {
            return Ok((KeyProof::Listed, certified));
        }
        // A member whose list is not in force yet: its keys are in the state.
        let proven = self.ledger.prove(keys_state_key(principal)).await?;
        let keys = proven.value.ok_or_else(Problem::not_found)?;
        let proof = KeyProof::State {
            keys,
            proof: proven.proof,
        };
        Ok((proof, proven.certified))
    }

    /// The keys with which a principal signed an entry.
    pub(crate) async fn signing_keys(
        &self,
        principal: PrincipalId,
        index: u64,
    ) -> Result<PublicKeys> {
        if let Some((keys, _)) = self.registered_keys(principal, index).await? {
            return Ok(keys);
        }
        let entry = self.entry(index)?;
        let found = self.member_keys(principal).await?;
        let mut signers = found.into_iter().filter(|keys| signed(&entry, keys));
        signers.next().ok_or_else(Problem::not_found)
    }

    /// The keys with which a person registered, or that it took later, before an entry; and the
    /// index of the entry that says so.
    async fn registered_keys(
        &self,
        principal: PrincipalId,
        before: u64,
    ) -> Result<Option<(PublicKeys, u64)>> {
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
            if command.principal != principal || entry.outcome != Outcome::Accepted {
                continue;
            }
            if let Action::Register { keys, .. } | Action::RotateKeys { keys, .. } = command.action
            {
                return Ok(Some((keys, index)));
            }
        }
        Ok(None)
    }

    /// Every set of keys that a founder or a member organisation has had.
    async fn member_keys(&self, principal: PrincipalId) -> Result<Vec<PublicKeys>> {
        let genesis = genesis(&self.genesis).map_err(|_| Problem::internal())?;
        let founders = genesis.founders.into_iter().map(|f| (f.principal, f.keys));
        let members = genesis.members.into_iter().map(|m| (m.principal(), m.keys));
        let mut found: Vec<_> = members.chain(founders).collect();
        let rows: Vec<(ProposalId,)> = {
            let tx = &mut self.database.read().await?;
            let sql = "SELECT proposal FROM listed_proposal ORDER BY entry DESC LIMIT 1000";
            tx.all(sql, &params![]).await?
        };
        let view = self.view()?;
        for (proposal,) in rows {
            let carried_out =
                get::<Proposals>(&*view, &proposal).filter(|row| row.carried_out.is_some());
            if let Some(MembershipChange::Join(member) | MembershipChange::Replace(member)) =
                carried_out.map(|row| row.change)
            {
                found.push((member.principal(), member.keys));
            }
        }
        found.retain(|(id, _)| *id == principal);
        Ok(found.into_iter().map(|(_, keys)| keys).collect())
    }

    fn handovers(&self, certified: &CertifiedNote) -> Result<Vec<Handover>> {
        let handovers = self.ledger.handovers(certified.checkpoint.height)?;
        handovers.ok_or_else(|| {
            Problem::unavailable(
                "no-handover",
                "A change of membership is not certified here yet",
            )
        })
    }

    fn bundle(&self, certified: CertifiedNote, claim: Claim) -> Result<Bundle> {
        Ok(Bundle {
            version: VERSION,
            genesis: self.genesis.to_vec(),
            handovers: self.handovers(&certified)?,
            checkpoint: certified.note,
            claim,
        })
    }
}

/// Whether an entry's command verifies with these keys.
fn signed(entry: &Entry, keys: &PublicKeys) -> bool {
    let Ok(signed) =
        from_bytes::<SignedCommand>(&entry.signed_command, COMMAND_LIMIT, "a signed command")
    else {
        return false;
    };
    Ed25519Verifier::parse(&keys.ed25519)
        .and_then(|key| key.verify(label::COMMAND, &signed.command, &signed.signature))
        .is_ok()
}
