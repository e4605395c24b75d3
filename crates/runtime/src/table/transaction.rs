//! One transaction: statements in, rows out, on either engine.

use core::fmt;
use std::sync::Arc;

use futures_util::TryStreamExt as _;
use sqlx::pool::PoolConnection;
use sqlx::{
    AssertSqlSafe, Column as _, Encode, Postgres, Row as _, SqlSafeStr, SqlStr, Sqlite, Type,
    TypeInfo as _, ValueRef as _,
};
use tokio::runtime::Handle;

use super::failure::{self, Failed};
use super::value::{FromRow, Kind, Row, Value};
use crate::error::{Error, Result};

/// Most rows that one call returns; larger walks use [`Transaction::each`] or pages.
pub const ROWS_MAX: usize = 100_000;

/// Rows of one multi-row `INSERT`, largest first. Few sizes, so that each stays a prepared
/// statement; PostgreSQL allows 65,535 parameters and SQLite 32,766.
const BATCH_ROWS: [usize; 4] = [256, 32, 4, 1];

/// Most columns of a batch insert, which keeps the largest batch under SQLite's parameter limit.
pub const BATCH_COLUMNS_MAX: usize = 100;

/// A transaction in progress, from [`Database::read`](super::Database::read) or
/// [`transact!`](crate::transact).
///
/// SQL is a literal with `$1`, `$2`, … for values. Once a statement has failed, the transaction is
/// lost on both engines (as PostgreSQL has it): every later statement fails and nothing is kept.
pub struct Transaction {
    /// Absent once the transaction has ended.
    engine: Option<Engine>,
    /// Whether each statement stands for itself: there is nothing to roll back.
    unbounded: bool,
    pub(super) state: State,
}

/// The connection that the transaction is on.
///
/// `BEGIN` and the rest are statements of ours, not `sqlx::Transaction`: SQLite ends a transaction
/// by itself when the disk is full, which that type takes for one that is still open.
pub(super) enum Engine {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(PoolConnection<Postgres>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Sound,
    Conflicted,
    Failed,
}

/// The same lines for whichever engine this is.
macro_rules! on_engine {
    ($engine:expr, |$connection:ident| $body:expr) => {
        match $engine {
            Engine::Sqlite(connection) => {
                let $connection = &mut **connection;
                $body
            }
            Engine::Postgres(connection) => {
                let $connection = &mut **connection;
                $body
            }
        }
    };
}

impl Transaction {
    /// Begins with the statement `begin` of this engine.
    pub(super) async fn begin(engine: Engine, begin: &'static str) -> Result<Self, sqlx::Error> {
        // Made first, so that a caller that goes away meanwhile leaves nothing open.
        let mut transaction = Self {
            engine: Some(engine),
            unbounded: false,
            state: State::Sound,
        };
        if let Some(engine) = &mut transaction.engine {
            engine.run(begin).await?;
        }
        Ok(transaction)
    }

    /// Statements on a connection that only reads, each a transaction of its own.
    pub(super) fn unbounded(engine: Engine) -> Self {
        Self {
            engine: Some(engine),
            unbounded: true,
            state: State::Sound,
        }
    }

    /// Runs a statement and returns the number of rows it changed.
    ///
    /// # Errors
    /// [`Error::Duplicate`] and [`Error::Dangling`] as refusals; failures of the engine.
    pub async fn execute(&mut self, sql: &'static str, values: &[Value]) -> Result<u64> {
        self.execute_text(sql.into_sql_str(), values).await
    }

    /// Every row of an answer of at most [`ROWS_MAX`] rows.
    ///
    /// # Errors
    /// [`Error::TooLarge`] beyond that; failures of the engine.
    pub async fn all<T: FromRow>(&mut self, sql: &'static str, values: &[Value]) -> Result<Vec<T>> {
        let mut rows = Vec::new();
        self.each(sql, values, |row: T| {
            if rows.len() == ROWS_MAX {
                return Err(Error::TooLarge {
                    what: "rows in one answer",
                    size: ROWS_MAX as u64 + 1,
                    limit: ROWS_MAX as u64,
                });
            }
            rows.push(row);
            Ok(())
        })
        .await?;
        Ok(rows)
    }

    /// The first row of an answer, if there is one.
    ///
    /// # Errors
    /// Failures of the engine.
    pub async fn optional<T: FromRow>(
        &mut self,
        sql: &'static str,
        values: &[Value],
    ) -> Result<Option<T>> {
        Ok(self.all(sql, values).await?.into_iter().next())
    }

    /// The row that must be there; `what` names its kind when it is not.
    ///
    /// # Errors
    /// [`Error::NotFound`] without a row; failures of the engine.
    pub async fn one<T: FromRow>(
        &mut self,
        what: &'static str,
        sql: &'static str,
        values: &[Value],
    ) -> Result<T> {
        self.optional(sql, values)
            .await?
            .ok_or_else(|| Error::NotFound { what: what.into() })
    }

    /// Hands over rows one by one, of an answer of any length, in constant memory.
    ///
    /// # Errors
    /// Whatever `visit` returns, which ends the walk; failures of the engine.
    pub async fn each<T: FromRow>(
        &mut self,
        sql: &'static str,
        values: &[Value],
        mut visit: impl FnMut(T) -> Result<()>,
    ) -> Result<()> {
        self.check(sql, values)?;
        let mut columns: Option<Arc<[String]>> = None;
        let engine = self.engine.as_mut().ok_or_else(ended)?;
        let fetched: Result<Result<()>, sqlx::Error> = on_engine!(engine, |connection| {
            let mut answer = bind(sql.into_sql_str(), values).fetch(connection);
            loop {
                match answer.try_next().await {
                    Ok(Some(row)) => {
                        let columns = columns.get_or_insert_with(|| {
                            row.columns().iter().map(|c| c.name().to_owned()).collect()
                        });
                        let visited = (0..columns.len())
                            .map(|index| decode(&row, index))
                            .collect::<Result<Vec<_>>>()
                            .and_then(|values| {
                                let columns = Arc::clone(columns);
                                T::from_row(&Row { columns, values })
                            })
                            .and_then(&mut visit);
                        if visited.is_err() {
                            break Ok(visited);
                        }
                    }
                    Ok(None) => break Ok(Ok(())),
                    Err(error) => break Err(error),
                }
            }
        });
        fetched.map_err(|error| self.fail(sql, error))?
    }

    /// Inserts many rows with as few statements as the engines allow and returns how many were
    /// written: `insert_many("INSERT INTO blob (digest, length)", rows, "ON CONFLICT DO NOTHING")`.
    ///
    /// A row of no value or of more than [`BATCH_COLUMNS_MAX`] does not compile.
    ///
    /// # Errors
    /// As [`Transaction::execute`].
    pub fn insert_many<const N: usize>(
        &mut self,
        insert: &'static str,
        rows: impl IntoIterator<Item = [Value; N]>,
        suffix: &'static str,
    ) -> impl Future<Output = Result<u64>> + Send {
        const { assert!(N > 0 && N <= BATCH_COLUMNS_MAX) };
        // At once: a future that held the caller's iterator would not be `Send` to the compiler
        // when that borrows.
        let values: Vec<Value> = rows.into_iter().flatten().collect();
        async move {
            let mut written = 0;
            let mut rest = values.as_slice();
            for size in BATCH_ROWS {
                while rest.len() >= size * N {
                    let (batch, others) = rest.split_at(size * N);
                    let sql = insert_text(insert, size, N, suffix);
                    // Literals of the caller and placeholders: no outside text can be in it.
                    let sql = AssertSqlSafe(sql).into_sql_str();
                    written += self.execute_text(sql, batch).await?;
                    rest = others;
                }
            }
            Ok(written)
        }
    }

    async fn execute_text(&mut self, sql: SqlStr, values: &[Value]) -> Result<u64> {
        self.check(sql.as_str(), values)?;
        let engine = self.engine.as_mut().ok_or_else(ended)?;
        let executed = on_engine!(engine, |connection| {
            bind(sql.clone(), values)
                .execute(connection)
                .await
                .map(|done| done.rows_affected())
        });
        executed.map_err(|error| self.fail(sql.as_str(), error))
    }

    /// Runs a script of several statements without values: migrations.
    pub(super) async fn script(&mut self, name: &str, sql: &'static str) -> Result<()> {
        let engine = self.engine.as_mut().ok_or_else(ended)?;
        let executed = engine.run(sql).await;
        executed.map_err(|error| self.fail(name, error))
    }

    /// Whether the engine is shared with other machines, whose migrations must take turns.
    pub(super) fn is_postgres(&self) -> bool {
        matches!(self.engine, Some(Engine::Postgres(_)))
    }

    pub(super) async fn commit(mut self) -> Result<(), sqlx::Error> {
        let Some(engine) = &mut self.engine else {
            return Ok(());
        };
        // On failure, and when the caller goes away, dropping it rolls back.
        engine.run("COMMIT").await?;
        self.engine = None;
        Ok(())
    }

    /// Gives everything up, and waits until it is.
    pub(super) async fn rollback(mut self) {
        if let Some(engine) = self.engine.take() {
            engine.rollback().await;
        }
    }

    fn check(&self, sql: &str, values: &[Value]) -> Result<()> {
        let bug = |detail: &str| Error::Bug {
            what: sql.to_owned(),
            detail: detail.to_owned(),
        };
        if self.state != State::Sound {
            return Err(bug("an earlier statement of this transaction failed"));
        }
        let refused = values.iter().find_map(|value| match value {
            Value::OutOfRange => Some("a number above 2^63-1 fits no column"),
            // PostgreSQL cannot store it, so SQLite does not either.
            Value::Text(text) if text.contains('\0') => Some("text with a NUL fits no column"),
            _ => None,
        });
        refused.map_or(Ok(()), |detail| Err(bug(detail)))
    }

    fn fail(&mut self, what: &str, error: sqlx::Error) -> Error {
        match failure::sort(what, error) {
            Failed::Error(error) => {
                self.state = State::Failed;
                error
            }
            Failed::Conflict => {
                self.state = State::Conflicted;
                // Seen by the body only: `transact!` repeats it.
                Error::Busy {
                    name: "statement",
                    attempts: 1,
                }
            }
        }
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if self.unbounded {
            return;
        }
        // Without a runtime the process is ending, and the connections with it.
        if let (Some(engine), Ok(runtime)) = (self.engine.take(), Handle::try_current()) {
            runtime.spawn(engine.rollback());
        }
    }
}

impl Engine {
    async fn run(&mut self, sql: &'static str) -> Result<(), sqlx::Error> {
        on_engine!(self, |connection| sqlx::raw_sql(sql)
            .execute(connection)
            .await
            .map(drop))
    }

    /// Leaves the connection without a transaction, or closes it.
    async fn rollback(mut self) {
        if let Err(error) = self.run("ROLLBACK").await {
            tracing::debug!(%error, "closing a connection that did not roll back");
            match &mut self {
                Self::Sqlite(connection) => connection.close_on_drop(),
                Self::Postgres(connection) => connection.close_on_drop(),
            }
        }
    }
}

fn ended() -> Error {
    Error::Bug {
        what: "transaction".into(),
        detail: "it has ended".into(),
    }
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Transaction({:?})", self.state)
    }
}

fn insert_text(insert: &str, rows: usize, columns: usize, suffix: &str) -> String {
    use fmt::Write as _;

    let mut sql = format!("{insert} VALUES ");
    for row in 0..rows {
        sql.push_str(if row == 0 { "(" } else { ", (" });
        for column in 0..columns {
            let comma = if column == 0 { "" } else { ", " };
            // Writing to a String cannot fail.
            let _ = write!(sql, "{comma}${}", row * columns + column + 1);
        }
        sql.push(')');
    }
    sql.push(' ');
    sql.push_str(suffix);
    sql
}

fn bind<'q, DB>(sql: SqlStr, values: &[Value]) -> sqlx::query::Query<'q, DB, DB::Arguments>
where
    DB: sqlx::Database,
    for<'t> bool: Encode<'t, DB> + Type<DB>,
    for<'t> i64: Encode<'t, DB> + Type<DB>,
    for<'t> String: Encode<'t, DB> + Type<DB>,
    for<'t> Vec<u8>: Encode<'t, DB> + Type<DB>,
    for<'t> Option<bool>: Encode<'t, DB> + Type<DB>,
    for<'t> Option<i64>: Encode<'t, DB> + Type<DB>,
    for<'t> Option<String>: Encode<'t, DB> + Type<DB>,
    for<'t> Option<Vec<u8>>: Encode<'t, DB> + Type<DB>,
{
    let mut query = sqlx::query::<DB>(sql);
    for value in values {
        query = match value {
            Value::Boolean(value) => query.bind(*value),
            Value::Integer(value) => query.bind(*value),
            Value::Text(text) => query.bind(text.clone()),
            Value::Bytes(bytes) => query.bind(bytes.clone()),
            // PostgreSQL wants to know what is absent.
            Value::Null(Kind::Boolean) => query.bind(None::<bool>),
            Value::Null(Kind::Integer) | Value::OutOfRange => query.bind(None::<i64>),
            Value::Null(Kind::Text) => query.bind(None::<String>),
            Value::Null(Kind::Bytes) => query.bind(None::<Vec<u8>>),
        };
    }
    query
}

/// Reads one value by the type that the engine says it has: a column's type in PostgreSQL,
/// the storage class of the value in SQLite.
fn decode<'r, R>(row: &'r R, index: usize) -> Result<Value>
where
    R: sqlx::Row,
    usize: sqlx::ColumnIndex<R>,
    bool: sqlx::Decode<'r, R::Database>,
    i16: sqlx::Decode<'r, R::Database>,
    i32: sqlx::Decode<'r, R::Database>,
    i64: sqlx::Decode<'r, R::Database>,
    String: sqlx::Decode<'r, R::Database>,
    Vec<u8>: sqlx::Decode<'r, R::Database>,
{
    let column = || row.columns().get(index).map_or("column", |c| c.name());
    let read = || -> Result<Value, sqlx::Error> {
        let raw = row.try_get_raw(index)?;
        if raw.is_null() {
            return Ok(Value::Null(Kind::Bytes));
        }
        let type_info = raw.type_info().into_owned();
        Ok(match type_info.name() {
            "BOOL" => Value::Boolean(row.try_get_unchecked(index)?),
            "INT2" => Value::Integer(row.try_get_unchecked::<i16, _>(index)?.into()),
            "INT4" => Value::Integer(row.try_get_unchecked::<i32, _>(index)?.into()),
            "INT8" | "INTEGER" => Value::Integer(row.try_get_unchecked(index)?),
            "TEXT" | "VARCHAR" | "NAME" => Value::Text(row.try_get_unchecked(index)?),
            "BYTEA" | "BLOB" => Value::Bytes(row.try_get_unchecked(index)?),
            other => {
                let hint = format!("columns of type {other} are not portable; CAST it");
                return Err(sqlx::Error::Decode(hint.into()));
            }
        })
    };
    read().map_err(|error| Error::Bug {
        what: column().to_owned(),
        detail: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batch_text_numbers_its_placeholders_row_by_row() {
        assert_eq!(
            insert_text("INSERT INTO t (a, b)", 2, 2, "ON CONFLICT DO NOTHING"),
            "INSERT INTO t (a, b) VALUES ($1, $2), ($3, $4) ON CONFLICT DO NOTHING"
        );
    }

    #[test]
    fn the_largest_batch_stays_under_the_parameter_limits() {
        assert!(BATCH_ROWS[0] * BATCH_COLUMNS_MAX < 32_766);
    }
}
