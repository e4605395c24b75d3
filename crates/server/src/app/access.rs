//! Access to an alias: listed, looked at, decided.

use salus_contract::state::StateRead;
use salus_contract::table::{Access, AccessStatus as Stored, Accesses, Patients, Principals, get};
use salus_policy::{Operation, Relation};
use salus_proto::api::Page;
use salus_proto::api::access::{AccessSide, AccessState, AccessStatus, AccessView};
use salus_proto::api::command::CommandReceipt;
use salus_proto::command::Action;
use salus_proto::ids::AccessId;
use salus_runtime::params;
use salus_vault::Grant;

use super::command::{read_command, receipt};
use super::principal::signed;
use super::{Actor, App};
use crate::http::extract::{Paging, page};
use crate::problem::{Problem, Result};

impl App {
    /// Accesses that the actor holds, or that the actor's house decides on.
    pub(crate) async fn accesses(
        &self,
        actor: &Actor,
        side: AccessSide,
        status: Option<AccessState>,
        paging: &Paging,
    ) -> Result<Page<AccessView>> {
        let (limit, after) = (paging.limit()?, signed(paging.after()?));
        let status = status.map(AccessState::word);
        let mut tx = self.database.read().await?;
        let rows: Vec<(AccessId, u64)> = match side {
            AccessSide::Holder => {
                tx.all(
                    "SELECT access, entry FROM listed_access
                     WHERE holder = $1 AND entry > $2
                       AND (CAST($3 AS TEXT) IS NULL OR status = $3)
                     ORDER BY entry LIMIT $4",
                    &params![actor.id, after, status, limit + 1],
                )
                .await?
            }
            AccessSide::Custodian => {
                actor.must(Operation::DecideAccess, Relation::Custodian)?;
                tx.all(
                    "SELECT access, entry FROM listed_access
                     WHERE custodian = $1 AND entry > $2
                       AND (CAST($3 AS TEXT) IS NULL OR status = $3)
                     ORDER BY entry LIMIT $4",
                    &params![actor.organisation(), after, status, limit + 1],
                )
                .await?
            }
        };
        drop(tx);
        let listed = page(rows, limit, |(_, entry)| *entry, |(id, _)| Some(id));
        let mut items = Vec::with_capacity(listed.items.len());
        for id in listed.items {
            items.push(self.access_view(actor, id).await?);
        }
        Ok(Page {
            items,
            next: listed.next,
        })
    }

    /// One access, for its holder, the patient and the house that decides.
    pub(crate) async fn access(&self, actor: &Actor, id: AccessId) -> Result<AccessView> {
        let view = self.view()?;
        let access = get::<Accesses>(&*view, &id).ok_or_else(Problem::not_found)?;
        let relation = salus_contract::records::relation(&*view, access.alias, actor.id);
        let concerned = access.holder == actor.id
            || relation == Relation::Subject
            || actor.may(Operation::DecideAccess, relation);
        drop(view);
        if concerned {
            self.access_view(actor, id).await
        } else {
            Err(Problem::hidden())
        }
    }

    async fn access_view(&self, actor: &Actor, id: AccessId) -> Result<AccessView> {
        let view = self.view()?;
        let access = get::<Accesses>(&*view, &id).ok_or_else(Problem::not_found)?;
        let relation = salus_contract::records::relation(&*view, access.alias, actor.id);
        let decides = actor.may(Operation::DecideAccess, relation);
        let shown = of_access(&*view, id, access, self.now())?;
        drop(view);
        let name = match decides {
            true => self
                .vault
                .patient(shown.alias)
                .await?
                .and_then(|patient| patient.name),
            false => None,
        };
        Ok(AccessView { name, ..shown })
    }

    /// Decides a request, and on approval hands the class keys to the holder.
    pub(crate) async fn decide(
        &self,
        actor: &Actor,
        id: AccessId,
        command: &[u8],
    ) -> Result<CommandReceipt> {
        let decision = read_command(command)?;
        if decision.principal != actor.id {
            return Err(Problem::not_yours());
        }
        if !matches!(&decision.action, Action::DecideAccess { access, .. } if *access == id) {
            return Err(Problem::field("/command", "not a decision on this access"));
        }
        // Whoever may not know of the access is not told by a refusal either.
        self.access(actor, id).await?;
        let entry = self.submit(command).await?;
        self.hand_over(id).await?;
        Ok(receipt(&entry))
    }

    /// Wraps the class keys of an approved access to its holder; does nothing for any other access
    /// and when it was done before.
    pub(crate) async fn hand_over(&self, id: AccessId) -> Result<()> {
        let grant = Grant::of(&*self.view()?, id, self.organisation, self.now())?;
        if let Some(grant) = grant {
            self.vault.grant(&grant).await?;
        }
        Ok(())
    }
}

fn of_access(
    view: &dyn StateRead,
    id: AccessId,
    access: Access,
    now: salus_proto::TimestampMs,
) -> Result<AccessView> {
    let patient = get::<Patients>(view, &access.alias).ok_or_else(Problem::not_found)?;
    let holder = get::<Principals>(view, &access.holder).ok_or_else(Problem::not_found)?;
    Ok(AccessView {
        access: id,
        alias: access.alias,
        custodian: patient.custodian,
        holder: access.holder,
        holder_role: holder.role,
        name: None,
        open: access.is_open(now),
        classes: access.classes,
        records: access.records,
        purpose: access.purpose,
        until: access.until,
        requested: access.requested,
        status: match access.status {
            Stored::Requested => AccessStatus::Requested,
            Stored::Approved { by, basis, at } => AccessStatus::Approved { by, basis, at },
            Stored::Refused { by, reason, at } => AccessStatus::Refused { by, reason, at },
            Stored::Revoked { by, reason, at } => AccessStatus::Revoked { by, reason, at },
        },
    })
}
