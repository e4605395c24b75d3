#!/usr/bin/env python3
"""Kills training runs with SIGKILL at random moments, starts them again, and compares what they end with.

Usage: kill_training.py SALUS CYCLES [SEED]

Each cycle is one federation or one pooled baseline, killed up to three times. Ends with 1 where the model,
its configuration or the report (but for its seconds) differ from those of a run that nothing interrupted.
"""

import json
import pathlib
import random
import subprocess
import sys
import tempfile
import time

import discs

KILLS = 3


def without_seconds(value):
    if isinstance(value, dict):
        return {key: without_seconds(inner) for key, inner in value.items() if key != "seconds"}
    if isinstance(value, list):
        return [without_seconds(inner) for inner in value]
    return value


def outcome(folder: pathlib.Path):
    report = json.loads((folder / "report.json").read_text())
    files = [(folder / name).read_bytes() for name in ("model.safetensors", "config.json")]
    return files, without_seconds(report)


def start(command, out: pathlib.Path) -> subprocess.Popen:
    return subprocess.Popen([*command, "--out", out], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def finish(command, out: pathlib.Path) -> float:
    before = time.monotonic()
    run = start(command, out)
    _, errors = run.communicate()
    if run.returncode != 0:
        sys.exit(f"{command[2]} ended with {run.returncode}: {errors.decode(errors='replace')}")
    return time.monotonic() - before


def main() -> None:
    salus, cycles = str(pathlib.Path(sys.argv[1]).resolve()), int(sys.argv[2])
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else random.randrange(1 << 32)
    print(f"seed {seed}", flush=True)
    dice = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        discs.write(folder / "images", 28, 60, 10)
        arms = {}
        for arm in ("simulate", "central"):
            command = [salus, "federated", arm, "--data", folder / "images", "--sites", "3", "--rounds", "6", "--json"]
            seconds = finish(command, folder / arm)
            arms[arm] = (command, seconds, outcome(folder / arm))
        killed = 0
        for cycle in range(cycles):
            arm = dice.choice(sorted(arms))
            command, seconds, expected = arms[arm]
            out = folder / f"cycle-{cycle}"
            for _ in range(dice.randint(1, KILLS)):
                run = start(command, out)
                try:
                    run.communicate(timeout=dice.uniform(0.0, seconds))
                    break
                except subprocess.TimeoutExpired:
                    run.kill()
                    run.communicate()
                    killed += 1
            finish(command, out)
            if outcome(out) != expected:
                sys.exit(f"cycle {cycle}: {arm} ended otherwise after kills")
        print(f"{cycles} runs, {killed} kills, every one ended with the same bits")


if __name__ == "__main__":
    main()
