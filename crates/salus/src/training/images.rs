//! A hospital's labelled images, opened inside its node: which they are, and as a network reads them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use salus_client::intake::pieces::Finding;
use salus_crypto::digest::{sha256, sha256_of};
use salus_imaging::dataset::{DataSet, Sample, Split};
use salus_imaging::picture::Picture;
use salus_proto::Digest;
use salus_proto::api::training::DataSetRequest;
use salus_proto::federated::{DataCard, Micro};
use salus_proto::ids::RecordId;
use salus_proto::record::RecordKind;
use salus_server::training::TrainerError;
use salus_vault::{PatientFilter, Vault};
use serde::{Deserialize, Serialize};

use super::{blocking, count};
use crate::files;

/// Patients listed at once.
const PAGE: u32 = 500;
/// Most images of one hospital's data set: bounds memory.
const IMAGES_LIMIT: usize = 200_000;
/// Largest list of records that is read, bytes.
const LIST_LIMIT: u64 = 64 << 20;
/// Seed of the parting into training and test images.
const PARTING: u64 = 0x5A_1D;

/// Opened images of one hospital.
#[derive(Debug)]
pub(super) struct Images {
    pub(super) data: DataSet,
    /// Positions of those that are trained on.
    pub(super) training: Vec<usize>,
    /// Positions of those that the hospital tests with.
    pub(super) test: Vec<usize>,
    /// The sealed record behind each image.
    records: Vec<RecordId>,
}

/// Which records a data set is made of; stays at the hospital.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    classes: Vec<String>,
    channels: u8,
    size_px: u16,
    training: Vec<RecordId>,
    test: Vec<RecordId>,
}

/// One labelled image before it is numbered.
struct Found {
    record: RecordId,
    pixels: Vec<u8>,
    class: usize,
    patient: usize,
    test: bool,
}

/// Opens all labelled images and parts them.
pub(super) async fn collect(vault: &Vault, wish: DataSetRequest) -> Result<Images, TrainerError> {
    let refuse = |why: &str| Err(TrainerError::Refused(why.into()));
    let unique: BTreeSet<&String> = wish.classes.iter().collect();
    if unique.len() != wish.classes.len() || unique.len() < 2 {
        return refuse("name at least two classes, each once");
    }
    if !matches!(wish.channels, 1 | 3) || !(28..=256).contains(&wish.size_px) {
        return refuse("channels are 1 or 3, sizes 28 to 256 pixels");
    }
    if wish.test_percent > 90 {
        return refuse("at most 90 per cent are for tests");
    }
    let found = open(vault, &wish.classes, wish.channels, wish.size_px, None).await?;
    let said = found.iter().any(|image| image.test);
    let mut images = Images::new(wish.classes, wish.channels, wish.size_px, found);
    if !said {
        let all: Vec<usize> = (0..images.records.len()).collect();
        let share = f64::from(wish.test_percent) / 100.0;
        (images.training, images.test) = images.data.hold_out(&all, share, PARTING);
    }
    if images.training.is_empty() {
        return refuse(
            "there is no labelled image of these classes; take images in with a manifest.csv that \
             has the columns file, patient and label",
        );
    }
    Ok(images)
}

/// Opens the images of a data set that was offered before. What has been erased since is left out.
pub(super) async fn load(
    vault: &Vault,
    folder: &Path,
    data_set: Digest,
) -> Result<Images, TrainerError> {
    let list = List::read(&list_path(folder, data_set))?;
    let test: BTreeSet<RecordId> = list.test.iter().copied().collect();
    let wanted: BTreeSet<RecordId> = list.training.iter().copied().chain(list.test).collect();
    let mut found = open(
        vault,
        &list.classes,
        list.channels,
        list.size_px,
        Some(&wanted),
    )
    .await?;
    for image in &mut found {
        image.test = test.contains(&image.record);
    }
    Ok(Images::new(
        list.classes,
        list.channels,
        list.size_px,
        found,
    ))
}

/// Opens images with their findings, those of `wanted` only if given, in the order of their records.
async fn open(
    vault: &Vault,
    classes: &[String],
    channels: u8,
    size_px: u16,
    wanted: Option<&BTreeSet<RecordId>>,
) -> Result<Vec<Found>, TrainerError> {
    let failed = |error: salus_vault::Error| TrainerError::Failed(error.to_string());
    let filter = PatientFilter {
        query: None,
        custodian: Some(vault.organisation()),
    };
    let mut aliases = Vec::new();
    let mut after = None;
    loop {
        let page = vault.patients(&filter, after, PAGE).await.map_err(failed)?;
        after = page.last().map(|patient| patient.alias);
        let full = page.len() >= PAGE as usize;
        aliases.extend(page.into_iter().map(|patient| patient.alias));
        if !full {
            break;
        }
    }
    // By alias, so that the order does not change with names.
    aliases.sort_unstable();
    let mut found = Vec::new();
    for (patient, alias) in aliases.into_iter().enumerate() {
        let findings = vault
            .open_own(alias, RecordKind::Finding)
            .await
            .map_err(failed)?;
        let findings: BTreeMap<Digest, Finding> = findings
            .iter()
            .filter_map(|record| Finding::parse(&record.content.body))
            .map(|finding| (finding.image, finding))
            .collect();
        if findings.is_empty() {
            continue;
        }
        let images = vault
            .open_own(alias, RecordKind::Image)
            .await
            .map_err(failed)?;
        let classes = classes.to_vec();
        let mut of_patient = blocking(move || {
            let mut found = Vec::new();
            for image in images {
                let Some(finding) = findings.get(&sha256(&image.content.body)) else {
                    continue;
                };
                let Some(class) = classes.iter().position(|class| *class == finding.label) else {
                    continue;
                };
                let picture = Picture::decode(&image.content.body, channels, size_px);
                let Ok(picture) = picture else {
                    tracing::warn!(record = %image.record, "an image cannot be decoded");
                    continue;
                };
                found.push(Found {
                    record: image.record,
                    pixels: picture.planes,
                    class,
                    patient,
                    test: finding.split.as_deref() == Some("test"),
                });
            }
            Ok(found)
        })
        .await?;
        of_patient.retain(|image| wanted.is_none_or(|wanted| wanted.contains(&image.record)));
        found.extend(of_patient);
        if found.len() > IMAGES_LIMIT {
            return Err(TrainerError::Refused("there are too many images".into()));
        }
    }
    found.sort_by_key(|image| image.record);
    Ok(found)
}

impl Images {
    fn new(classes: Vec<String>, channels: u8, size_px: u16, found: Vec<Found>) -> Self {
        let mut samples = Vec::with_capacity(found.len());
        let mut records = Vec::with_capacity(found.len());
        let (mut training, mut test) = (Vec::new(), Vec::new());
        for (at, image) in found.into_iter().enumerate() {
            let split = if image.test {
                test.push(at);
                Split::Test
            } else {
                training.push(at);
                Split::Training
            };
            records.push(image.record);
            samples.push(Sample {
                pixels: image.pixels,
                class: image.class,
                patient: image.patient,
                split,
            });
        }
        let data = DataSet {
            classes,
            channels,
            size_px,
            samples,
        };
        Self {
            data,
            training,
            test,
            records,
        }
    }

    /// What the hospital says of them on the ledger.
    pub(super) fn card(&self) -> DataCard {
        let counts = |indices: &[usize]| self.data.counts(indices).into_iter().map(count).collect();
        let (mean, deviation) = self.data.pixel_statistics(&self.training);
        let micro = |value| Micro::from_f64(value).unwrap_or(Micro::ONE);
        let records: Vec<&[u8]> = self
            .records_of(&self.training)
            .map(|record| record.as_bytes().as_slice())
            .collect();
        DataCard {
            data_set: self.data.digest(&self.training),
            records: sha256_of(&records),
            classes: self.data.classes.clone(),
            channels: self.data.channels,
            size_px: self.data.size_px,
            training_images: counts(&self.training),
            test_images: counts(&self.test),
            pixel_mean: micro(mean),
            pixel_deviation: micro(deviation.max(1e-6)),
        }
    }

    fn records_of<'a>(&'a self, indices: &'a [usize]) -> impl Iterator<Item = &'a RecordId> {
        indices.iter().filter_map(|at| self.records.get(*at))
    }

    /// Writes down which records these are, so that the same are opened in every round.
    pub(super) fn remember(&self, folder: &Path) -> Result<(), TrainerError> {
        let list = List {
            classes: self.data.classes.clone(),
            channels: self.data.channels,
            size_px: self.data.size_px,
            training: self.records_of(&self.training).copied().collect(),
            test: self.records_of(&self.test).copied().collect(),
        };
        let json = serde_json::to_vec(&list).map_err(|e| TrainerError::Failed(e.to_string()))?;
        let path = list_path(folder, self.data.digest(&self.training));
        files::write(&path, &json, 0o600).map_err(|e| TrainerError::Failed(format!("{e:#}")))
    }
}

impl List {
    fn read(path: &Path) -> Result<Self, TrainerError> {
        let missing = || {
            TrainerError::Refused(
                "this node does not know the data set; offer it again with `salus federated offer`"
                    .into(),
            )
        };
        let about = std::fs::metadata(path).map_err(|_| missing())?;
        if about.len() > LIST_LIMIT {
            return Err(missing());
        }
        let json = std::fs::read(path).map_err(|_| missing())?;
        serde_json::from_slice(&json).map_err(|_| missing())
    }
}

fn list_path(folder: &Path, data_set: Digest) -> PathBuf {
    folder.join("sets").join(format!("{data_set}.json"))
}
