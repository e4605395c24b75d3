//! Sessions: random tokens of which only the digest is stored, and the extractors that turn one into
//! whoever acts.
//!
//! A token comes as `Authorization: Bearer` (programs) or in the cookie `__Host-salus` (web pages).
//! A cookie is sent by the browser on its own, so with it a write must also carry the header
//! `x-salus: 1`, which a page of another site cannot set, and come from the same origin.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use salus_crypto::digest::sha256;
use salus_proto::encode::{from_base64url, to_base64url};
use salus_proto::ids::PrincipalId;
use salus_proto::{Digest, TimestampMs};
use salus_runtime::{from_row, params, transact};
use zeroize::Zeroizing;

use crate::app::{Actor, App};
use crate::problem::{Problem, Result};

/// Name of the web pages' cookie.
const COOKIE: &str = "__Host-salus";
/// How old a session's last use may grow before it is written again, in ms.
const USED_STEP_MS: u64 = 60_000;
/// Most sessions of one principal; the oldest end first.
const SESSIONS_LIMIT: u32 = 32;

/// A new session's secret.
pub(crate) struct Token(Zeroizing<[u8; 32]>);

impl Token {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.to_vec()
    }

    /// The `Set-Cookie` value for web pages.
    pub(crate) fn cookie(&self, life_ms: u64) -> String {
        let (token, seconds) = (to_base64url(&*self.0), life_ms / 1000);
        format!("{COOKIE}={token}; Path=/; Max-Age={seconds}; Secure; HttpOnly; SameSite=Strict")
    }

    fn digest(&self) -> Digest {
        sha256(&*self.0)
    }
}

/// The `Set-Cookie` value that removes the cookie.
pub(crate) fn removed_cookie() -> String {
    format!("{COOKIE}=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Strict")
}

/// What is learnt about a request on its way, for the watch and the log.
#[derive(Clone, Debug, Default)]
pub(crate) struct RequestNote(Arc<Mutex<Option<PrincipalId>>>);

impl RequestNote {
    pub(crate) fn principal(&self) -> Option<PrincipalId> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set(&self, principal: PrincipalId) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(principal);
    }
}

/// An open session, whatever the standing of its principal.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) actor: Actor,
    pub(crate) digest: Digest,
}

/// For how long a session is not looked up again, in ms. Sessions that this process ends are
/// forgotten at once.
const RECENT_MS: u64 = 1_000;
/// Most sessions remembered.
const RECENT_LIMIT: usize = 10_000;

/// Sessions as they were a moment ago, so that the many requests of a page ask the database once.
#[derive(Default)]
pub(crate) struct Recent(Mutex<Remembered>);

#[derive(Default)]
struct Remembered {
    /// Counts what was forgotten: a row that was read before does not come in after.
    forgotten: u64,
    rows: BTreeMap<Digest, (SessionRow, TimestampMs)>,
}

impl Recent {
    /// Forgets all sessions: one of them has ended.
    pub(crate) fn forget(&self) {
        let mut remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.forgotten += 1;
        remembered.rows.clear();
    }

    /// The row if it is fresh, or else what [`Recent::keep`] wants to know.
    fn find(&self, digest: &Digest, now: TimestampMs) -> core::result::Result<SessionRow, u64> {
        let remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match remembered.rows.get(digest) {
            Some((row, read)) if *read <= now && now < read.plus_ms(RECENT_MS) => Ok(*row),
            _ => Err(remembered.forgotten),
        }
    }

    fn keep(&self, digest: Digest, row: SessionRow, now: TimestampMs, forgotten: u64) {
        let mut remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.forgotten != forgotten {
            return;
        }
        if remembered.rows.len() >= RECENT_LIMIT {
            remembered.rows.clear();
        }
        remembered.rows.insert(digest, (row, now));
    }
}

#[derive(Clone, Copy)]
struct SessionRow {
    principal: PrincipalId,
    expires_at: TimestampMs,
    used_at: TimestampMs,
}
from_row!(SessionRow {
    principal,
    expires_at,
    used_at
});

impl App {
    /// Opens a session and returns its token and its end.
    pub(crate) async fn open_session(
        &self,
        principal: PrincipalId,
    ) -> Result<(Token, TimestampMs)> {
        let token = Token(Zeroizing::new(self.random()));
        let (digest, now) = (token.digest(), self.now());
        let expires = now.plus_ms(self.limits.session_ms);
        transact!(self.database, "open session", |tx| {
            tx.execute(
                "DELETE FROM session WHERE principal = $1 AND token_digest NOT IN
                       (SELECT token_digest FROM session WHERE principal = $1
                        ORDER BY used_at DESC, token_digest LIMIT $2)",
                &params![principal, SESSIONS_LIMIT - 1],
            )
            .await?;
            tx.execute(
                "INSERT INTO session (token_digest, principal, expires_at, used_at)
                     VALUES ($1, $2, $3, $4)",
                &params![digest, principal, expires, now],
            )
            .await
        })?;
        // The oldest may have ended for it.
        self.recent.forget();
        Ok((token, expires))
    }

    pub(crate) async fn close_session(&self, digest: Digest) -> Result<()> {
        let sql = "DELETE FROM session WHERE token_digest = $1";
        transact!(self.database, "close session", |tx| tx
            .execute(sql, &params![digest])
            .await)?;
        self.recent.forget();
        Ok(())
    }

    /// The principal of a token that is neither unknown, nor over, nor idle for too long.
    async fn session_of(&self, digest: Digest) -> Result<PrincipalId> {
        let now = self.now();
        let row = match self.recent.find(&digest, now) {
            Ok(row) => row,
            Err(forgotten) => {
                let sql =
                    "SELECT principal, expires_at, used_at FROM session WHERE token_digest = $1";
                let found: Option<SessionRow> = {
                    let tx = &mut self.database.glance().await?;
                    tx.optional(sql, &params![digest]).await
                }?;
                let row = found.ok_or_else(Problem::unauthenticated)?;
                self.recent.keep(digest, row, now, forgotten);
                row
            }
        };
        if now >= row.expires_at || now >= row.used_at.plus_ms(self.limits.session_idle_ms) {
            return Err(Problem::unauthenticated());
        }
        if now
            >= row
                .used_at
                .plus_ms(USED_STEP_MS.min(self.limits.session_idle_ms / 4))
        {
            let sql = "UPDATE session SET used_at = $2 WHERE token_digest = $1 AND used_at < $2";
            transact!(self.database, "use session", |tx| tx
                .execute(sql, &params![digest, now])
                .await)?;
        }
        Ok(row.principal)
    }
}

impl FromRequestParts<Arc<App>> for Session {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self> {
        if let Some(session) = parts.extensions.get::<Self>() {
            return Ok(session.clone());
        }
        let digest = presented_token(&parts.headers, &parts.method)?;
        let principal = app.session_of(digest).await?;
        if let Some(note) = parts.extensions.get::<RequestNote>() {
            note.set(principal);
        }
        let actor = Actor::known(&*app.view()?, principal)?;
        let session = Self { actor, digest };
        parts.extensions.insert(session.clone());
        Ok(session)
    }
}

impl FromRequestParts<Arc<App>> for Actor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self> {
        let session = Session::from_request_parts(parts, app).await?;
        session.actor.authorised(&*app.view()?)
    }
}

/// The digest of the token that a request carries.
fn presented_token(headers: &HeaderMap, method: &Method) -> Result<Digest> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let token = value.to_str().ok().and_then(|v| v.strip_prefix("Bearer "));
        return token
            .and_then(token_digest)
            .ok_or_else(Problem::unauthenticated);
    }
    let token = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='));
    let digest = token
        .and_then(token_digest)
        .ok_or_else(Problem::unauthenticated)?;
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let is = |name: &str, expected: &str| headers.get(name).is_some_and(|v| v == expected);
    if reads || (is("x-salus", "1") && is("sec-fetch-site", "same-origin")) {
        Ok(digest)
    } else {
        Err(Problem::cross_site())
    }
}

fn token_digest(text: &str) -> Option<Digest> {
    let token: Zeroizing<[u8; 32]> = Zeroizing::new(from_base64url(text.trim())?.try_into().ok()?);
    Some(sha256(&*token))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    header::HeaderName::from_static(name),
                    HeaderValue::from_str(value).unwrap(),
                )
            })
            .collect()
    }

    #[test]
    fn a_cookie_reads_alone_and_writes_only_from_our_own_pages() {
        let token = Token(Zeroizing::new([7; 32]));
        let cookie = token.cookie(1_000);
        let pair = cookie.split(';').next().unwrap().to_owned();
        let digest = token.digest();
        let sent = headers(&[("cookie", &format!("a=b; {pair}; c=d"))]);
        assert_eq!(presented_token(&sent, &Method::GET).unwrap(), digest);
        assert_eq!(
            presented_token(&sent, &Method::POST).unwrap_err().code(),
            "cross-site"
        );
        for (site, guard, taken) in [
            ("same-origin", "1", true),
            ("cross-site", "1", false),
            ("same-origin", "0", false),
        ] {
            let sent = headers(&[
                ("cookie", &pair),
                ("sec-fetch-site", site),
                ("x-salus", guard),
            ]);
            assert_eq!(
                presented_token(&sent, &Method::POST).is_ok(),
                taken,
                "{site} {guard}"
            );
        }
    }

    #[test]
    fn a_bearer_token_needs_no_guard_and_rubbish_is_no_token() {
        let bearer = format!("Bearer {}", to_base64url(&[7; 32]));
        let sent = headers(&[("authorization", &bearer)]);
        assert_eq!(
            presented_token(&sent, &Method::POST).unwrap(),
            sha256(&[7; 32])
        );
        for bad in ["", "Bearer", "Bearer x", "Basic eDp5", "Bearer AAAA"] {
            let sent = headers(&[("authorization", bad)]);
            assert_eq!(
                presented_token(&sent, &Method::GET).unwrap_err().code(),
                "unauthenticated"
            );
        }
    }
}
