//! What can go wrong, named for what the caller can do about it; no message shows content or keys.

use salus_proto::encode::Malformed;

/// A refusal or failure of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes are not of the expected format.
    #[error("malformed")]
    Malformed(#[from] Malformed),
    /// A public key that its algorithm does not accept.
    #[error("not a valid {algorithm} public key")]
    PublicKey {
        /// The algorithm's name.
        algorithm: &'static str,
    },
    /// A secret seed that its algorithm does not accept.
    #[error("not a valid {algorithm} secret key")]
    SecretKey {
        /// The algorithm's name.
        algorithm: &'static str,
    },
    /// The signature is not this key's over these bytes and this label.
    #[error("the {algorithm} signature does not verify")]
    Signature {
        /// The algorithm's name.
        algorithm: &'static str,
    },
    /// A signed envelope that is not COSE_Sign with exactly the two signers that Salus uses.
    #[error("not a hybrid signature: {reason}")]
    Envelope {
        /// What is wrong with its structure.
        reason: &'static str,
    },
    /// The wrap does not open: another key, another context, or altered bytes.
    #[error("the key wrap does not open")]
    Unwrap,
    /// The bytes do not open with a sealed format's magic.
    #[error("not sealed by Salus")]
    NotSealed,
    /// A sealed format of a version that this program does not know.
    #[error("sealed with an unknown version of the format")]
    UnknownVersion,
    /// The header names a chunk size outside the format.
    #[error("the chunk size is not a power of two from 64 KiB to 16 MiB")]
    ChunkSize,
    /// The content needs more chunks than a stream may have, or a chunk index is beyond the end.
    #[error("beyond the chunks that a sealed stream can have")]
    TooManyChunks,
    /// The key is not the one that the stream was sealed under.
    #[error("sealed under another key")]
    WrongKey,
    /// The key is right, but the header was altered or the context is not the one that was sealed.
    #[error("the header or the context is not what was sealed")]
    WrongContext,
    /// The stream ends before its last chunk is complete.
    #[error("the sealed stream is cut short")]
    Truncated,
    /// Bytes follow the stream's last chunk.
    #[error("bytes follow the end of the sealed stream")]
    Overlong,
    /// A chunk was altered, or stands where another belongs.
    #[error("chunk {index} of the sealed stream is altered or out of place")]
    Chunk {
        /// The chunk's position, from 0.
        index: u32,
    },
    /// The content to seal is not as long as announced.
    #[error("the content is not as long as announced")]
    ContentLength,
    /// A range that the content does not have.
    #[error("the range is not within the content")]
    Range,
    /// A buffer that does not have the length that the chunk needs.
    #[error("the buffer does not fit the chunk")]
    Buffer,
    /// None of the identities is a recipient of the file.
    #[error("not sealed to any of these identities")]
    NotARecipient,
    /// No recipients, or more than the format holds.
    #[error("a sealed file has 1 to 1,024 recipients")]
    Recipients,
    /// Text that is not a recipient, an identity or a recovery code, or was mistyped.
    #[error("not a valid {what}")]
    Text {
        /// What was expected.
        what: &'static str,
    },
    /// A message of the password protocol that does not parse.
    #[error("not a message of the password protocol")]
    LoginMessage,
    /// The password is wrong, the account unknown, or the exchange altered; which one is not told.
    #[error("login refused")]
    LoginRefused,
    /// What a passkey's authenticator says cannot be accepted.
    #[error("not an acceptable passkey: {reason}")]
    Passkey {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// None of the keyring's doors opens with this secret.
    #[error("the vault does not open with this secret")]
    VaultClosed,
    /// A door that the keyring does not have, already has, or has too many of.
    #[error("the keyring cannot have its doors changed like that")]
    Door,
    /// The keys have replaced as many others as a keyring holds.
    #[error("the keys were replaced too often; register anew")]
    TooManyKeys,
    /// More input than the library or the format takes.
    #[error("too much input")]
    TooLong,
    /// Reading or writing failed.
    #[error("reading or writing failed")]
    Io(#[from] std::io::Error),
}

impl Error {
    /// The stable name of the error, as the golden vectors and other languages use it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::PublicKey { .. } => "public-key",
            Self::SecretKey { .. } => "secret-key",
            Self::Signature { .. } => "signature",
            Self::Envelope { .. } => "envelope",
            Self::Unwrap => "unwrap",
            Self::NotSealed => "not-sealed",
            Self::UnknownVersion => "unknown-version",
            Self::ChunkSize => "chunk-size",
            Self::TooManyChunks => "too-many-chunks",
            Self::WrongKey => "wrong-key",
            Self::WrongContext => "wrong-context",
            Self::Truncated => "truncated",
            Self::Overlong => "overlong",
            Self::Chunk { .. } => "chunk",
            Self::ContentLength => "content-length",
            Self::Range => "range",
            Self::Buffer => "buffer",
            Self::NotARecipient => "not-a-recipient",
            Self::Recipients => "recipients",
            Self::Text { .. } => "text",
            Self::LoginMessage => "login-message",
            Self::LoginRefused => "login-refused",
            Self::Passkey { .. } => "passkey",
            Self::VaultClosed => "vault-closed",
            Self::Door => "door",
            Self::TooManyKeys => "too-many-keys",
            Self::TooLong => "too-long",
            Self::Io(_) => "io",
        }
    }
}
