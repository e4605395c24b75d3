//! Replicas over real sockets: one alone, four together, members that stop and come back.
#![expect(clippy::unwrap_used, reason = "a test ends here, with the reason")]

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
    consortium.timing.submit = Duration::from_secs(8);
    let mut nodes: Vec<_> = (0..4).map(|at| Some(consortium.start(at))).collect();
    let replica = nodes[0].as_ref().unwrap().replica();
    // Until the members have found each other, writes wait as they do later.
    while let Err(error) = replica.submit(consortium.command(0, 1)).await {
        assert!(!matches!(error, SubmitError::Failed(_)), "{error}");
        if error == SubmitError::AlreadyOrdered {
            break;
        }
    }
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_joins_votes_and_another_leaves_while_the_consortium_runs() {
    use salus_proto::command::Action;
    use salus_proto::ids::ProposalId;
    use salus_proto::member::MembershipChange;

    let consortium = Consortium::of(2);
    let mut nodes: Vec<_> = (0..2).map(|at| Some(consortium.start(at))).collect();
    let replica = nodes[0].as_ref().unwrap().replica();
    let newcomer = std::sync::Arc::new(support::keys(3, &support::free_address().to_string()));
    let change = |at: usize, sequence, action| {
        let command = consortium.signed(&consortium.keys[at], sequence, action);
        let replica = nodes[at].as_ref().unwrap().replica();
        async move { replica.submit(command).await.unwrap() }
    };

    // Both must agree to a third.
    let proposal = ProposalId([1; 16]);
    let join = MembershipChange::Join(newcomer.member.clone());
    change(
        0,
        1,
        Action::ProposeMembership {
            proposal,
            change: join,
        },
    )
    .await;
    change(1, 1, Action::ApproveMembership { proposal }).await;
    let third = salus_replica::start(
        consortium.config_of(&newcomer, &consortium.path(2)),
        salus_replica::Contract::new(consortium.genesis.clone()),
    )
    .unwrap();
    third.replica().turned(1).await.unwrap();
    let committed = third
        .replica()
        .submit(consortium.signed(&newcomer, 1, report()))
        .await
        .unwrap();
    let note = replica
        .certified_at(committed.index + 1)
        .await
        .unwrap()
        .note;
    replica.turned(1).await.unwrap();
    assert!(note.contains(&newcomer.member.organisation.to_string()));

    // The second leaves; the two others go on without it.
    let proposal = ProposalId([2; 16]);
    let leave = MembershipChange::Leave(consortium.keys[1].member.organisation);
    change(
        0,
        2,
        Action::ProposeMembership {
            proposal,
            change: leave,
        },
    )
    .await;
    change(1, 2, Action::ApproveMembership { proposal }).await;
    let approve = Action::ApproveMembership { proposal };
    third
        .replica()
        .submit(consortium.signed(&newcomer, 2, approve))
        .await
        .unwrap();
    let before = replica.status().size;
    third
        .replica()
        .submit(consortium.signed(&newcomer, 3, report()))
        .await
        .unwrap();
    nodes[1]
        .as_ref()
        .unwrap()
        .replica()
        .turned(2)
        .await
        .unwrap();
    // Of three, all have to sign the handover: whoever leaves stays until the others have that.
    for replica in [&replica, &third.replica()] {
        replica.turned(2).await.unwrap();
        replica.handed_over(u64::MAX).await.unwrap();
    }
    nodes[1].take().unwrap().stop().unwrap();
    let last = replica.submit(consortium.command(0, 3)).await.unwrap();
    assert!(last.index > before);
    let note = replica.certified_at(last.index + 1).await.unwrap().note;
    assert!(!note.contains(&consortium.keys[1].member.organisation.to_string()));
    replica.turned(2).await.unwrap();

    // Whoever knows nothing but the genesis digest follows both changes, from either member.
    for replica in [&replica, &third.replica()] {
        let members = proven_members(&consortium, replica).await;
        assert_eq!(members.version(), 2);
        assert_eq!(members.members().len(), 2);
    }

    // A fourth joins. The founders alone do not lead it there: one has left, the other has moved to
    // other keys since. What a member proves to it does.
    let mut moved = support::keys(5, &support::free_address().to_string());
    moved.member.organisation = consortium.keys[0].member.organisation;
    let moved = std::sync::Arc::new(moved);
    let proposal = ProposalId([3; 16]);
    let replace = MembershipChange::Replace(moved.member.clone());
    let propose = Action::ProposeMembership {
        proposal,
        change: replace,
    };
    let command = consortium.signed(&consortium.keys[0], 4, propose);
    replica.submit(command).await.unwrap();
    third
        .replica()
        .submit(consortium.signed(&newcomer, 4, Action::ApproveMembership { proposal }))
        .await
        .unwrap();
    replica.turned(3).await.unwrap();
    assert_eq!(replica.handed_over(u64::MAX).await.unwrap().len(), 3);
    drop(replica);
    nodes[0].take().unwrap().stop().unwrap();
    let start = |keys: &std::sync::Arc<support::Keys>, at, introduction| {
        let mut config = consortium.config_of(keys, &consortium.path(at));
        config.introduction = introduction;
        let contract = salus_replica::Contract::new(consortium.genesis.clone());
        salus_replica::start(config, contract).unwrap()
    };
    let first = start(&moved, 0, None);
    let fourth_keys = std::sync::Arc::new(support::keys(4, &support::free_address().to_string()));
    let proposal = ProposalId([4; 16]);
    let join = MembershipChange::Join(fourth_keys.member.clone());
    let propose = Action::ProposeMembership {
        proposal,
        change: join,
    };
    let approve = Action::ApproveMembership { proposal };
    for (node, keys, sequence, action) in [
        (&first, &moved, 5, propose),
        (&third, &newcomer, 5, approve),
    ] {
        let command = consortium.signed(keys, sequence, action);
        node.replica().submit(command).await.unwrap();
    }
    let introduction = proven_members(&consortium, &third.replica()).await;
    let fourth = start(&fourth_keys, 3, Some(introduction));
    fourth.replica().turned(4).await.unwrap();
    let committed = fourth
        .replica()
        .submit(consortium.signed(&fourth_keys, 1, report()))
        .await
        .unwrap();
    let replica = fourth.replica();
    let note = replica
        .certified_at(committed.index + 1)
        .await
        .unwrap()
        .note;
    let signer = fourth_keys.member.organisation.to_string();
    assert!(note.contains(&signer));
    // It was not there when the earlier members handed over, and has their signatures all the same.
    let members = proven_members(&consortium, &replica).await;
    assert_eq!(members.version(), 4);
    assert_eq!(members.members().len(), 3);
    drop(replica);
    fourth.stop().unwrap();
    let config = consortium.config_of(&fourth_keys, &consortium.path(3));
    let report = salus_replica::fsck(
        &config.directory,
        &std::sync::Arc::new(salus_replica::Contract::new(consortium.genesis.clone())),
        &config.genesis,
        &config.origin,
        config.founded_ms,
    );
    assert_eq!(report.unwrap().findings, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_alone_takes_in_a_second_and_is_left_alone_again() {
    use salus_proto::command::Action;
    use salus_proto::ids::ProposalId;
    use salus_proto::member::MembershipChange;
    const ALONE: u64 = 300;

    let consortium = Consortium::of(1);
    let founder = &consortium.keys[0];
    let node = consortium.start(0);
    // A block each, and more than the engine's archive is handed at once.
    for sequence in 1..=ALONE {
        let command = consortium.command(0, sequence);
        node.replica().submit(command).await.unwrap();
    }
    node.stop().unwrap();
    let node = consortium.start(0);
    let replica = node.replica();
    let newcomer = std::sync::Arc::new(support::keys(2, &support::free_address().to_string()));
    let join = Action::ProposeMembership {
        proposal: ProposalId([1; 16]),
        change: MembershipChange::Join(newcomer.member.clone()),
    };
    let joined = replica
        .submit(consortium.signed(founder, ALONE + 1, join))
        .await;
    assert_eq!(joined.unwrap().index, ALONE);

    // The second one fetches and checks what was ordered without votes, and then votes.
    let config = consortium.config_of(&newcomer, &consortium.path(1));
    let machine = salus_replica::Contract::new(consortium.genesis.clone());
    let second = salus_replica::start(config, machine).unwrap();
    second.replica().turned(1).await.unwrap();
    let command = consortium.signed(&newcomer, 1, report());
    let committed = second.replica().submit(command).await.unwrap();
    let certified = replica.certified_at(committed.index + 1).await.unwrap();
    let there = second.replica().certified_at(committed.index + 1).await;
    assert_eq!(there.unwrap().checkpoint.root, certified.checkpoint.root);
    replica.turned(1).await.unwrap();

    let leave = |proposal| Action::ProposeMembership {
        proposal,
        change: MembershipChange::Leave(newcomer.member.organisation),
    };
    let proposal = ProposalId([2; 16]);
    let command = consortium.signed(founder, ALONE + 2, leave(proposal));
    replica.submit(command).await.unwrap();
    let approve = Action::ApproveMembership { proposal };
    let command = consortium.signed(&newcomer, 2, approve);
    second.replica().submit(command).await.unwrap();
    second.replica().turned(2).await.unwrap();
    // Of two members both must have signed that one hands over to the other before it goes.
    replica.turned(2).await.unwrap();
    assert_eq!(replica.handed_over(u64::MAX).await.unwrap().len(), 2);
    second.stop().unwrap();
    let last = replica
        .submit(consortium.command(0, ALONE + 3))
        .await
        .unwrap();
    let certified = replica.certified_at(last.index + 1).await.unwrap();
    let gone = newcomer.member.organisation.to_string();
    assert!(!certified.note.contains(&gone));
    drop(replica);
    node.stop().unwrap();

    // The whole chain, of both kinds, is still there and whole.
    let node = consortium.start(0);
    node.replica()
        .submit(consortium.command(0, ALONE + 4))
        .await
        .unwrap();
}

/// The members as a bundle proves them to somebody who knows the genesis digest.
async fn proven_members(
    consortium: &Consortium,
    replica: &salus_replica::Replica<salus_replica::Contract>,
) -> salus_ledger::MemberList {
    use salus_ledger::bundle::{Bundle, Claim, StateClaim, VERSION};

    let key = salus_proto::checkpoint::MEMBERS_STATE_KEY.to_vec();
    let proven = replica.prove(&key).await.unwrap();
    let height = proven.certified.checkpoint.height;
    let bundle = Bundle {
        version: VERSION,
        genesis: salus_proto::encode::to_bytes(&consortium.genesis),
        // What is certified can be proven at once.
        handovers: replica.handovers(height).unwrap().unwrap(),
        checkpoint: proven.certified.note.to_string(),
        claim: Claim::State(StateClaim {
            key,
            value: proven.value.clone(),
            proof: proven.proof,
        }),
    };
    let json = bundle.to_json().unwrap();
    let bundle = Bundle::from_json(&json).unwrap();
    let genesis = salus_ledger::state::value_digest(&bundle.genesis);
    let report = bundle.verify(&genesis);
    assert!(report.verified(), "{report}");
    salus_ledger::MemberList::from_bytes(&proven.value.unwrap()).unwrap()
}

fn report() -> salus_proto::command::Action {
    salus_proto::command::Action::ReportIncident {
        kind: salus_proto::command::IncidentKind::Recovered,
        evidence: salus_proto::Digest([5; 32]),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_of_the_store_finds_nothing_wrong_and_names_what_was_altered() {
    use redb::ReadableTable as _;
    use salus_replica::Finding;

    let consortium = Consortium::of(1);
    let node = consortium.start(0);
    for sequence in 1..=300 {
        // Several at once would share blocks; one by one is what leaves many checkpoints.
        node.replica()
            .submit(consortium.command(0, sequence))
            .await
            .unwrap();
    }
    node.replica().certified_at(300).await.unwrap();
    node.stop().unwrap();
    let machine = salus_replica::Contract::new(consortium.genesis.clone());
    let machine = std::sync::Arc::new(machine);
    let config = consortium.config(0);
    let check = || {
        let (genesis, origin) = (&config.genesis, &config.origin);
        salus_replica::fsck(
            &config.directory,
            &machine,
            genesis,
            origin,
            config.founded_ms,
        )
        .unwrap()
    };
    let report = check();
    assert_eq!(report.findings, []);
    assert_eq!(report.entries, 300);
    assert!(report.keys > 0 && report.checkpoints > 0, "{report:?}");

    // Whoever can write the file can also make the database's own checksums fit.
    let alter = |table: &str, at: usize| {
        let path = config.directory.join("ledger.redb");
        let database = redb::Database::open(path).unwrap();
        let write = database.begin_write().unwrap();
        let altered = match table {
            "entries" => {
                let definition = redb::TableDefinition::<u64, &[u8]>::new("entries");
                let mut table = write.open_table(definition).unwrap();
                let mut entry = table.get(at as u64).unwrap().unwrap().value().to_vec();
                *entry.last_mut().unwrap() ^= 1;
                table.insert(at as u64, entry.as_slice()).unwrap();
                Vec::new()
            }
            _ => {
                let definition = redb::TableDefinition::<&[u8], &[u8]>::new("state");
                let mut table = write.open_table(definition).unwrap();
                let (key, mut value) = {
                    let (key, value) = table.iter().unwrap().nth(at).unwrap().unwrap();
                    (key.value().to_vec(), value.value().to_vec())
                };
                *value.last_mut().unwrap() ^= 1;
                table.insert(key.as_slice(), value.as_slice()).unwrap();
                key
            }
        };
        write.commit().unwrap();
        altered
    };
    let key = alter("state", 0);
    assert_eq!(check().findings, [Finding::Value(key)]);
    alter("state", 0);
    alter("entries", 123);
    let findings = check().findings;
    assert!(
        findings.contains(&Finding::EntryAltered(123)),
        "{findings:?}"
    );
    assert!(
        !findings
            .iter()
            .any(|f| matches!(f, Finding::EntryAltered(at) if *at != 123))
    );
}
