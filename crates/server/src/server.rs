//! Starting and stopping: binds the address, follows the log, serves until told to stop.

use core::fmt;
use core::time::Duration;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use axum_server::Handle;
use bytes::Bytes;
use hyper_util::rt::TokioTimer;
use salus_crypto::keys::SecretKeys;
use salus_crypto::opaque::ServerSetup;
use salus_proto::Entropy;
use salus_proto::ids::OrganisationId;
use salus_runtime::table::Database;
use salus_runtime::{Clock, params, transact};
use salus_vault::Vault;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use crate::app::{App, Limits, Policy};
use crate::node::Ledger;
use crate::session::Recent;
use crate::tls::{self, TlsFiles};
use crate::training::{Desk, Training, coordinator, site};
use crate::watch::Watch;
use crate::{Error, custodian, http, idempotency, projection, report};

/// Requests at work at once; more are told to try again.
const IN_FLIGHT_LIMIT: usize = 4096;
/// How long a client may take to send a request's head.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);
/// How long requests at work may go on when the server stops.
const FAREWELL: Duration = Duration::from_secs(10);
/// How often what has expired is swept out.
const SWEEP: Duration = Duration::from_secs(60);
/// Streams of one HTTP/2 connection.
const STREAMS_LIMIT: u32 = 128;

/// Where and how to serve.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Certificate and key; without them the server speaks plain HTTP, for loopback and for a proxy
    /// that ends TLS on the same machine.
    pub tls: Option<TlsFiles>,
    /// Whose node this is.
    pub organisation: OrganisationId,
    /// The organisation's standing decisions.
    pub policy: Policy,
    /// Bounds.
    pub limits: Limits,
}

/// The node around the server.
pub struct Parts {
    /// The replica.
    pub ledger: Arc<dyn Ledger>,
    /// The sealed records.
    pub vault: Vault,
    /// The node's private tables.
    pub database: Database,
    /// The organisation's keys.
    pub keys: Arc<SecretKeys>,
    /// The OPAQUE setup of this node's accounts.
    pub passwords: ServerSetup,
    /// The genesis file.
    pub genesis: Bytes,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Box<dyn Entropy + Send>,
    /// What federated jobs need; a node without it takes part in none.
    pub training: Option<Training>,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts")
            .field("ledger", &self.ledger)
            .finish_non_exhaustive()
    }
}

/// A running server. Dropping it ends it at once; [`Server::stop`] lets requests finish.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    handle: Handle<SocketAddr>,
    app: Arc<App>,
    tasks: Vec<JoinHandle<()>>,
}

impl Server {
    /// Binds the address and begins to serve. Returns once requests are taken.
    ///
    /// # Errors
    /// [`Error`] names what is wrong with address, certificate, genesis file or tables.
    pub async fn start(config: Config, parts: Parts) -> Result<Self, Error> {
        let genesis = crate::app::ledger::genesis(&parts.genesis).map_err(Error::Genesis)?;
        let tls = config.tls.as_ref().map(tls::load).transpose()?;
        let listen = |source| Error::Listen {
            address: config.listen,
            source,
        };
        let listener = TcpListener::bind(config.listen).map_err(listen)?;
        listener.set_nonblocking(true).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;

        let (watch, write_notes) = Watch::new(parts.database.clone());
        let app = Arc::new(App {
            organisation: config.organisation,
            policy: config.policy,
            limits: config.limits,
            genesis: parts.genesis,
            origin: genesis.origin(),
            database: parts.database,
            ledger: parts.ledger,
            vault: parts.vault,
            clock: parts.clock,
            keys: parts.keys,
            passwords: parts.passwords,
            watch,
            in_flight: Semaphore::new(IN_FLIGHT_LIMIT),
            projected: watch::Sender::new(0),
            stopping: watch::Sender::new(false),
            entropy: Mutex::new(parts.entropy),
            tally: tokio::sync::Mutex::default(),
            desk: parts.training.map(Desk::new),
            own_sequence: Mutex::new(0),
            recent: Recent::default(),
        });
        let next = projection::begin(&app, &genesis).await?;
        app.projected.send_replace(next);

        let handle = Handle::new();
        let mut tasks = vec![
            tokio::spawn(write_notes),
            tokio::spawn(projection::follow(app.clone())),
            tokio::spawn(custodian::follow(app.clone())),
            tokio::spawn(report::follow(app.clone())),
            tokio::spawn(coordinator::follow(app.clone())),
            tokio::spawn(site::follow(app.clone())),
            tokio::spawn(sweep(app.clone())),
        ];
        let service = http::service(&app).into_make_service_with_connect_info::<SocketAddr>();
        let mut server = axum_server::from_tcp(listener)
            .map_err(listen)?
            .handle(handle.clone());
        configure(server.http_builder());
        let serving = match tls {
            Some(tls) => {
                let acceptor = axum_server::tls_rustls::RustlsAcceptor::new(tls);
                tokio::spawn(async move { ended(server.acceptor(acceptor).serve(service).await) })
            }
            None => tokio::spawn(async move { ended(server.serve(service).await) }),
        };
        tasks.push(serving);
        tracing::info!(%address, tls = config.tls.is_some(), "serving");
        Ok(Self {
            address,
            handle,
            app,
            tasks,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops taking requests, lets those at work finish for ten seconds, and ends.
    pub async fn stop(mut self) {
        self.app.stopping.send_replace(true);
        self.handle.graceful_shutdown(Some(FAREWELL));
        if let Some(serving) = self.tasks.pop() {
            let _ = serving.await;
        }
        self.app.watch.flush().await;
    }

    /// Waits until the listings show everything that the ledger holds now: for tests and tools that
    /// read right after they wrote.
    pub async fn settle(&self) {
        if let Ok(view) = self.app.view() {
            let _ = self.app.wait_projected(view.size()).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.app.stopping.send_replace(true);
        self.handle.shutdown();
        for task in &self.tasks {
            task.abort();
        }
    }
}

fn configure(builder: &mut hyper_util::server::conn::auto::Builder<hyper_util::rt::TokioExecutor>) {
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_headers(64);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_LIMIT)
        .max_header_list_size(16 << 10)
        .keep_alive_interval(Some(Duration::from_secs(30)));
}

fn ended(result: std::io::Result<()>) {
    if let Err(error) = result {
        tracing::error!(%error, "the server ended");
    }
}

/// Deletes what has expired.
async fn sweep(app: Arc<App>) {
    let mut stopping = app.stopping.subscribe();
    loop {
        tokio::select! {
            () = app.clock.sleep(SWEEP) => {}
            _ = stopping.wait_for(|stop| *stop) => return,
        }
        let now = app.now();
        let before = |ms: u64| now.0.saturating_sub(ms);
        let swept = transact!(app.database, "sweep", |tx| {
            for (sql, limit) in [
                ("DELETE FROM session WHERE expires_at <= $1", now.0),
                ("DELETE FROM handshake WHERE expires_at <= $1", now.0),
                (
                    "DELETE FROM passkey_challenge WHERE expires_at <= $1",
                    now.0,
                ),
                (
                    "DELETE FROM throttle WHERE window_start < $1",
                    before(3_600_000),
                ),
                (
                    "DELETE FROM idempotency WHERE created_at < $1",
                    before(idempotency::KEPT_MS),
                ),
            ] {
                tx.execute(sql, &params![limit]).await?;
            }
            Ok::<(), salus_runtime::Error>(())
        });
        if let Err(error) = swept {
            tracing::warn!(%error, "what has expired was not swept out");
        }
    }
}
