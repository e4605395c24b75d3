//! A consortium of one for tests: real contract, real replica, real TLS, real tables.
#![allow(clippy::unwrap_used, reason = "a test ends here, with the reason")]
#![allow(dead_code, reason = "each test uses its part")]

pub(crate) mod person;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use salus_crypto::keys::SecretKeys;
use salus_crypto::label;
use salus_crypto::opaque::ServerSetup;
use salus_proto::encode::to_bytes;
use salus_proto::ids::{ConsortiumId, OrganisationId, PrincipalId};
use salus_proto::member::{Founder, Genesis, Member};
use salus_proto::role::{NodeRole, Role};
use salus_replica::{Config as ReplicaConfig, Contract, NoteSigner, Running, Timing};
use salus_runtime::table::Database;
use salus_runtime::{BlobStore, Clock, SeededEntropy, SystemClock, SystemEntropy};
use salus_server::{Config, Limits, Parts, Policy, Server, TlsFiles};
use salus_vault::Vault;

use person::{Caller, Person};

/// The consortium of the tests.
pub(crate) const CONSORTIUM: ConsortiumId = ConsortiumId([9; 16]);
/// The organisation of the tests.
pub(crate) const ORGANISATION: OrganisationId = OrganisationId([1; 16]);

/// Roles of the founders, one person each.
pub(crate) const ROLES: [Role; 6] = [
    Role::Patient,
    Role::Doctor,
    Role::Staff,
    Role::Operator,
    Role::DataUser,
    Role::Auditor,
];

/// A running node and the people that its genesis file authorises.
pub(crate) struct TestNode {
    pub(crate) server: Option<Server>,
    pub(crate) genesis: Genesis,
    pub(crate) people: BTreeMap<Role, (PrincipalId, Arc<SecretKeys>)>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) authority: String,
    pub(crate) setup: Setup,
    /// The server first, the replica after it.
    running: Option<Running<Contract>>,
    folder: tempfile::TempDir,
}

/// What a test may choose.
#[derive(Clone, Default)]
pub(crate) struct Setup {
    pub(crate) limits: Limits,
    pub(crate) database: Option<String>,
}

struct Notes(Arc<SecretKeys>);

impl NoteSigner for Notes {
    fn organisation(&self) -> OrganisationId {
        ORGANISATION
    }

    fn sign(&self, text: &[u8]) -> Option<([u8; 64], Vec<u8>)> {
        let ed25519 = self.0.ed25519().sign_note(text);
        Some((
            ed25519,
            self.0.ml_dsa_65().sign(label::CHECKPOINT, text).ok()?,
        ))
    }
}

fn secret_keys(number: u8) -> Arc<SecretKeys> {
    let mut entropy = SeededEntropy::with_stream(7, u64::from(number));
    Arc::new(SecretKeys::generate(&mut entropy).unwrap())
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

impl TestNode {
    pub(crate) async fn start() -> Self {
        Self::with(Setup::default()).await
    }

    pub(crate) async fn with(setup: Setup) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let keys = secret_keys(0);
        let people: BTreeMap<Role, (PrincipalId, Arc<SecretKeys>)> = (10_u8..)
            .zip(ROLES)
            .map(|(number, role)| (role, (PrincipalId([number; 16]), secret_keys(number))))
            .collect();
        let engine = [42; 32];
        let member = Member {
            organisation: ORGANISATION,
            name: "North".into(),
            roles: vec![NodeRole::Hospital, NodeRole::Cloud],
            keys: keys.public().clone(),
            engine_key: salus_replica::engine_public(&engine).unwrap(),
            engine_address: free_address().to_string(),
            api: "https://localhost".into(),
        };
        let mut founders: Vec<Founder> = people
            .iter()
            .map(|(role, (principal, keys))| Founder {
                principal: *principal,
                role: *role,
                organisation: ORGANISATION,
                keys: keys.public().clone(),
            })
            .collect();
        founders.sort_by_key(|f| f.principal);
        let genesis = Genesis {
            version: 1,
            consortium: CONSORTIUM,
            name: "test".into(),
            created: clock.now(),
            members: vec![member],
            founders,
        };
        let authority = certificates(folder.path());
        let mut node = Self {
            server: None,
            genesis,
            people,
            clock,
            authority,
            setup,
            running: None,
            folder,
        };
        node.start_again().await;
        node
    }

    /// Starts replica and server over what is in the folder.
    pub(crate) async fn start_again(&mut self) {
        let genesis_bytes = to_bytes(&self.genesis);
        let keys = secret_keys(0);
        let replica = ReplicaConfig {
            engine_key: [42; 32],
            signer: Arc::new(Notes(keys.clone())),
            listen: self.genesis.members[0].engine_address.parse().unwrap(),
            directory: self.folder.path().join("ledger"),
            genesis: salus_crypto::digest::sha256(&genesis_bytes),
            origin: self.genesis.origin(),
            founded_ms: self.genesis.created.0,
            timing: Timing {
                idle: Duration::from_millis(50),
                leader: Duration::from_millis(800),
                certification: Duration::from_millis(1200),
                retry: Duration::from_millis(400),
                skip: Duration::from_millis(2000),
                submit: Duration::from_secs(20),
                clock_skew: Duration::from_secs(5),
            },
            introduction: None,
        };
        let running = salus_replica::start(replica, Contract::new(self.genesis.clone())).unwrap();
        let url =
            self.setup.database.clone().unwrap_or_else(|| {
                format!("sqlite:{}", self.folder.path().join("salus.db").display())
            });
        let config = Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            tls: Some(TlsFiles {
                certificates: self.folder.path().join("node.pem"),
                key: self.folder.path().join("node.key"),
            }),
            organisation: ORGANISATION,
            policy: Policy {
                approve_own_records: true,
            },
            limits: self.setup.limits,
        };
        let database = Database::open(&url).await.unwrap();
        let vault = Vault::new(salus_vault::Parts {
            database: database.clone(),
            blobs: BlobStore::local(&self.folder.path().join("blobs"))
                .await
                .unwrap(),
            clock: self.clock.clone(),
            entropy: Box::new(SystemEntropy),
            organisation: ORGANISATION,
            keys: keys.clone(),
        });
        let parts = Parts {
            ledger: Arc::new(running.replica()),
            vault,
            database,
            keys,
            passwords: ServerSetup::generate(&mut SeededEntropy::new(5)),
            genesis: genesis_bytes.into(),
            clock: self.clock.clone(),
            entropy: Box::new(SystemEntropy),
            training: None,
        };
        self.server = Some(Server::start(config, parts).await.unwrap());
        self.running = Some(running);
    }

    /// Ends server and replica as a clean stop does.
    pub(crate) async fn stop(&mut self) {
        self.server.take().unwrap().stop().await;
        let running = self.running.take().unwrap();
        tokio::task::spawn_blocking(move || running.stop())
            .await
            .unwrap()
            .unwrap();
    }

    pub(crate) fn base(&self) -> String {
        format!(
            "https://localhost:{}",
            self.server.as_ref().unwrap().address().port()
        )
    }

    /// Somebody without a session.
    pub(crate) fn caller(&self) -> Caller {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let authority = reqwest::Certificate::from_pem(self.authority.as_bytes()).unwrap();
        let http = reqwest::Client::builder()
            .tls_certs_only([authority])
            .no_proxy()
            .build()
            .unwrap();
        Caller {
            http,
            base: self.base(),
            token: None,
        }
    }

    /// A founder in a session.
    pub(crate) async fn person(&self, role: Role) -> Person {
        let (id, keys) = &self.people[&role];
        Person::with_keys(&self.caller(), *id, keys.clone())
            .await
            .unwrap()
    }

    /// The organisation in a session.
    pub(crate) async fn organisation(&self) -> Person {
        let id = PrincipalId(ORGANISATION.0);
        Person::with_keys(&self.caller(), id, secret_keys(0))
            .await
            .unwrap()
    }

    /// Waits until the listings show what was written.
    pub(crate) async fn settle(&self) {
        self.server.as_ref().unwrap().settle().await;
    }
}

/// Makes an authority and a certificate for `localhost`; returns the authority's PEM.
pub(crate) fn certificates(folder: &std::path::Path) -> String {
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let certificate = authority.self_signed(&authority_key).unwrap();
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let node = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let node = node.signed_by(&key, &issuer).unwrap();
    std::fs::write(folder.join("node.pem"), node.pem()).unwrap();
    std::fs::write(folder.join("node.key"), key.serialize_pem()).unwrap();
    certificate.pem()
}
