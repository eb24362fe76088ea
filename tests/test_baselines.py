"""The recurrent baselines equal their equations, written out sample by sample, in float64 to 1e-10."""

import io
from copy import deepcopy

import pytest
import torch
from equations import (
    BATCH,
    HIDDEN,
    INPUT,
    MODELS,
    TIME,
    assert_close,
    at,
    draw,
    flat,
    gradients,
    literal,
    parts,
    state_shapes,
)
from torch import nn

from fastweights.nn import IRNN, LNGRU, LNLSTM, AssociativeLSTM


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


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_an_irnn_reads_symbols_as_it_reads_their_features(dtype):
    module, _, _ = draw(IRNN, time=1)
    symbols = torch.randint(7, (37, 9), generator=torch.Generator().manual_seed(0))
    features = torch.randn(7, INPUT, dtype=torch.float64).requires_grad_()
    module, given = (module, features) if dtype == torch.float64 else (module.to(dtype), features.to(dtype))
    last, backend = module.last_of_symbols(symbols, given)
    assert backend == ("cpu" if dtype == torch.float64 else "torch")
    want = module(given[symbols])[0][:, -1]
    assert_close([last], [want], 1e-10 if dtype == torch.float64 else 0.0)
    if dtype == torch.float64:
        leaves = [features, *module.parameters()]
        assert_close(gradients([last], leaves), gradients([want], leaves))


def test_an_irnn_left_to_torch_has_a_second_derivative():
    with pytest.raises(ValueError, match="got backend='attention', wanted 'auto' or 'torch'"):
        IRNN(INPUT, HIDDEN, backend="attention")
    symbols, features = torch.zeros(2, 3, dtype=torch.int64), torch.randn(4, INPUT, requires_grad=True)
    last, backend = IRNN(INPUT, HIDDEN, backend="torch").last_of_symbols(symbols, features)
    assert backend == "torch" and last.shape == (2, HIDDEN)
    assert torch.autograd.grad(last.sum(), features, create_graph=True)[0].requires_grad


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
