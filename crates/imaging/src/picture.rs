//! Decoding PNG and JPEG into the planes that a network reads: bounded, 8 bits a channel.

use std::io::Cursor;

use image::imageops::FilterType;
use image::{DynamicImage, ImageReader, Limits};

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
    /// Decodes PNG or JPEG bytes and scales them to `side` pixels square, without keeping the aspect,
    /// with a Lanczos filter.
    pub fn decode(bytes: &[u8], channels: u8, side: u16) -> Result<Self, Error> {
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
