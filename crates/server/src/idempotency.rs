//! `Idempotency-Key`: a write that is repeated with the same key gets the first answer again.
//!
//! Keys belong to a principal. The key is taken before the work begins, so two equal requests at once
//! do it once; the other is told to try again. Answers of 500 and above are not kept.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequestParts as _, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http_body_util::BodyExt as _;
use salus_crypto::digest::sha256_of;
use salus_proto::Digest;
use salus_proto::ids::PrincipalId;
use salus_runtime::{from_row, params, transact};

use crate::app::App;
use crate::http::extract::{JSON_LIMIT, read_body};
use crate::problem::{Problem, Result, render};
use crate::session::Session;

/// Longest key, in bytes.
const KEY_LIMIT: usize = 128;
/// Largest answer that is kept, in bytes.
const ANSWER_LIMIT: usize = 1 << 20;
/// How long answers are kept, in ms.
pub(crate) const KEPT_MS: u64 = 24 * 3_600_000;
/// A request without an answer after this time, in ms, is taken for lost.
const LOST_MS: u64 = 120_000;

struct Row {
    request_digest: Digest,
    status: Option<u32>,
    content_type: Option<String>,
    body: Option<Vec<u8>>,
    created_at: salus_proto::TimestampMs,
}
from_row!(Row {
    request_digest,
    status,
    content_type,
    body,
    created_at
});

/// Whose key it is.
struct Key {
    principal: PrincipalId,
    name: String,
}

/// Answers from memory what was answered before.
pub(crate) async fn layer(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    match handle(&app, request, next).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn handle(app: &Arc<App>, request: Request, next: Next) -> Result<Response> {
    let writes = matches!(
        *request.method(),
        Method::POST | Method::PUT | Method::DELETE
    );
    let json = request
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| {
            value
                .to_str()
                .is_ok_and(|text| text.starts_with("application/json"))
        });
    // Uploads and batches are named by their content and need no key.
    let Some(name) = request
        .headers()
        .get("idempotency-key")
        .filter(|_| writes && json)
    else {
        return Ok(next.run(request).await);
    };
    let name = name
        .to_str()
        .ok()
        .filter(|name| (1..=KEY_LIMIT).contains(&name.len()));
    let name = name
        .ok_or_else(|| Problem::field("Idempotency-Key", "1 to 128 printable ASCII characters"))?
        .to_owned();
    let (mut parts, body) = request.into_parts();
    // Without a session there is nobody to whom the key could belong.
    let Ok(session) = Session::from_request_parts(&mut parts, app).await else {
        return Ok(next.run(Request::from_parts(parts, body)).await);
    };
    let path = parts.uri.path().to_owned();
    let method = parts.method.clone();
    let body = read_body(Request::new(body), JSON_LIMIT).await?;
    let digest = sha256_of(&[
        method.as_str().as_bytes(),
        b"\0",
        path.as_bytes(),
        b"\0",
        &body,
    ]);
    let key = Key {
        principal: session.actor.id,
        name,
    };
    if let Some(answer) = app.take_key(&key, digest).await? {
        return Ok(answer);
    }
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    app.keep_answer(&key, response).await
}

impl App {
    /// Takes the key for a request, or gives the answer that it got before.
    async fn take_key(&self, key: &Key, digest: Digest) -> Result<Option<Response>> {
        let now = self.now();
        let before: Option<Row> = transact!(self.database, "take idempotency key", |tx| {
            let row: Option<Row> = tx
                .optional(
                    "SELECT request_digest, status, content_type, body, created_at
                         FROM idempotency WHERE principal = $1 AND idempotency_key = $2",
                    &params![key.principal, key.name],
                )
                .await?;
            let age = |row: &Row| now.0.saturating_sub(row.created_at.0);
            let stale = |row: &Row| {
                age(row)
                    > if row.status.is_some() {
                        KEPT_MS
                    } else {
                        LOST_MS
                    }
            };
            if let Some(row) = row.filter(|row| !stale(row)) {
                return Ok(Some(row));
            }
            tx.execute(
                "INSERT INTO idempotency
                       (principal, idempotency_key, request_digest, created_at)
                     VALUES ($1, $2, $3, $4)
                     ON CONFLICT (principal, idempotency_key) DO UPDATE SET
                       request_digest = excluded.request_digest, status = NULL,
                       content_type = NULL, body = NULL, created_at = excluded.created_at",
                &params![key.principal, key.name, digest, now],
            )
            .await?;
            Ok::<_, salus_runtime::Error>(None)
        })?;
        match before {
            None => Ok(None),
            Some(row) if row.request_digest != digest => Err(Problem::idempotency_mismatch()),
            Some(Row { status: None, .. }) => Err(Problem::conflict(
                "in-progress",
                "The first request with this idempotency key is still at work",
            )),
            Some(row) => Ok(Some(replay(row))),
        }
    }

    /// Keeps an answer and passes it on; forgets the key when the answer may change.
    async fn keep_answer(&self, key: &Key, response: Response) -> Result<Response> {
        let (response, problem) = render(response, "repeated");
        let (parts, body) = response.into_parts();
        let body = body
            .collect()
            .await
            .map_err(|_| Problem::internal())?
            .to_bytes();
        let kept = !parts.status.is_server_error()
            && parts.status != StatusCode::TOO_MANY_REQUESTS
            && body.len() <= ANSWER_LIMIT;
        let status = parts.status.as_u16();
        let content_type = parts
            .headers
            .get(header::CONTENT_TYPE)
            .and_then(|v| v.to_str().ok());
        let stored = body.to_vec();
        transact!(self.database, "keep answer", |tx| {
            if kept {
                tx.execute(
                    "UPDATE idempotency SET status = $3, content_type = $4, body = $5
                         WHERE principal = $1 AND idempotency_key = $2",
                    &params![
                        key.principal,
                        key.name,
                        u32::from(status),
                        content_type,
                        stored
                    ],
                )
                .await
            } else {
                tx.execute(
                    "DELETE FROM idempotency WHERE principal = $1 AND idempotency_key = $2",
                    &params![key.principal, key.name],
                )
                .await
            }
        })?;
        let mut response = Response::from_parts(parts, Body::from(body));
        // The outermost layer renders it once more, with this occurrence's name.
        problem.and_then(|problem| response.extensions_mut().insert(problem));
        Ok(response)
    }
}

fn replay(row: Row) -> Response {
    let mut response = Response::new(Body::from(row.body.unwrap_or_default()));
    let status = row.status.and_then(|status| u16::try_from(status).ok());
    *response.status_mut() = status
        .and_then(|s| StatusCode::from_u16(s).ok())
        .unwrap_or(StatusCode::OK);
    let headers = response.headers_mut();
    if let Some(value) = row
        .content_type
        .and_then(|text| HeaderValue::from_str(&text).ok())
    {
        headers.insert(header::CONTENT_TYPE, value);
    }
    headers.insert("idempotent-replayed", HeaderValue::from_static("true"));
    response
}
