//! The same replica under the deterministic runtime: simulated network, clock and disk. For the
//! `sim` crate; nothing here is used in production.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};

use commonware_cryptography::ed25519::PublicKey;
use commonware_p2p::simulated::{Oracle, Receiver, Sender};
use commonware_p2p::{Receiver as _, Recipients, Sender as _};
use commonware_runtime::deterministic::Context;
use commonware_runtime::{Handle, IoBuf, Spawner as _, Supervisor as _};
use redb::StorageBackend;
use salus_proto::Digest;
use salus_proto::member::Member as Organisation;

use crate::Error;
use crate::chain::{Chain, Origin};
use crate::engine::epochs::{engine_key, engine_secret};
use crate::engine::solo::roll_forward;
use crate::engine::{self, Channels, Directory, Known, NoteSigner, Setup, Timing, notes};
use crate::fsck::{Report, check_whole};
use crate::machine::Machine;
use crate::replica::{Replica, Shared, lock};
use crate::store::Store;

/// The network that all members share.
pub type Network = Oracle<PublicKey, Context>;

/// What one simulated member is made from.
#[derive(Clone)]
pub struct Config {
    /// Number of the member; tells its files from the others'.
    pub number: usize,
    /// Seed of its engine key.
    pub engine_key: [u8; 32],
    /// Signs checkpoints.
    pub signer: Arc<dyn NoteSigner>,
    /// SHA-256 of the genesis file.
    pub genesis: Digest,
    /// Origin line of checkpoints.
    pub origin: String,
    /// When the consortium was founded, milliseconds since 1970.
    pub founded_ms: u64,
    /// Patience.
    pub timing: Timing,
    /// How far this member's clock is ahead, in milliseconds.
    pub ahead_ms: u64,
    /// Its disk.
    pub disk: Disk,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

/// A running simulated member.
pub struct Member<M: Machine> {
    replica: Replica<M>,
    task: Handle<()>,
}

impl<M: Machine> fmt::Debug for Member<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member")
            .field("replica", &self.replica)
            .finish_non_exhaustive()
    }
}

impl<M: Machine> Member<M> {
    /// The handle.
    pub fn replica(&self) -> Replica<M> {
        self.replica.clone()
    }

    /// Kills the member where it stands, as kill -9 would.
    pub async fn kill(self) {
        self.task.abort();
        // Aborted is what it must be.
        drop(self.task.await);
        self.replica.shared.close();
    }
}

impl Config {
    fn chain_origin(&self) -> Origin {
        Origin {
            genesis: self.genesis,
            name: self.origin.clone(),
            time_ms: self.founded_ms,
            block: engine::genesis_block(&self.genesis, self.founded_ms),
        }
    }

    /// Starts the member.
    ///
    /// # Errors
    /// As [`crate::start`].
    pub async fn start<M: Machine>(
        self,
        context: &Context,
        network: &Network,
        machine: M,
    ) -> Result<Member<M>, Error> {
        let store = self.store()?;
        let machine = Arc::new(machine);
        let origin = self.chain_origin();
        let mut chain = Chain::open(machine.clone(), store.clone(), origin.clone())?;
        roll_forward(&mut chain, &store)?;
        let shared = Arc::new(Shared::new(machine, store, chain.tree(), chain.size())?);
        shared.tell_time(engine::now_ms(context));
        let key = engine_secret(&self.engine_key)?;
        let me = engine_key(&engine::epochs::engine_public(&self.engine_key)?)
            .ok_or_else(|| Error::Configuration("the engine key is unusable".into()))?;
        let channels = channels(network, &me).await?;
        let setup = Setup {
            key,
            signer: self.signer,
            origin,
            timing: self.timing,
            prefix: format!("member{}-", self.number),
            ahead_ms: self.ahead_ms,
        };
        let (provider, blocker) = (network.manager(), network.control(me));
        let replica = Replica {
            shared: shared.clone(),
        };
        let task = context
            .child("member")
            .with_attribute("number", self.number)
            .spawn(move |context| async move {
                let run = engine::run(
                    context,
                    setup,
                    chain,
                    shared.clone(),
                    provider,
                    blocker,
                    Everybody,
                    channels,
                );
                match Box::pin(run).await {
                    Ok(()) => shared.close(),
                    Err(error) => shared.fail(error),
                }
            });
        Ok(Member { replica, task })
    }

    /// Checks the member's store while it is not running.
    ///
    /// # Errors
    /// If the store cannot be opened.
    pub fn check<M: Machine>(&self, machine: M) -> Result<Report, Error> {
        let mut report = Report::default();
        check_whole(
            &self.store()?,
            &Arc::new(machine),
            &self.chain_origin(),
            &mut report,
        )?;
        Ok(report)
    }

    fn store(&self) -> Result<Store, Error> {
        let [database, journal] = self.disk.open();
        Store::open_backends(database, journal, &self.genesis)
    }

    /// Runs a member that only lies: it answers every checkpoint that it hears with a validly signed
    /// one over another log, or with `rubbish` on every channel.
    ///
    /// # Errors
    /// If the network has ended.
    pub async fn lie(
        self,
        context: &Context,
        network: &Network,
        member: Organisation,
        rubbish: bool,
    ) -> Result<Handle<()>, Error> {
        let me = engine_key(&engine::epochs::engine_public(&self.engine_key)?)
            .ok_or_else(|| Error::Configuration("the engine key is unusable".into()))?;
        let Channels {
            votes,
            certificates,
            resolver,
            backfill,
            blocks,
            commands,
            notes,
        } = channels(network, &me).await?;
        let mut channels = [
            votes.0,
            certificates.0,
            resolver.0,
            backfill.0,
            blocks.0,
            commands.0,
        ];
        let (mut say, mut hear) = notes;
        let signer = self.signer;
        Ok(context.child("liar").spawn(move |_| async move {
            while let Ok((_, message)) = hear.recv().await {
                if rubbish {
                    let bytes: Vec<u8> = message.as_ref().iter().rev().take(99).copied().collect();
                    for sender in channels.iter_mut().chain([&mut say]) {
                        drop(sender.send(Recipients::All, IoBuf::from(bytes.clone()), false));
                    }
                } else if let Some(lie) = notes::lie(message.as_ref(), &member, &*signer) {
                    drop(say.send(Recipients::All, IoBuf::from(lie), false));
                }
            }
        }))
    }
}

type Ends = (Sender<PublicKey, Context>, Receiver<PublicKey>);

async fn channels(
    network: &Network,
    me: &PublicKey,
) -> Result<Channels<Sender<PublicKey, Context>, Receiver<PublicKey>>, Error> {
    let control = network.control(me.clone());
    let mut ends: Vec<Ends> = Vec::new();
    for channel in 0..7 {
        let end = control.register(channel, engine::quota()).await;
        ends.push(end.map_err(|error| Error::Stopped(error.to_string()))?);
    }
    let all: Result<[Ends; 7], _> = ends.try_into();
    let Ok(
        [
            votes,
            certificates,
            resolver,
            backfill,
            blocks,
            commands,
            notes,
        ],
    ) = all
    else {
        return Err(Error::Stopped("the network ended".into()));
    };
    Ok(Channels {
        votes,
        certificates,
        resolver,
        backfill,
        blocks,
        commands,
        notes,
    })
}

/// The simulated network is told by the simulation who is in it.
struct Everybody;

impl Directory for Everybody {
    fn track(&mut self, _: u64, _: &Known) {}
}

/// The longest message that the network must carry, in bytes.
pub fn message_limit() -> u32 {
    engine::message_limit()
}

/// The engine's form of a member's key.
pub fn peer(member: &Organisation) -> Option<PublicKey> {
    engine_key(&member.engine_key)
}

/// A disk, with a file for the database and one for the journal, whose unsynced writes may be lost or
/// torn when its owner crashes.
#[derive(Clone, Default)]
pub struct Disk {
    files: [Arc<Mutex<Platter>>; 2],
}

/// One file.
#[derive(Default)]
struct Platter {
    durable: Vec<u8>,
    /// Durable bytes with the unsynced writes on top.
    current: Vec<u8>,
    unsynced: Vec<Change>,
    /// Whether writes find no space.
    full: bool,
    /// Counts openings; what an earlier one still writes goes nowhere.
    opening: u64,
}

impl Platter {
    fn has_space(&self) -> io::Result<()> {
        if self.full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

enum Change {
    Write(usize, Vec<u8>),
    Resize(usize),
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk").finish_non_exhaustive()
    }
}

impl Disk {
    /// The owner crashes: of the unsynced changes some are lost and some torn, as `chance` decides,
    /// which gives a number below its argument.
    pub fn crash(&self, mut chance: impl FnMut(usize) -> usize) {
        for file in &self.files {
            Self::crash_file(&mut lock(file), &mut chance);
        }
    }

    fn crash_file(platter: &mut Platter, mut chance: impl FnMut(usize) -> usize) {
        platter.opening += 1;
        let mut unsynced = std::mem::take(&mut platter.unsynced);
        // The database writes its pages in no particular order; so that a seed repeats itself, what
        // the disk did with them is decided in the order of their places.
        unsynced.sort_by_key(|change| match change {
            Change::Resize(_) => 0,
            Change::Write(offset, _) => offset + 1,
        });
        for change in unsynced {
            match change {
                Change::Resize(length) => platter.durable.resize(length, 0),
                Change::Write(offset, bytes) => {
                    let kept = match chance(3) {
                        0 => 0,
                        1 => chance(bytes.len() + 1),
                        _ => bytes.len(),
                    };
                    put(
                        &mut platter.durable,
                        offset,
                        bytes.get(..kept).unwrap_or_default(),
                    );
                }
            }
        }
        platter.current = platter.durable.clone();
    }

    /// From now on writes find no space, or do again.
    pub fn fill(&self, full: bool) {
        for file in &self.files {
            lock(file).full = full;
        }
    }

    fn open(&self) -> [Opened; 2] {
        self.files.each_ref().map(|file| {
            let mut platter = lock(file);
            platter.opening += 1;
            Opened {
                opening: platter.opening,
                inner: file.clone(),
            }
        })
    }
}

fn put(target: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if target.len() < end {
        target.resize(end, 0);
    }
    if let Some(place) = target.get_mut(offset..end) {
        place.copy_from_slice(bytes);
    }
}

/// One opening of a disk.
struct Opened {
    opening: u64,
    inner: Arc<Mutex<Platter>>,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened")
            .field("opening", &self.opening)
            .finish_non_exhaustive()
    }
}

impl Opened {
    fn with<T>(&self, then: impl FnOnce(&mut Platter) -> io::Result<T>) -> io::Result<T> {
        let mut platter = lock(&self.inner);
        if platter.opening != self.opening {
            return Err(io::Error::other("the owner has crashed"));
        }
        then(&mut platter)
    }
}

fn place(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(io::Error::other)
}

impl StorageBackend for Opened {
    fn len(&self) -> io::Result<u64> {
        self.with(|platter| Ok(platter.current.len() as u64))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let offset = place(offset)?;
        self.with(|platter| {
            let bytes = platter.current.get(offset..offset + out.len());
            out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let length = place(length)?;
        self.with(|platter| {
            platter.has_space()?;
            platter.current.resize(length, 0);
            platter.unsynced.push(Change::Resize(length));
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|platter| {
            let Platter {
                durable, unsynced, ..
            } = platter;
            for change in unsynced.drain(..) {
                match change {
                    Change::Resize(length) => durable.resize(length, 0),
                    Change::Write(offset, bytes) => put(durable, offset, &bytes),
                }
            }
            Ok(())
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let offset = place(offset)?;
        self.with(|platter| {
            platter.has_space()?;
            put(&mut platter.current, offset, data);
            platter.unsynced.push(Change::Write(offset, data.to_vec()));
            Ok(())
        })
    }
}
