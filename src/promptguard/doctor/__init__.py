"""What `promptguard doctor` looks at: the machine, the places on disk, the ledger, what is covered and what is not.

Each check returns findings, and none ends the others. Nothing is written, nothing is asked of the network.
"""

from promptguard.doctor.examination import examine
from promptguard.doctor.findings import Finding, Level, worst

__all__ = ["Finding", "Level", "examine", "worst"]
