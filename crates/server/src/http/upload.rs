//! `/uploads`: large sealed blobs, resumable.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use salus_proto::api::problem::Problem as ProblemBody;
use salus_proto::api::upload::{PART_SIZE, UploadEnd, UploadStart, UploadStatus};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Json, Path, expect_media_type, read_body};
use crate::app::{Actor, App};
use crate::problem::Result;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(begin))
        .routes(routes!(part))
        .routes(routes!(complete))
}

/// Announce a blob, or ask how far it is
#[utoipa::path(post, path = "/uploads", tag = "uploads", request_body = UploadStart,
    responses((status = 200, body = UploadStatus), (status = "4XX", body = ProblemBody)))]
async fn begin(
    State(app): State<Arc<App>>,
    actor: Actor,
    Json(start): Json<UploadStart>,
) -> Result<Json<UploadStatus>> {
    app.begin_upload(&actor, start).await.map(Json)
}

/// Store one part; any order, any number of times
#[utoipa::path(put, path = "/uploads/{id}/parts/{number}", tag = "uploads",
    params(("id" = String, Path), ("number" = u32, Path)),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 204), (status = "4XX", body = ProblemBody)))]
async fn part(
    State(app): State<Arc<App>>,
    actor: Actor,
    Path((id, number)): Path<(String, u32)>,
    request: Request,
) -> Result<StatusCode> {
    expect_media_type(&request, "application/octet-stream")?;
    let limit = usize::try_from(PART_SIZE).unwrap_or(usize::MAX);
    let body = read_body(request, limit).await?;
    app.put_part(&actor, &id, number, body).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Make the parts the blob of this digest
#[utoipa::path(post, path = "/uploads/{id}/complete", tag = "uploads",
    params(("id" = String, Path)), request_body = UploadEnd,
    responses((status = 204), (status = "4XX", body = ProblemBody)))]
async fn complete(
    State(app): State<Arc<App>>,
    actor: Actor,
    Path(id): Path<String>,
    Json(end): Json<UploadEnd>,
) -> Result<StatusCode> {
    app.complete_upload(&actor, &id, end.digest).await?;
    Ok(StatusCode::NO_CONTENT)
}
