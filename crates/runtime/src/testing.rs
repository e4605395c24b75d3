//! Throw-away databases, so that every crate's tests run the same suite on both engines.
//!
//! PostgreSQL comes from Debian's package; each test process starts one cluster of its own on a
//! loopback port, every test gets a fresh database in it, and it ends with the last test.

use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak, mpsc};
use std::time::Duration;

use salus_proto::Entropy as _;
use sqlx::{AssertSqlSafe, Connection as _};
use tempfile::TempDir;

use crate::entropy::SystemEntropy;
use crate::table::{Database, MIGRATIONS, Migration};

/// Runs `test` on a fresh SQLite database and on a fresh PostgreSQL database, one after the other.
///
/// # Panics
/// When `test` does, or when a database cannot be had.
pub async fn for_each_database(test: impl AsyncFn(Database)) {
    for_each_database_with(MIGRATIONS, test).await;
}

/// As [`for_each_database`], with a schema of the test's own.
///
/// # Panics
/// When `test` does, or when a database cannot be had.
#[expect(clippy::expect_used, reason = "a test ends here, with the reason")]
pub async fn for_each_database_with(migrations: &[Migration], test: impl AsyncFn(Database)) {
    for_each_url(async |url| {
        let database = Database::open_with(&url, migrations).await;
        let database = database.expect("a fresh database opens");
        test(database.clone()).await;
        database.close().await;
    })
    .await;
}

/// Runs `test` with the address of a fresh, empty database of either engine, for tests that open
/// it themselves, several times or from several processes.
///
/// # Panics
/// When `test` does, or when a database cannot be had.
#[expect(clippy::expect_used, reason = "a test ends here, with the reason")]
pub async fn for_each_url(test: impl AsyncFn(String)) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    test(format!(
        "sqlite:{}",
        folder.path().join("salus.db").display()
    ))
    .await;

    // Starting a cluster blocks for a second.
    let cluster = tokio::task::spawn_blocking(Postgres::shared).await;
    let cluster = cluster.expect("PostgreSQL starts");
    test(cluster.fresh_database().await).await;
}

/// A PostgreSQL cluster in a temporary folder, stopped when dropped, and by the kernel when the
/// process that started it dies.
#[derive(Debug)]
pub struct Postgres {
    binaries: PathBuf,
    folder: TempDir,
    port: u16,
    password: String,
    /// Dropped to let the thread that holds the server end it.
    stop: Option<mpsc::Sender<()>>,
    keeper: Option<std::thread::JoinHandle<()>>,
}

const START_ATTEMPTS: u32 = 5;

impl Postgres {
    /// The cluster of this process, started by whoever asks first.
    ///
    /// # Panics
    /// When PostgreSQL is not installed or does not start.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let cluster = Arc::new(Self::start());
            *shared = Arc::downgrade(&cluster);
            cluster
        })
    }

    /// Starts a cluster of one's own.
    ///
    /// # Panics
    /// When PostgreSQL is not installed or does not start.
    #[expect(
        clippy::expect_used,
        clippy::panic,
        reason = "a test ends here, with the reason"
    )]
    pub fn start() -> Self {
        let binaries = binaries();
        let folder = tempfile::Builder::new()
            .prefix("salus-postgres-")
            .tempdir()
            .expect("a temporary folder");
        if let Some(user) = other_user() {
            chown(folder.path(), Some(user), None).expect("the folder becomes the server's");
        }
        fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).expect("permissions");
        let password = hex::encode(SystemEntropy.array::<16>());
        let secret = folder.path().join("password");
        fs::write(&secret, &password).expect("the password file");
        if let Some(user) = other_user() {
            chown(&secret, Some(user), None).expect("the password file becomes the server's");
        }
        let made = unprivileged(&binaries.join("initdb"))
            .arg("--no-sync")
            .args(["--locale=C", "--encoding=UTF8", "--username=salus"])
            .args(["--auth=scram-sha-256", "--pwfile"])
            .arg(&secret)
            .arg("--pgdata")
            .arg(folder.path().join("data"))
            .current_dir(folder.path())
            .output()
            .expect("initdb runs");
        assert!(
            made.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        let mut cluster = Self {
            binaries,
            folder,
            port: 0,
            password,
            stop: None,
            keeper: None,
        };
        for _ in 0..START_ATTEMPTS {
            cluster.port = free_port();
            cluster.launch();
            if cluster.wait_until_ready() {
                return cluster;
            }
            // Somebody else took the port meanwhile.
            cluster.halt();
        }
        let log = fs::read_to_string(cluster.folder.path().join("log")).unwrap_or_default();
        panic!("PostgreSQL does not start: {log}");
    }

    /// The address of a new, empty database in this cluster.
    ///
    /// # Panics
    /// When the cluster does not make one.
    pub async fn fresh_database(&self) -> String {
        self.fresh_database_with("").await
    }

    /// As [`Postgres::fresh_database`], made with these options of `CREATE DATABASE`.
    ///
    /// # Panics
    /// When the cluster does not make one.
    #[expect(clippy::expect_used, reason = "a test ends here, with the reason")]
    pub async fn fresh_database_with(&self, options: &str) -> String {
        let name = format!("t{}", hex::encode(SystemEntropy.array::<8>()));
        let mut connection = sqlx::PgConnection::connect(&self.url("postgres"))
            .await
            .expect("the cluster answers");
        sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name} {options}")))
            .execute(&mut connection)
            .await
            .expect("a fresh database");
        self.url(&name)
    }

    fn url(&self, database: &str) -> String {
        let (password, port) = (&self.password, self.port);
        format!("postgres://salus:{password}@127.0.0.1:{port}/{database}")
    }

    /// The server's parent is a thread that lives as long as the server should: the kernel sends
    /// the server SIGINT (fast shutdown) when that thread is gone, however it went.
    #[expect(clippy::expect_used, reason = "a test ends here, with the reason")]
    fn launch(&mut self) {
        let log = fs::File::create(self.folder.path().join("log")).expect("a log file");
        let mut command = unprivileged(&self.binaries.join("postgres"));
        command
            .arg("-D")
            .arg(self.folder.path().join("data"))
            .args(["-p", &self.port.to_string()])
            .args(["-c", "listen_addresses=127.0.0.1"])
            .arg("-c")
            .arg(format!("unix_socket_directories={}", self.folder.path().display()))
            // The data lives as long as the test, so nothing needs to reach the disk.
            .args(["-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"])
            .args(["-c", "max_connections=200", "-c", "shared_buffers=32MB"])
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let (stop, stopped) = mpsc::channel::<()>();
        let (started, start) = mpsc::channel();
        let keeper = std::thread::spawn(move || {
            let mut server = command.spawn().expect("postgres runs");
            let _ = started.send(());
            // Returns when the sender is dropped.
            let _ = stopped.recv();
            let _ = Command::new("kill")
                .args(["-INT", &server.id().to_string()])
                .status();
            let _ = server.wait();
        });
        start.recv().expect("the keeper starts the server");
        self.stop = Some(stop);
        self.keeper = Some(keeper);
    }

    fn wait_until_ready(&self) -> bool {
        // pg_isready cannot tell our server from another on the same port: the status line in our
        // own folder can (storage/lmgr: PM_STATUS_READY).
        let status = self.folder.path().join("data/postmaster.pid");
        for _ in 0..1_000 {
            if fs::read_to_string(&status).is_ok_and(|text| text.contains("ready")) {
                return true;
            }
            if self
                .keeper
                .as_ref()
                .is_none_or(std::thread::JoinHandle::is_finished)
            {
                return false;
            }
            pause();
        }
        false
    }

    fn halt(&mut self) {
        self.stop = None;
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.halt();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "another process gives no event to wait for"
)]
fn pause() {
    std::thread::sleep(Duration::from_millis(10));
}

#[expect(clippy::expect_used, reason = "a test ends here, with the reason")]
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free loopback port");
    listener.local_addr().expect("its address").port()
}

/// The newest installed PostgreSQL.
#[expect(clippy::panic, reason = "a test ends here, with the reason")]
fn binaries() -> PathBuf {
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            let folder = entry.path().join("bin");
            folder.join("initdb").exists().then_some((version, folder))
        })
        .collect();
    versions.sort();
    match versions.pop() {
        Some((_, folder)) => folder,
        None => panic!("PostgreSQL is not installed: `apt-get install postgresql` (Debian)"),
    }
}

/// The `postgres` user's id when this process is root, as whom PostgreSQL refuses to run.
#[expect(clippy::expect_used, reason = "a test ends here, with the reason")]
fn other_user() -> Option<u32> {
    use std::os::unix::fs::MetadataExt as _;

    let root = fs::metadata("/proc/self").expect("/proc").uid() == 0;
    root.then(|| {
        let users = fs::read_to_string("/etc/passwd").expect("/etc/passwd");
        users
            .lines()
            .filter_map(|line| line.strip_prefix("postgres:"))
            .find_map(|line| line.split(':').nth(1)?.parse().ok())
            .expect("the package `postgresql` makes a user `postgres`")
    })
}

/// A command that does not run as root and does not outlive the thread that starts it.
fn unprivileged(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.arg("--pdeathsig=INT");
    if let Some(user) = other_user() {
        command.arg(format!("--reuid={user}"));
        command.args(["--regid=postgres", "--clear-groups"]);
    }
    command.arg("--").arg(program);
    command.env_clear().env("LC_ALL", "C");
    command
}
