//! Federated jobs: offered data, where jobs and rounds stand, what came of them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::Binary;
use crate::federated::Architecture;
use crate::ids::{AccessId, JobId, OrganisationId, PatientAlias, RecordId};
use crate::role::Decision;
use crate::{Digest, TimestampMs};

/// Largest image that is judged over the API, bytes.
pub const IMAGE_LIMIT: usize = 32 << 20;
/// Most bytes of one piece of an upload.
pub const PIECE_LIMIT: usize = 8 << 20;

/// Header with the digest of an upload up to the end of the piece that it comes with.
pub const UPLOAD_DIGEST: &str = "Salus-Upload-Digest";

/// A digest as a header has it (RFC 9530).
pub fn write_digest(digest: &Digest) -> String {
    format!("sha-256=:{}:", STANDARD.encode(digest.0))
}

/// Reads what [`write_digest`] wrote.
pub fn read_digest(text: &str) -> Option<Digest> {
    let text = text.strip_prefix("sha-256=:")?.strip_suffix(':')?;
    STANDARD.decode(text).ok()?.try_into().ok().map(Digest)
}

/// Asks a hospital's node to open its labelled images and offer them for training.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DataSetRequest {
    /// Class names in the order of a network's outputs, at least 2.
    pub classes: Vec<String>,
    /// Colour channels, 1 or 3.
    pub channels: u8,
    /// Width and height in pixels, 28 to 256.
    pub size_px: u16,
    /// Share of each class's patients kept for the hospital's own tests, in per cent, 0 to 90, where
    /// the findings do not say themselves which images are for testing.
    pub test_percent: u8,
}

/// A data set that a hospital offers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DataSetView {
    /// Digest of the training images and labels: names the data version.
    pub data_set: Digest,
    /// Whose images.
    pub owner: OrganisationId,
    /// Class names in the order of a network's outputs.
    pub classes: Vec<String>,
    /// Colour channels.
    pub channels: u8,
    /// Width and height in pixels.
    pub size_px: u16,
    /// Training images of each class.
    pub training_images: Vec<u32>,
    /// Images of each class kept for the hospital's own tests.
    pub test_images: Vec<u32>,
    /// Mean of the training pixels, millionths.
    pub pixel_mean: i64,
    /// Standard deviation of the training pixels, millionths.
    pub pixel_deviation: i64,
    /// When it was first offered.
    pub offered: TimestampMs,
}

/// How updates become the next model; the constants are those of `salus federated propose`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StrategyName {
    /// The mean weighted by images.
    Fedavg,
    /// The mean, with sites held near the round's model.
    Fedprox,
    /// The mean, with momentum at the coordinator.
    Fedavgm,
    /// Adam at the coordinator.
    Fedadam,
    /// Yogi at the coordinator.
    Fedyogi,
    /// Adagrad at the coordinator.
    Fedadagrad,
    /// Control variates against drift.
    Scaffold,
    /// The mean, normalisation stays at each site.
    Fedbn,
    /// The median of each value.
    Median,
    /// The mean without the extremes.
    TrimmedMean,
    /// The update nearest to its neighbours.
    Krum,
    /// The mean of the updates nearest to their neighbours.
    MultiKrum,
}

/// Asks a coordinator's node to draw up a plan over offered data sets and to propose it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JobRequest {
    /// Why, in plain words: what the hospitals agree to. 1 to 500 characters.
    pub purpose: String,
    /// Data sets of different hospitals that fit each other.
    pub data_sets: Vec<Digest>,
    /// The network.
    pub network: Architecture,
    /// How updates become the next model.
    pub strategy: StrategyName,
    /// Rounds, at least 1.
    pub rounds: u32,
    /// Passes over a site's images in a round, at least 1.
    pub local_epochs: u16,
    /// Images in a step, at least 1.
    pub batch: u16,
    /// Highest learning rate, above 0.
    pub rate: f64,
    /// Whether classes weigh the same in the loss, however many images they have.
    pub class_weights: bool,
    /// Whether images may be mirrored left to right.
    pub flip: bool,
    /// Updates without which no round closes, 1 to the number of data sets.
    pub quorum: u16,
    /// Time after which a round closes with a quorum, ms.
    pub round_ms: u64,
    /// Seed of everything random.
    pub seed: u64,
}

/// An update that a site sent: all that left the hospital in that round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct UpdateView {
    /// The log entry with which the site vouched for it.
    pub entry: u64,
    /// When.
    pub at: TimestampMs,
    /// From 0.
    pub round: u32,
    /// Who trained.
    pub site: OrganisationId,
    /// Its name.
    pub name: String,
    /// Digest of the model that training started from.
    pub base: Digest,
    /// Digest of the payload.
    pub payload: Digest,
    /// Its length, bytes.
    pub payload_bytes: u64,
    /// Images trained on.
    pub samples: u32,
    /// The figures that the site reported.
    pub metrics: Vec<MetricView>,
    /// Whether it counted; absent while the round is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted: Option<bool>,
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum JobStage {
    /// Too few sites have agreed to open a round.
    Proposed,
    /// The next round is about to open.
    Between,
    /// A round takes updates.
    Open,
    /// The updates that count are being added up.
    Closed,
    /// Every round has been published.
    Done,
}

/// What a site is doing in the current round, as this node knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SiteActivity {
    /// Has not decided whether to take part.
    Undecided,
    /// Does not take part.
    Refused,
    /// Has not fetched the round's model: gone, or this node does not coordinate the job.
    Missing,
    /// Has fetched the round's model and trains.
    Training,
    /// Sends its update.
    Uploading,
    /// Has vouched for its update.
    Sent,
    /// Waits for a round to open, or the job is done.
    Waiting,
}

/// One site of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SiteView {
    /// The site.
    pub site: OrganisationId,
    /// Its name.
    pub name: String,
    /// Training images that it declared.
    pub samples: u32,
    /// Its data set.
    pub data_set: Digest,
    /// What it decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// What it is doing.
    pub activity: SiteActivity,
    /// Rounds in which its update counted.
    pub counted: u32,
    /// Why its last attempt was not accepted, if that came after everything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A figure that sites report: their mean weighted by images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MetricView {
    /// For example `loss`, or `auc` of the model that the round started from.
    pub name: String,
    /// The value.
    pub value: f64,
    /// Images behind it.
    pub images: u32,
}

/// A finished round in short.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RoundSummary {
    /// From 0.
    pub round: u32,
    /// Sites whose updates counted.
    pub sites: u32,
    /// What the sites reported.
    pub metrics: Vec<MetricView>,
    /// From opening to publishing, ms.
    pub took_ms: u64,
    /// Digest of the model that came out.
    pub model: Digest,
}

/// A federated job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JobView {
    /// The job.
    pub job: JobId,
    /// Digest of its plan.
    pub plan: Digest,
    /// Why, in plain words.
    pub purpose: String,
    /// The member that averages.
    pub coordinator: OrganisationId,
    /// Its name.
    pub coordinator_name: String,
    /// Its API.
    pub coordinator_api: String,
    /// Where the job stands.
    pub stage: JobStage,
    /// The round of the stage, from 0; the number of rounds once done.
    pub round: u32,
    /// Rounds in the job.
    pub rounds: u32,
    /// Updates without which no round closes.
    pub quorum: u16,
    /// When the open round closes with a quorum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<TimestampMs>,
    /// Digest of the model that the round starts from, or that the job ended with.
    pub model: Digest,
    /// The sites.
    pub sites: Vec<SiteView>,
    /// The finished rounds, at most the last 1,000.
    pub history: Vec<RoundSummary>,
    /// How long the rest will take if rounds go on as they did, ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining_ms: Option<u64>,
    /// When it was proposed.
    pub proposed: TimestampMs,
    /// Counts up whenever anything changed; give it as `after` to wait for the next change.
    pub version: u64,
}

/// One round with everything that is needed to add it up again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RoundView {
    /// The job.
    pub job: JobId,
    /// From 0.
    pub round: u32,
    /// Digest of the model that it started from.
    pub model: Digest,
    /// Digest of the server's whole state before it; absent for round 0, which starts from the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<Digest>,
    /// When it was opened.
    pub opened: TimestampMs,
    /// When it closes with a quorum.
    pub deadline: TimestampMs,
    /// CBOR of each [`Update`](crate::federated::Update) that a site vouched for.
    pub updates: Vec<Binary>,
    /// CBOR of the [`RoundClosed`](crate::federated::RoundClosed), once closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<Binary>,
    /// CBOR of the [`RoundResult`](crate::federated::RoundResult), once published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Binary>,
}

/// How far an upload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TrainingUpload {
    /// Bytes that have arrived; the next piece begins here.
    pub arrived: u64,
    /// Whether it is complete and needs nothing more.
    pub complete: bool,
}

/// A model's figures on a hospital's own test images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OwnFigures {
    /// Share of right predictions.
    pub accuracy: f64,
    /// Mean share of right predictions over the classes.
    pub balanced_accuracy: f64,
    /// Area under the receiver operating characteristic; absent where a class has no test image.
    pub auc: Option<f64>,
    /// 95 % interval of the AUC, by bootstrap over patients.
    pub auc_95: Option<[f64; 2]>,
}

/// What a hospital has from a job: both models on its own test images, which never leave it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GainView {
    /// The job.
    pub job: JobId,
    /// Its own test images.
    pub images: u32,
    /// The patients behind them.
    pub patients: u32,
    /// Trained with the others.
    pub together: OwnFigures,
    /// Trained on the hospital's own images only, with the same network and as many passes.
    pub alone: OwnFigures,
}

/// Where a model comes from: everything that led to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LineageView {
    /// The job.
    pub job: JobId,
    /// Digest of the plan.
    pub plan: Digest,
    /// Why it was trained.
    pub purpose: String,
    /// Digest of the final model.
    pub model: Digest,
    /// The members, with the data versions that they trained on.
    pub sites: Vec<SiteView>,
    /// Every round: the model that came out and how many sites' updates counted.
    pub rounds: Vec<RoundSummary>,
    /// Predictions made with it, by log entry, at most the last 1,000.
    pub uses: Vec<u64>,
}

/// Has a model judge an image that the caller may read and has opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PredictionRequest {
    /// The signed `UseModel` command.
    pub command: Binary,
    /// The opened image: PNG, JPEG or DICOM, at most 32 MiB.
    pub image: Binary,
    /// Whether to draw where the network looked.
    #[serde(default)]
    pub heat_map: bool,
}

/// One class and how likely it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ClassProbability {
    /// The class.
    pub class: String,
    /// In 0..1.
    pub probability: f32,
}

/// How far a model's probabilities were checked at the hospital that judges.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CalibrationView {
    /// Whether a temperature could be fitted, so that probabilities mean shares of right predictions.
    pub calibrated: bool,
    /// The hospital's own test images of each class behind it, in the order of the classes.
    pub images: Vec<u32>,
}

/// What a model says of one image. Decision support for research; not a medical device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PredictionView {
    /// The receipt on the ledger.
    pub entry: u64,
    /// The record.
    pub record: RecordId,
    /// Whose it is.
    pub alias: PatientAlias,
    /// The grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<AccessId>,
    /// The most likely class.
    pub class: String,
    /// Probability of each class; they add up to 1.
    pub probabilities: Vec<ClassProbability>,
    /// Why not to rely on it; empty is no promise.
    pub warnings: Vec<String>,
    /// How far its probabilities were checked.
    pub calibration: CalibrationView,
    /// A PNG of the image with the regions that mattered (Grad-CAM).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heat_map: Option<Binary>,
    /// A PNG of those regions alone, clear where nothing mattered, to be laid over the whole image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heat_layer: Option<Binary>,
    /// The job that made the model; its lineage is at `/jobs/{job}/lineage`.
    pub job: JobId,
    /// Digest of the model.
    pub model: Digest,
    /// What the model may be used for.
    pub notice: String,
}
