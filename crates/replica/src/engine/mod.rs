//! The one module that knows the consensus engine: commonware's simplex, marshal and p2p.
//!
//! ```text
//!  pool ─▶ App ─▶ simplex ─▶ marshal ─▶ Delivery ─▶ executor ─▶ Chain (store, fsync)
//!   ▲             one per epoch          in order      │
//!   │             (a member alone: none)               ├─▶ answers, feed
//!   └── commands channel                               └─▶ Notes: sign, collect, certify
//! ```
//!
//! Generic over commonware's runtime traits: the same code runs on tokio with sockets and under the
//! deterministic runtime with a simulated network.

mod app;
mod block;
pub(crate) mod epochs;
mod executor;
pub(crate) mod notes;
pub(crate) mod solo;

use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use commonware_broadcast::buffered;
use commonware_codec::Encode as _;
use commonware_consensus::marshal::core::Actor as Marshal;
use commonware_consensus::marshal::resolver::p2p as backfill;
use commonware_consensus::marshal::standard::{Inline, Standard};
use commonware_consensus::marshal::{self};
use commonware_consensus::simplex::config::{Floor, ForwardPolicy, SkipPolicy};
use commonware_consensus::simplex::elector::RoundRobin;
use commonware_consensus::simplex::scheme::ed25519::Scheme;
use commonware_consensus::simplex::{self};
use commonware_consensus::types::{Epoch as EpochNumber, Height, ViewDelta};
use commonware_cryptography::ed25519::{PrivateKey, PublicKey};
use commonware_cryptography::sha256::Digest;
use commonware_cryptography::{Digested, Digestible as _, Sha256, Signer as _};
use commonware_macros::select_loop;
use commonware_p2p::utils::mux::{Builder as _, MuxHandle, Muxer, prefixed};
use commonware_p2p::{Blocker, Provider, Receiver, Recipients, Sender, max_message_size};
use commonware_parallel::Sequential;
use commonware_runtime::buffer::paged::CacheRef;
use commonware_runtime::{Clock, Handle, IoBuf, Metrics, Quota, Spawner, Storage};
use commonware_storage::archive::prunable;
use commonware_storage::translator::EightCap;
use commonware_utils::vec::NonEmptyVec;
use commonware_utils::{NZU16, NZU32, NZU64, NZUsize, NonZeroDuration};
use rand_core::CryptoRng;
use salus_proto::ids::OrganisationId;
use salus_proto::member::{MEMBERS_LIMIT, Member};
use tokio::sync::mpsc;

use self::app::App;
pub(crate) use self::app::now_ms;
use self::block::Block;
use self::epochs::Epochs;
use self::executor::{Delivery, Executor};
use self::notes::Notes;
use self::solo::{Found, Unarchived};
use crate::Error;
use crate::chain::{Chain, Origin};
use crate::machine::Machine;
use crate::replica::Shared;
use crate::store::Mark;

/// Messages a second that one member may send another on one channel.
const MESSAGES_PER_SECOND: NonZeroU32 = NZU32!(2048);
/// Messages of those that may come at once. The network sets aside room for one such burst of every
/// member on every channel when it starts, about 200 bytes a message.
const MESSAGES_AT_ONCE: NonZeroU32 = NZU32!(64);
/// Depth of the engine's mailboxes.
const MAILBOX: NonZeroUsize = NZUsize!(1024);
/// Journal buffers, in bytes.
const BUFFER: NonZeroUsize = NZUsize!(1 << 18);
/// Longest message of passed on commands, in bytes.
const COMMANDS_MESSAGE_LIMIT: usize = 512 << 10;
/// Least time between two such messages.
const COMMANDS_PAUSE: Duration = Duration::from_millis(2);
/// Sets of members to which connections are kept: the current one and the one before.
pub(crate) const TRACKED_SETS: NonZeroUsize = NZUsize!(2);
/// Views that the engine remembers behind the last finalised one.
const VIEWS_KEPT: ViewDelta = ViewDelta::new(64);
/// How long connections to former members are kept after the turn: they hear of it, and both sides get
/// the handover's signatures.
const FAREWELL: Duration = Duration::from_secs(30);
const ITEMS_PER_SECTION: NonZeroU64 = NZU64!(4096);

/// How patient a replica is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long a leader waits for a command before it proposes an empty block.
    pub idle: Duration,
    /// How long members wait for a leader's proposal; longer than `idle`.
    pub leader: Duration,
    /// How long members wait for a view to be certified; longer than `leader`.
    pub certification: Duration,
    /// How often members repeat that a view has failed.
    pub retry: Duration,
    /// After how long of silence a leader's turn is skipped; longer than `certification`.
    pub skip: Duration,
    /// How long a submission waits for its entry.
    pub submit: Duration,
    /// How far a block's time may be ahead of a member's clock.
    pub clock_skew: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(1),
            leader: Duration::from_secs(2),
            certification: Duration::from_secs(3),
            retry: Duration::from_secs(1),
            skip: Duration::from_secs(5),
            submit: Duration::from_secs(15),
            clock_skew: Duration::from_secs(5),
        }
    }
}

/// Signs checkpoints with a member's note keys.
pub trait NoteSigner: Send + Sync + 'static {
    /// The member.
    fn organisation(&self) -> OrganisationId;
    /// Ed25519 and ML-DSA-65 signatures over a note's text; `None` if the keys are unusable.
    fn sign(&self, text: &[u8]) -> Option<([u8; 64], Vec<u8>)>;
}

/// One member's ends of the channels: votes, certificates, resolver, backfill, blocks, commands and
/// notes.
pub(crate) struct Channels<S, R> {
    pub(crate) votes: (S, R),
    pub(crate) certificates: (S, R),
    pub(crate) resolver: (S, R),
    pub(crate) backfill: (S, R),
    pub(crate) blocks: (S, R),
    pub(crate) commands: (S, R),
    pub(crate) notes: (S, R),
}

/// What a replica is made from, apart from runtime and network.
pub(crate) struct Setup {
    pub(crate) key: PrivateKey,
    pub(crate) signer: Arc<dyn NoteSigner>,
    pub(crate) origin: Origin,
    pub(crate) timing: Timing,
    /// Prefix of the engine's files; empty when its storage is its own.
    pub(crate) prefix: String,
    /// How far the clock is ahead of the others', in milliseconds; zero outside of simulations.
    pub(crate) ahead_ms: u64,
}

/// Where members are found changes with the membership.
pub(crate) trait Directory: Send + 'static {
    /// Connects to these members from now on; `number` grows with every call.
    fn track(&mut self, number: u64, known: &Known);
}

/// The members to connect to, as the ledger here knows them.
#[derive(Debug)]
pub(crate) struct Known {
    /// Those before the last change: for a while they need the others to learn that they are.
    pub(crate) before: Vec<Member>,
    /// Those that validate, or will.
    pub(crate) members: Vec<Member>,
    /// Version of the list that takes over, or has.
    pub(crate) version: u64,
}

/// The rate at which one member may send another messages.
pub(crate) fn quota() -> Quota {
    Quota::per_second(MESSAGES_PER_SECOND).allow_burst(MESSAGES_AT_ONCE)
}

/// The longest message that the engine sends, in bytes.
pub(crate) fn message_limit() -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "50 members")]
    let members = MEMBERS_LIMIT as u32;
    max_message_size(&[
        prefixed(simplex::max_payload_size::<Scheme, Digest>(members)),
        marshal::max_payload_size::<Standard<Block>, Scheme>(members, &()),
        COMMANDS_MESSAGE_LIMIT,
        notes::MESSAGE_LIMIT,
    ])
}

/// Block 0 of a consortium and its digest.
pub(crate) fn genesis_block(genesis: &salus_proto::Digest, time_ms: u64) -> salus_proto::Digest {
    salus_proto::Digest(Block::genesis(genesis, time_ms).digest().0)
}

/// The engine's keys are told apart from every other use of Ed25519 and from other consortia.
pub(crate) fn namespace(genesis: &salus_proto::Digest) -> Vec<u8> {
    [&b"salus/v1/engine/"[..], &genesis.0].concat()
}

/// Runs a replica until it is told to stop or fails.
#[expect(
    clippy::too_many_arguments,
    reason = "what the two runtimes have to provide, each once"
)]
#[expect(
    clippy::too_many_lines,
    reason = "the wiring of the engine, top to bottom"
)]
pub(crate) async fn run<E, M, P, B, S, R>(
    context: E,
    setup: Setup,
    chain: Chain<M>,
    shared: Arc<Shared<M>>,
    provider: P,
    blocker: B,
    mut directory: impl Directory,
    channels: Channels<S, R>,
) -> Result<(), Error>
where
    E: Spawner + Metrics + Clock + Storage + CryptoRng,
    M: Machine,
    P: Provider<PublicKey = PublicKey>,
    B: Blocker<PublicKey = PublicKey>,
    S: Sender<PublicKey = PublicKey>,
    R: Receiver<PublicKey = PublicKey>,
{
    let Setup {
        key,
        signer,
        origin,
        timing,
        prefix,
        ahead_ms,
    } = setup;
    let me = key.public_key();
    let epochs = Epochs::new(key, namespace(&origin.genesis));
    let snapshot = shared.store.read()?;
    for (number, epoch) in snapshot.epochs()? {
        epochs.put(number, epoch)?;
    }
    let (mut tracked, known) = (0, executor::known_members(&snapshot, &epochs)?);
    drop(snapshot);
    directory.track(tracked, &known);
    let mut farewell = Some((context.current() + FAREWELL, known));

    let cache = CacheRef::new(NZU16!(4096), NZUsize!(2048));
    let (engine, buffer) = buffered::Engine::new(
        context.child("blocks"),
        buffered::Config {
            public_key: me.clone(),
            mailbox_size: MAILBOX,
            deque_size: 16,
            priority: false,
            codec_config: (),
            peer_provider: provider.clone(),
            strategy: Sequential,
        },
    );
    engine.start(channels.blocks);
    let resolver = backfill::init(
        context.child("backfill"),
        backfill::Config {
            public_key: me,
            peer_provider: provider,
            blocker: blocker.clone(),
            mailbox_size: MAILBOX,
            fetch_timeout: positive(Duration::from_secs(2)),
            fetch_retry_delay: Duration::from_millis(100),
            priority_requests: false,
            priority_responses: false,
        },
        channels.backfill,
    );
    let archive = |name: &str| format!("{prefix}{name}");
    let finalizations = prunable::Archive::init(
        context.child("finalizations"),
        archive_config(&archive("finalizations"), &cache, MEMBERS_LIMIT),
    )
    .await
    .map_err(|error| Error::Io(error.to_string()))?;
    let blocks = prunable::Archive::init(
        context.child("archive"),
        archive_config(&archive("blocks"), &cache, ()),
    )
    .await
    .map_err(|error| Error::Io(error.to_string()))?;
    let genesis = Block::genesis(&origin.genesis, origin.time_ms);
    let genesis = Digested::precomputed(genesis, Digest(origin.block.0));
    let (marshal, mailbox, _) = Marshal::<_, Standard<Block>, _, _, _, _, _>::init(
        context.child("marshal"),
        finalizations,
        blocks,
        marshal::Config {
            provider: epochs.clone(),
            epocher: epochs.clone(),
            start: marshal::Start::Genesis(genesis),
            partition_prefix: archive("marshal"),
            mailbox_size: MAILBOX,
            view_retention: VIEWS_KEPT,
            prunable_items_per_section: NZU64!(1024),
            page_cache: cache.clone(),
            replay_buffer: BUFFER,
            key_write_buffer: BUFFER,
            value_write_buffer: BUFFER,
            block_codec_config: (),
            max_repair: NZUsize!(32),
            max_pending_acks: NZUsize!(16),
            strategy: Sequential,
        },
    )
    .await;

    let (deliver, delivered) = mpsc::unbounded_channel();
    let unarchived = Unarchived::default();
    let found = Found {
        unarchived: unarchived.clone(),
        sent: buffer,
    };
    marshal.start(Delivery(deliver), found, resolver);
    let (due, due_receiver) = mpsc::unbounded_channel();
    let (turn, mut turns) = mpsc::unbounded_channel();
    let (epoch_ended, mut ended_receiver) = mpsc::unbounded_channel();
    let tip = Mark {
        height: chain.tip().height,
        time_ms: chain.tip().time_ms,
        size: chain.size(),
    };
    shared.tell_height(tip.height);
    let app = App {
        shared: shared.clone(),
        epochs: epochs.clone(),
        timing: timing.clone(),
        ahead_ms,
    };
    let executor = Executor {
        app: app.clone(),
        chain,
        shared: shared.clone(),
        epochs: epochs.clone(),
        marshal: mailbox.clone(),
        unarchived,
        due,
        turn,
    };
    let mut executor = context
        .child("executor")
        .dedicated()
        .spawn(move |context| executor.run(context, delivered));
    let notes = Notes::new(
        shared.clone(),
        epochs.clone(),
        signer,
        origin.name,
        timing.clone(),
        due_receiver,
        epoch_ended,
        tip,
    );
    let (sender, receiver) = channels.notes;
    context
        .child("notes")
        .shared(true)
        .spawn(move |context| notes.run(context, sender, receiver));
    let (sender, receiver) = channels.commands;
    let taking = shared.clone();
    context
        .child("taking")
        .shared(true)
        .spawn(move |_| take_commands(taking, receiver));
    let giving = shared.clone();
    context
        .child("giving")
        .spawn(move |context| give_commands(context, giving, sender));

    // One set of sub-channels an epoch.
    let (mux, votes, mut early_votes) =
        Muxer::builder(context.child("votes"), channels.votes.0, channels.votes.1)
            .with_backup()
            .build();
    mux.start();
    let (mux, certificates) = Muxer::new(
        context.child("certificates"),
        channels.certificates.0,
        channels.certificates.1,
    );
    mux.start();
    let (mux, requests) = Muxer::new(
        context.child("resolver"),
        channels.resolver.0,
        channels.resolver.1,
    );
    mux.start();
    let mut voting = Voting {
        application: Inline::new(
            context.child("application"),
            app,
            mailbox.clone(),
            epochs.clone(),
        ),
        epochs: epochs.clone(),
        shared: shared.clone(),
        blocker,
        timing,
        cache,
        prefix,
        votes,
        certificates,
        requests,
        running: None,
    };
    voting
        .enter(&context, epochs.latest().map_or(0, |(number, _)| number))
        .await?;

    let ended = |what: &str| Err(Error::Stopped(format!("{what} ended")));
    select_loop! {
        context,
        on_stopped => {},
        () = shared.stopped() => {
            return Ok(());
        },
        result = &mut executor => {
            result.unwrap_or_else(|error| Err(Error::Stopped(error.to_string())))?;
            return ended("the delivery of blocks");
        },
        Some(turned) = turns.recv() else {
            return ended("the execution of blocks");
        } => {
            if let Some(known) = turned.known {
                tracked += 1;
                directory.track(tracked, &known);
                farewell = Some((context.current() + FAREWELL, known));
            }
            if let Some(epoch) = turned.epoch {
                voting.enter(&context, epoch).await?;
            }
        },
        () = deadline(&context, farewell.as_ref().map(|(at, _)| *at)) => {
            if let Some((_, mut known)) = farewell.take() {
                known.before.clear();
                // As often as sets are remembered.
                for _ in 0..TRACKED_SETS.get() {
                    tracked += 1;
                    directory.track(tracked, &known);
                }
            }
        },
        // Votes of epochs that we have not reached; heartbeats tell where ours ended.
        Some(_) = early_votes.recv() else {
            return ended("the network");
        } => {},
        Some((peer, last)) = ended_receiver.recv() else {
            return ended("the exchange of checkpoints");
        } => {
            mailbox.hint_finalized(Height::new(last), NonEmptyVec::new(peer));
        },
    }
    Ok(())
}

/// Waits for a point in time; without one, for ever.
async fn deadline(clock: &impl Clock, at: Option<SystemTime>) {
    match at {
        Some(at) => clock.sleep_until(at).await,
        None => std::future::pending().await,
    }
}

type Application<E, M> = Inline<E, Scheme, App<M>, Block, Epochs>;

/// The engine of the current epoch.
struct Voting<E, M, B, S>
where
    E: Spawner + Metrics + Clock,
    M: Machine,
    S: Sender,
{
    application: Application<E, M>,
    epochs: Epochs,
    shared: Arc<Shared<M>>,
    blocker: B,
    timing: Timing,
    cache: CacheRef,
    prefix: String,
    votes: MuxHandle<S>,
    certificates: MuxHandle<S>,
    requests: MuxHandle<S>,
    running: Option<(u64, Handle<()>)>,
}

impl<E, M, B, S> Voting<E, M, B, S>
where
    E: Spawner + Metrics + Clock + Storage + CryptoRng,
    M: Machine,
    B: Blocker<PublicKey = PublicKey>,
    S: Sender<PublicKey = PublicKey>,
{
    /// Ends the engine of the last epoch and starts that of `number`.
    async fn enter(&mut self, context: &E, number: u64) -> Result<(), Error> {
        let missing = || Error::corrupt("an epoch is missing");
        let scheme = self.epochs.scheme(number).ok_or_else(missing)?;
        let epoch = self.epochs.get(number).ok_or_else(missing)?;
        if let Some((before, handle)) = self.running.take() {
            handle.abort();
            // Its journal says nothing about later epochs; what cannot be removed does no harm.
            drop(context.remove(&self.partition(before), None).await);
        }
        tracing::info!(epoch = number, "validating");
        self.shared.tell_epoch(number);
        if self.epochs.alone(number) {
            // The executor orders by itself.
            return Ok(());
        }
        let Timing {
            leader,
            certification,
            retry,
            skip,
            ..
        } = self.timing;
        let engine = simplex::Engine::new(
            context.child("simplex").with_attribute("epoch", number),
            simplex::Config {
                scheme,
                elector: RoundRobin::<Sha256>::default(),
                blocker: self.blocker.clone(),
                automaton: self.application.clone(),
                relay: self.application.clone(),
                reporter: self.application.clone(),
                track_historical_votes: false,
                strategy: Sequential,
                partition: self.partition(number),
                mailbox_size: MAILBOX,
                epoch: EpochNumber::new(number),
                floor: Floor::Genesis(Digest(epoch.parent.0)),
                replay_buffer: BUFFER,
                write_buffer: BUFFER,
                page_cache: self.cache.clone(),
                leader_timeout: leader,
                certification_timeout: certification,
                timeout_retry: retry,
                view_retention: VIEWS_KEPT,
                skip: SkipPolicy::Enabled {
                    timeout: skip,
                    budget: simplex::SkipBudget::Participants,
                },
                fetch_timeout: positive(Duration::from_secs(2)),
                fetch_retry_delay: Duration::from_millis(100),
                forward: ForwardPolicy::Disabled,
            },
        );
        let closed = |_| Error::Stopped("the network ended".into());
        let votes = self.votes.register(number).await.map_err(closed)?;
        let certificates = self.certificates.register(number).await.map_err(closed)?;
        let requests = self.requests.register(number).await.map_err(closed)?;
        self.running = Some((number, engine.start(votes, certificates, requests)));
        Ok(())
    }

    fn partition(&self, number: u64) -> String {
        format!("{}simplex-{number}", self.prefix)
    }
}

fn archive_config<C>(
    name: &str,
    cache: &CacheRef,
    codec_config: C,
) -> prunable::Config<EightCap, C> {
    prunable::Config {
        translator: EightCap,
        metadata_partition: format!("{name}-meta"),
        key_partition: format!("{name}-key"),
        key_page_cache: cache.clone(),
        value_partition: format!("{name}-value"),
        compression: None,
        codec_config,
        items_per_section: ITEMS_PER_SECTION,
        key_write_buffer: BUFFER,
        value_write_buffer: BUFFER,
        replay_buffer: BUFFER,
    }
}

/// Passes own commands on to the other members.
async fn give_commands<E: Clock + Spawner, M: Machine>(
    context: E,
    shared: Arc<Shared<M>>,
    mut sender: impl Sender<PublicKey = PublicKey>,
) {
    loop {
        shared.outbox_ready.notified().await;
        loop {
            let commands = std::mem::take(&mut *crate::replica::lock(&shared.outbox));
            if commands.is_empty() {
                break;
            }
            let mut message = Vec::new();
            for command in commands {
                if message.len() + command.len() + 4 > COMMANDS_MESSAGE_LIMIT {
                    drop(sender.send(
                        Recipients::All,
                        IoBuf::from(std::mem::take(&mut message)),
                        false,
                    ));
                }
                message.extend_from_slice(&command.encode());
            }
            // Who is not reached gets them again while they wait.
            drop(sender.send(Recipients::All, IoBuf::from(message), false));
            // Many small messages would use up the quota; collect for a moment.
            context.sleep(COMMANDS_PAUSE).await;
        }
    }
}

/// Takes commands that other members pass on.
async fn take_commands<M: Machine>(
    shared: Arc<Shared<M>>,
    mut receiver: impl Receiver<PublicKey = PublicKey>,
) {
    use commonware_codec::{RangeCfg, Read as _};
    use salus_proto::command::COMMAND_LIMIT;
    while let Ok((_, message)) = receiver.recv().await {
        let mut rest = Bytes::copy_from_slice(message.as_ref());
        let mut grew = false;
        while !rest.is_empty() {
            let range = RangeCfg::from(1..=COMMAND_LIMIT);
            let Ok(command) = Bytes::read_cfg(&mut rest, &range) else {
                break;
            };
            grew |= shared.receive(command);
        }
        if grew {
            shared.pool_grew.notify_waiters();
        }
    }
}

fn positive(duration: Duration) -> NonZeroDuration {
    #[expect(clippy::expect_used, reason = "called with constants above zero")]
    NonZeroDuration::new(duration).expect("a duration above zero")
}
