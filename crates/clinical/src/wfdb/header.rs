//! The header of a WFDB record, `header(5)`: one record line, one line a signal or segment, remarks.

use crate::ecg::{Decimal, LEADS_LIMIT, Lead};
use crate::sniff::safe_path;
use crate::{Error, Result};

const WHAT: &str = "WFDB header";
/// Largest header, in bytes.
const HEADER_LIMIT: usize = 1 << 20;
/// Most segments of a record.
const SEGMENTS_LIMIT: usize = 10_000;

/// A record's header. Its `Debug` shows no names or remarks.
#[derive(Clone, PartialEq, Eq)]
pub struct Header {
    /// Name of the record.
    pub record: String,
    /// Frames a second.
    pub frames_per_s: Decimal,
    /// Frames in the record, if the header says.
    pub frames: Option<u64>,
    /// `YYYY-MM-DDThh:mm:ss` or `hh:mm:ss`, local to the recorder.
    pub started: Option<String>,
    /// The signals; empty for a record of segments.
    pub signals: Vec<SignalSpec>,
    /// The segments of a record of segments.
    pub segments: Option<Vec<Segment>>,
    /// Remark lines without their `#`.
    pub remarks: Vec<String>,
}

/// One segment of a record of segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its record; `None` is a gap.
    pub record: Option<String>,
    /// Its length in frames.
    pub frames: u64,
}

/// One signal as the header describes it.
#[derive(Clone, PartialEq, Eq)]
pub struct SignalSpec {
    /// The signal file.
    pub file: String,
    /// Storage format number.
    pub format: u16,
    /// Samples in a frame.
    pub samples_per_frame: u16,
    /// Frames by which the signal is behind.
    pub skew: u32,
    /// Bytes before the first sample (samples, in FLAC).
    pub offset: u64,
    /// Steps for one physical unit.
    pub gain: Decimal,
    /// Sample that means zero.
    pub baseline: i32,
    /// Physical unit.
    pub unit: String,
    /// The first sample, from which format 8 counts.
    pub initial: i32,
    /// Sum of all samples, lowest 16 bits.
    pub checksum: Option<i16>,
    /// The lead's name.
    pub name: String,
}

impl core::fmt::Debug for Header {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Header")
            .field("signals", &self.signals.len())
            .finish_non_exhaustive()
    }
}

impl core::fmt::Debug for SignalSpec {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("SignalSpec")
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
}

impl SignalSpec {
    pub(super) fn lead(&self, samples: Vec<i32>) -> Lead {
        Lead {
            name: self.name.clone(),
            unit: self.unit.clone(),
            gain: self.gain,
            baseline: self.baseline,
            samples_per_frame: self.samples_per_frame,
            samples,
        }
    }
}

impl Header {
    /// Reads a header.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > HEADER_LIMIT {
            let (length, limit) = (bytes.len() as u64, HEADER_LIMIT as u64);
            return Err(Error::TooLarge {
                what: WHAT,
                length,
                limit,
            });
        }
        let text = core::str::from_utf8(bytes).map_err(|e| Error::Text {
            what: WHAT,
            charset: "UTF-8",
            offset: e.valid_up_to(),
        })?;
        let mut remarks = Vec::new();
        let mut lines = Vec::new();
        for (at, line) in text.lines().enumerate() {
            match line.trim_start().strip_prefix('#') {
                Some(remark) if !lines.is_empty() => remarks.push(remark.trim().to_owned()),
                // Remarks before the record line are about the file, not the record.
                Some(_) => {}
                None if line.trim().is_empty() => {}
                None => lines.push((at, line)),
            }
        }
        let mut lines = lines.into_iter();
        let (at, first) = lines.next().ok_or(Error::Missing {
            what: "record line of the WFDB header",
        })?;
        let (mut header, segments, count) = record_line(first).ok_or(bad_line(at))?;
        header.remarks = remarks;
        if segments.is_some_and(|n| n > SEGMENTS_LIMIT)
            || (segments.is_none() && count > LEADS_LIMIT)
        {
            let length = segments.unwrap_or(count) as u64;
            let limit = if segments.is_some() {
                SEGMENTS_LIMIT
            } else {
                LEADS_LIMIT
            } as u64;
            return Err(Error::TooLarge {
                what: "lines of the WFDB header",
                length,
                limit,
            });
        }
        let expected = segments.unwrap_or(count);
        let lines: Vec<(usize, &str)> = lines.take(expected).collect();
        if lines.len() < expected {
            return Err(Error::Truncated { what: WHAT });
        }
        if segments.is_some() {
            let parts = lines
                .iter()
                .map(|&(at, line)| segment_line(line, at))
                .collect::<Result<_>>()?;
            header.segments = Some(parts);
        } else {
            header.signals = lines
                .iter()
                .map(|&(at, line)| signal_line(line, at))
                .collect::<Result<_>>()?;
        }
        Ok(header)
    }

    /// The files that this header needs, each once: signal files, or the headers of its segments.
    pub fn files(&self) -> Vec<String> {
        let mut names: Vec<String> = match &self.segments {
            None => self.signals.iter().map(|s| s.file.clone()).collect(),
            Some(parts) => parts
                .iter()
                .filter_map(|p| p.record.as_ref())
                .map(|r| format!("{r}.hea"))
                .collect(),
        };
        let mut seen = std::collections::BTreeSet::new();
        names.retain(|name| seen.insert(name.clone()));
        names
    }
}

/// Line numbers stand in the error's offset, counted from 0.
fn bad_line(line: usize) -> Error {
    Error::Malformed {
        what: WHAT,
        reason: "a line that breaks header(5)",
        offset: line,
    }
}

/// A name in the same folder: no path at all.
fn plain_name(name: &str) -> Result<String> {
    if name.contains('/') {
        return Err(Error::UnsafeName {
            reason: "a WFDB header that names another folder",
        });
    }
    safe_path(name)
}

/// The header so far, the number of segments, the number of signals.
fn record_line(line: &str) -> Option<(Header, Option<usize>, usize)> {
    let mut words = line.split_ascii_whitespace();
    let name = words.next()?;
    let (record, segments) = match name.split_once('/') {
        Some((record, count)) => (record, Some(count.parse().ok().filter(|&n| n > 0)?)),
        None => (name, None),
    };
    let count = words.next()?.parse().ok()?;
    // 250 Hz where the header does not say; counter frequency and base are for displays.
    let frames_per_s = match words.next() {
        Some(rate) => Decimal::parse(rate.split(['/', '(']).next()?)?,
        None => 250.into(),
    };
    let frames = words
        .next()
        .map(|n| n.parse::<u64>())
        .transpose()
        .ok()?
        .filter(|&n| n > 0);
    let time = optional(words.next(), clock)?;
    let date = optional(words.next(), calendar)?;
    let started = match (date, time) {
        (Some(date), Some(time)) => Some(format!("{date}T{time}")),
        (None, time) => time,
        (Some(_), None) => None,
    };
    let positive = frames_per_s.mantissa > 0;
    let header = Header {
        record: record.to_owned(),
        frames_per_s,
        frames,
        started,
        signals: Vec::new(),
        segments: None,
        remarks: Vec::new(),
    };
    positive.then_some((header, segments, count))
}

/// Absent is fine, unreadable is not.
fn optional<T>(word: Option<&str>, read: fn(&str) -> Option<T>) -> Option<Option<T>> {
    word.map_or(Some(None), |word| read(word).map(Some))
}

/// `8:26:04` or `26:04.5` or `4` (missing parts are the larger ones) as `08:26:04`.
fn clock(text: &str) -> Option<String> {
    let text = text.trim_matches(['[', ']']);
    let parts: Vec<&str> = text.split('.').next()?.split(':').collect();
    let mut numbers = [0_u8; 3];
    if parts.len() > 3 {
        return None;
    }
    for (slot, part) in numbers.iter_mut().rev().zip(parts.iter().rev()) {
        *slot = part.parse().ok()?;
    }
    let [hour, minute, second] = numbers;
    (hour < 24 && minute < 60 && second < 61).then(|| format!("{hour:02}:{minute:02}:{second:02}"))
}

/// `26/10/1994` as `1994-10-26`.
fn calendar(text: &str) -> Option<String> {
    let mut parts = text.trim_matches(['[', ']']).split('/');
    let day: u8 = parts.next()?.parse().ok()?;
    let month: u8 = parts.next()?.parse().ok()?;
    let year: u16 = parts.next()?.parse().ok()?;
    let real = (1..=31).contains(&day) && (1..=12).contains(&month) && parts.next().is_none();
    real.then(|| format!("{year:04}-{month:02}-{day:02}"))
}

fn segment_line(line: &str, at: usize) -> Result<Segment> {
    let mut words = line.split_ascii_whitespace();
    let (Some(name), Some(frames)) = (words.next(), words.next()) else {
        return Err(bad_line(at));
    };
    let frames = frames.parse().map_err(|_| bad_line(at))?;
    let record = if name == "~" {
        None
    } else {
        Some(plain_name(name)?)
    };
    Ok(Segment { record, frames })
}

fn signal_line(line: &str, at: usize) -> Result<SignalSpec> {
    let mut rest = line.trim_start();
    let mut word = || {
        let (word, after) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
        rest = after.trim_start();
        Some(word).filter(|w| !w.is_empty())
    };
    let (Some(file), Some(format)) = (word(), word()) else {
        return Err(bad_line(at));
    };
    let file = plain_name(file)?;
    let (gain, _resolution, zero) = (word(), word(), word());
    let (initial, checksum, _block) = (word(), word(), word());
    let name = rest.trim().to_owned();
    (|| {
        let (format, samples_per_frame, skew, offset) = format_field(format)?;
        let zero: i32 = zero.map_or(Some(0), |z| z.parse().ok())?;
        let (gain, baseline, unit) = gain_field(gain.unwrap_or("200"))?;
        Some(SignalSpec {
            file,
            format,
            samples_per_frame,
            skew,
            offset,
            gain,
            baseline: baseline.unwrap_or(zero),
            unit,
            initial: initial.map_or(Some(zero), |i| i.parse().ok())?,
            checksum: match checksum {
                Some(sum) => Some(low_16_bits(sum.parse().ok()?)),
                None => None,
            },
            name,
        })
    })()
    .ok_or(bad_line(at))
}

fn low_16_bits(sum: i32) -> i16 {
    let [a, b, ..] = sum.to_le_bytes();
    i16::from_le_bytes([a, b])
}

/// `212x4:3+24`: format, samples a frame, skew, byte offset.
fn format_field(text: &str) -> Option<(u16, u16, u32, u64)> {
    let (text, offset) = text
        .split_once('+')
        .map_or((text, None), |(t, o)| (t, Some(o)));
    let (text, skew) = text
        .split_once(':')
        .map_or((text, None), |(t, s)| (t, Some(s)));
    let (format, per_frame) = text
        .split_once('x')
        .map_or((text, None), |(f, n)| (f, Some(n)));
    Some((
        format.parse().ok()?,
        per_frame.map_or(Some(1), |n| {
            n.parse().ok().filter(|n| (1..=4096).contains(n))
        })?,
        skew.map_or(Some(0), |s| {
            s.parse().ok().filter(|&s: &u32| s <= 1_000_000)
        })?,
        offset.map_or(Some(0), |o| o.parse().ok())?,
    ))
}

/// `7247(0)/mV`: gain, baseline, unit. A gain of zero means uncalibrated: 200 by convention.
fn gain_field(text: &str) -> Option<(Decimal, Option<i32>, String)> {
    let (text, unit) = text.split_once('/').map_or((text, "mV"), |(t, u)| (t, u));
    let (gain, baseline) = match text.split_once('(') {
        Some((gain, rest)) => (gain, Some(rest.strip_suffix(')')?.parse().ok()?)),
        None => (text, None),
    };
    let gain = Decimal::parse(gain)?;
    let gain = if gain.mantissa == 0 { 200.into() } else { gain };
    Some((gain, baseline, unit.to_owned()))
}
