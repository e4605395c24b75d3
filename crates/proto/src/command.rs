//! Signed commands, and the ledger entries they become.
//!
//! ```text
//!  person or node            member nodes                     everybody
//!  Command --sign-->  SignedCommand --order, apply-->  Entry (one leaf of the log)
//! ```
//!
//! Nothing personal stands in a command: ids are random, free text is not allowed, digests of
//! profiles are salted.

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::federated::{DataCard, Plan, RoundClosed, RoundOpened, RoundResult, Update};
use crate::ids::{
    AccessId, BatchId, ConsortiumId, ConsultationId, JobId, OrganisationId, PatientAlias,
    PrincipalId, ProposalId, RecordId,
};
use crate::keys::PublicKeys;
use crate::member::MembershipChange;
use crate::record::KeyClass;
use crate::role::{Basis, Decision, Purpose, Reason, Role};
use crate::{Digest, TimestampMs};

/// Largest encoded [`SignedCommand`], in bytes: 62 KiB, so that every entry fits into a bundle of
/// entries (C2SP tlog-tiles), which has 16 bits for a length.
pub const COMMAND_LIMIT: usize = 62 << 10;
/// Largest encoded [`Entry`], in bytes.
pub const ENTRY_LIMIT: usize = COMMAND_LIMIT + 1024;
const _: () = assert!(ENTRY_LIMIT <= 65_535, "an entry fits into a tile");
/// Most records one read or one consultation may name.
pub const NAMED_RECORDS_LIMIT: usize = 1024;
/// How far ahead of the block time a command's expiry may lie: 24 hours.
pub const EXPIRY_LIMIT_MS: u64 = 24 * 3_600_000;
/// How far behind its highest sequence number a principal's command may still arrive.
pub const SEQUENCE_WINDOW: u64 = 128;

/// A request to change shared state, as its author signs it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Command {
    /// The consortium it is meant for.
    #[n(0)]
    pub consortium: ConsortiumId,
    /// Who acts and signs.
    #[n(1)]
    pub principal: PrincipalId,
    /// A number that this principal has not used before, above its highest minus
    /// [`SEQUENCE_WINDOW`].
    #[n(2)]
    pub sequence: u64,
    /// Refused when the block time is later.
    #[n(3)]
    pub expires: TimestampMs,
    /// What to do.
    #[n(4)]
    pub action: Action,
}

/// A command's bytes and the Ed25519 signature over them (label `salus/v1/command`).
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SignedCommand {
    /// The encoded [`Command`]; verified as received.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub command: Vec<u8>,
    /// Ed25519 signature, 64 bytes.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub signature: [u8; 64],
}

impl core::fmt::Debug for SignedCommand {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("SignedCommand")
            .field("bytes", &self.command.len())
            .finish_non_exhaustive()
    }
}

/// Everything that can be asked of the consortium's shared state.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(
    rename_all = "kebab-case",
    rename_all_fields = "snake_case",
    tag = "type"
)]
pub enum Action {
    /// A member proposes a change of membership (and thereby approves it itself).
    #[n(0)]
    #[cbor(map)]
    ProposeMembership {
        /// A fresh id.
        #[n(0)]
        proposal: ProposalId,
        /// The change.
        #[n(1)]
        change: MembershipChange,
    },
    /// A member approves a proposed change; the quorum's last approval carries it out.
    #[n(1)]
    #[cbor(map)]
    ApproveMembership {
        /// The proposal.
        #[n(0)]
        proposal: ProposalId,
    },
    /// A person registers. Signed with the key that it names; pending until an operator decides.
    #[n(2)]
    #[cbor(map)]
    Register {
        /// The role asked for; never [`Role::Organisation`].
        #[n(0)]
        role: Role,
        /// The organisation on whose node the account lives.
        #[n(1)]
        organisation: OrganisationId,
        /// The keys.
        #[n(2)]
        keys: PublicKeys,
        /// Salted digest of the profile, which itself stays off the ledger.
        #[n(3)]
        profile: Digest,
    },
    /// An operator authorises or refuses a pending principal.
    #[n(3)]
    #[cbor(map)]
    DecidePrincipal {
        /// Who was pending.
        #[n(0)]
        principal: PrincipalId,
        /// Yes or no.
        #[n(1)]
        decision: Decision,
        /// Why.
        #[n(2)]
        reason: Reason,
    },
    /// A principal replaces its keys. Signed with the old key; `proof` shows possession of the new.
    #[n(4)]
    #[cbor(map)]
    RotateKeys {
        /// The new keys.
        #[n(0)]
        keys: PublicKeys,
        /// Ed25519 signature by the new key over the encoded new keys, the principal and the
        /// consortium (label `salus/v1/key-possession`).
        #[cbor(n(1), with = "minicbor::bytes")]
        #[serde(with = "hex::serde")]
        proof: [u8; 64],
    },
    /// A principal is shut out for good: by itself, by its organisation or by an operator.
    #[n(5)]
    #[cbor(map)]
    RevokePrincipal {
        /// Who.
        #[n(0)]
        principal: PrincipalId,
        /// Why.
        #[n(1)]
        reason: Reason,
    },
    /// A hospital opens a random alias for one of its patients and becomes its custodian.
    #[n(6)]
    #[cbor(map)]
    OpenPatient {
        /// A fresh alias.
        #[n(0)]
        alias: PatientAlias,
    },
    /// The custodian states that a registered patient is the person behind an alias.
    #[n(7)]
    #[cbor(map)]
    LinkPatient {
        /// The alias.
        #[n(0)]
        alias: PatientAlias,
        /// The authorised patient.
        #[n(1)]
        patient: PrincipalId,
    },
    /// A batch of sealed records is anchored.
    #[n(8)]
    #[cbor(map)]
    AnchorBatch {
        /// The batch.
        #[n(0)]
        batch: BatchId,
        /// Whose records.
        #[n(1)]
        alias: PatientAlias,
        /// SHA-256 of the signed manifest.
        #[n(2)]
        manifest: Digest,
        /// Root of the tree over the batch's anchors.
        #[n(3)]
        anchors_root: Digest,
        /// Number of records.
        #[n(4)]
        count: u32,
        /// The consultation that lets a doctor write to this alias.
        #[n(5)]
        consultation: Option<ConsultationId>,
    },
    /// Somebody asks the custodian for access to an alias.
    #[n(9)]
    #[cbor(map)]
    RequestAccess {
        /// A fresh id.
        #[n(0)]
        access: AccessId,
        /// Whose records.
        #[n(1)]
        alias: PatientAlias,
        /// Which classes, ascending, at least one.
        #[n(2)]
        classes: Vec<KeyClass>,
        /// What for.
        #[n(3)]
        purpose: Purpose,
        /// Until when.
        #[n(4)]
        until: TimestampMs,
    },
    /// The custodian answers a request.
    #[n(10)]
    #[cbor(map)]
    DecideAccess {
        /// The request.
        #[n(0)]
        access: AccessId,
        /// Yes or no.
        #[n(1)]
        decision: Decision,
        /// Why.
        #[n(2)]
        reason: Reason,
        /// Rule or person.
        #[n(3)]
        basis: Basis,
    },
    /// The grantor, the custodian or the holder ends an access.
    #[n(11)]
    #[cbor(map)]
    RevokeAccess {
        /// The access.
        #[n(0)]
        access: AccessId,
        /// Why.
        #[n(1)]
        reason: Reason,
    },
    /// A patient sends chosen records with a question to a doctor; this is also the doctor's grant.
    #[n(12)]
    #[cbor(map)]
    OpenConsultation {
        /// A fresh id.
        #[n(0)]
        consultation: ConsultationId,
        /// The grant that comes with it, a fresh id.
        #[n(1)]
        access: AccessId,
        /// Whose records.
        #[n(2)]
        alias: PatientAlias,
        /// The authorised doctor.
        #[n(3)]
        doctor: PrincipalId,
        /// The records, ascending, the question's record among them.
        #[n(4)]
        records: Vec<RecordId>,
        /// The batch that holds the question.
        #[n(5)]
        question: BatchId,
        /// Until when the doctor may read.
        #[n(6)]
        until: TimestampMs,
    },
    /// The doctor answers; the answer and prescriptions were anchored before.
    #[n(13)]
    #[cbor(map)]
    AnswerConsultation {
        /// The consultation.
        #[n(0)]
        consultation: ConsultationId,
        /// The batch that holds answer and prescriptions.
        #[n(1)]
        answer: BatchId,
        /// How many of the batch's records are prescriptions.
        #[n(2)]
        prescriptions: u32,
    },
    /// A reader states who reads what and why. Accepted and final, this entry is the receipt that
    /// must exist before bytes leave a node.
    #[n(14)]
    #[cbor(map)]
    ReadRecords {
        /// Whose records.
        #[n(0)]
        alias: PatientAlias,
        /// The grant; absent for the custodian's own staff and for the author of the records.
        #[n(1)]
        access: Option<AccessId>,
        /// Which records, ascending, at least one.
        #[n(2)]
        records: Vec<RecordId>,
        /// What for.
        #[n(3)]
        purpose: Purpose,
    },
    /// A member reports an incident: tampering found, a lying peer, an intrusion attempt.
    #[n(15)]
    #[cbor(map)]
    ReportIncident {
        /// What happened.
        #[n(0)]
        kind: IncidentKind,
        /// Digest of the evidence, which stays with the reporter.
        #[n(1)]
        evidence: Digest,
    },
    /// A hospital states which of its images may be trained on.
    #[n(16)]
    #[cbor(map)]
    OfferData {
        /// What there is, in numbers.
        #[n(0)]
        data: DataCard,
    },
    /// A coordinator proposes a federated job. Its sites decide for themselves.
    #[n(17)]
    #[cbor(map)]
    ProposeJob {
        /// Everything about it.
        #[n(0)]
        plan: Box<Plan>,
    },
    /// A site takes part in a job, or does not, or not any more.
    #[n(18)]
    #[cbor(map)]
    DecideJob {
        /// The job.
        #[n(0)]
        job: JobId,
        /// Digest of the plan that was decided on.
        #[n(1)]
        plan: Digest,
        /// Yes or no; the last one counts.
        #[n(2)]
        decision: Decision,
    },
    /// The coordinator opens a round.
    #[n(19)]
    #[cbor(map)]
    OpenRound {
        /// Which, from which model, until when.
        #[n(0)]
        opened: RoundOpened,
    },
    /// A site vouches for the update that it has uploaded to the coordinator.
    #[n(20)]
    #[cbor(map)]
    SendUpdate {
        /// The update's header.
        #[n(0)]
        update: Update,
    },
    /// The coordinator closes a round.
    #[n(21)]
    #[cbor(map)]
    CloseRound {
        /// Whose updates count.
        #[n(0)]
        closed: RoundClosed,
    },
    /// The coordinator publishes what came out of a round.
    #[n(22)]
    #[cbor(map)]
    PublishRound {
        /// The next model and figures.
        #[n(0)]
        result: RoundResult,
    },
    /// Somebody has a model judge a record that they may read. Accepted and final, this entry is the
    /// receipt that must exist before the judgement is given out.
    #[n(23)]
    #[cbor(map)]
    UseModel {
        /// The job that made the model; it has ended.
        #[n(0)]
        job: JobId,
        /// Digest of the model's shared values: the job's last.
        #[n(1)]
        model: Digest,
        /// Whose record.
        #[n(2)]
        alias: PatientAlias,
        /// The grant; absent for the custodian's own people.
        #[n(3)]
        access: Option<AccessId>,
        /// The record.
        #[n(4)]
        record: RecordId,
    },
}

/// What an incident is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum IncidentKind {
    /// Stored bytes do not match what the ledger says.
    #[n(0)]
    Tampering,
    /// A member signed two different states.
    #[n(1)]
    Equivocation,
    /// Repeated refused attempts.
    #[n(2)]
    Intrusion,
    /// Altered or lost bytes were restored from a replica.
    #[n(3)]
    Recovered,
}

/// Why the contract refused a command. A refusal is a normal answer; the code is part of the entry.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Encode,
    Decode,
    Serialize,
    Deserialize,
    thiserror::Error,
)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// The command was made for another consortium.
    #[n(0)]
    #[error("the command is for another consortium")]
    WrongConsortium,
    /// The sequence number was used before or is too old.
    #[n(1)]
    #[error("the sequence number was used before; ask the node for the next one and sign again")]
    Replayed,
    /// The command came too late, or its expiry is further ahead than allowed.
    #[n(2)]
    #[error("the command has expired or expires more than 24 hours ahead; sign it again")]
    Expired,
    /// The principal is not on the ledger.
    #[n(3)]
    #[error("the principal is not registered")]
    UnknownPrincipal,
    /// The principal waits for an operator's decision.
    #[n(4)]
    #[error("the profile still waits for the cloud operator's decision")]
    PendingPrincipal,
    /// The principal was refused or revoked.
    #[n(5)]
    #[error("the principal was refused or revoked")]
    RevokedPrincipal,
    /// The role or the relation does not allow it.
    #[n(6)]
    #[error("this role may not do that")]
    NotAllowed,
    /// The thing named does not exist, or not for this principal.
    #[n(7)]
    #[error("no such thing, or not for this principal")]
    NotFound,
    /// The id is taken.
    #[n(8)]
    #[error("the id is already in use")]
    AlreadyExists,
    /// The thing is not in a state that allows it (already decided, ended, answered).
    #[n(9)]
    #[error("it was already decided or has ended")]
    WrongState,
    /// A list is empty, unsorted, too long or has duplicates; a number or a text is out of range.
    #[n(10)]
    #[error("a value is out of range: empty, unsorted, too long or duplicated")]
    OutOfRange,
    /// The grant does not cover what is asked, or has run out.
    #[n(11)]
    #[error("no valid grant covers this")]
    NotGranted,
    /// The proof of possession of a new key is wrong.
    #[n(12)]
    #[error("possession of the new key is not proven")]
    KeyNotProven,
    /// The change would leave the consortium without members, or has no effect.
    #[n(13)]
    #[error("the change of membership is impossible")]
    ImpossibleMembership,
    /// The update starts from another model than the round's.
    #[n(14)]
    #[error(
        "the update starts from another model than the round; fetch the round's and train again"
    )]
    StaleModel,
    /// The round takes no more updates, or another one is open.
    #[n(15)]
    #[error("this round is not open; the site joins the next one")]
    RoundOver,
}

/// What became of a finalised command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It took effect.
    #[n(0)]
    Accepted,
    /// It changed nothing but the principal's sequence window.
    #[n(1)]
    Refused(#[n(0)] Refusal),
}

/// One leaf of the ledger's log.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Entry {
    /// Position in the log, from 0.
    #[n(0)]
    pub index: u64,
    /// Height of the block that holds it.
    #[n(1)]
    pub height: u64,
    /// The block's agreed time.
    #[n(2)]
    pub time: TimestampMs,
    /// The encoded [`SignedCommand`].
    #[cbor(n(3), with = "minicbor::bytes")]
    pub signed_command: Vec<u8>,
    /// What became of it.
    #[n(4)]
    pub outcome: Outcome,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::{Malformed, from_bytes, to_bytes};
    use crate::record::SealedRecord;

    fn command() -> Command {
        Command {
            consortium: ConsortiumId([1; 16]),
            principal: PrincipalId([2; 16]),
            sequence: 7,
            expires: TimestampMs(1_795_341_600_000),
            action: Action::ReadRecords {
                alias: PatientAlias([3; 16]),
                access: None,
                records: vec![RecordId([4; 16])],
                purpose: Purpose::Treatment,
            },
        }
    }

    #[test]
    fn a_command_has_one_encoding() {
        let bytes = to_bytes(&command());
        let expected = [
            "a5",
            &format!("0050{}", "01".repeat(16)),
            &format!("0150{}", "02".repeat(16)),
            "0207",
            "031b000001a202b2c500",
            "04820ea3",
            &format!("0050{}", "03".repeat(16)),
            &format!("028150{}", "04".repeat(16)),
            "0300",
        ];
        assert_eq!(hex::encode(&bytes), expected.concat());
        let decoded: Command = from_bytes(&bytes, COMMAND_LIMIT, "command").unwrap();
        assert_eq!(decoded, command());
    }

    #[test]
    fn trailing_bytes_unsorted_keys_and_excess_are_refused() {
        let bytes = to_bytes(&command());
        let mut trailing = bytes.clone();
        trailing.push(0);
        let mut indefinite = bytes.clone();
        indefinite[0] = 0xbf;
        indefinite.push(0xff);
        for bad in [trailing, indefinite] {
            let error = from_bytes::<Command>(&bad, COMMAND_LIMIT, "command").unwrap_err();
            assert_eq!(error, Malformed::NotDeterministic { what: "command" });
        }
        let error = from_bytes::<Command>(&bytes, 10, "command").unwrap_err();
        assert_eq!(
            error,
            Malformed::TooLong {
                length: bytes.len(),
                limit: 10
            }
        );
    }

    #[test]
    fn absent_fields_take_no_bytes() {
        let none = SealedRecord {
            key_wrap: None,
            statement: None,
            blob: None,
        };
        assert_eq!(to_bytes(&none), [0xa0]);
    }

    #[test]
    fn a_flipped_bit_never_decodes_to_the_same_command() {
        let bytes = to_bytes(&command());
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Ok(decoded) = from_bytes::<Command>(&flipped, COMMAND_LIMIT, "command") {
                assert_ne!(decoded, command(), "bit {bit}");
            }
        }
    }
}
