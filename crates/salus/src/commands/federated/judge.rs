//! A doctor has a job's model judge an image that was shared with them.

use std::path::PathBuf;

use anyhow::Context as _;
use salus_client::records::Reading;
use salus_proto::api::training::PredictionView;
use salus_proto::ids::{AccessId, JobId, PatientAlias, RecordId};
use salus_proto::role::Purpose;

use super::super::session::{Actor, block_on};
use super::super::words;
use crate::output::{Exit, Output};

/// Have a job's model judge an image that was shared with you.
///
/// Reads the record (a receipt on the ledger), opens it here, and hands the opened image to the
/// hospital's node of the session (--at), which judges it and forgets it; the use of the model is a
/// second receipt. Decision support for research; not a medical device.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  salus federated judge --node https://cloud:8443 --authority authority.pem --login dana \\
    --password-file dana.password --at https://north:8443 --access 5c1d... \\
    8a4f... 91b2... 77e0... --heatmap heat.png")]
pub(crate) struct Judge {
    #[command(flatten)]
    actor: Actor,
    /// The job that made the model.
    job: JobId,
    /// Whose record.
    alias: PatientAlias,
    /// The record: an image.
    record: RecordId,
    /// The grant.
    #[arg(long)]
    access: Option<AccessId>,
    /// The purpose of the grant.
    #[arg(long, default_value = "treatment", value_parser = words::word::<Purpose>)]
    purpose: Purpose,
    /// Write the image with the regions that mattered (Grad-CAM) as PNG.
    #[arg(long, value_name = "OUT")]
    heatmap: Option<PathBuf>,
}

pub(super) fn run(judge: &Judge, output: &Output) -> anyhow::Result<Exit> {
    block_on(async {
        let person = judge.actor.session().await?;
        let reading = Reading {
            alias: judge.alias,
            access: judge.access,
            records: vec![judge.record],
            purpose: judge.purpose,
        };
        let opened = person.read(reading).await?;
        let image = opened.first().context("the record was released")?;
        let mut view = person
            .judge(
                judge.job,
                judge.alias,
                judge.access,
                image,
                judge.heatmap.is_some(),
            )
            .await?;
        if let (Some(path), Some(heat_map)) = (&judge.heatmap, view.heat_map.take()) {
            std::fs::write(path, heat_map.0)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        output.report(&view, said)?;
        Ok(Exit::Done)
    })
}

fn said(view: &PredictionView) -> String {
    let each: Vec<String> = view
        .probabilities
        .iter()
        .map(|p| format!("{} {:.1} %", p.class, p.probability * 100.0))
        .collect();
    let warnings = view
        .warnings
        .iter()
        .map(|warning| format!("\n  warning: {warning}"));
    format!(
        "{} ({}), receipt {}, model {}{}\n{}",
        view.class,
        each.join(", "),
        view.entry,
        view.model,
        warnings.collect::<String>(),
        view.notice
    )
}
