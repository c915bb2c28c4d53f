"""Triton kernels of the fast path: what PyTorch would do in many launches, or not without copies.

Each is a function on tensors with its shapes in the docstring, and tested against the same thing
written in PyTorch. Knows arrays, and a trie as arrays, only.

Attention is that of FlashAttention (Dao et al. 2022): scores are never stored; blocks of keys pass
by, and a running maximum, sum and output (`row_max`, `row_sum`, `acc`) are rescaled as the maximum
rises (the online softmax of Milakov and Gimelshein 2018). The names are those of its code.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from gloss.decoding.title_trie import TitleTrie

__all__ = [
    "PROMPT_BLOCK",
    "add_norm",
    "gated_silu",
    "prompt_attention",
    "rotate_and_store",
    "row_topk",
    "tree_attention",
    "trie_topk",
]


PROMPT_BLOCK = 64
"""Rows of a prompt that one program attends with."""

_STRETCH = 256
"""Columns of a row of logits whose maximum stands for them."""
_STRETCHES_A_PROGRAM = 16


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


def row_topk(logits: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """See `Slots._row_topk`: log-sum-exp, largest logits and their columns.

    Logits are read once. The kernel leaves for every stretch of columns its maximum m and the sum
    s of exp(logit - m): the log-sum-exp of the row is that of m + log(s), and the `count` largest
    logits lie in the `count` stretches of the largest maxima (see `cpu/topk.py` for an example);
    only these are searched.
    """
    rows, vocabulary = logits.shape
    stretches = triton.cdiv(vocabulary, _STRETCH)
    maxima = torch.empty((rows, stretches), device=logits.device)
    sums = torch.empty_like(maxima)
    grid = (rows, triton.cdiv(stretches, _STRETCHES_A_PROGRAM))
    _stretch_maxima[grid](
        logits,
        maxima,
        sums,
        vocabulary,
        stretches,
        STRETCHES=_STRETCHES_A_PROGRAM,
        STRETCH=_STRETCH,
    )
    log_sums = torch.logsumexp(maxima + sums.log(), dim=1)  # (rows,)
    chosen = maxima.topk(min(count, stretches), dim=1).indices  # (rows, count)
    lane = torch.arange(_STRETCH, device=logits.device)
    columns = (chosen[:, :, None] * _STRETCH + lane).view(rows, -1)  # (rows, count * _STRETCH)
    values = logits.gather(1, columns.clamp_max(vocabulary - 1)).float()
    values = values.masked_fill(columns >= vocabulary, -torch.inf)
    best, order = values.topk(count, dim=1)
    return log_sums, best, columns.gather(1, order)


@triton.jit
def _stretch_maxima(
    logits, maxima, sums, vocabulary, stretches, STRETCHES: tl.constexpr, STRETCH: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64)
    stretch = tl.program_id(1) * STRETCHES + tl.arange(0, STRETCHES)
    column = stretch[:, None] * STRETCH + tl.arange(0, STRETCH)[None, :]  # (STRETCHES, STRETCH)
    x = tl.load(logits + row * vocabulary + column, mask=column < vocabulary, other=-float("inf"))
    x = x.to(tl.float32)
    maximum = tl.max(x, 1)
    in_row = stretch < stretches
    # A stretch beyond the row is all -inf, which must not be subtracted from itself.
    row_sum = tl.sum(tl.exp(x - tl.where(in_row, maximum, 0.0)[:, None]), 1)
    tl.store(maxima + row * stretches + stretch, maximum, mask=in_row)
    tl.store(sums + row * stretches + stretch, row_sum, mask=in_row)


def trie_topk(
    logits: torch.Tensor, nodes: torch.Tensor, trie: TitleTrie, count: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """See `Slots._trie_topk`: largest logits inside the trie and their edges, (rows, count).

    One program a row walks over the edges of the row's node `count` times, each time for the next
    best. Most nodes have few edges; a table as wide as the most, as on a CPU, would need a look at
    the values, which a CUDA graph cannot take.
    """
    rows, vocabulary = logits.shape
    best = torch.empty((rows, count), device=logits.device)
    edges = torch.empty((rows, count), dtype=torch.int64, device=logits.device)
    _trie_topk[(rows,)](
        logits,
        nodes,
        trie.starts,
        trie.tokens,
        best,
        edges,
        vocabulary,
        COUNT=count,
        BLOCK=128,
        num_warps=1,
    )
    # Where nothing follows, the kernel names the edge after the node's last: there may be none.
    return best, edges.clamp_max(len(trie.tokens) - 1)


@triton.jit
def _trie_topk(
    logits,
    nodes,
    starts,
    tokens,
    best,
    edges,
    vocabulary,
    COUNT: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    node = tl.load(nodes + row)
    first = tl.load(starts + node)
    end = tl.load(starts + node + 1)
    lane = tl.arange(0, BLOCK)
    # Each pass finds the best edge that comes after the last one found: by logit, then by edge.
    last_logit = float("inf")
    last_edge = first - 1
    for rank in range(COUNT):
        maximum = -float("inf")
        chosen = first
        for start in range(first, end, BLOCK):
            edge = start + lane
            of_node = edge < end
            token = tl.load(tokens + edge, mask=of_node, other=0)
            x = tl.load(logits + row * vocabulary + token, mask=of_node, other=-float("inf"))
            x = x.to(tl.float32)
            comes_later = (x < last_logit) | ((x == last_logit) & (edge > last_edge))
            x = tl.where(of_node & comes_later, x, -float("inf"))
            block_max, index = tl.max(x, 0, return_indices=True)
            chosen = tl.where(block_max > maximum, start + index, chosen)
            maximum = tl.maximum(block_max, maximum)
        tl.store(best + row * COUNT + rank, maximum)
        tl.store(edges + row * COUNT + rank, chosen)
        last_logit = maximum
        last_edge = chosen
