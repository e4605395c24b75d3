//! `salus seal` and `salus open` of one large file, beside rage.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, ensure};
use salus_proto::Entropy as _;
use salus_runtime::entropy::SeededEntropy;

use crate::Setting;
use crate::measure::{Bar, Row, seconds_since};

const MIB: u64 = 1 << 20;

pub(crate) fn measure(setting: &Setting) -> anyhow::Result<Vec<Row>> {
    let folder = setting.folder("files")?;
    let mebibytes = setting.size(1024, 32);
    let plain = folder.join("plain");
    write_random(&plain, mebibytes)?;

    let salus = Tool::salus(setting, &folder)?;
    let rage = setting
        .rage
        .as_deref()
        .map(|programs| Tool::rage(programs, &folder))
        .transpose()?;
    let tools: Vec<&Tool> = std::iter::once(&salus).chain(&rage).collect();
    for tool in &tools {
        tool.prepare(&plain)?;
    }
    let size = (mebibytes * MIB) as f64;
    // One list of rates a tool and direction, filled round by round, the tools taking turns.
    let mut seals = vec![Vec::new(); tools.len()];
    let mut opens = vec![Vec::new(); tools.len()];
    for _ in 0..setting.size(5, 1) {
        for (tool, (seals, opens)) in tools.iter().zip(seals.iter_mut().zip(&mut opens)) {
            seals.push(size / tool.seal(&plain)? / 1e6);
            opens.push(size / tool.open()? / 1e6);
        }
    }
    crate::remove(&folder)?;

    let note = if rage.is_none() {
        "rage could not be installed here"
    } else {
        ""
    };
    let row = |what: &str, mut rates: Vec<Vec<f64>>| {
        let peer = (rates.len() > 1).then(|| rates.pop()).flatten();
        let row = Row::new(what, "MB/s", rates.pop().unwrap_or_default());
        match peer {
            Some(peer) => row
                .beside("rage", peer)
                .held_to(Bar::TimesPeer(4.0), Some(Bar::TimesPeer(7.0))),
            None => row.noting(note),
        }
    };
    let name = if setting.quick {
        "a 32 MiB file"
    } else {
        "a 1 GiB file"
    };
    Ok(vec![
        row(&format!("`salus seal` of {name} to nowhere"), seals),
        row(&format!("`salus open` of {name} to nowhere"), opens),
    ])
}

fn write_random(path: &Path, mebibytes: u64) -> anyhow::Result<()> {
    let mut block = vec![0; 1 << 20];
    let mut entropy = SeededEntropy::new(1);
    let mut file = File::create(path)?;
    for _ in 0..mebibytes {
        entropy.fill(&mut block);
        file.write_all(&block)?;
    }
    file.sync_all()?;
    // Both tools read it from the page cache.
    let mut file = File::open(path)?;
    while file.read(&mut block)? > 0 {}
    Ok(())
}

/// A program that seals and opens files, and its key.
struct Tool {
    program: std::path::PathBuf,
    seal: Vec<String>,
    open: Vec<String>,
    sealed: std::path::PathBuf,
}

impl Tool {
    fn salus(setting: &Setting, folder: &Path) -> anyhow::Result<Self> {
        let key = text(&folder.join("salus.key"))?;
        let made = output(&setting.salus, &["keygen", "--output", &key])?;
        Ok(Self {
            program: setting.salus.clone(),
            seal: vec!["seal".into(), "--to".into(), made.trim().into()],
            open: vec!["open".into(), "--key".into(), key],
            sealed: folder.join("salus.sealed"),
        })
    }

    fn rage(programs: &Path, folder: &Path) -> anyhow::Result<Self> {
        let key = text(&folder.join("rage.key"))?;
        let keygen = programs.join("rage-keygen");
        output(&keygen, &["-o", &key])?;
        let recipient = std::fs::read_to_string(&key)?
            .lines()
            .find_map(|line| line.strip_prefix("# public key: ").map(str::to_owned))
            .context("rage-keygen wrote no public key")?;
        Ok(Self {
            program: programs.join("rage"),
            seal: vec!["-r".into(), recipient],
            open: vec!["-d".into(), "-i".into(), key],
            sealed: folder.join("rage.sealed"),
        })
    }

    /// Makes the sealed file that is opened in the rounds.
    fn prepare(&self, plain: &Path) -> anyhow::Result<()> {
        let file = File::create(&self.sealed)?;
        file.sync_all()?;
        self.run(&self.seal, plain, file.into()).map(|_| ())
    }

    fn seal(&self, plain: &Path) -> anyhow::Result<f64> {
        self.run(&self.seal, plain, File::create("/dev/null")?.into())
    }

    fn open(&self) -> anyhow::Result<f64> {
        self.run(&self.open, &self.sealed, File::create("/dev/null")?.into())
    }

    /// Seconds of wall time from start to exit, the process's own start included.
    fn run(&self, arguments: &[String], input: &Path, output: Stdio) -> anyhow::Result<f64> {
        let start = Instant::now();
        let status = Command::new(&self.program)
            .args(arguments)
            .arg(input)
            .stdin(Stdio::null())
            .stdout(output)
            .status()
            .with_context(|| format!("cannot run {}", self.program.display()))?;
        ensure!(
            status.success(),
            "{} ended with {status}",
            self.program.display()
        );
        Ok(seconds_since(start))
    }
}

fn text(path: &Path) -> anyhow::Result<String> {
    Ok(path.to_str().context("a path that is text")?.to_owned())
}

/// What a program prints.
pub(crate) fn output<A: AsRef<OsStr>>(program: &Path, arguments: &[A]) -> anyhow::Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {}", program.display()))?;
    ensure!(
        output.status.success(),
        "{} ended with {}: {}",
        program.display(),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}
