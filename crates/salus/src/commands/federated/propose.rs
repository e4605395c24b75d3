//! Proposing a job: a plan over offered data sets, on the ledger, and the model that it starts from.

use anyhow::{Context as _, ensure};
use salus_client::person::Person;
use salus_crypto::digest::Sha256;
use salus_proto::Digest;
use salus_proto::api::training::{DataSetView, PIECE_LIMIT, TrainingUpload};
use salus_proto::command::Action;
use salus_proto::ids::JobId;
use serde::Serialize;

use super::super::session::{Actor, block_on};
use crate::output::{Exit, Output};
use crate::training::{Recipe, Terms, plan};

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
        let terms = Terms {
            purpose: propose.purpose.clone(),
            quorum: propose.quorum,
            round_ms: propose.deadline.saturating_mul(1000),
        };
        let (job, model) = plan(&propose.recipe, &terms, &chosen)?;
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
    // Sets that were named must fit each other, which drawing up the plan checks.
    chosen.retain(|set| !named.is_empty() || fits(set));
    chosen.sort_by_key(|set| set.owner);
    Ok(chosen)
}

/// Brings the first model to the coordinator's node; what has arrived before is not sent again.
async fn upload(person: &Person, job: JobId, model: &[u8]) -> anyhow::Result<()> {
    let path = format!("/jobs/{job}/model");
    let node = person.node();
    let state: TrainingUpload = node.get(&path).await?;
    let mut at = usize::try_from(state.arrived)?;
    let mut hasher = Sha256::new();
    hasher.update(model.get(..at).unwrap_or_default());
    while at < model.len() {
        let end = model.len().min(at + PIECE_LIMIT);
        let piece = model.get(at..end).unwrap_or_default().to_vec();
        hasher.update(&piece);
        let so_far = hasher.clone().finish();
        let answer = node
            .put_piece(&path, at as u64, piece.into(), &so_far)
            .await?;
        ensure!(
            answer.arrived == end as u64,
            "the model was spoilt on its way; try again"
        );
        at = end;
    }
    Ok(node.post_empty(&path).await?)
}
