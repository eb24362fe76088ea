"""Left padding: zeros in front of the data, in which a layer-normed network stays at zero."""

import pytest
import torch
from torch import nn

from fastweights import FastWeightsRNN
from fastweights.nn import LNGRU, LNLSTM
from fastweights.ops import fast_weights_rnn
from fastweights.rules import Delta

UNITS = 16
NETWORKS = {
    "LNGRU": lambda: LNGRU(5, UNITS),
    "LNLSTM": lambda: LNLSTM(5, UNITS),
    "LNLSTM, forget bias 1": lambda: LNLSTM(5, UNITS, forget_bias=1.0),
    **{
        f"{nonlinearity}, {inner_steps} inner steps, {backend}": lambda n=nonlinearity, s=inner_steps, b=backend: (
            FastWeightsRNN(5, UNITS, batch_first=True, nonlinearity=n, inner_steps=s, backend=b)
        )
        for nonlinearity in ("relu", "tanh")
        for inner_steps in (0, 1)
        for backend in ("auto", "reference", "attention")
    },
    "two layers": lambda: FastWeightsRNN(5, UNITS, 2, batch_first=True, nonlinearity="tanh"),
    "Delta": lambda: FastWeightsRNN(5, UNITS, batch_first=True, nonlinearity="tanh", rule=Delta()),
}


def gradient(network, padding, dtype=torch.float32):
    torch.manual_seed(0)
    module = NETWORKS[network]().to(dtype)
    data = torch.cat([torch.zeros(2, padding, 5), torch.randn(2, 6, 5)], dim=1).to(dtype).requires_grad_()
    module(data)[0][:, -1].square().sum().backward()
    return data.grad, [p.grad for p in module.parameters()]


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("padding", [40, 500])
def test_zeros_in_front_leave_the_first_gradient_as_it_is(network, padding):
    if padding == 500 and ("reference" in network or "attention" in network):
        padding = 120
    bare, padded = (nn.utils.get_total_norm(gradient(network, each)[1]) for each in (0, padding))
    assert padded.isfinite() and padded < 5 * bare


@pytest.mark.parametrize("network", NETWORKS)
def test_zeros_in_front_of_one_sample_of_the_batch(network):
    torch.manual_seed(0)
    module, data = NETWORKS[network]().double(), torch.randn(3, 9, 5, dtype=torch.float64)
    data[1, :5] = 0
    each = []
    for part in (data, *data.split(1)):
        module.zero_grad()
        module(part)[0][:, -1].square().sum().backward()
        each.append([p.grad.clone() for p in module.parameters()])
    for together, *alone in zip(*each, strict=True):
        assert torch.allclose(together, sum(alone), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("backend", ["attention", "cpu"])
@pytest.mark.parametrize("inner_steps", [0, 1, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_backends_agree_where_some_vectors_are_zero(backend, inner_steps, dtype):
    g = torch.Generator().manual_seed(0)
    given = [torch.randn(3, 7, 20, generator=g), torch.randn(20, 20, generator=g) / 20, torch.ones(20), torch.zeros(20)]
    given[0][:, :3], given[0][1] = 0, 0
    given[0][2, 2] = 1e-6 * torch.randn(20, generator=g)  # not zero: the slope is that of the layer norm
    results = []
    for name in ("reference", backend):
        leaves = [each.to(dtype).requires_grad_() for each in given]
        outputs, _ = fast_weights_rnn(*leaves, inner_steps=inner_steps, nonlinearity="tanh", backend=name)
        outputs.square().sum().backward()
        results.append([outputs, *(leaf.grad for leaf in leaves)])
    tolerance = 1e-4 if dtype == torch.float32 else 1e-10
    for want, got in zip(*results, strict=True):
        assert (want - got).abs().max() <= tolerance * want.abs().max()
