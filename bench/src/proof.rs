//! Proofs out of a log of ten million entries: how large, and how long a reader takes to check them.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use salus_crypto::digest::sha256;
use salus_crypto::label;
use salus_ledger::bundle::{Bundle, Claim, EntryClaim, EntryProof};
use salus_ledger::certificate::{signature_lines, unsigned};
use salus_ledger::tree::leaf_hash;
use salus_ledger::{MemberList, MemoryTree};
use salus_proto::checkpoint::Checkpoint;
use salus_proto::command::{Action, Command, Entry, IncidentKind, Outcome, SignedCommand};
use salus_proto::encode::to_bytes;
use salus_proto::{Digest, TimestampMs};
use salus_replica::NoteSigner as _;

use crate::Setting;
use crate::consortium::Consortium;
use crate::measure::{Bar, Row, per_cpu_second, seconds_since};

/// Signatures that certify a checkpoint of four members.
const QUORUM: usize = 3;

pub(crate) fn measure(setting: &Setting) -> anyhow::Result<Vec<Row>> {
    let folder = setting.folder("proof")?;
    let consortium = Consortium::found(setting, &folder.join("c"), 4, &[])?;
    let size: u64 = setting.size(10_000_000, 100_000);
    let proven = size / 3;

    // One real entry among leaves that nobody asks for: the path is as long as with all of them real.
    let author = consortium.seats.first().context("a member")?.identity()?;
    let command = to_bytes(&Command {
        consortium: consortium.genesis.consortium,
        principal: salus_proto::ids::PrincipalId(author.organisation.0),
        sequence: 1,
        expires: TimestampMs(consortium.genesis.created.0 + 1),
        action: Action::ReportIncident {
            kind: IncidentKind::Intrusion,
            evidence: Digest([7; 32]),
        },
    });
    let signature = author.keys.ed25519().sign(label::COMMAND, &command);
    let entry = to_bytes(&Entry {
        index: proven,
        height: 1,
        time: consortium.genesis.created,
        signed_command: to_bytes(&SignedCommand { command, signature }),
        outcome: Outcome::Accepted,
    });
    let start = Instant::now();
    let leaves = (0..size)
        .map(|at| {
            if at == proven {
                leaf_hash(&entry)
            } else {
                leaf_hash(&at.to_be_bytes())
            }
        })
        .collect();
    let tree = MemoryTree::from_leaf_hashes(leaves);
    let built = seconds_since(start);
    let proof = tree.inclusion(proven)?;

    let members = MemberList::new(0, consortium.genesis.members.clone())?;
    let mut note = unsigned(&Checkpoint {
        origin: consortium.genesis.origin(),
        size,
        root: tree.root(),
        height: 1,
        time: consortium.genesis.created,
        state: Digest([2; 32]),
        members: members.digest(),
    })?;
    for seat in consortium.seats.iter().take(QUORUM) {
        let (ed25519, ml_dsa_65) = seat
            .identity()?
            .sign(note.text().as_bytes())
            .context("a member's signature")?;
        for line in signature_lines(&seat.member()?, ed25519, ml_dsa_65) {
            note.add(line)?;
        }
    }
    let genesis = to_bytes(&consortium.genesis);
    let pinned = sha256(&genesis);
    let bundle = Bundle {
        version: salus_ledger::bundle::VERSION,
        genesis,
        handovers: Vec::new(),
        checkpoint: note.to_string(),
        claim: Claim::Entry(Box::new(EntryClaim {
            entry: EntryProof {
                entry: entry.clone(),
                index: proven,
                path: proof.path.clone(),
            },
            signer: None,
        })),
    };
    let json = bundle.to_json()?;
    ensure!(
        Bundle::from_json(&json)?.verify(&pinned).verified(),
        "the bundle does not verify"
    );
    let mut wrong = bundle.clone();
    if let Claim::Entry(claim) = &mut wrong.claim {
        claim.entry.index += 1;
    }
    ensure!(
        !wrong.verify(&pinned).verified(),
        "a bundle about another entry verifies"
    );
    crate::remove(&folder)?;

    let root = tree.root();
    let span = Duration::from_millis(setting.size(300, 30));
    let (mut path_ms, mut bundle_ms) = (Vec::new(), Vec::new());
    for _ in 0..setting.size(5, 2) {
        path_ms.push(1e3 / per_cpu_second(span, || Ok(proof.verify(&leaf_hash(&entry), &root)?))?);
        bundle_ms.push(
            1e3 / per_cpu_second(span, || {
                ensure!(
                    Bundle::from_json(&json)?.verify(&pinned).verified(),
                    "does not verify"
                );
                Ok(())
            })?,
        );
    }
    let of = if setting.quick {
        "100,000"
    } else {
        "10 million"
    };
    let note = format!(
        "{} hashes of 32 bytes and the entry ({} bytes); the tree was built in {built:.1} s",
        proof.path.len(),
        entry.len()
    );
    let binary = 32 * proof.path.len() + 16 + entry.len();
    Ok(vec![
        Row::new(
            format!("proof of one entry among {of}: size"),
            "bytes",
            vec![binary as f64],
        )
        .held_to(Bar::AtMost(2048.0), None)
        .noting(note),
        Row::new("the same: checking it", "ms", path_ms).held_to(Bar::AtMost(1.0), None),
        Row::new(
            "the same as an offline bundle (JSON): size",
            "bytes",
            vec![json.len() as f64],
        )
        .noting("with the genesis file and three members' hybrid signatures under the checkpoint"),
        Row::new(
            "the same bundle: reading and checking all of it",
            "ms",
            bundle_ms,
        )
        .held_to(Bar::AtMost(1.0), None),
    ])
}
