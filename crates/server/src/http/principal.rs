//! `/principals` and `/doctors`.

use std::sync::Arc;

use axum::extract::State;
use salus_proto::api::Page;
use salus_proto::api::principal::{Doctor, PrincipalDetail, PrincipalSummary, StandingStatus};
use salus_proto::api::problem::Problem as ProblemBody;
use salus_proto::ids::PrincipalId;
use salus_proto::role::Role;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Json, Paging, Path, Query};
use crate::app::{Actor, App};
use crate::problem::Result;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(principals))
        .routes(routes!(principal))
        .routes(routes!(doctors))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct PrincipalFilter {
    /// Only principals of this standing.
    standing: Option<StandingStatus>,
    /// Only principals of this role.
    role: Option<Role>,
}

/// Principals, for those who decide on them and those who watch
#[utoipa::path(get, path = "/principals", tag = "principals", params(PrincipalFilter, Paging),
    responses((status = 200, body = Page<PrincipalSummary>), (status = "4XX", body = ProblemBody)))]
async fn principals(
    State(app): State<Arc<App>>,
    actor: Actor,
    Query(filter): Query<PrincipalFilter>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<PrincipalSummary>>> {
    app.principals(&actor, filter.standing, filter.role, &paging)
        .await
        .map(Json)
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct KeysOf {
    /// An entry that it signed: the answer has the keys that it signed it with, which it may have
    /// replaced since.
    entry: Option<u64>,
}

/// One principal and its public keys
#[utoipa::path(get, path = "/principals/{id}", tag = "principals",
    params(("id" = PrincipalId, Path), KeysOf),
    responses((status = 200, body = PrincipalDetail), (status = "4XX", body = ProblemBody)))]
async fn principal(
    State(app): State<Arc<App>>,
    _: Actor,
    Path(id): Path<PrincipalId>,
    Query(keys): Query<KeysOf>,
) -> Result<Json<PrincipalDetail>> {
    app.principal(id, keys.entry).await.map(Json)
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct DoctorFilter {
    /// Part of the name or the hospital.
    query: Option<String>,
    /// Part of the specialty.
    specialty: Option<String>,
}

/// Authorised doctors
#[utoipa::path(get, path = "/doctors", tag = "principals", params(DoctorFilter, Paging),
    responses((status = 200, body = Page<Doctor>), (status = "4XX", body = ProblemBody)))]
async fn doctors(
    State(app): State<Arc<App>>,
    actor: Actor,
    Query(filter): Query<DoctorFilter>,
    Query(paging): Query<Paging>,
) -> Result<Json<Page<Doctor>>> {
    let DoctorFilter { query, specialty } = filter;
    app.doctors(&actor, query.as_deref(), specialty.as_deref(), &paging)
        .await
        .map(Json)
}
