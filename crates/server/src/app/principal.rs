//! Who is registered, who waits for a decision, and which doctors there are.

use std::collections::BTreeMap;

use salus_contract::state::StateRead;
use salus_contract::table::{Keys, Principals, Standing as Stored, get};
use salus_policy::{Operation, Relation};
use salus_proto::api::Page;
use salus_proto::api::account::Profile;
use salus_proto::api::principal::{
    Doctor, PrincipalDetail, PrincipalSummary, Standing, StandingStatus,
};
use salus_proto::ids::PrincipalId;
use salus_proto::role::Role;
use salus_runtime::params;

use super::me::profile;
use super::{Actor, App};
use crate::http::extract::{Paging, page};
use crate::problem::{Problem, Result};
use crate::projection::role_word;

/// A principal's standing as the API says it.
pub(crate) fn standing(stored: Stored) -> Standing {
    match stored {
        Stored::Pending => Standing::Pending,
        Stored::Authorised { by, at } => Standing::Authorised { by, at },
        Stored::Refused { by, at, reason } => Standing::Refused { by, at, reason },
        Stored::Revoked { by, at, reason } => Standing::Revoked { by, at, reason },
    }
}

impl App {
    /// Principals in the order of their registration, for those who decide on them.
    pub(crate) async fn principals(
        &self,
        actor: &Actor,
        wanted: Option<StandingStatus>,
        role: Option<Role>,
        paging: &Paging,
    ) -> Result<Page<PrincipalSummary>> {
        // An organisation and its operators decide; whoever watches sees the list without profiles.
        let decides = actor.may(Operation::AuthoriseProfiles, Relation::Custodian);
        if !decides && !actor.may(Operation::WatchIntrusions, Relation::Stranger) {
            return Err(Problem::not_allowed());
        }
        let (limit, after) = (paging.limit()?, paging.after()?);
        let wanted = wanted.map(StandingStatus::word);
        let role = role.map(role_word);
        let rows: Vec<(PrincipalId, u64)> = {
            let tx = &mut self.database.read().await?;
            tx.all(
                "SELECT principal, ordinal FROM listed_principal
                     WHERE ordinal > $1 AND ($2 IS NULL OR standing = $2)
                       AND ($3 IS NULL OR role = $3)
                     ORDER BY ordinal LIMIT $4",
                &params![signed(after), wanted, role, limit + 1],
            )
            .await
        }?;
        let profiles = match decides {
            true => self.profiles(rows.iter().map(|(id, _)| *id)).await?,
            false => BTreeMap::new(),
        };
        let view = self.view()?;
        Ok(page(
            rows,
            limit,
            |(_, ordinal)| *ordinal,
            |(id, _)| {
                let row = get::<Principals>(&*view, &id)?;
                Some(PrincipalSummary {
                    principal: id,
                    role: row.role,
                    organisation: row.organisation,
                    registered: row.registered,
                    standing: standing(row.standing),
                    profile: profiles.get(&id).cloned(),
                })
            },
        ))
    }

    /// The profiles that this node holds of these principals.
    async fn profiles(
        &self,
        ids: impl Iterator<Item = PrincipalId>,
    ) -> Result<BTreeMap<PrincipalId, Profile>> {
        let ids: Vec<PrincipalId> = ids.collect();
        {
            let tx = &mut self.database.read().await?;
            let mut profiles = BTreeMap::new();
            for id in ids {
                let sql = "SELECT body FROM profile WHERE principal = $1";
                let found: Option<(Vec<u8>,)> = tx.optional(sql, &params![id]).await?;
                if let Some((body,)) = found {
                    profiles.insert(id, profile(&body)?);
                }
            }
            Ok(profiles)
        }
    }

    /// One principal with its keys, for anybody who may act: to seal to it, or to check what it signed
    /// as `entry`.
    pub(crate) async fn principal(
        &self,
        id: PrincipalId,
        entry: Option<u64>,
    ) -> Result<PrincipalDetail> {
        let earlier = match entry {
            Some(entry) => Some(self.signing_keys(id, entry).await?),
            None => None,
        };
        let view = self.view()?;
        let row = get::<Principals>(&*view, &id).ok_or_else(Problem::not_found)?;
        let current = || get::<Keys>(&*view, &id).ok_or_else(Problem::not_found);
        let keys = earlier.map_or_else(current, Ok)?;
        Ok(PrincipalDetail {
            principal: id,
            role: row.role,
            organisation: row.organisation,
            standing: standing(row.standing),
            keys: keys.into(),
        })
    }

    /// Authorised doctors whose name or hospital contains `query` and whose specialty contains
    /// `specialty`, in the order of their registration.
    pub(crate) async fn doctors(
        &self,
        actor: &Actor,
        query: Option<&str>,
        specialty: Option<&str>,
        paging: &Paging,
    ) -> Result<Page<Doctor>> {
        actor.must(Operation::ListDoctors, Relation::Stranger)?;
        let (limit, after) = (paging.limit()?, paging.after()?);
        let wanted = usize::try_from(limit)
            .unwrap_or(usize::MAX)
            .saturating_add(1);
        let view = self.view()?;
        let (mut found, mut after) = (Vec::new(), signed(after));
        // Names are within the profiles, so matching happens here, a bounded piece at a time.
        while found.len() < wanted {
            let rows = self.doctor_rows(after).await?;
            let Some((_, last, _)) = rows.last() else {
                break;
            };
            after = i64::try_from(*last).unwrap_or(i64::MAX);
            for (id, ordinal, body) in rows {
                let profile = body.as_deref().map(profile).transpose()?;
                if matches(profile.as_ref(), query, specialty) {
                    found.push((ordinal, id, profile));
                }
            }
        }
        found.truncate(wanted);
        Ok(page(
            found,
            limit,
            |(ordinal, ..)| *ordinal,
            |(_, id, profile)| doctor(&*view, id, profile),
        ))
    }

    async fn doctor_rows(&self, after: i64) -> Result<Vec<(PrincipalId, u64, Option<Vec<u8>>)>> {
        let rows = {
            let tx = &mut self.database.read().await?;
            tx.all(
                "SELECT l.principal, l.ordinal, p.body FROM listed_principal l
                     LEFT JOIN profile p ON p.principal = l.principal
                     WHERE l.ordinal > $1 AND l.role = 'doctor' AND l.standing = 'authorised'
                     ORDER BY l.ordinal LIMIT 500",
                &params![after],
            )
            .await
        };
        Ok(rows?)
    }
}

/// A cursor as the tables have it: -1 comes before everything.
pub(crate) fn signed(after: Option<u64>) -> i64 {
    after.map_or(-1, |after| i64::try_from(after).unwrap_or(i64::MAX))
}

fn matches(profile: Option<&Profile>, query: Option<&str>, specialty: Option<&str>) -> bool {
    let contains = |field: Option<&String>, text: &str| {
        field.is_some_and(|field| field.to_lowercase().contains(&text.to_lowercase()))
    };
    let named = query.is_none_or(|query| {
        profile
            .is_some_and(|p| contains(Some(&p.name), query) || contains(p.hospital.as_ref(), query))
    });
    let skilled = specialty
        .is_none_or(|wanted| profile.is_some_and(|p| contains(p.specialty.as_ref(), wanted)));
    named && skilled
}

fn doctor(view: &dyn StateRead, id: PrincipalId, profile: Option<Profile>) -> Option<Doctor> {
    let organisation = get::<Principals>(view, &id)?.organisation;
    let (name, specialty, hospital) = match profile {
        Some(profile) => (Some(profile.name), profile.specialty, profile.hospital),
        None => (None, None, None),
    };
    Some(Doctor {
        principal: id,
        name,
        specialty,
        hospital,
        organisation,
    })
}
