//! Looks for plaintexts where none may be: in files, and in the memory of a running process.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use aho_corasick::AhoCorasick;

/// Memory looked through at a time, in bytes.
const PIECE: usize = 16 << 20;
/// Bytes that two pieces share, so that what lies across their border is found: more than the longest
/// plaintext and the longest path.
const OVERLAP: u64 = 8 << 10;

/// The plaintexts to look for.
#[derive(Debug)]
pub(super) struct Scan {
    plaintexts: AhoCorasick,
}

impl Scan {
    pub(super) fn new(plaintexts: &[Vec<u8>]) -> anyhow::Result<Self> {
        let plaintexts = AhoCorasick::new(plaintexts)?;
        Ok(Self { plaintexts })
    }

    /// Whether any of the plaintexts occurs.
    ///
    /// # Errors
    /// If the content cannot be read to its end.
    pub(super) fn occurs_in(&self, content: impl Read) -> io::Result<bool> {
        let found = self.plaintexts.stream_find_iter(content).next();
        found.transpose().map(|found| found.is_some())
    }

    /// Looks through what a process holds in memory beside the files that it maps; `argument` is one
    /// of its command line, which must be found there, or else the search itself does not work.
    /// Returns how many bytes were looked at, or nothing when a plaintext occurs.
    ///
    /// # Errors
    /// If the system does not show the memory of other processes, or not this one's.
    pub(super) fn occurs_in_memory(&self, pid: u32, argument: &Path) -> io::Result<Option<u64>> {
        let known =
            AhoCorasick::new([argument.as_os_str().as_bytes()]).map_err(io::Error::other)?;
        let mut memory = File::open(format!("/proc/{pid}/mem"))?;
        let (mut looked_at, mut works) = (0, false);
        let mut content = Vec::new();
        for (from, to) in regions(&std::fs::read_to_string(format!("/proc/{pid}/maps"))?) {
            for piece in (from..to).step_by(PIECE) {
                content.clear();
                memory.seek(SeekFrom::Start(piece))?;
                let length = (to - piece).min(PIECE as u64 + OVERLAP);
                // The process runs: a region may be gone or shorter by now.
                if memory
                    .by_ref()
                    .take(length)
                    .read_to_end(&mut content)
                    .is_err()
                {
                    break;
                }
                looked_at += length.min(PIECE as u64);
                works |= known.is_match(&content);
                if self.plaintexts.is_match(&content) {
                    return Ok(None);
                }
            }
        }
        if works {
            Ok(Some(looked_at))
        } else {
            Err(io::Error::other("its own command line is not found there"))
        }
    }
}

/// The readable regions of /proc/PID/maps that no file stands behind, as first and end address.
fn regions(maps: &str) -> Vec<(u64, u64)> {
    let region = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let (from, to) = fields.next()?.split_once('-')?;
        let readable = fields.next()?.starts_with('r');
        let name = fields.nth(3).unwrap_or_default();
        let plain = matches!(name, "" | "[heap]" | "[stack]") || name.starts_with("[anon:");
        let address = |hex| u64::from_str_radix(hex, 16).ok();
        (readable && plain).then_some((address(from)?, address(to)?))
    };
    maps.lines().filter_map(region).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plaintext_across_two_reads_is_found() {
        let scan = Scan::new(&[b"metoprolol".to_vec()]).unwrap();
        let apart = b"... metop".chain(&b"rolol ..."[..]);
        assert!(scan.occurs_in(apart).unwrap());
        assert!(!scan.occurs_in(&b"... metropolol ..."[..]).unwrap());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_a_process_holds_is_found_in_its_memory() {
        let me = std::process::id();
        let argument = std::env::args_os().next().unwrap();
        // Made here, so that it stands in memory and not in the program's file alone.
        let held = "a canary of this test, ".repeat(2).into_bytes();
        let scan = Scan::new(std::slice::from_ref(&held)).unwrap();
        let found = scan.occurs_in_memory(me, Path::new(&argument)).unwrap();
        assert_eq!(found, None);
    }

    #[test]
    fn files_and_what_cannot_be_read_are_left_out() {
        let maps = "55e0-55f0 r-xp 00000000 fd:00 12 /usr/bin/salus\n\
                    5600-5700 rw-p 00000000 00:00 0 [heap]\n\
                    7f00-7f10 ---p 00000000 00:00 0\n\
                    7f10-7f20 rw-p 00000000 00:00 0\n\
                    7fff-8000 r--p 00000000 00:00 0 [vvar]\n";
        assert_eq!(regions(maps), [(0x5600, 0x5700), (0x7f10, 0x7f20)]);
    }
}
