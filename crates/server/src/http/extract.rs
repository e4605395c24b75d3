//! Extractors that answer with problems: JSON and raw bodies, queries, path parameters, pages.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header;
use axum::http::request::Parts;
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use salus_proto::api::{PAGE_DEFAULT, PAGE_LIMIT, Page};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

use crate::app::App;
use crate::problem::{Problem, Result};

/// Largest JSON body, in bytes: 1,024 record wraps with their command.
pub(crate) const JSON_LIMIT: usize = 4 << 20;

/// A JSON body of at most [`JSON_LIMIT`] bytes, in and out.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Arc<App>> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &Arc<App>) -> Result<Self> {
        expect_media_type(&request, "application/json")?;
        let body = read_body(request, JSON_LIMIT).await?;
        // serde_json stops at 128 levels of nesting. Its words can quote the input, so only the
        // place is passed on.
        serde_json::from_slice(&body).map(Self).map_err(|error| {
            let place = format!("line {}, column {}", error.line(), error.column());
            match error.classify() {
                serde_json::error::Category::Data => Problem::invalid([(
                    "",
                    format!("a field is missing, unknown or of the wrong form before {place}"),
                )]),
                _ => Problem::malformed(format!("not JSON at {place}")),
            }
        })
    }
}

impl<T: serde::Serialize> axum::response::IntoResponse for Json<T> {
    fn into_response(self) -> axum::response::Response {
        axum::Json(self.0).into_response()
    }
}

/// Refuses a body of another media type.
pub(crate) fn expect_media_type(request: &Request, expected: &'static str) -> Result<()> {
    let sent = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok());
    let essence = sent
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim();
    if essence.eq_ignore_ascii_case(expected) {
        Ok(())
    } else {
        Err(Problem::media_type(expected))
    }
}

/// Reads a body of at most `limit` bytes. A longer one that says so is refused unread.
pub(crate) async fn read_body(request: Request, limit: usize) -> Result<Bytes> {
    match bounded(request, limit)?.collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) => Err(unreadable(&*error, limit)),
    }
}

/// The next part of a body as it comes in; `None` at its end.
pub(crate) async fn next_part(body: &mut Limited<Body>, limit: usize) -> Result<Option<Bytes>> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| unreadable(&*error, limit))?;
        // Trailers say nothing here.
        if let Ok(part) = frame.into_data() {
            return Ok(Some(part));
        }
    }
    Ok(None)
}

/// A body of at most `limit` bytes. A longer one that says so is refused unread.
pub(crate) fn bounded(request: Request, limit: usize) -> Result<Limited<Body>> {
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(Problem::too_large(limit));
    }
    Ok(Limited::new(request.into_body(), limit))
}

fn unreadable(error: &(dyn std::error::Error + Send + Sync + 'static), limit: usize) -> Problem {
    match error.downcast_ref::<LengthLimitError>() {
        Some(_) => Problem::too_large(limit),
        None => Problem::malformed("the body ended early"),
    }
}

/// Query parameters.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<Arc<App>> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<App>) -> Result<Self> {
        axum::extract::Query::from_request_parts(parts, state)
            .await
            .map(|axum::extract::Query(query)| Self(query))
            .map_err(|_| Problem::malformed("a query parameter is missing or of the wrong form"))
    }
}

/// Path parameters; one that does not parse names nothing.
pub(crate) struct Path<T>(pub(crate) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Arc<App>> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<App>) -> Result<Self> {
        axum::extract::Path::from_request_parts(parts, state)
            .await
            .map(|axum::extract::Path(path)| Self(path))
            .map_err(|_| Problem::not_found())
    }
}

/// Where a page of a list begins and how long it is.
#[derive(Clone, Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Paging {
    /// `next` of the page before.
    after: Option<String>,
    /// Most items, 1 to 500; 100 when absent.
    limit: Option<u32>,
}

impl Paging {
    /// Most items of this page.
    pub(crate) fn limit(&self) -> Result<u32> {
        match self.limit.unwrap_or(PAGE_DEFAULT) {
            limit if (1..=PAGE_LIMIT).contains(&limit) => Ok(limit),
            _ => Err(Problem::field("limit", format!("from 1 to {PAGE_LIMIT}"))),
        }
    }

    /// The cursor as it was given.
    pub(crate) fn after_text(&self) -> Option<&str> {
        self.after.as_deref()
    }

    /// The id after which a list goes on; `None` at its beginning.
    pub(crate) fn after_id<T: core::str::FromStr>(&self) -> Result<Option<T>> {
        let wrong = |_| Problem::field("after", "give `next` of the page before");
        self.after
            .as_deref()
            .map(|after| after.parse().map_err(wrong))
            .transpose()
    }

    /// The number after which an ascending list goes on; `None` at its beginning.
    pub(crate) fn after(&self) -> Result<Option<u64>> {
        self.after
            .as_deref()
            .map(|after| {
                let number = after.parse::<u64>().ok().filter(|n| *n < i64::MAX as u64);
                number.ok_or_else(|| Problem::field("after", "give `next` of the page before"))
            })
            .transpose()
    }
}

/// Makes a page of rows that were asked for with one more than the limit; `cursor` is the number
/// that the list is ordered by.
pub(crate) fn page<R, T>(
    mut rows: Vec<R>,
    limit: u32,
    cursor: impl Fn(&R) -> u64,
    view: impl FnMut(R) -> Option<T>,
) -> Page<T> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows
        .last()
        .filter(|_| more)
        .map(|row| cursor(row).to_string());
    Page {
        items: rows.into_iter().filter_map(view).collect(),
        next,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_page_says_where_the_next_begins_and_the_last_does_not() {
        let full = page(vec![1_u64, 2, 3], 2, |n| *n, Some);
        assert_eq!((full.items, full.next.as_deref()), (vec![1, 2], Some("2")));
        let last = page(vec![3_u64], 2, |n| *n, Some);
        assert_eq!((last.items, last.next), (vec![3], None));
    }

    #[test]
    fn paging_is_bounded() {
        let paging = |after: Option<&str>, limit| Paging {
            after: after.map(Into::into),
            limit,
        };
        assert_eq!(paging(None, None).limit().unwrap(), 100);
        for limit in [0, 501, u32::MAX] {
            assert!(paging(None, Some(limit)).limit().is_err());
        }
        assert_eq!(paging(Some("7"), None).after().unwrap(), Some(7));
        for after in ["", "-1", "x", "18446744073709551615"] {
            assert!(paging(Some(after), None).after().is_err());
        }
    }
}
