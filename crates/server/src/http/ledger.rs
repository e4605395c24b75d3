//! `/ledger`, `/members` and `/proposals`.
//!
//! Status, checkpoint, genesis, hash tiles, consistency and members are public, so that anybody can
//! witness the log. Entries say who dealt with whom, so they are for authorised principals.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use salus_proto::api::Page;
use salus_proto::api::ledger::{
    Consistency, EntryDetail, EntryView, LedgerStatus, MemberDetail, ProposalView,
};
use salus_proto::api::problem::Problem as ProblemBody;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Json, Paging, Path, Query};
use crate::app::{Actor, App};
use crate::problem::Result;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(status))
        .routes(routes!(checkpoint))
        .routes(routes!(genesis))
        .routes(routes!(entries))
        .routes(routes!(entry))
        .routes(routes!(entry_bundle))
        .routes(routes!(hash_tile))
        .routes(routes!(consistency))
        .routes(routes!(members))
        .routes(routes!(proposals))
}

/// Where this node's ledger stands
#[utoipa::path(get, path = "/ledger", tag = "ledger", security(()),
    responses((status = 200, body = LedgerStatus)))]
async fn status(State(app): State<Arc<App>>) -> Result<Json<LedgerStatus>> {
    app.ledger_status().map(Json)
}

/// The latest checkpoint that a quorum signed (C2SP)
#[utoipa::path(get, path = "/ledger/checkpoint", tag = "ledger", security(()),
    responses((status = 200, body = String, content_type = "text/plain"),
        (status = 503, body = ProblemBody)))]
async fn checkpoint(State(app): State<Arc<App>>) -> Result<impl IntoResponse> {
    let note = app.checkpoint()?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], note))
}

/// The genesis file (CBOR)
#[utoipa::path(get, path = "/ledger/genesis", tag = "ledger", security(()),
    responses((status = 200, body = Vec<u8>, content_type = "application/cbor")))]
async fn genesis(State(app): State<Arc<App>>) -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "application/cbor")],
        app.genesis.clone(),
    )
}

/// Log entries, decoded
#[utoipa::path(get, path = "/ledger/entries", tag = "ledger", params(Paging),
    responses((status = 200, body = Page<EntryView>), (status = "4XX", body = ProblemBody)))]
async fn entries(
    State(app): State<Arc<App>>,
    actor: Actor,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<EntryView>>> {
    app.entries(&actor, &paging).map(Json)
}

/// One log entry with its bytes
#[utoipa::path(get, path = "/ledger/entries/{index}", tag = "ledger",
    params(("index" = u64, Path)),
    responses((status = 200, body = EntryDetail), (status = "4XX", body = ProblemBody)))]
async fn entry(
    State(app): State<Arc<App>>,
    actor: Actor,
    Path(index): Path<u64>,
) -> Result<Json<EntryDetail>> {
    app.entry_detail(&actor, index).map(Json)
}

/// A bundle of log entries (C2SP tlog-tiles)
#[utoipa::path(get, path = "/ledger/tile/entries/{*path}", tag = "ledger",
    params(("path" = String, Path)),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = "4XX", body = ProblemBody)))]
async fn entry_bundle(
    State(app): State<Arc<App>>,
    actor: Actor,
    Path(path): Path<String>,
) -> Result<impl IntoResponse> {
    let bundle = app.entry_bundle(&actor, &format!("entries/{path}"))?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], bundle))
}

/// A tile of the log's hashes (C2SP tlog-tiles)
#[utoipa::path(get, path = "/ledger/tile/{level}/{*path}", tag = "ledger", security(()),
    params(("level" = u8, Path), ("path" = String, Path)),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 404, body = ProblemBody)))]
async fn hash_tile(
    State(app): State<Arc<App>>,
    Path((level, path)): Path<(String, String)>,
) -> Result<impl IntoResponse> {
    let hashes = app.hash_tile(&format!("{level}/{path}"))?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], hashes))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Sizes {
    /// Entries of the earlier log.
    from: u64,
    /// Entries of the later log.
    to: u64,
}

/// Proof that one log is a prefix of a later one
#[utoipa::path(get, path = "/ledger/consistency", tag = "ledger", security(()), params(Sizes),
    responses((status = 200, body = Consistency), (status = "4XX", body = ProblemBody)))]
async fn consistency(
    State(app): State<Arc<App>>,
    Query(sizes): Query<Sizes>,
) -> Result<Json<Consistency>> {
    app.consistency(sizes.from, sizes.to).map(Json)
}

/// The members
#[utoipa::path(get, path = "/members", tag = "ledger", security(()),
    responses((status = 200, body = Page<MemberDetail>)))]
async fn members(State(app): State<Arc<App>>) -> Result<Json<Page<MemberDetail>>> {
    // A consortium has at most 50 members: one page.
    Ok(Json(Page {
        items: app.members()?,
        next: None,
    }))
}

/// Proposed changes of membership
#[utoipa::path(get, path = "/proposals", tag = "ledger", params(Paging),
    responses((status = 200, body = Page<ProposalView>), (status = "4XX", body = ProblemBody)))]
async fn proposals(
    State(app): State<Arc<App>>,
    actor: Actor,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<ProposalView>>> {
    app.proposals(&actor, &paging).await.map(Json)
}
