//! A whole federation in one process, through the messages and the arithmetic of the real one; and the
//! two baselines, pooled and alone, with the same network, augmentation and passes over the data.

use std::collections::BTreeMap;
use std::path::Path;

use salus_federated::round::{Effect, Event};
use salus_federated::site::Assignment;
use salus_federated::strategy::{fedbn, scaffold};
use salus_federated::{Aggregation, Job, Model as Shared, Round, Server, fixed};
use salus_proto::TimestampMs;
use salus_proto::federated::{
    LocalTraining, MetricSpec, Micro, Network, Normalisation, Plan, RosterEntry, Strategy,
    TensorPolicy, TensorSpec, Update,
};
use salus_proto::ids::{JobId, OrganisationId};
use serde::{Deserialize, Serialize};

use crate::calibration::Calibration;
use crate::dataset::{DataSet, Split};
use crate::metrics::{Figures, Report, Scored, figures, report};
use crate::model::{Lineage, Model, write};
use crate::network::Blueprint;
use crate::optimiser::Optimiser;
use crate::partition::{Deal, deal};
use crate::random::Seeded;
use crate::train::{Drift, Engine, Judge, Learner, Pass};
use crate::weights::Weights;
use crate::{Error, checkpoint};

/// Length of a simulated round, ms; every site answers within it or not at all.
const ROUND_MS: u64 = 60_000;
/// Values up to ±2^4 travel; steps are 2^-26.
const FRACTION_BITS: u8 = 26;
/// Stream number of absences.
const ABSENT: u64 = 0xAB;
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RoundReport {
    /// From 0.
    pub round: u32,
    /// For a local baseline, which site.
    pub site: Option<usize>,
    /// Mean training loss, weighted by images.
    pub loss: f64,
    /// Figures of the model after it on the validation images of all sites.
    pub validation: Option<Figures>,
    /// Sites whose updates counted.
    pub sites: usize,
    /// Bytes that sites fetched.
    pub bytes_down: u64,
    /// Bytes that sites sent.
    pub bytes_up: u64,
    /// Values that the clip bound cut.
    pub clipped: u64,
    /// How long it took.
    pub seconds: f64,
    /// Digest of the shared tensors after it.
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
    /// Local tensors by position, and SCAFFOLD's control of every tensor.
    local: BTreeMap<usize, Vec<f32>>,
    control: Vec<Vec<f32>>,
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
                local: BTreeMap::new(),
                control: Vec::new(),
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
        let spec = |info: &crate::network::TensorInfo| TensorSpec {
            name: info.name.clone(),
            shape: info.shape.iter().map(|s| *s as u32).collect(),
            policy: match self.settings.strategy {
                Strategy::FedBn => fedbn::policy(info.role.normalises()),
                _ => TensorPolicy::Shared,
            },
        };
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
            tensors: initial.infos().iter().map(spec).collect(),
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

/// Values of the shared tensors end to end.
fn shared(weights: &Weights, plan: &Plan) -> Vec<f32> {
    let tensors = weights.values().iter().zip(&plan.tensors);
    tensors
        .filter(|(_, t)| t.policy == TensorPolicy::Shared)
        .flat_map(|(v, _)| v)
        .copied()
        .collect()
}

/// Puts shared values back into their tensors.
fn install(weights: &mut Weights, plan: &Plan, mut values: &[f32]) {
    for (tensor, spec) in weights.values_mut().iter_mut().zip(&plan.tensors) {
        if spec.policy == TensorPolicy::Shared {
            let (own, rest) = values.split_at(tensor.len().min(values.len()));
            tensor.copy_from_slice(own);
            values = rest;
        }
    }
}

/// Trains a federation; writes the model, its configuration and the report into `out`. A run that
/// was cut short goes on after its last complete round.
pub fn federated(
    data: &DataSet,
    settings: &Settings,
    engine: &Engine,
    out: &Path,
    watch: &mut dyn Watch,
) -> Result<RunReport, Error> {
    check(settings)?;
    let started = watch.seconds();
    let mut setting = Setting::new(data, settings, engine)?;
    let initial = Weights::initial(&setting.blueprint, settings.seed);
    let job = setting.plan(&initial)?;
    let first = Shared::new(job.layout(), shared(&initial, job.plan()))?;
    let mut server = Server::new(&job, first)?;
    let mut rounds = Vec::new();
    let mut sites = std::mem::take(&mut setting.sites);
    let file = out.join(checkpoint::FILE);
    if let Some(kept) = checkpoint::Federation::read(&file, &job)? {
        (server, rounds) = (kept.server, kept.rounds);
        for (site, (local, control)) in sites.iter_mut().zip(kept.sites) {
            (site.local, site.control) = (local, control);
        }
    }
    while server.round() < settings.rounds {
        let before = watch.seconds();
        let mut done = one_round(&setting, &job, &mut server, &mut sites, &initial)?;
        let mut weights = initial.clone();
        install(&mut weights, job.plan(), &server.model().values);
        if settings.strategy != Strategy::FedBn {
            done.validation = setting.figures(&weights, &setting.validation)?;
        }
        done.seconds = watch.seconds() - before;
        watch.round(&done);
        rounds.push(done);
        let kept = sites
            .iter()
            .map(|s| (s.local.clone(), s.control.clone()))
            .collect();
        let state = checkpoint::Federation {
            server,
            rounds,
            sites: kept,
        };
        state.write(&file, &job)?;
        (server, rounds) = (state.server, state.rounds);
    }
    let personal = settings.strategy == Strategy::FedBn;
    let mut weights = initial.clone();
    install(&mut weights, job.plan(), &server.model().values);
    let mut hospitals = Vec::new();
    for site in &sites {
        let mut own = weights.clone();
        for (i, values) in &site.local {
            own.values_mut()[*i].clone_from(values);
        }
        hospitals.push(setting.site_report(site, &own, personal)?);
        if personal {
            let digest = Some(server.model().digest().to_string());
            let model = setting.model(own, "federated", Some(&job), settings.rounds, digest)?;
            model.save(&out.join(format!("site-{:02}", site.number)))?;
        }
    }
    setting.sites = sites;
    let common = (!personal).then_some(&weights);
    let seconds = watch.seconds() - started;
    let report = setting.finish("federated", Some(&job), common, rounds, hospitals, seconds)?;
    if !personal {
        let digest = Some(server.model().digest().to_string());
        setting
            .model(weights, "federated", Some(&job), settings.rounds, digest)?
            .save(out)?;
    }
    write_report(out, &report)?;
    Ok(report)
}

/// Adaptive server steps would move running statistics as if they were weights.
fn check(settings: &Settings) -> Result<(), Error> {
    let averages = matches!(
        settings.strategy,
        Strategy::FedAvg | Strategy::FedProx { .. } | Strategy::FedBn
    );
    if settings.normalisation == Normalisation::Batch && !averages {
        let text = "batch normalisation goes with fedavg, fedprox or fedbn; use --norm group";
        return Err(Error::Setting(text.into()));
    }
    if settings.absent >= settings.sites {
        return Err(Error::Setting(
            "more sites are absent than there are".into(),
        ));
    }
    Ok(())
}

fn one_round(
    setting: &Setting<'_>,
    job: &Job,
    server: &mut Server,
    sites: &mut [Site],
    initial: &Weights,
) -> Result<RoundReport, Error> {
    let number = server.round();
    let start = TimestampMs(u64::from(number) * ROUND_MS);
    let mut round = Round::open(job, server, start)?;
    let broadcast = server.model().to_bytes();
    let named = server.model().digest();
    let mut aggregation = Aggregation::new(job);
    let absent = absent(setting.settings, number);
    let mut report = RoundReport {
        round: number,
        site: None,
        loss: 0.0,
        validation: None,
        sites: 0,
        bytes_down: 0,
        bytes_up: 0,
        clipped: 0,
        seconds: 0.0,
        model: None,
    };
    let mut closed = false;
    let mut images = 0.0;
    for site in sites.iter_mut().filter(|s| !absent.contains(&s.number)) {
        let base = Shared::from_bytes(job.layout(), &broadcast)?;
        let assignment = Assignment::new(job, number, named, &base)?;
        let (upload, loss) = train_site(setting, job, site, &assignment, initial)?;
        // From here on everything is what a coordinator does with received bytes.
        let (header, payload) = (upload.update.to_bytes(), fixed::to_bytes(&upload.payload));
        let update = Update::from_bytes(&header).map_err(|e| Error::Device(e.to_string()))?;
        report.bytes_down += broadcast.len() as u64;
        report.bytes_up += (header.len() + payload.len()) as u64;
        report.clipped += update.clipped;
        report.loss += loss * f64::from(update.samples);
        images += f64::from(update.samples);
        report.sites += 1;
        aggregation.add(job, &update, &payload)?;
        let (next, effect) = round.apply(job, Event::Upload(update), start)?;
        (round, closed) = (next, matches!(effect, Effect::Close(_)));
    }
    if !closed {
        (round, _) = round.apply(job, Event::Time, start.plus_ms(ROUND_MS))?;
    }
    let survivors = round.survivors().ok_or(salus_federated::Refusal::TooFew {
        needed: usize::from(job.plan().quorum),
        found: report.sites,
    })?;
    server.close(job, &aggregation, &survivors)?;
    let publish = Event::Publish {
        model: server.model().digest(),
        state: server.digest(),
    };
    let (_, effect) = round.apply(job, publish, start.plus_ms(ROUND_MS))?;
    if let Effect::Publish(result) = effect {
        report.model = Some(result.model.to_string());
    }
    report.loss /= f64::max(images, 1.0);
    Ok(report)
}

fn absent(settings: &Settings, round: u32) -> Vec<usize> {
    let mut all: Vec<usize> = (0..settings.sites).collect();
    Seeded::new(settings.seed, &[ABSENT, u64::from(round)]).shuffle(&mut all);
    all.truncate(settings.absent);
    all
}

fn train_site(
    setting: &Setting<'_>,
    job: &Job,
    site: &mut Site,
    assignment: &Assignment<'_>,
    initial: &Weights,
) -> Result<(salus_federated::site::Upload, f64), Error> {
    let plan = job.plan();
    let mut weights = initial.clone();
    install(&mut weights, plan, &assignment.base.values);
    for (i, values) in &site.local {
        weights.values_mut()[*i].clone_from(values);
    }
    let base = weights.values().to_vec();
    let server_control = split(&assignment.base.controls, plan, &weights);
    if job.layout().controls() && site.control.is_empty() {
        site.control = server_control.iter().map(|t| vec![0.0; t.len()]).collect();
    }
    let drift = match plan.strategy {
        Strategy::FedProx { mu } => Drift::Proximal {
            base: &base,
            mu: mu.to_f64() as f32,
        },
        Strategy::Scaffold { .. } => Drift::Controls {
            own: &site.control,
            server: &server_control,
        },
        _ => Drift::None,
    };
    let learner = Learner::new(&setting.blueprint, &plan.training, &setting.engine);
    let mut optimiser = Optimiser::new(&plan.training, weights.values().iter().map(Vec::len));
    let (mut loss, mut rates) = (0.0, 0.0);
    for epoch in 0..u64::from(plan.training.epochs) {
        let number = u64::from(assignment.round) * u64::from(plan.training.epochs) + epoch;
        let pass = Pass {
            site: site.number as u64,
            number,
            total: setting.passes(),
        };
        let done = learner.pass(
            &mut weights,
            &mut optimiser,
            setting.data,
            &site.training,
            pass,
            drift,
        )?;
        loss = done.loss;
        rates += done.rates;
    }
    let mut change = Vec::new();
    if job.layout().controls() {
        let mut next = Vec::with_capacity(site.control.len());
        for (i, own) in site.control.iter().enumerate() {
            let trained = &weights.values()[i];
            next.push(scaffold::next_control(
                own,
                &server_control[i],
                &base[i],
                trained,
                rates as f32,
            ));
        }
        let pairs = next.iter().flatten().zip(site.control.iter().flatten());
        change = pairs.map(|(new, old)| new - old).collect();
        site.control = next;
    }
    for (i, spec) in plan.tensors.iter().enumerate() {
        if spec.policy == TensorPolicy::Local {
            site.local.insert(i, weights.values()[i].clone());
        }
    }
    let samples = site.training.len() as u32;
    let upload = assignment.upload(
        job,
        site.id,
        &shared(&weights, plan),
        &change,
        samples,
        &[(loss, samples)],
    )?;
    Ok((upload, loss))
}

/// Controls of the shared tensors as tensors; empty where the plan has none.
fn split(mut values: &[f32], plan: &Plan, weights: &Weights) -> Vec<Vec<f32>> {
    let mut out = Vec::new();
    for (tensor, spec) in weights.values().iter().zip(&plan.tensors) {
        if spec.policy == TensorPolicy::Shared && values.len() >= tensor.len() {
            let (own, rest) = values.split_at(tensor.len());
            out.push(own.to_vec());
            values = rest;
        }
    }
    out
}

/// Trains on all sites' images together; writes the model, its configuration and the report.
pub fn central(
    data: &DataSet,
    settings: &Settings,
    engine: &Engine,
    out: &Path,
    watch: &mut dyn Watch,
) -> Result<RunReport, Error> {
    let started = watch.seconds();
    let setting = Setting::new(data, settings, engine)?;
    let mut all: Vec<usize> = setting
        .sites
        .iter()
        .flat_map(|s| &s.training)
        .copied()
        .collect();
    all.sort_unstable();
    let mut rounds = Vec::new();
    let file = out.join(checkpoint::FILE);
    let weights = alone(&setting, &all, None, Some(&file), &mut rounds, watch)?;
    let hospitals = setting
        .sites
        .iter()
        .map(|s| setting.site_report(s, &weights, false));
    let hospitals = hospitals.collect::<Result<_, _>>()?;
    let (seconds, passes) = (watch.seconds() - started, rounds.len() as u32);
    let report = setting.finish("central", None, Some(&weights), rounds, hospitals, seconds)?;
    setting
        .model(weights, "central", None, passes, None)?
        .save(out)?;
    write_report(out, &report)?;
    Ok(report)
}

/// Trains every hospital alone; writes each one's model under `out/site-NN` and the report.
pub fn local(
    data: &DataSet,
    settings: &Settings,
    engine: &Engine,
    out: &Path,
    watch: &mut dyn Watch,
) -> Result<RunReport, Error> {
    let started = watch.seconds();
    let setting = Setting::new(data, settings, engine)?;
    let (mut rounds, mut hospitals) = (Vec::new(), Vec::new());
    for site in &setting.sites {
        let folder = out.join(format!("site-{:02}", site.number));
        std::fs::create_dir_all(&folder).map_err(Error::file(&folder))?;
        let file = folder.join(checkpoint::FILE);
        let mut own = Vec::new();
        let weights = alone(
            &setting,
            &site.training,
            Some(site),
            Some(&file),
            &mut own,
            watch,
        )?;
        hospitals.push(setting.site_report(site, &weights, true)?);
        setting
            .model(weights, "local", None, own.len() as u32, None)?
            .save(&folder)?;
        rounds.extend(own);
    }
    let seconds = watch.seconds() - started;
    let report = setting.finish("local", None, None, rounds, hospitals, seconds)?;
    write_report(out, &report)?;
    Ok(report)
}

/// One machine's training with one optimiser throughout.
fn alone(
    setting: &Setting<'_>,
    indices: &[usize],
    site: Option<&Site>,
    file: Option<&Path>,
    rounds: &mut Vec<RoundReport>,
    watch: &mut dyn Watch,
) -> Result<Weights, Error> {
    let learner = Learner::new(&setting.blueprint, &setting.training, &setting.engine);
    let mut weights = Weights::initial(&setting.blueprint, setting.settings.seed);
    let mut optimiser = Optimiser::new(&setting.training, weights.values().iter().map(Vec::len));
    let mut best: Option<(f64, u32, Weights)> = None;
    let key = checkpoint::key(
        &setting.blueprint,
        &setting.training,
        setting.passes(),
        setting.data,
        indices,
    );
    if let Some(file) = file {
        if let Some(kept) = checkpoint::Single::read(file, &setting.blueprint, &mut optimiser, key)?
        {
            (weights, *rounds, best) = (kept.weights, kept.rounds, kept.best);
        }
    }
    let validation = site.map_or(&setting.validation, |s| &s.validation);
    for number in rounds.len() as u64..setting.passes() {
        let waited = best
            .as_ref()
            .map_or(0, |(_, at, _)| rounds.len() as u32 - at);
        if setting.settings.patience.is_some_and(|p| waited > p) {
            break;
        }
        let before = watch.seconds();
        let pass = Pass {
            site: site.map_or(u64::MAX, |s| s.number as u64),
            number,
            total: setting.passes(),
        };
        let done = learner.pass(
            &mut weights,
            &mut optimiser,
            setting.data,
            indices,
            pass,
            Drift::None,
        )?;
        let figures = setting.figures(&weights, validation)?;
        let report = RoundReport {
            round: number as u32,
            site: site.map(|s| s.number),
            loss: done.loss,
            validation: figures,
            sites: 1,
            bytes_down: 0,
            bytes_up: 0,
            clipped: 0,
            seconds: watch.seconds() - before,
            model: None,
        };
        watch.round(&report);
        rounds.push(report);
        if let (Some(figures), Some(_)) = (figures, setting.settings.patience) {
            if best.as_ref().is_none_or(|(loss, ..)| figures.loss < *loss) {
                best = Some((figures.loss, rounds.len() as u32, weights.clone()));
            }
        }
        if let Some(file) = file {
            let state = checkpoint::Single {
                weights,
                rounds: rounds.clone(),
                best,
            };
            state.write(file, &optimiser, key)?;
            (weights, best) = (state.weights, state.best);
        }
    }
    Ok(best.map_or(weights, |(_, _, weights)| weights))
}

fn write_report(out: &Path, report: &RunReport) -> Result<(), Error> {
    let json = serde_json::to_vec_pretty(report).map_err(|e| Error::Model(e.to_string()))?;
    std::fs::create_dir_all(out).map_err(Error::file(out))?;
    write(&out.join("report.json"), &json)
}

#[cfg(test)]
mod tests {
    use salus_proto::federated::{Architecture, Augmentation, Optimiser as Kind, Schedule};

    use super::*;
    use crate::calibration::Warning;
    use crate::dataset::testing::discs;
    use crate::picture::Picture;
    use crate::predict::Predictor;

    struct Silent<'a>(&'a mut dyn FnMut(&RoundReport));

    impl Watch for Silent<'_> {
        fn seconds(&mut self) -> f64 {
            0.0
        }

        fn round(&mut self, round: &RoundReport) {
            (self.0)(round);
        }
    }

    fn settings(strategy: Strategy) -> Settings {
        Settings {
            sites: 3,
            deal: Deal::Dirichlet(2.0),
            seed: 5,
            rounds: 3,
            strategy,
            training: LocalTraining {
                epochs: 1,
                batch: 16,
                optimiser: Kind::Sgd { momentum: Micro(0) },
                rate: Micro(30_000),
                weight_decay: Micro(0),
                schedule: Schedule::Cosine,
                class_weights: Vec::new(),
                augmentation: Augmentation::default(),
                label_smoothing: Micro(0),
                gradient_norm: Micro(2_000_000),
                seed: 0,
            },
            class_weights: true,
            architecture: Architecture::Small,
            normalisation: Normalisation::Group,
            validation: 0.25,
            absent: 0,
            fold: None,
            patience: None,
        }
    }

    fn simulate(data: &DataSet, settings: &Settings, out: &Path) -> Result<RunReport, Error> {
        federated(
            data,
            settings,
            &Engine::cpu(),
            out,
            &mut Silent(&mut |_| {}),
        )
    }

    #[test]
    fn a_federation_learns_writes_its_model_and_resumes_with_the_same_bits() {
        let data = discs(160, 28, 1);
        let settings = settings(Strategy::FedAvgM {
            rate: Micro::ONE,
            momentum: Micro(500_000),
        });
        let (whole, cut) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let checkpoint = whole.path().join(checkpoint::FILE);
        let mut keep = |round: &RoundReport| {
            if round.round == 2 {
                std::fs::copy(&checkpoint, cut.path().join(checkpoint::FILE)).unwrap();
            }
        };
        let mut watch = Silent(&mut keep);
        let report = federated(&data, &settings, &Engine::cpu(), whole.path(), &mut watch).unwrap();
        assert!(
            report.test.as_ref().unwrap().figures.auc.unwrap() > 0.95,
            "{report:?}"
        );
        assert_eq!(report.rounds.len(), 3);
        assert!(
            report
                .rounds
                .iter()
                .all(|r| r.sites == 3 && r.bytes_up > 0 && r.clipped == 0)
        );
        assert_eq!(report.hospitals.len(), 3);

        let mut rounds = 0;
        let mut count = |_: &RoundReport| rounds += 1;
        let resumed = federated(
            &data,
            &settings,
            &Engine::cpu(),
            cut.path(),
            &mut Silent(&mut count),
        )
        .unwrap();
        assert_eq!(rounds, 1, "only the last round was left");
        assert_eq!(resumed, report);
        let weights = |folder: &Path| std::fs::read(folder.join(crate::model::WEIGHTS)).unwrap();
        assert!(weights(whole.path()) == weights(cut.path()));

        // The model predicts, explains, and doubts what it was not trained on.
        let model = Model::open(whole.path()).unwrap();
        assert_eq!(model.config.lineage.plan, report.plan);
        let predictor = Predictor::new(&model, &Engine::cpu());
        let sample = &data.samples[data.of(Split::Test)[0]];
        let usual = Picture::from_grey(sample.pixels.clone(), [28, 28], 1, 28).unwrap();
        let prediction = predictor.predict(&usual).unwrap();
        assert_eq!(prediction.class, data.classes[sample.class]);
        let sum: f32 = prediction.probabilities.iter().map(|p| p.probability).sum();
        assert!((sum - 1.0).abs() < 1e-5);
        assert!(
            !prediction.warnings.contains(&Warning::WrongModality),
            "{prediction:?}"
        );
        let heat = image::load_from_memory(&predictor.heat_map(&usual).unwrap()).unwrap();
        assert_eq!((heat.width(), heat.height()), (280, 280));
        let black = Picture::from_grey(vec![0; 784], [28, 28], 1, 28).unwrap();
        assert!(
            predictor
                .predict(&black)
                .unwrap()
                .warnings
                .contains(&Warning::WrongModality)
        );
        let wide = Picture::from_grey(sample.pixels.repeat(3), [84, 28], 1, 28).unwrap();
        assert!(
            predictor
                .predict(&wide)
                .unwrap()
                .warnings
                .contains(&Warning::WrongModality)
        );
    }

    #[test]
    fn every_strategy_runs_with_a_site_missing_where_it_can() {
        let data = discs(240, 28, 1);
        let (rate, beta1, beta2, tau) =
            (Micro(3_000), Micro(900_000), Micro(990_000), Micro(1_000));
        for strategy in [
            Strategy::FedAvg,
            Strategy::FedProx { mu: Micro(10_000) },
            Strategy::FedAdam {
                rate,
                beta1,
                beta2,
                tau,
            },
            Strategy::FedYogi {
                rate,
                beta1,
                beta2,
                tau,
            },
            Strategy::FedAdagrad {
                rate,
                beta1: Micro(0),
                tau,
            },
            Strategy::Scaffold { rate: Micro::ONE },
            Strategy::FedBn,
            Strategy::Median,
            Strategy::TrimmedMean { trim: 1 },
            Strategy::Krum { byzantine: 0 },
            Strategy::MultiKrum {
                byzantine: 0,
                keep: 1,
            },
        ] {
            let settings = Settings {
                sites: 4,
                absent: 1,
                rounds: 2,
                ..settings(strategy)
            };
            let out = tempfile::tempdir().unwrap();
            let report = simulate(&data, &settings, out.path()).unwrap();
            assert!(
                report
                    .rounds
                    .iter()
                    .all(|r| r.sites == 3 && r.loss.is_finite()),
                "{strategy:?}"
            );
            let personal = strategy == Strategy::FedBn;
            assert_eq!(
                out.path().join("site-03").is_dir(),
                personal,
                "{strategy:?}"
            );
            assert_eq!(Model::open(out.path()).is_ok(), !personal, "{strategy:?}");
            assert!(
                report
                    .hospitals
                    .iter()
                    .all(|h| h.test.is_some() == personal)
            );
        }
    }

    #[test]
    fn baselines_make_as_many_passes_and_stop_early_only_when_asked() {
        let data = discs(160, 28, 1);
        let mut settings = settings(Strategy::FedAvg);
        let out = tempfile::tempdir().unwrap();
        let run = |settings: &Settings, folder: &str| {
            let out = out.path().join(folder);
            central(
                &data,
                settings,
                &Engine::cpu(),
                &out,
                &mut Silent(&mut |_| {}),
            )
            .unwrap()
        };
        let pooled = run(&settings, "central");
        assert_eq!(pooled.rounds.len(), 3);
        assert!(pooled.test.unwrap().figures.auc.unwrap() > 0.9);
        assert_eq!(pooled.test_classes.len(), data.of(Split::Test).len());
        let folder = out.path().join("local");
        let alone = local(
            &data,
            &settings,
            &Engine::cpu(),
            &folder,
            &mut Silent(&mut |_| {}),
        )
        .unwrap();
        assert_eq!((alone.rounds.len(), alone.hospitals.len()), (9, 3));
        assert!(alone.hospitals.iter().all(|h| h.test.is_some()));
        assert!(Model::open(&folder.join("site-00")).is_ok());
        (settings.patience, settings.rounds) = (Some(0), 30);
        // Nothing is learnt, so the loss never falls.
        settings.training.rate = Micro(0);
        settings.training.weight_decay = Micro(0);
        assert!(run(&settings, "early").rounds.len() < 30);
    }

    #[test]
    fn batch_normalisation_is_refused_where_its_statistics_would_be_lost() {
        let data = discs(160, 28, 1);
        let adaptive = Strategy::FedAvgM {
            rate: Micro::ONE,
            momentum: Micro(500_000),
        };
        let settings = Settings {
            normalisation: Normalisation::Batch,
            ..settings(adaptive)
        };
        let out = tempfile::tempdir().unwrap();
        assert!(matches!(
            simulate(&data, &settings, out.path()),
            Err(Error::Setting(_))
        ));
    }
}
