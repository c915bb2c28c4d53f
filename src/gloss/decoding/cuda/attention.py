"""Triton kernels for attention: of the beams' tree to the cache, and of new prompts to themselves.

Both are FlashAttention (Dao et al. 2022): scores are never stored; blocks of keys pass by, and a
running maximum, sum and output (`row_max`, `row_sum`, `acc`) are rescaled as the maximum rises (the
online softmax of Milakov and Gimelshein 2018). The names are those of its code. Knows arrays only.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

__all__ = ["PROMPT_BLOCK", "prompt_attention", "tree_attention"]

PROMPT_BLOCK = 64
"""Rows of a prompt that one program attends with."""


def tree_attention(
    queries: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    lengths: torch.Tensor,
    steps: torch.Tensor,
    descendants: torch.Tensor,
) -> torch.Tensor:
    """Each beam attends to its prompt and to its ancestors; keys are read once for all beams.

    `out_b = Σ_e softmax_e(q_b · k_e / sqrt(head)) v_e`, e over the prompt's entries and over those
    entries of later steps from which beam b descends: the tree attention of SpecInfer (Miao et al.
    2024) and Medusa (Cai et al. 2024), for the beams of a beam search instead of guesses.

    queries: (slots, beams, query heads, head). keys, values: (slots, key heads, capacity, head):
    first the prompt, then one run of `beams` entries a step. lengths: (slots,) of prompts; steps:
    (slots,) runs that are there, this step's included. descendants: (slots, most steps * beams)
    int64, see `lineage.descendant_bits`. Returns (slots, beams, query heads, head).

    One program for each slot and key head. Its rows are all queries that read these keys: the
    beams, and for each the query heads of the group.
    """
    slots, beams, query_heads, head = queries.shape
    key_heads, capacity = keys.shape[1:3]
    group = query_heads // key_heads
    out = torch.empty_like(queries)
    _tree_attention[(slots, key_heads)](
        queries,
        keys,
        values,
        lengths,
        steps,
        descendants,
        out,
        capacity,
        descendants.shape[1],
        head**-0.5,
        BEAMS=beams,
        GROUP=group,
        HEAD=head,
        ROWS=max(16, triton.next_power_of_2(beams * group)),
        BLOCK=64,
        PRECISION=_precision(queries),
        num_warps=4,
        num_stages=2,
    )
    return out


def prompt_attention(
    queries: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    blocks: torch.Tensor,
) -> torch.Tensor:
    """Causal attention of new prompt tokens, packed without padding, to all before them.

    queries: (rows, query heads, head). keys, values: (slots, key heads, capacity, head), the new
    tokens' own included. blocks: (blocks, 4) int64, each at most `PROMPT_BLOCK` rows of one user:
    slot, first row, number of rows, entry of the first row. Returns (rows, query heads, head).
    """
    _, query_heads, head = queries.shape
    key_heads, capacity = keys.shape[1:3]
    out = torch.empty_like(queries)
    _prompt_attention[(len(blocks), query_heads)](
        queries,
        keys,
        values,
        blocks,
        out,
        capacity,
        head**-0.5,
        KEY_HEADS=key_heads,
        HEAD=head,
        ROWS=PROMPT_BLOCK,
        BLOCK=64,
        PRECISION=_precision(queries),
        num_warps=4,
        num_stages=2,
    )
    return out


def _precision(queries: torch.Tensor) -> str:
    """How float32 is multiplied: exactly. Other types have only one way."""
    return "ieee" if queries.dtype == torch.float32 else "tf32"


@triton.jit
def _attend(row_max, row_sum, acc, q, k, v, mask, scale, PRECISION: tl.constexpr):
    """Take one block of keys into an online softmax; `mask`: which row attends to which key.

    After all blocks acc / row_sum is the output: row_sum and acc are the sums of exp(score) and of
    exp(score) * v, both divided by exp(row_max), the largest score so far, to stay within range.
    Shapes: row_max, row_sum (ROWS,); acc, q (ROWS, HEAD); k, v (BLOCK, HEAD).
    """
    scores = tl.dot(q, tl.trans(k), input_precision=PRECISION) * scale  # (ROWS, BLOCK)
    scores = tl.where(mask, scores, -float("inf"))
    new_max = tl.maximum(row_max, tl.max(scores, 1))
    # A row that attends to no key yet would subtract infinity from itself.
    finite_max = tl.where(new_max == -float("inf"), 0.0, new_max)
    p = tl.exp(scores - finite_max[:, None])
    rescale = tl.exp(row_max - finite_max)  # what is summed up so far stands under the old maximum
    row_sum = row_sum * rescale + tl.sum(p, 1)
    acc = acc * rescale[:, None]
    acc += tl.dot(p.to(v.dtype), v, input_precision=PRECISION)
    return new_max, row_sum, acc


@triton.jit
def _tree_attention(
    queries,
    keys,
    values,
    lengths,
    steps,
    descendants,
    out,
    capacity,
    most_grown,
    scale,
    BEAMS: tl.constexpr,
    GROUP: tl.constexpr,
    HEAD: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
    PRECISION: tl.constexpr,
):
    slot = tl.program_id(0).to(tl.int64)
    h = tl.program_id(1)
    key_heads = tl.num_programs(1)
    # Row r is query head r % GROUP (of this key head's) of beam r // GROUP.
    row = tl.arange(0, ROWS)
    beam = row // GROUP
    is_query = row < BEAMS * GROUP
    column = tl.arange(0, HEAD)
    lane = tl.arange(0, BLOCK)
    length = tl.load(lengths + slot)
    grown = tl.load(steps + slot) * BEAMS  # entries after the prompt
    query = ((slot * BEAMS + beam) * key_heads + h) * GROUP + row % GROUP
    q = tl.load(queries + query[:, None] * HEAD + column, mask=is_query[:, None], other=0.0)
    first = (slot * key_heads + h) * capacity
    row_max = tl.full([ROWS], -float("inf"), tl.float32)
    row_sum = tl.zeros([ROWS], tl.float32)
    acc = tl.zeros([ROWS, HEAD], tl.float32)
    # Every beam attends to the whole prompt.
    for start in range(0, length, BLOCK):
        held = start + lane < length
        offset = (first + start + lane)[:, None] * HEAD + column
        k = tl.load(keys + offset, mask=held[:, None], other=0.0)
        v = tl.load(values + offset, mask=held[:, None], other=0.0)
        row_max, row_sum, acc = _attend(
            row_max, row_sum, acc, q, k, v, held[None, :], scale, PRECISION
        )
    # After it a beam attends to the entries that have its bit.
    for start in range(0, grown, BLOCK):
        held = start + lane < grown
        offset = (first + length + start + lane)[:, None] * HEAD + column
        k = tl.load(keys + offset, mask=held[:, None], other=0.0)
        v = tl.load(values + offset, mask=held[:, None], other=0.0)
        bits = tl.load(descendants + slot * most_grown + start + lane, mask=held, other=0)
        descends = ((bits[None, :] >> beam[:, None]) & 1) == 1
        row_max, row_sum, acc = _attend(row_max, row_sum, acc, q, k, v, descends, scale, PRECISION)
    acc = acc / tl.where(row_sum == 0.0, 1.0, row_sum)[:, None]
    tl.store(out + query[:, None] * HEAD + column, acc.to(q.dtype), mask=is_query[:, None])


@triton.jit
def _prompt_attention(
    queries,
    keys,
    values,
    blocks,
    out,
    capacity,
    scale,
    KEY_HEADS: tl.constexpr,
    HEAD: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
    PRECISION: tl.constexpr,
):
    h = tl.program_id(1)
    query_heads = tl.num_programs(1)
    block = blocks + tl.program_id(0) * 4
    slot = tl.load(block)
    first_row = tl.load(block + 1)
    count = tl.load(block + 2)
    entry = tl.load(block + 3)
    row = tl.arange(0, ROWS)
    column = tl.arange(0, HEAD)
    lane = tl.arange(0, BLOCK)
    is_query = row < count
    query = ((first_row + row) * query_heads + h)[:, None] * HEAD + column
    q = tl.load(queries + query, mask=is_query[:, None], other=0.0)
    first = (slot * KEY_HEADS + h // (query_heads // KEY_HEADS)) * capacity
    row_max = tl.full([ROWS], -float("inf"), tl.float32)
    row_sum = tl.zeros([ROWS], tl.float32)
    acc = tl.zeros([ROWS, HEAD], tl.float32)
    for start in range(0, entry + count, BLOCK):
        held = start + lane < entry + count
        offset = (first + start + lane)[:, None] * HEAD + column
        k = tl.load(keys + offset, mask=held[:, None], other=0.0)
        v = tl.load(values + offset, mask=held[:, None], other=0.0)
        causal = (start + lane)[None, :] <= (entry + row)[:, None]
        row_max, row_sum, acc = _attend(row_max, row_sum, acc, q, k, v, causal, scale, PRECISION)
    acc = acc / row_sum[:, None]
    tl.store(out + query, acc.to(q.dtype), mask=is_query[:, None])
