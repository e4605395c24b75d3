//! `POST /batches`: sealed records come in.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use salus_proto::api::batch::BatchAccepted;
use salus_proto::api::problem::Problem as ProblemBody;
use salus_proto::record::BATCH_LIMIT;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Json, expect_media_type, read_body};
use crate::app::{Actor, App};
use crate::problem::Result;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(accept))
}

/// Take in a batch of sealed records and anchor it; idempotent by its id
#[utoipa::path(post, path = "/batches", tag = "batches",
    request_body(content = Vec<u8>, content_type = "application/cbor",
        description = "CBOR of a SealedBatch, at most 64 MiB"),
    responses((status = 201, body = BatchAccepted), (status = "4XX", body = ProblemBody),
        (status = 503, body = ProblemBody)))]
async fn accept(
    State(app): State<Arc<App>>,
    actor: Actor,
    request: Request,
) -> Result<(StatusCode, Json<BatchAccepted>)> {
    expect_media_type(&request, "application/cbor")?;
    let body = read_body(request, BATCH_LIMIT).await?;
    Ok((
        StatusCode::CREATED,
        Json(app.accept_batch(&actor, body).await?),
    ))
}
