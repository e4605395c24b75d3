//! Every key of the state and the value that stands there (`docs/formats.md`, "Contract state").
//!
//! | Key | Value |
//! |---|---|
//! | `consortium` | [`Consortium`] |
//! | `members` | [`Members`] |
//! | `proposal/` + id | [`Proposal`] |
//! | `principal/` + id | [`Principal`] |
//! | `keys/` + principal id | [`PublicKeys`] |
//! | `window/` + principal id | [`Window`] |
//! | `patient/` + alias | [`Patient`] |
//! | `batch/` + id | [`Batch`] |
//! | `access/` + id | [`Access`] |
//! | `consultation/` + id | [`Consultation`] |
//! | `data/` + digest of the data set | [`Offered`] |
//! | `plan/` + job | [`Plan`] |
//! | `job/` + job | [`Job`] |
//! | `round/` + job + round (4 bytes, big-endian) | [`Round`] |
//! | `update/` + job + round + site | [`Update`] |

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};

use salus_proto::encode::to_bytes;
use salus_proto::federated::{DataCard, Plan, RoundClosed, RoundOpened, RoundResult, Update};
use salus_proto::ids::{
    AccessId, BatchId, ConsortiumId, ConsultationId, JobId, OrganisationId, PatientAlias,
    PrincipalId, ProposalId, RecordId,
};
use salus_proto::keys::PublicKeys;
use salus_proto::member::{Member, MembershipChange};
use salus_proto::record::KeyClass;
use salus_proto::role::{Basis, Decision, NodeRole, Purpose, Reason, Role};
use salus_proto::{Digest, TimestampMs};

use crate::state::{Overlay, StateRead};

/// A typed place in the state.
pub trait Table {
    /// What names a row.
    type Key: ?Sized;
    /// What stands there.
    type Value: Encode<()> + for<'b> Decode<'b, ()>;
    /// The row's key in the state.
    fn key(key: &Self::Key) -> Vec<u8>;
}

/// Reads a row.
///
/// # Panics
/// When the stored bytes are not a value of this table: only the contract writes the state, and a
/// store that was altered is found by its root before it is used.
pub fn get<T: Table>(state: &dyn StateRead, key: &T::Key) -> Option<T::Value> {
    let bytes = state.get(&T::key(key))?;
    Some(decoded(&bytes))
}

/// A value that the contract wrote: read as it is, unlike bytes from outside, which must also be the
/// one encoding of what they say.
fn decoded<'b, T: Decode<'b, ()>>(bytes: &'b [u8]) -> T {
    #[expect(clippy::expect_used, reason = "only the contract writes the state")]
    minicbor::decode(bytes).expect("state values decode")
}

/// Every anchored batch of a state that is held in memory, ascending by id.
///
/// # Panics
/// As [`get`].
pub fn batches(state: &BTreeMap<Vec<u8>, Vec<u8>>) -> impl Iterator<Item = (BatchId, Batch)> {
    let first = Batches::key(&BatchId([0; 16]));
    let prefix = first.len() - 16;
    let ids = state.range(first.clone()..).map_while(move |(key, _)| {
        let same = key.get(..prefix) == first.get(..prefix);
        let id = key.get(prefix..)?.try_into().ok()?;
        same.then_some(BatchId(id))
    });
    ids.filter_map(move |id| Some((id, get::<Batches>(state, &id)?)))
}

/// Writes a row.
pub(crate) fn put<T: Table>(state: &mut Overlay<'_>, key: &T::Key, value: &T::Value) {
    state.put(T::key(key), to_bytes(value));
}

macro_rules! tables {
    ($($(#[$doc:meta])* $table:ident: $key:ty => $value:ty, $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $table;

        impl Table for $table {
            type Key = $key;
            type Value = $value;
            fn key(key: &$key) -> Vec<u8> {
                [$prefix.as_slice(), key.as_bytes()].concat()
            }
        }
    )*};
}

tables! {
    /// Proposed changes of membership.
    Proposals: ProposalId => Proposal, b"proposal/";
    /// Principals, organisations included.
    Principals: PrincipalId => Principal, b"principal/";
    /// The principals' full public keys.
    Keys: PrincipalId => PublicKeys, b"keys/";
    /// The principals' used sequence numbers.
    Windows: PrincipalId => Window, b"window/";
    /// Patients' aliases.
    Patients: PatientAlias => Patient, b"patient/";
    /// Anchored batches.
    Batches: BatchId => Batch, b"batch/";
    /// Requests for access and what became of them.
    Accesses: AccessId => Access, b"access/";
    /// Consultations.
    Consultations: ConsultationId => Consultation, b"consultation/";
    /// Data sets that hospitals offer for training, by their digest.
    DataSets: Digest => Offered, b"data/";
    /// Plans of federated jobs.
    Plans: JobId => Plan, b"plan/";
    /// Where federated jobs stand.
    Jobs: JobId => Job, b"job/";
}

/// Rounds of federated jobs.
#[derive(Debug)]
pub struct Rounds;

impl Table for Rounds {
    type Key = (JobId, u32);
    type Value = Round;
    fn key((job, round): &(JobId, u32)) -> Vec<u8> {
        [b"round/".as_slice(), job.as_bytes(), &round.to_be_bytes()].concat()
    }
}

/// Updates that sites vouched for.
#[derive(Debug)]
pub struct Updates;

impl Table for Updates {
    type Key = (JobId, u32, OrganisationId);
    type Value = Update;
    fn key((job, round, site): &(JobId, u32, OrganisationId)) -> Vec<u8> {
        let round = round.to_be_bytes();
        [
            b"update/".as_slice(),
            job.as_bytes(),
            &round,
            site.as_bytes(),
        ]
        .concat()
    }
}

/// The single row about the consortium itself.
#[derive(Debug)]
pub struct ConsortiumRow;

impl Table for ConsortiumRow {
    type Key = ();
    type Value = Consortium;
    fn key((): &()) -> Vec<u8> {
        b"consortium".to_vec()
    }
}

/// The single row that lists the members, as checkpoints name it.
#[derive(Debug)]
pub struct MembersRow;

impl Table for MembersRow {
    type Key = ();
    type Value = Members;
    fn key((): &()) -> Vec<u8> {
        salus_proto::checkpoint::MEMBERS_STATE_KEY.to_vec()
    }
}

/// What never changes about a consortium.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Consortium {
    /// The replay domain.
    #[n(0)]
    pub consortium: ConsortiumId,
    /// Its name.
    #[n(1)]
    pub name: String,
    /// When it was founded.
    #[n(2)]
    pub created: TimestampMs,
}

/// The member organisations at one time.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Members {
    /// 0 at genesis, then one more with every change.
    #[n(0)]
    pub version: u64,
    /// The members, ascending by organisation id.
    #[n(1)]
    pub members: Vec<Member>,
}

/// The part of [`Members`] that commands ask for most.
#[derive(Decode)]
#[cbor(map)]
struct Seats {
    #[n(1)]
    members: Vec<Seat>,
}

/// The part of a [`Member`] that commands ask for most.
#[derive(Decode)]
#[cbor(map)]
struct Seat {
    #[n(0)]
    organisation: OrganisationId,
    #[n(2)]
    roles: Vec<NodeRole>,
}

impl Members {
    /// The members that `state` names; none before genesis.
    pub fn of(state: &dyn StateRead) -> Option<Self> {
        get::<MembersRow>(state, &())
    }

    pub(crate) fn write(&self, state: &mut Overlay<'_>) {
        put::<MembersRow>(state, &(), self);
    }

    /// What a member's node is for, `None` for who is no member. Reads nothing else of the list, most
    /// of which is keys.
    pub(crate) fn roles(
        state: &dyn StateRead,
        organisation: OrganisationId,
    ) -> Option<Vec<NodeRole>> {
        let bytes = state.get(&MembersRow::key(&()))?;
        let seats: Seats = decoded(&bytes);
        let mut seats = seats.members.into_iter();
        let seat = seats.find(|seat| seat.organisation == organisation)?;
        Some(seat.roles)
    }

    /// The member of that organisation.
    pub fn find(&self, organisation: OrganisationId) -> Option<&Member> {
        self.members.iter().find(|m| m.organisation == organisation)
    }
}

/// A proposed change of membership.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Proposal {
    /// The change.
    #[n(0)]
    pub change: MembershipChange,
    /// Who approved, ascending.
    #[n(1)]
    pub approvals: Vec<OrganisationId>,
    /// Version of the membership it was proposed against; void once that has passed.
    #[n(2)]
    pub version: u64,
    /// When it was carried out.
    #[n(3)]
    pub carried_out: Option<TimestampMs>,
}

/// Where a principal's profile stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Standing {
    /// Waits for a decision.
    #[n(0)]
    Pending,
    /// May act.
    #[n(1)]
    Authorised {
        /// Who decided; absent for founders and organisations.
        #[n(0)]
        by: Option<PrincipalId>,
        /// When.
        #[n(1)]
        at: TimestampMs,
    },
    /// Was refused.
    #[n(2)]
    Refused {
        /// Who decided.
        #[n(0)]
        by: PrincipalId,
        /// When.
        #[n(1)]
        at: TimestampMs,
        /// Why.
        #[n(2)]
        reason: Reason,
    },
    /// Was shut out.
    #[n(3)]
    Revoked {
        /// Who decided.
        #[n(0)]
        by: PrincipalId,
        /// When.
        #[n(1)]
        at: TimestampMs,
        /// Why.
        #[n(2)]
        reason: Reason,
    },
}

/// A principal as the ledger knows it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Principal {
    /// Its role.
    #[n(0)]
    pub role: Role,
    /// Its organisation.
    #[n(1)]
    pub organisation: OrganisationId,
    /// The Ed25519 key that verifies its commands (the first of its [`PublicKeys`]).
    #[cbor(n(2), with = "minicbor::bytes")]
    pub ed25519: [u8; 32],
    /// Salted digest of its profile.
    #[n(3)]
    pub profile: Digest,
    /// When it registered.
    #[n(4)]
    pub registered: TimestampMs,
    /// Where it stands.
    #[n(5)]
    pub standing: Standing,
}

/// A principal's used sequence numbers: the highest, and a bit for each of the
/// [`SEQUENCE_WINDOW`](salus_proto::command::SEQUENCE_WINDOW) numbers up to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Window {
    /// The highest number used.
    #[n(0)]
    pub highest: u64,
    /// Used numbers of `highest - 63 ..= highest`; bit `i` stands for `highest - i`.
    #[n(1)]
    pub low: u64,
    /// Used numbers of `highest - 127 ..= highest - 64`.
    #[n(2)]
    pub high: u64,
}

impl Window {
    /// Marks a number as used; `None` when it was used before or is too old. 0 is never valid.
    pub fn mark(self, sequence: u64) -> Option<Self> {
        let bits = (u128::from(self.high) << 64) | u128::from(self.low);
        let (highest, bits) = if sequence > self.highest {
            let by = sequence - self.highest;
            let shifted = if by < 128 { bits << by } else { 0 };
            (sequence, shifted | 1)
        } else {
            let age = self.highest - sequence;
            if sequence == 0 || age >= 128 || bits >> age & 1 == 1 {
                return None;
            }
            (self.highest, bits | 1 << age)
        };
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the two halves of 128 bits"
        )]
        Some(Self {
            highest,
            low: bits as u64,
            high: (bits >> 64) as u64,
        })
    }
}

/// A patient of one hospital, under a random alias.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Patient {
    /// The hospital that keeps the records.
    #[n(0)]
    pub custodian: OrganisationId,
    /// The registered patient behind the alias, once known.
    #[n(1)]
    pub patient: Option<PrincipalId>,
    /// When the alias was opened.
    #[n(2)]
    pub opened: TimestampMs,
}

/// An anchored batch.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Batch {
    /// Whose records.
    #[n(0)]
    pub alias: PatientAlias,
    /// Who anchored it.
    #[n(1)]
    pub signer: PrincipalId,
    /// SHA-256 of the signed manifest.
    #[n(2)]
    pub manifest: Digest,
    /// Root of the tree over its anchors.
    #[n(3)]
    pub anchors_root: Digest,
    /// Number of records.
    #[n(4)]
    pub count: u32,
    /// The log entry that anchored it.
    #[n(5)]
    pub entry: u64,
    /// The consultation that let a doctor write it.
    #[n(6)]
    pub consultation: Option<ConsultationId>,
}

/// What became of a request for access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum AccessStatus {
    /// Waits for the custodian.
    #[n(0)]
    Requested,
    /// Granted.
    #[n(1)]
    Approved {
        /// Who decided.
        #[n(0)]
        by: PrincipalId,
        /// Rule or person.
        #[n(1)]
        basis: Basis,
        /// When.
        #[n(2)]
        at: TimestampMs,
    },
    /// Not granted.
    #[n(2)]
    Refused {
        /// Who decided.
        #[n(0)]
        by: PrincipalId,
        /// Why.
        #[n(1)]
        reason: Reason,
        /// When.
        #[n(2)]
        at: TimestampMs,
    },
    /// Ended before its time.
    #[n(3)]
    Revoked {
        /// Who ended it.
        #[n(0)]
        by: PrincipalId,
        /// Why.
        #[n(1)]
        reason: Reason,
        /// When.
        #[n(2)]
        at: TimestampMs,
    },
}

/// A request for access and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Access {
    /// Whose records.
    #[n(0)]
    pub alias: PatientAlias,
    /// Who may read.
    #[n(1)]
    pub holder: PrincipalId,
    /// Which classes.
    #[n(2)]
    pub classes: Vec<KeyClass>,
    /// Only these records, ascending; absent means all of the classes.
    #[n(3)]
    pub records: Option<Vec<RecordId>>,
    /// What for.
    #[n(4)]
    pub purpose: Purpose,
    /// Until when.
    #[n(5)]
    pub until: TimestampMs,
    /// When it was asked for.
    #[n(6)]
    pub requested: TimestampMs,
    /// Where it stands.
    #[n(7)]
    pub status: AccessStatus,
}

impl Access {
    /// Whether the holder may read at `now`.
    pub fn is_open(&self, now: TimestampMs) -> bool {
        matches!(self.status, AccessStatus::Approved { .. }) && now <= self.until
    }
}

/// A consultation between a patient and a doctor.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Consultation {
    /// Whose records.
    #[n(0)]
    pub alias: PatientAlias,
    /// Who asks.
    #[n(1)]
    pub patient: PrincipalId,
    /// Who is asked.
    #[n(2)]
    pub doctor: PrincipalId,
    /// The doctor's grant.
    #[n(3)]
    pub access: AccessId,
    /// The batch that holds the question.
    #[n(4)]
    pub question: BatchId,
    /// When it was opened.
    #[n(5)]
    pub opened: TimestampMs,
    /// The answer, once there is one.
    #[n(6)]
    pub answer: Option<Answer>,
}

/// A doctor's answer.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Answer {
    /// The batch that holds answer and prescriptions.
    #[n(0)]
    pub batch: BatchId,
    /// How many of its records are prescriptions.
    #[n(1)]
    pub prescriptions: u32,
    /// When.
    #[n(2)]
    pub at: TimestampMs,
}

/// A data set that a hospital offers.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Offered {
    /// Whose images.
    #[n(0)]
    pub owner: OrganisationId,
    /// What there is.
    #[n(1)]
    pub card: DataCard,
    /// When it was first offered.
    #[n(2)]
    pub at: TimestampMs,
}

/// A site's decision on a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SiteDecision {
    /// The site.
    #[n(0)]
    pub site: OrganisationId,
    /// Yes or no.
    #[n(1)]
    pub decision: Decision,
    /// Who decided.
    #[n(2)]
    pub by: PrincipalId,
    /// When.
    #[n(3)]
    pub at: TimestampMs,
}

/// Where a job stands between its rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum JobStage {
    /// The next round may be opened.
    #[n(0)]
    Between,
    /// A round takes updates.
    #[n(1)]
    Open,
    /// A round takes no more updates; its result is awaited.
    #[n(2)]
    Closed,
    /// Every round has been published.
    #[n(3)]
    Done,
}

/// A federated job.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Job {
    /// The member that averages.
    #[n(0)]
    pub coordinator: OrganisationId,
    /// Digest of the plan.
    #[n(1)]
    pub plan: Digest,
    /// When it was proposed.
    #[n(2)]
    pub proposed: TimestampMs,
    /// Sites that have decided, ascending.
    #[n(3)]
    pub decisions: Vec<SiteDecision>,
    /// Where it stands.
    #[n(4)]
    pub stage: JobStage,
    /// The round of the stage; the number of rounds once done.
    #[n(5)]
    pub round: u32,
    /// Digest of the model that this round starts from, or that the job ended with.
    #[n(6)]
    pub model: Digest,
    /// The entry that last changed anything about the job, its rounds included.
    #[n(7)]
    pub changed: u64,
}

impl Job {
    /// Whether a site takes part.
    pub fn takes_part(&self, site: OrganisationId) -> bool {
        let decided = self.decisions.iter().find(|d| d.site == site);
        decided.is_some_and(|d| d.decision == Decision::Approve)
    }

    /// The sites that take part, ascending.
    pub fn participants(&self) -> impl Iterator<Item = OrganisationId> + '_ {
        let approved = |d: &&SiteDecision| d.decision == Decision::Approve;
        self.decisions.iter().filter(approved).map(|d| d.site)
    }
}

/// A round of a job.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Round {
    /// As it was opened.
    #[n(0)]
    pub opened: RoundOpened,
    /// When, by the block.
    #[n(1)]
    pub opened_at: TimestampMs,
    /// As it was closed.
    #[n(2)]
    pub closed: Option<RoundClosed>,
    /// What came of it.
    #[n(3)]
    pub result: Option<RoundResult>,
    /// When the result was published, by the block.
    #[n(4)]
    pub published_at: Option<TimestampMs>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_takes_every_number_once_in_any_order_within_reach() {
        let mut window = Window::default();
        for sequence in [5, 3, 4, 130, 129, 7] {
            window = window.mark(sequence).unwrap();
            assert_eq!(window.mark(sequence), None, "{sequence} twice");
        }
        assert_eq!(window.highest, 130);
        assert_eq!(window.mark(2), None, "too old");
        assert_eq!(window.mark(0), None, "zero is never valid");
        let window = window.mark(u64::MAX).unwrap();
        assert_eq!(window.mark(130), None);
        assert_eq!((window.low, window.high), (1, 0));
    }

    proptest::proptest! {
        #[test]
        fn a_window_agrees_with_a_set(numbers in proptest::collection::vec(1_u64..400, 0..200)) {
            let mut window = Window::default();
            let mut used = std::collections::BTreeSet::new();
            for n in numbers {
                let fresh = !used.contains(&n) && window.highest.saturating_sub(n) < 128;
                let marked = window.mark(n);
                proptest::prop_assert_eq!(marked.is_some(), fresh);
                if let Some(next) = marked {
                    window = next;
                    used.insert(n);
                }
            }
        }
    }
}
