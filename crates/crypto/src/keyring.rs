//! A person's three secret keys behind several doors: password, passkey, recovery code.
//!
//! ```text
//! door secret -- HKDF(salt, label of the door's kind, account) --> door key
//! door key    -- AES-256-GCM, 60 bytes per door               --> vault key (random)
//! vault key   -- AES-256-GCM                                   --> keyring (three seeds)
//! ```
//! The server stores the result and can open none of it. Changing a password re-wraps one key.

use salus_proto::Entropy;
use salus_proto::encode::to_bytes;
use salus_proto::sealed::{Door, DoorKind, MAX_DOORS, SealedKeyring};
use zeroize::Zeroizing;

use crate::digest::{Secret, derive, sha256_of};
use crate::keys::{SecretKeys, random_secret};
use crate::opaque::Secret64;
use crate::wrap::{unwrap_key_under, unwrap_under, wrap_key_under, wrap_under};
use crate::{Error, Label, label};

/// What a person has in hand to open a door.
#[derive(Clone, Copy)]
pub enum DoorSecret<'a> {
    /// OPAQUE's export key.
    Password(&'a Secret64),
    /// The printed code.
    RecoveryCode(&'a RecoveryCode),
    /// A passkey's PRF output, and which passkey it is.
    Passkey {
        /// The WebAuthn credential id, at most 1,023 bytes.
        credential: &'a [u8],
        /// 32 bytes.
        prf_output: &'a Secret,
    },
}

impl DoorSecret<'_> {
    fn kind(&self) -> DoorKind {
        match self {
            Self::Password(_) => DoorKind::Password,
            Self::RecoveryCode(_) => DoorKind::RecoveryCode,
            Self::Passkey { .. } => DoorKind::Passkey,
        }
    }

    fn name(&self) -> &[u8] {
        match self {
            Self::Password(_) | Self::RecoveryCode(_) => &[],
            Self::Passkey { credential, .. } => credential,
        }
    }

    fn door_key(&self, salt: &[u8; 32], account: &[u8]) -> Secret {
        let (secret, label): (&[u8], Label) = match self {
            Self::Password(export_key) => (&***export_key, label::DOOR_PASSWORD),
            Self::RecoveryCode(code) => (&*code.0, label::DOOR_RECOVERY_CODE),
            Self::Passkey { prf_output, .. } => (&***prf_output, label::DOOR_PASSKEY),
        };
        derive(secret, salt, label, account)
    }
}

impl core::fmt::Debug for DoorSecret<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "DoorSecret({:?})", self.kind())
    }
}

/// An opened vault: the keys, and the right to change the doors.
pub struct Vault {
    account: Vec<u8>,
    vault_key: Secret,
    sealed: SealedKeyring,
    keys: SecretKeys,
}

impl Vault {
    /// Puts keys behind a first door. `account` names the account for ever (its principal's id): a
    /// keyring moved to another account does not open.
    ///
    /// # Errors
    /// [`Error::Door`] for a passkey's credential id beyond 1,023 bytes.
    pub fn create(
        account: &[u8],
        keys: SecretKeys,
        door: DoorSecret<'_>,
        entropy: &mut dyn Entropy,
    ) -> Result<Self, Error> {
        let vault_key = random_secret(entropy);
        let bytes = keys.to_keyring_bytes();
        let keyring = wrap_under(&vault_key, label::KEYRING, account, &bytes, entropy)?;
        let sealed = SealedKeyring {
            version: SealedKeyring::VERSION,
            doors: Vec::new(),
            keyring,
        };
        let mut vault = Self {
            account: account.to_vec(),
            vault_key,
            sealed,
            keys,
        };
        vault.set_door(door, entropy)?;
        Ok(vault)
    }

    /// Opens a stored keyring through one of its doors.
    ///
    /// # Errors
    /// [`Error::VaultClosed`] if no door opens with this secret; [`Error::Malformed`] or
    /// [`Error::UnknownVersion`] if the bytes are no keyring of ours; [`Error::Unwrap`] if the door
    /// opens and what is behind it was altered.
    pub fn open(account: &[u8], sealed: &[u8], door: DoorSecret<'_>) -> Result<Self, Error> {
        let sealed = SealedKeyring::from_bytes(sealed)?;
        if sealed.version != SealedKeyring::VERSION {
            return Err(Error::UnknownVersion);
        }
        let found = find(&sealed, &door).ok_or(Error::VaultClosed)?;
        let door_key = door.door_key(&found.salt, account);
        let context = door_context(&door, account);
        let vault_key = unwrap_key_under(&door_key, label::VAULT_KEY, &context, &found.wrap)
            .map_err(|_| Error::VaultClosed)?;
        let keyring = unwrap_under(&vault_key, label::KEYRING, account, &sealed.keyring)?;
        let keys = SecretKeys::from_keyring_bytes(&keyring)?;
        Ok(Self {
            account: account.to_vec(),
            vault_key,
            sealed,
            keys,
        })
    }

    /// The keys.
    pub fn keys(&self) -> &SecretKeys {
        &self.keys
    }

    /// What the server stores: a sealed keyring, encoded.
    pub fn to_sealed_bytes(&self) -> Vec<u8> {
        to_bytes(&self.sealed)
    }

    /// The kinds and names of the doors, in order of making.
    pub fn doors(&self) -> impl Iterator<Item = (DoorKind, &[u8])> {
        self.sealed
            .doors
            .iter()
            .map(|door| (door.kind, door.name.as_slice()))
    }

    /// Adds a door, or replaces the one of the same kind and name: a changed password, a newly
    /// printed code.
    ///
    /// # Errors
    /// [`Error::Door`] beyond [`MAX_DOORS`] doors or 1,023 bytes of credential id.
    pub fn set_door(
        &mut self,
        door: DoorSecret<'_>,
        entropy: &mut dyn Entropy,
    ) -> Result<(), Error> {
        let salt = *random_secret(entropy);
        let door_key = door.door_key(&salt, &self.account);
        let context = door_context(&door, &self.account);
        let wrap = wrap_key_under(
            &door_key,
            label::VAULT_KEY,
            &context,
            &self.vault_key,
            entropy,
        )?;
        let (kind, name) = (door.kind(), door.name().to_vec());
        let made = Door {
            kind,
            name,
            salt,
            wrap: wrap.to_vec(),
        };
        if made.name.len() > 1023 {
            return Err(Error::Door);
        }
        let doors = &mut self.sealed.doors;
        let same = |old: &Door| old.kind == made.kind && old.name == made.name;
        if let Some(at) = doors.iter().position(same) {
            doors.splice(at..=at, [made]);
        } else if doors.len() < MAX_DOORS {
            doors.push(made);
        } else {
            return Err(Error::Door);
        }
        Ok(())
    }

    /// Puts other keys behind the same doors.
    ///
    /// # Errors
    /// Those of the library, which random bytes never meet.
    pub fn set_keys(&mut self, keys: SecretKeys, entropy: &mut dyn Entropy) -> Result<(), Error> {
        let bytes = keys.to_keyring_bytes();
        let wrap = wrap_under(
            &self.vault_key,
            label::KEYRING,
            &self.account,
            &bytes,
            entropy,
        )?;
        self.sealed.keyring = wrap;
        self.keys = keys;
        Ok(())
    }

    /// Removes a door; the last one stays.
    ///
    /// # Errors
    /// [`Error::Door`] if there is no such door or it is the last.
    pub fn remove_door(&mut self, kind: DoorKind, name: &[u8]) -> Result<(), Error> {
        let doors = &mut self.sealed.doors;
        let at = doors
            .iter()
            .position(|door| door.kind == kind && door.name == name);
        match at {
            Some(at) if doors.len() > 1 => {
                doors.remove(at);
                Ok(())
            }
            _ => Err(Error::Door),
        }
    }
}

impl core::fmt::Debug for Vault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "Vault({} doors, {:?})",
            self.sealed.doors.len(),
            self.keys
        )
    }
}

fn find<'s>(sealed: &'s SealedKeyring, door: &DoorSecret<'_>) -> Option<&'s Door> {
    sealed
        .doors
        .iter()
        .find(|d| d.kind == door.kind() && d.name == door.name())
}

/// Binds a wrap to its door and account: kind (1 byte) || name's length (2, big-endian) || name ||
/// account.
fn door_context(door: &DoorSecret<'_>, account: &[u8]) -> Vec<u8> {
    let kind = match door.kind() {
        DoorKind::Password => 0,
        DoorKind::RecoveryCode => 1,
        DoorKind::Passkey => 2,
    };
    // A longer name is refused before its door is kept.
    let length = u16::try_from(door.name().len()).unwrap_or(u16::MAX);
    [&[kind], &length.to_be_bytes()[..], door.name(), account].concat()
}

/// A printed recovery code: 136 random bits and 24 check bits, as 32 characters in groups of four,
/// for example `7K3M-0A9Z-...`. Alphabet and reading rules are Crockford's base 32.
pub struct RecoveryCode(Zeroizing<[u8; 17]>);

impl RecoveryCode {
    const WHAT: &'static str = "recovery code";
    const ALPHABET: &'static [u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

    /// A fresh code.
    pub fn generate(entropy: &mut dyn Entropy) -> Self {
        let mut secret = Zeroizing::new([0; 17]);
        entropy.fill(&mut *secret);
        Self(secret)
    }

    /// The code as it is printed: eight groups of four characters.
    pub fn to_text(&self) -> Zeroizing<String> {
        let check = Self::check(&self.0);
        let mut text = Zeroizing::new(String::with_capacity(39));
        let (mut bits, mut held) = (0_u32, 0);
        for byte in self.0.iter().chain(&check) {
            bits = (bits << 8 | u32::from(*byte)) & 0xfff;
            held += 8;
            while held >= 5 {
                held -= 5;
                if text.len() % 5 == 4 {
                    text.push('-');
                }
                let digit = Self::ALPHABET.get((bits >> held & 31) as usize);
                text.push(char::from(digit.copied().unwrap_or(b'0')));
            }
        }
        text
    }

    /// Reads a code as people type it: either case, with or without hyphens and spaces, O for 0, I
    /// and L for 1.
    ///
    /// # Errors
    /// [`Error::Text`] if characters are missing, too many or mistyped.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let wrong = Error::Text { what: Self::WHAT };
        let mut bytes = Zeroizing::new([0_u8; 20]);
        let (mut bits, mut held, mut digits) = (0_u32, 0, 0);
        let mut places = bytes.iter_mut();
        for character in text
            .chars()
            .filter(|c| !matches!(c, '-' | ' ' | '\t' | '\r' | '\n'))
        {
            let character = match character.to_ascii_uppercase() {
                'O' => '0',
                'I' | 'L' => '1',
                other => other,
            };
            let value = Self::ALPHABET
                .iter()
                .position(|digit| char::from(*digit) == character);
            let Some(value) = value.and_then(|v| u32::try_from(v).ok()) else {
                return Err(wrong);
            };
            bits = (bits << 5 | value) & 0xfff;
            held += 5;
            digits += 1;
            if held >= 8 {
                held -= 8;
                match places.next() {
                    // Masked to eight bits.
                    Some(place) => *place = u8::try_from(bits >> held & 0xff).unwrap_or(0),
                    None => return Err(wrong),
                }
            }
        }
        let (secret, check) = bytes
            .split_first_chunk::<17>()
            .ok_or(Error::Text { what: Self::WHAT })?;
        if digits != 32 || check != Self::check(secret) {
            return Err(wrong);
        }
        Ok(Self(Zeroizing::new(*secret)))
    }

    fn check(secret: &[u8; 17]) -> [u8; 3] {
        let digest = sha256_of(&[label::RECOVERY_CHECK.as_bytes(), secret]);
        let [a, b, c, ..] = digest.0;
        [a, b, c]
    }
}

impl core::fmt::Debug for RecoveryCode {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("RecoveryCode")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::Seeded;

    const ACCOUNT: &[u8] = &[9; 16];

    fn keys() -> SecretKeys {
        SecretKeys::generate(&mut Seeded::new(1)).unwrap()
    }

    #[test]
    fn every_door_opens_the_same_keys_and_no_other_secret_does() {
        let entropy = &mut Seeded::new(2);
        let (password, other) = (Zeroizing::new([1; 64]), Zeroizing::new([2; 64]));
        let (prf, wrong_prf) = (Zeroizing::new([3; 32]), Zeroizing::new([4; 32]));
        let code = RecoveryCode::generate(entropy);
        let passkey = DoorSecret::Passkey {
            credential: b"credential",
            prf_output: &prf,
        };
        let mut vault =
            Vault::create(ACCOUNT, keys(), DoorSecret::Password(&password), entropy).unwrap();
        vault
            .set_door(DoorSecret::RecoveryCode(&code), entropy)
            .unwrap();
        vault.set_door(passkey, entropy).unwrap();
        let stored = vault.to_sealed_bytes();
        for door in [
            DoorSecret::Password(&password),
            DoorSecret::RecoveryCode(&code),
            passkey,
        ] {
            let opened = Vault::open(ACCOUNT, &stored, door).unwrap();
            assert_eq!(opened.keys().public(), keys().public());
            assert_eq!(opened.doors().count(), 3);
            let elsewhere = Vault::open(&[8; 16], &stored, door).unwrap_err();
            assert_eq!(elsewhere.name(), "vault-closed");
        }
        for door in [
            DoorSecret::Password(&other),
            DoorSecret::RecoveryCode(&RecoveryCode::generate(entropy)),
            DoorSecret::Passkey {
                credential: b"credential",
                prf_output: &wrong_prf,
            },
            DoorSecret::Passkey {
                credential: b"another",
                prf_output: &prf,
            },
        ] {
            assert_eq!(
                Vault::open(ACCOUNT, &stored, door).unwrap_err().name(),
                "vault-closed"
            );
        }
    }

    #[test]
    fn a_changed_password_closes_the_old_door_only() {
        let entropy = &mut Seeded::new(3);
        let (old, new) = (Zeroizing::new([1; 64]), Zeroizing::new([2; 64]));
        let code = RecoveryCode::generate(entropy);
        let mut vault =
            Vault::create(ACCOUNT, keys(), DoorSecret::Password(&old), entropy).unwrap();
        assert!(
            vault.remove_door(DoorKind::Password, &[]).is_err(),
            "the last door"
        );
        vault
            .set_door(DoorSecret::RecoveryCode(&code), entropy)
            .unwrap();
        vault.set_door(DoorSecret::Password(&new), entropy).unwrap();
        let stored = vault.to_sealed_bytes();
        assert!(Vault::open(ACCOUNT, &stored, DoorSecret::Password(&old)).is_err());
        assert!(Vault::open(ACCOUNT, &stored, DoorSecret::Password(&new)).is_ok());
        assert!(Vault::open(ACCOUNT, &stored, DoorSecret::RecoveryCode(&code)).is_ok());
        vault.remove_door(DoorKind::RecoveryCode, &[]).unwrap();
        assert!(vault.remove_door(DoorKind::Passkey, b"none").is_err());
        let stored = vault.to_sealed_bytes();
        assert!(Vault::open(ACCOUNT, &stored, DoorSecret::RecoveryCode(&code)).is_err());
    }

    #[test]
    fn doors_are_bounded() {
        let entropy = &mut Seeded::new(4);
        let prf = Zeroizing::new([3; 32]);
        let long: &'static [u8] = &[0; 1024];
        let passkey = |name: &'static [u8]| DoorSecret::Passkey {
            credential: name,
            prf_output: &prf,
        };
        assert!(Vault::create(ACCOUNT, keys(), passkey(long), entropy).is_err());
        let mut vault = Vault::create(ACCOUNT, keys(), passkey(&long[..1023]), entropy).unwrap();
        for n in 1..MAX_DOORS {
            let name: &'static [u8] = &long[..n];
            vault.set_door(passkey(name), entropy).unwrap();
        }
        assert!(vault.set_door(passkey(b"one too many"), entropy).is_err());
        assert!(Vault::open(ACCOUNT, &vault.to_sealed_bytes(), passkey(&long[..5])).is_ok());
    }

    #[test]
    fn every_altered_byte_of_a_stored_keyring_is_noticed() {
        let entropy = &mut Seeded::new(5);
        let password = Zeroizing::new([1; 64]);
        let door = DoorSecret::Password(&password);
        let stored = Vault::create(ACCOUNT, keys(), door, entropy)
            .unwrap()
            .to_sealed_bytes();
        for byte in 0..stored.len() {
            let mut altered = stored.clone();
            altered[byte] ^= 1;
            assert!(Vault::open(ACCOUNT, &altered, door).is_err(), "byte {byte}");
            assert!(Vault::open(ACCOUNT, &stored[..byte], door).is_err());
        }
    }

    #[test]
    fn a_recovery_code_is_read_as_people_type_it() {
        let code = RecoveryCode::generate(&mut Seeded::new(6));
        let text = code.to_text();
        assert_eq!(text.len(), 39);
        let sloppy = text
            .to_lowercase()
            .replace('-', " ")
            .replace('0', "o")
            .replace('1', "l");
        for typed in [&*text, &sloppy, &text.replace('-', "")] {
            assert_eq!(*RecoveryCode::parse(typed).unwrap().0, *code.0);
        }
        for wrong in [
            "",
            "0000",
            &format!("{}0", &*text),
            "UUUU-UUUU-UUUU-UUUU-UUUU-UUUU-UUUU-UUUU",
        ] {
            assert!(RecoveryCode::parse(wrong).is_err());
        }
    }

    proptest! {
        #[test]
        fn codes_come_back_and_one_mistyped_character_is_noticed(seed: u64, at in 0usize..39, digit in 0usize..32) {
            let code = RecoveryCode::generate(&mut Seeded::new(seed));
            let text = code.to_text();
            prop_assert_eq!(*RecoveryCode::parse(&text).unwrap().0, *code.0);
            let mut typed: Vec<u8> = text.bytes().collect();
            let other = RecoveryCode::ALPHABET[digit];
            if typed[at] != b'-' && typed[at] != other {
                typed[at] = other;
                // one in 2^24 passes the check; no seed that proptest draws is expected to
                prop_assert!(RecoveryCode::parse(core::str::from_utf8(&typed).unwrap()).is_err());
            }
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in ".{0,60}") {
            let _ = RecoveryCode::parse(&text);
        }
    }
}
