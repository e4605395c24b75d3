//! Requests between members' nodes, signed with the member's key.

use core::fmt;
use core::str::FromStr;

use bytes::Bytes;
use futures_util::Stream;
use salus_crypto::digest::sha256;
use salus_crypto::label;
use salus_crypto::sign::Ed25519Verifier;
use salus_proto::encode::from_base64url;
use salus_proto::ids::OrganisationId;
use salus_proto::{Digest, TimestampMs};

use super::App;
use crate::node::members;
use crate::problem::{Problem, Result};

/// How far a member's clock may be from ours, in ms.
const SKEW_MS: u64 = 5 * 60_000;

/// The header `Salus-Member`: `<organisation>;<ms>;<base64url Ed25519 signature>`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Proof {
    organisation: OrganisationId,
    at: TimestampMs,
    signature: Vec<u8>,
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proof({})", self.organisation)
    }
}

impl FromStr for Proof {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self> {
        let parse = || {
            let mut parts = text.split(';');
            let proof = Self {
                organisation: parts.next()?.parse().ok()?,
                at: TimestampMs(parts.next()?.parse().ok()?),
                signature: from_base64url(parts.next()?)?,
            };
            parts.next().is_none().then_some(proof)
        };
        parse().ok_or_else(Problem::bad_member)
    }
}

/// What a member signs under the label `salus/v1/peer`: method, path, time and body's digest.
fn message(method: &str, path: &str, at: TimestampMs, body: &[u8]) -> Vec<u8> {
    let at = at.0.to_string();
    let digest = sha256(body);
    [
        method.as_bytes(),
        path.as_bytes(),
        at.as_bytes(),
        digest.as_bytes(),
    ]
    .concat()
}

impl App {
    /// Refuses a request in the name of somebody who is no member, before its body is read.
    pub(crate) fn knows_member(&self, proof: &Proof) -> Result<()> {
        let members = members(&*self.view()?)?;
        members
            .find(proof.organisation)
            .map(drop)
            .ok_or_else(Problem::bad_member)
    }

    /// The member that signed a request, if it is one and did so just now.
    pub(crate) fn member_of(
        &self,
        proof: &Proof,
        method: &str,
        path: &str,
        body: &[u8],
    ) -> Result<OrganisationId> {
        let members = members(&*self.view()?)?;
        let member = members
            .find(proof.organisation)
            .ok_or_else(Problem::bad_member)?;
        if self.now().0.abs_diff(proof.at.0) > SKEW_MS {
            return Err(Problem::bad_member());
        }
        let message = message(method, path, proof.at, body);
        Ed25519Verifier::parse(&member.keys.ed25519)
            .and_then(|key| key.verify(label::PEER, &message, &proof.signature))
            .map_err(|_| Problem::bad_member())?;
        Ok(proof.organisation)
    }

    /// Sealed bytes by digest, for recovery by another member, which may well ask one that has none.
    pub(crate) async fn peer_blob(
        &self,
        digest: Digest,
    ) -> Result<(
        u64,
        impl Stream<Item = salus_runtime::Result<Bytes>> + Send + use<>,
    )> {
        let missing = |error| match error {
            salus_vault::Error::NotFound { .. } => Problem::not_found(),
            error => error.into(),
        };
        let length = self.vault.blob_length(digest).await.map_err(missing)?;
        let stream = self.vault.blob_stream(digest).await.map_err(missing)?;
        Ok((length, stream))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_three_whole_parts_are_a_proof() {
        let id = "01".repeat(16);
        assert!(format!("{id};5;AAAA").parse::<Proof>().is_ok());
        for bad in [
            "",
            &id,
            &format!("{id};5"),
            &format!("{id};x;AAAA"),
            &format!("{id};5;AA==;"),
        ] {
            assert_eq!(bad.parse::<Proof>().unwrap_err().code(), "member-refused");
        }
    }
}
