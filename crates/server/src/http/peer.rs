//! `/peer`: between members' nodes. Each request is signed by the member (header `Salus-Member`).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use salus_proto::Digest;
use salus_proto::api::batch::BatchAccepted;
use salus_proto::api::problem::Problem as ProblemBody;
use salus_proto::record::BATCH_LIMIT;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Json, Path, expect_media_type, read_body};
use crate::app::App;
use crate::app::peer::Proof;
use crate::problem::{Problem, Result};

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(batches))
        .routes(routes!(blob))
}

fn proof(headers: &HeaderMap) -> Result<Proof> {
    let text = headers
        .get("salus-member")
        .and_then(|value| value.to_str().ok());
    text.ok_or_else(Problem::bad_member)?.parse()
}

/// Keep a replica of an anchored batch
#[utoipa::path(post, path = "/peer/batches", tag = "peer", security(()),
    params(("Salus-Member" = String, Header, description = "organisation;ms;signature")),
    request_body(content = Vec<u8>, content_type = "application/cbor"),
    responses((status = 201, body = BatchAccepted), (status = "4XX", body = ProblemBody)))]
async fn batches(
    State(app): State<Arc<App>>,
    uri: Uri,
    headers: HeaderMap,
    request: Request,
) -> Result<(StatusCode, Json<BatchAccepted>)> {
    let proof = proof(&headers)?;
    // Only members may make this node read so much.
    app.knows_member(&proof)?;
    expect_media_type(&request, "application/cbor")?;
    let body = read_body(request, BATCH_LIMIT).await?;
    let member = app.member_of(&proof, Method::POST.as_str(), uri.path(), &body)?;
    Ok((
        StatusCode::CREATED,
        Json(app.accept_replica(member, body).await?),
    ))
}

/// Sealed bytes by digest, for recovery
#[utoipa::path(get, path = "/peer/blobs/{digest}", tag = "peer", security(()),
    params(("digest" = Digest, Path),
        ("Salus-Member" = String, Header, description = "organisation;ms;signature")),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = "4XX", body = ProblemBody)))]
async fn blob(
    State(app): State<Arc<App>>,
    uri: Uri,
    headers: HeaderMap,
    Path(digest): Path<Digest>,
) -> Result<Response> {
    app.member_of(&proof(&headers)?, Method::GET.as_str(), uri.path(), &[])?;
    let (length, bytes) = app.peer_blob(digest).await?;
    let mut response = Body::from_stream(bytes).into_response();
    let kind = HeaderValue::from_static("application/octet-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
        .headers_mut()
        .insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    Ok(response)
}
