//! A consortium for tests: keys from numbers, real contract, real sockets.
#![allow(dead_code, reason = "each test uses its part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
use salus_replica::{Config, Contract, NoteSigner, Running, Timing, engine_public};

/// A member's secrets.
pub(crate) struct Keys {
    pub(crate) member: Member,
    pub(crate) engine: [u8; 32],
    pub(crate) secret: SecretKeys,
    note: Ed25519KeyPair,
}

/// The keys of member `number`, listening on `address`.
pub(crate) fn keys(number: u8, address: &str) -> Keys {
    let seed = |use_: u8| {
        let mut seed = [number; 32];
        seed[0] = use_;
        seed
    };
    let secret = SecretKeys::from_seeds(&seed(1), &seed(2), &seed(3)).unwrap();
    let engine = seed(4);
    let member = Member {
        organisation: OrganisationId([number; 16]),
        name: format!("member {number}"),
        roles: vec![NodeRole::Hospital],
        keys: secret.public().clone(),
        engine_key: engine_public(&engine).unwrap(),
        engine_address: address.to_owned(),
        api: "https://localhost".to_owned(),
    };
    let note = Ed25519KeyPair::from_seed_unchecked(&seed(1)).unwrap();
    Keys {
        member,
        engine,
        secret,
        note,
    }
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

/// A directory in memory where there is one: the engine flushes the whole file system when it starts,
/// which takes its time on a disk that others write to.
fn directory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        tempfile::tempdir_in(memory).unwrap()
    } else {
        tempfile::tempdir().unwrap()
    }
}

/// A free port of the loopback interface.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

/// Held by the one consortium that runs at a time: several would time each other out.
static RUNNING: Mutex<()> = Mutex::new(());

/// A founded consortium whose members are started and stopped at will.
pub(crate) struct Consortium {
    pub(crate) genesis: Genesis,
    pub(crate) keys: Vec<Arc<Keys>>,
    pub(crate) timing: Timing,
    directory: tempfile::TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl Consortium {
    /// A consortium of so many members, none of them running. Waits for that of another test to end.
    pub(crate) fn of(members: u8) -> Self {
        // A test that failed has nothing running any more.
        let alone = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        let keys: Vec<_> = (1..=members)
            .map(|number| Arc::new(keys(number, &free_address().to_string())))
            .collect();
        let genesis = Genesis {
            version: 1,
            consortium: ConsortiumId([9; 16]),
            name: "test".to_owned(),
            created: TimestampMs(1_795_341_600_000),
            members: keys.iter().map(|keys| keys.member.clone()).collect(),
            founders: Vec::new(),
        };
        let timing = Timing {
            idle: Duration::from_millis(300),
            leader: Duration::from_millis(800),
            certification: Duration::from_millis(1200),
            retry: Duration::from_millis(400),
            skip: Duration::from_millis(2000),
            submit: Duration::from_secs(20),
            clock_skew: Duration::from_secs(5),
        };
        Self {
            genesis,
            keys,
            timing,
            directory: directory(),
            _alone: alone,
        }
    }

    pub(crate) fn path(&self, at: usize) -> std::path::PathBuf {
        self.directory.path().join(format!("node{at}"))
    }

    pub(crate) fn config(&self, at: usize) -> Config {
        self.config_of(&self.keys[at], &self.path(at))
    }

    pub(crate) fn config_of(&self, keys: &Arc<Keys>, path: &Path) -> Config {
        Config {
            engine_key: keys.engine,
            signer: keys.clone(),
            listen: keys.member.engine_address.parse().unwrap(),
            directory: path.to_owned(),
            genesis: salus_ledger::state::value_digest(&to_bytes(&self.genesis)),
            origin: self.genesis.origin(),
            founded_ms: self.genesis.created.0,
            timing: self.timing.clone(),
            introduction: None,
        }
    }

    pub(crate) fn start(&self, at: usize) -> Running<Contract> {
        salus_replica::start(self.config(at), Contract::new(self.genesis.clone())).unwrap()
    }

    /// A command of member `at` with its `sequence`-th number.
    pub(crate) fn command(&self, at: usize, sequence: u64) -> Bytes {
        let mut evidence = [0; 32];
        evidence[..8].copy_from_slice(&sequence.to_be_bytes());
        let action = Action::ReportIncident {
            kind: IncidentKind::Intrusion,
            evidence: Digest(evidence),
        };
        self.signed(&self.keys[at], sequence, action)
    }

    pub(crate) fn signed(&self, keys: &Keys, sequence: u64, action: Action) -> Bytes {
        let command = to_bytes(&Command {
            consortium: self.genesis.consortium,
            principal: PrincipalId(keys.member.organisation.0),
            sequence,
            expires: TimestampMs(now_ms() + 3_600_000),
            action,
        });
        let signature = keys.secret.ed25519().sign(label::COMMAND, &command);
        to_bytes(&SignedCommand { command, signature }).into()
    }
}

/// Milliseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "the tests run on real time")]
pub(crate) fn now_ms() -> u64 {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    u64::try_from(since.as_millis()).unwrap()
}
