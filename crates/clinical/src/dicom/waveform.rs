//! ECG waveforms in DICOM (PS3.3 C.10.9): multiplexed integer channels with sensitivities.

use super::charset::Charset;
use super::element::DataSet;
use crate::ecg::{Decimal, Ecg, Lead, check_size};
use crate::{Error, Result};

const WHAT: &str = "DICOM waveform";

/// All multiplex groups of the data set.
pub(super) fn read(set: &DataSet<'_>, charset: &Charset) -> Result<Vec<Ecg>> {
    set.items((0x5400, 0x0100))
        .iter()
        .map(|group| multiplex(group, charset))
        .collect()
}

fn multiplex(group: &DataSet<'_>, charset: &Charset) -> Result<Ecg> {
    let bad = |reason| Error::Malformed {
        what: WHAT,
        reason,
        offset: 0,
    };
    let channels = usize::from(
        group
            .u16((0x003a, 0x0005))
            .ok_or(bad("no number of channels"))?,
    );
    let length = group
        .u32((0x003a, 0x0010))
        .ok_or(bad("no number of samples"))? as usize;
    let rate = group
        .text((0x003a, 0x001a))
        .and_then(|t| Decimal::parse(&t));
    let rate = rate
        .filter(|r| r.mantissa > 0)
        .ok_or(bad("no sampling frequency"))?;
    let interpretation = group.text((0x5400, 0x1006)).unwrap_or_default();
    let sample_bytes = match interpretation.as_str() {
        "SB" | "UB" => 1,
        "SS" | "US" => 2,
        "SL" | "UL" => 4,
        // Companded speech has no place in an ECG.
        other => {
            return Err(Error::unsupported(
                "DICOM waveform sample interpretation",
                other,
            ));
        }
    };
    let total = length.saturating_mul(channels);
    check_size(channels, total)?;
    let data = group
        .bytes((0x5400, 0x1010))
        .ok_or(bad("no waveform data"))?;
    let data = data
        .get(..total.saturating_mul(sample_bytes))
        .ok_or(Error::Truncated { what: WHAT })?;
    let definitions = group.items((0x003a, 0x0200));
    if definitions.len() != channels || channels == 0 {
        return Err(bad("another number of channel definitions"));
    }
    let big = group.is_big_endian();
    let mut leads = Vec::with_capacity(channels);
    for (channel, definition) in definitions.iter().enumerate() {
        let frames = data
            .chunks_exact(sample_bytes)
            .skip(channel)
            .step_by(channels);
        let samples = frames.map(|bytes| sample(bytes, &interpretation, big));
        leads.push(lead(
            definition,
            charset,
            samples
                .collect::<Option<_>>()
                .ok_or(bad("a sample beyond 31 bits"))?,
        )?);
    }
    Ok(Ecg {
        frames_per_s: rate,
        started: None,
        leads,
        remarks: Vec::new(),
    })
}

fn sample(bytes: &[u8], interpretation: &str, big_endian: bool) -> Option<i32> {
    let mut wide = [0; 4];
    wide.get_mut(..bytes.len())?.copy_from_slice(bytes);
    if big_endian {
        wide.get_mut(..bytes.len())?.reverse();
    }
    let word = u32::from_le_bytes(wide);
    match interpretation {
        "SB" => Some(i8::from_le_bytes([wide[0]]).into()),
        "SS" => Some(i16::from_le_bytes([wide[0], wide[1]]).into()),
        "SL" => Some(i32::from_le_bytes(wide)),
        _ => i32::try_from(word).ok(),
    }
}

/// Physical value = sample * sensitivity * correction + baseline (PS3.3 C.10.9.1.4).
fn lead(definition: &DataSet<'_>, charset: &Charset, samples: Vec<i32>) -> Result<Lead> {
    let bad = |reason| Error::Malformed {
        what: WHAT,
        reason,
        offset: 0,
    };
    let source = definition.items((0x003a, 0x0208)).first();
    let meaning = source
        .and_then(|s| s.bytes((0x0008, 0x0104)))
        .map(|b| charset.decode(b));
    let label = definition
        .bytes((0x003a, 0x0203))
        .map(|b| charset.decode(b));
    let name = label
        .filter(|l| !l.trim().is_empty())
        .or(meaning)
        .unwrap_or_default();
    let unit = definition
        .items((0x003a, 0x0211))
        .first()
        .and_then(|u| u.text((0x0008, 0x0100)));
    let sensitivity: f64 = definition.number((0x003a, 0x0210)).unwrap_or(1.0);
    let correction: f64 = definition.number((0x003a, 0x0212)).unwrap_or(1.0);
    let baseline: f64 = definition.number((0x003a, 0x0213)).unwrap_or(0.0);
    let gain = 1.0 / (sensitivity * correction);
    // Twelve digits: far below what an electrode resolves, and short in decimal.
    let decimal = Decimal::parse(&format!("{gain:.11e}")).filter(|g| g.mantissa != 0);
    let decimal = decimal.ok_or(bad("a channel sensitivity out of range"))?;
    let zero = (-baseline * gain).round();
    if !(-2e9..=2e9).contains(&zero) {
        return Err(bad("a channel baseline out of range"));
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "whole and in range, as just checked"
    )]
    let baseline = zero as i32;
    Ok(Lead {
        name: name.trim().trim_end_matches('\0').to_owned(),
        unit: unit.unwrap_or_default(),
        gain: decimal,
        baseline,
        samples_per_frame: 1,
        samples,
    })
}
