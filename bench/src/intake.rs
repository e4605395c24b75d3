//! Import of FHIR bundles into a fresh consortium of four separate node processes.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, ensure};
use flate2::read::GzDecoder;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::Setting;
use crate::consortium::{Consortium, Process, api, until};
use crate::files::output;
use crate::measure::{Bar, Row, seconds_since};

/// Patients of the synthetic cohort that stands in for missing samples.
const SYNTHETIC_PATIENTS: &str = "200";
/// Largest bundle after decompression.
const BUNDLE_LIMIT: u64 = 1 << 28;

/// The last line of `salus intake --json`.
#[derive(Debug, Deserialize)]
struct Summary {
    records: usize,
    known: usize,
    failed: usize,
    seconds: f64,
}

#[derive(Deserialize)]
struct CountedBundle {
    #[serde(default)]
    entry: Vec<IgnoredAny>,
}

pub(crate) async fn measure(setting: &Setting) -> anyhow::Result<Vec<Row>> {
    let (bundles, source) = bundles(setting)?;
    let mut resources = 0;
    for bundle in &bundles {
        resources += count(bundle).with_context(|| format!("cannot read {}", bundle.display()))?;
    }
    let (mut rates, mut acknowledged) = (Vec::new(), Vec::new());
    let mut words = String::new();
    for _ in 0..setting.size(3, 1) {
        let folder = setting.folder("intake")?;
        let consortium = Consortium::found(setting, &folder.join("c"), 4, &[])?;
        let processes: Vec<Process> = consortium
            .seats
            .iter()
            .map(|seat| Process::node(setting, seat))
            .collect::<anyhow::Result<_>>()?;
        let nodes: Vec<_> = consortium
            .seats
            .iter()
            .map(api)
            .collect::<anyhow::Result<_>>()?;
        for node in &nodes {
            // All have met, so that the import does not wait for connections.
            until(node, |s| {
                s.members.iter().filter(|m| m.last_heard.is_some()).count() >= 4
            })
            .await?;
        }
        let hospital = consortium
            .seats
            .first()
            .context("a hospital")?
            .configuration();
        let (program, files) = (setting.salus.clone(), bundles.clone());
        let start = Instant::now();
        let summary =
            tokio::task::spawn_blocking(move || import(&program, &hospital, &files)).await??;
        // Acknowledged is durable on the hospital's node; the figure waits for all four.
        let size = nodes.first().context("a node")?.status().await?.size;
        for node in &nodes {
            until(node, |s| {
                s.size >= size && s.certified.is_some_and(|c| c.size >= size)
            })
            .await?;
        }
        rates.push(resources as f64 / seconds_since(start));
        acknowledged.push(resources as f64 / summary.seconds);
        ensure!(summary.failed == 0, "{} bundles failed", summary.failed);
        ensure!(summary.records > 0, "nothing was taken in");
        words = format!(
            "{source}: {} bundles, {resources} resources, {} sealed records, {} shared ones known \
             already, {size} entries",
            bundles.len(),
            summary.records,
            summary.known
        );
        drop(processes);
        crate::remove(&folder)?;
    }
    Ok(vec![
        Row::new(
            "FHIR import, durable and certified on four nodes",
            "resources/s",
            rates,
        )
        .held_to(Bar::AtLeast(3_000.0), Some(Bar::AtLeast(8_000.0)))
        .noting(words),
        Row::new(
            "the same, until the hospital's node has acknowledged all",
            "resources/s",
            acknowledged,
        ),
    ])
}

/// The bundles to take in and what they are.
fn bundles(setting: &Setting) -> anyhow::Result<(Vec<PathBuf>, &'static str)> {
    let (folder, source) = match &setting.samples {
        Some(samples) => (samples.join("fhir-synthea"), "Synthea sample"),
        None => {
            let folder = setting.folder("cohort")?;
            crate::remove(&folder)?;
            let patients = setting.size(SYNTHETIC_PATIENTS, "10");
            let out = folder.to_str().context("a path that is text")?;
            output(
                &setting.salus,
                &["samples", "synth", "--patients", patients, "--out", out],
            )?;
            (folder.join("fhir"), "synthetic cohort")
        }
    };
    let mut bundles: Vec<PathBuf> = std::fs::read_dir(&folder)
        .with_context(|| format!("cannot read {}", folder.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.ends_with(".json") || name.ends_with(".json.gz")
        })
        .collect();
    bundles.sort();
    bundles.truncate(setting.size(usize::MAX, 8));
    ensure!(!bundles.is_empty(), "{} holds no bundles", folder.display());
    Ok((bundles, source))
}

/// Resources of one bundle.
fn count(path: &Path) -> anyhow::Result<usize> {
    let file = std::fs::File::open(path)?;
    let mut text = Vec::new();
    if path.extension().is_some_and(|e| e == "gz") {
        GzDecoder::new(file)
            .take(BUNDLE_LIMIT)
            .read_to_end(&mut text)?;
    } else {
        file.take(BUNDLE_LIMIT).read_to_end(&mut text)?;
    }
    Ok(serde_json::from_slice::<CountedBundle>(&text)?.entry.len())
}

fn import(program: &Path, hospital: &Path, bundles: &[PathBuf]) -> anyhow::Result<Summary> {
    let mut arguments = vec!["intake".into(), "--json".into(), "--config".into()];
    arguments.push(hospital.as_os_str().to_owned());
    arguments.extend(bundles.iter().map(|path| path.as_os_str().to_owned()));
    let text = output(program, &arguments)?;
    let last = text.lines().last().context("the import said nothing")?;
    Ok(serde_json::from_str(last)?)
}
