//! Files of the program's own: secrets that only their owner may read, and whole-or-nothing writes.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use salus_client::intake::token_secret;
use salus_crypto::Secret;
use salus_crypto::keys::{SecretKeys, random_secret};
use salus_proto::Entropy;
use salus_proto::encode::{from_base64url, from_bytes, to_base64url, to_bytes};
use salus_proto::ids::OrganisationId;
use salus_proto::member::{CARD_LIMIT, GENESIS_LIMIT, Genesis, MemberCard};
use zeroize::Zeroizing;

/// First word of a node's key file.
const NODE_KEYS_PREFIX: &str = "SALUS-NODE-KEYS-1";
/// Largest key, password or certificate file, in bytes.
const SMALL_FILE_LIMIT: u64 = 64 << 10;

/// Writes a file so that it is there completely or not at all, also after a power cut.
pub(crate) fn write(path: &Path, bytes: &[u8], mode: u32) -> anyhow::Result<()> {
    let folder = folder_of(path);
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
    /// The secret behind its intake tokens, where earlier keys gave it: what was taken in under them
    /// must be recognised.
    token_secret: Option<Secret>,
}

impl core::fmt::Debug for NodeKeys {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("NodeKeys")
            .field("organisation", &self.organisation)
            .finish_non_exhaustive()
    }
}

impl NodeKeys {
    /// The first keys of an organisation.
    pub(crate) fn generate(
        organisation: OrganisationId,
        entropy: &mut dyn Entropy,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            organisation,
            keys: SecretKeys::generate(entropy)?,
            engine_seed: random_secret(entropy),
            token_secret: None,
        })
    }

    /// New keys for the same organisation.
    pub(crate) fn successor(&self, entropy: &mut dyn Entropy) -> anyhow::Result<Self> {
        Ok(Self {
            token_secret: Some(self.token_secret()),
            ..Self::generate(self.organisation, entropy)?
        })
    }

    /// The secret behind the organisation's intake tokens.
    pub(crate) fn token_secret(&self) -> Secret {
        let own = || token_secret(&self.keys);
        self.token_secret.clone().unwrap_or_else(own)
    }

    /// Writes the key file.
    pub(crate) fn save(&self, path: &Path) -> anyhow::Result<()> {
        let keyring = self.keys.to_keyring_bytes();
        let token_secret = self.token_secret.as_ref().map(|s| to_base64url(&**s));
        let text = Zeroizing::new(format!(
            "{NODE_KEYS_PREFIX} {} {} {} {}\n",
            self.organisation,
            *Zeroizing::new(to_base64url(&keyring)),
            *Zeroizing::new(to_base64url(&*self.engine_seed)),
            *Zeroizing::new(token_secret.unwrap_or_default()),
        ));
        write_secret(path, text.as_bytes())
    }

    /// Reads the key file.
    pub(crate) fn load(path: &Path) -> anyhow::Result<Self> {
        let text = read_secret(path)?;
        let words: Vec<&str> = text.split_whitespace().collect();
        let [
            NODE_KEYS_PREFIX,
            organisation,
            keyring,
            engine_seed,
            rest @ ..,
        ] = words.as_slice()
        else {
            bail!("{} is not a node's key file", path.display());
        };
        let secret = |text: &str| -> Option<Secret> {
            let bytes = Zeroizing::new(from_base64url(text)?);
            Some(Zeroizing::new(bytes.as_slice().try_into().ok()?))
        };
        let parse = || {
            let keyring = Zeroizing::new(from_base64url(keyring)?);
            Some(Self {
                organisation: organisation.parse().ok()?,
                keys: SecretKeys::from_keyring_bytes(&keyring).ok()?,
                engine_seed: secret(engine_seed)?,
                token_secret: match rest {
                    [] => None,
                    [text] => Some(secret(text)?),
                    _ => return None,
                },
            })
        };
        parse().with_context(|| format!("{} is damaged", path.display()))
    }
}

/// The key files of a node while its organisation replaces its keys.
///
/// ```text
///  node.keys       node.keys.next      `salus member rotate`: proposed, not in force
///  node.keys.old   node.keys           in force; key wraps are being moved
///                  node.keys           done
/// ```
#[derive(Debug, Clone)]
pub(crate) struct KeyFiles {
    /// The keys in use.
    pub(crate) current: PathBuf,
    /// Keys that are to replace them.
    pub(crate) next: PathBuf,
    /// Keys that they replaced, while something is still wrapped to those.
    pub(crate) earlier: PathBuf,
}

impl KeyFiles {
    /// The files around the configured one.
    pub(crate) fn around(current: &Path) -> Self {
        let beside = |ending: &str| {
            let mut name = current.as_os_str().to_owned();
            name.push(ending);
            PathBuf::from(name)
        };
        Self {
            current: current.to_owned(),
            next: beside(".next"),
            earlier: beside(".old"),
        }
    }

    /// Puts the next keys into use. May be interrupted anywhere and repeated.
    pub(crate) fn promote(&self) -> anyhow::Result<()> {
        NodeKeys::load(&self.next)?;
        let current = NodeKeys::load(&self.current)?;
        if self.earlier.exists() {
            let earlier = NodeKeys::load(&self.earlier)?;
            ensure!(
                earlier.keys.public() == current.keys.public(),
                "{} still holds the keys before the current ones",
                self.earlier.display()
            );
        }
        current.save(&self.earlier)?;
        std::fs::rename(&self.next, &self.current)
            .and_then(|()| sync_folder(&self.current))
            .with_context(|| format!("cannot write {}", self.current.display()))
    }

    /// Destroys the keys that were replaced.
    pub(crate) fn forget_earlier(&self) -> anyhow::Result<()> {
        std::fs::remove_file(&self.earlier)
            .and_then(|()| sync_folder(&self.earlier))
            .with_context(|| format!("cannot remove {}", self.earlier.display()))
    }
}

fn sync_folder(of: &Path) -> std::io::Result<()> {
    File::open(folder_of(of))?.sync_all()
}

/// The folder that a file is in; that of a bare name is the current one.
fn folder_of(path: &Path) -> &Path {
    let parent = path.parent().filter(|parent| *parent != Path::new(""));
    parent.unwrap_or(Path::new("."))
}

/// Reads a member card.
pub(crate) fn read_card(path: &Path) -> anyhow::Result<MemberCard> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    from_bytes(&bytes, CARD_LIMIT, "a member card")
        .with_context(|| format!("{} is not a member card", path.display()))
}

/// Writes a member card.
pub(crate) fn write_card(path: &Path, card: &MemberCard) -> anyhow::Result<()> {
    write(path, &to_bytes(card), 0o644)
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
    use salus_runtime::entropy::SeededEntropy;

    #[test]
    fn a_key_file_is_private_and_comes_back_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret/node.keys");
        let mut entropy = SeededEntropy::new(1);
        let keys = NodeKeys::generate(OrganisationId([1; 16]), &mut entropy).unwrap();
        keys.save(&path).unwrap();
        let back = NodeKeys::load(&path).unwrap();
        assert_eq!(back.organisation, keys.organisation);
        assert_eq!(back.keys.public(), keys.keys.public());
        assert_eq!(back.engine_seed, keys.engine_seed);

        let next = keys.successor(&mut entropy).unwrap();
        assert_ne!(next.keys.public(), keys.keys.public());
        next.save(&path).unwrap();
        let back = NodeKeys::load(&path).unwrap();
        assert_eq!(back.token_secret(), keys.token_secret());

        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let error = NodeKeys::load(&path).unwrap_err().to_string();
        assert!(error.contains("chmod 600"), "{error}");
    }

    #[test]
    fn a_bare_name_is_in_the_current_folder() {
        assert_eq!(folder_of(Path::new("maya.key")), Path::new("."));
        assert_eq!(folder_of(Path::new("keys/maya.key")), Path::new("keys"));
    }

    #[test]
    fn keys_are_promoted_from_wherever_a_crash_left_them() {
        let folder = tempfile::tempdir().unwrap();
        let files = KeyFiles::around(&folder.path().join("node.keys"));
        let mut entropy = SeededEntropy::new(1);
        let first = NodeKeys::generate(OrganisationId([1; 16]), &mut entropy).unwrap();
        let second = first.successor(&mut entropy).unwrap();
        let is = |path: &Path, keys: &NodeKeys| {
            NodeKeys::load(path).is_ok_and(|found| found.keys.public() == keys.keys.public())
        };
        // Before anything was written, and after the first of the two files was.
        for crashed in [false, true] {
            first.save(&files.current).unwrap();
            second.save(&files.next).unwrap();
            if crashed {
                first.save(&files.earlier).unwrap();
            }
            files.promote().unwrap();
            assert!(is(&files.current, &second) && is(&files.earlier, &first));
            assert!(!files.next.exists());
            files.forget_earlier().unwrap();
        }
        assert!(files.promote().is_err(), "there is nothing to promote");
        assert!(is(&files.current, &second) && !files.earlier.exists());
    }
}
