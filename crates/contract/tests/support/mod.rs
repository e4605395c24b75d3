//! What the contract's tests share: four organisations, people of every role, and a check that a no
//! changes nothing but what it may.

#![expect(clippy::unwrap_used, reason = "a test ends here, with the reason")]
#![allow(dead_code, reason = "every test file uses its own part")]

use std::collections::BTreeMap;

use salus_contract::table::{Table, Windows};
use salus_contract::{BlockContext, Overlay, Rejection, StateRead, apply, genesis, prepare};
use salus_crypto::keys::SecretKeys;
use salus_crypto::label;
use salus_crypto::sign::Ed25519Signer;
use salus_proto::command::{Action, Command, Outcome, Refusal, SignedCommand};
use salus_proto::encode::to_bytes;
use salus_proto::ids::{ConsortiumId, OrganisationId, PatientAlias, PrincipalId};
use salus_proto::keys::PublicKeys;
use salus_proto::member::{Founder, Genesis, Member};
use salus_proto::role::{NodeRole, Role};
use salus_proto::{Digest, TimestampMs};

pub(crate) type State = BTreeMap<Vec<u8>, Vec<u8>>;

pub(crate) const CONSORTIUM: ConsortiumId = ConsortiumId([0xc0; 16]);
pub(crate) const START: TimestampMs = TimestampMs(1_795_341_600_000);
pub(crate) const ALIAS: PatientAlias = PatientAlias([0xa1; 16]);

/// Everybody whom tests name. Three hospitals and a cloud are members; the rest are founders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    North = 1,
    South,
    West,
    Cloud,
    Staff,
    SouthStaff,
    Patient,
    OtherPatient,
    Doctor,
    OtherDoctor,
    Operator,
    Auditor,
    DataUser,
    /// Not registered.
    Stranger,
    /// An organisation that is no member.
    East,
}

use Who::*;

const MEMBERS: [(Who, NodeRole); 4] = [
    (North, NodeRole::Hospital),
    (South, NodeRole::Hospital),
    (West, NodeRole::Hospital),
    (Cloud, NodeRole::Cloud),
];
const FOUNDERS: [(Who, Role, Who); 9] = [
    (Staff, Role::Staff, North),
    (SouthStaff, Role::Staff, South),
    (Patient, Role::Patient, Cloud),
    (OtherPatient, Role::Patient, Cloud),
    (Doctor, Role::Doctor, West),
    (OtherDoctor, Role::Doctor, North),
    (Operator, Role::Operator, Cloud),
    (Auditor, Role::Auditor, Cloud),
    (DataUser, Role::DataUser, Cloud),
];

impl Who {
    pub(crate) fn id(self) -> PrincipalId {
        PrincipalId([self as u8; 16])
    }

    pub(crate) fn organisation(self) -> OrganisationId {
        OrganisationId([self as u8; 16])
    }

    /// The first keys, or, with another `generation`, later ones.
    pub(crate) fn keys(self, generation: u8) -> SecretKeys {
        let n = (self as u8) * 8 + generation;
        SecretKeys::from_seeds(
            &[n; 32],
            &[n.wrapping_add(100); 32],
            &[n.wrapping_add(200); 32],
        )
        .unwrap()
    }
}

pub(crate) fn public(who: Who, generation: u8) -> PublicKeys {
    who.keys(generation).public().clone()
}

fn engine_key(number: u8) -> [u8; 32] {
    Ed25519Signer::from_seed(&[number; 32]).unwrap().public()
}

pub(crate) fn member(who: Who, role: NodeRole, generation: u8) -> Member {
    Member {
        organisation: who.organisation(),
        name: format!("{who:?}"),
        roles: vec![role],
        keys: public(who, generation),
        engine_key: engine_key(who as u8 + 100 * generation),
        engine_address: "127.0.0.1:1".into(),
        api: "https://127.0.0.1:2".into(),
    }
}

/// A genesis file of these members, with every founder whose organisation is one of them.
pub(crate) fn genesis_of(members: &[(Who, NodeRole)]) -> Genesis {
    let seated = |who: &Who| members.iter().any(|(member, _)| member == who);
    Genesis {
        version: 1,
        consortium: CONSORTIUM,
        name: "test".into(),
        created: START,
        members: members
            .iter()
            .map(|(who, role)| member(*who, *role, 0))
            .collect(),
        founders: FOUNDERS
            .iter()
            .filter(|(_, _, organisation)| seated(organisation))
            .map(|(who, role, organisation)| Founder {
                principal: who.id(),
                role: *role,
                organisation: organisation.organisation(),
                keys: public(*who, 0),
            })
            .collect(),
    }
}

pub(crate) struct World {
    pub(crate) state: State,
    pub(crate) now: TimestampMs,
    pub(crate) index: u64,
    /// Which keys somebody signs with.
    pub(crate) generation: BTreeMap<Who, u8>,
    sequence: BTreeMap<Who, u64>,
    signers: BTreeMap<(Who, u8), SecretKeys>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::of(&MEMBERS)
    }

    pub(crate) fn of(members: &[(Who, NodeRole)]) -> Self {
        Self {
            state: genesis(&genesis_of(members)).unwrap(),
            now: START.plus_ms(1_000),
            index: 0,
            generation: BTreeMap::new(),
            sequence: BTreeMap::new(),
            signers: BTreeMap::new(),
        }
    }

    /// Signs with the next sequence number and a minute to live.
    pub(crate) fn signed(&mut self, who: Who, action: Action) -> Vec<u8> {
        let sequence = self.sequence.entry(who).or_default();
        *sequence += 1;
        let command = Command {
            consortium: CONSORTIUM,
            principal: who.id(),
            sequence: *sequence,
            expires: self.now.plus_ms(60_000),
            action,
        };
        self.sign(who, &command)
    }

    pub(crate) fn sign(&mut self, who: Who, command: &Command) -> Vec<u8> {
        let generation = self.generation.get(&who).copied().unwrap_or(0);
        let keys = self
            .signers
            .entry((who, generation))
            .or_insert_with(|| who.keys(generation));
        let command = to_bytes(command);
        let signature = keys.ed25519().sign(label::COMMAND, &command);
        to_bytes(&SignedCommand { command, signature })
    }

    /// Prepares and applies bytes. A rejection must change nothing, a refusal nothing but the
    /// sequence window of whoever signed.
    pub(crate) fn submit(&mut self, bytes: &[u8]) -> Result<Outcome, Rejection> {
        let before = self.state.clone();
        let context = BlockContext {
            height: self.index + 1,
            time: self.now,
            index: self.index,
        };
        let applied = prepare(&self.state, bytes).map(|prepared| {
            let mut overlay = Overlay::new(&self.state);
            let applied = apply(&mut overlay, &prepared, context);
            let principal = prepared.command().principal;
            (applied, overlay.into_writes(), principal)
        });
        let (entry, writes, principal) = match applied {
            Ok((Ok(entry), writes, principal)) => (entry, writes, principal),
            Ok((Err(rejection), writes, _)) => {
                assert!(writes.is_empty(), "a rejected command wrote something");
                return Err(rejection);
            }
            Err(rejection) => return Err(rejection),
        };
        for (key, value) in writes {
            match value {
                Some(value) => self.state.insert(key, value),
                None => self.state.remove(&key),
            };
        }
        assert_eq!((entry.index, entry.time), (self.index, self.now));
        assert_eq!(entry.signed_command, bytes);
        self.index += 1;
        if let Outcome::Refused(_) = entry.outcome {
            let window = Windows::key(&principal);
            let mut after = self.state.clone();
            match before.get(&window) {
                Some(value) => after.insert(window, value.clone()),
                None => after.remove(&window),
            };
            assert!(
                after == before,
                "a refused command changed more than its window"
            );
        }
        Ok(entry.outcome)
    }

    pub(crate) fn act(&mut self, who: Who, action: Action) -> Result<Outcome, Rejection> {
        let bytes = self.signed(who, action);
        self.submit(&bytes)
    }

    pub(crate) fn accepted(&mut self, who: Who, action: Action) {
        let shown = format!("{who:?}: {action:?}");
        assert_eq!(self.act(who, action), Ok(Outcome::Accepted), "{shown}");
    }

    pub(crate) fn refused(&mut self, who: Who, action: Action, refusal: Refusal) {
        let shown = format!("{who:?}: {action:?}");
        assert_eq!(
            self.act(who, action),
            Ok(Outcome::Refused(refusal)),
            "{shown}"
        );
    }

    pub(crate) fn rejected(&mut self, who: Who, action: Action, rejection: &Rejection) {
        let shown = format!("{who:?}: {action:?}");
        assert_eq!(self.act(who, action).as_ref(), Err(rejection), "{shown}");
    }

    pub(crate) fn get<T: Table>(&self, key: &T::Key) -> T::Value {
        salus_contract::table::get::<T>(&self.state as &dyn StateRead, key).unwrap()
    }

    /// North opens an alias and links the patient to it.
    pub(crate) fn with_patient() -> Self {
        let mut world = Self::new();
        world.accepted(Staff, Action::OpenPatient { alias: ALIAS });
        world.accepted(
            Staff,
            Action::LinkPatient {
                alias: ALIAS,
                patient: Patient.id(),
            },
        );
        world
    }
}

pub(crate) fn register(role: Role, organisation: Who, who: Who) -> Action {
    Action::Register {
        role,
        organisation: organisation.organisation(),
        keys: public(who, 0),
        profile: Digest([7; 32]),
    }
}
