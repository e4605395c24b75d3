//! Starts a replica with real sockets, files and clock, on a thread of its own.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use commonware_cryptography::ChaCha20Poly1305;
use commonware_cryptography::ed25519::PublicKey;
use commonware_macros::select;
use commonware_p2p::authenticated::lookup::{self, Network, Oracle};
use commonware_p2p::{Address, AddressableManager as _, Ingress};
use commonware_runtime::{Quota, Runner as _, Supervisor as _, tokio as runtime};
use commonware_stream::cups::{self, Cups};
use commonware_stream::sake::{self, Sake};
use commonware_utils::ordered::Map;
use commonware_utils::{Hostname, NZU32, NZUsize};
use salus_ledger::MemberList;
use salus_proto::Digest;
use salus_proto::member::MEMBERS_LIMIT;

use crate::Error;
use crate::chain::{Chain, Origin};
use crate::engine::epochs::{engine_key, engine_secret};
use crate::engine::solo::roll_forward;
use crate::engine::{self, Channels, Directory, Known, NoteSigner, Setup, Timing};
use crate::machine::{Contract, Machine};
use crate::replica::{Replica, Shared};
use crate::store::Store;

/// Handshakes that one address may begin in a second.
const HANDSHAKES_PER_SECOND: NonZeroU32 = NZU32!(256);
/// Threads of the engine's runtime, besides the executor's.
const WORKERS: usize = 2;

/// What a replica needs to start.
#[derive(Clone)]
pub struct Config {
    /// Seed of the Ed25519 key with which this member validates and proves itself to its peers.
    pub engine_key: [u8; 32],
    /// Signs checkpoints.
    pub signer: Arc<dyn NoteSigner>,
    /// Where to listen for the other members.
    pub listen: SocketAddr,
    /// Directory of the ledger; created if missing.
    pub directory: PathBuf,
    /// SHA-256 of the genesis file.
    pub genesis: Digest,
    /// Origin line of checkpoints.
    pub origin: String,
    /// When the consortium was founded, milliseconds since 1970.
    pub founded_ms: u64,
    /// Patience.
    pub timing: Timing,
    /// A list of members to connect to until the ledger here knows one as new: for a node that joins,
    /// or was away while others changed their addresses.
    pub introduction: Option<MemberList>,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("listen", &self.listen)
            .field("directory", &self.directory)
            .field("genesis", &self.genesis)
            .finish_non_exhaustive()
    }
}

/// A replica's thread. Dropping it stops the replica and waits for it.
pub struct Running<M: Machine> {
    replica: Replica<M>,
    thread: Option<JoinHandle<()>>,
}

impl<M: Machine> fmt::Debug for Running<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").finish_non_exhaustive()
    }
}

impl<M: Machine> Running<M> {
    /// The handle for everybody else.
    pub fn replica(&self) -> Replica<M> {
        self.replica.clone()
    }

    /// Stops the replica and waits until it has.
    ///
    /// # Errors
    /// Why it had stopped before, if it had.
    pub fn stop(mut self) -> Result<(), Error> {
        self.join();
        self.replica.shared.failure().map_or(Ok(()), Err)
    }

    fn join(&mut self) {
        self.replica.stop();
        if let Some(thread) = self.thread.take() {
            // A panic was recorded by the thread itself.
            drop(thread.join());
        }
    }
}

impl<M: Machine> Drop for Running<M> {
    fn drop(&mut self) {
        self.join();
    }
}

/// Starts a replica. Returns once its store is open and its state loaded; connecting and catching
/// up go on behind the handle.
///
/// # Errors
/// [`Error`] names what is wrong with the directory, the store or the configuration.
pub fn start(config: Config, machine: Contract) -> Result<Running<Contract>, Error> {
    std::fs::create_dir_all(&config.directory)?;
    let origin = origin(&config);
    let store = Store::open(&config.directory, &config.genesis)?;
    let machine = Arc::new(machine);
    let mut chain = Chain::open(machine.clone(), store.clone(), origin.clone())?;
    roll_forward(&mut chain, &store)?;
    let shared = Arc::new(Shared::new(machine, store, chain.tree(), chain.size())?);
    let replica = Replica {
        shared: shared.clone(),
    };
    let key = engine_secret(&config.engine_key)?;
    // Found out here, where it can be reported, rather than inside the engine.
    drop(std::net::TcpListener::bind(config.listen).map_err(|error| {
        Error::Configuration(format!("cannot listen on {}: {error}", config.listen))
    })?);
    let (ready, is_ready) = mpsc::channel();
    let thread = std::thread::Builder::new()
        .name("salus-replica".into())
        .spawn(move || {
            let finished = Finished(shared.clone());
            let runner = runtime::Runner::new(
                runtime::Config::new()
                    .with_storage_directory(config.directory.join("engine"))
                    .with_worker_threads(WORKERS)
                    .with_tcp_nodelay(Some(true)),
            );
            let result = runner.start(|context| async move {
                shared.tell_time(engine::now_ms(&context));
                let _ = ready.send(());
                let handshake = Cups::<_, ChaCha20Poly1305>::new(
                    Sake {
                        signer: key.clone(),
                        synchrony_bound: Duration::from_secs(5),
                        max_handshake_age: Duration::from_secs(10),
                        version: sake::Version::V1,
                    },
                    cups::Version::V1,
                );
                let mut network = lookup::Config::local(
                    handshake,
                    &engine::namespace(&config.genesis),
                    config.listen,
                    NZUsize!(2 * MEMBERS_LIMIT),
                    engine::message_limit(),
                    NZUsize!(1024),
                );
                // Members are known by their keys; some sit behind address translation.
                network.bypass_ip_check = true;
                network.tracked_peer_sets = engine::TRACKED_SETS;
                network.peer_connection_cooldown = Duration::from_millis(500);
                network.dial_frequency = Duration::from_millis(200);
                // Several members may share an address.
                network.allowed_handshake_rate_per_ip = Quota::per_second(HANDSHAKES_PER_SECOND);
                network.allowed_handshake_rate_per_subnet =
                    Quota::per_second(HANDSHAKES_PER_SECOND);
                let (mut network, oracle) = Network::new(context.child("network"), network);
                let mut channel = |number| network.register(number, engine::quota());
                let channels = Channels {
                    votes: channel(0),
                    certificates: channel(1),
                    resolver: channel(2),
                    backfill: channel(3),
                    blocks: channel(4),
                    commands: channel(5),
                    notes: channel(6),
                };
                let mut network = network.start();
                let directory = Addresses {
                    oracle: oracle.clone(),
                    introduction: config.introduction,
                };
                let setup = Setup {
                    key,
                    signer: config.signer,
                    origin,
                    timing: config.timing,
                    prefix: String::new(),
                    ahead_ms: 0,
                };
                let blocker = oracle.clone();
                let engine = engine::run(
                    context, setup, chain, shared, oracle, blocker, directory, channels,
                );
                select! {
                    result = engine => { result },
                    _ = &mut network => { Err(Error::Stopped("the network ended".into())) },
                }
            });
            tracing::info!(?result, "the replica has stopped");
            finished.with(result);
        })?;
    // The runtime takes the directory's lock; an error before that ends the channel.
    let _ = is_ready.recv();
    Ok(Running {
        replica,
        thread: Some(thread),
    })
}

/// What the chain of this configuration starts from.
pub(crate) fn origin(config: &Config) -> Origin {
    Origin {
        genesis: config.genesis,
        name: config.origin.clone(),
        time_ms: config.founded_ms,
        block: engine::genesis_block(&config.genesis, config.founded_ms),
    }
}

/// Lets go of everybody who waits, also when the engine panics.
struct Finished<M: Machine>(Arc<Shared<M>>);

impl<M: Machine> Finished<M> {
    fn with(self, result: Result<(), Error>) {
        match result {
            Ok(()) => self.0.close(),
            Err(error) => self.0.fail(error),
        }
    }
}

impl<M: Machine> Drop for Finished<M> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail(Error::Stopped(
                "the engine failed; its log says where".into(),
            ));
        }
        self.0.close();
    }
}

/// Members' addresses for the network.
struct Addresses {
    oracle: Oracle<PublicKey>,
    introduction: Option<MemberList>,
}

impl Directory for Addresses {
    fn track(&mut self, number: u64, known: &Known) {
        let mut addresses = std::collections::BTreeMap::new();
        let newer = self.introduction.as_ref();
        let newer = newer.filter(|introduction| introduction.version() > known.version);
        let introduced = newer.map_or(&[][..], MemberList::members);
        // Of two addresses behind one key the newer counts.
        for member in known.before.iter().chain(&known.members).chain(introduced) {
            match (
                engine_key(&member.engine_key),
                address(&member.engine_address),
            ) {
                (Some(key), Some(address)) => drop(addresses.insert(key, address)),
                _ => tracing::warn!(member = %member.organisation, "no usable engine address"),
            }
        }
        let peers: Map<PublicKey, Address> = Map::from_iter_dedup(addresses);
        let _ = self.oracle.track(number, peers);
    }
}

/// Reads `host:port`.
fn address(text: &str) -> Option<Address> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(address.into());
    }
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok()?;
    let host = Hostname::new(host).ok()?;
    let egress = SocketAddr::from((std::net::Ipv4Addr::UNSPECIFIED, port));
    Some(Address::Asymmetric {
        ingress: Ingress::Dns { host, port },
        egress,
    })
}
