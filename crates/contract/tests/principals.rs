//! People register, are decided on, replace their keys and are shut out; and what never gets in.

mod support;

use salus_contract::principals::possession_message;
use salus_contract::table::{Principals, Standing};
use salus_contract::{BlockContext, Overlay, Rejection, apply, next_sequence, prepare};
use salus_crypto::label;
use salus_proto::command::{Action, COMMAND_LIMIT, Command, EXPIRY_LIMIT_MS, Outcome, Refusal};
use salus_proto::encode::to_bytes;
use salus_proto::ids::{ConsortiumId, PatientAlias, PrincipalId};
use salus_proto::role::{Decision, Reason, Role};
use support::Who::{self, *};
use support::{CONSORTIUM, World, public, register};

fn decide(who: Who, decision: Decision) -> Action {
    Action::DecidePrincipal {
        principal: who.id(),
        decision,
        reason: Reason::IdentityVerified,
    }
}

fn revoke(who: Who) -> Action {
    Action::RevokePrincipal {
        principal: who.id(),
        reason: Reason::KeyCompromised,
    }
}

fn open(n: u8) -> Action {
    Action::OpenPatient {
        alias: PatientAlias([n; 16]),
    }
}

fn rotate(who: Who, generation: u8, consortium: ConsortiumId) -> Action {
    let keys = public(who, generation);
    let message = possession_message(consortium, who.id(), &keys);
    Action::RotateKeys {
        proof: who
            .keys(generation)
            .ed25519()
            .sign(label::KEY_POSSESSION, &message),
        keys,
    }
}

#[test]
fn a_person_waits_for_the_operator_and_can_do_nothing_meanwhile() {
    for decision in [Decision::Approve, Decision::Refuse] {
        let mut world = World::new();
        world.accepted(Stranger, register(Role::Patient, Cloud, Stranger));
        assert_eq!(
            world.get::<Principals>(&Stranger.id()).standing,
            Standing::Pending
        );
        world.rejected(Stranger, revoke(Stranger), &Rejection::Pending);
        world.refused(Doctor, decide(Stranger, decision), Refusal::NotAllowed);
        world.refused(North, decide(Stranger, decision), Refusal::NotAllowed);
        world.accepted(Operator, decide(Stranger, decision));
        world.refused(Operator, decide(Stranger, decision), Refusal::WrongState);
        match decision {
            Decision::Approve => world.accepted(Stranger, revoke(Stranger)),
            Decision::Refuse => world.rejected(Stranger, revoke(Stranger), &Rejection::ShutOut),
        }
        world.rejected(
            Stranger,
            register(Role::Patient, Cloud, Stranger),
            &Rejection::AlreadyRegistered,
        );
    }
    let mut world = World::new();
    world.refused(
        Operator,
        decide(Stranger, Decision::Approve),
        Refusal::NotFound,
    );
    world.refused(
        Operator,
        decide(Operator, Decision::Approve),
        Refusal::NotAllowed,
    );
}

#[test]
fn an_organisation_vouches_for_its_own_staff_and_operators_only() {
    for (role, home, voucher, allowed) in [
        (Role::Staff, North, North, true),
        (Role::Staff, North, South, false),
        (Role::Operator, Cloud, Cloud, true),
        (Role::Doctor, North, North, false),
        (Role::Patient, North, North, false),
    ] {
        let mut world = World::new();
        world.accepted(Stranger, register(role, home, Stranger));
        let decision = decide(Stranger, Decision::Approve);
        if allowed {
            world.accepted(voucher, decision);
        } else {
            world.refused(voucher, decision, Refusal::NotAllowed);
        }
    }
}

#[test]
fn registrations_that_fit_no_organisation_are_refused() {
    let mut world = World::new();
    let refused = |world: &mut World, action, refusal| world.refused(Stranger, action, refusal);
    refused(
        &mut world,
        register(Role::Patient, East, Stranger),
        Refusal::NotFound,
    );
    refused(
        &mut world,
        register(Role::Organisation, North, Stranger),
        Refusal::NotAllowed,
    );
    refused(
        &mut world,
        register(Role::Operator, North, Stranger),
        Refusal::OutOfRange,
    );
    refused(
        &mut world,
        register(Role::Staff, Cloud, Stranger),
        Refusal::OutOfRange,
    );
    let mut short = register(Role::Patient, Cloud, Stranger);
    if let Action::Register { keys, .. } = &mut short {
        keys.ml_dsa_65.pop();
    }
    refused(&mut world, short, Refusal::OutOfRange);
    // After all that, the person registers properly.
    world.accepted(Stranger, register(Role::Patient, Cloud, Stranger));
}

#[test]
fn a_registration_uses_up_its_number_even_when_refused() {
    let mut world = World::new();
    let mut command = Command {
        consortium: CONSORTIUM,
        principal: Stranger.id(),
        sequence: 5,
        expires: world.now,
        action: register(Role::Patient, East, Stranger),
    };
    let bytes = world.sign(Stranger, &command);
    assert_eq!(
        world.submit(&bytes),
        Ok(Outcome::Refused(Refusal::NotFound))
    );
    // The same number for a good one: rejected, and nothing is left behind.
    command.action = register(Role::Patient, Cloud, Stranger);
    let bytes = world.sign(Stranger, &command);
    assert_eq!(world.submit(&bytes), Err(Rejection::Replayed));
    command.sequence = 0;
    let bytes = world.sign(Stranger, &command);
    assert_eq!(world.submit(&bytes), Err(Rejection::Replayed));
    command.sequence = 6;
    let bytes = world.sign(Stranger, &command);
    assert_eq!(world.submit(&bytes), Ok(Outcome::Accepted));
    assert_eq!(next_sequence(&world.state, Stranger.id()), 7);
}

#[test]
fn a_rotated_key_counts_from_then_on_and_the_old_one_never_again() {
    let mut world = World::new();
    let waiting = world.signed(Doctor, revoke(Doctor));
    let prepared = prepare(&world.state, &waiting).unwrap();
    world.refused(
        Doctor,
        rotate(Doctor, 1, ConsortiumId([9; 16])),
        Refusal::KeyNotProven,
    );
    let mut short = rotate(Doctor, 1, CONSORTIUM);
    if let Action::RotateKeys { keys, .. } = &mut short {
        keys.x_wing.pop();
    }
    world.refused(Doctor, short, Refusal::OutOfRange);
    world.refused(North, rotate(North, 1, CONSORTIUM), Refusal::NotAllowed);
    world.accepted(Doctor, rotate(Doctor, 1, CONSORTIUM));
    // Verified with the old key before the rotation, executed after it.
    let context = BlockContext {
        height: 9,
        time: world.now,
        index: 9,
    };
    let late = apply(&mut Overlay::new(&world.state), &prepared, context);
    assert_eq!(late.unwrap_err(), Rejection::BadSignature);
    world.rejected(Doctor, revoke(Doctor), &Rejection::BadSignature);
    world.generation.insert(Doctor, 1);
    world.accepted(Doctor, revoke(Doctor));
}

#[test]
fn people_are_shut_out_by_themselves_their_organisation_or_an_operator() {
    for (by, whom, allowed) in [
        (Doctor, Doctor, true),
        (North, Staff, true),
        (Operator, Doctor, true),
        (South, Staff, false),
        (Staff, Doctor, false),
        (Auditor, Doctor, false),
        (Operator, North, false),
        (North, North, false),
    ] {
        let mut world = World::new();
        if allowed {
            world.accepted(by, revoke(whom));
            world.rejected(whom, open(1), &Rejection::ShutOut);
            if by != whom {
                world.refused(by, revoke(whom), Refusal::WrongState);
            }
        } else {
            world.refused(by, revoke(whom), Refusal::NotAllowed);
        }
    }
    World::new().refused(Operator, revoke(Stranger), Refusal::NotFound);
}

#[test]
fn incidents_are_reported_by_organisations() {
    let report = Action::ReportIncident {
        kind: salus_proto::command::IncidentKind::Tampering,
        evidence: salus_proto::Digest([1; 32]),
    };
    World::new().accepted(West, report.clone());
    World::new().refused(Operator, report, Refusal::NotAllowed);
}

#[test]
fn what_is_malformed_foreign_or_forged_never_becomes_an_entry() {
    let mut world = World::new();
    let good = world.signed(Staff, open(1));
    let mut trailing = good.clone();
    trailing.push(0);
    for bad in [
        &[][..],
        &good[..good.len() - 1],
        &trailing,
        &vec![0; COMMAND_LIMIT + 1],
    ] {
        assert!(matches!(world.submit(bad), Err(Rejection::Malformed(_))));
    }
    let mut flipped = good.clone();
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    assert_eq!(world.submit(&flipped), Err(Rejection::BadSignature));
    let mut command = Command {
        consortium: ConsortiumId([1; 16]),
        principal: Staff.id(),
        sequence: 50,
        expires: world.now,
        action: open(1),
    };
    let bytes = world.sign(Staff, &command);
    assert_eq!(world.submit(&bytes), Err(Rejection::WrongConsortium));
    command.consortium = CONSORTIUM;
    let bytes = world.sign(SouthStaff, &command);
    assert_eq!(
        world.submit(&bytes),
        Err(Rejection::BadSignature),
        "in another's name"
    );
    command.principal = PrincipalId([0xee; 16]);
    let bytes = world.sign(Staff, &command);
    assert_eq!(world.submit(&bytes), Err(Rejection::UnknownPrincipal));
    assert_eq!(world.index, 0, "the log did not grow");
}

#[test]
fn a_command_counts_once_in_any_order_within_the_window() {
    let mut world = World::new();
    let mut signed = |sequence: u64, n: u8| {
        let command = Command {
            consortium: CONSORTIUM,
            principal: Staff.id(),
            sequence,
            expires: world.now,
            action: open(n),
        };
        world.sign(Staff, &command)
    };
    let commands: Vec<Vec<u8>> = [(3, 1), (1, 2), (2, 3), (200, 4), (73, 5), (72, 6), (0, 7)]
        .iter()
        .map(|(sequence, n)| signed(*sequence, *n))
        .collect();
    for command in &commands[..5] {
        assert_eq!(world.submit(command), Ok(Outcome::Accepted));
        assert_eq!(world.submit(command), Err(Rejection::Replayed));
    }
    assert_eq!(
        world.submit(&commands[5]),
        Err(Rejection::Replayed),
        "too far behind 200"
    );
    assert_eq!(
        world.submit(&commands[6]),
        Err(Rejection::Replayed),
        "0 is never valid"
    );
    assert_eq!(next_sequence(&world.state, Staff.id()), 201);
    // A refusal uses the number up as well.
    let again = world.signed(SouthStaff, open(1));
    assert_eq!(
        world.submit(&again),
        Ok(Outcome::Refused(Refusal::AlreadyExists))
    );
    assert_eq!(world.submit(&again), Err(Rejection::Replayed));
}

#[test]
fn a_command_counts_until_it_expires_and_cannot_expire_far_ahead() {
    let mut world = World::new();
    let now = world.now;
    let mut signed = |sequence, expires| {
        let command = Command {
            consortium: CONSORTIUM,
            principal: Staff.id(),
            sequence,
            expires,
            action: open(u8::try_from(sequence).unwrap()),
        };
        world.sign(Staff, &command)
    };
    let commands = [
        signed(1, now),
        signed(2, now.plus_ms(EXPIRY_LIMIT_MS)),
        signed(3, now.plus_ms(EXPIRY_LIMIT_MS + 1)),
        signed(4, salus_proto::TimestampMs(now.0 - 1)),
    ];
    assert_eq!(world.submit(&commands[0]), Ok(Outcome::Accepted));
    assert_eq!(world.submit(&commands[1]), Ok(Outcome::Accepted));
    assert_eq!(world.submit(&commands[2]), Err(Rejection::Expired));
    assert_eq!(world.submit(&commands[3]), Err(Rejection::Expired));
    assert_eq!(to_bytes(&next_sequence(&world.state, Staff.id())), [3]);
}
