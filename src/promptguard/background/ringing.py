"""From an alarm of the fold to what is done about it: once for every group of an epoch, or for all prompts together."""

from __future__ import annotations

from collections.abc import Callable

from promptguard.background.acting import Acting
from promptguard.background.folding import WHOLE, Fold, Row, StreamFold
from promptguard.background.withdrawing import models_of
from promptguard.core.events import AlarmRang, Event
from promptguard.core.streams import SELF_TESTS, doubt
from promptguard.ledger.trouble import LedgerUnavailable
from promptguard.lifetime.threads import OnFault
from promptguard.verdict import Verdict


class LeaseLost(Exception):  # noqa: N818 - the ordinary end of a term, no error
    """Another process judges by now."""


class Ringer:
    """Notes alarms in the ledger, under the lease of who judges, and tells telemetry of them."""

    def __init__(
        self,
        acting: Acting,
        lease: tuple[str, str],
        *,
        emit: Callable[[Event], None],
        on_fault: OnFault,
    ) -> None:
        self._acting = acting
        self._lease = lease
        self._emit = emit
        self._on_fault = on_fault

    def ring(self, fold: Fold, row: Row, group: str) -> None:
        """Act on an alarm of a group, or of WHOLE, once an epoch; a self-test's own alarm stops others instead.

        Raises LeaseLost and LedgerUnavailable. After either the pairs since the last snapshot are to be folded again, or
        their alarm would never be noted.
        """
        if row.stream in SELF_TESTS or doubt(row.stream, self._failed_tests(fold)):
            return
        known = fold.stream(row.stream, row.epoch)
        if (row.stream, row.epoch, group) in self._acting.alarmed or self._is_routed(known, row, group):
            return
        told = known.monitor.explain_whole() if group == WHOLE else known.monitor.explain_group(group)
        if not self._note(known, row, group, told):
            raise LeaseLost
        self._emit(AlarmRang(row.stream, group, told.pairs, told.log10_evidence))

    def _is_routed(self, known: StreamFold, row: Row, group: str) -> bool:
        """Whether this epoch measures what a route has changed: that is no other change."""
        groups = known.monitor.groups if group == WHOLE else (group,)
        is_routed = self._acting.epochs.is_routed
        return row.stream == "candidate" and any(is_routed(name, row.epoch) for name in groups)

    def _note(self, known: StreamFold, row: Row, group: str, told: Verdict) -> bool:
        """Note an alarm and what follows from it; returns whether this process still holds the lease."""
        seen = known.seen.get(group)
        candidate = "" if seen is None else seen.candidate
        asked = known.model_with_most_evidence(row.asked) if group == WHOLE else row.asked
        summary = {
            "epoch": row.epoch,
            "pairs": told.pairs,
            "log10_evidence": told.log10_evidence,
            "pair_id": row.id,
            "sentence": told.sentence(),
            # Of two models that differ, neither need have changed.
            "other": "" if told.reads_forward else candidate,
        }
        speaks_of = models_of(told, asked, candidate)
        try:
            return self._acting.alarm(
                stream=row.stream,
                group=group,
                asked=asked,
                call=row.call,
                summary=summary,
                speaks_of=speaks_of,
                lease=self._lease,
            )
        except LedgerUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - one alarm that cannot be noted must not end the judging
            self._on_fault("alarm", error)
            return True

    def _failed_tests(self, fold: Fold) -> set[str]:
        return fold.failed_tests({test: self._acting.epoch(test, "") for test in SELF_TESTS})
