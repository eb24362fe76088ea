"""SOAP: Adam for one matrix, in the eigenbasis of its gradients."""

import torch
from torch import Tensor

MEAN = 0.9  # what is kept of the mean, each step
SQUARE = 0.99  # what is kept of the squares and of the covariances, each step
EPSILON = 1e-8
EVERY = 10  # steps to the next basis


class Rotated:
    """The update of one matrix P of G, its gradient, in bases L and R: eigenvectors of the running G G' and G' G.

        M = 0.9 M + 0.1 G;  V = 0.99 V + 0.01 (L' G R)^2
        P *= 1 - learning_rate * decay
        P -= learning_rate / (1 - 0.9^step) * L (L' M R / (sqrt(V / (1 - 0.99^step)) + 1e-8)) R'

    Adam scales each weight by itself; where the units of a layer move together, its steps are too large along some
    directions and too small along others. The first gradient gives the first bases and no update; from then on, each
    tenth step improves them by one QR step of the power iteration, and sorts them by their eigenvalues, V with L. That
    costs rows^3 + columns^3.

    parameter, gradient, mean, square: [rows, columns], changed in place; `gradient` holds G, already clipped.

    Paper: Vyas et al. 2024, https://arxiv.org/abs/2409.11321, here with both bases and the same decay for V and the
    covariances.
    """

    def __init__(self, parameter: Tensor, gradient: Tensor, mean: Tensor, square: Tensor) -> None:
        self.parameter, self.gradient, self.mean, self.square = parameter, gradient, mean, square
        rows, columns = parameter.shape
        self.left_covariance, self.left = parameter.new_zeros(rows, rows), parameter.new_zeros(rows, rows)
        self.right_covariance, self.right = parameter.new_zeros(columns, columns), parameter.new_zeros(columns, columns)

    def step(self, learning_rate: float, decay: float, step: int) -> None:
        """The update after `step` gradients, this one included."""
        gradient, left, right = self.gradient, self.left, self.right
        first = step == 1
        self.left_covariance.lerp_(gradient @ gradient.T, 1.0 if first else 1 - SQUARE)
        self.right_covariance.lerp_(gradient.T @ gradient, 1.0 if first else 1 - SQUARE)
        if first:
            left.copy_(torch.linalg.eigh(self.left_covariance).eigenvectors)
            right.copy_(torch.linalg.eigh(self.right_covariance).eigenvectors)
            return
        self.mean.lerp_(gradient, 1 - MEAN)
        turned = left.T @ gradient @ right
        self.square.mul_(SQUARE).addcmul_(turned, turned, value=1 - SQUARE)
        scale = (self.square / (1 - SQUARE**step)).sqrt_().add_(EPSILON)
        update = left @ ((left.T @ self.mean @ right) / scale) @ right.T
        if decay:
            self.parameter.mul_(1 - learning_rate * decay)
        self.parameter.add_(update, alpha=-learning_rate / (1 - MEAN**step))
        if step % EVERY == 0:
            self.square.copy_(self.square[turn(left, self.left_covariance)])
            self.square.copy_(self.square[:, turn(right, self.right_covariance)])

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint has to hold besides the mean and the square."""
        names = ("left_covariance", "right_covariance", "left", "right")
        return {name: getattr(self, name) for name in names}


def turn(basis: Tensor, covariance: Tensor) -> Tensor:
    """Bring `basis` closer to the eigenvectors of `covariance`, in place; returns its new order."""
    order = (basis.T @ covariance @ basis).diagonal().argsort(descending=True)
    basis.copy_(torch.linalg.qr(covariance @ basis[:, order]).Q)
    return order
