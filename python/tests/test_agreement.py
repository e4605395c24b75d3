"""Agreement with the program that `SALUS_BIN` names: same verdict, same failed check."""

import json
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import writer
from test_tamper import BUNDLES
from vectors import altered, load

from salus_verify import verify

SALUS = os.environ.get("SALUS_BIN")
pytestmark = pytest.mark.skipif(not SALUS, reason="SALUS_BIN does not name the program")


def verdict_of_salus(bundle: Path, pinned: bytes) -> tuple[bool, str | None]:
    assert SALUS is not None
    command = [SALUS, "audit", "verify", str(bundle), "--genesis", pinned.hex(), "--json"]
    run = subprocess.run(command, capture_output=True, check=False)
    assert run.returncode in (0, 4), run.stderr
    if run.returncode == 0:
        return True, None
    try:
        checks = json.loads(run.stdout)["checks"]
    except (ValueError, KeyError):
        return False, "bundle"
    return False, next(c["name"] for c in checks if c["verdict"] == "failed")


def cases() -> Iterator[tuple[str, bytes, bytes]]:
    """Every golden case, then seeded flips of small bundles."""
    vectors = load("ledger/bundle.json")
    pinned = bytes.fromhex(vectors["genesis_digest"])
    for name, bundle in vectors["bundles"].items():
        yield name, writer.to_json(bundle), pinned
    for v in vectors["malformed"] + vectors["unreadable"]:
        bundle = altered(vectors["bundles"][v["bundle"]], v["at"], v["value"])
        yield v["why"], writer.to_json(bundle), pinned
    dice = random.Random(7)  # noqa: S311 - seeded, so that a failure replays
    for name, (good, digest) in BUNDLES.items():
        yield name, good, digest
        for _ in range(40):
            bad = bytearray(good)
            bad[at := dice.randrange(len(bad))] ^= 1 << dice.randrange(8)
            yield f"{name}, byte {at} to {bad[at]:#x}", bytes(bad), digest


def test_both_verifiers_agree(tmp_path: Path) -> None:
    file = tmp_path / "bundle.json"
    for why, data, pinned in cases():
        file.write_bytes(data)
        report = verify(data, pinned)
        assert verdict_of_salus(file, pinned) == (report.verified, report.failed), why
