//! `/me/passkeys` and `/sessions/passkeys`: adding, listing, removing, and logging in with one.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse};
use salus_proto::api::passkey::{
    NewPasskey, Passkey, PasskeyChallenge, PasskeyLogin, PasskeySession, Passkeys, StoredKeyring,
};
use salus_proto::api::problem::Problem as ProblemBody;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Address;
use super::extract::{Json, Path};
use crate::app::App;
use crate::problem::Result;
use crate::session::{RequestNote, Session};

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(keyring))
        .routes(routes!(passkeys, add_passkey))
        .routes(routes!(passkey_challenge))
        .routes(routes!(remove_passkey))
        .routes(routes!(passkey_login_challenge))
        .routes(routes!(passkey_login))
}

/// My keyring as it is stored: sealed, with its doors
#[utoipa::path(get, path = "/me/keyring", tag = "me",
    responses((status = 200, body = StoredKeyring), (status = "4XX", body = ProblemBody)))]
async fn keyring(State(app): State<Arc<App>>, session: Session) -> Result<Json<StoredKeyring>> {
    app.stored_keyring(&session.actor).await.map(Json)
}

/// My passkeys
#[utoipa::path(get, path = "/me/passkeys", tag = "me",
    responses((status = 200, body = Passkeys), (status = "4XX", body = ProblemBody)))]
async fn passkeys(State(app): State<Arc<App>>, session: Session) -> Result<Json<Passkeys>> {
    app.passkeys(&session.actor).await.map(Json)
}

/// Ask for a challenge to add a passkey
#[utoipa::path(post, path = "/me/passkeys/challenges", tag = "me",
    responses((status = 200, body = PasskeyChallenge), (status = "4XX", body = ProblemBody)))]
async fn passkey_challenge(
    State(app): State<Arc<App>>,
    session: Session,
) -> Result<Json<PasskeyChallenge>> {
    app.passkey_challenge(&session.actor).await.map(Json)
}

/// Add a passkey, and its door to my keyring
#[utoipa::path(post, path = "/me/passkeys", tag = "me", request_body = NewPasskey,
    responses((status = 201, body = Passkey), (status = "4XX", body = ProblemBody)))]
async fn add_passkey(
    State(app): State<Arc<App>>,
    session: Session,
    Json(new): Json<NewPasskey>,
) -> Result<(StatusCode, Json<Passkey>)> {
    let added = app.add_passkey(&session.actor, &new).await?;
    Ok((StatusCode::CREATED, Json(added)))
}

/// Remove a passkey: it opens nothing any more
#[utoipa::path(delete, path = "/me/passkeys/{credential}", tag = "me",
    params(("credential" = String, Path, description = "Credential id, base64url")),
    responses((status = 204), (status = "4XX", body = ProblemBody)))]
async fn remove_passkey(
    State(app): State<Arc<App>>,
    session: Session,
    Path(credential): Path<String>,
) -> Result<StatusCode> {
    app.remove_passkey(&session.actor, &credential).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ask for a challenge to log in with a passkey
#[utoipa::path(post, path = "/sessions/passkeys/challenges", tag = "sessions", security(()),
    responses((status = 200, body = PasskeyChallenge), (status = "4XX", body = ProblemBody)))]
async fn passkey_login_challenge(
    State(app): State<Arc<App>>,
    Address(from): Address,
) -> Result<Json<PasskeyChallenge>> {
    app.passkey_login_challenge(from).await.map(Json)
}

/// Open a session with a passkey
#[utoipa::path(post, path = "/sessions/passkeys", tag = "sessions", security(()),
    request_body = PasskeyLogin,
    responses((status = 200, body = PasskeySession), (status = "4XX", body = ProblemBody)))]
async fn passkey_login(
    State(app): State<Arc<App>>,
    Address(from): Address,
    Extension(note): Extension<RequestNote>,
    Json(login): Json<PasskeyLogin>,
) -> Result<impl IntoResponse> {
    let (session, token) = app.passkey_login(&login, from, &note).await?;
    let cookie = token.cookie(app.limits.session_ms);
    Ok((AppendHeaders([(header::SET_COOKIE, cookie)]), Json(session)))
}
