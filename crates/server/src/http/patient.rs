//! `/patients`: a hospital's list, one's own aliases, sealed records and their readers.

use std::sync::Arc;

use axum::extract::State;
use salus_proto::api::Page;
use salus_proto::api::patient::{OwnAlias, PatientSummary, Receipt, SealedRecordView, SealingKeys};
use salus_proto::api::problem::Problem as ProblemBody;
use salus_proto::ids::PatientAlias;
use salus_proto::record::RecordKind;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Json, Paging, Path, Query};
use crate::app::{Actor, App};
use crate::problem::Result;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(patients))
        .routes(routes!(mine))
        .routes(routes!(records))
        .routes(routes!(sealing_keys))
        .routes(routes!(receipts))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct PatientQuery {
    /// Part of the clear name.
    query: Option<String>,
}

/// Patients of whom this node holds records
#[utoipa::path(get, path = "/patients", tag = "patients", params(PatientQuery, Paging),
    responses((status = 200, body = Page<PatientSummary>), (status = "4XX", body = ProblemBody)))]
async fn patients(
    State(app): State<Arc<App>>,
    actor: Actor,
    Query(filter): Query<PatientQuery>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<PatientSummary>>> {
    app.patients(&actor, filter.query, &paging).await.map(Json)
}

/// The aliases that are linked to me, and who keeps them
#[utoipa::path(get, path = "/patients/mine", tag = "patients", params(Paging),
    responses((status = 200, body = Page<OwnAlias>), (status = "4XX", body = ProblemBody)))]
async fn mine(
    State(app): State<Arc<App>>,
    actor: Actor,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<OwnAlias>>> {
    app.own_aliases(&actor, &paging).await.map(Json)
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct RecordQuery {
    /// Only this kind.
    kind: Option<RecordKind>,
}

/// Sealed records of an alias: kinds, digests, signers; no content
#[utoipa::path(get, path = "/patients/{alias}/records", tag = "patients",
    params(("alias" = PatientAlias, Path), RecordQuery, Paging),
    responses((status = 200, body = Page<SealedRecordView>), (status = "4XX", body = ProblemBody)))]
async fn records(
    State(app): State<Arc<App>>,
    actor: Actor,
    Path(alias): Path<PatientAlias>,
    Query(filter): Query<RecordQuery>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<SealedRecordView>>> {
    app.sealed_records(&actor, alias, filter.kind, &paging)
        .await
        .map(Json)
}

/// The current class keys of one's own patient, for sealing more records
#[utoipa::path(get, path = "/patients/{alias}/sealing-keys", tag = "patients",
    params(("alias" = PatientAlias, Path)),
    responses((status = 200, body = SealingKeys), (status = "4XX", body = ProblemBody)))]
async fn sealing_keys(
    State(app): State<Arc<App>>,
    actor: Actor,
    Path(alias): Path<PatientAlias>,
) -> Result<Json<SealingKeys>> {
    app.sealing_keys(&actor, alias).await.map(Json)
}

/// Who read an alias, what, when and why
#[utoipa::path(get, path = "/patients/{alias}/receipts", tag = "patients",
    params(("alias" = PatientAlias, Path), Paging),
    responses((status = 200, body = Page<Receipt>), (status = "4XX", body = ProblemBody)))]
async fn receipts(
    State(app): State<Arc<App>>,
    actor: Actor,
    Path(alias): Path<PatientAlias>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Receipt>>> {
    app.receipts(&actor, alias, &paging).await.map(Json)
}
