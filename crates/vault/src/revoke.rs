//! The end of an access: its holder's wraps go, and the classes it covered get a new key.
//!
//! What the holder has read cannot be taken back. What they have not read is under a new class key
//! afterwards: record keys are wrapped again, the sealed bytes stay, the old class key is destroyed.

use std::collections::BTreeMap;

use salus_contract::state::StateRead;
use salus_contract::table::{AccessStatus, Accesses, Patients, get};
use salus_crypto::Secret;
use salus_crypto::keys::random_secret;
use salus_envelope::open::{key_wrap_context, record_key};
use salus_envelope::share::{wrap_class_key, wrap_record_key_under};
use salus_proto::ids::{AccessId, OrganisationId, PatientAlias};
use salus_proto::record::{ClassWrap, ClassWrapContext, KeyClass};
use salus_runtime::table::Transaction;
use salus_runtime::{params, transact};

use crate::row::{RecordRow, access_column, access_of, code};
use crate::stage::{custodian_wraps, insert_class_wraps};
use crate::{Error, Grant, Shared, Vault};

/// An access that the ledger has as revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevokedAccess {
    access: AccessId,
    alias: PatientAlias,
    classes: Vec<KeyClass>,
}

impl RevokedAccess {
    /// The access, if it is revoked and this organisation keeps the records.
    pub fn of(state: &dyn StateRead, access: AccessId, custodian: OrganisationId) -> Option<Self> {
        let row = get::<Accesses>(state, &access)?;
        let kept_here =
            get::<Patients>(state, &row.alias).is_some_and(|p| p.custodian == custodian);
        let revoked = matches!(row.status, AccessStatus::Revoked { .. });
        (revoked && kept_here).then_some(Self {
            access,
            alias: row.alias,
            classes: row.classes,
        })
    }
}

/// What a revocation did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// Wraps of the holder that were destroyed.
    pub destroyed: u64,
    /// Classes that got a new key.
    pub classes: usize,
    /// Record keys that were wrapped again.
    pub records: usize,
    /// Holders of other grants who got the new keys.
    pub holders: usize,
}

impl Vault {
    /// Destroys the wraps of a revoked access. If its holder was given class keys, each of those
    /// classes gets a new one, under which its record keys are wrapped again; whoever else holds an
    /// open grant gets the new key. All in one transaction; repeating it does nothing.
    ///
    /// # Errors
    /// [`Error::Envelope`] if a key here does not open, in which case nothing changes; failures of
    /// the database.
    pub async fn revoke(
        &self,
        revoked: &RevokedAccess,
        state: &(dyn StateRead + Sync),
    ) -> Result<Rotation, Error> {
        let shared = &self.shared;
        let rotation = transact!(self.database(), "revoke an access", |tx| {
            shared.revoke(tx, revoked, state).await
        })?;
        if rotation.destroyed > 0
            && let Err(error) = self.database().purge().await
        {
            // Free pages are overwritten already; the log follows with the next revocation.
            tracing::warn!(%error, "deleted key wraps may remain in the database's log for now");
        }
        Ok(rotation)
    }
}

impl Shared {
    async fn revoke(
        &self,
        tx: &mut Transaction,
        revoked: &RevokedAccess,
        state: &(dyn StateRead + Sync),
    ) -> Result<Rotation, Error> {
        let access = access_column(Some(revoked.access));
        let given: Vec<(u32,)> = tx
            .all(
                "SELECT DISTINCT class FROM vault_class_wrap WHERE access = $1",
                &params![access],
            )
            .await?;
        let mut rotation = Rotation::default();
        for table in [
            "DELETE FROM vault_class_wrap WHERE access = $1",
            "DELETE FROM vault_record_wrap WHERE access = $1",
        ] {
            rotation.destroyed += tx.execute(table, &params![access]).await?;
        }
        for class in &revoked.classes {
            // A class key that was wrapped for a release, and never stored, was given out too; but
            // every release to a holder needs an approved grant, and `grant` stores what it gives.
            if given.iter().any(|(given,)| *given == code(class)) {
                self.rotate(tx, revoked.alias, *class, state, &mut rotation)
                    .await?;
            }
        }
        Ok(rotation)
    }

    async fn rotate(
        &self,
        tx: &mut Transaction,
        alias: PatientAlias,
        class: KeyClass,
        state: &(dyn StateRead + Sync),
        rotation: &mut Rotation,
    ) -> Result<(), Error> {
        let custodian = self.custodian();
        let held: Vec<ClassWrap> = custodian_wraps(tx, alias, custodian)
            .await?
            .into_iter()
            .filter(|wrap| wrap.class == class)
            .collect();
        let Some(newest) = held.iter().map(|wrap| wrap.epoch).max() else {
            return Ok(());
        };
        let old = self.class_keys(&held)?;
        let epoch = newest + 1;
        let key = self.with_entropy(random_secret);
        rotation.records += self
            .move_records(tx, alias, class, &old, (epoch, &key))
            .await?;

        let mut wraps = vec![self.wrap_to_custodian(alias, class, epoch, &key)?];
        let holders: Vec<(Vec<u8>,)> = tx
            .all(
                "SELECT DISTINCT access FROM vault_class_wrap
                 WHERE alias = $1 AND class = $2 AND access <> $3",
                &params![alias, code(&class), access_column(None)],
            )
            .await?;
        let now = self.clock.now();
        for (access,) in holders {
            let Some(access) = access_of(&access)? else {
                continue;
            };
            if let Some(grant) = Grant::of(state, access, self.organisation, now)? {
                let wrap = |entropy: &mut dyn salus_proto::Entropy| {
                    grant.wrap(class, epoch, &key, entropy)
                };
                wraps.push(self.with_entropy(wrap)?);
                rotation.holders += 1;
            }
        }
        tx.execute(
            "DELETE FROM vault_class_wrap WHERE alias = $1 AND class = $2",
            &params![alias, code(&class)],
        )
        .await?;
        insert_class_wraps(tx, &wraps).await?;
        rotation.classes += 1;
        Ok(())
    }

    /// Wraps the record keys of a class under its new key, in place of the old wraps.
    async fn move_records(
        &self,
        tx: &mut Transaction,
        alias: PatientAlias,
        class: KeyClass,
        old: &BTreeMap<(KeyClass, u32), Secret>,
        (epoch, key): (u32, &Secret),
    ) -> Result<usize, Error> {
        let rows: Vec<RecordRow> = tx
            .all(
                "SELECT r.position, r.record, r.version, r.class, r.epoch, r.kind, r.ciphertext,
                        r.length, r.statement, r.key_wrap, r.key_epoch
                 FROM vault_record r JOIN vault_batch b ON b.batch = r.batch
                 WHERE b.alias = $1 AND r.class = $2 AND r.key_wrap IS NOT NULL",
                &params![alias, code(&class)],
            )
            .await?;
        for row in &rows {
            let anchor = row.anchor()?;
            let old_key = old
                .get(&(class, row.key_epoch))
                .ok_or(salus_envelope::Error::NoKey { record: row.record })?;
            let context = key_wrap_context(alias, &anchor, row.key_epoch);
            let wrap = row.key_wrap.as_deref().unwrap_or_default();
            let record_key = record_key(&context, old_key, wrap)?;
            let context = key_wrap_context(alias, &anchor, epoch);
            let wrap = self.with_entropy(|entropy| {
                wrap_record_key_under(&context, key, &record_key, entropy)
            })?;
            tx.execute(
                "UPDATE vault_record SET key_wrap = $3, key_epoch = $4
                 WHERE record = $1 AND version = $2",
                &params![row.record, row.version, wrap, epoch],
            )
            .await?;
        }
        Ok(rows.len())
    }

    fn wrap_to_custodian(
        &self,
        alias: PatientAlias,
        class: KeyClass,
        epoch: u32,
        key: &Secret,
    ) -> Result<ClassWrap, Error> {
        let context = ClassWrapContext {
            alias,
            class,
            epoch,
            recipient: self.custodian(),
            access: None,
        };
        let recipient = self.keys.x_wing().recipient();
        let wrap =
            self.with_entropy(|entropy| wrap_class_key(&context, key, &recipient, entropy))?;
        Ok(wrap)
    }
}
