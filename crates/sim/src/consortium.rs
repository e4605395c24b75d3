//! Four members, or one, with keys made from numbers; the same in every run, so made once.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use aws_lc_rs::signature::Ed25519KeyPair;
use bytes::Bytes;
use salus_crypto::keys::SecretKeys;
use salus_crypto::label;
use salus_proto::command::{Action, Command, IncidentKind, SignedCommand};
use salus_proto::encode::to_bytes;
use salus_proto::ids::{ConsortiumId, OrganisationId, PrincipalId};
use salus_proto::member::{Genesis, Member};
use salus_proto::role::NodeRole;
use salus_proto::{Digest, TimestampMs};
use salus_replica::simulated::{Config, Disk};
use salus_replica::{NoteSigner, Timing, engine_public};

/// Members of the simulated consortium; one of them may lie or be away.
pub(crate) const MEMBERS: usize = 4;
const CONSORTIUM: ConsortiumId = ConsortiumId([9; 16]);
/// When it was founded, milliseconds since 1970; the simulated clock starts there.
pub(crate) const FOUNDED_MS: u64 = 1_795_341_600_000;

/// One member's secrets.
pub(crate) struct Keys {
    pub(crate) member: Member,
    engine: [u8; 32],
    secret: SecretKeys,
    note: Ed25519KeyPair,
}

impl NoteSigner for Keys {
    fn organisation(&self) -> OrganisationId {
        self.member.organisation
    }

    fn sign(&self, text: &[u8]) -> Option<([u8; 64], Vec<u8>)> {
        let ed25519 = self.note.sign(text).as_ref().try_into().ok()?;
        Some((
            ed25519,
            self.secret.ml_dsa_65().sign(label::CHECKPOINT, text).ok()?,
        ))
    }
}

/// The members' keys.
pub(crate) static KEYS: LazyLock<Vec<Arc<Keys>>> =
    LazyLock::new(|| (1..=4).filter_map(keys).map(Arc::new).collect());

fn keys(number: u8) -> Option<Keys> {
    let seed = |use_: u8| {
        let mut seed = [number; 32];
        seed[0] = use_;
        seed
    };
    let secret = SecretKeys::from_seeds(&seed(1), &seed(2), &seed(3)).ok()?;
    let engine = seed(4);
    let member = Member {
        organisation: OrganisationId([number; 16]),
        name: format!("member {number}"),
        roles: vec![NodeRole::Hospital],
        keys: secret.public().clone(),
        engine_key: engine_public(&engine).ok()?,
        engine_address: format!("member{number}:1"),
        api: "https://localhost".to_owned(),
    };
    let note = Ed25519KeyPair::from_seed_unchecked(&seed(1)).ok()?;
    Some(Keys {
        member,
        engine,
        secret,
        note,
    })
}

/// What the first `members` of them founded.
pub(crate) fn genesis(members: usize) -> Genesis {
    let founding = KEYS.iter().take(members);
    Genesis {
        version: 1,
        consortium: CONSORTIUM,
        name: "simulated".to_owned(),
        created: TimestampMs(FOUNDED_MS),
        members: founding.map(|keys| keys.member.clone()).collect(),
        founders: Vec::new(),
    }
}

/// The configuration of member `number`, from 0.
pub(crate) fn config(
    genesis: &Genesis,
    number: usize,
    disk: Disk,
    ahead_ms: u64,
) -> Option<Config> {
    let keys = KEYS.get(number)?;
    Some(Config {
        number,
        engine_key: keys.engine,
        signer: keys.clone(),
        genesis: salus_ledger::state::value_digest(&to_bytes(genesis)),
        origin: genesis.origin(),
        founded_ms: FOUNDED_MS,
        timing: Timing {
            idle: Duration::from_millis(1500),
            leader: Duration::from_millis(2000),
            certification: Duration::from_millis(3000),
            retry: Duration::from_millis(1000),
            skip: Duration::from_millis(5000),
            submit: Duration::from_secs(20),
            clock_skew: Duration::from_secs(2),
        },
        ahead_ms,
        disk,
    })
}

/// A command of member `number` with its `sequence`-th number, signed by it.
pub(crate) fn command(number: usize, sequence: u64) -> Option<Bytes> {
    let keys = KEYS.get(number)?;
    let mut evidence = [0; 32];
    evidence[..8].copy_from_slice(&sequence.to_be_bytes());
    let command = to_bytes(&Command {
        consortium: CONSORTIUM,
        principal: PrincipalId(keys.member.organisation.0),
        sequence,
        expires: TimestampMs(FOUNDED_MS + 3_600_000),
        action: Action::ReportIncident {
            kind: IncidentKind::Intrusion,
            evidence: Digest(evidence),
        },
    });
    let signature = keys.secret.ed25519().sign(label::COMMAND, &command);
    Some(to_bytes(&SignedCommand { command, signature }).into())
}
