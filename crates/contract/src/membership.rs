//! Joining, leaving, replacing and revoking members, by quorum of the members.

use salus_crypto::sign::Ed25519Verifier;
use salus_policy::{Operation, Relation, may};
use salus_proto::TimestampMs;
use salus_proto::command::Refusal;
use salus_proto::ids::{OrganisationId, ProposalId};
use salus_proto::member::{MEMBERS_LIMIT, Member, MembershipChange, TEXT_LIMIT, quorum};
use salus_proto::role::Reason;

use crate::apply::{Actor, seat};
use crate::state::{Overlay, StateRead};
use crate::table::{
    Members, Principals, Proposal, Proposals, Standing, Table as _, Windows, get, put,
};

pub(crate) fn propose(
    state: &mut Overlay<'_>,
    actor: Actor<'_>,
    id: ProposalId,
    change: &MembershipChange,
    now: TimestampMs,
) -> Result<(), Refusal> {
    allow(actor)?;
    if get::<Proposals>(state, &id).is_some() {
        return Err(Refusal::AlreadyExists);
    }
    let members = members(state)?;
    changed(&members, change)?;
    if let MembershipChange::Join(member) = change
        && get::<Principals>(state, &member.principal()).is_some()
    {
        return Err(Refusal::AlreadyExists);
    }
    let proposal = Proposal {
        change: change.clone(),
        approvals: Vec::new(),
        version: members.version,
        carried_out: None,
    };
    cast(state, actor, id, proposal, now)
}

pub(crate) fn approve(
    state: &mut Overlay<'_>,
    actor: Actor<'_>,
    id: ProposalId,
    now: TimestampMs,
) -> Result<(), Refusal> {
    allow(actor)?;
    let proposal = get::<Proposals>(state, &id).ok_or(Refusal::NotFound)?;
    // Approvals count against the membership that they were given in; after any change the
    // proposal has to be made again.
    if proposal.carried_out.is_some() || proposal.version != members(state)?.version {
        return Err(Refusal::WrongState);
    }
    cast(state, actor, id, proposal, now)
}

/// Adds the actor's approval and carries the change out when it completes the quorum.
fn cast(
    state: &mut Overlay<'_>,
    actor: Actor<'_>,
    id: ProposalId,
    mut proposal: Proposal,
    now: TimestampMs,
) -> Result<(), Refusal> {
    let organisation = actor.principal.organisation;
    let Err(place) = proposal.approvals.binary_search(&organisation) else {
        return Err(Refusal::AlreadyExists);
    };
    proposal.approvals.insert(place, organisation);
    let members = members(state)?;
    if proposal.approvals.len() >= quorum(members.members.len()) {
        let next = changed(&members, &proposal.change)?;
        match &proposal.change {
            MembershipChange::Join(member) => {
                // Somebody may have registered under this id while the vote was open, and used up
                // its sequence numbers.
                state.remove(Windows::key(&member.principal()));
                seat(state, member, now);
            }
            MembershipChange::Replace(member) => seat(state, member, now),
            MembershipChange::Leave(organisation) => {
                unseat(state, actor, *organisation, Reason::LeftRole, now);
            }
            MembershipChange::Revoke(organisation) => {
                unseat(state, actor, *organisation, Reason::KeyCompromised, now);
            }
        }
        next.write(state);
        proposal.carried_out = Some(now);
    }
    put::<Proposals>(state, &id, &proposal);
    Ok(())
}

fn allow(actor: Actor<'_>) -> Result<(), Refusal> {
    may(
        actor.principal.role,
        Operation::ChangeMembership,
        Relation::Stranger,
    )
    .then_some(())
    .ok_or(Refusal::NotAllowed)
}

pub(crate) fn members(state: &dyn StateRead) -> Result<Members, Refusal> {
    Members::of(state).ok_or(Refusal::WrongConsortium)
}

/// The membership after a change, or why it cannot be.
fn changed(members: &Members, change: &MembershipChange) -> Result<Members, Refusal> {
    let mut list = members.members.clone();
    let place = |id: OrganisationId| list.binary_search_by_key(&id, |m| m.organisation);
    match change {
        MembershipChange::Join(member) => {
            let Err(at) = place(member.organisation) else {
                return Err(Refusal::AlreadyExists);
            };
            if !can_validate(member) || list.len() >= MEMBERS_LIMIT {
                return Err(Refusal::OutOfRange);
            }
            list.insert(at, member.clone());
        }
        MembershipChange::Replace(member) => {
            let at = place(member.organisation).map_err(|_| Refusal::NotFound)?;
            if !can_validate(member) {
                return Err(Refusal::OutOfRange);
            }
            match list.get_mut(at) {
                Some(slot) if slot != member => *slot = member.clone(),
                _ => return Err(Refusal::ImpossibleMembership),
            }
        }
        MembershipChange::Leave(organisation) | MembershipChange::Revoke(organisation) => {
            let at = place(*organisation).map_err(|_| Refusal::NotFound)?;
            list.remove(at);
        }
    }
    // Otherwise one signer could count as two.
    let distinct = |a: &Member, b: &Member| {
        a.engine_key != b.engine_key
            && a.keys.ed25519 != b.keys.ed25519
            && a.keys.ml_dsa_65 != b.keys.ml_dsa_65
    };
    let distinct_keys = list
        .iter()
        .enumerate()
        .all(|(i, a)| list.iter().skip(i + 1).all(|b| distinct(a, b)));
    if list.is_empty() || !distinct_keys {
        return Err(Refusal::ImpossibleMembership);
    }
    Ok(Members {
        version: members.version.saturating_add(1),
        members: list,
    })
}

fn unseat(
    state: &mut Overlay<'_>,
    actor: Actor<'_>,
    organisation: OrganisationId,
    reason: Reason,
    now: TimestampMs,
) {
    let id = salus_proto::ids::PrincipalId(organisation.0);
    if let Some(mut principal) = get::<Principals>(state, &id) {
        principal.standing = Standing::Revoked {
            by: actor.id,
            at: now,
            reason,
        };
        put::<Principals>(state, &id, &principal);
    }
}

/// Whether a member to come is well formed and its validator's key usable: the engine could not go on
/// with another.
fn can_validate(member: &Member) -> bool {
    well_formed(member) && Ed25519Verifier::parse(&member.engine_key).is_ok()
}

/// Whether every field of a member is in range.
pub(crate) fn well_formed(member: &Member) -> bool {
    let texts = [&member.name, &member.engine_address, &member.api];
    member.keys.well_formed()
        && !member.roles.is_empty()
        && member.roles.windows(2).all(|w| w[0] < w[1])
        && texts.iter().all(|t| !t.is_empty() && t.len() <= TEXT_LIMIT)
        && !member.name.chars().any(char::is_control)
}
