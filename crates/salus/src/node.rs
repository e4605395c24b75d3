//! One running node: ledger, tables, blobs, vault and API wired together from its configuration.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use anyhow::{Context as _, ensure};
use salus_client::node::Node;
use salus_client::person::Person;
use salus_crypto::digest::sha256;
use salus_crypto::keys::SecretKeys;
use salus_crypto::label;
use salus_crypto::opaque::ServerSetup;
use salus_proto::encode::{from_base64url, to_base64url, to_bytes};
use salus_proto::ids::{OrganisationId, PrincipalId};
use salus_proto::member::{Genesis, Member};
use salus_replica::{Contract, NoteSigner, Running, Timing};
use salus_runtime::Shelf;
use salus_runtime::blob::{BlobStore, S3Config};
use salus_runtime::clock::Clock;
use salus_runtime::entropy::SystemEntropy;
use salus_runtime::table::Database;
use salus_server::training::Training;
use salus_server::{Config, Limits, Parts, Policy, Server, TlsFiles};
use salus_vault::Vault;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use crate::config::{NodeConfig, OwnRecords};
use crate::files::{self, KeyFiles, NodeKeys};
use crate::membership;
use crate::replication::Outbox;
use crate::scrub::{Others, Scrubber};
use crate::training::SiteTrainer;

/// A node that serves until it is stopped.
#[derive(Debug)]
pub(crate) struct RunningNode {
    server: Server,
    replica: Running<Contract>,
    /// What sends replicas, scrubs, and moves key wraps.
    background: Vec<JoinHandle<()>>,
    /// Who it is.
    pub(crate) member: Member,
    genesis: Genesis,
    key_files: KeyFiles,
}

impl RunningNode {
    /// Starts a node. Returns once its API takes requests.
    pub(crate) async fn start(config: &NodeConfig, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        let genesis = files::read_genesis(&config.genesis)?;
        let key_files = KeyFiles::around(&config.keys);
        let NodeKeys {
            organisation,
            keys,
            engine_seed,
            ..
        } = NodeKeys::load(&config.keys)?;
        let keys = Arc::new(keys);
        let member = member(config, &genesis, organisation)?;
        let introduction = match &config.introduction {
            Some(path) => Some(membership::introduction(path, &genesis)?),
            None => None,
        };
        let earlier = match key_files.earlier.exists() {
            true => Some(NodeKeys::load(&key_files.earlier)?.keys),
            false => None,
        };
        std::fs::create_dir_all(&config.data)
            .with_context(|| format!("cannot make the folder {}", config.data.display()))?;

        let genesis_bytes = to_bytes(&genesis);
        let replica = salus_replica::start(
            salus_replica::Config {
                engine_key: *engine_seed,
                signer: Arc::new(Signer {
                    organisation,
                    keys: Arc::clone(&keys),
                }),
                listen: address(&config.engine.listen)?,
                directory: config.data.join("ledger"),
                genesis: sha256(&genesis_bytes),
                origin: genesis.origin(),
                founded_ms: genesis.created.0,
                timing: Timing::default(),
                introduction,
            },
            Contract::new(genesis.clone()),
        )
        .context("the ledger does not start")?;

        let database = Database::open(&tables(config))
            .await
            .context("the tables do not open")?;
        let moves = earlier.is_some();
        let parts = salus_vault::Parts {
            database: database.clone(),
            blobs: blobs(config)
                .await
                .context("the blob store does not open")?,
            clock: Arc::clone(&clock),
            entropy: Box::new(SystemEntropy),
            organisation,
            keys: Arc::clone(&keys),
        };
        let vault = Vault::replacing(parts, earlier);
        let mut background = Vec::new();
        if moves {
            let moving =
                membership::move_key_wraps(vault.clone(), key_files.clone(), Arc::clone(&clock));
            background.push(tokio::spawn(moving));
        }
        for name in &config.policy.replicate_to {
            let outbox = Outbox {
                vault: vault.clone(),
                organisation,
                keys: Arc::clone(&keys),
                clock: Arc::clone(&clock),
                ledger: replica.replica(),
                replica: name.clone(),
                authority: config.api.authority.clone(),
            };
            background.push(tokio::spawn(outbox.run()));
        }
        if let rate @ 1.. = config.storage.scrub_mib_per_s {
            let scrubber = Scrubber {
                vault: vault.clone(),
                clock: Arc::clone(&clock),
                others: Others {
                    organisation,
                    keys: Arc::clone(&keys),
                    clock: Arc::clone(&clock),
                    ledger: replica.replica(),
                    authority: config.api.authority.clone(),
                    turn: AtomicUsize::new(0),
                },
                bytes_per_s: u64::from(rate) << 20,
                position: config.data.join("scrub.position"),
            };
            background.push(tokio::spawn(scrubber.run()));
        }
        let jobs = config.data.join("training");
        let training = Training {
            shelf: Shelf::open(&jobs.join("shelf"))
                .await
                .context("the folder of federated jobs does not open")?,
            trainer: Arc::new(SiteTrainer::new(vault.clone(), &jobs)),
            reach: connect(&member.api, &config.api.authority)?,
        };
        let policy = Policy {
            approve_own_records: config.policy.own_records == OwnRecords::Approve,
        };
        let server = Server::start(
            Config {
                listen: address(&config.api.listen)?,
                tls: Some(TlsFiles {
                    certificates: config.api.certificate.clone(),
                    key: config.api.private_key.clone(),
                }),
                organisation,
                policy,
                limits: Limits::default(),
            },
            Parts {
                ledger: Arc::new(replica.replica()),
                database,
                vault,
                keys,
                passwords: password_setup(&config.data.join("passwords.setup"))?,
                genesis: genesis_bytes.into(),
                clock,
                entropy: Box::new(SystemEntropy),
                training: Some(training),
            },
        )
        .await
        .context("the API does not start")?;
        Ok(Self {
            server,
            replica,
            background,
            member,
            genesis,
            key_files,
        })
    }

    /// Waits until the keys that are to replace this node's are in force; then it has to stop and
    /// start again with them.
    pub(crate) async fn keys_replaced(&self) -> anyhow::Result<&KeyFiles> {
        let (replica, organisation) = (self.replica.replica(), self.member.organisation);
        membership::next_keys_in_force(&replica, organisation, &self.genesis, &self.key_files)
            .await?;
        Ok(&self.key_files)
    }

    /// Where the API is.
    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Lets requests finish and stops.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.background.iter().for_each(JoinHandle::abort);
        self.server.stop().await;
        tokio::task::spawn_blocking(|| self.replica.stop())
            .await?
            .context("the ledger had stopped")
    }
}

/// Signs this member's checkpoints.
struct Signer {
    organisation: OrganisationId,
    keys: Arc<SecretKeys>,
}

impl NoteSigner for Signer {
    fn organisation(&self) -> OrganisationId {
        self.organisation
    }

    fn sign(&self, text: &[u8]) -> Option<([u8; 64], Vec<u8>)> {
        let ml_dsa_65 = self.keys.ml_dsa_65().sign(label::CHECKPOINT, text).ok()?;
        Some((self.keys.ed25519().sign_note(text), ml_dsa_65))
    }
}

/// What an organisation is as a member: by its card, or by the genesis file.
pub(crate) fn member(
    config: &NodeConfig,
    genesis: &Genesis,
    organisation: OrganisationId,
) -> anyhow::Result<Member> {
    if let Some(path) = &config.card {
        let member = files::read_card(path)?.member;
        ensure!(
            member.organisation == organisation,
            "{} is the card of another organisation than the key file's",
            path.display()
        );
        return Ok(member);
    }
    let mut members = genesis.members.iter();
    members
        .find(|m| m.organisation == organisation)
        .cloned()
        .context("the key file is not of a founding member; a later one needs `card` in its configuration")
}

/// A session of the organisation itself at its own node, for what its administrators do.
pub(crate) async fn organisation_session(
    config: &NodeConfig,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<Person> {
    let genesis = files::read_genesis(&config.genesis)?;
    let keys = NodeKeys::load(&config.keys)?;
    let member = member(config, &genesis, keys.organisation)?;
    let node = connect(&member.api, &config.api.authority)?;
    let node = node.of_consortium(sha256(&to_bytes(&genesis)));
    let principal = PrincipalId(keys.organisation.0);
    let next = KeyFiles::around(&config.keys).next;
    let session =
        Person::with_keys(&node, principal, Arc::new(keys.keys), Arc::clone(&clock)).await;
    if session.is_err() && next.exists() {
        // The ledger may know the next keys a moment before the node takes them.
        let keys = NodeKeys::load(&next)?.keys;
        return Ok(Person::with_keys(&node, principal, Arc::new(keys), clock).await?);
    }
    Ok(session?)
}

/// A node under its address, certificates checked with the authorities in a PEM file.
pub(crate) fn connect(base: &str, authority: &Path) -> anyhow::Result<Node> {
    let pem =
        std::fs::read(authority).with_context(|| format!("cannot read {}", authority.display()))?;
    Ok(Node::new(base, &pem)?)
}

/// Address of the tables: a file below the data, or a server.
pub(crate) fn tables(config: &NodeConfig) -> String {
    match config.storage.tables.as_str() {
        "sqlite" => format!("sqlite:{}", config.data.join("tables.sqlite").display()),
        url => url.to_owned(),
    }
}

/// Where sealed blobs are kept: a folder below the data, or a bucket.
pub(crate) async fn blobs(config: &NodeConfig) -> anyhow::Result<BlobStore> {
    let Some(place) = config.storage.blobs.strip_prefix("s3://") else {
        ensure!(
            config.storage.blobs == "local",
            "storage.blobs is `local` or s3://BUCKET[/PREFIX]?endpoint=URL&region=NAME"
        );
        return Ok(BlobStore::local(&config.data.join("blobs")).await?);
    };
    let (path, query) = place.split_once('?').unwrap_or((place, ""));
    let (bucket, prefix) = path.split_once('/').unwrap_or((path, ""));
    let field = |name: &str| {
        let mut fields = query.split('&').filter_map(|field| field.split_once('='));
        let found = fields
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value.to_owned());
        found.with_context(|| format!("storage.blobs lacks {name}="))
    };
    let file = config
        .storage
        .s3_credentials
        .as_ref()
        .context("storage.s3_credentials is missing")?;
    let credentials = files::read_secret(file)?;
    let mut lines = credentials.lines();
    let mut line = || {
        lines
            .next()
            .map(str::to_owned)
            .context("two lines are needed")
    };
    Ok(BlobStore::s3(S3Config {
        endpoint: field("endpoint")?,
        region: field("region")?,
        bucket: bucket.to_owned(),
        prefix: prefix.trim_end_matches('/').to_owned(),
        access_key_id: line()?,
        secret_access_key: line()?,
    })
    .await?)
}

fn address(text: &str) -> anyhow::Result<SocketAddr> {
    let mut found = text
        .to_socket_addrs()
        .with_context(|| format!("`{text}` is not an address to listen on"))?;
    found
        .next()
        .with_context(|| format!("`{text}` resolves to nothing"))
}

/// The OPAQUE setup of this node's accounts: made at the first start, and from then on as precious as
/// the accounts. Losing it ends every password login; leaking it lets passwords be guessed offline.
fn password_setup(path: &Path) -> anyhow::Result<ServerSetup> {
    if !path.exists() {
        let setup = ServerSetup::generate(&mut SystemEntropy);
        let text = Zeroizing::new(to_base64url(&setup.to_bytes()));
        files::write_secret(path, text.as_bytes())?;
        return Ok(setup);
    }
    read_password_setup(path)
}

/// Reads a stored OPAQUE setup.
pub(crate) fn read_password_setup(path: &Path) -> anyhow::Result<ServerSetup> {
    let text = files::read_secret(path)?;
    from_base64url(text.trim())
        .map(Zeroizing::new)
        .and_then(|bytes| ServerSetup::from_bytes(&bytes).ok())
        .with_context(|| format!("{} is damaged; restore it from a backup", path.display()))
}
