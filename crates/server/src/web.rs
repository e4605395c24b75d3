//! The portals: the embedded web app, each page with a content security policy and a nonce of its
//! own. Knows nothing about people; whatever a page shows it asks of the API.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use salus_proto::encode::to_base64url;

use crate::app::App;
use crate::node::members;
use crate::problem::{Problem, Result};

/// One embedded file, with its compressed forms.
struct Asset {
    /// Below the app's root, without a slash in front.
    path: &'static str,
    plain: &'static [u8],
    brotli: Option<&'static [u8]>,
    gzip: Option<&'static [u8]>,
}

static ASSETS: &[Asset] = include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// What the build leaves in the start page for the nonce of each answer.
const NONCE_MARK: &str = "__CSP_NONCE__";

/// Everything that every answer of the web app carries.
const GUARDS: [(&str, &str); 4] = [
    (
        "strict-transport-security",
        "max-age=63072000; includeSubDomains",
    ),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-embedder-policy", "require-corp"),
    (
        "permissions-policy",
        "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    ),
];

/// Shown where the app was not built: the API works all the same.
const NOT_BUILT: &str = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
    <title>Salus</title></head><body><h1>Salus</h1><p>This node was built without its pages. \
    Run <code>npm ci &amp;&amp; npm run build</code> in <code>web/</code> and build the node \
    again. The API works: see <a href=\"/api/v1/health\">/api/v1/health</a>.</p></body></html>";

/// Answers whatever is no path of the API: a file of the app, or its start page.
pub(crate) async fn serve(State(app): State<Arc<App>>, request: Request) -> Result<Response> {
    let path = request.uri().path().trim_start_matches('/');
    let read = matches!(*request.method(), Method::GET | Method::HEAD);
    if !read || path == "api" || path.starts_with("api/") {
        return Err(Problem::not_found());
    }
    let mut response = match find(path).filter(|asset| asset.path != "index.html") {
        Some(asset) => file(asset, request.headers()),
        // A script that is gone must not be answered with a page.
        None if path.starts_with("assets/") => return Err(Problem::not_found()),
        None => start_page(&app)?,
    };
    let headers = response.headers_mut();
    for (name, value) in GUARDS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}

fn find(path: &str) -> Option<&'static Asset> {
    ASSETS
        .binary_search_by(|asset| asset.path.cmp(path))
        .ok()
        .and_then(|at| ASSETS.get(at))
}

fn file(asset: &Asset, headers: &HeaderMap) -> Response {
    let accepted = headers
        .get(header::ACCEPT_ENCODING)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let takes = |coding: &str| accepted.split(',').any(|part| takes(part, coding));
    let (body, coding) = match (asset.brotli, asset.gzip) {
        (Some(body), _) if takes("br") => (body, Some("br")),
        (_, Some(body)) if takes("gzip") => (body, Some("gzip")),
        _ => (asset.plain, None),
    };
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(media_type(asset.path)),
    );
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if let Some(coding) = coding {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
    }
    // Names below assets/ contain a digest of their content.
    let kept = match asset.path.starts_with("assets/") {
        true => "public, max-age=31536000, immutable",
        false => "no-cache",
    };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(kept));
    // Workers obey the policy of their own script.
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'; \
             frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
        ),
    );
    response
}

/// Whether one element of Accept-Encoding takes a coding (RFC 9110 section 12.5.3).
fn takes(element: &str, coding: &str) -> bool {
    let mut parts = element.split(';').map(str::trim);
    let named = parts
        .next()
        .is_some_and(|name| name.eq_ignore_ascii_case(coding));
    let refused = parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
    named && !refused
}

fn start_page(app: &App) -> Result<Response> {
    let Some(page) = find("index.html").and_then(|page| core::str::from_utf8(page.plain).ok())
    else {
        let policy = "default-src 'none'; frame-ancestors 'none'";
        return Ok(html(NOT_BUILT.to_owned(), policy));
    };
    let nonce = to_base64url(&app.random::<16>());
    let policy = policy(&nonce, &origins(app)?);
    Ok(html(page.replace(NONCE_MARK, &nonce), &policy))
}

fn html(page: String, policy: &str) -> Response {
    let mut response = (StatusCode::OK, page).into_response();
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, kind);
    if let Ok(policy) = HeaderValue::from_str(policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// The members' nodes: where a patient's records may be.
fn origins(app: &App) -> Result<Vec<String>> {
    let members = members(&*app.view()?)?.members;
    Ok(members.iter().filter_map(|m| origin(&m.api)).collect())
}

/// `scheme://host[:port]` of a URL, if nothing in it could end a directive of the policy.
pub(crate) fn origin(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let host = rest.split('/').next()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    let fits = matches!(scheme, "https" | "http") && !host.is_empty() && host.chars().all(plain);
    fits.then(|| format!("{scheme}://{}", host.to_ascii_lowercase()))
}

fn policy(nonce: &str, origins: &[String]) -> String {
    format!(
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; \
         style-src 'self' 'nonce-{nonce}'; img-src 'self' blob: data:; font-src 'self'; \
         connect-src 'self' {}; worker-src 'self'; manifest-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'; trusted-types default",
        origins.join(" ")
    )
}

fn media_type(path: &str) -> &'static str {
    match path.rsplit('.').next().unwrap_or_default() {
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "wasm" => "application/wasm",
        "webmanifest" => "application/manifest+json",
        "json" => "application/json",
        "woff2" => "font/woff2",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_and_authority_and_cannot_end_a_directive() {
        assert_eq!(
            origin("https://North.example:8443/api").as_deref(),
            Some("https://north.example:8443")
        );
        for bad in [
            "",
            "north.example",
            "https://",
            "javascript://x",
            "https://a; script-src *",
            "https://a 'unsafe-inline'",
        ] {
            assert_eq!(origin(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_policy_names_the_nonce_the_members_and_no_other_source_of_scripts() {
        let policy = policy("abc", &["https://north.example".into()]);
        assert!(policy.contains("style-src 'self' 'nonce-abc';"), "{policy}");
        assert!(policy.contains("connect-src 'self' https://north.example;"));
        assert!(policy.contains("script-src 'self' 'wasm-unsafe-eval';"));
        assert!(!policy.contains("unsafe-inline"));
    }

    #[test]
    fn codings_are_taken_by_name_and_not_where_they_are_refused() {
        assert!(takes(" br;q=0.9", "br"));
        assert!(takes("GZIP", "gzip"));
        assert!(!takes("br;q=0", "br"));
        assert!(!takes("brotli", "br"));
    }

    #[test]
    fn the_list_of_files_is_in_order_so_that_each_is_found() {
        assert!(ASSETS.is_sorted_by(|a, b| a.path < b.path));
        assert!(ASSETS.iter().all(|asset| find(asset.path).is_some()));
    }
}
