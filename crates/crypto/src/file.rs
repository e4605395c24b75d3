//! Files sealed to people: `salus seal` and `salus open`, and the text forms of their keys.
//!
//! ```text
//! magic (8) | list length (4, big-endian) | recipient list (CBOR) | sealed stream
//! ```
//! The list holds one HPKE wrap of a fresh file key per recipient; nothing names them. The sealed
//! stream (see [`crate::seal`]) is under the file key, and its context is the label FILE_CONTEXT
//! followed by the SHA-256 of everything before it, so that the list cannot be changed.
//!
//! | Text | Form |
//! |---|---|
//! | recipient | `salus-recipient-` + base64url(X-Wing public key, 1,216 bytes + check, 4 bytes) |
//! | identity | `SALUS-SECRET-KEY-` + base64url(X-Wing seed, 32 bytes + check, 4 bytes) |
//!
//! The check is the start of SHA-256(label TEXT_CHECK || prefix || key).

use std::io::{Read, Write};

use salus_proto::Entropy;
use salus_proto::encode::{from_base64url, to_base64url, to_bytes};
use salus_proto::sealed::{
    FILE_MAGIC, MAX_RECIPIENT_LIST_LEN, MAX_RECIPIENTS, RecipientList, RecipientWrap,
};
use zeroize::Zeroizing;

use crate::digest::{Secret, sha256_of};
use crate::keys::random_secret;
use crate::seal::{self, Options};
use crate::wrap::{Recipient, XWingSecret};
use crate::{Error, label};

const RECIPIENT_PREFIX: &str = "salus-recipient-";
const IDENTITY_PREFIX: &str = "SALUS-SECRET-KEY-";
const RECIPIENT: &str = "recipient";
const IDENTITY: &str = "identity";

/// Longest line of an identity file, in bytes.
const MAX_LINE_LEN: usize = 4096;
/// Most identities of one identity file.
const MAX_IDENTITIES: usize = 1024;

/// Seals everything that `content` yields to all `recipients`, on three threads, and returns the
/// sealed file's length.
///
/// # Errors
/// [`Error::Recipients`] for none or more than [`MAX_RECIPIENTS`], otherwise as for
/// [`seal::seal_stream`].
pub fn seal_to(
    recipients: &[Recipient],
    options: Options,
    entropy: &mut dyn Entropy,
    content: impl Read + Send,
    mut sealed: impl Write,
) -> Result<u64, Error> {
    if !(1..=MAX_RECIPIENTS).contains(&recipients.len()) {
        return Err(Error::Recipients);
    }
    let file_key = random_secret(entropy);
    let wraps = recipients
        .iter()
        .map(|r| {
            r.wrap_key(label::FILE_KEY_WRAP, &[], &file_key, entropy)
                .map(RecipientWrap)
        })
        .collect::<Result<_, _>>()?;
    let list = to_bytes(&RecipientList { wraps });
    let length = u32::try_from(list.len()).map_err(|_| Error::Recipients)?;
    let start = [&FILE_MAGIC[..], &length.to_be_bytes(), &list].concat();
    sealed.write_all(&start)?;
    let context = stream_context(&start);
    let written =
        seal::seal_stream_threaded(&file_key, &context, options, entropy, content, sealed)?;
    Ok(start.len() as u64 + written)
}

/// Opens a sealed file with whichever of `identities` is a recipient, on three threads, and returns
/// the content's length. What was written before an error is to be discarded.
///
/// # Errors
/// [`Error::NotSealed`], [`Error::UnknownVersion`], [`Error::Malformed`], [`Error::NotARecipient`],
/// otherwise as for [`seal::open_stream`].
pub fn open_with(
    identities: &[Identity],
    mut sealed: impl Read + Send,
    content: impl Write,
) -> Result<u64, Error> {
    let start = read_start(&mut sealed)?;
    let list = RecipientList::from_bytes(start.get(12..).unwrap_or_default())?;
    let file_key = list
        .wraps
        .iter()
        .flat_map(|wrap| identities.iter().map(move |identity| (wrap, identity)))
        .find_map(|(wrap, identity)| {
            identity
                .secret
                .unwrap_key(label::FILE_KEY_WRAP, &[], &wrap.0)
                .ok()
        })
        .ok_or(Error::NotARecipient)?;
    seal::open_stream_threaded(&file_key, &stream_context(&start), sealed, content)
}

/// Reads magic, length and list.
fn read_start(sealed: &mut impl Read) -> Result<Vec<u8>, Error> {
    let mut start = Vec::new();
    sealed.by_ref().take(12).read_to_end(&mut start)?;
    let magic = start.get(..8).unwrap_or(&start);
    if start.len() < 12 && FILE_MAGIC.starts_with(magic) {
        return Err(Error::Truncated);
    }
    seal::check_magic(magic, &FILE_MAGIC)?;
    let length = start
        .last_chunk::<4>()
        .map_or(0, |length| u32::from_be_bytes(*length));
    if length as usize > MAX_RECIPIENT_LIST_LEN {
        return Err(Error::Recipients);
    }
    let read = sealed
        .by_ref()
        .take(u64::from(length))
        .read_to_end(&mut start)?;
    if read < length as usize {
        return Err(Error::Truncated);
    }
    Ok(start)
}

fn stream_context(start: &[u8]) -> Vec<u8> {
    [
        label::FILE_CONTEXT.as_bytes(),
        sha256_of(&[start]).as_bytes(),
    ]
    .concat()
}

/// A person's or machine's key for opening sealed files. Wiped when dropped.
pub struct Identity {
    seed: Secret,
    secret: XWingSecret,
}

impl Identity {
    /// A fresh identity.
    ///
    /// # Errors
    /// None for 32 random bytes; the type follows [`Self::from_seed`].
    pub fn generate(entropy: &mut dyn Entropy) -> Result<Self, Error> {
        Self::from_seed(&random_secret(entropy))
    }

    /// The identity of an X-Wing seed.
    ///
    /// # Errors
    /// [`Error::SecretKey`] if the library refuses the seed, which it does for no 32 bytes.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, Error> {
        Ok(Self {
            seed: Zeroizing::new(*seed),
            secret: XWingSecret::from_seed(seed)?,
        })
    }

    /// Who seals to this identity seals to this recipient.
    pub fn recipient(&self) -> Recipient {
        self.secret.recipient()
    }

    /// The secret text form: one line.
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(to_text(IDENTITY_PREFIX, &*self.seed))
    }

    /// Reads the secret text form.
    ///
    /// # Errors
    /// [`Error::Text`] for anything else, and for mistyped text.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let seed = Zeroizing::new(from_text(IDENTITY_PREFIX, text, IDENTITY)?);
        let seed = seed
            .as_slice()
            .try_into()
            .map_err(|_| Error::Text { what: IDENTITY })?;
        Self::from_seed(seed)
    }

    /// Reads an identity file: one identity per line, empty lines and lines that start with `#`
    /// apart.
    ///
    /// # Errors
    /// [`Error::Text`] if a line is something else, or there are none or more than 1,024.
    pub fn parse_file(text: &str) -> Result<Vec<Self>, Error> {
        let lines = text
            .lines()
            .map(str::trim)
            .filter(|l| !l.is_empty() && !l.starts_with('#'));
        let identities: Vec<Self> = lines
            .take(MAX_IDENTITIES + 1)
            .map(Self::parse)
            .collect::<Result<_, _>>()?;
        if (1..=MAX_IDENTITIES).contains(&identities.len()) {
            Ok(identities)
        } else {
            Err(Error::Text {
                what: "identity file",
            })
        }
    }
}

impl core::fmt::Debug for Identity {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Identity(of {:?})", self.recipient())
    }
}

/// The text form of a recipient: one line.
pub fn recipient_to_text(recipient: &Recipient) -> String {
    to_text(RECIPIENT_PREFIX, &recipient.to_bytes())
}

/// Reads a recipient's text form.
///
/// # Errors
/// [`Error::Text`] for anything else, and for mistyped text; [`Error::PublicKey`] if the key itself
/// is not acceptable.
pub fn recipient_from_text(text: &str) -> Result<Recipient, Error> {
    Recipient::parse(&from_text(RECIPIENT_PREFIX, text, RECIPIENT)?)
}

fn to_text(prefix: &str, key: &[u8]) -> String {
    let body = Zeroizing::new([key, &text_check(prefix, key)].concat());
    format!("{prefix}{}", to_base64url(&body))
}

fn from_text(prefix: &str, text: &str, what: &'static str) -> Result<Vec<u8>, Error> {
    let wrong = || Error::Text { what };
    let body = text
        .trim()
        .strip_prefix(prefix)
        .filter(|body| body.len() <= MAX_LINE_LEN);
    let body = Zeroizing::new(body.and_then(from_base64url).ok_or_else(wrong)?);
    let (key, check) = body.split_last_chunk::<4>().ok_or_else(wrong)?;
    if *check != text_check(prefix, key) {
        return Err(wrong());
    }
    Ok(key.to_vec())
}

fn text_check(prefix: &str, key: &[u8]) -> [u8; 4] {
    let digest = sha256_of(&[label::TEXT_CHECK.as_bytes(), prefix.as_bytes(), key]);
    let [a, b, c, d, ..] = digest.0;
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::Seeded;

    fn identity(seed: u8) -> Identity {
        Identity::from_seed(&[seed; 32]).unwrap()
    }

    fn sealed(to: &[u8], content: &[u8]) -> Vec<u8> {
        let recipients: Vec<_> = to.iter().map(|seed| identity(*seed).recipient()).collect();
        let mut out = Vec::new();
        let options = Options {
            content_length: Some(content.len() as u64),
            ..Options::default()
        };
        let written =
            seal_to(&recipients, options, &mut Seeded::new(1), content, &mut out).unwrap();
        assert_eq!(written, out.len() as u64);
        out
    }

    fn opened(with: &[Identity], sealed: &[u8]) -> Result<Vec<u8>, &'static str> {
        let mut out = Vec::new();
        open_with(with, sealed, &mut out).map_err(|e| e.name())?;
        Ok(out)
    }

    #[test]
    fn each_recipient_opens_the_file_and_nobody_else() {
        let content = Seeded::new(3).bytes(3 << 20);
        let file = sealed(&[1, 2, 3], &content);
        for seed in [1, 2, 3] {
            assert!(opened(&[identity(9), identity(seed)], &file).unwrap() == content);
        }
        assert_eq!(
            opened(&[identity(4), identity(5)], &file).unwrap_err(),
            "not-a-recipient"
        );
        assert_eq!(opened(&[], &file).unwrap_err(), "not-a-recipient");
    }

    #[test]
    fn recipients_cannot_be_added_removed_or_exchanged() {
        let (one, two) = (sealed(&[1], b"content"), sealed(&[1, 2], b"content"));
        // keep the first wrap only, and say so in the list
        let cut = 12 + usize::try_from(u32::from_be_bytes(two[8..12].try_into().unwrap())).unwrap();
        let list = RecipientList::from_bytes(&two[12..cut]).unwrap();
        let fewer = to_bytes(&RecipientList {
            wraps: vec![list.wraps[0].clone()],
        });
        let length = u32::try_from(fewer.len()).unwrap().to_be_bytes();
        let altered = [&FILE_MAGIC[..], &length, &fewer, &two[cut..]].concat();
        assert_eq!(
            opened(&[identity(1)], &altered).unwrap_err(),
            "wrong-context"
        );
        assert_eq!(opened(&[identity(1)], &one).unwrap(), b"content");
    }

    #[test]
    fn every_altered_byte_and_every_cut_is_noticed() {
        let file = sealed(&[1], b"content");
        let me = [identity(1)];
        for byte in (0..40)
            .chain((40..1180).step_by(61))
            .chain(1180..file.len())
        {
            let mut altered = file.clone();
            altered[byte] ^= 1;
            assert!(opened(&me, &altered).is_err(), "byte {byte}");
            assert_eq!(
                opened(&me, &file[..byte]).unwrap_err(),
                "truncated",
                "cut at {byte}"
            );
        }
        assert_eq!(
            opened(&me, b"age-encryption.org/v1").unwrap_err(),
            "not-sealed"
        );
        assert_eq!(opened(&me, b"salus.f2....").unwrap_err(), "unknown-version");
        assert_eq!(
            opened(&me, b"salus.f1\xff\xff\xff\xff").unwrap_err(),
            "recipients"
        );
    }

    #[test]
    fn a_file_needs_a_recipient() {
        let refused = seal_to(
            &[],
            Options::default(),
            &mut Seeded::new(1),
            &b""[..],
            Vec::new(),
        );
        assert!(matches!(refused, Err(Error::Recipients)));
    }

    #[test]
    fn text_forms_come_back_and_mistyped_ones_are_refused() {
        let me = identity(7);
        let secret = me.to_text();
        assert_eq!(
            Identity::parse(&secret).unwrap().recipient(),
            me.recipient()
        );
        let public = recipient_to_text(&me.recipient());
        assert_eq!(
            recipient_from_text(&format!(" {public}\n")).unwrap(),
            me.recipient()
        );
        assert_eq!((secret.len(), public.len()), (17 + 48, 16 + 1627));
        for at in 0..secret.len() {
            let mut typed: Vec<u8> = secret.bytes().collect();
            typed[at] = if typed[at] == b'A' { b'B' } else { b'A' };
            assert!(
                Identity::parse(core::str::from_utf8(&typed).unwrap()).is_err(),
                "{at}"
            );
        }
        assert!(Identity::parse(&public).is_err());
        assert!(recipient_from_text(&secret).is_err());
        assert!(!format!("{me:?}").contains(secret.get(17..30).unwrap()));
    }

    #[test]
    fn an_identity_file_has_comments_and_several_identities() {
        let text = format!(
            "# made for the ward\n\n{}\r\n  {}\n",
            &*identity(1).to_text(),
            &*identity(2).to_text()
        );
        let found = Identity::parse_file(&text).unwrap();
        assert_eq!(found[1].recipient(), identity(2).recipient());
        assert!(Identity::parse_file("# nothing\n").is_err());
        assert!(Identity::parse_file(&format!("{text}nonsense\n")).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_bytes_and_no_text_make_the_readers_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..200), text in ".{0,80}") {
            let me = [identity(1)];
            prop_assert!(opened(&me, &bytes).is_err());
            prop_assert!(opened(&me, &[&FILE_MAGIC[..], &bytes].concat()).is_err());
            let _ = Identity::parse(&format!("{IDENTITY_PREFIX}{text}"));
            let _ = recipient_from_text(&format!("{RECIPIENT_PREFIX}{text}"));
        }
    }
}
