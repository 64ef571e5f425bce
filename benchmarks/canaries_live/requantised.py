"""The same model in a coarser quantisation: its Q4_1 blocks, rounded to what Q4_0 can say.

A block of 32 weights is a scale, a minimum and 32 numbers of four bits: w = scale * q + minimum. Q4_0 has no minimum: its
weights are scale * (q - 8). So a block whose minimum is -8 scales says what Q4_0 would, in the place Q4_1 takes, and the
file keeps its layout. https://github.com/ggml-org/ggml/blob/master/src/ggml-quants.c
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

HEAD, WEIGHTS = 4, 32
"""bytes of scale and minimum (two halves), weights of a block"""


def requantise(source: Path, aim: Path) -> int:
    """Write `source` to `aim` with the weights of its Q4_1 tensors as Q4_0 has them; returns how many tensors."""
    import gguf

    shutil.copyfile(source, aim)
    aim.chmod(0o600)
    done = 0
    for tensor in gguf.GGUFReader(aim, "r+").tensors:
        if tensor.tensor_type == gguf.GGMLQuantizationType.Q4_1:
            blocks = tensor.data.reshape(-1, HEAD + WEIGHTS // 2)
            blocks[:] = coarser(blocks)
            done += 1
    return done


def coarser(
    blocks: np.ndarray[tuple[int, int], np.dtype[np.uint8]],
) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """Return blocks of Q4_1 that say what Q4_0 would; (blocks, 20) bytes each."""
    head = blocks[:, :HEAD].copy().view(np.float16).astype(np.float32)
    packed = blocks[:, HEAD:]
    numbers = np.concatenate([packed & 0x0F, packed >> 4], axis=1)
    weights = head[:, :1] * numbers + head[:, 1:]
    furthest = np.take_along_axis(weights, np.abs(weights).argmax(axis=1)[:, None], axis=1)
    scale = (furthest / -8).astype(np.float16)
    steps = np.divide(weights, scale, out=np.zeros_like(weights), where=scale != 0)
    rounded = np.clip(np.floor(steps + 8.5), 0, 15).astype(np.uint8)
    head_anew = np.concatenate([scale, (-8 * scale.astype(np.float32)).astype(np.float16)], axis=1)
    half = WEIGHTS // 2
    return np.concatenate([head_anew.view(np.uint8), rounded[:, :half] | rounded[:, half:] << 4], axis=1)
