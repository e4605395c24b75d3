//! Signatures that must stand for decades: COSE_Sign (RFC 9052) with two signers, Ed25519 and
//! ML-DSA-65, accepted only if both verify.
//!
//! ```text
//! 98([ h'', {}, payload / nil, [ [<<{1: -8,  4: key id}>>, {}, Ed25519 signature],
//!                                [<<{1: -49, 4: key id}>>, {}, ML-DSA-65 signature] ] ])
//! ```
//! Each signs `["Signature", h'', its protected header, label, payload]`. Verification is over the
//! received bytes, and an envelope that is not exactly of this shape is refused.

use coset::{
    CoseSign, CoseSignBuilder, CoseSignature, CoseSignatureBuilder, Header, HeaderBuilder,
    RegisteredLabelWithPrivate, TaggedCborSerializable as _, iana,
};

use crate::keys::{PeerKeys, SecretKeys};
use crate::{Error, Label};

/// Longest payload that an envelope carries itself, in bytes; sign more by its digest.
pub const MAX_PAYLOAD_LEN: usize = 16 << 20;
/// Longest key id, in bytes; ours are the 16 of a principal's id.
pub const MAX_KEY_ID_LEN: usize = 64;
/// Longest envelope without its payload, in bytes.
pub const MAX_ENVELOPE_OVERHEAD: usize = 4096;

const ALGORITHMS: [iana::Algorithm; 2] = [iana::Algorithm::EdDSA, iana::Algorithm::ML_DSA_65];

/// Signs `payload` and carries it in the envelope. `key_id` says whose keys verify it, and is
/// covered by both signatures.
///
/// # Errors
/// [`Error::TooLong`] beyond [`MAX_PAYLOAD_LEN`] or [`MAX_KEY_ID_LEN`]; [`Error::SecretKey`] if the
/// library fails to sign.
pub fn sign(
    keys: &SecretKeys,
    label: Label,
    key_id: &[u8],
    payload: &[u8],
) -> Result<Vec<u8>, Error> {
    envelope(keys, label, key_id, payload, true)
}

/// Signs `payload`, which travels apart from the envelope.
///
/// # Errors
/// As for [`sign`].
pub fn sign_detached(
    keys: &SecretKeys,
    label: Label,
    key_id: &[u8],
    payload: &[u8],
) -> Result<Vec<u8>, Error> {
    envelope(keys, label, key_id, payload, false)
}

/// An envelope whose shape is right and whose signatures have yet to be verified.
#[derive(Debug)]
pub struct Signed(CoseSign);

impl Signed {
    /// Reads an envelope.
    ///
    /// # Errors
    /// [`Error::Envelope`] unless it is exactly of the shape that [`sign`] or [`sign_detached`]
    /// writes.
    pub fn parse(envelope: &[u8]) -> Result<Self, Error> {
        let wrong = |reason| Err(Error::Envelope { reason });
        if envelope.len() > MAX_PAYLOAD_LEN + MAX_ENVELOPE_OVERHEAD {
            return wrong("too long");
        }
        let Ok(sign) = CoseSign::from_tagged_slice(envelope) else {
            return wrong("not COSE_Sign");
        };
        // Not needed for the signatures, which cover the received bytes; it leaves one encoding per
        // envelope, so that its digest names it.
        if !sign
            .clone()
            .to_tagged_vec()
            .is_ok_and(|again| again == envelope)
        {
            return wrong("not in deterministic encoding");
        }
        if !sign.protected.header.is_empty() || !sign.unprotected.is_empty() {
            return wrong("unexpected body headers");
        }
        let [first, second] = sign.signatures.as_slice() else {
            return wrong("not two signatures");
        };
        if first.protected.header.key_id != second.protected.header.key_id {
            return wrong("two key ids");
        }
        let key_id = &first.protected.header.key_id;
        if key_id.is_empty() || key_id.len() > MAX_KEY_ID_LEN {
            return wrong("key id of the wrong length");
        }
        for (signature, algorithm) in [first, second].into_iter().zip(ALGORITHMS) {
            if signature.protected.header != signer_header(algorithm, key_id)
                || !signature.unprotected.is_empty()
            {
                return wrong("unexpected signer headers");
            }
        }
        Ok(Self(sign))
    }

    /// Whose keys verify this envelope. Claimed, not proved, until [`Self::verify`] accepts it.
    pub fn key_id(&self) -> &[u8] {
        self.0
            .signatures
            .first()
            .map_or(&[], |first| &first.protected.header.key_id)
    }

    /// The payload that the envelope carries, unless it is detached. Claimed, not proved, until
    /// [`Self::verify`] accepts it.
    pub fn payload(&self) -> Option<&[u8]> {
        self.0.payload.as_deref()
    }

    /// Verifies both signatures and hands out the payload that they cover.
    ///
    /// # Errors
    /// [`Error::Envelope`] if the payload is detached; [`Error::Signature`] naming the first
    /// signature that does not verify.
    pub fn verify(self, keys: &PeerKeys, label: Label) -> Result<Vec<u8>, Error> {
        let Some(payload) = self.0.payload.clone() else {
            return Err(Error::Envelope {
                reason: "the payload is detached",
            });
        };
        self.check(keys, |sign, signature| {
            sign.tbs_data(label.as_bytes(), signature)
        })?;
        Ok(payload)
    }

    /// Verifies both signatures over a payload that travelled apart.
    ///
    /// # Errors
    /// [`Error::Envelope`] if the envelope carries a payload; [`Error::Signature`] naming the first
    /// signature that does not verify.
    pub fn verify_detached(
        &self,
        keys: &PeerKeys,
        label: Label,
        payload: &[u8],
    ) -> Result<(), Error> {
        if self.0.payload.is_some() {
            return Err(Error::Envelope {
                reason: "the payload is attached",
            });
        }
        self.check(keys, |sign, signature| {
            sign.tbs_detached_data(payload, label.as_bytes(), signature)
        })
    }

    fn check(
        &self,
        keys: &PeerKeys,
        signed_bytes: impl Fn(&CoseSign, &CoseSignature) -> Vec<u8>,
    ) -> Result<(), Error> {
        let [ed25519, ml_dsa_65] = self.0.signatures.as_slice() else {
            return Err(Error::Envelope {
                reason: "not two signatures",
            });
        };
        keys.ed25519
            .verify_raw(&signed_bytes(&self.0, ed25519), &ed25519.signature)?;
        keys.ml_dsa_65
            .verify_raw(&signed_bytes(&self.0, ml_dsa_65), &ml_dsa_65.signature)
    }
}

/// Parses and verifies an envelope that carries its payload.
///
/// # Errors
/// As for [`Signed::parse`] and [`Signed::verify`].
pub fn verify(keys: &PeerKeys, label: Label, envelope: &[u8]) -> Result<Vec<u8>, Error> {
    Signed::parse(envelope)?.verify(keys, label)
}

/// Parses and verifies an envelope whose payload travelled apart.
///
/// # Errors
/// As for [`Signed::parse`] and [`Signed::verify_detached`].
pub fn verify_detached(
    keys: &PeerKeys,
    label: Label,
    envelope: &[u8],
    payload: &[u8],
) -> Result<(), Error> {
    Signed::parse(envelope)?.verify_detached(keys, label, payload)
}

fn signer_header(algorithm: iana::Algorithm, key_id: &[u8]) -> Header {
    let mut header = HeaderBuilder::new().key_id(key_id.to_vec()).build();
    header.alg = Some(RegisteredLabelWithPrivate::Assigned(algorithm));
    header
}

fn envelope(
    keys: &SecretKeys,
    label: Label,
    key_id: &[u8],
    payload: &[u8],
    attached: bool,
) -> Result<Vec<u8>, Error> {
    if payload.len() > MAX_PAYLOAD_LEN || !(1..=MAX_KEY_ID_LEN).contains(&key_id.len()) {
        return Err(Error::TooLong);
    }
    let mut builder = CoseSignBuilder::new();
    if attached {
        builder = builder.payload(payload.to_vec());
    }
    for algorithm in ALGORITHMS {
        let signer = CoseSignatureBuilder::new()
            .protected(signer_header(algorithm, key_id))
            .build();
        let make = |bytes: &[u8]| match algorithm {
            iana::Algorithm::EdDSA => Ok(keys.ed25519().sign_raw(bytes).to_vec()),
            _ => keys.ml_dsa_65().sign_raw(bytes),
        };
        builder = if attached {
            builder.try_add_created_signature(signer, label.as_bytes(), make)?
        } else {
            builder.try_add_detached_signature(signer, payload, label.as_bytes(), make)?
        };
    }
    builder
        .build()
        .to_tagged_vec()
        .map_err(|_| Error::Envelope {
            reason: "cannot be encoded",
        })
}

#[cfg(test)]
mod tests {
    use coset::CborSerializable as _;
    use proptest::prelude::*;

    use super::*;
    use crate::label::{AGREEMENT, MANIFEST};
    use crate::testing::Seeded;

    fn keys(seed: u64) -> (SecretKeys, PeerKeys) {
        let secret = SecretKeys::generate(&mut Seeded::new(seed)).unwrap();
        let public = PeerKeys::parse(secret.public()).unwrap();
        (secret, public)
    }

    #[test]
    fn an_envelope_verifies_and_hands_out_its_payload() {
        let (secret, public) = keys(1);
        let envelope = sign(&secret, MANIFEST, &[7; 16], b"payload").unwrap();
        let signed = Signed::parse(&envelope).unwrap();
        assert_eq!(
            (signed.key_id(), signed.payload()),
            (&[7; 16][..], Some(&b"payload"[..]))
        );
        assert_eq!(signed.verify(&public, MANIFEST).unwrap(), b"payload");
        assert!(verify_detached(&public, MANIFEST, &envelope, b"payload").is_err());
    }

    #[test]
    fn a_detached_payload_verifies_and_another_does_not() {
        let (secret, public) = keys(1);
        let envelope = sign_detached(&secret, MANIFEST, &[7; 16], b"payload").unwrap();
        assert!(verify_detached(&public, MANIFEST, &envelope, b"payload").is_ok());
        assert!(verify_detached(&public, MANIFEST, &envelope, b"payloads").is_err());
        assert!(verify(&public, MANIFEST, &envelope).is_err());
    }

    #[test]
    fn label_and_signer_are_part_of_what_is_signed() {
        let (secret, public) = keys(1);
        let (_, stranger) = keys(2);
        let envelope = sign(&secret, MANIFEST, &[7; 16], b"payload").unwrap();
        assert!(verify(&public, AGREEMENT, &envelope).is_err());
        assert!(verify(&stranger, MANIFEST, &envelope).is_err());
    }

    #[test]
    fn one_good_signature_of_two_is_not_enough() {
        let (a_secret, a) = keys(1);
        let (_, b) = keys(2);
        let envelope = sign(&a_secret, MANIFEST, &[7; 16], b"payload").unwrap();
        let mixed = |ed25519: &PeerKeys, ml_dsa_65: &PeerKeys| PeerKeys {
            ed25519: ed25519.ed25519.clone(),
            ml_dsa_65: ml_dsa_65.ml_dsa_65.clone(),
            x_wing: a.x_wing.clone(),
        };
        assert!(verify(&mixed(&a, &a), MANIFEST, &envelope).is_ok());
        let error = verify(&mixed(&a, &b), MANIFEST, &envelope).unwrap_err();
        assert!(error.to_string().contains("ML-DSA-65"));
        let error = verify(&mixed(&b, &a), MANIFEST, &envelope).unwrap_err();
        assert!(error.to_string().contains("Ed25519"));
    }

    #[test]
    fn every_altered_byte_is_refused() {
        let (secret, public) = keys(1);
        let envelope = sign(&secret, MANIFEST, &[7; 16], b"payload").unwrap();
        for byte in (0..300).chain((300..envelope.len()).step_by(97)) {
            let mut altered = envelope.clone();
            altered[byte] ^= 0x10;
            assert!(verify(&public, MANIFEST, &altered).is_err(), "byte {byte}");
        }
        for length in [0, 1, 50, envelope.len() - 1] {
            assert!(Signed::parse(&envelope[..length]).is_err());
        }
    }

    #[test]
    fn swapped_missing_and_added_signers_are_refused() {
        let (secret, _) = keys(1);
        let envelope = sign(&secret, MANIFEST, &[7; 16], b"payload").unwrap();
        let reshaped = |change: &dyn Fn(&mut CoseSign)| {
            let mut sign = CoseSign::from_tagged_slice(&envelope).unwrap();
            change(&mut sign);
            Signed::parse(&sign.to_tagged_vec().unwrap())
                .unwrap_err()
                .to_string()
        };
        assert!(reshaped(&|s| s.signatures.swap(0, 1)).contains("signer headers"));
        assert!(reshaped(&|s| s.signatures.truncate(1)).contains("two signatures"));
        assert!(
            reshaped(&|s| s.signatures.push(s.signatures[0].clone())).contains("two signatures")
        );
        assert!(reshaped(&|s| s.unprotected.key_id = vec![1]).contains("body headers"));
        assert!(
            reshaped(&|s| s.signatures[0].unprotected.key_id = vec![1]).contains("signer headers")
        );
        let untagged = CoseSign::from_tagged_slice(&envelope)
            .unwrap()
            .to_vec()
            .unwrap();
        assert!(Signed::parse(&untagged).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Signed::parse(&bytes).is_err());
            prop_assert!(Signed::parse(&[&[0xd8, 0x62, 0x84, 0x40, 0xa0][..], &bytes].concat()).is_err());
        }
    }

    #[test]
    fn deep_nesting_and_lengths_beyond_the_input_are_refused_cheaply() {
        for byte in [0x81, 0xa1, 0xd8, 0x9f, 0xbf, 0x5f] {
            assert!(Signed::parse(&[&[0xd8, 0x62], &[byte; 100_000][..]].concat()).is_err());
        }
        for start in [0x5b, 0x9b, 0xbb] {
            let huge = [
                0xd8, 0x62, start, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
            ];
            assert!(Signed::parse(&huge).is_err());
            let within = [&[0xd8, 0x62, 0x84, 0x40, 0xa0], &huge[2..]].concat();
            assert!(Signed::parse(&within).is_err());
        }
    }
}
