//! Aliases, anchors, access, consultations and receipts: every yes and every no.

mod support;

use salus_contract::table::{AccessStatus, Accesses, Batches, Consultations, Patients};
use salus_proto::Digest;
use salus_proto::command::{Action, NAMED_RECORDS_LIMIT, Refusal as R};
use salus_proto::ids::{AccessId, BatchId, ConsultationId, PatientAlias, RecordId};
use salus_proto::record::{BATCH_RECORDS_LIMIT, KeyClass};
use salus_proto::role::{Basis, Decision, Purpose, Reason};
use support::Who::{self, *};
use support::{ALIAS, World};

const NOWHERE: PatientAlias = PatientAlias([0xee; 16]);
const DAY_MS: u64 = 86_400_000;

fn anchor(batch: u8, alias: PatientAlias, consultation: Option<u8>) -> Action {
    Action::AnchorBatch {
        batch: BatchId([batch; 16]),
        alias,
        manifest: Digest([batch; 32]),
        anchors_root: Digest([1; 32]),
        count: 2,
        consultation: consultation.map(|n| ConsultationId([n; 16])),
    }
}

fn with_count(mut action: Action, n: u32) -> Action {
    if let Action::AnchorBatch { count, .. } = &mut action {
        *count = n;
    }
    action
}

fn request(world: &World, access: u8, classes: &[KeyClass]) -> Action {
    Action::RequestAccess {
        access: AccessId([access; 16]),
        alias: ALIAS,
        classes: classes.to_vec(),
        purpose: Purpose::Treatment,
        until: world.now.plus_ms(DAY_MS),
    }
}

fn decide(access: u8, decision: Decision) -> Action {
    Action::DecideAccess {
        access: AccessId([access; 16]),
        decision,
        reason: Reason::IdentityVerified,
        basis: Basis::Person,
    }
}

fn revoke(access: u8) -> Action {
    Action::RevokeAccess {
        access: AccessId([access; 16]),
        reason: Reason::ConsentWithdrawn,
    }
}

fn read(access: Option<u8>, records: &[u8], purpose: Purpose) -> Action {
    Action::ReadRecords {
        alias: ALIAS,
        access: access.map(|n| AccessId([n; 16])),
        records: records.iter().map(|n| RecordId([*n; 16])).collect(),
        purpose,
    }
}

#[test]
fn hospitals_open_aliases_and_link_their_patients_once() {
    let mut world = World::new();
    let open = Action::OpenPatient { alias: ALIAS };
    for who in [Cloud, Patient, Doctor, Operator, Auditor, DataUser] {
        world.refused(who, open.clone(), R::NotAllowed);
    }
    world.accepted(North, open.clone());
    world.refused(Staff, open.clone(), R::AlreadyExists);
    world.refused(South, open, R::AlreadyExists);
    assert_eq!(
        world.get::<Patients>(&ALIAS).custodian,
        North.organisation()
    );

    let link = |alias, who: Who| Action::LinkPatient {
        alias,
        patient: who.id(),
    };
    world.refused(Staff, link(NOWHERE, Patient), R::NotFound);
    world.refused(SouthStaff, link(ALIAS, Patient), R::NotAllowed);
    world.refused(Patient, link(ALIAS, Patient), R::NotAllowed);
    world.refused(Staff, link(ALIAS, Stranger), R::NotFound);
    world.refused(Staff, link(ALIAS, Doctor), R::NotFound);
    world.accepted(
        Stranger,
        support::register(salus_proto::role::Role::Patient, Cloud, Stranger),
    );
    world.refused(Staff, link(ALIAS, Stranger), R::NotFound);
    world.accepted(Staff, link(ALIAS, Patient));
    world.refused(Staff, link(ALIAS, OtherPatient), R::WrongState);
    assert_eq!(world.get::<Patients>(&ALIAS).patient, Some(Patient.id()));
}

#[test]
fn the_custodian_and_the_patient_anchor_and_nobody_else() {
    let mut world = World::with_patient();
    for (who, batch) in [(Staff, 1), (North, 2), (Patient, 3)] {
        let index = world.index;
        world.accepted(who, anchor(batch, ALIAS, None));
        let row = world.get::<Batches>(&BatchId([batch; 16]));
        assert_eq!((row.entry, row.signer), (index, who.id()));
    }
    for who in [SouthStaff, South, OtherPatient, Doctor, Operator, Auditor] {
        world.refused(who, anchor(9, ALIAS, None), R::NotAllowed);
    }
    world.refused(Staff, anchor(9, NOWHERE, None), R::NotFound);
    world.refused(Staff, anchor(1, ALIAS, None), R::AlreadyExists);
    world.refused(Staff, with_count(anchor(9, ALIAS, None), 0), R::OutOfRange);
    let too_many = u32::try_from(BATCH_RECORDS_LIMIT + 1).unwrap();
    world.refused(
        Staff,
        with_count(anchor(9, ALIAS, None), too_many),
        R::OutOfRange,
    );
    world.refused(Doctor, anchor(9, ALIAS, Some(1)), R::NotFound);
}

#[test]
fn access_is_asked_for_decided_once_and_ended_once() {
    let mut world = World::with_patient();
    let classes = [KeyClass::Quasi, KeyClass::Medical];
    // Whoever may not ask does not learn whether the alias exists.
    for who in [OtherPatient, Staff, Operator, Auditor, DataUser, North] {
        let asked = request(&world, 1, &classes);
        world.refused(who, asked, R::NotFound);
    }
    let mut elsewhere = request(&world, 1, &classes);
    if let Action::RequestAccess { alias, .. } = &mut elsewhere {
        *alias = NOWHERE;
    }
    world.refused(Doctor, elsewhere, R::NotFound);
    for bad in [
        &[][..],
        &[KeyClass::Medical, KeyClass::Quasi],
        &[KeyClass::Medical, KeyClass::Medical],
    ] {
        let asked = request(&world, 1, bad);
        world.refused(Doctor, asked, R::OutOfRange);
    }
    let mut late = request(&world, 1, &classes);
    if let Action::RequestAccess { until, .. } = &mut late {
        *until = world.now;
    }
    world.refused(Doctor, late, R::OutOfRange);
    let asked = request(&world, 1, &classes);
    world.accepted(Doctor, asked.clone());
    world.refused(OtherDoctor, asked, R::AlreadyExists);

    world.refused(Staff, decide(9, Decision::Approve), R::NotFound);
    for who in [Doctor, Patient, SouthStaff, Operator] {
        world.refused(who, decide(1, Decision::Approve), R::NotAllowed);
    }
    world.accepted(Staff, decide(1, Decision::Approve));
    world.refused(North, decide(1, Decision::Refuse), R::WrongState);
    world.refused(Doctor, revoke(9), R::NotFound);
    for who in [OtherDoctor, SouthStaff, Operator, OtherPatient] {
        world.refused(who, revoke(1), R::NotAllowed);
    }
    world.accepted(Patient, revoke(1));
    world.refused(Patient, revoke(1), R::WrongState);
    world.refused(Staff, decide(1, Decision::Approve), R::WrongState);

    for (n, who) in [(2, Doctor), (3, Staff), (4, North)] {
        let asked = request(&world, n, &classes);
        world.accepted(Doctor, asked);
        world.accepted(who, revoke(n));
    }
    let asked = request(&world, 5, &KeyClass::ALL);
    world.accepted(Patient, asked);
    world.accepted(North, decide(5, Decision::Refuse));
    world.refused(Patient, revoke(5), R::WrongState);
    let status = world.get::<Accesses>(&AccessId([5; 16])).status;
    assert!(matches!(status, AccessStatus::Refused { by, .. } if by == North.id()));
}

#[test]
fn a_receipt_needs_a_grant_that_covers_it_or_a_relation_that_needs_none() {
    let mut world = World::with_patient();
    let purpose = Purpose::Treatment;
    for who in [Staff, North, Patient, Doctor] {
        // Authorship of single records is for the node to check.
        world.accepted(who, read(None, &[1, 2], purpose));
    }
    for who in [SouthStaff, South, OtherPatient, Operator, Auditor, DataUser] {
        world.refused(who, read(None, &[1], purpose), R::NotGranted);
    }
    for bad in [&[][..], &[2, 1], &[1, 1]] {
        world.refused(Staff, read(None, bad, purpose), R::OutOfRange);
    }
    let many = Action::ReadRecords {
        alias: ALIAS,
        access: None,
        records: (0..=NAMED_RECORDS_LIMIT as u64)
            .map(|n| RecordId((u128::from(n)).to_be_bytes()))
            .collect(),
        purpose,
    };
    world.refused(Staff, many, R::OutOfRange);
    let nowhere = Action::ReadRecords {
        alias: NOWHERE,
        access: None,
        records: vec![RecordId([1; 16])],
        purpose,
    };
    world.refused(Staff, nowhere, R::NotFound);

    world.refused(Doctor, read(Some(1), &[1], purpose), R::NotGranted);
    let asked = request(&world, 1, &[KeyClass::Medical]);
    world.accepted(Doctor, asked);
    world.refused(Doctor, read(Some(1), &[1], purpose), R::NotGranted);
    world.accepted(Staff, decide(1, Decision::Approve));
    world.accepted(Doctor, read(Some(1), &[1], purpose));
    world.refused(OtherDoctor, read(Some(1), &[1], purpose), R::NotGranted);
    world.refused(
        Doctor,
        read(Some(1), &[1], Purpose::Research),
        R::NotGranted,
    );
    world.now = world.now.plus_ms(DAY_MS);
    world.accepted(Doctor, read(Some(1), &[1], purpose));
    world.now = world.now.plus_ms(1);
    world.refused(Doctor, read(Some(1), &[1], purpose), R::NotGranted);

    let asked = request(&world, 2, &[KeyClass::Medical]);
    world.accepted(Doctor, asked);
    world.accepted(Staff, decide(2, Decision::Approve));
    world.accepted(Patient, revoke(2));
    world.refused(Doctor, read(Some(2), &[1], purpose), R::NotGranted);
}

/// A consultation with `Doctor` about records 1 and 5, its question in batch 1.
fn consultation(world: &World) -> Action {
    Action::OpenConsultation {
        consultation: ConsultationId([1; 16]),
        access: AccessId([7; 16]),
        alias: ALIAS,
        doctor: Doctor.id(),
        records: vec![RecordId([1; 16]), RecordId([5; 16])],
        question: BatchId([1; 16]),
        until: world.now.plus_ms(DAY_MS),
    }
}

#[test]
fn a_consultation_is_the_doctors_grant_on_the_chosen_records_and_no_more() {
    let mut world = World::with_patient();
    world.accepted(Patient, anchor(1, ALIAS, None));
    world.accepted(Staff, anchor(2, ALIAS, None));
    let good = consultation(&world);
    let with = |change: &dyn Fn(&mut Action)| {
        let mut action = good.clone();
        change(&mut action);
        action
    };
    for who in [OtherPatient, Staff, Doctor, North] {
        world.refused(who, good.clone(), R::NotFound);
    }
    macro_rules! changed {
        ($field:ident = $value:expr) => {
            with(&|action| {
                if let Action::OpenConsultation { $field, .. } = action {
                    *$field = $value;
                }
            })
        };
    }
    world.refused(Patient, changed!(alias = NOWHERE), R::NotFound);
    world.refused(Patient, changed!(records = vec![]), R::OutOfRange);
    world.refused(
        Patient,
        changed!(records = vec![RecordId([5; 16]); 2]),
        R::OutOfRange,
    );
    world.refused(Patient, changed!(until = support::START), R::OutOfRange);
    world.refused(Patient, changed!(doctor = Staff.id()), R::NotFound);
    world.refused(Patient, changed!(doctor = Stranger.id()), R::NotFound);
    world.refused(Patient, changed!(question = BatchId([9; 16])), R::NotFound);
    world.refused(Patient, changed!(question = BatchId([2; 16])), R::NotFound);
    world.accepted(Patient, good.clone());
    world.refused(Patient, good.clone(), R::AlreadyExists);
    world.refused(
        Patient,
        changed!(consultation = ConsultationId([2; 16])),
        R::AlreadyExists,
    );

    let purpose = Purpose::Treatment;
    world.accepted(Doctor, read(Some(7), &[1, 5], purpose));
    world.refused(Doctor, read(Some(7), &[1, 2], purpose), R::NotGranted);
    world.refused(OtherDoctor, read(Some(7), &[1], purpose), R::NotGranted);
    world.refused(Doctor, revoke(8), R::NotFound);
}

fn answer(consultation: u8, batch: u8, prescriptions: u32) -> Action {
    Action::AnswerConsultation {
        consultation: ConsultationId([consultation; 16]),
        answer: BatchId([batch; 16]),
        prescriptions,
    }
}

#[test]
fn the_doctor_answers_once_with_a_batch_made_for_this_consultation() {
    let mut world = World::with_patient();
    world.accepted(Patient, anchor(1, ALIAS, None));
    let opening = consultation(&world);
    world.accepted(Patient, opening);
    for who in [OtherDoctor, Patient, Staff] {
        world.refused(who, anchor(3, ALIAS, Some(1)), R::NotGranted);
    }
    world.accepted(Staff, Action::OpenPatient { alias: NOWHERE });
    world.refused(Doctor, anchor(3, NOWHERE, Some(1)), R::NotGranted);
    world.accepted(Doctor, anchor(3, ALIAS, Some(1)));
    for who in [OtherDoctor, Patient, Staff, Operator] {
        world.refused(who, answer(1, 3, 1), R::NotFound);
    }
    world.refused(Doctor, answer(9, 3, 1), R::NotFound);
    world.refused(Doctor, answer(1, 9, 1), R::NotFound);
    world.refused(Doctor, answer(1, 1, 1), R::NotFound);
    world.refused(Doctor, answer(1, 3, 2), R::OutOfRange);

    // A second consultation cannot be answered with the first one's batch.
    world.accepted(Patient, anchor(4, ALIAS, None));
    let mut second = consultation(&world);
    if let Action::OpenConsultation {
        consultation,
        access,
        question,
        ..
    } = &mut second
    {
        (*consultation, *access, *question) =
            (ConsultationId([2; 16]), AccessId([8; 16]), BatchId([4; 16]));
    }
    world.accepted(Patient, second);
    world.refused(Doctor, answer(2, 3, 1), R::NotFound);

    world.accepted(Doctor, answer(1, 3, 1));
    world.refused(Doctor, answer(1, 3, 1), R::WrongState);
    world.refused(Doctor, anchor(5, ALIAS, Some(1)), R::NotGranted);
    let row = world.get::<Consultations>(&ConsultationId([1; 16]));
    assert_eq!(row.answer.map(|a| a.prescriptions), Some(1));

    // What the patient withdraws, the doctor no longer answers.
    world.accepted(Doctor, anchor(6, ALIAS, Some(2)));
    world.accepted(Patient, revoke(8));
    world.refused(Doctor, answer(2, 6, 0), R::WrongState);
    world.refused(Doctor, anchor(7, ALIAS, Some(2)), R::NotGranted);
}

#[test]
fn people_of_an_organisation_that_left_are_not_named_any_more() {
    use salus_proto::ids::ProposalId;
    use salus_proto::member::MembershipChange;

    let mut world = World::with_patient();
    world.accepted(Patient, anchor(1, ALIAS, None));
    let proposal = ProposalId([1; 16]);
    let change = MembershipChange::Leave(West.organisation());
    world.accepted(North, Action::ProposeMembership { proposal, change });
    world.accepted(South, Action::ApproveMembership { proposal });
    world.accepted(Cloud, Action::ApproveMembership { proposal });
    // The doctor belongs to West.
    let opening = consultation(&world);
    world.refused(Patient, opening, R::NotFound);
}
