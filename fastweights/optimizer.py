"""Adam over one flat buffer: clipping is one norm, the update one fused call, whatever the number of parameters."""

import torch
from torch import Tensor, nn


class FlatAdam:
    """Adam (fused) with clipping by global norm; the parameters and gradients of `module` become views of two buffers.

        g = gradient * min(1, clip / |gradient|);  then Adam(learning_rate, betas 0.9 and 0.999, epsilon 1e-8)

    Paper: Kingma and Ba 2015, https://arxiv.org/abs/1412.6980.
    """

    def __init__(self, module: nn.Module, learning_rate: float, clip: float) -> None:
        parameters = [p for p in module.parameters() if p.requires_grad]
        if len({(p.dtype, p.device) for p in parameters}) > 1:
            raise ValueError("FlatAdam: got parameters of several dtypes or devices, wanted one of each")
        self.clip = clip
        self.flat = torch.cat([p.detach().reshape(-1) for p in parameters])
        self.flat.grad = torch.zeros_like(self.flat)
        place = 0
        for parameter in parameters:
            end = place + parameter.numel()
            parameter.data = self.flat[place:end].view_as(parameter)
            parameter.grad = self.flat.grad[place:end].view_as(parameter)
            place = end
        self.adam = torch.optim.Adam([self.flat], lr=learning_rate, fused=True)

    @torch.no_grad()
    def step(self, learning_rate: float) -> float:
        """One update from the gradients that have gathered; returns their norm before clipping and zeroes them.

        A norm that is not finite updates nothing: the caller reads it and decides.
        """
        gradient = self.flat.grad
        assert gradient is not None
        norm = float(torch.linalg.vector_norm(gradient))
        if norm > self.clip:
            gradient.mul_(self.clip / norm)
        if norm < float("inf"):
            self.adam.param_groups[0]["lr"] = learning_rate
            self.adam.step()
        gradient.zero_()
        return norm

    def state(self) -> dict[str, Tensor]:
        return {f"adam.{name}": value for name, value in self.adam.state.get(self.flat, {}).items()}

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        state = {n.removeprefix("adam."): t for n, t in tensors.items() if n.startswith("adam.")}
        if state:
            self.adam.state[self.flat] = state
