//! A principal's secret keys, made from three 32-byte seeds, and the keys that check and receive.

use salus_proto::Entropy;
use salus_proto::keys::PublicKeys;
use salus_proto::sealed::{FORMER_KEYS_LIMIT, Keyring};
use zeroize::{Zeroize, Zeroizing};

use crate::Error;
use crate::digest::Secret;
use crate::sign::{Ed25519Signer, Ed25519Verifier, MlDsa65Signer, MlDsa65Verifier};
use crate::wrap::{Recipient, XWingSecret};

/// A fresh 32-byte secret: a seed, a record key, a class key, a vault key.
pub fn random_secret(entropy: &mut dyn Entropy) -> Secret {
    let mut secret = Zeroizing::new([0; 32]);
    entropy.fill(&mut *secret);
    secret
}

/// The three secret keys of a principal: Ed25519 and ML-DSA-65 to sign, X-Wing to open. Wiped when
/// dropped; `Debug` shows the public side only.
pub struct SecretKeys {
    ed25519: Ed25519Signer,
    ml_dsa_65: MlDsa65Signer,
    x_wing: XWingSecret,
    seeds: [Secret; 3],
    public: PublicKeys,
    /// X-Wing keys that were replaced, newest first.
    former: Vec<(Secret, XWingSecret)>,
    /// Seeds of the keys that will replace these.
    next: Option<[Secret; 3]>,
}

impl SecretKeys {
    /// Makes fresh keys.
    ///
    /// # Errors
    /// [`Error::SecretKey`] if the library cannot make a key, which for 32 random bytes means that it
    /// is out of memory.
    pub fn generate(entropy: &mut dyn Entropy) -> Result<Self, Error> {
        let seeds = [(); 3].map(|()| random_secret(entropy));
        Self::from_seeds(&seeds[0], &seeds[1], &seeds[2])
    }

    /// Makes the keys of three seeds: Ed25519 (RFC 8032), ML-DSA-65 (FIPS 204, xi) and X-Wing
    /// (draft-connolly-cfrg-xwing-kem, the decapsulation key).
    ///
    /// # Errors
    /// [`Error::SecretKey`] as for [`Self::generate`].
    pub fn from_seeds(
        ed25519: &[u8; 32],
        ml_dsa_65: &[u8; 32],
        x_wing: &[u8; 32],
    ) -> Result<Self, Error> {
        let seeds = [ed25519, ml_dsa_65, x_wing].map(|seed| Zeroizing::new(*seed));
        let ed25519 = Ed25519Signer::from_seed(ed25519)?;
        let ml_dsa_65 = MlDsa65Signer::from_seed(ml_dsa_65)?;
        let x_wing = XWingSecret::from_seed(x_wing)?;
        let public = PublicKeys {
            ed25519: ed25519.public(),
            ml_dsa_65: ml_dsa_65.public(),
            x_wing: x_wing.public(),
        };
        Ok(Self {
            ed25519,
            ml_dsa_65,
            x_wing,
            seeds,
            public,
            former: Vec::new(),
            next: None,
        })
    }

    /// The public side.
    pub fn public(&self) -> &PublicKeys {
        &self.public
    }

    /// Signs commands and session challenges.
    pub fn ed25519(&self) -> &Ed25519Signer {
        &self.ed25519
    }

    /// Signs checkpoint notes.
    pub fn ml_dsa_65(&self) -> &MlDsa65Signer {
        &self.ml_dsa_65
    }

    /// Opens what others wrapped to this principal.
    pub fn x_wing(&self) -> &XWingSecret {
        &self.x_wing
    }

    /// The key that opens what is wrapped now, then those that were replaced, newest first.
    pub fn x_wings(&self) -> impl Iterator<Item = &XWingSecret> {
        core::iter::once(&self.x_wing).chain(self.former.iter().map(|(_, key)| key))
    }

    /// Makes fresh keys that will replace these, and keeps them beside these until
    /// [`Self::replaced`]: whatever happens in between, none of the two are lost.
    ///
    /// # Errors
    /// [`Error::TooManyKeys`] if these have replaced [`FORMER_KEYS_LIMIT`] others already.
    pub fn prepare_next(&mut self, entropy: &mut dyn Entropy) -> Result<(), Error> {
        if self.former.len() >= FORMER_KEYS_LIMIT {
            return Err(Error::TooManyKeys);
        }
        self.next = Some([(); 3].map(|()| random_secret(entropy)));
        Ok(())
    }

    /// The keys that will replace these, which still open what was wrapped to these; `None` unless
    /// they were prepared.
    ///
    /// # Errors
    /// [`Error::SecretKey`] as for [`Self::generate`].
    pub fn replaced(&self) -> Result<Option<Self>, Error> {
        let Some([ed25519, ml_dsa_65, x_wing]) = &self.next else {
            return Ok(None);
        };
        let mut keys = Self::from_seeds(ed25519, ml_dsa_65, x_wing)?;
        let replaced = core::iter::once(&self.seeds[2]).chain(self.former.iter().map(|f| &f.0));
        for seed in replaced {
            keys.former
                .push((seed.clone(), XWingSecret::from_seed(seed)?));
        }
        Ok(Some(keys))
    }

    /// The seeds: Ed25519, ML-DSA-65, X-Wing.
    fn seeds(&self) -> &[Secret; 3] {
        &self.seeds
    }

    /// The encoded [`Keyring`] of these keys, for [`crate::keyring`] or a key file. It is the whole
    /// secret; wiped when dropped.
    pub fn to_keyring_bytes(&self) -> Zeroizing<Vec<u8>> {
        let [ed25519, ml_dsa_65, x_wing] = self.seeds();
        let mut keyring = Keyring {
            version: Keyring::VERSION,
            ed25519: **ed25519,
            ml_dsa_65: **ml_dsa_65,
            x_wing: **x_wing,
            former: (!self.former.is_empty()).then(|| {
                self.former
                    .iter()
                    .map(|(seed, _)| (**seed).into())
                    .collect()
            }),
            next: self.next.as_ref().map(|seeds| {
                let mut all = Zeroizing::new([0; 96]);
                for (place, seed) in all.as_chunks_mut::<32>().0.iter_mut().zip(seeds) {
                    *place = **seed;
                }
                (*all).into()
            }),
        };
        let bytes = Zeroizing::new(salus_proto::encode::to_bytes(&keyring));
        wipe(&mut keyring);
        bytes
    }

    /// Makes the keys that [`Self::to_keyring_bytes`] wrote.
    ///
    /// # Errors
    /// [`Error::Malformed`] or [`Error::UnknownVersion`] if the bytes are no keyring of ours.
    pub fn from_keyring_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let mut keyring = Keyring::from_bytes(bytes)?;
        let keys = if keyring.version == Keyring::VERSION {
            Self::from_keyring(&keyring)
        } else {
            Err(Error::UnknownVersion)
        };
        wipe(&mut keyring);
        keys
    }

    fn from_keyring(keyring: &Keyring) -> Result<Self, Error> {
        let mut keys = Self::from_seeds(&keyring.ed25519, &keyring.ml_dsa_65, &keyring.x_wing)?;
        for seed in keyring.former.iter().flatten() {
            let seed = Zeroizing::new(**seed);
            let key = XWingSecret::from_seed(&seed)?;
            keys.former.push((seed, key));
        }
        if let Some(seeds) = &keyring.next
            && let [ed25519, ml_dsa_65, x_wing] = seeds.as_chunks::<32>().0
        {
            keys.next = Some([ed25519, ml_dsa_65, x_wing].map(|seed| Zeroizing::new(*seed)));
        }
        Ok(keys)
    }
}

impl core::fmt::Debug for SecretKeys {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "SecretKeys(of {:?})", self.public)
    }
}

fn wipe(keyring: &mut Keyring) {
    keyring.ed25519.zeroize();
    keyring.ml_dsa_65.zeroize();
    keyring.x_wing.zeroize();
    for seed in keyring.former.iter_mut().flatten() {
        seed.zeroize();
    }
    if let Some(seeds) = &mut keyring.next {
        seeds.zeroize();
    }
}

/// A principal's public keys, parsed once and used often.
#[derive(Debug)]
pub struct PeerKeys {
    /// Checks its commands.
    pub ed25519: Ed25519Verifier,
    /// Checks its checkpoint notes and, together with the former, its hybrid signatures.
    pub ml_dsa_65: MlDsa65Verifier,
    /// Receives what is wrapped to it.
    pub x_wing: Recipient,
}

impl PeerKeys {
    /// Parses all three keys.
    ///
    /// # Errors
    /// [`Error::PublicKey`] naming the first key that its algorithm does not accept.
    pub fn parse(keys: &PublicKeys) -> Result<Self, Error> {
        Ok(Self {
            ed25519: Ed25519Verifier::parse(&keys.ed25519)?,
            ml_dsa_65: MlDsa65Verifier::parse(&keys.ml_dsa_65)?,
            x_wing: Recipient::parse(&keys.x_wing)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Seeded;

    #[test]
    fn the_same_seeds_make_the_same_keys_and_debug_shows_no_seed() {
        let a = SecretKeys::generate(&mut Seeded::new(1)).unwrap();
        let b = SecretKeys::generate(&mut Seeded::new(1)).unwrap();
        let c = SecretKeys::generate(&mut Seeded::new(2)).unwrap();
        assert_eq!(a.public(), b.public());
        assert_ne!(a.public(), c.public());
        assert!(a.public().well_formed());
        let shown = format!("{a:?} {:?} {:?}", a.x_wing(), a.ed25519());
        let again = SecretKeys::from_keyring_bytes(&a.to_keyring_bytes()).unwrap();
        assert_eq!(again.public(), a.public());
        for seed in a.seeds() {
            assert!(!shown.contains(&hex::encode(&seed[..4])));
        }
    }

    #[test]
    fn replaced_keys_still_open_what_was_wrapped_before() {
        let entropy = &mut Seeded::new(4);
        let mut keys = SecretKeys::generate(entropy).unwrap();
        let plain = keys.to_keyring_bytes();
        assert!(keys.replaced().unwrap().is_none());
        let mut recipients = vec![keys.x_wing().recipient()];
        for _ in 0..3 {
            keys.prepare_next(entropy).unwrap();
            // Written down and read back at every moment.
            keys = SecretKeys::from_keyring_bytes(&keys.to_keyring_bytes()).unwrap();
            let next = keys.replaced().unwrap().unwrap();
            assert_ne!(next.public(), keys.public());
            keys = SecretKeys::from_keyring_bytes(&next.to_keyring_bytes()).unwrap();
            assert!(keys.replaced().unwrap().is_none());
            recipients.push(keys.x_wing().recipient());
        }
        recipients.reverse();
        let opens: Vec<_> = keys
            .x_wings()
            .map(|key| key.recipient().to_bytes())
            .collect();
        let wanted: Vec<_> = recipients.iter().map(|r| r.to_bytes()).collect();
        assert_eq!(opens, wanted);
        assert!(
            plain.len() < keys.to_keyring_bytes().len(),
            "keys that replaced none stay as they were"
        );
        for _ in 3..FORMER_KEYS_LIMIT {
            keys.prepare_next(entropy).unwrap();
            keys = keys.replaced().unwrap().unwrap();
        }
        assert!(matches!(
            keys.prepare_next(entropy),
            Err(Error::TooManyKeys)
        ));
        SecretKeys::from_keyring_bytes(&keys.to_keyring_bytes()).unwrap();
    }

    #[test]
    fn keys_of_the_wrong_length_or_no_point_are_refused_by_name() {
        let good = SecretKeys::generate(&mut Seeded::new(3))
            .unwrap()
            .public()
            .clone();
        PeerKeys::parse(&good).unwrap();
        let refused = |change: &dyn Fn(&mut PublicKeys)| {
            let mut keys = good.clone();
            change(&mut keys);
            PeerKeys::parse(&keys).unwrap_err().to_string()
        };
        // the neutral element: every message has a valid signature under it
        assert!(
            refused(&|k| k.ed25519 = {
                let mut p = [0; 32];
                p[0] = 1;
                p
            })
            .contains("Ed25519")
        );
        // y = p + 1, the neutral element in non-canonical form
        assert!(
            refused(&|k| {
                k.ed25519 = [0xff; 32];
                k.ed25519[0] = 0xee;
                k.ed25519[31] = 0x7f;
            })
            .contains("Ed25519")
        );
        assert!(refused(&|k| k.ml_dsa_65.truncate(1951)).contains("ML-DSA-65"));
        assert!(refused(&|k| k.x_wing.push(0)).contains("X-Wing"));
        // a coefficient above the modulus (FIPS 203, section 7.2)
        assert!(refused(&|k| k.x_wing[..3].copy_from_slice(&[0xff; 3])).contains("X-Wing"));
    }
}
