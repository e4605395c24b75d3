//! Frames of a DICOM image, whatever their transfer syntax, as plain samples.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::codestream::CodestreamSize;
use super::element::{DataSet, PIXEL_DATA, Value};
use super::{Limits, Pixels, jpeg_ls, rle};
use crate::{Error, Result};

const WHAT: &str = "DICOM pixel data";

/// What the data set says about its pixels (PS3.3 C.7.6.3).
struct Description {
    rows: u16,
    columns: u16,
    frames: usize,
    samples: usize,
    photometric: String,
    allocated: u16,
    stored: u16,
    signed: bool,
    planar: bool,
}

impl Description {
    fn read(set: &DataSet<'_>, limits: &Limits) -> Result<Self> {
        let missing = Error::Missing {
            what: "description of the DICOM pixels",
        };
        let bad = |reason| Error::Malformed {
            what: WHAT,
            reason,
            offset: 0,
        };
        let u16_of = |tag| set.u16(tag).ok_or(missing.clone());
        let frames = match set.text((0x0028, 0x0008)) {
            Some(text) => text
                .trim()
                .parse()
                .map_err(|_| bad("a number of frames that is no number"))?,
            None => 1,
        };
        let this = Self {
            rows: u16_of((0x0028, 0x0010))?,
            columns: u16_of((0x0028, 0x0011))?,
            frames,
            samples: u16_of((0x0028, 0x0002)).unwrap_or(1).into(),
            photometric: set.text((0x0028, 0x0004)).unwrap_or_default(),
            allocated: u16_of((0x0028, 0x0100))?,
            stored: u16_of((0x0028, 0x0101))?,
            signed: u16_of((0x0028, 0x0103)).unwrap_or(0) == 1,
            planar: u16_of((0x0028, 0x0006)).unwrap_or(0) == 1,
        };
        if this.rows == 0 || this.columns == 0 || this.frames == 0 {
            return Err(bad("no rows, columns or frames"));
        }
        if !matches!(this.samples, 1 | 3) || !matches!(this.allocated, 1 | 8 | 16 | 32) {
            return Err(Error::unsupported(
                "DICOM pixel layout",
                &format!("{}x{}", this.samples, this.allocated),
            ));
        }
        if this.stored == 0
            || this.stored > this.allocated
            || (this.allocated == 1 && this.samples != 1)
        {
            return Err(bad("bits stored out of range"));
        }
        let total = this.frame_bytes().saturating_mul(this.frames);
        if total > limits.decoded_bytes {
            let (length, limit) = (total as u64, limits.decoded_bytes as u64);
            return Err(Error::TooLarge {
                what: "decoded DICOM pixels",
                length,
                limit,
            });
        }
        Ok(this)
    }

    fn pixels(&self) -> usize {
        usize::from(self.rows) * usize::from(self.columns)
    }

    /// Bytes of a decoded sample; single bits become bytes.
    fn sample_bytes(&self) -> usize {
        usize::from(self.allocated).div_ceil(8)
    }

    fn frame_bytes(&self) -> usize {
        self.pixels() * self.samples * self.sample_bytes()
    }
}

/// Decodes all frames.
pub(super) fn read(set: &DataSet<'_>, syntax: &str, limits: &Limits) -> Result<Pixels> {
    for float in [(0x7fe0, 0x0008), (0x7fe0, 0x0009)] {
        if set.get(float).is_some() {
            return Err(Error::unsupported("DICOM pixel type", "floating point"));
        }
    }
    let element = set.get(PIXEL_DATA).ok_or(Error::Missing {
        what: "DICOM pixel data",
    })?;
    let description = Description::read(set, limits)?;
    let codec = Codec::of(syntax)?;
    let mut colour = description.photometric.clone();
    let data = match (&element.value, codec) {
        (Value::Bytes(bytes), Codec::Plain) => {
            let swap = set.is_big_endian() && (description.allocated > 8 || &element.vr == b"OW");
            let (data, rgb) = plain(bytes, &description, swap)?;
            if rgb {
                "RGB".clone_into(&mut colour);
            }
            data
        }
        (Value::Fragments(table, fragments), codec) if codec != Codec::Plain => {
            let mut out = Vec::with_capacity(description.frame_bytes() * description.frames);
            for frame in frames(table, fragments, &description)? {
                let decoded = codec.decode(&frame, &description, syntax)?;
                if decoded.len() != description.frame_bytes() {
                    return Err(Error::Malformed {
                        what: WHAT,
                        reason: "a frame of the wrong size",
                        offset: 0,
                    });
                }
                out.extend_from_slice(&decoded);
            }
            if description.samples == 3 && codec != Codec::Rle {
                "RGB".clone_into(&mut colour);
            } else if codec == Codec::Rle && colour == "YBR_FULL" && description.allocated == 8 {
                full_to_rgb(&mut out);
                "RGB".clone_into(&mut colour);
            }
            out
        }
        _ => {
            return Err(Error::Malformed {
                what: WHAT,
                reason: "encapsulated where the transfer syntax says plain, or plain where encapsulated",
                offset: 0,
            });
        }
    };
    Ok(Pixels {
        rows: description.rows,
        columns: description.columns,
        frames: u32::try_from(description.frames).unwrap_or(u32::MAX),
        samples_per_pixel: if description.samples == 3 { 3 } else { 1 },
        bits_allocated: if description.sample_bytes() == 4 {
            32
        } else if description.sample_bytes() == 2 {
            16
        } else {
            8
        },
        bits_stored: u8::try_from(description.stored).unwrap_or(32),
        signed: description.signed,
        photometric: colour,
        data,
    })
}

/// Unencapsulated pixels; says whether colours were turned into RGB.
fn plain(bytes: &[u8], d: &Description, swap: bool) -> Result<(Vec<u8>, bool)> {
    let truncated = Error::Truncated { what: WHAT };
    if d.allocated == 1 {
        let wanted = d.pixels() * d.frames;
        let bits = bytes.get(..wanted.div_ceil(8)).ok_or(truncated)?;
        let bit = |at: usize| bits.get(at / 8).map_or(0, |b| b >> (at % 8) & 1);
        return Ok(((0..wanted).map(bit).collect(), false));
    }
    if d.samples == 3 && d.photometric == "YBR_FULL_422" {
        // Y Y Cb Cr for two pixels (PS3.3 C.7.6.3.1.2).
        let bytes = bytes
            .get(..d.pixels() * d.frames * 2)
            .filter(|_| d.allocated == 8)
            .ok_or(truncated)?;
        let pairs = bytes.as_chunks::<4>().0.iter();
        let mut out: Vec<u8> = pairs
            .flat_map(|&[y0, y1, cb, cr]| [y0, cb, cr, y1, cb, cr])
            .collect();
        out.resize(d.frame_bytes() * d.frames, 0);
        full_to_rgb(&mut out);
        return Ok((out, true));
    }
    let mut out = bytes
        .get(..d.frame_bytes() * d.frames)
        .ok_or(truncated)?
        .to_vec();
    if swap {
        let width = d.sample_bytes().max(2);
        out.chunks_exact_mut(width).for_each(<[u8]>::reverse);
    }
    if d.samples == 3 && d.planar {
        let (size, pixels) = (d.sample_bytes(), d.pixels());
        for frame in out.chunks_exact_mut(d.frame_bytes()) {
            let planes = frame.to_vec();
            for (at, place) in frame.chunks_exact_mut(size).enumerate() {
                let from = (at % 3 * pixels + at / 3) * size;
                place.copy_from_slice(planes.get(from..from + size).unwrap_or_default());
            }
        }
    }
    let rgb = d.samples == 3 && d.photometric == "YBR_FULL" && d.allocated == 8;
    if rgb {
        full_to_rgb(&mut out);
    }
    Ok((out, rgb))
}

/// PS3.3 C.7.6.3.1.2, `YBR_FULL`.
fn full_to_rgb(samples: &mut [u8]) {
    for pixel in samples.as_chunks_mut::<3>().0 {
        let [y, cb, cr] = pixel.map(f64::from);
        let (cb, cr) = (cb - 128.0, cr - 128.0);
        let rgb = [
            y + 1.402 * cr,
            y - 0.344_136 * cb - 0.714_136 * cr,
            y + 1.772 * cb,
        ];
        *pixel = rgb.map(|v| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "clamped to the range of a byte"
            )]
            let byte = v.round().clamp(0.0, 255.0) as u8;
            byte
        });
    }
}

/// Puts the fragments of each frame together (PS3.5 A.4): by the offset table if there is one, else one
/// fragment a frame, else all fragments are one frame.
fn frames<'a>(table: &[u8], fragments: &[&'a [u8]], d: &Description) -> Result<Vec<Cow<'a, [u8]>>> {
    let bad = |reason| Error::Malformed {
        what: WHAT,
        reason,
        offset: 0,
    };
    if fragments.len() == d.frames {
        return Ok(fragments.iter().map(|f| Cow::Borrowed(*f)).collect());
    }
    if d.frames == 1 {
        return Ok(vec![Cow::Owned(fragments.concat())]);
    }
    let offsets: Vec<u32> = table
        .as_chunks::<4>()
        .0
        .iter()
        .map(|w| u32::from_le_bytes(*w))
        .collect();
    if offsets.len() != d.frames || fragments.len() < d.frames {
        return Err(bad("fragments that cannot be told apart by frame"));
    }
    let mut out: Vec<Vec<u8>> = Vec::with_capacity(d.frames);
    let mut starts = offsets.iter().peekable();
    let mut at = 0_usize;
    for fragment in fragments {
        if starts.next_if(|start| **start as usize == at).is_some() {
            out.push(Vec::new());
        }
        out.last_mut()
            .ok_or(bad(
                "an offset table that does not begin at the first fragment",
            ))?
            .extend_from_slice(fragment);
        at += 8 + fragment.len();
    }
    if out.len() == d.frames {
        Ok(out.into_iter().map(Cow::Owned).collect())
    } else {
        Err(bad("an offset table that points between fragments"))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Codec {
    Plain,
    Rle,
    Jpeg,
    JpegLs,
    Jpeg2000,
    HighThroughput,
}

impl Codec {
    fn of(syntax: &str) -> Result<Self> {
        Ok(
            match syntax.strip_prefix("1.2.840.10008.1.2").unwrap_or("?") {
                "" | ".1" | ".2" | ".1.99" => Self::Plain,
                ".5" => Self::Rle,
                ".4.50" | ".4.51" | ".4.57" | ".4.70" => Self::Jpeg,
                ".4.80" | ".4.81" => Self::JpegLs,
                ".4.90" | ".4.91" => Self::Jpeg2000,
                ".4.201" | ".4.202" | ".4.203" => Self::HighThroughput,
                _ => return Err(Error::unsupported("DICOM transfer syntax", syntax)),
            },
        )
    }

    /// One frame in little-endian, sample-interleaved order.
    fn decode(self, frame: &[u8], d: &Description, syntax: &str) -> Result<Vec<u8>> {
        match self {
            Self::Plain => Err(Error::unsupported("DICOM transfer syntax", syntax)),
            Self::Rle => rle::decode(frame, d.pixels(), d.samples, d.sample_bytes()),
            Self::Jpeg => guarded("JPEG", || jpeg(frame, d, syntax)),
            Self::JpegLs => {
                let found = jpeg_ls::decode(frame, d.columns.into(), d.rows.into(), d.samples)?;
                to_container(found.samples.into_iter(), found.precision, d)
            }
            Self::Jpeg2000 => guarded("JPEG 2000", || jpeg_2000(frame, d, false)),
            Self::HighThroughput => guarded("HTJ2K", || jpeg_2000(frame, d, true)),
        }
    }
}

/// Runs a library's decoder; its panic on hostile data is a refusal, not our end.
fn guarded<T>(codec: &'static str, decode: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(decode)).unwrap_or(Err(Error::Codec { codec }))
}

/// Samples of a codestream into the container that the data set declares. Where the data set says
/// signed and the stream has fewer bits than the container, the stream's top bit is the sign.
fn to_container(
    samples: impl Iterator<Item = u16>,
    precision: u32,
    d: &Description,
) -> Result<Vec<u8>> {
    if precision > u32::from(d.allocated) {
        return Err(Error::Malformed {
            what: WHAT,
            reason: "more bits in the stream than allocated",
            offset: 0,
        });
    }
    Ok(match d.allocated {
        8 => samples.map(|s| s.to_le_bytes()[0]).collect(),
        16 if d.signed && precision < 16 => {
            let shift = 16 - precision;
            samples
                .flat_map(|s| ((s << shift).cast_signed() >> shift).to_le_bytes())
                .collect()
        }
        16 => samples.flat_map(u16::to_le_bytes).collect(),
        _ => {
            return Err(Error::unsupported(
                "DICOM bits allocated in a codestream",
                &d.allocated.to_string(),
            ));
        }
    })
}

/// ITU-T T.81: baseline, extended of 8 bits, lossless.
fn jpeg(frame: &[u8], d: &Description, syntax: &str) -> Result<Vec<u8>> {
    use jpeg_decoder::{ColorTransform, Decoder, PixelFormat};
    // Twelve-bit DCT is the one process of these that the library lacks; only this syntax has it.
    let codec = match syntax {
        "1.2.840.10008.1.2.4.51" => Error::unsupported("DICOM transfer syntax", syntax),
        _ => Error::Codec { codec: "JPEG" },
    };
    let mut decoder = Decoder::new(frame);
    decoder.set_max_decoding_buffer_size(d.frame_bytes().saturating_mul(2));
    decoder.read_info().map_err(|_| codec.clone())?;
    let info = decoder.info().ok_or(codec.clone())?;
    let samples = match info.pixel_format {
        PixelFormat::L8 | PixelFormat::L16 => 1,
        PixelFormat::RGB24 => 3,
        PixelFormat::CMYK32 => return Err(Error::unsupported("DICOM pixel layout", "CMYK")),
    };
    if (info.width, info.height, samples) != (d.columns, d.rows, d.samples) {
        return Err(Error::Malformed {
            what: WHAT,
            reason: "a codestream of another size",
            offset: 0,
        });
    }
    if samples == 3 {
        // The data set knows; a codestream without JFIF or Adobe marker leaves it open.
        let rgb = d.photometric == "RGB";
        decoder.set_color_transform(if rgb {
            ColorTransform::RGB
        } else {
            ColorTransform::YCbCr
        });
    }
    let bytes = decoder.decode().map_err(|e| match e {
        jpeg_decoder::Error::Unsupported(_) => Error::unsupported("DICOM transfer syntax", syntax),
        _ => codec,
    })?;
    match info.pixel_format {
        PixelFormat::L16 => {
            // Native byte order, by the library's documentation.
            let words = bytes
                .as_chunks::<2>()
                .0
                .iter()
                .map(|w| u16::from_ne_bytes(*w));
            to_container(words, 16, d)
        }
        _ => to_container(bytes.into_iter().map(u16::from), 8, d),
    }
}

/// ISO/IEC 15444-1, or -15 where the transfer syntax says high throughput.
fn jpeg_2000(frame: &[u8], d: &Description, high_throughput: bool) -> Result<Vec<u8>> {
    let bad = |reason| Error::Malformed {
        what: WHAT,
        reason,
        offset: 0,
    };
    let size = CodestreamSize::check(frame)?;
    if (size.width, size.height, size.components) != (d.columns.into(), d.rows.into(), d.samples) {
        return Err(bad("a codestream of another size"));
    }
    let samples = if high_throughput {
        part_15(frame).map_err(|_| Error::Codec { codec: "HTJ2K" })?
    } else {
        part_1(frame, size.precision).map_err(|_| Error::Codec { codec: "JPEG 2000" })?
    };
    if samples.len() != d.pixels() * d.samples {
        return Err(bad("a codestream of another size"));
    }
    // The libraries add half the range also to signed samples; taking it away again restores them.
    let half = if size.signed {
        1_u16 << (size.precision - 1)
    } else {
        0
    };
    let mask = u16::MAX >> (16 - size.precision);
    let restored = samples
        .into_iter()
        .map(|sample| sample.wrapping_sub(half) & mask);
    to_container(restored, size.precision, d)
}

fn part_1(frame: &[u8], precision: u32) -> hayro_jpeg2000::Result<Vec<u16>> {
    let settings = hayro_jpeg2000::DecodeSettings {
        strict: true,
        ..Default::default()
    };
    let image = hayro_jpeg2000::Image::new(frame, &settings)?;
    let mut context = hayro_jpeg2000::DecoderContext::default();
    let decoded = image.decode(&mut context)?;
    let components = decoded.components();
    let length = components.first().map_or(0, |c| c.samples().len());
    let highest = f32::from(u16::MAX >> (16 - precision));
    let mut out = Vec::with_capacity(length * components.len());
    for at in 0..length {
        for component in components {
            let sample = component.samples().get(at).copied().unwrap_or(0.0);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "clamped to the range of the precision"
            )]
            let whole = sample.round().clamp(0.0, highest) as u16;
            out.push(whole);
        }
    }
    Ok(out)
}

fn part_15(frame: &[u8]) -> dicom_toolkit_jpeg2000::Result<Vec<u16>> {
    let settings = dicom_toolkit_jpeg2000::DecodeSettings {
        strict: true,
        ..Default::default()
    };
    let found = dicom_toolkit_jpeg2000::Image::new(frame, &settings)?.decode_native()?;
    Ok(match found.bytes_per_sample {
        1 => found.data.into_iter().map(u16::from).collect(),
        _ => found
            .data
            .as_chunks::<2>()
            .0
            .iter()
            .map(|w| u16::from_le_bytes(*w))
            .collect(),
    })
}
