//! One node's API as anybody reaches it: typed calls, problems as errors.

use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_TYPE, RANGE};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use salus_proto::Digest;
use salus_proto::api::BASE_PATH;
use salus_proto::api::Page;
use salus_proto::api::command::{CommandReceipt, CommandSubmission};
use salus_proto::api::ledger::{LedgerStatus, MemberDetail};
use salus_proto::api::principal::PrincipalDetail;
use salus_proto::api::problem::Problem;
use salus_proto::api::training::{TrainingUpload, UPLOAD_DIGEST, write_digest};
use salus_proto::ids::PrincipalId;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncWriteExt as _, DuplexStream};
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::trust::Trust;

/// Largest answer that is read into memory.
const ANSWER_LIMIT: usize = 256 << 20;
/// Bytes of a streamed answer that wait for their reader.
const PIPE_BYTES: usize = 256 << 10;

/// A node's address, the connections to it, and the session there if one was opened.
#[derive(Clone)]
pub struct Node {
    base: String,
    http: reqwest::Client,
    token: Option<Zeroizing<String>>,
    trust: Option<Trust>,
}

impl core::fmt::Debug for Node {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Node")
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}

impl Node {
    /// A node at `base`, for example `https://north.example:8443`, whose certificate one of the
    /// authorities in `authorities_pem` has signed.
    ///
    /// # Errors
    /// [`Error::Authority`] if the PEM text holds no certificate.
    pub fn new(base: &str, authorities_pem: &[u8]) -> Result<Self> {
        // Installing fails only when a provider is installed already, which is what is wanted.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let certificates =
            reqwest::Certificate::from_pem_bundle(authorities_pem).map_err(|_| Error::Authority)?;
        if certificates.is_empty() {
            return Err(Error::Authority);
        }
        let http = reqwest::Client::builder()
            .tls_certs_only(certificates)
            .https_only(true)
            .no_proxy()
            .tcp_nodelay(true)
            .build()
            .map_err(|_| Error::Authority)?;
        Ok(Self {
            base: base.trim_end_matches('/').to_owned(),
            http,
            token: None,
            trust: None,
        })
    }

    /// The same node as one of the consortium with this genesis, which the caller knows from somebody
    /// it trusts: only then are keys of other people believed.
    #[must_use]
    pub fn of_consortium(self, genesis: Digest) -> Self {
        Self {
            trust: Some(Trust::new(genesis)),
            ..self
        }
    }

    pub(crate) fn trust(&self) -> Option<&Trust> {
        self.trust.as_ref()
    }

    /// The same node with a session.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self {
            token: Some(Zeroizing::new(token.to_owned())),
            ..self.clone()
        }
    }

    /// Another node whose certificate the same authorities vouch for; without a session.
    #[must_use]
    pub fn other(&self, base: &str) -> Self {
        Self {
            base: base.trim_end_matches('/').to_owned(),
            token: None,
            ..self.clone()
        }
    }

    /// Its address.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Height, size, members and the last certified checkpoint.
    pub async fn status(&self) -> Result<LedgerStatus> {
        self.get("/ledger").await
    }

    /// The members.
    pub async fn members(&self) -> Result<Vec<MemberDetail>> {
        self.all("/members").await
    }

    /// A principal's role, standing and keys.
    pub async fn principal(&self, principal: PrincipalId) -> Result<PrincipalDetail> {
        self.get(&format!("/principals/{principal}")).await
    }

    /// The same, with the keys that it signed this entry with.
    pub async fn principal_as_of(
        &self,
        principal: PrincipalId,
        entry: u64,
    ) -> Result<PrincipalDetail> {
        self.get(&format!("/principals/{principal}?entry={entry}"))
            .await
    }

    /// Submits a signed command and waits until it is final.
    pub async fn submit(&self, command: Vec<u8>) -> Result<CommandReceipt> {
        let submission = CommandSubmission {
            command: command.into(),
        };
        let receipt: CommandReceipt = self.post("/commands", &submission).await?;
        if let Some(trust) = &self.trust {
            trust.saw(receipt.entry + 1);
        }
        Ok(receipt)
    }

    /// GET of a JSON body.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.json(self.request(Method::GET, path)).await
    }

    /// POST of a JSON body.
    pub async fn post<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<T> {
        self.json(self.request(Method::POST, path).json(body)).await
    }

    /// POST of CBOR bytes.
    pub async fn post_cbor<T: DeserializeOwned>(&self, path: &str, body: Bytes) -> Result<T> {
        let request = self.request(Method::POST, path);
        self.json(request.header(CONTENT_TYPE, "application/cbor").body(body))
            .await
    }

    /// POST without a body or an answer that matters.
    pub async fn post_empty(&self, path: &str) -> Result<()> {
        self.send(self.request(Method::POST, path)).await.map(drop)
    }

    /// POST of a JSON body that is answered without one.
    pub async fn post_done<B: Serialize + Sync>(&self, path: &str, body: &B) -> Result<()> {
        let request = self.request(Method::POST, path).json(body);
        self.send(request).await.map(drop)
    }

    /// PUT of a JSON body.
    pub async fn put_json<B: Serialize + Sync>(&self, path: &str, body: &B) -> Result<()> {
        let request = self.request(Method::PUT, path).json(body);
        self.send(request).await.map(drop)
    }

    /// PUT of bytes.
    pub async fn put(&self, path: &str, body: Bytes) -> Result<()> {
        let request = self.request(Method::PUT, path);
        let request = request
            .header(CONTENT_TYPE, "application/octet-stream")
            .body(body);
        self.send(request).await.map(drop)
    }

    /// PUT of a piece of an update or a model that begins at byte `at`, with the digest of all up to its
    /// end. The answer says where to go on, which is before `at` where something was spoilt on the way.
    pub async fn put_piece(
        &self,
        path: &str,
        at: u64,
        piece: Bytes,
        so_far: &Digest,
    ) -> Result<TrainingUpload> {
        let request = self
            .request(Method::PUT, &format!("{path}?at={at}"))
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(UPLOAD_DIGEST, write_digest(so_far));
        self.json(request.body(piece)).await
    }

    /// POST of CBOR bytes in the name of a member organisation, signed for this one request (header
    /// `Salus-Member`).
    pub async fn post_as_member<T: DeserializeOwned>(
        &self,
        path: &str,
        proof: &str,
        body: Bytes,
    ) -> Result<T> {
        let request = self
            .request(Method::POST, path)
            .header("Salus-Member", proof);
        self.json(request.header(CONTENT_TYPE, "application/cbor").body(body))
            .await
    }

    /// GET of bytes of any length in the name of a member organisation. An answer that breaks off ends
    /// early: whoever reads it checks it.
    pub async fn read_as_member(&self, path: &str, proof: &str) -> Result<DuplexStream> {
        let request = self
            .request(Method::GET, path)
            .header(ACCEPT, "*/*")
            .header("Salus-Member", proof);
        let mut response = self.send(request).await?;
        let (mut to, from) = tokio::io::duplex(PIPE_BYTES);
        tokio::spawn(async move {
            while let Ok(Some(chunk)) = response.chunk().await {
                if to.write_all(&chunk).await.is_err() {
                    return;
                }
            }
        });
        Ok(from)
    }

    /// DELETE without an answer.
    pub async fn delete(&self, path: &str) -> Result<()> {
        self.send(self.request(Method::DELETE, path))
            .await
            .map(drop)
    }

    /// GET of bytes, or of a range of them (first and last position, inclusive).
    pub async fn bytes(&self, path: &str, range: Option<(u64, u64)>) -> Result<Bytes> {
        let mut request = self.request(Method::GET, path).header(ACCEPT, "*/*");
        if let Some((first, last)) = range {
            request = request.header(RANGE, format!("bytes={first}-{last}"));
        }
        self.body(self.send(request).await?).await
    }

    /// All pages of a list.
    pub async fn all<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>> {
        let separator = if path.contains('?') { '&' } else { '?' };
        let mut items = Vec::new();
        let mut after = String::new();
        loop {
            let page: Page<T> = self
                .get(&format!("{path}{separator}limit=500{after}"))
                .await?;
            items.extend(page.items);
            match page.next {
                Some(next) => after = format!("&after={next}"),
                None => return Ok(items),
            }
        }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self
            .http
            .request(method, format!("{}{BASE_PATH}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token.as_str()),
            None => request,
        }
    }

    async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T> {
        let body = self.body(self.send(request).await?).await?;
        serde_json::from_slice(&body).map_err(|error| self.strange(error.to_string()))
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response> {
        let response = request
            .send()
            .await
            .map_err(|cause| self.unreachable(cause))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = self.body(response).await?;
        let problem: Problem = serde_json::from_slice(&body)
            .map_err(|_| self.strange(format!("status {status} without a problem document")))?;
        Err(match status {
            StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
            | StatusCode::TOO_MANY_REQUESTS => Error::Unavailable(Box::new(problem)),
            _ => Error::Refused(Box::new(problem)),
        })
    }

    async fn body(&self, mut response: Response) -> Result<Bytes> {
        let mut body = Vec::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|cause| self.unreachable(cause))?
        {
            if body.len() + chunk.len() > ANSWER_LIMIT {
                return Err(self.strange("the answer is too long".into()));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.into())
    }

    fn unreachable(&self, cause: reqwest::Error) -> Error {
        // The path may name a record; the address is enough.
        Error::Unreachable {
            url: self.base.clone(),
            cause: cause.without_url(),
        }
    }

    fn strange(&self, what: String) -> Error {
        Error::NotSalus {
            url: self.base.clone(),
            what,
        }
    }
}
