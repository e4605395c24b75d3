//! Pages of other members' nodes: a patient's page comes from the node of the account, the records
//! from the node of the hospital. Answers may be read by pages of members and of nobody else, and
//! never with cookies: such a page sends the token that it got for a signature.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use crate::app::App;
use crate::app::passkey::Party;
use crate::node::members;
use crate::web::origin;

/// How long a browser may remember what is allowed, in seconds.
const REMEMBERED_S: &str = "600";

/// Lets pages of members read, and answers the question that a browser asks before.
pub(crate) async fn layer(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let Some(page) = page_of_member(&app, request.headers()) else {
        return next.run(request).await;
    };
    let asks = request.method() == Method::OPTIONS
        && request
            .headers()
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if asks {
        let allowed = [
            (
                header::ACCESS_CONTROL_ALLOW_METHODS,
                "GET, POST, PUT, DELETE",
            ),
            (
                header::ACCESS_CONTROL_ALLOW_HEADERS,
                "authorization, content-type, idempotency-key, if-match, last-event-id, range, x-salus",
            ),
            (header::ACCESS_CONTROL_MAX_AGE, REMEMBERED_S),
        ];
        (StatusCode::NO_CONTENT, allowed).into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, page);
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("content-range, etag, retry-after, x-request-id"),
    );
    response
}

/// The `Origin` of a request, if it is that of a member's node.
fn page_of_member(app: &App, headers: &HeaderMap) -> Option<HeaderValue> {
    let page = headers.get(header::ORIGIN)?;
    let text = page.to_str().ok()?;
    let members = members(&*app.view().ok()?).ok()?.members;
    let known = members
        .iter()
        .any(|member| origin(&member.api).as_deref() == Some(text) || named(&member.api, text));
    known.then(|| page.clone())
}

/// Whether a page is of a node on the loopback that was opened by its name, as passkeys need it.
fn named(api: &str, page: &str) -> bool {
    Party::of(api).is_some_and(|party| party.origin() == page)
}
