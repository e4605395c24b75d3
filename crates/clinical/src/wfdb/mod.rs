//! WFDB, the format of PhysioNet's waveform records (WFDB Applications Guide: `header(5)`,
//! `signal(5)`, `annot(5)`).
//!
//! A record is a text header that names its signal files; several records joined in time have a header
//! that names the headers of their segments. Nothing here opens a file: the caller hands over whatever
//! a header asks for by name.
//!
//! ```text
//!   header ──Header::parse──> names of files ──caller──> bytes ──read──> Ecg (checksums verified)
//!   .atr ──annotations──> beats and rhythm changes
//! ```

mod annotation;
mod header;
mod signal;
mod write;

use std::collections::BTreeMap;

pub use annotation::{Annotation, annotations};
pub use header::{Header, Segment, SignalSpec};
pub use write::write_format_16;

use crate::ecg::{Ecg, Lead, check_size};
use crate::{Error, Result};

/// The files of one record by their plain names.
pub type Files<'a> = BTreeMap<&'a str, &'a [u8]>;

/// Reads a record: its signals in the order of the header, each verified against its checksum.
/// `files` holds what [`Header::files`] names, and for a record of segments also what their headers
/// name. All segments must agree in rates and gains.
pub fn read(header: &[u8], files: &Files<'_>) -> Result<Ecg> {
    let header = Header::parse(header)?;
    let mut ecg = match &header.segments {
        None => single(&header, files)?,
        Some(segments) => joined(&header, segments, files)?,
    };
    ecg.started = header.started;
    if !header.remarks.is_empty() {
        ecg.remarks = header.remarks;
    }
    ecg.check()?;
    Ok(ecg)
}

fn file<'a>(files: &Files<'a>, name: &str) -> Result<&'a [u8]> {
    files.get(name).copied().ok_or(Error::Missing {
        what: "file of a WFDB record",
    })
}

fn single(header: &Header, files: &Files<'_>) -> Result<Ecg> {
    let samples = signal::read(header, files)?;
    let leads = header
        .signals
        .iter()
        .zip(samples)
        .map(|(spec, samples)| spec.lead(samples));
    Ok(Ecg {
        frames_per_s: header.frames_per_s,
        started: header.started.clone(),
        leads: leads.collect(),
        remarks: header.remarks.clone(),
    })
}

/// Joins segments. In a fixed layout every segment has the same signals; in a variable layout the
/// first segment is empty and lists all signals, and each other has some of them, by name. Where a
/// signal is absent, its samples are missing.
fn joined(header: &Header, segments: &[Segment], files: &Files<'_>) -> Result<Ecg> {
    let bad = |reason| Error::Malformed {
        what: "WFDB segments",
        reason,
        offset: 0,
    };
    let segment = |name: &str| -> Result<Header> {
        let part = Header::parse(file(files, &format!("{name}.hea"))?)?;
        if part.segments.is_some() {
            return Err(bad("segments inside a segment"));
        }
        if part.frames_per_s != header.frames_per_s {
            return Err(Error::unsupported("WFDB segments of", "different rates"));
        }
        Ok(part)
    };
    let Some(first) = segments.iter().find_map(|s| s.record.as_deref()) else {
        return Err(bad("nothing but gaps"));
    };
    let layout = segment(first)?;
    let variable = segments.first().is_some_and(|s| s.frames == 0);
    let mut leads: Vec<Lead> = layout
        .signals
        .iter()
        .map(|spec| spec.lead(Vec::new()))
        .collect();
    let frames: u64 = segments.iter().map(|s| s.frames).sum();
    let wide = leads
        .iter()
        .map(|l| u64::from(l.samples_per_frame))
        .sum::<u64>();
    let total = frames
        .checked_mul(wide)
        .and_then(|n| usize::try_from(n).ok())
        .unwrap_or(usize::MAX);
    check_size(leads.len(), total)?;
    for (at, part) in segments.iter().enumerate() {
        if variable && at == 0 {
            continue;
        }
        let frames = usize::try_from(part.frames).unwrap_or(usize::MAX);
        let found = match &part.record {
            None => Vec::new(),
            Some(name) => {
                let part_header = segment(name)?;
                if part_header.frames.is_some_and(|own| own != part.frames) {
                    return Err(bad("a segment of another length than declared"));
                }
                single(&part_header, files)?.leads
            }
        };
        if !variable && part.record.is_some() && found.len() != leads.len() {
            return Err(bad("a segment with other signals"));
        }
        let mut found: Vec<Option<Lead>> = found.into_iter().map(Some).collect();
        for (position, lead) in leads.iter_mut().enumerate() {
            let same = |other: &Option<Lead>| other.as_ref().is_some_and(|o| o.name == lead.name);
            let from = if variable {
                found.iter().position(same)
            } else {
                Some(position)
            };
            let source = from.and_then(|at| found.get_mut(at)).and_then(Option::take);
            let Some(source) = source else {
                let missing = frames * usize::from(lead.samples_per_frame);
                lead.samples
                    .resize(lead.samples.len() + missing, Lead::NO_SAMPLE);
                continue;
            };
            let agrees = source.samples_per_frame == lead.samples_per_frame
                && source.gain == lead.gain
                && source.baseline == lead.baseline;
            if !agrees {
                return Err(Error::unsupported("WFDB segments of", "different gains"));
            }
            if source.samples.len() != frames * usize::from(lead.samples_per_frame) {
                return Err(Error::Truncated {
                    what: "WFDB segment",
                });
            }
            lead.samples.extend_from_slice(&source.samples);
        }
    }
    Ok(Ecg {
        frames_per_s: header.frames_per_s,
        started: None,
        leads,
        remarks: layout.remarks,
    })
}

#[cfg(test)]
mod tests;
