//! Keys on their way to people: grants, consultations, and class keys for those who seal.

use salus_contract::state::StateRead;
use salus_contract::table::{AccessStatus, Accesses, Keys, Patients, get};
use salus_crypto::wrap::Recipient;
use salus_envelope::share::wrap_class_key;
use salus_proto::command::Action;
use salus_proto::ids::{AccessId, OrganisationId, PatientAlias, PrincipalId};
use salus_proto::record::{ClassWrap, ClassWrapContext, KeyClass, RecordWrap};
use salus_proto::role::{Basis, Decision, Purpose, Reason};
use salus_proto::sealed::WRAPPED_KEY_LEN;
use salus_proto::{Entropy, TimestampMs};
use salus_runtime::{params, transact};

use crate::check::acting;
use crate::row::{access_column, latest};
use crate::stage::{custodian_wraps, insert_class_wraps};
use crate::{Error, Vault, blocking};

/// An approved access to classes, read from the ledger.
#[derive(Clone, Debug)]
pub struct Grant {
    access: AccessId,
    alias: PatientAlias,
    holder: PrincipalId,
    key: Recipient,
    classes: Vec<KeyClass>,
}

impl Grant {
    /// The grant behind an access, if it is one that this organisation gives keys for: approved, not
    /// over, on classes, its holder still allowed to act.
    ///
    /// # Errors
    /// [`Error::Envelope`] if the holder's key is none.
    pub fn of(
        state: &dyn StateRead,
        access: AccessId,
        custodian: OrganisationId,
        now: TimestampMs,
    ) -> Result<Option<Self>, Error> {
        let Some(row) = get::<Accesses>(state, &access) else {
            return Ok(None);
        };
        let kept_here =
            get::<Patients>(state, &row.alias).is_some_and(|p| p.custodian == custodian);
        if !kept_here || !row.is_open(now) || row.records.is_some() || !acting(state, row.holder) {
            return Ok(None);
        }
        let Some(keys) = get::<Keys>(state, &row.holder) else {
            return Ok(None);
        };
        Ok(Some(Self {
            access,
            alias: row.alias,
            holder: row.holder,
            key: Recipient::parse(&keys.x_wing)?,
            classes: row.classes,
        }))
    }

    /// The access that this is.
    pub fn access(&self) -> AccessId {
        self.access
    }

    /// Wraps class keys to the holder.
    pub(crate) fn wrap(
        &self,
        class: KeyClass,
        epoch: u32,
        class_key: &salus_crypto::Secret,
        entropy: &mut dyn Entropy,
    ) -> Result<ClassWrap, Error> {
        let context = ClassWrapContext {
            alias: self.alias,
            class,
            epoch,
            recipient: self.holder,
            access: Some(self.access),
        };
        Ok(wrap_class_key(&context, class_key, &self.key, entropy)?)
    }
}

/// The decision that the policy `own-records = "approve"` takes: a linked patient's request for
/// their own use of their own records is approved. `None` when it is somebody else's request, has
/// another purpose, or is decided already.
pub fn decide_own_records(
    state: &dyn StateRead,
    access: AccessId,
    custodian: OrganisationId,
) -> Option<Action> {
    let row = get::<Accesses>(state, &access)?;
    let patient = get::<Patients>(state, &row.alias)?;
    let own = patient.custodian == custodian
        && patient.patient == Some(row.holder)
        && row.purpose == Purpose::PatientRequest
        && row.status == AccessStatus::Requested;
    own.then_some(Action::DecideAccess {
        access,
        decision: Decision::Approve,
        reason: Reason::OwnRecords,
        basis: Basis::Policy,
    })
}

impl Vault {
    /// Wraps the class keys of a grant to its holder and stores the wraps: what the node does when
    /// an approval is final. Repeating it adds what is missing. Returns the number of new wraps.
    ///
    /// # Errors
    /// [`Error::Envelope`] if a class key does not open; failures of the database.
    pub async fn grant(&self, grant: &Grant) -> Result<usize, Error> {
        let custodian = self.custodian();
        let held = read!(self.database(), |tx| {
            let mut held = custodian_wraps(tx, grant.alias, custodian).await?;
            held.retain(|wrap| grant.classes.contains(&wrap.class));
            let mut missing = Vec::new();
            for wrap in held {
                let there: Option<(i64,)> = tx
                    .optional(
                        "SELECT 1 FROM vault_class_wrap WHERE alias = $1 AND class = $2
                             AND epoch = $3 AND recipient = $4 AND access = $5",
                        &params![
                            grant.alias,
                            crate::row::code(&wrap.class),
                            wrap.epoch,
                            grant.holder,
                            access_column(Some(grant.access))
                        ],
                    )
                    .await?;
                if there.is_none() {
                    missing.push(wrap);
                }
            }
            Ok::<_, Error>(missing)
        })?;
        if held.is_empty() {
            return Ok(0);
        }
        let (shared, granted) = (self.shared.clone(), grant.clone());
        let wraps = blocking(move || {
            let keys = shared.class_keys(&held)?;
            keys.iter()
                .map(|(&(class, epoch), key)| {
                    shared.with_entropy(|entropy| granted.wrap(class, epoch, key, entropy))
                })
                .collect::<Result<Vec<ClassWrap>, Error>>()
        })
        .await?;
        transact!(self.database(), "grant class keys", |tx| {
            // An epoch that was closed meanwhile needs no wrap.
            let current = custodian_wraps(tx, grant.alias, custodian).await?;
            let mut wraps = wraps.clone();
            wraps.retain(|wrap| {
                current
                    .iter()
                    .any(|held| (held.class, held.epoch) == (wrap.class, wrap.epoch))
            });
            insert_class_wraps(tx, &wraps).await?;
            Ok(wraps.len())
        })
    }

    /// Stores the record keys that a patient wrapped to a doctor with an `OpenConsultation` that is
    /// final: each for this access and this doctor, of a record that the consultation names.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such access of records kept here; [`Error::NotAReceipt`]
    /// if a wrap is for another record, holder or access; [`Error::NotFound`] if a record is not
    /// anchored here.
    pub async fn share_records(
        &self,
        state: &(dyn StateRead + Sync),
        access: AccessId,
        wraps: Vec<RecordWrap>,
    ) -> Result<(), Error> {
        let row = get::<Accesses>(state, &access).ok_or(Error::NotFound { what: "access" })?;
        let kept_here = get::<Patients>(state, &row.alias)
            .is_some_and(|patient| patient.custodian == self.organisation());
        let Some(records) = row.records.filter(|_| kept_here) else {
            return Err(Error::NotFound { what: "access" });
        };
        let fits = wraps.iter().all(|wrap| {
            wrap.recipient == row.holder
                && wrap.access == Some(access)
                && wrap.wrap.len() == WRAPPED_KEY_LEN
                && records.binary_search(&wrap.record).is_ok()
        });
        if !fits || wraps.len() > records.len() {
            return Err(Error::NotAReceipt {
                reason: "a key wrap is for another record, holder or access",
            });
        }
        transact!(self.database(), "share records", |tx| {
            let mut rows = Vec::with_capacity(wraps.len());
            for wrap in &wraps {
                let found = latest(tx, row.alias, wrap.record)
                    .await?
                    .ok_or(Error::NotFound { what: "record" })?;
                rows.push(params![
                    wrap.record,
                    found.record.version,
                    wrap.recipient,
                    access_column(wrap.access),
                    wrap.wrap
                ]);
            }
            tx.insert_many(
                "INSERT INTO vault_record_wrap (record, version, recipient, access, wrap)",
                rows,
                "ON CONFLICT (record, version, recipient, access) DO NOTHING",
            )
            .await?;
            Ok(())
        })
    }

    /// The current class keys of a patient, wrapped to somebody of the custodian who seals more
    /// records for them; those of the custodian itself as they are stored. Empty for a patient
    /// without records. Whoever may have them is for the caller to decide.
    ///
    /// # Errors
    /// [`Error::Envelope`] if a class key does not open; failures of the database.
    pub async fn sealing_keys(
        &self,
        alias: PatientAlias,
        recipient: PrincipalId,
        key: &Recipient,
    ) -> Result<Vec<ClassWrap>, Error> {
        let custodian = self.custodian();
        let held = read!(self.database(), |tx| {
            custodian_wraps(tx, alias, custodian).await
        })?;
        // Ascending by epoch, so the last of a class is its current one.
        let mut current: Vec<ClassWrap> = Vec::new();
        for wrap in held {
            current.retain(|other| other.class != wrap.class);
            current.push(wrap);
        }
        if recipient == custodian || current.is_empty() {
            return Ok(current);
        }
        let (shared, key) = (self.shared.clone(), key.clone());
        blocking(move || {
            let keys = shared.class_keys(&current)?;
            keys.iter()
                .map(|(&(class, epoch), class_key)| {
                    let context = ClassWrapContext {
                        alias,
                        class,
                        epoch,
                        recipient,
                        access: None,
                    };
                    let wrap = |entropy: &mut dyn Entropy| {
                        wrap_class_key(&context, class_key, &key, entropy)
                    };
                    Ok(shared.with_entropy(wrap)?)
                })
                .collect()
        })
        .await
    }
}
