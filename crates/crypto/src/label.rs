//! Every label of Salus: one per use, so that bytes made for one use never count for another.

/// A use of a key, as the bytes that are signed, derived or authenticated with it. Every label ends in
/// a zero byte and holds no other, so a label followed by a message reads in one way only.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Label(&'static str);

impl Label {
    /// The label's bytes, final zero included.
    pub fn as_bytes(self) -> &'static [u8] {
        self.0.as_bytes()
    }
}

impl core::fmt::Debug for Label {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Label({:?})", self.0.trim_end_matches('\0'))
    }
}

macro_rules! labels {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub const $name: Label = Label(concat!("salus/v1/", $text, "\0"));)*
        /// Every label, beside its name without `salus/v1/`.
        #[cfg(test)]
        const ALL: &[(Label, &str)] = &[$(($name, $text)),*];
    };
}

labels! {
    /// Ed25519 signature of a ledger command.
    COMMAND = "command";
    /// Ed25519 signature with which a person opens a session on a node that holds no account of theirs.
    SESSION = "session";
    /// Ed25519 signature by a new key, to show that its owner holds it.
    KEY_POSSESSION = "key-possession";
    /// Ed25519 signature on a message between nodes.
    PEER = "peer";
    /// Hybrid signature of an intake batch's manifest.
    MANIFEST = "manifest";
    /// Hybrid signature of an access contract.
    AGREEMENT = "agreement";
    /// Hybrid signature of a prescription, an answer or another clinical document.
    DOCUMENT = "document";
    /// Hybrid signature with which a principal states its own public keys.
    IDENTITY = "identity";
    /// Hybrid signature of a custodian's destruction receipt.
    DESTRUCTION = "destruction";
    /// ML-DSA-65 signature of a checkpoint note.
    CHECKPOINT = "checkpoint";
    /// Ed25519 signature of a checkpoint's cosignature exchange between members.
    COSIGNATURE = "cosignature";
    /// Signature on a federated update, plan or model.
    FEDERATED = "federated";
    /// Hybrid signature of a hospital's counts of its patients.
    STATISTICS = "statistics";

    /// HPKE wrap of a class key to a recipient.
    CLASS_KEY_WRAP = "class-key-wrap";
    /// HPKE wrap of one record's key to a recipient.
    RECORD_KEY_WRAP = "record-key-wrap";
    /// HPKE wrap of a sealed file's key to a recipient.
    FILE_KEY_WRAP = "file-key-wrap";
    /// HPKE wrap of a small message to a recipient.
    MESSAGE_WRAP = "message-wrap";
    /// AES-256-GCM wrap of a record key under a class key.
    RECORD_KEY = "record-key";
    /// AES-256-GCM wrap of a key under a node's own storage key.
    STORED_KEY = "stored-key";

    /// Derives a sealed stream's AES key from its record key.
    STREAM_KEY = "stream-key";
    /// Derives a sealed stream's key commitment from its record key.
    STREAM_COMMITMENT = "stream-commitment";
    /// Derives the key that binds a sealed stream's prelude and context.
    STREAM_BINDING = "stream-binding";
    /// Opens the context of a sealed file's stream.
    FILE_CONTEXT = "file-context";

    /// Derives a door key from OPAQUE's export key.
    DOOR_PASSWORD = "door-password";
    /// Derives a door key from a recovery code.
    DOOR_RECOVERY_CODE = "door-recovery-code";
    /// Derives a door key from a passkey's PRF output.
    DOOR_PASSKEY = "door-passkey";
    /// AES-256-GCM wrap of a vault key under a door key.
    VAULT_KEY = "vault-key";
    /// AES-256-GCM encryption of the keyring under the vault key.
    KEYRING = "keyring";

    /// Check characters of a printed recovery code.
    RECOVERY_CHECK = "recovery-check";
    /// Check bytes of a recipient's or an identity's text form.
    TEXT_CHECK = "text-check";
    /// Keyed names under which a hospital recognises what it took in before.
    INTAKE_TOKEN = "intake-token";
    /// Salted commitment to something that must stay off the ledger.
    COMMITMENT = "commitment";
}

/// Every label and its name.
#[cfg(test)]
pub(crate) fn all() -> impl Iterator<Item = (Label, &'static str)> {
    ALL.iter().copied()
}

/// The label with these bytes.
#[cfg(test)]
pub(crate) fn find(bytes: &[u8]) -> Option<Label> {
    all()
        .map(|(label, _)| label)
        .find(|label| label.as_bytes() == bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_differ_and_end_in_their_only_zero() {
        let mut seen = std::collections::BTreeSet::new();
        for (label, text) in ALL {
            assert!(seen.insert(label.as_bytes()), "{text} is there twice");
            assert_eq!(label.as_bytes().iter().filter(|b| **b == 0).count(), 1);
            assert_eq!(label.as_bytes().last(), Some(&0));
            assert!(
                text.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'),
                "{text}"
            );
        }
    }
}
