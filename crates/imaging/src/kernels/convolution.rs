//! Convolution by matrix products over image columns that stay in the processor's cache.

use rayon::prelude::*;

use super::{View, lanes, multiply, scratch, vectorised};

/// Floats in one tile of image columns: 512 KiB, half of a usual level-2 cache.
const TILE: usize = 1 << 17;
/// Below this many output pixels several images share one product.
const SMALL_IMAGE: usize = 192;
/// Columns that such a shared product aims at.
const SHARED_COLUMNS: usize = 512;

/// A convolution with a square kernel, the same stride and padding on every side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Convolution {
    pub(crate) images: usize,
    pub(crate) from: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) to: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) padding: usize,
}

/// Some rows of the output of one image.
#[derive(Clone, Copy)]
struct Rows {
    first: usize,
    end: usize,
}

impl Convolution {
    pub(crate) fn out_height(&self) -> usize {
        (self.height + 2 * self.padding - self.kernel) / self.stride + 1
    }

    pub(crate) fn out_width(&self) -> usize {
        (self.width + 2 * self.padding - self.kernel) / self.stride + 1
    }

    fn out_pixels(&self) -> usize {
        self.out_height() * self.out_width()
    }

    /// Weights of one output channel: rows of the column matrix.
    fn depth(&self) -> usize {
        self.from * self.kernel * self.kernel
    }

    fn image_length(&self) -> usize {
        self.from * self.height * self.width
    }

    /// A kernel of one pixel reads the image as it lies.
    fn is_pointwise(&self) -> bool {
        self.kernel == 1 && self.stride == 1 && self.padding == 0
    }

    fn images_together(&self) -> usize {
        SHARED_COLUMNS
            .div_ceil(self.out_pixels())
            .min(self.images.div_ceil(4))
            .max(1)
    }

    fn rows_together(&self, depth: usize) -> usize {
        (TILE / (depth * self.out_width())).clamp(1, self.out_height())
    }

    /// Writes the columns of some output rows of one image, for input channels `channels`, into
    /// `out`, whose rows are `pitch` apart.
    fn columns(
        &self,
        image: &[f32],
        channels: std::ops::Range<usize>,
        rows: Rows,
        out: &mut [f32],
        pitch: usize,
    ) {
        let (width, plane) = (self.out_width(), self.height * self.width);
        let mut line = 0;
        for channel in channels {
            let source = &image[channel * plane..(channel + 1) * plane];
            for ky in 0..self.kernel {
                for kx in 0..self.kernel {
                    let mut at = line * pitch;
                    line += 1;
                    for row in rows.first..rows.end {
                        let target = &mut out[at..at + width];
                        at += width;
                        let y = (row * self.stride + ky).checked_sub(self.padding);
                        match y.filter(|y| *y < self.height) {
                            Some(y) => {
                                self.column_row(
                                    &source[y * self.width..][..self.width],
                                    kx,
                                    target,
                                );
                            }
                            None => target.fill(0.0),
                        }
                    }
                }
            }
        }
    }

    fn column_row(&self, source: &[f32], kx: usize, target: &mut [f32]) {
        if self.stride == 1 {
            let from = self.padding.saturating_sub(kx).min(target.len());
            let to = (self.width + self.padding - kx).min(target.len()).max(from);
            target[..from].fill(0.0);
            target[to..].fill(0.0);
            let start = from + kx - self.padding;
            target[from..to].copy_from_slice(&source[start..start + to - from]);
        } else {
            for (i, value) in target.iter_mut().enumerate() {
                let x = (i * self.stride + kx).checked_sub(self.padding);
                *value = x.and_then(|x| source.get(x)).copied().unwrap_or(0.0);
            }
        }
    }

    /// `y = x ∗ w (+ bias)`.
    pub(crate) fn forward(&self, x: &[f32], w: &[f32], bias: Option<&[f32]>, y: &mut [f32]) {
        let (pixels, depth, length) = (self.out_pixels(), self.depth(), self.image_length());
        if pixels >= SMALL_IMAGE {
            let tasks = y.par_chunks_mut(self.to * pixels).zip(x.par_chunks(length));
            tasks.for_each(|(y, x)| self.forward_large(x, w, y));
        } else {
            let together = self.images_together();
            let tasks = y.par_chunks_mut(together * self.to * pixels);
            tasks
                .zip(x.par_chunks(together * length))
                .for_each(|(y, x)| {
                    let columns = x.len() / length * pixels;
                    scratch(depth * columns + self.to * columns, |buffer| {
                        let (packed, product) = buffer.split_at_mut(depth * columns);
                        let all = Rows {
                            first: 0,
                            end: self.out_height(),
                        };
                        for (i, image) in x.chunks_exact(length).enumerate() {
                            self.columns(
                                image,
                                0..self.from,
                                all,
                                &mut packed[i * pixels..],
                                columns,
                            );
                        }
                        let shape = [self.to, columns, depth];
                        let (vw, vp) = (View::rows(depth), View::rows(columns));
                        multiply(shape, product, vp, false, w, vw, packed, vp);
                        for (i, image) in y.chunks_exact_mut(self.to * pixels).enumerate() {
                            for (c, plane) in image.chunks_exact_mut(pixels).enumerate() {
                                plane.copy_from_slice(
                                    &product[c * columns + i * pixels..][..pixels],
                                );
                            }
                        }
                    });
                });
        }
        if let Some(bias) = bias {
            y.par_chunks_mut(self.to * pixels).for_each(|image| {
                for (plane, bias) in image.chunks_exact_mut(pixels).zip(bias) {
                    plane.iter_mut().for_each(|v| *v += bias);
                }
            });
        }
    }

    fn forward_large(&self, x: &[f32], w: &[f32], y: &mut [f32]) {
        let (pixels, depth) = (self.out_pixels(), self.depth());
        if self.is_pointwise() {
            let shape = [self.to, pixels, depth];
            multiply(
                shape,
                y,
                View::rows(pixels),
                false,
                w,
                View::rows(depth),
                x,
                View::rows(pixels),
            );
            return;
        }
        let step = self.rows_together(depth);
        for first in (0..self.out_height()).step_by(step) {
            let rows = Rows {
                first,
                end: (first + step).min(self.out_height()),
            };
            let columns = (rows.end - first) * self.out_width();
            scratch(depth * columns, |packed| {
                self.columns(x, 0..self.from, rows, packed, columns);
                let vy = View::rows(pixels).at(first * self.out_width());
                let shape = [self.to, columns, depth];
                multiply(
                    shape,
                    y,
                    vy,
                    false,
                    w,
                    View::rows(depth),
                    packed,
                    View::rows(columns),
                );
            });
        }
    }

    /// The gradient of the input.
    pub(crate) fn input_gradient(&self, w: &[f32], dy: &[f32], dx: &mut [f32]) {
        if self.stride == 1 {
            // A convolution of the output's gradient with the kernel turned round.
            let area = self.kernel * self.kernel;
            let mut turned = vec![0.0; w.len()];
            for o in 0..self.to {
                for c in 0..self.from {
                    for q in 0..area {
                        turned[(c * self.to + o) * area + area - 1 - q] =
                            w[(o * self.from + c) * area + q];
                    }
                }
            }
            let back = Self {
                from: self.to,
                to: self.from,
                height: self.out_height(),
                width: self.out_width(),
                padding: self.kernel - 1 - self.padding,
                ..*self
            };
            return back.forward(dy, &turned, None, dx);
        }
        let (pixels, depth, length) = (self.out_pixels(), self.depth(), self.image_length());
        let together = self.images_together();
        let tasks = dx.par_chunks_mut(length * together);
        tasks
            .zip(dy.par_chunks(self.to * pixels * together))
            .for_each(|(dx, dy)| {
                let columns = dx.len() / length * pixels;
                scratch((self.to + depth) * columns, |buffer| {
                    let (gathered, packed) = buffer.split_at_mut(self.to * columns);
                    gather(dy, self.to, pixels, gathered);
                    let (vw, vc) = (View::columns(depth), View::rows(columns));
                    multiply(
                        [depth, columns, self.to],
                        packed,
                        vc,
                        false,
                        w,
                        vw,
                        gathered,
                        vc,
                    );
                    dx.fill(0.0);
                    for (i, image) in dx.chunks_exact_mut(length).enumerate() {
                        self.scatter(&packed[i * pixels..], columns, image);
                    }
                });
            });
    }

    /// Adds columns back to the pixels that they came from.
    fn scatter(&self, packed: &[f32], pitch: usize, image: &mut [f32]) {
        let width = self.out_width();
        let mut line = 0;
        for plane in image.chunks_exact_mut(self.height * self.width) {
            for ky in 0..self.kernel {
                for kx in 0..self.kernel {
                    let source = &packed[line * pitch..];
                    line += 1;
                    for row in 0..self.out_height() {
                        let y = (row * self.stride + ky).checked_sub(self.padding);
                        let Some(y) = y.filter(|y| *y < self.height) else {
                            continue;
                        };
                        let target = &mut plane[y * self.width..][..self.width];
                        for (i, value) in source[row * width..][..width].iter().enumerate() {
                            let x = (i * self.stride + kx).checked_sub(self.padding);
                            if let Some(pixel) = x.and_then(|x| target.get_mut(x)) {
                                *pixel += value;
                            }
                        }
                    }
                }
            }
        }
    }

    /// The gradient of the weights.
    pub(crate) fn weight_gradient(&self, x: &[f32], dy: &[f32], dw: &mut [f32]) {
        if self.from * self.to >= 64 * 64 {
            self.weight_gradient_by_channel(x, dy, dw);
        } else {
            self.weight_gradient_by_image(x, dy, dw);
        }
    }

    /// Many weights: each task owns some input channels, so nothing is added across tasks.
    fn weight_gradient_by_channel(&self, x: &[f32], dy: &[f32], dw: &mut [f32]) {
        let (pixels, area, length) = (
            self.out_pixels(),
            self.kernel * self.kernel,
            self.image_length(),
        );
        let (parts, height) = ((self.from / 8).clamp(1, 8), self.out_height());
        let share = self.from.div_ceil(parts);
        let together = if pixels >= SMALL_IMAGE {
            1
        } else {
            SHARED_COLUMNS.div_ceil(pixels).min(self.images)
        };
        let results: Vec<Vec<f32>> = (0..parts)
            .into_par_iter()
            .map(|part| {
                let channels = part * share..((part + 1) * share).min(self.from);
                let depth = channels.len() * area;
                let step = if together > 1 {
                    height
                } else {
                    self.rows_together(depth.max(1))
                };
                let mut sum = vec![0.0; self.to * depth];
                let batches = x
                    .chunks(together * length)
                    .zip(dy.chunks(together * self.to * pixels));
                for (x, dy) in batches {
                    for first in (0..height).step_by(step) {
                        let rows = Rows {
                            first,
                            end: (first + step).min(height),
                        };
                        let tile = (rows.end - first) * self.out_width();
                        let columns = x.len() / length * tile;
                        scratch((depth + self.to) * columns, |buffer| {
                            let (packed, gathered) = buffer.split_at_mut(depth * columns);
                            for (i, image) in x.chunks_exact(length).enumerate() {
                                self.columns(
                                    image,
                                    channels.clone(),
                                    rows,
                                    &mut packed[i * tile..],
                                    columns,
                                );
                            }
                            let (vs, vp) = (View::rows(depth), View::columns(columns));
                            let shape = [self.to, depth, columns];
                            if x.len() == length {
                                let vd = View::rows(pixels).at(first * self.out_width());
                                multiply(shape, &mut sum, vs, true, dy, vd, packed, vp);
                            } else {
                                gather(dy, self.to, pixels, gathered);
                                multiply(
                                    shape,
                                    &mut sum,
                                    vs,
                                    true,
                                    gathered,
                                    View::rows(columns),
                                    packed,
                                    vp,
                                );
                            }
                        });
                    }
                }
                sum
            })
            .collect();
        for (part, sum) in results.iter().enumerate() {
            let (start, depth) = (part * share * area, sum.len() / self.to);
            for o in 0..self.to {
                dw[o * self.depth() + start..][..depth].copy_from_slice(&sum[o * depth..][..depth]);
            }
        }
    }

    /// Few weights and large images: each task owns some images; the parts are added in order.
    fn weight_gradient_by_image(&self, x: &[f32], dy: &[f32], dw: &mut [f32]) {
        let (pixels, depth, length) = (self.out_pixels(), self.depth(), self.image_length());
        let together = self.images.div_ceil(8).max(1);
        let step = self.rows_together(depth);
        let parts: Vec<Vec<f32>> = x
            .par_chunks(together * length)
            .zip(dy.par_chunks(together * self.to * pixels))
            .map(|(x, dy)| {
                let mut sum = vec![0.0; self.to * depth];
                for (x, dy) in x
                    .chunks_exact(length)
                    .zip(dy.chunks_exact(self.to * pixels))
                {
                    for first in (0..self.out_height()).step_by(step) {
                        let rows = Rows {
                            first,
                            end: (first + step).min(self.out_height()),
                        };
                        let columns = (rows.end - first) * self.out_width();
                        let (vs, vd) = (
                            View::rows(depth),
                            View::rows(pixels).at(first * self.out_width()),
                        );
                        let shape = [self.to, depth, columns];
                        if self.is_pointwise() {
                            let vx = View::columns(pixels).at(vd.offset);
                            multiply(shape, &mut sum, vs, true, dy, vd, x, vx);
                        } else {
                            scratch(depth * columns, |packed| {
                                self.columns(x, 0..self.from, rows, packed, columns);
                                multiply(
                                    shape,
                                    &mut sum,
                                    vs,
                                    true,
                                    dy,
                                    vd,
                                    packed,
                                    View::columns(columns),
                                );
                            });
                        }
                    }
                }
                sum
            })
            .collect();
        dw.fill(0.0);
        for part in parts {
            for (d, v) in dw.iter_mut().zip(part) {
                *d += v;
            }
        }
    }

    /// The gradient of the bias.
    pub(crate) fn bias_gradient(&self, dy: &[f32]) -> Vec<f32> {
        let pixels = self.out_pixels();
        (0..self.to)
            .into_par_iter()
            .map(|c| {
                let planes = dy.chunks_exact(pixels).skip(c).step_by(self.to);
                vectorised(|| planes.map(|p| f64::from(lanes(p))).sum::<f64>()) as f32
            })
            .collect()
    }
}

/// Turns N × C × pixels into C × (N·pixels).
fn gather(images: &[f32], channels: usize, pixels: usize, out: &mut [f32]) {
    let columns = images.len() / channels;
    for (i, image) in images.chunks_exact(channels * pixels).enumerate() {
        for (c, plane) in image.chunks_exact(pixels).enumerate() {
            out[c * columns + i * pixels..][..pixels].copy_from_slice(plane);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{dot, numbers};
    use super::*;

    /// The definition, written down without any trick.
    fn by_definition(s: &Convolution, x: &[f32], w: &[f32]) -> Vec<f32> {
        let (height, width) = (s.out_height(), s.out_width());
        let mut y = Vec::new();
        for n in 0..s.images {
            for o in 0..s.to {
                for r in 0..height {
                    for q in 0..width {
                        let mut sum = 0.0;
                        for c in 0..s.from {
                            for ky in 0..s.kernel {
                                for kx in 0..s.kernel {
                                    let (iy, ix) = (r * s.stride + ky, q * s.stride + kx);
                                    let inside = (s.padding..s.height + s.padding).contains(&iy)
                                        && (s.padding..s.width + s.padding).contains(&ix);
                                    if inside {
                                        let at = ((n * s.from + c) * s.height + iy - s.padding)
                                            * s.width;
                                        let k = ((o * s.from + c) * s.kernel + ky) * s.kernel + kx;
                                        sum += x[at + ix - s.padding] * w[k];
                                    }
                                }
                            }
                        }
                        y.push(sum);
                    }
                }
            }
        }
        y
    }

    #[test]
    fn output_and_gradients_follow_the_definition() {
        let shape = |images, from, side, to, kernel, stride, padding| Convolution {
            images,
            from,
            height: side,
            width: side - 1,
            to,
            kernel,
            stride,
            padding,
        };
        for s in [
            shape(3, 3, 40, 8, 3, 1, 1),
            shape(5, 64, 7, 72, 3, 1, 1),
            shape(3, 64, 15, 64, 3, 2, 1),
            shape(2, 64, 14, 128, 1, 2, 0),
            shape(4, 16, 20, 8, 1, 1, 0),
            shape(9, 1, 28, 8, 5, 1, 2),
            shape(2, 3, 33, 16, 7, 2, 3),
            shape(1, 64, 16, 64, 3, 1, 1),
        ] {
            let x = numbers(s.images * s.image_length(), 1);
            let (w, bias) = (numbers(s.to * s.depth(), 2), numbers(s.to, 5));
            let want = by_definition(&s, &x, &w);
            let mut y = vec![9.0; want.len()];
            s.forward(&x, &w, None, &mut y);
            for (a, b) in y.iter().zip(&want) {
                assert!((a - b).abs() < 1e-3, "{s:?} {a} {b}");
            }
            let mut shifted = vec![9.0; want.len()];
            s.forward(&x, &w, Some(&bias), &mut shifted);
            assert!((shifted[0] - y[0] - bias[0]).abs() < 1e-4);

            // The output is linear in x and in w, so gradients are checked by inner products.
            let dy = numbers(y.len(), 3);
            let (mut dx, mut dw) = (vec![9.0; x.len()], vec![9.0; w.len()]);
            s.input_gradient(&w, &dy, &mut dx);
            s.weight_gradient(&x, &dy, &mut dw);
            let (x2, w2) = (numbers(x.len(), 7), numbers(w.len(), 8));
            let close = |a: f64, b: f64| (a - b).abs() < 1e-3 * a.abs().max(1.0);
            let (l, r) = (dot(&dy, &by_definition(&s, &x2, &w)), dot(&dx, &x2));
            assert!(close(l, r), "input {s:?} {l} {r}");
            let (l, r) = (dot(&dy, &by_definition(&s, &x, &w2)), dot(&dw, &w2));
            assert!(close(l, r), "weights {s:?} {l} {r}");
            let db = s.bias_gradient(&dy);
            let l: f64 = db.iter().map(|v| f64::from(*v)).sum();
            let r: f64 = dy.iter().map(|v| f64::from(*v)).sum();
            assert!(close(l, r), "bias {s:?} {l} {r}");
        }
    }
}
