//! Counts of this hospital's patients: exact for its own people, signed and coarse for everybody else.

use core::time::Duration;

use salus_crypto::{hybrid, label};
use salus_policy::{Operation, Relation};
use salus_proto::api::Binary;
use salus_proto::api::statistics::{ExactCounts, Statistics};
use salus_proto::ids::PatientAlias;
use salus_proto::record::RecordKind;
use salus_proto::statistics::{Chart, Counts, ROUNDING, SMALL_CELL};
use salus_runtime::{params, transact};

use super::{Actor, App};
use crate::node::consortium;
use crate::problem::{Problem, Result};
use crate::statistics::{DoctorTable, SymptomTable, Tally, leaving};

/// How long one request may open records before it answers with what is counted.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most pairs of patient and doctor that are counted: bounds memory.
const PAIRS_LIMIT: u32 = 1_000_000;

impl App {
    /// What this node may tell the actor about its organisation's patients.
    pub(crate) async fn statistics(&self, actor: &Actor) -> Result<Statistics> {
        let relation = match actor.organisation() == self.organisation {
            true => Relation::Custodian,
            false => Relation::Stranger,
        };
        actor.must(Operation::SeeStatistics, relation)?;
        let current = self.vault.own_patients_with(RecordKind::Symptom).await?;
        let of = current.len() as u64;
        let (symptoms, counted) = {
            let tally = &mut *self.tally.lock().await;
            self.count_on(tally, &current).await?;
            (tally.table(), tally.counted())
        };
        let complete = counted == of;
        let doctors = self.consulted().await?;
        let mut statements = Vec::with_capacity(2);
        if let Some(counts) = self.symptoms_leaving(&symptoms, &current, complete).await? {
            statements.push(self.stated(&counts)?);
        }
        if let Some(counts) = self.doctors_leaving(&doctors).await? {
            statements.push(self.stated(&counts)?);
        }
        let exact = actor
            .may(Operation::SeeExactCounts, relation)
            .then(|| ExactCounts {
                at: self.now(),
                patients: symptoms.patients,
                of,
                unreadable: symptoms.unreadable,
                uncoded: symptoms.uncoded,
                symptoms: symptoms.exact(),
                consulting: doctors.patients().len() as u64,
                doctors: doctors.exact(),
            });
        Ok(Statistics {
            organisation: self.organisation,
            complete,
            statements,
            exact,
        })
    }

    /// Opens the records of whoever has something new, for a while.
    async fn count_on(&self, tally: &mut Tally, current: &[(PatientAlias, u64)]) -> Result<()> {
        let began = self.clock.monotonic();
        for (alias, latest) in tally.stale(current) {
            if self.clock.monotonic() - began > PATIENCE {
                break;
            }
            match self.vault.open_own(alias, RecordKind::Symptom).await {
                Ok(records) => {
                    let bodies = records.iter().map(|record| record.content.body.as_slice());
                    tally.count(alias, latest, Some(bodies));
                }
                Err(salus_vault::Error::Envelope(_)) => {
                    tracing::warn!(%alias, "a record of symptoms does not open and is not counted");
                    tally.count(alias, latest, None::<[&[u8]; 0]>);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Who of this hospital's patients consulted whom, by the ledger.
    async fn consulted(&self) -> Result<DoctorTable> {
        let tx = &mut self.database.read().await?;
        let rows = tx
            .all(
                "SELECT c.doctor, a.alias, CAST(MAX(c.entry) AS BIGINT)
                     FROM listed_consultation c JOIN listed_access a ON a.entry = c.entry
                     WHERE a.custodian = $1
                     GROUP BY c.doctor, a.alias ORDER BY c.doctor, a.alias LIMIT $2",
                &params![self.organisation, PAIRS_LIMIT],
            )
            .await?;
        Ok(DoctorTable(rows))
    }

    async fn symptoms_leaving(
        &self,
        table: &SymptomTable,
        current: &[(PatientAlias, u64)],
        complete: bool,
    ) -> Result<Option<Counts>> {
        let latest = current.iter().map(|(_, latest)| *latest);
        self.leaving(Chart::Symptoms, latest, complete, |counts| {
            counts.patients = leaving(table.patients);
            counts.uncoded = leaving(table.uncoded);
            counts.symptoms = table.leaving();
        })
        .await
    }

    async fn doctors_leaving(&self, table: &DoctorTable) -> Result<Option<Counts>> {
        let patients = table.patients();
        self.leaving(Chart::Doctors, patients.values().copied(), true, |counts| {
            counts.patients = leaving(patients.len() as u64);
            counts.doctors = table.leaving();
        })
        .await
    }

    /// The counts of a chart as they leave: those that left before, until at least [`SMALL_CELL`]
    /// patients have something new. Two successive charts so never differ by the symptoms of somebody
    /// whom a reader saw arrive in between. `latest` is the entry of each patient's latest news.
    async fn leaving(
        &self,
        chart: Chart,
        latest: impl Iterator<Item = u64> + Clone,
        complete: bool,
        fill: impl FnOnce(&mut Counts),
    ) -> Result<Option<Counts>> {
        let word = match chart {
            Chart::Symptoms => "symptoms",
            Chart::Doctors => "doctors",
        };
        let before: Option<(Vec<u8>,)> = {
            let tx = &mut self.database.read().await?;
            let sql = "SELECT counts FROM stated_counts WHERE chart = $1";
            tx.optional(sql, &params![word]).await
        }?;
        let before = before
            .map(|(bytes,)| Counts::from_bytes(&bytes))
            .transpose()
            .map_err(|_| Problem::internal())?;
        let since = before.as_ref().map_or(0, |counts| counts.entries);
        let news = latest.clone().filter(|entry| *entry >= since).count() as u64;
        if !complete || news < SMALL_CELL {
            return Ok(before);
        }
        let mut counts = Counts {
            consortium: consortium(&*self.view()?)?,
            organisation: self.organisation,
            chart,
            counted: self.now(),
            entries: latest.max().map_or(0, |entry| entry + 1),
            threshold: SMALL_CELL,
            rounding: ROUNDING,
            patients: None,
            uncoded: None,
            symptoms: Vec::new(),
            doctors: Vec::new(),
        };
        fill(&mut counts);
        let (entries, bytes) = (counts.entries, counts.to_bytes());
        transact!(self.database, "state counts", |tx| {
            tx.execute(
                "INSERT INTO stated_counts (chart, entries, counts) VALUES ($1, $2, $3)
                     ON CONFLICT (chart) DO UPDATE
                     SET entries = excluded.entries, counts = excluded.counts
                     WHERE excluded.entries > stated_counts.entries",
                &params![word, entries, bytes],
            )
            .await
        })?;
        Ok(Some(counts))
    }

    /// The organisation signs each time it is asked, so a statement always verifies under the keys that
    /// the ledger has for it now.
    fn stated(&self, counts: &Counts) -> Result<Binary> {
        let id = self.organisation.as_bytes();
        hybrid::sign(&self.keys, label::STATISTICS, id, &counts.to_bytes())
            .map(Binary)
            .map_err(|_| Problem::internal())
    }
}
