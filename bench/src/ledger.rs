//! Signed commands a second, durable: one node in this process, and four validator processes.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use salus_replica::{Contract, Replica};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::sync::{mpsc, oneshot};

use crate::Setting;
use crate::commands::{prepare, signature_limit};
use crate::consortium::{Consortium, Person, Process};
use crate::measure::{Bar, Row, process_time, seconds_since};
use crate::validator;

/// People who sign commands.
const PEOPLE: u32 = 256;
/// Members, and clients, each of which waits for its command's durable entry before it sends the next.
/// Where there are more clients than people, several clients share a person's commands.
const LOADS: [(usize, usize); 4] = [(1, 64), (1, 256), (4, 256), (4, 1024)];
/// Commands prepared per second of load: more than this machine takes, so that they do not run out.
const PREPARED_PER_SECOND: u64 = 40_000;
/// How long first commands may fail until the members have found each other.
const MEETING: Duration = Duration::from_secs(60);

/// Where commands go.
#[derive(Clone)]
enum Target {
    /// The replica in this process.
    Here(Replica<Contract>),
    /// A validator process.
    There(Arc<Connection>),
}

impl Target {
    async fn submit(&self, command: Bytes) -> anyhow::Result<()> {
        match self {
            Self::Here(replica) => validator::submit(replica, command).await,
            Self::There(connection) => connection.submit(command).await,
        }
    }
}

/// What one load saw.
struct Seen {
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    /// Cores that this process kept busy.
    own_cores: f64,
}

#[derive(Default)]
struct Cell {
    seen: Vec<Seen>,
    /// The signature check alone, just before.
    limits: Vec<f64>,
}

impl Cell {
    fn column(&self, of: fn(&Seen) -> f64) -> Vec<f64> {
        self.seen.iter().map(of).collect()
    }

    fn mean(&self, of: fn(&Seen) -> f64) -> f64 {
        self.seen.iter().map(of).sum::<f64>() / self.seen.len().max(1) as f64
    }
}

pub(crate) async fn measure(setting: &Setting) -> anyhow::Result<Vec<Row>> {
    let people = Person::several(PEOPLE)?;
    let load = Duration::from_secs(setting.size(6, 1));
    let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let (mut one_core, mut all_cores) = (Vec::new(), Vec::new());
    let mut cells: BTreeMap<(usize, usize), Cell> = BTreeMap::new();
    let mut supplies: BTreeMap<usize, Vec<Vec<Bytes>>> = BTreeMap::new();
    for (_, clients) in LOADS {
        let staff = people.get(..clients.min(people.len())).unwrap_or(&people);
        let each = (load.as_secs() + 1) * PREPARED_PER_SECOND / staff.len() as u64;
        if let std::collections::btree_map::Entry::Vacant(supply) = supplies.entry(staff.len()) {
            supply.insert(prepare(staff, each)?);
        }
    }
    for _ in 0..setting.size(3, 1) {
        for (members, clients) in LOADS {
            let staff = people.get(..clients.min(people.len())).unwrap_or(&people);
            let folder = setting.folder("ledger")?;
            let consortium = Consortium::found(setting, &folder.join("c"), members, staff)?;
            // A fresh consortium has seen none of them.
            let commands = supplies.get(&staff.len()).context("commands")?.clone();
            one_core.push(signature_limit(staff, &commands, NonZeroUsize::MIN)?);
            let limit = signature_limit(staff, &commands, cores)?;
            all_cores.push(limit);
            let seen = match members {
                1 => one(&consortium, commands, clients, load).await?,
                _ => four(&consortium, commands, clients, load).await?,
            };
            let cell = cells.entry((members, clients)).or_default();
            cell.seen.push(seen);
            cell.limits.push(limit);
            crate::remove(&folder)?;
        }
    }
    let mut rows = vec![
        Row::new(
            "signature check alone, one thread",
            "signatures/s",
            one_core,
        ),
        Row::new(
            format!("signature check alone, {cores} threads"),
            "signatures/s",
            all_cores.clone(),
        ),
    ];
    for ((members, clients), cell) in &cells {
        let (who, must, aim) = match members {
            1 => ("one node", 20_000.0, Bar::TimesPeer(1.0)),
            _ => ("four validator processes", 5_000.0, Bar::AtLeast(12_000.0)),
        };
        let what = format!("ledger, {who}, {clients} clients");
        let note = format!(
            "p50 {:.1} ms, p99 {:.1} ms; the load and what it hosts used {:.2} cores",
            cell.mean(|s| s.p50_ms),
            cell.mean(|s| s.p99_ms),
            cell.mean(|s| s.own_cores)
        );
        rows.push(
            Row::new(&what, "commands/s", cell.column(|s| s.per_second))
                .beside("signature check alone, all cores", cell.limits.clone())
                .held_to(Bar::AtLeast(must), Some(aim))
                .noting(note),
        );
        let p99 = Row::new(format!("{what}, p99"), "ms", cell.column(|s| s.p99_ms));
        rows.push(if *members == 4 {
            p99.held_to(Bar::AtMost(300.0), None)
        } else {
            p99
        });
    }
    Ok(rows)
}

async fn one(
    consortium: &Consortium,
    commands: Vec<Vec<Bytes>>,
    clients: usize,
    load: Duration,
) -> anyhow::Result<Seen> {
    let running = consortium
        .seats
        .first()
        .context("a member")?
        .start_replica()?;
    let seen = drive(&[Target::Here(running.replica())], commands, clients, load).await;
    tokio::task::spawn_blocking(|| running.stop()).await??;
    seen
}

async fn four(
    consortium: &Consortium,
    commands: Vec<Vec<Bytes>>,
    clients: usize,
    load: Duration,
) -> anyhow::Result<Seen> {
    let mut processes = Vec::new();
    let mut targets = Vec::new();
    for seat in &consortium.seats {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("validator")
            .arg("--folder")
            .arg(&seat.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start a validator")?;
        let out = child.stdout.take().context("the validator's output")?;
        processes.push(Process::of(child));
        let mut port = String::new();
        let out = tokio::process::ChildStdout::from_std(out)?;
        tokio::time::timeout(MEETING, BufReader::new(out).read_line(&mut port))
            .await
            .context("a validator does not start")??;
        let port: u16 = port.trim().parse().context("the validator names no port")?;
        targets.push(Target::There(Connection::open(port).await?));
    }
    drive(&targets, commands, clients, load).await
}

/// Sends every client's commands one after the other for a second of warming up and then for `load`,
/// of which the answers are counted.
async fn drive(
    targets: &[Target],
    commands: Vec<Vec<Bytes>>,
    clients: usize,
    load: Duration,
) -> anyhow::Result<Seen> {
    let mut queues: Vec<_> = commands.into_iter().map(Vec::into_iter).collect();
    // The members find each other while these wait.
    for (queue, target) in queues.iter_mut().zip(targets) {
        let meeting = Instant::now();
        while let Err(error) = target
            .submit(queue.next().context("a first command")?)
            .await
        {
            ensure!(
                meeting.elapsed() < MEETING,
                "the members have not met in time: {error:#}"
            );
        }
    }
    let counting = Arc::new(AtomicBool::new(false));
    let stop = Arc::new(AtomicBool::new(false));
    let exhausted = Arc::new(AtomicUsize::new(0));
    let queues: Vec<_> = queues.into_iter().map(Mutex::new).map(Arc::new).collect();
    let tasks: Vec<_> = (0..clients)
        .filter_map(|client| {
            // Clients who share a person's commands go to the same member.
            let at = client % queues.len();
            Some((
                queues.get(at)?.clone(),
                targets.get(at % targets.len())?.clone(),
            ))
        })
        .map(|(queue, target)| {
            let (counting, stop, exhausted) = (counting.clone(), stop.clone(), exhausted.clone());
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let next = lock(&queue).next();
                    let Some(command) = next else {
                        exhausted.fetch_add(1, Ordering::Relaxed);
                        break;
                    };
                    let sent = Instant::now();
                    target.submit(command).await?;
                    if counting.load(Ordering::Relaxed) {
                        latencies.push(sent.elapsed());
                    }
                }
                anyhow::Ok(latencies)
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (start, own) = (Instant::now(), process_time());
    counting.store(true, Ordering::Relaxed);
    tokio::time::sleep(load).await;
    counting.store(false, Ordering::Relaxed);
    let (seconds, own) = (seconds_since(start), process_time() - own);
    let ran_out = exhausted.load(Ordering::Relaxed);
    stop.store(true, Ordering::Relaxed);
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await??);
    }
    ensure!(
        ran_out == 0,
        "{ran_out} of {clients} clients ran out of prepared commands"
    );
    ensure!(!latencies.is_empty(), "no command was answered");
    latencies.sort_unstable();
    let at = |percent: usize| {
        let place = (latencies.len() - 1) * percent / 100;
        latencies
            .get(place)
            .map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e3)
    };
    Ok(Seen {
        per_second: latencies.len() as f64 / seconds,
        p50_ms: at(50),
        p99_ms: at(99),
        own_cores: own.as_secs_f64() / seconds,
    })
}

/// The other end of a validator's way in.
struct Connection {
    next: AtomicU32,
    requests: mpsc::UnboundedSender<(u32, Bytes)>,
    waiting: Arc<Mutex<BTreeMap<u32, oneshot::Sender<bool>>>>,
}

type Waiting = Mutex<BTreeMap<u32, oneshot::Sender<bool>>>;

impl Connection {
    async fn open(port: u16) -> anyhow::Result<Arc<Self>> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        let (answers, mut writer) = stream.into_split();
        // Closed-loop clients bound it: each has one command on its way.
        let (requests, mut queue) = mpsc::unbounded_channel::<(u32, Bytes)>();
        let waiting = Arc::new(Waiting::default());
        tokio::spawn(async move {
            let (mut ready, mut bytes) = (Vec::new(), Vec::new());
            while queue.recv_many(&mut ready, 1024).await > 0 {
                bytes.clear();
                for (number, command) in ready.drain(..) {
                    let length = u32::try_from(command.len()).unwrap_or(u32::MAX);
                    bytes.extend_from_slice(&length.to_be_bytes());
                    bytes.extend_from_slice(&number.to_be_bytes());
                    bytes.extend_from_slice(&command);
                }
                if writer.write_all(&bytes).await.is_err() {
                    return;
                }
            }
        });
        tokio::spawn(Self::listen(answers, Arc::clone(&waiting)));
        Ok(Arc::new(Self {
            next: AtomicU32::new(0),
            requests,
            waiting,
        }))
    }

    async fn listen(answers: OwnedReadHalf, waiting: Arc<Waiting>) {
        let mut answers = BufReader::new(answers);
        while let Ok(number) = answers.read_u32().await
            && let Ok(accepted) = answers.read_u8().await
        {
            let waiter = lock(&waiting).remove(&number);
            if let Some(waiter) = waiter {
                // A client that has stopped waiting has no use for it.
                let _ = waiter.send(accepted == 1);
            }
        }
        // Lets go of everybody who waits.
        lock(&waiting).clear();
    }

    async fn submit(&self, command: Bytes) -> anyhow::Result<()> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        lock(&self.waiting).insert(number, sender);
        let sent = self.requests.send((number, command)).is_ok();
        ensure!(
            sent && answer.await.unwrap_or(false),
            "a validator did not accept a command"
        );
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has the one node execute all of these, `IN_FLIGHT` of each person at a time, until `entries` are in
/// the log or `patience` is over. Returns the log's length.
pub(crate) async fn fill(
    replica: &Replica<Contract>,
    commands: Vec<Vec<Bytes>>,
    entries: u64,
    patience: Duration,
) -> anyhow::Result<u64> {
    /// Well inside the contract's window of sequence numbers.
    const IN_FLIGHT: usize = 8;
    let end = Instant::now() + patience;
    let mut tasks = Vec::new();
    for queue in commands {
        let queue = Arc::new(Mutex::new(queue.into_iter()));
        for _ in 0..IN_FLIGHT {
            let (queue, replica) = (Arc::clone(&queue), replica.clone());
            tasks.push(tokio::spawn(async move {
                while Instant::now() < end {
                    let next = lock(&queue).next();
                    let Some(command) = next else { break };
                    validator::submit(&replica, command).await?;
                }
                anyhow::Ok(())
            }));
        }
    }
    for task in tasks {
        task.await??;
    }
    let size = replica.read()?.size();
    ensure!(size > 0 && size <= entries, "the log has {size} entries");
    Ok(size)
}
