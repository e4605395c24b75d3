//! `GET /statistics`: counts of a hospital's patients.

use std::sync::Arc;

use axum::extract::State;
use salus_proto::api::problem::Problem as ProblemBody;
use salus_proto::api::statistics::Statistics;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::Json;
use crate::app::{Actor, App};
use crate::problem::Result;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(statistics))
}

/// How many of this hospital's patients have which symptom and consulted which doctor
#[utoipa::path(get, path = "/statistics", tag = "statistics",
    responses((status = 200, body = Statistics), (status = "4XX", body = ProblemBody)))]
async fn statistics(State(app): State<Arc<App>>, actor: Actor) -> Result<Json<Statistics>> {
    app.statistics(&actor).await.map(Json)
}
