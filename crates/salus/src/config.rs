//! A node's configuration: one TOML file, unknown keys refused, secrets by path.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

/// One node of a consortium. Relative paths are taken from the file's own folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NodeConfig {
    /// The consortium's genesis file.
    pub(crate) genesis: PathBuf,
    /// This organisation's secret keys, a file that only its owner may read.
    pub(crate) keys: PathBuf,
    /// This organisation's member card, if it is not in the genesis file or was replaced since.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) card: Option<PathBuf>,
    /// Proof of who the members are (`salus member introduce`), if they are not the founders any more:
    /// where a node without a ledger finds them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) introduction: Option<PathBuf>,
    /// Where everything that the node writes lives.
    #[serde(default = "default_data")]
    pub(crate) data: PathBuf,
    /// The HTTP API.
    pub(crate) api: Api,
    /// The consensus engine.
    pub(crate) engine: Engine,
    /// Where tables and sealed blobs are kept.
    #[serde(default)]
    pub(crate) storage: Storage,
    /// What the node decides by itself.
    #[serde(default)]
    pub(crate) policy: Policy,
}

/// The HTTP API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Api {
    /// Address to listen on, for example `0.0.0.0:8443`.
    pub(crate) listen: String,
    /// Certificate chain, PEM.
    pub(crate) certificate: PathBuf,
    /// Private key, PEM.
    pub(crate) private_key: PathBuf,
    /// Certificate authority that the other members' certificates are checked with, PEM.
    pub(crate) authority: PathBuf,
}

/// The consensus engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Engine {
    /// Address to listen on; the other members reach it under the address in the genesis file.
    pub(crate) listen: String,
}

/// Where tables and sealed blobs are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Storage {
    /// `sqlite` (a file below `data`) or `postgres://user:password@host/name`.
    pub(crate) tables: String,
    /// `local` (a folder below `data`) or `s3://bucket?endpoint=URL&region=NAME`.
    pub(crate) blobs: String,
    /// File with the S3 credentials: access key on the first line, secret key on the second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) s3_credentials: Option<PathBuf>,
    /// How much of the stored blobs is read again in a second to see whether it is whole, in MiB; 0
    /// leaves them alone.
    pub(crate) scrub_mib_per_s: u32,
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            tables: "sqlite".into(),
            blobs: "local".into(),
            s3_credentials: None,
            scrub_mib_per_s: 8,
        }
    }
}

/// What the node decides by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Policy {
    /// What happens when a linked patient asks for their own records.
    pub(crate) own_records: OwnRecords,
    /// Whether patients' names are sealed too.
    pub(crate) profile: Profile,
    /// Names of the members that get replicas of the sealed records.
    pub(crate) replicate_to: Vec<String>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            own_records: OwnRecords::Approve,
            profile: Profile::Default,
            replicate_to: Vec::new(),
        }
    }
}

/// What happens when a linked patient asks for their own records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum OwnRecords {
    /// Approved at once, on the ledger with basis `policy`.
    Approve,
    /// Left to the staff.
    Ask,
}

/// How much of a record is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Profile {
    /// Everything but the patient's name.
    Default,
    /// The name too.
    Strict,
}

fn default_data() -> PathBuf {
    "data".into()
}

impl NodeConfig {
    /// Reads a configuration file and resolves its paths.
    pub(crate) fn load(file: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read the configuration {}", file.display()))?;
        let mut config: Self = toml::from_str(&text)
            .with_context(|| format!("{} is not a node configuration", file.display()))?;
        let folder = file.parent().unwrap_or(Path::new(""));
        for path in [
            &mut config.genesis,
            &mut config.keys,
            &mut config.data,
            &mut config.api.certificate,
            &mut config.api.private_key,
            &mut config.api.authority,
        ] {
            *path = folder.join(&*path);
        }
        let optional = [
            &mut config.card,
            &mut config.introduction,
            &mut config.storage.s3_credentials,
        ];
        for path in optional.into_iter().flatten() {
            *path = folder.join(&*path);
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_configuration_in_the_docs_is_read() {
        let sample = include_str!("../../../docs/samples/node.toml");
        let config: NodeConfig = toml::from_str(sample).unwrap();
        assert_eq!(config.policy.own_records, OwnRecords::Approve);
    }

    #[test]
    fn a_misspelt_key_is_refused() {
        let sample = include_str!("../../../docs/samples/node.toml");
        let wrong = sample.replace("own_records", "own_recrods");
        let error = toml::from_str::<NodeConfig>(&wrong)
            .unwrap_err()
            .to_string();
        assert!(error.contains("own_recrods"), "{error}");
    }
}
