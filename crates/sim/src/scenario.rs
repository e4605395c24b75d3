//! One run: what goes wrong and when, and what must hold in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use commonware_p2p::Manager as _;
use commonware_p2p::simulated::{Config as NetworkConfig, Link, Network as Simulated};
use commonware_runtime::deterministic::{Config as RuntimeConfig, Context, Runner};
use commonware_runtime::{Clock as _, Runner as _, Spawner as _, Supervisor as _};
use commonware_utils::ordered::Set;
use commonware_utils::{NZUsize, probability};
use futures::future::join_all;
use salus_proto::command::{ENTRY_LIMIT, Entry, Outcome};
use salus_proto::encode::from_bytes;
use salus_proto::member::{Genesis, quorum};
use salus_replica::simulated::{Disk, Member, Network, message_limit, peer};
use salus_replica::{Contract, Replica, Stall, SubmitError};

use crate::consortium::{FOUNDED_MS, KEYS, MEMBERS, command, config, genesis};

/// Commands that a run submits.
const COMMANDS: u64 = 24;
/// Things that go wrong in a run.
const MISHAPS: u64 = 5;
/// Simulated time after which a consortium without faults must have settled.
const SETTLED_AFTER: Duration = Duration::from_secs(120);

/// What a run did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The seed.
    pub seed: u64,
    /// Entries in the log at the end.
    pub entries: u64,
    /// Commands that were acknowledged to who submitted them.
    pub acknowledged: u64,
    /// Members killed and started again.
    pub crashes: u64,
    /// Partitions of the network.
    pub partitions: u64,
    /// What the last member did.
    pub last: Last,
}

/// What the last member of a run does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    /// The same as the others.
    Honest,
    /// Signs other logs than the one that is.
    Lies,
    /// Sends rubbish.
    Raves,
}

/// What did not hold. The seed replays it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("seed {seed}: {reason}")]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// What did not hold.
    pub reason: String,
}

/// Runs the consortium of one seed.
///
/// # Errors
/// [`Failure`] says what did not hold: an acknowledged command lost, an entry applied twice, members
/// that disagree, a proof that does not verify, a store that is not sound.
pub fn simulate(seed: u64) -> Result<Summary, Failure> {
    run(seed, |context| async move {
        Run::new(context, seed, MEMBERS, true).await?.go().await
    })
}

/// Runs a consortium of one, whose power fails again and again.
///
/// # Errors
/// [`Failure`], as for [`simulate`].
pub fn simulate_alone(seed: u64) -> Result<Summary, Failure> {
    run(seed, |context| async move {
        Run::new(context, seed, 1, false).await?.go().await
    })
}

/// Fills one member's disk under load: it must stop acknowledging and say why while the others go on,
/// and have everything it acknowledged when it starts again with space.
///
/// # Errors
/// [`Failure`] says what did not hold.
pub fn simulate_full_disk(seed: u64) -> Result<(), Failure> {
    run(seed, |context| async move {
        let mut run = Run::new(context, seed, MEMBERS, false).await?;
        run.fill_disk().await
    })
}

fn run<T, F: Future<Output = Result<T, String>>>(
    seed: u64,
    scenario: impl FnOnce(Context) -> F,
) -> Result<T, Failure> {
    let runtime = RuntimeConfig::new()
        .with_seed(seed)
        .with_start_time(UNIX_EPOCH + Duration::from_millis(FOUNDED_MS))
        .with_timeout(Some(Duration::from_secs(1800)));
    let outcome = Runner::new(runtime).start(scenario);
    outcome.map_err(|reason| Failure { seed, reason })
}

/// A small generator for the plan of a run; the runtime has its own (Steele, Lea, Flood:
/// "Fast splittable pseudorandom number generators", `SplitMix64`).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is small and not zero.
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap_or(0)
    }

    fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.next() % (to - from))
    }
}

struct Run {
    context: Context,
    network: Network,
    chance: Chance,
    disks: Vec<Disk>,
    ahead_ms: Vec<u64>,
    genesis: Genesis,
    members: Vec<Option<Member<Contract>>>,
    /// Members that run replicas; the others lie.
    honest: usize,
    cut: BTreeSet<(usize, usize)>,
    summary: Summary,
}

type Acknowledged = BTreeMap<u64, Bytes>;

impl Run {
    async fn new(
        context: Context,
        seed: u64,
        members: usize,
        traitors: bool,
    ) -> Result<Self, String> {
        let mut chance = Chance(seed);
        let last = match chance.below(8) {
            0 if traitors => Last::Lies,
            1 if traitors => Last::Raves,
            _ => Last::Honest,
        };
        let (simulated, network) = Simulated::new(
            context.child("network"),
            NetworkConfig {
                max_size: message_limit(),
                max_peers_per_set: NZUsize!(MEMBERS),
                disconnect_on_block: true,
                tracked_peer_sets: NZUsize!(2),
            },
        );
        simulated.start();
        let peers: Vec<_> = KEYS
            .iter()
            .take(members)
            .filter_map(|keys| peer(&keys.member))
            .collect();
        let _ = network.manager().track(0, Set::from_iter_dedup(peers));
        let ahead_ms = (0..members).map(|_| chance.next() % 1000).collect();
        let mut run = Self {
            context,
            network,
            chance,
            disks: (0..members).map(|_| Disk::default()).collect(),
            ahead_ms,
            genesis: genesis(members),
            members: (0..members).map(|_| None).collect(),
            honest: members - usize::from(last != Last::Honest),
            cut: BTreeSet::new(),
            summary: Summary {
                seed,
                entries: 0,
                acknowledged: 0,
                crashes: 0,
                partitions: 0,
                last,
            },
        };
        for from in 0..members {
            for to in 0..members {
                run.connect(from, to).await?;
            }
        }
        for number in 0..run.honest {
            run.start(number).await?;
        }
        if last != Last::Honest {
            let number = members - 1;
            let member = KEYS.get(number).ok_or("no such member")?.member.clone();
            let config =
                config(&run.genesis, number, Disk::default(), 0).ok_or("no such member")?;
            let raves = last == Last::Raves;
            let liar = config.lie(&run.context, &run.network, member, raves).await;
            drop(liar.map_err(|error| error.to_string())?);
        }
        Ok(run)
    }

    async fn go(&mut self) -> Result<Summary, String> {
        // Commands come from all sides while things go wrong.
        let acknowledged = std::sync::Arc::new(std::sync::Mutex::new(Acknowledged::new()));
        let mut clients = Vec::new();
        for number in 0..COMMANDS {
            let author = self.chance.below(self.honest);
            let command = command(author, number + 1).ok_or("no such member")?;
            let via = self.chance.below(self.honest);
            let delay = self.chance.millis(0, 20_000);
            clients.push((command, via, delay));
        }
        clients.sort_by_key(|(_, _, delay)| *delay);
        let mut mishaps: Vec<Duration> = (0..MISHAPS)
            .map(|_| self.chance.millis(500, 22_000))
            .collect();
        mishaps.sort();
        let start = self.context.current();
        let mut waiting = Vec::new();
        let mut clients = clients.into_iter().peekable();
        let mut mishaps = mishaps.into_iter().peekable();
        loop {
            let next_command = clients.peek().map(|(_, _, at)| *at);
            let next_mishap = mishaps.peek().copied();
            let next = match (next_command, next_mishap) {
                (None, None) => break,
                (a, b) => a.into_iter().chain(b).min().unwrap_or_default(),
            };
            self.context.sleep_until(start + next).await;
            if next_mishap == Some(next) {
                mishaps.next();
                self.mishap().await?;
                continue;
            }
            let Some((command, via, _)) = clients.next() else {
                continue;
            };
            let Some(member) = self.members.get(via).and_then(Option::as_ref) else {
                continue;
            };
            let (replica, acknowledged) = (member.replica(), acknowledged.clone());
            waiting.push(self.context.child("client").spawn(move |_| async move {
                if let Ok(committed) = replica.submit(command).await {
                    let mut all = acknowledged.lock().map_err(|e| e.to_string())?;
                    if all
                        .insert(committed.index, committed.entry.clone())
                        .is_some()
                    {
                        return Err(format!("two commands were given entry {}", committed.index));
                    }
                }
                Ok::<_, String>(())
            }));
        }
        self.heal().await?;
        for client in waiting {
            client.await.map_err(|error| error.to_string())??;
        }
        let acknowledged = acknowledged.lock().map_err(|e| e.to_string())?.clone();
        self.summary.acknowledged = acknowledged.len() as u64;
        self.settle().await?;
        self.compare(&acknowledged)?;
        self.check_stores().await?;
        Ok(self.summary.clone())
    }

    async fn fill_disk(&mut self) -> Result<(), String> {
        let mut acknowledged = Acknowledged::new();
        let submit = async |replica: &Replica<Contract>, sequence| {
            let command = command(0, sequence).ok_or("no such member")?;
            replica
                .submit(command)
                .await
                .map_err(|error| error.to_string())
        };
        let all = self.replicas();
        let [victim, other, ..] = all.as_slice() else {
            return Err("too few members".into());
        };
        let committed = submit(victim, 1).await?;
        acknowledged.insert(committed.index, committed.entry);
        self.disks.first().ok_or("no such disk")?.fill(true);
        let error = submit(victim, 2)
            .await
            .err()
            .ok_or("acknowledged without space")?;
        let expected = salus_replica::Error::DiskFull;
        let stalled = victim.status().stalled;
        if error != expected.to_string() || stalled != Some(Stall::Failed(expected)) {
            return Err(format!("a full disk is told as {error}; {stalled:?}"));
        }
        let committed = submit(other, 3).await?;
        acknowledged.insert(committed.index, committed.entry);
        self.disks.first().ok_or("no such disk")?.fill(false);
        self.crash(0).await?;
        self.heal().await?;
        self.settle().await?;
        self.compare(&acknowledged)?;
        self.check_stores().await
    }

    async fn mishap(&mut self) -> Result<(), String> {
        let number = self.chance.below(self.honest);
        match self.chance.below(4) {
            0 | 1 => self.crash(number).await?,
            2 => {
                for other in (0..self.members.len()).filter(|other| *other != number) {
                    self.disconnect(number, other).await?;
                    self.disconnect(other, number).await?;
                }
                self.summary.partitions += 1;
            }
            _ => self.heal_network().await?,
        }
        // A crashed member comes back with the next mishap, at the latest.
        let back = self.chance.below(self.honest);
        if self.members.get(back).is_some_and(Option::is_none) {
            self.start(back).await?;
        }
        Ok(())
    }

    /// Kills a member; what its disk had not synced may be lost or torn.
    async fn crash(&mut self, number: usize) -> Result<(), String> {
        let Some(member) = self.members.get_mut(number).and_then(Option::take) else {
            return Ok(());
        };
        member.kill().await;
        // Every task of the member is gone before its files are opened again.
        self.context.sleep(Duration::from_millis(100)).await;
        let chance = &mut self.chance;
        self.disks
            .get(number)
            .ok_or("no such disk")?
            .crash(|bound| chance.below(bound));
        self.summary.crashes += 1;
        Ok(())
    }

    async fn start(&mut self, number: usize) -> Result<(), String> {
        let disk = self.disks.get(number).ok_or("no such disk")?.clone();
        let ahead_ms = self.ahead_ms.get(number).copied().unwrap_or(0);
        let config = config(&self.genesis, number, disk, ahead_ms).ok_or("no such member")?;
        let machine = Contract::new(self.genesis.clone());
        let member = config.start(&self.context, &self.network, machine).await;
        let member = member.map_err(|error| format!("member {number} does not start: {error}"))?;
        *self.members.get_mut(number).ok_or("no such member")? = Some(member);
        Ok(())
    }

    async fn connect(&mut self, from: usize, to: usize) -> Result<(), String> {
        let link = Link {
            latency: self.chance.millis(2, 40),
            jitter: self.chance.millis(0, 10),
            success_rate: probability!(0.98),
        };
        let (Some(a), Some(b)) = (KEYS.get(from), KEYS.get(to)) else {
            return Ok(());
        };
        if from != to
            && let (Some(a), Some(b)) = (peer(&a.member), peer(&b.member))
        {
            self.network
                .add_link(a, b, link)
                .await
                .map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    async fn disconnect(&mut self, from: usize, to: usize) -> Result<(), String> {
        let (Some(a), Some(b)) = (KEYS.get(from), KEYS.get(to)) else {
            return Ok(());
        };
        if self.cut.insert((from, to))
            && let (Some(a), Some(b)) = (peer(&a.member), peer(&b.member))
        {
            self.network
                .remove_link(a, b)
                .await
                .map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    async fn heal_network(&mut self) -> Result<(), String> {
        for (from, to) in std::mem::take(&mut self.cut) {
            self.connect(from, to).await?;
        }
        Ok(())
    }

    async fn heal(&mut self) -> Result<(), String> {
        self.heal_network().await?;
        for number in 0..self.honest {
            if self.members.get(number).is_some_and(Option::is_none) {
                self.start(number).await?;
            }
        }
        Ok(())
    }

    fn replicas(&self) -> Vec<Replica<Contract>> {
        self.members.iter().flatten().map(Member::replica).collect()
    }

    /// With everything healed, a last command of each member must be ordered and certified by all.
    async fn settle(&mut self) -> Result<(), String> {
        let replicas = self.replicas();
        let mut size = 0;
        for (number, replica) in replicas.iter().enumerate() {
            let command = command(number, COMMANDS + 1).ok_or("no such member")?;
            let deadline = self.context.current() + SETTLED_AFTER;
            loop {
                match replica.submit(command.clone()).await {
                    Ok(committed) => {
                        size = committed.index + 1;
                        break;
                    }
                    Err(SubmitError::AlreadyOrdered | SubmitError::Refused(_)) => break,
                    Err(error) if self.context.current() >= deadline => {
                        return Err(format!("member {number} cannot write: {error}"));
                    }
                    Err(_) => {}
                }
            }
        }
        let everywhere = join_all(replicas.iter().map(|replica| replica.certified_at(size)));
        let certified = self.within(everywhere).await?;
        for certified in certified {
            certified.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Waits for what must come about soon.
    async fn within<T>(&self, future: impl Future<Output = T>) -> Result<T, String> {
        let late = self.context.sleep(SETTLED_AFTER);
        futures::pin_mut!(future);
        futures::pin_mut!(late);
        match futures::future::select(future, late).await {
            futures::future::Either::Left((output, _)) => Ok(output),
            futures::future::Either::Right(_) => {
                let states: Vec<_> = self
                    .replicas()
                    .iter()
                    .map(|replica| format!("{:?}", replica.status()))
                    .collect();
                Err(format!("the members do not settle: {}", states.join("; ")))
            }
        }
    }

    /// Every member has the same log, with all that was acknowledged in it and nothing twice.
    fn compare(&mut self, acknowledged: &Acknowledged) -> Result<(), String> {
        let replicas = self.replicas();
        let mut first: Option<Vec<(u64, Vec<u8>)>> = None;
        let smallest = replicas
            .iter()
            .filter_map(Replica::certified)
            .map(|c| c.checkpoint.size);
        let size = smallest.min().ok_or("nothing is certified")?;
        for (number, replica) in replicas.iter().enumerate() {
            let view = replica.read().map_err(|error| error.to_string())?;
            let mut entries = view.entries(0, 1024).map_err(|error| error.to_string())?;
            entries.truncate(usize::try_from(size).unwrap_or(usize::MAX));
            match &first {
                Some(first) if *first != entries => {
                    return Err(format!("member {number} has another log"));
                }
                Some(_) => {}
                None => first = Some(entries.clone()),
            }
            let certified = replica.certified().ok_or("nothing is certified")?;
            for (index, entry) in &entries {
                let proof = view
                    .inclusion(*index, certified.checkpoint.size)
                    .map_err(|error| error.to_string())?;
                proof
                    .verify(
                        &salus_ledger::tree::leaf_hash(entry),
                        &certified.checkpoint.root,
                    )
                    .map_err(|error| format!("entry {index} at member {number}: {error}"))?;
            }
            if self.summary.last == Last::Lies
                && replica.evidence().map_err(|e| e.to_string())?.is_empty()
            {
                return Err(format!("member {number} has no evidence of the liar"));
            }
        }
        let entries = first.ok_or("no member runs")?;
        self.summary.entries = entries.len() as u64;
        let mut seen = BTreeSet::new();
        for (index, bytes) in &entries {
            let entry: Entry =
                from_bytes(bytes, ENTRY_LIMIT, "entry").map_err(|error| error.to_string())?;
            if entry.outcome == Outcome::Accepted && !seen.insert(entry.signed_command) {
                return Err(format!("the command of entry {index} was applied twice"));
            }
        }
        for (index, entry) in acknowledged {
            let stored = entries
                .iter()
                .find(|(at, _)| at == index)
                .map(|(_, bytes)| &bytes[..]);
            if stored != Some(&entry[..]) {
                return Err(format!("acknowledged entry {index} is lost"));
            }
        }
        if entries.len() < acknowledged.len() || replicas.len() < quorum(self.members.len()) {
            return Err("too few entries or members".into());
        }
        Ok(())
    }

    /// Every store is sound after one more crash.
    async fn check_stores(&mut self) -> Result<(), String> {
        for number in 0..self.honest {
            self.crash(number).await?;
            self.summary.crashes -= 1;
            let disk = self.disks.get(number).ok_or("no such disk")?.clone();
            let config = config(&self.genesis, number, disk, 0).ok_or("no such member")?;
            let report = config
                .check(Contract::new(self.genesis.clone()))
                .map_err(|error| format!("store of member {number}: {error}"))?;
            if let Some(finding) = report.findings.first() {
                return Err(format!("store of member {number}: {finding}"));
            }
        }
        Ok(())
    }
}
