//! Random numbers from a seed: xoshiro256++ (Blackman and Vigna 2019) seeded by SplitMix64.
//! For shuffles, augmentation and initial weights; never for keys.

/// A seeded generator; the same seed gives the same numbers for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seeded([u64; 4]);

impl Seeded {
    /// A generator for a seed and a stream; different streams are unrelated.
    pub fn new(seed: u64, stream: &[u64]) -> Self {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            mix(state)
        };
        let mut words = [next(), next(), next(), next()];
        for part in stream {
            words[0] ^= mix(part.wrapping_add(0x9E37_79B9_7F4A_7C15));
            let mut inner = Self(words);
            words = [inner.next(), inner.next(), inner.next(), inner.next()];
        }
        Self(words)
    }

    /// The next 64 bits.
    #[expect(
        clippy::should_implement_trait,
        reason = "an endless source, not an iterator"
    )]
    pub fn next(&mut self) -> u64 {
        let s = &mut self.0;
        let result = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// A number in 0..1 with 53 random bits.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / 9_007_199_254_740_992.0
    }

    /// A number in −1..1.
    pub fn symmetric(&mut self) -> f64 {
        2.0 * self.unit() - 1.0
    }

    /// A whole number below `end` (Lemire 2019, with rejection; `end` above zero).
    pub fn below(&mut self, end: usize) -> usize {
        let end = end.max(1) as u64;
        loop {
            let wide = u128::from(self.next()) * u128::from(end);
            if (wide as u64) >= end.wrapping_neg() % end {
                return (wide >> 64) as usize;
            }
        }
    }

    /// A normally distributed number (Marsaglia's polar method).
    pub fn normal(&mut self) -> f64 {
        loop {
            let (u, v) = (self.symmetric(), self.symmetric());
            let s = u * u + v * v;
            if s > 0.0 && s < 1.0 {
                return u * (-2.0 * s.ln() / s).sqrt();
            }
        }
    }

    /// A gamma-distributed number with scale 1 (Marsaglia and Tsang 2000).
    pub fn gamma(&mut self, shape: f64) -> f64 {
        if shape < 1.0 {
            let boost = (1.0 - self.unit()).powf(1.0 / shape);
            return self.gamma(shape + 1.0) * boost;
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let v = (1.0 + c * x).powi(3);
            if v > 0.0 && (1.0 - self.unit()).ln() < 0.5 * x * x + d - d * v + d * v.ln() {
                return d * v;
            }
        }
    }

    /// Puts `items` in random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_the_distributions() {
        let mut random = Seeded::new(1, &[2]);
        let n = 40_000;
        let mean = |f: &mut dyn FnMut() -> f64| (0..n).map(|_| f()).sum::<f64>() / f64::from(n);
        assert!((mean(&mut || random.unit()) - 0.5).abs() < 0.01);
        assert!(mean(&mut || random.normal()).abs() < 0.02);
        assert!((mean(&mut || random.normal().powi(2)) - 1.0).abs() < 0.03);
        for shape in [0.3, 0.5, 2.5] {
            assert!(
                (mean(&mut || random.gamma(shape)) - shape).abs() < 0.05,
                "{shape}"
            );
        }
        assert!((mean(&mut || random.below(7) as f64) - 3.0).abs() < 0.05);
    }

    #[test]
    fn a_seed_always_gives_the_same_numbers_and_streams_differ() {
        let mut a = Seeded::new(7, &[1, 2]);
        let mut b = Seeded::new(7, &[1, 3]);
        assert_eq!([a.next(), a.next()], [A, B]);
        assert_ne!(a.next(), b.next());
    }

    const A: u64 = 16_430_706_611_843_193_613;
    const B: u64 = 9_292_304_250_045_876_887;
}
