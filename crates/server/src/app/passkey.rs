//! Passkeys: the ceremonies of W3C Web Authentication, level 3, sections 7.1 and 7.2, without
//! attestation. The keyring's door for a passkey is made in the page, from the authenticator's PRF.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use salus_crypto::digest::sha256;
use salus_crypto::passkey::{ALGORITHMS, AuthenticatorData, CREDENTIAL_LIMIT, PublicKey};
use salus_proto::TimestampMs;
use salus_proto::api::Binary;
use salus_proto::api::passkey::{
    NewPasskey, PASSKEY_NAME_LIMIT, PASSKEYS_LIMIT, Passkey, PasskeyChallenge, PasskeyLogin,
    PasskeySession, Passkeys, StoredKeyring,
};
use salus_proto::encode::from_base64url;
use salus_proto::ids::PrincipalId;
use salus_proto::sealed::{Door, DoorKind, SealedKeyring};
use salus_runtime::{from_row, params, transact};
use serde::Deserialize;

use super::account::keyring;
use super::{Actor, App};
use crate::node::members;
use crate::problem::{Problem, Result};
use crate::session::{RequestNote, Token};
use crate::throttle;
use crate::web::origin;

/// How long somebody may take to touch their authenticator, in ms.
const CHALLENGE_MS: u64 = 5 * 60_000;
/// Longest client data that is looked at, in bytes.
const CLIENT_DATA_LIMIT: usize = 4 << 10;

/// Where this node's pages are, as browsers name it for passkeys.
pub(crate) struct Party {
    /// The host name.
    id: String,
    /// The one origin whose answers are taken.
    origin: String,
}

impl Party {
    /// Of a node's address. Passkeys belong to names, so an address of numbers has none, except that
    /// the loopback's is also called `localhost`.
    pub(crate) fn of(api: &str) -> Option<Self> {
        let origin = origin(api)?;
        let (scheme, host) = origin.split_once("://")?;
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
                (name, format!(":{port}"))
            }
            _ => (host, String::new()),
        };
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        let id = match bare.parse::<IpAddr>() {
            Ok(IpAddr::V4(Ipv4Addr::LOCALHOST) | IpAddr::V6(Ipv6Addr::LOCALHOST)) => "localhost",
            Ok(_) => return None,
            Err(_) => name,
        };
        Some(Self {
            id: id.to_owned(),
            origin: format!("{scheme}://{id}{port}"),
        })
    }

    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }
}

/// Which of the two ceremonies an answer is from.
#[derive(Clone, Copy)]
enum Ceremony {
    Create,
    Get,
}

/// `clientDataJSON` (level 3, section 5.8.1); what else stands in it is of no account.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClientData {
    r#type: String,
    challenge: String,
    origin: String,
    #[serde(default)]
    cross_origin: bool,
    top_origin: Option<String>,
}

/// The challenge of client data that is of this ceremony, from the party's own page.
fn challenge(bytes: &[u8], ceremony: Ceremony, party: &Party) -> Option<[u8; 32]> {
    if bytes.len() > CLIENT_DATA_LIMIT {
        return None;
    }
    let data: ClientData = serde_json::from_slice(bytes).ok()?;
    let kind = match ceremony {
        Ceremony::Create => "webauthn.create",
        Ceremony::Get => "webauthn.get",
    };
    let ours = data.r#type == kind
        && data.origin == party.origin
        && !data.cross_origin
        && data.top_origin.is_none();
    let challenge = from_base64url(&data.challenge)?.try_into().ok()?;
    ours.then_some(challenge)
}

struct ListedRow {
    credential: Vec<u8>,
    name: String,
    created_at: TimestampMs,
    used_at: Option<TimestampMs>,
}
from_row!(ListedRow {
    credential,
    name,
    created_at,
    used_at
});

struct StoredRow {
    principal: PrincipalId,
    public_key: Vec<u8>,
    login: String,
    keyring: Vec<u8>,
}
from_row!(StoredRow {
    principal,
    public_key,
    login,
    keyring
});

struct ChallengeRow {
    principal: Option<PrincipalId>,
    expires_at: TimestampMs,
}
from_row!(ChallengeRow {
    principal,
    expires_at
});

const STORED_KEYRING: &str = "SELECT keyring FROM account WHERE principal = $1";

fn is_door_of(door: &Door, credential: &[u8]) -> bool {
    door.kind == DoorKind::Passkey && door.name == credential
}

/// Whether `new` is `stored` and one more door, this credential's.
fn adds_only(stored: &SealedKeyring, new: &SealedKeyring, credential: &[u8]) -> bool {
    let (added, kept): (Vec<_>, Vec<_>) = new
        .doors
        .iter()
        .partition(|door| is_door_of(door, credential));
    added.len() == 1 && kept.into_iter().eq(&stored.doors) && new.keyring == stored.keyring
}

impl App {
    fn party(&self) -> Result<Party> {
        let members = members(&*self.view()?)?;
        let own = members.find(self.organisation);
        own.and_then(|member| Party::of(&member.api))
            .ok_or_else(|| {
                Problem::conflict(
                    "no-host-name",
                    "Passkeys need a node that is reached by a name",
                )
            })
    }

    /// The caller's keyring as it is stored.
    pub(crate) async fn stored_keyring(&self, actor: &Actor) -> Result<StoredKeyring> {
        let found: Option<(Vec<u8>,)> = {
            let tx = &mut self.database.read().await?;
            tx.optional(STORED_KEYRING, &params![actor.id]).await
        }?;
        let (keyring,) = found.ok_or_else(Problem::not_found)?;
        Ok(StoredKeyring {
            keyring: Binary(keyring),
        })
    }

    /// The caller's passkeys.
    pub(crate) async fn passkeys(&self, actor: &Actor) -> Result<Passkeys> {
        let doors = keyring(&self.stored_keyring(actor).await?.keyring.0)?.doors;
        let rows: Vec<ListedRow> = {
            let tx = &mut self.database.read().await?;
            let sql = "SELECT credential, name, created_at, used_at FROM passkey
                       WHERE principal = $1 ORDER BY created_at, credential";
            tx.all(sql, &params![actor.id]).await
        }?;
        let items = rows
            .into_iter()
            .map(|row| Passkey {
                opens_keyring: doors.iter().any(|door| is_door_of(door, &row.credential)),
                credential: Binary(row.credential),
                name: row.name,
                created: row.created_at,
                used: row.used_at,
            })
            .collect();
        Ok(Passkeys { items })
    }

    /// A challenge for adding a passkey to the caller's account.
    pub(crate) async fn passkey_challenge(&self, actor: &Actor) -> Result<PasskeyChallenge> {
        let known = self.passkeys(actor).await?.items;
        let credentials = known.into_iter().map(|key| key.credential).collect();
        self.issue_challenge(Some(actor.id), credentials).await
    }

    /// A challenge for logging in; whose passkey answers is not known yet.
    pub(crate) async fn passkey_login_challenge(&self, from: IpAddr) -> Result<PasskeyChallenge> {
        self.count_attempt(&[(throttle::address(from), self.limits.address_attempts)])
            .await?;
        self.issue_challenge(None, Vec::new()).await
    }

    async fn issue_challenge(
        &self,
        principal: Option<PrincipalId>,
        credentials: Vec<Binary>,
    ) -> Result<PasskeyChallenge> {
        let party = self.party()?;
        let challenge: [u8; 32] = self.random();
        let (digest, expires) = (sha256(&challenge), self.now().plus_ms(CHALLENGE_MS));
        transact!(self.database, "issue passkey challenge", |tx| {
            let sql = "INSERT INTO passkey_challenge (digest, principal, expires_at)
                       VALUES ($1, $2, $3)";
            tx.execute(sql, &params![digest, principal, expires]).await
        })?;
        Ok(PasskeyChallenge {
            challenge: Binary(challenge.to_vec()),
            relying_party: party.id,
            origin: party.origin,
            algorithms: ALGORITHMS.to_vec(),
            credentials,
        })
    }

    /// Takes a challenge out, so that it is used once; false if it is unknown, too old or of another.
    async fn take_challenge(
        &self,
        challenge: &[u8; 32],
        principal: Option<PrincipalId>,
    ) -> Result<bool> {
        let digest = sha256(challenge);
        let row: Option<ChallengeRow> = transact!(self.database, "take passkey challenge", |tx| {
            let sql = "DELETE FROM passkey_challenge WHERE digest = $1
                       RETURNING principal, expires_at";
            tx.optional(sql, &params![digest]).await
        })?;
        let now = self.now();
        Ok(row.is_some_and(|row| row.principal == principal && now < row.expires_at))
    }

    /// Adds a passkey to the caller's account, and its door to the keyring.
    pub(crate) async fn add_passkey(&self, actor: &Actor, new: &NewPasskey) -> Result<Passkey> {
        let name = new.name.trim();
        if !(1..=PASSKEY_NAME_LIMIT).contains(&name.len()) || name.chars().any(char::is_control) {
            let text = format!("1 to {PASSKEY_NAME_LIMIT} bytes without control characters");
            return Err(Problem::field("/name", text));
        }
        let party = self.party()?;
        let challenge = challenge(&new.client_data.0, Ceremony::Create, &party)
            .ok_or_else(|| Problem::field("/client_data", "not an answer to this node's page"))?;
        if !self.take_challenge(&challenge, Some(actor.id)).await? {
            return Err(Problem::conflict(
                "challenge-used",
                "The challenge is unknown, used or too old",
            ));
        }
        let said = AuthenticatorData::parse(&new.authenticator_data.0, &party.id)
            .map_err(|error| Problem::field("/authenticator_data", error.to_string()))?;
        let made = said
            .credential
            .ok_or_else(|| Problem::field("/authenticator_data", "without a credential"))?;
        let with_door = new.keyring.as_ref().map(|k| keyring(&k.0)).transpose()?;
        let (counter, now) = (u64::from(said.counter), self.now());
        let written = transact!(self.database, "add passkey", |tx| {
            let found: Option<(Vec<u8>,)> = tx.optional(STORED_KEYRING, &params![actor.id]).await?;
            let (stored,) = found.ok_or_else(Problem::not_found)?;
            let sql = "SELECT credential FROM passkey WHERE principal = $1";
            let known: Vec<(Vec<u8>,)> = tx.all(sql, &params![actor.id]).await?;
            if known.len() >= PASSKEYS_LIMIT {
                let text = "The account has as many passkeys as it can have";
                return Err(Problem::conflict("too-many-passkeys", text));
            }
            if let (Some(sealed), Some(new)) = (&with_door, &new.keyring) {
                if !adds_only(&keyring(&stored)?, sealed, &made.id) {
                    let text = "The keyring has changed meanwhile; read it again";
                    return Err(Problem::conflict("keyring-changed", text));
                }
                let sql = "UPDATE account SET keyring = $2, updated_at = $3 WHERE principal = $1";
                tx.execute(sql, &params![actor.id, new.0, now]).await?;
            }
            tx.execute(
                "INSERT INTO passkey (credential, principal, name, public_key, counter, created_at)
                     VALUES ($1, $2, $3, $4, $5, $6)",
                &params![made.id, actor.id, name, made.key, counter, now],
            )
            .await?;
            Ok::<(), Problem>(())
        });
        written?;
        Ok(Passkey {
            credential: Binary(made.id),
            name: name.to_owned(),
            created: now,
            used: None,
            opens_keyring: with_door.is_some(),
        })
    }

    /// Removes one of the caller's passkeys and its door; it opens nothing any more.
    pub(crate) async fn remove_passkey(&self, actor: &Actor, credential: &str) -> Result<()> {
        let credential = from_base64url(credential).ok_or_else(Problem::not_found)?;
        let now = self.now();
        transact!(self.database, "remove passkey", |tx| {
            let sql = "DELETE FROM passkey WHERE credential = $1 AND principal = $2";
            if tx.execute(sql, &params![credential, actor.id]).await? == 0 {
                return Err(Problem::not_found());
            }
            let found: Option<(Vec<u8>,)> = tx.optional(STORED_KEYRING, &params![actor.id]).await?;
            let (stored,) = found.ok_or_else(Problem::not_found)?;
            let mut sealed = keyring(&stored)?;
            sealed.doors.retain(|door| !is_door_of(door, &credential));
            let bytes = salus_proto::encode::to_bytes(&sealed);
            let sql = "UPDATE account SET keyring = $2, updated_at = $3 WHERE principal = $1";
            tx.execute(sql, &params![actor.id, bytes, now]).await?;
            Ok(())
        })
    }

    /// Opens a session for whoever answered a challenge with a passkey of an account here.
    pub(crate) async fn passkey_login(
        &self,
        login: &PasskeyLogin,
        from: IpAddr,
        note: &RequestNote,
    ) -> Result<(PasskeySession, Token)> {
        let party = self.party()?;
        let challenge = challenge(&login.client_data.0, Ceremony::Get, &party)
            .ok_or_else(Problem::passkey_refused)?;
        if !self.take_challenge(&challenge, None).await?
            || login.credential.0.len() > CREDENTIAL_LIMIT
        {
            return Err(Problem::passkey_refused());
        }
        let found: Option<StoredRow> = {
            let tx = &mut self.database.read().await?;
            let sql = "SELECT p.principal, p.public_key, a.login, a.keyring
                       FROM passkey p JOIN account a ON a.principal = p.principal
                       WHERE p.credential = $1";
            tx.optional(sql, &params![login.credential.0]).await
        }?;
        let row = found.ok_or_else(Problem::passkey_refused)?;
        // For the watch: whose account somebody tries to open.
        note.set(row.principal);
        let said = AuthenticatorData::parse(&login.authenticator_data.0, &party.id)
            .and_then(|said| {
                let (data, client) = (&login.authenticator_data.0, &login.client_data.0);
                PublicKey::parse(&row.public_key)?.verify(data, client, &login.signature.0)?;
                Ok(said)
            })
            .map_err(|_| Problem::passkey_refused())?;
        if login.user_handle.0 != row.principal.as_bytes() {
            return Err(Problem::passkey_refused());
        }
        // One that counts has a copy if it does not go on counting (level 3, section 6.1.1).
        let (counter, now) = (u64::from(said.counter), self.now());
        let counted = transact!(self.database, "use passkey", |tx| {
            let sql = "UPDATE passkey SET counter = $2, used_at = $3
                       WHERE credential = $1 AND (counter < $2 OR (counter = 0 AND $2 = 0))";
            tx.execute(sql, &params![login.credential.0, counter, now])
                .await
        })?;
        if counted == 0 {
            return Err(Problem::passkey_refused());
        }
        self.forget_attempts(throttle::address(from)).await?;
        let (token, expires) = self.open_session(row.principal).await?;
        let session = PasskeySession {
            token: Binary(token.bytes()),
            expires,
            principal: row.principal,
            login: row.login,
            keyring: Binary(row.keyring),
        };
        Ok((session, token))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn party(api: &str) -> Option<(String, String)> {
        Party::of(api).map(|party| (party.id, party.origin))
    }

    #[test]
    fn passkeys_belong_to_names_and_the_loopback_has_one() {
        let is = |id: &str, origin: &str| Some((id.to_owned(), origin.to_owned()));
        let named = party("https://Records.North.example:8443/");
        assert_eq!(
            named,
            is(
                "records.north.example",
                "https://records.north.example:8443"
            )
        );
        assert_eq!(
            party("https://north.example"),
            is("north.example", "https://north.example")
        );
        for loopback in ["https://127.0.0.1:8446", "https://[::1]:8446"] {
            assert_eq!(party(loopback), is("localhost", "https://localhost:8446"));
        }
        assert_eq!(party("https://10.0.0.7:8443"), None);
        assert_eq!(party("nonsense"), None);
    }

    #[test]
    fn client_data_is_of_the_ceremony_and_from_the_own_page() {
        let party = Party::of("https://north.example").unwrap();
        let text = |kind: &str, origin: &str, more: &str| {
            let challenge = salus_proto::encode::to_base64url(&[7; 32]);
            format!(
                r#"{{"type":"{kind}","challenge":"{challenge}","origin":"{origin}"{more},"new":1}}"#
            )
        };
        let own = "https://north.example";
        let get = |text: String| challenge(text.as_bytes(), Ceremony::Get, &party);
        assert_eq!(get(text("webauthn.get", own, "")), Some([7; 32]));
        let inside = r#","crossOrigin":false"#;
        assert_eq!(get(text("webauthn.get", own, inside)), Some([7; 32]));
        for wrong in [
            text("webauthn.create", own, ""),
            text("webauthn.get", "https://north.example.evil", ""),
            text("webauthn.get", "http://north.example", ""),
            text("webauthn.get", own, r#","crossOrigin":true"#),
            text("webauthn.get", own, r#","topOrigin":"https://evil""#),
            "{}".to_owned(),
            text("webauthn.get", own, &" ".repeat(CLIENT_DATA_LIMIT)),
        ] {
            assert_eq!(get(wrong.clone()), None, "{wrong}");
        }
    }
}
