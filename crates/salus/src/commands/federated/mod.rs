//! `salus federated`: jobs of a consortium, a federation in one process, and the two baselines it is
//! measured against.

mod job;
mod judge;
mod propose;
mod verify;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use salus_imaging::dataset::{DataSet, Source};
use salus_imaging::partition::Deal;
use salus_imaging::simulate::{self, RoundReport, RunReport, Settings, Watch};
use salus_imaging::train::Engine;
use salus_proto::role::Decision;

use super::session::Actor;
use crate::output::{Exit, Output};
use crate::training::Recipe;

/// Train a network over several hospitals' images.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Run a whole federation in one process, with the messages and arithmetic of a real one.
    #[command(after_help = "\
Example:
  salus federated simulate --data pneumoniamnist.npz --sites 8 --split dirichlet:0.3 \\
    --rounds 40 --strategy fedavgm --model small --size 28 --out runs/federated")]
    Simulate(Run),
    /// Train on all sites' images pooled: what a federation is compared with.
    Central(Run),
    /// Train every site alone on its own images.
    Local(Run),
    /// Offer a hospital's labelled images for training: its node opens them and states their number.
    Offer(job::Offer),
    /// List the data sets that hospitals offer.
    Data(Actor),
    /// Propose a job over offered data sets, as its coordinator.
    Propose(Box<propose::Propose>),
    /// Take part in a job.
    Approve(job::OfJob),
    /// Take no part in a job, or not any more.
    Refuse(job::OfJob),
    /// List the jobs.
    Jobs(Actor),
    /// Show where a job stands.
    Status(job::OfJob),
    /// Follow a job as it happens: who trains, who is missing, loss and AUC a round, time left.
    Watch(job::OfJob),
    /// Add a round up again and compare with what was published.
    Verify(verify::Verify),
    /// Show what a hospital gained by a job, on its own test images.
    Gain(job::OfJob),
    /// Show where a job's model comes from.
    Lineage(job::OfJob),
    /// Have a job's model judge an image that was shared with you.
    Judge(judge::Judge),
}

/// Arguments that the three kinds of run share, so that they differ in nothing else.
#[derive(Debug, clap::Args)]
pub(crate) struct Run {
    /// A folder with a manifest.csv, a MedMNIST npz, or a folder of folders named for classes.
    #[arg(long, value_name = "DIR|FILE")]
    data: PathBuf,
    /// Folder for model.safetensors, config.json and report.json; a run that was cut short is taken
    /// up again from its checkpoint there.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Hospitals.
    #[arg(long, default_value_t = 5)]
    sites: usize,
    /// How patients are dealt to hospitals: iid, dirichlet:ALPHA or label.
    #[arg(long, default_value = "iid")]
    split: Deal,
    /// Pixels a side, 28 to 256.
    #[arg(long, default_value_t = 28)]
    size: u16,
    /// Colour channels, 1 or 3.
    #[arg(long, default_value_t = 1)]
    channels: u8,
    /// Classes to use, in order; names of the labels 0, 1, ... for an npz.
    #[arg(long, value_delimiter = ',')]
    classes: Vec<String>,
    /// For an npz: a manifest.csv with medmnist_split, medmnist_index and patient.
    #[arg(long, value_name = "FILE")]
    patients: Option<PathBuf>,
    /// Test on fold I of N (by patient) where the data has no test set: I/N, from 0.
    #[arg(long, value_name = "I/N", value_parser = parse_fold)]
    fold: Option<(usize, usize)>,
    /// Share of each site's patients held back for validation and calibration.
    #[arg(long, default_value_t = 0.1)]
    validation: f64,
    /// Sites that miss each round.
    #[arg(long, default_value_t = 0)]
    absent: usize,
    /// Baselines: stop after this many passes without a lower validation loss.
    #[arg(long)]
    patience: Option<u32>,
    #[command(flatten)]
    recipe: Recipe,
    /// Train on the first NVIDIA GPU.
    #[cfg(feature = "cuda")]
    #[arg(long)]
    cuda: bool,
}

pub(crate) fn run(command: Command, output: &Output) -> anyhow::Result<Exit> {
    match command {
        Command::Simulate(run) => simulated("federated", &run, output),
        Command::Central(run) => simulated("central", &run, output),
        Command::Local(run) => simulated("local", &run, output),
        Command::Offer(offer) => job::offer(&offer, output),
        Command::Data(actor) => job::data(&actor, output),
        Command::Propose(propose) => propose::run(&propose, output),
        Command::Approve(of) => job::decide(&of, Decision::Approve, output),
        Command::Refuse(of) => job::decide(&of, Decision::Refuse, output),
        Command::Jobs(actor) => job::list(&actor, output),
        Command::Status(of) => job::status(&of, output),
        Command::Watch(of) => job::watch(&of, output),
        Command::Verify(verify) => verify::run(&verify, output),
        Command::Gain(of) => job::gain(&of, output),
        Command::Lineage(of) => job::lineage(&of, output),
        Command::Judge(judge) => judge::run(&judge, output),
    }
}

fn simulated(kind: &str, run: &Run, output: &Output) -> anyhow::Result<Exit> {
    let data = DataSet::read(&Source {
        path: run.data.clone(),
        size_px: run.size,
        channels: run.channels,
        classes: run.classes.clone(),
        patients: run.patients.clone(),
    })?;
    let settings = run.settings()?;
    let mut progress = Progress {
        output,
        passes: run.passes(kind),
    };
    std::fs::create_dir_all(&run.out)
        .with_context(|| format!("cannot make the folder {}", run.out.display()))?;
    let engine = run.engine();
    let report = match kind {
        "federated" => simulate::federated(&data, &settings, &engine, &run.out, &mut progress)?,
        "central" => simulate::central(&data, &settings, &engine, &run.out, &mut progress)?,
        _ => simulate::local(&data, &settings, &engine, &run.out, &mut progress)?,
    };
    output.progress_done();
    output.report(&report, words)?;
    Ok(Exit::Done)
}

impl Run {
    #[cfg(feature = "cuda")]
    fn engine(&self) -> Engine {
        if self.cuda {
            Engine::cuda()
        } else {
            Engine::cpu()
        }
    }

    #[cfg(not(feature = "cuda"))]
    #[expect(
        clippy::unused_self,
        reason = "the argument exists with the cuda feature only"
    )]
    fn engine(&self) -> Engine {
        Engine::cpu()
    }

    fn passes(&self, kind: &str) -> u64 {
        let sites = if kind == "local" {
            self.sites as u64
        } else {
            1
        };
        let epochs = if kind == "federated" {
            1
        } else {
            u64::from(self.recipe.local_epochs)
        };
        u64::from(self.recipe.rounds) * epochs * sites
    }

    fn settings(&self) -> anyhow::Result<Settings> {
        Ok(Settings {
            sites: self.sites,
            deal: self.split,
            seed: self.recipe.seed,
            rounds: self.recipe.rounds,
            strategy: self
                .recipe
                .strategy(self.sites.saturating_sub(self.absent))?,
            training: self.recipe.training()?,
            class_weights: self.recipe.class_weights,
            architecture: self.recipe.architecture(),
            normalisation: self.recipe.normalisation(),
            validation: self.validation,
            absent: self.absent,
            fold: self.fold,
            patience: self.patience,
        })
    }
}

/// Progress on standard error.
struct Progress<'a> {
    output: &'a Output,
    passes: u64,
}

impl Watch for Progress<'_> {
    fn seconds(&mut self) -> f64 {
        monotonic().as_secs_f64()
    }

    fn round(&mut self, round: &RoundReport) {
        let validation = round.validation.and_then(|v| v.auc);
        let auc = validation.map_or_else(String::new, |auc| format!(", validation AUC {auc:.3}"));
        let site = round
            .site
            .map_or_else(String::new, |site| format!("site {site}, "));
        let (number, loss, seconds) = (round.round + 1, round.loss, round.seconds);
        self.output.progress(&format!(
            "{site}round {number} of {}: loss {loss:.4}{auc}, {seconds:.1} s",
            self.passes
        ));
    }
}

/// Time since the first call.
#[expect(
    clippy::disallowed_methods,
    reason = "how long a run took is shown, never computed with"
)]
fn monotonic() -> Duration {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    START.get_or_init(std::time::Instant::now).elapsed()
}

fn parse_fold(text: &str) -> Result<(usize, usize), String> {
    let parsed = text
        .split_once('/')
        .and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
    match parsed {
        Some((i, n)) if i < n && n >= 2 => Ok((i, n)),
        _ => Err("expected I/N with I below N, for example 0/5".into()),
    }
}

fn words(report: &RunReport) -> String {
    let mut lines = vec![format!(
        "{} training: {} values, {} rounds or passes, {:.0} s",
        report.training,
        report.values,
        report.rounds.len(),
        report.seconds
    )];
    let figures = |name: &str, r: &salus_imaging::metrics::Report| {
        let auc = r
            .figures
            .auc
            .zip(r.auc_95)
            .map_or_else(String::new, |(auc, [low, high])| {
                format!(", AUC {auc:.3} ({low:.3} to {high:.3})")
            });
        format!(
            "{name}: accuracy {:.3}, balanced accuracy {:.3}{auc}, {} images",
            r.figures.accuracy, r.figures.balanced_accuracy, r.images
        )
    };
    lines.extend(report.test.as_ref().map(|r| figures("test", r)));
    for hospital in &report.hospitals {
        let name = |what: &str| format!("hospital {} {what}", hospital.site);
        lines.extend(
            hospital
                .own
                .as_ref()
                .map(|r| figures(&name("own images"), r)),
        );
        lines.extend(
            hospital
                .test
                .as_ref()
                .map(|r| figures(&name("common test"), r)),
        );
    }
    lines.join("\n")
}
