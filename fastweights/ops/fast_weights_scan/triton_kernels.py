"""The Triton kernels of `triton.py`: one program runs some rows of one head's memory from its first token to its last,
or back.

Tensors are contiguous: query, key, value, erase, strength and decay [batch, time, heads, ...], a memory [batch, heads,
VALUES, KEYS]. `lane` is a head of a sample, `at` the place of its token. Columns beyond KEYS and rows beyond VALUES are
zero. Sums over all rows are stored a block of rows apart, [blocks, batch, time, heads, ...].
"""

import triton
import triton.language as tl


@triton.jit
def columns(tensor, at, column, KEYS: tl.constexpr):
    return tl.load(tensor + at * KEYS + column, mask=column < KEYS, other=0.0)


@triton.jit
def rows(tensor, at, row, VALUES: tl.constexpr):
    return tl.load(tensor + at * VALUES + row, mask=row < VALUES, other=0.0)


@triton.jit
def kept_of(decay, at, column, KEYS: tl.constexpr, CHANNELS: tl.constexpr):
    """What each column keeps; a decay of one channel is that of all."""
    return tl.exp(tl.load(decay + at * CHANNELS + column % CHANNELS, mask=column < KEYS, other=0.0))


@triton.jit
def begun(memory, resets, place):
    return tl.where(tl.load(resets + place) != 0, 0.0, memory)


@triton.jit
def written(
    memory, key, value, erase, strength, decay, at, row, column,
    KEYS: tl.constexpr, VALUES: tl.constexpr, CHANNELS: tl.constexpr, UNDECAYED: tl.constexpr,
):  # fmt: skip
    """The memory after the token at `at`."""
    faded = memory
    if decay is not None:
        faded = memory * kept_of(decay, at, column, KEYS, CHANNELS)[None, :]
    x = rows(value, at, row, VALUES)
    if erase is not None:
        e = columns(erase, at, column, KEYS)
        if UNDECAYED:
            x -= tl.sum(memory * e[None, :], axis=1)
        else:
            x -= tl.sum(faded * e[None, :], axis=1)
    if strength is not None:
        x *= tl.load(strength + at)
    return faded + x[:, None] * columns(key, at, column, KEYS)[None, :]


@triton.jit(do_not_specialize=["time", "chunk"])
def forward(
    query, key, value, erase, strength, decay, state, lengths, resets, outputs, last, memories, time, heads, chunk,
    KEYS: tl.constexpr, VALUES: tl.constexpr, CHANNELS: tl.constexpr, UNDECAYED: tl.constexpr,
    TRANSPOSED: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    lane, block = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    sample, head = lane // heads, lane % heads
    row, column = block * ROWS + tl.arange(0, ROWS), tl.arange(0, WIDTH)
    place = row[:, None] * KEYS + column[None, :]
    inside = (row < VALUES)[:, None] & (column < KEYS)[None, :]
    own = lane * VALUES * KEYS + place
    apart = block * tl.num_programs(0) * time
    end = time
    if lengths is not None:
        end = tl.load(lengths + sample).to(tl.int32)
    memory = tl.load(state + own, mask=inside, other=0.0)

    for t in range(0, end):
        at = (sample * time + t) * heads + head
        if memories is not None:
            if t % chunk == 0:
                kept = (lane * tl.cdiv(time, chunk) + t // chunk) * VALUES * KEYS
                tl.store(memories + kept + place, memory, mask=inside)
        if resets is not None:
            memory = begun(memory, resets, sample * time + t)
        memory = written(
            memory, key, value, erase, strength, decay, at, row, column, KEYS, VALUES, CHANNELS, UNDECAYED
        )  # fmt: skip
        if TRANSPOSED:
            found = tl.sum(memory * rows(query, at, row, VALUES)[:, None], axis=0)
            tl.store(outputs + (apart + at) * KEYS + column, found, mask=column < KEYS)
        else:
            found = tl.sum(memory * columns(query, at, column, KEYS)[None, :], axis=1)
            tl.store(outputs + at * VALUES + row, found, mask=row < VALUES)

    tl.store(last + own, memory, mask=inside)


@triton.jit(do_not_specialize=["time", "chunk"])
def backward(
    query, key, value, erase, strength, decay, lengths, resets, memories, d_outputs, d_last, again,
    d_query, d_key, d_value, d_erase, d_strength, d_decay, d_state, time, heads, chunk,
    KEYS: tl.constexpr, VALUES: tl.constexpr, CHANNELS: tl.constexpr, UNDECAYED: tl.constexpr,
    TRANSPOSED: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr, TIED: tl.constexpr,
):  # fmt: skip
    """`again` has room for the memories before each token of a chunk. TIED: what is erased is the key."""
    lane, block = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    sample, head = lane // heads, lane % heads
    row, column = block * ROWS + tl.arange(0, ROWS), tl.arange(0, WIDTH)
    place = row[:, None] * KEYS + column[None, :]
    inside = (row < VALUES)[:, None] & (column < KEYS)[None, :]
    own = lane * VALUES * KEYS + place
    apart = block * tl.num_programs(0) * time
    end = time
    if lengths is not None:
        end = tl.load(lengths + sample).to(tl.int32)
    d = tl.load(d_last + own, mask=inside, other=0.0)
    again += lane * chunk * VALUES * KEYS

    chunks = tl.cdiv(end, chunk)
    for c in range(0, chunks):
        part = chunks - 1 - c
        begin = part * chunk
        count = tl.minimum(end - begin, chunk)
        kept = (lane * tl.cdiv(time, chunk) + part) * VALUES * KEYS
        memory = tl.load(memories + kept + place, mask=inside, other=0.0)
        for i in range(0, count):
            token = sample * time + begin + i
            if resets is not None:
                memory = begun(memory, resets, token)
            tl.store(again + i * VALUES * KEYS + place, memory, mask=inside)
            memory = written(
                memory, key, value, erase, strength, decay, token * heads + head, row, column,
                KEYS, VALUES, CHANNELS, UNDECAYED,
            )  # fmt: skip
        tl.debug_barrier()  # what other threads have stored is read

        for j in range(0, count):
            i = count - 1 - j
            token = sample * time + begin + i
            at = token * heads + head
            memory = tl.load(again + i * VALUES * KEYS + place, mask=inside, other=0.0)
            k = columns(key, at, column, KEYS)
            faded = memory
            if decay is not None:
                keeps = kept_of(decay, at, column, KEYS, CHANNELS)
                faded = memory * keeps[None, :]
            erased = faded
            if UNDECAYED:
                erased = memory
            error = rows(value, at, row, VALUES)
            if erase is not None:
                e = columns(erase, at, column, KEYS)
                error -= tl.sum(erased * e[None, :], axis=1)
            x = error
            if strength is not None:
                beta = tl.load(strength + at)
                x = error * beta
            read = faded + x[:, None] * k[None, :]

            if TRANSPOSED:
                across, along = columns(d_outputs, at, column, KEYS), rows(query, at, row, VALUES)
                tl.store(d_query + at * VALUES + row, tl.sum(read * across[None, :], axis=1), mask=row < VALUES)
            else:
                across, along = columns(query, at, column, KEYS), rows(d_outputs, at, row, VALUES)
                d_q = tl.sum(read * along[:, None], axis=0)
                tl.store(d_query + (apart + at) * KEYS + column, d_q, mask=column < KEYS)
            d += along[:, None] * across[None, :]
            d_x = tl.sum(d * k[None, :], axis=1)
            d_k = tl.sum(d * x[:, None], axis=0)
            if strength is not None:
                tl.store(d_strength + apart + at, tl.sum(d_x * error, axis=0))
                d_x *= beta
            tl.store(d_value + at * VALUES + row, d_x, mask=row < VALUES)
            if erase is not None:
                d_e = -tl.sum(erased * d_x[:, None], axis=0)
                if TIED:
                    d_k += d_e
                else:
                    tl.store(d_erase + (apart + at) * KEYS + column, d_e, mask=column < KEYS)
                if not UNDECAYED:
                    d -= d_x[:, None] * e[None, :]
            tl.store(d_key + (apart + at) * KEYS + column, d_k, mask=column < KEYS)
            if decay is not None:
                d_log = tl.sum(d * faded, axis=0)
                if CHANNELS == 1:
                    tl.store(d_decay + apart + at, tl.sum(d_log, axis=0))
                else:
                    tl.store(d_decay + (apart + at) * KEYS + column, d_log, mask=column < KEYS)
                d *= keeps[None, :]
            if erase is not None:
                if UNDECAYED:
                    d -= d_x[:, None] * e[None, :]
            if resets is not None:
                d = begun(d, resets, token)
        tl.debug_barrier()  # the room is used again

    tl.store(d_state + own, d, mask=inside)
