"""Reading a table that only grows so that no row is passed over, also one that is committed after later ones."""

from __future__ import annotations

from sqlalchemy import Connection, Table

from promptguard.ledger.engines import words


class CommitOrder:
    """How far one reader may read a table by its ids: up to where nobody can commit a row any more.

    So ids are an order that stays, for this reader and for any that takes over. Not for a transaction that sees one moment:
    what is asked for after `upto` must be seen as it is then.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._settled = self._newest = 0
        self._doubted: tuple[int, frozenset[str]] | None = None
        """an id, and the transactions that may yet commit one below it"""

    @property
    def is_held_back(self) -> bool:
        """Whether there were newer rows, at the last look, than may be read."""
        return self._newest > self._settled

    @property
    def newest(self) -> int:
        """The newest id that was seen at the last look, whether it may be read or not."""
        return self._newest

    def upto(self, connection: Connection) -> int:
        """Return the id up to which all that will ever be there can be seen by the next statement."""
        self._newest, writing = words(connection).settled(connection, self._table)
        if self._newest < self._settled:
            self._begin_anew()
        if self._doubted is not None and not self._doubted[1] & writing:
            self._settled, self._doubted = max(self._settled, self._doubted[0]), None
        if not writing:
            self._settled = max(self._settled, self._newest)
        elif self._doubted is None and self._newest > self._settled:
            self._doubted = self._newest, writing
        return self._settled

    def _begin_anew(self) -> None:
        """Forget what was seen: a copy was put back, or it is another ledger than before."""
        self._settled, self._doubted = 0, None
