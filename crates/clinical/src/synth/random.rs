//! The cohort's own generator: ChaCha20 (RFC 8439) in counter mode, one stream a patient and purpose.
//!
//! Key: the 24 bytes `salus synthetic cohort 1` and the seed as 8 little-endian bytes. Stream number:
//! 256 times the patient's index plus the purpose. So a patient is the same in a cohort of any size.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// What a stream is for.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(super) enum Purpose {
    Person = 0,
    Ids = 1,
    Ecg = 2,
    Image = 3,
    Wearable = 4,
}

/// One stream of numbers.
pub(super) struct Stream(ChaCha20Rng);

impl Stream {
    pub(super) fn new(seed: u64, patient: u32, purpose: Purpose) -> Self {
        let mut key = [0; 32];
        key[..24].copy_from_slice(b"salus synthetic cohort 1");
        key[24..].copy_from_slice(&seed.to_le_bytes());
        let mut stream = ChaCha20Rng::from_seed(key);
        stream.set_stream(u64::from(patient) << 8 | purpose as u64);
        Self(stream)
    }

    /// Uniform in [0, 1) on a grid of 2^-53.
    pub(super) fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// Uniform in [low, high).
    pub(super) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Whole and uniform in 0 to `bound` - 1, within 2^-32 (multiply and shift).
    pub(super) fn below(&mut self, bound: u32) -> u32 {
        let scaled = (u64::from(self.0.next_u32()) * u64::from(bound)) >> 32;
        u32::try_from(scaled).unwrap_or(0)
    }

    /// One of the values.
    pub(super) fn pick<T: Copy>(&mut self, values: &[T]) -> T {
        let bound = u32::try_from(values.len()).unwrap_or(u32::MAX);
        values[self.below(bound) as usize]
    }

    /// Whether an event of this probability happens.
    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Standard normal (Box and Muller 1958).
    pub(super) fn normal(&mut self) -> f64 {
        let radius = libm::sqrt(-2.0 * libm::log(1.0 - self.unit()));
        radius * libm::cos(core::f64::consts::TAU * self.unit())
    }

    /// A version 4 UUID (RFC 9562).
    pub(super) fn uuid(&mut self) -> String {
        let mut b = [0; 16];
        self.0.fill_bytes(&mut b);
        b[6] = b[6] & 0x0f | 0x40;
        b[8] = b[8] & 0x3f | 0x80;
        let hex: String = b.iter().map(|byte| format!("{byte:02x}")).collect();
        let part = |from, to| hex.get(from..to).unwrap_or_default();
        [
            part(0, 8),
            part(8, 12),
            part(12, 16),
            part(16, 20),
            part(20, 32),
        ]
        .join("-")
    }
}

/// The nearest whole number, at the ends of the range beyond it.
pub(super) fn whole(value: f64) -> i32 {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "rounds, and saturates as documented"
    )]
    let whole = libm::round(value) as i32;
    whole
}
