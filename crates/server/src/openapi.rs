//! The OpenAPI 3.1 document: made from the routes, committed as `openapi/salus.json`.

use std::sync::OnceLock;

use salus_proto::api::access::{AccessSide, AccessState};
use salus_proto::api::consultation::ConsultationSide;
use salus_proto::api::principal::StandingStatus;
use utoipa::Modify as _;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, InfoBuilder, License, OpenApi, OpenApiBuilder, SecurityRequirement,
};

use crate::http;

/// What the document says before any route.
pub(crate) fn head() -> OpenApi {
    let mut license = License::new("Apache-2.0");
    license.identifier = Some("Apache-2.0".into());
    let info = InfoBuilder::new()
        .title("Salus node")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "HTTP API of a Salus node. Binary fields are base64url without padding, ids 32 and \
             digests 64 hexadecimal digits, times milliseconds since 1970. Errors are RFC 9457 \
             problems with a stable `code`. Writes accept `Idempotency-Key`.",
        ))
        .license(Some(license))
        .build();
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    let cookie = ApiKeyValue::new("__Host-salus");
    let components = ComponentsBuilder::new()
        // Used by query parameters alone, where the routes do not collect them.
        .schema_from::<AccessSide>()
        .schema_from::<AccessState>()
        .schema_from::<ConsultationSide>()
        .schema_from::<StandingStatus>()
        .security_scheme("bearer", SecurityScheme::Http(bearer))
        .security_scheme("cookie", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)))
        .build();
    let any: [&str; 0] = [];
    OpenApiBuilder::new()
        .info(info)
        .components(Some(components))
        .security(Some([
            SecurityRequirement::new("bearer", any),
            SecurityRequirement::new("cookie", any),
        ]))
        .build()
}

/// The document as JSON, with a final newline.
pub fn document() -> &'static str {
    static DOCUMENT: OnceLock<String> = OnceLock::new();
    DOCUMENT.get_or_init(|| {
        let (_, mut openapi) = http::routes().split_for_parts();
        Wildcards.modify(&mut openapi);
        let mut json = serde_json::to_string_pretty(&openapi).unwrap_or_default();
        json.push('\n');
        json
    })
}

/// OpenAPI has no wildcard parameters; a plain one comes nearest.
struct Wildcards;

impl utoipa::Modify for Wildcards {
    fn modify(&self, openapi: &mut OpenApi) {
        let paths = core::mem::take(&mut openapi.paths.paths);
        openapi.paths.paths = paths
            .into_iter()
            .map(|(path, item)| (path.replace("{*", "{"), item))
            .collect();
    }
}
