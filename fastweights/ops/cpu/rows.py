"""Products with the rows of a matrix, of one sample: what kernels for a few samples share."""

from fastweights.ops.cpu.compilation import summing_helper


@summing_helper
def times_vector(matrix, x, out):
    """out += matrix x, of one sample: four rows at a time."""
    rows, i = len(out), 0
    while i + 4 <= rows:
        r0, r1, r2, r3 = matrix[i], matrix[i + 1], matrix[i + 2], matrix[i + 3]
        a0 = a1 = a2 = a3 = x[0] * 0
        for k in range(len(x)):
            a0 += r0[k] * x[k]
            a1 += r1[k] * x[k]
            a2 += r2[k] * x[k]
            a3 += r3[k] * x[k]
        out[i] += a0
        out[i + 1] += a1
        out[i + 2] += a2
        out[i + 3] += a3
        i += 4
    while i < rows:
        r0, a0 = matrix[i], x[0] * 0
        for k in range(len(x)):
            a0 += r0[k] * x[k]
        out[i] += a0
        i += 1
