//! Handing keys on: to a person's X-Wing key by HPKE (RFC 9180, base mode, single shot), or under
//! another symmetric key by AES-256-GCM.
//!
//! HPKE suite: KEM X-Wing (0x647a), KDF HKDF-SHA256 (0x0001), AEAD AES-256-GCM (0x0002); info is the
//! label, aad the caller's context. A wrap is encapsulation (1,120 bytes) || ciphertext || tag (16).

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use hpke::aead::AesGcm256;
use hpke::kdf::HkdfSha256;
use hpke::kem::{Kem, XWing};
use hpke::{Deserializable as _, OpModeR, OpModeS, Serializable as _};
use salus_proto::Entropy;
use salus_proto::sealed::{KEY_WRAP_LEN, TAG_LEN, WRAPPED_KEY_LEN, X_WING_ENCAPSULATION_LEN};
use zeroize::Zeroizing;

use crate::digest::Secret;
use crate::entropy::Adapter;
use crate::{Error, Label};

/// Longest payload of a wrap, in bytes: wraps are for keys and short messages, streams for the rest.
pub const MAX_WRAPPED_LEN: usize = 64 * 1024;

const NONCE_LEN: usize = 12;

/// An X-Wing secret key, wiped when dropped.
pub struct XWingSecret(<XWing as Kem>::PrivateKey);

impl XWingSecret {
    /// The key of a 32-byte seed.
    ///
    /// # Errors
    /// [`Error::SecretKey`] if the library refuses the seed, which it does for no 32 bytes.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, Error> {
        <XWing as Kem>::PrivateKey::from_bytes(seed)
            .map(Self)
            .map_err(|_| Error::SecretKey {
                algorithm: "X-Wing",
            })
    }

    /// The public key, 1,216 bytes.
    pub fn public(&self) -> Vec<u8> {
        XWing::sk_to_pk(&self.0).to_bytes().to_vec()
    }

    /// The key to which others wrap.
    pub fn recipient(&self) -> Recipient {
        Recipient(XWing::sk_to_pk(&self.0))
    }

    /// Opens a wrap made with the same label and context.
    ///
    /// # Errors
    /// [`Error::Unwrap`] if it is not for this key, label and context, or was altered;
    /// [`Error::TooLong`] beyond [`MAX_WRAPPED_LEN`].
    pub fn unwrap(
        &self,
        label: Label,
        context: &[u8],
        wrap: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        if wrap.len() > X_WING_ENCAPSULATION_LEN + MAX_WRAPPED_LEN + TAG_LEN {
            return Err(Error::TooLong);
        }
        let (encapsulation, ciphertext) = wrap
            .split_at_checked(X_WING_ENCAPSULATION_LEN)
            .ok_or(Error::Unwrap)?;
        let encapsulation =
            <XWing as Kem>::EncappedKey::from_bytes(encapsulation).map_err(|_| Error::Unwrap)?;
        hpke::single_shot_open::<AesGcm256, HkdfSha256, XWing>(
            &OpModeR::Base,
            &self.0,
            &encapsulation,
            label.as_bytes(),
            ciphertext,
            context,
        )
        .map(Zeroizing::new)
        .map_err(|_| Error::Unwrap)
    }

    /// Opens the wrap of a 32-byte key.
    ///
    /// # Errors
    /// As for [`Self::unwrap`], and [`Error::Unwrap`] if the payload is not 32 bytes.
    pub fn unwrap_key(&self, label: Label, context: &[u8], wrap: &[u8]) -> Result<Secret, Error> {
        as_key(&self.unwrap(label, context, wrap)?)
    }
}

impl core::fmt::Debug for XWingSecret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("XWingSecret")
    }
}

/// An X-Wing public key, parsed once.
#[derive(Clone, PartialEq, Eq)]
pub struct Recipient(<XWing as Kem>::PublicKey);

impl Recipient {
    /// Accepts the 1,216 bytes of a public key (FIPS 203, section 7.2, for its ML-KEM part).
    ///
    /// # Errors
    /// [`Error::PublicKey`] otherwise.
    pub fn parse(key: &[u8]) -> Result<Self, Error> {
        <XWing as Kem>::PublicKey::from_bytes(key)
            .map(Self)
            .map_err(|_| Error::PublicKey {
                algorithm: "X-Wing",
            })
    }

    /// The public key, 1,216 bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.to_bytes().to_vec()
    }

    /// Wraps a payload of at most [`MAX_WRAPPED_LEN`] bytes to this recipient. `context` says which
    /// record, recipient and grant it is for; it is not in the wrap, and opening needs the same.
    ///
    /// # Errors
    /// [`Error::TooLong`] beyond the bound.
    pub fn wrap(
        &self,
        label: Label,
        context: &[u8],
        payload: &[u8],
        entropy: &mut dyn Entropy,
    ) -> Result<Vec<u8>, Error> {
        if payload.len() > MAX_WRAPPED_LEN {
            return Err(Error::TooLong);
        }
        let (encapsulation, ciphertext) =
            hpke::single_shot_seal_with_rng::<AesGcm256, HkdfSha256, XWing>(
                &OpModeS::Base,
                &self.0,
                label.as_bytes(),
                payload,
                context,
                &mut Adapter(entropy),
            )
            .map_err(|_| Error::TooLong)?;
        Ok([encapsulation.to_bytes().as_slice(), &ciphertext].concat())
    }

    /// Wraps a 32-byte key: 1,168 bytes.
    ///
    /// # Errors
    /// None for a key of 32 bytes; the type follows [`Self::wrap`].
    pub fn wrap_key(
        &self,
        label: Label,
        context: &[u8],
        key: &[u8; 32],
        entropy: &mut dyn Entropy,
    ) -> Result<Vec<u8>, Error> {
        let wrap = self.wrap(label, context, key, entropy)?;
        debug_assert_eq!(wrap.len(), WRAPPED_KEY_LEN);
        Ok(wrap)
    }
}

impl core::fmt::Debug for Recipient {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let bytes = self.to_bytes();
        let start: String = bytes
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        write!(f, "Recipient({start}..)")
    }
}

/// Wraps a payload under a symmetric key: nonce (12, random) || ciphertext || tag (16), with
/// aad = label || context. A key may make 2^32 wraps before its random nonces come too close
/// (NIST SP 800-38D, section 8.3).
///
/// # Errors
/// [`Error::TooLong`] beyond [`MAX_WRAPPED_LEN`].
pub fn wrap_under(
    key: &[u8; 32],
    label: Label,
    context: &[u8],
    payload: &[u8],
    entropy: &mut dyn Entropy,
) -> Result<Vec<u8>, Error> {
    if payload.len() > MAX_WRAPPED_LEN {
        return Err(Error::TooLong);
    }
    let mut nonce = [0; NONCE_LEN];
    entropy.fill(&mut nonce);
    let mut out = Vec::with_capacity(NONCE_LEN + payload.len() + TAG_LEN);
    out.extend_from_slice(&nonce);
    out.extend_from_slice(payload);
    let aad = [label.as_bytes(), context].concat();
    let (_, body) = out.split_at_mut(NONCE_LEN);
    let tag = cipher(key)?
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), body)
        .map_err(|_| Error::TooLong)?;
    out.extend_from_slice(tag.as_ref());
    Ok(out)
}

/// Opens what [`wrap_under`] made with the same key, label and context.
///
/// # Errors
/// [`Error::Unwrap`] if key, label or context is another or the bytes were altered;
/// [`Error::TooLong`] beyond [`MAX_WRAPPED_LEN`].
pub fn unwrap_under(
    key: &[u8; 32],
    label: Label,
    context: &[u8],
    wrap: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Error> {
    if wrap.len() > NONCE_LEN + MAX_WRAPPED_LEN + TAG_LEN {
        return Err(Error::TooLong);
    }
    let (nonce, body) = wrap.split_first_chunk::<NONCE_LEN>().ok_or(Error::Unwrap)?;
    let mut body = Zeroizing::new(body.to_vec());
    let aad = [label.as_bytes(), context].concat();
    let length = cipher(key)?
        .open_in_place(
            Nonce::assume_unique_for_key(*nonce),
            Aad::from(aad),
            &mut body,
        )
        .map_err(|_| Error::Unwrap)?
        .len();
    body.truncate(length);
    Ok(body)
}

/// Wraps a 32-byte key under another: 60 bytes.
///
/// # Errors
/// None for a key of 32 bytes; the type follows [`wrap_under`].
pub fn wrap_key_under(
    key: &[u8; 32],
    label: Label,
    context: &[u8],
    inner: &[u8; 32],
    entropy: &mut dyn Entropy,
) -> Result<[u8; KEY_WRAP_LEN], Error> {
    let wrap = wrap_under(key, label, context, inner, entropy)?;
    wrap.try_into().map_err(|_| Error::TooLong)
}

/// Opens the 60-byte wrap of a 32-byte key.
///
/// # Errors
/// As for [`unwrap_under`], and [`Error::Unwrap`] if the payload is not 32 bytes.
pub fn unwrap_key_under(
    key: &[u8; 32],
    label: Label,
    context: &[u8],
    wrap: &[u8],
) -> Result<Secret, Error> {
    as_key(&unwrap_under(key, label, context, wrap)?)
}

fn as_key(payload: &[u8]) -> Result<Secret, Error> {
    payload
        .try_into()
        .map(Zeroizing::new)
        .map_err(|_| Error::Unwrap)
}

/// An AES-256-GCM key for explicit nonces.
pub(crate) fn cipher(key: &[u8; 32]) -> Result<LessSafeKey, Error> {
    UnboundKey::new(&AES_256_GCM, key)
        .map(LessSafeKey::new)
        .map_err(|_| Error::SecretKey {
            algorithm: "AES-256-GCM",
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::label::{CLASS_KEY_WRAP, RECORD_KEY, RECORD_KEY_WRAP};
    use crate::testing::Seeded;

    #[test]
    fn a_key_reaches_its_recipient_only() {
        let secret = XWingSecret::from_seed(&[1; 32]).unwrap();
        let stranger = XWingSecret::from_seed(&[2; 32]).unwrap();
        let mut entropy = Seeded::new(1);
        let wrap = secret
            .recipient()
            .wrap_key(CLASS_KEY_WRAP, b"context", &[5; 32], &mut entropy)
            .unwrap();
        assert_eq!(wrap.len(), 1168);
        assert_eq!(
            *secret
                .unwrap_key(CLASS_KEY_WRAP, b"context", &wrap)
                .unwrap(),
            [5; 32]
        );
        assert!(
            stranger
                .unwrap_key(CLASS_KEY_WRAP, b"context", &wrap)
                .is_err()
        );
        assert!(
            secret
                .unwrap_key(RECORD_KEY_WRAP, b"context", &wrap)
                .is_err()
        );
        assert!(
            secret
                .unwrap_key(CLASS_KEY_WRAP, b"contexts", &wrap)
                .is_err()
        );
        for byte in [0, 1087, 1088, 1119, 1120, 1167] {
            let mut altered = wrap.clone();
            altered[byte] ^= 1;
            assert!(
                secret.unwrap(CLASS_KEY_WRAP, b"context", &altered).is_err(),
                "byte {byte}"
            );
        }
        for length in [0, 1119, 1120, 1135, 1167] {
            assert!(
                secret
                    .unwrap(CLASS_KEY_WRAP, b"context", &wrap[..length])
                    .is_err()
            );
        }
    }

    #[test]
    fn a_wrap_of_something_else_is_no_key() {
        let secret = XWingSecret::from_seed(&[1; 32]).unwrap();
        let wrap = secret
            .recipient()
            .wrap(CLASS_KEY_WRAP, b"", &[5; 31], &mut Seeded::new(1))
            .unwrap();
        assert_eq!(*secret.unwrap(CLASS_KEY_WRAP, b"", &wrap).unwrap(), [5; 31]);
        assert!(matches!(
            secret.unwrap_key(CLASS_KEY_WRAP, b"", &wrap),
            Err(Error::Unwrap)
        ));
    }

    #[test]
    fn every_altered_byte_of_a_sixty_byte_wrap_is_refused() {
        let wrap =
            wrap_key_under(&[1; 32], RECORD_KEY, b"c", &[5; 32], &mut Seeded::new(1)).unwrap();
        assert_eq!(
            *unwrap_key_under(&[1; 32], RECORD_KEY, b"c", &wrap).unwrap(),
            [5; 32]
        );
        assert!(unwrap_key_under(&[2; 32], RECORD_KEY, b"c", &wrap).is_err());
        assert!(unwrap_key_under(&[1; 32], CLASS_KEY_WRAP, b"c", &wrap).is_err());
        assert!(unwrap_key_under(&[1; 32], RECORD_KEY, b"d", &wrap).is_err());
        for byte in 0..wrap.len() {
            let mut altered = wrap;
            altered[byte] ^= 1;
            assert!(unwrap_key_under(&[1; 32], RECORD_KEY, b"c", &altered).is_err());
            assert!(unwrap_key_under(&[1; 32], RECORD_KEY, b"c", &wrap[..byte]).is_err());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn payloads_come_back(payload in proptest::collection::vec(any::<u8>(), 0..500),
                              context in proptest::collection::vec(any::<u8>(), 0..100), seed: u64) {
            let mut entropy = Seeded::new(seed);
            let wrap = wrap_under(&[1; 32], RECORD_KEY, &context, &payload, &mut entropy).unwrap();
            prop_assert_eq!(wrap.len(), payload.len() + 28);
            prop_assert_eq!(&*unwrap_under(&[1; 32], RECORD_KEY, &context, &wrap).unwrap(), &payload);
        }
    }
}
