//! The same commands give the same state, however they are cut into blocks and whoever runs them.

mod support;

use proptest::prelude::*;
use salus_contract::{BlockContext, Overlay, apply, prepare};
use salus_proto::Digest;
use salus_proto::command::{Action, Command};
use salus_proto::encode::to_bytes;
use salus_proto::ids::{AccessId, BatchId, ConsultationId, PatientAlias, RecordId};
use salus_proto::record::KeyClass;
use salus_proto::role::{Basis, Decision, Purpose, Reason};
use support::Who::{self, *};
use support::{State, World};

const ACTORS: [Who; 8] = [
    North,
    South,
    Staff,
    SouthStaff,
    Patient,
    Doctor,
    OtherDoctor,
    Operator,
];

/// An action over few ids, so that commands meet and disagree.
fn action() -> impl Strategy<Value = Action> {
    let id = 1_u8..4;
    let until = (0_u64..3).prop_map(|n| support::START.plus_ms(n * 100_000));
    prop_oneof![
        id.clone().prop_map(|n| Action::OpenPatient {
            alias: PatientAlias([n; 16])
        }),
        (id.clone(), prop_oneof![Just(Patient), Just(Doctor)]).prop_map(|(n, who)| {
            Action::LinkPatient {
                alias: PatientAlias([n; 16]),
                patient: who.id(),
            }
        }),
        (id.clone(), id.clone(), proptest::option::of(id.clone())).prop_map(|(b, a, c)| {
            Action::AnchorBatch {
                batch: BatchId([b; 16]),
                alias: PatientAlias([a; 16]),
                manifest: Digest([b; 32]),
                anchors_root: Digest([a; 32]),
                count: u32::from(b) - 1,
                consultation: c.map(|c| ConsultationId([c; 16])),
            }
        }),
        (id.clone(), id.clone(), until.clone()).prop_map(|(n, a, until)| Action::RequestAccess {
            access: AccessId([n; 16]),
            alias: PatientAlias([a; 16]),
            classes: vec![KeyClass::Medical],
            purpose: Purpose::Treatment,
            until,
        }),
        (id.clone(), any::<bool>()).prop_map(|(n, yes)| Action::DecideAccess {
            access: AccessId([n; 16]),
            decision: if yes {
                Decision::Approve
            } else {
                Decision::Refuse
            },
            reason: Reason::IdentityVerified,
            basis: Basis::Policy,
        }),
        id.clone().prop_map(|n| Action::RevokeAccess {
            access: AccessId([n; 16]),
            reason: Reason::ConsentWithdrawn,
        }),
        (id.clone(), id.clone(), until).prop_map(|(n, a, until)| Action::OpenConsultation {
            consultation: ConsultationId([n; 16]),
            access: AccessId([n; 16]),
            alias: PatientAlias([a; 16]),
            doctor: Doctor.id(),
            records: vec![RecordId([n; 16])],
            question: BatchId([n; 16]),
            until,
        }),
        (id.clone(), id.clone()).prop_map(|(n, b)| Action::AnswerConsultation {
            consultation: ConsultationId([n; 16]),
            answer: BatchId([b; 16]),
            prescriptions: 1,
        }),
        (id.clone(), proptest::option::of(id.clone())).prop_map(|(a, n)| Action::ReadRecords {
            alias: PatientAlias([a; 16]),
            access: n.map(|n| AccessId([n; 16])),
            records: vec![RecordId([a; 16])],
            purpose: Purpose::Treatment,
        }),
        Just(Action::RevokePrincipal {
            principal: OtherDoctor.id(),
            reason: Reason::LeftRole
        }),
    ]
}

/// Executes commands in blocks of `size`, each on an overlay that is written back at its end.
fn in_blocks(mut state: State, commands: &[Vec<u8>], size: usize) -> (State, Vec<Vec<u8>>) {
    let mut log = Vec::new();
    let mut time = support::START.plus_ms(1_000);
    for block in commands.chunks(size) {
        // Signatures are checked against the state before the block, as nodes do it.
        let prepared: Vec<_> = block.iter().map(|bytes| prepare(&state, bytes)).collect();
        let mut overlay = Overlay::new(&state);
        for prepared in prepared.into_iter().flatten() {
            // One clock for all ways of cutting: each command has its own time.
            time = time.plus_ms(1_000);
            let context = BlockContext {
                height: 1,
                time,
                index: log.len() as u64,
            };
            if let Ok(entry) = apply(&mut overlay, &prepared, context) {
                log.push(to_bytes(&entry));
            }
        }
        for (key, value) in overlay.into_writes() {
            match value {
                Some(value) => state.insert(key, value),
                None => state.remove(&key),
            };
        }
    }
    (state, log)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn blocks_of_any_size_give_the_same_state_and_log(
        steps in proptest::collection::vec((0_usize..ACTORS.len(), 1_u64..30, action()), 1..60),
        size in 2_usize..20,
    ) {
        let mut world = World::new();
        let commands: Vec<Vec<u8>> = steps
            .into_iter()
            .map(|(who, sequence, action)| {
                let who = ACTORS[who];
                let command = Command {
                    consortium: support::CONSORTIUM,
                    principal: who.id(),
                    sequence,
                    expires: support::START.plus_ms(3_600_000),
                    action,
                };
                world.sign(who, &command)
            })
            .collect();
        let alone = in_blocks(world.state.clone(), &commands, 1);
        let together = in_blocks(world.state.clone(), &commands, size);
        prop_assert!(alone == together);
        // And what is refused or rejected changes what it may, which `submit` asserts.
        for command in &commands {
            let _ = world.submit(command);
        }
    }
}

#[test]
fn a_state_has_the_bytes_that_it_always_had() {
    let mut world = World::with_patient();
    world.accepted(
        Patient,
        Action::AnchorBatch {
            batch: BatchId([1; 16]),
            alias: support::ALIAS,
            manifest: Digest([2; 32]),
            anchors_root: Digest([3; 32]),
            count: 1,
            consultation: None,
        },
    );
    let batch = world
        .state
        .get([b"batch/".as_slice(), &[1; 16]].concat().as_slice())
        .unwrap();
    let expected = [
        "a6".to_owned(),
        format!("0050{}", "a1".repeat(16)),
        format!("0150{}", "07".repeat(16)),
        format!("025820{}", "02".repeat(32)),
        format!("035820{}", "03".repeat(32)),
        "0401".to_owned(),
        "0502".to_owned(),
    ];
    let hex: String = batch.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, expected.concat());
}
