//! The table suite: both engines give the same answers, refusals and failures.

#![expect(
    clippy::expect_used,
    reason = "helpers of tests end the test, with the reason"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use salus_proto::ids::{PrincipalId, RecordId};
use salus_proto::{Digest, Entropy as _, TimestampMs};
use salus_runtime::error::Class;
use salus_runtime::table::{Database, Migration, ROWS_MAX, Transaction};
use salus_runtime::testing::{Postgres, for_each_database_with, for_each_url};
use salus_runtime::{Error, Result, SeededEntropy, from_row, params, transact};

const SCHEMA: &[Migration] = &[
    Migration {
        version: 1,
        name: "0001_things",
        sql: "CREATE TABLE thing (
                  id BYTEA PRIMARY KEY,
                  digest BYTEA,
                  name TEXT NOT NULL,
                  note TEXT,
                  size BIGINT NOT NULL CHECK (size >= 0),
                  done BOOLEAN NOT NULL,
                  at BIGINT NOT NULL,
                  UNIQUE (name, at)
              );
              CREATE INDEX thing_at ON thing (at);",
    },
    Migration {
        version: 2,
        name: "0002_parts",
        sql: "CREATE TABLE part (
                  thing BYTEA NOT NULL REFERENCES thing (id),
                  number BIGINT NOT NULL,
                  PRIMARY KEY (thing, number)
              );
              CREATE TABLE counter (id BIGINT PRIMARY KEY, value BIGINT NOT NULL);",
    },
];

#[derive(Debug, Clone, PartialEq)]
struct Thing {
    id: RecordId,
    digest: Option<Digest>,
    name: String,
    note: Option<String>,
    size: u64,
    done: bool,
    at: TimestampMs,
}
from_row!(Thing {
    id,
    digest,
    name,
    note,
    size,
    done,
    at
});

async fn add(tx: &mut Transaction, thing: &Thing) -> Result<u64> {
    tx.execute(
        "INSERT INTO thing (id, digest, name, note, size, done, at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        &params![
            thing.id,
            thing.digest,
            thing.name,
            thing.note,
            thing.size,
            thing.done,
            thing.at
        ],
    )
    .await
}

async fn store(db: &Database, thing: &Thing) -> Result<u64> {
    transact!(db, "store", |tx| add(tx, thing).await)
}

async fn execute(db: &Database, sql: &'static str) {
    let done: Result<u64> = transact!(db, "execute", |tx| tx.execute(sql, &[]).await);
    done.expect("executed");
}

async fn things(db: &Database) -> Vec<Thing> {
    let mut tx = db.read().await.expect("reading begins");
    tx.all("SELECT * FROM thing ORDER BY name, at", &[])
        .await
        .expect("the table can be read")
}

async fn count(db: &Database, sql: &'static str) -> i64 {
    let mut tx = db.read().await.expect("reading begins");
    let counted = tx.one::<(i64,)>("count", sql, &[]).await;
    counted.expect("the table can be counted").0
}

fn thing(number: u8) -> Thing {
    Thing {
        id: RecordId([number; 16]),
        digest: number.is_multiple_of(2).then_some(Digest([number; 32])),
        name: format!("thing {number:03}"),
        note: None,
        size: u64::from(number),
        done: number.is_multiple_of(3),
        at: TimestampMs(1_000 + u64::from(number)),
    }
}

#[tokio::test]
async fn every_kind_of_value_comes_back_as_it_was_stored() {
    for_each_database_with(SCHEMA, async |db| {
        let mut stored = vec![
            thing(0),
            Thing {
                name: "ÄÖ 王 🩺 'quoted' \\ \" %".into(),
                note: Some(String::new()),
                size: i64::MAX as u64,
                ..thing(1)
            },
            Thing {
                note: Some("x".repeat(1 << 20)),
                ..thing(2)
            },
        ];
        for thing in &stored {
            let added = store(&db, thing).await;
            assert_eq!(added.expect("stored"), 1);
        }
        stored.sort_by(|a, b| a.name.cmp(&b.name));
        assert_eq!(things(&db).await, stored);
        let done = "SELECT COUNT(*) FROM thing WHERE done AND digest IS NOT NULL";
        assert_eq!(count(&db, done).await, 1);
        let sum = "SELECT CAST(SUM(at) AS BIGINT) FROM thing";
        assert_eq!(count(&db, sum).await, 3_003);
    })
    .await;
}

#[tokio::test]
async fn text_sorts_by_its_bytes() {
    for_each_database_with(SCHEMA, async |db| {
        for (number, name) in (0..).zip(["b", "a", "B", "é", "Z", "z"]) {
            let named = Thing {
                name: name.into(),
                ..thing(number)
            };
            store(&db, &named).await.expect("stored");
        }
        let names: Vec<_> = things(&db).await.into_iter().map(|t| t.name).collect();
        assert_eq!(names, ["B", "Z", "a", "b", "z", "é"]);
    })
    .await;
}

#[tokio::test]
async fn upserts_and_returning_work() {
    for_each_database_with(SCHEMA, async |db| {
        let raise = "INSERT INTO counter (id, value) VALUES ($1, $2)
                     ON CONFLICT (id) DO UPDATE SET value = counter.value + excluded.value
                     RETURNING value";
        for expected in [5_i64, 10] {
            let raised: Result<(i64,)> = transact!(db, "raise", |tx| {
                tx.one("counter", raise, &params![1, 5]).await
            });
            assert_eq!(raised.expect("raised"), (expected,));
        }
        let ignored: Result<u64> = transact!(db, "ignore", |tx| {
            let sql = "INSERT INTO counter (id, value) VALUES ($1, $2) ON CONFLICT DO NOTHING";
            tx.execute(sql, &params![1, 5]).await
        });
        assert_eq!(ignored.expect("ignored"), 0);
    })
    .await;
}

#[tokio::test]
async fn many_rows_go_in_with_few_statements_and_conflicts_are_left_out() {
    for_each_database_with(SCHEMA, async |db| {
        let insert = async |from: u32, to: u32| {
            let inserted: Result<u64> = transact!(db, "insert", |tx| {
                let rows = (from..to).map(|n| params![n, u64::from(n) * 2]);
                let head = "INSERT INTO counter (id, value)";
                tx.insert_many(head, rows, "ON CONFLICT DO NOTHING").await
            });
            inserted.expect("inserted")
        };
        assert_eq!(insert(0, 0).await, 0);
        assert_eq!(insert(0, 1_000).await, 1_000);
        assert_eq!(insert(500, 1_511).await, 511);
        assert_eq!(count(&db, "SELECT COUNT(*) FROM counter").await, 1_511);
        let sum = "SELECT CAST(SUM(value) AS BIGINT) FROM counter";
        assert_eq!(count(&db, sum).await, 1_510 * 1_511);
    })
    .await;
}

#[tokio::test]
async fn refusals_name_columns_and_never_values() {
    for_each_database_with(SCHEMA, async |db| {
        store(&db, &thing(1)).await.expect("stored");
        let same_id = Thing {
            name: "another".into(),
            ..thing(1)
        };
        let again = store(&db, &same_id).await;
        let again = again.expect_err("the id is taken");
        assert_eq!(again.to_string(), "already there: thing.id must be unique");
        assert_eq!(again.class(), Class::Refusal);

        let same_name = Thing {
            id: RecordId([9; 16]),
            ..thing(1)
        };
        let taken = store(&db, &same_name).await;
        let taken = taken.expect_err("name and time are taken");
        assert!(
            matches!(&taken, Error::Duplicate { columns } if columns == "thing.name, thing.at")
        );
        assert!(!format!("{taken:?} {taken}").contains("thing 001"));

        let orphan: Result<u64> = transact!(db, "part", |tx| {
            let sql = "INSERT INTO part (thing, number) VALUES ($1, 1)";
            tx.execute(sql, &params![RecordId([8; 16])]).await
        });
        assert!(matches!(orphan, Err(Error::Dangling)));

        let mut tx = db.read().await.expect("reading begins");
        let sql = "SELECT * FROM thing WHERE id = $1";
        let missing = tx
            .one::<Thing>("thing", sql, &params![RecordId([7; 16])])
            .await;
        let missing = missing.expect_err("no such thing");
        assert!(missing.is_not_found());
        assert_eq!(missing.to_string(), "not found: thing");
    })
    .await;
}

#[tokio::test]
async fn what_no_column_holds_is_refused_before_it_is_sent() {
    for_each_database_with(SCHEMA, async |db| {
        for (name, size) in [("nul\0", 1), ("big", u64::MAX)] {
            let bad = Thing {
                name: name.into(),
                size,
                ..thing(1)
            };
            let refused = store(&db, &bad).await;
            assert_eq!(refused.expect_err("refused").class(), Class::Bug);
        }
        assert_eq!(things(&db).await, []);
    })
    .await;
}

#[tokio::test]
async fn a_transaction_is_kept_whole_or_not_at_all() {
    for_each_database_with(SCHEMA, async |db| {
        // The body changes its mind.
        let refused: Result<()> = transact!(db, "change of mind", |tx| {
            add(tx, &thing(1)).await?;
            Err(Error::NotFound {
                what: "consent".into(),
            })
        });
        assert!(refused.expect_err("refused").is_not_found());
        // A later statement fails and the body hides it.
        let hidden: Result<()> = transact!(db, "hidden failure", |tx| {
            add(tx, &thing(2)).await?;
            let _ = add(tx, &thing(2)).await;
            Ok(())
        });
        assert_eq!(hidden.expect_err("nothing kept").class(), Class::Bug);
        // The caller goes away in the middle.
        let (written, mut is_written) = tokio::sync::watch::channel(false);
        let cancelled = async {
            transact!(db, "cancelled", |tx| {
                add(tx, &thing(3)).await?;
                let _ = written.send(true);
                std::future::pending::<Result<()>>().await
            })
        };
        tokio::select! {
            _ = cancelled => panic!("it waits forever"),
            _ = is_written.wait_for(|written| *written) => {}
        }

        assert_eq!(things(&db).await, []);
        let after = store(&db, &thing(4)).await;
        assert_eq!(after.expect("the next transaction is unharmed"), 1);
    })
    .await;
}

#[tokio::test]
async fn reading_sees_one_moment_and_cannot_write() {
    for_each_database_with(SCHEMA, async |db| {
        let counted = "SELECT COUNT(*) FROM thing";
        let mut snapshot = db.read().await.expect("reading begins");
        let before = snapshot.one::<(i64,)>("count", counted, &[]).await;
        assert_eq!(before.expect("counted"), (0,));
        let meanwhile: Result<u64> = store(&db, &thing(1)).await;
        assert_eq!(meanwhile.expect("readers hold up no writer"), 1);
        let after = snapshot.one::<(i64,)>("count", counted, &[]).await;
        assert_eq!(after.expect("counted"), (0,));
        drop(snapshot);
        assert_eq!(things(&db).await.len(), 1);
        let written = add(&mut db.read().await.expect("reading begins"), &thing(2)).await;
        assert!(
            matches!(written, Err(Error::ReadOnly { .. })),
            "{written:?}"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_read_modify_write_loses_no_update() {
    const TASKS: u32 = 8;
    const EACH: u32 = 12;

    for_each_database_with(SCHEMA, async |db| {
        execute(&db, "INSERT INTO counter (id, value) VALUES (1, 0)").await;
        let runs = Arc::new(AtomicU32::new(0));
        let tasks: Vec<_> = (0..TASKS)
            .map(|_| {
                let (db, runs) = (db.clone(), Arc::clone(&runs));
                tokio::spawn(async move {
                    for _ in 0..EACH {
                        let raised: Result<u64> = transact!(db, "raise", |tx| {
                            runs.fetch_add(1, Ordering::Relaxed);
                            let read = "SELECT value FROM counter WHERE id = 1";
                            let (value,) = tx.one::<(i64,)>("counter", read, &[]).await?;
                            let write = "UPDATE counter SET value = $1 WHERE id = 1";
                            tx.execute(write, &params![value + 1]).await
                        });
                        assert_eq!(raised.expect("raised"), 1);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("the task ends");
        }
        let value = count(&db, "SELECT value FROM counter WHERE id = 1").await;
        assert_eq!(value, i64::from(TASKS * EACH));
        assert!(runs.load(Ordering::Relaxed) >= TASKS * EACH);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_transactions_that_each_rely_on_what_the_other_changes_do_not_both_pass() {
    for_each_database_with(SCHEMA, async |db| {
        execute(&db, "INSERT INTO counter (id, value) VALUES (1, 1), (2, 1)").await;
        // "At least one doctor stays on call": each leaves only if another remains.
        let leave = |own: i64| {
            let db = db.clone();
            tokio::spawn(async move {
                transact!(db, "leave", |tx| {
                    let sql = "SELECT CAST(SUM(value) AS BIGINT) FROM counter";
                    let (on_call,) = tx.one::<(i64,)>("counter", sql, &[]).await?;
                    if on_call < 2 {
                        return Ok(0);
                    }
                    let sql = "UPDATE counter SET value = 0 WHERE id = $1";
                    tx.execute(sql, &params![own]).await
                })
            })
        };
        let (one, two) = (leave(1), leave(2));
        let left: Result<u64> = one.await.expect("ends");
        let right: Result<u64> = two.await.expect("ends");
        assert_eq!(left.expect("answered") + right.expect("answered"), 1);
    })
    .await;
}

#[tokio::test]
async fn long_walks_are_handed_over_row_by_row_and_answers_are_bounded() {
    for_each_database_with(SCHEMA, async |db| {
        let numbers = "WITH RECURSIVE n (i) AS
            (SELECT CAST(1 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i <= $1) SELECT i FROM n";
        let limit = params![ROWS_MAX];
        let (mut rows, mut sum) = (0_usize, 0_i64);
        let mut tx = db.read().await.expect("reading begins");
        let walked = tx.each(numbers, &limit, |(i,): (i64,)| {
            rows += 1;
            sum += i;
            Ok(())
        });
        walked.await.expect("walked");
        assert_eq!(rows, ROWS_MAX + 1);
        assert_eq!(sum, 100_001 * 100_002 / 2);
        let all = tx.all::<(i64,)>(numbers, &limit).await;
        assert!(matches!(all, Err(Error::TooLarge { .. })));
    })
    .await;
}

#[tokio::test]
async fn data_outlives_the_handle_and_reopening_applies_nothing_twice() {
    for_each_url(async |url| {
        let first = Database::open_with(&url, &SCHEMA[..1])
            .await
            .expect("opens");
        store(&first, &thing(1)).await.expect("stored");
        first.close().await;
        assert!(matches!(first.read().await, Err(Error::Unavailable { .. })));
        let late = store(&first, &thing(2)).await;
        assert!(matches!(late, Err(Error::Unavailable { .. })));
        // Several processes start at once, with a newer program.
        let opened = tokio::join!(
            Database::open_with(&url, SCHEMA),
            Database::open_with(&url, SCHEMA),
            Database::open_with(&url, SCHEMA),
        );
        for db in [opened.0, opened.1, opened.2] {
            let db = db.expect("opens");
            assert_eq!(things(&db).await, [thing(1)]);
            assert_eq!(count(&db, "SELECT COUNT(*) FROM schema_migration").await, 2);
            db.verify().await.expect("sound");
            db.purge().await.expect("purged");
            db.close().await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_older_program_and_an_edited_migration_are_refused() {
    for_each_url(async |url| {
        Database::open_with(&url, SCHEMA)
            .await
            .expect("opens")
            .close()
            .await;
        let older = Database::open_with(&url, &SCHEMA[..1]).await;
        assert!(matches!(
            older,
            Err(Error::NewerSchema { found: 2, known: 1 })
        ));
        assert!(
            older
                .expect_err("refused")
                .to_string()
                .contains("install the newer program")
        );
        let mut edited = SCHEMA.to_vec();
        edited[0].sql = "CREATE TABLE thing (id BYTEA PRIMARY KEY)";
        let edited = Database::open_with(&url, &edited)
            .await
            .expect_err("refused");
        assert_eq!(edited.class(), Class::Bug);
    })
    .await;
}

#[tokio::test]
async fn a_migration_that_fails_halfway_leaves_the_schema_as_it_was() {
    for_each_url(async |url| {
        let mut broken = SCHEMA.to_vec();
        broken[1].sql = "CREATE TABLE half (id BIGINT); CREATE TABLE half (id BIGINT);";
        let failed = Database::open_with(&url, &broken).await;
        assert_eq!(failed.expect_err("refused").class(), Class::Bug);
        let db = Database::open_with(&url, SCHEMA).await.expect("opens");
        assert_eq!(things(&db).await, []);
        db.close().await;
    })
    .await;
}

#[tokio::test]
async fn the_product_schema_applies_to_both_engines() {
    for_each_url(async |url| {
        let db = Database::open(&url).await.expect("opens");
        db.close().await;
    })
    .await;
}

#[tokio::test]
async fn addresses_that_do_not_fit_are_refused_without_showing_the_password() {
    for url in [
        "mysql://x",
        "sqlite:",
        "sqlite::memory:",
        "postgres://u:hunter2@[bad/x",
    ] {
        let refused = Database::open(url).await.expect_err("refused");
        assert!(matches!(refused, Error::Configuration(_)), "{refused:?}");
        assert!(!format!("{refused:?}").contains("hunter2"));
    }
    let nowhere = Database::open("sqlite:/nonexistent/salus.db").await;
    assert!(nowhere.expect_err("refused").is_not_found());
}

#[tokio::test]
async fn a_damaged_sqlite_file_is_named_as_damaged() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("salus.db");
    let url = format!("sqlite:{}", path.display());
    let db = Database::open_with(&url, SCHEMA).await.expect("opens");
    let filled: Result<()> = transact!(db, "fill", |tx| {
        let mut entropy = SeededEntropy::new(1);
        for number in 0..200_u64 {
            let id = PrincipalId::random(&mut entropy);
            let sql = "INSERT INTO thing (id, name, size, done, at) VALUES ($1, $2, 0, FALSE, $3)";
            tx.execute(
                sql,
                &params![id, hex::encode(entropy.array::<64>()), number],
            )
            .await?;
        }
        Ok(())
    });
    filled.expect("filled");
    db.purge().await.expect("the log is written back");
    db.close().await;

    let mut bytes = std::fs::read(&path).expect("the file");
    for byte in bytes.iter_mut().skip(4096).step_by(97) {
        *byte ^= 0xff;
    }
    std::fs::write(&path, bytes).expect("damaged");
    let damaged = match Database::open_with(&url, SCHEMA).await {
        Ok(db) => db.verify().await,
        Err(error) => Err(error),
    };
    assert!(matches!(damaged, Err(Error::Corrupt { .. })), "{damaged:?}");

    std::fs::write(
        &path,
        b"this is no database, but long enough to be read as one".repeat(100),
    )
    .expect("replaced");
    let replaced = Database::open_with(&url, SCHEMA).await;
    assert!(
        matches!(replaced, Err(Error::Corrupt { .. })),
        "{replaced:?}"
    );
}

#[cfg(unix)]
#[tokio::test]
async fn a_new_sqlite_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("salus.db");
    let db = Database::open_with(&format!("sqlite:{}", path.display()), SCHEMA).await;
    db.expect("opens").close().await;
    let mode = std::fs::metadata(&path)
        .expect("the file")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn erased_rows_leave_no_trace_in_the_sqlite_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite:{}", folder.path().join("salus.db").display());
    let db = Database::open_with(&url, SCHEMA).await.expect("opens");
    let canary = Thing {
        name: "canary-7f3a".repeat(50),
        ..thing(1)
    };
    let found = || {
        std::fs::read_dir(folder.path())
            .expect("the folder")
            .flatten()
            .any(|file| {
                let bytes = std::fs::read(file.path()).expect("a file");
                bytes.windows(11).any(|window| window == b"canary-7f3a")
            })
    };
    store(&db, &canary).await.expect("stored");
    assert!(found());
    execute(&db, "DELETE FROM thing").await;
    db.purge().await.expect("purged");
    assert!(!found());
}

#[tokio::test]
async fn a_stopped_postgresql_is_unavailable_and_says_so() {
    let cluster = tokio::task::spawn_blocking(Postgres::start)
        .await
        .expect("starts");
    let url = cluster.fresh_database().await;
    let db = Database::open_with(&url, SCHEMA).await.expect("opens");
    drop(cluster);
    let written = store(&db, &thing(1)).await;
    let error = written.expect_err("nobody answers");
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    assert_eq!(error.class(), Class::Failure);
}

#[tokio::test]
async fn a_postgresql_database_that_sorts_by_language_is_refused_with_the_remedy() {
    let cluster = tokio::task::spawn_blocking(Postgres::shared)
        .await
        .expect("starts");
    let url = cluster
        .fresh_database_with("TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'de-DE'")
        .await;
    let refused = Database::open_with(&url, SCHEMA)
        .await
        .expect_err("refused");
    assert!(
        matches!(&refused, Error::Configuration(text) if text.contains("LC_COLLATE 'C'")),
        "{refused:?}"
    );
}
