//! The source of randomness as an argument: pure crates never draw their own.

/// Fills buffers with unpredictable bytes. The real one is the operating system's generator
/// (`runtime`); tests and the simulation pass a seeded one.
pub trait Entropy {
    /// Fills `out` completely.
    fn fill(&mut self, out: &mut [u8]);

    /// A fresh array.
    fn array<const N: usize>(&mut self) -> [u8; N]
    where
        Self: Sized,
    {
        let mut out = [0; N];
        self.fill(&mut out);
        out
    }
}

impl<E: Entropy + ?Sized> Entropy for &mut E {
    fn fill(&mut self, out: &mut [u8]) {
        (**self).fill(out);
    }
}
