//! A bounded, strict pull scanner over JSON text (RFC 8259): one pass, no tree, no recursion.
//!
//! It yields borrowed spans of the input, so a bundle is split into its resources while their few
//! deciding members are read. It accepts exactly what `serde_json` accepts below the depth limit;
//! a property test holds the two together.

use std::borrow::Cow;

use crate::{Error, Result};

/// Deepest nesting of arrays and objects.
pub(crate) const DEPTH_LIMIT: u32 = 64;
/// Most members of an object whose members are read one by one, and not skipped.
const MEMBERS_LIMIT: usize = 256;
const WHAT: &str = "JSON";

/// A position in JSON text.
#[derive(Clone)]
pub(crate) struct Cursor<'a> {
    text: &'a str,
    at: usize,
    depth: u32,
}

/// A string as it stands between its quotes.
#[derive(Clone, Copy)]
pub(crate) struct RawString<'a> {
    inner: &'a str,
    escaped: bool,
}

impl<'a> RawString<'a> {
    /// The string's value; borrowed unless it holds escapes.
    pub(crate) fn value(self) -> Result<Cow<'a, str>> {
        if !self.escaped {
            return Ok(Cow::Borrowed(self.inner));
        }
        serde_json::from_str(&format!("\"{}\"", self.inner))
            .map(Cow::Owned)
            .map_err(|_| Error::Malformed {
                what: WHAT,
                reason: "a string with a bad escape",
                offset: 0,
            })
    }
}

impl<'a> Cursor<'a> {
    /// Starts at the beginning of a text.
    pub(crate) fn new(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            depth: 0,
        }
    }

    /// Ends the scan: only white space may follow.
    pub(crate) fn end(mut self) -> Result<()> {
        self.skip_whitespace();
        if self.at == self.text.len() {
            Ok(())
        } else {
            Err(self.malformed("text after the value"))
        }
    }

    /// Reads an object, handing each member's name to `member`, which must consume the value.
    /// A member that stands twice is refused: two readers might believe different ones.
    pub(crate) fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, &'a str) -> Result<()>,
    ) -> Result<()> {
        self.enter(b'{', "expected an object")?;
        let mut seen: Vec<&str> = Vec::with_capacity(16);
        if self.next_is(b'}') {
            return self.leave();
        }
        loop {
            let name = self.string()?;
            if name.escaped {
                return Err(self.malformed("a member name with an escape"));
            }
            if seen.contains(&name.inner) {
                return Err(Error::Duplicate {
                    what: "JSON member",
                });
            }
            if seen.len() == MEMBERS_LIMIT {
                return Err(Error::TooLarge {
                    what: "members of a JSON object",
                    length: MEMBERS_LIMIT as u64 + 1,
                    limit: MEMBERS_LIMIT as u64,
                });
            }
            seen.push(name.inner);
            self.expect(b':', "expected a colon")?;
            member(self, name.inner)?;
            match self.token()? {
                b',' => self.at += 1,
                b'}' => return self.leave(),
                _ => return Err(self.malformed("expected a comma or the end of the object")),
            }
        }
    }

    /// Reads an array, calling `element` before each element, which it must consume.
    pub(crate) fn array(&mut self, mut element: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        self.enter(b'[', "expected an array")?;
        if self.next_is(b']') {
            return self.leave();
        }
        loop {
            element(self)?;
            match self.token()? {
                b',' => self.at += 1,
                b']' => return self.leave(),
                _ => return Err(self.malformed("expected a comma or the end of the array")),
            }
        }
    }

    /// Whether the next value is an object.
    pub(crate) fn at_object(&mut self) -> bool {
        self.next_is(b'{')
    }

    /// Whether the next value is an array.
    pub(crate) fn at_array(&mut self) -> bool {
        self.next_is(b'[')
    }

    /// Whether the next value is a string.
    pub(crate) fn at_string(&mut self) -> bool {
        self.next_is(b'"')
    }

    /// Position of the next token, in bytes.
    pub(crate) fn position(&mut self) -> usize {
        self.skip_whitespace();
        self.at
    }

    /// The text from `start` to here.
    pub(crate) fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    /// Reads a string.
    pub(crate) fn string(&mut self) -> Result<RawString<'a>> {
        self.expect(b'"', "expected a string")?;
        let start = self.at;
        let mut escaped = false;
        loop {
            self.at = plain_end(self.text.as_bytes(), self.at);
            match self.text.as_bytes().get(self.at) {
                Some(b'"') => {
                    let inner = self.since(start);
                    self.at += 1;
                    return Ok(RawString { inner, escaped });
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) => return Err(self.malformed("a control character in a string")),
                None => return Err(Error::Truncated { what: WHAT }),
            }
        }
    }

    /// Skips one value of any kind, checking all of its syntax, and yields its text.
    pub(crate) fn skip(&mut self) -> Result<&'a str> {
        let start = self.position();
        let outer = self.depth;
        // One bit a level: 1 for an object. The depth limit is what the word holds.
        let mut objects: u64 = 0;
        'value: loop {
            match self.token()? {
                b'{' => {
                    self.enter(b'{', "")?;
                    objects = objects << 1 | 1;
                    if self.next_is(b'}') {
                        self.leave()?;
                        objects >>= 1;
                    } else {
                        self.member_name()?;
                        continue 'value;
                    }
                }
                b'[' => {
                    self.enter(b'[', "")?;
                    objects <<= 1;
                    if self.next_is(b']') {
                        self.leave()?;
                        objects >>= 1;
                    } else {
                        continue 'value;
                    }
                }
                b'"' => {
                    self.string()?;
                }
                b't' => self.literal("true")?,
                b'f' => self.literal("false")?,
                b'n' => self.literal("null")?,
                _ => self.number()?,
            }
            while self.depth > outer {
                match (self.token()?, objects & 1) {
                    (b',', inside_object) => {
                        self.at += 1;
                        if inside_object == 1 {
                            self.member_name()?;
                        }
                        continue 'value;
                    }
                    (b'}', 1) | (b']', 0) => {
                        self.leave()?;
                        objects >>= 1;
                    }
                    _ => return Err(self.malformed("expected a comma or a closing bracket")),
                }
            }
            return Ok(self.since(start));
        }
    }

    fn member_name(&mut self) -> Result<()> {
        self.string()?;
        self.expect(b':', "expected a colon")
    }

    fn enter(&mut self, open: u8, reason: &'static str) -> Result<()> {
        self.expect(open, reason)?;
        self.depth += 1;
        if self.depth > DEPTH_LIMIT {
            return Err(Error::TooDeep {
                what: WHAT,
                limit: DEPTH_LIMIT,
            });
        }
        Ok(())
    }

    fn leave(&mut self) -> Result<()> {
        self.at += 1;
        self.depth = self.depth.saturating_sub(1);
        Ok(())
    }

    fn escape(&mut self) -> Result<()> {
        let bytes = self.text.as_bytes();
        match bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => {
                let digits = bytes.get(self.at + 2..self.at + 6);
                if !digits.is_some_and(|four| four.iter().all(u8::is_ascii_hexdigit)) {
                    return Err(self.malformed("a bad unicode escape"));
                }
                self.at += 6;
            }
            Some(_) => return Err(self.malformed("an unknown escape")),
            None => return Err(Error::Truncated { what: WHAT }),
        }
        Ok(())
    }

    fn literal(&mut self, word: &'static str) -> Result<()> {
        let found = self.text.as_bytes().get(self.at..self.at + word.len());
        if found != Some(word.as_bytes()) {
            return Err(self.malformed("an unknown word"));
        }
        self.at += word.len();
        Ok(())
    }

    fn number(&mut self) -> Result<()> {
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        let first = self.byte();
        let digits = self.digits();
        if digits == 0 {
            return Err(self.malformed("expected a value"));
        }
        if first == Some(b'0') && digits > 1 {
            return Err(self.malformed("a number with a leading zero"));
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return Err(self.malformed("a number without digits after the point"));
            }
        }
        if let Some(b'e' | b'E') = self.byte() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.byte() {
                self.at += 1;
            }
            if self.digits() == 0 {
                return Err(self.malformed("a number without digits in its exponent"));
            }
        }
        Ok(())
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.byte().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        self.at - start
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The next byte that is not white space, not consumed.
    fn token(&mut self) -> Result<u8> {
        self.skip_whitespace();
        self.byte().ok_or(Error::Truncated { what: WHAT })
    }

    fn next_is(&mut self, byte: u8) -> bool {
        self.skip_whitespace();
        self.byte() == Some(byte)
    }

    fn expect(&mut self, byte: u8, reason: &'static str) -> Result<()> {
        if self.token()? != byte {
            return Err(self.malformed(reason));
        }
        self.at += 1;
        Ok(())
    }

    fn skip_whitespace(&mut self) {
        let bytes = self.text.as_bytes();
        loop {
            match bytes.get(self.at) {
                Some(b' ') => {
                    // Indentation is half of a pretty-printed bundle: take it sixteen at a time.
                    while bytes.get(self.at..self.at + 16) == Some(&[b' '; 16]) {
                        self.at += 16;
                    }
                    while bytes.get(self.at) == Some(&b' ') {
                        self.at += 1;
                    }
                }
                Some(b'\n' | b'\r' | b'\t') => self.at += 1,
                _ => return,
            }
        }
    }

    fn malformed(&self, reason: &'static str) -> Error {
        Error::Malformed {
            what: WHAT,
            reason,
            offset: self.at,
        }
    }
}

/// First position from `at` of a quote, a backslash or a control character, or the end. Eight bytes
/// a step: a byte's top bit is set in `stop` where it is one of them (the borrow may set it for a
/// byte after a true hit, never before one, and the first hit is the one that counts).
fn plain_end(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const TOPS: u64 = 0x8080_8080_8080_8080;
    let zero_byte = |word: u64| word.wrapping_sub(ONES) & !word & TOPS;
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*chunk);
        let control = word.wrapping_sub(ONES * 0x20) & !word & TOPS;
        let stop = control | zero_byte(word ^ (ONES * 0x22)) | zero_byte(word ^ (ONES * 0x5c));
        if stop != 0 {
            return at + stop.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    while bytes
        .get(at)
        .is_some_and(|b| !matches!(b, b'"' | b'\\' | 0..0x20))
    {
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ours(text: &str) -> bool {
        let mut cursor = Cursor::new(text);
        cursor.skip().is_ok() && cursor.end().is_ok()
    }

    fn theirs(text: &str) -> bool {
        serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
    }

    #[test]
    fn scanner_and_serde_json_agree_on_the_corners() {
        for text in [
            "",
            " ",
            "0",
            "-0",
            "01",
            "-",
            "1.",
            "1.5e+3",
            "1e",
            ".5",
            "+1",
            "1.5E-07",
            "nul",
            "null",
            "true ",
            "truex",
            "\"",
            "\"a\"",
            "\"\\u12\"",
            "\"\\u12aF\"",
            "\"\\x\"",
            "\"\u{1}\"",
            "\"\u{7f}é\"",
            "[]",
            "[ ]",
            "[1,]",
            "[,1]",
            "[1 2]",
            "{}",
            "{\"a\":1}",
            "{\"a\":1,}",
            "{\"a\"}",
            "{a:1}",
            "{\"a\":1 \"b\":2}",
            "[1}",
            "{\"a\":[}",
            "[[],[{}],{\"b\":[null]}]",
            "1 2",
            "[1]]",
            "{\"a\":{\"b\":[1,{\"c\":\"d\"}]},\"e\":-1.0}",
            "\"12345678\\\"90\"",
        ] {
            assert_eq!(ours(text), theirs(text), "{text:?}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nest = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(ours(&nest(64)));
        assert_eq!(
            Cursor::new(&nest(65)).skip().err(),
            Some(Error::TooDeep {
                what: "JSON",
                limit: 64
            })
        );
        assert!(Cursor::new(&"[{\"a\":".repeat(1_000_000)).skip().is_err());
    }

    #[test]
    fn a_member_that_stands_twice_is_refused() {
        let read = |text| Cursor::new(text).object(|c, _| c.skip().map(drop));
        assert_eq!(read(r#"{"id":1,"ID":2}"#), Ok(()));
        assert_eq!(
            read(r#"{"id":1,"id":2}"#),
            Err(Error::Duplicate {
                what: "JSON member"
            })
        );
        assert!(read(r#"{"i\u0064":1}"#).is_err());
    }

    #[test]
    fn spans_are_the_values_exactly() {
        let mut found = Vec::new();
        Cursor::new(r#" { "a" : [1, {"b":2}] , "c":"x\ny" } "#)
            .object(|c, name| {
                found.push((name, c.skip()?));
                Ok(())
            })
            .unwrap();
        assert_eq!(found, [("a", r#"[1, {"b":2}]"#), ("c", r#""x\ny""#)]);
    }

    proptest! {
        #[test]
        fn scanner_and_serde_json_agree_on_json_like_text(
            text in r#"([\[\]{},:"\\ \n0-9eE.+-]|true|null|"a":|"[a-z]{0,20}"|\\u00e9|é){0,24}"#
        ) {
            prop_assert_eq!(ours(&text), theirs(&text), "{:?}", text);
        }

        #[test]
        fn plain_text_ends_where_a_bytewise_search_says(bytes: Vec<u8>, from in 0_usize..40) {
            let slow = (from.min(bytes.len())..bytes.len())
                .find(|&i| matches!(bytes[i], b'"' | b'\\' | 0..0x20))
                .unwrap_or(bytes.len());
            prop_assert_eq!(plain_end(&bytes, from.min(bytes.len())), slow);
        }
    }
}
