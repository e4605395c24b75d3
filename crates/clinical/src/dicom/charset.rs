//! Character sets of DICOM text (PS3.3 C.12.1.1.2, PS3.5 section 6.1): one set, or ISO 2022 switching.

use encoding_rs::{
    EUC_JP, EUC_KR, Encoding, GB18030, GBK, ISO_8859_2, ISO_8859_3, ISO_8859_4, ISO_8859_5,
    ISO_8859_6, ISO_8859_7, ISO_8859_8, SHIFT_JIS, UTF_8, WINDOWS_874, WINDOWS_1252, WINDOWS_1254,
};

use crate::{Error, Result};

/// The sets that a data set declares.
pub(super) struct Charset {
    base: &'static Encoding,
    switching: bool,
}

impl Charset {
    /// Reads the value of (0008,0005); absent or empty is ASCII, read here as Latin-1.
    pub(super) fn declared(value: Option<&str>) -> Result<Self> {
        let value = value.unwrap_or_default();
        let mut names = value.split('\\').map(str::trim);
        let first = names.next().unwrap_or_default();
        let base = named(first).ok_or_else(|| Error::unsupported("DICOM character set", first))?;
        for other in names {
            named(other).ok_or_else(|| Error::unsupported("DICOM character set", other))?;
        }
        Ok(Self {
            base,
            switching: value.contains('\\') || first.starts_with("ISO 2022"),
        })
    }

    /// Text of a value; bytes that mean nothing become U+FFFD.
    pub(super) fn decode(&self, bytes: &[u8]) -> String {
        if !self.switching || !bytes.contains(&0x1b) {
            return decode_with(self.base, bytes);
        }
        // A delimiter of values or name parts switches back to the first set (PS3.5 6.1.2.5.3).
        let mut text = String::new();
        let mut set = Set::Base;
        let mut run: Vec<u8> = Vec::new();
        let mut rest = bytes;
        while let Some((&byte, after)) = rest.split_first() {
            if byte == 0x1b
                && let Some((length, next)) = escape(rest)
            {
                self.flush(&mut text, set, &mut run);
                set = next;
                rest = rest.get(length..).unwrap_or_default();
                continue;
            }
            if matches!(byte, b'^' | b'=' | b'\\' | b'\r' | b'\n')
                && !matches!(set, Set::TwoBytes(_) if run.len() % 2 == 1)
            {
                self.flush(&mut text, set, &mut run);
                set = Set::Base;
                text.push(char::from(byte));
            } else {
                run.push(byte);
            }
            rest = after;
        }
        self.flush(&mut text, set, &mut run);
        text
    }

    fn flush(&self, text: &mut String, set: Set, run: &mut Vec<u8>) {
        let decoded = match set {
            Set::Base => decode_with(self.base, run),
            Set::Single(encoding) => decode_with(encoding, run),
            Set::TwoBytes(prefix) => {
                // The seven-bit pairs of JIS X 0208 and 0212 are EUC-JP without its top bits.
                let mut euc = Vec::with_capacity(run.len() * 2);
                for pair in run.chunks(2) {
                    euc.extend(prefix);
                    euc.extend(pair.iter().map(|b| b | 0x80));
                }
                decode_with(EUC_JP, &euc)
            }
        };
        text.push_str(&decoded);
        run.clear();
    }
}

#[derive(Clone, Copy)]
enum Set {
    Base,
    Single(&'static Encoding),
    /// Japanese in pairs of seven-bit bytes; EUC-JP puts this byte before each pair.
    TwoBytes(Option<u8>),
}

/// Length of an escape sequence and the set it switches to (PS3.3 tables C.12-3 and C.12-4).
fn escape(bytes: &[u8]) -> Option<(usize, Set)> {
    let known: [(&[u8], Set); 17] = [
        (b"\x1b$(D", Set::TwoBytes(Some(0x8f))),
        (b"\x1b$)A", Set::Single(GBK)),
        (b"\x1b$)C", Set::Single(EUC_KR)),
        (b"\x1b$B", Set::TwoBytes(None)),
        (b"\x1b(B", Set::Base),
        (b"\x1b(J", Set::Single(SHIFT_JIS)),
        (b"\x1b)I", Set::Single(SHIFT_JIS)),
        (b"\x1b-A", Set::Single(WINDOWS_1252)),
        (b"\x1b-B", Set::Single(ISO_8859_2)),
        (b"\x1b-C", Set::Single(ISO_8859_3)),
        (b"\x1b-D", Set::Single(ISO_8859_4)),
        (b"\x1b-F", Set::Single(ISO_8859_7)),
        (b"\x1b-G", Set::Single(ISO_8859_6)),
        (b"\x1b-H", Set::Single(ISO_8859_8)),
        (b"\x1b-L", Set::Single(ISO_8859_5)),
        (b"\x1b-M", Set::Single(WINDOWS_1254)),
        (b"\x1b-T", Set::Single(WINDOWS_874)),
    ];
    known
        .into_iter()
        .find(|(sequence, _)| bytes.starts_with(sequence))
        .map(|(s, set)| (s.len(), set))
}

fn named(name: &str) -> Option<&'static Encoding> {
    let number = name
        .strip_prefix("ISO_IR ")
        .or_else(|| name.strip_prefix("ISO 2022 IR "));
    Some(match number.unwrap_or(name) {
        "" | "6" | "100" => WINDOWS_1252,
        "101" => ISO_8859_2,
        "109" => ISO_8859_3,
        "110" => ISO_8859_4,
        "144" => ISO_8859_5,
        "127" => ISO_8859_6,
        "126" => ISO_8859_7,
        "138" => ISO_8859_8,
        "148" => WINDOWS_1254,
        "166" => WINDOWS_874,
        "13" => SHIFT_JIS,
        "87" | "159" => WINDOWS_1252,
        "149" => EUC_KR,
        "58" => GBK,
        "192" => UTF_8,
        "GB18030" => GB18030,
        "GBK" => GBK,
        _ => return None,
    })
}

fn decode_with(encoding: &'static Encoding, bytes: &[u8]) -> String {
    if encoding == WINDOWS_1252 {
        // True Latin-1: each byte is its code point.
        return bytes.iter().map(|&b| char::from(b)).collect();
    }
    encoding.decode_without_bom_handling(bytes).0.into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_standard_read_as_printed_there() {
        // PS3.5 annexes H, I, J and K.
        let cases: [(&str, &[u8], &str); 6] = [
            ("ISO_IR 100", b"Buc^J\xe9r\xf4me", "Buc^Jérôme"),
            (
                "\\ISO 2022 IR 87",
                b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
                "Yamada^Tarou=山田^太郎=やまだ^たろう",
            ),
            (
                "ISO 2022 IR 13\\ISO 2022 IR 87",
                b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J",
                "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎",
            ),
            (
                "\\ISO 2022 IR 149",
                b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7",
                "Hong^Gildong=洪^吉洞",
            ),
            ("ISO_IR 192", "Wang^XiaoDong=王^小東".as_bytes(), "Wang^XiaoDong=王^小東"),
            ("GB18030", b"Wang=\xcd\xf5^\xd0\xa1\xb6\xab", "Wang=王^小东"),
        ];
        for (declared, bytes, text) in cases {
            assert_eq!(
                Charset::declared(Some(declared)).unwrap().decode(bytes),
                text
            );
        }
        assert!(Charset::declared(Some("ISO_IR 999")).is_err());
        assert_eq!(Charset::declared(None).unwrap().decode(b"a\x1b"), "a\u{1b}");
    }
}
