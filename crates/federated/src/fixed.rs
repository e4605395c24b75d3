//! Numbers as integers: how a difference becomes a payload value and how payloads add up exactly.
//!
//! `value = round(share · clip(difference) · 2^fraction_bits)` in the ring of integers modulo 2^32
//! (reference: fixed-point design, Bonawitz et al. 2017 for the ring). `clip` bounds by
//! 2^(30 − `fraction_bits`), so one value is at most 2^30 and, since the shares of a roster add up to
//! one, so is every sum: the ring never wraps for honest sites and masks can hide in all of it.

use salus_proto::federated::Plan;

use crate::Refusal;

/// The largest magnitude of one encoded value.
pub const BOUND: i32 = 1 << 30;

/// The plan's fixed-point format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FixedPoint {
    fraction_bits: u8,
}

impl FixedPoint {
    /// The format that a plan prescribes; 8 to 30 fraction bits.
    pub fn of(plan: &Plan) -> Result<Self, Refusal> {
        Self::new(plan.fraction_bits)
    }

    /// A format with 8 to 30 fraction bits.
    pub fn new(fraction_bits: u8) -> Result<Self, Refusal> {
        if !(8..=30).contains(&fraction_bits) {
            return Err(Refusal::Plan("fraction bits are not 8 to 30"));
        }
        Ok(Self { fraction_bits })
    }

    /// 2^`fraction_bits`.
    pub fn scale(self) -> f64 {
        f64::from(1u32 << self.fraction_bits)
    }

    /// The largest difference that is not clipped: 2^(30 − `fraction_bits`).
    pub fn clip(self) -> f64 {
        f64::from(1u32 << (30 - self.fraction_bits))
    }

    /// One value of a payload: `difference` times `part / whole`, and whether it was clipped.
    /// `None` where it is not finite.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a clipped value times a share of at most one is within ±2^30"
    )]
    pub fn encode(self, difference: f64, part: u32, whole: u64) -> Option<(i32, bool)> {
        if !difference.is_finite() {
            return None;
        }
        let clip = self.clip();
        let clipped = difference.clamp(-clip, clip);
        let share = f64::from(part) * (clipped * self.scale()) / whole_f64(whole);
        let bound = f64::from(BOUND);
        let value = share.round_ties_even().clamp(-bound, bound);
        Some((value as i32, clipped.abs() < difference.abs()))
    }

    /// As [`Self::encode`] for the differences of many values, trained minus base: appends to `payload`
    /// and returns how many were clipped, or the first that is not finite.
    pub fn encode_all(
        self,
        trained: &[f32],
        base: &[f32],
        (part, whole): (u32, u64),
        payload: &mut Vec<i32>,
    ) -> Result<u64, usize> {
        let (clip, scale, bound) = (self.clip(), self.scale(), f64::from(BOUND));
        let (part, whole) = (f64::from(part), whole_f64(whole));
        let mut clipped = 0;
        // In pieces, and without a way out of the inner loop: many values are done at a time.
        for (at, (trained, base)) in trained.chunks(1024).zip(base.chunks(1024)).enumerate() {
            let (mut cut, mut strange) = (0u32, 0u32);
            payload.extend(trained.iter().zip(base).map(|(y, x)| {
                let difference = f64::from(*y) - f64::from(*x);
                let kept = difference.clamp(-clip, clip);
                cut += u32::from(kept.abs() < difference.abs());
                strange += u32::from(!difference.is_finite());
                nearest((part * (kept * scale) / whole).clamp(-bound, bound))
            }));
            if strange > 0 {
                let differences = trained.iter().zip(base);
                let differences = differences.map(|(y, x)| f64::from(*y) - f64::from(*x));
                let first = differences.take_while(|d| d.is_finite()).count();
                return Err(at * 1024 + first);
            }
            clipped += u64::from(cut);
        }
        Ok(clipped)
    }

    /// What an integer stands for.
    pub fn decode(self, value: i64) -> f64 {
        exact(value) / self.scale()
    }

    /// The largest magnitude that a site with this share can send: `ceil(2^30 · part / whole)`.
    #[expect(clippy::cast_possible_truncation, reason = "at most 2^30")]
    pub fn largest(part: u32, whole: u64) -> i32 {
        let bound = u128::from(BOUND.unsigned_abs());
        let largest = (bound * u128::from(part)).div_ceil(u128::from(whole.max(1)));
        largest.min(bound) as i32
    }
}

/// The nearest integer, ties to even, of a number within ±2^30.
///
/// Added to 1.5 · 2^52 a number has no room for a fraction, so the addition rounds it, and the low bits of
/// the sum are the integer. The same bits as `round_ties_even`, which is a call of a library where the
/// processor's baseline has no such instruction.
fn nearest(value: f64) -> i32 {
    const SHIFT: f64 = 6_755_399_441_055_744.0;
    let [low, _] = halves((value + SHIFT).to_bits());
    low.cast_signed()
}

/// The lower and the upper half.
#[expect(clippy::cast_possible_truncation, reason = "the halves are meant")]
fn halves(bits: u64) -> [u32; 2] {
    [bits as u32, (bits >> 32) as u32]
}

/// An integer below 2^53 as `f64`, without loss.
#[expect(clippy::cast_precision_loss, reason = "callers stay below 2^53")]
pub(crate) fn exact(value: i64) -> f64 {
    debug_assert!(value.unsigned_abs() < 1 << 53);
    value as f64
}

/// A roster's images as `f64`; below 2^53 because a roster has at most 65,535 sites of 2^32.
#[expect(clippy::cast_precision_loss, reason = "at most 2^48")]
pub(crate) fn whole_f64(whole: u64) -> f64 {
    whole as f64
}

/// A sum of payloads in the ring; the same for every order of additions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RingSum(Vec<u32>);

impl RingSum {
    /// A sum of nothing over this many values.
    pub fn zero(values: usize) -> Self {
        Self(vec![0; values])
    }

    /// Adds a payload, or a piece of one, from this value on; as bytes, four each. Refuses what does not
    /// end within the sum or is cut within a value.
    pub fn add(&mut self, from: usize, bytes: &[u8]) -> Result<(), Refusal> {
        let (words, rest) = bytes.as_chunks::<4>();
        let whole = self.0.len() as u64 * 4;
        let sums = self
            .0
            .get_mut(from..)
            .and_then(|s| s.get_mut(..words.len()));
        let Some(sums) = sums.filter(|_| rest.is_empty()) else {
            return Err(Refusal::WrongLength {
                expected: whole,
                found: from as u64 * 4 + bytes.len() as u64,
            });
        };
        for (sum, word) in sums.iter_mut().zip(words) {
            *sum = sum.wrapping_add(u32::from_le_bytes(*word));
        }
        Ok(())
    }

    /// The sum as signed integers.
    pub fn values(&self) -> impl ExactSizeIterator<Item = i64> + '_ {
        self.0.iter().map(|v| i64::from(v.cast_signed()))
    }
}

/// Payload values as bytes: little-endian, four each.
pub fn to_bytes(payload: &[i32]) -> Vec<u8> {
    let mut bytes = vec![0; payload.len() * 4];
    let (words, _) = bytes.as_chunks_mut::<4>();
    for (word, value) in words.iter_mut().zip(payload) {
        *word = value.to_le_bytes();
    }
    bytes
}

/// Whether every value, four bytes each, is at most `largest` in magnitude; else the first that is not.
pub fn within(bytes: &[u8], largest: i32) -> Result<(), usize> {
    let (words, _) = bytes.as_chunks::<4>();
    let size = |word: &[u8; 4]| i32::from_le_bytes(*word).unsigned_abs();
    // All of them first: without a way out of the loop it is done many at a time.
    let most = words.iter().map(size).fold(0, u32::max);
    if most <= largest.unsigned_abs() {
        return Ok(());
    }
    let wrong = words.iter().position(|w| size(w) > largest.unsigned_abs());
    wrong.map_or(Ok(()), Err)
}

/// Reads a payload of exactly `values` values.
pub fn from_bytes(bytes: &[u8], values: usize) -> Result<Vec<i32>, Refusal> {
    if bytes.len() as u64 != values as u64 * 4 {
        return Err(Refusal::WrongLength {
            expected: values as u64 * 4,
            found: bytes.len() as u64,
        });
    }
    let (words, _) = bytes.as_chunks::<4>();
    Ok(words.iter().map(|w| i32::from_le_bytes(*w)).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_values_encode_as_written() {
        let f = FixedPoint::new(30).unwrap();
        assert_eq!(f.encode(0.5, 1, 2), Some((1 << 28, false)));
        assert_eq!(f.encode(-7.0, 1, 1), Some((-(1 << 30), true)));
        assert_eq!(f.encode(f64::NAN, 1, 1), None);
        assert_eq!(f.encode(f64::INFINITY, 1, 1), None);
        let f = FixedPoint::new(24).unwrap();
        assert_eq!(f.encode(-7.0, 1, 1), Some((-7 << 24, false)));
        assert!(FixedPoint::new(31).is_err() && FixedPoint::new(7).is_err());
    }

    #[expect(clippy::cast_possible_truncation, reason = "within the integers")]
    fn rounded(value: f64) -> i32 {
        value.round_ties_even() as i32
    }

    proptest! {
        #[test]
        fn a_sum_is_the_same_in_any_order(
            mut payloads in prop::collection::vec(prop::collection::vec(any::<i32>(), 5), 1..8),
            seed in any::<u64>(),
        ) {
            let mut forward = RingSum::zero(5);
            for p in &payloads { forward.add(0, &to_bytes(p)).unwrap(); }
            let mut state = seed;
            for i in (1..payloads.len()).rev() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let j = usize::try_from(state >> 33).unwrap() % (i + 1);
                payloads.swap(i, j);
            }
            let mut shuffled = RingSum::zero(5);
            for p in &payloads { shuffled.add(0, &to_bytes(p)).unwrap(); }
            prop_assert_eq!(forward, shuffled);
        }

        #[test]
        fn a_roster_of_honest_sites_never_leaves_the_ring(
            samples in prop::collection::vec(1u32..1_000_000, 1..50),
            difference in prop::collection::vec(-4.0f64..4.0, 50),
        ) {
            let whole: u64 = samples.iter().map(|s| u64::from(*s)).sum();
            let f = FixedPoint::new(30).unwrap();
            let mut ring = RingSum::zero(1);
            let mut sum = 0i64;
            for (n, d) in samples.iter().zip(&difference) {
                let (v, _) = f.encode(*d, *n, whole).unwrap();
                prop_assert!(v.abs() <= FixedPoint::largest(*n, whole));
                sum += i64::from(v);
                ring.add(0, &v.to_le_bytes()).unwrap();
            }
            prop_assert_eq!(ring.values().next(), Some(sum));
        }

        #[test]
        fn an_encoded_value_is_within_half_a_step(d in -1.0f64..1.0, n in 1u32..1000, more in 0u64..1000) {
            let whole = u64::from(n) + more;
            let f = FixedPoint::new(30).unwrap();
            let (v, clipped) = f.encode(d, n, whole).unwrap();
            prop_assert!(!clipped);
            let want = d * f64::from(n) / whole_f64(whole);
            prop_assert!((f.decode(i64::from(v)) - want).abs() <= 0.5 / f.scale() + 1e-15);
        }

        #[test]
        fn many_values_encode_as_each_one_does(
            values in prop::collection::vec((-9.0f32..9.0, -0.1f32..0.1), 1..3000),
            n in 1u32..1000, more in 0u64..1000, strange in any::<prop::sample::Index>(),
        ) {
            let f = FixedPoint::new(27).unwrap();
            let (mut trained, base): (Vec<f32>, Vec<f32>) = values.into_iter().unzip();
            let share = (n, u64::from(n) + more);
            let each: Vec<(i32, bool)> = trained.iter().zip(&base)
                .map(|(y, x)| f.encode(f64::from(*y) - f64::from(*x), share.0, share.1).unwrap())
                .collect();
            let mut payload = Vec::new();
            let clipped = f.encode_all(&trained, &base, share, &mut payload);
            prop_assert_eq!(clipped, Ok(each.iter().filter(|(_, cut)| *cut).count() as u64));
            prop_assert_eq!(payload, each.iter().map(|(v, _)| *v).collect::<Vec<_>>());
            let at = strange.index(trained.len());
            trained[at] = f32::NAN;
            prop_assert_eq!(f.encode_all(&trained, &base, share, &mut Vec::new()), Err(at));
        }

        #[test]
        fn integers_are_the_nearest(value in -1_073_741_824.0f64..1_073_741_824.0, half in any::<i16>()) {
            prop_assert_eq!(nearest(value), rounded(value));
            let half = f64::from(half) + 0.5;
            prop_assert_eq!(nearest(half), rounded(half));
        }

        #[test]
        fn pieces_add_up_to_the_whole_and_large_values_are_found(
            payload in prop::collection::vec(any::<i32>(), 1..40), cut in any::<prop::sample::Index>(),
            largest in 0..i32::MAX,
        ) {
            let bytes = to_bytes(&payload);
            let cut = cut.index(payload.len());
            let (mut whole, mut pieces) = (RingSum::zero(payload.len()), RingSum::zero(payload.len()));
            whole.add(0, &bytes).unwrap();
            pieces.add(cut, &bytes[cut * 4..]).unwrap();
            pieces.add(0, &bytes[..cut * 4]).unwrap();
            prop_assert_eq!(&whole, &pieces);
            prop_assert!(whole.add(1, &bytes).is_err() && whole.add(0, &bytes[1..]).is_err());
            let first = payload.iter().position(|v| v.unsigned_abs() > largest.unsigned_abs());
            prop_assert_eq!(within(&bytes, largest), first.map_or(Ok(()), Err));
        }

        #[test]
        fn payload_bytes_read_back(payload in prop::collection::vec(any::<i32>(), 0..20)) {
            let bytes = to_bytes(&payload);
            prop_assert_eq!(from_bytes(&bytes, payload.len()), Ok(payload.clone()));
            prop_assert!(from_bytes(&bytes, payload.len() + 1).is_err());
        }
    }
}
