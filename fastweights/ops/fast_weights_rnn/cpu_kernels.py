"""The recurrence over whole sequences in Numba, forward and backward: a tile of samples at a time, one a SIMD lane.

Tensors come as addresses, 0 where there is none; `kind`, an empty array, carries dtype and lanes.

    saved, a tile:  h [time]   u [time, inner_steps]   x [time, norms]   rstd [time, norms] (one number a lane each)
                    of the rule Cosine      b [time]   r [time, inner_steps]
                    of the rule Delta       p [time]

Where there are symbols, the inputs are rows of a table that they name, and the last output alone has a gradient.

with u_s = h_s(t), x the normalised argument of the nonlinearity, norms = max(inner_steps, 1), 0 without layer norm, b
the boundary, r what was read and p what the key of a write read. The memory of `Hebbian` holds h, that of `Cosine` the
directions of h, that of `Delta` the keys, `kept`, and the errors, `values`. Where nothing is read all are `Hebbian`.
"""

import numba
import numpy

from fastweights.ops.cpu.compilation import cached, helper
from fastweights.ops.cpu.lanes import at, fill, integer, lanes_of, load, spread, store
from fastweights.ops.fast_weights_rnn.cpu_deltas import (
    attend_apart_backward,
    error,
    error_backward,
    unit,
    unit_backward,
)
from fastweights.ops.fast_weights_rnn.cpu_directions import (
    add_bounded,
    add_bounded_backward,
    direct,
    direct_backward,
)
from fastweights.ops.fast_weights_rnn.cpu_samples import recall, recall_transposed
from fastweights.ops.fast_weights_rnn.cpu_tiles import (
    activate,
    add_groups,
    add_row,
    any_nonzero,
    apart,
    attend,
    attend_backward,
    clear,
    fill_powers,
    find_ends,
    gather,
    look_up,
    normalise,
    normalise_backward,
    outer,
    product,
    scatter,
    slope,
    total,
)
from fastweights.ops.fast_weights_rnn.kinds import COSINE, DELTA

_ANY = 1 << 40  # the length of an array that is only known as an address


@cached
def forward(kind, tiles, sizes, strides, constants, tensors):
    """Run tiles [tiles[0], tiles[1]); `work` is laid out as `cpu_passes.py` sizes it.

    Returns whether all symbols are in range; where one is not, nothing is done.
    """
    batch, time, units, inner, relu, rule, keep, entries = sizes
    inputs, symbols, recurrent, gain, bias, hidden, weights, lengths, outputs, saved, work = tensors
    lanes, zero, one = lanes_of(kind), integer(0), integer(1)
    n, size, norms = apart(kind, units), units * lanes, max(inner, 1) if gain else 0
    cosine, delta = int(rule == COSINE), int(rule == DELTA)
    x_in, W = numba.carray(at(inputs, kind), (_ANY,)), numba.carray(at(recurrent, kind), (_ANY,))
    gains, biases = numba.carray(at(gain, kind), (_ANY,)), numba.carray(at(bias, kind), (_ANY,))
    h_in, A = numba.carray(at(hidden, kind), (_ANY,)), numba.carray(at(weights, kind), (batch, units, units))
    until = numba.carray(at(lengths, numpy.int64), (batch if lengths else 0,))
    names = numba.carray(at(symbols, numpy.int64), (_ANY,))
    for row in range(tiles[0] * lanes * time if symbols else 0, min(tiles[1] * lanes, batch) * time if symbols else 0):
        if names[row] < 0 or names[row] >= entries:
            return False
    y, own = numba.carray(at(outputs, kind), (_ANY,)), numba.carray(at(work, kind), (_ANY,))
    boundary, x, rstd, x0, r0 = own[:n], own[n : 2 * n], own[2 * n : 2 * n + lanes], zero, zero
    o = 2 * n + lanes
    past = numba.carray(at(saved, kind), (_ANY,)) if keep else own[o : o + (time + 1) * n]
    o += (0 if keep else time + 1) * n
    powers, scale, o = own[o : o + time + 1], own[o + time + 1 : o + 2 * time + 2], o + 2 * time + 2
    vector, result, o = own[o : o + units], own[o + units : o + 2 * units], o + 2 * units
    kept, query, read, length, nothing = past, past, own, own[o : o + lanes], own[o : o + (cosine + delta) * n]
    if cosine or delta:
        clear(kind, nothing, zero, units)
        o += n
        length, query, read, o = (
            own[o : o + lanes],
            own[o + lanes : o + lanes + n],
            own[o + lanes + n :],
            o + lanes + 2 * n,
        )
        kept, o = own[o : o + time * n], o + time * n
    values = kept
    if delta:
        values, o = own[o : o + time * n], o + time * n
    rows = own[o:]
    fill_powers(constants[0], 1.0 if cosine or delta else constants[1], time, powers, scale)
    ends = numpy.empty(lanes, numpy.int64)
    tile_size = time * (n * (1 + inner + norms + cosine * (1 + inner) + delta) + norms * lanes)
    for tile in range(tiles[0], tiles[1]):
        first = tile * lanes
        samples = min(lanes, batch - first)
        find_ends(until, first, batch, time, ends)
        h0 = tile * tile_size if keep else 0
        u_base = h0 + time * n
        for t in range(time):
            ht, u0 = h0 + t * n, u_base + t * inner * n if keep else u_base
            if symbols:
                look_up(kind, x_in, names, first * time + t, time, units, ends, t, rows, boundary, zero)
            else:
                gather(kind, x_in, first * strides[0] + t * strides[1], strides[0], units, ends, t, boundary, zero)
            if t > 0:
                product(kind, W, zero, units, one, units, units, past, ht - n, lanes, boundary, zero, boundary, zero)
            elif hidden:
                gather(kind, h_in, first * units, units, units, ends, t, past, ht)
                if any_nonzero(past, ht, size):
                    product(kind, W, zero, units, one, units, units, past, ht, lanes, boundary, zero, boundary, zero)
            b0 = u_base + time * (inner + norms) * n + time * norms * lanes
            if cosine and keep:
                for k in range(0, size, lanes):
                    store(past, b0 + t * n + k, load(boundary, k, kind))
            if inner > 0:
                activate(kind, relu, boundary, zero, units, past, u0)
            for s in range(max(inner, 1)):
                if keep and norms:
                    x, x0 = past, u_base + time * inner * n + (t * norms + s) * n
                    rstd, r0 = past, u_base + time * (inner + norms) * n + (t * norms + s) * lanes
                us = u0 + s * n if keep else u0
                base, to, to0, q0, kept0 = boundary, x, x0, us, zero if delta else h0
                if cosine and inner:
                    direct(kind, past, us, units, query, zero, length, zero)
                    base, to, to0, q0, kept0 = nothing, read, zero, zero, zero
                    if keep:
                        to, to0 = past, b0 + (time + t * inner + s) * n
                steps, asked = t if inner else 0, past if delta else query
                attend(kind, kept, kept0, values, kept0, steps, units, asked, q0, scale, base, zero, to, to0)
                if weights and inner:
                    for lane in range(samples):
                        if t < ends[lane]:
                            b = first + lane
                            recall(A, b, powers[t], units, asked, q0 + lane, lanes, vector, result, to, to0 + lane)
                if cosine and inner:
                    add_bounded(kind, boundary, zero, to, to0, units, constants[1], x, x0)
                y0 = ht if s + 1 >= inner else us + n if keep else us
                if norms:
                    normalise(kind, relu, x, x0, units, gains, biases, rstd, r0, past, y0)
                else:
                    activate(kind, relu, x, x0, units, past, y0)
            for lane in range(lanes):
                if t >= ends[lane]:
                    for k in range(lane, size, lanes):
                        past[ht + k] = 0.0
            if cosine:
                direct(kind, past, ht, units, kept, t * n, length, zero)
            elif delta and t + 1 < time:  # nobody reads the last
                unit(kind, past, ht, units, kept, t * n, length, zero)
                to, to0, q0 = past if keep else read, b0 + t * n if keep else zero, t * n
                attend(kind, kept, zero, values, zero, t, units, kept, q0, scale, nothing, zero, to, to0)
                if weights:
                    for lane in range(samples):
                        if t < ends[lane]:
                            b = first + lane
                            recall(A, b, powers[t], units, kept, q0 + lane, lanes, vector, result, to, to0 + lane)
                error(kind, past, ht, to, to0, units, constants, values, q0)
            if not symbols:
                scatter(kind, past, ht, units, samples, y, (first * time + t) * units, time * units)
            elif t == time - 1:  # nobody reads the others
                scatter(kind, past, ht, units, samples, y, first * units, units)
    return True


@helper
def age(kind, d_query, query, q0, units, powers, t, d_powers, f0):
    """The gradient of a query to A(0) after t steps, from that of a query to A(0) as it was; d_powers is added to."""
    lanes, change = lanes_of(kind), fill(0.0, kind)
    for k in range(0, units * lanes, lanes):
        v = load(d_query, k, kind)
        change = change + v * load(query, q0 + k, kind)
        store(d_query, k, v * spread(powers, t, kind))
    store(d_powers, f0, load(d_powers, f0, kind) + change)


@cached
def backward(kind, groups, sizes, strides, constants, tensors):
    """Run groups of tiles [groups[0], groups[1]); a group has its own sums of the gradients that samples share."""
    batch, time, units, inner, relu, rule, group_tiles, jump_W, entries = sizes
    recurrent, gain, hidden, weights, lengths, symbols, saved, d_outputs = tensors[:8]
    d_inputs, d_table, d_hidden, d_recurrent, d_norm, d_scale, reads, d_reads, work = tensors[8:]
    lanes, zero, one = lanes_of(kind), integer(0), integer(1)
    n, size, norms = apart(kind, units), units * lanes, max(inner, 1) if gain else 0
    cosine, delta = int(rule == COSINE), int(rule == DELTA)
    W, gains = numba.carray(at(recurrent, kind), (_ANY,)), numba.carray(at(gain, kind), (_ANY,))
    h_in, A = numba.carray(at(hidden, kind), (_ANY,)), numba.carray(at(weights, kind), (batch, units, units))
    until = numba.carray(at(lengths, numpy.int64), (batch if lengths else 0,))
    past, names = numba.carray(at(saved, kind), (_ANY,)), numba.carray(at(symbols, numpy.int64), (_ANY,))
    d_y, d_x = numba.carray(at(d_outputs, kind), (_ANY,)), numba.carray(at(d_inputs, kind), (_ANY,))
    d_h, d_W = numba.carray(at(d_hidden, kind), (_ANY,)), numba.carray(at(d_recurrent, kind), (_ANY,))
    d_n, d_s = numba.carray(at(d_norm, kind), (_ANY,)), numba.carray(at(d_scale, kind), (_ANY,))
    table = numba.carray(at(d_table, kind), (_ANY,))
    table[: entries * units] = 0
    read, d_read = numba.carray(at(reads, kind), (_ANY,)), numba.carray(at(d_reads, kind), (_ANY,))
    own = numba.carray(at(work, kind), (_ANY,))
    d_b, r, d_u, d_past = own[:n], own[n : 2 * n], own[2 * n : 3 * n], own[3 * n : (3 + time) * n]
    o = (3 + time) * n
    powers, scale, o = own[o : o + time + 1], own[o + time + 1 : o + 2 * time + 2], o + 2 * time + 2
    vector, o = own[o : o + units], o + units
    kept, query, d_query, d_kept, lengths_of, d_p, through = past, past, d_u, d_past, own, d_u, d_u
    if cosine:
        query, d_query, o = own[o : o + n], own[o + n : o + 2 * n], o + 2 * n
    elif delta:
        d_p, through, o = own[o : o + n], own[o + n : o + 2 * n], o + 2 * n
    if cosine or delta:
        kept, d_kept, o = own[o : o + time * n], own[o + time * n : o + 2 * time * n], o + 2 * time * n
        lengths_of, o = own[o : o + (time + 1) * lanes], o + (time + 1) * lanes
    values, d_values = kept, d_kept
    if delta:
        values, d_values, o = own[o : o + time * n], own[o + time * n : o + 2 * time * n], o + 2 * time * n
    y = own[o:]  # the outputs of a tile, in rows
    fill_powers(constants[0], 1.0 if cosine or delta else constants[1], time, powers, scale)
    ends = numpy.empty(lanes, numpy.int64)
    blocks = (units + lanes - 1) // lanes
    tile_size = time * (n * (1 + inner + norms + cosine * (1 + inner) + delta) + norms * lanes)
    slots = 2 * time + cosine + 2 * delta  # of the gradients of the constants
    all_tiles, asked = (batch + lanes - 1) // lanes, inner + delta  # what a step asks of A(0)
    for group in range(groups[0], groups[1]):
        W0, n0, s0, f0 = group * jump_W, group * 2 * size, group * slots * lanes, (group * slots + time) * lanes
        if d_recurrent and (jump_W or group == groups[0]):
            clear(kind, d_W, W0, blocks * units)
        clear(kind, d_n, n0, 2 * units if norms else 0)
        clear(kind, d_s, s0, slots)
        for tile in range(group * group_tiles, min((group + 1) * group_tiles, all_tiles)):
            first = tile * lanes
            samples = min(lanes, batch - first)
            jump = time * units  # from sample to sample
            rows = zero if d_table else first * jump
            find_ends(until, first, batch, time, ends)
            h0 = tile * tile_size
            u_base, x_base = h0 + time * n, h0 + time * (1 + inner) * n
            b0, kept0 = x_base + time * norms * (n + lanes), h0
            if cosine:
                kept0 = zero
                clear(kind, d_kept, zero, time * n // lanes)
                for t in range(time):
                    direct(kind, past, h0 + t * n, units, kept, t * n, lengths_of, t * lanes)
            elif delta:
                kept0 = zero
                clear(kind, d_kept, zero, time * n // lanes)
                clear(kind, d_values, zero, time * n // lanes)
                for t in range(time - 1):
                    k, p = h0 + t * n, b0 + t * n
                    unit(kind, past, k, units, kept, t * n, lengths_of, t * lanes)
                    error(kind, past, k, past, p, units, constants, values, t * n)
            if symbols:  # of d_outputs there is the last step alone, [batch, hidden]
                clear(kind, d_past, zero, (time - 1) * n // lanes)
            for t in range(time - 1 if symbols else zero, time):
                gather(kind, d_y, first * strides[0] + t * strides[1], strides[0], units, ends, t, d_past, t * n)
            for t in range(time - 1, -1, -1):
                d, d0 = d_past, t * n
                if cosine:
                    direct_backward(kind, d_kept, d0, kept, d0, lengths_of, t * lanes, units, d_past, d0)
                elif delta and t + 1 < time:
                    k, p, s_rate = h0 + t * n, b0 + t * n, s0 + 2 * time * lanes
                    error_backward(kind, d_values, d0, past, k, past, p, units, constants, d_past, d_p, d_s, s_rate)
                    if weights:
                        clear(kind, through, zero, units)
                        for lane in range(samples):
                            if t < ends[lane]:
                                recall_transposed(A, first + lane, units, d_p, lane, lanes, vector, through, lane)
                        if reads:
                            o = ((first * time + t) * asked + inner) * units
                            scatter(kind, kept, d0, units, samples, read, o, time * asked * units)
                            scatter(kind, d_p, zero, units, samples, d_read, o, time * asked * units)
                        age(kind, through, kept, d0, units, powers, t, d_s, f0 + t * lanes)
                        for k in range(0, size, lanes):
                            store(d_kept, d0 + k, load(d_kept, d0 + k, kind) + load(through, k, kind))
                    attend_apart_backward(
                        kind, kept, values, t, units, kept, d0, d_p, scale, d_kept, d_values, d_kept, d0, d_s, s0
                    )
                    unit_backward(kind, d_kept, d0, kept, d0, lengths_of, t * lanes, units, d_past, d0)
                clear(kind, d_b, zero, units)
                for s in range(max(inner, 1) - 1, -1, -1):
                    us = u_base + (t * inner + s) * n
                    to = h0 + t * n if s + 1 >= inner else us + n
                    if norms:
                        xs = x_base + (t * norms + s) * n
                        rs = x_base + time * norms * n + (t * norms + s) * lanes
                        normalise_backward(
                            kind, relu, d, d0, past, to, past, xs, units, gains, past, rs, d_n, n0, r, zero
                        )
                    else:
                        slope(kind, relu, d, d0, past, to, units, r, zero)
                    for k in range(0, size, lanes):
                        store(d_b, k, load(d_b, k, kind) + load(r, k, kind))
                    if inner == 0:
                        break
                    d, d0, q0 = d_u, zero, us
                    if cosine:
                        q0 = zero
                        direct(kind, past, us, units, query, zero, lengths_of, time * lanes)
                        o = b0 + (time + t * inner + s) * n
                        b, rate, s_rate = b0 + t * n, constants[1], s0 + 2 * time * lanes
                        add_bounded_backward(kind, r, zero, past, b, past, o, units, rate, d_b, zero, d_s, s_rate)
                        clear(kind, d_query, zero, units)
                    clear(kind, d_u, zero, units)
                    if weights:
                        for lane in range(samples):
                            if t < ends[lane]:
                                b = first + lane
                                recall_transposed(A, b, units, r, lane, lanes, vector, d_query, lane)
                        if reads:
                            o = ((first * time + t) * asked + s) * units
                            scatter(kind, query, q0, units, samples, read, o, time * asked * units)
                            scatter(kind, r, zero, units, samples, d_read, o, time * asked * units)
                        age(kind, d_query, query, q0, units, powers, t, d_s, f0 + t * lanes)
                    if delta:
                        attend_apart_backward(
                            kind, kept, values, t, units, query, q0, r, scale, d_kept, d_values, d_query, zero, d_s, s0
                        )
                        continue
                    attend_backward(
                        kind, kept, kept0, t, units, query, q0, r, zero, scale, d_kept, zero, d_query, zero, d_s, s0
                    )
                    if cosine:
                        direct_backward(kind, d_query, zero, query, zero, lengths_of, time * lanes, units, d_u, zero)
                if inner > 0:
                    slope(kind, relu, d_u, zero, past, u_base + t * inner * n, units, r, zero)
                    for k in range(0, size, lanes):
                        store(d_b, k, load(d_b, k, kind) + load(r, k, kind))
                for lane in range(lanes):
                    if t >= ends[lane]:
                        for k in range(lane, size, lanes):
                            d_b[k] = 0.0
                if t > 0:
                    o = (t - 1) * n
                    product(kind, W, zero, one, units, units, units, d_b, zero, lanes, d_past, o, d_past, o)
                    scatter(kind, d_b, zero, units, samples, d_x, rows + t * units, time * units)
                elif d_hidden:
                    clear(kind, d_u, zero, units)
                    product(kind, W, zero, one, units, units, units, d_b, zero, lanes, d_u, zero, d_u, zero)
                    scatter(kind, d_u, zero, units, samples, d_h, first * units, units)
            scatter(kind, d_b, zero, units, samples, d_x, rows, jump)
            if d_recurrent:  # a step is paired with the output before it, of each sample
                for t in range(time - 1):
                    scatter(kind, past, h0 + t * n, units, samples, y, t * units, jump)
                after = rows + units
                outer(kind, d_x, after, units, jump, time - 1, samples, y, zero, units, jump, units, d_W, W0)
            if d_recurrent and hidden and any_nonzero(h_in, first * units, samples * units):
                outer(kind, d_x, rows, jump, zero, samples, one, h_in, first * units, units, zero, units, d_W, W0)
            for row in range(samples * time if d_table else zero):
                add_row(kind, d_x, row * units, units, table, names[first * time + row] * units)


@cached
def collect(kind, sizes, tensors):
    """Sum over groups, then lanes, in an order that does not depend on who computed them."""
    units, slots, groups, norms, groups_W, rows, entries = sizes
    d_recurrent, d_norm, d_scale, W_out, norm_out, scale_out, d_inputs, symbols, table_out = tensors
    lanes = lanes_of(kind)
    size, blocks = units * lanes, (units + lanes - 1) // lanes
    d_W, W = numba.carray(at(d_recurrent, kind), (_ANY,)), numba.carray(at(W_out, kind), (_ANY,))
    d_n, norm = numba.carray(at(d_norm, kind), (_ANY,)), numba.carray(at(norm_out, kind), (_ANY,))
    d_s, scale = numba.carray(at(d_scale, kind), (_ANY,)), numba.carray(at(scale_out, numpy.float64), (_ANY,))
    d_x, table = numba.carray(at(d_inputs, kind), (_ANY,)), numba.carray(at(table_out, kind), (_ANY,))
    names = numba.carray(at(symbols, numpy.int64), (rows,))
    table[: entries * units] = 0
    for row in range(rows):
        add_row(kind, d_x, row * units, units, table, names[row] * units)
    zero, column, jump = integer(0), integer(0), blocks * size
    if groups_W and units >= lanes:
        while column < units:
            add_groups(kind, d_W, column * units, jump, groups_W, units, W, min(column, units - lanes))
            column += lanes
    elif groups_W:
        add_groups(kind, d_W, zero, jump, groups_W, units, d_W, zero)  # in place: rows are written behind those read
        for k in range(units * units):
            W[k] = d_W[k]
    for i in range(2 * units if norms else 0):
        norm[i] = total(kind, d_n, i * lanes, 2 * size, groups)
    for i in range(slots):
        scale[i] = total(kind, d_s, i * lanes, slots * lanes, groups)
