//! `/sessions`: opening and closing.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse};
use salus_proto::api::Binary;
use salus_proto::api::problem::Problem as ProblemBody;
use salus_proto::api::session::{
    Challenge, ChallengeRequest, KeyLogin, KeySession, PasswordFinish, PasswordSession,
    PasswordStart, PasswordStarted,
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Address;
use super::extract::Json;
use crate::app::App;
use crate::problem::Result;
use crate::session::{RequestNote, Session, removed_cookie};

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(start_password))
        .routes(routes!(finish_password))
        .routes(routes!(challenge))
        .routes(routes!(key_login))
        .routes(routes!(close))
}

/// Start to log in with a password or recovery code (OPAQUE, step 1)
#[utoipa::path(post, path = "/sessions/password", tag = "sessions", security(()),
    request_body = PasswordStart,
    responses((status = 200, body = PasswordStarted), (status = "4XX", body = ProblemBody)))]
async fn start_password(
    State(app): State<Arc<App>>,
    Address(from): Address,
    Json(start): Json<PasswordStart>,
) -> Result<Json<PasswordStarted>> {
    app.start_password(&start, from).await.map(Json)
}

/// Finish logging in with a password (OPAQUE, step 2)
#[utoipa::path(post, path = "/sessions/password/finish", tag = "sessions", security(()),
    request_body = PasswordFinish,
    responses((status = 200, body = PasswordSession), (status = "4XX", body = ProblemBody)))]
async fn finish_password(
    State(app): State<Arc<App>>,
    Extension(note): Extension<RequestNote>,
    Json(finish): Json<PasswordFinish>,
) -> Result<impl IntoResponse> {
    let (session, token) = app.finish_password(&finish, &note).await?;
    let cookie = token.cookie(app.limits.session_ms);
    Ok((AppendHeaders([(header::SET_COOKIE, cookie)]), Json(session)))
}

/// Ask for a challenge to sign
#[utoipa::path(post, path = "/sessions/challenges", tag = "sessions", security(()),
    request_body = ChallengeRequest,
    responses((status = 200, body = Challenge), (status = "4XX", body = ProblemBody)))]
async fn challenge(
    State(app): State<Arc<App>>,
    Address(from): Address,
    Json(request): Json<ChallengeRequest>,
) -> Result<Json<Challenge>> {
    app.challenge(&request, from).await.map(Json)
}

/// Open a session with a key that the ledger knows
#[utoipa::path(post, path = "/sessions/keys", tag = "sessions", security(()),
    request_body = KeyLogin,
    responses((status = 200, body = KeySession), (status = "4XX", body = ProblemBody)))]
async fn key_login(
    State(app): State<Arc<App>>,
    Address(from): Address,
    Extension(note): Extension<RequestNote>,
    Json(login): Json<KeyLogin>,
) -> Result<impl IntoResponse> {
    let (token, expires) = app.key_login(&login, from, &note).await?;
    let cookie = token.cookie(app.limits.session_ms);
    let session = KeySession {
        token: Binary(token.bytes()),
        expires,
    };
    Ok((AppendHeaders([(header::SET_COOKIE, cookie)]), Json(session)))
}

/// Close the session
#[utoipa::path(delete, path = "/sessions/current", tag = "sessions",
    responses((status = 204), (status = "4XX", body = ProblemBody)))]
async fn close(State(app): State<Arc<App>>, session: Session) -> Result<impl IntoResponse> {
    app.close_session(session.digest).await?;
    Ok((
        StatusCode::NO_CONTENT,
        AppendHeaders([(header::SET_COOKIE, removed_cookie())]),
    ))
}
