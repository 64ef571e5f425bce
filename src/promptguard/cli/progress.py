"""A progress bar over a large file of pairs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from promptguard.report.pairs_file import PairLine, PairsFile

_LARGE = 4_000_000


@contextmanager
def reading(pairs: PairsFile) -> Iterator[Iterator[PairLine]]:
    """Yield the pairs, with a progress bar on standard error when the file is large and a person is there."""
    if pairs.size < _LARGE or not sys.stderr.isatty():
        yield iter(pairs)
        return
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("reading pairs", total=pairs.size)

        def counted() -> Iterator[PairLine]:
            for number, pair in enumerate(pairs):
                if not number % 100:
                    progress.update(task, completed=pairs.read_bytes())
                yield pair

        yield counted()
