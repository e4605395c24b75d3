//! Files of the program's own: secrets that only their owner may read, and whole-or-nothing writes.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use salus_crypto::keys::SecretKeys;
use salus_proto::encode::{from_base64url, from_bytes, to_base64url, to_bytes};
use salus_proto::ids::OrganisationId;
use salus_proto::member::{GENESIS_LIMIT, Genesis};
use zeroize::Zeroizing;

/// First word of a node's key file.
const NODE_KEYS_PREFIX: &str = "SALUS-NODE-KEYS-1";
/// Largest key, password or certificate file, in bytes.
const SMALL_FILE_LIMIT: u64 = 64 << 10;

/// Writes a file so that it is there completely or not at all, also after a power cut.
pub(crate) fn write(path: &Path, bytes: &[u8], mode: u32) -> anyhow::Result<()> {
    let folder = path.parent().context("a file has a folder")?;
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let draft = path.with_extension("new");
    let written = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&draft, path)?;
        File::open(folder)?.sync_all()
    })();
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// Writes a secret: readable by its owner only.
pub(crate) fn write_secret(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    write(path, bytes, 0o600)
}

/// Reads a small secret and insists that nobody else can.
pub(crate) fn read_secret(path: &Path) -> anyhow::Result<Zeroizing<String>> {
    let about =
        std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(
        about.permissions().mode() & 0o077 == 0,
        "{} can be read by others; run `chmod 600` on it",
        path.display()
    );
    ensure!(
        about.len() <= SMALL_FILE_LIMIT,
        "{} is too large for a secret",
        path.display()
    );
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Zeroizing::new(text))
}

/// A member's secret keys as they stand in its key file.
pub(crate) struct NodeKeys {
    /// The organisation.
    pub(crate) organisation: OrganisationId,
    /// Its signing and opening keys.
    pub(crate) keys: SecretKeys,
    /// Seed of its validator's Ed25519 key.
    pub(crate) engine_seed: Zeroizing<[u8; 32]>,
}

impl core::fmt::Debug for NodeKeys {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("NodeKeys")
            .field("organisation", &self.organisation)
            .finish_non_exhaustive()
    }
}

impl NodeKeys {
    /// Writes the key file.
    pub(crate) fn save(&self, path: &Path) -> anyhow::Result<()> {
        let keyring = self.keys.to_keyring_bytes();
        let text = Zeroizing::new(format!(
            "{NODE_KEYS_PREFIX} {} {} {}\n",
            self.organisation,
            *Zeroizing::new(to_base64url(&keyring)),
            *Zeroizing::new(to_base64url(&*self.engine_seed)),
        ));
        write_secret(path, text.as_bytes())
    }

    /// Reads the key file.
    pub(crate) fn load(path: &Path) -> anyhow::Result<Self> {
        let text = read_secret(path)?;
        let words: Vec<&str> = text.split_whitespace().collect();
        let [NODE_KEYS_PREFIX, organisation, keyring, engine_seed] = words.as_slice() else {
            bail!("{} is not a node's key file", path.display());
        };
        let parse = || {
            let keyring = Zeroizing::new(from_base64url(keyring)?);
            let seed = Zeroizing::new(from_base64url(engine_seed)?);
            let seed: [u8; 32] = seed.as_slice().try_into().ok()?;
            Some(Self {
                organisation: organisation.parse().ok()?,
                keys: SecretKeys::from_keyring_bytes(&keyring).ok()?,
                engine_seed: Zeroizing::new(seed),
            })
        };
        parse().with_context(|| format!("{} is damaged", path.display()))
    }
}

/// Reads a genesis file.
pub(crate) fn read_genesis(path: &Path) -> anyhow::Result<Genesis> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    from_bytes(&bytes, GENESIS_LIMIT, "a genesis file")
        .with_context(|| format!("{} is not a genesis file", path.display()))
}

/// Writes a genesis file.
pub(crate) fn write_genesis(path: &Path, genesis: &Genesis) -> anyhow::Result<()> {
    write(path, &to_bytes(genesis), 0o644)
}

#[cfg(test)]
mod tests {
    use super::*;
    use salus_proto::Entropy as _;
    use salus_runtime::entropy::SeededEntropy;

    #[test]
    fn a_key_file_is_private_and_comes_back_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret/node.keys");
        let mut entropy = SeededEntropy::new(1);
        let keys = NodeKeys {
            organisation: OrganisationId::random(&mut entropy),
            keys: SecretKeys::generate(&mut entropy).unwrap(),
            engine_seed: Zeroizing::new(entropy.array()),
        };
        keys.save(&path).unwrap();
        let back = NodeKeys::load(&path).unwrap();
        assert_eq!(back.organisation, keys.organisation);
        assert_eq!(back.keys.public(), keys.keys.public());
        assert_eq!(back.engine_seed, keys.engine_seed);

        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let error = NodeKeys::load(&path).unwrap_err().to_string();
        assert!(error.contains("chmod 600"), "{error}");
    }
}
