//! The projection: reads the log in order and keeps the listings, the events and the index of
//! commands in SQL.
//!
//! Each step takes a run of entries and moves the position in the same transaction, so a crash
//! repeats or loses nothing. Details are never copied: a listing says which things there are and in
//! what order, and the ledger's state says what they are. Everything can be made again from the log.

use std::sync::Arc;

use salus_contract::state::StateRead;
use salus_contract::table::{
    Accesses, Consultations, Jobs, Patients, Plans, Principals, Proposals, get,
};
use salus_crypto::digest::sha256;
use salus_proto::api::event::EventKind;
use salus_proto::command::{Action, Command, Entry, Outcome};
use salus_proto::ids::{JobId, OrganisationId, PatientAlias, PrincipalId};
use salus_proto::member::{Genesis, MembershipChange};
use salus_proto::role::{Decision, Role};
use salus_runtime::table::Transaction;
use salus_runtime::{params, transact};

use crate::app::App;
use crate::app::command::command_of;
use crate::node::decode_entry;
use crate::problem::Problem;

/// Name of the projection's position.
const READER: &str = "projection";
/// Most entries of one transaction.
const STEP: usize = 256;
/// Ordinals of principals that came with the genesis file lie below, those of registered ones are
/// this plus their entry's index.
const GENESIS_ORDINALS: u64 = 1 << 32;

/// A role as tables have it.
pub(crate) fn role_word(role: Role) -> &'static str {
    match role {
        Role::Organisation => "organisation",
        Role::Patient => "patient",
        Role::Doctor => "doctor",
        Role::Staff => "staff",
        Role::Operator => "operator",
        Role::DataUser => "data-user",
        Role::Auditor => "auditor",
    }
}

/// Follows the log until the server stops.
pub(crate) async fn follow(app: Arc<App>) {
    let mut stopping = app.stopping.subscribe();
    loop {
        let next = match catch_up(&app).await {
            Ok(next) => next,
            Err(problem) => {
                tracing::error!(code = problem.code(), "the projection is held up");
                let pause = app.clock.sleep(core::time::Duration::from_secs(1));
                tokio::select! {
                    () = pause => continue,
                    _ = stopping.wait_for(|stop| *stop) => return,
                }
            }
        };
        tokio::select! {
            grown = app.ledger.executed(next + 1) => {
                if let Err(error) = grown {
                    tracing::error!(%error, "the projection ends");
                    return;
                }
            }
            _ = stopping.wait_for(|stop| *stop) => return,
        }
    }
}

/// Lists what the genesis file names; does nothing when that was done before.
pub(crate) async fn begin(app: &App, genesis: &Genesis) -> salus_runtime::Result<u64> {
    transact!(app.database, "begin projection", |tx| {
        let known: Option<(u64,)> = tx
            .optional(
                "SELECT next_entry FROM log_position WHERE reader = $1",
                &params![READER],
            )
            .await?;
        if let Some((next,)) = known {
            return Ok(next);
        }
        let members = genesis
            .members
            .iter()
            .map(|m| (m.principal(), Role::Organisation, m.organisation));
        let founders = genesis
            .founders
            .iter()
            .map(|f| (f.principal, f.role, f.organisation));
        for (ordinal, (id, role, organisation)) in (0_u64..).zip(members.chain(founders)) {
            list_principal(tx, id, ordinal, role, organisation, "authorised").await?;
        }
        tx.execute(
            "INSERT INTO log_position (reader, next_entry) VALUES ($1, 0)",
            &params![READER],
        )
        .await?;
        Ok(0)
    })
}

/// Takes in everything that the log has; returns the index of the entry that comes next.
async fn catch_up(app: &App) -> Result<u64, Problem> {
    let mut next = *app.projected.borrow();
    loop {
        let view = app.view()?;
        let rows = view.entries(next, STEP)?;
        if rows.is_empty() {
            return Ok(next);
        }
        let mut steps = Vec::with_capacity(rows.len());
        for (_, bytes) in rows {
            let entry = decode_entry(&bytes)?;
            let command = command_of(&entry)?;
            let event = event_of(&*view, &entry, &command);
            let context = Context::of(&*view, &command);
            steps.push((entry, command, context, event));
        }
        let reached = next + steps.len() as u64;
        transact!(app.database, "project entries", |tx| {
            let moved = tx
                .execute(
                    "UPDATE log_position SET next_entry = $2
                         WHERE reader = $1 AND next_entry = $3",
                    &params![READER, reached, next],
                )
                .await?;
            if moved == 0 {
                // Another process of this node was faster.
                return Ok(());
            }
            for (entry, command, context, event) in &steps {
                project(tx, context, entry, command).await?;
                if let Some(event) = event {
                    announce(tx, entry.index, event).await?;
                }
            }
            Ok::<(), salus_runtime::Error>(())
        })?;
        next = reached;
        app.projected.send_replace(next);
    }
}

/// What the state knows about the things that a command names. The view may be ahead of the entry,
/// which only means that something is listed a few entries early.
struct Context {
    /// Who keeps the alias that the command names.
    custodian: Option<OrganisationId>,
    /// The change of membership that was carried out.
    seated: Option<MembershipChange>,
}

impl Context {
    fn of(view: &dyn StateRead, command: &Command) -> Self {
        let alias = match &command.action {
            Action::OpenPatient { alias }
            | Action::RequestAccess { alias, .. }
            | Action::OpenConsultation { alias, .. } => Some(alias),
            _ => None,
        };
        let proposal = match &command.action {
            Action::ProposeMembership { proposal, .. } | Action::ApproveMembership { proposal } => {
                get::<Proposals>(view, proposal)
            }
            _ => None,
        };
        Self {
            custodian: alias
                .and_then(|alias| get::<Patients>(view, alias))
                .map(|p| p.custodian),
            seated: proposal
                .filter(|p| p.carried_out.is_some())
                .map(|p| p.change),
        }
    }
}

async fn project(
    tx: &mut Transaction,
    context: &Context,
    entry: &Entry,
    command: &Command,
) -> salus_runtime::Result<()> {
    let index = entry.index;
    tx.execute(
        "INSERT INTO listed_command (digest, entry) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        &params![sha256(&entry.signed_command), index],
    )
    .await?;
    if entry.outcome != Outcome::Accepted {
        return Ok(());
    }
    let custodian = context.custodian;
    match &command.action {
        Action::Register {
            role, organisation, ..
        } => {
            let ordinal = GENESIS_ORDINALS + index;
            let id = command.principal;
            list_principal(tx, id, ordinal, *role, *organisation, "pending").await
        }
        Action::DecidePrincipal {
            principal,
            decision,
            ..
        } => {
            let standing = match decision {
                Decision::Approve => "authorised",
                Decision::Refuse => "refused",
            };
            restand(tx, *principal, standing).await
        }
        Action::RevokePrincipal { principal, .. } => restand(tx, *principal, "revoked").await,
        Action::ProposeMembership { proposal, .. } => {
            tx.execute(
                "INSERT INTO listed_proposal (proposal, entry) VALUES ($1, $2)",
                &params![proposal, index],
            )
            .await?;
            reseat(tx, index, context.seated.as_ref()).await
        }
        Action::ApproveMembership { .. } => reseat(tx, index, context.seated.as_ref()).await,
        Action::OpenPatient { alias } => tx
            .execute(
                "INSERT INTO listed_patient (alias, entry, custodian) VALUES ($1, $2, $3)",
                &params![alias, index, custodian],
            )
            .await
            .map(drop),
        Action::LinkPatient { alias, patient } => tx
            .execute(
                "UPDATE listed_patient SET patient = $2 WHERE alias = $1",
                &params![alias, patient],
            )
            .await
            .map(drop),
        Action::AnchorBatch { batch, alias, .. } => tx
            .execute(
                "INSERT INTO listed_batch (batch, entry, alias) VALUES ($1, $2, $3)",
                &params![batch, index, alias],
            )
            .await
            .map(drop),
        Action::RequestAccess { access, alias, .. } => tx
            .execute(
                "INSERT INTO listed_access (access, entry, alias, custodian, holder, status)
                 VALUES ($1, $2, $3, $4, $5, 'requested')",
                &params![access, index, alias, custodian, command.principal],
            )
            .await
            .map(drop),
        Action::DecideAccess {
            access, decision, ..
        } => {
            let status = match decision {
                Decision::Approve => "approved",
                Decision::Refuse => "refused",
            };
            let sql = "UPDATE listed_access SET status = $2 WHERE access = $1";
            tx.execute(sql, &params![access, status]).await.map(drop)
        }
        Action::RevokeAccess { access, .. } => {
            let sql = "UPDATE listed_access SET status = 'revoked' WHERE access = $1";
            tx.execute(sql, &params![access]).await.map(drop)
        }
        Action::OpenConsultation {
            consultation,
            access,
            alias,
            doctor,
            ..
        } => {
            tx.execute(
                "INSERT INTO listed_access (access, entry, alias, custodian, holder, status)
                 VALUES ($1, $2, $3, $4, $5, 'approved')",
                &params![access, index, alias, custodian, doctor],
            )
            .await?;
            tx.execute(
                "INSERT INTO listed_consultation
                   (consultation, entry, patient, doctor, prescriptions)
                 VALUES ($1, $2, $3, $4, 0)",
                &params![consultation, index, command.principal, doctor],
            )
            .await
            .map(drop)
        }
        Action::AnswerConsultation {
            consultation,
            prescriptions,
            ..
        } => tx
            .execute(
                "UPDATE listed_consultation SET prescriptions = $2 WHERE consultation = $1",
                &params![consultation, prescriptions],
            )
            .await
            .map(drop),
        Action::ReadRecords { alias, .. } => tx
            .execute(
                "INSERT INTO listed_receipt (entry, alias) VALUES ($1, $2)",
                &params![index, alias],
            )
            .await
            .map(drop),
        Action::OfferData { data } => tx
            .execute(
                "INSERT INTO listed_data_set (data_set, entry) VALUES ($1, $2)
                 ON CONFLICT (data_set) DO NOTHING",
                &params![data.data_set, index],
            )
            .await
            .map(drop),
        Action::ProposeJob { plan } => tx
            .execute(
                "INSERT INTO listed_job (job, entry) VALUES ($1, $2)",
                &params![plan.job, index],
            )
            .await
            .map(drop),
        Action::UseModel { job, alias, .. } => {
            tx.execute(
                "INSERT INTO listed_use (entry, job) VALUES ($1, $2)",
                &params![index, job],
            )
            .await?;
            tx.execute(
                "INSERT INTO listed_receipt (entry, alias) VALUES ($1, $2)",
                &params![index, alias],
            )
            .await
            .map(drop)
        }
        Action::RotateKeys { .. }
        | Action::ReportIncident { .. }
        | Action::DecideJob { .. }
        | Action::OpenRound { .. }
        | Action::SendUpdate { .. }
        | Action::CloseRound { .. }
        | Action::PublishRound { .. } => Ok(()),
    }
}

async fn list_principal(
    tx: &mut Transaction,
    id: PrincipalId,
    ordinal: u64,
    role: Role,
    organisation: OrganisationId,
    standing: &str,
) -> salus_runtime::Result<()> {
    tx.execute(
        "INSERT INTO listed_principal (principal, ordinal, role, organisation, standing)
         VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (principal) DO UPDATE SET standing = excluded.standing",
        &params![id, ordinal, role_word(role), organisation, standing],
    )
    .await
    .map(drop)
}

async fn restand(
    tx: &mut Transaction,
    id: PrincipalId,
    standing: &str,
) -> salus_runtime::Result<()> {
    let sql = "UPDATE listed_principal SET standing = $2 WHERE principal = $1";
    tx.execute(sql, &params![id, standing]).await.map(drop)
}

/// Follows a change of membership that was carried out.
async fn reseat(
    tx: &mut Transaction,
    index: u64,
    change: Option<&MembershipChange>,
) -> salus_runtime::Result<()> {
    let Some(change) = change else { return Ok(()) };
    match change {
        MembershipChange::Join(member) | MembershipChange::Replace(member) => {
            let (id, role) = (member.principal(), Role::Organisation);
            let ordinal = GENESIS_ORDINALS + index;
            list_principal(tx, id, ordinal, role, member.organisation, "authorised").await
        }
        MembershipChange::Leave(organisation) | MembershipChange::Revoke(organisation) => {
            restand(tx, PrincipalId(organisation.0), "revoked").await
        }
    }
}

/// Something that changed, and whom it concerns.
struct Change {
    kind: EventKind,
    subject: String,
    custodian: Option<OrganisationId>,
    audience: Vec<PrincipalId>,
}

/// The event that an accepted entry causes.
fn event_of(view: &dyn StateRead, entry: &Entry, command: &Command) -> Option<Change> {
    if entry.outcome != Outcome::Accepted {
        return None;
    }
    let author = command.principal;
    let of_alias = |kind, subject: String, alias: &PatientAlias, others: &[PrincipalId]| {
        let patient = get::<Patients>(view, alias);
        let mut audience = vec![author];
        audience.extend(patient.as_ref().and_then(|p| p.patient));
        audience.extend_from_slice(others);
        Some(Change {
            kind,
            subject,
            custodian: patient.map(|p| p.custodian),
            audience,
        })
    };
    let of_principal = |id: PrincipalId| {
        let custodian = get::<Principals>(view, &id).map(|p| p.organisation);
        let audience = vec![author, id];
        Some(Change {
            kind: EventKind::Principal,
            subject: id.to_string(),
            custodian,
            audience,
        })
    };
    let everybody_who_watches = |kind, subject: String| {
        Some(Change {
            kind,
            subject,
            custodian: None,
            audience: vec![author],
        })
    };
    match &command.action {
        Action::Register { .. } | Action::RotateKeys { .. } => of_principal(author),
        Action::DecidePrincipal { principal, .. } | Action::RevokePrincipal { principal, .. } => {
            of_principal(*principal)
        }
        Action::ProposeMembership { proposal, .. } | Action::ApproveMembership { proposal } => {
            everybody_who_watches(EventKind::Membership, proposal.to_string())
        }
        Action::OpenPatient { alias } | Action::LinkPatient { alias, .. } => {
            of_alias(EventKind::Patient, alias.to_string(), alias, &[])
        }
        Action::AnchorBatch { batch, alias, .. } => {
            of_alias(EventKind::Batch, batch.to_string(), alias, &[])
        }
        Action::RequestAccess { access, alias, .. } => {
            of_alias(EventKind::Access, access.to_string(), alias, &[])
        }
        Action::DecideAccess { access, .. } | Action::RevokeAccess { access, .. } => {
            let row = get::<Accesses>(view, access)?;
            of_alias(
                EventKind::Access,
                access.to_string(),
                &row.alias,
                &[row.holder],
            )
        }
        Action::OpenConsultation {
            consultation,
            alias,
            doctor,
            ..
        } => of_alias(
            EventKind::Consultation,
            consultation.to_string(),
            alias,
            &[*doctor],
        ),
        Action::AnswerConsultation { consultation, .. } => {
            let row = get::<Consultations>(view, consultation)?;
            let people = [row.patient, row.doctor];
            of_alias(
                EventKind::Consultation,
                consultation.to_string(),
                &row.alias,
                &people,
            )
        }
        Action::ReadRecords { alias, .. } => {
            of_alias(EventKind::Receipt, entry.index.to_string(), alias, &[])
        }
        Action::ReportIncident { .. } => {
            everybody_who_watches(EventKind::Incident, entry.index.to_string())
        }
        Action::UseModel { alias, .. } => {
            of_alias(EventKind::Receipt, entry.index.to_string(), alias, &[])
        }
        Action::OfferData { data } => {
            everybody_who_watches(EventKind::Job, data.data_set.to_string())
        }
        Action::ProposeJob { plan } => of_job(view, plan.job, author),
        Action::DecideJob { job, .. } => of_job(view, *job, author),
        Action::OpenRound { opened } => of_job(view, opened.job, author),
        Action::SendUpdate { update } => of_job(view, update.job, author),
        Action::CloseRound { closed } => of_job(view, closed.job, author),
        Action::PublishRound { result } => of_job(view, result.job, author),
    }
}

/// A job concerns its coordinator and every site on its roster.
fn of_job(view: &dyn StateRead, job: JobId, author: PrincipalId) -> Option<Change> {
    let plan = get::<Plans>(view, &job)?;
    let coordinator = get::<Jobs>(view, &job)?.coordinator;
    let mut audience: Vec<PrincipalId> = vec![author, PrincipalId(coordinator.0)];
    audience.extend(plan.roster.iter().map(|entry| PrincipalId(entry.site.0)));
    audience.sort_unstable();
    audience.dedup();
    Some(Change {
        kind: EventKind::Job,
        subject: job.to_string(),
        custodian: None,
        audience,
    })
}

async fn announce(tx: &mut Transaction, entry: u64, change: &Change) -> salus_runtime::Result<()> {
    tx.execute(
        "INSERT INTO event (entry, kind, subject, custodian) VALUES ($1, $2, $3, $4)",
        &params![entry, change.kind.word(), change.subject, change.custodian],
    )
    .await?;
    let audience: Vec<_> = change
        .audience
        .iter()
        .map(|id| params![id, entry])
        .collect();
    let insert = "INSERT INTO event_audience (principal, entry)";
    tx.insert_many(insert, audience, "ON CONFLICT DO NOTHING")
        .await?;
    Ok(())
}
