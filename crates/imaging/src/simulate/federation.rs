//! The federation: rounds of training at the sites, put together as the real server does it.

use std::path::Path;

use salus_federated::round::{Effect, Event};
use salus_federated::site::Assignment;
use salus_federated::strategy::scaffold;
use salus_federated::{Aggregation, Job, Model as Shared, Round, Server, fixed};
use salus_proto::TimestampMs;
use salus_proto::federated::{Normalisation, Plan, Strategy, TensorPolicy, Update};

use crate::dataset::DataSet;
use crate::optimiser::Optimiser;
use crate::random::Seeded;
use crate::train::{Drift, Engine, Learner, Pass};
use crate::weights::Weights;
use crate::{Error, checkpoint};

use super::{
    ROUND_MS, RoundReport, RunReport, Setting, Settings, Site, Watch, shared, write_report,
};

/// Stream number of absences.
const ABSENT: u64 = 0xAB;

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
