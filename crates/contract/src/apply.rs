//! From bytes to an entry: the checks every command passes, and the dispatch to what it asks.

use std::collections::BTreeMap;

use salus_crypto::label;
use salus_crypto::sign::Ed25519Verifier;
use salus_proto::command::{
    Action, COMMAND_LIMIT, Command, EXPIRY_LIMIT_MS, Entry, Outcome, Refusal, SignedCommand,
};
use salus_proto::encode::{Malformed, from_bytes, to_bytes};
use salus_proto::ids::PrincipalId;
use salus_proto::member::{Genesis, MEMBERS_LIMIT, Member};
use salus_proto::role::Role;
use salus_proto::{Digest, TimestampMs};

use crate::state::{Overlay, StateRead};
use crate::table::{
    Consortium, ConsortiumRow, Keys, Members, Principal, Principals, Standing, Window, Windows,
    get, put,
};
use crate::{access, membership, principals, records, training};

/// Why bytes cannot become an entry. Nothing was changed and nothing was recorded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// Not the deterministic encoding of a signed command.
    #[error("malformed command")]
    Malformed(#[source] Malformed),
    /// Made for another consortium.
    #[error("the command is for another consortium")]
    WrongConsortium,
    /// The principal is not on the ledger.
    #[error("the principal is not registered with this consortium")]
    UnknownPrincipal,
    /// The signature is not the principal's.
    #[error("the signature does not verify with the principal's key")]
    BadSignature,
    /// The sequence number was used before or is too old.
    #[error("the sequence number was used before; ask the node for the next one and sign again")]
    Replayed,
    /// Too late, or the expiry lies too far ahead.
    #[error("the command has expired or expires more than 24 hours ahead; sign it again")]
    Expired,
    /// The profile still waits for a decision.
    #[error("the profile still waits for the cloud operator's decision")]
    Pending,
    /// The principal was refused or revoked, or its organisation is no longer a member.
    #[error("the principal was refused or revoked, or its organisation has left")]
    ShutOut,
    /// A principal of this id is registered already.
    #[error("a principal of this id is registered already")]
    AlreadyRegistered,
}

/// Where and when a command is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockContext {
    /// Height of the block.
    pub height: u64,
    /// The block's agreed time.
    pub time: TimestampMs,
    /// Position that the entry will have in the log.
    pub index: u64,
}

/// A decoded command whose signature was verified with `key`.
#[derive(Clone, Debug)]
pub struct Prepared {
    bytes: Vec<u8>,
    command: Command,
    key: [u8; 32],
}

impl Prepared {
    /// The signed bytes as received.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The command.
    pub fn command(&self) -> &Command {
        &self.command
    }
}

/// Decodes a signed command and verifies its signature with the key that `state` has for its
/// principal. This is the expensive part; it needs no order and may run in parallel.
pub fn prepare(state: &dyn StateRead, bytes: &[u8]) -> Result<Prepared, Rejection> {
    prepare_with(state, bytes, Ed25519Verifier::parse)
}

/// The same with somebody else's way to [`Ed25519Verifier::parse`] a key, for example one that
/// remembers keys it has parsed before.
pub fn prepare_with(
    state: &dyn StateRead,
    bytes: &[u8],
    parse: impl FnOnce(&[u8; 32]) -> Result<Ed25519Verifier, salus_crypto::Error>,
) -> Result<Prepared, Rejection> {
    let signed: SignedCommand =
        from_bytes(bytes, COMMAND_LIMIT, "a signed command").map_err(Rejection::Malformed)?;
    let command: Command =
        from_bytes(&signed.command, COMMAND_LIMIT, "a command").map_err(Rejection::Malformed)?;
    let key = match &command.action {
        Action::Register { keys, .. } => keys.ed25519,
        _ => {
            get::<Principals>(state, &command.principal)
                .ok_or(Rejection::UnknownPrincipal)?
                .ed25519
        }
    };
    parse(&key)
        .and_then(|key| key.verify(label::COMMAND, &signed.command, &signed.signature))
        .map_err(|_| Rejection::BadSignature)?;
    Ok(Prepared {
        bytes: bytes.to_vec(),
        command,
        key,
    })
}

/// Applies one prepared command. Deterministic; on rejection `state` is unchanged.
pub fn apply(
    state: &mut Overlay<'_>,
    prepared: &Prepared,
    context: BlockContext,
) -> Result<Entry, Rejection> {
    let command = &prepared.command;
    let (actor, window) = admit(state, prepared, context.time)?;
    let mut draft = Overlay::new(state);
    let outcome = match perform(&mut draft, command, actor.as_ref(), context) {
        Ok(()) => {
            let writes = draft.into_writes();
            state.absorb(writes);
            Outcome::Accepted
        }
        Err(refusal) => Outcome::Refused(refusal),
    };
    put::<Windows>(state, &command.principal, &window);
    Ok(Entry {
        index: context.index,
        height: context.height,
        time: context.time,
        signed_command: prepared.bytes.clone(),
        outcome,
    })
}

/// Whether a prepared command would be admitted at `now`: the check at a node's door. The answer
/// may differ when its turn comes.
pub fn admissible(
    state: &dyn StateRead,
    prepared: &Prepared,
    now: TimestampMs,
) -> Result<(), Rejection> {
    admit(state, prepared, now).map(|_| ())
}

/// The next sequence number that a principal may use.
pub fn next_sequence(state: &dyn StateRead, principal: PrincipalId) -> u64 {
    get::<Windows>(state, &principal)
        .unwrap_or_default()
        .highest
        .saturating_add(1)
}

/// The checks before the contract proper. Returns the acting principal, none for a registration, and
/// its window with the command's number used.
fn admit(
    state: &dyn StateRead,
    prepared: &Prepared,
    now: TimestampMs,
) -> Result<(Option<Principal>, Window), Rejection> {
    let command = &prepared.command;
    let consortium = get::<ConsortiumRow>(state, &()).ok_or(Rejection::WrongConsortium)?;
    if command.consortium != consortium.consortium {
        return Err(Rejection::WrongConsortium);
    }
    if command.expires < now || command.expires > now.plus_ms(EXPIRY_LIMIT_MS) {
        return Err(Rejection::Expired);
    }
    let known = get::<Principals>(state, &command.principal);
    let window = || {
        let window = get::<Windows>(state, &command.principal).unwrap_or_default();
        window.mark(command.sequence).ok_or(Rejection::Replayed)
    };
    if matches!(command.action, Action::Register { .. }) {
        return match known {
            Some(_) => Err(Rejection::AlreadyRegistered),
            None => Ok((None, window()?)),
        };
    }
    let actor = known.ok_or(Rejection::UnknownPrincipal)?;
    if actor.ed25519 != prepared.key {
        // The key was rotated between preparation and execution.
        return Err(Rejection::BadSignature);
    }
    match actor.standing {
        Standing::Authorised { .. } => {}
        Standing::Pending => return Err(Rejection::Pending),
        Standing::Refused { .. } | Standing::Revoked { .. } => return Err(Rejection::ShutOut),
    }
    // A member's own principal stands for its membership: much shorter than the list of members.
    if actor.role != Role::Organisation {
        let seat = PrincipalId(actor.organisation.0);
        match get::<Principals>(state, &seat).map(|member| member.standing) {
            Some(Standing::Authorised { .. }) => {}
            _ => return Err(Rejection::ShutOut),
        }
    }
    Ok((Some(actor), window()?))
}

/// Who acts, as the contract's parts see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Actor<'a> {
    pub(crate) id: PrincipalId,
    pub(crate) principal: &'a Principal,
}

fn perform(
    state: &mut Overlay<'_>,
    command: &Command,
    actor: Option<&Principal>,
    context: BlockContext,
) -> Result<(), Refusal> {
    let id = command.principal;
    let now = context.time;
    let Some(principal) = actor else {
        let Action::Register {
            role,
            organisation,
            keys,
            profile,
        } = &command.action
        else {
            return Err(Refusal::UnknownPrincipal);
        };
        return principals::register(state, id, *role, *organisation, keys, *profile, now);
    };
    let actor = Actor { id, principal };
    match &command.action {
        Action::Register { .. } => Err(Refusal::AlreadyExists),
        Action::ProposeMembership { proposal, change } => {
            membership::propose(state, actor, *proposal, change, now)
        }
        Action::ApproveMembership { proposal } => membership::approve(state, actor, *proposal, now),
        Action::DecidePrincipal {
            principal,
            decision,
            reason,
        } => principals::decide(state, actor, *principal, *decision, *reason, now),
        Action::RotateKeys { keys, proof } => {
            principals::rotate(state, actor, command.consortium, keys, proof)
        }
        Action::RevokePrincipal { principal, reason } => {
            principals::revoke(state, actor, *principal, *reason, now)
        }
        Action::OpenPatient { alias } => records::open_patient(state, actor, *alias, now),
        Action::LinkPatient { alias, patient } => {
            records::link_patient(state, actor, *alias, *patient)
        }
        Action::AnchorBatch {
            batch,
            alias,
            manifest,
            anchors_root,
            count,
            consultation,
        } => {
            let anchored = crate::table::Batch {
                alias: *alias,
                signer: id,
                manifest: *manifest,
                anchors_root: *anchors_root,
                count: *count,
                entry: context.index,
                consultation: *consultation,
            };
            records::anchor(state, actor, *batch, &anchored, now)
        }
        Action::RequestAccess {
            access,
            alias,
            classes,
            purpose,
            until,
        } => access::request(
            state, actor, *access, *alias, classes, *purpose, *until, now,
        ),
        Action::DecideAccess {
            access,
            decision,
            reason,
            basis,
        } => access::decide(state, actor, *access, *decision, *reason, *basis, now),
        Action::RevokeAccess { access, reason } => {
            access::revoke(state, actor, *access, *reason, now)
        }
        Action::OpenConsultation {
            consultation,
            access,
            alias,
            doctor,
            records,
            question,
            until,
        } => access::open_consultation(
            state,
            actor,
            &access::Opening {
                consultation: *consultation,
                access: *access,
                alias: *alias,
                doctor: *doctor,
                records,
                question: *question,
                until: *until,
            },
            now,
        ),
        Action::AnswerConsultation {
            consultation,
            answer,
            prescriptions,
        } => access::answer(state, actor, *consultation, *answer, *prescriptions, now),
        Action::ReadRecords {
            alias,
            access,
            records,
            purpose,
        } => access::read(state, actor, *alias, *access, records, *purpose, now),
        Action::ReportIncident { .. } => principals::report_incident(actor),
        Action::OfferData { data } => training::offer(state, actor, data, now),
        Action::ProposeJob { plan } => training::propose(state, actor, plan, context),
        Action::DecideJob {
            job,
            plan,
            decision,
        } => training::decide(state, actor, *job, *plan, *decision, context),
        Action::OpenRound { opened } => training::open(state, actor, opened, context),
        Action::SendUpdate { update } => training::update(state, actor, update, context),
        Action::CloseRound { closed } => training::close(state, actor, closed, context),
        Action::PublishRound { result } => training::publish(state, actor, result, context),
        Action::UseModel {
            job,
            model,
            alias,
            access,
            record,
        } => {
            training::model_of(state, *job, *model)?;
            access::judge(state, actor, *alias, *access, *record, now)
        }
    }
}

/// A genesis file that no consortium can start from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadGenesis {
    /// Not version 1.
    #[error("this genesis file has another version; this program knows version 1")]
    Version,
    /// No members, too many, unsorted, or one with a field out of range.
    #[error("the members are empty, too many, unsorted, or one has a field out of range")]
    Members,
    /// Founders unsorted, with a role or an organisation that cannot be, or malformed keys.
    #[error("the founders are unsorted or one has a field out of range")]
    Founders,
}

/// The first state: what a genesis file says, as writes on an empty state.
pub fn genesis(genesis: &Genesis) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, BadGenesis> {
    if genesis.version != 1 {
        return Err(BadGenesis::Version);
    }
    let sorted = genesis
        .members
        .windows(2)
        .all(|w| w[0].organisation < w[1].organisation);
    let count = genesis.members.len();
    if !sorted || count == 0 || count > MEMBERS_LIMIT {
        return Err(BadGenesis::Members);
    }
    if !genesis.members.iter().all(membership::well_formed) {
        return Err(BadGenesis::Members);
    }
    let founders_sorted = genesis
        .founders
        .windows(2)
        .all(|w| w[0].principal < w[1].principal);
    if !founders_sorted {
        return Err(BadGenesis::Founders);
    }

    let empty = BTreeMap::new();
    let mut state = Overlay::new(&empty);
    put::<ConsortiumRow>(
        &mut state,
        &(),
        &Consortium {
            consortium: genesis.consortium,
            name: genesis.name.clone(),
            created: genesis.created,
        },
    );
    let members = Members {
        version: 0,
        members: genesis.members.clone(),
    };
    for member in &genesis.members {
        seat(&mut state, member, genesis.created);
    }
    for founder in &genesis.founders {
        let known = members.find(founder.organisation).is_some()
            && founder.role != Role::Organisation
            && founder.keys.well_formed()
            && get::<Principals>(&state, &founder.principal).is_none();
        if !known {
            return Err(BadGenesis::Founders);
        }
        put::<Keys>(&mut state, &founder.principal, &founder.keys);
        put::<Principals>(
            &mut state,
            &founder.principal,
            &Principal {
                role: founder.role,
                organisation: founder.organisation,
                ed25519: founder.keys.ed25519,
                profile: Digest::default(),
                registered: genesis.created,
                standing: Standing::Authorised {
                    by: None,
                    at: genesis.created,
                },
            },
        );
    }
    members.write(&mut state);
    Ok(state
        .into_writes()
        .into_iter()
        .filter_map(|(k, v)| Some((k, v?)))
        .collect())
}

/// Gives a member organisation its principal.
pub(crate) fn seat(state: &mut Overlay<'_>, member: &Member, now: TimestampMs) {
    let id = member.principal();
    put::<Keys>(state, &id, &member.keys);
    put::<Principals>(
        state,
        &id,
        &Principal {
            role: Role::Organisation,
            organisation: member.organisation,
            ed25519: member.keys.ed25519,
            profile: Digest::default(),
            registered: now,
            standing: Standing::Authorised { by: None, at: now },
        },
    );
}

/// The bytes of an entry as they stand in the log.
pub fn entry_bytes(entry: &Entry) -> Vec<u8> {
    to_bytes(entry)
}
