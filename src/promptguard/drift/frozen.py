"""State as JSON and back, bit for bit: arrays travel as their bytes, so no digit is lost."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np


def freeze(value: Any) -> Any:
    """Return `value` with every array replaced by a JSON object that holds its type, shape and bytes."""
    if isinstance(value, np.ndarray):
        plain = np.ascontiguousarray(value)
        return {
            "dtype": plain.dtype.newbyteorder("<").str,
            "shape": list(plain.shape),
            "base64": base64.b64encode(plain.astype(plain.dtype.newbyteorder("<")).tobytes()).decode(),
        }
    if isinstance(value, dict):
        return {key: freeze(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [freeze(inner) for inner in value]
    return value


def thaw(value: Any) -> Any:
    """Undo `freeze`. ValueError for bytes that do not fit their shape."""
    if isinstance(value, dict):
        if value.keys() == {"dtype", "shape", "base64"}:
            data = base64.b64decode(value["base64"], validate=True)
            array = np.frombuffer(data, dtype=np.dtype(value["dtype"])).reshape(value["shape"])
            return array.astype(array.dtype.newbyteorder("="))
        return {key: thaw(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [thaw(inner) for inner in value]
    return value
