//! Why bytes from outside were refused; never what stood in them.

/// A refusal or limit of a decoder. The caller knows the file and names it; this names the reason.
/// No variant carries content of the input: a report may go to a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Longer or larger than this kind of thing may be. Unit: bytes unless `what` says otherwise.
    #[error("{what}: {length} where at most {limit} is allowed")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Size found or declared.
        length: u64,
        /// Size allowed.
        limit: u64,
    },
    /// Nested deeper than allowed.
    #[error("{what}: nested deeper than {limit}")]
    TooDeep {
        /// What is nested.
        what: &'static str,
        /// Depth allowed.
        limit: u32,
    },
    /// Ends before it is complete.
    #[error("{what}: ends too early")]
    Truncated {
        /// What ends.
        what: &'static str,
    },
    /// Text that is not in its declared character set.
    #[error("{what}: not valid {charset} at byte {offset}")]
    Text {
        /// What holds the text.
        what: &'static str,
        /// The character set.
        charset: &'static str,
        /// Where, in bytes from the start.
        offset: usize,
    },
    /// Breaks the rules of its format.
    #[error("{what}: {reason} at byte {offset}")]
    Malformed {
        /// The format or part of it.
        what: &'static str,
        /// The rule that is broken.
        reason: &'static str,
        /// Where, in bytes from the start of the part.
        offset: usize,
    },
    /// The same member, resource or name twice where it may stand once.
    #[error("{what}: appears twice")]
    Duplicate {
        /// What appears twice.
        what: &'static str,
    },
    /// A required part is absent.
    #[error("{what}: missing")]
    Missing {
        /// What is absent.
        what: &'static str,
    },
    /// A checksum does not match the data.
    #[error("{what} {index}: checksum does not match the data")]
    Checksum {
        /// What is covered by the checksum.
        what: &'static str,
        /// Which one, counted from 0.
        index: usize,
    },
    /// Valid, but nothing here decodes it.
    #[error("{what} {name} is not supported")]
    Unsupported {
        /// The kind of thing.
        what: &'static str,
        /// Which one: a format number, a transfer syntax UID, a method. At most 64 printable
        /// ASCII characters.
        name: String,
    },
    /// A file name that could lead outside its folder or deceive a reader.
    #[error("file name: {reason}")]
    UnsafeName {
        /// The rule that is broken.
        reason: &'static str,
    },
    /// A library's decoder refused the data.
    #[error("{codec}: the data does not decode")]
    Codec {
        /// The decoder.
        codec: &'static str,
    },
}

impl Error {
    /// [`Error::Unsupported`] with the name cut to 64 printable ASCII characters without spaces.
    pub(crate) fn unsupported(what: &'static str, name: &str) -> Self {
        let name = name
            .chars()
            .filter(char::is_ascii_graphic)
            .take(64)
            .collect();
        Self::Unsupported { what, name }
    }
}

/// The result of every decoder here.
pub type Result<T> = core::result::Result<T, Error>;
