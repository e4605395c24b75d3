//! Which sample data the demonstration uses, dealt to the hospitals.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use salus_client::intake::pieces;
use salus_clinical::synth::synthesise;

use crate::files;

/// Files to take in, and for how many records they make.
#[derive(Debug, Default)]
pub(super) struct Share {
    /// FHIR bundles, a patient each.
    pub(super) bundles: Vec<PathBuf>,
    /// Records that these bundles make when every shared resource is kept once.
    pub(super) records: usize,
}

/// The demonstration's data.
#[derive(Debug)]
pub(super) struct Samples {
    /// What it is, for people.
    pub(super) title: String,
    /// One share a hospital.
    pub(super) shares: Vec<Share>,
    /// Files about the first patient of the first hospital: ECG, document, images.
    pub(super) attachments: Vec<PathBuf>,
    /// Files that must be refused.
    pub(super) hostile: Vec<PathBuf>,
}

/// Uses the data in `folder`, or makes a synthetic cohort below `scratch`.
pub(super) fn choose(
    folder: Option<&Path>,
    scratch: &Path,
    patients: usize,
    hospitals: usize,
) -> anyhow::Result<Samples> {
    match folder {
        Some(folder) if folder.join("fhir-synthea").is_dir() => real(folder, patients, hospitals),
        Some(folder) if folder.join("fhir").is_dir() => synthetic(folder, patients, hospitals),
        Some(folder) => anyhow::bail!(
            "{} has neither fhir-synthea/ nor fhir/; make data with `salus samples synth`",
            folder.display()
        ),
        None => {
            let folder = scratch.join("samples");
            for file in synthesise(u32::try_from(patients)?, 1)? {
                let file = file?;
                files::write(&folder.join(&file.path), &file.bytes, 0o644)?;
            }
            synthetic(&folder, patients, hospitals)
        }
    }
}

fn real(folder: &Path, patients: usize, hospitals: usize) -> anyhow::Result<Samples> {
    let attachments = existing(
        folder,
        &[
            "ecg-wfdb/mitdb/100.hea",
            "ecg-wfdb/ptbdb/s0010_re.hea",
            "documents/ecg-study-consent-form.pdf",
            "dicom/valid/RG1_J2KI.dcm",
            "oct-samples/NORMAL-1384-3.jpeg",
        ],
    );
    Ok(Samples {
        title: format!(
            "real sample data in {} (Synthea FHIR, PhysioNet ECG, NEMA DICOM; see its README for \
             sources and licences)",
            folder.display()
        ),
        shares: deal(&folder.join("fhir-synthea"), patients, hospitals)?,
        attachments,
        hostile: existing(
            folder,
            &[
                "dicom/edge/no_meta.dcm",
                "dicom/edge/badVR.dcm",
                "dicom/edge/MR_truncated.dcm",
            ],
        ),
    })
}

fn synthetic(folder: &Path, patients: usize, hospitals: usize) -> anyhow::Result<Samples> {
    let first = |sub: &str, ending: &str| -> Option<PathBuf> {
        list(&folder.join(sub), ending).ok()?.into_iter().next()
    };
    let images = ["images/normal", "images/pneumonia"].map(|sub| first(sub, ".png"));
    let attachments = [first("ecg", ".hea"), first("documents", ".pdf")]
        .into_iter()
        .chain(images);
    Ok(Samples {
        title: format!(
            "a SYNTHETIC cohort in {}: nobody in it exists",
            folder.display()
        ),
        shares: deal(&folder.join("fhir"), patients, hospitals)?,
        attachments: attachments.flatten().collect(),
        hostile: Vec::new(),
    })
}

fn existing(folder: &Path, names: &[&str]) -> Vec<PathBuf> {
    names
        .iter()
        .map(|name| folder.join(name))
        .filter(|path| path.is_file())
        .collect()
}

fn list(folder: &Path, ending: &str) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path
            .file_name()
            .is_some_and(|n| n.to_string_lossy().ends_with(ending))
        {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn deal(folder: &Path, patients: usize, hospitals: usize) -> anyhow::Result<Vec<Share>> {
    let mut bundles = list(folder, ".json.gz")?;
    bundles.extend(list(folder, ".json")?);
    bundles.truncate(patients);
    ensure!(
        bundles.len() >= hospitals,
        "{} has {} bundles; the demonstration needs one a hospital",
        folder.display(),
        bundles.len()
    );
    let mut shares: Vec<Share> = (0..hospitals).map(|_| Share::default()).collect();
    for (i, bundle) in bundles.into_iter().enumerate() {
        if let Some(share) = shares.get_mut(i % hospitals) {
            share.bundles.push(bundle);
        }
    }
    for share in &mut shares {
        share.records = expected(&share.bundles)?;
    }
    Ok(shares)
}

/// Records that bundles make: everything about patients, and each shared resource once.
fn expected(bundles: &[PathBuf]) -> anyhow::Result<usize> {
    let mut known = BTreeSet::new();
    let mut records = 0;
    for path in bundles {
        let bytes = std::fs::read(path)?;
        let bundle = pieces::fhir(&bytes).with_context(|| path.display().to_string())?;
        records += bundle
            .patients
            .iter()
            .map(|p| p.pieces.len())
            .sum::<usize>();
        for (identities, _) in bundle.directory {
            if identities.iter().all(|identity| !known.contains(identity)) {
                records += 1;
                known.extend(identities);
            }
        }
    }
    Ok(records)
}
