//! People and devices: registering, being authorised, replacing keys, being shut out.

use salus_crypto::label;
use salus_crypto::sign::Ed25519Verifier;
use salus_policy::{Operation, Relation, may};
use salus_proto::command::Refusal;
use salus_proto::encode::to_bytes;
use salus_proto::ids::{ConsortiumId, OrganisationId, PrincipalId};
use salus_proto::keys::PublicKeys;
use salus_proto::role::{Decision, NodeRole, Reason, Role};
use salus_proto::{Digest, TimestampMs};

use crate::apply::Actor;
use crate::membership::members;
use crate::state::Overlay;
use crate::table::{Keys, Principal, Principals, Standing, get, put};

pub(crate) fn register(
    state: &mut Overlay<'_>,
    id: PrincipalId,
    role: Role,
    organisation: OrganisationId,
    keys: &PublicKeys,
    profile: Digest,
    now: TimestampMs,
) -> Result<(), Refusal> {
    let members = members(state)?;
    let member = members.find(organisation).ok_or(Refusal::NotFound)?;
    if role == Role::Organisation {
        return Err(Refusal::NotAllowed);
    }
    // An operator belongs to a cloud node, staff to a hospital: nobody else can vouch for them.
    let fitting = match role {
        Role::Operator => member.roles.contains(&NodeRole::Cloud),
        Role::Staff => member.roles.contains(&NodeRole::Hospital),
        _ => true,
    };
    if !fitting || !keys.well_formed() {
        return Err(Refusal::OutOfRange);
    }
    put::<Keys>(state, &id, keys);
    put::<Principals>(
        state,
        &id,
        &Principal {
            role,
            organisation,
            ed25519: keys.ed25519,
            profile,
            registered: now,
            standing: Standing::Pending,
        },
    );
    Ok(())
}

pub(crate) fn decide(
    state: &mut Overlay<'_>,
    actor: Actor<'_>,
    id: PrincipalId,
    decision: Decision,
    reason: Reason,
    now: TimestampMs,
) -> Result<(), Refusal> {
    let mut subject = get::<Principals>(state, &id).ok_or(Refusal::NotFound)?;
    let own = subject.organisation == actor.principal.organisation
        && matches!(subject.role, Role::Staff | Role::Operator);
    let relation = if own {
        Relation::Custodian
    } else {
        Relation::Stranger
    };
    if !may(actor.principal.role, Operation::AuthoriseProfiles, relation) || id == actor.id {
        return Err(Refusal::NotAllowed);
    }
    if subject.standing != Standing::Pending {
        return Err(Refusal::WrongState);
    }
    subject.standing = match decision {
        Decision::Approve => Standing::Authorised {
            by: Some(actor.id),
            at: now,
        },
        Decision::Refuse => Standing::Refused {
            by: actor.id,
            at: now,
            reason,
        },
    };
    put::<Principals>(state, &id, &subject);
    Ok(())
}

pub(crate) fn rotate(
    state: &mut Overlay<'_>,
    actor: Actor<'_>,
    consortium: ConsortiumId,
    keys: &PublicKeys,
    proof: &[u8; 64],
) -> Result<(), Refusal> {
    if !may(
        actor.principal.role,
        Operation::RotateOwnKeys,
        Relation::Own,
    ) {
        return Err(Refusal::NotAllowed);
    }
    if !keys.well_formed() {
        return Err(Refusal::OutOfRange);
    }
    let message = possession_message(consortium, actor.id, keys);
    Ed25519Verifier::parse(&keys.ed25519)
        .and_then(|key| key.verify(label::KEY_POSSESSION, &message, proof))
        .map_err(|_| Refusal::KeyNotProven)?;
    put::<Keys>(state, &actor.id, keys);
    put::<Principals>(
        state,
        &actor.id,
        &Principal {
            ed25519: keys.ed25519,
            ..actor.principal.clone()
        },
    );
    Ok(())
}

/// What the new key signs to show that its owner holds it: consortium id, principal id, encoded keys.
pub fn possession_message(
    consortium: ConsortiumId,
    principal: PrincipalId,
    keys: &PublicKeys,
) -> Vec<u8> {
    [
        consortium.as_bytes().as_slice(),
        principal.as_bytes(),
        &to_bytes(keys),
    ]
    .concat()
}

pub(crate) fn revoke(
    state: &mut Overlay<'_>,
    actor: Actor<'_>,
    id: PrincipalId,
    reason: Reason,
    now: TimestampMs,
) -> Result<(), Refusal> {
    let mut subject = get::<Principals>(state, &id).ok_or(Refusal::NotFound)?;
    let relation = if id == actor.id {
        Relation::Own
    } else if subject.organisation == actor.principal.organisation {
        Relation::Custodian
    } else {
        Relation::Stranger
    };
    // Organisations leave by vote, not by an operator's hand.
    if !may(actor.principal.role, Operation::RevokePrincipal, relation)
        || subject.role == Role::Organisation
    {
        return Err(Refusal::NotAllowed);
    }
    if matches!(subject.standing, Standing::Revoked { .. }) {
        return Err(Refusal::WrongState);
    }
    subject.standing = Standing::Revoked {
        by: actor.id,
        at: now,
        reason,
    };
    put::<Principals>(state, &id, &subject);
    Ok(())
}

pub(crate) fn report_incident(actor: Actor<'_>) -> Result<(), Refusal> {
    may(
        actor.principal.role,
        Operation::ReportIncident,
        Relation::Stranger,
    )
    .then_some(())
    .ok_or(Refusal::NotAllowed)
}
