#!/usr/bin/env python3
"""Kills a real node with SIGKILL again and again while patients are taken in; none that was
acknowledged may be missing afterwards.

    kill_cycles.py SALUS_BINARY CYCLES
"""

import json
import random
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start(salus: str, config: Path, log: Path) -> subprocess.Popen:
    with log.open("ab") as sink:
        node = subprocess.Popen(
            [salus, "node", "--json", "--config", config],
            stdout=subprocess.PIPE,
            stderr=sink,
            text=True,
        )
    line = node.stdout.readline()
    if not line:
        sys.exit(f"the node did not start; see {log}")
    return node


def take_in(salus: str, config: Path, number: int) -> bool:
    """Takes one patient in; True when the program says that the records are on the ledger."""
    done = subprocess.run(
        [salus, "intake", "--json", "--config", config, "--form", "--patient", f"P-{number}"]
        + ["--name", f"Patient {number}", "--pulse", "70"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode == 0


def patients(salus: str, config: Path) -> dict[str, int]:
    listed = subprocess.run(
        [salus, "patients", "list", "--json", "--config", config],
        capture_output=True,
        text=True,
        check=True,
    )
    rows = [json.loads(line) for line in listed.stdout.splitlines()]
    return {row["name"]: row["records"] for row in rows if row.get("name")}


def main() -> None:
    salus, cycles = str(Path(sys.argv[1]).resolve()), int(sys.argv[2])
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else random.randrange(1 << 32)
    print(f"seed {seed}", flush=True)
    dice = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        consortium = Path(folder) / "consortium"
        subprocess.run(
            [salus, "consortium", "init", "--dir", consortium, "--name", "soak"]
            + ["--member", "Hospital=hospital", "--api-port", str(free_port())]
            + ["--engine-port", str(free_port())],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        config = consortium / "hospital" / "node.toml"
        acknowledged: set[str] = set()
        number = 0
        for cycle in range(cycles):
            node = start(salus, config, Path(folder) / "node.log")
            kept = patients(salus, config)
            lost = [name for name in acknowledged if kept.get(name) != 3]
            if lost:
                sys.exit(f"cycle {cycle}: acknowledged and lost: {sorted(lost)[:5]}")
            killer = threading.Timer(dice.uniform(0.05, 1.0), node.kill)
            killer.start()
            while node.poll() is None:
                number += 1
                if take_in(salus, config, number):
                    acknowledged.add(f"Patient {number}")
            killer.join()
            print(f"cycle {cycle + 1}/{cycles}: {len(acknowledged)} acknowledged", flush=True)
        node = start(salus, config, Path(folder) / "node.log")
        kept = patients(salus, config)
        node.kill()
        node.wait()
        lost = [name for name in acknowledged if kept.get(name) != 3]
        if lost:
            sys.exit(f"acknowledged and lost: {sorted(lost)[:5]}")
        print(f"{cycles} kills, {len(acknowledged)} acknowledged patients, 0 lost")


if __name__ == "__main__":
    main()
