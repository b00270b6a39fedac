"""A device tried with a known sum, in a process of its own, which may crash or hang."""

from blitz.preflight.child import check
from blitz.preflight.faults import missing_in, verdict_on
from blitz.preflight.findings import ANY, LIMIT, Finding, Verdict

__all__ = ["ANY", "LIMIT", "Finding", "Verdict", "check", "missing_in", "verdict_on"]
