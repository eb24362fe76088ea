"""The equations of the recurrent baselines, written out sample by sample, and what their tests share."""

import torch

from fastweights.nn import IRNN, LNGRU, LNLSTM, AssociativeLSTM

TOLERANCE = 1e-10
MODELS = [LNGRU, LNLSTM, IRNN, AssociativeLSTM]
BATCH, TIME, INPUT, HIDDEN = 3, 7, 5, 6


def layer_norm(vector, gain, bias):
    return gain * (vector - vector.mean()) / torch.sqrt(vector.var(unbiased=False) + 1e-5) + bias


def literal_ln_gru(p, xs, h):
    H, outputs = len(h), []
    for x in xs:
        recurrent, entering = p["weight_recurrent"] @ h, p["weight_input"] @ x
        gates = layer_norm(recurrent[: 2 * H], p["gain_recurrent"][: 2 * H], p["bias_recurrent"][: 2 * H])
        gates = gates + layer_norm(entering[: 2 * H], p["gain_input"][: 2 * H], p["bias_input"][: 2 * H])
        z, r = torch.sigmoid(gates[:H]), torch.sigmoid(gates[H:])
        recall = layer_norm(recurrent[2 * H :], p["gain_recurrent"][2 * H :], p["bias_recurrent"][2 * H :])
        candidate = torch.tanh(
            layer_norm(entering[2 * H :], p["gain_input"][2 * H :], p["bias_input"][2 * H :]) + r * recall
        )
        h = (1 - z) * h + z * candidate
        outputs.append(h)
    return torch.stack(outputs), h


def literal_ln_lstm(p, xs, h, c):
    H, outputs = len(h), []
    for x in xs:
        pre = layer_norm(p["weight_recurrent"] @ h, p["gain_recurrent"], p["bias_recurrent"])
        pre = pre + layer_norm(p["weight_input"] @ x, p["gain_input"], p["bias_input"]) + p["bias"]
        f, i, o, g = pre[:H], pre[H : 2 * H], pre[2 * H : 3 * H], pre[3 * H :]
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(layer_norm(c, p["gain_cell"], p["bias_cell"]))
        outputs.append(h)
    return torch.stack(outputs), h, c


def literal_irnn(p, xs, h):
    outputs = []
    for x in xs:
        pre = p["rnn.weight_hh_l0"] @ h + p["rnn.weight_ih_l0"] @ x + p["rnn.bias_ih_l0"] + p["rnn.bias_hh_l0"]
        h = torch.relu(pre)
        outputs.append(h)
    return torch.stack(outputs), h


def literal_associative_lstm(p, xs, h, c, permutations, heads):
    def bound(vector):
        return torch.stack([z if z.abs() <= 1 else z / z.abs() for z in vector])

    units = len(h) // 2
    memory = [torch.complex(copy[:units], copy[units:]) for copy in c]
    outputs = []
    for x in xs:
        pre = p["weight_input"] @ x + p["weight_recurrent"] @ h + p["bias"]
        forget, *rest = pre.split([units, *8 * [heads * units]])
        enter, leave, *vectors = (part.view(heads, units) for part in rest)
        updates, input_keys, output_keys = (torch.complex(vectors[i], vectors[i + 1]) for i in (0, 2, 4))
        read_by_heads = []
        for s, order in enumerate(permutations):
            memory[s] = torch.sigmoid(forget) * memory[s]
            for k in range(heads):
                memory[s] = memory[s] + bound(input_keys[k])[order] * (torch.sigmoid(enter[k]) * bound(updates[k]))
        for k in range(heads):
            copies = [bound(output_keys[k])[order] * memory[s] for s, order in enumerate(permutations)]
            read_by_heads.append(torch.sigmoid(leave[k]) * bound(sum(copies) / len(copies)))
        mean = sum(read_by_heads) / heads
        h = torch.cat([mean.real, mean.imag])
        outputs.append(h)
    return torch.stack(outputs), h, torch.stack([torch.cat([m.real, m.imag]) for m in memory])


def draw(model, *, batch=BATCH, time=TIME, hidden=HIDDEN, **options):
    """A module with every parameter moved away from its initial value, an input, and a state, all in float64."""
    module = model(INPUT, hidden, **options).double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    input = torch.randn(batch, time, INPUT, dtype=torch.float64, requires_grad=True)
    state = tuple(
        torch.randn(1, batch, *shape, dtype=torch.float64, requires_grad=True) for shape in state_shapes(module)
    )
    return module, input, state if len(state) > 1 else state[0]


def state_shapes(module):
    if isinstance(module, AssociativeLSTM):
        return [(module.hidden_size,), (module.num_copies, module.hidden_size)]
    return [(module.hidden_size,)] * (2 if isinstance(module, LNLSTM) else 1)


def parts(state):
    return state if isinstance(state, tuple) else (state,)


def at(state, change):
    """`change` applied to every tensor of the state."""
    changed = tuple(change(part) for part in parts(state))
    return changed if isinstance(state, tuple) else changed[0]


def flat(result):
    output, state = result
    return [output, *parts(state)]


def assert_close(got, want, tolerance=TOLERANCE):
    for g, w in zip(got, want, strict=True):
        assert g.shape == w.shape
        assert (g - w).abs().max() <= tolerance


def literal(module, input, state):
    """Sample by sample, the equations of the module's docstring."""
    named, results = dict(module.named_parameters()), []
    for b in range(len(input)):
        own = [part[0, b] for part in parts(state)]
        if isinstance(module, AssociativeLSTM):
            own += [module.permutations, module.num_heads]
        function = {
            LNGRU: literal_ln_gru,
            LNLSTM: literal_ln_lstm,
            IRNN: literal_irnn,
            AssociativeLSTM: literal_associative_lstm,
        }[type(module)]
        results.append(function(named, input[b], *own))
    output, *final = (torch.stack(list(values)) for values in zip(*results, strict=True))
    return [output, *(part.unsqueeze(0) for part in final)]


def gradients(tensors, leaves):
    generator = torch.Generator().manual_seed(1)
    loss = sum((t * torch.randn(t.shape, generator=generator, dtype=t.dtype)).sum() for t in tensors)
    return torch.autograd.grad(loss, leaves)
