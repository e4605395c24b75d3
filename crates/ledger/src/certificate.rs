//! Who signed a checkpoint: key ids, both signatures of each member, the quorum, and evidence
//! against a member that signed two histories.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minicbor::{Decode, Encode};
use salus_crypto::digest::sha256;
use salus_proto::checkpoint::{
    Checkpoint, ML_DSA_65_NOTE_TYPE, NoteError, NoteSignature, SignedNote, member_key_name,
};
use salus_proto::ids::OrganisationId;
use salus_proto::member::{MEMBERS_LIMIT, Member, quorum};
use salus_proto::{Digest, encode};
use serde::{Deserialize, Serialize};

use crate::proof::ConsistencyProof;
use crate::{Error, signature};

/// Longest encoded list of members, in bytes.
pub const MEMBER_LIST_LIMIT: usize = MEMBERS_LIMIT * (4 << 10);

/// The members whose signatures count, and the digest by which checkpoints name them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberList {
    row: Row,
    digest: Digest,
}

/// The value of the state entry that holds the list.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
struct Row {
    #[n(0)]
    version: u64,
    #[n(1)]
    members: Vec<Member>,
}

impl MemberList {
    /// A list of 1 to 50 members, ascending by organisation, none sharing a key with another.
    /// `version` is 0 for the founders and one more with every change.
    ///
    /// # Errors
    /// [`Error::MemberList`] for any other.
    pub fn new(version: u64, members: Vec<Member>) -> Result<Self, Error> {
        if members.is_empty() || members.len() > MEMBERS_LIMIT {
            return Err(Error::MemberList("1 to 50 members are needed"));
        }
        if !members.is_sorted_by(|a, b| a.organisation < b.organisation) {
            return Err(Error::MemberList("members ascend by organisation"));
        }
        if !members.iter().all(|member| member.keys.well_formed()) {
            return Err(Error::MemberList("a key has the wrong length"));
        }
        // Otherwise one signer could count as two.
        let mut keys: Vec<_> = members
            .iter()
            .flat_map(|member| [member.keys.ed25519.as_slice(), &member.keys.ml_dsa_65])
            .collect();
        keys.sort_unstable();
        if keys.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(Error::MemberList("two members share a key"));
        }
        let row = Row { version, members };
        let digest = sha256(&encode::to_bytes(&row));
        Ok(Self { row, digest })
    }

    /// Reads the value of the state entry that holds the list: CBOR `{0: version, 1: [member, ...]}`.
    ///
    /// # Errors
    /// [`Error::Malformed`] and [`Error::MemberList`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let row: Row = encode::from_bytes(bytes, MEMBER_LIST_LIMIT, "list of members")?;
        Self::new(row.version, row.members)
    }

    /// The value of the state entry that holds the list.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode::to_bytes(&self.row)
    }

    /// How many changes of membership came before.
    pub fn version(&self) -> u64 {
        self.row.version
    }

    /// The members, ascending by organisation.
    pub fn members(&self) -> &[Member] {
        &self.row.members
    }

    /// SHA-256 of the encoded list; the `members` line of checkpoints, and the value digest of the
    /// state entry.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The member that an organisation is.
    pub fn member(&self, organisation: OrganisationId) -> Option<&Member> {
        let members = &self.row.members;
        members
            .binary_search_by_key(&organisation, |member| member.organisation)
            .ok()
            .and_then(|at| members.get(at))
    }

    /// Members whose signatures certify a checkpoint: `n - floor((n - 1) / 3)`.
    pub fn quorum(&self) -> usize {
        quorum(self.row.members.len())
    }
}

/// C2SP key id of a member's Ed25519 key:
/// `SHA-256(name || 0x0A || 0x01 || key)[0..4]`.
pub fn ed25519_key_id(name: &str, key: &[u8; 32]) -> [u8; 4] {
    key_id(&[name.as_bytes(), b"\n\x01", key])
}

/// A member's Ed25519 key as C2SP tools take it: `<name>+<key id in hex>+<base64(0x01 || key)>`.
pub fn verifier_key(member: &Member) -> String {
    let name = member_key_name(member.organisation);
    let [a, b, c, d] = ed25519_key_id(&name, &member.keys.ed25519);
    let key = [[1].as_slice(), &member.keys.ed25519].concat();
    format!(
        "{name}+{a:02x}{b:02x}{c:02x}{d:02x}+{}",
        STANDARD.encode(key)
    )
}

/// Key id of a member's ML-DSA-65 key:
/// `SHA-256(name || 0x0A || 0xFF || "salus/ml-dsa-65" || key)[0..4]`.
pub fn ml_dsa_65_key_id(name: &str, key: &[u8]) -> [u8; 4] {
    key_id(&[
        name.as_bytes(),
        b"\n\xff",
        ML_DSA_65_NOTE_TYPE.as_bytes(),
        key,
    ])
}

fn key_id(parts: &[&[u8]]) -> [u8; 4] {
    let [a, b, c, d, ..] = sha256(&parts.concat()).0;
    [a, b, c, d]
}

/// The two lines that a member adds to a note, from its signatures over [`SignedNote::text`].
pub fn signature_lines(
    member: &Member,
    ed25519: [u8; 64],
    ml_dsa_65: Vec<u8>,
) -> [NoteSignature; 2] {
    let name = member_key_name(member.organisation);
    let keys = &member.keys;
    let classical = ed25519_key_id(&name, &keys.ed25519);
    let quantum = ml_dsa_65_key_id(&name, &keys.ml_dsa_65);
    [
        NoteSignature {
            name: name.clone(),
            key_id: classical,
            signature: ed25519.to_vec(),
        },
        NoteSignature {
            name,
            key_id: quantum,
            signature: ml_dsa_65,
        },
    ]
}

/// One member's share in a certificate that did not come about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberFault {
    /// The member.
    pub organisation: OrganisationId,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with a member's signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Neither signature is there.
    NotSigned,
    /// There is no Ed25519 signature.
    NoEd25519,
    /// There is no ML-DSA-65 signature.
    NoMlDsa65,
    /// An Ed25519 signature is there and wrong.
    BadEd25519,
    /// An ML-DSA-65 signature is there and wrong.
    BadMlDsa65,
}

impl Fault {
    /// In plain words.
    pub fn words(self) -> &'static str {
        match self {
            Self::NotSigned => "did not sign",
            Self::NoEd25519 => "lacks the Ed25519 signature",
            Self::NoMlDsa65 => "lacks the ML-DSA-65 signature",
            Self::BadEd25519 => "has a wrong Ed25519 signature",
            Self::BadMlDsa65 => "has a wrong ML-DSA-65 signature",
        }
    }

    fn is_bad(self) -> bool {
        matches!(self, Self::BadEd25519 | Self::BadMlDsa65)
    }
}

/// The faults as the end of an error message.
pub(crate) fn listed(faults: &[MemberFault]) -> String {
    let mut text = String::new();
    for MemberFault {
        organisation,
        fault,
    } in faults
    {
        text.push_str("; ");
        text.push_str(&organisation.to_string());
        text.push(' ');
        text.push_str(fault.words());
    }
    text
}

/// A checkpoint that a quorum of the members signed. Exists only after verification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertifiedCheckpoint {
    checkpoint: Checkpoint,
    signers: Vec<OrganisationId>,
}

impl CertifiedCheckpoint {
    /// Checks a note: that it is a checkpoint of the log with this origin, made under this list of
    /// members, and that a quorum of them signed it with both their keys.
    ///
    /// Lines of other keys (witnesses, former members) are ignored. One wrong signature under a
    /// member's key spoils the note, as the specification of signed notes asks; who relays a note
    /// has checked the signatures that it adds.
    ///
    /// # Errors
    /// [`Error::Note`], [`Error::OtherLog`], [`Error::OtherMembers`], or [`Error::NotCertified`]
    /// with every member that did not sign validly.
    pub fn verify(note: &SignedNote, members: &MemberList, origin: &str) -> Result<Self, Error> {
        let checkpoint = Checkpoint::parse(note.text())?;
        if checkpoint.origin != origin {
            return Err(Error::OtherLog);
        }
        if checkpoint.members != members.digest() {
            return Err(Error::OtherMembers);
        }
        let lines = lines_by_name(note);
        let (mut signers, mut faults) = (Vec::new(), Vec::new());
        for member in members.members() {
            let organisation = member.organisation;
            match member_signatures(note.text(), &lines, member) {
                Ok(()) => signers.push(organisation),
                Err(fault) => faults.push(MemberFault {
                    organisation,
                    fault,
                }),
            }
        }
        let required = members.quorum();
        if signers.len() < required || faults.iter().any(|fault| fault.fault.is_bad()) {
            let (valid, members) = (signers.len(), members.members().len());
            return Err(Error::NotCertified {
                valid,
                members,
                required,
                faults,
            });
        }
        Ok(Self {
            checkpoint,
            signers,
        })
    }

    /// What was certified.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The members whose two signatures are valid, ascending.
    pub fn signers(&self) -> &[OrganisationId] {
        &self.signers
    }
}

/// Checks the two signatures of one member under a note, for instance as its gossip arrives.
///
/// # Errors
/// What is missing or wrong.
pub fn verify_member(note: &SignedNote, member: &Member) -> Result<(), Fault> {
    member_signatures(note.text(), &lines_by_name(note), member)
}

type Lines<'n> = BTreeMap<&'n str, Vec<&'n NoteSignature>>;

fn lines_by_name(note: &SignedNote) -> Lines<'_> {
    let mut lines = Lines::new();
    for line in note.signatures() {
        lines.entry(&line.name).or_default().push(line);
    }
    lines
}

fn member_signatures(text: &str, lines: &Lines<'_>, member: &Member) -> Result<(), Fault> {
    let name = member_key_name(member.organisation);
    let none = Vec::new();
    let lines = lines.get(name.as_str()).unwrap_or(&none);
    let under = |key_id: [u8; 4]| lines.iter().filter(move |line| line.key_id == key_id);
    let keys = &member.keys;
    let (mut classical, mut quantum) = (false, false);
    for line in under(ed25519_key_id(&name, &keys.ed25519)) {
        if !signature::ed25519(&keys.ed25519, text.as_bytes(), &line.signature) {
            return Err(Fault::BadEd25519);
        }
        classical = true;
    }
    for line in under(ml_dsa_65_key_id(&name, &keys.ml_dsa_65)) {
        if !signature::ml_dsa_65(&keys.ml_dsa_65, text.as_bytes(), &line.signature) {
            return Err(Fault::BadMlDsa65);
        }
        quantum = true;
    }
    match (classical, quantum) {
        (true, true) => Ok(()),
        (true, false) => Err(Fault::NoMlDsa65),
        (false, true) => Err(Fault::NoEd25519),
        (false, false) => Err(Fault::NotSigned),
    }
}

/// Two statements signed by one member that cannot both be true. Anyone can check it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Equivocation {
    /// The member.
    pub member: OrganisationId,
    /// A checkpoint note with its two signatures.
    pub first: String,
    /// Another.
    pub second: String,
    /// What shows that the second log does not extend the first, when their sizes differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fork: Option<Fork>,
}

/// The root that the later log has at the earlier size, which is not the one that was signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fork {
    /// Root of the later log's first entries, as many as the earlier log has.
    pub prefix_root: Digest,
    /// Proof that the later log starts with that root.
    pub consistency: ConsistencyProof,
}

/// In what two statements of one member contradict each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contradiction {
    /// One log size, two roots.
    Root,
    /// One height, two statements.
    Height,
    /// The log is longer at the lower height.
    Order,
    /// The longer log does not start with the shorter one.
    Fork,
}

impl Equivocation {
    /// The evidence out of two notes, with only the member's own signatures kept; put the notes in
    /// ascending order of log size if there is a `fork`.
    pub fn new(
        member: OrganisationId,
        first: &SignedNote,
        second: &SignedNote,
        fork: Option<Fork>,
    ) -> Self {
        let name = member_key_name(member);
        let kept = |note: &SignedNote| note.only(&name).to_string();
        Self {
            member,
            first: kept(first),
            second: kept(second),
            fork,
        }
    }

    /// Checks both signatures on both notes and finds the contradiction.
    ///
    /// `first` and `second` are the member as it stood in the list when it signed each note; the
    /// same one twice unless its keys changed in between.
    ///
    /// # Errors
    /// [`Error::Note`], [`Error::OtherLog`], [`Error::NotCertified`] naming the signature that is
    /// not valid, or [`Error::NoEquivocation`] if both statements can be true.
    pub fn verify(
        &self,
        first: &Member,
        second: &Member,
        origin: &str,
    ) -> Result<Contradiction, Error> {
        let first = self.statement(&self.first, first, origin)?;
        let second = self.statement(&self.second, second, origin)?;
        if first == second {
            return Err(Error::NoEquivocation);
        }
        if first.size == second.size && first.root != second.root {
            return Ok(Contradiction::Root);
        }
        if first.height == second.height {
            return Ok(Contradiction::Height);
        }
        if (first.height < second.height) != (first.size < second.size) && first.size != second.size
        {
            return Ok(Contradiction::Order);
        }
        let Some(Fork {
            prefix_root,
            consistency,
        }) = &self.fork
        else {
            return Err(Error::NoEquivocation);
        };
        if consistency.first != first.size
            || consistency.second != second.size
            || *prefix_root == first.root
        {
            return Err(Error::NoEquivocation);
        }
        consistency.verify(prefix_root, &second.root)?;
        Ok(Contradiction::Fork)
    }

    fn statement(&self, note: &str, member: &Member, origin: &str) -> Result<Checkpoint, Error> {
        let note = SignedNote::parse(note)?;
        if member.organisation != self.member {
            return Err(Error::MemberList("the evidence is about another member"));
        }
        verify_member(&note, member).map_err(|fault| Error::NotCertified {
            valid: 0,
            members: 1,
            required: 1,
            faults: vec![MemberFault {
                organisation: self.member,
                fault,
            }],
        })?;
        let checkpoint = Checkpoint::parse(note.text())?;
        if checkpoint.origin == origin {
            Ok(checkpoint)
        } else {
            Err(Error::OtherLog)
        }
    }
}

/// A note over a checkpoint's text, without signatures so far.
///
/// # Errors
/// [`NoteError`] if the origin breaks its rules.
pub fn unsigned(checkpoint: &Checkpoint) -> Result<SignedNote, NoteError> {
    SignedNote::new(checkpoint.text()?)
}

#[cfg(test)]
mod tests {
    use salus_proto::TimestampMs;

    use super::*;
    use crate::proof::MemoryTree;
    use crate::testing::{Signer, list, signed};
    use crate::tree::leaf_hash;

    const ORIGIN: &str = "salus/test";

    fn signers(count: u8) -> Vec<Signer> {
        (1..=count).map(Signer::new).collect()
    }

    fn checkpoint(members: &MemberList) -> Checkpoint {
        Checkpoint {
            origin: ORIGIN.into(),
            size: 7,
            root: Digest([1; 32]),
            height: 3,
            time: TimestampMs(1_795_341_600_123),
            state: Digest([2; 32]),
            members: members.digest(),
        }
    }

    fn without(note: &SignedNote, dropped: &[usize]) -> SignedNote {
        let mut fewer = SignedNote::new(note.text().to_owned()).unwrap();
        for (at, line) in note.signatures().iter().enumerate() {
            if !dropped.contains(&at) {
                fewer.add(line.clone()).unwrap();
            }
        }
        fewer
    }

    fn tampered(note: &SignedNote, line: usize) -> SignedNote {
        let mut bad = SignedNote::new(note.text().to_owned()).unwrap();
        for (at, signature) in note.signatures().iter().enumerate() {
            let mut signature = signature.clone();
            if at == line {
                signature.signature[10] ^= 1;
            }
            bad.add(signature).unwrap();
        }
        bad
    }

    fn faults(result: Result<CertifiedCheckpoint, Error>) -> Vec<(u8, Fault)> {
        let Err(Error::NotCertified { faults, .. }) = result else {
            panic!("expected missing signatures, got {result:?}")
        };
        faults
            .iter()
            .map(|fault| (fault.organisation.0[0], fault.fault))
            .collect()
    }

    /// The example of golang.org/x/mod/sumdb/note, from which the C2SP format comes.
    #[test]
    fn a_published_note_verifies_under_its_published_key() {
        let note = SignedNote::parse(
            "If you think cryptography is the answer to your problem,\n\
             then you don't know what your problem is.\n\n\
             \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXg\
             KvqfqdngotpRZb6KE6RyyBwJnAM=\n",
        )
        .unwrap();
        // vkey: PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW
        let mut key = [0; 32];
        let text = "1a5cd907143c384c41e830c5bce12aa8817ec5649aaabf2c31388b35b2d744d6";
        hex::decode_to_slice(text, &mut key).unwrap();
        let line = &note.signatures()[0];
        assert_eq!(line.key_id, [0xc7, 0x4f, 0x20, 0xa3]);
        assert_eq!(ed25519_key_id(&line.name, &key), line.key_id);
        assert!(signature::ed25519(
            &key,
            note.text().as_bytes(),
            &line.signature
        ));
    }

    #[test]
    fn a_quorum_with_both_signatures_certifies() {
        for (count, needed) in [(1, 1), (2, 2), (3, 3), (4, 3), (7, 5)] {
            let signers = signers(count);
            let members = list(&signers);
            let note = signed(&checkpoint(&members), &signers);
            let read = SignedNote::parse(&note.to_string()).unwrap();
            let certified = CertifiedCheckpoint::verify(&read, &members, ORIGIN).unwrap();
            assert_eq!(certified.signers().len(), usize::from(count));
            assert_eq!(certified.checkpoint(), &checkpoint(&members));

            let enough = signed(&checkpoint(&members), &signers[..needed]);
            CertifiedCheckpoint::verify(&enough, &members, ORIGIN).unwrap();
            let few = signed(&checkpoint(&members), &signers[..needed - 1]);
            let missing = faults(CertifiedCheckpoint::verify(&few, &members, ORIGIN));
            assert_eq!(missing.len(), usize::from(count) - needed + 1);
            assert!(missing.iter().all(|(_, fault)| *fault == Fault::NotSigned));
        }
    }

    #[test]
    fn missing_and_wrong_signatures_are_named() {
        let signers = signers(4);
        let members = list(&signers);
        let note = signed(&checkpoint(&members), &signers);
        let verify = |note: &SignedNote| CertifiedCheckpoint::verify(note, &members, ORIGIN);
        // Lines 0 and 1 are the first member's, and so on; Ed25519 comes first.
        let half = without(&note, &[0, 3]);
        let error = verify(&half).unwrap_err();
        assert_eq!(
            error.to_string(),
            "2 of 4 members signed validly where 3 are needed; 01010101010101010101010101010101 \
             lacks the Ed25519 signature; 02020202020202020202020202020202 lacks the ML-DSA-65 \
             signature"
        );
        assert_eq!(
            faults(verify(&half)),
            [(1, Fault::NoEd25519), (2, Fault::NoMlDsa65)]
        );
        assert_eq!(
            faults(verify(&tampered(&note, 4))),
            [(3, Fault::BadEd25519)]
        );
        assert_eq!(
            faults(verify(&tampered(&note, 7))),
            [(4, Fault::BadMlDsa65)]
        );
    }

    #[test]
    fn one_signer_never_counts_twice() {
        let signers = signers(4);
        let members = list(&signers);
        let once = signed(&checkpoint(&members), &signers[..2]);
        // ML-DSA signing is randomised, so the same signer can fill a note with valid lines.
        let mut often = once.clone();
        for _ in 0..3 {
            signers[0].sign(&mut often);
        }
        assert_eq!(often.signatures().len(), once.signatures().len() + 3);
        let missing = faults(CertifiedCheckpoint::verify(&often, &members, ORIGIN));
        assert_eq!(missing, [(3, Fault::NotSigned), (4, Fault::NotSigned)]);
    }

    #[test]
    fn strangers_signatures_count_for_nothing_and_spoil_nothing() {
        let signers = signers(4);
        let members = list(&signers);
        let mut note = signed(&checkpoint(&members), &signers[..3]);
        Signer::new(99).sign(&mut note);
        note.add(NoteSignature {
            name: "witness.example/w1".into(),
            key_id: [1, 2, 3, 4],
            signature: vec![0; 64],
        })
        .unwrap();
        let certified = CertifiedCheckpoint::verify(&note, &members, ORIGIN).unwrap();
        assert_eq!(certified.signers().len(), 3);
    }

    #[test]
    fn other_logs_and_other_lists_are_refused() {
        let signers = signers(4);
        let members = list(&signers);
        let note = signed(&checkpoint(&members), &signers);
        let other = CertifiedCheckpoint::verify(&note, &members, "salus/other");
        assert_eq!(other, Err(Error::OtherLog));
        let fewer = list(&signers[..3]);
        let other = CertifiedCheckpoint::verify(&note, &fewer, ORIGIN);
        assert_eq!(other, Err(Error::OtherMembers));
        // A list that a signature covers but a stranger's key stands in for a member's.
        let changed = Checkpoint {
            size: 8,
            ..checkpoint(&members)
        };
        let mut moved = SignedNote::new(changed.text().unwrap()).unwrap();
        for line in note.signatures() {
            moved.add(line.clone()).unwrap();
        }
        let faults = faults(CertifiedCheckpoint::verify(&moved, &members, ORIGIN));
        assert_eq!(faults.len(), 4);
    }

    #[test]
    fn lists_in_which_a_signer_could_count_twice_are_refused() {
        let [one, two] = [1, 2].map(|seed| Signer::new(seed).member);
        let mut twin = two.clone();
        twin.keys.ed25519 = one.keys.ed25519;
        for (members, why) in [
            (vec![], "1 to 50 members are needed"),
            (
                vec![two.clone(), one.clone()],
                "members ascend by organisation",
            ),
            (
                vec![one.clone(), one.clone()],
                "members ascend by organisation",
            ),
            (vec![one.clone(), twin], "two members share a key"),
        ] {
            assert_eq!(MemberList::new(0, members), Err(Error::MemberList(why)));
        }
        let mut short = one.clone();
        short.keys.ml_dsa_65.pop();
        assert!(MemberList::new(0, vec![short]).is_err());
        let members = MemberList::new(7, vec![one, two]).unwrap();
        assert_eq!(
            MemberList::from_bytes(&members.to_bytes()).unwrap(),
            members
        );
    }

    fn tree(leaves: &[u8]) -> MemoryTree {
        MemoryTree::from_leaf_hashes(leaves.iter().map(|leaf| leaf_hash(&[*leaf])).collect())
    }

    #[test]
    fn contradicting_statements_are_evidence_and_compatible_ones_are_not() {
        let signers = signers(1);
        let (members, member) = (list(&signers), &signers[0].member);
        let (honest, forked) = (tree(&[1, 2, 3, 4, 5]), tree(&[1, 2, 9, 4, 5, 6]));
        let first = Checkpoint {
            size: 5,
            root: honest.root(),
            ..checkpoint(&members)
        };
        let verdict = |second: &Checkpoint, fork: Option<Fork>| {
            let [one, two] = [&first, second].map(|c| signed(c, &signers));
            let evidence = Equivocation::new(member.organisation, &one, &two, fork);
            let json = serde_json::to_string(&evidence).unwrap();
            let evidence: Equivocation = serde_json::from_str(&json).unwrap();
            evidence.verify(member, member, ORIGIN)
        };
        let root = Checkpoint {
            height: 4,
            root: Digest([9; 32]),
            ..first.clone()
        };
        assert_eq!(verdict(&root, None), Ok(Contradiction::Root));
        let state = Checkpoint {
            state: Digest([9; 32]),
            ..first.clone()
        };
        assert_eq!(verdict(&state, None), Ok(Contradiction::Height));
        let shrunk = Checkpoint {
            height: 4,
            size: 4,
            ..first.clone()
        };
        assert_eq!(verdict(&shrunk, None), Ok(Contradiction::Order));

        let fork = |later: &MemoryTree| {
            let prefix_root = crate::proof::root(later, 5).unwrap();
            let consistency = ConsistencyProof::new(later, 5, later.size()).unwrap();
            Some(Fork {
                prefix_root,
                consistency,
            })
        };
        let longer = Checkpoint {
            height: 4,
            size: 6,
            root: forked.root(),
            ..first.clone()
        };
        assert_eq!(verdict(&longer, fork(&forked)), Ok(Contradiction::Fork));
        assert_eq!(verdict(&longer, None), Err(Error::NoEquivocation));
        let mut invented = fork(&forked).unwrap();
        invented.prefix_root = Digest([8; 32]);
        assert_eq!(verdict(&longer, Some(invented)), Err(Error::RootMismatch));

        let grown = tree(&[1, 2, 3, 4, 5, 6]);
        let honest = Checkpoint {
            height: 4,
            size: 6,
            root: grown.root(),
            ..first.clone()
        };
        assert_eq!(verdict(&honest, fork(&grown)), Err(Error::NoEquivocation));
        assert_eq!(verdict(&first, None), Err(Error::NoEquivocation));
        let idle = Checkpoint {
            height: 4,
            ..first.clone()
        };
        assert_eq!(verdict(&idle, None), Err(Error::NoEquivocation));
    }

    #[test]
    fn nobody_can_be_framed_with_a_signature_that_is_not_theirs() {
        let signers = signers(2);
        let (members, member) = (list(&signers), &signers[0].member);
        let one = signed(&checkpoint(&members), &signers);
        let changed = Checkpoint {
            root: Digest([9; 32]),
            ..checkpoint(&members)
        };
        let two = signed(&changed, &signers);
        for (two, fault) in [
            (signed(&changed, &signers[1..]), None),
            (without(&two, &[1]), Some(Fault::NoMlDsa65)),
            (tampered(&two, 0), Some(Fault::BadEd25519)),
            (tampered(&two, 1), Some(Fault::BadMlDsa65)),
        ] {
            let evidence = Equivocation::new(member.organisation, &one, &two, None);
            let error = evidence.verify(member, member, ORIGIN).unwrap_err();
            match (error, fault) {
                (Error::Note(NoteError::SignatureLine(_) | NoteError::NoSignatures), None) => {}
                (Error::NotCertified { faults, .. }, Some(fault)) => {
                    assert_eq!(faults[0].fault, fault);
                }
                (error, _) => panic!("{error:?}"),
            }
        }
    }
}
