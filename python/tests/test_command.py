"""The command line: exit codes, text, JSON."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from writer import Ledger

from salus_verify.__main__ import main


@pytest.fixture
def files(tmp_path: Path) -> tuple[Ledger, Path, Path]:
    """A ledger, a bundle of it and its genesis file."""
    ledger = Ledger()
    bundle, genesis = tmp_path / "b.json", tmp_path / "genesis.cbor"
    bundle.write_bytes(ledger.bundle(ledger.record()))
    genesis.write_bytes(ledger.genesis)
    return ledger, bundle, genesis


def test_good_bundle(files: tuple[Ledger, Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    ledger, bundle, genesis = files
    for pinned in (str(genesis), ledger.digest.hex(), ledger.digest.hex().upper()):
        assert main([str(bundle), "--genesis", pinned]) == 0
    assert "verified" in capsys.readouterr().out
    assert main([str(bundle), "--genesis", str(genesis), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["verified"] is True
    assert [c["check"] for c in report["checks"]][-1] == "anchor"
    assert report["proven"]["claim"] == "record"


def test_bad_bundle(files: tuple[Ledger, Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    ledger, bundle, genesis = files
    assert main([str(bundle), "--genesis", "00" * 32, "--json"]) == 4
    report = json.loads(capsys.readouterr().out)
    assert (report["verified"], report["failed"]) == (False, "genesis")
    assert "proven" not in report
    assert main([str(genesis), "--genesis", str(genesis)]) == 4
    assert "FAILED  bundle" in capsys.readouterr().out
    claim = ledger.record()
    claim["record"]["position"] = 2
    bundle.write_bytes(ledger.bundle(claim))
    assert main([str(bundle), "--genesis", str(genesis)]) == 4
    assert "FAILED  anchor" in capsys.readouterr().out


def test_usage(files: tuple[Ledger, Path, Path], tmp_path: Path) -> None:
    _, bundle, genesis = files
    assert main([str(tmp_path / "absent"), "--genesis", str(genesis)]) == 2
    assert main([str(bundle), "--genesis", str(tmp_path / "absent")]) == 2
    for arguments in ([], [str(bundle)], [str(bundle), "--genesis", str(genesis), "--what"]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2


def test_as_a_module(files: tuple[Ledger, Path, Path]) -> None:
    _, bundle, genesis = files
    command = [sys.executable, "-m", "salus_verify", str(bundle), "--genesis"]
    good = subprocess.run([*command, str(genesis)], capture_output=True, check=False)
    bad = subprocess.run([*command, "00" * 32], capture_output=True, check=False)
    assert (good.returncode, bad.returncode) == (0, 4)
    assert not good.stderr
    assert not bad.stderr
