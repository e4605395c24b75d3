//! The two baselines: all images pooled, and every hospital alone.

use std::path::Path;

use crate::dataset::DataSet;
use crate::optimiser::Optimiser;
use crate::train::{Drift, Engine, Learner, Pass};
use crate::weights::Weights;
use crate::{Error, checkpoint};

use super::{RoundReport, RunReport, Setting, Settings, Site, Watch, write_report};

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
    let mut optimiser = Optimiser::new(&setting.training, weights.values());
    let mut best: Option<(f64, u32, Weights)> = None;
    let key = checkpoint::key(
        &setting.blueprint,
        &setting.training,
        setting.passes(),
        setting.data,
        indices,
    );
    if let Some(file) = file
        && let Some(kept) = checkpoint::Single::read(file, &setting.blueprint, &mut optimiser, key)?
    {
        (weights, *rounds, best) = (kept.weights, kept.rounds, kept.best);
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
        if let (Some(figures), Some(_)) = (figures, setting.settings.patience)
            && best.as_ref().is_none_or(|(loss, ..)| figures.loss < *loss)
        {
            best = Some((figures.loss, rounds.len() as u32, weights.clone()));
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
