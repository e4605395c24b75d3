//! The signal files of a WFDB record, `signal(5)`: every storage format to integers.

use super::header::{Header, SignalSpec};
use super::{Files, file};
use crate::ecg::{Lead, check_size};
use crate::{Error, Result};

const WHAT: &str = "WFDB signal file";

/// All signals in the order of the header. Signals that share a file are interleaved there, frame by
/// frame.
pub(super) fn read(header: &Header, files: &Files<'_>) -> Result<Vec<Vec<i32>>> {
    let mut out: Vec<Vec<i32>> = Vec::with_capacity(header.signals.len());
    let mut frames = header
        .frames
        .map(|n| usize::try_from(n).unwrap_or(usize::MAX));
    let wide: usize = header
        .signals
        .iter()
        .map(|s| usize::from(s.samples_per_frame))
        .sum();
    check_size(
        header.signals.len(),
        frames.unwrap_or(0).saturating_mul(wide),
    )?;
    let mut rest = &header.signals[..];
    while let Some(first) = rest.first() {
        let count = rest.iter().take_while(|s| s.file == first.file).count();
        let (group, after) = rest.split_at(count);
        rest = after;
        if group
            .iter()
            .any(|s| (s.format, s.offset) != (first.format, first.offset))
        {
            return Err(Error::Malformed {
                what: "WFDB header",
                reason: "signals of one file with different formats or offsets",
                offset: out.len(),
            });
        }
        let samples = read_group(group, file(files, &first.file)?, &mut frames)?;
        for (signal, spec) in samples.iter().zip(group) {
            let sum = signal.iter().fold(0_i32, |sum, &s| sum.wrapping_add(s));
            let [a, b, ..] = sum.to_le_bytes();
            if spec
                .checksum
                .is_some_and(|expected| expected != i16::from_le_bytes([a, b]))
            {
                return Err(Error::Checksum {
                    what: "WFDB signal",
                    index: out.len(),
                });
            }
            out.push(mark_missing(signal, spec.format));
        }
    }
    Ok(out)
}

/// Recorders write the lowest value where they have no sample; the checksum counts it as it stands.
fn mark_missing(signal: &[i32], format: u16) -> Vec<i32> {
    let missing = match format {
        80 | 508 => -0x80,
        310 | 311 => -0x200,
        212 => -0x800,
        16 | 61 | 160 | 516 => -0x8000,
        24 | 524 => -0x80_0000,
        _ => i32::MIN,
    };
    signal
        .iter()
        .map(|&s| if s == missing { Lead::NO_SAMPLE } else { s })
        .collect()
}

/// The signals of one file. Learns the number of frames from the file if the header does not say.
fn read_group(
    group: &[SignalSpec],
    bytes: &[u8],
    frames: &mut Option<usize>,
) -> Result<Vec<Vec<i32>>> {
    let Some(first) = group.first() else {
        return Ok(Vec::new());
    };
    let per_frame: usize = group.iter().map(|s| usize::from(s.samples_per_frame)).sum();
    let skew = group.iter().map(|s| s.skew as usize).max().unwrap_or(0);
    let flac = matches!(first.format, 508 | 516 | 524);
    let body = if flac {
        bytes
    } else {
        let start = usize::try_from(first.offset).unwrap_or(usize::MAX);
        bytes.get(start..).ok_or(Error::Truncated { what: WHAT })?
    };
    let length = match *frames {
        Some(frames) => frames,
        None => {
            let samples = if flac {
                flac_length(body, group)?
            } else {
                capacity(first.format, body.len())?
            };
            let length = (samples / per_frame).saturating_sub(skew);
            *frames = Some(length);
            length
        }
    };
    let wanted = length
        .checked_add(skew)
        .and_then(|n| n.checked_mul(per_frame));
    let wanted = wanted.ok_or(Error::Truncated { what: WHAT })?;
    check_size(group.len(), wanted)?;
    let stream = if flac {
        read_flac(body, group, wanted)?
    } else {
        unpack(first.format, body, wanted)?
    };
    let mut signals: Vec<Vec<i32>> = group
        .iter()
        .map(|s| Vec::with_capacity(length * usize::from(s.samples_per_frame)))
        .collect();
    let mut at = 0;
    for frame in 0..length + skew {
        for (signal, spec) in signals.iter_mut().zip(group) {
            let next = at + usize::from(spec.samples_per_frame);
            let late = spec.skew as usize;
            if (late..length + late).contains(&frame) {
                signal.extend_from_slice(stream.get(at..next).unwrap_or_default());
            }
            at = next;
        }
    }
    if first.format == 8 {
        // First differences; the header has where they start from.
        for (signal, spec) in signals.iter_mut().zip(group) {
            let mut value = spec.initial;
            for sample in signal {
                value = value.wrapping_add(*sample);
                *sample = value;
            }
        }
    }
    Ok(signals)
}

/// How many samples a body of so many bytes can hold.
fn capacity(format: u16, bytes: usize) -> Result<usize> {
    Ok(match format {
        8 | 80 => bytes,
        16 | 61 | 160 => bytes / 2,
        24 => bytes / 3,
        32 => bytes / 4,
        212 => bytes / 3 * 2 + usize::from(bytes % 3 == 2),
        // Three samples in four bytes; the last block may be cut after the bytes it needs.
        310 | 311 => bytes / 4 * 3 + [0, 0, 1, 2][bytes % 4],
        other => return Err(Error::unsupported("WFDB format", &other.to_string())),
    })
}

/// `wanted` samples in file order.
fn unpack(format: u16, body: &[u8], wanted: usize) -> Result<Vec<i32>> {
    // A file may lack the unused end of its last block.
    let lenient = match format {
        310 | 311 => capacity(format, body.len() + 1)?,
        _ => capacity(format, body.len())?,
    };
    if wanted > lenient {
        return Err(Error::Truncated { what: WHAT });
    }
    let mut out = Vec::with_capacity(wanted);
    let byte = |at: usize| i32::from(body.get(at).copied().unwrap_or(0));
    let sign = |value: i32, bits: u32| value << (32 - bits) >> (32 - bits);
    match format {
        8 => out.extend(
            body.iter()
                .take(wanted)
                .map(|&b| i32::from(b.cast_signed())),
        ),
        80 => out.extend(body.iter().take(wanted).map(|&b| i32::from(b) - 0x80)),
        16 | 61 | 160 => {
            out.extend(
                body.as_chunks::<2>()
                    .0
                    .iter()
                    .take(wanted)
                    .map(|&pair| match format {
                        16 => i32::from(i16::from_le_bytes(pair)),
                        61 => i32::from(i16::from_be_bytes(pair)),
                        _ => i32::from(u16::from_le_bytes(pair)) - 0x8000,
                    }),
            );
        }
        24 => {
            let words = body.as_chunks::<3>().0.iter().take(wanted);
            out.extend(words.map(|&[a, b, c]| i32::from_le_bytes([0, a, b, c]) >> 8));
        }
        32 => out.extend(
            body.as_chunks::<4>()
                .0
                .iter()
                .take(wanted)
                .map(|&w| i32::from_le_bytes(w)),
        ),
        212 => {
            for at in (0..).step_by(3).take(wanted.div_ceil(2)) {
                let middle = byte(at + 1);
                out.push(sign(byte(at) | (middle & 0x0f) << 8, 12));
                out.push(sign(byte(at + 2) | (middle >> 4) << 8, 12));
            }
        }
        310 => {
            for at in (0..).step_by(4).take(wanted.div_ceil(3)) {
                let (low, high) = (
                    byte(at) | byte(at + 1) << 8,
                    byte(at + 2) | byte(at + 3) << 8,
                );
                out.push(sign(low >> 1 & 0x3ff, 10));
                out.push(sign(high >> 1 & 0x3ff, 10));
                out.push(sign(low >> 11 & 0x1f | (high >> 11 & 0x1f) << 5, 10));
            }
        }
        311 => {
            for at in (0..).step_by(4).take(wanted.div_ceil(3)) {
                let word =
                    byte(at) | byte(at + 1) << 8 | byte(at + 2) << 16 | (byte(at + 3) & 0x3f) << 24;
                out.extend([0, 10, 20].map(|shift| sign(word >> shift & 0x3ff, 10)));
            }
        }
        other => return Err(Error::unsupported("WFDB format", &other.to_string())),
    }
    out.truncate(wanted);
    Ok(out)
}

fn flac_reader<'a>(body: &'a [u8], group: &[SignalSpec]) -> Result<claxon::FlacReader<&'a [u8]>> {
    let options = claxon::FlacReaderOptions {
        metadata_only: false,
        read_vorbis_comment: false,
    };
    let reader =
        claxon::FlacReader::new_ext(body, options).map_err(|_| Error::Codec { codec: "FLAC" })?;
    let info = reader.streaminfo();
    let bits = group
        .first()
        .map_or(0, |s| u32::from(s.format).saturating_sub(500));
    let even = group
        .iter()
        .all(|s| Some(s.samples_per_frame) == group.first().map(|f| f.samples_per_frame));
    if info.channels as usize != group.len() || info.bits_per_sample > bits || !even {
        return Err(Error::Malformed {
            what: WHAT,
            reason: "FLAC channels, bits or rates that differ from the header",
            offset: 0,
        });
    }
    Ok(reader)
}

/// Samples over all channels, as the stream declares them.
fn flac_length(body: &[u8], group: &[SignalSpec]) -> Result<usize> {
    let declared = flac_reader(body, group)?.streaminfo().samples;
    let declared = declared.ok_or(Error::Missing {
        what: "length of the FLAC stream",
    })?;
    let skip = group.first().map_or(0, |s| s.offset);
    let length = usize::try_from(declared.saturating_sub(skip)).unwrap_or(usize::MAX);
    Ok(length.saturating_mul(group.len()))
}

/// FLAC interleaves single samples, one channel a signal; put into the file order of the other formats:
/// all of a signal's samples of a frame together.
fn read_flac(body: &[u8], group: &[SignalSpec], wanted: usize) -> Result<Vec<i32>> {
    let channels = group.len();
    let per_frame = group
        .first()
        .map_or(1, |s| usize::from(s.samples_per_frame));
    let skip = group
        .first()
        .map_or(0, |s| usize::try_from(s.offset).unwrap_or(usize::MAX));
    let mut reader = flac_reader(body, group)?;
    let mut interleaved = Vec::new();
    for sample in reader
        .samples()
        .skip(skip.saturating_mul(channels))
        .take(wanted)
    {
        interleaved.push(sample.map_err(|_| Error::Codec { codec: "FLAC" })?);
    }
    if interleaved.len() < wanted {
        return Err(Error::Truncated { what: WHAT });
    }
    let block = channels * per_frame;
    let place = |at: usize| {
        let (frame, inside) = (at / block, at % block);
        let (channel, sample) = (inside / per_frame, inside % per_frame);
        frame * block + sample * channels + channel
    };
    Ok((0..wanted)
        .map(|at| interleaved.get(place(at)).copied().unwrap_or(0))
        .collect())
}
