//! Decoding PNG, JPEG and DICOM into the planes that a network reads: bounded, 8 bits a channel.

use std::io::Cursor;

use image::imageops::FilterType;
use image::{DynamicImage, ImageReader, Limits};
use salus_clinical::dicom;

use crate::Error;

/// Largest encoded image that is read, bytes.
pub const FILE_LIMIT_BYTES: u64 = 64 << 20;
/// Largest width or height that is decoded, pixels.
pub const SIDE_LIMIT_PX: u32 = 16_384;
/// Memory that decoding one image may take, bytes.
const DECODER_LIMIT_BYTES: u64 = 1 << 30;

/// An image of one size as planes: channel by channel, row by row, one byte a pixel.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// 1 (grey) or 3 (red, green, blue).
    pub channels: usize,
    /// Width and height, pixels.
    pub side: usize,
    /// `channels × side × side` values.
    pub planes: Vec<u8>,
    /// Mean absolute difference between colour channels, 0..255; near zero for a radiograph.
    pub colour: f32,
    /// Width divided by height before scaling.
    pub aspect: f32,
}

impl Picture {
    /// Decodes PNG, JPEG or DICOM bytes and scales them to `side` pixels square, without keeping the
    /// aspect, with a Lanczos filter. Of several DICOM frames the first counts.
    pub fn decode(bytes: &[u8], channels: u8, side: u16) -> Result<Self, Error> {
        if bytes.get(128..132) == Some(b"DICM".as_slice()) {
            return Ok(Self::scaled(&dicom_frame(bytes)?, channels, side));
        }
        let wrong = |e: &dyn std::fmt::Display| Error::Image(e.to_string());
        let mut reader = ImageReader::new(Cursor::new(bytes))
            .with_guessed_format()
            .map_err(|e| wrong(&e))?;
        let mut limits = Limits::default();
        limits.max_image_width = Some(SIDE_LIMIT_PX);
        limits.max_image_height = Some(SIDE_LIMIT_PX);
        limits.max_alloc = Some(DECODER_LIMIT_BYTES);
        reader.limits(limits);
        let image = reader.decode().map_err(|e| wrong(&e))?;
        Ok(Self::scaled(&image, channels, side))
    }

    /// Takes 8-bit grey pixels, row by row, and scales them.
    pub fn from_grey(
        pixels: Vec<u8>,
        [width, height]: [u32; 2],
        channels: u8,
        side: u16,
    ) -> Result<Self, Error> {
        let grey = image::GrayImage::from_raw(width, height, pixels)
            .filter(|_| width > 0 && height > 0)
            .ok_or_else(|| Error::Image("the pixels do not fill the image".into()))?;
        Ok(Self::scaled(
            &DynamicImage::ImageLuma8(grey),
            channels,
            side,
        ))
    }

    fn scaled(image: &DynamicImage, channels: u8, side: u16) -> Self {
        let aspect = image.width() as f32 / image.height().max(1) as f32;
        let size = u32::from(side);
        let image = if (image.width(), image.height()) == (size, size) {
            image.clone()
        } else {
            image.resize_exact(size, size, FilterType::Lanczos3)
        };
        let colour = if image.color().has_color() {
            colourfulness(&image)
        } else {
            0.0
        };
        let planes = if channels == 1 {
            image.to_luma8().into_raw()
        } else {
            let rgb = image.to_rgb8();
            (0..3)
                .flat_map(|c| rgb.pixels().map(move |p| p.0[c]))
                .collect()
        };
        Self {
            channels: usize::from(channels),
            side: usize::from(side),
            planes,
            colour,
            aspect,
        }
    }
}

/// Share of DICOM samples at either end that turn black or white.
const TAIL: f64 = 0.005;

/// The first frame as 8 bits. Grey samples are spread from their darkest to their brightest, without
/// the outermost half per cent: detectors differ in range and burnt-in marks are brighter than tissue.
fn dicom_frame(bytes: &[u8]) -> Result<DynamicImage, Error> {
    let limit = DECODER_LIMIT_BYTES as usize;
    let limits = dicom::Limits {
        bytes: FILE_LIMIT_BYTES as usize,
        decoded_bytes: limit,
    };
    let pixels = dicom::pixels(bytes, &limits).map_err(|e| Error::Image(e.to_string()))?;
    let (width, height) = (u32::from(pixels.columns), u32::from(pixels.rows));
    let count = usize::from(pixels.columns) * usize::from(pixels.rows);
    let short = || Error::Image("the DICOM frame is incomplete".into());
    match (
        pixels.samples_per_pixel,
        pixels.bits_allocated,
        pixels.photometric.as_str(),
    ) {
        (3, 8, "RGB") => {
            let frame = pixels.data.get(..3 * count).ok_or_else(short)?.to_vec();
            image::RgbImage::from_raw(width, height, frame)
                .map(DynamicImage::ImageRgb8)
                .ok_or_else(short)
        }
        (1, bits @ (8 | 16 | 32), "MONOCHROME1" | "MONOCHROME2") => {
            let size = usize::from(bits / 8);
            let frame = pixels.data.get(..size * count).ok_or_else(short)?;
            let samples: Vec<i64> = frame
                .chunks_exact(size)
                .map(|s| sample(s, pixels.signed))
                .collect();
            let grey = spread(&samples, pixels.photometric == "MONOCHROME1");
            image::GrayImage::from_raw(width, height, grey)
                .map(DynamicImage::ImageLuma8)
                .ok_or_else(short)
        }
        (samples, bits, kind) => Err(Error::Image(format!(
            "DICOM pixels of kind {kind}, {samples} × {bits} bits"
        ))),
    }
}

/// A little-endian sample of one, two or four bytes.
fn sample(bytes: &[u8], signed: bool) -> i64 {
    let mut wide = [0; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    let value = i64::from_le_bytes(wide);
    let bits = 8 * bytes.len() as u32;
    if signed && value >> (bits - 1) == 1 {
        value - (1 << bits)
    } else {
        value
    }
}

fn spread(samples: &[i64], low_is_bright: bool) -> Vec<u8> {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    let at = |q: f64| {
        sorted
            .get((sorted.len().saturating_sub(1) as f64 * q) as usize)
            .copied()
            .unwrap_or(0)
    };
    let (low, high) = (at(TAIL), at(1.0 - TAIL));
    let range = (high - low).max(1) as f64;
    let byte = |v: &i64| {
        let value = (255.0 * (v - low) as f64 / range).round().clamp(0.0, 255.0) as u8;
        if low_is_bright { 255 - value } else { value }
    };
    samples.iter().map(byte).collect()
}

fn colourfulness(image: &DynamicImage) -> f32 {
    let rgb = image.to_rgb8();
    let spread = |p: &image::Rgb<u8>| {
        let [r, g, b] = p.0;
        u64::from(r.max(g).max(b) - r.min(g).min(b))
    };
    let total: u64 = rgb.pixels().map(spread).sum();
    total as f32 / (u64::from(rgb.width()) * u64::from(rgb.height())).max(1) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png(image: &DynamicImage) -> Vec<u8> {
        let mut out = Cursor::new(Vec::new());
        image.write_to(&mut out, image::ImageFormat::Png).unwrap();
        out.into_inner()
    }

    #[test]
    fn grey_and_colour_images_become_planes() {
        let mut rgb = image::RgbImage::new(40, 20);
        rgb.pixels_mut().for_each(|p| p.0 = [200, 100, 0]);
        let bytes = png(&DynamicImage::ImageRgb8(rgb));
        let picture = Picture::decode(&bytes, 3, 28).unwrap();
        assert_eq!(picture.planes.len(), 3 * 28 * 28);
        assert_eq!(
            [picture.planes[0], picture.planes[784], picture.planes[1568]],
            [200, 100, 0]
        );
        assert!((picture.colour - 200.0).abs() < 1.0 && (picture.aspect - 2.0).abs() < 1e-6);
        assert_eq!(Picture::decode(&bytes, 1, 28).unwrap().planes.len(), 784);
        let grey = Picture::from_grey(vec![7; 12], [4, 3], 1, 28).unwrap();
        assert!(grey.planes.iter().all(|p| *p == 7) && grey.colour < 1e-6);
        assert!(Picture::from_grey(vec![7; 11], [4, 3], 1, 28).is_err());
    }

    #[test]
    fn dicom_samples_spread_over_all_greys_and_low_may_be_bright() {
        let samples: Vec<i64> = (0..1000).map(|i| i - 500).collect();
        let grey = spread(&samples, false);
        assert_eq!((grey[0], grey[500], grey[999]), (0, 128, 255));
        assert_eq!(spread(&samples, true)[999], 0);
        assert_eq!(spread(&[7, 7], false), [0, 0]);
        assert_eq!(
            (sample(&[0xFF, 0xFF], true), sample(&[0xFF, 0xFF], false)),
            (-1, 65_535)
        );
    }

    #[test]
    fn real_dicom_radiographs_become_planes() {
        let folder = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../../shared/data/dicom/valid"
        );
        let Ok(entries) = std::fs::read_dir(folder) else {
            println!("skipped: the shared sample data is not beside this repository");
            return;
        };
        let mut decoded = 0;
        for entry in entries {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            if let Ok(picture) = Picture::decode(&bytes, 1, 64) {
                assert_eq!(picture.planes.len(), 64 * 64);
                decoded += 1;
            }
        }
        assert!(decoded >= 10, "{decoded}");
    }

    #[test]
    fn bytes_that_are_no_image_are_refused() {
        let bytes = png(&DynamicImage::new_luma8(16, 16));
        for length in 0..bytes.len().min(60) {
            assert!(
                Picture::decode(&bytes[..length], 1, 28).is_err(),
                "{length}"
            );
        }
        assert!(Picture::decode(b"GIF89a", 1, 28).is_err());
    }
}
