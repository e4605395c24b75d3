//! `/data-sets`, `/jobs` and `/predictions`: federated training.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::stream;
use salus_crypto::digest::Sha256;
use salus_proto::api::Page;
use salus_proto::api::problem::Problem as ProblemBody;
use salus_proto::api::training::{
    DataSetRequest, DataSetView, GainView, IMAGE_LIMIT, JobRequest, JobView, LineageView,
    PIECE_LIMIT, PredictionRequest, PredictionView, RoundView, TrainingUpload, UpdateView,
};
use salus_proto::federated::RECORD_LIMIT_BYTES;
use salus_proto::ids::{JobId, OrganisationId};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Json, Paging, Path, Query, expect_media_type, read_body, read_parts};
use super::record::{Asked, asked};
use crate::app::job::{JobFile, StoredFile};
use crate::app::{Actor, App};
use crate::problem::{Problem, Result};

/// Bytes of a file that are read at once.
const READ_BYTES: u64 = 256 << 10;
/// Largest prediction request: an image in base64 and a command.
const PREDICTION_LIMIT: usize = IMAGE_LIMIT / 3 * 4 + (256 << 10);

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(offer))
        .routes(routes!(data_sets))
        .routes(routes!(jobs, propose))
        .routes(routes!(job))
        .routes(routes!(plan))
        .routes(routes!(lineage))
        .routes(routes!(gain))
        .routes(routes!(updates))
        .routes(routes!(export))
        .routes(routes!(round))
        .routes(routes!(model))
        .routes(routes!(state))
        .routes(routes!(received))
        .routes(routes!(update_state, put_update, post_update))
        .routes(routes!(initial_state, put_initial, post_initial))
        .routes(routes!(predict))
}

/// Open this hospital's labelled images and offer them for training
#[utoipa::path(post, path = "/data-sets", tag = "training", request_body = DataSetRequest,
    responses((status = 201, body = DataSetView), (status = "4XX", body = ProblemBody),
        (status = 503, body = ProblemBody)))]
async fn offer(
    State(app): State<Arc<App>>,
    actor: Actor,
    Json(wish): Json<DataSetRequest>,
) -> Result<(StatusCode, Json<DataSetView>)> {
    Ok((
        StatusCode::CREATED,
        Json(app.offer_data(&actor, wish).await?),
    ))
}

/// Data sets that hospitals offer for training
#[utoipa::path(get, path = "/data-sets", tag = "training", params(Paging),
    responses((status = 200, body = Page<DataSetView>), (status = "4XX", body = ProblemBody)))]
async fn data_sets(
    State(app): State<Arc<App>>,
    actor: Actor,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<DataSetView>>> {
    app.data_sets(&actor, &paging).await.map(Json)
}

/// Federated jobs
#[utoipa::path(get, path = "/jobs", tag = "training", params(Paging),
    responses((status = 200, body = Page<JobView>), (status = "4XX", body = ProblemBody)))]
async fn jobs(
    State(app): State<Arc<App>>,
    actor: Actor,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<JobView>>> {
    app.jobs(&actor, &paging).await.map(Json)
}

/// Draw up a plan over offered data sets and propose it, as this coordinator
#[utoipa::path(post, path = "/jobs", tag = "training", request_body = JobRequest,
    responses((status = 201, body = JobView), (status = "4XX", body = ProblemBody),
        (status = 503, body = ProblemBody)))]
async fn propose(
    State(app): State<Arc<App>>,
    actor: Actor,
    Json(wish): Json<JobRequest>,
) -> Result<(StatusCode, Json<JobView>)> {
    Ok((
        StatusCode::CREATED,
        Json(app.propose_job(&actor, wish).await?),
    ))
}

/// What left each site of a job: every update with its digest, bytes and figures
#[utoipa::path(get, path = "/jobs/{job}/updates", tag = "training",
    params(("job" = JobId, Path), Paging),
    responses((status = 200, body = Page<UpdateView>), (status = "4XX", body = ProblemBody)))]
async fn updates(
    State(app): State<Arc<App>>,
    actor: Actor,
    Path(job): Path<JobId>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<UpdateView>>> {
    app.updates(&actor, job, &paging).await.map(Json)
}

/// The finished model as a safetensors file with the names of a PyTorch state dict, at the coordinator
#[utoipa::path(get, path = "/jobs/{job}/export", tag = "training", params(("job" = JobId, Path)),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = "4XX", body = ProblemBody)))]
async fn export(
    State(app): State<Arc<App>>,
    actor: Actor,
    Path(job): Path<JobId>,
) -> Result<Response> {
    let mut response = app.export(&actor, job).await?.into_response();
    let kind = HeaderValue::from_static("application/octet-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct After {
    /// The `version` that the caller knows: the answer waits, for at most 25 s, until it is another.
    after: Option<u64>,
}

/// One job: who trains, who is missing, its figures so far
#[utoipa::path(get, path = "/jobs/{job}", tag = "training", params(("job" = JobId, Path), After),
    responses((status = 200, body = JobView), (status = "4XX", body = ProblemBody)))]
async fn job(
    State(app): State<Arc<App>>,
    actor: Actor,
    Path(job): Path<JobId>,
    Query(After { after }): Query<After>,
) -> Result<Json<JobView>> {
    app.job(&actor, job, after).await.map(Json)
}

/// A job's plan, the bytes that its digest covers
#[utoipa::path(get, path = "/jobs/{job}/plan", tag = "training", params(("job" = JobId, Path)),
    responses((status = 200, body = Vec<u8>, content_type = "application/cbor"),
        (status = "4XX", body = ProblemBody)))]
async fn plan(
    State(app): State<Arc<App>>,
    actor: Actor,
    Path(job): Path<JobId>,
) -> Result<Response> {
    let mut response = app.plan(&actor, job)?.into_response();
    let kind = HeaderValue::from_static("application/cbor");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

/// Where a model comes from: plan, rounds, members, data versions, uses
#[utoipa::path(get, path = "/jobs/{job}/lineage", tag = "training", params(("job" = JobId, Path)),
    responses((status = 200, body = LineageView), (status = "4XX", body = ProblemBody)))]
async fn lineage(
    State(app): State<Arc<App>>,
    actor: Actor,
    Path(job): Path<JobId>,
) -> Result<Json<LineageView>> {
    app.lineage(&actor, job).await.map(Json)
}

/// What this hospital gained: the model against training alone, on its own test images
#[utoipa::path(get, path = "/jobs/{job}/gain", tag = "training", params(("job" = JobId, Path)),
    responses((status = 200, body = GainView), (status = "4XX", body = ProblemBody)))]
async fn gain(
    State(app): State<Arc<App>>,
    actor: Actor,
    Path(job): Path<JobId>,
) -> Result<Json<GainView>> {
    app.gain(&actor, job).await.map(Json)
}

/// A round with everything that is needed to add it up again
#[utoipa::path(get, path = "/jobs/{job}/rounds/{round}", tag = "training",
    params(("job" = JobId, Path), ("round" = u32, Path)),
    responses((status = 200, body = RoundView), (status = "4XX", body = ProblemBody)))]
async fn round(
    State(app): State<Arc<App>>,
    actor: Actor,
    Path((job, round)): Path<(JobId, u32)>,
) -> Result<Json<RoundView>> {
    app.round(&actor, job, round).map(Json)
}

/// The model that a round starts from, at the coordinator; that of the number of rounds is the last
#[utoipa::path(get, path = "/jobs/{job}/rounds/{round}/model", tag = "training",
    params(("job" = JobId, Path), ("round" = u32, Path),
        ("Range" = Option<String>, Header, description = "one range of bytes")),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 206, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = "4XX", body = ProblemBody)))]
async fn model(
    State(app): State<Arc<App>>,
    actor: Actor,
    Path((job, round)): Path<(JobId, u32)>,
    headers: HeaderMap,
) -> Result<Response> {
    let file = app.job_file(&actor, job, JobFile::Model(round)).await?;
    send(app, file, &headers)
}

/// The coordinator's state before a round, from 1
#[utoipa::path(get, path = "/jobs/{job}/rounds/{round}/state", tag = "training",
    params(("job" = JobId, Path), ("round" = u32, Path),
        ("Range" = Option<String>, Header, description = "one range of bytes")),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 206, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = "4XX", body = ProblemBody)))]
async fn state(
    State(app): State<Arc<App>>,
    actor: Actor,
    Path((job, round)): Path<(JobId, u32)>,
    headers: HeaderMap,
) -> Result<Response> {
    let file = app.job_file(&actor, job, JobFile::State(round)).await?;
    send(app, file, &headers)
}

/// A site's update in a round, for a member that adds the round up again
#[utoipa::path(get, path = "/jobs/{job}/rounds/{round}/updates/{site}", tag = "training",
    params(("job" = JobId, Path), ("round" = u32, Path), ("site" = OrganisationId, Path),
        ("Range" = Option<String>, Header, description = "one range of bytes")),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 206, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = "4XX", body = ProblemBody)))]
async fn received(
    State(app): State<Arc<App>>,
    actor: Actor,
    Path((job, round, site)): Path<(JobId, u32, OrganisationId)>,
    headers: HeaderMap,
) -> Result<Response> {
    let wanted = JobFile::Update(round, site);
    let file = app.job_file(&actor, job, wanted).await?;
    send(app, file, &headers)
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct At {
    /// Where the piece begins, bytes.
    at: u64,
}

/// How far my site's update is
#[utoipa::path(get, path = "/jobs/{job}/rounds/{round}/update", tag = "training",
    params(("job" = JobId, Path), ("round" = u32, Path)),
    responses((status = 200, body = TrainingUpload), (status = "4XX", body = ProblemBody)))]
async fn update_state(
    State(app): State<Arc<App>>,
    actor: Actor,
    Path((job, round)): Path<(JobId, u32)>,
) -> Result<Json<TrainingUpload>> {
    let state = app.training_upload(&actor, job, Some(round)).await?;
    Ok(Json(state))
}

/// The next piece of my site's update, at most 8 MiB
#[utoipa::path(put, path = "/jobs/{job}/rounds/{round}/update", tag = "training",
    params(("job" = JobId, Path), ("round" = u32, Path), At,
        ("Content-Digest" = Option<String>, Header, description = "SHA-256 as in RFC 9530")),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 200, body = TrainingUpload), (status = "4XX", body = ProblemBody)))]
async fn put_update(
    State(app): State<Arc<App>>,
    actor: Actor,
    Path((job, round)): Path<(JobId, u32)>,
    Query(At { at }): Query<At>,
    request: Request,
) -> Result<Json<TrainingUpload>> {
    // Asked first, so that only a site of the job may make this node read so much.
    app.may_send(&actor, job, Some(round)).await?;
    let piece = piece(request).await?;
    let state = app.put_training(&actor, job, Some(round), at, piece).await;
    state.map(Json)
}

/// My site's update is complete: its header, a CBOR `Update`
#[utoipa::path(post, path = "/jobs/{job}/rounds/{round}/update", tag = "training",
    params(("job" = JobId, Path), ("round" = u32, Path)),
    request_body(content = Vec<u8>, content_type = "application/cbor"),
    responses((status = 200, body = TrainingUpload), (status = "4XX", body = ProblemBody)))]
async fn post_update(
    State(app): State<Arc<App>>,
    actor: Actor,
    Path((job, round)): Path<(JobId, u32)>,
    request: Request,
) -> Result<Json<TrainingUpload>> {
    expect_media_type(&request, "application/cbor")?;
    let header = read_body(request, RECORD_LIMIT_BYTES).await?;
    app.put_update(&actor, job, round, &header).await?;
    app.training_upload(&actor, job, Some(round))
        .await
        .map(Json)
}

/// How far the upload of the job's first model is
#[utoipa::path(get, path = "/jobs/{job}/model", tag = "training", params(("job" = JobId, Path)),
    responses((status = 200, body = TrainingUpload), (status = "4XX", body = ProblemBody)))]
async fn initial_state(
    State(app): State<Arc<App>>,
    actor: Actor,
    Path(job): Path<JobId>,
) -> Result<Json<TrainingUpload>> {
    app.training_upload(&actor, job, None).await.map(Json)
}

/// The next piece of the job's first model, at most 8 MiB
#[utoipa::path(put, path = "/jobs/{job}/model", tag = "training",
    params(("job" = JobId, Path), At,
        ("Content-Digest" = Option<String>, Header, description = "SHA-256 as in RFC 9530")),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 200, body = TrainingUpload), (status = "4XX", body = ProblemBody)))]
async fn put_initial(
    State(app): State<Arc<App>>,
    actor: Actor,
    Path(job): Path<JobId>,
    Query(At { at }): Query<At>,
    request: Request,
) -> Result<Json<TrainingUpload>> {
    app.may_send(&actor, job, None).await?;
    let piece = piece(request).await?;
    app.put_training(&actor, job, None, at, piece)
        .await
        .map(Json)
}

/// The job's first model is complete
#[utoipa::path(post, path = "/jobs/{job}/model", tag = "training", params(("job" = JobId, Path)),
    responses((status = 204), (status = "4XX", body = ProblemBody)))]
async fn post_initial(
    State(app): State<Arc<App>>,
    actor: Actor,
    Path(job): Path<JobId>,
) -> Result<StatusCode> {
    app.put_initial_model(&actor, job).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Have a model judge an image that I may read: the receipt becomes final first
#[utoipa::path(post, path = "/predictions", tag = "training", request_body = PredictionRequest,
    responses((status = 200, body = PredictionView), (status = "4XX", body = ProblemBody),
        (status = 503, body = ProblemBody)))]
async fn predict(
    State(app): State<Arc<App>>,
    actor: Actor,
    request: Request,
) -> Result<Json<PredictionView>> {
    expect_media_type(&request, "application/json")?;
    app.may_predict(&actor)?;
    let body = read_body(request, PREDICTION_LIMIT).await?;
    let request: PredictionRequest = serde_json::from_slice(&body)
        .map_err(|_| Problem::field("", "a field is missing, unknown or of the wrong form"))?;
    drop(body);
    app.predict(&actor, request).await.map(Json)
}

/// A piece of an upload in the parts that it came in, checked against its `Content-Digest` (RFC 9530) where
/// it has one.
async fn piece(request: Request) -> Result<Vec<Bytes>> {
    expect_media_type(&request, "application/octet-stream")?;
    let digest = request.headers().get("content-digest").cloned();
    let parts = read_parts(request, PIECE_LIMIT).await?;
    let Some(digest) = digest else {
        return Ok(parts);
    };
    let hashed = parts.clone();
    let found = tokio::task::spawn_blocking(move || {
        let mut hasher = Sha256::new();
        hashed.iter().for_each(|part| hasher.update(part));
        hasher.finish()
    });
    let found = found.await.map_err(|_| Problem::internal())?;
    let expected = salus_proto::api::training::content_digest(&found);
    if digest.as_bytes() == expected.as_bytes() {
        return Ok(parts);
    }
    Err(Problem::field(
        "Content-Digest",
        "the piece does not have this digest; send it again",
    ))
}

/// A file, or the range of it that was asked for.
fn send(app: Arc<App>, file: StoredFile, headers: &HeaderMap) -> Result<Response> {
    let length = file.length();
    let wanted = headers.get(header::RANGE).and_then(|v| v.to_str().ok());
    let (status, range) = match asked(wanted, length) {
        Asked::Nothing => return Err(Problem::range_not_satisfiable()),
        Asked::Whole => (StatusCode::OK, 0..length),
        Asked::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
    };
    let place = format!("bytes {}-{}/{length}", range.start, range.end.max(1) - 1);
    let bytes = HeaderValue::from(range.end - range.start);
    let end = range.end;
    let pieces = stream::unfold(range.start, move |at| {
        let (app, file) = (Arc::clone(&app), file.clone());
        async move {
            if at >= end {
                return None;
            }
            let next = end.min(at + READ_BYTES);
            let bytes = app.file_range(&file, at..next).await;
            let bytes = bytes.map_err(|problem| std::io::Error::other(problem.code().to_owned()));
            Some((bytes, next))
        }
    });
    let mut response = (status, Body::from_stream(pieces)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, bytes);
    if status == StatusCode::PARTIAL_CONTENT
        && let Ok(place) = HeaderValue::from_str(&place)
    {
        headers.insert(header::CONTENT_RANGE, place);
    }
    let kind = HeaderValue::from_static("application/octet-stream");
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    Ok(response)
}
