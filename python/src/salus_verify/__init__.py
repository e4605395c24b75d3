"""Checks Salus proof bundles offline, from nothing but the digest of a genesis file.

Written from `docs/formats.md` alone; it shares no code with the programs that make the bundles.

    from salus_verify import verify
    report = verify(Path("record.proof.json").read_bytes(), genesis_digest)
    report.verified, report.failed, report.proven
"""

from salus_verify.errors import Refused
from salus_verify.verify import Check, Report, verify

__all__ = ["Check", "Refused", "Report", "verify"]
