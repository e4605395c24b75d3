//! One hospital of the round's figures as a process of its own: the whole node, with a trainer that adds a
//! constant instead of looking at images. Ends when standard input does.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use salus_client::node::Node;
use salus_crypto::opaque::ServerSetup;
use salus_federated::{Job, Model};
use salus_proto::Digest;
use salus_proto::api::training::{DataSetRequest, DataSetView, JobRequest, OwnFigures};
use salus_proto::encode::to_bytes;
use salus_proto::federated::{DataCard, Micro};
use salus_proto::ids::JobId;
use salus_runtime::table::Database;
use salus_runtime::{BlobStore, Shelf, SystemClock, SystemEntropy};
use salus_server::training::{
    Draft, Finished, Gain, Judged, Task, Trained, Trainer, TrainerError, Training,
};
use salus_server::{Config, Limits, Parts, Policy, Server, TlsFiles};
use salus_vault::Vault;

use super::{DEVIATION, samples, step};
use crate::consortium::Seat;

/// The arguments of a site's process.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The member's folder.
    #[arg(long)]
    folder: PathBuf,
    /// Which site it is, from 0: decides its weight and its constant.
    #[arg(long)]
    number: u8,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let seat = Seat {
        folder: arguments.folder.clone(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let replica = seat.start_replica()?;
    let server = runtime.block_on(serve(&seat, arguments.number, replica.replica()))?;
    println!("{}", server.address());
    std::io::stdout().flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    runtime.block_on(server.stop());
    Ok(replica.stop()?)
}

/// The node as `salus node` wires it, but for the trainer.
async fn serve(
    seat: &Seat,
    number: u8,
    replica: salus_replica::Replica<salus_replica::Contract>,
) -> anyhow::Result<Server> {
    let (identity, member) = (seat.identity()?, seat.member()?);
    let keys = Arc::new(identity.keys);
    let clock = Arc::new(SystemClock::new());
    let data = seat.folder.join("data");
    let url = format!("sqlite:{}", data.join("tables.sqlite").display());
    let database = Database::open(&url).await?;
    let vault = Vault::new(salus_vault::Parts {
        database: database.clone(),
        blobs: BlobStore::local(&data.join("blobs")).await?,
        clock: clock.clone(),
        entropy: Box::new(SystemEntropy),
        organisation: identity.organisation,
        keys: Arc::clone(&keys),
    });
    let training = Training {
        shelf: Shelf::open(&data.join("training/shelf")).await?,
        trainer: Arc::new(Adder(number)),
        reach: Node::new(&member.api, &seat.authority()?)?,
    };
    let address = member.api.strip_prefix("https://");
    let config = Config {
        listen: address.context("an API with TLS")?.parse()?,
        tls: Some(TlsFiles {
            certificates: seat.folder.join("tls/node.pem"),
            key: seat.folder.join("secret/tls.key"),
        }),
        organisation: identity.organisation,
        policy: Policy {
            approve_own_records: true,
        },
        limits: Limits::default(),
    };
    let parts = Parts {
        ledger: Arc::new(replica),
        vault,
        database,
        keys,
        passwords: ServerSetup::generate(&mut SystemEntropy),
        genesis: to_bytes(&seat.genesis()?).into(),
        clock,
        entropy: Box::new(SystemEntropy),
        training: Some(training),
    };
    Ok(Server::start(config, parts).await?)
}

/// Adds a constant to every value.
#[derive(Debug)]
struct Adder(u8);

impl Trainer for Adder {
    fn offer(&self, wish: DataSetRequest) -> BoxFuture<'_, Result<DataCard, TrainerError>> {
        let card = DataCard {
            data_set: Digest([self.0; 32]),
            records: Digest([self.0; 32]),
            training_images: vec![samples(self.0), 0],
            test_images: vec![0, 0],
            classes: wish.classes,
            channels: wish.channels,
            size_px: wish.size_px,
            pixel_mean: Micro(500_000),
            pixel_deviation: DEVIATION,
        };
        async { Ok(card) }.boxed()
    }

    fn train(&self, task: Task) -> BoxFuture<'_, Result<Trained, TrainerError>> {
        let step = step(self.0);
        let trained = Trained {
            values: task.base.values.iter().map(|value| value + step).collect(),
            controls: Vec::new(),
            samples: samples(self.0),
            metrics: Vec::new(),
            kept: Bytes::new(),
        };
        async { Ok(trained) }.boxed()
    }

    fn finish(&self, _: Finished) -> BoxFuture<'_, Result<Gain, TrainerError>> {
        let nothing = OwnFigures {
            accuracy: 0.0,
            balanced_accuracy: 0.0,
            auc: None,
            auc_95: None,
        };
        let gain = Gain {
            images: 0,
            patients: 0,
            together: nothing,
            alone: nothing,
        };
        async move { Ok(gain) }.boxed()
    }

    fn draft(
        &self,
        _: JobRequest,
        _: Vec<DataSetView>,
    ) -> BoxFuture<'_, Result<Draft, TrainerError>> {
        async { Err(TrainerError::Refused("there are no images".into())) }.boxed()
    }

    fn export(&self, _: Arc<Job>, _: Model) -> BoxFuture<'_, Result<Bytes, TrainerError>> {
        async { Err(TrainerError::NoModel) }.boxed()
    }

    fn judge(&self, _: JobId, _: Bytes, _: bool) -> BoxFuture<'_, Result<Judged, TrainerError>> {
        async { Err(TrainerError::NoModel) }.boxed()
    }
}
