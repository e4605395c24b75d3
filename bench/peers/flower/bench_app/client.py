"""A site of Flower that adds a constant instead of training. The constant matters: Flower keeps arrays by their
digest, so equal answers of all sites would be kept once."""

import numpy as np
from bench_app.shapes import step, weight
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()


@app.train()
def train(message: Message, context: Context):
    site = int(context.node_config["partition-id"])
    arrays = message.content["arrays"].to_numpy_ndarrays()
    moved = [array + np.float32(step(site)) for array in arrays]
    metrics = MetricRecord({"num-examples": weight(site)})
    return Message(content=RecordDict({"arrays": ArrayRecord(moved), "metrics": metrics}), reply_to=message)
