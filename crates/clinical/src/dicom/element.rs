//! The structure of a DICOM file (PS3.5 section 7, PS3.10 section 7): elements, sequences, fragments.
//!
//! Values are borrowed from the input; nothing is allocated by a declared length. Depth and number of
//! elements are bounded, so neither stack nor memory can be driven by hostile nesting.

use std::borrow::Cow;
use std::io::Read;

use crate::{Error, Result};

const WHAT: &str = "DICOM file";
/// Deepest nesting of sequences; real structured reports reach about 15.
const DEPTH_LIMIT: u32 = 64;
/// Most elements, sequence items and fragments together.
const ELEMENTS_LIMIT: usize = 2_000_000;
const UNDEFINED: u32 = u32::MAX;
/// The text of a value that no reader here needs to be longer.
const TEXT_LIMIT: usize = 64 << 10;

/// Group and element number.
pub(super) type Tag = (u16, u16);

const ITEM: Tag = (0xfffe, 0xe000);
const ITEM_END: Tag = (0xfffe, 0xe00d);
const SEQUENCE_END: Tag = (0xfffe, 0xe0dd);
pub(super) const TRANSFER_SYNTAX: Tag = (0x0002, 0x0010);
pub(super) const PIXEL_DATA: Tag = (0x7fe0, 0x0010);
/// Sequences that readers here need; in implicit encoding only the tag tells that they are.
const SEQUENCES: [Tag; 6] = [
    (0x0004, 0x1220),
    (0x003a, 0x0200),
    (0x003a, 0x0208),
    (0x003a, 0x0211),
    (0x5400, 0x0100),
    (0x0040, 0xa730),
];

/// One element.
pub(super) struct Element<'a> {
    pub(super) tag: Tag,
    /// Value representation; `UN` in implicit encoding.
    pub(super) vr: [u8; 2],
    pub(super) value: Value<'a>,
}

pub(super) enum Value<'a> {
    Bytes(&'a [u8]),
    Items(Vec<DataSet<'a>>),
    /// Encapsulated pixel data: the basic offset table and the fragments.
    Fragments(&'a [u8], Vec<&'a [u8]>),
}

/// Elements in the order of the file.
#[derive(Default)]
pub(super) struct DataSet<'a> {
    elements: Vec<Element<'a>>,
    big_endian: bool,
}

/// The bytes of a file, with its data set unpacked if it was deflated.
pub(super) struct File<'a> {
    /// UID of the transfer syntax.
    pub(super) syntax: String,
    /// Media storage SOP class of the meta information.
    pub(super) class: Option<String>,
    body: Cow<'a, [u8]>,
    encoding: Encoding,
}

#[derive(Clone, Copy)]
struct Encoding {
    explicit: bool,
    big_endian: bool,
}

const EXPLICIT: Encoding = Encoding {
    explicit: true,
    big_endian: false,
};
const IMPLICIT: Encoding = Encoding {
    explicit: false,
    big_endian: false,
};

impl<'a> File<'a> {
    /// Reads preamble and meta information; `limit` bounds the data set after inflating.
    pub(super) fn open(bytes: &'a [u8], limit: usize) -> Result<Self> {
        if bytes.len() > limit {
            return Err(too_large(bytes.len(), limit));
        }
        let part_10 = bytes.get(128..132) == Some(b"DICM");
        let start = if part_10 { 132 } else { 0 };
        let mut reader = Reader::new(bytes, start, EXPLICIT);
        let mut meta = DataSet::default();
        while reader.peek_group() == Some(2) {
            meta.elements
                .push(reader.element(0)?.ok_or(Error::Truncated { what: WHAT })?);
        }
        let rest = bytes.get(reader.at..).unwrap_or_default();
        let class = meta.text((0x0002, 0x0002));
        let Some(syntax) = meta.text(TRANSFER_SYNTAX) else {
            if part_10 || reader.at > 0 {
                return Err(Error::Missing {
                    what: "transfer syntax of the DICOM file",
                });
            }
            // A bare data set: the first element shows whether it names its representation.
            let encoding = match rest.first_chunk::<6>() {
                Some(&[8, 0, _, _, a, b]) if a.is_ascii_uppercase() && b.is_ascii_uppercase() => {
                    EXPLICIT
                }
                Some(&[8, 0, _, 0, ..]) => IMPLICIT,
                _ => {
                    return Err(Error::Malformed {
                        what: WHAT,
                        reason: "not DICOM",
                        offset: 0,
                    });
                }
            };
            let syntax = if encoding.explicit {
                "1.2.840.10008.1.2.1"
            } else {
                "1.2.840.10008.1.2"
            };
            return Ok(Self {
                syntax: syntax.to_owned(),
                class,
                body: Cow::Borrowed(rest),
                encoding,
            });
        };
        let (encoding, body) = match syntax.as_str() {
            "1.2.840.10008.1.2" => (IMPLICIT, Cow::Borrowed(rest)),
            "1.2.840.10008.1.2.2" => (
                Encoding {
                    explicit: true,
                    big_endian: true,
                },
                Cow::Borrowed(rest),
            ),
            "1.2.840.10008.1.2.1.99" => (EXPLICIT, Cow::Owned(inflate(rest, limit)?)),
            _ => (EXPLICIT, Cow::Borrowed(rest)),
        };
        Ok(Self {
            syntax,
            class,
            body,
            encoding,
        })
    }

    /// All elements of the data set.
    pub(super) fn data_set(&self) -> Result<DataSet<'_>> {
        let mut reader = Reader::new(&self.body, 0, self.encoding);
        let mut set = DataSet {
            elements: Vec::new(),
            big_endian: self.encoding.big_endian,
        };
        while let Some(element) = reader.element(0)? {
            set.elements.push(element);
        }
        Ok(set)
    }
}

fn too_large(length: usize, limit: usize) -> Error {
    Error::TooLarge {
        what: WHAT,
        length: length as u64,
        limit: limit as u64,
    }
}

fn inflate(deflated: &[u8], limit: usize) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    flate2::read::DeflateDecoder::new(deflated)
        .take(limit as u64 + 1)
        .read_to_end(&mut out)
        .map_err(|_| Error::Codec { codec: "deflate" })?;
    if out.len() > limit {
        Err(too_large(out.len(), limit))
    } else {
        Ok(out)
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    encoding: Encoding,
    count: usize,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8], at: usize, encoding: Encoding) -> Self {
        Self {
            bytes,
            at,
            encoding,
            count: 0,
        }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let end = self
            .at
            .checked_add(length)
            .ok_or(Error::Truncated { what: WHAT })?;
        let taken = self
            .bytes
            .get(self.at..end)
            .ok_or(Error::Truncated { what: WHAT })?;
        self.at = end;
        Ok(taken)
    }

    fn u16(&mut self) -> Result<u16> {
        let two = self.take(2)?.first_chunk().copied().unwrap_or_default();
        Ok(if self.encoding.big_endian {
            u16::from_be_bytes(two)
        } else {
            u16::from_le_bytes(two)
        })
    }

    fn u32(&mut self) -> Result<u32> {
        let four = self.take(4)?.first_chunk().copied().unwrap_or_default();
        Ok(if self.encoding.big_endian {
            u32::from_be_bytes(four)
        } else {
            u32::from_le_bytes(four)
        })
    }

    fn peek_group(&self) -> Option<u16> {
        self.bytes
            .get(self.at..)?
            .first_chunk()
            .map(|two| u16::from_le_bytes(*two))
    }

    fn bad(&self, reason: &'static str) -> Error {
        Error::Malformed {
            what: WHAT,
            reason,
            offset: self.at,
        }
    }

    fn count(&mut self) -> Result<()> {
        self.count += 1;
        if self.count > ELEMENTS_LIMIT {
            let limit = ELEMENTS_LIMIT as u64;
            return Err(Error::TooLarge {
                what: "elements of a DICOM file",
                length: limit + 1,
                limit,
            });
        }
        Ok(())
    }

    /// The next element, or `None` at the end of the input.
    fn element(&mut self, depth: u32) -> Result<Option<Element<'a>>> {
        if self.at == self.bytes.len() {
            return Ok(None);
        }
        self.count()?;
        let tag = (self.u16()?, self.u16()?);
        if tag.0 == 0xfffe {
            return Err(self.bad("an item mark outside a sequence"));
        }
        let (vr, length) = if self.encoding.explicit {
            self.explicit_head()?
        } else {
            (*b"UN", self.u32()?)
        };
        let value = if length == UNDEFINED {
            match (tag, &vr) {
                (PIXEL_DATA, b"OB" | b"OW" | b"UN") => self.fragments()?,
                (_, b"SQ") => self.items(None, depth)?,
                // PS3.5 6.2.2 note 7: an unknown sequence is in implicit little-endian encoding.
                (_, b"UN") => {
                    let outer = core::mem::replace(&mut self.encoding, IMPLICIT);
                    let items = self.items(None, depth);
                    self.encoding = outer;
                    items?
                }
                _ => return Err(self.bad("a value of undefined length that is no sequence")),
            }
        } else {
            let length = length as usize;
            let sequence = &vr == b"SQ" || (!self.encoding.explicit && SEQUENCES.contains(&tag));
            if sequence {
                let end = self
                    .at
                    .checked_add(length)
                    .filter(|&end| end <= self.bytes.len());
                self.items(Some(end.ok_or(Error::Truncated { what: WHAT })?), depth)?
            } else {
                Value::Bytes(self.take(length)?)
            }
        };
        Ok(Some(Element { tag, vr, value }))
    }

    /// PS3.5 section 7.1.2.
    fn explicit_head(&mut self) -> Result<([u8; 2], u32)> {
        let vr: [u8; 2] = self.take(2)?.first_chunk().copied().unwrap_or_default();
        if !vr.iter().all(u8::is_ascii_uppercase) {
            return Err(self.bad("a value representation that is not two capital letters"));
        }
        let short = matches!(
            &vr,
            b"AE"
                | b"AS"
                | b"AT"
                | b"CS"
                | b"DA"
                | b"DS"
                | b"DT"
                | b"FD"
                | b"FL"
                | b"IS"
                | b"LO"
                | b"LT"
                | b"PN"
                | b"SH"
                | b"SL"
                | b"SS"
                | b"ST"
                | b"TM"
                | b"UI"
                | b"UL"
                | b"US"
        );
        if short {
            return Ok((vr, self.u16()?.into()));
        }
        // Every other representation, also one of the future, has two reserved bytes and a long length.
        self.take(2)?;
        Ok((vr, self.u32()?))
    }

    /// Items up to `end`, or up to the sequence's end mark.
    fn items(&mut self, end: Option<usize>, depth: u32) -> Result<Value<'a>> {
        if depth == DEPTH_LIMIT {
            return Err(Error::TooDeep {
                what: "DICOM sequence",
                limit: DEPTH_LIMIT,
            });
        }
        let mut items = Vec::new();
        loop {
            match end {
                Some(end) if self.at == end => return Ok(Value::Items(items)),
                Some(end) if self.at > end => {
                    return Err(self.bad("an item longer than its sequence"));
                }
                _ => {}
            }
            self.count()?;
            let tag = (self.u16()?, self.u16()?);
            let length = self.u32()?;
            match tag {
                ITEM => items.push(self.item(length, depth + 1)?),
                SEQUENCE_END if end.is_none() => return Ok(Value::Items(items)),
                _ => return Err(self.bad("neither an item nor the end of its sequence")),
            }
        }
    }

    fn item(&mut self, length: u32, depth: u32) -> Result<DataSet<'a>> {
        let mut set = DataSet {
            elements: Vec::new(),
            big_endian: self.encoding.big_endian,
        };
        if length == UNDEFINED {
            loop {
                let mark = self.at;
                if (self.u16()?, self.u16()?) == ITEM_END {
                    self.take(4)?;
                    return Ok(set);
                }
                self.at = mark;
                set.elements.push(
                    self.element(depth)?
                        .ok_or(Error::Truncated { what: WHAT })?,
                );
            }
        }
        let end = self
            .at
            .checked_add(length as usize)
            .filter(|&end| end <= self.bytes.len());
        let end = end.ok_or(Error::Truncated { what: WHAT })?;
        while self.at < end {
            set.elements.push(
                self.element(depth)?
                    .ok_or(Error::Truncated { what: WHAT })?,
            );
        }
        if self.at > end {
            Err(self.bad("an element longer than its item"))
        } else {
            Ok(set)
        }
    }

    /// PS3.5 section A.4: the first item is the offset table.
    fn fragments(&mut self) -> Result<Value<'a>> {
        let mut table = None;
        let mut fragments = Vec::new();
        loop {
            self.count()?;
            let tag = (self.u16()?, self.u16()?);
            let length = self.u32()?;
            match tag {
                SEQUENCE_END => return Ok(Value::Fragments(table.unwrap_or_default(), fragments)),
                ITEM if length != UNDEFINED => {
                    let bytes = self.take(length as usize)?;
                    if table.is_none() {
                        table = Some(bytes);
                    } else {
                        fragments.push(bytes);
                    }
                }
                _ => return Err(self.bad("neither a fragment nor the end of the pixel data")),
            }
        }
    }
}

impl<'a> DataSet<'a> {
    pub(super) fn get(&self, tag: Tag) -> Option<&Element<'a>> {
        self.elements.iter().find(|e| e.tag == tag)
    }

    pub(super) fn is_big_endian(&self) -> bool {
        self.big_endian
    }

    pub(super) fn bytes(&self, tag: Tag) -> Option<&'a [u8]> {
        match self.get(tag)?.value {
            Value::Bytes(bytes) => Some(bytes),
            Value::Items(_) | Value::Fragments(..) => None,
        }
    }

    /// The items of a sequence; none if it is absent.
    pub(super) fn items(&self, tag: Tag) -> &[Self] {
        match self.get(tag).map(|e| &e.value) {
            Some(Value::Items(items)) => items,
            _ => &[],
        }
    }

    /// ASCII text without its padding; `None` if absent, empty or not ASCII.
    pub(super) fn text(&self, tag: Tag) -> Option<String> {
        let bytes = self.bytes(tag).filter(|b| b.len() <= TEXT_LIMIT)?;
        let text = core::str::from_utf8(bytes).ok().filter(|t| t.is_ascii())?;
        let text = text.trim_matches(['\0', ' ']);
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// The first value of a US, or of an SS that is not negative.
    pub(super) fn u16(&self, tag: Tag) -> Option<u16> {
        let two = self.bytes(tag)?.first_chunk()?;
        Some(if self.big_endian {
            u16::from_be_bytes(*two)
        } else {
            u16::from_le_bytes(*two)
        })
    }

    /// The first value of a UL.
    pub(super) fn u32(&self, tag: Tag) -> Option<u32> {
        let four = self.bytes(tag)?.first_chunk()?;
        Some(if self.big_endian {
            u32::from_be_bytes(*four)
        } else {
            u32::from_le_bytes(*four)
        })
    }

    /// The first value of an IS or DS.
    pub(super) fn number<T: core::str::FromStr>(&self, tag: Tag) -> Option<T> {
        self.text(tag)?.split('\\').next()?.trim().parse().ok()
    }
}
