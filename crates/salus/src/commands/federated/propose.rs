//! Proposing a job: a plan over offered data sets, on the ledger, and the model that it starts from.

use anyhow::{Context as _, ensure};
use salus_client::person::Person;
use salus_federated::{Job, Layout, Model};
use salus_imaging::network::Blueprint;
use salus_imaging::site::{shared, tensors};
use salus_imaging::weights::Weights;
use salus_proto::Digest;
use salus_proto::api::training::{DataSetView, PIECE_LIMIT, TrainingUpload};
use salus_proto::command::Action;
use salus_proto::federated::{MetricSpec, Micro, Network, Plan, RosterEntry};
use salus_proto::ids::JobId;
use salus_runtime::entropy::SystemEntropy;
use serde::Serialize;

use super::super::session::{Actor, block_on};
use super::Recipe;
use crate::output::{Exit, Output};

/// Values up to ±2^4 travel; steps are 2^-26.
const FRACTION_BITS: u8 = 26;
/// Figures are reported in steps of a thousandth, over at least so many images.
const METRIC_STEP: u32 = 1000;
const MINIMUM_IMAGES: u32 = 10;

/// Propose a job over offered data sets, as its coordinator.
///
/// The plan fixes everything: network, strategy and constants, rounds, sites with their data versions,
/// quorum, deadline, what sites may report, the purpose. Each hospital decides for itself whether it takes
/// part; rounds begin once a quorum does.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  salus federated propose --config cloud/node.toml --purpose 'pneumonia triage' --rounds 10 --quorum 2")]
pub(crate) struct Propose {
    #[command(flatten)]
    actor: Actor,
    /// Why, in plain words: what the hospitals agree to.
    #[arg(long)]
    purpose: String,
    /// Data sets to train on; all that are offered and fit each other if absent.
    #[arg(long, value_delimiter = ',')]
    data_sets: Vec<Digest>,
    /// Updates without which no round closes; all sites if absent.
    #[arg(long)]
    quorum: Option<u16>,
    /// Seconds after which a round closes with a quorum.
    #[arg(long, default_value_t = 3600)]
    deadline: u64,
    #[command(flatten)]
    recipe: Recipe,
}

#[derive(Debug, Serialize)]
struct Proposed {
    job: JobId,
    plan: Digest,
    sites: usize,
    values: usize,
    entry: u64,
}

pub(super) fn run(propose: &Propose, output: &Output) -> anyhow::Result<Exit> {
    block_on(async {
        let person = propose.actor.session().await?;
        let offered: Vec<DataSetView> = person.node().all("/data-sets").await?;
        let chosen = choose(offered, &propose.data_sets)?;
        let (job, model) = propose.plan(&chosen)?;
        let action = Action::ProposeJob {
            plan: Box::new(job.plan().clone()),
        };
        let receipt = person.act(action).await?;
        upload(&person, job.plan().job, &model).await?;
        let proposed = Proposed {
            job: job.plan().job,
            plan: job.digest(),
            sites: chosen.len(),
            values: job.layout().values(),
            entry: receipt.entry,
        };
        output.report(&proposed, |p| {
            format!(
                "Proposed as {} to {} sites, {} values.\nEach hospital decides with `salus federated \
                 approve {}`.",
                p.job, p.sites, p.values, p.job
            )
        })?;
        Ok(Exit::Done)
    })
}

/// The newest fitting data set of each hospital, or the named ones.
fn choose(offered: Vec<DataSetView>, named: &[Digest]) -> anyhow::Result<Vec<DataSetView>> {
    for digest in named {
        let known = offered.iter().any(|set| set.data_set == *digest);
        ensure!(known, "no hospital offers the data set {digest}");
    }
    let mut chosen: Vec<DataSetView> = Vec::new();
    for set in offered {
        if !named.is_empty() && !named.contains(&set.data_set) {
            continue;
        }
        // In the order of the ledger, so a later offer of the same hospital takes its place.
        chosen.retain(|other| other.owner != set.owner);
        chosen.push(set);
    }
    let newest = chosen.last().cloned();
    let newest = newest.context("no hospital offers images; see `salus federated offer`")?;
    let fits = |set: &DataSetView| {
        set.classes == newest.classes
            && (set.channels, set.size_px) == (newest.channels, newest.size_px)
    };
    ensure!(
        named.is_empty() || chosen.iter().all(fits),
        "the data sets have different classes, channels or sizes"
    );
    chosen.retain(fits);
    chosen.sort_by_key(|set| set.owner);
    Ok(chosen)
}

impl Propose {
    fn plan(&self, sets: &[DataSetView]) -> anyhow::Result<(Job, Vec<u8>)> {
        let first = sets.first().context("there is no data set")?;
        let images =
            |set: &DataSetView| -> u64 { set.training_images.iter().map(|n| u64::from(*n)).sum() };
        let whole: u64 = sets.iter().map(images).sum();
        let (mean, deviation) = pooled(sets, whole);
        let network = Network {
            architecture: self.recipe.architecture(),
            normalisation: self.recipe.normalisation(),
            classes: first.classes.clone(),
            channels: first.channels,
            size_px: first.size_px,
            input_mean: mean,
            input_deviation: deviation,
        };
        let blueprint = Blueprint::new(&network)?;
        let strategy = self.recipe.strategy(sets.len())?;
        let mut training = self.recipe.training()?;
        if self.recipe.class_weights {
            training.class_weights = class_weights(sets, whole)?;
        }
        let weights = Weights::initial(&blueprint, training.seed);
        let roster = sets.iter().map(|set| {
            Ok(RosterEntry {
                site: set.owner,
                samples: u32::try_from(images(set)).context("too many images")?,
                data_set: set.data_set,
            })
        });
        let metric = |name: &str| MetricSpec {
            name: name.to_owned(),
            step: METRIC_STEP,
            minimum_images: MINIMUM_IMAGES,
        };
        let all = u16::try_from(sets.len()).context("too many sites")?;
        let mut plan = Plan {
            job: JobId::random(&mut SystemEntropy),
            purpose: self.purpose.clone(),
            tensors: tensors(&blueprint, &strategy),
            network,
            strategy,
            training,
            rounds: self.recipe.rounds,
            roster: roster.collect::<anyhow::Result<_>>()?,
            quorum: self.quorum.unwrap_or(all),
            round_ms: self.deadline.saturating_mul(1000),
            fraction_bits: FRACTION_BITS,
            metrics: vec![metric("loss"), metric("auc"), metric("accuracy")],
            initial_model: Digest::default(),
        };
        let layout = Layout::of(&plan)?;
        let model = Model::new(&layout, shared(&weights, &plan))?;
        plan.initial_model = model.digest();
        Ok((Job::new(plan)?, model.to_bytes()))
    }
}

/// Mean and deviation of all sites' training pixels, from what each site stated.
fn pooled(sets: &[DataSetView], whole: u64) -> (Micro, Micro) {
    let whole = whole.max(1) as f64;
    let share = |set: &DataSetView| {
        let images: u64 = set.training_images.iter().map(|n| u64::from(*n)).sum();
        images as f64 / whole
    };
    let value = |millionths: i64| Micro(millionths).to_f64();
    let mean: f64 = sets.iter().map(|s| share(s) * value(s.pixel_mean)).sum();
    let square = |s: &DataSetView| value(s.pixel_deviation).powi(2) + value(s.pixel_mean).powi(2);
    let squares: f64 = sets.iter().map(|s| share(s) * square(s)).sum();
    let deviation = (squares - mean * mean).max(1e-6).sqrt();
    let micro = |value| Micro::from_f64(value).unwrap_or(Micro::ONE);
    (micro(mean), micro(deviation))
}

/// Weights by the inverse of each class's frequency over all sites.
fn class_weights(sets: &[DataSetView], whole: u64) -> anyhow::Result<Vec<Micro>> {
    let classes = sets.first().map_or(0, |set| set.classes.len());
    let weight = |class: usize| {
        let count: u64 = sets
            .iter()
            .filter_map(|set| set.training_images.get(class))
            .map(|n| u64::from(*n))
            .sum();
        let weight = whole as f64 / (classes as f64 * count.max(1) as f64);
        Micro::from_f64(weight).context("a class weight is out of range")
    };
    (0..classes).map(weight).collect()
}

/// Brings the first model to the coordinator's node; what has arrived before is not sent again.
async fn upload(person: &Person, job: JobId, model: &[u8]) -> anyhow::Result<()> {
    let path = format!("/jobs/{job}/model");
    let node = person.node();
    let state: TrainingUpload = node.get(&path).await?;
    let mut at = usize::try_from(state.arrived)?;
    while at < model.len() {
        let end = model.len().min(at + PIECE_LIMIT);
        let piece = model.get(at..end).unwrap_or_default().to_vec();
        let answer = node
            .put_piece(&format!("{path}?at={at}"), piece.into())
            .await?;
        at = usize::try_from(answer.arrived)?;
    }
    Ok(node.post_empty(&path).await?)
}
