"""The Triton kernels of `triton.py`: one program runs some rows of one head's memory from its first token to its last,
or back.

Tensors are contiguous: query, key, value, erase, strength and decay [batch, time, heads, ...], a memory [batch, heads,
VALUES, KEYS]. `lane` is a head of a sample, `at` the place of its token. Columns beyond KEYS and rows beyond VALUES are
zero. Sums over all rows are stored a block of rows apart, [blocks, batch, time, heads, ...]. There is one helper, for a
call of one takes the interpreter a millisecond.
"""

import triton
import triton.language as tl


@triton.jit
def written(
    memory, key, value, erase, strength, decay, at, row, column,
    KEYS: tl.constexpr, VALUES: tl.constexpr, CHANNELS: tl.constexpr, UNDECAYED: tl.constexpr,
):  # fmt: skip
    """The memory after the token at `at`. A decay of one channel is that of all columns."""
    own, mine = column < KEYS, row < VALUES
    faded = memory
    if decay is not None:
        faded = memory * tl.exp(tl.load(decay + at * CHANNELS + column % CHANNELS, mask=own, other=0.0))[None, :]
    x = tl.load(value + at * VALUES + row, mask=mine, other=0.0)
    if erase is not None:
        e = tl.load(erase + at * KEYS + column, mask=own, other=0.0)
        if UNDECAYED:
            x -= tl.sum(memory * e[None, :], axis=1)
        else:
            x -= tl.sum(faded * e[None, :], axis=1)
    if strength is not None:
        x *= tl.load(strength + at)
    return faded + x[:, None] * tl.load(key + at * KEYS + column, mask=own, other=0.0)[None, :]


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
    own, mine = column < KEYS, row < VALUES
    inside = mine[:, None] & own[None, :]
    whole = lane * VALUES * KEYS + place
    apart = block * tl.num_programs(0) * time
    end = time
    if lengths is not None:
        end = tl.load(lengths + sample).to(tl.int32)
    memory = tl.load(state + whole, mask=inside, other=0.0)

    for t in range(0, end):
        at = (sample * time + t) * heads + head
        if memories is not None:
            if t % chunk == 0:
                kept = (lane * tl.cdiv(time, chunk) + t // chunk) * VALUES * KEYS
                tl.store(memories + kept + place, memory, mask=inside)
        if resets is not None:
            memory = tl.where(tl.load(resets + sample * time + t) != 0, 0.0, memory)
        memory = written(
            memory, key, value, erase, strength, decay, at, row, column, KEYS, VALUES, CHANNELS, UNDECAYED
        )  # fmt: skip
        if TRANSPOSED:
            found = tl.sum(memory * tl.load(query + at * VALUES + row, mask=mine, other=0.0)[:, None], axis=0)
            tl.store(outputs + (apart + at) * KEYS + column, found, mask=own)
        else:
            found = tl.sum(memory * tl.load(query + at * KEYS + column, mask=own, other=0.0)[None, :], axis=1)
            tl.store(outputs + at * VALUES + row, found, mask=mine)

    tl.store(last + whole, memory, mask=inside)


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
    own, mine = column < KEYS, row < VALUES
    inside = mine[:, None] & own[None, :]
    whole = lane * VALUES * KEYS + place
    apart = block * tl.num_programs(0) * time
    end = time
    if lengths is not None:
        end = tl.load(lengths + sample).to(tl.int32)
    d = tl.load(d_last + whole, mask=inside, other=0.0)
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
                memory = tl.where(tl.load(resets + token) != 0, 0.0, memory)
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
            k = tl.load(key + at * KEYS + column, mask=own, other=0.0)
            faded = memory
            if decay is not None:
                keeps = tl.exp(tl.load(decay + at * CHANNELS + column % CHANNELS, mask=own, other=0.0))
                faded = memory * keeps[None, :]
            erased = faded
            if UNDECAYED:
                erased = memory
            error = tl.load(value + at * VALUES + row, mask=mine, other=0.0)
            if erase is not None:
                e = tl.load(erase + at * KEYS + column, mask=own, other=0.0)
                error -= tl.sum(erased * e[None, :], axis=1)
            x = error
            if strength is not None:
                beta = tl.load(strength + at)
                x = error * beta
            new = faded + x[:, None] * k[None, :]

            if TRANSPOSED:
                across = tl.load(d_outputs + at * KEYS + column, mask=own, other=0.0)
                along = tl.load(query + at * VALUES + row, mask=mine, other=0.0)
                tl.store(d_query + at * VALUES + row, tl.sum(new * across[None, :], axis=1), mask=mine)
            else:
                across = tl.load(query + at * KEYS + column, mask=own, other=0.0)
                along = tl.load(d_outputs + at * VALUES + row, mask=mine, other=0.0)
                d_q = tl.sum(new * along[:, None], axis=0)
                tl.store(d_query + (apart + at) * KEYS + column, d_q, mask=own)
            d += along[:, None] * across[None, :]
            d_x = tl.sum(d * k[None, :], axis=1)
            d_k = tl.sum(d * x[:, None], axis=0)
            if strength is not None:
                tl.store(d_strength + apart + at, tl.sum(d_x * error, axis=0))
                d_x *= beta
            tl.store(d_value + at * VALUES + row, d_x, mask=mine)
            if erase is not None:
                d_e = -tl.sum(erased * d_x[:, None], axis=0)
                if TIED:
                    d_k += d_e
                else:
                    tl.store(d_erase + (apart + at) * KEYS + column, d_e, mask=own)
                if not UNDECAYED:
                    d -= d_x[:, None] * e[None, :]
            tl.store(d_key + (apart + at) * KEYS + column, d_k, mask=own)
            if decay is not None:
                d_log = tl.sum(d * faded, axis=0)
                if CHANNELS == 1:
                    tl.store(d_decay + apart + at, tl.sum(d_log, axis=0))
                else:
                    tl.store(d_decay + (apart + at) * KEYS + column, d_log, mask=own)
                d *= keeps[None, :]
            if erase is not None:
                if UNDECAYED:
                    d -= d_x[:, None] * e[None, :]
            if resets is not None:
                d = tl.where(tl.load(resets + token) != 0, 0.0, d)
        tl.debug_barrier()  # the room is used again

    tl.store(d_state + whole, d, mask=inside)
