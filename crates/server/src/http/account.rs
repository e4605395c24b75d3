//! `/accounts`: registering.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use salus_proto::api::account::{
    AccountCreated, NewAccount, RegistrationStart, RegistrationStarted,
};
use salus_proto::api::problem::Problem as ProblemBody;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Address;
use super::extract::Json;
use crate::app::App;
use crate::problem::Result;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(start_registration))
        .routes(routes!(create_account))
}

/// Start to register, or to change a password or recovery code (OPAQUE, step 1)
#[utoipa::path(post, path = "/accounts/registrations", tag = "accounts", security(()),
    request_body = RegistrationStart,
    responses((status = 200, body = RegistrationStarted), (status = "4XX", body = ProblemBody)))]
async fn start_registration(
    State(app): State<Arc<App>>,
    Address(from): Address,
    Json(start): Json<RegistrationStart>,
) -> Result<Json<RegistrationStarted>> {
    app.start_registration(&start, from).await.map(Json)
}

/// Register: the account here, the principal on the ledger
#[utoipa::path(post, path = "/accounts", tag = "accounts", security(()),
    request_body = NewAccount,
    responses((status = 201, body = AccountCreated), (status = "4XX", body = ProblemBody),
        (status = 503, body = ProblemBody)))]
async fn create_account(
    State(app): State<Arc<App>>,
    Address(from): Address,
    Json(new): Json<NewAccount>,
) -> Result<(StatusCode, Json<AccountCreated>)> {
    Ok((
        StatusCode::CREATED,
        Json(app.create_account(&new, from).await?),
    ))
}
