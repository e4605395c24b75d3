//! Federated jobs as people start and look back at them: proposing one, the updates that left each
//! site, the finished model as a file.

use std::sync::Arc;

use bytes::Bytes;
use salus_contract::table::{DataSets, JobStage as Stage, Rounds, get};
use salus_policy::{Operation, Relation};
use salus_proto::api::Page;
use salus_proto::api::training::{JobRequest, JobView, UpdateView};
use salus_proto::command::{Action, Outcome};
use salus_proto::ids::JobId;
use salus_proto::role::NodeRole;
use salus_runtime::params;

use super::command::command_of;
use super::job::{data_set_view, metrics};
use super::principal::signed;
use super::{Actor, App};
use crate::http::extract::{Paging, page};
use crate::node::{LedgerView, members};
use crate::problem::{Problem, Result, refused};
use crate::training::{coordinator, job_of, name};

/// Longest purpose of a job, characters.
const PURPOSE_LIMIT: usize = 500;
/// Most data sets of one job.
const SITES_LIMIT: usize = 1000;

impl App {
    /// Draws up a plan over offered data sets and proposes it as this organisation.
    pub(crate) async fn propose_job(&self, actor: &Actor, wish: JobRequest) -> Result<JobView> {
        actor.must(Operation::StartJob, self.house(actor))?;
        let desk = self.desk()?;
        let coordinates = members(&*self.view()?)?
            .find(self.organisation)
            .is_some_and(|member| member.roles.contains(&NodeRole::Coordinator));
        if !coordinates {
            return Err(Problem::not_allowed().detail("this member does not coordinate jobs"));
        }
        if wish.purpose.trim().is_empty() || wish.purpose.chars().count() > PURPOSE_LIMIT {
            return Err(Problem::field("/purpose", "1 to 500 characters"));
        }
        if wish.data_sets.is_empty() || wish.data_sets.len() > SITES_LIMIT {
            return Err(Problem::field("/data_sets", "choose at least one data set"));
        }
        let sets = {
            let view = self.view()?;
            let sets = wish.data_sets.iter().map(|data_set| {
                let offered = get::<DataSets>(&*view, data_set);
                let missing = || Problem::field("/data_sets", "no hospital offers one of these");
                offered.map(data_set_view).ok_or_else(missing)
            });
            sets.collect::<Result<Vec<_>>>()?
        };
        let draft = desk.parts.trainer.draft(wish, sets).await?;
        let id = draft.plan.job;
        // Stored first: once proposed, rounds may begin at any moment.
        let file = name::initial(id);
        desk.shelf().put(&file, draft.model).await?;
        let plan = Box::new(draft.plan);
        let entry = self
            .act_as_organisation(Action::ProposeJob { plan })
            .await?;
        if let Outcome::Refused(refusal) = entry.outcome {
            desk.shelf().remove(&file).await?;
            return Err(refused(refusal, entry.index));
        }
        desk.moved.send_modify(|count| *count += 1);
        self.job_view(&*self.view()?, id)
    }

    /// What left the sites of a job, in the order of the ledger. Pages count the job's entries, so one
    /// may hold fewer updates than its limit, or none.
    pub(crate) async fn updates(
        &self,
        actor: &Actor,
        id: JobId,
        paging: &Paging,
    ) -> Result<Page<UpdateView>> {
        actor.must(Operation::SeeJobs, Relation::Stranger)?;
        let (limit, after) = (paging.limit()?, paging.after()?);
        job_of(&*self.view()?, id)?;
        let rows: Vec<(u64,)> = self
            .database
            .read()
            .await?
            .all(
                "SELECT entry FROM event WHERE kind = 'job' AND subject = $1 AND entry > $2
                 ORDER BY entry LIMIT $3",
                &params![id.to_string(), signed(after), limit + 1],
            )
            .await?;
        let view = self.view()?;
        let listed = page(rows, limit, |(entry,)| *entry, |(entry,)| Some(entry));
        let items = listed
            .items
            .into_iter()
            .filter_map(|entry| self.update_view(&*view, entry).transpose())
            .collect::<Result<Vec<_>>>()?;
        Ok(Page {
            items,
            next: listed.next,
        })
    }

    /// The update of an entry, if it is one.
    fn update_view(&self, view: &dyn LedgerView, index: u64) -> Result<Option<UpdateView>> {
        let entry = self.entry(index)?;
        let Action::SendUpdate { update } = command_of(&entry)?.action else {
            return Ok(None);
        };
        let (job, _) = job_of(view, update.job)?;
        let round = get::<Rounds>(view, &(update.job, update.round));
        let closed = round.and_then(|round| round.closed);
        let counted = closed.map(|closed| closed.survivors.iter().any(|s| s.site == update.site));
        let members = members(view)?;
        let member = members.find(update.site);
        Ok(Some(UpdateView {
            entry: index,
            at: entry.time,
            round: update.round,
            site: update.site,
            name: member.map_or_else(|| update.site.to_string(), |m| m.name.clone()),
            base: update.base,
            payload: update.payload,
            payload_bytes: update.payload_bytes,
            samples: update.samples,
            metrics: metrics(&job, &update.metrics),
            counted,
        }))
    }

    /// The finished model as a safetensors file, at the coordinator.
    pub(crate) async fn export(&self, actor: &Actor, id: JobId) -> Result<Bytes> {
        actor.must(Operation::FetchModel, Relation::Stranger)?;
        let desk = self.desk()?;
        let (job, state) = {
            let view = self.view()?;
            let (job, row) = job_of(&*view, id)?;
            self.must_coordinate(&row)?;
            if row.stage != Stage::Done {
                return Err(Problem::conflict("wrong-state", "The job is not done"));
            }
            let state = coordinator::state_before(desk, &*view, &job, row.round).await?;
            (job, state.ok_or_else(Problem::not_found)?)
        };
        let model = state.model().clone();
        let trainer = &desk.parts.trainer;
        Ok(trainer.export(Arc::new(job), model).await?)
    }
}
