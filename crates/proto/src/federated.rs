//! The federated job on the wire: the plan that everyone signs, the header of an update, and the
//! four records that a round leaves on the ledger. How they are computed is `federated`'s business.
//!
//! Nothing here is a float: constants and metrics are [`Micro`], updates are fixed-point integers.
//!
//! ```text
//!  Plan ──► RoundOpened{model} ──► Update{base, payload} × sites ──► RoundClosed{survivors} ──► RoundResult{model}
//!               ▲                                                                                   │
//!               └───────────────────────────── next round ──────────────────────────────────────────┘
//! ```

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::encode::{self, Malformed};
use crate::ids::{JobId, OrganisationId};
use crate::{Digest, TimestampMs};

/// Longest encoded [`Plan`], bytes.
pub const PLAN_LIMIT_BYTES: usize = 1 << 20;
/// Longest encoded [`Update`], [`RoundOpened`], [`RoundClosed`] or [`RoundResult`], bytes.
pub const RECORD_LIMIT_BYTES: usize = 64 << 10;

/// A decimal in millionths: `Micro(1_500_000)` is 1.5. Range ±9.2e12.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Encode,
    Decode,
    Serialize,
    Deserialize,
)]
#[cbor(transparent)]
#[serde(transparent)]
pub struct Micro(#[n(0)] pub i64);

impl Micro {
    /// One.
    pub const ONE: Self = Self(1_000_000);

    /// The nearest `f64`; the same on every machine (one correctly rounded division).
    #[expect(
        clippy::cast_precision_loss,
        reason = "constants have far fewer than 53 bits"
    )]
    pub fn to_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// The nearest millionth; `None` where it is not finite or out of range.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the range is checked first"
    )]
    pub fn from_f64(value: f64) -> Option<Self> {
        let scaled = (value * 1e6).round_ties_even();
        (scaled.abs() < 9.2e18).then_some(Self(scaled as i64))
    }
}

/// A family of built-in networks.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Encode,
    Decode,
    Serialize,
    Deserialize,
    ToSchema,
)]
#[cbor(index_only)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// Two convolutions and two linear layers.
    #[n(0)]
    Small,
    /// Seventeen convolutions after Ozturk et al. 2020 (doi:10.1016/j.compbiomed.2020.103792).
    #[n(1)]
    DarkCovidNet,
    /// He et al. 2016 (arXiv 1512.03385), with the stem fitted to 28 to 256 pixels.
    #[n(2)]
    ResNet18,
}

/// How activations are normalised.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize,
)]
#[cbor(index_only)]
#[serde(rename_all = "lowercase")]
pub enum Normalisation {
    /// Wu and He 2018: no running statistics that would have to be averaged or could leak.
    #[n(0)]
    Group,
    /// Ioffe and Szegedy 2015, with running statistics.
    #[n(1)]
    Batch,
}

/// Everything that is needed to build a network; its weights come separately.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// The family.
    #[n(0)]
    pub architecture: Architecture,
    /// Group or batch normalisation.
    #[n(1)]
    pub normalisation: Normalisation,
    /// Class names in the order of the outputs, 2 to 1,000.
    #[n(2)]
    pub classes: Vec<String>,
    /// Colour channels of an input: 1 or 3.
    #[n(3)]
    pub channels: u8,
    /// Width and height of an input in pixels, 28 to 256.
    #[n(4)]
    pub size_px: u16,
    /// Subtracted from every pixel value in 0..1.
    #[n(5)]
    pub input_mean: Micro,
    /// What the difference is divided by; above zero.
    #[n(6)]
    pub input_deviation: Micro,
}

/// What happens to a tensor in a round.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize,
)]
#[cbor(index_only)]
#[serde(rename_all = "lowercase")]
pub enum TensorPolicy {
    /// Trained at the sites and aggregated.
    #[n(0)]
    Shared,
    /// Trained at each site and never sent (FedBN, personal heads).
    #[n(1)]
    Local,
    /// Neither trained nor sent; every site holds the initial values.
    #[n(2)]
    Frozen,
}

/// One named tensor of the network, with its PyTorch state-dict name.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
#[serde(deny_unknown_fields)]
pub struct TensorSpec {
    /// For example `layer1.0.conv1.weight`.
    #[n(0)]
    pub name: String,
    /// Lengths of the dimensions, outermost first.
    #[n(1)]
    pub shape: Vec<u32>,
    /// What happens to it in a round.
    #[n(2)]
    pub policy: TensorPolicy,
}

/// How updates become the next model. Each variant is named for its paper; see `federated::strategy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "name")]
pub enum Strategy {
    /// McMahan et al. 2017.
    #[n(0)]
    FedAvg,
    /// Li et al. 2020: FedAvg with a proximal term at the sites.
    #[n(1)]
    FedProx {
        /// Weight of the proximal term, at least 0.
        #[n(0)]
        mu: Micro,
    },
    /// Hsu et al. 2019: server momentum.
    #[n(2)]
    FedAvgM {
        /// Server learning rate, above 0.
        #[n(0)]
        rate: Micro,
        /// In 0..1.
        #[n(1)]
        momentum: Micro,
    },
    /// Reddi et al. 2021.
    #[n(3)]
    FedAdam {
        /// Server learning rate, above 0.
        #[n(0)]
        rate: Micro,
        /// Decay of the first moment, in 0..1.
        #[n(1)]
        beta1: Micro,
        /// Decay of the second moment, in 0..1.
        #[n(2)]
        beta2: Micro,
        /// Degree of adaptivity, above 0.
        #[n(3)]
        tau: Micro,
    },
    /// Reddi et al. 2021.
    #[n(4)]
    FedYogi {
        /// Server learning rate, above 0.
        #[n(0)]
        rate: Micro,
        /// Decay of the first moment, in 0..1.
        #[n(1)]
        beta1: Micro,
        /// Decay of the second moment, in 0..1.
        #[n(2)]
        beta2: Micro,
        /// Degree of adaptivity, above 0.
        #[n(3)]
        tau: Micro,
    },
    /// Reddi et al. 2021.
    #[n(5)]
    FedAdagrad {
        /// Server learning rate, above 0.
        #[n(0)]
        rate: Micro,
        /// Decay of the first moment, in 0..1.
        #[n(1)]
        beta1: Micro,
        /// Degree of adaptivity, above 0.
        #[n(2)]
        tau: Micro,
    },
    /// Karimireddy et al. 2020: control variates against client drift.
    #[n(6)]
    Scaffold {
        /// Server learning rate, above 0.
        #[n(0)]
        rate: Micro,
    },
    /// Li et al. 2021: FedAvg with normalisation tensors kept local.
    #[n(7)]
    FedBn,
    /// Yin et al. 2018: coordinate-wise median.
    #[n(8)]
    Median,
    /// Yin et al. 2018: coordinate-wise mean without the extremes.
    #[n(9)]
    TrimmedMean {
        /// Values dropped at each end; 2 × `trim` below the number of updates.
        #[n(0)]
        trim: u16,
    },
    /// Blanchard et al. 2017: the update nearest to its neighbours.
    #[n(10)]
    Krum {
        /// Byzantine sites that are tolerated: updates ≥ 2 × `byzantine` + 3.
        #[n(0)]
        byzantine: u16,
    },
    /// Blanchard et al. 2017: the mean of the `keep` best updates by Krum's score.
    #[n(11)]
    MultiKrum {
        /// Byzantine sites that are tolerated: updates ≥ 2 × `byzantine` + 3.
        #[n(0)]
        byzantine: u16,
        /// Updates averaged, 1 to updates − `byzantine` − 2.
        #[n(1)]
        keep: u16,
    },
}

/// A site's optimiser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "name")]
pub enum Optimiser {
    /// Stochastic gradient descent.
    #[n(0)]
    Sgd {
        /// In 0..1.
        #[n(0)]
        momentum: Micro,
    },
    /// Kingma and Ba 2015; weight decay is added to the gradient.
    #[n(1)]
    Adam,
    /// Loshchilov and Hutter 2019; weight decay is taken from the weight.
    #[n(2)]
    AdamW,
}

/// How the learning rate moves over the whole job.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize,
)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// The same rate throughout.
    #[n(0)]
    Constant,
    /// Half a cosine from the rate to zero (Loshchilov and Hutter 2017, without restarts).
    #[n(1)]
    Cosine,
    /// Smith and Topin 2019: up for 30 % of the steps, then down to nearly zero.
    #[n(2)]
    OneCycle,
}

/// Random changes to training images; all zero means none.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Encode, Decode, Serialize, Deserialize,
)]
#[cbor(map)]
#[serde(deny_unknown_fields)]
pub struct Augmentation {
    /// Mirror left and right half of the time. Only where a data set allows it.
    #[n(0)]
    pub flip: bool,
    /// Largest rotation to either side, millionths of a degree.
    #[n(1)]
    pub rotation_degrees: Micro,
    /// Largest zoom in or out, as a fraction: 0.1 scales by 0.9 to 1.1.
    #[n(2)]
    pub zoom: Micro,
    /// Largest shift, as a fraction of the width.
    #[n(3)]
    pub shift: Micro,
    /// Largest change of brightness and contrast, as a fraction.
    #[n(4)]
    pub lighting: Micro,
}

/// What every site does with its own images in a round.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
#[serde(deny_unknown_fields)]
pub struct LocalTraining {
    /// Passes over the site's images in a round, at least 1.
    #[n(0)]
    pub epochs: u16,
    /// Images in a step, at least 1.
    #[n(1)]
    pub batch: u16,
    /// The optimiser; its state starts fresh in every round.
    #[n(2)]
    pub optimiser: Optimiser,
    /// Learning rate at its highest.
    #[n(3)]
    pub rate: Micro,
    /// Weight decay.
    #[n(4)]
    pub weight_decay: Micro,
    /// How the rate moves over all rounds.
    #[n(5)]
    pub schedule: Schedule,
    /// Weight of each class's images in the loss, above 0; empty means 1 for all.
    #[n(6)]
    pub class_weights: Vec<Micro>,
    /// Random changes to training images.
    #[n(7)]
    pub augmentation: Augmentation,
    /// What the hard label keeps back for the other classes, in 0..1 (Szegedy et al. 2016).
    #[n(8)]
    pub label_smoothing: Micro,
    /// Largest Euclidean norm of a step's gradient; zero means no limit.
    #[n(9)]
    pub gradient_norm: Micro,
    /// Seeds the order of images, augmentation and initial weights.
    #[n(10)]
    pub seed: u64,
}

/// A site of the roster and its public weight.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
#[serde(deny_unknown_fields)]
pub struct RosterEntry {
    /// The hospital.
    #[n(0)]
    pub site: OrganisationId,
    /// Training images it declared, at least 1.
    #[n(1)]
    pub samples: u32,
    /// Digest of its data set's manifest.
    #[n(2)]
    pub data_set: Digest,
}

/// A figure that sites may report, and how finely; nothing else leaves a site as a metric.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
#[serde(deny_unknown_fields)]
pub struct MetricSpec {
    /// For example `loss` or `auc`.
    #[n(0)]
    pub name: String,
    /// Values are multiples of this many millionths, at least 1.
    #[n(1)]
    pub step: u32,
    /// Not reported where fewer images than this stand behind it.
    #[n(2)]
    pub minimum_images: u32,
}

/// One reported figure.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
#[serde(deny_unknown_fields)]
pub struct Metric {
    /// Position in the plan's metric schema.
    #[n(0)]
    pub metric: u16,
    /// The value, rounded to the schema's step.
    #[n(1)]
    pub value: Micro,
    /// Images behind it.
    #[n(2)]
    pub images: u32,
}

/// What a hospital says of images that may be trained on: numbers, no image and no name.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
#[serde(deny_unknown_fields)]
pub struct DataCard {
    /// Digest of the training images and labels as a network reads them: names the data version.
    #[n(0)]
    pub data_set: Digest,
    /// Digest of the list of sealed records behind it, which stays at the hospital.
    #[n(1)]
    pub records: Digest,
    /// Class names in the order of a network's outputs, 2 to 1,000.
    #[n(2)]
    pub classes: Vec<String>,
    /// Colour channels, 1 or 3.
    #[n(3)]
    pub channels: u8,
    /// Width and height in pixels, 28 to 256.
    #[n(4)]
    pub size_px: u16,
    /// Training images of each class.
    #[n(5)]
    pub training_images: Vec<u32>,
    /// Images of each class that the hospital keeps for its own tests.
    #[n(6)]
    pub test_images: Vec<u32>,
    /// Mean of the training pixels in 0..1.
    #[n(7)]
    pub pixel_mean: Micro,
    /// Standard deviation of the training pixels, above 0.
    #[n(8)]
    pub pixel_deviation: Micro,
}

impl DataCard {
    /// Training images of all classes.
    pub fn samples(&self) -> u64 {
        self.training_images.iter().map(|n| u64::from(*n)).sum()
    }
}

/// The federated job as every member signs it. Its digest is the job's meaning.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The job.
    #[n(0)]
    pub job: JobId,
    /// Why, in plain words and as agreed in the access terms.
    #[n(1)]
    pub purpose: String,
    /// What is trained.
    #[n(2)]
    pub network: Network,
    /// Every tensor of it, in the order in which values travel.
    #[n(3)]
    pub tensors: Vec<TensorSpec>,
    /// How updates become the next model.
    #[n(4)]
    pub strategy: Strategy,
    /// What a site does in a round.
    #[n(5)]
    pub training: LocalTraining,
    /// Rounds in the job, at least 1.
    #[n(6)]
    pub rounds: u32,
    /// The sites, ascending by id, each once.
    #[n(7)]
    pub roster: Vec<RosterEntry>,
    /// Updates without which a round does not close, 1 to the roster's length.
    #[n(8)]
    pub quorum: u16,
    /// Time from opening to the deadline at which a round closes by quorum, ms.
    #[n(9)]
    pub round_ms: u64,
    /// Binary digits after the point in an update, 8 to 30; values are clipped at 2^(30 − this).
    #[n(10)]
    pub fraction_bits: u8,
    /// What sites may report.
    #[n(11)]
    pub metrics: Vec<MetricSpec>,
    /// Digest of the model that round 0 starts from.
    #[n(12)]
    pub initial_model: Digest,
}

/// What a site says about the payload that it uploads.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
#[serde(deny_unknown_fields)]
pub struct Update {
    /// The job.
    #[n(0)]
    pub job: JobId,
    /// The round, from 0.
    #[n(1)]
    pub round: u32,
    /// Who trained.
    #[n(2)]
    pub site: OrganisationId,
    /// Digest of the model that training started from.
    #[n(3)]
    pub base: Digest,
    /// Digest of the payload: little-endian 32-bit integers, four bytes a value.
    #[n(4)]
    pub payload: Digest,
    /// Length of the payload, bytes.
    #[n(5)]
    pub payload_bytes: u64,
    /// Images trained on in this round; consent may have made it fewer than declared.
    #[n(6)]
    pub samples: u32,
    /// Values that the clip bound cut.
    #[n(7)]
    pub clipped: u64,
    /// What the site reports, ascending by metric.
    #[n(8)]
    pub metrics: Vec<Metric>,
}

/// A round has begun.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
#[serde(deny_unknown_fields)]
pub struct RoundOpened {
    /// The job.
    #[n(0)]
    pub job: JobId,
    /// The round, from 0.
    #[n(1)]
    pub round: u32,
    /// Digest of the model that sites start from.
    #[n(2)]
    pub model: Digest,
    /// When it closes with a quorum, even if sites are missing.
    #[n(3)]
    pub deadline: TimestampMs,
}

/// No further updates count.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
#[serde(deny_unknown_fields)]
pub struct RoundClosed {
    /// The job.
    #[n(0)]
    pub job: JobId,
    /// The round.
    #[n(1)]
    pub round: u32,
    /// Whose updates count, ascending by site, each with its header's digest.
    #[n(2)]
    pub survivors: Vec<Survivor>,
}

/// A site whose update counts.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
#[serde(deny_unknown_fields)]
pub struct Survivor {
    /// The site.
    #[n(0)]
    pub site: OrganisationId,
    /// Digest of its encoded [`Update`].
    #[n(1)]
    pub update: Digest,
}

/// What came out of a round; any member can add it up again.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
#[serde(deny_unknown_fields)]
pub struct RoundResult {
    /// The job.
    #[n(0)]
    pub job: JobId,
    /// The round.
    #[n(1)]
    pub round: u32,
    /// Digest of the next model.
    #[n(2)]
    pub model: Digest,
    /// Digest of the server's whole state (model and moments), from which the job can resume.
    #[n(3)]
    pub state: Digest,
    /// Means of the sites' figures weighted by images, ascending by metric.
    #[n(4)]
    pub metrics: Vec<Metric>,
}

macro_rules! wire {
    ($($type:ident, $limit:ident, $what:literal;)*) => {$(
        impl $type {
            /// The deterministic encoding: what is signed and hashed.
            pub fn to_bytes(&self) -> Vec<u8> {
                encode::to_bytes(self)
            }

            /// Reads the deterministic encoding and nothing else.
            pub fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
                encode::from_bytes(bytes, $limit, $what)
            }
        }
    )*};
}

wire! {
    Plan, PLAN_LIMIT_BYTES, "a federated plan";
    Update, RECORD_LIMIT_BYTES, "an update header";
    RoundOpened, RECORD_LIMIT_BYTES, "an opened round";
    RoundClosed, RECORD_LIMIT_BYTES, "a closed round";
    RoundResult, RECORD_LIMIT_BYTES, "a round's result";
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan {
            job: JobId([1; 16]),
            purpose: "pneumonia triage".into(),
            network: Network {
                architecture: Architecture::Small,
                normalisation: Normalisation::Group,
                classes: vec!["normal".into(), "pneumonia".into()],
                channels: 1,
                size_px: 28,
                input_mean: Micro(500_000),
                input_deviation: Micro(250_000),
            },
            tensors: vec![TensorSpec {
                name: "fc2.bias".into(),
                shape: vec![2],
                policy: TensorPolicy::Shared,
            }],
            strategy: Strategy::FedAvgM {
                rate: Micro::ONE,
                momentum: Micro(900_000),
            },
            training: LocalTraining {
                epochs: 1,
                batch: 32,
                optimiser: Optimiser::AdamW,
                rate: Micro(1_000),
                weight_decay: Micro(10_000),
                schedule: Schedule::Cosine,
                class_weights: vec![Micro(1_500_000), Micro(750_000)],
                augmentation: Augmentation::default(),
                label_smoothing: Micro(0),
                gradient_norm: Micro::ONE,
                seed: 7,
            },
            rounds: 2,
            roster: vec![RosterEntry {
                site: OrganisationId([2; 16]),
                samples: 40,
                data_set: Digest([3; 32]),
            }],
            quorum: 1,
            round_ms: 60_000,
            fraction_bits: 30,
            metrics: vec![MetricSpec {
                name: "loss".into(),
                step: 1_000,
                minimum_images: 10,
            }],
            initial_model: Digest([4; 32]),
        }
    }

    fn update() -> Update {
        Update {
            job: JobId([1; 16]),
            round: 3,
            site: OrganisationId([2; 16]),
            base: Digest([4; 32]),
            payload: Digest([5; 32]),
            payload_bytes: 8,
            samples: 40,
            clipped: 0,
            metrics: vec![Metric {
                metric: 0,
                value: Micro(-12),
                images: 40,
            }],
        }
    }

    #[test]
    fn an_update_header_has_these_very_bytes() {
        assert_eq!(
            hex::encode(update().to_bytes()),
            concat!(
                "a9",
                "005001010101010101010101010101010101",
                "0103",
                "025002020202020202020202020202020202",
                "03582004040404040404040404040404040404040404040404040404040404040404",
                "04",
                "04582005050505050505050505050505050505050505050505050505050505050505",
                "05",
                "0508",
                "061828",
                "0700",
                "0881a300",
                "00012b021828"
            )
        );
    }

    /// The page reads the same file, so that it shows what is signed.
    #[test]
    fn a_plan_has_the_committed_bytes() {
        let committed = include_str!("../testdata/federated/plan.hex").trim();
        assert_eq!(hex::encode(plan().to_bytes()), committed);
    }

    #[test]
    fn every_record_reads_back() {
        assert_eq!(Plan::from_bytes(&plan().to_bytes()), Ok(plan()));
        assert_eq!(Update::from_bytes(&update().to_bytes()), Ok(update()));
        let closed = RoundClosed {
            job: JobId([1; 16]),
            round: 0,
            survivors: vec![Survivor {
                site: OrganisationId([2; 16]),
                update: Digest([9; 32]),
            }],
        };
        assert_eq!(RoundClosed::from_bytes(&closed.to_bytes()), Ok(closed));
    }

    #[test]
    fn a_shortened_or_lengthened_record_is_refused() {
        let bytes = update().to_bytes();
        for length in 0..bytes.len() {
            assert!(
                Update::from_bytes(&bytes[..length]).is_err(),
                "{length} bytes"
            );
        }
        let mut longer = bytes;
        longer.push(0);
        assert!(Update::from_bytes(&longer).is_err());
    }

    #[test]
    fn millionths_round_to_even_and_refuse_what_is_not_finite() {
        assert_eq!(Micro::from_f64(0.1), Some(Micro(100_000)));
        assert_eq!(Micro::from_f64(2.5e-6), Some(Micro(2)));
        assert_eq!(Micro::from_f64(f64::NAN), None);
        assert_eq!(Micro::from_f64(1e13), None);
        assert!((Micro(1_500_000).to_f64() - 1.5).abs() < f64::EPSILON);
    }
}
