//! Randomness: the operating system's for products, a seeded stream for tests and the simulation.

use core::fmt;

use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng, SeedableRng};
use salus_proto::Entropy;

/// Unpredictable bytes from AWS-LC's generator, which the operating system seeds.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    /// # Panics
    /// When the operating system has no randomness to give: nothing secret can be made then.
    #[expect(
        clippy::expect_used,
        reason = "no safe answer exists without randomness"
    )]
    fn fill(&mut self, out: &mut [u8]) {
        aws_lc_rs::rand::fill(out).expect("the operating system gives randomness");
    }
}

/// A ChaCha20 key stream (RFC 8439): the same seed gives the same bytes on every machine.
/// **Predictable by design**, so never the source of a real key.
pub struct SeededEntropy(ChaCha20Rng);

impl SeededEntropy {
    /// The stream of `seed`.
    pub fn new(seed: u64) -> Self {
        Self::with_stream(seed, 0)
    }

    /// Independent stream number `stream` of `seed`, so that each part of a simulation draws its
    /// own and adding a draw in one moves nothing in another.
    pub fn with_stream(seed: u64, stream: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&stream.to_le_bytes());
        Self(ChaCha20Rng::from_seed(key))
    }

    /// A number in `0..bound`; 0 when `bound` is 0. Slightly biased for huge bounds, which faults
    /// and shuffles do not mind.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0.next_u64().checked_rem(bound).unwrap_or(0)
    }
}

impl Entropy for SeededEntropy {
    fn fill(&mut self, out: &mut [u8]) {
        self.0.fill_bytes(out);
    }
}

impl fmt::Debug for SeededEntropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SeededEntropy")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_published_chacha20_stream_on_every_machine() {
        // Key and nonce of zeros, counter 0: RFC 8439 appendix A.1, test vector 1.
        let first: [u8; 16] = SeededEntropy::new(0).array();
        assert_eq!(hex::encode(first), "76b8e0ada0f13d90405d6ae55386bd28");
    }

    #[test]
    fn seeds_and_streams_are_independent_and_repeat() {
        let draw = |seed, stream| -> [u8; 16] { SeededEntropy::with_stream(seed, stream).array() };
        assert_eq!(draw(7, 1), draw(7, 1));
        assert_ne!(draw(7, 1), draw(7, 2));
        assert_ne!(draw(7, 1), draw(8, 1));
    }

    #[test]
    fn system_entropy_does_not_repeat() {
        let first: [u8; 32] = SystemEntropy.array();
        assert_ne!(first, SystemEntropy.array());
    }
}
