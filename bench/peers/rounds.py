#!/usr/bin/env python3
"""What a federated round costs when nobody trains: Salus, NVFLARE and Flower side by side.

Usage: rounds.py --salus PROGRAM --bench PROGRAM --nvflare VENV --flower VENV --work DIR [--json FILE]
       rounds.py --flat --salus PROGRAM --bench PROGRAM --work DIR     200 rounds of Salus; fails if its server grows

Ten sites as separate processes on loopback, in a network namespace of each run's own, so that the loopback counter
sees nothing else. Every site adds a constant of its own to the model, weights differ, and the last model is compared
with the closed form. Needs root on Linux (network namespace, control groups).
"""

import argparse
import array
import json
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import shapes
from meter import Sampler, Side

HERE = pathlib.Path(__file__).resolve().parent
SITES = 10
# Each system keeps to its defaults; one thread a process for numpy, which has nothing to compute here.
CALM = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
# Salus, NVFLARE and Flower: rounds of one run, by size of the model.
ROUNDS = {"small": (12, 6, 3), "big": (8, 6, 3)}
# Rounds after which the server's memory may not grow any more, rounds in all, and what counts as growth: what the
# allocator keeps back differs by some MB from moment to moment.
SETTLED, FLAT_ROUNDS, GROWTH = 20, 200, 16e6
# Bars: wall time against NVFLARE's and Flower's; seconds of server CPU; bytes over sites x model; server memory.
BARS = {"small": (1 / 4, 1 / 50, 0.20, 2.05, 120e6), "big": (1 / 3, 1 / 30, 1.2, 2.05, 260e6)}


class Run:
    """The processes of one system, each on its side."""

    def __init__(self, work):
        self.work, self.folders = work, [work]
        self.server, self.sites = Side("server"), Side("sites")
        self.sampler = Sampler(self.server, self.sites)
        self.sampler.start()

    def start(self, side, name, command, **options):
        log = open(self.work / f"{name}.log", "wb")
        return subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, preexec_fn=side.enter, start_new_session=True, **options
        )

    def result(self, marks, error):
        self.sampler.finish()
        return {
            "rounds": self.sampler.rounds(marks),
            "max_abs_err": error,
            "server_peak_bytes": self.server.peak,
            "sites_peak_bytes": self.sites.peak,
        }

    def end(self):
        self.sampler.finish()
        self.server.end()
        self.sites.end()
        for folder in self.folders[1:]:
            shutil.rmtree(folder, ignore_errors=True)


def wait_for(path, limit, run):
    """Waits for a file that is renamed into place."""
    for _ in range(limit * 5):
        if path.exists():
            return json.loads(path.read_text())
        time.sleep(0.2)
    logs = "".join(f"\n--- {log.name}\n{log.read_text(errors='replace')[-1500:]}" for log in run.work.glob("*.log"))
    sys.exit(f"no result after {limit} s{logs}")


def call(command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode:
        sys.exit(f"{command[0]} ended with {done.returncode}: {(done.stdout + done.stderr)[-3000:]}")
    return done.stdout


def salus(arguments, run, size, rounds):
    """A coordinator's `salus node` and ten hospitals' nodes: eleven members of the ledger, TLS between all."""
    folder = run.work / "consortium"
    members = ["--member", "Coordinator=coordinator,cloud@127.0.0.1:20000:21000"]
    for site in range(1, SITES + 1):
        members += ["--member", f"Site {site}=hospital@127.0.0.1:{20000 + site}:{21000 + site}"]
    call([arguments.salus, "consortium", "init", "--name", "peers", "--dir", folder, *members])
    tensors = shapes.MODELS[size]()
    (run.work / "shapes.json").write_text(json.dumps(tensors))
    dice = random.Random(0)
    part = [dice.gauss(0, 0.05) for _ in range(1 << 16)]
    count = shapes.count(tensors)
    first = array.array("f", (part * (count // len(part) + 1))[:count])
    (run.work / "first").write_bytes(first.tobytes())

    # Each hospital has a disk of its own; here ten would queue for one. So the sites' data is in memory, the
    # coordinator's on the disk.
    memory = pathlib.Path(tempfile.mkdtemp(prefix="salus-sites-", dir="/dev/shm"))
    run.folders.append(memory)
    for site in range(1, SITES + 1):
        (memory / str(site)).mkdir()
        (folder / f"site-{site}/data").symlink_to(memory / str(site))

    node = [arguments.salus, "node", "--json", "--config", folder / "coordinator/node.toml"]
    run.start(run.server, "coordinator", node, stdin=subprocess.DEVNULL)
    for site in range(SITES):
        name = f"site-{site + 1}"
        program = [arguments.bench, "site", "--folder", folder / name, "--number", str(site)]
        run.start(run.sites, name, program, stdin=subprocess.PIPE)
    job = [arguments.bench, "rounds", "--dir", folder, "--sites", str(SITES), "--rounds", str(rounds + 1)]
    job += ["--shapes", run.work / "shapes.json", "--model", run.work / "first"]
    done = json.loads(call(job))
    assert done["sites"] == [SITES] * (rounds + 1), done["sites"]
    # From one opening to the next: all that a round costs is between them.
    opened = [ms / 1000 for ms in done["opened_ms"]]
    return run.result(list(zip(opened, opened[1:])), done["max_abs_err"])


NVFLARE_JOB = """
import sys
from nvflare.fuel.utils.constants import FrameworkType
from nvflare.job_config.api import FedJob
from nvflare.job_config.script_runner import ScriptRunner
from controller import TimedFedAvg
size, out, clients, rounds, folder = sys.argv[1:]
job = FedJob(name="peers", min_clients=int(clients))
job.to_server(TimedFedAvg(size=size, out=out, clients=int(clients), rounds=int(rounds)))
job.to_server("shapes.py")
job.to_clients(ScriptRunner(script="client.py", framework=FrameworkType.NUMPY))
job.to_clients("shapes.py")
job.export_job(folder)
"""
NVFLARE_SUBMIT = """
import sys
from nvflare.fuel.flare_api.flare_api import new_secure_session
session = new_secure_session("admin@nvidia.com", sys.argv[1], timeout=60.0)
session.get_system_info()
session.submit_job(sys.argv[2])
session.close()
"""


def nvflare(arguments, run, size, rounds):
    """A provisioned server and ten provisioned clients, mutual TLS, in-process client API: its defaults."""
    work, programs = run.work, pathlib.Path(arguments.nvflare).resolve() / "bin"
    source = work / "source"
    shutil.copytree(HERE / "nvflare", source)
    shutil.copy(HERE / "shapes.py", source)
    result = work / "result.json"
    environment = {**os.environ, **CALM, "PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(work)}
    environment["NVFLARE_POC_WORKSPACE"] = str(work / "poc")
    environment["PYTHONPATH"] = str(source)
    job = [programs / "python", "-c", NVFLARE_JOB, size, result, str(SITES), str(rounds), work / "jobs"]
    call(job, env=environment, cwd=source)
    del environment["PYTHONPATH"]
    call([programs / "nvflare", "poc", "prepare", "-n", str(SITES)], env=environment, cwd=work)
    provisioned = next((work / "poc").rglob("site-1")).parent

    def start(side, name):
        run.start(side, name, ["bash", provisioned / name / "startup/start.sh"], env=environment, cwd=provisioned)

    start(run.server, "server")
    time.sleep(8)
    for site in range(SITES):
        start(run.sites, f"site-{site + 1}")
        time.sleep(0.5)
    time.sleep(15)
    submit = [programs / "python", "-c", NVFLARE_SUBMIT, provisioned / "admin@nvidia.com", work / "jobs/peers"]
    call(submit, env=environment, cwd=work)
    done = wait_for(result, 400, run)
    return run.result(done["marks"], done["max_abs_err"])


def flower(arguments, run, size, rounds):
    """A SuperLink and ten SuperNodes, default isolation, without TLS (in its favour)."""
    work, programs = run.work, pathlib.Path(arguments.flower).resolve() / "bin"
    app, home = work / "app", work / "home"
    shutil.copytree(HERE / "flower", app)
    shutil.copy(HERE / "shapes.py", app / "bench_app")
    home.mkdir()
    (home / "config.toml").write_text(
        '[superlink]\ndefault = "bench"\n\n[superlink.bench]\naddress = "127.0.0.1:8000"\ninsecure = true\n'
    )
    environment = {
        **os.environ,
        **CALM,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "HOME": str(home),
        "FLWR_HOME": str(home),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    }
    options = {"env": environment, "cwd": work}
    run.start(run.server, "superlink", [programs / "flower-superlink", "--insecure"], **options)
    time.sleep(6)
    for site in range(SITES):
        node = [programs / "flower-supernode", "--insecure", "--superlink", "127.0.0.1:8000"]
        node += ["--port", str(9100 + site), "--node-config", f"partition-id={site} num-partitions={SITES}"]
        run.start(run.sites, f"node-{site}", node, **options)
        time.sleep(0.3)
    time.sleep(8)
    result = work / "result.json"
    config = f'num-server-rounds={rounds} clients={SITES} size="{size}" out="{result}"'
    call([programs / "flwr", "run", app, "bench", "--run-config", config], timeout=120, **options)
    done = wait_for(result, 900, run)
    return run.result(done["marks"], done["max_abs_err"])


SYSTEMS = {"salus": salus, "nvflare": nvflare, "flower": flower}


def one(arguments):
    """One run in this process, which has a network namespace of its own."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    work = pathlib.Path(arguments.work) / f"{arguments.one}-{arguments.size}"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    run = Run(work)
    try:
        result = SYSTEMS[arguments.one](arguments, run, arguments.size, arguments.rounds)
    finally:
        run.end()
    shutil.rmtree(work, ignore_errors=True)
    print(json.dumps(result))


def median(runs, what):
    return statistics.median(round[what] for run in runs for round in run["rounds"])


def summary(runs):
    model = runs[0]["model_bytes"]
    walls = [round["wall_s"] for run in runs for round in run["rounds"]]
    return {
        "runs": len(runs),
        "rounds": len(walls),
        "wall_s": round(median(runs, "wall_s"), 3),
        "wall_least_s": min(walls),
        "wall_most_s": max(walls),
        "server_cpu_s": round(median(runs, "server_cpu_s"), 3),
        "sites_cpu_s": round(median(runs, "sites_cpu_s"), 3),
        "bytes_by_sites_and_model": round(median(runs, "loopback_bytes") / (SITES * model), 3),
        "server_peak_mb": round(max(run["server_peak_bytes"] for run in runs) / 1e6, 1),
        "sites_peak_mb": round(max(run["sites_peak_bytes"] for run in runs) / 1e6, 1),
        "max_abs_err": max(run["max_abs_err"] for run in runs),
    }


def held(size, table):
    """Each bar: what it is about, the figure, the bar, whether it is met."""
    ours = table["salus"]
    nvflare_part, flower_part, cpu, link, memory = BARS[size]
    figures = []
    for name, part in (("nvflare", nvflare_part), ("flower", flower_part)):
        if name in table:
            figures.append((f"wall time over {name}'s", ours["wall_s"] / table[name]["wall_s"], part))
    figures.append(("server CPU a round, s", ours["server_cpu_s"], cpu))
    figures.append(("bytes on the links over sites x model", ours["bytes_by_sites_and_model"], link))
    figures.append(("server peak memory, MB", ours["server_peak_mb"], memory / 1e6))
    return [{"what": w, "figure": round(f, 4), "at_most": round(b, 4), "met": f <= b} for w, f, b in figures]


def all_systems(arguments):
    report = {}
    for size in arguments.sizes.split(","):
        model = shapes.count(shapes.MODELS[size]()) * 4
        table, runs = {}, {}
        # Ours first and last, so that what else the machine does falls on all.
        wanted = arguments.systems.split(",")
        order = ["salus"] if wanted == ["salus"] else ["salus", "nvflare", "flower", "salus"]
        for system in order:
            if system not in wanted:
                continue
            rounds = arguments.rounds or dict(zip(SYSTEMS, ROUNDS[size]))[system]
            command = ["unshare", "-n", sys.executable, HERE / "rounds.py", "--one", system, "--size", size]
            command += ["--rounds", str(rounds), "--work", arguments.work]
            for name in ("salus", "bench", "nvflare", "flower"):
                command += [f"--{name}", getattr(arguments, name) or ""]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
            if done.returncode:
                sys.exit(f"{system}, {size}: no figures")
            run = {**json.loads(done.stdout), "model_bytes": model, "load": os.getloadavg()}
            if run["max_abs_err"] > 1e-5:
                sys.exit(f"{system}, {size}: the result is wrong by {run['max_abs_err']}")
            runs.setdefault(system, []).append(run)
            print(f"{system}, {size}: {json.dumps(summary([run]))}", file=sys.stderr, flush=True)
        table = {system: summary(runs[system]) for system in runs}
        report[size] = {"model_bytes": model, "sites": SITES, "systems": table, "runs": runs}
        if "salus" in table:
            report[size]["bars"] = held(size, table)
    return report


def flat(arguments):
    """Whether the server's memory stays where it is: medians over ten rounds, early and late."""
    command = ["unshare", "-n", sys.executable, HERE / "rounds.py", "--one", "salus", "--size", "small"]
    command += ["--rounds", str(FLAT_ROUNDS), "--work", arguments.work]
    command += ["--salus", arguments.salus, "--bench", arguments.bench]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit("the rounds did not finish")
    memory = [round["server_bytes"] for round in json.loads(done.stdout)["rounds"]]
    early = statistics.median(memory[SETTLED : SETTLED + 10])
    late = statistics.median(memory[-10:])
    print(f"server memory: {early / 1e6:.1f} MB after {SETTLED} rounds, {late / 1e6:.1f} MB after {len(memory)}")
    if late - early > GROWTH:
        sys.exit(f"it grew by more than {GROWTH / 1e6:.0f} MB")


def main():
    parser = argparse.ArgumentParser()
    for name in ("salus", "bench", "nvflare", "flower", "json", "one", "size"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--work", required=True)
    parser.add_argument("--flat", action="store_true")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--sizes", default="small,big")
    parser.add_argument("--systems", default="salus,nvflare,flower")
    arguments = parser.parse_args()
    arguments.work = os.path.abspath(arguments.work)
    if arguments.one:
        return one(arguments)
    if arguments.flat:
        return flat(arguments)
    report = all_systems(arguments)
    for size, part in report.items():
        for bar in part.get("bars", []):
            print(f"{size}: {bar['what']}: {bar['figure']} (at most {bar['at_most']}, {'met' if bar['met'] else 'missed'})")
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
