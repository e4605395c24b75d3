//! Restart of a node with a million entries: from the start of the process to an answer, and to the
//! first new entry.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use salus_client::node::Node;
use salus_crypto::keys::SecretKeys;
use salus_proto::ids::PrincipalId;
use salus_runtime::clock::SystemClock;

use crate::Setting;
use crate::commands::prepare;
use crate::consortium::{Consortium, Person, Process, api, until};
use crate::ledger::fill;
use crate::measure::{Bar, Row, seconds_since};

/// People who sign the commands that fill the log.
const PEOPLE: u32 = 250;
/// Longest time that filling the log may take; a slower machine restarts with fewer entries, and the
/// row says with how many.
const FILLING: Duration = Duration::from_secs(110);

/// Longest time for the API's listings of a full log, which a node makes while it runs.
const LISTING: Duration = Duration::from_secs(300);

pub(crate) async fn measure(setting: &Setting) -> anyhow::Result<Vec<Row>> {
    let folder = setting.folder("restart")?;
    let people = Person::several(PEOPLE)?;
    let consortium = Consortium::found(setting, &folder.join("c"), 1, &people)?;
    let seat = consortium.seats.first().context("a member")?;
    let wanted: u64 = setting.size(1_000_000, 10_000);
    let each = wanted / u64::from(PEOPLE);
    let mut commands = prepare(&people, each + 16)?;
    // Commands that are left for the rounds, one each.
    let spare: Vec<_> = commands
        .first_mut()
        .map(|first| first.split_off(usize::try_from(each).unwrap_or(usize::MAX)))
        .unwrap_or_default();
    for queue in &mut commands {
        queue.truncate(usize::try_from(each)?);
    }

    // The store is filled by the replica itself, through the same admission and execution.
    let running = seat.start_replica()?;
    let start = Instant::now();
    let entries = fill(&running.replica(), commands, wanted, FILLING).await?;
    let filled = seconds_since(start);
    tokio::task::spawn_blocking(|| running.stop()).await??;

    // A log that was filled only in part has other sequence numbers free; then reading is all there is.
    let mut spare = if entries == wanted { spare } else { Vec::new() }.into_iter();
    let first = Person::several(1)?.pop().context("a person")?;
    let author = Arc::new(first.keys);

    // The first start lets the API's listings catch up with entries that they have not seen. A command is
    // answered when they have.
    let node = Process::node(setting, seat)?;
    let client = api(seat)?;
    until(&client, |status| status.size >= entries).await?;
    if let Some(command) = spare.next() {
        let start = Instant::now();
        while let Err(error) = submit(&client, first.principal, &author, &command).await {
            ensure!(
                start.elapsed() < LISTING,
                "listings do not catch up: {error}"
            );
        }
    }
    node.stop()?;

    let (mut answers, mut orders) = (Vec::new(), Vec::new());
    for _ in 0..setting.size(5, 1) {
        let start = Instant::now();
        let node = Process::node(setting, seat)?;
        until(&client, |s| s.size >= entries && s.certified.is_some()).await?;
        answers.push(seconds_since(start));
        if let Some(command) = spare.next() {
            let entry = submit(&client, first.principal, &author, &command).await?;
            ensure!(entry >= entries, "the new entry has an old index");
            orders.push(seconds_since(start));
        }
        node.stop()?;
    }
    crate::remove(&folder)?;

    let what = format!("restart of a node with {entries} entries");
    let mut rows = vec![
        Row::new(
            format!("{what}: until it answers, certified checkpoint loaded"),
            "s",
            answers,
        )
        .held_to(Bar::AtMost(2.0), None)
        .noting(format!(
            "page cache warm; the log was filled through the replica at {:.0} commands/s",
            entries as f64 / filled
        )),
    ];
    if !orders.is_empty() {
        let row = Row::new(
            format!("{what}: until a new command is durable"),
            "s",
            orders,
        );
        rows.push(row.noting("over HTTPS, opening a session included"));
    }
    Ok(rows)
}

/// Opens a session and has a command ordered; returns its entry's index.
async fn submit(
    node: &Node,
    principal: PrincipalId,
    keys: &Arc<SecretKeys>,
    command: &[u8],
) -> anyhow::Result<u64> {
    let session = salus_client::person::Person::with_keys(
        node,
        principal,
        Arc::clone(keys),
        Arc::new(SystemClock::new()),
    )
    .await?;
    Ok(session.node().submit(command.to_vec()).await?.entry)
}
