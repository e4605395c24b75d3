//! What a passkey signs (W3C Web Authentication, level 3): the authenticator's data and the credential's
//! public key, parsed and verified. Challenges, origins and who owns a credential are the server's.
//!
//! ```text
//! authenticator data = SHA-256(relying party id) (32) || flags (1) || counter (4)
//!                      [|| AAGUID (16) || length (2) || credential id || COSE key]   at registration
//!                      [|| extensions]
//! signature over     = authenticator data || SHA-256(client data)
//! ```
//!
//! No attestation is asked for and none is checked: whoever registers a passkey is in a session
//! already, and what counts afterwards is that the same key signs again.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use coset::cbor::Value;
use coset::iana::{self, EnumI64 as _};
use coset::{CborSerializable as _, CoseKey, Label as CoseLabel, RegisteredLabelWithPrivate};

use crate::Error;
use crate::digest::sha256;

/// Longest credential id, in bytes (level 3, section 4).
pub const CREDENTIAL_LIMIT: usize = 1_023;
/// Longest authenticator data that is looked at, in bytes.
pub const AUTHENTICATOR_DATA_LIMIT: usize = 8 << 10;

/// Algorithms of passkeys that are taken, by their COSE numbers: Ed25519, ES256, RS256.
pub const ALGORITHMS: [i64; 3] = [-8, -7, -257];

const USER_PRESENT: u8 = 1;
const USER_VERIFIED: u8 = 1 << 2;
const BACKUP_ELIGIBLE: u8 = 1 << 3;
const BACKED_UP: u8 = 1 << 4;
const CREDENTIAL_INCLUDED: u8 = 1 << 6;

/// What an authenticator says, for the relying party that was asked for and with its user verified.
#[derive(Debug)]
pub struct AuthenticatorData {
    /// How often the credential has signed; 0 where the authenticator does not count.
    pub counter: u32,
    /// The new credential, at registration.
    pub credential: Option<Credential>,
}

/// A new credential.
#[derive(Debug)]
pub struct Credential {
    /// Its id, 1 to [`CREDENTIAL_LIMIT`] bytes.
    pub id: Vec<u8>,
    /// Its public key as a COSE key, to be stored and read by [`PublicKey::parse`].
    pub key: Vec<u8>,
}

impl AuthenticatorData {
    /// Reads authenticator data made for `relying_party`. The user must have been present and verified
    /// (level 3, section 7.2, steps 16 and 17).
    ///
    /// # Errors
    /// [`Error::Passkey`] names what is wrong.
    pub fn parse(bytes: &[u8], relying_party: &str) -> Result<Self, Error> {
        if bytes.len() > AUTHENTICATOR_DATA_LIMIT {
            return Err(Error::TooLong);
        }
        let (party, rest) = split::<32>(bytes)?;
        let ([flags], rest) = split::<1>(rest)?;
        let (counter, rest) = split::<4>(rest)?;
        if party != sha256(relying_party.as_bytes()).0 {
            return Err(refused("made for another relying party"));
        }
        if flags & USER_PRESENT == 0 || flags & USER_VERIFIED == 0 {
            return Err(refused("the user was not verified"));
        }
        if flags & BACKED_UP != 0 && flags & BACKUP_ELIGIBLE == 0 {
            return Err(refused("flags that exclude each other"));
        }
        let credential = match flags & CREDENTIAL_INCLUDED {
            0 => None,
            _ => Some(Credential::parse(rest)?),
        };
        Ok(Self {
            counter: u32::from_be_bytes(counter),
            credential,
        })
    }
}

impl Credential {
    fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let (_aaguid, rest) = split::<16>(bytes)?;
        let (length, rest) = split::<2>(rest)?;
        let length = usize::from(u16::from_be_bytes(length));
        if length == 0 || length > CREDENTIAL_LIMIT {
            return Err(refused("a credential id of such a length"));
        }
        let (id, rest) = rest.split_at_checked(length).ok_or(CUT)?;
        // Extensions may follow the key, so its end is where one CBOR item ends.
        let mut after = rest;
        let value: Value = coset::cbor::de::from_reader(&mut after).map_err(|_| NO_KEY)?;
        drop(value);
        let key = rest.get(..rest.len() - after.len()).unwrap_or_default();
        PublicKey::parse(key)?;
        Ok(Self {
            id: id.to_vec(),
            key: key.to_vec(),
        })
    }
}

/// A credential's public key.
#[derive(Debug)]
pub enum PublicKey {
    /// 32 bytes.
    Ed25519(Vec<u8>),
    /// An uncompressed point of P-256, 65 bytes.
    Es256(Vec<u8>),
    /// Modulus and exponent, big-endian.
    Rs256(Vec<u8>, Vec<u8>),
}

impl PublicKey {
    /// Reads a COSE key of one of [`ALGORITHMS`] (RFC 9053, section 7; RFC 8230, section 4).
    ///
    /// # Errors
    /// [`Error::Passkey`] for other keys.
    pub fn parse(cose: &[u8]) -> Result<Self, Error> {
        let key = CoseKey::from_slice(cose).map_err(|_| NO_KEY)?;
        let bytes = |label: i64, length: Option<usize>| {
            let found = key
                .params
                .iter()
                .find(|(name, _)| *name == CoseLabel::Int(label));
            let (_, value) = found.ok_or(NO_KEY)?;
            let bytes = value.as_bytes().ok_or(NO_KEY)?;
            let fits = length.is_none_or(|length| bytes.len() == length) && bytes.len() <= 1_024;
            fits.then(|| bytes.clone()).ok_or(NO_KEY)
        };
        let curve = |wanted: iana::EllipticCurve| {
            let found = key.params.iter().any(|(name, value)| {
                *name == CoseLabel::Int(-1)
                    && value.as_integer().map(i128::from) == Some(i128::from(wanted.to_i64()))
            });
            found.then_some(()).ok_or(NO_KEY)
        };
        match key.alg {
            Some(RegisteredLabelWithPrivate::Assigned(iana::Algorithm::EdDSA)) => {
                curve(iana::EllipticCurve::Ed25519)?;
                Ok(Self::Ed25519(bytes(-2, Some(32))?))
            }
            Some(RegisteredLabelWithPrivate::Assigned(iana::Algorithm::ES256)) => {
                curve(iana::EllipticCurve::P_256)?;
                let (x, y) = (bytes(-2, Some(32))?, bytes(-3, Some(32))?);
                Ok(Self::Es256([vec![4], x, y].concat()))
            }
            Some(RegisteredLabelWithPrivate::Assigned(iana::Algorithm::RS256)) => {
                Ok(Self::Rs256(bytes(-1, None)?, bytes(-2, None)?))
            }
            _ => Err(refused("a key of an algorithm that is not taken")),
        }
    }

    /// Checks a signature over the authenticator's data and the client's data, both as received.
    ///
    /// # Errors
    /// [`Error::Signature`] if it is not this key's.
    pub fn verify(
        &self,
        authenticator_data: &[u8],
        client_data: &[u8],
        signature: &[u8],
    ) -> Result<(), Error> {
        let message = [authenticator_data, &sha256(client_data).0].concat();
        let (algorithm, valid) = match self {
            Self::Ed25519(key) => (
                "Ed25519",
                UnparsedPublicKey::new(&ED25519, key).verify(&message, signature),
            ),
            Self::Es256(point) => (
                "ES256",
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(&message, signature),
            ),
            Self::Rs256(n, e) => (
                "RS256",
                RsaPublicKeyComponents { n, e }.verify(
                    &RSA_PKCS1_2048_8192_SHA256,
                    &message,
                    signature,
                ),
            ),
        };
        valid.map_err(|_| Error::Signature { algorithm })
    }
}

const CUT: Error = refused("cut short");
const NO_KEY: Error = refused("no key of a known form");

const fn refused(reason: &'static str) -> Error {
    Error::Passkey { reason }
}

fn split<const N: usize>(bytes: &[u8]) -> Result<([u8; N], &[u8]), Error> {
    let (head, rest) = bytes.split_first_chunk().ok_or(CUT)?;
    Ok((*head, rest))
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
    use coset::CoseKeyBuilder;

    use super::*;
    use crate::sign::Ed25519Signer;

    const CLIENT: &[u8] = br#"{"type":"webauthn.get"}"#;

    fn ed25519(signer: &Ed25519Signer) -> Vec<u8> {
        // {1: 1 (OKP), 3: -8, -1: 6, -2: key}
        let head = [0xa4, 1, 1, 3, 0x27, 0x20, 6, 0x21, 0x58, 32];
        [head.as_slice(), &signer.public()].concat()
    }

    /// Authenticator data for `example.org` with these flags; `key` makes it a registration.
    fn data(flags: u8, key: Option<&[u8]>, after: &[u8]) -> Vec<u8> {
        let mut out = sha256(b"example.org").0.to_vec();
        out.push(flags);
        out.extend([0, 0, 1, 2]);
        if let Some(key) = key {
            out.extend([9; 16]);
            out.extend([0, 3]);
            out.extend(b"abc");
            out.extend(key);
        }
        out.extend(after);
        out
    }

    fn reason(result: Result<AuthenticatorData, Error>) -> &'static str {
        match result.map(drop) {
            Err(Error::Passkey { reason }) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_credential_is_read_whatever_extensions_follow_it() {
        let signer = Ed25519Signer::from_seed(&[5; 32]).unwrap();
        let key = ed25519(&signer);
        // {"hmac-secret": true}
        let extensions = [b"\xa1\x6bhmac-secret".as_slice(), &[0xf5]].concat();
        for (flags, after) in [(0x45, &[][..]), (0xc5, &extensions)] {
            let parsed = AuthenticatorData::parse(&data(flags, Some(&key), after), "example.org");
            let parsed = parsed.unwrap();
            assert_eq!(parsed.counter, 258);
            let credential = parsed.credential.unwrap();
            assert_eq!((credential.id, &credential.key), (b"abc".to_vec(), &key));
        }
        let said = data(0x05, None, &[]);
        let signature = signer.sign_raw(&[said.as_slice(), &sha256(CLIENT).0].concat());
        let public = PublicKey::parse(&key).unwrap();
        public.verify(&said, CLIENT, &signature).unwrap();
        for (said, client) in [(data(0x1d, None, &[]), CLIENT), (said, b"{}".as_slice())] {
            let altered = public.verify(&said, client, &signature).unwrap_err();
            assert_eq!(altered.name(), "signature");
        }
    }

    #[test]
    fn es256_keys_verify_what_they_signed() {
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let point = pair.public_key().as_ref();
        let key = CoseKeyBuilder::new_ec2_pub_key(
            iana::EllipticCurve::P_256,
            point[1..33].to_vec(),
            point[33..].to_vec(),
        )
        .algorithm(iana::Algorithm::ES256)
        .build()
        .to_vec()
        .unwrap();
        let said = data(0x05, None, &[]);
        let message = [said.as_slice(), &sha256(CLIENT).0].concat();
        let signature = pair.sign(&random, &message).unwrap();
        let public = PublicKey::parse(&key).unwrap();
        public.verify(&said, CLIENT, signature.as_ref()).unwrap();
        public.verify(&said, b"{}", signature.as_ref()).unwrap_err();
    }

    #[test]
    fn what_is_cut_short_or_of_another_party_or_user_is_refused() {
        let signer = Ed25519Signer::from_seed(&[5; 32]).unwrap();
        let whole = data(0x45, Some(&ed25519(&signer)), &[]);
        for end in 0..whole.len() {
            AuthenticatorData::parse(&whole[..end], "example.org").unwrap_err();
        }
        let parse = |bytes: &[u8], party| reason(AuthenticatorData::parse(bytes, party));
        assert_eq!(
            parse(&whole, "example.com"),
            "made for another relying party"
        );
        for flags in [0x01, 0x04, 0x00] {
            let said = data(flags, None, &[]);
            assert_eq!(parse(&said, "example.org"), "the user was not verified");
        }
        let said = data(0x15, None, &[]);
        assert_eq!(parse(&said, "example.org"), "flags that exclude each other");
        let mut other = ed25519(&signer);
        other[4] = 0x28;
        let said = data(0x45, Some(&other), &[]);
        assert_eq!(
            parse(&said, "example.org"),
            "a key of an algorithm that is not taken"
        );
        let long = vec![0; AUTHENTICATOR_DATA_LIMIT + 1];
        let long = AuthenticatorData::parse(&long, "example.org").unwrap_err();
        assert_eq!(long.name(), "too-long");
    }
}
