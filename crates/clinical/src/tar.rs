//! Regular files of a USTAR archive (POSIX.1-1988) in memory, borrowed and with checked paths.

use crate::sniff::safe_path;
use crate::{Error, Result};

const BLOCK: usize = 512;
/// Most members.
const MEMBERS_LIMIT: usize = 200_000;

/// One regular file. Its `Debug` shows no content.
#[derive(Clone, PartialEq, Eq)]
pub struct Member<'a> {
    /// Relative path with `/`, checked to stay inside.
    pub path: String,
    /// Content.
    pub bytes: &'a [u8],
}

impl core::fmt::Debug for Member<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Member")
            .field("bytes", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

/// All regular files in order. Folders are passed over; links, devices and extensions are refused.
pub fn members(archive: &[u8]) -> Result<Vec<Member<'_>>> {
    let what = "tar archive";
    let mut members = Vec::new();
    let mut at = 0;
    while let Some(header) = archive.get(at..at + BLOCK) {
        let bad = |reason| Error::Malformed {
            what,
            reason,
            offset: at,
        };
        if header.iter().all(|&b| b == 0) {
            return Ok(members);
        }
        let field = |from: usize, to: usize| header.get(from..to).unwrap_or_default();
        // The checksum counts its own field as spaces.
        let sum = |from, to| field(from, to).iter().map(|&b| u64::from(b)).sum::<u64>();
        if octal(field(148, 156)) != Some(sum(0, 148) + 8 * 32 + sum(156, 512)) {
            return Err(bad("a header with a wrong checksum"));
        }
        let size = octal(field(124, 136)).and_then(|size| usize::try_from(size).ok());
        let size = size.ok_or(bad("a size that is no octal number"))?;
        let start = at + BLOCK;
        let end = start.checked_add(size).ok_or(Error::Truncated { what })?;
        let bytes = archive.get(start..end).ok_or(Error::Truncated { what })?;
        match header.get(156) {
            Some(0 | b'0') => {
                if members.len() == MEMBERS_LIMIT {
                    return Err(bad("more members than allowed"));
                }
                let prefix = if field(257, 262) == b"ustar" {
                    text(field(345, 500))
                } else {
                    Some("")
                };
                let (Some(prefix), Some(name)) = (prefix, text(field(0, 100))) else {
                    return Err(bad("a name that is not UTF-8"));
                };
                let path = if prefix.is_empty() {
                    name.to_owned()
                } else {
                    format!("{prefix}/{name}")
                };
                let path = safe_path(path.strip_prefix("./").unwrap_or(&path))?;
                members.push(Member { path, bytes });
            }
            Some(b'5') => {}
            _ => return Err(bad("a member that is neither file nor folder")),
        }
        at = end
            .div_ceil(BLOCK)
            .checked_mul(BLOCK)
            .ok_or(Error::Truncated { what })?;
    }
    if at == archive.len() && at > 0 {
        Ok(members)
    } else {
        Err(Error::Truncated { what })
    }
}

/// Octal digits, ended by a space or NUL.
fn octal(field: &[u8]) -> Option<u64> {
    let text = core::str::from_utf8(field).ok()?;
    u64::from_str_radix(text.trim_matches(['\0', ' ']), 8).ok()
}

/// Text up to the first NUL.
fn text(field: &[u8]) -> Option<&str> {
    core::str::from_utf8(field.split(|&b| b == 0).next()?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn member(name: &str, kind: u8, bytes: &[u8]) -> Vec<u8> {
        let mut header = [0_u8; BLOCK];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[124..135].copy_from_slice(format!("{:011o}", bytes.len()).as_bytes());
        header[156] = kind;
        header[257..262].copy_from_slice(b"ustar");
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|&b| u32::from(b)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        let mut out = header.to_vec();
        out.extend_from_slice(bytes);
        out.resize(out.len().div_ceil(BLOCK) * BLOCK, 0);
        out
    }

    fn archive(parts: &[Vec<u8>]) -> Vec<u8> {
        [parts.concat(), vec![0; 2 * BLOCK]].concat()
    }

    #[test]
    fn files_come_out_and_folders_are_passed_over() {
        let tar = archive(&[
            member("./a", b'5', b""),
            member("./a/b.txt", b'0', b"hello"),
            member("c", 0, b""),
        ]);
        let found = members(&tar).unwrap();
        let found: Vec<_> = found.iter().map(|m| (m.path.as_str(), m.bytes)).collect();
        assert_eq!(found, [("a/b.txt", &b"hello"[..]), ("c", b"")]);
    }

    #[test]
    fn links_tricks_and_cuts_are_refused() {
        assert!(members(&archive(&[member("l", b'2', b"")])).is_err());
        assert!(members(&archive(&[member("../up", b'0', b"")])).is_err());
        let mut huge = member("a", b'0', b"x");
        huge[124..135].copy_from_slice(b"77777777777");
        assert!(members(&huge).is_err());
        let tar = archive(&[member("a", b'0', &[7; 700])]);
        for cut in 1..BLOCK * 3 {
            assert!(members(&tar[..cut]).is_err(), "{cut}");
        }
        assert!(members(&[]).is_err());
    }

    proptest! {
        #[test]
        fn flipped_bits_never_panic(at in 0..1024_usize, bit in 0..8_u32) {
            let mut tar = archive(&[member("a", b'0', &[7; 700])]);
            tar[at] ^= 1 << bit;
            let _ = members(&tar);
        }
    }
}
