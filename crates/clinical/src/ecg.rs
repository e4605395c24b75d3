//! An ECG (or any sampled signals) as integers, whatever format it came in, and its stored bytes.
//!
//! The stored form is deterministic CBOR without floats (`docs/formats.md`, "Clinical content"): the
//! samples as the recorder's own integers, first differences in zigzag LEB128, beside the gain and
//! baseline that turn them into volts.

use minicbor::{Decode, Decoder, Encode, Encoder};
use salus_proto::encode;

use crate::{Error, Result};

/// The media type of the stored form.
pub const MEDIA_TYPE: &str = "application/vnd.salus.ecg+cbor";
/// Most leads.
pub const LEADS_LIMIT: usize = 64;
/// Most samples over all leads: 12 leads at 500 Hz for three hours.
pub const SAMPLES_LIMIT: usize = 64 << 20;
/// Largest stored form, in bytes.
pub const STORED_LIMIT: usize = 5 * SAMPLES_LIMIT;

/// An exact decimal number: `mantissa` times ten to the `exponent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Decimal {
    /// All digits; not divisible by ten unless zero.
    #[n(0)]
    pub mantissa: i64,
    /// Power of ten, -18 to 18.
    #[n(1)]
    pub exponent: i8,
}

/// Sampled signals that were recorded together. Its `Debug` shows no content.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Ecg {
    /// Frames a second. A lead takes [`Lead::samples_per_frame`] samples in each.
    #[n(0)]
    pub frames_per_s: Decimal,
    /// The recorder's local date and time, `YYYY-MM-DDThh:mm:ss` or `hh:mm:ss`, if it says.
    #[n(1)]
    pub started: Option<String>,
    /// The signals.
    #[n(2)]
    pub leads: Vec<Lead>,
    /// The recorder's remarks; they may name the patient's age, sex and diagnoses.
    #[n(3)]
    pub remarks: Vec<String>,
}

/// One signal. Its `Debug` shows no samples.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Lead {
    /// Name as recorded, for example `MLII` or `v1`.
    #[n(0)]
    pub name: String,
    /// Physical unit, for example `mV`.
    #[n(1)]
    pub unit: String,
    /// Integer steps for one unit; physical value = (sample - baseline) / gain.
    #[n(2)]
    pub gain: Decimal,
    /// The sample that means zero.
    #[n(3)]
    pub baseline: i32,
    /// Samples a frame, at least 1.
    #[n(4)]
    pub samples_per_frame: u16,
    /// The samples; [`Lead::NO_SAMPLE`] where the recorder has none.
    #[cbor(n(5), with = "packed")]
    pub samples: Vec<i32>,
}

impl core::fmt::Debug for Ecg {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Ecg")
            .field("leads", &self.leads)
            .finish_non_exhaustive()
    }
}

impl core::fmt::Debug for Lead {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Lead")
            .field("samples", &self.samples.len())
            .finish_non_exhaustive()
    }
}

impl Decimal {
    /// Reads `200`, `1.052e+04` or `-0.5`; at most 18 digits that count.
    pub fn parse(text: &str) -> Option<Self> {
        let (number, power) = match text.split_once(['e', 'E']) {
            Some((number, power)) => (number, power.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let digits = whole.strip_prefix(['+', '-']).unwrap_or(whole);
        let all_digits = digits
            .bytes()
            .chain(fraction.bytes())
            .all(|b| b.is_ascii_digit());
        if !all_digits || digits.len() + fraction.len() == 0 || text.len() > 40 {
            return None;
        }
        let fraction_digits = i32::try_from(fraction.len()).ok()?;
        let mantissa: i64 = format!("{digits}{fraction}").parse().ok()?;
        let mantissa = if whole.starts_with('-') {
            -mantissa
        } else {
            mantissa
        };
        Self::new(mantissa, power.checked_sub(fraction_digits)?)
    }

    fn new(mut mantissa: i64, mut exponent: i32) -> Option<Self> {
        if mantissa == 0 {
            return Some(Self {
                mantissa: 0,
                exponent: 0,
            });
        }
        while mantissa % 10 == 0 {
            mantissa /= 10;
            exponent = exponent.checked_add(1)?;
        }
        let exponent = i8::try_from(exponent)
            .ok()
            .filter(|e| (-18..=18).contains(e))?;
        Some(Self { mantissa, exponent })
    }

    /// The nearest floating-point number, for drawing and computing.
    pub fn to_f64(self) -> f64 {
        format!("{}e{}", self.mantissa, self.exponent)
            .parse()
            .unwrap_or(f64::NAN)
    }
}

impl From<i32> for Decimal {
    fn from(whole: i32) -> Self {
        Self::new(i64::from(whole), 0).unwrap_or(Self {
            mantissa: 0,
            exponent: 0,
        })
    }
}

impl Lead {
    /// Stands in [`Lead::samples`] where the recorder marked a sample as missing.
    pub const NO_SAMPLE: i32 = i32::MIN;

    /// The samples in physical units; not-a-number where there is none.
    pub fn physical(&self) -> impl Iterator<Item = f64> {
        let (gain, baseline) = (self.gain.to_f64(), f64::from(self.baseline));
        self.samples.iter().map(move |&sample| {
            if sample == Self::NO_SAMPLE {
                f64::NAN
            } else {
                (f64::from(sample) - baseline) / gain
            }
        })
    }
}

impl Ecg {
    /// The stored form: deterministic, to be sealed and hashed.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode::to_bytes(self)
    }

    /// Reads the stored form and refuses any other encoding of the same signals.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let ecg: Self = encode::from_bytes(bytes, STORED_LIMIT, "ECG").map_err(|e| match e {
            encode::Malformed::TooLong { length, limit } => Error::TooLarge {
                what: "ECG",
                length: length as u64,
                limit: limit as u64,
            },
            encode::Malformed::Structure { .. } => Error::Malformed {
                what: "ECG",
                reason: "not the stored form",
                offset: 0,
            },
            encode::Malformed::NotDeterministic { .. } => Error::Malformed {
                what: "ECG",
                reason: "not deterministic",
                offset: 0,
            },
        })?;
        ecg.check()?;
        Ok(ecg)
    }

    /// Holds the bounds that every reader keeps.
    pub(crate) fn check(&self) -> Result<()> {
        check_size(
            self.leads.len(),
            self.leads.iter().map(|l| l.samples.len()).sum(),
        )?;
        if self
            .leads
            .iter()
            .any(|l| l.samples_per_frame == 0 || l.gain.mantissa == 0)
        {
            return Err(Error::Malformed {
                what: "ECG",
                reason: "a zero gain or rate",
                offset: 0,
            });
        }
        Ok(())
    }
}

/// Refuses more leads or samples than the limits.
pub(crate) fn check_size(leads: usize, samples: usize) -> Result<()> {
    for (what, length, limit) in [
        ("ECG leads", leads, LEADS_LIMIT),
        ("ECG samples", samples, SAMPLES_LIMIT),
    ] {
        if length > limit {
            return Err(Error::TooLarge {
                what,
                length: length as u64,
                limit: limit as u64,
            });
        }
    }
    Ok(())
}

/// Samples as one byte string: each first difference (wrapping, from 0) in zigzag LEB128.
mod packed {
    use super::{Decoder, Encoder};

    pub(super) fn encode<C, W: minicbor::encode::Write>(
        samples: &[i32],
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        let mut bytes = Vec::with_capacity(samples.len() * 2);
        let mut before = 0_i32;
        for &sample in samples {
            let difference = sample.wrapping_sub(before);
            before = sample;
            let mut rest = (difference << 1 ^ difference >> 31).cast_unsigned();
            while rest >= 0x80 {
                bytes.push(rest.to_le_bytes()[0] | 0x80);
                rest >>= 7;
            }
            bytes.push(rest.to_le_bytes()[0]);
        }
        e.bytes(&bytes)?;
        Ok(())
    }

    pub(super) fn decode<C>(
        d: &mut Decoder<'_>,
        _: &mut C,
    ) -> Result<Vec<i32>, minicbor::decode::Error> {
        let bytes = d.bytes()?;
        let mut samples = Vec::with_capacity(bytes.iter().filter(|&b| b & 0x80 == 0).count());
        let (mut before, mut zigzag, mut shift) = (0_i32, 0_u64, 0_u32);
        for &byte in bytes {
            zigzag |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 != 0 {
                if shift >= 35 {
                    return Err(minicbor::decode::Error::message(
                        "a difference of over 32 bits",
                    ));
                }
                continue;
            }
            let word = u32::try_from(zigzag)
                .map_err(|_| minicbor::decode::Error::message("a difference of over 32 bits"))?;
            let difference = (word >> 1).cast_signed() ^ -((word & 1).cast_signed());
            before = before.wrapping_add(difference);
            samples.push(before);
            (zigzag, shift) = (0, 0);
        }
        if shift != 0 {
            return Err(minicbor::decode::Error::message(
                "samples end inside a difference",
            ));
        }
        Ok(samples)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lead(samples: Vec<i32>) -> Lead {
        Lead {
            name: "II".into(),
            unit: "mV".into(),
            gain: 200.into(),
            baseline: 1024,
            samples_per_frame: 1,
            samples,
        }
    }

    fn ecg(samples: Vec<i32>) -> Ecg {
        Ecg {
            frames_per_s: 360.into(),
            started: None,
            leads: vec![lead(samples)],
            remarks: Vec::new(),
        }
    }

    #[test]
    fn decimals_keep_every_digit() {
        for (text, mantissa, exponent) in [
            ("200", 2, 2),
            ("1.052e+04", 1052, 1),
            ("62.4725", 624_725, -4),
            ("-0.50", -5, -1),
            ("0", 0, 0),
            ("7247", 7247, 0),
        ] {
            assert_eq!(
                Decimal::parse(text),
                Some(Decimal { mantissa, exponent }),
                "{text}"
            );
        }
        for text in [
            "",
            ".",
            "-",
            "1e",
            "1e99",
            "0x10",
            "1.2.3",
            "12345678901234567890",
            "NaN",
        ] {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
        assert_eq!(
            Decimal::parse("62.4725").map(Decimal::to_f64),
            Some(62.4725)
        );
    }

    /// Read back by hand: frames 36 x 10^1; one lead "II" in "mV", gain 2 x 10^2, baseline 1024, one
    /// sample a frame; differences 995, 1, -2 and from 994 to the missing sample.
    const GOLDEN: &str =
        "a300821824010281a60062494901626d56028202020319040004010549c60f0203bcf0ffff0f0380";

    #[test]
    fn the_stored_form_is_these_bytes() {
        let bytes = ecg(vec![995, 996, 994, Lead::NO_SAMPLE]).to_bytes();
        assert_eq!(hex(&bytes), GOLDEN);
        assert_eq!(
            Ecg::from_bytes(&bytes),
            Ok(ecg(vec![995, 996, 994, Lead::NO_SAMPLE]))
        );
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    proptest! {
        #[test]
        fn stored_signals_come_back(samples: Vec<i32>) {
            let ecg = ecg(samples);
            prop_assert_eq!(Ecg::from_bytes(&ecg.to_bytes()).unwrap(), ecg);
        }

        #[test]
        fn damaged_stored_forms_never_panic_and_never_read_as_themselves(
            samples in prop::collection::vec(-2048_i32..2048, 1..50), at: prop::sample::Index, bit in 0..8_u32
        ) {
            let ecg = ecg(samples);
            let mut bytes = ecg.to_bytes();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            if let Ok(other) = Ecg::from_bytes(&bytes) {
                prop_assert_ne!(other, ecg);
            }
            let _ = Ecg::from_bytes(&bytes[..at]);
        }
    }
}
