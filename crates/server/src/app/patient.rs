//! Patients, their sealed records, and who read them.

use salus_contract::table::{Accesses, Patients, get};
use salus_policy::{Operation, Relation};
use salus_proto::api::patient::{OwnAlias, PatientSummary, Receipt, SealedRecordView, SealingKeys};
use salus_proto::api::record::ReleasedClassWrap;
use salus_proto::api::{Binary, Page};
use salus_proto::command::Action;
use salus_proto::ids::{AccessId, PatientAlias, PrincipalId, RecordId};
use salus_proto::record::RecordKind;
use salus_proto::role::{Purpose, Role};
use salus_runtime::params;
use salus_vault::{PatientFilter, RecordFilter, SealedItem};

use super::command::command_of;
use super::principal::signed;
use super::{Actor, App};
use crate::http::extract::{Paging, page};
use crate::node::members;
use crate::problem::{Problem, Result};

/// What an actor may see of an alias's list.
enum Sight {
    /// Everything.
    All,
    /// Only these records, ascending.
    Named(Vec<RecordId>),
}

impl App {
    /// Patients of whom this node holds records, by name.
    pub(crate) async fn patients(
        &self,
        actor: &Actor,
        query: Option<String>,
        paging: &Paging,
    ) -> Result<Page<PatientSummary>> {
        let here = match actor.organisation() == self.organisation {
            true => Relation::Custodian,
            false => Relation::Stranger,
        };
        actor.must(Operation::ListPatients, here)?;
        // A cloud operator sees whoever is replicated here, everybody else their own house.
        let custodian = (actor.role() != Role::Operator).then_some(self.organisation);
        let (limit, after) = (paging.limit()?, paging.after_id::<PatientAlias>()?);
        let filter = PatientFilter { query, custodian };
        let rows = self.vault.patients(&filter, after, limit).await?;
        let full = rows.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
        let next = rows
            .last()
            .filter(|_| full)
            .map(|row| row.alias.to_string());
        let view = self.view()?;
        let items = rows
            .into_iter()
            .filter_map(|row| {
                let patient = get::<Patients>(&*view, &row.alias)?;
                Some(PatientSummary {
                    alias: row.alias,
                    custodian: row.custodian,
                    name: row.name,
                    patient: patient.patient,
                    records: row.records,
                    opened: patient.opened,
                })
            })
            .collect();
        Ok(Page { items, next })
    }

    /// The aliases that are linked to the caller.
    pub(crate) async fn own_aliases(
        &self,
        actor: &Actor,
        paging: &Paging,
    ) -> Result<Page<OwnAlias>> {
        let (limit, after) = (paging.limit()?, paging.after()?);
        let rows: Vec<(PatientAlias, u64)> = self
            .database
            .read()
            .await?
            .all(
                "SELECT alias, entry FROM listed_patient WHERE patient = $1 AND entry > $2
                 ORDER BY entry LIMIT $3",
                &params![actor.id, signed(after), limit + 1],
            )
            .await?;
        let view = self.view()?;
        let members = members(&*view)?;
        Ok(page(
            rows,
            limit,
            |(_, entry)| *entry,
            |(alias, _)| {
                let custodian = get::<Patients>(&*view, &alias)?.custodian;
                let member = members.find(custodian)?;
                Some(OwnAlias {
                    alias,
                    custodian,
                    custodian_name: member.name.clone(),
                    api: member.api.clone(),
                })
            },
        ))
    }

    /// The sealed records of an alias: what may be known without a key.
    pub(crate) async fn sealed_records(
        &self,
        actor: &Actor,
        alias: PatientAlias,
        kind: Option<RecordKind>,
        paging: &Paging,
    ) -> Result<Page<SealedRecordView>> {
        let sight = self.sight(actor, alias).await?;
        let limit = paging.limit()?;
        let mut after = paging
            .after_text()
            .map(str::parse)
            .transpose()
            .map_err(|_| Problem::field("after", "give `next` of the page before"))?;
        let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut items: Vec<SealedItem> = Vec::new();
        let next = loop {
            let rows = self
                .vault
                .records(alias, RecordFilter { kind }, after, limit)
                .await?;
            let full = rows.len() >= wanted;
            after = rows.last().map(|row| row.cursor);
            items.extend(rows.into_iter().filter(|row| match &sight {
                Sight::All => true,
                Sight::Named(named) => named.binary_search(&row.anchor.record).is_ok(),
            }));
            if !full {
                break None;
            }
            if items.len() >= wanted {
                items.truncate(wanted);
                break items.last().map(|item| item.cursor.to_string());
            }
        };
        Ok(Page {
            items: items.into_iter().map(sealed_view).collect(),
            next,
        })
    }

    /// What the actor may see of an alias; refused as if it did not exist when that is nothing.
    async fn sight(&self, actor: &Actor, alias: PatientAlias) -> Result<Sight> {
        let view = self.view()?;
        get::<Patients>(&*view, &alias).ok_or_else(Problem::not_found)?;
        let relation = salus_contract::records::relation(&*view, alias, actor.id);
        if actor.may(Operation::ListSealed, relation) {
            return Ok(Sight::All);
        }
        let grants = self.open_grants(actor, alias).await?;
        if grants.is_empty() || !actor.may(Operation::ListSealed, Relation::Holder) {
            return Err(Problem::hidden());
        }
        let mut named = Vec::new();
        for grant in grants {
            match grant {
                None => return Ok(Sight::All),
                Some(records) => named.extend(records),
            }
        }
        named.sort_unstable();
        named.dedup();
        Ok(Sight::Named(named))
    }

    /// Refuses, as if it did not exist, a record that the actor may not see in a list.
    pub(crate) async fn must_see(
        &self,
        actor: &Actor,
        alias: PatientAlias,
        record: RecordId,
    ) -> Result<()> {
        match self.sight(actor, alias).await? {
            Sight::Named(named) if named.binary_search(&record).is_err() => Err(Problem::hidden()),
            Sight::All | Sight::Named(_) => Ok(()),
        }
    }

    /// The records of each open grant that the actor holds on an alias; `None` stands for all of
    /// its classes.
    async fn open_grants(
        &self,
        actor: &Actor,
        alias: PatientAlias,
    ) -> Result<Vec<Option<Vec<RecordId>>>> {
        let held: Vec<(AccessId,)> = self
            .database
            .read()
            .await?
            .all(
                "SELECT access FROM listed_access
                 WHERE holder = $1 AND alias = $2 AND status = 'approved'
                 ORDER BY entry DESC LIMIT 1000",
                &params![actor.id, alias],
            )
            .await?;
        let (now, view) = (self.now(), self.view()?);
        Ok(held
            .into_iter()
            .filter_map(|(access,)| get::<Accesses>(&*view, &access))
            .filter(|access| access.is_open(now))
            .map(|access| access.records)
            .collect())
    }

    /// The current class keys of a patient as they are wrapped to this organisation, which can open
    /// them anyway: so there is no reading to receipt. Its people get keys for what they read only.
    pub(crate) async fn sealing_keys(
        &self,
        actor: &Actor,
        alias: PatientAlias,
    ) -> Result<SealingKeys> {
        let relation = {
            let view = self.view()?;
            let patient = get::<Patients>(&*view, &alias).ok_or_else(Problem::not_found)?;
            if patient.custodian != self.organisation {
                return Err(Problem::hidden());
            }
            salus_contract::records::relation(&*view, alias, actor.id)
        };
        actor.must_or_hidden(Operation::AnchorRecords, relation)?;
        if actor.id != PrincipalId(self.organisation.0) {
            return Err(Problem::not_allowed());
        }
        let key = self.keys.x_wing().recipient();
        let wraps = self.vault.sealing_keys(alias, actor.id, &key).await?;
        let class_wraps = wraps.into_iter().map(|wrap| ReleasedClassWrap {
            class: wrap.class,
            epoch: wrap.epoch,
            wrap: Binary(wrap.wrap),
        });
        Ok(SealingKeys {
            class_wraps: class_wraps.collect(),
        })
    }

    /// Who read what of an alias, when and why.
    pub(crate) async fn receipts(
        &self,
        actor: &Actor,
        alias: PatientAlias,
        paging: &Paging,
    ) -> Result<Page<Receipt>> {
        let (limit, after) = (paging.limit()?, paging.after()?);
        let view = self.view()?;
        get::<Patients>(&*view, &alias).ok_or_else(Problem::not_found)?;
        let relation = salus_contract::records::relation(&*view, alias, actor.id);
        actor.must_or_hidden(Operation::ListReads, relation)?;
        let rows: Vec<(u64,)> = self
            .database
            .read()
            .await?
            .all(
                "SELECT entry FROM listed_receipt WHERE alias = $1 AND entry > $2
                 ORDER BY entry LIMIT $3",
                &params![alias, signed(after), limit + 1],
            )
            .await?;
        let listed = page(rows, limit, |(entry,)| *entry, |(entry,)| Some(entry));
        let items = listed
            .items
            .into_iter()
            .map(|index| self.receipt(index))
            .collect::<Result<Vec<_>>>()?;
        Ok(Page {
            items,
            next: listed.next,
        })
    }

    fn receipt(&self, index: u64) -> Result<Receipt> {
        let entry = self.entry(index)?;
        let command = command_of(&entry)?;
        let reader = Actor::known(&*self.view()?, command.principal)?;
        let (access, records, purpose) = match command.action {
            Action::ReadRecords {
                access,
                records,
                purpose,
                ..
            } => (access, records, purpose),
            Action::UseModel { access, record, .. } => {
                let view = self.view()?;
                let grant = access.and_then(|access| get::<Accesses>(&*view, &access));
                let purpose = grant.map_or(Purpose::Operations, |grant| grant.purpose);
                (access, vec![record], purpose)
            }
            _ => return Err(Problem::internal()),
        };
        Ok(Receipt {
            entry: index,
            reader: reader.id,
            reader_role: reader.role(),
            organisation: reader.organisation(),
            records,
            purpose,
            access,
            at: entry.time,
        })
    }
}

fn sealed_view(item: SealedItem) -> SealedRecordView {
    let SealedItem {
        anchor,
        batch,
        signer,
        signed,
        entry,
        ..
    } = item;
    SealedRecordView {
        record: anchor.record,
        version: anchor.version,
        class: anchor.class,
        epoch: anchor.epoch,
        kind: anchor.kind,
        ciphertext: anchor.ciphertext,
        length: anchor.length,
        statement: anchor.statement,
        batch,
        signer,
        signed,
        entry,
    }
}
