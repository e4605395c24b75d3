//! Writes a WFDB record: one header, one signal file in format 16.

use std::fmt::Write as _;

use crate::ecg::{Ecg, check_size};
use crate::{Error, Result};

/// The `.hea` text and the `.dat` bytes of a record called `name`. Every lead must have one sample a
/// frame, equally many samples, and values of 16 bits; lead names and remarks one line each.
pub fn write_format_16(name: &str, ecg: &Ecg) -> Result<(String, Vec<u8>)> {
    let bad = |reason| Error::Malformed {
        what: "WFDB record to write",
        reason,
        offset: 0,
    };
    let length = ecg.leads.first().map_or(0, |lead| lead.samples.len());
    check_size(ecg.leads.len(), length * ecg.leads.len())?;
    if !ecg
        .leads
        .iter()
        .all(|l| l.samples.len() == length && l.samples_per_frame == 1)
    {
        return Err(bad("leads of unequal length"));
    }
    let word = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if name.is_empty() || !word(name) {
        return Err(bad(
            "a record name that is not letters, digits and underscores",
        ));
    }
    let one_line = |text: &str| !text.contains(['\r', '\n']);
    let lines = ecg
        .leads
        .iter()
        .flat_map(|l| [&l.name, &l.unit])
        .chain(&ecg.remarks);
    if !lines.map(String::as_str).all(one_line) {
        return Err(bad("a line break in a name or remark"));
    }
    let mut header = format!(
        "{name} {} {} {length}\n",
        ecg.leads.len(),
        ecg.frames_per_s.to_f64()
    );
    for lead in &ecg.leads {
        let checksum = lead
            .samples
            .iter()
            .fold(0_i32, |sum, &s| sum.wrapping_add(s));
        let checksum = i16::from_le_bytes([checksum.to_le_bytes()[0], checksum.to_le_bytes()[1]]);
        let first = lead.samples.first().copied().unwrap_or_default();
        // A `String` takes whatever is written to it.
        let _ = writeln!(
            header,
            "{name}.dat 16 {}({})/{} 16 0 {first} {checksum} 0 {}",
            lead.gain.to_f64(),
            lead.baseline,
            lead.unit,
            lead.name
        );
    }
    for remark in &ecg.remarks {
        let _ = writeln!(header, "# {remark}");
    }
    let mut signal = Vec::with_capacity(length * ecg.leads.len() * 2);
    for at in 0..length {
        for lead in &ecg.leads {
            let sample = lead.samples.get(at).and_then(|&s| i16::try_from(s).ok());
            let sample = sample.ok_or(bad("a sample of more than 16 bits"))?;
            signal.extend_from_slice(&sample.to_le_bytes());
        }
    }
    Ok((header, signal))
}
