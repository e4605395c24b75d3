//! A trained model on disk: `model.safetensors` with PyTorch names and `config.json` with everything
//! else that a prediction needs, lineage included.

use std::path::Path;

use salus_proto::federated::Network;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::calibration::Calibration;
use crate::network::Blueprint;
use crate::weights::{FILE_LIMIT_BYTES, Weights};

/// The weights' file name.
pub const WEIGHTS: &str = "model.safetensors";
/// The configuration's file name.
pub const CONFIG: &str = "config.json";
/// Version of the configuration's format.
pub const FORMAT: &str = "salus-model/1";
/// Largest configuration that is read, bytes.
const CONFIG_LIMIT_BYTES: u64 = 4 << 20;

/// `config.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// [`FORMAT`].
    pub format: String,
    /// What the weights belong to.
    pub network: Network,
    /// How far its probabilities can be believed.
    pub calibration: Calibration,
    /// Where it comes from.
    pub lineage: Lineage,
    /// What it may be used for, in plain words.
    pub notice: String,
}

/// Where a model comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lineage {
    /// `federated`, `central` or `local`.
    pub training: String,
    /// Digest of the federated plan, 64 hexadecimal digits.
    pub plan: Option<String>,
    /// Rounds or passes completed.
    pub rounds: u32,
    /// Digests of the training images of each site.
    pub data: Vec<String>,
    /// Digest of the shared tensors after the last round.
    pub model: Option<String>,
    /// Seed of the whole run.
    pub seed: u64,
}

/// What every model says of itself.
pub const NOTICE: &str =
    "Decision support for research. Not a medical device; not for clinical use.";

/// A model ready to be used.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// Everything but the weights.
    pub config: Config,
    /// The network.
    pub blueprint: Blueprint,
    /// The weights.
    pub weights: Weights,
}

impl Model {
    /// Puts a model together.
    pub fn new(
        blueprint: Blueprint,
        weights: Weights,
        calibration: Calibration,
        lineage: Lineage,
    ) -> Self {
        let config = Config {
            format: FORMAT.into(),
            network: blueprint.config().clone(),
            calibration,
            lineage,
            notice: NOTICE.into(),
        };
        Self {
            config,
            blueprint,
            weights,
        }
    }

    /// Writes both files into `folder`, which is made where it does not exist.
    pub fn save(&self, folder: &Path) -> Result<(), Error> {
        std::fs::create_dir_all(folder).map_err(Error::file(folder))?;
        let config =
            serde_json::to_vec_pretty(&self.config).map_err(|e| Error::Model(e.to_string()))?;
        write(&folder.join(WEIGHTS), &self.weights.to_safetensors()?)?;
        write(&folder.join(CONFIG), &config)
    }

    /// Reads both files of `folder`.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let config: Config =
            serde_json::from_slice(&read(&folder.join(CONFIG), CONFIG_LIMIT_BYTES)?)
                .map_err(|e| Error::Model(format!("{CONFIG}: {e}")))?;
        if config.format != FORMAT {
            return Err(Error::Model(format!(
                "format {} is not {FORMAT}",
                config.format
            )));
        }
        let blueprint = Blueprint::new(&config.network)?;
        let weights =
            Weights::from_safetensors(&blueprint, &read(&folder.join(WEIGHTS), FILE_LIMIT_BYTES)?)?;
        Ok(Self {
            config,
            blueprint,
            weights,
        })
    }
}

/// Writes beside the target and renames, so that a reader never meets half a file.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let beside = path.with_extension("partial");
    std::fs::write(&beside, bytes).map_err(Error::file(&beside))?;
    std::fs::rename(&beside, path).map_err(Error::file(path))
}

pub(crate) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let length = std::fs::metadata(path).map_err(Error::file(path))?.len();
    if length > limit {
        return Err(Error::Model(format!(
            "{} is larger than {limit} bytes",
            path.display()
        )));
    }
    std::fs::read(path).map_err(Error::file(path))
}
