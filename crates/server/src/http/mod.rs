//! The HTTP face, one file per noun: parse, call the use case, convert. Nothing is decided here.
#![expect(
    unused_qualifications,
    reason = "utoipa's macro qualifies the names that it is given"
)]

use core::time::Duration;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::{Router, http};
use futures_util::FutureExt as _;
use salus_proto::api::BASE_PATH;
use salus_runtime::clock::timeout;
use utoipa_axum::router::OpenApiRouter;

use crate::app::App;
use crate::problem::{Problem, render};
use crate::session::RequestNote;
use crate::watch::Note;
use crate::{cors, idempotency, openapi, web};

mod access;
mod account;
mod attempt;
mod batch;
mod command;
mod consultation;
mod event;
pub(crate) mod extract;
mod health;
mod job;
mod ledger;
mod me;
mod passkey;
mod patient;
mod peer;
mod principal;
mod proof;
mod record;
mod session;
mod statistics;
mod upload;

/// Every route, with its description for OpenAPI.
pub(crate) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(openapi::head()).nest(
        BASE_PATH,
        OpenApiRouter::new()
            .merge(account::routes())
            .merge(session::routes())
            .merge(me::routes())
            .merge(passkey::routes())
            .merge(principal::routes())
            .merge(command::routes())
            .merge(ledger::routes())
            .merge(proof::routes())
            .merge(patient::routes())
            .merge(batch::routes())
            .merge(upload::routes())
            .merge(record::routes())
            .merge(access::routes())
            .merge(consultation::routes())
            .merge(peer::routes())
            .merge(event::routes())
            .merge(attempt::routes())
            .merge(statistics::routes())
            .merge(job::routes())
            .merge(health::routes()),
    )
}

/// The whole service.
pub(crate) fn service(app: &Arc<App>) -> Router {
    let (router, _) = routes().split_for_parts();
    router
        .route(
            &format!("{BASE_PATH}/openapi.json"),
            axum::routing::get(async || {
                (
                    [(header::CONTENT_TYPE, "application/json")],
                    openapi::document(),
                )
            }),
        )
        .method_not_allowed_fallback(async || http::StatusCode::METHOD_NOT_ALLOWED)
        .fallback(web::serve)
        .layer(from_fn_with_state(app.clone(), idempotency::layer))
        .layer(from_fn_with_state(app.clone(), cors::layer))
        .layer(from_fn_with_state(app.clone(), envelope))
        .with_state(app.clone())
}

/// The caller's address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address(pub(crate) IpAddr);

impl FromRequestParts<Arc<App>> for Address {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, Problem> {
        Ok(Self(address(parts.extensions.get())))
    }
}

fn address(connection: Option<&ConnectInfo<SocketAddr>>) -> IpAddr {
    connection.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |ConnectInfo(peer)| {
        peer.ip()
    })
}

/// What surrounds every request: a name, a time limit, a last catch, problem documents, headers, the
/// watch and one line in the log. Path templates are logged, never paths: paths hold ids.
async fn envelope(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let instance = hex::encode(app.random::<8>());
    let note = RequestNote::default();
    request.extensions_mut().insert(note.clone());
    let method = request.method().clone();
    let path = request
        .extensions()
        .get::<MatchedPath>()
        .map(|path| path.as_str().to_owned());
    let path = path.unwrap_or_else(|| "(no such path)".into());
    let from = address(request.extensions().get());
    let began = app.clock.monotonic();

    let limit = Duration::from_millis(app.limits.request_ms);
    let answer = match app.in_flight.try_acquire() {
        Ok(_permit) => {
            let handled = AssertUnwindSafe(next.run(request)).catch_unwind();
            match timeout(&*app.clock, limit, handled).await {
                Ok(Ok(response)) => response,
                Ok(Err(_)) => {
                    tracing::error!(instance, %method, path, "a request panicked");
                    Problem::internal().into_response()
                }
                Err(_) => Problem::timeout().into_response(),
            }
        }
        Err(_) => Problem::unavailable("overloaded", "Too many requests at once").into_response(),
    };
    let (mut response, problem) = render(answer, &instance);

    let headers = response.headers_mut();
    for (name, value) in [
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        ("cross-origin-resource-policy", "same-origin"),
        ("referrer-policy", "no-referrer"),
    ] {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    if let Ok(value) = HeaderValue::from_str(&instance) {
        headers.insert("x-request-id", value);
    }
    let status = response.status().as_u16();
    let code = problem.as_ref().map(Problem::code).unwrap_or_default();
    let ms = u64::try_from((app.clock.monotonic() - began).as_millis()).unwrap_or(u64::MAX);
    tracing::info!(instance, %method, path, status, code, ms, "request");
    if let Some(problem) = problem.filter(Problem::is_attempt) {
        app.watch.note(Note {
            who: note.principal(),
            what: format!("{method} {path}"),
            why: problem.code().to_owned(),
            place: from.to_string(),
            at: app.now(),
        });
    }
    response
}
