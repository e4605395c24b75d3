//! What a file is, told from its bytes and never from its name; and names made harmless.

use crate::{Error, Result};

/// A kind of file that Salus takes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// FHIR JSON or other JSON: an object.
    Json,
    /// gzip; look again after unpacking.
    Gzip,
    /// DICOM Part 10, or a bare data set without the preamble.
    Dicom,
    /// PNG image.
    Png,
    /// JPEG image.
    Jpeg,
    /// PDF document.
    Pdf,
    /// A WFDB header; its signals are in other files.
    WfdbHeader,
    /// A USTAR archive.
    Tar,
    /// XML, for example an Apple Health export.
    Xml,
    /// None of these.
    Unknown,
}

impl Kind {
    /// The media type (IANA), as stored beside the content.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/fhir+json",
            Self::Gzip => "application/gzip",
            Self::Dicom => "application/dicom",
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Pdf => "application/pdf",
            Self::WfdbHeader => "application/x-wfdb-header",
            Self::Tar => "application/x-tar",
            Self::Xml => "application/xml",
            Self::Unknown => "application/octet-stream",
        }
    }
}

/// Decides from the first bytes. Deciding is no promise that the rest is sound: the decoders say that.
pub fn sniff(bytes: &[u8]) -> Kind {
    let at = |from: usize, magic: &[u8]| bytes.get(from..).is_some_and(|b| b.starts_with(magic));
    if at(128, b"DICM") {
        return Kind::Dicom;
    }
    for (magic, kind) in [
        (&b"\x1f\x8b\x08"[..], Kind::Gzip),
        (b"\x89PNG\r\n\x1a\n", Kind::Png),
        (b"\xff\xd8\xff", Kind::Jpeg),
        (b"%PDF-", Kind::Pdf),
    ] {
        if at(0, magic) {
            return kind;
        }
    }
    if at(257, b"ustar") {
        return Kind::Tar;
    }
    // Readers tolerate some bytes before a PDF's header (ISO 32000-1 annex H.3.4.1: the first 1024).
    let head = bytes.get(..bytes.len().min(1024)).unwrap_or_default();
    let text = head
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(head)
        .trim_ascii_start();
    if text.starts_with(b"{") {
        return Kind::Json;
    }
    if text.starts_with(b"<?xml") {
        return Kind::Xml;
    }
    if is_bare_dicom(bytes) {
        return Kind::Dicom;
    }
    if is_wfdb_header(head) {
        return Kind::WfdbHeader;
    }
    if head.windows(5).any(|w| w == b"%PDF-") {
        return Kind::Pdf;
    }
    Kind::Unknown
}

/// A data set without preamble begins with an element of group 2 or 8 in little-endian, with either a
/// known VR or a length that fits.
fn is_bare_dicom(bytes: &[u8]) -> bool {
    let Some(&[group, 0, element, 0, v0, v1, l0, l1]) = bytes.first_chunk::<8>() else {
        return false;
    };
    if !matches!(group, 2 | 8) || (group == 2 && element > 3) {
        return false;
    }
    let explicit = matches!(
        &[v0, v1],
        b"UL" | b"UI" | b"CS" | b"OB" | b"DA" | b"SH" | b"LO"
    );
    let length = u32::from_le_bytes([v0, v1, l0, l1]) as usize;
    explicit || (length.is_multiple_of(2) && length <= 64 && bytes.len() > 8 + length)
}

/// The first line that is no comment: a name and whole number of signals, then perhaps a rate.
fn is_wfdb_header(head: &[u8]) -> bool {
    let line = head
        .split(|&b| b == b'\n')
        .find(|l| !l.trim_ascii().is_empty() && !l.starts_with(b"#"));
    let Some(line) = line.and_then(|l| core::str::from_utf8(l).ok()) else {
        return false;
    };
    let mut words = line.split_ascii_whitespace();
    let name = words.next().unwrap_or_default();
    let name_ok = !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'/'));
    let signals = words
        .next()
        .is_some_and(|n| n.len() <= 3 && n.parse::<u16>().is_ok());
    let rate = words
        .next()
        .is_none_or(|r| r.starts_with(|c: char| c.is_ascii_digit()));
    name_ok && signals && rate
}

/// Longest path or name, in bytes.
const PATH_LIMIT: usize = 1024;

/// A relative path with `/` whose every part is a harmless name; it is returned unchanged. Refuses
/// whatever could lead outside its folder or means something else on another system: absolute paths,
/// `..`, backslashes, drive letters, control characters, names that Windows keeps for devices.
pub fn safe_path(path: &str) -> Result<String> {
    let refuse = |reason| Err(Error::UnsafeName { reason });
    if path.is_empty() || path.len() > PATH_LIMIT {
        return refuse("empty or longer than 1024 bytes");
    }
    for part in path.split('/') {
        if matches!(part, "" | "." | "..") {
            return refuse("an empty part, a dot or two dots");
        }
        if part.len() > 255 {
            return refuse("a part longer than 255 bytes");
        }
        if part.chars().any(|c| c.is_control() || is_deceptive(c)) {
            return refuse("a control character or an invisible one");
        }
        if part.contains(['\\', ':', '*', '?', '"', '<', '>', '|']) {
            return refuse("a character that some systems treat as more than a letter");
        }
        if part.ends_with(['.', ' ']) || part.starts_with(' ') {
            return refuse("a space or dot at the end, or a space at the start");
        }
        let stem = part
            .split('.')
            .next()
            .unwrap_or_default()
            .to_ascii_uppercase();
        let numbered = |device: &str| {
            stem.strip_prefix(device)
                .is_some_and(|n| n.len() == 1 && n.as_bytes()[0].is_ascii_digit())
        };
        if matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL")
            || numbered("COM")
            || numbered("LPT")
        {
            return refuse("a name that Windows keeps for a device");
        }
    }
    Ok(path.to_owned())
}

/// A harmless single file name made from whatever a sender called the file: the last part of the path,
/// forbidden characters as `_`, at most 120 characters. Never empty; for display and download only.
pub fn sanitise_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let clean: String = last
        .chars()
        .filter(|c| !is_deceptive(*c))
        .map(|c| {
            let forbidden = c.is_control() || matches!(c, ':' | '*' | '?' | '"' | '<' | '>' | '|');
            if forbidden { '_' } else { c }
        })
        .take(120)
        .collect();
    let clean = clean
        .trim()
        .trim_end_matches(['.', ' '])
        .trim_start_matches('.')
        .trim();
    match safe_path(clean) {
        Ok(name) => name,
        Err(_) if clean.is_empty() => "unnamed".to_owned(),
        Err(_) => {
            let named = format!("_{clean}");
            safe_path(&named).unwrap_or_else(|_| "unnamed".to_owned())
        }
    }
}

/// Characters that hide or turn text around, so that `exe.fdp` reads `pdf.exe` (Unicode TR 36).
fn is_deceptive(c: char) -> bool {
    matches!(
        c,
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn kinds_are_told_from_bytes() {
        let mut dicom = vec![0; 128];
        dicom.extend_from_slice(b"DICM");
        for (bytes, kind) in [
            (&dicom[..], Kind::Dicom),
            (b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100", Kind::Dicom),
            (b"\xef\xbb\xbf \n{\"a\":1}", Kind::Json),
            (b"\x89PNG\r\n\x1a\n", Kind::Png),
            (b"\xff\xd8\xff\xe0", Kind::Jpeg),
            (b"%PDF-1.7", Kind::Pdf),
            (b"junk %PDF-1.4", Kind::Pdf),
            (b"100 2 360 650000\n100.dat 212 200 11", Kind::WfdbHeader),
            (
                b"# remark\r\n041s/2 7 125 2000 8:26:04\r\n",
                Kind::WfdbHeader,
            ),
            (b"<?xml version='1.0'?>", Kind::Xml),
            (b"MZ\x90\x00", Kind::Unknown),
            (b"", Kind::Unknown),
            (b"hello world\n", Kind::Unknown),
        ] {
            assert_eq!(sniff(bytes), kind, "{bytes:?}");
        }
    }

    #[test]
    fn paths_that_lead_outside_are_refused() {
        for path in [
            "a",
            "a/b.dcm",
            "normal/IM-0001-0001.jpg",
            "été/ü.pdf",
            ".hidden",
        ] {
            assert_eq!(safe_path(path).as_deref(), Ok(path));
        }
        for path in [
            "",
            "/",
            "/etc/passwd",
            "..",
            "a/../b",
            "./a",
            "a//b",
            "a\\..\\b",
            "C:\\x",
            "c:x",
            "a\0b",
            "a\nb",
            "nul",
            "COM1.txt",
            "a/LPT9",
            "end.",
            "end ",
            " start",
            "pdf\u{202e}fdp.exe",
        ] {
            assert!(safe_path(path).is_err(), "{path:?}");
        }
        assert!(safe_path(&"a".repeat(256)).is_err());
        assert!(safe_path(&"a/".repeat(600)).is_err());
    }

    #[test]
    fn names_become_harmless() {
        for (name, clean) in [
            ("../../etc/passwd", "passwd"),
            ("C:\\Users\\x\\scan 1.pdf", "scan 1.pdf"),
            ("report\u{202e}fdp.exe", "reportfdp.exe"),
            ("a\u{0}b?.png", "a_b_.png"),
            ("CON", "_CON"),
            ("...", "unnamed"),
            ("", "unnamed"),
            ("a/", "unnamed"),
        ] {
            assert_eq!(sanitise_name(name), clean, "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn a_sanitised_name_is_always_a_safe_single_name(name: String) {
            let clean = sanitise_name(&name);
            prop_assert!(safe_path(&clean).is_ok() && !clean.contains('/'), "{:?}", clean);
        }

        #[test]
        fn sniffing_never_panics(bytes: Vec<u8>) {
            let _ = sniff(&bytes);
        }
    }
}
