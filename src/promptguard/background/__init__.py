"""Everything that happens off the caller's path, composed: asking again, pairing, judging, acting.

One Background a ledger directory and process; wrapped clients that name the same ledger share it.
"""

from promptguard.background.engine import Background

__all__ = ["Background"]
