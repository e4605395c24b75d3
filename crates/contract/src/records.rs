//! Aliases, the people behind them, and anchored batches of sealed records.

use salus_policy::{Operation, Relation, may};
use salus_proto::TimestampMs;
use salus_proto::command::Refusal;
use salus_proto::ids::{BatchId, PatientAlias, PrincipalId};
use salus_proto::record::BATCH_RECORDS_LIMIT;
use salus_proto::role::{NodeRole, Role};

use crate::apply::Actor;
use crate::membership::members;
use crate::state::{Overlay, StateRead};
use crate::table::{
    Accesses, Batch, Batches, Consultations, Members, Patient, Patients, Principals, Standing, get,
    put,
};

pub(crate) fn open_patient(
    state: &mut Overlay<'_>,
    actor: Actor<'_>,
    alias: PatientAlias,
    now: TimestampMs,
) -> Result<(), Refusal> {
    let custodian = actor.principal.organisation;
    let hospital =
        Members::roles(state, custodian).is_some_and(|roles| roles.contains(&NodeRole::Hospital));
    if !hospital
        || !may(
            actor.principal.role,
            Operation::OpenPatient,
            Relation::Stranger,
        )
    {
        return Err(Refusal::NotAllowed);
    }
    if get::<Patients>(state, &alias).is_some() {
        return Err(Refusal::AlreadyExists);
    }
    put::<Patients>(
        state,
        &alias,
        &Patient {
            custodian,
            patient: None,
            opened: now,
        },
    );
    Ok(())
}

pub(crate) fn link_patient(
    state: &mut Overlay<'_>,
    actor: Actor<'_>,
    alias: PatientAlias,
    patient: PrincipalId,
) -> Result<(), Refusal> {
    let mut row = get::<Patients>(state, &alias).ok_or(Refusal::NotFound)?;
    let relation = relation_to(&row, actor);
    if !may(actor.principal.role, Operation::LinkPatient, relation) {
        return Err(Refusal::NotAllowed);
    }
    active(state, patient, Role::Patient)?;
    if row.patient.is_some() {
        return Err(Refusal::WrongState);
    }
    row.patient = Some(patient);
    put::<Patients>(state, &alias, &row);
    Ok(())
}

pub(crate) fn anchor(
    state: &mut Overlay<'_>,
    actor: Actor<'_>,
    id: BatchId,
    batch: &Batch,
    now: TimestampMs,
) -> Result<(), Refusal> {
    let patient = get::<Patients>(state, &batch.alias).ok_or(Refusal::NotFound)?;
    let relation = match batch.consultation {
        Some(consultation) => {
            let row = get::<Consultations>(state, &consultation).ok_or(Refusal::NotFound)?;
            let open = row.answer.is_none()
                && get::<Accesses>(state, &row.access).is_some_and(|a| a.is_open(now));
            if row.doctor != actor.id || row.alias != batch.alias || !open {
                return Err(Refusal::NotGranted);
            }
            Relation::Holder
        }
        None => relation_to(&patient, actor),
    };
    if !may(actor.principal.role, Operation::AnchorRecords, relation) {
        return Err(Refusal::NotAllowed);
    }
    let count = usize::try_from(batch.count).unwrap_or(usize::MAX);
    if count == 0 || count > BATCH_RECORDS_LIMIT {
        return Err(Refusal::OutOfRange);
    }
    if get::<Batches>(state, &id).is_some() {
        return Err(Refusal::AlreadyExists);
    }
    put::<Batches>(state, &id, batch);
    Ok(())
}

/// That a principal has this role and may act, as a reason to name it in a command.
pub(crate) fn active(state: &dyn StateRead, id: PrincipalId, role: Role) -> Result<(), Refusal> {
    let principal = get::<Principals>(state, &id).ok_or(Refusal::NotFound)?;
    let active = principal.role == role
        && matches!(principal.standing, Standing::Authorised { .. })
        && members(state)?.find(principal.organisation).is_some();
    active.then_some(()).ok_or(Refusal::NotFound)
}

/// How the actor stands to a patient's records, grants aside.
pub(crate) fn relation_to(patient: &Patient, actor: Actor<'_>) -> Relation {
    if patient.patient == Some(actor.id) {
        return Relation::Subject;
    }
    let of_the_hospital = matches!(actor.principal.role, Role::Organisation | Role::Staff);
    if of_the_hospital && patient.custodian == actor.principal.organisation {
        return Relation::Custodian;
    }
    Relation::Stranger
}

/// The relation of a principal to an alias, for callers outside the contract.
pub fn relation(state: &dyn StateRead, alias: PatientAlias, principal: PrincipalId) -> Relation {
    let (Some(patient), Some(row)) = (
        get::<Patients>(state, &alias),
        get::<Principals>(state, &principal),
    ) else {
        return Relation::Stranger;
    };
    relation_to(
        &patient,
        Actor {
            id: principal,
            principal: &row,
        },
    )
}
