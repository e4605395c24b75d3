//! Sealing and opening in memory on one thread, beside OpenSSL's own benchmark of the same cipher.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use salus_crypto::seal::{Opener, Options, Sealer, open_into, seal_into};
use salus_proto::sealed::{ChunkSize, TAG_LEN};
use salus_runtime::entropy::SeededEntropy;

use crate::Setting;
use crate::measure::{Bar, Row, per_cpu_second};

const KEY: [u8; 32] = [0x5a; 32];
const CONTEXT: &[u8] = b"salus-bench";

/// Rates of one round, bytes per CPU second.
struct Round {
    seal: f64,
    open: f64,
    whole_seal: f64,
    whole_open: f64,
    peer_seal: f64,
    peer_open: f64,
}

pub(crate) fn measure(setting: &Setting) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (bytes, name) in [(1 << 16, "64 KiB"), (1 << 20, "1 MiB")] {
        let rounds: Vec<Round> = (0..setting.size(5, 1))
            .map(|_| round(setting, bytes))
            .collect::<anyhow::Result<_>>()?;
        let column =
            |rate: fn(&Round) -> f64| rounds.iter().map(|r| rate(r) / 1e6).collect::<Vec<_>>();
        let unit = "MB per CPU second";
        let (must, aim) = (Bar::TimesPeer(1.0), Some(Bar::TimesPeer(1.5)));
        let peer = "openssl speed aes-256-gcm";
        rows.push(
            Row::new(
                format!("seal, {name} chunk in memory, one thread"),
                unit,
                column(|r| r.seal),
            )
            .beside(peer, column(|r| r.peer_seal))
            .held_to(must, aim),
        );
        rows.push(
            Row::new(
                format!("open, {name} chunk in memory, one thread"),
                unit,
                column(|r| r.open),
            )
            .beside(format!("{peer} -decrypt"), column(|r| r.peer_open))
            .held_to(must, aim),
        );
        let note = "larger than the caches, which the peer's buffer is not";
        rows.push(
            Row::new(
                format!("seal, 64 MiB content in {name} chunks"),
                unit,
                column(|r| r.whole_seal),
            )
            .beside(peer, column(|r| r.peer_seal))
            .noting(note),
        );
        rows.push(
            Row::new(
                format!("open, 64 MiB content in {name} chunks"),
                unit,
                column(|r| r.whole_open),
            )
            .beside(format!("{peer} -decrypt"), column(|r| r.peer_open))
            .noting(note),
        );
    }
    Ok(rows)
}

fn round(setting: &Setting, bytes: u32) -> anyhow::Result<Round> {
    let chunk_size = ChunkSize::new(bytes).context("a chunk size")?;
    let span = Duration::from_millis(setting.size(500, 50));
    let length = chunk_size.as_usize();
    let mut entropy = SeededEntropy::new(1);

    let options = Options {
        chunk_size,
        content_length: None,
    };
    let sealer = Sealer::new(&KEY, CONTEXT, options, &mut entropy)?;
    let content = vec![0xa5; length];
    let mut sealed = vec![0; length + TAG_LEN];
    let mut index = 0;
    let peer_seal = openssl(length, &[])?;
    let seal = per_cpu_second(span, || {
        index += 1;
        Ok(sealer.seal_chunk(index, false, &content, &mut sealed)?)
    })?;
    let opener = Opener::new(&KEY, CONTEXT, sealer.prelude())?;
    let mut opened = vec![0; length];
    let peer_open = openssl(length, &["-decrypt"])?;
    let open = per_cpu_second(span, || {
        Ok(opener.open_chunk(index, false, &sealed, &mut opened)?)
    })?;
    ensure!(opened == content, "the chunk opens to something else");

    let content = vec![0xa5; 64 << 20];
    let (mut sealed, mut opened) = (Vec::new(), Vec::new());
    let whole_seal = per_cpu_second(span, || {
        Ok(seal_into(
            &KEY,
            CONTEXT,
            &content,
            chunk_size,
            &mut entropy,
            &mut sealed,
        )?)
    })?;
    let whole_open = per_cpu_second(span, || Ok(open_into(&KEY, CONTEXT, &sealed, &mut opened)?))?;
    ensure!(opened == content, "the content opens to something else");

    let (chunk, whole) = (length as f64, content.len() as f64);
    Ok(Round {
        seal: seal * chunk,
        open: open * chunk,
        whole_seal: whole_seal * whole,
        whole_open: whole_open * whole,
        peer_seal,
        peer_open,
    })
}

/// Bytes per second of its own user CPU time, as `openssl speed` counts.
fn openssl(bytes: usize, more: &[&str]) -> anyhow::Result<f64> {
    let size = bytes.to_string();
    let output = Command::new("openssl")
        .args([
            "speed",
            "-evp",
            "aes-256-gcm",
            "-bytes",
            &size,
            "-seconds",
            "1",
        ])
        .args(more)
        .output()
        .context("cannot run openssl")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let rate = text
        .lines()
        .rev()
        .find(|line| line.to_ascii_uppercase().starts_with("AES-256-GCM"))
        .and_then(|line| line.split_whitespace().last())
        .and_then(|rate| rate.strip_suffix('k'))
        .and_then(|rate| rate.parse::<f64>().ok());
    Ok(rate.context("openssl speed printed no rate")? * 1e3)
}
