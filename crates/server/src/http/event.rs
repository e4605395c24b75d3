//! `GET /events`: what changed, as it happens.

use core::time::Duration;
use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use axum::response::sse::{KeepAlive, Sse};
use salus_proto::api::event::Event;
use salus_proto::api::problem::Problem as ProblemBody;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::{Actor, App};

/// How often a silent stream shows that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(events))
}

/// What changed for me, as server-sent events
#[utoipa::path(get, path = "/events", tag = "events",
    params(("Last-Event-ID" = Option<u64>, Header, description = "go on after this event")),
    responses((status = 200, body = Event, content_type = "text/event-stream"),
        (status = "4XX", body = ProblemBody)))]
async fn events(
    State(app): State<Arc<App>>,
    actor: Actor,
    headers: HeaderMap,
) -> impl IntoResponse {
    let last = headers
        .get("last-event-id")
        .and_then(|v| v.to_str().ok()?.trim().parse().ok());
    Sse::new(app.events(actor, last)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
}
