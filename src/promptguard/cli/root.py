"""What stands before every command: the options of `promptguard` itself."""

from __future__ import annotations

from typing import Annotated

import typer


def run(
    version: Annotated[bool, typer.Option("--version", "-V", help="print the version and exit")] = False,
) -> None:
    """Notice when the model behind a prompt changes, before the product breaks."""
