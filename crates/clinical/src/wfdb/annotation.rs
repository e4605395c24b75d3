//! Annotations in MIT format, `annot(5)`: pairs of bytes, six bits of code and ten of time.

use crate::{Error, Result};

const WHAT: &str = "WFDB annotations";
/// Most annotations: over a month of beats.
const LIMIT: usize = 4_000_000;

/// One annotation. Its `Debug` shows no text.
#[derive(Clone, PartialEq, Eq)]
pub struct Annotation {
    /// Sample at which it stands, counted from 0.
    pub sample: u64,
    /// Code, 1 to 49: see [`Annotation::symbol`].
    pub code: u8,
    /// Subtype.
    pub subtype: i8,
    /// Signal that it belongs to.
    pub channel: u8,
    /// Number field.
    pub number: i8,
    /// Text, for example the rhythm `(AFIB`; without the final NUL.
    pub text: String,
}

impl core::fmt::Debug for Annotation {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Annotation")
            .field("code", &self.code)
            .finish_non_exhaustive()
    }
}

impl Annotation {
    /// The usual symbol of the code (`ecgcodes.h`), for example `N` for a normal beat, `V` for a
    /// ventricular one; a space for a code without one.
    pub fn symbol(&self) -> char {
        let symbols = b" NLRaVFJASEj/Q~ | sT*D\"=pB^t+u?![]en@xf()r";
        symbols
            .get(usize::from(self.code))
            .map_or(' ', |&b| char::from(b))
    }

    /// Whether it marks a heartbeat rather than a rhythm, signal quality or remark (`isqrs` of the
    /// WFDB library).
    pub fn is_beat(&self) -> bool {
        matches!(self.code, 1..=13 | 25 | 30 | 34 | 35 | 38 | 41)
    }
}

/// Reads an annotation file. It must end as the format says: with two zero bytes.
pub fn annotations(bytes: &[u8]) -> Result<Vec<Annotation>> {
    let mut found: Vec<Annotation> = Vec::new();
    let mut time = 0_i64;
    let (mut channel, mut number) = (0_u8, 0_i8);
    let mut at = 0_usize;
    loop {
        let here = at;
        let bad = |reason| Error::Malformed {
            what: WHAT,
            reason,
            offset: here,
        };
        let pair = bytes.get(at..).and_then(<[u8]>::first_chunk::<2>);
        let word = u16::from_le_bytes(*pair.ok_or(Error::Truncated { what: WHAT })?);
        at += 2;
        let (code, low) = (word.to_be_bytes()[0] >> 2, word & 0x3ff);
        // The fields NUM, SUB and CHN use the low byte.
        let [value, _] = low.to_le_bytes();
        match code {
            0 if low == 0 => return Ok(found),
            59 => {
                let skip = bytes.get(at..).and_then(<[u8]>::first_chunk::<4>);
                let [b0, b1, b2, b3] = *skip.ok_or(Error::Truncated { what: WHAT })?;
                at += 4;
                // The high half first, as on a PDP-11.
                time += i64::from(i32::from_le_bytes([b2, b3, b0, b1]));
            }
            60 => {
                number = value.cast_signed();
                found
                    .last_mut()
                    .ok_or(bad("a field before any annotation"))?
                    .number = number;
            }
            61 => {
                let last = found
                    .last_mut()
                    .ok_or(bad("a field before any annotation"))?;
                last.subtype = value.cast_signed();
            }
            62 => {
                channel = value;
                found
                    .last_mut()
                    .ok_or(bad("a field before any annotation"))?
                    .channel = channel;
            }
            63 => {
                let length = usize::from(low);
                let text = bytes
                    .get(at..at + length)
                    .ok_or(Error::Truncated { what: WHAT })?;
                at += length + length % 2;
                let text = text.split(|&b| b == 0).next().unwrap_or_default();
                let last = found
                    .last_mut()
                    .ok_or(bad("a field before any annotation"))?;
                last.text = String::from_utf8_lossy(text).into_owned();
            }
            _ => {
                if code > 49 {
                    return Err(bad("an unknown code"));
                }
                time += i64::from(low);
                let sample = u64::try_from(time).map_err(|_| bad("a time before the start"))?;
                if found.len() == LIMIT {
                    return Err(bad("more annotations than allowed"));
                }
                found.push(Annotation {
                    sample,
                    code,
                    subtype: 0,
                    channel,
                    number,
                    text: String::new(),
                });
            }
        }
    }
}
