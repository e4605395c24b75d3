//! The offline proof bundle: one JSON file that proves a record, a log entry or a state value to
//! somebody who trusts nothing but the digest of the consortium's genesis file.
//!
//! ```text
//! pinned digest ─▶ genesis ─▶ members ─▶ handover ─▶ members' ─▶ .. ─▶ checkpoint
//!                                                                     │        │
//!                        record anchor ─▶ manifest ─▶ entry ─▶ log root    state root ◀─ key, value
//! ```
//!
//! Each arrow is one named check of the [`Report`]. What comes first is needed by what follows, so
//! the first failure leaves the rest unchecked. Format: `docs/formats.md`, "Proof bundle".

use core::fmt;

use salus_crypto::digest::sha256;
use salus_crypto::keys::PeerKeys;
use salus_crypto::sign::Ed25519Verifier;
use salus_crypto::{hybrid, label};
use salus_proto::Digest;
use salus_proto::checkpoint::{Checkpoint, MEMBERS_STATE_KEY, SignedNote};
use salus_proto::command::{
    Action, COMMAND_LIMIT, Command, ENTRY_LIMIT, Entry, Outcome, SignedCommand,
};
use salus_proto::encode::{base64url, from_bytes};
use salus_proto::ids::PrincipalId;
use salus_proto::keys::PublicKeys;
use salus_proto::member::{GENESIS_LIMIT, Genesis};
use salus_proto::record::{MANIFEST_LIMIT, Manifest, RecordAnchor};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::tree::leaf_hash;
use crate::{CertifiedCheckpoint, Error, InclusionProof, MemberList, StateProof};

/// The version that this program writes and reads.
pub const VERSION: u32 = 1;
/// Largest bundle, in bytes.
pub const BUNDLE_LIMIT: usize = 32 << 20;

/// Longest encoded anchor and longest encoded keys, in bytes.
const SMALL_LIMIT: usize = 4 << 10;

/// The bundle as it stands in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    /// [`VERSION`].
    pub version: u32,
    /// The genesis file's bytes.
    #[serde(with = "base64url")]
    pub genesis: Vec<u8>,
    /// Every change of who signs, in order, up to the list that signed `checkpoint`.
    pub handovers: Vec<Handover>,
    /// The certified checkpoint, a signed note.
    pub checkpoint: String,
    /// What is proven under it.
    pub claim: Claim,
}

/// One change of who signs: the last word of the old members names the new ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Handover {
    /// A checkpoint that the old members certified, a signed note.
    pub checkpoint: String,
    /// The encoded list of the new members.
    #[serde(with = "base64url")]
    pub members: Vec<u8>,
    /// Proof that the state under that checkpoint holds this list.
    pub proof: StateProof,
}

/// What a bundle proves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Claim {
    /// A sealed record was anchored.
    Record(Box<RecordClaim>),
    /// A command was made final.
    Entry(Box<EntryClaim>),
    /// The state holds a value for a key, or none.
    State(StateClaim),
}

/// A sealed record, from its anchor to the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordClaim {
    /// The encoded anchor.
    #[serde(with = "base64url")]
    pub anchor: Vec<u8>,
    /// Its position in the batch.
    pub position: u64,
    /// Sibling hashes from the anchor to the manifest's anchors root.
    pub path: Vec<Digest>,
    /// The signed manifest (COSE_Sign).
    #[serde(with = "base64url")]
    pub manifest: Vec<u8>,
    /// Whose keys signed manifest and command.
    pub signer: KeyProof,
    /// The entry that anchored the batch.
    pub entry: EntryProof,
}

/// A log entry and, optionally, its author's keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntryClaim {
    /// The entry.
    pub entry: EntryProof,
    /// Whose key signed the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<KeyProof>,
}

/// A key of the state and its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateClaim {
    /// The key.
    #[serde(with = "base64url")]
    pub key: Vec<u8>,
    /// The value; absent if the state has none.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "optional_base64url"
    )]
    pub value: Option<Vec<u8>>,
    /// The proof of either.
    pub proof: StateProof,
}

/// An entry's bytes and its place in the log of the bundle's checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntryProof {
    /// The encoded entry.
    #[serde(with = "base64url")]
    pub entry: Vec<u8>,
    /// Its index in the log.
    pub index: u64,
    /// Sibling hashes from the leaf to the log's root.
    pub path: Vec<Digest>,
}

/// Where a principal's public keys are on record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum KeyProof {
    /// In the genesis file or a list of members of this bundle.
    Listed,
    /// In the accepted entry, earlier in the log, with which it registered or replaced its keys.
    Entry(EntryProof),
    /// In the state under the bundle's checkpoint.
    State {
        /// The encoded keys.
        #[serde(with = "base64url")]
        keys: Vec<u8>,
        /// Proof that they stand at the principal's place.
        proof: StateProof,
    },
}

/// What a verified bundle proves, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proven {
    /// The record with this anchor was anchored by the manifest's signer.
    Record {
        /// The record's digest, length and kind; compare it with the sealed bytes at hand by
        /// [`check_sealed`].
        anchor: RecordAnchor,
        /// The batch and who signed it.
        manifest: Manifest,
        /// The entry, with the block's time.
        entry: Entry,
    },
    /// The command was made final.
    Entry {
        /// The entry, with its outcome and the block's time.
        entry: Entry,
        /// The command in it.
        command: Command,
        /// Whether its author's signature was checked against keys in the bundle. Otherwise it
        /// stands on the word of the members.
        signature_checked: bool,
    },
    /// The state held this value, or none, after the checkpoint's block.
    State {
        /// The key.
        key: Vec<u8>,
        /// The value.
        value: Option<Vec<u8>>,
    },
}

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It holds.
    Passed,
    /// It does not.
    Failed,
    /// An earlier one failed, on which it rests.
    NotChecked,
}

/// One named check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// `genesis`, `handover 1`, .., `checkpoint`, `entry`, `signer`, `command`, `manifest`,
    /// `anchor` or `state`.
    pub name: String,
    /// How it came out.
    pub verdict: Verdict,
    /// What that means, in plain words.
    pub words: String,
}

/// The outcome of verifying a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The checks in the order in which they rest on each other.
    pub checks: Vec<Check>,
    /// What is proven; `None` unless every check passed.
    pub proven: Option<Proven>,
    /// The checkpoint under which it is proven, once that has passed.
    pub checkpoint: Option<Checkpoint>,
}

impl Report {
    /// Whether every check passed.
    pub fn verified(&self) -> bool {
        self.proven.is_some()
    }
}

impl fmt::Display for Report {
    /// One line a check and a verdict, for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Check {
            name,
            verdict,
            words,
        } in &self.checks
        {
            let mark = match verdict {
                Verdict::Passed => "ok     ",
                Verdict::Failed => "FAILED ",
                Verdict::NotChecked => "-      ",
            };
            writeln!(f, "{mark}{name}: {words}")?;
        }
        f.write_str(if self.verified() {
            "VERIFIED"
        } else {
            "NOT VERIFIED"
        })
    }
}

/// Whether two JSON values have the same fields, lengths and kinds; what texts and numbers say is not
/// compared.
fn same_form(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, value)| {
                    other.get(name).is_some_and(|other| same_form(value, other))
                })
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(a, b)| same_form(a, b))
        }
        (Value::String(_), Value::String(_))
        | (Value::Number(_), Value::Number(_))
        | (Value::Bool(_), Value::Bool(_)) => true,
        _ => false,
    }
}

impl Bundle {
    /// Reads a bundle file.
    ///
    /// # Errors
    /// [`Error::Bundle`] for anything that is not a bundle of this version.
    pub fn from_json(json: &[u8]) -> Result<Self, Error> {
        if json.len() > BUNDLE_LIMIT {
            return Err(Error::Bundle("longer than a bundle may be".into()));
        }
        // The category and the position; the message itself may quote content.
        let unreadable = |e: serde_json::Error| {
            let (kind, line, column) = (e.classify(), e.line(), e.column());
            Error::Bundle(format!("{kind:?} error at line {line} column {column}"))
        };
        let bundle: Self = serde_json::from_slice(json).map_err(unreadable)?;
        // The derived reader also takes null for what is absent and lists for objects; a file has
        // one form, whoever reads it.
        let as_read: Value = serde_json::from_slice(json).map_err(unreadable)?;
        let as_written = serde_json::to_value(&bundle).map_err(unreadable)?;
        if !same_form(&as_read, &as_written) {
            return Err(Error::Bundle(
                "a null, or a list in place of an object".into(),
            ));
        }
        if bundle.version == VERSION {
            Ok(bundle)
        } else {
            Err(Error::Bundle(format!(
                "version {} is not known",
                bundle.version
            )))
        }
    }

    /// The bundle file.
    ///
    /// # Errors
    /// [`Error::Bundle`] if it would be longer than [`BUNDLE_LIMIT`].
    pub fn to_json(&self) -> Result<Vec<u8>, Error> {
        let json = serde_json::to_vec_pretty(self).map_err(|e| Error::Bundle(e.to_string()))?;
        if json.len() > BUNDLE_LIMIT {
            return Err(Error::Bundle("longer than a bundle may be".into()));
        }
        Ok(json)
    }

    /// Checks everything, starting from nothing but the digest of the genesis file.
    pub fn verify(&self, pinned_genesis: &Digest) -> Report {
        let mut checks = Checks(Vec::new());
        let mut checkpoint = None;
        let proven = self.proven(pinned_genesis, &mut checks, &mut checkpoint);
        for name in self.names() {
            if !checks.0.iter().any(|check| check.name == name) {
                let words = "not checked, because an earlier check failed".into();
                checks.0.push(Check {
                    name,
                    verdict: Verdict::NotChecked,
                    words,
                });
            }
        }
        Report {
            checks: checks.0,
            proven,
            checkpoint,
        }
    }

    fn names(&self) -> Vec<String> {
        let claim: &[&str] = match &self.claim {
            Claim::Record(_) => &["entry", "signer", "command", "manifest", "anchor"],
            Claim::Entry(claim) if claim.signer.is_some() => &["entry", "signer", "command"],
            Claim::Entry(_) => &["entry", "command"],
            Claim::State(_) => &["state"],
        };
        let handovers = (1..=self.handovers.len()).map(handover_name);
        let claim = claim.iter().map(|name| (*name).to_owned());
        let first = core::iter::once("genesis".to_owned());
        first
            .chain(handovers)
            .chain(["checkpoint".to_owned()])
            .chain(claim)
            .collect()
    }

    fn proven(
        &self,
        pinned: &Digest,
        checks: &mut Checks,
        checkpoint: &mut Option<Checkpoint>,
    ) -> Option<Proven> {
        let (genesis, members) = checks.add("genesis", self.genesis(pinned))?;
        let mut chain = Chain {
            origin: genesis.origin(),
            height: 0,
            lists: vec![members],
        };
        for (at, handover) in self.handovers.iter().enumerate() {
            checks.add(handover_name(at + 1), chain.hand_over(handover))?;
        }
        let certified = checks.add("checkpoint", chain.certified(&self.checkpoint))?;
        let checkpoint = checkpoint.insert(certified);
        let context = Context {
            genesis: &genesis,
            lists: &chain.lists,
            checkpoint,
        };
        match &self.claim {
            Claim::Record(claim) => context.record(claim, checks),
            Claim::Entry(claim) => context.entry(claim, checks),
            Claim::State(claim) => context.state(claim, checks),
        }
    }

    fn genesis(&self, pinned: &Digest) -> Checked<(Genesis, MemberList)> {
        if sha256(&self.genesis) != *pinned {
            return Err(Error::Claim(
                "the genesis file is not the one whose digest you trust",
            ));
        }
        let genesis: Genesis = from_bytes(&self.genesis, GENESIS_LIMIT, "genesis file")?;
        if genesis.version != 1 {
            return Err(Error::Claim("the genesis file has an unknown version"));
        }
        let members = MemberList::new(0, genesis.members.clone())?;
        let words = format!(
            "the genesis file is the one whose digest you trust; {} members founded {:?}",
            members.members().len(),
            genesis.name
        );
        Ok(((genesis, members), words))
    }
}

/// What a check found, and what that means in plain words.
type Checked<T> = Result<(T, String), Error>;

struct Checks(Vec<Check>);

impl Checks {
    fn add<T>(&mut self, name: impl Into<String>, result: Checked<T>) -> Option<T> {
        let (verdict, words, found) = match result {
            Ok((found, words)) => (Verdict::Passed, words, Some(found)),
            Err(error) => (Verdict::Failed, error.to_string(), None),
        };
        self.0.push(Check {
            name: name.into(),
            verdict,
            words,
        });
        found
    }
}

fn handover_name(number: usize) -> String {
    format!("handover {number}")
}

/// The lists of members so far, of which the last is in force.
struct Chain {
    origin: String,
    height: u64,
    lists: Vec<MemberList>,
}

impl Chain {
    fn certified(&self, note: &str) -> Checked<Checkpoint> {
        let members = self
            .lists
            .last()
            .ok_or(Error::Claim("no member list is known"))?;
        let note = SignedNote::parse(note)?;
        let certified = CertifiedCheckpoint::verify(&note, members, &self.origin)?;
        let checkpoint = certified.checkpoint();
        if checkpoint.height < self.height {
            return Err(Error::Claim(
                "the checkpoint is older than the handover before it",
            ));
        }
        let words = format!(
            "{} of {} members signed that the log had {} entries at {}",
            certified.signers().len(),
            members.members().len(),
            checkpoint.size,
            checkpoint.time
        );
        Ok((checkpoint.clone(), words))
    }

    fn hand_over(&mut self, handover: &Handover) -> Checked<()> {
        let (checkpoint, mut words) = self.certified(&handover.checkpoint)?;
        let stored = handover
            .proof
            .verify(&checkpoint.state, MEMBERS_STATE_KEY)?;
        if stored != Some(sha256(&handover.members)) {
            return Err(Error::Claim("the state holds another list of members"));
        }
        let members = MemberList::from_bytes(&handover.members)?;
        if self
            .lists
            .last()
            .is_some_and(|before| before.version() >= members.version())
        {
            return Err(Error::Claim(
                "the list of members is not newer than the one before it",
            ));
        }
        words.push_str(&format!(
            ", and handed over to a list of {} members",
            members.members().len()
        ));
        self.height = checkpoint.height;
        self.lists.push(members);
        Ok(((), words))
    }
}

/// What claims are checked against.
struct Context<'b> {
    genesis: &'b Genesis,
    lists: &'b [MemberList],
    checkpoint: &'b Checkpoint,
}

/// A command as it was signed.
struct Authored {
    command: Command,
    signed: SignedCommand,
}

impl Context<'_> {
    fn record(&self, claim: &RecordClaim, checks: &mut Checks) -> Option<Proven> {
        let (entry, authored) = checks.add("entry", self.logged(&claim.entry))?;
        let who = authored.command.principal;
        let keys = checks.add("signer", self.keys(who, &claim.signer, claim.entry.index))?;
        let keys = checks.add("command", signed_by(&authored, keys))?;
        let manifest = checks.add("manifest", manifest(claim, &entry, &authored, &keys))?;
        let anchor = checks.add("anchor", anchor(claim, &manifest))?;
        Some(Proven::Record {
            anchor,
            manifest,
            entry,
        })
    }

    fn entry(&self, claim: &EntryClaim, checks: &mut Checks) -> Option<Proven> {
        let (entry, authored) = checks.add("entry", self.logged(&claim.entry))?;
        if let Some(signer) = &claim.signer {
            let who = authored.command.principal;
            let keys = checks.add("signer", self.keys(who, signer, claim.entry.index))?;
            checks.add("command", signed_by(&authored, keys))?;
        } else {
            let words =
                "the author's key is not in the bundle; that the command was signed stands \
                         on the word of the members"
                    .to_owned();
            checks.add("command", Ok(((), words)))?;
        }
        let signature_checked = claim.signer.is_some();
        Some(Proven::Entry {
            entry,
            command: authored.command,
            signature_checked,
        })
    }

    fn state(&self, claim: &StateClaim, checks: &mut Checks) -> Option<Proven> {
        let StateClaim { key, value, proof } = claim;
        let held = |words: &str| Ok(((), words.to_owned()));
        let result = proof
            .verify(&self.checkpoint.state, key)
            .and_then(|stored| match (stored, value.as_deref().map(sha256)) {
                (None, None) => held("the state holds no value for this key"),
                (Some(stored), Some(value)) if stored == value => {
                    held("the state holds exactly this value for this key")
                }
                (None, Some(_)) => Err(Error::Claim("the state holds no value for this key")),
                (Some(_), _) => Err(Error::Claim("the state holds another value for this key")),
            });
        checks.add("state", result)?;
        Some(Proven::State {
            key: key.clone(),
            value: value.clone(),
        })
    }

    /// Checks that an entry is in the log, and decodes it.
    fn logged(&self, proof: &EntryProof) -> Checked<(Entry, Authored)> {
        let EntryProof {
            entry: bytes,
            index,
            path,
        } = proof;
        let inclusion = InclusionProof {
            index: *index,
            size: self.checkpoint.size,
            path: path.clone(),
        };
        inclusion.verify(&leaf_hash(bytes), &self.checkpoint.root)?;
        let entry: Entry = from_bytes(bytes, ENTRY_LIMIT, "log entry")?;
        if entry.index != *index || entry.height > self.checkpoint.height {
            return Err(Error::Claim(
                "the entry says that it stands elsewhere in the log",
            ));
        }
        let signed: SignedCommand =
            from_bytes(&entry.signed_command, ENTRY_LIMIT, "signed command")?;
        let command: Command = from_bytes(&signed.command, COMMAND_LIMIT, "command")?;
        if command.consortium != self.genesis.consortium {
            return Err(Error::Claim("the command is for another consortium"));
        }
        let words = format!(
            "entry {index} of the log, made final at {}: the command was {}",
            entry.time,
            match entry.outcome {
                Outcome::Accepted => "accepted".to_owned(),
                Outcome::Refused(why) => format!("refused ({why})"),
            }
        );
        Ok(((entry, Authored { command, signed }), words))
    }

    /// Finds the keys that a principal has or had, where the bundle says they are; `before` is the
    /// entry that they are to have signed.
    fn keys(&self, who: PrincipalId, proof: &KeyProof, before: u64) -> Checked<Vec<PublicKeys>> {
        match proof {
            KeyProof::Listed => {
                let founders = self.genesis.founders.iter().map(|f| (f.principal, &f.keys));
                // A member may have replaced its keys from one list to the next.
                let members = self.lists.iter().rev().flat_map(MemberList::members);
                let keys: Vec<_> = founders
                    .chain(members.map(|member| (member.principal(), &member.keys)))
                    .filter(|(principal, _)| *principal == who)
                    .map(|(_, keys)| keys.clone())
                    .collect();
                if keys.is_empty() {
                    return Err(Error::Claim("no list in the bundle names the signer"));
                }
                Ok((
                    keys,
                    format!("the founders or members list the keys of {who}"),
                ))
            }
            KeyProof::Entry(proof) => {
                let ((entry, Authored { command, .. }), _) = self.logged(proof)?;
                let (Action::Register { keys, .. } | Action::RotateKeys { keys, .. }) =
                    command.action
                else {
                    return Err(Error::Claim("the signer's entry is not about its keys"));
                };
                if command.principal != who
                    || entry.outcome != Outcome::Accepted
                    || entry.index >= before
                {
                    return Err(Error::Claim(
                        "the signer's entry does not give it these keys",
                    ));
                }
                Ok((
                    vec![keys],
                    format!("entry {} of the log gives the keys of {who}", entry.index),
                ))
            }
            KeyProof::State { keys, proof } => {
                let stored = proof.verify(&self.checkpoint.state, &keys_state_key(who))?;
                if stored != Some(sha256(keys)) {
                    return Err(Error::Claim("the state holds other keys of the signer"));
                }
                let keys = from_bytes(keys, SMALL_LIMIT, "public keys")?;
                Ok((vec![keys], format!("the state holds the keys of {who}")))
            }
        }
    }
}

/// Where the contract keeps a principal's public keys in the state.
pub fn keys_state_key(principal: PrincipalId) -> Vec<u8> {
    [b"keys/".as_slice(), principal.as_bytes()].concat()
}

/// Whether these are the sealed bytes that an anchor names.
///
/// # Errors
/// [`Error::Claim`] if they are not.
pub fn check_sealed(anchor: &RecordAnchor, sealed: &[u8]) -> Result<(), Error> {
    if sealed.len() as u64 == anchor.length && sha256(sealed) == anchor.ciphertext {
        Ok(())
    } else {
        Err(Error::Claim(
            "the sealed bytes are not those that were anchored",
        ))
    }
}

/// Finds the keys with which a command was signed.
fn signed_by(authored: &Authored, keys: Vec<PublicKeys>) -> Checked<PublicKeys> {
    let Authored { command, signed } = authored;
    let verifies = |keys: &PublicKeys| {
        Ed25519Verifier::parse(&keys.ed25519)
            .and_then(|key| key.verify(label::COMMAND, &signed.command, &signed.signature))
            .is_ok()
    };
    let keys = keys.into_iter().find(verifies).ok_or(Error::Claim(
        "the command is not signed with the key of its author",
    ))?;
    Ok((keys, format!("{} signed the command", command.principal)))
}

fn manifest(
    claim: &RecordClaim,
    entry: &Entry,
    authored: &Authored,
    keys: &PublicKeys,
) -> Checked<Manifest> {
    if entry.outcome != Outcome::Accepted {
        return Err(Error::Claim(
            "the command that anchors the batch was refused",
        ));
    }
    if claim.manifest.len() > MANIFEST_LIMIT {
        return Err(Error::Claim(
            "the manifest is longer than a manifest may be",
        ));
    }
    let who = authored.command.principal;
    let unsigned = Error::Claim("the manifest is not signed with both keys of its signer");
    let payload = PeerKeys::parse(keys)
        .and_then(|keys| {
            let signed = hybrid::Signed::parse(&claim.manifest)?;
            let named = signed.key_id() == who.as_bytes();
            Ok((named, signed.verify(&keys, label::MANIFEST)?))
        })
        .map_err(|_| unsigned.clone())?;
    let (true, payload) = payload else {
        return Err(unsigned);
    };
    let manifest: Manifest = from_bytes(&payload, MANIFEST_LIMIT, "manifest")?;
    let anchored = matches!(
        &authored.command.action,
        Action::AnchorBatch { batch, alias, manifest: digest, anchors_root, count, .. }
            if *batch == manifest.batch
                && *alias == manifest.alias
                && *digest == sha256(&claim.manifest)
                && *anchors_root == manifest.anchors_root
                && *count == manifest.count
    );
    if !anchored || manifest.signer != who {
        return Err(Error::Claim("the entry does not anchor this manifest"));
    }
    let words = format!(
        "{who} signed the manifest of {} records with both keys, and the entry anchors it",
        manifest.count
    );
    Ok((manifest, words))
}

fn anchor(claim: &RecordClaim, manifest: &Manifest) -> Checked<RecordAnchor> {
    let inclusion = InclusionProof {
        index: claim.position,
        size: u64::from(manifest.count),
        path: claim.path.clone(),
    };
    inclusion.verify(&leaf_hash(&claim.anchor), &manifest.anchors_root)?;
    let anchor: RecordAnchor = from_bytes(&claim.anchor, SMALL_LIMIT, "record anchor")?;
    let words = format!(
        "record {} version {} is in the manifest: {} sealed bytes with SHA-256 {}",
        anchor.record, anchor.version, anchor.length, anchor.ciphertext
    );
    Ok((anchor, words))
}

/// Base64url for a field that may be absent.
mod optional_base64url {
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::ref_option, reason = "the signature that serde calls")]
    pub(super) fn serialize<S: Serializer>(
        value: &Option<Vec<u8>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(bytes) => super::base64url::serialize(bytes, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Vec<u8>>, D::Error> {
        #[derive(Deserialize)]
        struct Text(#[serde(with = "super::base64url")] Vec<u8>);
        Ok(Some(Text::deserialize(deserializer)?.0))
    }
}
