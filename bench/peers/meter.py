"""CPU seconds, memory and loopback bytes of a run from outside: one control group for the server's side and one
for the sites', in a network namespace of the run's own."""

import os
import signal
import threading
import time

# Version 1 has a hierarchy for each controller, version 2 one for all.
UNIFIED = os.path.exists("/sys/fs/cgroup/cgroup.controllers")


def loopback():
    """Bytes that went over the loopback device, headers included."""
    with open("/proc/net/dev") as table:
        for line in table:
            name, _, counts = line.partition(":")
            if name.strip() == "lo":
                return int(counts.split()[8])
    return 0


class Side:
    """A control group that holds every process of one side."""

    def __init__(self, name):
        roots = ["/sys/fs/cgroup"] if UNIFIED else ["/sys/fs/cgroup/cpuacct", "/sys/fs/cgroup/memory"]
        self.folders = [f"{root}/salus-peers-{os.getpid()}-{name}" for root in roots]
        for folder in self.folders:
            os.mkdir(folder)
        self.peak = 0

    def enter(self):
        """For a child process before it becomes another program."""
        for folder in self.folders:
            with open(f"{folder}/cgroup.procs", "w") as file:
                file.write(str(os.getpid()))

    def processes(self):
        with open(f"{self.folders[0]}/cgroup.procs") as file:
            return [int(pid) for pid in file.read().split()]

    def cpu(self):
        """CPU seconds so far, of processes that have ended too."""
        if UNIFIED:
            with open(f"{self.folders[0]}/cpu.stat") as file:
                return int(file.readline().split()[1]) / 1e6
        with open(f"{self.folders[0]}/cpuacct.usage") as file:
            return int(file.read()) / 1e9

    def memory(self):
        """Resident memory that is no file's, bytes."""
        wanted = "anon" if UNIFIED else "total_rss"
        with open(f"{self.folders[-1]}/memory.stat") as file:
            for line in file:
                name, value = line.split()
                if name == wanted:
                    self.peak = max(self.peak, int(value))
                    return int(value)
        raise OSError("this control group does not count memory")

    def end(self):
        """Ends what still runs in the group, then the group."""
        for ending in (signal.SIGTERM, signal.SIGKILL, signal.SIGKILL):
            for pid in self.processes():
                try:
                    os.kill(pid, ending)
                except ProcessLookupError:
                    pass
            for _ in range(50):
                if not self.processes():
                    break
                time.sleep(0.1)
        for folder in self.folders:
            os.rmdir(folder)


class Sampler(threading.Thread):
    """Looks at both sides twenty times a second."""

    def __init__(self, server, sites):
        super().__init__(daemon=True)
        self.server, self.sites = server, sites
        self.done = threading.Event()
        self.points = []

    def run(self):
        while not self.done.is_set():
            self.sites.memory()
            memory = self.server.memory()
            self.points.append((time.time(), loopback(), self.server.cpu(), self.sites.cpu(), memory))
            self.done.wait(0.05)

    def finish(self):
        self.done.set()
        self.join()

    def at(self, moment):
        """Bytes, CPU seconds and the server's memory at a moment, between the two looks around it."""
        before = self.points[0]
        for after in self.points:
            if after[0] >= moment:
                break
            before = after
        span = after[0] - before[0]
        part = min(max((moment - before[0]) / span, 0.0), 1.0) if span > 0 else 0.0
        return [a + (b - a) * part for a, b in zip(before[1:], after[1:])]

    def rounds(self, marks):
        """Each (start, end) as seconds, bytes, and CPU seconds of either side."""
        rounds = []
        for start, end in marks:
            a, b = self.at(start), self.at(end)
            rounds.append(
                {
                    "wall_s": round(end - start, 3),
                    "loopback_bytes": round(b[0] - a[0]),
                    "server_cpu_s": round(b[1] - a[1], 3),
                    "sites_cpu_s": round(b[2] - a[2], 3),
                    "server_bytes": round(b[3]),
                }
            )
        return rounds
