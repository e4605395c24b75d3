"""NVFLARE's FedAvg with a made-up model and a clock around every round; the model is not saved to disk."""

import json
import os
import time

import numpy as np
from nvflare.app_common.abstract.fl_model import FLModel
from nvflare.app_common.workflows.fedavg import FedAvg
from shapes import MODELS, moved


class TimedFedAvg(FedAvg):
    def __init__(self, size="small", out="", clients=10, rounds=3):
        super().__init__(num_clients=clients, num_rounds=rounds, persistor_id="")
        self.size, self.out, self.clients = size, out, clients
        self.marks = []

    def first(self):
        dice = np.random.default_rng(0)
        return {
            f"t{at}": dice.standard_normal(shape, dtype=np.float32) * np.float32(0.05)
            for at, shape in enumerate(MODELS[self.size]())
        }

    def load_model(self):
        return FLModel(params=self.first())

    def sample_clients(self, *arguments, **named):
        self.marks.append([time.time(), 0])
        return super().sample_clients(*arguments, **named)

    def save_model(self, model):
        self.marks[-1][1] = time.time()
        self.last = model.params

    def run(self):
        super().run()
        expected = moved(self.clients, len(self.marks))
        errors = [
            float(np.abs(np.asarray(self.last[name]) - values - expected).max())
            for name, values in self.first().items()
        ]
        with open(self.out + ".new", "w") as file:
            json.dump({"marks": self.marks, "max_abs_err": max(errors)}, file)
        os.rename(self.out + ".new", self.out)
