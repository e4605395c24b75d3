//! DICOM's run-length encoding (PS3.5 annex G): one PackBits segment for each byte plane.

use crate::{Error, Result};

const WHAT: &str = "DICOM RLE frame";

/// Decodes a frame of `pixels` pixels with `samples` samples of `bytes` bytes into little-endian,
/// sample-interleaved order. Segments run from the most significant byte of the first sample on.
pub(super) fn decode(frame: &[u8], pixels: usize, samples: usize, bytes: usize) -> Result<Vec<u8>> {
    let bad = |reason| Error::Malformed {
        what: WHAT,
        reason,
        offset: 0,
    };
    let (header, _) = frame
        .split_first_chunk::<64>()
        .ok_or(Error::Truncated { what: WHAT })?;
    let words = header.as_chunks::<4>().0;
    let word = |at: usize| words.get(at).map_or(0, |w| u32::from_le_bytes(*w) as usize);
    let count = word(0);
    if count != samples * bytes || count > 15 {
        return Err(bad("another number of segments than the data set says"));
    }
    let mut out = vec![0; pixels * samples * bytes];
    for segment in 0..count {
        let start = word(1 + segment);
        let end = if segment + 1 < count {
            word(2 + segment)
        } else {
            frame.len()
        };
        let packed = frame.get(start..end).filter(|_| start >= 64);
        let packed = packed.ok_or(bad("a segment outside the frame"))?;
        let (sample, plane) = (segment / bytes, segment % bytes);
        let first = sample * bytes + (bytes - 1 - plane);
        unpack(packed, out.iter_mut().skip(first).step_by(samples * bytes))?;
    }
    Ok(out)
}

/// PackBits (PS3.5 G.3.2) until every place is filled; what follows is padding.
fn unpack<'a>(packed: &[u8], mut places: impl ExactSizeIterator<Item = &'a mut u8>) -> Result<()> {
    let truncated = Error::Truncated { what: WHAT };
    let mut at = 0;
    while places.len() > 0 {
        let code = *packed.get(at).ok_or(truncated.clone())?;
        at += 1;
        match code.cast_signed() {
            -128 => {}
            repeat @ ..0 => {
                let value = *packed.get(at).ok_or(truncated.clone())?;
                at += 1;
                let times = 1 + usize::from(repeat.unsigned_abs());
                places.by_ref().take(times).for_each(|place| *place = value);
            }
            literal => {
                let length = 1 + usize::from(literal.unsigned_abs());
                let values = packed.get(at..at + length).ok_or(truncated.clone())?;
                at += length;
                for value in values {
                    if let Some(place) = places.next() {
                        *place = *value;
                    }
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_planes_are_put_together() {
        let mut frame = vec![0; 64];
        frame[0] = 2;
        frame[4] = 64;
        frame[8] = 66;
        // Three times 1; then literally 7, 8 and once 9 by way of a no-op.
        frame.extend([(-2_i8).cast_unsigned(), 1, 1, 7, 8, 0x80, 0, 9]);
        assert_eq!(decode(&frame, 3, 1, 2), Ok(vec![7, 1, 8, 1, 9, 1]));
        for cut in 0..frame.len() {
            assert!(decode(&frame[..cut], 3, 1, 2).is_err(), "{cut}");
        }
        assert!(decode(&frame, 3, 3, 1).is_err());
        frame[8] = 255;
        assert!(decode(&frame, 3, 1, 2).is_err());
    }
}
