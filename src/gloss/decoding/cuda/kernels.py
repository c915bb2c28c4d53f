"""Triton kernels of the fast path: what PyTorch would do in many launches, or not without copies.

Each is a function on tensors with its shapes in the docstring; each is tested against the same
thing written in PyTorch. Knows arrays only.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

__all__ = [
    "PROMPT_BLOCK",
    "add_norm",
    "gated_silu",
    "prompt_attention",
    "rotate_and_store",
    "row_maxima",
    "tree_attention",
    "trie_maxima",
]


PROMPT_BLOCK = 64
"""Rows of a prompt that one program attends with."""

_STRETCH = 256
_STRETCHES = 16
"""A row of logits is read in stretches of 256 columns, 16 at a time."""


def add_norm(
    hidden: torch.Tensor, update: torch.Tensor | None, weight: torch.Tensor, epsilon: float
) -> torch.Tensor:
    """RMSNorm of hidden + update, (rows, width); `hidden` is updated in place.

    `hidden` may be float32 beside a model of another type: sums then lose nothing to rounding.
    Otherwise rounds where transformers' LlamaRMSNorm does: sum, normalised value, product.
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
    inside = columns < width
    x = tl.load(hidden + row * width + columns, mask=inside, other=0.0)
    if HAS_UPDATE:
        x = x + tl.load(update + row * width + columns, mask=inside, other=0.0)
        tl.store(hidden + row * width + columns, x, mask=inside)
    wide = x.to(tl.float32)
    normed = wide * tl.rsqrt(tl.sum(wide * wide, 0) / width + epsilon)
    scale = tl.load(weight + columns, mask=inside, other=0.0)
    tl.store(out + row * width + columns, scale * normed.to(scale.dtype), mask=inside)


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
    inside = columns < width
    gate = tl.load(gate_up + row * 2 * width + columns, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(gate_up + row * 2 * width + width + columns, mask=inside, other=0.0)
    silu = (gate * tl.sigmoid(gate)).to(up.dtype)
    tl.store(out + row * width + columns, silu * up, mask=inside)


def rotate_and_store(
    qkv: torch.Tensor,
    rotary: torch.Tensor,
    positions: torch.Tensor,
    slots: torch.Tensor,
    places: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
) -> torch.Tensor:
    """Rotate queries and keys by their positions; put keys and values into the cache.

    qkv: (rows, query heads + 2 x key heads, head). rotary: (positions, 2, head / 2) float32,
    cosines then sines. positions, slots, places: (rows,) int64, the position of each row, and its
    slot and entry in the cache. keys, values: (slots, key heads, capacity, head), written in place.
    Returns the queries, (rows, query heads, head).
    """
    rows, heads, head = qkv.shape
    key_heads, capacity = keys.shape[1:3]
    queries = torch.empty((rows, heads - 2 * key_heads, head), dtype=qkv.dtype, device=qkv.device)
    _rotate_and_store[(rows,)](
        qkv,
        rotary,
        positions,
        slots,
        places,
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
    places,
    keys,
    values,
    queries,
    capacity,
    HEADS: tl.constexpr,
    KEY_HEADS: tl.constexpr,
    HALF: tl.constexpr,
    BLOCK: tl.constexpr,
):
    at = tl.program_id(0).to(tl.int64)
    QUERY_HEADS: tl.constexpr = HEADS - 2 * KEY_HEADS
    h = tl.arange(0, BLOCK)[:, None]
    half = tl.arange(0, HALF)[None, :]
    real = (h < HEADS) & (half < HALF)
    source = qkv + (at * HEADS + h) * 2 * HALF + half
    first = tl.load(source, mask=real, other=0.0)
    second = tl.load(source + HALF, mask=real, other=0.0)
    angle = rotary + tl.load(positions + at) * 2 * HALF + half
    # transformers multiplies in the model's type; so do we.
    cosine = tl.load(angle).to(first.dtype)
    sine = tl.load(angle + HALF).to(first.dtype)
    front = first * cosine - second * sine
    back = second * cosine + first * sine
    is_query = real & (h < QUERY_HEADS)
    target = queries + (at * QUERY_HEADS + h) * 2 * HALF + half
    tl.store(target, front, mask=is_query)
    tl.store(target + HALF, back, mask=is_query)
    slot, place = tl.load(slots + at), tl.load(places + at)
    k = h - QUERY_HEADS
    is_key = real & (k >= 0) & (k < KEY_HEADS)
    target = keys + ((slot * KEY_HEADS + k) * capacity + place) * 2 * HALF + half
    tl.store(target, front, mask=is_key)
    tl.store(target + HALF, back, mask=is_key)
    v = k - KEY_HEADS
    is_value = real & (v >= 0)
    target = values + ((slot * KEY_HEADS + v) * capacity + place) * 2 * HALF + half
    tl.store(target, first, mask=is_value)
    tl.store(target + HALF, second, mask=is_value)


def tree_attention(
    queries: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    lengths: torch.Tensor,
    steps: torch.Tensor,
    seen_by: torch.Tensor,
) -> torch.Tensor:
    """Each beam attends to its prompt and to its own ancestors; keys are read once for all beams.

    queries: (slots, beams, query heads, head). keys, values: (slots, key heads, capacity, head):
    first the prompt, then one run of `beams` entries a step. lengths: (slots,) of prompts; steps:
    (slots,) runs that are there, this step's included. seen_by: (slots, most steps * beams) int64,
    for each entry after the prompt a bit for every beam that descends from it.
    Returns (slots, beams, query heads, head).
    """
    slots, beams, query_heads, head = queries.shape
    key_heads, capacity = keys.shape[1:3]
    groups = query_heads // key_heads
    out = torch.empty_like(queries)
    _tree_attention[(slots, key_heads)](
        queries,
        keys,
        values,
        lengths,
        steps,
        seen_by,
        out,
        capacity,
        seen_by.shape[1],
        head**-0.5,
        BEAMS=beams,
        GROUPS=groups,
        HEAD=head,
        ROWS=max(16, triton.next_power_of_2(beams * groups)),
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
def _attend(top, mass, mixed, q, k, v, seen, scale, PRECISION: tl.constexpr):
    """One block of keys of an online softmax; `seen` says which row sees which key."""
    scores = tl.dot(q, tl.trans(k), input_precision=PRECISION) * scale
    scores = tl.where(seen, scores, -float("inf"))
    higher = tl.maximum(top, tl.max(scores, 1))
    # A row that has seen nothing yet would subtract infinity from itself.
    anchor = tl.where(higher == -float("inf"), 0.0, higher)
    weights = tl.exp(scores - anchor[:, None])
    shrink = tl.exp(top - anchor)
    mass = mass * shrink + tl.sum(weights, 1)
    mixed = mixed * shrink[:, None]
    mixed += tl.dot(weights.to(v.dtype), v, input_precision=PRECISION)
    return higher, mass, mixed


@triton.jit
def _tree_attention(
    queries,
    keys,
    values,
    lengths,
    steps,
    seen_by,
    out,
    capacity,
    entries,
    scale,
    BEAMS: tl.constexpr,
    GROUPS: tl.constexpr,
    HEAD: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
    PRECISION: tl.constexpr,
):
    slot = tl.program_id(0).to(tl.int64)
    h = tl.program_id(1)
    key_heads = tl.num_programs(1)
    row = tl.arange(0, ROWS)
    beam = row // GROUPS
    real = row < BEAMS * GROUPS
    column = tl.arange(0, HEAD)
    entry = tl.arange(0, BLOCK)
    length = tl.load(lengths + slot)
    grown = tl.load(steps + slot) * BEAMS
    places = ((slot * BEAMS + beam) * key_heads + h) * GROUPS + row % GROUPS
    q = tl.load(queries + places[:, None] * HEAD + column, mask=real[:, None], other=0.0)
    base = (slot * key_heads + h) * capacity
    top = tl.full([ROWS], -float("inf"), tl.float32)
    mass = tl.zeros([ROWS], tl.float32)
    mixed = tl.zeros([ROWS, HEAD], tl.float32)
    for start in range(0, length, BLOCK):
        there = start + entry < length
        at = (base + start + entry)[:, None] * HEAD + column
        k = tl.load(keys + at, mask=there[:, None], other=0.0)
        v = tl.load(values + at, mask=there[:, None], other=0.0)
        top, mass, mixed = _attend(top, mass, mixed, q, k, v, there[None, :], scale, PRECISION)
    for start in range(0, grown, BLOCK):
        there = start + entry < grown
        at = (base + length + start + entry)[:, None] * HEAD + column
        k = tl.load(keys + at, mask=there[:, None], other=0.0)
        v = tl.load(values + at, mask=there[:, None], other=0.0)
        bits = tl.load(seen_by + slot * entries + start + entry, mask=there, other=0)
        seen = ((bits[None, :] >> beam[:, None]) & 1) == 1
        top, mass, mixed = _attend(top, mass, mixed, q, k, v, seen, scale, PRECISION)
    mixed = mixed / tl.where(mass == 0.0, 1.0, mass)[:, None]
    tl.store(out + places[:, None] * HEAD + column, mixed.to(q.dtype), mask=real[:, None])


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
    count = tl.load(block + 2)
    place = tl.load(block + 3)
    row = tl.arange(0, ROWS)
    column = tl.arange(0, HEAD)
    entry = tl.arange(0, BLOCK)
    real = row < count
    places = ((tl.load(block + 1) + row) * query_heads + h)[:, None] * HEAD + column
    q = tl.load(queries + places, mask=real[:, None], other=0.0)
    base = (slot * KEY_HEADS + h // (query_heads // KEY_HEADS)) * capacity
    top = tl.full([ROWS], -float("inf"), tl.float32)
    mass = tl.zeros([ROWS], tl.float32)
    mixed = tl.zeros([ROWS, HEAD], tl.float32)
    for start in range(0, place + count, BLOCK):
        there = start + entry < place + count
        at = (base + start + entry)[:, None] * HEAD + column
        k = tl.load(keys + at, mask=there[:, None], other=0.0)
        v = tl.load(values + at, mask=there[:, None], other=0.0)
        seen = (start + entry)[None, :] <= (place + row)[:, None]
        top, mass, mixed = _attend(top, mass, mixed, q, k, v, seen, scale, PRECISION)
    mixed = mixed / mass[:, None]
    tl.store(out + places, mixed.to(q.dtype), mask=real[:, None])


def row_maxima(logits: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The log-sum-exp (rows,) and the `count` largest of each row of logits (rows, vocabulary).

    Also returns the largest logits and their columns, (rows, count), largest first; with count 0
    both are empty. Logits are read once: the largest `count` lie in the `count` stretches of the
    row whose own peaks are largest, and only those are looked at again.
    """
    rows, vocabulary = logits.shape
    stretches = triton.cdiv(vocabulary, _STRETCH)
    peaks = torch.empty((rows, stretches), device=logits.device)
    sums = torch.empty_like(peaks)
    grid = (rows, triton.cdiv(stretches, _STRETCHES))
    _stretch_peaks[grid](
        logits, peaks, sums, vocabulary, stretches, STRETCHES=_STRETCHES, STRETCH=_STRETCH
    )
    total = torch.logsumexp(peaks + sums.log(), dim=1)
    chosen = peaks.topk(min(count, stretches), dim=1).indices
    lane = torch.arange(_STRETCH, device=logits.device)
    columns = (chosen[:, :, None] * _STRETCH + lane).view(rows, -1)
    values = logits.gather(1, columns.clamp_max(vocabulary - 1)).float()
    values = values.masked_fill(columns >= vocabulary, -torch.inf)
    best, order = values.topk(count, dim=1)
    return total, best, columns.gather(1, order)


@triton.jit
def _stretch_peaks(
    logits, peaks, sums, vocabulary, stretches, STRETCHES: tl.constexpr, STRETCH: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64)
    stretch = tl.program_id(1) * STRETCHES + tl.arange(0, STRETCHES)
    column = stretch[:, None] * STRETCH + tl.arange(0, STRETCH)[None, :]
    x = tl.load(logits + row * vocabulary + column, mask=column < vocabulary, other=-float("inf"))
    x = x.to(tl.float32)
    peak = tl.max(x, 1)
    there = stretch < stretches
    mass = tl.sum(tl.exp(x - tl.where(there, peak, 0.0)[:, None]), 1)
    tl.store(peaks + row * stretches + stretch, peak, mask=there)
    tl.store(sums + row * stretches + stretch, mass, mask=there)


def trie_maxima(
    logits: torch.Tensor,
    nodes: torch.Tensor,
    starts: torch.Tensor,
    tokens: torch.Tensor,
    count: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The `count` largest logits among those that may follow each row's node of a trie.

    logits: (rows, vocabulary); nodes: (rows,); starts, tokens: see `TitleTrie`. Returns the logits
    (rows, count), -inf where there are fewer, and their edges.
    """
    rows, vocabulary = logits.shape
    best = torch.empty((rows, count), device=logits.device)
    edges = torch.empty((rows, count), dtype=torch.int64, device=logits.device)
    _trie_maxima[(rows,)](
        logits, nodes, starts, tokens, best, edges, vocabulary, COUNT=count, BLOCK=128, num_warps=1
    )
    return best, edges


@triton.jit
def _trie_maxima(
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
    last = tl.load(starts + node + 1)
    lane = tl.arange(0, BLOCK)
    # Each pass finds the best edge that comes after the one found before: by logit, then by edge.
    bound = float("inf")
    bound_edge = first - 1
    for place in range(COUNT):
        peak = -float("inf")
        chosen = first
        for start in range(first, last, BLOCK):
            edge = start + lane
            there = edge < last
            token = tl.load(tokens + edge, mask=there, other=0)
            x = tl.load(logits + row * vocabulary + token, mask=there, other=-float("inf"))
            x = x.to(tl.float32)
            left = (x < bound) | ((x == bound) & (edge > bound_edge))
            x = tl.where(there & left, x, -float("inf"))
            highest, index = tl.max(x, 0, return_indices=True)
            chosen = tl.where(highest > peak, start + index, chosen)
            peak = tl.maximum(highest, peak)
        tl.store(best + row * COUNT + place, peak)
        tl.store(edges + row * COUNT + place, chosen)
        bound = peak
        bound_edge = chosen
