//! Private tables: one handle, the same SQL and the same migrations on SQLite and PostgreSQL.
//!
//! ```text
//!  db.read()                            one moment, no writes
//!  transact!(db, "name", |tx| …)        serializable; repeated when another got in the way
//!        │
//!        ├─ sqlite:PATH        write-ahead log, fsync at every commit, one writer and READERS readers
//!        └─ postgres://…       SERIALIZABLE and REPEATABLE READ READ ONLY, CONNECTIONS connections
//! ```
//!
//! # How to add a table
//!
//! 1. Add `migrations/NNNN_name.sql` with the next number and its line in [`MIGRATIONS`]. Use only
//!    the column types `BYTEA`, `BIGINT`, `TEXT` and `BOOLEAN`, which SQLite takes as they are.
//!    A migration that has been released is never edited: the next one corrects it.
//! 2. Say what a row is, and write the queries once, in the crate that owns the table:
//!
//! ```
//! use salus_proto::{TimestampMs, ids::PrincipalId};
//! use salus_runtime::table::{Database, Transaction};
//! use salus_runtime::{Result, from_row, params};
//!
//! struct Account { principal: PrincipalId, name: String, created_at: TimestampMs }
//! from_row!(Account { principal, name, created_at });
//!
//! async fn add(tx: &mut Transaction, account: &Account) -> Result<u64> {
//!     tx.execute(
//!         "INSERT INTO account (principal, name, created_at) VALUES ($1, $2, $3)",
//!         &params![account.principal, account.name, account.created_at],
//!     ).await
//! }
//!
//! async fn newest(tx: &mut Transaction, limit: u32) -> Result<Vec<Account>> {
//!     tx.all("SELECT * FROM account ORDER BY created_at DESC LIMIT $1", &params![limit]).await
//! }
//!
//! # async fn example(db: Database, account: Account) -> Result<()> {
//! salus_runtime::transact!(db, "register", |tx| add(tx, &account).await)?;
//! let accounts = newest(&mut db.read().await?, 50).await?;
//! # let _ = (accounts.len(), accounts.first().map(|a| (a.principal, a.created_at)));
//! # Ok(())
//! # }
//! ```
//!
//! 3. Test it on both engines with `testing::for_each_database` (feature `test-util`).
//!
//! What works on both: `ON CONFLICT (…) DO NOTHING | DO UPDATE SET x = excluded.x`, `RETURNING`,
//! `WITH`, `EXISTS`, `COALESCE`, `CASE`, window functions, foreign keys, partial indexes. Write
//! `CAST(SUM(x) AS BIGINT)`, because PostgreSQL sums to `NUMERIC`; compare with `lower(x) LIKE …`,
//! because SQLite's `LIKE` ignores case; give `NULLS FIRST` or `LAST` when ordering by what may be
//! absent. Text sorts by its UTF-8 bytes on both ([`Database::open`] refuses another collation).
//!
//! The body of a write may run several times, so it changes nothing but the transaction.

mod attempts;
mod failure;
mod transaction;
mod value;

use core::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use salus_proto::Digest;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, SqlSafeStr as _};

pub use self::attempts::Attempts;
use self::failure::Failed;
use self::transaction::Engine;
pub use self::transaction::{BATCH_COLUMNS_MAX, ROWS_MAX, Transaction};
pub use self::value::{FromColumn, FromRow, Kind, Row, ToColumn, Value};
use crate::error::{Error, Result};

/// Most readers of one SQLite file at a time.
const READERS: u32 = 8;

/// Most connections to PostgreSQL.
const CONNECTIONS: u32 = 16;

/// Longest wait for a connection, and for another process's lock on a SQLite file.
const PATIENCE: Duration = Duration::from_secs(5);

/// One step of the schema.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// 1 for the first, without gaps.
    pub version: i64,
    /// The file's name without its number and ending.
    pub name: &'static str,
    /// SQL statements that both engines take.
    pub sql: &'static str,
}

macro_rules! migrations {
    ($($version:literal $name:literal),* $(,)?) => {
        &[$(Migration {
            version: $version,
            name: $name,
            sql: include_str!(concat!("../../migrations/", $name, ".sql")),
        }),*]
    };
}

/// Every migration of Salus, in order.
pub const MIGRATIONS: &[Migration] = migrations![
    1 "0001_blobs",
    2 "0002_server",
    3 "0003_vault",
    4 "0004_incident_reports",
    5 "0005_recovery",
    6 "0006_training",
    7 "0007_statistics",
    8 "0008_passkeys",
];

/// The tables. Clones share their connections.
#[derive(Clone)]
pub struct Database {
    pools: Arc<Pools>,
}

enum Pools {
    Sqlite {
        writer: SqlitePool,
        readers: SqlitePool,
    },
    Postgres(PgPool),
}

impl Database {
    /// Opens `sqlite:PATH` (made when absent, readable by its owner only) or
    /// `postgres://USER:PASSWORD@HOST:PORT/NAME`, and brings its schema up to [`MIGRATIONS`].
    ///
    /// # Errors
    /// [`Error::NewerSchema`] for a database that a newer program wrote; [`Error::Configuration`]
    /// for an address or a collation that does not fit; failures of the engine.
    pub async fn open(url: &str) -> Result<Self> {
        Self::open_with(url, MIGRATIONS).await
    }

    /// As [`Database::open`], with a schema of one's own.
    ///
    /// # Errors
    /// As [`Database::open`]; [`Error::Bug`] when an applied migration has changed since.
    pub async fn open_with(url: &str, migrations: &[Migration]) -> Result<Self> {
        let pools = if let Some(path) = url.strip_prefix("sqlite:") {
            open_sqlite(path.strip_prefix("//").unwrap_or(path)).await?
        } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            open_postgres(url).await?
        } else {
            return Err(Error::Configuration(
                "a database address starts with `sqlite:` or `postgres://`".into(),
            ));
        };
        let database = Self {
            pools: Arc::new(pools),
        };
        database.migrate(migrations).await?;
        Ok(database)
    }

    /// `sqlite` or `postgres`.
    pub fn engine(&self) -> &'static str {
        match *self.pools {
            Pools::Sqlite { .. } => "sqlite",
            Pools::Postgres(_) => "postgres",
        }
    }

    /// Begins to read one moment of the tables; dropping the transaction ends it. Writing in it
    /// fails with [`Error::ReadOnly`]. Keep it short: on SQLite the log grows meanwhile.
    ///
    /// # Errors
    /// Failures of the engine.
    pub async fn read(&self) -> Result<Transaction> {
        let begun = match &*self.pools {
            Pools::Sqlite { readers, .. } => begin_sqlite(readers, "BEGIN").await,
            Pools::Postgres(pool) => {
                begin_postgres(pool, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await
            }
        };
        begun.map_err(|error| final_error("read", error))
    }

    /// For one statement that reads, or several that need not agree on one moment: on SQLite each
    /// takes one turn of the connection where [`Database::read`] takes two more for its bounds.
    ///
    /// # Errors
    /// Failures of the engine.
    pub async fn glance(&self) -> Result<Transaction> {
        match &*self.pools {
            Pools::Sqlite { readers, .. } => readers
                .acquire()
                .await
                .map(|connection| Transaction::unbounded(Engine::Sqlite(connection)))
                .map_err(|error| final_error("read", error)),
            Pools::Postgres(_) => self.read().await,
        }
    }

    /// Reads the whole SQLite file for damage in its structure; on PostgreSQL, which keeps
    /// checksums of its own, reads every row of every table of ours.
    ///
    /// # Errors
    /// [`Error::Corrupt`] with the first damage found; failures of the engine.
    pub async fn verify(&self) -> Result<()> {
        match &*self.pools {
            Pools::Sqlite { readers, .. } => {
                let answer: Result<Option<String>, _> =
                    sqlx::query_scalar("PRAGMA integrity_check(1)")
                        .fetch_optional(readers)
                        .await;
                match answer.map_err(|error| final_error("verify", error))? {
                    Some(ok) if ok == "ok" => Ok(()),
                    found => Err(Error::Corrupt {
                        what: "the database".into(),
                        detail: found.unwrap_or_default(),
                    }),
                }
            }
            Pools::Postgres(pool) => {
                let read_all = "SELECT CAST(SUM(length(query_to_xml(
                        format('SELECT count(t.*::text) FROM %I.%I t', schemaname, tablename),
                        false, true, '')::text)) AS BIGINT)
                    FROM pg_tables WHERE schemaname = current_schema()";
                let read: Result<Option<i64>, _> =
                    sqlx::query_scalar(read_all).fetch_one(pool).await;
                read.map(drop).map_err(|error| final_error("verify", error))
            }
        }
    }

    /// Overwrites what deleted rows have left behind in the database's files, as erasure demands:
    /// on SQLite free pages are zeroed at once and this empties the write-ahead log; PostgreSQL
    /// frees the rows' space, and its own log and backups age out by the operator's policy.
    ///
    /// # Errors
    /// Failures of the engine; [`Error::Busy`] when a reader still holds the old state.
    pub async fn purge(&self) -> Result<()> {
        let purged = match &*self.pools {
            Pools::Sqlite { writer, .. } => {
                // The pragma's row is (was blocked, frames in the log, frames written back).
                sqlx::query_as::<_, (i64, i64, i64)>("PRAGMA wal_checkpoint(TRUNCATE)")
                    .fetch_one(writer)
                    .await
                    .map(|(blocked, _, _)| blocked == 0)
            }
            Pools::Postgres(pool) => sqlx::raw_sql("VACUUM".into_sql_str())
                .execute(pool)
                .await
                .map(|_| true),
        };
        match purged {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::Busy {
                name: "purge",
                attempts: 1,
            }),
            Err(error) => Err(final_error("purge", error)),
        }
    }

    /// Waits for transactions in progress and closes every connection; later calls fail.
    pub async fn close(&self) {
        match &*self.pools {
            Pools::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Pools::Postgres(pool) => pool.close().await,
        }
    }

    /// In one transaction, so that a crash leaves the schema as it was.
    async fn migrate(&self, migrations: &[Migration]) -> Result<()> {
        let begun = match &*self.pools {
            Pools::Sqlite { .. } => self.begin_write().await,
            // Each statement has to see what the process that went before has committed.
            Pools::Postgres(pool) => {
                begin_postgres(pool, "BEGIN ISOLATION LEVEL READ COMMITTED").await
            }
        };
        let mut tx = begun.map_err(|error| final_error("migrate", error))?;
        match migrate(&mut tx, migrations).await {
            Ok(()) => tx
                .commit()
                .await
                .map_err(|error| final_error("migrate", error)),
            Err(error) => {
                tx.rollback().await;
                Err(error)
            }
        }
    }

    async fn begin_write(&self) -> Result<Transaction, sqlx::Error> {
        match &*self.pools {
            // Takes the write lock at once: a later upgrade could only fail.
            Pools::Sqlite { writer, .. } => begin_sqlite(writer, "BEGIN IMMEDIATE").await,
            Pools::Postgres(pool) => {
                begin_postgres(pool, "BEGIN ISOLATION LEVEL SERIALIZABLE").await
            }
        }
    }
}

async fn begin_sqlite(pool: &SqlitePool, begin: &'static str) -> Result<Transaction, sqlx::Error> {
    Transaction::begin(Engine::Sqlite(pool.acquire().await?), begin).await
}

async fn begin_postgres(pool: &PgPool, begin: &'static str) -> Result<Transaction, sqlx::Error> {
    Transaction::begin(Engine::Postgres(pool.acquire().await?), begin).await
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Database({})", self.engine())
    }
}

/// The error of a step that is not repeated.
fn final_error(name: &'static str, error: sqlx::Error) -> Error {
    match failure::sort(name, error) {
        Failed::Error(error) => error,
        Failed::Conflict => Error::Busy { name, attempts: 1 },
    }
}

async fn open_sqlite(path: &str) -> Result<Pools> {
    if path.is_empty() || path.starts_with(':') {
        return Err(Error::Configuration(
            "`sqlite:` is followed by the path of a file".into(),
        ));
    }
    create_private(path)?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        // An acknowledged commit survives a power cut.
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(PATIENCE)
        .foreign_keys(true)
        // What is erased is overwritten with zeros.
        .pragma("secure_delete", "ON")
        .disable_statement_logging();
    let connected = async {
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .test_before_acquire(false)
            .acquire_timeout(PATIENCE)
            .connect_with(options.clone())
            .await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .test_before_acquire(false)
            .acquire_timeout(PATIENCE)
            .connect_with(options.pragma("query_only", "ON"))
            .await?;
        Ok(Pools::Sqlite { writer, readers })
    };
    connected.await.map_err(|error| final_error("open", error))
}

/// Makes the file before SQLite would, for its owner alone.
fn create_private(path: &str) -> Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => Ok(()),
        Err(error) => Err(crate::error::from_io("the database file", &error)),
    }
}

async fn open_postgres(url: &str) -> Result<Pools> {
    let options: PgConnectOptions = url
        .parse()
        // The parser's words may quote the address, which holds a password.
        .map_err(|_: sqlx::Error| {
            Error::Configuration("the PostgreSQL address cannot be understood".into())
        })?;
    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(PATIENCE)
        .connect_with(
            options
                .application_name("salus")
                .disable_statement_logging(),
        )
        .await
        .map_err(|error| final_error("open", error))?;
    // Sorting must not depend on the engine, and text must be able to hold any name.
    let fits: (bool, String) =
        sqlx::query_as("SELECT 'a' > 'B' AND 'é' > 'z', current_setting('server_encoding')")
            .fetch_one(&pool)
            .await
            .map_err(|error| final_error("open", error))?;
    if fits != (true, "UTF8".to_owned()) {
        return Err(Error::Configuration(
            "the PostgreSQL database must sort by bytes and hold UTF-8: create it with \
             CREATE DATABASE … TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'"
                .into(),
        ));
    }
    Ok(Pools::Postgres(pool))
}

/// Applies what is missing, one process at a time.
async fn migrate(tx: &mut Transaction, migrations: &[Migration]) -> Result<()> {
    if tx.is_postgres() {
        // Held until the transaction ends; the number is "salus" in ASCII.
        tx.script("migrate", "SELECT pg_advisory_xact_lock(495891543411)")
            .await?;
    }
    tx.script(
        "migrate",
        "CREATE TABLE IF NOT EXISTS schema_migration (
            version BIGINT PRIMARY KEY, name TEXT NOT NULL, digest BYTEA NOT NULL)",
    )
    .await?;
    let applied: Vec<(i64, Digest)> = tx
        .all(
            "SELECT version, digest FROM schema_migration ORDER BY version",
            &[],
        )
        .await?;
    let known = migrations.last().map_or(0, |last| last.version);
    if let Some(&(found, _)) = applied.last().filter(|(version, _)| *version > known) {
        return Err(Error::NewerSchema { found, known });
    }
    for (index, migration) in migrations.iter().enumerate() {
        let &Migration { version, name, sql } = migration;
        let bug = |detail: &str| Error::Bug {
            what: format!("migration {name}"),
            detail: detail.to_owned(),
        };
        if usize::try_from(version) != Ok(index + 1) {
            return Err(bug("migrations are numbered 1, 2, 3, …"));
        }
        let sha = digest(&SHA256, sql.as_bytes());
        match applied.get(index) {
            Some((_, before)) if before.as_bytes().as_slice() == sha.as_ref() => {}
            Some(_) => return Err(bug("it changed after it was applied")),
            None => {
                tx.script(name, sql).await?;
                tx.execute(
                    "INSERT INTO schema_migration (version, name, digest) VALUES ($1, $2, $3)",
                    &crate::params![version, name, sha.as_ref()],
                )
                .await?;
            }
        }
    }
    Ok(())
}
