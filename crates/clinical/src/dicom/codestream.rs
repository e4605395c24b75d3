//! The headers of a JPEG 2000 codestream (ISO/IEC 15444-1 annex A), walked before a decoder takes
//! memory for what they declare: a few bytes can ask for billions of precincts.

use crate::{Error, Result};

const WHAT: &str = "JPEG 2000 codestream";
/// Most samples of one frame: 12 bytes of working memory each.
const SAMPLES_LIMIT: u64 = 64 << 20;
/// Least precinct side and code-block area, as powers of two. The standard allows 0 and 4; encoders
/// use 7 to 15, and 8 to 12.
const PRECINCT_EXPONENT: u8 = 5;
const BLOCK_EXPONENT: u8 = 8;

const SIZE: u8 = 0x51;
const CODING_DEFAULT: u8 = 0x52;
const CODING_COMPONENT: u8 = 0x53;
const TILE_PART: u8 = 0x90;
const DATA: u8 = 0x93;
const END: u8 = 0xd9;

/// What the codestream declares of its samples.
pub(super) struct CodestreamSize {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) components: usize,
    /// Bits of a sample, 1 to 16.
    pub(super) precision: u32,
    pub(super) signed: bool,
}

impl CodestreamSize {
    /// Walks the main header and the header of every tile-part. The codestream may stand inside a JP2
    /// file; its first tile-part may have no length, which means to the end.
    pub(super) fn check(frame: &[u8]) -> Result<Self> {
        let truncated = Error::Truncated { what: WHAT };
        let start = memchr::memmem::find(frame, b"\xff\x4f\xff\x51")
            .ok_or(bad("no start of codestream", 0))?;
        let stream = frame.get(start..).unwrap_or_default();
        let mut size = None;
        let mut tile_end = None;
        let mut tiles_seen = false;
        let mut at = 2;
        loop {
            let Some(&[0xff, code]) = stream.get(at..).and_then(<[u8]>::first_chunk) else {
                // Decoders accept a stream without its end mark, and zeros as padding.
                let rest = stream.get(at..).unwrap_or_default();
                let ended = tiles_seen && rest.iter().all(|&b| b == 0);
                return size.filter(|_| ended).ok_or(bad("expected a marker", at));
            };
            match code {
                END => return size.ok_or(truncated),
                DATA => {
                    // Only forwards: a length that ends inside its own header would go in circles.
                    let end = tile_end.take().filter(|&end| end >= at + 2);
                    at = end.ok_or(bad("data outside a tile-part", at))?;
                    tiles_seen = true;
                    continue;
                }
                _ => {}
            }
            let length = stream
                .get(at + 2..)
                .and_then(<[u8]>::first_chunk)
                .map(|w| u16::from_be_bytes(*w));
            let length = usize::from(length.ok_or(truncated.clone())?);
            let segment = stream
                .get(at + 4..at + 2 + length)
                .ok_or(truncated.clone())?;
            match code {
                SIZE => size = Some(read_size(segment, at)?),
                CODING_DEFAULT => check_coding(segment.first(), segment.get(5..), at)?,
                CODING_COMPONENT => {
                    // The component's number has two bytes where there are more than 256.
                    let wide = size.as_ref().is_some_and(|s: &Self| s.components > 256);
                    let rest = segment.get(1 + usize::from(wide)..).unwrap_or_default();
                    check_coding(rest.first(), rest.get(1..), at)?;
                }
                TILE_PART => {
                    let declared = segment.get(2..).and_then(<[u8]>::first_chunk);
                    let declared = u32::from_be_bytes(*declared.ok_or(truncated.clone())?) as usize;
                    let end = if declared == 0 {
                        stream.len()
                    } else {
                        at.saturating_add(declared)
                    };
                    if end > stream.len() {
                        return Err(truncated);
                    }
                    if end < at + 14 {
                        return Err(bad("a tile-part shorter than its header", at));
                    }
                    tile_end = Some(end);
                }
                _ => {}
            }
            at += 2 + length;
        }
    }
}

fn bad(reason: &'static str, offset: usize) -> Error {
    Error::Malformed {
        what: WHAT,
        reason,
        offset,
    }
}

/// A.5.1.
fn read_size(siz: &[u8], offset: usize) -> Result<CodestreamSize> {
    let truncated = Error::Truncated { what: WHAT };
    let word = |at: usize| {
        siz.get(at..)
            .and_then(<[u8]>::first_chunk)
            .map(|w| u32::from_be_bytes(*w))
            .ok_or(truncated.clone())
    };
    let span = |end: u32, from: u32| {
        end.checked_sub(from)
            .filter(|&s| s > 0)
            .ok_or(bad("an empty area", offset))
    };
    let (width, height) = (span(word(2)?, word(10)?)?, span(word(6)?, word(14)?)?);
    let (tile_width, tile_height) = (word(18)?, word(22)?);
    if tile_width == 0 || tile_height == 0 {
        return Err(bad("empty tiles", offset));
    }
    // The numbering of tiles ends at 65,535.
    let tiles = u64::from(width.div_ceil(tile_width)) * u64::from(height.div_ceil(tile_height));
    if tiles > 65_535 {
        return Err(bad("more tiles than can be numbered", offset));
    }
    let components = siz
        .get(34..)
        .and_then(<[u8]>::first_chunk)
        .map(|w| u16::from_be_bytes(*w));
    let components = usize::from(components.ok_or(truncated.clone())?);
    let length = (u64::from(width) * u64::from(height)).saturating_mul(components as u64);
    if length > SAMPLES_LIMIT {
        return Err(Error::TooLarge {
            what: "samples of a JPEG 2000 frame",
            length,
            limit: SAMPLES_LIMIT,
        });
    }
    let specs = siz
        .get(36..36 + 3 * components)
        .ok_or(truncated)?
        .as_chunks::<3>()
        .0;
    let Some(&[depth, ..]) = specs.first() else {
        return Err(bad("no components", offset));
    };
    if specs
        .iter()
        .any(|&[d, x, y]| d != depth || (x, y) != (1, 1))
        || depth & 0x7f > 15
    {
        return Err(Error::unsupported(
            "JPEG 2000",
            "components-of-different-size-or-over-16-bits",
        ));
    }
    let precision = u32::from(depth & 0x7f) + 1;
    Ok(CodestreamSize {
        width,
        height,
        components,
        precision,
        signed: depth & 0x80 != 0,
    })
}

/// A.6.1 and A.6.2: levels, code-block exponents less two, style, transform, precincts.
fn check_coding(style: Option<&u8>, parameters: Option<&[u8]>, offset: usize) -> Result<()> {
    let truncated = Error::Truncated { what: WHAT };
    let (Some(style), Some(parameters)) = (style, parameters) else {
        return Err(truncated);
    };
    let Some((&[levels, width, height, _, _], precincts)) = parameters.split_first_chunk() else {
        return Err(truncated);
    };
    if levels > 32 || width > 8 || height > 8 || width + height > 8 {
        return Err(bad("coding parameters out of range", offset));
    }
    if width + height + 4 < BLOCK_EXPONENT {
        return Err(Error::unsupported("JPEG 2000", "tiny-code-blocks"));
    }
    let tiny = |p: &u8| p & 0x0f < PRECINCT_EXPONENT || p >> 4 < PRECINCT_EXPONENT;
    if style & 1 == 1 && precincts.iter().any(tiny) {
        return Err(Error::unsupported("JPEG 2000", "tiny-precincts"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Main header of a grey image, one tile-part of `body`, and the end mark.
    fn stream(width: u32, tile: u32, coding: &[u8], body: &[u8]) -> Vec<u8> {
        let mut out = vec![0xff, 0x4f, 0xff, 0x51, 0, 41, 0, 0];
        for word in [width, 64, 0, 0, tile, 64, 0, 0] {
            out.extend(word.to_be_bytes());
        }
        out.extend([
            0,
            1,
            0x8b,
            1,
            1,
            0xff,
            0x52,
            0,
            u8::try_from(coding.len()).unwrap() + 2,
        ]);
        out.extend(coding);
        out.extend([0xff, 0x90, 0, 10, 0, 0]);
        out.extend(u32::try_from(14 + body.len()).unwrap().to_be_bytes());
        out.extend([0, 1, 0xff, 0x93]);
        out.extend(body);
        out.extend([0xff, 0xd9]);
        out
    }

    const USUAL: [u8; 10] = [0, 0, 0, 1, 0, 5, 4, 4, 0, 1];

    #[test]
    fn usual_headers_pass_and_say_what_they_declare() {
        let found = CodestreamSize::check(&stream(64, 64, &USUAL, &[1, 2, 3])).unwrap();
        assert_eq!((found.width, found.height, found.components), (64, 64, 1));
        assert_eq!((found.precision, found.signed), (12, true));
    }

    #[test]
    fn headers_that_ask_for_billions_of_parts_are_refused() {
        let check = |stream: Vec<u8>| CodestreamSize::check(&stream).err();
        assert!(matches!(
            check(stream(1 << 21, 1 << 21, &USUAL, &[])),
            Some(Error::TooLarge { .. })
        ));
        assert!(matches!(
            check(stream(1 << 17, 1, &USUAL, &[])),
            Some(Error::Malformed { .. })
        ));
        let tiny_precincts = [1, 0, 0, 1, 0, 1, 4, 4, 0, 1, 0x00, 0x77];
        assert!(matches!(
            check(stream(64, 64, &tiny_precincts, &[])),
            Some(Error::Unsupported { .. })
        ));
        let tiny_blocks = [0, 0, 0, 1, 0, 1, 0, 0, 0, 1];
        assert!(matches!(
            check(stream(64, 64, &tiny_blocks, &[])),
            Some(Error::Unsupported { .. })
        ));
        // A tile-part whose length ends inside its own header.
        let mut circle = stream(64, 64, &USUAL, &[]);
        let at = circle.len() - 4;
        circle.splice(at..at, [0xff, 0x64, 0, 4, 0, 0]);
        assert_eq!(
            check(circle),
            Some(Error::Malformed {
                what: WHAT,
                reason: "data outside a tile-part",
                offset: 77
            })
        );
        // Also where a tile-part overrides the main header.
        let mut late = stream(64, 64, &USUAL, &[]);
        let at = late.len() - 4;
        late.splice(
            at..at,
            [0xff, 0x52, 0, 14].into_iter().chain(tiny_precincts),
        );
        assert!(matches!(check(late), Some(Error::Unsupported { .. })));
    }

    proptest! {
        #[test]
        fn damaged_headers_never_panic_and_always_end(at in 0..80_usize, byte: u8, body: Vec<u8>) {
            let mut bytes = stream(64, 64, &USUAL, &body);
            let at = at.min(bytes.len() - 1);
            bytes[at] = byte;
            let _ = CodestreamSize::check(&bytes);
            let _ = CodestreamSize::check(&bytes[..at]);
        }
    }
}
