"""A fold as rows and back: a restart, or another process that takes over, goes on from there bit for bit.

One row a stream for what its groups share, one a group; only what changed is written. A snapshot that cannot be read, or
is of other settings, another file or another version of the features, is passed over: the pairs are the truth.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Set
from dataclasses import asdict
from typing import Any

from promptguard.background.folding import (
    GROUP_POINTS,
    MOST_POINTS,
    WHOLE,
    Curve,
    Fold,
    Missing,
    Seen,
    StreamFold,
)
from promptguard.core.options import Drift
from promptguard.drift import PairMonitor
from promptguard.drift.explain.causes import LEVEL
from promptguard.drift.features.catalogue import SCHEMA
from promptguard.drift.monitor import STATE
from promptguard.ledger.folds import Part, Saved
from promptguard.verdict.ages import Ages

log = logging.getLogger("promptguard")

FORMAT = 1
CONTENTS = ("", 0)
"""In place of stream and epoch: the part that says what a snapshot has and up to which pair, written with every save."""


def key_of(drift: Drift, identity: bytes) -> str:
    """Name what a snapshot is of: the file, the settings of judging, the versions of state and features."""
    settings: dict[str, object] = {
        "alpha": drift.alpha,
        "mode": drift.mode,
        "horizon": drift.horizon,
        "split": dict(drift.split),
        "tolerance": drift.tolerance,
        "lifetime": drift.lifetime,
    }
    if drift.cause_error != LEVEL:  # snapshots from before it could be set stay good
        settings["cause_error"] = drift.cause_error
    if drift.tolerance is not None:  # it held for candidate pairs alone, once
        settings["tolerated"] = "every stream"
    said = json.dumps([FORMAT, STATE, SCHEMA, identity.hex(), settings], sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()


def parts_of(fold: Fold, *, between: Callable[[], None]) -> list[Part]:
    """Return what changed since the last snapshot, as rows; `between` is called after each, to let others run."""
    found: list[Part] = []
    for (stream, epoch), known in sorted(fold.streams.items()):
        if not known.unsaved:
            continue
        monitor = known.monitor
        head = {
            "monitor": monitor.head_state(),
            "order": list(monitor.groups),
            "seen": {name: asdict(seen) for name, seen in known.seen.items()},
            "missing": {name: asdict(missing) for name, missing in known.missing.items()},
            # Who is killed now has not told readers of these, and they may never have another pair.
            "untold": list(known.changed),
            **_rest_of(known, WHOLE),
        }
        found.append(Part(stream, epoch, WHOLE, _packed(head)))
        # The first group's part is empty while it is the only one: with the second one it has a state of its own.
        for name in sorted((known.unsaved | set(monitor.groups[:1])) - {WHOLE}):
            found.append(Part(stream, epoch, name, _packed(_group_part(known, name))))
            between()
    contents = {"last_id": fold.last_id, "streams": _saved_streams(fold)}
    found.append(Part(*CONTENTS, WHOLE, _packed(contents)))
    return found


def _saved_streams(fold: Fold) -> list[list[object]]:
    """Return which streams' epochs a snapshot has parts of: those that have taken something in."""
    return [
        [stream, epoch] for (stream, epoch), known in sorted(fold.streams.items()) if known.monitor.groups
    ]


def mark_saved(fold: Fold) -> None:
    """Note that what changed has been saved."""
    for known in fold.streams.values():
        known.unsaved.clear()


def mark_unsaved(fold: Fold) -> None:
    """Note that nothing of this fold is in a snapshot."""
    for known in fold.streams.values():
        known.unsaved = {WHOLE, *known.monitor.groups}


def restored(saved: Saved, drift: Drift) -> Fold | None:
    """Return the fold that a snapshot is of; None where it cannot be read."""
    fold = Fold(drift)
    fold.last_id = saved.last_id
    try:
        for place, parts in saved.parts.items():
            if place != CONTENTS:
                fold.streams[place] = _stream(parts)
        _check_contents(saved, fold)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        log.debug("the snapshot of the fold cannot be read; the pairs are folded anew", exc_info=error)
        return None
    return fold


def _check_contents(saved: Saved, fold: Fold) -> None:
    """Raise ValueError where the parts are not those of this moment: some were lost, or another wrote the last pair."""
    contents = dict(saved.parts.get(CONTENTS, ()))
    if not contents:  # an older version wrote it
        if saved.last_id and not fold.streams:
            raise ValueError("the snapshot has no parts")
        return
    told = _unpacked(contents[WHOLE])
    if told != {"last_id": saved.last_id, "streams": _saved_streams(fold)}:
        raise ValueError("the snapshot's parts are not of one moment")


def mark_untold(fold: Fold, told: Set[tuple[str, int, str]]) -> None:
    """Have verdicts written anew that the ledger has lost: of (stream, epoch, group) that are not in `told`."""
    for (stream, epoch), known in fold.streams.items():
        for name in (WHOLE, *known.monitor.groups):
            if (stream, epoch, name) not in told:
                known.changed[name] = None


def _stream(parts: Iterable[tuple[str, bytes]]) -> StreamFold:
    by_name = dict(parts)
    head = _unpacked(by_name[WHOLE])
    parts_read = {name: _unpacked(by_name[name]) for name in head["order"]}
    # Parts written before groups had curves are the state alone.
    groups = [
        [name, part["state"] if part is not None and "state" in part else part]
        for name, part in parts_read.items()
    ]
    if len(groups) == 1:
        groups[0][1] = None  # the only group *is* the whole
    monitor = PairMonitor.from_state({**head["monitor"], "groups": groups})
    seen = {name: _seen(told) for name, told in head["seen"].items()}
    missing = {name: Missing(**told) for name, told in head.get("missing", {}).items()}
    curves = {WHOLE: _curve(head, MOST_POINTS, monitor.pairs)}
    ages = {WHOLE: _ages(head, seen.get(WHOLE), monitor.pairs)} if WHOLE in seen else {}
    for name, part in parts_read.items():
        pairs = monitor.brief(name).pairs
        curves[name] = _curve(part or {}, GROUP_POINTS, pairs)
        if name in seen:
            ages[name] = _ages(part or {}, seen[name], pairs)
    untold = dict.fromkeys(name for name in head.get("untold", ()) if name in parts_read or name == WHOLE)
    return StreamFold(monitor, seen=seen, changed=untold, curves=curves, ages=ages, missing=missing)


def _group_part(known: StreamFold, name: str) -> dict[str, object]:
    return {"state": known.monitor.group_state(name), **_rest_of(known, name)}


def _rest_of(known: StreamFold, name: str) -> dict[str, object]:
    """Return what is kept of a group, or of all pairs, beside the monitor's state."""
    curve, ages = known.curve(name), known.ages.get(name)
    kept: dict[str, object] = {"curve": curve.points, "stride": curve.stride}
    return kept if ages is None else {**kept, "ages": ages.to_dict()}


def _ages(told: dict[str, Any], seen: Seen | None, pairs: int) -> Ages:
    """Read the ages back; of an older snapshot the first and the last pair alone are known."""
    if "ages" in told:
        return Ages.from_dict(told["ages"])
    ages = Ages()
    if seen is not None:
        ages.pairs, ages.first, ages.last = pairs, seen.first[1], seen.last[1]
        ages.gap = (seen.last[1] - seen.first[1]) / max(1, pairs - 1)
    return ages


def _curve(told: dict[str, Any], most: int, pairs: int) -> Curve:
    """Read a curve back; in older snapshots groups have none, and points no time."""
    points = [
        (int(number), int(call), float(evidence), float(at[0]) if at and at[0] is not None else None)
        for number, call, evidence, *at in told.get("curve", ())
    ]
    return Curve(most, pairs, int(told.get("stride", 1)), points)


def _seen(told: dict[str, Any]) -> Seen:
    alarm, mark = told["alarm"], told.get("mark")  # older snapshots have no mark
    return Seen(
        told["control"],
        told["candidate"],
        first=tuple(told["first"]),
        last=tuple(told["last"]),
        alarm=None if alarm is None else tuple(alarm),
        mark=None if mark is None else (int(mark[0]), int(mark[1])),
    )


def _packed(state: dict[str, object] | None) -> bytes:
    text = json.dumps(state, separators=(",", ":")).encode()
    return hashlib.sha256(text).digest()[:8] + text


def readable(data: bytes) -> str:
    """Return a part's text, to look for words in. Raises ValueError for one that was cut off or changed."""
    return json.dumps(_unpacked(data), ensure_ascii=False)


def _unpacked(data: bytes) -> Any:
    """Read a part back. Raises ValueError for one that was cut off or changed."""
    text = bytes(data[8:])
    if hashlib.sha256(text).digest()[:8] != bytes(data[:8]):
        raise ValueError("a part of the snapshot is not what was written")
    return json.loads(text)
