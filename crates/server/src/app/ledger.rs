//! The ledger as anybody may check it.

use salus_contract::table::{Proposals, get};
use salus_ledger::tile::{Content, Tile, write_bundle};
use salus_policy::{Operation, Relation};
use salus_proto::api::health::{Health, HealthStatus};
use salus_proto::api::ledger::{
    CertifiedStatus, Consistency, EntryDetail, EntryView, LedgerStatus, MemberDetail, MemberStatus,
    ProposalView, Stalled,
};
use salus_proto::api::{Binary, Page};
use salus_proto::command::Entry;
use salus_proto::ids::ProposalId;
use salus_proto::member::{Genesis, quorum};
use salus_runtime::params;

use super::command::command_of;
use super::principal::signed;
use super::{Actor, App};
use crate::http::extract::{Paging, page};
use crate::node::{consortium, decode_entry, members};
use crate::problem::{Problem, Result};

impl App {
    /// Whether the node answers and whether writes can become final.
    pub(crate) fn health(&self) -> Health {
        let health = self.ledger.health();
        let members = self.view().ok().and_then(|view| members(&*view).ok());
        let seated = members.is_none_or(|members| members.find(self.organisation).is_some());
        Health {
            status: match health.failed || !health.silent.is_empty() {
                _ if !seated => HealthStatus::NotAMember,
                true => HealthStatus::Stalled,
                false => HealthStatus::Ok,
            },
            version: env!("CARGO_PKG_VERSION").into(),
        }
    }

    /// Where this node's ledger stands.
    pub(crate) fn ledger_status(&self) -> Result<LedgerStatus> {
        let (view, health) = (self.view()?, self.ledger.health());
        let certified = self
            .ledger
            .certified()
            .map(|certified| certified.checkpoint);
        let members = members(&*view)?;
        let heard = |organisation| health.peers.iter().find(|p| p.organisation == organisation);
        let stalled = (health.failed || !health.silent.is_empty()).then(|| Stalled {
            // The best this node can say: when it last heard from the latest of the silent ones.
            since: health
                .silent
                .iter()
                .filter_map(|id| heard(*id)?.heard)
                .max()
                .unwrap_or_default(),
            silent: health.silent.clone(),
        });
        Ok(LedgerStatus {
            consortium: consortium(&*view)?,
            organisation: self.organisation,
            origin: self.origin.clone(),
            height: health.height,
            size: view.size(),
            certified: certified.map(|c| CertifiedStatus {
                size: c.size,
                root: c.root,
                time: c.time,
            }),
            members: members
                .members
                .iter()
                .map(|member| MemberStatus {
                    organisation: member.organisation,
                    name: member.name.clone(),
                    roles: member.roles.clone(),
                    api: member.api.clone(),
                    last_heard: match member.organisation == self.organisation {
                        true => Some(self.now()),
                        false => heard(member.organisation).and_then(|p| p.heard),
                    },
                    height: match member.organisation == self.organisation {
                        true => Some(health.height),
                        false => heard(member.organisation).map(|p| p.height),
                    },
                })
                .collect(),
            stalled,
        })
    }

    /// The latest certified checkpoint (C2SP signed note).
    pub(crate) fn checkpoint(&self) -> Result<String> {
        let certified = self.ledger.certified();
        let missing = || Problem::unavailable("no-checkpoint", "No checkpoint is certified yet");
        Ok(certified.ok_or_else(missing)?.note)
    }

    /// The members with their keys.
    pub(crate) fn members(&self) -> Result<Vec<MemberDetail>> {
        let members = members(&*self.view()?)?;
        Ok(members
            .members
            .into_iter()
            .map(|member| MemberDetail {
                organisation: member.organisation,
                name: member.name,
                roles: member.roles,
                api: member.api,
                engine_address: member.engine_address,
                keys: member.keys.into(),
            })
            .collect())
    }

    /// Decoded entries, ascending.
    pub(crate) fn entries(&self, actor: &Actor, paging: &Paging) -> Result<Page<EntryView>> {
        actor.must(Operation::ReadLedger, Relation::Stranger)?;
        let limit = paging.limit()?;
        let from = paging.after()?.map_or(0, |after| after + 1);
        let wanted = usize::try_from(limit)
            .unwrap_or(usize::MAX)
            .saturating_add(1);
        let rows = self.view()?.entries(from, wanted)?;
        let entries: Vec<Entry> = rows
            .iter()
            .map(|(_, bytes)| decode_entry(bytes))
            .collect::<Result<_, _>>()?;
        let mut views = entries.iter().map(entry_view).collect::<Result<Vec<_>>>()?;
        let more = views.len() > usize::try_from(limit).unwrap_or(usize::MAX);
        views.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        let next = views
            .last()
            .filter(|_| more)
            .map(|view| view.index.to_string());
        Ok(Page { items: views, next })
    }

    /// One entry with its bytes.
    pub(crate) fn entry_detail(&self, actor: &Actor, index: u64) -> Result<EntryDetail> {
        actor.must(Operation::ReadLedger, Relation::Stranger)?;
        let entry = self.entry(index)?;
        let bytes = salus_contract::apply::entry_bytes(&entry);
        Ok(EntryDetail {
            entry: entry_view(&entry)?,
            bytes: Binary(bytes),
        })
    }

    /// A C2SP tile of hashes, by its path without `tile/`.
    pub(crate) fn hash_tile(&self, path: &str) -> Result<Vec<u8>> {
        let tile = self.tile(path)?;
        let Content::Hashes(level) = tile.content() else {
            return Err(Problem::not_found());
        };
        let hashes = self
            .view()?
            .tile(level, tile.index())?
            .ok_or_else(Problem::not_found)?;
        let wanted = usize::from(tile.width()) * 32;
        hashes
            .get(..wanted)
            .map(<[u8]>::to_vec)
            .ok_or_else(Problem::not_found)
    }

    /// A C2SP bundle of entries, by its path without `tile/`.
    pub(crate) fn entry_bundle(&self, actor: &Actor, path: &str) -> Result<Vec<u8>> {
        actor.must(Operation::ReadLedger, Relation::Stranger)?;
        let tile = self.tile(path)?;
        if tile.content() != Content::Entries {
            return Err(Problem::not_found());
        }
        let width = usize::from(tile.width());
        let entries = self.view()?.entries(tile.index() * 256, width)?;
        if entries.len() != width {
            return Err(Problem::not_found());
        }
        write_bundle(entries.iter().map(|(_, bytes)| bytes.as_slice()))
            .map_err(|_| Problem::internal())
    }

    fn tile(&self, path: &str) -> Result<Tile> {
        let tile = Tile::parse(&format!("tile/{path}")).map_err(|_| Problem::not_found())?;
        if tile.exists_at(self.view()?.size()) {
            Ok(tile)
        } else {
            Err(Problem::not_found())
        }
    }

    /// Proof that the log of `from` entries is a prefix of the one of `to`.
    pub(crate) fn consistency(&self, from: u64, to: u64) -> Result<Consistency> {
        let view = self.view()?;
        if from > to || to > view.size() {
            return Err(Problem::field(
                "to",
                "not before `from` and not beyond the log",
            ));
        }
        let proof = view.consistency(from, to)?;
        Ok(Consistency {
            first: from,
            second: to,
            first_root: view.root(from)?,
            second_root: view.root(to)?,
            path: proof.path,
        })
    }

    /// Proposed changes of membership, the latest last.
    pub(crate) async fn proposals(
        &self,
        actor: &Actor,
        paging: &Paging,
    ) -> Result<Page<ProposalView>> {
        actor.must(Operation::ReadLedger, Relation::Stranger)?;
        let (limit, after) = (paging.limit()?, paging.after()?);
        let rows: Vec<(ProposalId, u64)> = {
            let tx = &mut self.database.read().await?;
            let sql = "SELECT proposal, entry FROM listed_proposal WHERE entry > $1
                           ORDER BY entry LIMIT $2";
            tx.all(sql, &params![signed(after), limit + 1]).await
        }?;
        let view = self.view()?;
        let members = members(&*view)?;
        let needed = u32::try_from(quorum(members.members.len())).unwrap_or(u32::MAX);
        Ok(page(
            rows,
            limit,
            |(_, entry)| *entry,
            |(id, _)| {
                let row = get::<Proposals>(&*view, &id)?;
                let open = row.carried_out.is_none() && row.version == members.version;
                Some(ProposalView {
                    proposal: id,
                    change: row.change,
                    approvals: row.approvals,
                    needed,
                    carried_out: row.carried_out,
                    open,
                })
            },
        ))
    }
}

pub(crate) fn entry_view(entry: &Entry) -> Result<EntryView> {
    let command = command_of(entry)?;
    Ok(EntryView {
        index: entry.index,
        height: entry.height,
        time: entry.time,
        principal: command.principal,
        action: command.action,
        outcome: entry.outcome,
    })
}

/// Reads a genesis file.
pub(crate) fn genesis(bytes: &[u8]) -> Result<Genesis, salus_proto::encode::Malformed> {
    salus_proto::encode::from_bytes(bytes, salus_proto::member::GENESIS_LIMIT, "a genesis file")
}
