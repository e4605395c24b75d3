//! What the figures were taken on: processor, memory, load, versions. Reads, never changes.

use std::path::Path;

use serde::Serialize;

use crate::Setting;
use crate::files::output;

/// The machine and the programs of one run.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) memory_gib: u64,
    pub(crate) kernel: String,
    /// File system of the working folder, whose flushes the durable figures wait for.
    pub(crate) file_system: String,
    /// Load averages over 1, 5 and 15 minutes when the run began.
    pub(crate) load_before: String,
    pub(crate) load_after: String,
    pub(crate) salus: String,
    pub(crate) rustc: String,
    pub(crate) openssl: String,
    pub(crate) rage: String,
}

impl Machine {
    pub(crate) fn observe(setting: &Setting) -> Self {
        let version = |program: &Path, argument: &str| {
            output(program, &[argument])
                .ok()
                .and_then(|text| text.lines().next().map(str::to_owned))
                .unwrap_or_else(|| "absent".into())
        };
        Self {
            cpu: field("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            memory_gib: field("/proc/meminfo", "MemTotal")
                .split_whitespace()
                .next()
                .and_then(|kib| kib.parse::<u64>().ok())
                .map_or(0, |kib| kib >> 20),
            kernel: read("/proc/sys/kernel/osrelease"),
            file_system: file_system(&setting.work),
            load_before: load(),
            load_after: String::new(),
            salus: version(&setting.salus, "--version"),
            rustc: version(Path::new("rustc"), "--version"),
            openssl: version(Path::new("openssl"), "version"),
            rage: setting.rage.as_deref().map_or("absent".into(), |programs| {
                version(&programs.join("rage"), "--version")
            }),
        }
    }

    pub(crate) fn finish(&mut self) {
        self.load_after = load();
    }
}

/// Load averages over 1, 5 and 15 minutes.
pub(crate) fn load() -> String {
    read("/proc/loadavg")
        .split_whitespace()
        .take(3)
        .collect::<Vec<_>>()
        .join(" ")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path)
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// The value of the first `name : value` line.
fn field(path: &str, name: &str) -> String {
    read(path)
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == name)
        .map_or("unknown".into(), |(_, value)| value.trim().to_owned())
}

/// The type of the file system with the longest mount point above `path`.
fn file_system(path: &Path) -> String {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    read("/proc/mounts")
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ').skip(1);
            let (point, kind) = (words.next()?, words.next()?);
            path.starts_with(point)
                .then(|| (point.len(), kind.to_owned()))
        })
        .max()
        .map_or("unknown".into(), |(_, kind)| kind)
}
