//! Replicas over real sockets: one alone, four together, members that stop and come back.

mod support;

use std::time::Duration;

use salus_proto::command::{ENTRY_LIMIT, Entry, Outcome};
use salus_proto::encode::from_bytes;
use salus_replica::{Stall, SubmitError};
use support::Consortium;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_member_alone_orders_certifies_and_proves() {
    let consortium = Consortium::of(1);
    let node = consortium.start(0);
    let replica = node.replica();
    for sequence in 1..=5 {
        let command = consortium.command(0, sequence);
        let committed = replica.submit(command.clone()).await.unwrap();
        assert_eq!(committed.index, sequence - 1);
        let entry: Entry = from_bytes(&committed.entry, ENTRY_LIMIT, "entry").unwrap();
        assert_eq!(entry.outcome, Outcome::Accepted);
        assert_eq!(entry.signed_command, command);
    }
    let certified = replica.certified_at(5).await.unwrap();
    assert_eq!(certified.checkpoint.size, 5);
    let view = replica.read().unwrap();
    for (index, entry) in view.entries(0, 10).unwrap() {
        let proof = view.inclusion(index, 5).unwrap();
        let leaf = salus_ledger::tree::leaf_hash(&entry);
        proof.verify(&leaf, &certified.checkpoint.root).unwrap();
    }
    let key = salus_proto::checkpoint::MEMBERS_STATE_KEY;
    let proven = replica.prove(key).await.unwrap();
    let digest = proven
        .proof
        .verify(&proven.certified.checkpoint.state, key)
        .unwrap();
    assert_eq!(
        digest,
        proven
            .value
            .as_deref()
            .map(salus_ledger::state::value_digest)
    );
    node.stop().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_members_agree_and_a_stopped_one_catches_up() {
    let consortium = Consortium::of(4);
    let mut nodes: Vec<_> = (0..4).map(|at| Some(consortium.start(at))).collect();
    for (at, node) in nodes.iter().flatten().enumerate() {
        node.replica()
            .submit(consortium.command(at, 1))
            .await
            .unwrap();
    }
    let replica = nodes[0].as_ref().unwrap().replica();
    nodes[3].take().unwrap().stop().unwrap();
    for sequence in 2..=10 {
        replica
            .submit(consortium.command(0, sequence))
            .await
            .unwrap();
    }
    let again = consortium.start(3);
    again.replica().executed(13).await.unwrap();
    let certified = replica.certified_at(13).await.unwrap();
    let there = again.replica().certified_at(13).await.unwrap();
    assert_eq!(there.checkpoint, certified.checkpoint);
    // It takes part again: without it, three of the four would be too few now.
    nodes[2].take().unwrap().stop().unwrap();
    again
        .replica()
        .submit(consortium.command(3, 2))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_quorum_writes_wait_and_say_so_while_reads_go_on() {
    let mut consortium = Consortium::of(4);
    consortium.timing.submit = Duration::from_secs(10);
    let mut nodes: Vec<_> = (0..4).map(|at| Some(consortium.start(at))).collect();
    let replica = nodes[0].as_ref().unwrap().replica();
    replica.submit(consortium.command(0, 1)).await.unwrap();
    for at in [2, 3] {
        nodes[at].take().unwrap().stop().unwrap();
    }
    let missing = vec![
        consortium.keys[2].member.organisation,
        consortium.keys[3].member.organisation,
    ];
    let error = replica.submit(consortium.command(0, 2)).await.unwrap_err();
    assert_eq!(
        error,
        SubmitError::NoQuorum {
            missing: missing.clone()
        }
    );
    assert_eq!(replica.status().stalled, Some(Stall::NoQuorum { missing }));
    assert_eq!(replica.read().unwrap().entries(0, 10).unwrap().len(), 1);
    // What waited is ordered as soon as a quorum is back.
    nodes[2] = Some(consortium.start(2));
    replica.executed(2).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_starts_again_has_everything_it_acknowledged() {
    let consortium = Consortium::of(1);
    let mut last: Option<(u64, Vec<u8>)> = None;
    for round in 0..3_u64 {
        let node = consortium.start(0);
        let replica = node.replica();
        assert_eq!(replica.read().unwrap().size(), round * 4);
        if let Some((index, entry)) = last.clone() {
            assert_eq!(
                replica.read().unwrap().entry(index).unwrap().as_ref(),
                Some(&entry)
            );
        }
        for sequence in 1..=4 {
            let committed = replica
                .submit(consortium.command(0, round * 4 + sequence))
                .await
                .unwrap();
            last = Some((committed.index, committed.entry.to_vec()));
        }
        let refused = replica.submit(consortium.command(0, 1)).await.unwrap_err();
        assert!(matches!(refused, SubmitError::Refused(_)), "{refused:?}");
        node.stop().unwrap();
    }
}
