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
use salus_proto::federated::{
    Architecture, Augmentation, LocalTraining, Micro, Normalisation, Optimiser, Schedule, Strategy,
};
use salus_proto::role::Decision;

use super::session::Actor;
use crate::output::{Exit, Output};

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

/// What is trained and how; the same words for a run here and for a job of the consortium.
#[derive(Debug, clap::Args)]
pub(crate) struct Recipe {
    /// Seed of everything random.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Rounds; baselines make rounds × local epochs passes.
    #[arg(long, default_value_t = 30)]
    rounds: u32,
    /// Passes over a site's images in a round.
    #[arg(long, default_value_t = 1)]
    local_epochs: u16,
    /// How updates become the next model.
    #[arg(long, value_enum, default_value_t = StrategyName::Fedavgm)]
    strategy: StrategyName,
    /// Strategy constant: FedProx's mu.
    #[arg(long, default_value_t = 0.01)]
    mu: f64,
    /// Strategy constant: server learning rate (1 for fedavgm and scaffold, 0.003 for adaptive ones).
    #[arg(long)]
    server_rate: Option<f64>,
    /// Strategy constant: server momentum of fedavgm.
    #[arg(long, default_value_t = 0.9)]
    server_momentum: f64,
    /// Strategy constant: sites that may lie (krum, multi-krum) or extremes dropped (trimmed-mean).
    #[arg(long, default_value_t = 1)]
    byzantine: u16,
    /// The network.
    #[arg(long, value_enum, default_value_t = ModelName::Small)]
    model: ModelName,
    /// Normalisation of activations.
    #[arg(long, value_enum, default_value_t = NormName::Group)]
    norm: NormName,
    /// Images in a step.
    #[arg(long, default_value_t = 32)]
    batch: u16,
    /// Optimiser at the sites.
    #[arg(long, value_enum, default_value_t = OptimiserName::Adamw)]
    optimiser: OptimiserName,
    /// Highest learning rate.
    #[arg(long, default_value_t = 0.001)]
    rate: f64,
    /// Momentum of sgd.
    #[arg(long, default_value_t = 0.9)]
    momentum: f64,
    /// Weight decay.
    #[arg(long, default_value_t = 0.01)]
    weight_decay: f64,
    /// Course of the learning rate over the whole run.
    #[arg(long, value_enum, default_value_t = ScheduleName::Cosine)]
    schedule: ScheduleName,
    /// Weigh classes equally in the loss.
    #[arg(long)]
    class_weights: bool,
    /// Label smoothing, 0 to below 1.
    #[arg(long, default_value_t = 0.0)]
    smoothing: f64,
    /// Largest norm of a step's gradient; 0 for no limit.
    #[arg(long, default_value_t = 1.0)]
    gradient_norm: f64,
    /// Mirror images left to right half of the time; only where that makes sense.
    #[arg(long)]
    flip: bool,
    /// Rotate by up to this many degrees.
    #[arg(long, default_value_t = 10.0)]
    rotation: f64,
    /// Zoom by up to this fraction.
    #[arg(long, default_value_t = 0.1)]
    zoom: f64,
    /// Shift by up to this fraction of the width.
    #[arg(long, default_value_t = 0.05)]
    shift: f64,
    /// Change brightness and contrast by up to this fraction.
    #[arg(long, default_value_t = 0.1)]
    lighting: f64,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum StrategyName {
    Fedavg,
    Fedprox,
    Fedavgm,
    Fedadam,
    Fedyogi,
    Fedadagrad,
    Scaffold,
    Fedbn,
    Median,
    TrimmedMean,
    Krum,
    MultiKrum,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum ModelName {
    Small,
    Darkcovidnet,
    Resnet18,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum NormName {
    Group,
    Batch,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum OptimiserName {
    Sgd,
    Adam,
    Adamw,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum ScheduleName {
    Constant,
    Cosine,
    OneCycle,
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

impl Recipe {
    fn architecture(&self) -> Architecture {
        match self.model {
            ModelName::Small => Architecture::Small,
            ModelName::Darkcovidnet => Architecture::DarkCovidNet,
            ModelName::Resnet18 => Architecture::ResNet18,
        }
    }

    fn normalisation(&self) -> Normalisation {
        match self.norm {
            NormName::Group => Normalisation::Group,
            NormName::Batch => Normalisation::Batch,
        }
    }

    /// The strategy, for rounds in which so many sites are `present`.
    fn strategy(&self, present: usize) -> anyhow::Result<Strategy> {
        let adaptive = || micro("--server-rate", self.server_rate.unwrap_or(0.003));
        let whole = || micro("--server-rate", self.server_rate.unwrap_or(1.0));
        // Constants of Reddi et al. 2021, section 5.
        let (beta1, beta2, tau) = (Micro(900_000), Micro(990_000), Micro(1_000));
        Ok(match self.strategy {
            StrategyName::Fedavg => Strategy::FedAvg,
            StrategyName::Fedprox => Strategy::FedProx {
                mu: micro("--mu", self.mu)?,
            },
            StrategyName::Fedavgm => Strategy::FedAvgM {
                rate: whole()?,
                momentum: micro("--server-momentum", self.server_momentum)?,
            },
            StrategyName::Fedadam => Strategy::FedAdam {
                rate: adaptive()?,
                beta1,
                beta2,
                tau,
            },
            StrategyName::Fedyogi => Strategy::FedYogi {
                rate: adaptive()?,
                beta1,
                beta2,
                tau,
            },
            StrategyName::Fedadagrad => Strategy::FedAdagrad {
                rate: adaptive()?,
                beta1: Micro(0),
                tau,
            },
            StrategyName::Scaffold => Strategy::Scaffold { rate: whole()? },
            StrategyName::Fedbn => Strategy::FedBn,
            StrategyName::Median => Strategy::Median,
            StrategyName::TrimmedMean => Strategy::TrimmedMean {
                trim: self.byzantine,
            },
            StrategyName::Krum => Strategy::Krum {
                byzantine: self.byzantine,
            },
            StrategyName::MultiKrum => {
                let keep = present.saturating_sub(usize::from(self.byzantine) + 2);
                let keep = u16::try_from(keep).context("too many sites")?;
                Strategy::MultiKrum {
                    byzantine: self.byzantine,
                    keep,
                }
            }
        })
    }

    fn training(&self) -> anyhow::Result<LocalTraining> {
        Ok(LocalTraining {
            epochs: self.local_epochs,
            batch: self.batch,
            optimiser: match self.optimiser {
                OptimiserName::Sgd => Optimiser::Sgd {
                    momentum: micro("--momentum", self.momentum)?,
                },
                OptimiserName::Adam => Optimiser::Adam,
                OptimiserName::Adamw => Optimiser::AdamW,
            },
            rate: micro("--rate", self.rate)?,
            weight_decay: micro("--weight-decay", self.weight_decay)?,
            schedule: match self.schedule {
                ScheduleName::Constant => Schedule::Constant,
                ScheduleName::Cosine => Schedule::Cosine,
                ScheduleName::OneCycle => Schedule::OneCycle,
            },
            class_weights: Vec::new(),
            augmentation: Augmentation {
                flip: self.flip,
                rotation_degrees: micro("--rotation", self.rotation)?,
                zoom: micro("--zoom", self.zoom)?,
                shift: micro("--shift", self.shift)?,
                lighting: micro("--lighting", self.lighting)?,
            },
            label_smoothing: micro("--smoothing", self.smoothing)?,
            gradient_norm: micro("--gradient-norm", self.gradient_norm)?,
            seed: self.seed,
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

fn micro(name: &str, value: f64) -> anyhow::Result<Micro> {
    Micro::from_f64(value).with_context(|| format!("{name} is not a number in range"))
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
