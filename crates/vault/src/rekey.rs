//! After the organisation replaced its keys: what is wrapped to the earlier ones is wrapped to the
//! current ones. Until that is done the vault opens with either.
//!
//! ```text
//!  wrap to the custodian ──opens with the current key──> stays
//!            └────────────opens with the earlier key──> same key, wrapped to the current one
//! ```
//!
//! Page by page, each in one transaction, so that it may be interrupted anywhere and begun again.

use salus_crypto::Secret;
use salus_crypto::wrap::XWingSecret;
use salus_envelope::share::{
    RecordKeyOf, unwrap_class_key, unwrap_record_key, wrap_class_key, wrap_record_key,
};
use salus_proto::ids::{PatientAlias, RecordId};
use salus_proto::record::{ClassWrap, ClassWrapContext, RecordWrap};
use salus_runtime::{params, transact};

use crate::row::{access_column, access_of, code, from_code};
use crate::{Error, Shared, Vault, blocking};

/// Wraps in one transaction.
const PAGE: u64 = 256;

/// Alias, class, epoch, access and wrap.
type ClassRow = (PatientAlias, u32, u32, Vec<u8>, Vec<u8>);

/// What became of the wraps to the organisation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rekeyed {
    /// Wraps that were made anew, to the current keys.
    pub moved: u64,
    /// Wraps that none of the keys opens; they stay as they are.
    pub closed: u64,
}

impl Vault {
    /// Wraps what is wrapped to the organisation's earlier keys to its current ones. When nothing is
    /// `closed`, the earlier keys are not needed any more. Repeating it does nothing.
    ///
    /// # Errors
    /// Failures of the database.
    pub async fn rekey(&self) -> Result<Rekeyed, Error> {
        let mut done = Rekeyed::default();
        self.rekey_classes(&mut done).await?;
        self.rekey_records(&mut done).await?;
        if done.moved > 0
            && let Err(error) = self.database().purge().await
        {
            tracing::warn!(%error, "replaced key wraps may remain in the database's log for now");
        }
        Ok(done)
    }

    async fn rekey_classes(&self, done: &mut Rekeyed) -> Result<(), Error> {
        let custodian = self.custodian();
        let mut after = (PatientAlias([0; 16]), 0_u32, 0_u32, Vec::new());
        loop {
            let rows: Vec<ClassRow> = read!(self.database(), |tx| {
                tx.all(
                    "SELECT alias, class, epoch, access, wrap FROM vault_class_wrap
                         WHERE recipient = $1 AND (alias, class, epoch, access) > ($2, $3, $4, $5)
                         ORDER BY alias, class, epoch, access LIMIT $6",
                    &params![custodian, after.0, after.1, after.2, after.3, PAGE],
                )
                .await
            })?;
            let Some((alias, class, epoch, access, _)) = rows.last().cloned() else {
                return Ok(());
            };
            after = (alias, class, epoch, access);
            let shared = self.shared.clone();
            let (anew, closed) = blocking(move || {
                let (mut anew, mut closed) = (Vec::new(), 0);
                for (alias, class, epoch, access, wrap) in rows {
                    let held = ClassWrap {
                        alias,
                        class: from_code(class, "class keys")?,
                        epoch,
                        recipient: custodian,
                        access: access_of(&access)?,
                        wrap,
                    };
                    match shared.anew(|secret| unwrap_class_key(&held, secret)) {
                        Opened::Current => {}
                        Opened::Earlier(key) => anew.push((shared.class_anew(&held, &key)?, held)),
                        Opened::No => closed += 1,
                    }
                }
                Ok((anew, closed))
            })
            .await?;
            done.closed += closed;
            done.moved += transact!(self.database(), "wrap class keys anew", |tx| {
                let mut moved = 0;
                for (wrap, held) in &anew {
                    // A wrap that was replaced meanwhile is a current one.
                    moved += tx
                        .execute(
                            "UPDATE vault_class_wrap SET wrap = $6
                             WHERE alias = $1 AND class = $2 AND epoch = $3 AND recipient = $4
                               AND access = $5 AND wrap = $7",
                            &params![
                                held.alias,
                                code(&held.class),
                                held.epoch,
                                held.recipient,
                                access_column(held.access),
                                wrap.wrap,
                                held.wrap
                            ],
                        )
                        .await?;
                }
                Ok::<_, Error>(moved)
            })?;
        }
    }

    async fn rekey_records(&self, done: &mut Rekeyed) -> Result<(), Error> {
        let custodian = self.custodian();
        let mut after = (RecordId([0; 16]), 0_u32, Vec::new());
        loop {
            let rows: Vec<(RecordId, u32, Vec<u8>, Vec<u8>)> = read!(self.database(), |tx| {
                tx.all(
                    "SELECT record, version, access, wrap FROM vault_record_wrap
                     WHERE recipient = $1 AND (record, version, access) > ($2, $3, $4)
                     ORDER BY record, version, access LIMIT $5",
                    &params![custodian, after.0, after.1, after.2, PAGE],
                )
                .await
            })?;
            let Some((record, version, access, _)) = rows.last().cloned() else {
                return Ok(());
            };
            after = (record, version, access);
            let shared = self.shared.clone();
            let (anew, closed) = blocking(move || {
                let (mut anew, mut closed) = (Vec::new(), 0);
                for (record, version, access, wrap) in rows {
                    let held = RecordWrap {
                        record,
                        recipient: custodian,
                        access: access_of(&access)?,
                        wrap,
                    };
                    match shared.anew(|secret| unwrap_record_key(&held, secret)) {
                        Opened::Current => {}
                        Opened::Earlier(key) => {
                            anew.push((shared.record_anew(&held, &key)?, version, held));
                        }
                        Opened::No => closed += 1,
                    }
                }
                Ok((anew, closed))
            })
            .await?;
            done.closed += closed;
            done.moved += transact!(self.database(), "wrap record keys anew", |tx| {
                let mut moved = 0;
                for (wrap, version, held) in &anew {
                    moved += tx
                        .execute(
                            "UPDATE vault_record_wrap SET wrap = $5
                             WHERE record = $1 AND version = $2 AND recipient = $3 AND access = $4
                               AND wrap = $6",
                            &params![
                                held.record,
                                version,
                                held.recipient,
                                access_column(held.access),
                                wrap.wrap,
                                held.wrap
                            ],
                        )
                        .await?;
                }
                Ok::<_, Error>(moved)
            })?;
        }
    }
}

/// Which key opens a wrap.
enum Opened {
    Current,
    Earlier(Secret),
    No,
}

impl Shared {
    fn anew(&self, open: impl Fn(&XWingSecret) -> Result<Secret, salus_envelope::Error>) -> Opened {
        if open(self.keys.x_wing()).is_ok() {
            return Opened::Current;
        }
        let earlier = self
            .earlier
            .as_ref()
            .and_then(|keys| open(keys.x_wing()).ok());
        earlier.map_or(Opened::No, Opened::Earlier)
    }

    /// Opens a wrap to the organisation with its current keys, or with those before them.
    pub(crate) fn open<T>(
        &self,
        open: impl Fn(&XWingSecret) -> Result<T, salus_envelope::Error>,
    ) -> Result<T, Error> {
        match (open(self.keys.x_wing()), &self.earlier) {
            (Err(_), Some(earlier)) => Ok(open(earlier.x_wing())?),
            (opened, _) => Ok(opened?),
        }
    }

    fn class_anew(&self, held: &ClassWrap, key: &Secret) -> Result<ClassWrap, Error> {
        let context = ClassWrapContext {
            alias: held.alias,
            class: held.class,
            epoch: held.epoch,
            recipient: held.recipient,
            access: held.access,
        };
        let own = self.keys.x_wing().recipient();
        Ok(self.with_entropy(|entropy| wrap_class_key(&context, key, &own, entropy))?)
    }

    fn record_anew(&self, held: &RecordWrap, key: &Secret) -> Result<RecordWrap, Error> {
        let own = self.keys.x_wing().recipient();
        let to = RecordKeyOf {
            recipient: held.recipient,
            key: &own,
            access: held.access,
        };
        Ok(self.with_entropy(|entropy| wrap_record_key(held.record, key, &to, entropy))?)
    }
}
