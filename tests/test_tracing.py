import pytest
import torch
from torch import nn

from fastweights import FastWeightsRNN


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("time", [1, 7])
def test_a_trace_of_torch_jit_computes(time):
    class Outputs(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = FastWeightsRNN(3, 5)

        def forward(self, x):
            return self.rnn(x)[0]

    model = Outputs().eval()
    with torch.no_grad():
        traced = torch.jit.trace(model, torch.randn(time, 4, 3))
        x = torch.randn(time, 4, 3)
        assert torch.allclose(traced(x), model(x), atol=1e-5)
