"""`python -m salus_verify BUNDLE --genesis FILE|DIGEST [--json]`.

Exit code 0: verified. 4: not verified. 2: the command cannot be understood or a file not read.
"""

import argparse
import json
import re
import sys
from hashlib import sha256
from pathlib import Path

from salus_verify.verify import Report, verify

VERIFIED, USAGE, NOT_VERIFIED = 0, 2, 4


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="salus_verify",
        description="Check a Salus proof bundle offline. Trusts nothing but the genesis digest.",
        epilog="Exit code: 0 verified, 4 not verified, 2 usage.",
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="the proof bundle, a JSON file")
    parser.add_argument(
        "--genesis",
        required=True,
        metavar="FILE|DIGEST",
        help="the consortium's genesis file, or its SHA-256 (64 hexadecimal digits)",
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    options = parser.parse_args(arguments)
    try:
        pinned = _digest(options.genesis)
        data = options.bundle.read_bytes()
    except OSError as error:
        sys.stderr.write(f"salus_verify: {error}\n")
        return USAGE
    report = verify(data, pinned)
    sys.stdout.write(_as_json(report) if options.json else _as_text(report))
    return VERIFIED if report.verified else NOT_VERIFIED


def _digest(genesis: str) -> bytes:
    if re.fullmatch(r"[0-9A-Fa-f]{64}", genesis):
        return bytes.fromhex(genesis)
    return sha256(Path(genesis).read_bytes()).digest()


def _as_json(report: Report) -> str:
    checks = [
        {"check": check.name, "ok": check.ok} | ({} if check.ok else {"reason": check.reason})
        for check in report.checks
    ]
    document = {"verified": report.verified, "checks": checks}
    document |= {"proven": report.proven} if report.verified else {"failed": report.failed}
    return json.dumps(document, indent=2) + "\n"


def _as_text(report: Report) -> str:
    lines = [
        f"ok      {check.name}" if check.ok else f"FAILED  {check.name}: {check.reason}"
        for check in report.checks
    ]
    if report.verified:
        lines += [f"{name}: {value}" for name, value in report.proven.items()]
    lines.append("verified" if report.verified else "not verified: the bundle proves nothing")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
