//! A whole federation in one process, through the messages and the arithmetic of the real one; and the
//! two baselines, pooled and alone, with the same network, augmentation and passes over the data.

mod baseline;
mod federation;
#[cfg(test)]
mod tests;

use std::path::Path;

use minicbor::{Decode, Encode};
use salus_federated::{Job, Model as Shared};
use salus_proto::federated::{
    LocalTraining, MetricSpec, Micro, Network, Normalisation, Plan, RosterEntry, Strategy,
};
use salus_proto::ids::{JobId, OrganisationId};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::calibration::Calibration;
use crate::dataset::{DataSet, Split};
use crate::metrics::{Figures, Report, Scored, figures, report};
use crate::model::{Lineage, Model, write};
use crate::network::Blueprint;
use crate::partition::{Deal, deal};
use crate::site::{self, shared};
use crate::train::{Engine, Judge};
use crate::weights::Weights;

pub use self::baseline::{central, local};
pub use self::federation::federated;

/// Length of a simulated round, ms; every site answers within it or not at all.
const ROUND_MS: u64 = 60_000;
/// Values up to ±2^4 travel; steps are 2^-26.
const FRACTION_BITS: u8 = 26;
/// Fewest images behind a reported figure.
const MINIMUM_IMAGES: u32 = 10;

/// Everything that decides a run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Hospitals.
    pub sites: usize,
    /// How patients are dealt to them.
    pub deal: Deal,
    /// Seeds the split, the validation images, initial weights and training.
    pub seed: u64,
    /// Rounds; the baselines make `rounds × epochs` passes.
    pub rounds: u32,
    /// How updates become the next model.
    pub strategy: Strategy,
    /// What a site does in a round.
    pub training: LocalTraining,
    /// Weigh classes by the inverse of their frequency.
    pub class_weights: bool,
    /// The network; classes, channels, size and input statistics come from the data.
    pub architecture: salus_proto::federated::Architecture,
    /// Group or batch normalisation.
    pub normalisation: Normalisation,
    /// Share of each hospital's patients held back for validation and calibration.
    pub validation: f64,
    /// Hospitals that miss each round, chosen by the seed.
    pub absent: usize,
    /// Which fold of how many is the test set, where the data has none of its own.
    pub fold: Option<(usize, usize)>,
    /// Passes without a lower validation loss after which a baseline stops early; never, if absent.
    pub patience: Option<u32>,
}

/// Who is told how a run goes.
pub trait Watch {
    /// Seconds since any fixed moment.
    fn seconds(&mut self) -> f64;
    /// A round or pass is done.
    fn round(&mut self, round: &RoundReport);
}

/// One round, or one pass of a baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Encode, Decode)]
#[cbor(map)]
pub struct RoundReport {
    /// From 0.
    #[n(0)]
    pub round: u32,
    /// For a local baseline, which site.
    #[n(1)]
    pub site: Option<usize>,
    /// Mean training loss, weighted by images.
    #[n(2)]
    pub loss: f64,
    /// Figures of the model after it on the validation images of all sites.
    #[n(3)]
    pub validation: Option<Figures>,
    /// Sites whose updates counted.
    #[n(4)]
    pub sites: usize,
    /// Bytes that sites fetched.
    #[n(5)]
    pub bytes_down: u64,
    /// Bytes that sites sent.
    #[n(6)]
    pub bytes_up: u64,
    /// Values that the clip bound cut.
    #[n(7)]
    pub clipped: u64,
    /// How long it took.
    #[n(8)]
    pub seconds: f64,
    /// Digest of the shared tensors after it.
    #[n(9)]
    pub model: Option<String>,
}

/// How one hospital fares.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SiteReport {
    /// From 0.
    pub site: usize,
    /// Training images of each class.
    pub training_images: Vec<usize>,
    /// Validation images of each class.
    pub validation_images: Vec<usize>,
    /// The model it ends with, on its own held-out images.
    pub own: Option<Report>,
    /// The model it ends with, on the common test set.
    pub test: Option<Report>,
}

/// `report.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    /// `federated`, `central` or `local`.
    pub training: String,
    /// Digest of the plan.
    pub plan: Option<String>,
    /// Class names in order.
    pub classes: Vec<String>,
    /// Trained values.
    pub values: usize,
    /// Round by round.
    pub rounds: Vec<RoundReport>,
    /// Hospital by hospital.
    pub hospitals: Vec<SiteReport>,
    /// The final model on the common test set (for a local baseline, the mean hospital's is not
    /// defined and this is absent).
    pub test: Option<Report>,
    /// The final model on the validation images of all sites.
    pub validation: Option<Report>,
    /// Probability of each class for each test image, in the data set's order.
    pub test_probabilities: Vec<Vec<f32>>,
    /// True class of each test image.
    pub test_classes: Vec<usize>,
    /// Patient number of each test image.
    pub test_patients: Vec<usize>,
    /// Seconds in all.
    pub seconds: f64,
}

struct Site {
    id: OrganisationId,
    number: usize,
    training: Vec<usize>,
    validation: Vec<usize>,
    kept: site::Kept,
}

/// A run before its first round.
struct Setting<'a> {
    data: &'a DataSet,
    settings: &'a Settings,
    training: LocalTraining,
    blueprint: Blueprint,
    sites: Vec<Site>,
    validation: Vec<usize>,
    test: Vec<usize>,
    engine: Engine,
}

impl<'a> Setting<'a> {
    fn new(data: &'a DataSet, settings: &'a Settings, engine: &Engine) -> Result<Self, Error> {
        let (pool, test) = match settings.fold {
            Some((fold, folds)) if fold < folds => {
                let all: Vec<usize> = (0..data.samples.len()).collect();
                // The folds are the same for every seed, so that runs can be compared.
                let mut folds = data.folds(&all, folds, 0);
                let test = folds.swap_remove(fold);
                let mut pool: Vec<usize> = folds.into_iter().flatten().collect();
                pool.sort_unstable();
                (pool, test)
            }
            Some((fold, folds)) => {
                return Err(Error::Setting(format!(
                    "there is no fold {fold} of {folds}"
                )));
            }
            None => (data.of(Split::Training), data.of(Split::Test)),
        };
        let dealt = deal(data, &pool, settings.sites, settings.deal, settings.seed)?;
        let site = |(number, images): (usize, Vec<usize>)| {
            let seed = settings.seed.wrapping_add(number as u64);
            let (training, validation) = data.hold_out(&images, settings.validation, seed);
            let id = OrganisationId(((number + 1) as u128).to_be_bytes());
            Site {
                id,
                number,
                training,
                validation,
                kept: site::Kept::default(),
            }
        };
        let sites: Vec<Site> = dealt.into_iter().enumerate().map(site).collect();
        let together = |part: fn(&Site) -> &Vec<usize>| {
            let mut all: Vec<usize> = sites.iter().flat_map(part).copied().collect();
            all.sort_unstable();
            all
        };
        let (all, validation) = (together(|s| &s.training), together(|s| &s.validation));
        let (mean, deviation) = data.pixel_statistics(&all);
        let micro = |v| Micro::from_f64(v).unwrap_or(Micro::ONE);
        let network = Network {
            architecture: settings.architecture,
            normalisation: settings.normalisation,
            classes: data.classes.clone(),
            channels: data.channels,
            size_px: data.size_px,
            input_mean: micro(mean),
            input_deviation: micro(deviation),
        };
        let mut training = settings.training.clone();
        training.seed = settings.seed;
        if settings.class_weights {
            let counts = data.counts(&all);
            let weight = |n: &usize| all.len() as f64 / (counts.len() * (*n).max(1)) as f64;
            training.class_weights = counts.iter().map(|n| micro(weight(n))).collect();
        }
        let blueprint = Blueprint::new(&network)?;
        let engine = engine.clone();
        Ok(Self {
            data,
            settings,
            training,
            blueprint,
            sites,
            validation,
            test,
            engine,
        })
    }

    fn passes(&self) -> u64 {
        u64::from(self.settings.rounds) * u64::from(self.training.epochs)
    }

    fn scored(&self, weights: &Weights, indices: &[usize]) -> Result<Vec<Scored>, Error> {
        Judge::new(&self.blueprint, weights, &self.engine).score(self.data, indices, 1.0)
    }

    fn figures(&self, weights: &Weights, indices: &[usize]) -> Result<Option<Figures>, Error> {
        if indices.is_empty() {
            return Ok(None);
        }
        let scored = self.scored(weights, indices)?;
        Ok(Some(figures(
            &scored.iter().collect::<Vec<_>>(),
            self.data.classes.len(),
        )))
    }

    fn report(&self, weights: &Weights, indices: &[usize]) -> Result<Option<Report>, Error> {
        if indices.is_empty() {
            return Ok(None);
        }
        let scored = self.scored(weights, indices)?;
        Ok(Some(report(
            &scored,
            self.data.classes.len(),
            self.settings.seed,
        )))
    }

    fn site_report(&self, site: &Site, weights: &Weights, test: bool) -> Result<SiteReport, Error> {
        Ok(SiteReport {
            site: site.number,
            training_images: self.data.counts(&site.training),
            validation_images: self.data.counts(&site.validation),
            own: self.report(weights, &site.validation)?,
            test: if test {
                self.report(weights, &self.test)?
            } else {
                None
            },
        })
    }

    fn finish(
        &self,
        training: &str,
        job: Option<&Job>,
        final_weights: Option<&Weights>,
        rounds: Vec<RoundReport>,
        hospitals: Vec<SiteReport>,
        seconds: f64,
    ) -> Result<RunReport, Error> {
        let scored = final_weights
            .map(|w| self.scored(w, &self.test))
            .transpose()?
            .unwrap_or_default();
        let classes = self.data.classes.len();
        let test = (!scored.is_empty()).then(|| report(&scored, classes, self.settings.seed));
        let validation = final_weights
            .map(|w| self.report(w, &self.validation))
            .transpose()?
            .flatten();
        Ok(RunReport {
            training: training.into(),
            plan: job.map(|j| j.digest().to_string()),
            classes: self.data.classes.clone(),
            values: self
                .blueprint
                .tensors()
                .iter()
                .map(|t| t.shape.iter().product::<usize>())
                .sum(),
            rounds,
            hospitals,
            test,
            validation,
            test_classes: scored.iter().map(|s| s.class).collect(),
            test_patients: scored.iter().map(|s| s.patient).collect(),
            test_probabilities: scored.into_iter().map(|s| s.probabilities).collect(),
            seconds,
        })
    }

    fn model(
        &self,
        weights: Weights,
        training: &str,
        job: Option<&Job>,
        rounds: u32,
        model: Option<String>,
    ) -> Result<Model, Error> {
        let judge = Judge::new(&self.blueprint, &weights, &self.engine);
        let calibration = Calibration::measure(&judge, self.data, &self.validation)?;
        let lineage = Lineage {
            training: training.into(),
            plan: job.map(|j| j.digest().to_string()),
            rounds,
            data: self
                .sites
                .iter()
                .map(|s| self.data.digest(&s.training).to_string())
                .collect(),
            model,
            seed: self.settings.seed,
        };
        Ok(Model::new(
            self.blueprint.clone(),
            weights,
            calibration,
            lineage,
        ))
    }

    fn plan(&self, initial: &Weights) -> Result<Job, Error> {
        let sites = self.sites.len();
        let quorum = sites.saturating_sub(self.settings.absent).max(1);
        let entry = |site: &Site| RosterEntry {
            site: site.id,
            samples: site.training.len() as u32,
            data_set: self.data.digest(&site.training),
        };
        let mut plan = Plan {
            job: JobId(u128::from(self.settings.seed).to_be_bytes()),
            purpose: "simulation".into(),
            network: self.blueprint.config().clone(),
            tensors: site::tensors(&self.blueprint, &self.settings.strategy),
            strategy: self.settings.strategy,
            training: self.training.clone(),
            rounds: self.settings.rounds,
            roster: self.sites.iter().map(entry).collect(),
            quorum: u16::try_from(quorum).unwrap_or(u16::MAX),
            round_ms: ROUND_MS,
            fraction_bits: FRACTION_BITS,
            metrics: vec![MetricSpec {
                name: "loss".into(),
                step: 1000,
                minimum_images: MINIMUM_IMAGES,
            }],
            initial_model: salus_proto::Digest([0; 32]),
        };
        let layout = salus_federated::Layout::of(&plan)?;
        plan.initial_model = Shared::new(&layout, shared(initial, &plan))?.digest();
        Ok(Job::new(plan)?)
    }
}

fn write_report(out: &Path, report: &RunReport) -> Result<(), Error> {
    let json = serde_json::to_vec_pretty(report).map_err(|e| Error::Model(e.to_string()))?;
    std::fs::create_dir_all(out).map_err(Error::file(out))?;
    write(&out.join("report.json"), &json)
}
