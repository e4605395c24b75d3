//! Jobs of the consortium: offering data, deciding, following, and what came of them.

use anyhow::Context as _;
use salus_client::person::Person;
use salus_federated::digest;
use salus_proto::api::training::{
    DataSetRequest, DataSetView, GainView, JobStage, JobView, LineageView, OwnFigures,
    RoundSummary, SiteActivity, SiteView,
};
use salus_proto::command::Action;
use salus_proto::ids::JobId;
use salus_proto::role::Decision;

use super::super::session::{Actor, block_on};
use crate::output::{Exit, Output};

/// Offer a hospital's labelled images for training.
///
/// The hospital's node opens the images that were taken in with a label (a manifest.csv with the
/// columns file, patient and label) and states on the ledger how many there are, never which. Images
/// with the split `test`, or else a share of each class's patients, are kept for the hospital's own tests.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  salus federated offer --config north/node.toml --classes normal,pneumonia --size 64")]
pub(crate) struct Offer {
    #[command(flatten)]
    actor: Actor,
    /// Class names in the order of the network's outputs.
    #[arg(long, value_delimiter = ',', required = true)]
    classes: Vec<String>,
    /// Pixels a side, 28 to 256.
    #[arg(long, default_value_t = 64)]
    size: u16,
    /// Colour channels, 1 or 3.
    #[arg(long, default_value_t = 1)]
    channels: u8,
    /// Per cent of each class's patients kept for the hospital's own tests, where the manifest does not
    /// say.
    #[arg(long, default_value_t = 20)]
    test_percent: u8,
}

/// One job, asked about by somebody.
#[derive(Debug, clap::Args)]
pub(crate) struct OfJob {
    #[command(flatten)]
    actor: Actor,
    /// The job.
    job: JobId,
}

pub(super) fn offer(offer: &Offer, output: &Output) -> anyhow::Result<Exit> {
    block_on(async {
        let wish = DataSetRequest {
            classes: offer.classes.clone(),
            channels: offer.channels,
            size_px: offer.size,
            test_percent: offer.test_percent,
        };
        let person = offer.actor.session().await?;
        let view: DataSetView = person.node().post("/data-sets", &wish).await?;
        output.report(&view, data_words)?;
        Ok(Exit::Done)
    })
}

pub(super) fn data(actor: &Actor, output: &Output) -> anyhow::Result<Exit> {
    block_on(async {
        let sets: Vec<DataSetView> = actor.session().await?.node().all("/data-sets").await?;
        for set in sets {
            output.report(&set, data_words)?;
        }
        Ok(Exit::Done)
    })
}

fn data_words(set: &DataSetView) -> String {
    let counts = set
        .classes
        .iter()
        .zip(&set.training_images)
        .zip(&set.test_images)
        .map(|((class, training), test)| format!("{class} {training} + {test} for tests"));
    let counts: Vec<String> = counts.collect();
    format!(
        "{}  of {}  {} px: {}",
        set.data_set,
        set.owner,
        set.size_px,
        counts.join(", ")
    )
}

pub(super) fn decide(of: &OfJob, decision: Decision, output: &Output) -> anyhow::Result<Exit> {
    block_on(async {
        let person = of.actor.session().await?;
        // What is approved is the plan that this hospital's own node has on its ledger.
        let path = format!("/jobs/{}/plan", of.job);
        let plan = digest(&person.node().bytes(&path, None).await?);
        let action = Action::DecideJob {
            job: of.job,
            plan,
            decision,
        };
        let receipt = person.act(action).await?;
        output.report(&receipt, |r| match decision {
            Decision::Approve => format!("Takes part in {} (entry {}).", of.job, r.entry),
            Decision::Refuse => format!("Takes no part in {} (entry {}).", of.job, r.entry),
        })?;
        Ok(Exit::Done)
    })
}

pub(super) fn list(actor: &Actor, output: &Output) -> anyhow::Result<Exit> {
    block_on(async {
        let jobs: Vec<JobView> = actor.session().await?.node().all("/jobs").await?;
        for job in jobs {
            output.report(&job, |job| {
                format!(
                    "{}  {}  round {} of {}  {}",
                    job.job,
                    stage(job.stage),
                    (job.round + 1).min(job.rounds),
                    job.rounds,
                    job.purpose
                )
            })?;
        }
        Ok(Exit::Done)
    })
}

pub(super) fn status(of: &OfJob, output: &Output) -> anyhow::Result<Exit> {
    block_on(async {
        let person = of.actor.session().await?;
        let path = format!("/jobs/{}", of.job);
        let job: JobView = seeing(&person, &path).await?.node().get(&path).await?;
        output.report(&job, job_words)?;
        Ok(Exit::Done)
    })
}

pub(super) fn watch(of: &OfJob, output: &Output) -> anyhow::Result<Exit> {
    block_on(async {
        let person = of.actor.session().await?;
        let path = format!("/jobs/{}", of.job);
        let mut person = seeing(&person, &path).await?;
        let mut version = None;
        let mut shown = (None, 0);
        loop {
            let wait = version.map_or(path.clone(), |v| format!("{path}?after={v}"));
            let job: JobView = match person.node().get(&wait).await {
                Ok(job) => job,
                // The coordinator is away; this person's own node still has the ledger.
                Err(salus_client::Error::Unreachable { .. }) => {
                    person = of.actor.session().await?;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            if version != Some(job.version) {
                version = Some(job.version);
                let news = (Some(live_words(&job)), job.history.len());
                if output.is_json() {
                    output.report(&job, job_words)?;
                } else if news != shown {
                    let known = shown.1.min(job.history.len());
                    for round in job.history.get(known..).unwrap_or_default() {
                        output.report(round, round_words)?;
                    }
                    if news.0 != shown.0 {
                        output.report(&job, live_words)?;
                    }
                }
                shown = news;
            }
            if job.stage == JobStage::Done {
                return Ok(Exit::Done);
            }
        }
    })
}

/// A session at the coordinator's node, which sees most of a job, or the person's own if that does not
/// answer.
async fn seeing(person: &Person, path: &str) -> anyhow::Result<Person> {
    let job: JobView = person.node().get(path).await?;
    let there = person.at(&job.coordinator_api).await;
    Ok(there.unwrap_or_else(|_| person.clone()))
}

pub(super) fn gain(of: &OfJob, output: &Output) -> anyhow::Result<Exit> {
    block_on(async {
        let person = of.actor.session().await?;
        let path = format!("/jobs/{}/gain", of.job);
        let gain: GainView = person.node().get(&path).await.context(
            "there is nothing to show before the job is done and the hospital has tested both models",
        )?;
        output.report(&gain, |g| {
            format!(
                "On the hospital's own {} test images of {} patients:\n  together: {}\n  alone:    {}",
                g.images,
                g.patients,
                figures(&g.together),
                figures(&g.alone)
            )
        })?;
        Ok(Exit::Done)
    })
}

pub(super) fn lineage(of: &OfJob, output: &Output) -> anyhow::Result<Exit> {
    block_on(async {
        let person = of.actor.session().await?;
        let path = format!("/jobs/{}/lineage", of.job);
        let lineage: LineageView = person.node().get(&path).await?;
        output.report(&lineage, |l| {
            let sites = l.sites.iter().map(|s| {
                format!(
                    "\n  {}: {} images of data version {}, counted in {} rounds",
                    s.name, s.samples, s.data_set, s.counted
                )
            });
            format!(
                "Model {}\nPlan {}: {}\n{} rounds, {} uses, members:{}",
                l.model,
                l.plan,
                l.purpose,
                l.rounds.len(),
                l.uses.len(),
                sites.collect::<String>()
            )
        })?;
        Ok(Exit::Done)
    })
}

fn figures(own: &OwnFigures) -> String {
    let auc = own.auc.map_or_else(
        || "AUC not defined".to_owned(),
        |auc| {
            let interval = own.auc_95.map_or_else(String::new, |[low, high]| {
                format!(" ({low:.3} to {high:.3})")
            });
            format!("AUC {auc:.3}{interval}")
        },
    );
    format!(
        "{auc}, accuracy {:.3}, balanced accuracy {:.3}",
        own.accuracy, own.balanced_accuracy
    )
}

fn stage(stage: JobStage) -> &'static str {
    match stage {
        JobStage::Proposed => "proposed",
        JobStage::Between => "opening",
        JobStage::Open => "training",
        JobStage::Closed => "adding up",
        JobStage::Done => "done",
    }
}

fn activity(site: &SiteView) -> String {
    let doing = match site.activity {
        SiteActivity::Undecided => "has not decided",
        SiteActivity::Refused => "takes no part",
        SiteActivity::Missing => "missing",
        SiteActivity::Training => "trains",
        SiteActivity::Uploading => "sends",
        SiteActivity::Sent => "has sent",
        SiteActivity::Waiting => "waits",
    };
    let why = site
        .why
        .as_ref()
        .map_or_else(String::new, |why| format!(" ({why})"));
    format!("{} {doing}{why}", site.name)
}

fn live_words(job: &JobView) -> String {
    let sites: Vec<String> = job.sites.iter().map(activity).collect();
    let left = job
        .remaining_ms
        .filter(|_| job.stage != JobStage::Done)
        .map_or_else(String::new, |ms| {
            format!("; about {} s left", ms.div_ceil(1000))
        });
    format!(
        "round {} of {}, {}: {}{left}",
        (job.round + 1).min(job.rounds),
        job.rounds,
        stage(job.stage),
        sites.join(", ")
    )
}

fn round_words(round: &RoundSummary) -> String {
    let metrics: Vec<String> = round
        .metrics
        .iter()
        .map(|m| match m.name.as_str() {
            "auc" => format!("AUC of the model before it {:.3}", m.value),
            name => format!("{name} {:.3}", m.value),
        })
        .collect();
    format!(
        "round {} done: {}, {} sites, {:.1} s",
        round.round + 1,
        metrics.join(", "),
        round.sites,
        round.took_ms as f64 / 1e3
    )
}

fn job_words(job: &JobView) -> String {
    let rounds = job
        .history
        .iter()
        .map(|round| format!("\n  {}", round_words(round)));
    format!(
        "{}: {}\ncoordinated by {}, quorum {} of {}\n{}{}",
        job.job,
        job.purpose,
        job.coordinator_name,
        job.quorum,
        job.sites.len(),
        live_words(job),
        rounds.collect::<String>()
    )
}
