//! The names of stored objects: made from digests and ids only, and read back strictly.

use core::fmt;
use core::str::FromStr;

use minicbor::{Decode, Encode};
use salus_proto::{Digest, Entropy};

/// One upload of a large blob: what its parts are stored under until, and after, it is complete.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub struct UploadId(#[cbor(n(0), with = "minicbor::bytes")] pub [u8; 16]);

impl UploadId {
    /// A fresh random id.
    pub fn random(entropy: &mut dyn Entropy) -> Self {
        let mut bytes = [0; 16];
        entropy.fill(&mut bytes);
        Self(bytes)
    }
}

crate::wrapped!(UploadId, [u8; 16]);

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UploadId({self})")
    }
}

/// One stored object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ObjectName {
    /// Many small blobs: `packs/AB/PACK`.
    Pack(Digest),
    /// The list of the parts of a complete large blob: `large/AB/DIGEST`.
    Large(Digest),
    /// One part of a large blob: `parts/AB/UPLOAD-DIGEST`.
    Part(UploadId, Digest),
}

/// The folders that objects are in; each has the folders `00` to `ff` by the first byte of the
/// name, so that none grows beyond what file systems list well.
pub(super) const FOLDERS: [&str; 3] = ["packs", "large", "parts"];

impl ObjectName {
    /// The folder and the name in it.
    pub(super) fn place(&self) -> (String, String) {
        let (folder, first, leaf) = match self {
            Self::Pack(pack) => (FOLDERS[0], pack.0[0], pack.to_string()),
            Self::Large(digest) => (FOLDERS[1], digest.0[0], digest.to_string()),
            Self::Part(upload, digest) => (FOLDERS[2], upload.0[0], format!("{upload}-{digest}")),
        };
        (shard_folder(folder, first), leaf)
    }

    /// Reads back a name found in `folder`; `None` for what is not ours.
    pub(super) fn parse(folder: &str, leaf: &str) -> Option<Self> {
        let kind = folder.split('/').next()?;
        let name = match FOLDERS.iter().position(|known| *known == kind)? {
            0 => Self::Pack(Digest::from_str(leaf).ok()?),
            1 => Self::Large(Digest::from_str(leaf).ok()?),
            _ => {
                let (upload, digest) = leaf.split_once('-')?;
                let mut bytes = [0; 16];
                hex::decode_to_slice(upload, &mut bytes).ok()?;
                Self::Part(UploadId(bytes), Digest::from_str(digest).ok()?)
            }
        };
        // Upper-case digits and misplaced files are somebody else's.
        (name.place() == (folder.to_owned(), leaf.to_owned())).then_some(name)
    }
}

/// Text that names no object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an object is named packs/AB/PACK, large/AB/DIGEST or parts/AB/UPLOAD-DIGEST")]
pub struct NotAnObject;

impl FromStr for ObjectName {
    type Err = NotAnObject;

    fn from_str(text: &str) -> Result<Self, NotAnObject> {
        let (folder, leaf) = text.rsplit_once('/').ok_or(NotAnObject)?;
        Self::parse(folder, leaf).ok_or(NotAnObject)
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (folder, leaf) = self.place();
        write!(f, "{folder}/{leaf}")
    }
}

/// `packs/AB` for the objects of one kind that begin with this byte.
pub(super) fn shard_folder(folder: &str, first: u8) -> String {
    format!("{folder}/{first:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_foreign_names_do_not() {
        let names = [
            ObjectName::Pack(Digest([0xab; 32])),
            ObjectName::Large(Digest([0x1e; 32])),
            ObjectName::Part(UploadId([0xcd; 16]), Digest([2; 32])),
        ];
        for name in names {
            let (folder, leaf) = name.place();
            assert_eq!(ObjectName::parse(&folder, &leaf), Some(name));
            assert_eq!(name.to_string().parse(), Ok(name));
            assert_eq!(ObjectName::parse(&folder, &leaf.to_uppercase()), None);
            assert_eq!(ObjectName::parse("packs/00", &leaf), None);
            assert_eq!(ObjectName::parse(&folder, &format!("../{leaf}")), None);
        }
        for foreign in [
            "",
            "packs",
            "packs/../../etc/passwd",
            "incoming/0",
            "packs/ab/ab",
        ] {
            assert_eq!(foreign.parse::<ObjectName>(), Err(NotAnObject));
        }
        assert_eq!(
            names[2].to_string(),
            format!("parts/cd/{}-{}", "cd".repeat(16), "02".repeat(32))
        );
    }
}
