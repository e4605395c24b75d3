//! The job of the round's figures: offered by every site, proposed, approved, followed to its end, and its
//! model compared with what the sites' constants make of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use salus_client::Error;
use salus_client::person::Person;
use salus_federated::{Job, digest};
use salus_proto::api::training::{
    DataSetRequest, DataSetView, JobStage, JobView, PIECE_LIMIT, RoundView,
};
use salus_proto::command::Action;
use salus_proto::federated::{
    Architecture, Augmentation, LocalTraining, Micro, Network, Normalisation, Optimiser, Plan,
    RosterEntry, Schedule, Strategy, TensorPolicy, TensorSpec,
};
use salus_proto::ids::{JobId, PrincipalId};
use salus_proto::role::Decision;
use salus_runtime::SystemClock;
use serde::Serialize;

use super::{CHANNELS, CLASSES, DEVIATION, SIZE_PX, samples, step};
use crate::consortium::{Seat, api};

/// As jobs that `salus federated propose` draws up.
const FRACTION_BITS: u8 = 26;
/// Longer than any round here.
const ROUND_MS: u64 = 600_000;
/// How long the nodes may take to find each other.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often the coordinator is asked whether the job is done.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The arguments of a job.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The consortium's folder, as `salus consortium init` made it, with one `coordinator` and `site-1`,
    /// `site-2` and so on; their nodes run.
    #[arg(long)]
    dir: PathBuf,
    /// Sites.
    #[arg(long)]
    sites: u8,
    /// Rounds.
    #[arg(long)]
    rounds: u32,
    /// JSON file with the shapes of the model's tensors, a list of lists.
    #[arg(long)]
    shapes: PathBuf,
    /// File with the first model: its values as little-endian `f32`, in the order of the shapes.
    #[arg(long)]
    model: PathBuf,
}

/// What is printed as JSON at the end.
#[derive(Debug, Serialize)]
struct Done {
    values: usize,
    /// When the ledger opened each round, ms since 1970.
    opened_ms: Vec<u64>,
    /// From there to the published model, ms.
    took_ms: Vec<u64>,
    /// Sites that each round counted.
    sites: Vec<u32>,
    /// Largest difference of a value of the last model from the closed form.
    max_abs_err: f64,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let done = runtime.block_on(work(arguments))?;
    println!("{}", serde_json::to_string(&done)?);
    Ok(())
}

async fn work(arguments: &Arguments) -> anyhow::Result<Done> {
    let shapes: Vec<Vec<u32>> = serde_json::from_slice(&std::fs::read(&arguments.shapes)?)?;
    let initial = Bytes::from(std::fs::read(&arguments.model)?);
    let coordinator = session(arguments, "coordinator").await?;
    let mut sites = Vec::new();
    for number in 0..arguments.sites {
        let name = format!("site-{}", u32::from(number) + 1);
        sites.push((number, session(arguments, &name).await?));
    }
    let mut roster = Vec::new();
    for (number, site) in &sites {
        let offered = offer(site).await?;
        roster.push(RosterEntry {
            site: site.organisation(),
            samples: samples(*number),
            data_set: offered.data_set,
        });
    }
    roster.sort_by_key(|entry| entry.site);
    let plan = plan(arguments, &shapes, roster, &initial);
    let (id, job) = (plan.job, Job::new(plan.clone())?);
    let proposed = Action::ProposeJob {
        plan: Box::new(plan),
    };
    coordinator.act(proposed).await?;
    let path = format!("/jobs/{id}/model");
    for at in (0..initial.len()).step_by(PIECE_LIMIT) {
        let end = initial.len().min(at + PIECE_LIMIT);
        let (piece, so_far) = (initial.slice(at..end), digest(&initial[..end]));
        let node = coordinator.node();
        node.put_piece(&path, at as u64, piece, &so_far).await?;
    }
    coordinator.node().post_empty(&path).await?;
    for (_, site) in &sites {
        let approval = Action::DecideJob {
            job: id,
            plan: job.digest(),
            decision: Decision::Approve,
        };
        site.act(approval).await?;
    }

    let view: JobView = loop {
        let view: JobView = coordinator.node().get(&format!("/jobs/{id}")).await?;
        if view.stage == JobStage::Done {
            break view;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    };
    let mut done = Done {
        values: job.layout().values(),
        opened_ms: Vec::new(),
        took_ms: Vec::new(),
        sites: Vec::new(),
        max_abs_err: f64::INFINITY,
    };
    for round in &view.history {
        let path = format!("/jobs/{id}/rounds/{}", round.round);
        let opened: RoundView = coordinator.node().get(&path).await?;
        done.opened_ms.push(opened.opened.0);
        done.took_ms.push(round.took_ms);
        done.sites.push(round.sites);
    }
    let path = format!("/jobs/{id}/rounds/{}/model", arguments.rounds);
    let last = coordinator.node().bytes(&path, None).await?;
    ensure!(digest(&last) == view.model, "the model is another one");
    done.max_abs_err = error(arguments, &initial, &last)?;
    Ok(done)
}

async fn session(arguments: &Arguments, name: &str) -> anyhow::Result<Person> {
    let seat = Seat {
        folder: arguments.dir.join(name),
    };
    let identity = seat.identity()?;
    let principal = PrincipalId(identity.organisation.0);
    let (node, keys) = (api(&seat)?, Arc::new(identity.keys));
    let clock = Arc::new(SystemClock::new());
    let start = Instant::now();
    loop {
        let session = Person::with_keys(&node, principal, keys.clone(), clock.clone()).await;
        match session {
            Err(Error::Unreachable { .. } | Error::Unavailable(_))
                if start.elapsed() < PATIENCE =>
            {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            session => return session.with_context(|| format!("no session at {name}")),
        }
    }
}

async fn offer(site: &Person) -> anyhow::Result<DataSetView> {
    let wish = DataSetRequest {
        classes: CLASSES.map(str::to_owned).to_vec(),
        channels: CHANNELS,
        size_px: SIZE_PX,
        test_percent: 0,
    };
    let start = Instant::now();
    loop {
        match site.node().post("/data-sets", &wish).await {
            // The members have not all found each other yet.
            Err(Error::Unavailable(_)) if start.elapsed() < PATIENCE => {}
            offered => return Ok(offered?),
        }
    }
}

fn plan(
    arguments: &Arguments,
    shapes: &[Vec<u32>],
    roster: Vec<RosterEntry>,
    initial: &[u8],
) -> Plan {
    let tensors = shapes.iter().enumerate().map(|(at, shape)| TensorSpec {
        name: format!("t{at}"),
        shape: shape.clone(),
        policy: TensorPolicy::Shared,
    });
    Plan {
        job: JobId([1; 16]),
        purpose: "what a round costs".into(),
        network: Network {
            architecture: Architecture::Small,
            normalisation: Normalisation::Group,
            classes: CLASSES.map(str::to_owned).to_vec(),
            channels: CHANNELS,
            size_px: SIZE_PX,
            input_mean: Micro(500_000),
            input_deviation: DEVIATION,
        },
        tensors: tensors.collect(),
        strategy: Strategy::FedAvg,
        training: LocalTraining {
            epochs: 1,
            batch: 1,
            optimiser: Optimiser::Adam,
            rate: Micro(1000),
            weight_decay: Micro(0),
            schedule: Schedule::Constant,
            class_weights: Vec::new(),
            augmentation: Augmentation::default(),
            label_smoothing: Micro(0),
            gradient_norm: Micro(0),
            seed: 0,
        },
        rounds: arguments.rounds,
        roster,
        quorum: u16::from(arguments.sites),
        round_ms: ROUND_MS,
        fraction_bits: FRACTION_BITS,
        metrics: Vec::new(),
        initial_model: digest(initial),
    }
}

/// How far the last model is from the first one moved by the mean of the sites' constants in every round.
fn error(arguments: &Arguments, first: &[u8], last: &[u8]) -> anyhow::Result<f64> {
    ensure!(first.len() == last.len(), "the model has another size");
    let weight = |number: u8| f64::from(samples(number));
    let whole: f64 = (0..arguments.sites).map(weight).sum();
    let moved: f64 = (0..arguments.sites)
        .map(|number| weight(number) * f64::from(step(number)))
        .sum();
    let expected = f64::from(arguments.rounds) * moved / whole;
    let values = |bytes: &[u8]| -> Vec<f32> {
        let (words, _) = bytes.as_chunks::<4>();
        words.iter().map(|word| f32::from_le_bytes(*word)).collect()
    };
    let (first, last) = (values(first), values(last));
    let differences = first
        .iter()
        .zip(&last)
        .map(|(first, last)| (f64::from(*last) - f64::from(*first) - expected).abs());
    Ok(differences.fold(0.0, f64::max))
}
