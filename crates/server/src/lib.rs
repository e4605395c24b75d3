//! The HTTP API of a node: sessions, use cases, listings, events and the watch.
//!
//! ```text
//!  http/{noun}   parse, call, convert            problem   every error, RFC 9457
//!  app/{noun}    use cases                       session   tokens and who acts
//!  node          the ledger underneath           watch     refused attempts
//!  projection    log -> SQL listings -> events   openapi   the API's description
//!  custodian     what follows from entries       report    incidents, to the ledger
//!  web           the portals, embedded             cors      pages of other members
//!  statistics    patients counted, small cells left out
//!  training      federated jobs: coordinator and site
//! ```
//!
//! **Invariants:** the server holds no key that opens a record for anybody but its own organisation;
//! no sealed byte and no wrap leaves before its receipt is final; no token, key, login or patient
//! data stands in a log line, an error, a URL or `Debug`.

mod app;
mod cors;
mod custodian;
mod error;
mod events;
mod http;
mod idempotency;
pub mod node;
mod openapi;
mod problem;
mod projection;
mod replica;
mod report;
mod server;
mod session;
mod statistics;
mod throttle;
mod tls;
pub mod training;
mod watch;
mod web;

pub use app::{Limits, Policy};
pub use error::Error;
pub use openapi::document as openapi_document;
pub use server::{Config, Parts, Server};
pub use tls::TlsFiles;
