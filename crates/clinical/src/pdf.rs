//! PDF documents: whether a file is one, complete and within bounds. Nothing is rendered and no stream
//! is unpacked, so nothing in it can run or swell (ISO 32000-1 sections 7.5 and annex C).

use crate::{Error, Result};

const WHAT: &str = "PDF document";
/// Most sections of the cross-reference chain, one for each time the document was saved.
const SECTIONS_LIMIT: usize = 1024;
/// Longest dictionary that is looked into, in bytes.
const DICTIONARY_LIMIT: usize = 256 << 10;
/// Most mentions of page trees that are looked into.
const PAGE_TREES_LIMIT: usize = 256;
/// Longest white space between two tokens, in bytes.
const SPACE_LIMIT: usize = 1024;
/// Most entries of one section.
const ENTRIES_LIMIT: usize = 8_388_607;

/// What a sound document says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Document {
    /// Major and minor version of the header.
    pub version: (u8, u8),
    /// Pages, if the page tree is not packed away in a compressed object stream.
    pub pages: Option<u32>,
    /// Whether a password is needed.
    pub encrypted: bool,
    /// Whether it visibly asks for actions: scripts, launching programs, embedded files, rich media.
    /// Compressed parts are not searched.
    pub active: bool,
}

/// Checks a document of at most `limit` bytes.
pub fn inspect(bytes: &[u8], limit: usize) -> Result<Document> {
    if bytes.len() > limit {
        return Err(Error::TooLarge {
            what: WHAT,
            length: bytes.len() as u64,
            limit: limit as u64,
        });
    }
    let bad = |reason, offset| Error::Malformed {
        what: WHAT,
        reason,
        offset,
    };
    // Annex H: readers accept the header anywhere in the first 1024 bytes; offsets count from it.
    let head = bytes.get(..bytes.len().min(1024)).unwrap_or_default();
    let start = find(head, b"%PDF-").ok_or(bad("no header", 0))?;
    let file = bytes.get(start..).unwrap_or_default();
    let version = match file.get(5..8) {
        Some(&[major @ (b'1' | b'2'), b'.', minor @ b'0'..=b'9']) => (major - b'0', minor - b'0'),
        Some(_) => return Err(bad("an unknown version", start)),
        None => return Err(Error::Truncated { what: WHAT }),
    };
    let trimmed = file.trim_ascii_end();
    let tail_start = trimmed.len().saturating_sub(1024);
    let tail = trimmed.get(tail_start..).unwrap_or_default();
    let end = rfind(tail, b"%%EOF").ok_or(Error::Truncated { what: WHAT })?;
    let before = tail.get(..end).unwrap_or_default();
    let mark = rfind(before, b"startxref").ok_or(Error::Truncated { what: WHAT })?;
    let (first, _) =
        number(before, mark + 9).ok_or(bad("no offset after startxref", tail_start + mark))?;
    let encrypted = walk(file, first)?;
    Ok(Document {
        version,
        pages: pages(file),
        encrypted,
        active: active(file),
    })
}

/// Follows the chain of cross-reference sections; says whether any trailer names encryption.
fn walk(file: &[u8], first: usize) -> Result<bool> {
    let mut encrypted = false;
    let mut seen = std::collections::BTreeSet::new();
    let mut next = Some(first);
    let mut root = false;
    while let Some(at) = next {
        let bad = |reason| Error::Malformed {
            what: WHAT,
            reason,
            offset: at,
        };
        if at >= file.len() {
            return Err(bad("a cross-reference outside the file"));
        }
        if !seen.insert(at) {
            return Err(bad("cross-references in a circle"));
        }
        if seen.len() > SECTIONS_LIMIT {
            return Err(bad("more cross-reference sections than allowed"));
        }
        let section = file.get(skip_space(file, at)..).unwrap_or_default();
        let dictionary = if section.starts_with(b"xref") {
            table(file, section).map_err(bad)?
        } else {
            object_body(section).ok_or(bad("no cross-reference at its offset"))?
        };
        let dictionary = dictionary_text(dictionary).ok_or(bad("no trailer dictionary"))?;
        root |= find(dictionary, b"/Root").is_some();
        encrypted |= find(dictionary, b"/Encrypt").is_some();
        next = find(dictionary, b"/Prev")
            .and_then(|p| number(dictionary, p + 5))
            .map(|(n, _)| n);
    }
    if root {
        Ok(encrypted)
    } else {
        Err(Error::Missing {
            what: "root of the PDF document",
        })
    }
}

/// Reads a cross-reference table: every object in use must stand where the table says. Yields what
/// follows the word `trailer`.
fn table<'a>(file: &[u8], section: &'a [u8]) -> core::result::Result<&'a [u8], &'static str> {
    let mut at = 4;
    let mut entries = 0_usize;
    loop {
        at = skip_space(section, at);
        if section
            .get(at..)
            .is_some_and(|rest| rest.starts_with(b"trailer"))
        {
            return Ok(section.get(at + 7..).unwrap_or_default());
        }
        let (first, after) = number(section, at).ok_or("a broken cross-reference table")?;
        let (count, after) = number(section, after).ok_or("a broken cross-reference table")?;
        entries = entries.saturating_add(count);
        if entries > ENTRIES_LIMIT {
            return Err("more cross-references than allowed");
        }
        at = after;
        for index in 0..count {
            let (offset, after) = number(section, at).ok_or("a broken cross-reference table")?;
            let (_, after) = number(section, after).ok_or("a broken cross-reference table")?;
            let kind = skip_space(section, after);
            match section.get(kind) {
                Some(b'n') => {
                    let object = file.get(offset..).unwrap_or_default();
                    let named = number(object, 0).map(|(n, _)| n);
                    // Some writers begin the table at 1 though it starts with object 0.
                    let expected = first.saturating_add(index);
                    let right = named == Some(expected) || named == expected.checked_sub(1);
                    if !right || object_body(object).is_none() {
                        return Err("an object that is not where the table says");
                    }
                }
                Some(b'f') => {}
                _ => return Err("a broken cross-reference table"),
            }
            at = kind + 1;
        }
    }
}

/// What follows `12 0 obj`.
fn object_body(text: &[u8]) -> Option<&[u8]> {
    let (_, after) = number(text, 0)?;
    let (_, after) = number(text, after)?;
    let at = skip_space(text, after);
    text.get(at..)?
        .strip_prefix(b"obj")
        .map(<[u8]>::trim_ascii_start)
}

/// A dictionary from `<<` to its `>>`, strings skipped so that their brackets do not count.
fn dictionary_text(text: &[u8]) -> Option<&[u8]> {
    let text = text.get(skip_space(text, 0)..)?;
    let text = text.get(..text.len().min(DICTIONARY_LIMIT))?;
    let mut depth = 0_u32;
    let mut at = 0;
    loop {
        match (text.get(at)?, text.get(at + 1)) {
            (b'<', Some(b'<')) => {
                depth += 1;
                at += 2;
            }
            (b'>', Some(b'>')) => {
                depth = depth.checked_sub(1)?;
                at += 2;
                if depth == 0 {
                    return text.get(..at);
                }
            }
            (b'(', _) => at = string_end(text, at)?,
            _ if depth == 0 => return None,
            _ => at += 1,
        }
    }
}

/// Position after a literal string; parentheses nest, a backslash takes the next byte along.
fn string_end(text: &[u8], start: usize) -> Option<usize> {
    let mut depth = 0_u32;
    let mut at = start;
    loop {
        match text.get(at)? {
            b'\\' => at += 1,
            b'(' => depth += 1,
            b')' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
}

/// The largest `/Count` beside a `/Type /Pages`: that of the root of the page tree.
fn pages(file: &[u8]) -> Option<u32> {
    let mut most = None;
    for place in memchr::memmem::find_iter(file, b"/Pages").take(PAGE_TREES_LIMIT) {
        // The dictionary around it: from the last object's start to its end, a short way.
        let from = place.saturating_sub(65_536);
        let before = file.get(from..place).unwrap_or_default();
        let typed = before.trim_ascii_end().ends_with(b"/Type");
        let Some(open) = rfind(before, b"obj").filter(|_| typed) else {
            continue;
        };
        let body = file
            .get(from + open + 3..)
            .unwrap_or_default()
            .trim_ascii_start();
        let count = dictionary_text(body)
            .and_then(|d| find(d, b"/Count").and_then(|c| number(d, c + 6)))
            .and_then(|(n, _)| u32::try_from(n).ok());
        most = most.max(count);
    }
    most
}

fn active(file: &[u8]) -> bool {
    [
        &b"/JavaScript"[..],
        b"/JS",
        b"/Launch",
        b"/EmbeddedFile",
        b"/RichMedia",
        b"/XFA",
    ]
    .iter()
    .any(|name| contains_name(file, name))
}

/// Whether a name object stands in the file: followed by no letter or digit.
fn contains_name(file: &[u8], name: &[u8]) -> bool {
    memchr::memmem::find_iter(file, name).any(|at| {
        !file
            .get(at + name.len())
            .is_some_and(u8::is_ascii_alphanumeric)
    })
}

fn skip_space(text: &[u8], at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default().iter().take(SPACE_LIMIT);
    at + rest
        .take_while(|b| b.is_ascii_whitespace() || **b == 0)
        .count()
}

/// A whole number after white space, and the position behind it; at most 10 digits, as in a table.
fn number(text: &[u8], at: usize) -> Option<(usize, usize)> {
    let start = skip_space(text, at);
    let digits = text
        .get(start..)?
        .iter()
        .take_while(|b| b.is_ascii_digit())
        .count();
    let word = text
        .get(start..start + digits)
        .filter(|_| (1..=10).contains(&digits))?;
    let value = word.iter().fold(0_usize, |n, b| {
        n.saturating_mul(10).saturating_add(usize::from(b - b'0'))
    });
    Some((value, start + digits))
}

fn find(text: &[u8], word: &[u8]) -> Option<usize> {
    memchr::memmem::find(text, word)
}

fn rfind(text: &[u8], word: &[u8]) -> Option<usize> {
    memchr::memmem::rfind(text, word)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    const LIMIT: usize = 16 << 20;

    fn report() -> Vec<u8> {
        static REPORT: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| {
            let mut cohort = crate::synth::synthesise(1, 1).unwrap().map(|f| f.unwrap());
            cohort.find(|f| f.path.ends_with(".pdf")).unwrap().bytes
        });
        REPORT.clone()
    }

    #[test]
    fn our_report_is_a_sound_document_of_one_page() {
        let found = inspect(&report(), LIMIT).unwrap();
        assert_eq!(
            (found.pages, found.encrypted, found.active),
            (Some(1), false, false)
        );
        // Bytes before the header shift nothing: offsets count from it.
        let shifted = [b"junk\n", &report()[..]].concat();
        assert_eq!(inspect(&shifted, LIMIT), Ok(found));
    }

    #[test]
    fn real_forms_are_sound() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../../shared/data/documents/ecg-study-consent-form.pdf");
        let Ok(bytes) = std::fs::read(file) else {
            println!("skipped: the sample document is not beside the repository");
            return;
        };
        let found = inspect(&bytes, LIMIT).unwrap();
        println!("{found:?}");
        assert_eq!((found.pages, found.encrypted), (Some(1), false));
    }

    #[test]
    fn every_cut_and_every_lie_about_offsets_is_refused() {
        let whole = report();
        for cut in 0..whole.trim_ascii_end().len() {
            assert!(inspect(&whole[..cut], LIMIT).is_err(), "{cut}");
        }
        let text = String::from_utf8_lossy(&whole).into_owned();
        let swap = |from: &str, to: &str| inspect(text.replacen(from, to, 1).as_bytes(), LIMIT);
        assert!(swap("%PDF-1", "%PDF-9").is_err());
        assert!(swap("1 0 obj", "9 0 obj").is_err());
        assert!(swap("/Root", "/Rot_").is_err());
        assert!(swap("startxref", "startxxxx").is_err());
        assert!(matches!(inspect(&whole, 100), Err(Error::TooLarge { .. })));
        let circle = b"%PDF-1.4\nxref\n0 0\ntrailer <</Root 1 0 R /Prev 9>>\nstartxref\n9\n%%EOF";
        assert!(matches!(
            inspect(circle, LIMIT),
            Err(Error::Malformed {
                reason: "cross-references in a circle",
                ..
            })
        ));
        let huge = b"%PDF-1.4\nxref\n0 9999999999\ntrailer <</Root 1 0 R>>\nstartxref\n9\n%%EOF";
        assert!(inspect(huge, LIMIT).is_err());
    }

    #[test]
    fn hostile_repetition_costs_linear_time() {
        let tail = "\nxref\n0 0\ntrailer <</Root 1 0 R>>\n";
        for filler in [
            "1 0 obj <</Type /Pages ",
            "/Type /Pages",
            "          ",
            "<<<<<<<<",
        ] {
            let mut text = format!(
                "%PDF-1.4\n{}{tail}",
                filler.repeat((4 << 20) / filler.len())
            );
            let at = text.len() - tail.len() + 1;
            text.push_str(&format!("startxref\n{at}\n%%EOF"));
            assert!(inspect(text.as_bytes(), LIMIT).is_ok(), "{filler}");
        }
    }

    #[test]
    fn passwords_and_actions_are_told() {
        let document = |trailer: &str, body: &str| {
            let text = format!("%PDF-1.4\n{body}\nxref\n0 0\ntrailer <<{trailer}>>\n");
            let at = text.find("xref").unwrap();
            inspect(format!("{text}startxref\n{at}\n%%EOF").as_bytes(), LIMIT).unwrap()
        };
        assert!(document("/Root 1 0 R /Encrypt 2 0 R", "").encrypted);
        assert!(document("/Root 1 0 R", "<</S /JavaScript /JS (x)>>").active);
        assert!(!document("/Root 1 0 R", "<</JSON 1>>").active);
    }

    proptest! {
        #[test]
        fn flipped_bits_and_random_bytes_never_panic(at: prop::sample::Index, bit in 0..8_u32, bytes: Vec<u8>) {
            let mut whole = report();
            let at = at.index(whole.len());
            whole[at] ^= 1 << bit;
            let _ = inspect(&whole, LIMIT);
            let _ = inspect(&[b"%PDF-1.4\n", &bytes[..], b"\nstartxref\n9\n%%EOF"].concat(), LIMIT);
            let _ = inspect(&bytes, LIMIT);
        }
    }
}
