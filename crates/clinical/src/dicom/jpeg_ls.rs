//! JPEG-LS (ITU-T T.87 | ISO/IEC 14495-1): lossless and near-lossless, 2 to 16 bits, every interleave
//! mode. Not the extensions of part 2, restart intervals or HP colour transforms.
//!
//! ```text
//!   Rc Rb Rd        x is guessed from its neighbours; how far off the guess was is coded in Golomb
//!   Ra x            codes whose length adapts to the neighbourhood (365 contexts), and flat areas as
//!                   runs
//! ```

use crate::{Error, Result};

const WHAT: &str = "JPEG-LS image";
/// T.87 `J`: exponents of the lengths of run segments (A.2.1).
const RUN_EXPONENTS: [u32; 32] = [
    0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13,
    14, 15,
];

/// A decoded image.
pub(super) struct Decoded {
    /// Bits of a sample.
    pub(super) precision: u32,
    /// Rows from the top, samples of a pixel together.
    pub(super) samples: Vec<u16>,
}

/// Decodes an image if it has the expected size; checked before memory is taken.
pub(super) fn decode(bytes: &[u8], width: u32, height: u32, components: usize) -> Result<Decoded> {
    let mut at = Segments { bytes, at: 0 };
    if at.marker()? != 0xd8 {
        return Err(bad("no start of image"));
    }
    let mut frame: Option<Frame> = None;
    let mut custom = [0_i32; 5];
    let mut out = Vec::new();
    let mut done = 0;
    loop {
        match at.marker()? {
            0xf7 => {
                let found = Frame::read(at.segment()?)?;
                if (found.width, found.height, found.components) != (width, height, components) {
                    return Err(bad("another size than the data set says"));
                }
                out = vec![0_u16; width as usize * height as usize * components];
                frame = Some(found);
            }
            0xf8 => {
                let segment = at.segment()?;
                if segment.first() != Some(&1) || segment.len() < 11 {
                    return Err(Error::unsupported("JPEG-LS parameter set", "other than 1"));
                }
                for (value, pair) in custom
                    .iter_mut()
                    .zip(segment.get(1..).unwrap_or_default().as_chunks().0)
                {
                    *value = i32::from(u16::from_be_bytes(*pair));
                }
            }
            0xda => {
                let frame = frame.as_ref().ok_or(bad("a scan before its frame"))?;
                let (in_scan, near, interleave) = scan_header(at.segment()?)?;
                let fits = done + in_scan <= components
                    && if interleave == 0 {
                        in_scan == 1
                    } else {
                        in_scan == components
                    };
                if !fits {
                    return Err(bad("a scan with other components than its frame"));
                }
                let used = {
                    let data = bytes.get(at.at..).unwrap_or_default();
                    let mut scan = Scan::new(frame, near, custom, data)?;
                    let mut target = Target {
                        out: &mut out,
                        components,
                        first: done,
                    };
                    match interleave {
                        0 | 1 => scan.by_lines(in_scan, &mut target)?,
                        _ => scan.by_samples(in_scan, &mut target)?,
                    }
                    scan.bits.end()
                };
                at.at += used;
                done += in_scan;
                if done == components {
                    return Ok(Decoded {
                        precision: frame.precision,
                        samples: out,
                    });
                }
            }
            0xdd => return Err(Error::unsupported("JPEG-LS", "restart intervals")),
            0xd9 => return Err(Error::Truncated { what: WHAT }),
            _ => drop(at.segment()?),
        }
    }
}

fn bad(reason: &'static str) -> Error {
    Error::Malformed {
        what: WHAT,
        reason,
        offset: 0,
    }
}

struct Segments<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Segments<'a> {
    /// The code of the next marker; fill bytes before it are skipped.
    fn marker(&mut self) -> Result<u8> {
        loop {
            let Some(&[first, code]) = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk)
            else {
                return Err(Error::Truncated { what: WHAT });
            };
            if first != 0xff {
                return Err(bad("expected a marker"));
            }
            if code == 0xff {
                self.at += 1;
                continue;
            }
            self.at += 2;
            return Ok(code);
        }
    }

    fn segment(&mut self) -> Result<&'a [u8]> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let length = rest
            .first_chunk()
            .map(|two| usize::from(u16::from_be_bytes(*two)));
        let length = length.ok_or(Error::Truncated { what: WHAT })?;
        let body = rest.get(2..length).ok_or(Error::Truncated { what: WHAT })?;
        self.at += length;
        Ok(body)
    }
}

struct Frame {
    precision: u32,
    width: u32,
    height: u32,
    components: usize,
}

impl Frame {
    fn read(segment: &[u8]) -> Result<Self> {
        let Some(&[precision, y1, y0, x1, x0, count]) = segment.first_chunk() else {
            return Err(Error::Truncated { what: WHAT });
        };
        if !(2..=16).contains(&precision) || segment.len() != 6 + 3 * usize::from(count) {
            return Err(bad("a frame header of the wrong length or precision"));
        }
        // Sampling factors 1x1 only: the others would need another size for each component.
        if segment
            .get(6..)
            .unwrap_or_default()
            .as_chunks::<3>()
            .0
            .iter()
            .any(|c| c[1] != 0x11)
        {
            return Err(Error::unsupported("JPEG-LS", "subsampled components"));
        }
        Ok(Self {
            precision: precision.into(),
            width: u16::from_be_bytes([x1, x0]).into(),
            height: u16::from_be_bytes([y1, y0]).into(),
            components: count.into(),
        })
    }
}

/// Components, NEAR and interleave mode of a scan.
fn scan_header(segment: &[u8]) -> Result<(usize, i32, u8)> {
    let count = usize::from(*segment.first().ok_or(Error::Truncated { what: WHAT })?);
    let Some(&[near, interleave, transform]) =
        segment.get(1 + 2 * count..).and_then(<[u8]>::first_chunk)
    else {
        return Err(Error::Truncated { what: WHAT });
    };
    if !(1..=4).contains(&count) || interleave > 2 || transform != 0 {
        return Err(bad("a scan header out of range"));
    }
    Ok((count, near.into(), interleave))
}

/// Where the samples of a scan go.
struct Target<'a> {
    out: &'a mut [u16],
    components: usize,
    first: usize,
}

impl Target<'_> {
    fn line(&mut self, row: usize, width: usize, component: usize, samples: &[i32]) {
        let start = row * width * self.components + self.first + component;
        let places = self.out.iter_mut().skip(start).step_by(self.components);
        for (place, &sample) in places.zip(samples) {
            *place = u16::try_from(sample).unwrap_or(u16::MAX);
        }
    }
}

/// One neighbourhood's statistics: T.87 `A`, `B`, `C`, `N`.
#[derive(Clone, Copy)]
struct Context {
    a: i32,
    b: i32,
    c: i32,
    n: i32,
}

struct Scan<'a> {
    bits: Bits<'a>,
    width: usize,
    height: usize,
    near: i32,
    maximum: i32,
    thresholds: [i32; 3],
    reset: i32,
    range: i32,
    /// Bits of a coded error when the Golomb code is given up.
    error_bits: u32,
    limit: u32,
    contexts: Vec<Context>,
    /// The two contexts that end runs; here `b` is T.87's `Nn`.
    run_contexts: [Context; 2],
}

impl<'a> Scan<'a> {
    /// T.87 A.2.1 and C.2.4.1.1.
    fn new(frame: &Frame, near: i32, custom: [i32; 5], data: &'a [u8]) -> Result<Self> {
        let full = (1 << frame.precision) - 1;
        let maximum = if custom[0] > 0 { custom[0] } else { full };
        if maximum > full || near > 255.min(maximum / 2) {
            return Err(bad("a parameter out of range"));
        }
        let clamp = |value: i32, low: i32| {
            if value > maximum || value < low {
                low
            } else {
                value
            }
        };
        let basic = if maximum >= 128 {
            let factor = (maximum.min(4095) + 128) / 256;
            [
                factor + 2 + 3 * near,
                4 * factor + 3 + 5 * near,
                17 * factor + 4 + 7 * near,
            ]
        } else {
            let factor = 256 / (maximum + 1);
            [
                2.max(3 / factor + 3 * near),
                3.max(7 / factor + 5 * near),
                4.max(21 / factor + 7 * near),
            ]
        };
        let mut thresholds = [0; 3];
        let mut low = near + 1;
        for (at, slot) in thresholds.iter_mut().enumerate() {
            let value = if custom[1 + at] > 0 {
                custom[1 + at]
            } else {
                clamp(basic[at], low)
            };
            if value < low || value > maximum {
                return Err(bad("a threshold out of range"));
            }
            *slot = value;
            low = value;
        }
        let reset = if custom[4] > 0 { custom[4] } else { 64 };
        if !(3..=maximum.max(255)).contains(&reset) {
            return Err(bad("a parameter out of range"));
        }
        let range = (maximum + 2 * near) / (2 * near + 1) + 1;
        let bits_for = |values: i32| 32 - (values - 1).leading_zeros();
        let sample_bits = bits_for(maximum + 1).max(2);
        let context = Context {
            a: 2.max((range + 32) / 64),
            b: 0,
            c: 0,
            n: 1,
        };
        Ok(Self {
            bits: Bits::new(data),
            width: frame.width as usize,
            height: frame.height as usize,
            near,
            maximum,
            thresholds,
            reset,
            range,
            error_bits: bits_for(range),
            limit: 2 * (sample_bits + sample_bits.max(8)),
            contexts: vec![context; 365],
            run_contexts: [context; 2],
        })
    }

    /// Interleave modes none and line: one line of each component after the other.
    fn by_lines(&mut self, components: usize, target: &mut Target<'_>) -> Result<()> {
        let width = self.width;
        // Lines carry one sample of padding on either side (T.87 A.2.1).
        let mut before = vec![vec![0_i32; width + 2]; components];
        let mut run_indexes = vec![0_usize; components];
        let mut now = vec![0_i32; width + 2];
        for row in 0..self.height {
            for component in 0..components {
                let above = &mut before[component];
                above[width + 1] = above[width];
                now[0] = above[1];
                self.line(above, &mut now, &mut run_indexes[component])?;
                target.line(row, width, component, &now[1..=width]);
                core::mem::swap(above, &mut now);
            }
        }
        Ok(())
    }

    fn line(&mut self, above: &[i32], now: &mut [i32], run_index: &mut usize) -> Result<()> {
        let mut x = 1;
        while x <= self.width {
            let (ra, rb, rc, rd) = (now[x - 1], above[x], above[x - 1], above[x + 1]);
            let context = self.context(ra, rb, rc, rd);
            if context != 0 {
                now[x] = self.regular(context, ra, rb, rc)?;
                x += 1;
                continue;
            }
            let length = self.run(self.width + 1 - x, run_index)?;
            now[x..x + length].fill(ra);
            x += length;
            if x <= self.width {
                now[x] = self.interruption(ra, above[x], true, *run_index)?;
                *run_index = run_index.saturating_sub(1);
                x += 1;
            }
        }
        Ok(())
    }

    /// Interleave mode sample: the components of a pixel after one another, in runs together.
    fn by_samples(&mut self, components: usize, target: &mut Target<'_>) -> Result<()> {
        let width = self.width;
        let mut before = vec![vec![0_i32; width + 2]; components];
        let mut now = before.clone();
        let mut run_index = 0;
        for row in 0..self.height {
            for (above, line) in before.iter_mut().zip(&mut now) {
                above[width + 1] = above[width];
                line[0] = above[1];
            }
            let mut x = 1;
            while x <= width {
                let mut found = [0_i32; 4];
                for (slot, (above, line)) in found.iter_mut().zip(before.iter().zip(&now)) {
                    *slot = self.context(line[x - 1], above[x], above[x - 1], above[x + 1]);
                }
                if found != [0; 4] {
                    for component in 0..components {
                        let (above, line) = (&before[component], &mut now[component]);
                        let (ra, rb, rc) = (line[x - 1], above[x], above[x - 1]);
                        line[x] = self.regular(found[component], ra, rb, rc)?;
                    }
                    x += 1;
                    continue;
                }
                let length = self.run(width + 1 - x, &mut run_index)?;
                for line in &mut now {
                    let value = line[x - 1];
                    line[x..x + length].fill(value);
                }
                x += length;
                if x <= width {
                    for (above, line) in before.iter().zip(&mut now) {
                        line[x] = self.interruption(line[x - 1], above[x], false, run_index)?;
                    }
                    run_index = run_index.saturating_sub(1);
                    x += 1;
                }
            }
            for (component, line) in now.iter().enumerate() {
                target.line(row, width, component, &line[1..=width]);
            }
            core::mem::swap(&mut before, &mut now);
        }
        Ok(())
    }

    /// The context's signed number, -364 to 364; 0 starts a run (T.87 A.3).
    fn context(&self, ra: i32, rb: i32, rc: i32, rd: i32) -> i32 {
        let [t1, t2, t3] = self.thresholds;
        let quantise = |d: i32| {
            let size = d.abs();
            let level = match size {
                _ if size <= self.near => 0,
                _ if size < t1 => 1,
                _ if size < t2 => 2,
                _ if size < t3 => 3,
                _ => 4,
            };
            level * d.signum()
        };
        81 * quantise(rd - rb) + 9 * quantise(rb - rc) + quantise(rc - ra)
    }

    /// One sample in regular mode (T.87 A.4 to A.6).
    fn regular(&mut self, context: i32, ra: i32, rb: i32, rc: i32) -> Result<i32> {
        let sign = context.signum();
        let index = context.unsigned_abs() as usize;
        let Context { a, b, c, n } = self.contexts[index];
        let (low, high) = (ra.min(rb), ra.max(rb));
        let guess = match rc {
            _ if rc >= high => low,
            _ if rc <= low => high,
            _ => ra + rb - rc,
        };
        let guess = (guess + sign * c).clamp(0, self.maximum);
        let k = golomb_exponent(n, a);
        let mapped = self.golomb(k, self.limit)?;
        let half = (mapped + 1) >> 1;
        let error = if self.near == 0 && k == 0 && 2 * b <= -n {
            // The reversed mapping of A.5.2.
            if mapped & 1 == 1 {
                mapped >> 1
            } else {
                -(mapped >> 1) - 1
            }
        } else if mapped & 1 == 1 {
            -half
        } else {
            half
        };
        self.learn(index, error);
        Ok(self.reconstruct(guess, sign * error))
    }

    /// T.87 A.6.
    fn learn(&mut self, index: usize, error: i32) {
        let (step, reset) = (2 * self.near + 1, self.reset);
        let context = &mut self.contexts[index];
        context.a += error.abs();
        context.b += error * step;
        if context.n == reset {
            context.a >>= 1;
            context.b >>= 1;
            context.n >>= 1;
        }
        context.n += 1;
        if context.b <= -context.n {
            context.b = (context.b + context.n).max(1 - context.n);
            context.c = (context.c - 1).max(-128);
        } else if context.b > 0 {
            context.b = (context.b - context.n).min(0);
            context.c = (context.c + 1).min(127);
        }
    }

    /// T.87 A.4.5 backwards: the error is modulo the range.
    fn reconstruct(&self, guess: i32, error: i32) -> i32 {
        let step = 2 * self.near + 1;
        let mut value = guess + error * step;
        if value < -self.near {
            value += self.range * step;
        } else if value > self.maximum + self.near {
            value -= self.range * step;
        }
        value.clamp(0, self.maximum)
    }

    /// Length of a run within the `rest` of the line (T.87 A.7.1).
    fn run(&mut self, rest: usize, run_index: &mut usize) -> Result<usize> {
        let mut length = 0;
        while self.bits.read(1)? == 1 {
            let whole = 1_usize << RUN_EXPONENTS[*run_index];
            let count = whole.min(rest - length);
            length += count;
            if count == whole {
                *run_index = (*run_index + 1).min(31);
            }
            if length == rest {
                return Ok(length);
            }
        }
        length += self.bits.read(RUN_EXPONENTS[*run_index])? as usize;
        if length >= rest {
            return Err(bad("a run longer than its line"));
        }
        Ok(length)
    }

    /// The sample after a run (T.87 A.7.2). With several components in one run (`alike` false) the
    /// first of the two contexts serves all.
    fn interruption(&mut self, ra: i32, rb: i32, alike: bool, run_index: usize) -> Result<i32> {
        let kind = usize::from(alike && (ra - rb).abs() <= self.near);
        let (guess, sign) = match kind {
            1 => (ra, 1),
            _ => (rb, if ra > rb { -1 } else { 1 }),
        };
        let Context {
            a, b: negatives, n, ..
        } = self.run_contexts[kind];
        let kind_value = i32::from(kind == 1);
        let k = golomb_exponent(n, a + kind_value * (n >> 1));
        let limit = self.limit - RUN_EXPONENTS[run_index] - 1;
        let mapped = self.golomb(k, limit)?;
        let folded = mapped + kind_value;
        let odd = folded & 1 == 1;
        let size = (folded + i32::from(odd)) / 2;
        let error = if (k != 0 || 2 * negatives >= n) == odd {
            -size
        } else {
            size
        };
        let context = &mut self.run_contexts[kind];
        if error < 0 {
            context.b += 1;
        }
        context.a += (mapped + 1 - kind_value) >> 1;
        if context.n == self.reset {
            context.a >>= 1;
            context.b >>= 1;
            context.n >>= 1;
        }
        context.n += 1;
        Ok(self.reconstruct(guess, sign * error))
    }

    /// A limited-length Golomb code (T.87 A.5.3).
    fn golomb(&mut self, k: u32, limit: u32) -> Result<i32> {
        let escape = limit.saturating_sub(self.error_bits + 1);
        let zeros = self.bits.zeros(escape)?;
        let value = if zeros == escape {
            self.bits.read(self.error_bits)? + 1
        } else {
            zeros
                .checked_shl(k)
                .unwrap_or(u32::MAX)
                .saturating_add(self.bits.read(k)?)
        };
        // No error is larger than twice the range.
        i32::try_from(value)
            .ok()
            .filter(|v| *v <= 1 << 18)
            .ok_or(bad("an error out of range"))
    }
}

/// The Golomb parameter: the least k with n * 2^k >= a (T.87 A.5.1).
fn golomb_exponent(n: i32, a: i32) -> u32 {
    let mut k = 0;
    while k < 24 && n << k < a {
        k += 1;
    }
    k
}

/// Bits, most significant first; after a byte FF one stuffed bit is left out (T.87 A.1).
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    word: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            word: 0,
            count: 0,
        }
    }

    fn fill(&mut self) {
        while self.count <= 48 {
            let stuffed = self.at > 0 && self.bytes.get(self.at - 1) == Some(&0xff);
            match self.bytes.get(self.at) {
                Some(&byte) if stuffed && byte < 0x80 => {
                    self.word = self.word << 7 | u64::from(byte);
                    self.count += 7;
                }
                // A marker: the scan is over.
                Some(_) if stuffed => return,
                Some(&byte) => {
                    self.word = self.word << 8 | u64::from(byte);
                    self.count += 8;
                }
                None => return,
            }
            self.at += 1;
        }
    }

    /// At most 32 bits.
    fn read(&mut self, length: u32) -> Result<u32> {
        if self.count < length {
            self.fill();
            if self.count < length {
                return Err(Error::Truncated { what: WHAT });
            }
        }
        self.count -= length;
        let mask = (1_u64 << length) - 1;
        Ok(u32::try_from(self.word >> self.count & mask).unwrap_or(0))
    }

    /// Counts zeros up to a one, which is consumed, or up to `most` zeros and the one after them.
    fn zeros(&mut self, most: u32) -> Result<u32> {
        let mut zeros = 0;
        while self.read(1)? == 0 {
            zeros += 1;
            if zeros > most {
                return Err(bad("a code longer than its limit"));
            }
        }
        Ok(zeros)
    }

    /// Bytes up to the marker that follows the scan.
    fn end(&self) -> usize {
        let mut at = self.at.saturating_sub(8);
        // What was filled ahead is still data: find the marker from there.
        while let Some(&[first, second]) = self.bytes.get(at..).and_then(<[u8]>::first_chunk) {
            if first == 0xff && second >= 0x80 {
                return at;
            }
            at += 1;
        }
        self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The worked example of ITU-T T.87 annex H.3: a 4 by 4 image of 8 bits.
    const EXAMPLE: [u8; 51] = [
        0xff, 0xd8, 0xff, 0xf7, 0x00, 0x0b, 0x08, 0x00, 0x04, 0x00, 0x04, 0x01, 0x01, 0x11, 0x00,
        0xff, 0xda, 0x00, 0x08, 0x01, 0x01, 0x00, 0x00, 0x00, 0x00, 0xc0, 0x00, 0x00, 0x6c, 0x80,
        0x20, 0x8e, 0x01, 0xc0, 0x00, 0x00, 0x57, 0x40, 0x00, 0x00, 0x6e, 0xe6, 0x00, 0x00, 0x01,
        0xbc, 0x18, 0x00, 0x00, 0x05, 0xd8,
    ];
    const PIXELS: [u16; 16] = [
        0, 0, 90, 74, 68, 50, 43, 205, 64, 145, 145, 145, 100, 145, 145, 145,
    ];

    fn example() -> Vec<u8> {
        [&EXAMPLE[..], &[0x00, 0x00, 0x91, 0x60, 0xff, 0xd9]].concat()
    }

    #[test]
    fn the_example_of_the_standard_decodes_as_printed_there() {
        let decoded = decode(&example(), 4, 4, 1).unwrap();
        assert_eq!(decoded.samples, PIXELS);
        assert!(decode(&example(), 4, 5, 1).is_err());
        let whole = example();
        for cut in 0..whole.len() - 3 {
            assert!(decode(&whole[..cut], 4, 4, 1).is_err(), "{cut}");
        }
    }

    proptest! {
        #[test]
        fn damaged_images_never_panic(
            at in 0..57_usize, byte: u8, tail: Vec<u8>, interleave in 0..4_u8, near: u8, set in prop::array::uniform11(any::<u8>())
        ) {
            let mut bytes = example();
            bytes[at] = byte;
            let _ = decode(&bytes, 4, 4, 1);
            let mut colour = vec![
                0xff, 0xd8, 0xff, 0xf7, 0, 17, 8, 0, 9, 0, 7, 3, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0,
            ];
            if near & 1 == 1 {
                colour.extend([0xff, 0xf8, 0, 13, 1]);
                colour.extend(&set[1..]);
            }
            colour.extend([0xff, 0xda, 0, 12, 3, 1, 0, 2, 0, 3, 0, near, interleave, 0]);
            colour.extend(tail);
            let _ = decode(&colour, 7, 9, 3);
        }
    }
}
