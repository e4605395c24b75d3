//! What a job trains and how, in the words of the command line, and the plan that this makes over
//! offered data sets. A person at the command line and a node that is asked over its API draw it up here.

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use clap::Parser as _;
use salus_federated::{Job, Layout, Model};
use salus_imaging::network::Blueprint;
use salus_imaging::site::{shared, tensors};
use salus_imaging::weights::Weights;
use salus_proto::Digest;
use salus_proto::api::training::{DataSetView, JobRequest, StrategyName as Wished};
use salus_proto::federated::{
    Architecture, Augmentation, LocalTraining, MetricSpec, Micro, Network, Normalisation,
    Optimiser, Plan, RosterEntry, Schedule, Strategy,
};
use salus_proto::ids::JobId;
use salus_runtime::entropy::SystemEntropy;
use salus_server::training::Draft;

/// Values up to ±2^4 travel; steps are 2^-26.
const FRACTION_BITS: u8 = 26;
/// Figures are reported in steps of a thousandth, over at least so many images.
const METRIC_STEP: u32 = 1000;
const MINIMUM_IMAGES: u32 = 10;

/// What is trained and how; the same words for a run here and for a job of the consortium.
#[derive(Debug, clap::Args)]
pub(crate) struct Recipe {
    /// Seed of everything random.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Rounds; baselines make rounds × local epochs passes.
    #[arg(long, default_value_t = 30)]
    pub(crate) rounds: u32,
    /// Passes over a site's images in a round.
    #[arg(long, default_value_t = 1)]
    pub(crate) local_epochs: u16,
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
    pub(crate) class_weights: bool,
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

impl Recipe {
    pub(crate) fn architecture(&self) -> Architecture {
        match self.model {
            ModelName::Small => Architecture::Small,
            ModelName::Darkcovidnet => Architecture::DarkCovidNet,
            ModelName::Resnet18 => Architecture::ResNet18,
        }
    }

    pub(crate) fn normalisation(&self) -> Normalisation {
        match self.norm {
            NormName::Group => Normalisation::Group,
            NormName::Batch => Normalisation::Batch,
        }
    }

    /// The strategy, for rounds in which so many sites are `present`.
    pub(crate) fn strategy(&self, present: usize) -> anyhow::Result<Strategy> {
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

    pub(crate) fn training(&self) -> anyhow::Result<LocalTraining> {
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

impl Default for Recipe {
    /// What the command line says when nothing is said.
    fn default() -> Self {
        #[derive(clap::Parser)]
        struct Nothing {
            #[command(flatten)]
            recipe: Recipe,
        }
        Nothing::parse_from(["recipe"]).recipe
    }
}

impl From<&JobRequest> for Recipe {
    fn from(wish: &JobRequest) -> Self {
        Self {
            seed: wish.seed,
            rounds: wish.rounds,
            local_epochs: wish.local_epochs,
            strategy: match wish.strategy {
                Wished::Fedavg => StrategyName::Fedavg,
                Wished::Fedprox => StrategyName::Fedprox,
                Wished::Fedavgm => StrategyName::Fedavgm,
                Wished::Fedadam => StrategyName::Fedadam,
                Wished::Fedyogi => StrategyName::Fedyogi,
                Wished::Fedadagrad => StrategyName::Fedadagrad,
                Wished::Scaffold => StrategyName::Scaffold,
                Wished::Fedbn => StrategyName::Fedbn,
                Wished::Median => StrategyName::Median,
                Wished::TrimmedMean => StrategyName::TrimmedMean,
                Wished::Krum => StrategyName::Krum,
                Wished::MultiKrum => StrategyName::MultiKrum,
            },
            model: match wish.network {
                Architecture::Small => ModelName::Small,
                Architecture::DarkCovidNet => ModelName::Darkcovidnet,
                Architecture::ResNet18 => ModelName::Resnet18,
            },
            batch: wish.batch,
            rate: wish.rate,
            class_weights: wish.class_weights,
            flip: wish.flip,
            ..Self::default()
        }
    }
}

/// What a plan has beside the recipe.
#[derive(Debug)]
pub(crate) struct Terms {
    /// Why, in plain words.
    pub(crate) purpose: String,
    /// Updates without which no round closes; all sites if absent.
    pub(crate) quorum: Option<u16>,
    /// Time after which a round closes with a quorum, ms.
    pub(crate) round_ms: u64,
}

/// The plan and first model that somebody asked for over the API.
pub(super) fn draft(wish: &JobRequest, sets: &[DataSetView]) -> anyhow::Result<Draft> {
    let terms = Terms {
        purpose: wish.purpose.trim().to_owned(),
        quorum: Some(wish.quorum),
        round_ms: wish.round_ms,
    };
    let mut sets = sets.to_vec();
    sets.sort_by_key(|set| set.owner);
    let hospitals_once = sets.windows(2).all(|pair| pair[0].owner != pair[1].owner);
    ensure!(hospitals_once, "choose one data set of each hospital");
    let (job, model) = plan(&Recipe::from(wish), &terms, &sets)?;
    Ok(Draft {
        plan: job.plan().clone(),
        model: Bytes::from(model),
    })
}

/// Draws up a plan over data sets, ascending by owner, with the model that its first round starts from.
pub(crate) fn plan(
    recipe: &Recipe,
    terms: &Terms,
    sets: &[DataSetView],
) -> anyhow::Result<(Job, Vec<u8>)> {
    let first = sets.first().context("there is no data set")?;
    let fits = |set: &DataSetView| {
        set.classes == first.classes
            && (set.channels, set.size_px) == (first.channels, first.size_px)
    };
    ensure!(
        sets.iter().all(fits),
        "the data sets have different classes, channels or sizes"
    );
    let images =
        |set: &DataSetView| -> u64 { set.training_images.iter().map(|n| u64::from(*n)).sum() };
    let whole: u64 = sets.iter().map(images).sum();
    let (mean, deviation) = pooled(sets, whole);
    let network = Network {
        architecture: recipe.architecture(),
        normalisation: recipe.normalisation(),
        classes: first.classes.clone(),
        channels: first.channels,
        size_px: first.size_px,
        input_mean: mean,
        input_deviation: deviation,
    };
    let blueprint = Blueprint::new(&network)?;
    let strategy = recipe.strategy(sets.len())?;
    let mut training = recipe.training()?;
    if recipe.class_weights {
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
        purpose: terms.purpose.clone(),
        tensors: tensors(&blueprint, &strategy),
        network,
        strategy,
        training,
        rounds: recipe.rounds,
        roster: roster.collect::<anyhow::Result<_>>()?,
        quorum: terms.quorum.unwrap_or(all),
        round_ms: terms.round_ms,
        fraction_bits: FRACTION_BITS,
        metrics: vec![metric("loss"), metric("auc"), metric("accuracy")],
        initial_model: Digest::default(),
    };
    let layout = Layout::of(&plan)?;
    let model = Model::new(&layout, shared(&weights, &plan))?;
    plan.initial_model = model.digest();
    Ok((Job::new(plan)?, model.to_bytes()))
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

fn micro(name: &str, value: f64) -> anyhow::Result<Micro> {
    Micro::from_f64(value).with_context(|| format!("{name} is not a number in range"))
}
