//! Incidents that this node reports on the ledger by itself: damage that the scrubber found, and
//! refused attempts that repeat.
//!
//! Each report is written down with its evidence first and submitted then, so a crash loses none; one
//! that became final just before a crash may be submitted a second time. The ledger gets the kind and
//! a digest. The evidence of an attempt holds a random salt, so that nobody can find out by trying whom
//! or what address it is about.

use core::time::Duration;
use std::sync::Arc;

use salus_crypto::digest::sha256;
use salus_proto::command::{Action, IncidentKind};
use salus_proto::encode::to_bytes;
use salus_proto::{Digest, TimestampMs};
use salus_runtime::table::Transaction;
use salus_runtime::{params, transact};

use crate::app::App;
use crate::node::refusal;
use crate::problem::Result;
use crate::watch::PERIOD_MS;

/// How often to look for what is to be reported.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Name of the position among the vault's incidents.
const READER: &str = "incidents";
/// Most incidents of the vault, and most reports, of one look.
const AT_ONCE: u32 = 64;
/// Suspicious refusals of one principal within an hour that make an incident.
const OF_PRINCIPAL: u64 = 10;
/// Suspicious refusals from one address within an hour that make an incident: behind an address there
/// may be a whole hospital.
const OF_ADDRESS: u64 = 50;

/// Reports until the server stops.
pub(crate) async fn follow(app: Arc<App>) {
    let mut stopping = app.stopping.subscribe();
    loop {
        if let Err(problem) = report(&app).await {
            tracing::warn!(code = problem.code(), "incidents wait to be reported");
        }
        tokio::select! {
            () = app.clock.sleep(LOOK_EVERY) => {}
            () = app.watch.written() => {}
            _ = stopping.wait_for(|stop| *stop) => return,
        }
    }
}

async fn report(app: &App) -> Result<()> {
    gather_damage(app).await?;
    gather_attempts(app).await?;
    submit(app).await
}

/// Writes down what the scrubber found since the last time.
async fn gather_damage(app: &App) -> Result<()> {
    let position: Option<(u64,)> = {
        let tx = &mut app.database.read().await?;
        let sql = "SELECT next_entry FROM log_position WHERE reader = $1";
        tx.optional(sql, &params![READER]).await
    }?;
    let after = position.map_or(0, |(last,)| last);
    let found = app.vault.incidents(after, AT_ONCE).await?;
    let Some(last) = found.last().map(|incident| incident.incident) else {
        return Ok(());
    };
    let now = app.now();
    transact!(app.database, "gather incidents", |tx| {
        for incident in &found {
            let kind = if incident.restored {
                IncidentKind::Recovered
            } else {
                IncidentKind::Tampering
            };
            let body = incident.evidence_bytes();
            let evidence = incident.evidence();
            insert(tx, evidence, evidence, kind, &body, now).await?;
        }
        tx.execute(
            "INSERT INTO log_position (reader, next_entry) VALUES ($1, $2)
             ON CONFLICT (reader) DO UPDATE SET next_entry = excluded.next_entry",
            &params![READER, last],
        )
        .await
    })?;
    Ok(())
}

/// Writes down whose refused attempts repeat. What a session that ran out or a profile that waits
/// leads to is no attempt at anything.
async fn gather_attempts(app: &App) -> Result<()> {
    /// Who or where, hour, first attempt.
    type Repeated<T> = (T, u64, TimestampMs);
    let now = app.now();
    let since = (now.0 / PERIOD_MS).saturating_sub(1);
    let nobody: Vec<u8> = Vec::new();
    let (people, addresses): (Vec<Repeated<Vec<u8>>>, Vec<Repeated<String>>) = {
        let tx = &mut app.database.read().await?;
        let by_principal = params![since, nobody, OF_PRINCIPAL, AT_ONCE];
        let people = tx.all(
            "SELECT who, period, MIN(first_at) AS first_at FROM attempt
             WHERE period >= $1 AND who <> $2
               AND why NOT IN ('unauthenticated', 'pending-principal')
             GROUP BY who, period HAVING CAST(SUM(occurrences) AS BIGINT) >= $3
             ORDER BY who LIMIT $4",
            &by_principal,
        );
        let people = people.await?;
        let by_address = params![since, OF_ADDRESS, AT_ONCE];
        let addresses = tx.all(
            "SELECT place, period, MIN(first_at) AS first_at FROM attempt
             WHERE period >= $1 AND why NOT IN ('unauthenticated', 'pending-principal')
             GROUP BY place, period HAVING CAST(SUM(occurrences) AS BIGINT) >= $2
             ORDER BY place LIMIT $3",
            &by_address,
        );
        (people, addresses.await?)
    };
    let people = people
        .into_iter()
        .map(|(who, period, first)| (b"principal", who, period, first));
    let addresses = addresses
        .into_iter()
        .map(|(place, period, first)| (b"address  ", place.into_bytes(), period, first));
    let all: Vec<(Digest, Vec<u8>)> = people
        .chain(addresses)
        .map(|(about, subject, period, first)| {
            let named = [about.as_slice(), &period.to_be_bytes(), &subject].concat();
            let salt: [u8; 32] = app.random();
            let body = [salt.as_slice(), &first.0.to_be_bytes(), &named].concat();
            (sha256(&named), body)
        })
        .collect();
    if all.is_empty() {
        return Ok(());
    }
    transact!(app.database, "gather attempts", |tx| {
        for (subject, body) in &all {
            insert(
                tx,
                *subject,
                sha256(body),
                IncidentKind::Intrusion,
                body,
                now,
            )
            .await?;
        }
        Ok::<(), salus_runtime::Error>(())
    })?;
    Ok(())
}

async fn insert(
    tx: &mut Transaction,
    subject: Digest,
    evidence: Digest,
    kind: IncidentKind,
    body: &[u8],
    now: TimestampMs,
) -> salus_runtime::Result<()> {
    tx.execute(
        "INSERT INTO incident_report (subject, evidence, kind, body, made_at)
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (subject) DO NOTHING",
        &params![subject, evidence, kind_number(kind), body, now],
    )
    .await?;
    Ok(())
}

/// Submits what waits, oldest first.
async fn submit(app: &App) -> Result<()> {
    let waiting: Vec<(Digest, Digest, u32)> = {
        let tx = &mut app.database.read().await?;
        tx.all(
            "SELECT subject, evidence, kind FROM incident_report WHERE entry IS NULL
             ORDER BY made_at, subject LIMIT $1",
            &params![AT_ONCE],
        )
        .await
    }?;
    for (subject, evidence, number) in waiting {
        let Some(kind) = kind_of(number) else {
            continue;
        };
        let entry = submit_one(app, kind, evidence).await?;
        transact!(app.database, "note a report", |tx| {
            let sql = "UPDATE incident_report SET entry = $2 WHERE subject = $1";
            tx.execute(sql, &params![subject, entry]).await
        })?;
    }
    Ok(())
}

/// The entry that a report became.
async fn submit_one(app: &App, kind: IncidentKind, evidence: Digest) -> Result<u64> {
    let action = Action::ReportIncident { kind, evidence };
    let entry = app.act_as_organisation(action).await?;
    if let Some(refusal) = refusal(&entry) {
        tracing::error!(%refusal, "the consortium refused the report of an incident");
    }
    Ok(entry.index)
}

const KINDS: [IncidentKind; 4] = [
    IncidentKind::Tampering,
    IncidentKind::Equivocation,
    IncidentKind::Intrusion,
    IncidentKind::Recovered,
];

fn kind_number(kind: IncidentKind) -> u32 {
    to_bytes(&kind)
        .first()
        .map_or(u32::MAX, |byte| u32::from(*byte))
}

fn kind_of(number: u32) -> Option<IncidentKind> {
    KINDS.into_iter().find(|kind| kind_number(*kind) == number)
}
