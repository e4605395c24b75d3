//! A phantom chest radiograph: soft tissue, lungs, spine, heart, ribs, and for `pneumonia` cloudy
//! patches inside the lungs. A picture of no one, for exercising pipelines; not for judging models.

use core::f64::consts::TAU;

use super::person::Person;
use super::random::{Purpose, Stream, whole};
use crate::{Error, Result};

/// Width and height in pixels.
pub(super) const SIDE: u32 = 224;

/// One or two views of the same chest as 8-bit grey PNG.
pub(super) fn views(seed: u64, person: &Person) -> Result<Vec<Vec<u8>>> {
    let r = &mut Stream::new(seed, person.index, Purpose::Image);
    let count = 1 + usize::from(r.chance(0.3));
    let chest = Chest::new(r, person.pneumonia);
    (0..count).map(|_| png(&chest.view(r), person)).collect()
}

/// Shape of one chest; coordinates run from -1 to 1, y downwards.
struct Chest {
    lung_width: f64,
    lung_height: f64,
    heart: f64,
    rib_gap: f64,
    rib_start: f64,
    exposure: f64,
    texture: Noise,
    /// Centre, radius, density.
    patches: Vec<(f64, f64, f64, f64)>,
}

impl Chest {
    fn new(r: &mut Stream, pneumonia: bool) -> Self {
        let lung_width = r.between(0.27, 0.34);
        let lung_height = r.between(0.56, 0.68);
        let count = if pneumonia { 1 + r.below(3) } else { 0 };
        let patches = (0..count)
            .map(|_| {
                let side = if r.chance(0.5) { 1.0 } else { -1.0 };
                (
                    side * (0.42 + r.between(-0.14, 0.14)),
                    r.between(-0.25, 0.4),
                    r.between(0.1, 0.24),
                    r.between(0.16, 0.28),
                )
            })
            .collect();
        Self {
            lung_width,
            lung_height,
            heart: r.between(0.22, 0.3),
            rib_gap: r.between(0.145, 0.175),
            rib_start: r.between(-0.72, -0.62),
            exposure: r.between(0.88, 1.08),
            texture: Noise::new(r),
            patches,
        }
    }

    fn view(&self, r: &mut Stream) -> Vec<u8> {
        let (dx, dy, turn) = (
            r.between(-0.05, 0.05),
            r.between(-0.05, 0.05),
            r.between(-0.05, 0.05),
        );
        let (sine, cosine) = (libm::sin(turn), libm::cos(turn));
        let coordinate = |i: u32| (f64::from(i) + 0.5) / f64::from(SIDE) * 2.0 - 1.0;
        let mut pixels = Vec::with_capacity((SIDE * SIDE) as usize);
        for row in 0..SIDE {
            for column in 0..SIDE {
                let (u, v) = (coordinate(column) - dx, coordinate(row) - dy);
                let density = self.density(cosine * u + sine * v, cosine * v - sine * u);
                let grey = 255.0 * (density * self.exposure + 0.015 * r.normal());
                pixels.push(u8::try_from(whole(grey).clamp(0, 255)).unwrap_or(u8::MAX));
            }
        }
        pixels
    }

    /// How bright the film is at a point, 0 to about 1.
    fn density(&self, x: f64, y: f64) -> f64 {
        // Beyond five widths a bump is below 10^-10: not worth an exponential.
        let bump = |d: f64, width: f64| {
            let near = d < 5.0 * width && d > -5.0 * width;
            if near {
                libm::exp(-(d / width) * (d / width))
            } else {
                0.0
            }
        };
        let inside = |r2: f64, edge: f64| 1.0 / (1.0 + libm::exp((libm::sqrt(r2) - 1.0) * edge));
        let grain = self.texture.at(x, y);
        let x4 = (x / 0.97) * (x / 0.97);
        let y4 = (y / 1.25) * (y / 1.25);
        let body = inside(x4 * x4 + y4 * y4, 18.0);
        let from_middle = if x < 0.0 { -x } else { x };
        let lung_x = (from_middle - 0.42) / self.lung_width;
        let lung_y = (y + 0.04) / self.lung_height;
        let diaphragm = 1.0 / (1.0 + libm::exp(-(y - 0.56 + 0.35 * lung_x * lung_x * 0.3) * 30.0));
        let lung = inside(lung_x * lung_x + lung_y * lung_y, 14.0) * (1.0 - diaphragm);
        let heart_x = (x - 0.1) / self.heart;
        let heart_y = (y - 0.3) / 0.3;
        let heart = inside(heart_x * heart_x + heart_y * heart_y, 9.0);
        let mut film = 0.04 + body * (0.56 + 0.05 * grain);
        film -= 0.4 * lung * (1.0 - 0.8 * heart);
        film += body * 0.2 * bump(x, 0.07) * (1.0 + 0.12 * libm::sin(y * 26.0));
        film += 0.12 * heart * body;
        for rib in 0..9 {
            let height = self.rib_start + f64::from(rib) * self.rib_gap;
            let line = height + 0.55 * (from_middle - 0.35) * (from_middle - 0.35) - 0.05;
            film += 0.07 * bump(y - line, 0.022) * body * bump(from_middle - 0.45, 0.4);
        }
        film +=
            0.1 * bump(y + 0.74 - 0.22 * from_middle, 0.03) * body * bump(from_middle - 0.4, 0.35);
        film += 0.06 * lung * grain;
        for &(px, py, radius, density) in &self.patches {
            let distance2 = ((x - px) * (x - px) + (y - py) * (y - py)) / (radius * radius);
            film += density * lung * libm::exp(-distance2) * (1.0 + 0.6 * grain);
        }
        film
    }
}

/// Smooth noise: four random plane waves at each of three scales, in about -1 to 1.
struct Noise([(f64, f64, f64, f64); 12]);

impl Noise {
    fn new(r: &mut Stream) -> Self {
        Self(core::array::from_fn(|i| {
            let octave = f64::from(u8::try_from(i / 4).unwrap_or(0));
            let pitch = 6.0 * libm::exp2(octave) * r.between(0.8, 1.3);
            let angle = TAU * r.unit();
            let (sine, cosine) = (libm::sin(angle), libm::cos(angle));
            (
                pitch * cosine,
                pitch * sine,
                TAU * r.unit(),
                0.5 * libm::exp2(-octave),
            )
        }))
    }

    fn at(&self, x: f64, y: f64) -> f64 {
        self.0
            .iter()
            .map(|(a, b, phase, weight)| weight * libm::sin(a * x + b * y + phase))
            .sum()
    }
}

fn png(pixels: &[u8], person: &Person) -> Result<Vec<u8>> {
    let failed = |_| Error::Codec {
        codec: "PNG encoder",
    };
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, SIDE, SIDE);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    // The fast setting has one implementation whatever features others switch on.
    encoder.set_compression(png::Compression::Fast);
    let text = [
        ("Title", "SYNTHETIC chest phantom"),
        (
            "Description",
            "SYNTHETIC: drawn by a program, nobody's chest; not for diagnosis",
        ),
        ("Comment", person.image_class()),
    ];
    for (key, value) in text {
        encoder
            .add_text_chunk(key.to_owned(), value.to_owned())
            .map_err(failed)?;
    }
    let mut writer = encoder.write_header().map_err(failed)?;
    writer.write_image_data(pixels).map_err(failed)?;
    writer.finish().map_err(failed)?;
    Ok(out)
}
