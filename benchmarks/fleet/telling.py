"""How figures are printed: what, the figure, and the target beside it."""


def told(what: str, figure: str, target: str = "") -> None:
    """Print one line of a table."""
    print(f"{what:<64} {figure:>16} {target}", flush=True)
