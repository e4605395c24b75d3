"""A site of NVFLARE that adds a constant instead of training."""

import numpy as np
import nvflare.client as flare
from shapes import step, weight


def main():
    flare.init()
    site = int(flare.system_info()["site_name"].split("-")[1]) - 1
    while flare.is_running():
        model = flare.receive()
        if model is None:
            break
        moved = {name: np.asarray(values) + np.float32(step(site)) for name, values in model.params.items()}
        answer = flare.FLModel(
            params=moved,
            params_type=flare.ParamsType.FULL,
            meta={"NUM_STEPS_CURRENT_ROUND": weight(site)},
            current_round=model.current_round,
        )
        flare.send(answer)


if __name__ == "__main__":
    main()
