//! A consortium for the figures: founded by `salus consortium init` as anybody would, with ward staff
//! added as founders so that there is somebody to sign commands.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use salus_client::node::Node;
use salus_crypto::digest::sha256;
use salus_crypto::keys::SecretKeys;
use salus_crypto::label;
use salus_proto::api::ledger::LedgerStatus;
use salus_proto::encode::{from_base64url, from_bytes, to_bytes};
use salus_proto::ids::{ConsortiumId, OrganisationId, PrincipalId};
use salus_proto::member::{Founder, GENESIS_LIMIT, Genesis, Member};
use salus_proto::role::Role;
use salus_replica::{Config, Contract, NoteSigner, Running, Timing};

use crate::Setting;
use crate::files::output;

/// Names of the members and the folders that `init` gives them.
const MEMBERS: [(&str, &str, &str); 4] = [
    ("North Hospital", "hospital", "north-hospital"),
    ("South Hospital", "hospital", "south-hospital"),
    ("East Hospital", "hospital", "east-hospital"),
    ("Healthcare Cloud", "cloud,coordinator", "healthcare-cloud"),
];
/// The replay domain of every consortium here, so that commands are signed once for all rounds.
pub(crate) const CONSORTIUM: ConsortiumId = ConsortiumId([0xbe; 16]);
/// How long a node may take to answer or to agree.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A founded consortium; nothing runs yet.
pub(crate) struct Consortium {
    pub(crate) genesis: Genesis,
    pub(crate) seats: Vec<Seat>,
}

/// One member's folder.
#[derive(Debug, Clone)]
pub(crate) struct Seat {
    pub(crate) folder: PathBuf,
}

impl Consortium {
    /// Founds a consortium of the first `members` of four in `dir`, with these people on the staff of
    /// the first hospital.
    pub(crate) fn found(
        setting: &Setting,
        dir: &Path,
        members: usize,
        staff: &[Person],
    ) -> anyhow::Result<Self> {
        let ports = free_ports(2 * members)?;
        let mut arguments = vec![
            "consortium".to_owned(),
            "init".into(),
            "--name".into(),
            "bench".into(),
            "--dir".into(),
        ];
        arguments.push(dir.to_str().context("a path that is text")?.to_owned());
        for ((name, roles, _), ports) in MEMBERS.iter().zip(ports.chunks(2)) {
            let [api, engine] = ports else {
                bail!("two ports for each member")
            };
            arguments.push("--member".into());
            arguments.push(format!("{name}={roles}@127.0.0.1:{api}:{engine}"));
        }
        output(&setting.salus, &arguments)?;
        let seats: Vec<Seat> = MEMBERS
            .iter()
            .take(members)
            .map(|(_, _, folder)| Seat {
                folder: dir.join(folder),
            })
            .collect();
        let mut genesis = read_genesis(dir)?;
        genesis.consortium = CONSORTIUM;
        let first = seats.first().context("a member")?.identity()?.organisation;
        genesis.founders = staff
            .iter()
            .map(|person| Founder {
                principal: person.principal,
                role: Role::Staff,
                organisation: first,
                keys: person.keys.public().clone(),
            })
            .collect();
        std::fs::write(dir.join("genesis.cbor"), to_bytes(&genesis))?;
        Ok(Self { genesis, seats })
    }
}

/// Somebody who signs commands, with keys from a number: nothing that they protect exists.
pub(crate) struct Person {
    pub(crate) principal: PrincipalId,
    pub(crate) keys: SecretKeys,
}

impl Person {
    /// So many people, ascending by id.
    pub(crate) fn several(count: u32) -> anyhow::Result<Vec<Self>> {
        (0..count)
            .map(|number| {
                let mut seed = [0x77; 32];
                let mut id = [0x77; 16];
                for bytes in [seed.as_mut_slice(), id.as_mut_slice()] {
                    if let Some(start) = bytes.first_chunk_mut::<4>() {
                        *start = number.to_be_bytes();
                    }
                }
                let keys = SecretKeys::from_seeds(&seed, &seed, &seed)?;
                Ok(Self {
                    principal: PrincipalId(id),
                    keys,
                })
            })
            .collect()
    }
}

/// A member's secrets, as its key file has them.
pub(crate) struct Identity {
    pub(crate) organisation: OrganisationId,
    pub(crate) keys: SecretKeys,
    engine_seed: [u8; 32],
}

impl NoteSigner for Identity {
    fn organisation(&self) -> OrganisationId {
        self.organisation
    }

    fn sign(&self, text: &[u8]) -> Option<([u8; 64], Vec<u8>)> {
        let ml_dsa_65 = self.keys.ml_dsa_65().sign(label::CHECKPOINT, text).ok()?;
        Some((self.keys.ed25519().sign_note(text), ml_dsa_65))
    }
}

impl Seat {
    pub(crate) fn configuration(&self) -> PathBuf {
        self.folder.join("node.toml")
    }

    pub(crate) fn genesis(&self) -> anyhow::Result<Genesis> {
        read_genesis(self.dir())
    }

    /// Certificates that vouch for every member's node, PEM.
    pub(crate) fn authority(&self) -> anyhow::Result<Vec<u8>> {
        Ok(std::fs::read(self.dir().join("authority.pem"))?)
    }

    fn dir(&self) -> &Path {
        self.folder.parent().unwrap_or(Path::new("."))
    }

    pub(crate) fn identity(&self) -> anyhow::Result<Identity> {
        let text = std::fs::read_to_string(self.folder.join("secret/node.keys"))?;
        let words: Vec<&str> = text.split_whitespace().collect();
        let parse = || {
            let [_, organisation, keyring, seed] = words.as_slice() else {
                return None;
            };
            Some(Identity {
                organisation: organisation.parse().ok()?,
                keys: SecretKeys::from_keyring_bytes(&from_base64url(keyring)?).ok()?,
                engine_seed: from_base64url(seed)?.as_slice().try_into().ok()?,
            })
        };
        parse().context("a member's key file has another form than expected")
    }

    pub(crate) fn member(&self) -> anyhow::Result<Member> {
        let organisation = self.identity()?.organisation;
        let genesis = read_genesis(self.dir())?;
        let member = genesis
            .members
            .into_iter()
            .find(|m| m.organisation == organisation);
        member.context("the member is not in the genesis file")
    }

    /// Starts the member's replica in this process, on the very store that `salus node` uses.
    pub(crate) fn start_replica(&self) -> anyhow::Result<Running<Contract>> {
        let bytes = std::fs::read(self.dir().join("genesis.cbor"))?;
        let genesis = read_genesis(self.dir())?;
        let identity = self.identity()?;
        let config = Config {
            engine_key: identity.engine_seed,
            listen: self.member()?.engine_address.parse()?,
            signer: Arc::new(identity),
            directory: self.folder.join("data/ledger"),
            genesis: sha256(&bytes),
            origin: genesis.origin(),
            founded_ms: genesis.created.0,
            timing: Timing::default(),
            introduction: None,
        };
        Ok(salus_replica::start(config, Contract::new(genesis))?)
    }
}

fn read_genesis(dir: &Path) -> anyhow::Result<Genesis> {
    let bytes = std::fs::read(dir.join("genesis.cbor")).context("cannot read the genesis file")?;
    Ok(from_bytes(&bytes, GENESIS_LIMIT, "a genesis file")?)
}

/// A process that ends with its handle.
#[derive(Debug)]
pub(crate) struct Process(Child);

impl Process {
    /// Starts `salus node`; its log goes beside its data.
    pub(crate) fn node(setting: &Setting, seat: &Seat) -> anyhow::Result<Self> {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(seat.folder.join("node.log"))?;
        let child = Command::new(&setting.salus)
            .args(["node", "--json", "--config"])
            .arg(seat.configuration())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start a node")?;
        Ok(Self(child))
    }

    pub(crate) fn of(child: Child) -> Self {
        Self(child)
    }

    /// Asks the process to end and waits for it.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        let pid = self.0.id().to_string();
        let told = Command::new("kill").args(["-TERM", &pid]).status()?;
        ensure!(told.success(), "cannot signal a process");
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended already is no error.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The API of a seat's node.
pub(crate) fn api(seat: &Seat) -> anyhow::Result<Node> {
    Ok(Node::new(&seat.member()?.api, &seat.authority()?)?)
}

/// Waits until a node's status is as wished.
pub(crate) async fn until(
    node: &Node,
    wish: impl Fn(&LedgerStatus) -> bool,
) -> anyhow::Result<LedgerStatus> {
    let start = Instant::now();
    loop {
        if let Ok(status) = node.status().await
            && wish(&status)
        {
            return Ok(status);
        }
        ensure!(
            start.elapsed() < PATIENCE,
            "{} did not get there in time",
            node.base()
        );
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Ports of the loopback interface that are free now, each once.
fn free_ports(count: usize) -> anyhow::Result<Vec<u16>> {
    let listeners: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<Result<_, _>>()?;
    listeners
        .iter()
        .map(|listener| Ok(listener.local_addr()?.port()))
        .collect()
}
