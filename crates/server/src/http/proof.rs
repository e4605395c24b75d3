//! `/ledger/proofs`: bundles that a separate verifier checks offline.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use salus_ledger::bundle::Bundle;
use salus_proto::api::problem::Problem as ProblemBody;
use salus_proto::ids::RecordId;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::Path;
use crate::app::{Actor, App};
use crate::problem::{Problem, Result};

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(entry))
        .routes(routes!(record))
        .routes(routes!(state))
}

/// Proof of a log entry
#[utoipa::path(get, path = "/ledger/proofs/entries/{index}", tag = "ledger",
    params(("index" = u64, Path)),
    responses((status = 200, body = Object, description = "a proof bundle, docs/formats.md"),
        (status = "4XX", body = ProblemBody)))]
async fn entry(
    State(app): State<Arc<App>>,
    actor: Actor,
    Path(index): Path<u64>,
) -> Result<impl IntoResponse> {
    json(&app.entry_bundle_of(&actor, index).await?)
}

/// Proof of a sealed record
#[utoipa::path(get, path = "/ledger/proofs/records/{record}", tag = "ledger",
    params(("record" = RecordId, Path)),
    responses((status = 200, body = Object, description = "a proof bundle, docs/formats.md"),
        (status = "4XX", body = ProblemBody)))]
async fn record(
    State(app): State<Arc<App>>,
    actor: Actor,
    Path(record): Path<RecordId>,
) -> Result<impl IntoResponse> {
    json(&app.record_bundle(&actor, record).await?)
}

/// Proof of a value of the state, or of its absence
#[utoipa::path(get, path = "/ledger/proofs/state/{key}", tag = "ledger",
    params(("key" = String, Path, description = "hexadecimal")),
    responses((status = 200, body = Object, description = "a proof bundle, docs/formats.md"),
        (status = "4XX", body = ProblemBody)))]
async fn state(
    State(app): State<Arc<App>>,
    actor: Actor,
    Path(key): Path<String>,
) -> Result<impl IntoResponse> {
    let key = hex::decode(key).map_err(|_| Problem::not_found())?;
    json(&app.state_bundle(&actor, key).await?)
}

fn json(bundle: &Bundle) -> Result<impl IntoResponse + use<>> {
    let json = bundle.to_json().map_err(|_| Problem::internal())?;
    Ok(([(header::CONTENT_TYPE, "application/json")], json))
}
