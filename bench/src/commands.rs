//! Signed commands prepared ahead, so that signing is in no measured part, and what checking their
//! signatures alone would cost.

use std::num::NonZeroUsize;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::ensure;
use bytes::Bytes;
use salus_crypto::label;
use salus_crypto::sign::{Check, Ed25519Verifier, verify_all};
use salus_proto::TimestampMs;
use salus_proto::command::{Action, COMMAND_LIMIT, Command, SignedCommand};
use salus_proto::encode::{from_bytes, to_bytes};
use salus_proto::ids::PatientAlias;

use crate::consortium::{CONSORTIUM, Person};
use crate::measure::seconds_since;

/// Longer than any run, within what the contract allows.
const VALID_MS: u64 = 6 * 3_600_000;

/// `each` commands of every person, in sequence order: each opens a patient under a fresh alias, so
/// each writes a new key to the state. Signed on all cores.
pub(crate) fn prepare(people: &[Person], each: u64) -> anyhow::Result<Vec<Vec<Bytes>>> {
    let expires = TimestampMs(now_ms() + VALID_MS);
    let sign_all = |share: &[Person]| -> Vec<Vec<Bytes>> {
        let of = |person| (1..=each).map(|at| signed(person, at, expires)).collect();
        share.iter().map(of).collect()
    };
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let share = people.len().div_ceil(cores).max(1);
    let mut all = Vec::new();
    std::thread::scope(|scope| {
        let tasks: Vec<_> = people
            .chunks(share)
            .map(|share| scope.spawn(|| sign_all(share)))
            .collect();
        for task in tasks {
            all.extend(task.join().unwrap_or_default());
        }
    });
    ensure!(
        all.len() == people.len(),
        "not every command could be signed"
    );
    Ok(all)
}

fn signed(person: &Person, sequence: u64, expires: TimestampMs) -> Bytes {
    let mut alias = person.principal.0;
    if let Some(end) = alias.last_chunk_mut::<8>() {
        *end = sequence.to_be_bytes();
    }
    let command = to_bytes(&Command {
        consortium: CONSORTIUM,
        principal: person.principal,
        sequence,
        expires,
        action: Action::OpenPatient {
            alias: PatientAlias(alias),
        },
    });
    let signature = person.keys.ed25519().sign(label::COMMAND, &command);
    to_bytes(&SignedCommand { command, signature }).into()
}

/// Signatures checked in a second of wall time by `workers` threads that do nothing else: no ledger
/// on this machine can take more signed commands than that with all cores.
pub(crate) fn signature_limit(
    people: &[Person],
    commands: &[Vec<Bytes>],
    workers: NonZeroUsize,
) -> anyhow::Result<f64> {
    const CHECKS: usize = 40_000;
    let keys: Vec<Ed25519Verifier> = people
        .iter()
        .map(|person| Ed25519Verifier::parse(&person.keys.public().ed25519))
        .collect::<Result<_, _>>()?;
    let each = CHECKS.div_ceil(people.len().max(1));
    let mut signed = Vec::new();
    for (key, commands) in keys.iter().zip(commands) {
        for bytes in commands.iter().take(each) {
            let command: SignedCommand = from_bytes(bytes, COMMAND_LIMIT, "a signed command")?;
            signed.push((key, command));
        }
    }
    let checks: Vec<Check<'_>> = signed
        .iter()
        .map(|(key, signed)| Check {
            key,
            label: label::COMMAND,
            message: &signed.command,
            signature: &signed.signature,
        })
        .collect();
    let start = Instant::now();
    let valid = verify_all(&checks, workers);
    let seconds = seconds_since(start);
    ensure!(valid.iter().all(|valid| *valid), "a signature is wrong");
    Ok(checks.len() as f64 / seconds)
}

/// Milliseconds since 1970.
fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
