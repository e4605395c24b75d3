//! Members join, leave, are replaced and revoked by the quorum, and by nobody else.

#![expect(clippy::unwrap_used, reason = "a test ends here, with the reason")]

mod support;

use salus_contract::Rejection;
use salus_contract::apply::BadGenesis;
use salus_contract::genesis;
use salus_contract::table::{Members, Proposals};
use salus_proto::command::{Action, Outcome, Refusal};
use salus_proto::ids::ProposalId;
use salus_proto::member::{MembershipChange, TEXT_LIMIT};
use salus_proto::role::{NodeRole, Role};
use support::Who::{self, *};
use support::{World, genesis_of, member, register};

const ID: ProposalId = ProposalId([1; 16]);

fn propose(proposal: ProposalId, change: MembershipChange) -> Action {
    Action::ProposeMembership { proposal, change }
}

fn approve(proposal: ProposalId) -> Action {
    Action::ApproveMembership { proposal }
}

fn east() -> MembershipChange {
    MembershipChange::Join(member(East, NodeRole::Hospital, 0))
}

/// Three of four approve.
fn carried(world: &mut World, id: u8, change: MembershipChange) {
    let id = ProposalId([id; 16]);
    world.accepted(North, propose(id, change));
    world.accepted(South, approve(id));
    world.accepted(Cloud, approve(id));
}

fn names(world: &World) -> Vec<String> {
    let members = Members::of(&world.state).unwrap();
    members.members.into_iter().map(|m| m.name).collect()
}

#[test]
fn a_member_joins_when_the_quorum_has_approved_and_not_before() {
    let mut world = World::new();
    world.accepted(North, propose(ID, east()));
    world.rejected(
        East,
        Action::OpenPatient {
            alias: support::ALIAS,
        },
        &Rejection::UnknownPrincipal,
    );
    world.accepted(South, approve(ID));
    assert_eq!(names(&world).len(), 4);
    world.refused(South, approve(ID), Refusal::AlreadyExists);
    world.refused(North, approve(ID), Refusal::AlreadyExists);
    world.accepted(Cloud, approve(ID));
    assert_eq!(names(&world).len(), 5);
    assert_eq!(Members::of(&world.state).unwrap().version, 1);
    assert_eq!(world.get::<Proposals>(&ID).carried_out, Some(world.now));
    world.refused(West, approve(ID), Refusal::WrongState);
    world.accepted(
        East,
        Action::OpenPatient {
            alias: support::ALIAS,
        },
    );
}

#[test]
fn only_organisations_vote_and_on_sensible_changes() {
    let mut world = World::new();
    for who in [Staff, Patient, Doctor, Operator, Auditor, DataUser] {
        world.refused(who, propose(ID, east()), Refusal::NotAllowed);
        world.refused(who, approve(ID), Refusal::NotAllowed);
    }
    world.refused(North, approve(ID), Refusal::NotFound);
    let mut id = 10;
    let mut refused = |world: &mut World, change, refusal| {
        id += 1;
        world.refused(North, propose(ProposalId([id; 16]), change), refusal);
    };
    let join = |change: &dyn Fn(&mut salus_proto::member::Member)| {
        let mut member = member(East, NodeRole::Hospital, 0);
        change(&mut member);
        MembershipChange::Join(member)
    };
    use MembershipChange as C;
    use Refusal as R;
    refused(
        &mut world,
        C::Join(member(South, NodeRole::Hospital, 0)),
        R::AlreadyExists,
    );
    refused(
        &mut world,
        join(&|m| m.organisation.0 = Doctor.id().0),
        R::AlreadyExists,
    );
    refused(
        &mut world,
        join(&|m| m.engine_key = member(North, NodeRole::Hospital, 0).engine_key),
        R::ImpossibleMembership,
    );
    refused(
        &mut world,
        join(&|m| m.keys.ed25519 = member(North, NodeRole::Hospital, 0).keys.ed25519),
        R::ImpossibleMembership,
    );
    refused(
        &mut world,
        join(&|m| m.keys.ml_dsa_65 = member(North, NodeRole::Hospital, 0).keys.ml_dsa_65),
        R::ImpossibleMembership,
    );
    // Of small order: a valid encoding of no usable key.
    refused(&mut world, join(&|m| m.engine_key = [0; 32]), R::OutOfRange);
    refused(&mut world, join(&|m| m.name.clear()), R::OutOfRange);
    refused(&mut world, join(&|m| m.name = "a\nb".into()), R::OutOfRange);
    refused(
        &mut world,
        join(&|m| m.api = "x".repeat(TEXT_LIMIT + 1)),
        R::OutOfRange,
    );
    refused(&mut world, join(&|m| m.roles.clear()), R::OutOfRange);
    refused(
        &mut world,
        join(&|m| m.roles = vec![NodeRole::Cloud; 2]),
        R::OutOfRange,
    );
    refused(&mut world, join(&|m| m.keys.x_wing.clear()), R::OutOfRange);
    refused(&mut world, C::Leave(East.organisation()), R::NotFound);
    refused(&mut world, C::Revoke(East.organisation()), R::NotFound);
    refused(
        &mut world,
        C::Replace(member(East, NodeRole::Hospital, 0)),
        R::NotFound,
    );
    refused(
        &mut world,
        C::Replace(member(South, NodeRole::Hospital, 0)),
        R::ImpossibleMembership,
    );
    world.accepted(North, propose(ID, east()));
    world.refused(South, propose(ID, east()), R::AlreadyExists);
}

#[test]
fn approvals_count_against_the_membership_they_were_given_in() {
    let mut world = World::new();
    let stale = ProposalId([2; 16]);
    world.accepted(
        North,
        propose(stale, MembershipChange::Leave(West.organisation())),
    );
    carried(&mut world, 3, east());
    world.refused(South, approve(stale), Refusal::WrongState);
}

#[test]
fn whoever_leaves_or_is_revoked_is_shut_out_with_its_people() {
    for change in [MembershipChange::Leave, MembershipChange::Revoke] {
        let mut world = World::new();
        let open = Action::OpenPatient {
            alias: support::ALIAS,
        };
        carried(&mut world, 3, change(West.organisation()));
        assert_eq!(names(&world), ["North", "South", "Cloud"]);
        world.rejected(West, open.clone(), &Rejection::ShutOut);
        world.rejected(Doctor, open, &Rejection::ShutOut);
        world.refused(North, propose(ID, east_again(West)), Refusal::AlreadyExists);
    }
}

fn east_again(who: Who) -> MembershipChange {
    MembershipChange::Join(member(who, NodeRole::Hospital, 1))
}

#[test]
fn a_replaced_key_ends_the_old_one_and_keeps_the_window() {
    let mut world = World::new();
    let open = |n| Action::OpenPatient {
        alias: salus_proto::ids::PatientAlias([n; 16]),
    };
    let old = world.signed(South, open(1));
    carried(
        &mut world,
        3,
        MembershipChange::Replace(member(South, NodeRole::Hospital, 1)),
    );
    assert_eq!(world.submit(&old), Err(Rejection::BadSignature));
    world.rejected(South, open(2), &Rejection::BadSignature);
    world.generation.insert(South, 1);
    world.accepted(South, open(3));
}

#[test]
fn one_member_alone_decides_and_cannot_leave() {
    let mut world = World::of(&[(North, NodeRole::Hospital)]);
    let leave = MembershipChange::Leave(North.organisation());
    world.refused(North, propose(ID, leave), Refusal::ImpossibleMembership);
    world.accepted(North, propose(ID, east()));
    assert_eq!(names(&world), ["North", "East"]);
    let next = ProposalId([2; 16]);
    world.accepted(
        North,
        propose(next, MembershipChange::Leave(East.organisation())),
    );
    assert_eq!(names(&world).len(), 2, "two of two must approve now");
    world.accepted(East, approve(next));
    assert_eq!(names(&world), ["North"]);
}

#[test]
fn a_squatter_on_a_joining_organisations_id_is_put_out_and_its_numbers_with_it() {
    let mut world = World::new();
    world.accepted(North, propose(ID, east()));
    let squat = salus_proto::command::Command {
        consortium: support::CONSORTIUM,
        principal: East.id(),
        sequence: u64::MAX,
        expires: world.now,
        action: register(Role::Patient, Cloud, Stranger),
    };
    let squat = world.sign(Stranger, &squat);
    assert_eq!(world.submit(&squat), Ok(Outcome::Accepted));
    world.accepted(South, approve(ID));
    world.accepted(Cloud, approve(ID));
    world.accepted(
        East,
        Action::OpenPatient {
            alias: support::ALIAS,
        },
    );
}

#[test]
fn a_genesis_file_is_checked_before_anything_starts_from_it() {
    let good = genesis_of(&[(North, NodeRole::Hospital), (Cloud, NodeRole::Cloud)]);
    genesis(&good).unwrap();
    let refused = |change: &dyn Fn(&mut salus_proto::member::Genesis)| {
        let mut bad = good.clone();
        change(&mut bad);
        genesis(&bad).unwrap_err()
    };
    assert_eq!(refused(&|g| g.version = 2), BadGenesis::Version);
    assert_eq!(refused(&|g| g.members.clear()), BadGenesis::Members);
    assert_eq!(refused(&|g| g.members.reverse()), BadGenesis::Members);
    assert_eq!(refused(&|g| g.members[0].name.clear()), BadGenesis::Members);
    assert_eq!(refused(&|g| g.founders.reverse()), BadGenesis::Founders);
    assert_eq!(
        refused(&|g| g.founders[0].role = Role::Organisation),
        BadGenesis::Founders
    );
    assert_eq!(
        refused(&|g| g.founders[0].principal = North.id()),
        BadGenesis::Founders
    );
    assert_eq!(
        refused(&|g| g.founders[0].keys.x_wing.clear()),
        BadGenesis::Founders
    );
    assert_eq!(
        refused(&|g| g.founders[0].organisation = East.organisation()),
        BadGenesis::Founders
    );
}
