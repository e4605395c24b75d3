//! `/data-sets`, `/jobs` and `/predictions`: federated training.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use salus_proto::api::Page;
use salus_proto::api::problem::Problem as ProblemBody;
use salus_proto::api::training::{
    DataSetRequest, DataSetView, GainView, IMAGE_LIMIT, JobRequest, JobView, LineageView,
    PIECE_LIMIT, PredictionRequest, PredictionView, RoundView, TrainingUpload, UPLOAD_DIGEST,
    UpdateView, read_digest,
};
use salus_proto::federated::RECORD_LIMIT_BYTES;
use salus_proto::ids::{JobId, OrganisationId};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Json, Paging, Path, Query, bounded, expect_media_type, next_part, read_body};
use super::record::{Asked, asked};
use crate::app::job::{Arriving, JobFile, StoredFile};
use crate::app::{Actor, App};
use crate::problem::{Problem, Result};

/// Bytes of a file that are read at once.
const READ_BYTES: u64 = 256 << 10;
/// Bytes of an upload that are written at once.
const WRITTEN_BYTES: usize = 512 << 10;
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
        ("Salus-Upload-Digest" = Option<String>, Header,
            description = "SHA-256 of the upload up to the end of this piece, written as in RFC 9530")),
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
    let arriving = app.may_send(&actor, job, Some(round)).await?;
    take_piece(&app, &arriving, at, request).await
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
        ("Salus-Upload-Digest" = Option<String>, Header,
            description = "SHA-256 of the upload up to the end of this piece, written as in RFC 9530")),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 200, body = TrainingUpload), (status = "4XX", body = ProblemBody)))]
async fn put_initial(
    State(app): State<Arc<App>>,
    actor: Actor,
    Path(job): Path<JobId>,
    Query(At { at }): Query<At>,
    request: Request,
) -> Result<Json<TrainingUpload>> {
    let arriving = app.may_send(&actor, job, None).await?;
    take_piece(&app, &arriving, at, request).await
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

/// Takes a piece as it comes in, so that never more of it is in memory than is written at once; then looks
/// whether all that has arrived has the digest that was announced, if one was.
async fn take_piece(
    app: &App,
    arriving: &Arriving,
    at: u64,
    request: Request,
) -> Result<Json<TrainingUpload>> {
    expect_media_type(&request, "application/octet-stream")?;
    let announced = request.headers().get(UPLOAD_DIGEST);
    let announced = announced.map(|value| value.to_str().ok().and_then(read_digest));
    let announced = announced
        .map(|digest| digest.ok_or_else(|| Problem::field(UPLOAD_DIGEST, "not sha-256=:...:")))
        .transpose()?;
    let mut body = bounded(request, PIECE_LIMIT)?;
    let (mut next, mut parts, mut length, mut moved) = (at, Vec::new(), 0, None);
    while let Some(part) = next_part(&mut body, PIECE_LIMIT).await? {
        // What does not fit in is read to its end, so that the connection stays of use.
        if moved.is_some() {
            continue;
        }
        length += part.len();
        parts.push(part);
        if length >= WRITTEN_BYTES {
            let sent = next + length as u64;
            let parts = core::mem::take(&mut parts);
            let arrived = app.append(arriving, next, parts, None).await?;
            (next, length) = (sent, 0);
            moved = (arrived != sent).then_some(arrived);
        }
    }
    let arrived = match moved {
        Some(arrived) => arrived,
        None => app.append(arriving, next, parts, announced).await?,
    };
    Ok(Json(app.arrived(arriving, arrived)))
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
