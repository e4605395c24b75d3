//! Commands, genesis files, notes, proofs and federated documents.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};
use salus_contract::apply::prepare;
use salus_crypto::digest::sha256;
use salus_ledger::bundle::Bundle;
use salus_ledger::certificate::{CertifiedCheckpoint, MemberList};
use salus_ledger::state::StateProof;
use salus_proto::Digest;
use salus_proto::checkpoint::{Checkpoint, SignedNote};
use salus_proto::command::{Command, ENTRY_LIMIT, Entry, SignedCommand};
use salus_proto::encode::{from_bytes, to_bytes};
use salus_proto::federated::{Plan, RoundClosed, RoundOpened, RoundResult, Update};
use salus_proto::member::{GENESIS_LIMIT, Genesis};

/// Decodes, and checks that what was accepted has exactly the bytes that it came in.
fn one_encoding<'b, T: Decode<'b, ()> + Encode<()>>(data: &'b [u8], limit: usize) -> Option<T> {
    let value: T = from_bytes(data, limit, "value").ok()?;
    assert!(to_bytes(&value) == data, "two encodings of one value");
    Some(value)
}

/// A signed command as a node receives it, with the check of its signature; also an entry of the log.
pub fn command(data: &[u8]) -> bool {
    // With an empty state only a registration is authored; the others end at the unknown principal.
    let state: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    if let Ok(prepared) = prepare(&state, data) {
        assert!(prepared.bytes() == data, "other bytes than those received");
    }
    if let Some(signed) = one_encoding::<SignedCommand>(data, ENTRY_LIMIT) {
        return one_encoding::<Command>(&signed.command, ENTRY_LIMIT).is_some();
    }
    one_encoding::<Entry>(data, ENTRY_LIMIT).is_some()
}

/// A genesis file, its members as the first list of those who sign; also a later list.
pub fn genesis(data: &[u8]) -> bool {
    if let Some(genesis) = one_encoding::<Genesis>(data, GENESIS_LIMIT)
        && let Ok(members) = MemberList::new(0, genesis.members)
    {
        assert!(members.quorum() <= members.members().len(), "more than all");
        return true;
    }
    let list = MemberList::from_bytes(data);
    if let Ok(members) = &list {
        assert!(members.to_bytes() == data, "two encodings of one list");
    }
    list.is_ok()
}

/// A checkpoint's signed note: an encoded list of members, its length in two bytes before it, then
/// the note that is to be certified under it; also the bytes as a note by themselves.
pub fn note(data: &[u8]) -> bool {
    if let Ok(text) = core::str::from_utf8(data)
        && parse_note(text).is_some()
    {
        return true;
    }
    let Some((length, rest)) = data.split_first_chunk::<2>() else {
        return false;
    };
    let Some((list, text)) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length))) else {
        return false;
    };
    let (Ok(members), Ok(text)) = (MemberList::from_bytes(list), core::str::from_utf8(text)) else {
        return false;
    };
    if let Some(note) = parse_note(text)
        && let Ok(checkpoint) = Checkpoint::parse(note.text())
        && let Ok(certified) = CertifiedCheckpoint::verify(&note, &members, &checkpoint.origin)
    {
        assert!(
            certified.signers().len() >= members.quorum(),
            "certified by too few"
        );
        return true;
    }
    false
}

fn parse_note(text: &str) -> Option<SignedNote> {
    if let Ok(checkpoint) = Checkpoint::parse(text) {
        assert!(
            checkpoint.text().as_deref() == Ok(text),
            "two texts of one checkpoint"
        );
    }
    let note = SignedNote::parse(text).ok()?;
    assert!(note.to_string() == text, "two texts of one note");
    Some(note)
}

/// A proof bundle, verified as if its own genesis file were the pinned one.
pub fn bundle(data: &[u8]) -> bool {
    let Ok(bundle) = Bundle::from_json(data) else {
        return false;
    };
    let unpinned = bundle.verify(&Digest([0; 32]));
    assert!(!unpinned.verified(), "any genesis file is accepted");
    let report = bundle.verify(&sha256(&bundle.genesis));
    assert!(!report.to_string().is_empty(), "a report without words");
    report.verified()
}

/// A state proof in either of its forms, verified for a key.
pub fn state_proof(data: &[u8]) -> bool {
    let verify = |proof: &StateProof| {
        for key in [b"key 7".as_slice(), b"members"] {
            // A proof that nobody made for this root leads to it only if SHA-256 is broken.
            assert!(
                proof.verify(&Digest([7; 32]), key).is_err(),
                "a root out of nothing"
            );
        }
    };
    let stored = StateProof::from_bytes(data);
    if let Ok(proof) = &stored {
        assert!(proof.to_bytes() == data, "two encodings of one proof");
        verify(proof);
    }
    let sent = serde_json::from_slice::<StateProof>(data);
    if let Ok(proof) = &sent {
        verify(proof);
    }
    stored.is_ok() || sent.is_ok()
}

/// A federated plan, update header, or document of a round.
pub fn federated(data: &[u8]) -> bool {
    let plan = Plan::from_bytes(data).map(|plan| plan.to_bytes());
    let update = Update::from_bytes(data).map(|update| update.to_bytes());
    let opened = RoundOpened::from_bytes(data).map(|round| round.to_bytes());
    let closed = RoundClosed::from_bytes(data).map(|round| round.to_bytes());
    let result = RoundResult::from_bytes(data).map(|round| round.to_bytes());
    let mut accepted = [plan, update, opened, closed, result]
        .into_iter()
        .flatten()
        .peekable();
    let any = accepted.peek().is_some();
    assert!(
        accepted.all(|bytes| bytes == data),
        "two encodings of one document"
    );
    any
}
