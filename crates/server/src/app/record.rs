//! Releasing records. Fail-closed: first the reader's signed statement is final on the ledger, then,
//! and only for who made it, wraps and sealed bytes leave.

use core::ops::Range;

use bytes::Bytes;
use futures_util::Stream;
use salus_contract::table::{Patients, get};
use salus_proto::api::Binary;
use salus_proto::api::record::{Release, ReleasedClassWrap, ReleasedRecord};
use salus_proto::command::{Action, Entry, Outcome};
use salus_proto::encode::to_bytes;
use salus_proto::ids::RecordId;
use salus_vault::ReadOrder;

use super::command::read_command;
use super::{Actor, App};
use crate::problem::{Problem, Result};

impl App {
    /// Makes the receipt final and gives out what opens and proves its records.
    pub(crate) async fn release(&self, actor: &Actor, command: &[u8]) -> Result<Release> {
        let read = read_command(command)?;
        let Action::ReadRecords {
            alias,
            access,
            records,
            ..
        } = &read.action
        else {
            return Err(Problem::field("/command", "not a reading of records"));
        };
        if read.principal != actor.id {
            return Err(Problem::not_yours());
        }
        // A receipt for records that are elsewhere would be a reading that never happened.
        let patient = get::<Patients>(&*self.view()?, alias).ok_or_else(Problem::hidden)?;
        if patient.custodian != self.organisation {
            return Err(Problem::hidden());
        }
        if access.is_none() {
            self.would_open(command, records).await?;
        }
        let entry = self.submit(command).await?;
        let order = self.order(actor, entry.index)?;
        let released = self.vault.release(&order).await?;
        let record = |record: salus_vault::ReleasedRecord| ReleasedRecord {
            record: record.anchor.record,
            anchor: Binary(to_bytes(&record.anchor)),
            signer: record.signer,
            entry: record.entry,
            manifest: Binary(record.manifest),
            key_epoch: record.key_wrap.as_ref().map(|_| record.key_epoch),
            key_wrap: record.key_wrap.map(Binary),
            record_wrap: record.record_wrap.map(|wrap| Binary(wrap.wrap)),
            statement: record.statement.map(Binary),
        };
        let class_wrap = |wrap: salus_proto::record::ClassWrap| ReleasedClassWrap {
            class: wrap.class,
            epoch: wrap.epoch,
            wrap: Binary(wrap.wrap),
        };
        Ok(Release {
            entry: released.entry,
            until: released.until,
            records: released.records.into_iter().map(record).collect(),
            class_wraps: released.class_wraps.into_iter().map(class_wrap).collect(),
        })
    }

    /// Whether a reading without a grant would be answered. The ledger does not know who wrote or
    /// received a single record, so it would take a receipt for a reading that then never happens.
    async fn would_open(&self, command: &[u8], records: &[RecordId]) -> Result<()> {
        let draft = Entry {
            index: 0,
            height: 0,
            time: self.now(),
            signed_command: command.to_vec(),
            outcome: Outcome::Accepted,
        };
        let order = {
            let view = self.view()?;
            ReadOrder::from_entry(&draft, &*view, self.organisation, self.now())?
        };
        for record in records {
            self.vault.sealed_size(&order, *record).await?;
        }
        Ok(())
    }

    /// The receipt at an entry, if it is the actor's and still good.
    fn order(&self, actor: &Actor, entry: u64) -> Result<ReadOrder> {
        let entry = self.entry(entry).map_err(|_| Problem::hidden())?;
        let view = self.view()?;
        let order = ReadOrder::from_entry(&entry, &*view, self.organisation, self.now())?;
        if order.reader() == actor.id {
            Ok(order)
        } else {
            Err(Problem::hidden())
        }
    }

    /// The length of a record's sealed bytes under a receipt of the actor.
    pub(crate) async fn sealed_length(
        &self,
        actor: &Actor,
        record: RecordId,
        receipt: u64,
    ) -> Result<u64> {
        let order = self.order(actor, receipt)?;
        Ok(self.vault.sealed_size(&order, record).await?.1)
    }

    /// A range of a record's sealed bytes under a receipt of the actor.
    pub(crate) async fn sealed_range(
        &self,
        actor: &Actor,
        record: RecordId,
        receipt: u64,
        range: Range<u64>,
    ) -> Result<Bytes> {
        let order = self.order(actor, receipt)?;
        Ok(self.vault.sealed(&order, record, range).await?)
    }

    /// All of a record's sealed bytes under a receipt of the actor.
    pub(crate) async fn sealed(
        &self,
        actor: &Actor,
        record: RecordId,
        receipt: u64,
    ) -> Result<impl Stream<Item = salus_runtime::Result<Bytes>> + Send + use<>> {
        let order = self.order(actor, receipt)?;
        Ok(self.vault.sealed_stream(&order, record).await?)
    }
}
