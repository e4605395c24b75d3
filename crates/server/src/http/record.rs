//! `/records`: releases and sealed bytes.

use core::ops::Range;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use salus_proto::api::problem::Problem as ProblemBody;
use salus_proto::api::record::{Release, ReleaseRequest};
use salus_proto::ids::RecordId;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::{Json, Path, Query};
use crate::app::{Actor, App};
use crate::problem::{Problem, Result};

/// Most bytes of one range; a longer one is answered in part, as RFC 9110 allows.
const RANGE_LIMIT: u64 = 16 << 20;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(release))
        .routes(routes!(sealed))
}

/// Read records: the receipt becomes final, then what opens them is given out
#[utoipa::path(post, path = "/records/releases", tag = "records", request_body = ReleaseRequest,
    responses((status = 200, body = Release), (status = "4XX", body = ProblemBody),
        (status = 503, body = ProblemBody)))]
async fn release(
    State(app): State<Arc<App>>,
    actor: Actor,
    Json(request): Json<ReleaseRequest>,
) -> Result<Json<Release>> {
    app.release(&actor, &request.command.0).await.map(Json)
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ReceiptQuery {
    /// The entry of the release.
    receipt: u64,
}

/// A record's sealed bytes, within ten minutes of the receipt
#[utoipa::path(get, path = "/records/{record}/sealed", tag = "records",
    params(("record" = RecordId, Path), ReceiptQuery,
        ("Range" = Option<String>, Header, description = "one range of bytes")),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 206, body = Vec<u8>, content_type = "application/octet-stream"),
        (status = "4XX", body = ProblemBody)))]
async fn sealed(
    State(app): State<Arc<App>>,
    actor: Actor,
    Path(record): Path<RecordId>,
    Query(query): Query<ReceiptQuery>,
    headers: HeaderMap,
) -> Result<Response> {
    let length = app.sealed_length(&actor, record, query.receipt).await?;
    let wanted = headers
        .get(header::RANGE)
        .and_then(|value| value.to_str().ok());
    let mut response = match asked(wanted, length) {
        Asked::Whole => {
            let bytes = app.sealed(&actor, record, query.receipt).await?;
            let mut response = Body::from_stream(bytes).into_response();
            response
                .headers_mut()
                .insert(header::CONTENT_LENGTH, HeaderValue::from(length));
            response
        }
        Asked::Part(range) => {
            let place = format!("bytes {}-{}/{length}", range.start, range.end - 1);
            let bytes = app
                .sealed_range(&actor, record, query.receipt, range)
                .await?;
            let mut response = (StatusCode::PARTIAL_CONTENT, bytes).into_response();
            if let Ok(place) = HeaderValue::from_str(&place) {
                response.headers_mut().insert(header::CONTENT_RANGE, place);
            }
            response
        }
        Asked::Nothing => return Err(Problem::range_not_satisfiable()),
    };
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static("application/octet-stream");
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    Ok(response)
}

/// What a `Range` header asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// Everything: the header is one that a server may ignore (RFC 9110, section 14.2).
    Whole,
    /// These bytes.
    Part(Range<u64>),
    /// Bytes that are not there.
    Nothing,
}

/// Reads the header, if there is one.
pub(super) fn asked(header: Option<&str>, length: u64) -> Asked {
    header.map_or(Asked::Whole, |text| range(text, length))
}

fn range(text: &str, length: u64) -> Asked {
    let Some((first, last)) = text
        .strip_prefix("bytes=")
        .and_then(|spec| spec.split_once('-'))
    else {
        return Asked::Whole;
    };
    let asked = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => first..last.saturating_add(1).min(length),
        (Ok(first), Err(_)) if last.is_empty() => first..length,
        (Err(_), Ok(tail)) if first.is_empty() => length.saturating_sub(tail)..length,
        _ => return Asked::Whole,
    };
    if asked.start >= asked.end {
        return Asked::Nothing;
    }
    let end = asked.end.min(asked.start.saturating_add(RANGE_LIMIT));
    Asked::Part(asked.start..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_and_strange_ones_ignored() {
        for (text, expected) in [
            ("bytes=0-9", Asked::Part(0..10)),
            ("bytes=90-", Asked::Part(90..100)),
            ("bytes=-10", Asked::Part(90..100)),
            ("bytes=-1000", Asked::Part(0..100)),
            ("bytes=50-18446744073709551615", Asked::Part(50..100)),
            ("bytes=100-", Asked::Nothing),
            ("bytes=-0", Asked::Nothing),
            ("bytes=9-0", Asked::Whole),
            ("bytes=0-1,5-6", Asked::Whole),
            ("lines=0-1", Asked::Whole),
        ] {
            assert_eq!(range(text, 100), expected, "{text}");
        }
        assert_eq!(range("bytes=5-", u64::MAX), Asked::Part(5..5 + RANGE_LIMIT));
    }
}
