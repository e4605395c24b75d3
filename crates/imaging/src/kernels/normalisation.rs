//! Normalisation fused with the activation after it: `y = leaky(γ·(x − mean)/√(var + ε) + β)`.
//!
//! A *set* is what shares one mean and variance: a channel over the whole batch (batch
//! normalisation) or a group of channels of one image (group normalisation). A leak of 1 means no
//! activation, 0 means ReLU.

use rayon::prelude::*;

use super::vectorised;

/// Added to the variance, PyTorch's default.
pub(crate) const EPSILON: f64 = 1e-5;

/// The shape of the input and what is normalised together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Normalisation {
    pub(crate) channels: usize,
    pub(crate) pixels: usize,
    /// Groups of channels in an image; zero means batch normalisation.
    pub(crate) groups: usize,
    /// Factor for negative outputs.
    pub(crate) leak: f32,
}

/// Mean and population variance of every set.
#[derive(Debug, Clone, Default)]
pub(crate) struct Moments {
    pub(crate) means: Vec<f32>,
    pub(crate) variances: Vec<f32>,
}

/// Gradients of everything but the input.
#[derive(Debug, Clone)]
pub(crate) struct Gradients {
    pub(crate) gamma: Vec<f32>,
    pub(crate) beta: Vec<f32>,
}

/// Sums of `d` and `d²` over `values − shift`, in a fixed order.
#[inline(always)]
fn sums(values: &[f32], shift: f32) -> (f64, f64) {
    let (mut first, mut second) = (0.0f64, 0.0f64);
    for block in values.chunks(1024) {
        let (mut a, mut q) = ([0.0f32; 32], [0.0f32; 32]);
        let (chunks, rest) = block.as_chunks::<32>();
        for chunk in chunks {
            for i in 0..32 {
                let d = chunk[i] - shift;
                a[i] += d;
                q[i] += d * d;
            }
        }
        let (mut sa, mut sq) = (a.iter().sum::<f32>(), q.iter().sum::<f32>());
        for v in rest {
            let d = v - shift;
            sa += d;
            sq += d * d;
        }
        first += f64::from(sa);
        second += f64::from(sq);
    }
    (first, second)
}

#[inline(always)]
fn scale_shift(x: &[f32], scale: f32, shift: f32, leak: f32, y: &mut [f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        let v = x * scale + shift;
        *y = if v >= 0.0 { v } else { v * leak };
    }
}

/// Sums of `g` and `g·(x − mean)`, where `g` is the gradient before the activation.
#[inline(always)]
fn gradient_sums(x: &[f32], dy: &[f32], line: Line) -> (f64, f64) {
    let (mut first, mut second) = (0.0f64, 0.0f64);
    for (x, dy) in x.chunks(1024).zip(dy.chunks(1024)) {
        let (mut p, mut q) = ([0.0f32; 32], [0.0f32; 32]);
        let ((xs, xr), (gs, gr)) = (x.as_chunks::<32>(), dy.as_chunks::<32>());
        for (x, g) in xs.iter().zip(gs) {
            for i in 0..32 {
                let g = line.before(x[i], g[i]);
                p[i] += g;
                q[i] += g * (x[i] - line.mean);
            }
        }
        let (mut sp, mut sq) = (p.iter().sum::<f32>(), q.iter().sum::<f32>());
        for (x, g) in xr.iter().zip(gr) {
            let g = line.before(*x, *g);
            sp += g;
            sq += g * (x - line.mean);
        }
        first += f64::from(sp);
        second += f64::from(sq);
    }
    (first, second)
}

/// `dx = own·g + slope·x + constant`.
#[inline(always)]
fn input_line(
    x: &[f32],
    dy: &[f32],
    line: Line,
    own: f32,
    slope: f32,
    constant: f32,
    dx: &mut [f32],
) {
    for ((dx, x), g) in dx.iter_mut().zip(x).zip(dy) {
        *dx = line.before(*x, *g) * own + (x * slope + constant);
    }
}

/// One channel's way from input to output within its set.
#[derive(Clone, Copy)]
struct Line {
    scale: f32,
    shift: f32,
    mean: f32,
    leak: f32,
}

impl Line {
    fn new(mean: f32, variance: f32, gamma: f32, beta: f32, leak: f32) -> Self {
        let scale = f64::from(gamma) * inverse(variance);
        let shift = f64::from(beta) - f64::from(mean) * scale;
        Self {
            scale: scale as f32,
            shift: shift as f32,
            mean,
            leak,
        }
    }

    /// The gradient before the activation.
    #[inline(always)]
    fn before(self, x: f32, dy: f32) -> f32 {
        if x * self.scale + self.shift >= 0.0 {
            dy
        } else {
            dy * self.leak
        }
    }
}

fn inverse(variance: f32) -> f64 {
    1.0 / (f64::from(variance) + EPSILON).sqrt()
}

fn moments(shift: f32, (first, second): (f64, f64), count: usize) -> (f32, f32) {
    let count = count as f64;
    let d = first / count;
    (
        (f64::from(shift) + d) as f32,
        (second / count - d * d).max(0.0) as f32,
    )
}

impl Normalisation {
    fn image(&self) -> usize {
        self.channels * self.pixels
    }

    /// Normalises and returns the moments that the gradient needs.
    pub(crate) fn forward(&self, x: &[f32], gamma: &[f32], beta: &[f32], y: &mut [f32]) -> Moments {
        let moments = if self.groups == 0 {
            self.batch_moments(x)
        } else {
            self.group_moments(x)
        };
        self.apply(x, gamma, beta, &moments, y);
        moments
    }

    /// Normalises with given moments (running statistics).
    pub(crate) fn apply(
        &self,
        x: &[f32],
        gamma: &[f32],
        beta: &[f32],
        moments: &Moments,
        y: &mut [f32],
    ) {
        let images = y
            .par_chunks_mut(self.image())
            .zip(x.par_chunks(self.image()));
        images.enumerate().for_each(|(n, (y, x))| {
            let planes = y
                .chunks_exact_mut(self.pixels)
                .zip(x.chunks_exact(self.pixels));
            for (c, (y, x)) in planes.enumerate() {
                let line = self.line(n, c, gamma, beta, moments);
                vectorised(|| scale_shift(x, line.scale, line.shift, line.leak, y));
            }
        });
    }

    fn set(&self, n: usize, c: usize) -> usize {
        if self.groups == 0 {
            c
        } else {
            n * self.groups + c / (self.channels / self.groups)
        }
    }

    fn line(&self, n: usize, c: usize, gamma: &[f32], beta: &[f32], moments: &Moments) -> Line {
        let set = self.set(n, c);
        Line::new(
            moments.means[set],
            moments.variances[set],
            gamma[c],
            beta[c],
            self.leak,
        )
    }

    fn batch_moments(&self, x: &[f32]) -> Moments {
        let images = x.len() / self.image();
        let sets = (0..self.channels).into_par_iter().map(|c| {
            let shift = x[c * self.pixels];
            let planes = x.chunks_exact(self.pixels).skip(c).step_by(self.channels);
            let total = planes.fold((0.0, 0.0), |(first, second), plane| {
                let (a, b) = vectorised(|| sums(plane, shift));
                (first + a, second + b)
            });
            moments(shift, total, images * self.pixels)
        });
        let (means, variances) = sets.unzip();
        Moments { means, variances }
    }

    fn group_moments(&self, x: &[f32]) -> Moments {
        let length = self.image() / self.groups;
        let sets = x.par_chunks(length).map(|set| {
            let shift = set[0];
            moments(shift, vectorised(|| sums(set, shift)), length)
        });
        let (means, variances) = sets.unzip();
        Moments { means, variances }
    }

    /// The gradients, given the input, the moments of the forward pass and the output's gradient.
    pub(crate) fn gradient(
        &self,
        x: &[f32],
        gamma: &[f32],
        beta: &[f32],
        moments: &Moments,
        dy: &[f32],
        dx: &mut [f32],
    ) -> Gradients {
        // For every image and channel: Σ g and Σ g·(x − mean).
        let partial: Vec<(f64, f64)> = x
            .par_chunks(self.pixels)
            .zip(dy.par_chunks(self.pixels))
            .enumerate()
            .map(|(i, (x, dy))| {
                let line = self.line(i / self.channels, i % self.channels, gamma, beta, moments);
                vectorised(|| gradient_sums(x, dy, line))
            })
            .collect();
        let mut gradients = Gradients {
            gamma: Vec::new(),
            beta: Vec::new(),
        };
        for c in 0..self.channels {
            let (mut by_gamma, mut by_beta) = (0.0, 0.0);
            for (n, row) in partial.chunks_exact(self.channels).enumerate() {
                by_beta += row[c].0;
                by_gamma += row[c].1 * inverse(moments.variances[self.set(n, c)]);
            }
            gradients.gamma.push(by_gamma as f32);
            gradients.beta.push(by_beta as f32);
        }
        // For every set: Σ γ·g and Σ γ·g·(x − mean), in order of images and channels.
        let mut totals = vec![(0.0f64, 0.0f64); moments.means.len()];
        for (n, row) in partial.chunks_exact(self.channels).enumerate() {
            for (c, (first, second)) in row.iter().enumerate() {
                let total = &mut totals[self.set(n, c)];
                total.0 += f64::from(gamma[c]) * first;
                total.1 += f64::from(gamma[c]) * second;
            }
        }
        let images = x.len() / self.image();
        let count = match self.groups {
            0 => images * self.pixels,
            groups => self.image() / groups,
        } as f64;
        let tasks = dx
            .par_chunks_mut(self.image())
            .zip(x.par_chunks(self.image()))
            .zip(dy.par_chunks(self.image()));
        tasks.enumerate().for_each(|(n, ((dx, x), dy))| {
            let planes = x
                .chunks_exact(self.pixels)
                .zip(dy.chunks_exact(self.pixels));
            for (c, (dx, (x, dy))) in dx.chunks_exact_mut(self.pixels).zip(planes).enumerate() {
                let set = self.set(n, c);
                let line = self.line(n, c, gamma, beta, moments);
                let inverse = inverse(moments.variances[set]);
                let (first, second) = totals[set];
                // dx = s·(γ·g − Σγg/m − (x − mean)·s²·Σγg(x − mean)/m) with s = 1/√(var + ε)
                let slope = -inverse.powi(3) * second / count;
                let constant = -inverse * first / count - slope * f64::from(line.mean);
                let (slope, constant) = (slope as f32, constant as f32);
                vectorised(|| input_line(x, dy, line, line.scale, slope, constant, dx));
            }
        });
        gradients
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{dot, numbers};
    use super::*;

    #[test]
    fn outputs_are_normalised_and_gradients_match_differences() {
        for (groups, leak) in [(0, 0.1), (2, 0.1), (3, 1.0), (1, 0.0), (0, 1.0)] {
            let s = Normalisation {
                channels: 6,
                pixels: 35,
                groups,
                leak,
            };
            let images = 3;
            let length = images * s.image();
            let x: Vec<f32> = numbers(length, 1).iter().map(|v| v * 2.0 + 0.7).collect();
            let (gamma, beta) = (numbers(6, 2), numbers(6, 3));
            let mut dy = numbers(length, 4);
            let mut y = vec![9.0; length];
            let moments = s.forward(&x, &gamma, &beta, &mut y);
            // A difference across the kink of the activation is not its derivative.
            for (dy, y) in dy.iter_mut().zip(&y) {
                *dy = if y.abs() < 0.02 { 0.0 } else { *dy };
            }
            if leak >= 1.0 {
                let plain = |v: &[f32]| {
                    let mut out = vec![0.0; length];
                    s.forward(v, &[1.0; 6], &[0.0; 6], &mut out);
                    out
                };
                let z = plain(&x);
                assert!(dot(&z, &vec![1.0; length]).abs() < 1e-2);
                assert!((dot(&z, &z) / length as f64 - 1.0).abs() < 1e-3);
            }
            let mut dx = vec![9.0; length];
            let gradients = s.gradient(&x, &gamma, &beta, &moments, &dy, &mut dx);
            let loss = |x: &[f32], gamma: &[f32], beta: &[f32]| {
                let mut y = vec![0.0; length];
                s.forward(x, gamma, beta, &mut y);
                dot(&y, &dy)
            };
            let check = |analytic: f64, plus: f64, minus: f64, what: &str| {
                let numeric = (plus - minus) / 2e-3;
                assert!(
                    (analytic - numeric).abs() < 2e-2 * numeric.abs().max(1.0),
                    "{what} {groups} {analytic} {numeric}"
                );
            };
            for i in [0, 40, 200, length - 1] {
                let (mut up, mut down) = (x.clone(), x.clone());
                up[i] += 1e-3;
                down[i] -= 1e-3;
                check(
                    f64::from(dx[i]),
                    loss(&up, &gamma, &beta),
                    loss(&down, &gamma, &beta),
                    "x",
                );
            }
            for c in 0..6 {
                let (mut up, mut down) = (gamma.clone(), gamma.clone());
                up[c] += 1e-3;
                down[c] -= 1e-3;
                check(
                    f64::from(gradients.gamma[c]),
                    loss(&x, &up, &beta),
                    loss(&x, &down, &beta),
                    "gamma",
                );
                let (mut up, mut down) = (beta.clone(), beta.clone());
                up[c] += 1e-3;
                down[c] -= 1e-3;
                check(
                    f64::from(gradients.beta[c]),
                    loss(&x, &gamma, &up),
                    loss(&x, &gamma, &down),
                    "beta",
                );
            }
        }
    }
}
