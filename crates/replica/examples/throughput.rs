//! Measures a consortium on this machine: `throughput DIRECTORY MEMBERS CLIENTS SECONDS`.
//!
//! Members run in one process over real sockets and files. Every client is a principal of its own
//! that signs a command, submits it and waits for its durable entry; prints one JSON line.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement, not product code"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use salus_crypto::keys::SecretKeys;
use salus_crypto::label;
use salus_proto::command::{Action, Command, IncidentKind, SignedCommand};
use salus_proto::encode::to_bytes;
use salus_proto::ids::PrincipalId;
use salus_proto::member::Founder;
use salus_proto::role::Role;
use salus_proto::{Digest, TimestampMs};
use support::Consortium;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |at: usize| arguments.get(at).unwrap().parse::<u64>().unwrap();
    let (members, clients, seconds) = (number(2), number(3), number(4));
    let mut consortium = Consortium::of(u8::try_from(members).unwrap());
    consortium.timing = salus_replica::Timing::default();
    let people: Vec<Arc<(PrincipalId, SecretKeys)>> = (0..clients)
        .map(|client| {
            let mut seed = [0x77; 32];
            seed[..8].copy_from_slice(&client.to_be_bytes());
            let mut id = [0x77; 16];
            id[..8].copy_from_slice(&client.to_be_bytes());
            let keys = SecretKeys::from_seeds(&seed, &seed, &seed).unwrap();
            Arc::new((PrincipalId(id), keys))
        })
        .collect();
    consortium.genesis.founders = people
        .iter()
        .map(|person| Founder {
            principal: person.0,
            role: Role::Operator,
            organisation: consortium.keys[0].member.organisation,
            keys: person.1.public().clone(),
        })
        .collect();
    let base = std::path::PathBuf::from(arguments.get(1).unwrap());
    let nodes: Vec<_> = (0..usize::try_from(members).unwrap())
        .map(|at| {
            let config = consortium.config_of(&consortium.keys[at], &base.join(format!("{at}")));
            salus_replica::start(
                config,
                salus_replica::Contract::new(consortium.genesis.clone()),
            )
            .unwrap()
        })
        .collect();
    // The first command waits until the members have found each other.
    nodes[0]
        .replica()
        .submit(consortium.command(0, 1))
        .await
        .unwrap();
    let start = Instant::now();
    let end = start + Duration::from_secs(seconds);
    let mut tasks = Vec::new();
    for (at, person) in people.iter().enumerate() {
        let replica = nodes[at % nodes.len()].replica();
        let (person, consortium) = (person.clone(), consortium.genesis.consortium);
        tasks.push(tokio::spawn(async move {
            let mut latencies = Vec::new();
            let mut sequence = 0;
            while Instant::now() < end {
                sequence += 1;
                let command = to_bytes(&Command {
                    consortium,
                    principal: person.0,
                    sequence,
                    expires: TimestampMs(support::now_ms() + 3_600_000),
                    action: Action::ReportIncident {
                        kind: IncidentKind::Intrusion,
                        evidence: Digest([7; 32]),
                    },
                });
                let signature = person.1.ed25519().sign(label::COMMAND, &command);
                let signed = to_bytes(&SignedCommand { command, signature });
                let sent = Instant::now();
                replica.submit(signed).await.unwrap();
                latencies.push(sent.elapsed().as_micros());
            }
            latencies
        }));
    }
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.unwrap());
    }
    let elapsed = start.elapsed().as_secs_f64();
    latencies.sort_unstable();
    let at = |percent: usize| latencies[(latencies.len() - 1) * percent / 100] / 1000;
    let status = nodes[0].replica().status();
    println!(
        "{{\"members\":{members},\"clients\":{clients},\"seconds\":{elapsed:.1},\"commands\":{},\
         \"per_second\":{:.0},\"p50_ms\":{},\"p99_ms\":{},\"blocks\":{}}}",
        latencies.len(),
        latencies.len() as f64 / elapsed,
        at(50),
        at(99),
        status.height,
    );
}
