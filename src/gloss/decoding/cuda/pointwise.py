"""Triton kernels of a layer beside products and attention: norm, gate, rotary embedding.

Each does in one launch, reading its input once, what PyTorch does in several. Shapes stand in the
docstrings; each is tested against the same thing written in PyTorch. Knows arrays only.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

__all__ = ["add_norm", "gated_silu", "rotate_and_store"]


def add_norm(
    hidden: torch.Tensor, update: torch.Tensor | None, weight: torch.Tensor, epsilon: float
) -> torch.Tensor:
    """RMSNorm of `x = hidden + update`, (rows, width): `weight * x / sqrt(mean(x^2) + epsilon)`.

    `hidden` becomes x, in place. It may be float32 beside a model of another type: sums then lose
    nothing to rounding. Otherwise rounds where transformers' LlamaRMSNorm does: sum, normalised
    value, product. One program a row.
    """
    rows, width = hidden.shape
    out = torch.empty((rows, width), dtype=weight.dtype, device=hidden.device)
    _add_norm[(rows,)](
        hidden,
        hidden if update is None else update,
        weight,
        out,
        width,
        epsilon,
        HAS_UPDATE=update is not None,
        BLOCK=triton.next_power_of_2(width),
        num_warps=8,
    )
    return out


@triton.jit
def _add_norm(
    hidden, update, weight, out, width, epsilon, HAS_UPDATE: tl.constexpr, BLOCK: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    in_row = columns < width
    x = tl.load(hidden + row * width + columns, mask=in_row, other=0.0)
    if HAS_UPDATE:
        x = x + tl.load(update + row * width + columns, mask=in_row, other=0.0)
        tl.store(hidden + row * width + columns, x, mask=in_row)
    x32 = x.to(tl.float32)
    normed = x32 * tl.rsqrt(tl.sum(x32 * x32, 0) / width + epsilon)
    scale = tl.load(weight + columns, mask=in_row, other=0.0)
    tl.store(out + row * width + columns, scale * normed.to(scale.dtype), mask=in_row)


def gated_silu(gate_up: torch.Tensor) -> torch.Tensor:
    """silu(gate) * up for gate_up (rows, 2 * width), gate first: (rows, width)."""
    rows, double = gate_up.shape
    width = double // 2
    out = torch.empty((rows, width), dtype=gate_up.dtype, device=gate_up.device)
    block = min(1024, triton.next_power_of_2(width))
    _gated_silu[(rows, triton.cdiv(width, block))](gate_up, out, width, BLOCK=block)
    return out


@triton.jit
def _gated_silu(gate_up, out, width, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    in_row = columns < width
    gate = tl.load(gate_up + row * 2 * width + columns, mask=in_row, other=0.0).to(tl.float32)
    up = tl.load(gate_up + row * 2 * width + width + columns, mask=in_row, other=0.0)
    silu = (gate * tl.sigmoid(gate)).to(up.dtype)
    tl.store(out + row * width + columns, silu * up, mask=in_row)


def rotate_and_store(
    qkv: torch.Tensor,
    rotary: torch.Tensor,
    positions: torch.Tensor,
    slots: torch.Tensor,
    entries: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
) -> torch.Tensor:
    """Rotate queries and keys by their positions; put keys and values into the cache.

    qkv: (rows, query heads + 2 x key heads, head). rotary: (positions, 2, head / 2) float32,
    cosines then sines. positions, slots, entries: (rows,) int64, the position of each row, and its
    slot and entry in the cache. keys, values: (slots, key heads, capacity, head), written in place.
    Returns the queries, (rows, query heads, head).

    A head is two halves (a, b): `(a, b) -> (a cos - b sin, b cos + a sin)` (Su et al. 2021). One
    program a row: its heads come in the order queries, keys, values.
    """
    rows, heads, head = qkv.shape
    key_heads, capacity = keys.shape[1:3]
    queries = torch.empty((rows, heads - 2 * key_heads, head), dtype=qkv.dtype, device=qkv.device)
    _rotate_and_store[(rows,)](
        qkv,
        rotary,
        positions,
        slots,
        entries,
        keys,
        values,
        queries,
        capacity,
        HEADS=heads,
        KEY_HEADS=key_heads,
        HALF=head // 2,
        BLOCK=triton.next_power_of_2(heads),
        num_warps=4,
    )
    return queries


@triton.jit
def _rotate_and_store(
    qkv,
    rotary,
    positions,
    slots,
    entries,
    keys,
    values,
    queries,
    capacity,
    HEADS: tl.constexpr,
    KEY_HEADS: tl.constexpr,
    HALF: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    QUERY_HEADS: tl.constexpr = HEADS - 2 * KEY_HEADS
    h = tl.arange(0, BLOCK)[:, None]
    half = tl.arange(0, HALF)[None, :]
    in_qkv = (h < HEADS) & (half < HALF)  # (BLOCK, HALF)
    source = qkv + (row * HEADS + h) * 2 * HALF + half
    a = tl.load(source, mask=in_qkv, other=0.0)
    b = tl.load(source + HALF, mask=in_qkv, other=0.0)
    angle = rotary + tl.load(positions + row) * 2 * HALF + half
    # transformers multiplies in the model's type; so do we.
    cos = tl.load(angle).to(a.dtype)
    sin = tl.load(angle + HALF).to(a.dtype)
    rotated_a = a * cos - b * sin
    rotated_b = b * cos + a * sin
    is_query = in_qkv & (h < QUERY_HEADS)
    target = queries + (row * QUERY_HEADS + h) * 2 * HALF + half
    tl.store(target, rotated_a, mask=is_query)
    tl.store(target + HALF, rotated_b, mask=is_query)
    slot, entry = tl.load(slots + row), tl.load(entries + row)
    k = h - QUERY_HEADS
    is_key = in_qkv & (k >= 0) & (k < KEY_HEADS)
    target = keys + ((slot * KEY_HEADS + k) * capacity + entry) * 2 * HALF + half
    tl.store(target, rotated_a, mask=is_key)
    tl.store(target + HALF, rotated_b, mask=is_key)
    v = k - KEY_HEADS
    is_value = in_qkv & (v >= 0)
    target = values + ((slot * KEY_HEADS + v) * capacity + entry) * 2 * HALF + half
    tl.store(target, a, mask=is_value)  # values are not rotated
    tl.store(target + HALF, b, mask=is_value)
