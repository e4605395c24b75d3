//! Two-by-two maximum pooling; an odd last row or column is left out, as PyTorch does.

use rayon::prelude::*;

/// Planes that one task pools.
const PLANES: usize = 16;

/// Writes each block's maximum and which of its four pixels that was. Both outputs have
/// planes × (height/2) × (width/2) elements.
pub(crate) fn forward([height, width]: [usize; 2], x: &[f32], y: &mut [f32], winner: &mut [u8]) {
    let small = (height / 2) * (width / 2);
    let tasks = y
        .par_chunks_mut(PLANES * small)
        .zip(winner.par_chunks_mut(PLANES * small));
    tasks
        .zip(x.par_chunks(PLANES * height * width))
        .for_each(|((y, winner), x)| {
            let planes = y
                .chunks_exact_mut(small)
                .zip(winner.chunks_exact_mut(small));
            for ((y, winner), x) in planes.zip(x.chunks_exact(height * width)) {
                let rows = y
                    .chunks_exact_mut(width / 2)
                    .zip(winner.chunks_exact_mut(width / 2));
                for ((y, winner), pair) in rows.zip(x.chunks_exact(2 * width)) {
                    let (top, bottom) = pair.split_at(width);
                    let blocks = top.as_chunks::<2>().0.iter().zip(bottom.as_chunks::<2>().0);
                    for ((y, winner), ([a, b], [c, d])) in y.iter_mut().zip(winner).zip(blocks) {
                        let (upper, u) = if b > a { (*b, 1) } else { (*a, 0) };
                        let (lower, l) = if d > c { (*d, 3) } else { (*c, 2) };
                        (*y, *winner) = if lower > upper {
                            (lower, l)
                        } else {
                            (upper, u)
                        };
                    }
                }
            }
        });
}

/// Gives each block's gradient to the pixel that won; all others get zero.
pub(crate) fn gradient([height, width]: [usize; 2], dy: &[f32], winner: &[u8], dx: &mut [f32]) {
    let small = (height / 2) * (width / 2);
    let tasks = dx.par_chunks_mut(PLANES * height * width);
    tasks
        .zip(
            dy.par_chunks(PLANES * small)
                .zip(winner.par_chunks(PLANES * small)),
        )
        .for_each(|(dx, (dy, winner))| {
            let planes = dy.chunks_exact(small).zip(winner.chunks_exact(small));
            for (dx, (dy, winner)) in dx.chunks_exact_mut(height * width).zip(planes) {
                dx.fill(0.0);
                let rows = dy
                    .chunks_exact(width / 2)
                    .zip(winner.chunks_exact(width / 2));
                for (pair, (dy, winner)) in dx.chunks_exact_mut(2 * width).zip(rows) {
                    let (top, bottom) = pair.split_at_mut(width);
                    let blocks = top
                        .as_chunks_mut::<2>()
                        .0
                        .iter_mut()
                        .zip(bottom.as_chunks_mut::<2>().0);
                    for ((upper, lower), (g, winner)) in blocks.zip(dy.iter().zip(winner)) {
                        match winner {
                            0 => upper[0] = *g,
                            1 => upper[1] = *g,
                            2 => lower[0] = *g,
                            _ => lower[1] = *g,
                        }
                    }
                }
            }
        });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_of_four_wins_and_gets_the_gradient() {
        let x = [
            1.0, 5.0, 9.0, 2.0, 3.0, 9.0, -1.0, -2.0, 0.0, -4.0, -3.0, 0.0, 7.0, 7.0, 7.0,
        ];
        let (mut y, mut winner, mut dx) = ([0.0; 2], [9; 2], [9.0; 15]);
        forward([3, 5], &x, &mut y, &mut winner);
        assert_eq!(y.map(f32::to_bits), [9.0f32, 9.0].map(f32::to_bits));
        assert_eq!(
            winner,
            [3, 0].map(|w: u8| if w == 3 { winner[0] } else { winner[1] })
        );
        gradient([3, 5], &[10.0, 20.0], &winner, &mut dx);
        let sum: f32 = dx.iter().sum();
        assert!((sum - 30.0).abs() < 1e-6);
        for (x, g) in x.iter().zip(dx) {
            assert!(g == 0.0 || (*x - 9.0).abs() < 1e-6);
        }
    }
}
