//! Every error that leaves the node: RFC 9457 problem documents, and how our errors become them.
//!
//! A handler returns a [`Problem`]; it travels as a response extension to the outermost layer
//! ([`render`]), which names the occurrence and writes the document. What reaches that layer as an
//! error without a problem (a rejection of the framework) gets one by its status.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use salus_contract::{Refusal, Rejection};
use salus_proto::api::problem::{
    FieldError, PROBLEM_TYPE_PREFIX, Problem as Document, SilentMember,
};
use salus_proto::encode::Malformed;
use salus_proto::ids::OrganisationId;

use crate::node::{LedgerFailed, SubmitError};

/// The answer to a request that does not get what it wants. One pointer wide, because every result of
/// a use case has room for it.
#[derive(Clone, Debug)]
pub(crate) struct Problem(Box<Parts>);

/// What a problem says.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    status: StatusCode,
    code: String,
    title: &'static str,
    detail: Option<String>,
    errors: Vec<FieldError>,
    entry: Option<u64>,
    silent: Vec<SilentMember>,
    retry_after_s: Option<u64>,
    /// Whether those who watch for intrusions should know.
    attempt: bool,
}

/// Media type of problem documents (RFC 9457, section 4).
const MEDIA_TYPE: &str = "application/problem+json";

/// The result of everything that a request may fail at.
pub(crate) type Result<T, E = Problem> = core::result::Result<T, E>;

impl core::ops::Deref for Problem {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl core::ops::DerefMut for Problem {
    fn deref_mut(&mut self) -> &mut Parts {
        &mut self.0
    }
}

impl Problem {
    fn new(status: StatusCode, code: &str, title: &'static str) -> Self {
        Self(Box::new(Parts {
            status,
            code: code.to_owned(),
            title,
            detail: None,
            errors: Vec::new(),
            entry: None,
            silent: Vec::new(),
            retry_after_s: None,
            attempt: matches!(
                status,
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS
            ),
        }))
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn code(&self) -> &str {
        &self.code
    }

    /// What to tell whoever caused it.
    pub(crate) fn reason(&self) -> Option<String> {
        let first = self.errors.first().map(|error| error.detail.clone());
        first
            .or_else(|| self.detail.clone())
            .or_else(|| Some(self.title.to_owned()))
    }

    pub(crate) fn is_attempt(&self) -> bool {
        self.attempt
    }

    pub(crate) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    pub(crate) fn at_entry(mut self, entry: u64) -> Self {
        self.entry = Some(entry);
        self
    }

    /// Gives silent members their names.
    pub(crate) fn name_silent(mut self, name: impl Fn(OrganisationId) -> Option<String>) -> Self {
        for member in &mut self.silent {
            if let Some(name) = name(member.organisation) {
                member.name = name;
            }
        }
        if !self.silent.is_empty() {
            let names: Vec<&str> = self.silent.iter().map(|m| m.name.as_str()).collect();
            self.detail = Some(format!(
                "no answer from {}; reading goes on, and writing as soon as enough members answer",
                names.join(", ")
            ));
        }
        self
    }

    /// Nothing here, or nothing that the caller may know about.
    pub(crate) fn not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not-found",
            "No such thing, or not for you",
        )
    }

    /// As [`Problem::not_found`], where the thing may exist and the caller may not know.
    pub(crate) fn hidden() -> Self {
        let mut problem = Self::not_found();
        problem.attempt = true;
        problem
    }

    pub(crate) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "malformed-request",
            "The request cannot be read",
        )
        .detail(detail)
    }

    pub(crate) fn unauthenticated() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthenticated",
            "Open a session first",
        )
    }

    pub(crate) fn login_refused() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "login-refused",
            "Login or password is wrong",
        )
    }

    pub(crate) fn passkey_refused() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "passkey-refused",
            "The passkey opens no account here",
        )
    }

    pub(crate) fn bad_challenge() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "challenge-refused",
            "The challenge is not answered by this principal's key",
        )
    }

    pub(crate) fn bad_member() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "member-refused",
            "The request is not signed by a member of this consortium",
        )
    }

    pub(crate) fn cross_site() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "cross-site",
            "A request with the session cookie must come from this node's own pages",
        )
    }

    pub(crate) fn pending() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "pending-principal",
            "The profile still waits for the cloud operator's decision",
        )
    }

    pub(crate) fn shut_out() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "revoked-principal",
            "The principal was refused or revoked, or its organisation has left",
        )
    }

    pub(crate) fn not_allowed() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "not-allowed",
            "This role may not do that",
        )
    }

    pub(crate) fn not_yours() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "not-your-command",
            "The command is signed by another principal than the session's",
        )
    }

    pub(crate) fn conflict(code: &'static str, title: &'static str) -> Self {
        Self::new(StatusCode::CONFLICT, code, title)
    }

    pub(crate) fn precondition(code: &'static str, title: &'static str) -> Self {
        let status = match code {
            "precondition-required" => StatusCode::PRECONDITION_REQUIRED,
            _ => StatusCode::PRECONDITION_FAILED,
        };
        Self::new(status, code, title)
    }

    pub(crate) fn range_not_satisfiable() -> Self {
        Self::new(
            StatusCode::RANGE_NOT_SATISFIABLE,
            "range-not-satisfiable",
            "The range lies outside the sealed bytes",
        )
    }

    pub(crate) fn too_large(limit: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too-large",
            "The body is too large",
        )
        .detail(format!("at most {limit} bytes are taken here"))
    }

    pub(crate) fn media_type(expected: &'static str) -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
            "The body has another media type",
        )
        .detail(format!("send it as {expected}"))
    }

    pub(crate) fn invalid(errors: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        let mut problem = Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid",
            "Something in the request is not valid",
        );
        problem.errors = errors
            .into_iter()
            .map(|(pointer, detail)| FieldError {
                pointer: pointer.to_owned(),
                detail,
            })
            .collect();
        problem
    }

    pub(crate) fn field(pointer: &'static str, detail: impl Into<String>) -> Self {
        Self::invalid([(pointer, detail.into())])
    }

    pub(crate) fn idempotency_mismatch() -> Self {
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "idempotency-mismatch",
            "The idempotency key was used for another request",
        )
    }

    pub(crate) fn too_many(retry_after_s: u64) -> Self {
        let mut problem = Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too-many-attempts",
            "Too many attempts; try again later",
        );
        problem.retry_after_s = Some(retry_after_s);
        problem
    }

    pub(crate) fn no_quorum(silent: Vec<OrganisationId>) -> Self {
        let mut problem = Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "no-quorum",
            "Too few members answer, so nothing can become final",
        );
        problem.silent = silent
            .into_iter()
            .map(|organisation| SilentMember {
                organisation,
                name: organisation.to_string(),
            })
            .collect();
        problem.retry_after_s = Some(5);
        problem
    }

    pub(crate) fn unavailable(code: &'static str, title: &'static str) -> Self {
        let mut problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, code, title);
        problem.retry_after_s = Some(1);
        problem
    }

    pub(crate) fn timeout() -> Self {
        Self::new(
            StatusCode::GATEWAY_TIMEOUT,
            "timeout",
            "The answer took too long",
        )
        .detail("a write may still happen: repeat it with the same idempotency key, or look it up")
    }

    pub(crate) fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "The node made a mistake; its log names this occurrence",
        )
    }

    /// The framework's own refusals, by their status.
    fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::not_found(),
            StatusCode::METHOD_NOT_ALLOWED => Self::new(
                status,
                "method-not-allowed",
                "This resource does not have that method",
            ),
            StatusCode::PAYLOAD_TOO_LARGE => {
                Self::new(status, "too-large", "The body is too large")
            }
            status if status.is_client_error() => {
                let mut problem = Self::malformed("the request does not have the expected form");
                problem.status = status;
                problem
            }
            _ => Self::internal(),
        }
    }

    fn document(&self, instance: Option<String>) -> Document {
        Document {
            kind: format!("{PROBLEM_TYPE_PREFIX}{}", self.code),
            title: self.title.to_owned(),
            status: self.status.as_u16(),
            detail: self.detail.clone(),
            instance,
            code: self.code.clone(),
            errors: self.errors.clone(),
            entry: self.entry,
            silent: self.silent.clone(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Writes the problem document of an error response; other responses pass. `instance` names the
/// occurrence in the node's log.
pub(crate) fn render(response: Response, instance: &str) -> (Response, Option<Problem>) {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return (response, None);
    }
    let rendered = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|v| v == MEDIA_TYPE);
    if rendered && response.extensions().get::<Problem>().is_none() {
        // A stored answer that is given again.
        return (response, None);
    }
    let (mut parts, _) = response.into_parts();
    let problem = parts
        .extensions
        .remove::<Problem>()
        .unwrap_or_else(|| Problem::of_status(status));
    let document = problem.document(Some(format!("urn:salus:request:{instance}")));
    let body = serde_json::to_vec(&document).unwrap_or_default();
    parts.status = problem.status;
    parts
        .headers
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    parts.headers.remove(header::CONTENT_LENGTH);
    if let Some(seconds) = problem.retry_after_s {
        parts
            .headers
            .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if problem.status == StatusCode::UNAUTHORIZED {
        let scheme = HeaderValue::from_static("Bearer");
        parts.headers.insert(header::WWW_AUTHENTICATE, scheme);
    }
    (Response::from_parts(parts, Body::from(body)), Some(problem))
}

/// A refused command: a normal answer with an entry on the ledger.
pub(crate) fn refused(refusal: Refusal, entry: u64) -> Problem {
    let status = match refusal {
        Refusal::NotAllowed
        | Refusal::NotGranted
        | Refusal::PendingPrincipal
        | Refusal::RevokedPrincipal => StatusCode::FORBIDDEN,
        Refusal::NotFound | Refusal::UnknownPrincipal => StatusCode::NOT_FOUND,
        Refusal::Replayed
        | Refusal::Expired
        | Refusal::AlreadyExists
        | Refusal::WrongState
        | Refusal::ImpossibleMembership
        | Refusal::StaleModel
        | Refusal::RoundOver => StatusCode::CONFLICT,
        Refusal::WrongConsortium | Refusal::OutOfRange | Refusal::KeyNotProven => {
            StatusCode::UNPROCESSABLE_ENTITY
        }
    };
    let code = serde_json::to_value(refusal)
        .ok()
        .and_then(|v| v.as_str().map(str::to_owned));
    let code = code.unwrap_or_else(|| "refused".into());
    let mut problem = Problem::new(status, &code, "The consortium refused the command")
        .detail(refusal.to_string())
        .at_entry(entry);
    problem.attempt |= refusal == Refusal::NotFound;
    problem
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        let (status, code) = match &rejection {
            Rejection::Malformed(_) => (StatusCode::BAD_REQUEST, "malformed-command"),
            Rejection::WrongConsortium => (StatusCode::BAD_REQUEST, "wrong-consortium"),
            Rejection::UnknownPrincipal => (StatusCode::UNAUTHORIZED, "unknown-principal"),
            Rejection::BadSignature => (StatusCode::UNAUTHORIZED, "bad-signature"),
            Rejection::Replayed => (StatusCode::CONFLICT, "replayed"),
            Rejection::Expired => (StatusCode::CONFLICT, "expired"),
            Rejection::AlreadyRegistered => (StatusCode::CONFLICT, "already-registered"),
            Rejection::Pending => return Self::pending(),
            Rejection::ShutOut => return Self::shut_out(),
        };
        let mut problem = Self::new(status, code, "The command was not taken");
        problem.attempt |= matches!(rejection, Rejection::Replayed);
        problem.detail(rejection.to_string())
    }
}

impl From<SubmitError> for Problem {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Rejected(rejection) => rejection.into(),
            SubmitError::AlreadyOrdered => Rejection::Replayed.into(),
            SubmitError::Overloaded => {
                Self::unavailable("overloaded", "Too many commands are waiting; try again")
            }
            SubmitError::NoQuorum { silent } => Self::no_quorum(silent),
            SubmitError::TimedOut => Self::timeout(),
            SubmitError::Failed(failed) => failed.into(),
        }
    }
}

impl From<LedgerFailed> for Problem {
    fn from(failed: LedgerFailed) -> Self {
        tracing::error!(%failed, "the ledger failed");
        Self::unavailable(
            "ledger-failure",
            "The node's ledger failed; its log says why",
        )
    }
}

impl From<Malformed> for Problem {
    fn from(malformed: Malformed) -> Self {
        Self::malformed(malformed.to_string())
    }
}

impl From<salus_runtime::Error> for Problem {
    fn from(error: salus_runtime::Error) -> Self {
        use salus_runtime::Error;
        match &error {
            Error::NotFound { .. } => return Self::not_found(),
            Error::Duplicate { .. } | Error::Dangling => {
                return Self::conflict("already-exists", "It is there already");
            }
            Error::WrongDigest { .. } => {
                return Self::field("/digest", "the bytes do not have this digest");
            }
            Error::TooLarge { limit, .. } => {
                return Self::too_large(usize::try_from(*limit).unwrap_or(usize::MAX));
            }
            Error::Busy { .. } => {
                return Self::unavailable("busy", "Others wrote at the same time");
            }
            Error::Bug { .. } => {
                tracing::error!(%error, "bug");
                return Self::internal();
            }
            Error::DiskFull { .. }
            | Error::ReadOnly { .. }
            | Error::Corrupt { .. }
            | Error::Unavailable { .. }
            | Error::NewerSchema { .. }
            | Error::Configuration(_) => {}
        }
        tracing::error!(%error, "storage failed");
        Self::unavailable(
            "storage-failure",
            "The node's storage failed; its log says why",
        )
    }
}

impl From<salus_vault::Error> for Problem {
    fn from(error: salus_vault::Error) -> Self {
        use salus_vault::Error;
        match error {
            Error::Runtime(error) => error.into(),
            Error::Malformed(malformed) => malformed.into(),
            Error::Envelope(_) | Error::Part { .. } => Self::invalid([("", error.to_string())]),
            Error::UnknownSigner { .. } => Self::not_allowed().detail(error.to_string()),
            Error::NotCustodian { .. } | Error::NotFound { .. } | Error::NotForReader { .. } => {
                Self::hidden()
            }
            Error::NotAReceipt { .. } => Self::hidden(),
            Error::ReceiptExpired => {
                Self::conflict("receipt-expired", "The receipt is too old; read again")
            }
            Error::BatchTaken { .. } | Error::RecordTaken { .. } | Error::ClassKeyTaken { .. } => {
                Self::conflict("already-exists", "It is there already").detail(error.to_string())
            }
            Error::WrongEpoch { .. } => {
                Self::conflict("wrong-epoch", "The class key has been replaced; seal again")
                    .detail(error.to_string())
            }
            Error::MissingBlob { .. } => {
                Self::conflict("missing-blob", "Upload the sealed bytes first")
                    .detail(error.to_string())
            }
            Error::NotAnchored { .. } => {
                Self::conflict("not-anchored", "The ledger does not have this batch")
            }
            Error::Damaged { .. } => {
                tracing::error!(%error, "the vault is damaged");
                Self::unavailable(
                    "storage-failure",
                    "The node's storage failed; its log says why",
                )
            }
            Error::Interrupted => Self::unavailable("interrupted", "The node is shutting down"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_framework_becomes_a_problem_too() {
        let (response, problem) = render(StatusCode::METHOD_NOT_ALLOWED.into_response(), "i");
        assert_eq!(problem.unwrap().code(), "method-not-allowed");
        assert_eq!(response.headers()[header::CONTENT_TYPE], MEDIA_TYPE);
        let (response, problem) = render("fine".into_response(), "i");
        assert!(problem.is_none());
        assert_eq!(response.status(), StatusCode::OK);
    }

    #[test]
    fn a_refusal_keeps_its_code_and_names_its_entry() {
        let problem = refused(Refusal::NotGranted, 7);
        assert_eq!(
            (problem.code(), problem.status()),
            ("not-granted", StatusCode::FORBIDDEN)
        );
        let document = problem.document(None);
        assert_eq!(document.kind, "urn:salus:problem:not-granted");
        assert_eq!(document.entry, Some(7));
    }

    #[test]
    fn silent_members_are_named() {
        let silent = OrganisationId([7; 16]);
        let problem = Problem::no_quorum(vec![silent]).name_silent(|_| Some("South".into()));
        let document = problem.document(None);
        assert_eq!(document.silent[0].name, "South");
        assert!(document.detail.unwrap().contains("South"));
    }
}
