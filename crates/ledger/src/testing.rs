//! Members with keys from a seed, and notes that they signed, for this crate's tests.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _, ML_DSA_65_SIGNING, PqdsaKeyPair};
use salus_proto::checkpoint::{Checkpoint, SignedNote};
use salus_proto::ids::OrganisationId;
use salus_proto::keys::{PublicKeys, X_WING_PUBLIC_LEN};
use salus_proto::member::Member;
use salus_proto::role::NodeRole;

use crate::MemberList;
use crate::certificate::{signature_lines, unsigned};

/// A member and its secret keys.
pub(crate) struct Signer {
    pub(crate) member: Member,
    ed25519: Ed25519KeyPair,
    ml_dsa_65: PqdsaKeyPair,
}

impl Signer {
    pub(crate) fn new(seed: u8) -> Self {
        let ed25519 = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let ml_dsa_65 = PqdsaKeyPair::from_seed(&ML_DSA_65_SIGNING, &[seed; 32]).unwrap();
        let keys = PublicKeys {
            ed25519: ed25519.public_key().as_ref().try_into().unwrap(),
            ml_dsa_65: ml_dsa_65.public_key().as_ref().to_vec(),
            x_wing: vec![seed; X_WING_PUBLIC_LEN],
        };
        let member = Member {
            organisation: OrganisationId([seed; 16]),
            name: format!("Hospital {seed}"),
            roles: vec![NodeRole::Hospital],
            keys,
            engine_key: [seed; 32],
            engine_address: format!("h{seed}.example:9000"),
            api: format!("https://h{seed}.example"),
        };
        Self {
            member,
            ed25519,
            ml_dsa_65,
        }
    }

    /// Adds this member's two lines.
    pub(crate) fn sign(&self, note: &mut SignedNote) {
        let text = note.text().as_bytes();
        let classical = self.ed25519.sign(text).as_ref().try_into().unwrap();
        let mut quantum = vec![0; 3309];
        let labelled = [b"salus/v1/checkpoint\0", text].concat();
        self.ml_dsa_65.sign(&labelled, &mut quantum).unwrap();
        for line in signature_lines(&self.member, classical, quantum) {
            note.add(line).unwrap();
        }
    }
}

pub(crate) fn list(signers: &[Signer]) -> MemberList {
    MemberList::new(
        0,
        signers.iter().map(|signer| signer.member.clone()).collect(),
    )
    .unwrap()
}

/// The checkpoint's note, signed by these members.
pub(crate) fn signed(checkpoint: &Checkpoint, signers: &[Signer]) -> SignedNote {
    let mut note = unsigned(checkpoint).unwrap();
    for signer in signers {
        signer.sign(&mut note);
    }
    note
}
