"""Token by token in one GPU kernel, and back in another, in Triton (`triton_kernels.py`).

    x = strength (value - S' erase)        S = S' + x key^T        S' = S Diag(exp decay)

The rows of S do not see each other. One program holds some rows of one head's S in registers from the first token to
the last. It differs from `chunkwise.py` in that no token waits for a launch, and no product runs on tensor cores.

For the backward pass S is kept at each chunk of tokens, and computed again inside one: memory is linear in time. No
decay is divided by. Gradients that are sums over all rows are added up by torch, without atomics: two runs agree to the
bit. Second derivatives, and many gradients at once, run the call again by `chunkwise.py`.
"""

from typing import Any

import torch
from torch import Tensor

from fastweights.ops import gpu
from fastweights.ops.cpu import limits
from fastweights.ops.fast_weights_scan import chunkwise, second_order
from fastweights.ops.fast_weights_scan.call import Call
from fastweights.ops.fast_weights_scan.step import first_of, one_by_one, pack, unpack
from fastweights.rules import ScanState

CHUNK = 32  # tokens, where nobody says
MOST_KEYS = 256
DTYPES = (torch.float32, torch.float64)
FORWARD, BACKWARD = 8 * 1024, 16 * 1024  # bytes of the rows that a program holds at most
THREAD = 64  # bytes of them that a thread holds


def why_not(call: Call) -> str | None:
    step, name = call.step, type(call.rule).__name__
    if step is None:
        return f"{name} has no fast form; the reference backend runs it"
    if step.reading is not None:
        return f"it reads a token once, and {name} reads it again and again"
    if step.momentum is not None:
        return f"it has no momentum, and {name} has"
    if call.queries.dtype not in DTYPES:
        return f"it has no kernel for {call.queries.dtype}, only for {', '.join(map(str, DTYPES))}"
    if step.key.shape[-1] > MOST_KEYS:
        return f"its kernels hold keys of at most {MOST_KEYS} numbers, got {step.key.shape[-1]}"
    return gpu.why_not(call.queries.device)


def run(call: Call) -> tuple[Tensor, ScanState]:
    step = call.step
    assert step is not None
    if 0 in step.query.shape[:2]:
        return chunkwise.run(call)
    state, chunk, many = pack(call.state, step), call.chunk or CHUNK, step.substeps
    resets, lengths = call.resets, call.lengths
    if many > 1:
        step = one_by_one(step)
        resets = None if resets is None else first_of(resets, many)
        lengths = None if lengths is None else lengths * many
    tied = step.erase is step.key
    tensors = (step.query, step.key, step.value, None if tied else step.erase, step.strength, step.decay, state)
    train = torch.is_grad_enabled() and any(each is not None and each.requires_grad for each in tensors)
    settings = (tied, step.undecayed_erase, step.transposed, chunk)
    outputs, last, _ = _forward(*tensors, lengths, resets, *settings, train)
    outputs = outputs if many == 1 else outputs[:, many - 1 :: many]
    if step.finish is not None:
        outputs = step.finish(outputs)
        outputs = outputs if call.valid is None else torch.where(call.valid[..., None, None], outputs, 0.0)
    return outputs, unpack(last, call.state, step)


def _kernels() -> Any:  # imports triton
    from fastweights.ops.fast_weights_scan import triton_kernels

    return triton_kernels


@torch.library.custom_op("fastweights::fast_weights_scan_triton", mutates_args=())
def _forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    erase: Tensor | None,
    strength: Tensor | None,
    decay: Tensor | None,
    state: Tensor,
    lengths: Tensor | None,
    resets: Tensor | None,
    tied: bool,
    undecayed: bool,
    transposed: bool,
    chunk: int,
    train: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs, the last memory, and the memories at each chunk, which the backward pass wants."""
    outputs, last, memories = _buffers(query, key, value, lengths, transposed, chunk, train)
    batch, time, heads, _ = key.shape
    shape, blocks, options = _shape(key, value, decay, undecayed, transposed, FORWARD)
    parts = outputs.new_zeros(blocks, *outputs.shape) if transposed else outputs
    tensors = _packed(query, key, value, key if tied else erase, strength, decay, state, lengths, resets)
    with torch.cuda.device_of(key):
        _kernels().forward[(batch * heads, blocks)](
            *tensors, parts, last, memories if train else None, time, heads, chunk, **shape, **options
        )
    return parts.sum(0) if transposed else outputs, last, memories


@_forward.register_fake
def _(query, key, value, erase, strength, decay, state, lengths, resets, tied, undecayed, transposed, chunk, train):
    return _buffers(query, key, value, lengths, transposed, chunk, train)


@torch.library.custom_op("fastweights::fast_weights_scan_triton_backward", mutates_args=())
def _backward(
    d_outputs: Tensor | None,
    d_last: Tensor | None,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    erase: Tensor | None,
    strength: Tensor | None,
    decay: Tensor | None,
    lengths: Tensor | None,
    resets: Tensor | None,
    memories: Tensor,
    tied: bool,
    undecayed: bool,
    transposed: bool,
    chunk: int,
) -> list[Tensor]:
    """The gradients of query, key, value, and memory before; then of those of erase, strength and decay that are."""
    batch, time, heads, keys = key.shape
    values = value.shape[-1]
    shape, blocks, options = _shape(key, value, decay, undecayed, transposed, BACKWARD)
    new = key.new_empty if lengths is None else key.new_zeros  # past the end of a sequence nothing is written

    def parts(like: Tensor | None) -> Tensor | None:
        return None if like is None else new(blocks, *like.shape)

    d_value, d_state = new(value.shape), key.new_empty(batch, heads, values, keys)
    d_query = new(query.shape) if transposed else parts(query)
    d_key, d_erase, d_strength, d_decay = (parts(each) for each in (key, erase, strength, decay))
    d_outputs = key.new_zeros(batch, time, heads, keys if transposed else values) if d_outputs is None else d_outputs
    d_last = torch.zeros_like(d_state) if d_last is None else d_last
    chunk = min(chunk, time)
    again = key.new_empty(batch, heads, chunk, values, keys)
    tensors = _packed(query, key, value, key if tied else erase, strength, decay, lengths, resets)
    with torch.cuda.device_of(key):
        _kernels().backward[(batch * heads, blocks)](
            *tensors, memories, *_packed(d_outputs, d_last), again,
            d_query, d_key, d_value, d_erase, d_strength, d_decay, d_state, time, heads, chunk,
            **shape, **options, TIED=tied,
        )  # fmt: skip
    summed = [None if each is None else each.sum(0) for each in (d_key, d_erase, d_strength, d_decay)]
    d_query = d_query if transposed or d_query is None else d_query.sum(0)
    return [each for each in (d_query, summed[0], d_value, d_state, *summed[1:]) if each is not None]


@_backward.register_fake
def _(
    d_outputs, d_last, query, key, value, erase, strength, decay, lengths, resets, memories,
    tied, undecayed, transposed, chunk,
):  # fmt: skip
    batch, _, heads, keys = key.shape
    d_state = key.new_empty(batch, heads, value.shape[-1], keys)
    return [
        each if each is d_state else each.new_empty(each.shape)
        for each in (query, key, value, d_state, erase, strength, decay)
        if each is not None
    ]


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    *tensors, tied, undecayed, transposed, chunk, _ = inputs
    ctx.settings = tied, undecayed, transposed, chunk
    ctx.save_for_backward(*tensors, output[2])
    ctx.mark_non_differentiable(output[2])
    ctx.set_materialize_grads(False)


def _gradients(ctx: Any, d_outputs: Tensor | None, d_last: Tensor | None, _: None) -> tuple[Tensor | None, ...]:
    given = [each for each in (d_outputs, d_last) if each is not None]
    if not given:
        return (None,) * 14
    if torch.is_grad_enabled() or any(map(limits.batched, given)):
        return second_order.of_scan(ctx, d_outputs, d_last)
    query, key, value, erase, strength, decay, _, *rest = ctx.saved_tensors
    tensors = (query, key, value, erase, strength, decay, *rest)
    d_query, d_key, d_value, d_state, *others = _backward(d_outputs, d_last, *tensors, *ctx.settings)
    found = iter(others)
    gates = [None if each is None else next(found) for each in (erase, strength, decay)]
    return d_query, d_key, d_value, *gates, d_state, *(None,) * 7


_forward.register_autograd(_gradients, setup_context=_save)


def _buffers(
    query: Tensor, key: Tensor, value: Tensor, lengths: Tensor | None, transposed: bool, chunk: int, train: bool
) -> tuple[Tensor, Tensor, Tensor]:
    (batch, time, heads, keys), values = key.shape, value.shape[-1]
    new = key.new_empty if lengths is None else key.new_zeros
    kept = -(-time // chunk) if train else 0
    return (
        new(batch, time, heads, keys if transposed else values),
        key.new_empty(batch, heads, values, keys),
        key.new_empty(batch, heads, kept, values, keys),
    )


def _shape(
    key: Tensor, value: Tensor, decay: Tensor | None, undecayed: bool, transposed: bool, most: int
) -> tuple[dict[str, Any], int, dict[str, int]]:
    """The constants a kernel is compiled for, the blocks of rows, and the warps of a program."""
    keys, values = key.shape[-1], value.shape[-1]
    width = max(16, 1 << (keys - 1).bit_length())
    rows = min(1 << (values - 1).bit_length(), most // (width * key.element_size()))
    shape = dict(
        KEYS=keys, VALUES=values, CHANNELS=1 if decay is None or decay.dim() == 3 else keys, UNDECAYED=undecayed,
        TRANSPOSED=transposed, WIDTH=width, ROWS=rows,
    )  # fmt: skip
    warps = min(8, max(1, rows * width * key.element_size() // (32 * THREAD)))
    return shape, -(-values // rows), {"num_warps": warps, "num_stages": 1}


def _packed(*tensors: Tensor | None) -> list[Tensor | None]:
    """As the kernels address them."""
    return [None if tensor is None else tensor.contiguous() for tensor in tensors]
