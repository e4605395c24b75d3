//! PNG and JPEG into pixels, within bounds that a picture bomb cannot pass.

use std::io::Cursor;

use image::{ColorType, DynamicImage, ImageDecoder, ImageFormat, ImageReader};

use crate::sniff::{Kind, sniff};
use crate::{Error, Result};

/// Bounds on one picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest file, in bytes.
    pub bytes: usize,
    /// Largest width and height, in pixels.
    pub side: u32,
    /// Most memory for the decoded pixels, in bytes.
    pub decoded_bytes: u64,
}

impl Default for Limits {
    /// 128 MiB, 20,000 pixels a side, 256 MiB of pixels: a mammogram at full resolution is 30 MB.
    fn default() -> Self {
        Self {
            bytes: 128 << 20,
            side: 20_000,
            decoded_bytes: 256 << 20,
        }
    }
}

/// Decoded pixels. Its `Debug` shows none.
#[derive(Clone, PartialEq, Eq)]
pub struct Image {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Samples of a pixel: 1 grey, 3 red, green, blue.
    pub channels: u8,
    /// Bits of a sample: 8 or 16.
    pub bits: u8,
    /// Rows from the top, samples together, 16-bit samples little-endian.
    pub pixels: Vec<u8>,
}

impl core::fmt::Debug for Image {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Image")
            .field("width", &self.width)
            .field("height", &self.height)
            .finish_non_exhaustive()
    }
}

/// Decodes a PNG or JPEG, told apart by its bytes. Palettes and grey of few bits become 8-bit; an
/// alpha channel is dropped, whatever lies below it stays. A file that ends early is an error, never
/// a picture with a grey rest.
pub fn decode(bytes: &[u8], limits: Limits) -> Result<Image> {
    let (format, codec) = match sniff(bytes) {
        Kind::Png => (ImageFormat::Png, "PNG"),
        Kind::Jpeg => (ImageFormat::Jpeg, "JPEG"),
        other => return Err(Error::unsupported("image format", other.media_type())),
    };
    if bytes.len() > limits.bytes {
        let (length, limit) = (bytes.len() as u64, limits.bytes as u64);
        return Err(Error::TooLarge {
            what: "image file",
            length,
            limit,
        });
    }
    if format == ImageFormat::Jpeg {
        check_jpeg_end(bytes)?;
    }
    let refused = |_| Error::Codec { codec };
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut bounds = image::Limits::default();
    // Twice: a decoder may hold its own copy of what it hands out.
    bounds.max_alloc = Some(limits.decoded_bytes.saturating_mul(2));
    reader.limits(bounds);
    let decoder = reader.into_decoder().map_err(refused)?;
    let (width, height) = decoder.dimensions();
    let side = width.max(height);
    if side > limits.side {
        let (length, limit) = (side.into(), limits.side.into());
        return Err(Error::TooLarge {
            what: "image side in pixels",
            length,
            limit,
        });
    }
    // The widest form that `into_pixels` makes: three samples of the same bits.
    let wide = if decoder.color_type().bytes_per_pixel() > 4 {
        6
    } else {
        4
    };
    let decoded = u64::from(width) * u64::from(height) * wide;
    if decoded > limits.decoded_bytes {
        let limit = limits.decoded_bytes;
        return Err(Error::TooLarge {
            what: "decoded image",
            length: decoded,
            limit,
        });
    }
    into_pixels(DynamicImage::from_decoder(decoder).map_err(refused)?)
}

fn into_pixels(decoded: DynamicImage) -> Result<Image> {
    let (width, height) = (decoded.width(), decoded.height());
    let words = |samples: Vec<u16>| samples.iter().flat_map(|s| s.to_le_bytes()).collect();
    let (channels, bits, pixels) = match decoded.color() {
        ColorType::L8 | ColorType::La8 => (1, 8, decoded.into_luma8().into_raw()),
        ColorType::Rgb8 | ColorType::Rgba8 => (3, 8, decoded.into_rgb8().into_raw()),
        ColorType::L16 | ColorType::La16 => (1, 16, words(decoded.into_luma16().into_raw())),
        ColorType::Rgb16 | ColorType::Rgba16 => (3, 16, words(decoded.into_rgb16().into_raw())),
        _ => return Err(Error::unsupported("image sample type", "floating point")),
    };
    Ok(Image {
        width,
        height,
        channels,
        bits,
        pixels,
    })
}

/// Decoders fill up what a cut JPEG lacks; here the end-of-image marker must follow the first scan
/// (ITU-T T.81 B.1.1.2: inside a scan the byte after FF is 00 or a restart marker).
fn check_jpeg_end(bytes: &[u8]) -> Result<()> {
    let truncated = Error::Truncated { what: "JPEG image" };
    let mut at = 2;
    loop {
        let Some(&[marker, code, high, low]) = bytes.get(at..).and_then(<[u8]>::first_chunk::<4>)
        else {
            return Err(truncated);
        };
        if marker != 0xff {
            return Err(Error::Malformed {
                what: "JPEG image",
                reason: "expected a marker",
                offset: at,
            });
        }
        if code == 0xff {
            at += 1;
            continue;
        }
        if code == 0xda {
            break;
        }
        at += 2 + usize::from(u16::from_be_bytes([high, low]));
    }
    let ended = bytes
        .get(at..)
        .is_some_and(|scan| scan.windows(2).any(|pair| pair == [0xff, 0xd9]));
    if ended { Ok(()) } else { Err(truncated) }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    fn png(
        width: u32,
        height: u32,
        color: png::ColorType,
        depth: png::BitDepth,
        data: &[u8],
    ) -> Vec<u8> {
        let mut out = Vec::new();
        let mut encoder = png::Encoder::new(&mut out, width, height);
        encoder.set_color(color);
        encoder.set_depth(depth);
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(data).unwrap();
        writer.finish().unwrap();
        out
    }

    fn jpeg() -> Vec<u8> {
        let mut out = Vec::new();
        let pixels: Vec<u8> = (0..64 * 48)
            .map(|i: u32| u8::try_from(i % 251).unwrap())
            .collect();
        image::codecs::jpeg::JpegEncoder::new_with_quality(&mut out, 90)
            .encode(&pixels, 64, 48, image::ExtendedColorType::L8)
            .unwrap();
        out
    }

    #[test]
    fn pixels_come_out_as_they_went_in() {
        use png::BitDepth::{Eight, One, Sixteen};
        use png::ColorType::{Grayscale, GrayscaleAlpha, Rgb, Rgba};
        for (color, depth, data, channels, bits, pixels) in [
            (
                Grayscale,
                Eight,
                &[1, 2, 3, 4, 5, 6][..],
                1,
                8,
                &[1, 2, 3, 4, 5, 6][..],
            ),
            (
                Grayscale,
                One,
                &[0b0100_0000, 0b1110_0000],
                1,
                8,
                &[0, 255, 0, 255, 255, 255],
            ),
            (
                GrayscaleAlpha,
                Eight,
                &[1, 0, 2, 9, 3, 9, 4, 9, 5, 9, 6, 9],
                1,
                8,
                &[1, 2, 3, 4, 5, 6],
            ),
            (Rgb, Eight, &[7; 18], 3, 8, &[7; 18]),
            (Rgba, Eight, &[7; 24], 3, 8, &[7; 18]),
            (
                Grayscale,
                Sixteen,
                &[1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2],
                1,
                16,
                &[2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1],
            ),
        ] {
            let found = decode(&png(3, 2, color, depth, data), Limits::default()).unwrap();
            assert_eq!(
                (found.width, found.height, found.channels, found.bits),
                (3, 2, channels, bits)
            );
            assert_eq!(found.pixels, pixels);
        }
        let found = decode(&jpeg(), Limits::default()).unwrap();
        assert_eq!(
            (
                found.width,
                found.height,
                found.channels,
                found.pixels.len()
            ),
            (64, 48, 1, 3072)
        );
    }

    #[test]
    fn bombs_and_strangers_are_refused_before_their_pixels_exist() {
        let limits = Limits {
            bytes: 1 << 20,
            side: 100,
            decoded_bytes: 4000,
        };
        let wide = png(
            101,
            1,
            png::ColorType::Grayscale,
            png::BitDepth::Eight,
            &[0; 101],
        );
        assert!(matches!(
            decode(&wide, limits),
            Err(Error::TooLarge {
                what: "image side in pixels",
                ..
            })
        ));
        let big = png(
            100,
            100,
            png::ColorType::Grayscale,
            png::BitDepth::Eight,
            &[0; 10_000],
        );
        assert!(matches!(
            decode(&big, limits),
            Err(Error::TooLarge {
                what: "decoded image",
                ..
            })
        ));
        // A header that claims 60,000 x 60,000 pixels over three bytes of data.
        let mut claims = png(
            3,
            1,
            png::ColorType::Grayscale,
            png::BitDepth::Eight,
            &[0; 3],
        );
        claims[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
        assert!(decode(&claims, Limits::default()).is_err());
        assert!(matches!(
            decode(&[0xff; 8], limits),
            Err(Error::Unsupported { .. })
        ));
        assert!(matches!(
            decode(b"GIF89a", limits),
            Err(Error::Unsupported { .. })
        ));
        let mut long = wide;
        long.resize(2 << 20, 0);
        assert!(matches!(
            decode(&long, limits),
            Err(Error::TooLarge {
                what: "image file",
                ..
            })
        ));
    }

    #[test]
    fn cut_files_are_errors() {
        let noise: Vec<u8> = (0..1600_u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 24).to_le_bytes()[0])
            .collect();
        for whole in [
            jpeg(),
            png(
                40,
                40,
                png::ColorType::Grayscale,
                png::BitDepth::Eight,
                &noise,
            ),
        ] {
            // The last chunk of a PNG carries no pixels.
            let needed = if whole[0] == 0x89 {
                whole.len() - 20
            } else {
                whole.len()
            };
            for cut in (0..needed).step_by(7) {
                assert!(
                    decode(&whole[..cut], Limits::default()).is_err(),
                    "{cut} of {}",
                    whole.len()
                );
            }
        }
    }

    #[test]
    fn real_films_decode() {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
        if !data.is_dir() {
            println!("skipped: the public samples are not beside the repository");
            return;
        }
        let tar = std::fs::read(data.join("pneumonia-cxr-224/test.tar")).unwrap();
        let members = crate::tar::members(&tar).unwrap();
        assert_eq!(members.len(), 624);
        for member in members.iter().step_by(10) {
            let film = decode(member.bytes, Limits::default()).unwrap();
            assert_eq!((film.width, film.height, film.channels), (224, 224, 1));
        }
        for (file, side) in [
            ("covid-xray/covid/0001.jpg", 256),
            ("oct-samples/NORMAL-1384-3.jpeg", 0),
        ] {
            let film = decode(&std::fs::read(data.join(file)).unwrap(), Limits::default()).unwrap();
            assert!(side == 0 || film.width == side);
        }
    }

    proptest! {
        #[test]
        fn flipped_bits_and_random_bytes_never_panic(at: prop::sample::Index, bit in 0..8_u32, bytes: Vec<u8>, kind: bool) {
            let mut whole = if kind {
                jpeg()
            } else {
                png(8, 8, png::ColorType::Rgb, png::BitDepth::Eight, &[9; 192])
            };
            let head = whole[..whole.len().min(24)].to_vec();
            let at = at.index(whole.len());
            whole[at] ^= 1 << bit;
            let limits = Limits { bytes: 1 << 20, side: 2000, decoded_bytes: 1 << 24 };
            let _ = decode(&whole, limits);
            let _ = decode(&[head, bytes].concat(), limits);
        }
    }
}
