"""State as JSON and back, bit for bit: arrays travel as their bytes, so no digit is lost."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import numpy as np

_LARGEST = 1 << 24
_QUICKLY = 1
"""level of compression: most arrays are short, and what is long in a state is compressed already"""
_ARRAY, _BYTES = {"dtype", "shape", "zlib"}, {"base64"}


def freeze(value: Any) -> Any:
    """Return `value` with arrays and bytes replaced by JSON objects that hold their type, shape and bytes."""
    if isinstance(value, np.ndarray):
        plain = np.ascontiguousarray(value)
        little = plain.astype(plain.dtype.newbyteorder("<"))
        return {
            "dtype": little.dtype.str,
            "shape": list(plain.shape),
            "zlib": base64.b64encode(zlib.compress(little.tobytes(), _QUICKLY)).decode(),
        }
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {key: freeze(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [freeze(inner) for inner in value]
    return value


def thaw(value: Any) -> Any:
    """Undo `freeze`. ValueError for bytes that do not fit their shape."""
    if isinstance(value, dict):
        if value.keys() == _ARRAY:
            return _array(value)
        if value.keys() == _BYTES:
            return base64.b64decode(value["base64"], validate=True)
        return {key: thaw(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [thaw(inner) for inner in value]
    return value


def _array(value: dict[str, Any]) -> Any:
    packed = base64.b64decode(value["zlib"], validate=True)
    try:
        data = zlib.decompressobj().decompress(packed, _LARGEST)
    except zlib.error as error:
        raise ValueError(f"state holds an array that cannot be read: {error}") from None
    array = np.frombuffer(data, dtype=np.dtype(value["dtype"])).reshape(value["shape"])
    return array.astype(array.dtype.newbyteorder("="))
