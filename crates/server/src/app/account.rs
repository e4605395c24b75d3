//! Registering and logging in: OPAQUE with a password, or a signature by a key that the ledger knows.

use std::net::IpAddr;

use salus_contract::Rejection;
use salus_contract::table::{Principals, get};
use salus_crypto::digest::{salted_commitment, sha256};
use salus_crypto::sign::Ed25519Verifier;
use salus_crypto::{label, opaque};
use salus_proto::TimestampMs;
use salus_proto::api::Binary;
use salus_proto::api::account::{
    AccountCreated, LOGIN_LIMIT, NewAccount, RegistrationStart, RegistrationStarted,
};
use salus_proto::api::session::{
    Challenge, ChallengeRequest, Door, KeyLogin, PasswordFinish, PasswordSession, PasswordStart,
    PasswordStarted,
};
use salus_proto::command::Action;
use salus_proto::encode::to_bytes;
use salus_proto::ids::PrincipalId;
use salus_proto::role::Role;
use salus_proto::sealed::SealedKeyring;
use salus_runtime::{from_row, params, transact};

use super::App;
use crate::problem::{Problem, Result};
use crate::session::{RequestNote, Token};
use crate::throttle;

/// How long a login may take between its two steps, in ms.
const HANDSHAKE_MS: u64 = 60_000;
/// How long an account whose registration never became final keeps its login, in ms.
const ORPHAN_MS: u64 = 10 * 60_000;

/// A login in the form in which it is stored and compared.
pub(crate) fn login(text: &str) -> Result<String> {
    let login = text.trim().to_lowercase();
    let fits = (1..=LOGIN_LIMIT).contains(&login.len()) && !login.chars().any(char::is_control);
    if fits {
        Ok(login)
    } else {
        Err(Problem::field(
            "/login",
            format!("1 to {LOGIN_LIMIT} bytes without control characters"),
        ))
    }
}

/// The name under which OPAQUE knows a login's door. Logins hold no control characters, so no login's
/// password is another's recovery code.
fn credential(login: &str, door: Option<Door>) -> Result<Vec<u8>> {
    match door {
        None | Some(Door::Password) => Ok(login.as_bytes().to_vec()),
        Some(Door::RecoveryCode) => Ok([b"recovery-code\0", login.as_bytes()].concat()),
        Some(Door::Passkey) => Err(Problem::field(
            "/door",
            "passkeys open sessions at /sessions/passkeys",
        )),
    }
}

/// Checks an OPAQUE registration record.
pub(crate) fn record(pointer: &'static str, upload: &[u8]) -> Result<Vec<u8>> {
    opaque::finish_registration(upload)
        .map_err(|_| Problem::field(pointer, "not an OPAQUE registration upload"))
}

/// Checks that the bytes are a sealed keyring.
pub(crate) fn keyring(bytes: &[u8]) -> Result<SealedKeyring> {
    SealedKeyring::from_bytes(bytes).map_err(|e| Problem::field("/keyring", e.to_string()))
}

struct AccountRow {
    principal: PrincipalId,
    password_record: Vec<u8>,
    recovery_record: Option<Vec<u8>>,
}
from_row!(AccountRow {
    principal,
    password_record,
    recovery_record
});

struct HandshakeRow {
    principal: Option<PrincipalId>,
    subject: Option<[u8; 32]>,
    state: Option<Vec<u8>>,
    expires_at: TimestampMs,
}
from_row!(HandshakeRow {
    principal,
    subject,
    state,
    expires_at
});

impl App {
    /// First step of registering and of changing a password; the same answer for every login.
    pub(crate) async fn start_registration(
        &self,
        start: &RegistrationStart,
        from: IpAddr,
    ) -> Result<RegistrationStarted> {
        let login = login(&start.login)?;
        self.count_attempt(&[(throttle::address(from), self.limits.address_attempts)])
            .await?;
        let response = self
            .passwords
            .start_registration(&credential(&login, start.door)?, &start.request.0)
            .map_err(|_| Problem::field("/request", "not an OPAQUE registration request"))?;
        Ok(RegistrationStarted {
            response: Binary(response),
        })
    }

    /// Second step of registering: stores the account and registers its principal on the ledger.
    pub(crate) async fn create_account(
        &self,
        new: &NewAccount,
        from: IpAddr,
    ) -> Result<AccountCreated> {
        let login = login(&new.login)?;
        let faults = new.profile.faults();
        if !faults.is_empty() {
            let text = "empty, too long, or with control characters";
            return Err(Problem::invalid(
                faults.into_iter().map(|f| (f, text.to_owned())),
            ));
        }
        keyring(&new.keyring.0)?;
        let password_record = record("/upload", &new.upload.0)?;
        let recovery_record = new
            .recovery_upload
            .as_ref()
            .map(|upload| record("/recovery_upload", &upload.0))
            .transpose()?;
        let salt: [u8; 32] = new
            .profile_salt
            .0
            .as_slice()
            .try_into()
            .map_err(|_| Problem::field("/profile_salt", "32 bytes"))?;
        let principal = match self.check_registration(new, &salt) {
            Ok(principal) => principal,
            Err(problem) => {
                return self
                    .earlier_registration(&login, &new.command.0, problem)
                    .await;
            }
        };
        self.count_attempt(&[(throttle::address(from), self.limits.address_attempts)])
            .await?;

        // The account first: a principal without an account could never log in.
        let now = self.now();
        let (keyring, profile) = (&new.keyring.0, to_bytes(&new.profile));
        self.release_orphan(&login, now).await?;
        let records = (password_record.as_slice(), recovery_record.as_deref());
        let mine = self.insert_account(principal, &login, records, keyring, now);
        if !mine.await? {
            return Err(Problem::conflict("login-taken", "The login is taken"));
        }
        self.put_profile(principal, &profile, &salt).await?;
        match self.submit(&new.command.0).await {
            Ok(entry) => Ok(AccountCreated {
                principal,
                entry: entry.index,
            }),
            Err(problem) => {
                if problem.status().is_client_error() {
                    self.delete_account(principal).await?;
                }
                Err(problem)
            }
        }
    }

    /// Answers a repeated registration that became final after its first answer was lost.
    async fn earlier_registration(
        &self,
        login: &str,
        command: &[u8],
        otherwise: Problem,
    ) -> Result<AccountCreated> {
        let entry = self.entry_of(command).await?;
        let account: Option<(PrincipalId,)> = {
            let tx = &mut self.database.read().await?;
            let sql = "SELECT principal FROM account WHERE login = $1";
            tx.optional(sql, &params![login]).await
        }?;
        match (entry, account) {
            (Some((entry, signer)), Some((principal,))) if signer == principal => {
                Ok(AccountCreated {
                    principal,
                    entry: entry.index,
                })
            }
            _ => Err(otherwise),
        }
    }

    /// Checks that the command registers this account here, and returns the principal.
    fn check_registration(&self, new: &NewAccount, salt: &[u8; 32]) -> Result<PrincipalId> {
        let view = self.view()?;
        let prepared = salus_contract::prepare(&*view, &new.command.0)?;
        let command = prepared.command();
        let Action::Register {
            role,
            organisation,
            profile,
            ..
        } = &command.action
        else {
            return Err(Problem::field("/command", "not a registration"));
        };
        let commitment = salted_commitment(salt, &to_bytes(&new.profile));
        let faults = [
            (
                *role != new.role,
                "/role",
                "another role than the command's",
            ),
            (
                *role == Role::Organisation,
                "/role",
                "organisations join by vote",
            ),
            (
                *organisation != self.organisation,
                "/command",
                "for another organisation's node",
            ),
            (
                *profile != commitment,
                "/profile",
                "not what the command commits to",
            ),
        ];
        let faults: Vec<_> = faults
            .into_iter()
            .filter(|(wrong, ..)| *wrong)
            .map(|(_, pointer, detail)| (pointer, detail.to_owned()))
            .collect();
        if !faults.is_empty() {
            return Err(Problem::invalid(faults));
        }
        if get::<Principals>(&*view, &command.principal).is_some() {
            return Err(Rejection::AlreadyRegistered.into());
        }
        Ok(command.principal)
    }

    /// Frees a login whose registration never became final.
    async fn release_orphan(&self, login: &str, now: TimestampMs) -> Result<()> {
        let holder: Option<(PrincipalId, TimestampMs)> = {
            let tx = &mut self.database.read().await?;
            let sql = "SELECT principal, created_at FROM account WHERE login = $1";
            tx.optional(sql, &params![login]).await
        }?;
        let Some((holder, created)) = holder else {
            return Ok(());
        };
        let registered = get::<Principals>(&*self.view()?, &holder).is_some();
        if !registered && now >= created.plus_ms(ORPHAN_MS) {
            self.delete_account(holder).await?;
        }
        Ok(())
    }

    /// Whether the row is the caller's: new, or left by an earlier try of the same principal.
    async fn insert_account(
        &self,
        principal: PrincipalId,
        login: &str,
        (password_record, recovery_record): (&[u8], Option<&[u8]>),
        keyring: &[u8],
        now: TimestampMs,
    ) -> Result<bool> {
        let written = transact!(self.database, "create account", |tx| {
            tx.execute(
                "INSERT INTO account
                       (principal, login, password_record, recovery_record, keyring, created_at,
                        updated_at)
                     VALUES ($1, $2, $3, $4, $5, $6, $6)
                     ON CONFLICT (principal) DO UPDATE SET login = excluded.login,
                       password_record = excluded.password_record,
                       recovery_record = excluded.recovery_record, keyring = excluded.keyring,
                       updated_at = excluded.updated_at",
                &params![
                    principal,
                    login,
                    password_record,
                    recovery_record,
                    keyring,
                    now
                ],
            )
            .await
        });
        match written {
            Ok(_) => Ok(true),
            Err(salus_runtime::Error::Duplicate { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn delete_account(&self, principal: PrincipalId) -> Result<()> {
        transact!(self.database, "delete account", |tx| {
            for sql in [
                "DELETE FROM profile WHERE principal = $1",
                "DELETE FROM passkey WHERE principal = $1",
            ] {
                tx.execute(sql, &params![principal]).await?;
            }
            tx.execute(
                "DELETE FROM account WHERE principal = $1",
                &params![principal],
            )
            .await
        })?;
        Ok(())
    }

    /// First step of logging in with a password; an unknown login is answered as a known one.
    pub(crate) async fn start_password(
        &self,
        start: &PasswordStart,
        from: IpAddr,
    ) -> Result<PasswordStarted> {
        let login = login(&start.login)?;
        let credential = credential(&login, start.door)?;
        let subject = throttle::account(&login);
        self.count_attempt(&[
            (throttle::address(from), self.limits.address_attempts),
            (subject, self.limits.login_attempts),
        ])
        .await?;
        let account: Option<AccountRow> = {
            let tx = &mut self.database.read().await?;
            let sql = "SELECT principal, password_record, recovery_record FROM account
                       WHERE login = $1";
            tx.optional(sql, &params![login]).await
        }?;
        let record = account.as_ref().and_then(|row| match start.door {
            Some(Door::RecoveryCode) => row.recovery_record.as_deref(),
            _ => Some(row.password_record.as_slice()),
        });
        let started = self
            .with_entropy(|entropy| {
                self.passwords
                    .start_login(&credential, record, &start.request.0, entropy)
            })
            .map_err(|_| Problem::field("/request", "not an OPAQUE credential request"))?;
        let handshake: [u8; 32] = self.random();
        let (digest, expires) = (sha256(&handshake), self.now().plus_ms(HANDSHAKE_MS));
        let principal = account.map(|row| row.principal);
        let state = started.state.as_slice();
        transact!(self.database, "start login", |tx| {
            tx.execute(
                "INSERT INTO handshake (digest, kind, principal, subject, state, expires_at)
                     VALUES ($1, 'password', $2, $3, $4, $5)",
                &params![digest, principal, subject, state, expires],
            )
            .await
        })?;
        let handshake = Binary(handshake.to_vec());
        Ok(PasswordStarted {
            handshake,
            response: Binary(started.response),
        })
    }

    /// Second step of logging in with a password.
    pub(crate) async fn finish_password(
        &self,
        finish: &PasswordFinish,
        note: &RequestNote,
    ) -> Result<(PasswordSession, Token)> {
        let row = self.take_handshake("password", &finish.handshake.0).await?;
        let row = row.ok_or_else(Problem::login_refused)?;
        // For the watch: whose account somebody tries to open.
        row.principal.inspect(|principal| note.set(*principal));
        let state = zeroize::Zeroizing::new(row.state.unwrap_or_default());
        opaque::finish_login(&state, &finish.finalization.0)
            .map_err(|_| Problem::login_refused())?;
        let principal = row.principal.ok_or_else(Problem::login_refused)?;
        if let Some(subject) = row.subject {
            self.forget_attempts(salus_proto::Digest(subject)).await?;
        }
        let (stored,): (Vec<u8>,) = {
            let tx = &mut self.database.read().await?;
            let sql = "SELECT keyring FROM account WHERE principal = $1";
            tx.one("account", sql, &params![principal]).await
        }?;
        let doors = keyring(&stored)?
            .doors
            .iter()
            .map(|door| door.kind.into())
            .collect();
        let (token, expires) = self.open_session(principal).await?;
        let session = PasswordSession {
            token: Binary(token.bytes()),
            expires,
            principal,
            keyring: Binary(stored),
            doors,
        };
        Ok((session, token))
    }

    /// A challenge for any principal, known or not.
    pub(crate) async fn challenge(
        &self,
        request: &ChallengeRequest,
        from: IpAddr,
    ) -> Result<Challenge> {
        self.count_attempt(&[(throttle::address(from), self.limits.address_attempts)])
            .await?;
        let challenge: [u8; 32] = self.random();
        let (digest, expires) = (sha256(&challenge), self.now().plus_ms(HANDSHAKE_MS));
        transact!(self.database, "start key login", |tx| {
            tx.execute(
                "INSERT INTO handshake (digest, kind, principal, expires_at)
                     VALUES ($1, 'key', $2, $3)",
                &params![digest, request.principal, expires],
            )
            .await
        })?;
        Ok(Challenge {
            challenge: Binary(challenge.to_vec()),
        })
    }

    /// Opens a session for whoever signed a challenge with the key that the ledger knows.
    pub(crate) async fn key_login(
        &self,
        login: &KeyLogin,
        from: IpAddr,
        note: &RequestNote,
    ) -> Result<(Token, TimestampMs)> {
        let row = self.take_handshake("key", &login.challenge.0).await?;
        let asked = row
            .and_then(|row| row.principal)
            .filter(|p| *p == login.principal);
        let asked = asked.ok_or_else(Problem::bad_challenge)?;
        note.set(asked);
        let principal = get::<Principals>(&*self.view()?, &asked);
        let principal = principal.ok_or_else(Problem::bad_challenge)?;
        let message = [login.challenge.0.as_slice(), self.organisation.as_bytes()].concat();
        Ed25519Verifier::parse(&principal.ed25519)
            .and_then(|key| key.verify(label::SESSION, &message, &login.signature.0))
            .map_err(|_| Problem::bad_challenge())?;
        self.forget_attempts(throttle::address(from)).await?;
        self.open_session(asked).await
    }

    /// Takes a started login out, so that it is used once; `None` if it is unknown or too old.
    async fn take_handshake(
        &self,
        kind: &'static str,
        handshake: &[u8],
    ) -> Result<Option<HandshakeRow>> {
        let digest = sha256(handshake);
        let row: Option<HandshakeRow> = transact!(self.database, "finish login", |tx| {
            let sql = "DELETE FROM handshake WHERE digest = $1 AND kind = $2
                           RETURNING principal, subject, state, expires_at";
            tx.optional(sql, &params![digest, kind]).await
        })?;
        let now = self.now();
        Ok(row.filter(|row| now < row.expires_at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_are_compared_without_case_and_space_and_are_bounded() {
        assert_eq!(login("  Ada@Example.ORG ").unwrap(), "ada@example.org");
        let long = "x".repeat(LOGIN_LIMIT + 1);
        for bad in ["", "   ", "a\u{0}b", long.as_str()] {
            assert_eq!(login(bad).unwrap_err().code(), "invalid");
        }
    }
}
