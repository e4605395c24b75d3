//! What a person sees and changes of their own account.

use salus_contract::next_sequence;
use salus_crypto::digest::sha256;
use salus_proto::api::Binary;
use salus_proto::api::account::Profile;
use salus_proto::api::me::{Me, PasswordChange};
use salus_proto::encode::{from_bytes, to_bytes};
use salus_proto::ids::PrincipalId;
use salus_runtime::{params, transact};

use super::account::{keyring, record};
use super::principal::standing;
use super::{Actor, App};
use crate::problem::{Problem, Result};

/// Largest stored profile, in bytes.
const PROFILE_LIMIT: usize = 16 << 10;

/// Reads a stored profile.
pub(crate) fn profile(stored: &[u8]) -> Result<Profile> {
    Ok(from_bytes(stored, PROFILE_LIMIT, "a profile")?)
}

/// The entity tag of a stored profile.
fn tag(stored: &[u8]) -> String {
    let digest = sha256(stored).to_string();
    format!("\"{}\"", digest.get(..32).unwrap_or_default())
}

impl App {
    /// Who the caller is, with the tag of the profile.
    pub(crate) async fn me(&self, actor: Actor) -> Result<(Me, Option<String>)> {
        let stored = self.stored_profile(actor.id).await?;
        let next_sequence = next_sequence(&*self.view()?, actor.id);
        let me = Me {
            principal: actor.id,
            role: actor.role(),
            organisation: actor.organisation(),
            standing: standing(actor.principal.standing),
            profile: stored.as_deref().map(profile).transpose()?,
            next_sequence,
        };
        Ok((me, stored.as_deref().map(tag)))
    }

    async fn stored_profile(&self, principal: PrincipalId) -> Result<Option<Vec<u8>>> {
        let found: Option<(Vec<u8>,)> = {
            let tx = &mut self.database.read().await?;
            let sql = "SELECT body FROM profile WHERE principal = $1";
            tx.optional(sql, &params![principal]).await
        }?;
        Ok(found.map(|(body,)| body))
    }

    /// Replaces the caller's profile if it still is the one that `expected` names; returns the new
    /// tag.
    pub(crate) async fn change_profile(
        &self,
        actor: &Actor,
        new: &Profile,
        expected: &str,
    ) -> Result<String> {
        let faults = new.faults();
        if !faults.is_empty() {
            let text = "empty, too long, or with control characters";
            return Err(Problem::invalid(
                faults.into_iter().map(|f| (f, text.to_owned())),
            ));
        }
        let (body, now) = (to_bytes(new), self.now());
        transact!(self.database, "change profile", |tx| {
            let sql = "SELECT body FROM profile WHERE principal = $1";
            let found: Option<(Vec<u8>,)> = tx.optional(sql, &params![actor.id]).await?;
            let (stored,) = found.ok_or_else(Problem::not_found)?;
            if tag(&stored) != expected {
                let text = "The profile has changed meanwhile; read it again";
                return Err(Problem::precondition("precondition-failed", text));
            }
            let sql = "UPDATE profile SET body = $2, updated_at = $3 WHERE principal = $1";
            tx.execute(sql, &params![actor.id, body, now]).await?;
            Ok(())
        })?;
        Ok(tag(&body))
    }

    /// Stores a new account's profile.
    pub(crate) async fn put_profile(
        &self,
        principal: PrincipalId,
        body: &[u8],
        salt: &[u8; 32],
    ) -> Result<()> {
        let now = self.now();
        transact!(self.database, "store profile", |tx| {
            tx.execute(
                "INSERT INTO profile (principal, body, salt, updated_at)
                     VALUES ($1, $2, $3, $4)
                     ON CONFLICT (principal) DO UPDATE SET body = excluded.body,
                       salt = excluded.salt, updated_at = excluded.updated_at",
                &params![principal, body, *salt, now],
            )
            .await
        })?;
        Ok(())
    }

    /// Replaces what opens the caller's account and the keyring together, and ends every other session.
    pub(crate) async fn change_password(
        &self,
        actor: &Actor,
        change: &PasswordChange,
        session: salus_proto::Digest,
    ) -> Result<()> {
        keyring(&change.keyring.0)?;
        let checked = |pointer, upload: &Option<Binary>| {
            let upload = upload.as_ref();
            upload.map(|upload| record(pointer, &upload.0)).transpose()
        };
        let password = checked("/upload", &change.upload)?;
        let recovery = checked("/recovery_upload", &change.recovery_upload)?;
        let now = self.now();
        transact!(self.database, "change password", |tx| {
            let changed = tx
                .execute(
                    "UPDATE account SET password_record = COALESCE($2, password_record),
                         recovery_record = COALESCE($3, recovery_record), keyring = $4,
                         updated_at = $5
                         WHERE principal = $1",
                    &params![actor.id, password, recovery, change.keyring.0, now],
                )
                .await?;
            if changed == 0 {
                return Err(Problem::not_found());
            }
            let sql = "DELETE FROM session WHERE principal = $1 AND token_digest <> $2";
            tx.execute(sql, &params![actor.id, session]).await?;
            Ok(())
        })?;
        self.recent.forget();
        Ok(())
    }
}
