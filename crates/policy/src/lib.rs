//! May this actor do this to that? One `match`, total over role, operation and relation.
//!
//! The question is asked here and nowhere else: by the contract before it applies a command, and
//! by the server before it answers a request. The grid of every answer is committed as
//! `tests/expected/grid.txt`, for people who do not read Rust.
//!
//! **Invariant:** a decision depends on nothing but the arguments.

use salus_proto::role::Role;

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Propose or approve a change of membership.
    ChangeMembership,
    /// See pending profiles and decide on them.
    AuthoriseProfiles,
    /// Replace one's own keys.
    RotateOwnKeys,
    /// Shut a principal out.
    RevokePrincipal,
    /// Open an alias for a patient of one's hospital.
    OpenPatient,
    /// State which registered patient is behind an alias.
    LinkPatient,
    /// Take records in: anchor a batch under an alias.
    AnchorRecords,
    /// See the list of sealed records: kinds, digests, signers, proofs; no content.
    ListSealed,
    /// Ask for access to an alias.
    RequestAccess,
    /// Answer a request for access.
    DecideAccess,
    /// End an access.
    RevokeAccess,
    /// Get sealed bytes and key wraps, after the receipt.
    ReadRecords,
    /// Send records and a question to a doctor.
    OpenConsultation,
    /// Answer a consultation.
    AnswerConsultation,
    /// See who read an alias.
    ListReads,
    /// See the list of patients of a node with their clear names.
    ListPatients,
    /// See the directory of authorised doctors.
    ListDoctors,
    /// See refused attempts and incidents.
    WatchIntrusions,
    /// Report an incident on the ledger.
    ReportIncident,
    /// Read the ledger: entries, checkpoints, proofs, members.
    ReadLedger,
    /// State which of one's hospital's images may be trained on.
    OfferData,
    /// Propose a federated job and run its rounds.
    CoordinateJob,
    /// Have one's organisation propose a federated job.
    StartJob,
    /// Take part in a job, or not.
    DecideJob,
    /// See jobs, their rounds and offered data sets.
    SeeJobs,
    /// Get models, states and single updates of a job, to train or to add a round up again.
    FetchTraining,
    /// Get the finished model of a job.
    FetchModel,
    /// See what one's hospital gained by a job.
    SeeGain,
    /// Have a model judge a record.
    UseModel,
    /// See a hospital's signed counts of its patients, small cells left out.
    SeeStatistics,
    /// See a hospital's counts of its patients as they are.
    SeeExactCounts,
}

impl Operation {
    /// Every operation, in the order of the grid.
    pub const ALL: [Self; 31] = [
        Self::ChangeMembership,
        Self::AuthoriseProfiles,
        Self::RotateOwnKeys,
        Self::RevokePrincipal,
        Self::OpenPatient,
        Self::LinkPatient,
        Self::AnchorRecords,
        Self::ListSealed,
        Self::RequestAccess,
        Self::DecideAccess,
        Self::RevokeAccess,
        Self::ReadRecords,
        Self::OpenConsultation,
        Self::AnswerConsultation,
        Self::ListReads,
        Self::ListPatients,
        Self::ListDoctors,
        Self::WatchIntrusions,
        Self::ReportIncident,
        Self::ReadLedger,
        Self::OfferData,
        Self::CoordinateJob,
        Self::StartJob,
        Self::DecideJob,
        Self::SeeJobs,
        Self::FetchTraining,
        Self::FetchModel,
        Self::SeeGain,
        Self::UseModel,
        Self::SeeStatistics,
        Self::SeeExactCounts,
    ];
}

/// How the actor stands to the thing acted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Relation {
    /// Nothing connects them.
    Stranger,
    /// The thing is the actor, or the actor wrote it.
    Own,
    /// The actor belongs to the organisation that keeps the thing.
    Custodian,
    /// The records are about the actor: the linked patient.
    Subject,
    /// The actor holds a valid grant or an open consultation.
    Holder,
}

impl Relation {
    /// Every relation, in the order of the grid.
    pub const ALL: [Self; 5] = [
        Self::Stranger,
        Self::Own,
        Self::Custodian,
        Self::Subject,
        Self::Holder,
    ];
}

/// Whether an authorised principal of `role` that stands in `relation` to a thing may do
/// `operation` to it. Whoever is not authorised may do nothing; that is checked before.
pub fn may(role: Role, operation: Operation, relation: Relation) -> bool {
    use Operation as O;
    use Relation as R;
    match (operation, role) {
        (O::ChangeMembership, Role::Organisation) => true,
        (O::AuthoriseProfiles, Role::Operator) => true,
        // An organisation vouches for its own staff and operators without waiting for another.
        (O::AuthoriseProfiles, Role::Organisation) => relation == R::Custodian,
        (O::RotateOwnKeys, _) => relation == R::Own && role != Role::Organisation,
        (O::RevokePrincipal, Role::Operator) => true,
        (O::RevokePrincipal, Role::Organisation) => relation == R::Custodian,
        (O::RevokePrincipal, _) => relation == R::Own,
        (O::OpenPatient, Role::Organisation | Role::Staff) => true,
        (O::LinkPatient, Role::Organisation | Role::Staff) => relation == R::Custodian,
        (O::AnchorRecords, Role::Organisation | Role::Staff) => relation == R::Custodian,
        (O::AnchorRecords, Role::Patient) => relation == R::Subject,
        (O::AnchorRecords, Role::Doctor) => relation == R::Holder,
        (O::ListSealed, Role::Organisation | Role::Staff) => relation == R::Custodian,
        (O::ListSealed, Role::Patient) => relation == R::Subject,
        (O::ListSealed, Role::Doctor) => relation == R::Holder,
        (O::ListSealed, Role::Operator | Role::Auditor) => true,
        (O::RequestAccess, Role::Patient) => relation == R::Subject,
        (O::RequestAccess, Role::Doctor) => true,
        (O::DecideAccess, Role::Organisation | Role::Staff) => relation == R::Custodian,
        (O::RevokeAccess, Role::Organisation | Role::Staff) => relation == R::Custodian,
        (O::RevokeAccess, Role::Patient) => relation == R::Subject,
        (O::RevokeAccess, Role::Doctor) => relation == R::Holder,
        (O::ReadRecords, Role::Organisation | Role::Staff) => relation == R::Custodian,
        (O::ReadRecords, Role::Patient | Role::Doctor) => {
            matches!(relation, R::Holder | R::Own)
        }
        (O::OpenConsultation, Role::Patient) => relation == R::Subject,
        (O::AnswerConsultation, Role::Doctor) => relation == R::Holder,
        (O::ListReads, Role::Patient) => relation == R::Subject,
        (O::ListReads, Role::Organisation | Role::Staff) => relation == R::Custodian,
        (O::ListReads, Role::Auditor) => true,
        (O::ListPatients, Role::Organisation | Role::Staff) => relation == R::Custodian,
        (O::ListPatients, Role::Operator) => true,
        (O::ListDoctors, Role::Patient | Role::Operator | Role::Staff | Role::Organisation) => true,
        (O::WatchIntrusions, Role::Operator | Role::Auditor) => true,
        (O::ReportIncident, Role::Organisation) => true,
        (O::ReadLedger, _) => true,
        (O::OfferData | O::DecideJob | O::SeeGain, Role::Organisation | Role::Staff) => {
            relation == R::Custodian
        }
        (O::CoordinateJob, Role::Organisation) => relation == R::Own,
        (O::StartJob, Role::Organisation | Role::Operator) => relation == R::Custodian,
        (O::SeeJobs, _) => true,
        (O::FetchModel, Role::Organisation | Role::Staff | Role::Operator) => true,
        (O::FetchTraining, Role::Organisation) => true,
        (O::UseModel, Role::Doctor) => relation == R::Holder,
        (O::UseModel, Role::Organisation | Role::Staff) => true,
        (O::SeeStatistics, Role::Organisation | Role::Staff | Role::Operator | Role::Auditor) => {
            true
        }
        (O::SeeExactCounts, Role::Organisation | Role::Staff) => relation == R::Custodian,
        _ => false,
    }
}
