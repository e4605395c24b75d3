//! Random changes to training images: mirror, rotation, zoom, shift, lighting, in one resampling.

use salus_proto::federated::{Augmentation, Network};

use crate::random::Seeded;

/// What makes network input of 8-bit pixels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Input {
    mean: f32,
    inverse: f32,
    side: usize,
}

impl Input {
    pub(crate) fn of(network: &Network) -> Self {
        Self {
            mean: network.input_mean.to_f64() as f32,
            inverse: (1.0 / network.input_deviation.to_f64()) as f32,
            side: usize::from(network.size_px),
        }
    }

    /// The image as it is.
    pub(crate) fn plain(self, pixels: &[u8], out: &mut [f32]) {
        for (out, p) in out.iter_mut().zip(pixels) {
            *out = (f32::from(*p) / 255.0 - self.mean) * self.inverse;
        }
    }

    /// The image changed at random. Pixels from beyond the border repeat the border.
    pub(crate) fn augmented(
        self,
        pixels: &[u8],
        how: &Augmentation,
        random: &mut Seeded,
        out: &mut [f32],
    ) {
        let flip = random.unit() < 0.5 && how.flip;
        let angle = (random.symmetric() * how.rotation_degrees.to_f64()).to_radians();
        let zoom = 1.0 + random.symmetric() * how.zoom.to_f64();
        let reach = how.shift.to_f64() * self.side as f64;
        let (right, down) = (random.symmetric() * reach, random.symmetric() * reach);
        let lighting = how.lighting.to_f64();
        let contrast = (1.0 + random.symmetric() * lighting) as f32;
        let brightness = (random.symmetric() * lighting * 0.5) as f32;

        let centre = (self.side as f64 - 1.0) / 2.0;
        let (sin, cos) = ((angle.sin() / zoom) as f32, (angle.cos() / zoom) as f32);
        let (cx, cy) = ((centre + right) as f32, (centre + down) as f32);
        let mirror = if flip { -1.0 } else { 1.0 };
        let planes = out.chunks_exact_mut(self.side * self.side);
        for (out, pixels) in planes.zip(pixels.chunks_exact(self.side * self.side)) {
            for (y, row) in out.chunks_exact_mut(self.side).enumerate() {
                let dy = y as f32 - centre as f32;
                for (x, out) in row.iter_mut().enumerate() {
                    let dx = (x as f32 - centre as f32) * mirror;
                    let value = bilinear(
                        pixels,
                        self.side,
                        cx + cos * dx - sin * dy,
                        cy + sin * dx + cos * dy,
                    );
                    let lit = ((value / 255.0 - 0.5) * contrast + 0.5 + brightness).clamp(0.0, 1.0);
                    *out = (lit - self.mean) * self.inverse;
                }
            }
        }
    }
}

fn bilinear(pixels: &[u8], side: usize, x: f32, y: f32) -> f32 {
    let last = (side - 1) as f32;
    let (x, y) = (x.clamp(0.0, last), y.clamp(0.0, last));
    let (x0, y0) = (x as usize, y as usize);
    let (x1, y1) = ((x0 + 1).min(side - 1), (y0 + 1).min(side - 1));
    let (fx, fy) = (x - x0 as f32, y - y0 as f32);
    let at = |x: usize, y: usize| f32::from(pixels[y * side + x]);
    let top = at(x0, y0) + (at(x1, y0) - at(x0, y0)) * fx;
    let bottom = at(x0, y1) + (at(x1, y1) - at(x0, y1)) * fx;
    top + (bottom - top) * fy
}

#[cfg(test)]
mod tests {
    use salus_proto::federated::Micro;

    use super::*;

    const INPUT: Input = Input {
        mean: 0.0,
        inverse: 1.0,
        side: 28,
    };

    fn picture() -> Vec<u8> {
        (0..784).map(|i| (i % 28 * 9) as u8).collect()
    }

    #[test]
    fn no_augmentation_changes_nothing() {
        let (mut plain, mut same) = (vec![0.0; 784], vec![0.0; 784]);
        INPUT.plain(&picture(), &mut plain);
        INPUT.augmented(
            &picture(),
            &Augmentation::default(),
            &mut Seeded::new(1, &[]),
            &mut same,
        );
        assert!(plain.iter().zip(&same).all(|(a, b)| (a - b).abs() < 1e-6));
    }

    #[test]
    fn a_mirrored_image_runs_the_other_way_and_only_where_allowed() {
        let runs_left = |how: &Augmentation| {
            (0..40)
                .filter(|seed| {
                    let mut out = vec![0.0; 784];
                    INPUT.augmented(&picture(), how, &mut Seeded::new(*seed, &[]), &mut out);
                    out[0] > out[27]
                })
                .count()
        };
        let flipped = runs_left(&Augmentation {
            flip: true,
            ..Augmentation::default()
        });
        assert!((8..32).contains(&flipped), "{flipped}");
        let small = Augmentation {
            flip: false,
            rotation_degrees: Micro(10_000_000),
            zoom: Micro(100_000),
            shift: Micro(50_000),
            lighting: Micro(100_000),
        };
        assert_eq!(runs_left(&small), 0);
    }
}
