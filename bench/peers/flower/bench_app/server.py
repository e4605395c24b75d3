"""Flower's FedAvg with a made-up model and a clock around every round."""

import json
import os
import time

import numpy as np
from bench_app.shapes import MODELS, moved
from flwr.app import ArrayRecord, ConfigRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

app = ServerApp()


class TimedFedAvg(FedAvg):
    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        self.marks = []

    def configure_train(self, server_round, arrays, config, grid):
        self.marks.append([time.time(), 0])
        return super().configure_train(server_round, arrays, config, grid)

    def aggregate_train(self, server_round, replies):
        result = super().aggregate_train(server_round, replies)
        self.marks[-1][1] = time.time()
        return result


@app.main()
def main(grid: Grid, context: Context) -> None:
    config = context.run_config
    clients, rounds = int(config["clients"]), int(config["num-server-rounds"])
    dice = np.random.default_rng(0)
    first = [
        dice.standard_normal(shape, dtype=np.float32) * np.float32(0.05) for shape in MODELS[config["size"]]()
    ]
    strategy = TimedFedAvg(fraction_evaluate=0.0, min_train_nodes=clients, min_available_nodes=clients)
    result = strategy.start(
        grid=grid, initial_arrays=ArrayRecord(first), train_config=ConfigRecord({}), num_rounds=rounds
    )
    expected = moved(clients, rounds)
    last = result.arrays.to_numpy_ndarrays()
    errors = [float(np.abs(a - b - expected).max()) for a, b in zip(last, first)]
    with open(config["out"] + ".new", "w") as file:
        json.dump({"marks": strategy.marks, "max_abs_err": max(errors)}, file)
    os.rename(config["out"] + ".new", config["out"])
