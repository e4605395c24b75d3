//! What the engines say when something goes wrong, turned into [`Error`] without any value.

use sqlx::error::{DatabaseError, ErrorKind};
use sqlx::postgres::PgDatabaseError;

use crate::error::{Cause, Error};

/// An engine's error, sorted by what happens next.
pub(super) enum Failed {
    /// Another transaction was in the way: the whole transaction is worth repeating.
    Conflict,
    /// Final.
    Error(Error),
}

/// Sorts an error of the statement or step `what`.
pub(super) fn sort(what: &str, error: sqlx::Error) -> Failed {
    let what = what.to_owned();
    let error = match error {
        sqlx::Error::Database(database) => {
            return match database.try_downcast_ref::<PgDatabaseError>() {
                Some(postgres) => sort_postgres(what, postgres),
                None => sort_sqlite(what, database.as_ref()),
            };
        }
        sqlx::Error::Io(io) => Error::Unavailable {
            what: DATABASE.into(),
            cause: Cause(io.to_string()),
        },
        sqlx::Error::PoolTimedOut => unavailable("every connection stayed in use"),
        sqlx::Error::PoolClosed => unavailable("it is closed"),
        sqlx::Error::WorkerCrashed => unavailable("its worker ended"),
        sqlx::Error::Tls(tls) => unavailable(&tls.to_string()),
        sqlx::Error::Configuration(reason) => Error::Configuration(reason.to_string()),
        sqlx::Error::BeginFailed => unavailable("no transaction could be started"),
        other => Error::Bug {
            what,
            detail: other.to_string(),
        },
    };
    Failed::Error(error)
}

const DATABASE: &str = "the database";

fn unavailable(cause: &str) -> Error {
    Error::Unavailable {
        what: DATABASE.into(),
        cause: Cause(cause.into()),
    }
}

/// SQLSTATE: <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn sort_postgres(what: String, error: &PgDatabaseError) -> Failed {
    let code = error.code();
    let class = code.get(..2).unwrap_or_default();
    Failed::Error(match (code, class) {
        // Serialization failure, deadlock, lock not available.
        ("40001" | "40P01" | "55P03", _) => return Failed::Conflict,
        ("23505", _) => Error::Duplicate {
            columns: unique_columns(error),
        },
        ("23503", _) => Error::Dangling,
        ("53100", _) => Error::DiskFull {
            what: DATABASE.into(),
        },
        ("25006", _) => Error::ReadOnly {
            what: DATABASE.into(),
        },
        ("XX001" | "XX002", _) => Error::Corrupt {
            what: DATABASE.into(),
            detail: format!("PostgreSQL reports SQLSTATE {code}"),
        },
        // I/O error, connection exception, insufficient resources, operator intervention.
        ("58030", _) | (_, "08" | "53" | "57") => unavailable(&format!("SQLSTATE {code}")),
        // Invalid authorization, invalid catalog name: messages name users and databases only.
        (_, "28" | "3D") => Error::Configuration(error.message().to_owned()),
        // Data exceptions and checks quote the offending value.
        (_, "22" | "23") => Error::Bug {
            what,
            detail: format!("SQLSTATE {code}"),
        },
        _ => Error::Bug {
            what,
            detail: format!("{} (SQLSTATE {code})", error.message()),
        },
    })
}

/// `table.column, …` as SQLite words it. PostgreSQL names the columns only in its detail,
/// `Key (a, b)=(1, 2) already exists.`, of which the values are cut off.
fn unique_columns(error: &PgDatabaseError) -> String {
    let table = error.table().unwrap_or("table");
    let columns = error
        .detail()
        .and_then(|detail| detail.split_once('('))
        .and_then(|(_, rest)| rest.split_once(")=("));
    match columns {
        Some((columns, _)) => columns
            .split(", ")
            .map(|column| format!("{table}.{column}"))
            .collect::<Vec<_>>()
            .join(", "),
        None => format!("{table}.{}", error.constraint().unwrap_or("constraint")),
    }
}

/// Result codes: <https://www.sqlite.org/rescode.html>; the low byte is the primary code.
fn sort_sqlite(what: String, error: &dyn DatabaseError) -> Failed {
    let message = error.message();
    let code = error.code().and_then(|code| code.parse::<u32>().ok());
    Failed::Error(match (error.kind(), code.unwrap_or(1) & 0xff) {
        (ErrorKind::UniqueViolation, _) => Error::Duplicate {
            columns: message
                .rsplit_once(": ")
                .map_or("constraint", |(_, columns)| columns)
                .to_owned(),
        },
        (ErrorKind::ForeignKeyViolation, _) => Error::Dangling,
        // BUSY and LOCKED.
        (_, 5 | 6) => return Failed::Conflict,
        (_, 8) => Error::ReadOnly {
            what: DATABASE.into(),
        },
        (_, 13) => Error::DiskFull {
            what: DATABASE.into(),
        },
        // CORRUPT and NOTADB.
        (_, 11 | 26) => Error::Corrupt {
            what: DATABASE.into(),
            detail: message.to_owned(),
        },
        // NOMEM, IOERR, PROTOCOL.
        (_, 7 | 10 | 15) => unavailable(message),
        (_, 14) => Error::Configuration(
            "the database file cannot be opened: check that its folder exists and is writable"
                .into(),
        ),
        _ => Error::Bug {
            what,
            detail: message.to_owned(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params;
    use crate::table::{Database, Migration, Pools};

    #[tokio::test]
    async fn a_full_disk_is_told_as_such_and_the_database_goes_on_when_there_is_room() {
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite:{}", folder.path().join("salus.db").display());
        let schema = Migration {
            version: 1,
            name: "0001_big",
            sql: "CREATE TABLE big (id BIGINT PRIMARY KEY, content BYTEA NOT NULL)",
        };
        let db = Database::open_with(&url, &[schema]).await.expect("opens");
        let Pools::Sqlite { writer, .. } = &*db.pools else {
            panic!("it is a SQLite file");
        };
        // SQLite's own limit gives the same code, SQLITE_FULL, as a disk does.
        let limit = async |pages: &'static str| {
            sqlx::raw_sql(pages).execute(writer).await.expect("limited");
        };
        limit("PRAGMA max_page_count = 40").await;
        let write = async |id: i64| -> crate::Result<u64> {
            crate::transact!(db, "write", |tx| {
                let sql = "INSERT INTO big (id, content) VALUES ($1, $2)";
                tx.execute(sql, &params![id, vec![7; 100_000]]).await
            })
        };
        assert_eq!(write(1).await.expect("there is room"), 1);
        let full = write(2).await.expect_err("there is no more room");
        assert!(matches!(full, Error::DiskFull { .. }), "{full:?}");
        limit("PRAGMA max_page_count = 4000").await;
        assert_eq!(write(2).await.expect("there is room again"), 1);
        db.verify().await.expect("sound");
    }
}
