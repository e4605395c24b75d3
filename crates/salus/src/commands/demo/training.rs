//! Training in the demonstration: each hospital takes labelled chest films in, sealed, and the three
//! train a network together without any film leaving its hospital.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use salus_clinical::catalogue::read_manifest;
use salus_clinical::synth::synthesise;
use salus_clinical::tar;
use salus_proto::api::training::{DataSetView, GainView, JobStage, JobView, SiteActivity};
use salus_proto::ids::JobId;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::nodes::Process;
use crate::files;

/// Class names in the order of the network's outputs.
const CLASSES: [&str; 2] = ["normal", "pneumonia"];
/// Films of each class that a hospital trains on, and that it keeps for its own tests.
const TRAINING_FILMS: usize = 24;
const TEST_FILMS: usize = 10;
/// Rounds of the job: enough to see it learn, few enough to watch.
const ROUNDS: &str = "6";
/// Pixels a side.
const SIZE: &str = "64";
/// People of the synthetic cohort that films are drawn of, when there are no real ones.
const PHANTOMS: u32 = 160;

/// One labelled film.
struct Film {
    patient: String,
    label: String,
    test: bool,
    name: String,
    bytes: Vec<u8>,
}

/// What the demonstration trained.
#[derive(Debug)]
pub(super) struct Trained {
    /// The job.
    pub(super) job: JobId,
    /// What was checked, for people.
    pub(super) words: Vec<String>,
}

#[derive(Deserialize)]
struct Proposed {
    job: JobId,
}

#[derive(Deserialize)]
struct Verified {
    verified: bool,
}

/// Writes a folder of films and a manifest for each hospital, as hospitals would have them: real ones
/// from `samples/pneumonia-cxr-224` where that is, phantoms otherwise.
pub(super) fn films(
    samples: Option<&Path>,
    scratch: &Path,
    hospitals: usize,
) -> anyhow::Result<(String, Vec<PathBuf>)> {
    let real = samples.map(|folder| folder.join("pneumonia-cxr-224"));
    let (title, films) = match real.filter(|folder| folder.join("manifest.csv").is_file()) {
        Some(folder) => ("real chest films (pneumonia-cxr-224)", published(&folder)?),
        None => ("PHANTOM chest films: pictures of no one", phantoms()?),
    };
    let dealt = deal(films, hospitals)?;
    let mut folders = Vec::with_capacity(hospitals);
    for (hospital, films) in dealt.into_iter().enumerate() {
        let folder = scratch.join(format!("films-{hospital}"));
        let mut manifest = String::from("file,label,patient,split\n");
        for film in &films {
            files::write(&folder.join(&film.name), &film.bytes, 0o644)?;
            let split = if film.test { "test" } else { "train" };
            let row = [&film.name, &film.label, &film.patient, split].join(",");
            manifest.push_str(&row);
            manifest.push('\n');
        }
        files::write(&folder.join("manifest.csv"), manifest.as_bytes(), 0o644)?;
        folders.push(folder);
    }
    Ok((title.to_owned(), folders))
}

fn published(folder: &Path) -> anyhow::Result<Vec<Film>> {
    let listed = read_manifest(&std::fs::read(folder.join("manifest.csv"))?)?;
    let mut films = Vec::new();
    for split in ["train", "test"] {
        let bytes = std::fs::read(folder.join(format!("{split}.tar")))?;
        let members: BTreeMap<String, &[u8]> = tar::members(&bytes)?
            .into_iter()
            .map(|member| (member.path, member.bytes))
            .collect();
        for row in listed.iter().filter(|r| r.split.as_deref() == Some(split)) {
            let (Some(label), Some(patient)) = (&row.label, &row.patient) else {
                continue;
            };
            let bytes = members.get(row.file.as_str());
            let bytes = bytes.with_context(|| format!("{split}.tar lacks {}", row.file))?;
            films.push(Film {
                patient: format!("{split}-{patient}"),
                label: label.clone(),
                test: split == "test",
                name: row.file.replace('/', "-"),
                bytes: bytes.to_vec(),
            });
        }
    }
    Ok(films)
}

fn phantoms() -> anyhow::Result<Vec<Film>> {
    let mut files = BTreeMap::new();
    for file in synthesise(PHANTOMS, 2)? {
        let file = file?;
        if file.path.starts_with("images/") {
            files.insert(file.path, file.bytes);
        }
    }
    let manifest = files
        .get("images/manifest.csv")
        .context("the cohort has a manifest of its films")?;
    let mut films = Vec::new();
    for (at, row) in read_manifest(manifest)?.into_iter().enumerate() {
        let (Some(label), Some(patient)) = (row.label, row.patient) else {
            continue;
        };
        let bytes = files.get(&format!("images/{}", row.file));
        let bytes = bytes.with_context(|| format!("the cohort lacks {}", row.file))?;
        films.push(Film {
            patient,
            label,
            test: at % 4 == 3,
            name: row.file.replace('/', "-"),
            bytes: bytes.clone(),
        });
    }
    Ok(films)
}

/// Deals films to hospitals, a patient whole to one of them and to one side of the test.
fn deal(films: Vec<Film>, hospitals: usize) -> anyhow::Result<Vec<Vec<Film>>> {
    let mut places: BTreeMap<String, Option<(usize, bool)>> = BTreeMap::new();
    let mut counts = vec![[[0_usize; 2]; 2]; hospitals];
    let mut dealt: Vec<Vec<Film>> = (0..hospitals).map(|_| Vec::new()).collect();
    for mut film in films {
        let Some(class) = CLASSES.iter().position(|class| *class == film.label) else {
            continue;
        };
        let wanted = |test: bool| if test { TEST_FILMS } else { TRAINING_FILMS };
        let place = places.entry(film.patient.clone()).or_insert_with(|| {
            let open = (0..hospitals)
                .find(|h| counts[*h][usize::from(film.test)][class] < wanted(film.test));
            open.map(|hospital| (hospital, film.test))
        });
        let Some((hospital, test)) = *place else {
            continue;
        };
        film.test = test;
        let count = &mut counts[hospital][usize::from(test)][class];
        if *count < wanted(test) {
            *count += 1;
            dealt[hospital].push(film);
        }
    }
    let enough = counts.iter().flatten().flatten().all(|count| *count > 1);
    ensure!(enough, "there are too few films for {hospitals} hospitals");
    Ok(dealt)
}

/// Runs a command of this same program as a member and reads its last line.
async fn run<T: DeserializeOwned>(process: &Process, arguments: &[&str]) -> anyhow::Result<T> {
    let mut command = Command::new(std::env::current_exe()?);
    let (first, rest) = arguments.split_at(2.min(arguments.len()));
    command.args(first).arg("--config").arg(&process.file);
    command.args(rest).arg("--json").stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    let text = String::from_utf8_lossy(&output.stdout);
    let said = text.lines().last().with_context(|| {
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        format!("salus {} said nothing: {complaint}", arguments.join(" "))
    })?;
    serde_json::from_str(said).with_context(|| format!("salus {}: {said}", arguments.join(" ")))
}

/// The hospitals offer their films, the cloud proposes and coordinates, each hospital decides; then
/// everybody adds the last round up again.
pub(super) async fn train(hospitals: &[Process], cloud: &Process) -> anyhow::Result<Trained> {
    let classes = CLASSES.join(",");
    let mut words = Vec::new();
    for hospital in hospitals {
        let offer = ["federated", "offer", "--classes", &classes, "--size", SIZE];
        let set: DataSetView = run(hospital, &offer).await?;
        words.push(format!(
            "{} offers {} films and keeps {} for its own tests",
            hospital.name,
            set.training_images.iter().sum::<u32>(),
            set.test_images.iter().sum::<u32>()
        ));
    }
    let propose = [
        "federated",
        "propose",
        "--purpose",
        "demonstration: pneumonia on chest films",
        "--rounds",
        ROUNDS,
        "--local-epochs",
        "2",
        "--quorum",
        "2",
        "--deadline",
        "120",
        "--rate",
        "0.001",
        "--strategy",
        "fedavgm",
        "--server-momentum",
        "0.5",
    ];
    let Proposed { job } = run(cloud, &propose).await?;
    let id = job.to_string();
    for hospital in hospitals {
        let _: serde_json::Value = run(hospital, &["federated", "approve", &id]).await?;
    }
    let done: JobView = run(cloud, &["federated", "watch", &id]).await?;
    ensure!(done.stage == JobStage::Done, "the job is not done");
    ensure!(
        done.history.iter().all(|round| round.sites >= 2),
        "a round closed without a quorum"
    );
    for round in &done.history {
        let figures: Vec<String> = round
            .metrics
            .iter()
            .map(|metric| format!("{} {:.3}", metric.name, metric.value))
            .collect();
        words.push(format!(
            "round {}: {}, {} sites, {:.1} s",
            round.round + 1,
            figures.join(", "),
            round.sites,
            round.took_ms as f64 / 1e3
        ));
    }
    let last = done.rounds.to_string();
    for hospital in hospitals {
        let verified: Verified = run(hospital, &["federated", "verify", &id, &last]).await?;
        ensure!(verified.verified, "the last round does not add up");
    }
    words.push(format!(
        "{} hospitals added round {last} up again: the same bits as model {}",
        hospitals.len(),
        done.model
    ));
    for hospital in hospitals {
        finished(hospital, &id).await?;
        let gain: GainView = run(hospital, &["federated", "gain", &id]).await?;
        let auc = |auc: Option<f64>| auc.map_or("not defined".into(), |auc| format!("{auc:.3}"));
        words.push(format!(
            "{}, on its own {} test films: AUC {} together, {} alone",
            hospital.name,
            gain.images,
            auc(gain.together.auc),
            auc(gain.alone.auc)
        ));
    }
    Ok(Trained { job, words })
}

/// Waits until a hospital has tested both models.
async fn finished(hospital: &Process, job: &str) -> anyhow::Result<()> {
    let node = hospital.config.clone();
    let clock = std::sync::Arc::new(salus_runtime::clock::SystemClock::new());
    let person = crate::node::organisation_session(&node, clock).await?;
    let own = person.organisation();
    let mut version = None;
    loop {
        let after = version.map_or(String::new(), |v: u64| format!("?after={v}"));
        let view: JobView = person.node().get(&format!("/jobs/{job}{after}")).await?;
        let site = view.sites.iter().find(|site| site.site == own);
        let site = site.context("the hospital is on the roster")?;
        let gain: Result<GainView, _> = person.node().get(&format!("/jobs/{job}/gain")).await;
        if gain.is_ok() {
            return Ok(());
        }
        ensure!(
            site.activity != SiteActivity::Refused && site.why.is_none(),
            "{} did not finish: {}",
            hospital.name,
            site.why.as_deref().unwrap_or("it takes no part")
        );
        version = Some(view.version);
    }
}
