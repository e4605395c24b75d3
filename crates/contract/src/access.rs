//! Access: asked for, decided, used, ended; and consultations, which carry their own grant.

use salus_policy::{Operation, Relation, may};
use salus_proto::TimestampMs;
use salus_proto::command::{NAMED_RECORDS_LIMIT, Refusal};
use salus_proto::ids::{AccessId, BatchId, ConsultationId, PatientAlias, PrincipalId, RecordId};
use salus_proto::record::KeyClass;
use salus_proto::role::{Basis, Decision, Purpose, Reason, Role};

use crate::apply::Actor;
use crate::records::{active, relation_to};
use crate::state::Overlay;
use crate::table::{
    Access, AccessStatus, Accesses, Answer, Batches, Consultation, Consultations, Patients, get,
    put,
};

#[expect(clippy::too_many_arguments, reason = "the fields of one action")]
pub(crate) fn request(
    state: &mut Overlay<'_>,
    actor: Actor<'_>,
    id: AccessId,
    alias: PatientAlias,
    classes: &[KeyClass],
    purpose: Purpose,
    until: TimestampMs,
    now: TimestampMs,
) -> Result<(), Refusal> {
    let patient = get::<Patients>(state, &alias).ok_or(Refusal::NotFound)?;
    let relation = relation_to(&patient, actor);
    if !may(actor.principal.role, Operation::RequestAccess, relation) {
        // Whether the alias exists is nobody's business who may not ask.
        return Err(Refusal::NotFound);
    }
    if classes.is_empty() || !ascending(classes) || until <= now {
        return Err(Refusal::OutOfRange);
    }
    fresh(state, id)?;
    let access = Access {
        alias,
        holder: actor.id,
        classes: classes.to_vec(),
        records: None,
        purpose,
        until,
        requested: now,
        status: AccessStatus::Requested,
    };
    put::<Accesses>(state, &id, &access);
    Ok(())
}

pub(crate) fn decide(
    state: &mut Overlay<'_>,
    actor: Actor<'_>,
    id: AccessId,
    decision: Decision,
    reason: Reason,
    basis: Basis,
    now: TimestampMs,
) -> Result<(), Refusal> {
    let mut access = get::<Accesses>(state, &id).ok_or(Refusal::NotFound)?;
    let patient = get::<Patients>(state, &access.alias).ok_or(Refusal::NotFound)?;
    if !may(
        actor.principal.role,
        Operation::DecideAccess,
        relation_to(&patient, actor),
    ) {
        return Err(Refusal::NotAllowed);
    }
    if access.status != AccessStatus::Requested {
        return Err(Refusal::WrongState);
    }
    let by = actor.id;
    access.status = match decision {
        Decision::Approve => AccessStatus::Approved { by, basis, at: now },
        Decision::Refuse => AccessStatus::Refused {
            by,
            reason,
            at: now,
        },
    };
    put::<Accesses>(state, &id, &access);
    Ok(())
}

pub(crate) fn revoke(
    state: &mut Overlay<'_>,
    actor: Actor<'_>,
    id: AccessId,
    reason: Reason,
    now: TimestampMs,
) -> Result<(), Refusal> {
    let mut access = get::<Accesses>(state, &id).ok_or(Refusal::NotFound)?;
    let patient = get::<Patients>(state, &access.alias).ok_or(Refusal::NotFound)?;
    let relation = match relation_to(&patient, actor) {
        Relation::Stranger if access.holder == actor.id => Relation::Holder,
        other => other,
    };
    if !may(actor.principal.role, Operation::RevokeAccess, relation) {
        return Err(Refusal::NotAllowed);
    }
    match access.status {
        AccessStatus::Requested | AccessStatus::Approved { .. } => {
            access.status = AccessStatus::Revoked {
                by: actor.id,
                reason,
                at: now,
            };
        }
        AccessStatus::Refused { .. } | AccessStatus::Revoked { .. } => {
            return Err(Refusal::WrongState);
        }
    }
    put::<Accesses>(state, &id, &access);
    Ok(())
}

/// The fields of [`OpenConsultation`](salus_proto::command::Action::OpenConsultation).
pub(crate) struct Opening<'a> {
    pub(crate) consultation: ConsultationId,
    pub(crate) access: AccessId,
    pub(crate) alias: PatientAlias,
    pub(crate) doctor: PrincipalId,
    pub(crate) records: &'a [RecordId],
    pub(crate) question: BatchId,
    pub(crate) until: TimestampMs,
}

pub(crate) fn open_consultation(
    state: &mut Overlay<'_>,
    actor: Actor<'_>,
    opening: &Opening<'_>,
    now: TimestampMs,
) -> Result<(), Refusal> {
    let patient = get::<Patients>(state, &opening.alias).ok_or(Refusal::NotFound)?;
    if !may(
        actor.principal.role,
        Operation::OpenConsultation,
        relation_to(&patient, actor),
    ) {
        return Err(Refusal::NotFound);
    }
    named(opening.records)?;
    if opening.until <= now {
        return Err(Refusal::OutOfRange);
    }
    active(state, opening.doctor, Role::Doctor)?;
    let question = get::<Batches>(state, &opening.question).ok_or(Refusal::NotFound)?;
    if question.alias != opening.alias || question.signer != actor.id {
        return Err(Refusal::NotFound);
    }
    if get::<Consultations>(state, &opening.consultation).is_some() {
        return Err(Refusal::AlreadyExists);
    }
    fresh(state, opening.access)?;
    let access = Access {
        alias: opening.alias,
        holder: opening.doctor,
        classes: Vec::new(),
        records: Some(opening.records.to_vec()),
        purpose: Purpose::Treatment,
        until: opening.until,
        requested: now,
        status: AccessStatus::Approved {
            by: actor.id,
            basis: Basis::Person,
            at: now,
        },
    };
    put::<Accesses>(state, &opening.access, &access);
    let consultation = Consultation {
        alias: opening.alias,
        patient: actor.id,
        doctor: opening.doctor,
        access: opening.access,
        question: opening.question,
        opened: now,
        answer: None,
    };
    put::<Consultations>(state, &opening.consultation, &consultation);
    Ok(())
}

pub(crate) fn answer(
    state: &mut Overlay<'_>,
    actor: Actor<'_>,
    id: ConsultationId,
    batch: BatchId,
    prescriptions: u32,
    now: TimestampMs,
) -> Result<(), Refusal> {
    let mut consultation = get::<Consultations>(state, &id).ok_or(Refusal::NotFound)?;
    let holder = consultation.doctor == actor.id;
    let relation = if holder {
        Relation::Holder
    } else {
        Relation::Stranger
    };
    if !may(
        actor.principal.role,
        Operation::AnswerConsultation,
        relation,
    ) {
        return Err(Refusal::NotFound);
    }
    let open = get::<Accesses>(state, &consultation.access).is_some_and(|a| a.is_open(now));
    if consultation.answer.is_some() || !open {
        return Err(Refusal::WrongState);
    }
    let row = get::<Batches>(state, &batch).ok_or(Refusal::NotFound)?;
    // A batch answers the one consultation that it was anchored for.
    if row.consultation != Some(id) || row.signer != actor.id {
        return Err(Refusal::NotFound);
    }
    // At least one record of the batch is the answer itself.
    if prescriptions >= row.count {
        return Err(Refusal::OutOfRange);
    }
    consultation.answer = Some(Answer {
        batch,
        prescriptions,
        at: now,
    });
    put::<Consultations>(state, &id, &consultation);
    Ok(())
}

pub(crate) fn read(
    state: &mut Overlay<'_>,
    actor: Actor<'_>,
    alias: PatientAlias,
    access: Option<AccessId>,
    records: &[RecordId],
    purpose: Purpose,
    now: TimestampMs,
) -> Result<(), Refusal> {
    named(records)?;
    let patient = get::<Patients>(state, &alias).ok_or(Refusal::NotFound)?;
    let relation = match access {
        Some(id) => {
            let grant = get::<Accesses>(state, &id).ok_or(Refusal::NotGranted)?;
            let covers = grant.holder == actor.id
                && grant.alias == alias
                && grant.is_open(now)
                && purpose == grant.purpose
                && grant
                    .records
                    .as_ref()
                    .is_none_or(|granted| records.iter().all(|r| granted.binary_search(r).is_ok()));
            if !covers {
                return Err(Refusal::NotGranted);
            }
            Relation::Holder
        }
        // Without a grant: the custodian's people, and authors of what they wrote themselves. The
        // ledger does not know who wrote a single record; the node that keeps it checks that.
        None => match (relation_to(&patient, actor), actor.principal.role) {
            (Relation::Stranger, Role::Doctor) | (Relation::Subject, _) => Relation::Own,
            (other, _) => other,
        },
    };
    may(actor.principal.role, Operation::ReadRecords, relation)
        .then_some(())
        .ok_or(Refusal::NotGranted)
}

/// Whether the actor may have a model judge a record: whoever may read it for care.
pub(crate) fn judge(
    state: &mut Overlay<'_>,
    actor: Actor<'_>,
    alias: PatientAlias,
    access: Option<AccessId>,
    record: RecordId,
    now: TimestampMs,
) -> Result<(), Refusal> {
    if !may(actor.principal.role, Operation::UseModel, Relation::Holder) {
        return Err(Refusal::NotAllowed);
    }
    let purpose = match (access, actor.principal.role) {
        (Some(id), _) => {
            get::<Accesses>(state, &id)
                .ok_or(Refusal::NotGranted)?
                .purpose
        }
        // Who wrote a single record is not on the ledger, so authorship is no ground here.
        (None, Role::Doctor) => return Err(Refusal::NotGranted),
        (None, _) => Purpose::Operations,
    };
    read(state, actor, alias, access, &[record], purpose, now)
}

fn fresh(state: &Overlay<'_>, id: AccessId) -> Result<(), Refusal> {
    match get::<Accesses>(state, &id) {
        Some(_) => Err(Refusal::AlreadyExists),
        None => Ok(()),
    }
}

/// A list of records that a command names: not empty, ascending, bounded.
fn named(records: &[RecordId]) -> Result<(), Refusal> {
    let fits = !records.is_empty() && records.len() <= NAMED_RECORDS_LIMIT && ascending(records);
    fits.then_some(()).ok_or(Refusal::OutOfRange)
}

fn ascending<T: Ord>(values: &[T]) -> bool {
    values.windows(2).all(|w| w[0] < w[1])
}
