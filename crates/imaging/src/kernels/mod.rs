//! CPU kernels of training on plain slices: convolution, normalisation, pooling, matrix products.
//! Images are NCHW `f32`; callers have checked shapes.
//!
//! Work is cut into pieces whose number depends on shapes only, never on the number of threads, and
//! every reduction has one order: the same bits with any number of threads.

pub(crate) mod convolution;
pub(crate) mod linear;
pub(crate) mod normalisation;
pub(crate) mod pooling;

use std::cell::RefCell;

/// A matrix inside a slice: element (i, j) is at `offset + i·row + j·column`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View {
    pub(crate) offset: usize,
    pub(crate) row: usize,
    pub(crate) column: usize,
}

impl View {
    /// Rows end to end.
    pub(crate) fn rows(width: usize) -> Self {
        Self {
            offset: 0,
            row: width,
            column: 1,
        }
    }

    /// The transpose of rows end to end.
    pub(crate) fn columns(height: usize) -> Self {
        Self {
            offset: 0,
            row: 1,
            column: height,
        }
    }

    pub(crate) fn at(self, offset: usize) -> Self {
        Self { offset, ..self }
    }

    fn end(self, rows: usize, columns: usize) -> usize {
        self.offset + (rows - 1) * self.row + (columns - 1) * self.column + 1
    }
}

/// `C = A·B`, or `C += A·B` when accumulating; `A` is m × k, `B` is k × n.
#[expect(
    clippy::too_many_arguments,
    reason = "three matrices with their shapes"
)]
#[expect(clippy::many_single_char_names, reason = "the letters of BLAS")]
pub(crate) fn multiply(
    [m, n, k]: [usize; 3],
    c: &mut [f32],
    vc: View,
    accumulate: bool,
    a: &[f32],
    va: View,
    b: &[f32],
    vb: View,
) {
    if m == 0 || n == 0 || k == 0 {
        return;
    }
    assert!(vc.end(m, n) <= c.len() && va.end(m, k) <= a.len() && vb.end(k, n) <= b.len());
    // SAFETY: the assertion above keeps every element of the three matrices inside its slice, and
    // strides fit `isize` because slices do.
    #[expect(unsafe_code, reason = "gemm takes raw pointers")]
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr().add(vc.offset),
            vc.column.cast_signed(),
            vc.row.cast_signed(),
            accumulate,
            a.as_ptr().add(va.offset),
            va.column.cast_signed(),
            va.row.cast_signed(),
            b.as_ptr().add(vb.offset),
            vb.column.cast_signed(),
            vb.row.cast_signed(),
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

thread_local! {
    static SCRATCH: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// Lends a buffer that is kept for the thread's next call; its contents are unspecified.
pub(crate) fn scratch<R>(length: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    let mut buffer = SCRATCH
        .with(|kept| kept.borrow_mut().pop())
        .unwrap_or_default();
    if buffer.len() < length {
        buffer.resize(length, 0.0);
    }
    let result = work(&mut buffer[..length]);
    SCRATCH.with(|kept| kept.borrow_mut().push(buffer));
    result
}

/// Runs a loop compiled for the widest vector instructions that this processor has. Only multiplies
/// and adds separately, so the bits are the same at any width.
pub(crate) fn vectorised<R>(work: impl pulp::NullaryFnOnce<Output = R>) -> R {
    pulp::Arch::new().dispatch(work)
}

/// The sum in 32 interleaved lanes, lanes added in order.
#[inline(always)]
pub(crate) fn lanes(values: &[f32]) -> f32 {
    let mut sums = [0.0f32; 32];
    let (chunks, rest) = values.as_chunks::<32>();
    for chunk in chunks {
        for (sum, value) in sums.iter_mut().zip(chunk) {
            *sum += value;
        }
    }
    sums.iter().sum::<f32>() + rest.iter().sum::<f32>()
}

#[cfg(test)]
pub(crate) mod testing {
    /// Numbers in −1..1 from a linear congruential generator.
    pub(crate) fn numbers(count: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        (0..count)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                f32::from((state >> 16) as u16) / 32_768.0 - 1.0
            })
            .collect()
    }

    pub(crate) fn dot(a: &[f32], b: &[f32]) -> f64 {
        a.iter()
            .zip(b)
            .map(|(a, b)| f64::from(*a) * f64::from(*b))
            .sum()
    }
}
