//! `/me`: one's own account.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use salus_proto::api::account::Profile;
use salus_proto::api::me::{Me, PasswordChange};
use salus_proto::api::problem::Problem as ProblemBody;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::Json;
use crate::app::App;
use crate::problem::{Problem, Result};
use crate::session::Session;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(me))
        .routes(routes!(change_profile))
        .routes(routes!(change_password))
}

/// Who I am; works while the profile is pending
#[utoipa::path(get, path = "/me", tag = "me",
    responses((status = 200, body = Me, headers(("ETag", description = "of the profile"))),
        (status = "4XX", body = ProblemBody)))]
async fn me(State(app): State<Arc<App>>, session: Session) -> Result<Response> {
    let (me, tag) = app.me(session.actor).await?;
    Ok(tagged(Json(me).into_response(), tag))
}

/// Change my profile
#[utoipa::path(put, path = "/me/profile", tag = "me",
    params(("If-Match" = String, Header, description = "ETag of `GET /me`")),
    request_body = Profile,
    responses((status = 204), (status = "4XX", body = ProblemBody)))]
async fn change_profile(
    State(app): State<Arc<App>>,
    session: Session,
    headers: HeaderMap,
    Json(profile): Json<Profile>,
) -> Result<Response> {
    let expected = headers
        .get(header::IF_MATCH)
        .and_then(|v| v.to_str().ok())
        .ok_or_else(|| {
            Problem::precondition(
                "precondition-required",
                "Send the ETag of the profile as If-Match",
            )
        })?;
    let tag = app
        .change_profile(&session.actor, &profile, expected)
        .await?;
    Ok(tagged(StatusCode::NO_CONTENT.into_response(), Some(tag)))
}

/// Change my password, recovery code or keys; ends my other sessions
#[utoipa::path(put, path = "/me/password", tag = "me",
    request_body = PasswordChange,
    responses((status = 204), (status = "4XX", body = ProblemBody)))]
async fn change_password(
    State(app): State<Arc<App>>,
    session: Session,
    Json(change): Json<PasswordChange>,
) -> Result<StatusCode> {
    app.change_password(&session.actor, &change, session.digest)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

fn tagged(mut response: Response, tag: Option<String>) -> Response {
    if let Some(tag) = tag.and_then(|tag| HeaderValue::from_str(&tag).ok()) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}
