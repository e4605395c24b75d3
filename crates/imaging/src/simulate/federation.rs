//! The federation: rounds of training at the sites, put together as the real server does it.

use std::path::Path;

use salus_federated::round::{Effect, Event};
use salus_federated::site::Assignment;
use salus_federated::{Aggregation, Job, Model as Shared, Round, Server};
use salus_proto::TimestampMs;
use salus_proto::federated::{Normalisation, Strategy, Update};

use crate::dataset::DataSet;
use crate::random::Seeded;
use crate::site::{self, install, shared};
use crate::train::Engine;
use crate::weights::Weights;
use crate::{Error, checkpoint};

use super::{ROUND_MS, RoundReport, RunReport, Setting, Settings, Site, Watch, write_report};

/// Stream number of absences.
const ABSENT: u64 = 0xAB;

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
        for (site, kept) in sites.iter_mut().zip(kept.sites) {
            site.kept = kept;
        }
    }
    while server.round() < settings.rounds {
        let before = watch.seconds();
        let mut done = one_round(&setting, &job, &mut server, &mut sites)?;
        let mut weights = initial.clone();
        install(&mut weights, job.plan(), &server.model().values);
        if settings.strategy != Strategy::FedBn {
            done.validation = setting.figures(&weights, &setting.validation)?;
        }
        done.seconds = watch.seconds() - before;
        watch.round(&done);
        rounds.push(done);
        let kept = sites.iter().map(|s| s.kept.clone()).collect();
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
        for (i, values) in &site.kept.local {
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
        let (upload, loss) = train_site(setting, job, site, &assignment)?;
        // From here on everything is what a coordinator does with received bytes.
        let (header, payload) = (upload.update.to_bytes(), upload.bytes);
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
) -> Result<(salus_federated::site::Upload, f64), Error> {
    let trainer = site::Site {
        blueprint: &setting.blueprint,
        engine: &setting.engine,
        data: setting.data,
        training: &site.training,
        number: site.number as u64,
    };
    let trained = trainer.train(job, assignment.round, assignment.base, &site.kept)?;
    let samples = site.training.len() as u32;
    let upload = assignment.upload(
        job,
        site.id,
        &trained.values,
        &trained.controls,
        samples,
        &[(trained.loss, samples)],
    )?;
    site.kept = trained.kept;
    Ok((upload, trained.loss))
}
