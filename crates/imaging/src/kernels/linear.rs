//! Fully connected layers; weights are stored as PyTorch stores them, one row for each output.

use rayon::prelude::*;

use super::{View, multiply};

/// Rows of a product that one task computes.
const ROWS: usize = 16;

/// `y = x·wᵀ + bias`; `x` is images × from.
pub(crate) fn forward(from: usize, to: usize, x: &[f32], w: &[f32], bias: &[f32], y: &mut [f32]) {
    for row in y.chunks_exact_mut(to) {
        row.copy_from_slice(bias);
    }
    y.par_chunks_mut(ROWS * to)
        .zip(x.par_chunks(ROWS * from))
        .for_each(|(y, x)| {
            let shape = [y.len() / to, to, from];
            multiply(
                shape,
                y,
                View::rows(to),
                true,
                x,
                View::rows(from),
                w,
                View::columns(from),
            );
        });
}

/// `dx = dy·w`.
pub(crate) fn input_gradient(from: usize, to: usize, w: &[f32], dy: &[f32], dx: &mut [f32]) {
    dx.par_chunks_mut(ROWS * from)
        .zip(dy.par_chunks(ROWS * to))
        .for_each(|(dx, dy)| {
            let shape = [dx.len() / from, from, to];
            multiply(
                shape,
                dx,
                View::rows(from),
                false,
                dy,
                View::rows(to),
                w,
                View::rows(from),
            );
        });
}

/// `dw = dyᵀ·x`.
pub(crate) fn weight_gradient(from: usize, to: usize, x: &[f32], dy: &[f32], dw: &mut [f32]) {
    let images = x.len() / from;
    dw.par_chunks_mut(ROWS * from)
        .enumerate()
        .for_each(|(i, dw)| {
            let shape = [dw.len() / from, from, images];
            let vd = View::columns(to).at(i * ROWS);
            multiply(
                shape,
                dw,
                View::rows(from),
                false,
                dy,
                vd,
                x,
                View::rows(from),
            );
        });
}

/// The sum of each output's gradient over the images.
pub(crate) fn bias_gradient(to: usize, dy: &[f32]) -> Vec<f32> {
    let mut sums = vec![0.0; to];
    for row in dy.chunks_exact(to) {
        for (sum, value) in sums.iter_mut().zip(row) {
            *sum += value;
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::super::testing::{dot, numbers};
    use super::*;

    #[test]
    fn output_and_gradients_follow_the_definition() {
        let (images, from, to) = (37, 23, 19);
        let (x, w) = (numbers(images * from, 1), numbers(to * from, 2));
        let (bias, dy) = (numbers(to, 3), numbers(images * to, 4));
        let mut y = vec![9.0; images * to];
        forward(from, to, &x, &w, &bias, &mut y);
        for i in 0..images {
            for o in 0..to {
                let want = dot(&x[i * from..][..from], &w[o * from..][..from]) + f64::from(bias[o]);
                assert!((f64::from(y[i * to + o]) - want).abs() < 1e-4);
            }
        }
        let (mut dx, mut dw) = (vec![9.0; x.len()], vec![9.0; w.len()]);
        input_gradient(from, to, &w, &dy, &mut dx);
        weight_gradient(from, to, &x, &dy, &mut dw);
        let mut z = vec![0.0; y.len()];
        let x2 = numbers(x.len(), 5);
        forward(from, to, &x2, &w, &vec![0.0; to], &mut z);
        assert!((dot(&z, &dy) - dot(&dx, &x2)).abs() < 1e-3);
        let w2 = numbers(w.len(), 6);
        forward(from, to, &x, &w2, &vec![0.0; to], &mut z);
        assert!((dot(&z, &dy) - dot(&dw, &w2)).abs() < 1e-3);
        let db = bias_gradient(to, &dy);
        assert!((dot(&db, &vec![1.0; to]) - dot(&dy, &vec![1.0; dy.len()])).abs() < 1e-3);
    }
}
