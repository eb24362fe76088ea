"""The recurrent baselines equal their equations, written out sample by sample, in float64 to 1e-10."""

import io
from copy import deepcopy

import pytest
import torch
from torch import nn

from fastweights.nn import associative_lstm
from fastweights.nn.associative_lstm import AssociativeLSTM, read, write
from fastweights.nn.irnn import IRNN
from fastweights.nn.ln_gru import LNGRU
from fastweights.nn.ln_lstm import LNLSTM

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


def draw(model, *, batch=BATCH, time=TIME, **options):
    """A module with every parameter moved away from its initial value, an input, and a state, all in float64."""
    module = model(INPUT, HIDDEN, **options).double()
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
        return [(HIDDEN,), (module.num_copies, HIDDEN)]
    return [(HIDDEN,), (HIDDEN,)] if isinstance(module, LNLSTM) else [(HIDDEN,)]


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


@pytest.mark.parametrize(
    "model,options",
    [(model, {}) for model in MODELS]
    + [(AssociativeLSTM, {"num_copies": 1, "num_heads": 1}), (AssociativeLSTM, {"num_copies": 3, "num_heads": 2})],
)
@pytest.mark.parametrize("time", [1, TIME])
def test_equals_its_equations_and_their_gradients(model, options, time):
    module, input, state = draw(model, time=time, **options)
    leaves = [input, *parts(state), *module.parameters()]
    got, want = flat(module(input, state)), literal(module, input, state)
    assert_close(got, want)
    assert_close(gradients(got, leaves), gradients(want, leaves))


@pytest.mark.parametrize("model", MODELS)
def test_no_state_is_a_state_of_zeros(model):
    module, input, state = draw(model)
    assert_close(flat(module(input)), flat(module(input, at(state, torch.zeros_like))), 0.0)


@pytest.mark.parametrize("model", MODELS)
def test_gradients_at_the_empty_state_and_a_zero_input_are_finite(model):
    module = model(INPUT, HIDDEN).double()
    grads = gradients(flat(module(torch.zeros(BATCH, TIME, INPUT, dtype=torch.float64))), list(module.parameters()))
    assert all(grad.isfinite().all() for grad in grads)


@pytest.mark.parametrize("model", MODELS)
def test_runs_under_autocast(model):
    module, input = model(INPUT, HIDDEN), torch.randn(BATCH, TIME, INPUT)
    with torch.autocast("cpu", torch.bfloat16):
        output, state = module(input)
        output, _ = module(input, state)
    output.float().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in module.parameters())


@pytest.mark.parametrize("model", MODELS)
def test_streaming_with_the_carried_state_equals_the_whole_sequence(model):
    module, input, state = draw(model)
    outputs, carried = [], state
    for t in range(TIME):
        output, carried = module(input[:, t : t + 1], carried)
        outputs.append(output)
    assert_close([torch.cat(outputs, dim=1), *parts(carried)], flat(module(input, state)))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("with_state", [True, False])
def test_unbatched_input_loses_the_batch_axis_everywhere(model, with_state):
    module, input, state = draw(model, batch=1)
    alone = at(state, lambda part: part[:, 0]) if with_state else None
    output, final = module(input[0], alone)
    want_output, want_final = module(input, state if with_state else None)
    assert_close([output, *parts(final)], [want_output[0], *(part[:, 0] for part in parts(want_final))])


@pytest.mark.parametrize("model", MODELS)
def test_no_sample_influences_another(model):
    module, input, state = draw(model)
    output, final = module(input, state)
    for b in range(BATCH):
        own_output, own_final = module(input[b : b + 1], at(state, lambda part, b=b: part[:, b : b + 1]))
        assert_close(
            [own_output, *parts(own_final)], [output[b : b + 1], *(part[:, b : b + 1] for part in parts(final))]
        )


@pytest.mark.parametrize("model", MODELS)
def test_the_last_output_is_the_hidden_state_and_shapes_are_those_of_torch(model):
    module, input, _ = draw(model)
    output, state = module(input)
    torch_output, _ = nn.GRU(INPUT, HIDDEN, batch_first=True)(input.float())
    assert output.shape == torch_output.shape
    assert torch.equal(parts(state)[0], output[:, -1].unsqueeze(0))
    assert [tuple(part.shape) for part in parts(state)] == [(1, BATCH, *shape) for shape in state_shapes(module)]


@pytest.mark.parametrize("model", MODELS)
def test_copies_and_saved_weights_compute_the_same(model):
    module, input, state = draw(model)
    want = flat(module(input, state))
    assert_close(flat(deepcopy(module)(input, state)), want, 0.0)
    stored = io.BytesIO()
    torch.save(module.state_dict(), stored)
    stored.seek(0)
    loaded = model(INPUT, HIDDEN).double()
    loaded.load_state_dict(torch.load(stored, weights_only=True))
    assert_close(flat(loaded(input, state)), want, 0.0)


@pytest.mark.parametrize("model", MODELS)
def test_reset_parameters_draws_the_initial_values_again(model):
    module, _, _ = draw(model)
    fresh = model(INPUT, HIDDEN)
    for either in (module.float(), fresh):
        torch.manual_seed(3)
        either.reset_parameters()
    assert_close(list(module.parameters()), list(fresh.parameters()), 0.0)


@pytest.mark.parametrize("model", MODELS)
def test_learns_to_recall_the_first_symbol(model):
    torch.manual_seed(1)
    symbols = torch.randint(0, 4, (64, 6))
    input, target = nn.functional.one_hot(symbols, 4).float(), symbols[:, 0]
    rnn, readout = model(4, 16), nn.Linear(16, 4)
    optimizer = torch.optim.Adam([*rnn.parameters(), *readout.parameters()], lr=0.02)
    for _ in range(80):
        loss = nn.functional.cross_entropy(readout(rnn(input)[0][:, -1]), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.3  # chance: log 4 = 1.39


@pytest.mark.usefixtures("as_users_have_it")
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "input,message",
    [
        (torch.zeros(2, 3, 4), r"got an input of shape \[2, 3, 4\], wanted a tensor \[batch, time, 5\] or \[time, 5\]"),
        (torch.zeros(5), r"got an input of shape \[5\], wanted"),
        (torch.zeros(2, 0, 5), r"got an input of shape \[2, 0, 5\], wanted"),
        ([[0.0] * 5], "got an input of type list, wanted"),
        (nn.utils.rnn.pack_sequence([torch.zeros(2, 5)]), "got an input of type PackedSequence, wanted"),
    ],
)
def test_a_wrong_input_is_refused_in_one_line(model, input, message):
    with pytest.raises((ValueError, TypeError), match=rf"^{model.__name__}: {message}") as error:
        model(INPUT, HIDDEN)(input)
    assert "\n" not in str(error.value)


@pytest.mark.usefixtures("as_users_have_it")
@pytest.mark.parametrize("model", MODELS)
def test_a_wrong_state_is_refused_in_one_line(model):
    module, input, state = draw(model)
    with pytest.raises(ValueError, match=r"of shape \[1, 2, 6\], wanted \[1, 3, 6\] to go with an input of"):
        module(input, at(state, lambda part: part[:, :2]))
    with pytest.raises(TypeError, match="got a state of type int, wanted"):
        module(input, 1)


@pytest.mark.usefixtures("as_users_have_it")
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("size", [0, -2, 2.0, True])
def test_a_wrong_size_is_refused(model, size):
    with pytest.raises(ValueError, match=rf"^{model.__name__}: got hidden_size={size}, wanted an integer >= 1$"):
        model(INPUT, size)


def test_representations_name_the_options():
    assert repr(LNGRU(5, 6)) == "LNGRU(5, 6)"
    assert repr(LNLSTM(5, 6, forget_bias=1.0)) == "LNLSTM(5, 6, forget_bias=1)"
    assert "5, 6, recurrent_scale=0.5" in repr(IRNN(5, 6))
    assert repr(AssociativeLSTM(5, 6)) == "AssociativeLSTM(5, 6, num_copies=4, num_heads=3, forget_bias=1)"


def test_ln_gru_update_gate_and_reset_gate_read_their_own_pre_activations():
    module, input, state = draw(LNGRU)
    with torch.no_grad():
        shut_update, shut_reset = deepcopy(module), deepcopy(module)
        shut_update.bias_input[:HIDDEN] = -60.0
        shut_reset.bias_input[HIDDEN : 2 * HIDDEN] = -60.0
        other = deepcopy(shut_reset)
        other.weight_recurrent[2 * HIDDEN :].normal_()
    whole = module(input, state)[0]
    assert_close([shut_update(input, state)[0]], [state.transpose(0, 1).expand_as(whole)])  # whatever the reset gate
    moved = shut_reset(input, state)[0]
    assert (moved[:, 0] - state[0]).abs().mean() > 0.1  # the update gate is as open as it was
    assert_close([other(input, state)[0]], [moved])  # and no candidate reads the past


def test_ln_gru_pre_activations_have_unit_variance_at_first():
    module = LNGRU(37, 50)
    steps, hidden = torch.randn(64, 37), torch.tanh(torch.randn(64, 50))
    for weight, vector in ((module.weight_input, steps), (module.weight_recurrent, hidden)):
        for block in (weight[:100], weight[100:]):
            pre = nn.functional.layer_norm(vector @ block.T, (len(block),))
            assert 0.95 < pre.var(unbiased=False) < 1.001


def test_ln_lstm_forget_bias_is_an_option():
    assert (LNLSTM(5, 6).bias == 0).all()
    bias = LNLSTM(5, 6, forget_bias=1.0).bias
    assert (bias[:6] == 1).all() and (bias[6:] == 0).all()


def test_irnn_starts_at_a_multiple_of_the_identity():
    assert torch.equal(IRNN(5, 6).rnn.weight_hh_l0, 0.5 * torch.eye(6))
    module = IRNN(5, 16, recurrent_scale=1.0)
    assert torch.equal(module.rnn.weight_hh_l0, torch.eye(16))
    assert (module.rnn.bias_ih_l0 == 0).all() and (module.rnn.bias_hh_l0 == 0).all()
    assert 0.2 < module.rnn.weight_ih_l0.abs().max() <= 0.25


@pytest.mark.parametrize("dtype,tolerance", [(torch.float64, 1e-10), (torch.float32, 2e-4)])
@pytest.mark.parametrize(
    "batch,time,options", [(0, 2, {}), (3, 1, {}), (19, 4, {}), (16, 3, {"num_copies": 1}), (33, 2, {"num_heads": 1})]
)
def test_associative_lstm_kernels_equal_the_operations_of_torch(monkeypatch, batch, time, options, dtype, tolerance):
    module, input, state = draw(AssociativeLSTM, batch=batch, time=time, **options)
    leaves = [input, *state, *module.parameters()]
    for leaf in leaves:
        leaf.data = leaf.data.to(dtype)
    results = []
    for kernels in (True, False):
        assert not kernels or associative_lstm.runs(*leaves)
        if not kernels:
            monkeypatch.setattr(associative_lstm, "runs", lambda *_: False)
        result = flat(module(input, state))
        assert result[0].dtype == dtype
        results.append([*result, *gradients(result, leaves)])
    if batch:
        assert_close(*results, tolerance)
    else:
        assert [r.shape for r in results[0]] == [r.shape for r in results[1]]


def test_associative_lstm_gradients_are_those_of_finite_differences():
    module, input, state = draw(AssociativeLSTM, batch=2, time=3, num_copies=2, num_heads=2)
    names, leaves = zip(*module.named_parameters(), strict=True)

    def run(input, hidden, memory, *leaves):
        named = dict(zip(names, leaves, strict=True))
        return tuple(flat(torch.func.functional_call(module, named, (input, (hidden, memory)))))

    assert torch.autograd.gradcheck(run, (input, *state, *leaves))


def test_associative_lstm_backward_passes_repeat_and_have_no_gradient_of_their_own():
    module, input, _ = draw(AssociativeLSTM)
    loss = module(input)[0].square().sum()
    (first,) = torch.autograd.grad(loss, input, retain_graph=True)
    (again,) = torch.autograd.grad(loss, input, create_graph=True)
    assert torch.equal(first, again)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        again.sum().backward()


@pytest.mark.parametrize("kernels", [True, False])
@pytest.mark.parametrize("num_symbols", [INPUT - 1, INPUT])  # each symbol is projected once, or looked up
def test_associative_lstm_of_symbols_is_that_of_their_features(monkeypatch, num_symbols, kernels):
    module, _, _ = draw(AssociativeLSTM)
    features = torch.randn(num_symbols, INPUT, dtype=torch.float64, requires_grad=True)
    symbols, leaves = torch.randint(0, num_symbols, (BATCH, TIME)), [features, *module.parameters()]
    want = module(nn.functional.embedding(symbols, features))[0][:, -1]
    if not kernels:
        monkeypatch.setattr(associative_lstm, "runs", lambda *_: False)
    got, backend = module.last_of_symbols(symbols, features)
    assert backend == ("cpu" if kernels else "torch")
    assert_close([got, *gradients([got], leaves)], [want, *gradients([want], leaves)])
    with pytest.raises(IndexError):
        module.last_of_symbols(symbols + num_symbols, features)


def test_associative_lstm_runs_under_transforms_of_torch_func():
    module, input, _ = draw(AssociativeLSTM)
    assert_close([torch.func.vmap(lambda each: module(each)[0])(input)], [module(input)[0]])
    want = torch.autograd.grad(module(input)[0].sum(), input)
    assert_close([torch.func.grad(lambda input: module(input)[0].sum())(input)], want)


def test_associative_lstm_retrieves_with_less_noise_from_more_copies():
    def unit_modulus(*shape):
        phase = 2 * torch.pi * torch.rand(*shape, dtype=torch.float64)
        return phase.cos(), phase.sin()

    def signal_to_noise(num_copies):
        module, units = AssociativeLSTM(1, 512, num_copies=num_copies, num_heads=2), 256
        keys, values = unit_modulus(2, units, 20), unit_modulus(2, units, 20)  # two pairs in each of 20 memories
        empty = torch.zeros(num_copies, units, 20, dtype=torch.float64)
        memory = write((empty, empty), module.copies(keys), values)
        real, imaginary = read(memory, module.copies((keys[0], -keys[1])))  # the conjugate keys
        return 1.0 / ((real - values[0]) ** 2 + (imaginary - values[1]) ** 2).mean().item()

    ratios = [signal_to_noise(n) for n in (1, 4, 16)]
    assert ratios[0] == pytest.approx(1.0, rel=0.1)  # the other pair is as strong as the one that is read
    assert ratios[1] == pytest.approx(4.0, rel=0.2)
    assert ratios[2] == pytest.approx(16.0, rel=0.4)


def test_associative_lstm_permutations_are_fixed_and_saved():
    first, again, other = AssociativeLSTM(5, 64), AssociativeLSTM(5, 64), AssociativeLSTM(5, 64, seed=1)
    assert torch.equal(first.permutations, again.permutations)
    assert not torch.equal(first.permutations, other.permutations)
    assert torch.equal(first.permutations.sort(-1).values, torch.arange(32).expand(4, 32))
    other.load_state_dict(first.state_dict())
    assert torch.equal(first.permutations, other.permutations)


def test_associative_lstm_wants_an_even_hidden_size():
    with pytest.raises(ValueError, match="AssociativeLSTM: got hidden_size=7, wanted an even number"):
        AssociativeLSTM(5, 7)
