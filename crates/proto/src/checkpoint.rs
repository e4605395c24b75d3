//! Checkpoints of the log as text: the C2SP signed-note and tlog-checkpoint formats with our lines.
//!
//! ```text
//! salus/north-consortium                                   origin
//! 20852163                                                 entries in the log
//! CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=             root hash of the log
//! height 4711                                              block after which this holds
//! time 1795341600123                                       that block's agreed time
//! state 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=       root hash of the state
//! members h0KPxSKAPTEGXnvOPPA/5HUJZjHl4Hu9eg/eYMTPJcc=     digest of the list of who signs
//!
//! — salus/6f1a..5c Az3grl..                                Ed25519 and ML-DSA-65 of each member
//! ```
//!
//! Only the text form is here; key ids, signatures and quorums are the business of `ledger`.
//! Specifications: <https://c2sp.org/signed-note>, <https://c2sp.org/tlog-checkpoint>.

use core::fmt::{self, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::ids::OrganisationId;
use crate::{Digest, TimestampMs};

/// Longest signed note, in bytes: fifty members' signatures take 240 kB.
pub const NOTE_LIMIT: usize = 512 << 10;
/// Most signature lines of a note: two a member, and as many again of witnesses.
pub const SIGNATURES_LIMIT: usize = 200;
/// Longest signature with its key id, in bytes; ML-DSA-65 takes 3,313.
pub const SIGNATURE_LIMIT: usize = 5 << 10;
/// Longest origin line and key name, in bytes.
pub const ORIGIN_LIMIT: usize = 256;
/// The signature type of ML-DSA-65 within type 0xff, after which the public key follows in the
/// key id's input.
pub const ML_DSA_65_NOTE_TYPE: &str = "salus/ml-dsa-65";
/// Key of the state entry whose value is the encoded list of members, ascending by organisation.
/// Its digest is what a checkpoint's `members` line holds once that list is in force.
pub const MEMBERS_STATE_KEY: &[u8] = b"members";

/// Em dash and space, with which every signature line begins.
const LINE_START: &str = "\u{2014} ";

/// Text that is not a signed note or not a checkpoint. The words name the rule, not the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Longer than a limit of this module.
    #[error("the {0} is too long")]
    TooLong(&'static str),
    /// Not UTF-8, or with control characters other than newline.
    #[error("the note is not plain UTF-8 text")]
    NotText,
    /// Text, blank line, signature lines: something of that is missing.
    #[error("the note does not end in a blank line and signature lines")]
    NoSignatures,
    /// A signature line that does not follow the format.
    #[error("signature line {0} is malformed")]
    SignatureLine(usize),
    /// A line of the checkpoint that is missing or does not follow the format.
    #[error("the checkpoint's {0} line is missing or malformed")]
    Line(&'static str),
    /// Lines after those that a checkpoint of ours has.
    #[error("the checkpoint has lines that it may not have")]
    ExtraLines,
}

/// What the members of a consortium agree on after a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name; not empty, at most [`ORIGIN_LIMIT`] bytes, no control characters.
    pub origin: String,
    /// Entries in the log.
    pub size: u64,
    /// Root of the log's tree (RFC 9162) over these entries.
    pub root: Digest,
    /// Height of the block after which this holds.
    pub height: u64,
    /// That block's agreed time.
    pub time: TimestampMs,
    /// Root of the state after the block.
    pub state: Digest,
    /// SHA-256 of the encoded list of the members who sign this.
    pub members: Digest,
}

impl Checkpoint {
    /// Reads the text of a checkpoint of ours: exactly seven lines in this order.
    ///
    /// # Errors
    /// [`NoteError`] names the first line that is missing or malformed.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let head = TreeHead::parse(text)?;
        let mut lines = head.extensions.iter();
        let mut labelled = |label: &'static str| {
            let line = lines.next().ok_or(NoteError::Line(label))?;
            line.strip_prefix(label)
                .and_then(|rest| rest.strip_prefix(' '))
                .ok_or(NoteError::Line(label))
        };
        let height = number(labelled("height")?, "height")?;
        let time = TimestampMs(number(labelled("time")?, "time")?);
        let state = hash(labelled("state")?, "state")?;
        let members = hash(labelled("members")?, "members")?;
        if lines.next().is_some() {
            return Err(NoteError::ExtraLines);
        }
        let TreeHead {
            origin, size, root, ..
        } = head;
        Ok(Self {
            origin,
            size,
            root,
            height,
            time,
            state,
            members,
        })
    }

    /// The text that is signed: the seven lines, each with its newline.
    ///
    /// # Errors
    /// [`NoteError`] if the origin breaks its rules.
    pub fn text(&self) -> Result<String, NoteError> {
        check_origin(&self.origin)?;
        let Self {
            origin,
            size,
            root,
            height,
            time,
            state,
            members,
        } = self;
        Ok(format!(
            "{origin}\n{size}\n{}\nheight {height}\ntime {}\nstate {}\nmembers {}\n",
            STANDARD.encode(root.0),
            time.0,
            STANDARD.encode(state.0),
            STANDARD.encode(members.0),
        ))
    }
}

/// Any C2SP checkpoint: the three lines that every log has, and what follows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeHead {
    /// The log's name.
    pub origin: String,
    /// Entries in the log.
    pub size: u64,
    /// Root of the log's tree.
    pub root: Digest,
    /// Further lines without their newline.
    pub extensions: Vec<String>,
}

impl TreeHead {
    /// Reads the text of a checkpoint.
    ///
    /// # Errors
    /// [`NoteError`] names the first line that is missing or malformed.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        if text.len() > NOTE_LIMIT {
            return Err(NoteError::TooLong("checkpoint"));
        }
        let body = text.strip_suffix('\n').ok_or(NoteError::Line("last"))?;
        let mut lines = body.split('\n');
        let origin = lines.next().unwrap_or_default();
        check_origin(origin)?;
        let size = number(lines.next().ok_or(NoteError::Line("size"))?, "size")?;
        let root = hash(lines.next().ok_or(NoteError::Line("root"))?, "root")?;
        let extensions: Vec<String> = lines.map(str::to_owned).collect();
        if extensions.iter().any(String::is_empty) {
            return Err(NoteError::Line("extension"));
        }
        Ok(Self {
            origin: origin.to_owned(),
            size,
            root,
            extensions,
        })
    }
}

/// A text and the signatures under it.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedNote {
    text: String,
    signatures: Vec<NoteSignature>,
}

/// One signature line.
#[derive(Clone, PartialEq, Eq)]
pub struct NoteSignature {
    /// Name of the key; not empty, no white space, no plus sign.
    pub name: String,
    /// Identifies key and algorithm together with the name.
    pub key_id: [u8; 4],
    /// The signature itself.
    pub signature: Vec<u8>,
}

impl SignedNote {
    /// A note over `text` without signatures so far.
    ///
    /// # Errors
    /// [`NoteError`] if the text may not stand in a note.
    pub fn new(text: String) -> Result<Self, NoteError> {
        if text.len() > NOTE_LIMIT {
            return Err(NoteError::TooLong("note"));
        }
        if !text.ends_with('\n') || !is_plain(&text) {
            return Err(NoteError::NotText);
        }
        Ok(Self {
            text,
            signatures: Vec::new(),
        })
    }

    /// Adds a signature line, unless the same line is there already.
    ///
    /// # Errors
    /// [`NoteError`] if the name or the length breaks the rules, or the note is full.
    pub fn add(&mut self, signature: NoteSignature) -> Result<(), NoteError> {
        if self.signatures.contains(&signature) {
            return Ok(());
        }
        if self.signatures.len() >= SIGNATURES_LIMIT {
            return Err(NoteError::TooLong("list of signatures"));
        }
        let length = signature.signature.len();
        if !is_key_name(&signature.name) || length == 0 || length + 4 > SIGNATURE_LIMIT {
            return Err(NoteError::SignatureLine(self.signatures.len() + 1));
        }
        self.signatures.push(signature);
        Ok(())
    }

    /// Reads a note with at least one signature.
    ///
    /// # Errors
    /// [`NoteError`] for whatever breaks the format or a limit.
    pub fn parse(note: &str) -> Result<Self, NoteError> {
        if note.len() > NOTE_LIMIT {
            return Err(NoteError::TooLong("note"));
        }
        if !is_plain(note) {
            return Err(NoteError::NotText);
        }
        let (text, lines) = note.rsplit_once("\n\n").ok_or(NoteError::NoSignatures)?;
        let lines = lines.strip_suffix('\n').ok_or(NoteError::NoSignatures)?;
        let mut signatures = Vec::new();
        for (at, line) in lines.split('\n').enumerate() {
            if at == SIGNATURES_LIMIT {
                return Err(NoteError::TooLong("list of signatures"));
            }
            signatures.push(signature_line(line).ok_or(NoteError::SignatureLine(at + 1))?);
        }
        Ok(Self {
            text: format!("{text}\n"),
            signatures,
        })
    }

    /// What the signatures cover.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures in the order of their lines.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// The same text with only the signatures under this key name.
    #[must_use]
    pub fn only(&self, name: &str) -> Self {
        let signatures = self
            .signatures
            .iter()
            .filter(|line| line.name == name)
            .cloned()
            .collect();
        Self {
            text: self.text.clone(),
            signatures,
        }
    }
}

impl fmt::Display for SignedNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        f.write_char('\n')?;
        for NoteSignature {
            name,
            key_id,
            signature,
        } in &self.signatures
        {
            let bytes = [key_id.as_slice(), signature].concat();
            writeln!(f, "{LINE_START}{name} {}", STANDARD.encode(bytes))?;
        }
        Ok(())
    }
}

impl fmt::Debug for SignedNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedNote")
            .field("text", &self.text)
            .field("signatures", &self.signatures)
            .finish()
    }
}

impl fmt::Debug for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            key_id,
            signature,
        } = self;
        write!(
            f,
            "NoteSignature({name} {} {} bytes)",
            hex::encode(key_id),
            signature.len()
        )
    }
}

/// The key name under which a member signs checkpoints: `salus/` and the organisation's id.
pub fn member_key_name(organisation: OrganisationId) -> String {
    format!("salus/{organisation}")
}

fn signature_line(line: &str) -> Option<NoteSignature> {
    let (name, encoded) = line.strip_prefix(LINE_START)?.split_once(' ')?;
    if !is_key_name(name) || encoded.len() > SIGNATURE_LIMIT.div_ceil(3) * 4 {
        return None;
    }
    let bytes = STANDARD.decode(encoded).ok()?;
    let (key_id, signature) = bytes.split_first_chunk::<4>()?;
    if signature.is_empty() || bytes.len() > SIGNATURE_LIMIT {
        return None;
    }
    Some(NoteSignature {
        name: name.to_owned(),
        key_id: *key_id,
        signature: signature.to_vec(),
    })
}

fn is_key_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= ORIGIN_LIMIT
        && !name
            .chars()
            .any(|c| c.is_whitespace() || c == '+' || c < ' ')
}

/// No ASCII control characters other than newline.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte >= b' ' || byte == b'\n')
}

fn check_origin(origin: &str) -> Result<(), NoteError> {
    if origin.len() > ORIGIN_LIMIT {
        return Err(NoteError::TooLong("origin"));
    }
    if origin.is_empty() || origin.bytes().any(|byte| byte < b' ') {
        return Err(NoteError::Line("origin"));
    }
    Ok(())
}

/// A decimal number without sign or leading zeros.
fn number(digits: &str, line: &'static str) -> Result<u64, NoteError> {
    let canonical = digits.bytes().all(|byte| byte.is_ascii_digit())
        && (digits == "0" || !digits.starts_with('0'));
    digits
        .parse()
        .ok()
        .filter(|_| canonical)
        .ok_or(NoteError::Line(line))
}

/// 32 bytes in base64 with padding (RFC 4648 section 4).
fn hash(text: &str, line: &'static str) -> Result<Digest, NoteError> {
    STANDARD
        .decode(
            text.get(..44)
                .filter(|all| all.len() == text.len())
                .unwrap_or_default(),
        )
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .map(Digest)
        .ok_or(NoteError::Line(line))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The example of the tlog-checkpoint specification.
    const C2SP_CHECKPOINT: &str = "example.com/behind-the-sofa\n20852163\n\
        CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
        \u{2014} example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n";

    /// The example of the signed-note specification; its text has an empty line.
    const C2SP_NOTE: &str = "Ognuno sta solo sul cuor della terra\n\
        trafitto da un raggio di sole:\n\ned è subito sera.\n\n\
        \u{2014} quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n";

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            origin: "salus/test".into(),
            size: 7,
            root: Digest([1; 32]),
            height: 3,
            time: TimestampMs(1_795_341_600_123),
            state: Digest([2; 32]),
            members: Digest([3; 32]),
        }
    }

    #[test]
    fn the_specifications_examples_are_read_and_written_back() {
        let note = SignedNote::parse(C2SP_NOTE).unwrap();
        assert_eq!(note.to_string(), C2SP_NOTE);
        assert!(note.text().ends_with(":\n\ned è subito sera.\n"));
        assert_eq!(note.signatures()[0].name, "quasimodo.example/salvatore");
        assert_eq!(note.signatures()[0].signature.len(), 64);

        let note = SignedNote::parse(C2SP_CHECKPOINT).unwrap();
        assert_eq!(note.to_string(), C2SP_CHECKPOINT);
        assert_eq!(note.signatures()[0].key_id, [0x03, 0x3d, 0xe0, 0xae]);
        let head = TreeHead::parse(note.text()).unwrap();
        assert_eq!((head.size, head.extensions.len()), (20_852_163, 0));
        assert_eq!(
            Checkpoint::parse(note.text()),
            Err(NoteError::Line("height"))
        );
    }

    #[test]
    fn a_checkpoint_has_one_text() {
        let text = checkpoint().text().unwrap();
        assert_eq!(
            text,
            "salus/test\n7\nAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\nheight 3\n\
             time 1795341600123\nstate AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=\n\
             members AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=\n"
        );
        assert_eq!(Checkpoint::parse(&text).unwrap(), checkpoint());
    }

    #[test]
    fn malformed_checkpoints_are_refused_by_the_line_that_is_wrong() {
        let good = checkpoint().text().unwrap();
        for (from, to, error) in [
            ("salus/test\n", "\n", NoteError::Line("origin")),
            ("\n7\n", "\n07\n", NoteError::Line("size")),
            ("\n7\n", "\n+7\n", NoteError::Line("size")),
            ("\n7\n", "\n-7\n", NoteError::Line("size")),
            ("\n7\n", "\n\n", NoteError::Line("size")),
            ("\n7\n", "\n18446744073709551616\n", NoteError::Line("size")),
            ("AQE=\n", "AQF=\n", NoteError::Line("root")),
            ("AQE=\n", "AQE\n", NoteError::Line("root")),
            ("AQE=\n", "AQE=\n\n", NoteError::Line("extension")),
            ("height 3", "height  3", NoteError::Line("height")),
            ("height 3", "Height 3", NoteError::Line("height")),
            ("height 3\n", "", NoteError::Line("height")),
            ("time 1", "time 01", NoteError::Line("time")),
            ("state Ag", "state -g", NoteError::Line("state")),
            ("members AwM", "members AwMDAwM", NoteError::Line("members")),
            ("AwM=\n", "AwM=", NoteError::Line("last")),
            ("AwM=\n", "AwM=\nmore\n", NoteError::ExtraLines),
        ] {
            assert!(good.contains(from), "{from:?}");
            assert_eq!(
                Checkpoint::parse(&good.replacen(from, to, 1)),
                Err(error),
                "{to:?}"
            );
        }
    }

    #[test]
    fn malformed_notes_are_refused() {
        for (from, to, error) in [
            ("\n\n\u{2014}", "\n\u{2014}", NoteError::SignatureLine(1)),
            ("\u{2014} quasi", "- quasi", NoteError::SignatureLine(1)),
            ("salvatore ", "salva tore ", NoteError::SignatureLine(1)),
            ("salvatore ", "salva+tore ", NoteError::SignatureLine(1)),
            (
                "quasimodo.example/salvatore ",
                " ",
                NoteError::SignatureLine(1),
            ),
            ("wNtIc=", "wNtIc", NoteError::SignatureLine(1)),
            ("wNtIc=\n", "wNtIc=", NoteError::NoSignatures),
            ("wNtIc=\n", "wNtIc=\n\n", NoteError::NoSignatures),
            ("Ognuno", "Ognuno\r", NoteError::NotText),
            ("Ognuno", "Ognuno\u{0}", NoteError::NotText),
        ] {
            assert!(C2SP_NOTE.contains(from), "{from:?}");
            let bad = C2SP_NOTE.replacen(from, to, 1);
            assert_eq!(SignedNote::parse(&bad), Err(error), "{to:?}");
        }
        assert_eq!(SignedNote::parse("text\n"), Err(NoteError::NoSignatures));
        let long = format!("{}\n\n\u{2014} a AAAAAAA=\n", "x".repeat(NOTE_LIMIT));
        assert_eq!(SignedNote::parse(&long), Err(NoteError::TooLong("note")));
        let many = format!(
            "x\n\n{}",
            "\u{2014} a AAAAAAA=\n".repeat(SIGNATURES_LIMIT + 1)
        );
        assert_eq!(
            SignedNote::parse(&many),
            Err(NoteError::TooLong("list of signatures"))
        );
    }

    #[test]
    fn origins_and_names_that_would_break_lines_are_refused() {
        let mut bad = checkpoint();
        for origin in ["", "two\nlines", "nul\0"] {
            bad.origin = origin.into();
            assert_eq!(bad.text(), Err(NoteError::Line("origin")), "{origin:?}");
        }
        bad.origin = "x".repeat(ORIGIN_LIMIT + 1);
        assert_eq!(bad.text(), Err(NoteError::TooLong("origin")));
        let mut note = SignedNote::new(checkpoint().text().unwrap()).unwrap();
        for name in ["", "a b", "a+b", "a\nb"] {
            let line = NoteSignature {
                name: name.into(),
                key_id: [0; 4],
                signature: vec![0; 64],
            };
            assert_eq!(note.add(line), Err(NoteError::SignatureLine(1)), "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_and_what_is_read_is_written_back(
            text in "(\\PC|\n|\u{2014} |[a-z/+=A-Z0-9 ]){0,120}",
        ) {
            if let Ok(note) = SignedNote::parse(&text) {
                prop_assert_eq!(note.to_string(), text.clone());
            }
            if let Ok(checkpoint) = Checkpoint::parse(&text) {
                prop_assert_eq!(checkpoint.text().unwrap(), text);
            }
        }

        #[test]
        fn any_checkpoint_and_note_survive_the_round_trip(
            origin in "[^\\x00-\\x1f]{1,60}",
            (size, height, time) in (any::<u64>(), any::<u64>(), any::<u64>()),
            hashes in any::<[[u8; 32]; 3]>(),
            lines in prop::collection::vec(
                ("[a-z/.0-9]{1,30}", any::<[u8; 4]>(), prop::collection::vec(any::<u8>(), 1..90)),
                1..5,
            ),
        ) {
            let [root, state, members] = hashes.map(Digest);
            let time = TimestampMs(time);
            let checkpoint = Checkpoint { origin, size, root, height, time, state, members };
            let text = checkpoint.text().unwrap();
            prop_assert_eq!(&Checkpoint::parse(&text).unwrap(), &checkpoint);
            let mut note = SignedNote::new(text).unwrap();
            for (name, key_id, signature) in lines {
                note.add(NoteSignature { name, key_id, signature }).unwrap();
            }
            prop_assert_eq!(&SignedNote::parse(&note.to_string()).unwrap(), &note);
        }
    }
}
