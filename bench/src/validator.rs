//! One validator process: a replica with the real contract, and a way in for the load that costs little.
//!
//! Prints the port of the way in, and ends when standard input does. Both directions of a connection
//! carry many submissions at once, integers big-endian:
//!
//! ```text
//! request   length of the command (4) | number (4) | signed command
//! answer    number (4) | 1 for an entry that was accepted and is durable here, 0 for anything else (1)
//! ```

use std::io::{Read as _, Write as _};
use std::path::PathBuf;

use anyhow::ensure;
use bytes::Bytes;
use salus_proto::command::{COMMAND_LIMIT, Entry, Outcome};
use salus_proto::encode::from_bytes;
use salus_replica::{Contract, Replica};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::consortium::Seat;

/// Largest log entry: a command and its frame.
const ENTRY_LIMIT: usize = 2 * COMMAND_LIMIT;
/// Submissions of one connection that wait for their answers.
const IN_FLIGHT: usize = 1 << 14;

/// The arguments of a validator process.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The member's folder.
    #[arg(long)]
    folder: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let running = Seat {
        folder: arguments.folder.clone(),
    }
    .start_replica()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    println!("{}", listener.local_addr()?.port());
    std::io::stdout().flush()?;
    runtime.spawn(serve(listener, running.replica()));
    std::io::stdin().read_to_end(&mut Vec::new())?;
    runtime.shutdown_background();
    Ok(running.stop()?)
}

async fn serve(listener: TcpListener, replica: Replica<Contract>) {
    while let Ok((stream, _)) = listener.accept().await {
        let replica = replica.clone();
        tokio::spawn(async move {
            if let Err(error) = connection(stream, replica).await {
                eprintln!("a connection ended: {error:#}");
            }
        });
    }
}

async fn connection(stream: TcpStream, replica: Replica<Contract>) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let (requests, mut answers) = stream.into_split();
    let (sender, mut receiver) = mpsc::channel::<(u32, bool)>(IN_FLIGHT);
    tokio::spawn(async move {
        let (mut ready, mut bytes) = (Vec::new(), Vec::new());
        while receiver.recv_many(&mut ready, IN_FLIGHT).await > 0 {
            bytes.clear();
            for (number, accepted) in ready.drain(..) {
                bytes.extend_from_slice(&number.to_be_bytes());
                bytes.push(u8::from(accepted));
            }
            if answers.write_all(&bytes).await.is_err() {
                return;
            }
        }
    });
    let mut requests = BufReader::with_capacity(1 << 16, requests);
    while let Ok(length) = requests.read_u32().await {
        let length = usize::try_from(length)?;
        ensure!(length <= COMMAND_LIMIT, "a command of {length} bytes");
        let number = requests.read_u32().await?;
        let mut command = vec![0; length];
        requests.read_exact(&mut command).await?;
        let (replica, sender) = (replica.clone(), sender.clone());
        tokio::spawn(async move {
            let accepted = match submit(&replica, command.into()).await {
                Ok(()) => true,
                Err(error) => {
                    eprintln!("a command was not accepted: {error:#}");
                    false
                }
            };
            // The other side may have gone; then nobody counts.
            let _ = sender.send((number, accepted)).await;
        });
    }
    Ok(())
}

/// Submits and waits until the command is an accepted entry that is durable on this node.
pub(crate) async fn submit(replica: &Replica<Contract>, command: Bytes) -> anyhow::Result<()> {
    let committed = replica.submit(command).await?;
    let entry: Entry = from_bytes(&committed.entry, ENTRY_LIMIT, "an entry")?;
    ensure!(
        entry.outcome == Outcome::Accepted,
        "the contract said {:?}",
        entry.outcome
    );
    Ok(())
}
