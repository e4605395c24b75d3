//! `/accesses`.

use std::sync::Arc;

use axum::extract::State;
use salus_proto::api::Page;
use salus_proto::api::access::{AccessSide, AccessState, AccessView, DecisionRequest};
use salus_proto::api::command::CommandReceipt;
use salus_proto::api::problem::Problem as ProblemBody;
use salus_proto::ids::AccessId;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Json, Paging, Path, Query};
use crate::app::{Actor, App};
use crate::problem::Result;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(accesses))
        .routes(routes!(access))
        .routes(routes!(decide))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct AccessFilter {
    /// Only those that stand so.
    status: Option<AccessState>,
    /// From which side to look; `holder` when absent.
    #[serde(rename = "as", default)]
    side: AccessSide,
}

/// Accesses that I hold or that my hospital decides on
#[utoipa::path(get, path = "/accesses", tag = "accesses", params(AccessFilter, Paging),
    responses((status = 200, body = Page<AccessView>), (status = "4XX", body = ProblemBody)))]
async fn accesses(
    State(app): State<Arc<App>>,
    actor: Actor,
    Query(filter): Query<AccessFilter>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<AccessView>>> {
    app.accesses(&actor, filter.side, filter.status, &paging)
        .await
        .map(Json)
}

/// One access
#[utoipa::path(get, path = "/accesses/{id}", tag = "accesses", params(("id" = AccessId, Path)),
    responses((status = 200, body = AccessView), (status = "4XX", body = ProblemBody)))]
async fn access(
    State(app): State<Arc<App>>,
    actor: Actor,
    Path(id): Path<AccessId>,
) -> Result<Json<AccessView>> {
    app.access(&actor, id).await.map(Json)
}

/// Decide a request; on approval the class keys go to the holder
#[utoipa::path(post, path = "/accesses/{id}/decision", tag = "accesses",
    params(("id" = AccessId, Path)), request_body = DecisionRequest,
    responses((status = 200, body = CommandReceipt), (status = "4XX", body = ProblemBody),
        (status = 503, body = ProblemBody)))]
async fn decide(
    State(app): State<Arc<App>>,
    actor: Actor,
    Path(id): Path<AccessId>,
    Json(request): Json<DecisionRequest>,
) -> Result<Json<CommandReceipt>> {
    app.decide(&actor, id, &request.command.0).await.map(Json)
}
