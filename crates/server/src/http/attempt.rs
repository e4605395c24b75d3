//! `GET /attempts`: refused attempts.

use std::sync::Arc;

use axum::extract::State;
use salus_proto::api::Page;
use salus_proto::api::attempt::Attempt;
use salus_proto::api::problem::Problem as ProblemBody;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Json, Paging, Query};
use crate::app::{Actor, App};
use crate::problem::Result;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(attempts))
}

/// Refused attempts, the latest first
#[utoipa::path(get, path = "/attempts", tag = "watch", params(Paging),
    responses((status = 200, body = Page<Attempt>), (status = "4XX", body = ProblemBody)))]
async fn attempts(
    State(app): State<Arc<App>>,
    actor: Actor,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Attempt>>> {
    app.attempts(&actor, paging.after()?, paging.limit()?)
        .await
        .map(Json)
}
