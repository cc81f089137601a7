"""Adam and Muon for batches of small networks.

Written out, not taken from ``torch.optim``, because every network of a batch needs its own update
(Muon orthogonalises each network's matrices apart), because the meta-learning loops restart the
state thousands of times, and because the differentiable inner loop of MAML needs neither.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def cosine(progress: float, floor: float = 0.0) -> float:
    """Learning-rate factor from 1 at ``progress`` 0 to ``floor`` at 1, along half a cosine."""
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(max(progress, 0.0), 1.0)))


def orthogonalize(matrices: Tensor, iterations: int = 5) -> Tensor:
    """The nearest semi-orthogonal matrices, roughly, of a batch ``(N, rows, columns)``.

    Newton–Schulz iteration with the quintic coefficients of Jordan et al. 2024 (Muon), which
    brings singular values near 1 without reaching it.
    """
    x = matrices / (matrices.flatten(1).norm(dim=1)[:, None, None] + 1e-12)
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    for _ in range(iterations):
        gram = torch.bmm(x, x.mT)
        step = torch.baddbmm(gram, gram, gram, beta=-4.7750, alpha=2.0315)
        x = torch.baddbmm(x, step, x, beta=3.4445)
    return x.mT if tall else x


class Adam:
    """Adam (Kingma and Ba 2015, arXiv 1412.6980) on a list of tensors, updated in place."""

    def __init__(self, tensors: Sequence[Tensor], betas: tuple[float, float] = (0.9, 0.999)):
        self.tensors = list(tensors)
        self.betas = betas
        self.first = [torch.zeros_like(t) for t in self.tensors]
        self.second = [torch.zeros_like(t) for t in self.tensors]
        self.count = 0

    def step(self, gradients: Sequence[Tensor], rate: float) -> None:
        beta1, beta2 = self.betas
        self.count += 1
        size = rate / (1 - beta1**self.count)
        correction = math.sqrt(1 - beta2**self.count)
        gradients = list(gradients)
        torch._foreach_lerp_(self.first, gradients, 1 - beta1)
        torch._foreach_mul_(self.second, beta2)
        torch._foreach_addcmul_(self.second, gradients, gradients, 1 - beta2)
        denominator = torch._foreach_sqrt(self.second)
        torch._foreach_div_(denominator, correction)
        torch._foreach_add_(denominator, 1e-8)
        torch._foreach_addcdiv_(self.tensors, self.first, denominator, -size)


class MuonAdam:
    """Muon on the hidden matrices, Adam on the first and last layers and all biases.

    Muon (Jordan et al. 2024) steps along the orthogonalised momentum: each singular direction of
    a matrix moves by ``RATIO`` times the learning rate. ``decay`` pulls the matrices toward zero
    by that share of a step, without which long training at a high rate lets their norms grow
    until the fit collapses.
    """

    RATIO = 1.5

    def __init__(self, tensors: Sequence[Tensor], decay: float = 0.0, momentum: float = 0.95):
        self.decay = decay
        self.momentum = momentum
        last_weight = len(tensors) - 2
        self.hidden = range(2, last_weight, 2)
        self.others = [i for i in range(len(tensors)) if i not in self.hidden]
        self.matrices = [tensors[i] for i in self.hidden]
        # All hidden matrices have one shape: one batch of products serves layers and networks.
        self.moments = torch.stack(self.matrices).zero_() if self.matrices else None
        # A short memory of the gradients' size: a fit takes hundreds of steps, not many thousands.
        self.adam = Adam([tensors[i] for i in self.others], betas=(0.9, 0.99))

    def step(self, gradients: Sequence[Tensor], rate: float) -> None:
        self.adam.step([gradients[i] for i in self.others], rate)
        if self.moments is None:
            return
        stacked = torch.stack([gradients[i] for i in self.hidden])
        self.moments.lerp_(stacked, 1 - self.momentum)
        nesterov = torch.lerp(stacked, self.moments, self.momentum)
        steps = orthogonalize(nesterov.flatten(0, 1)).view_as(stacked)
        length = rate * self.RATIO
        if self.decay:
            torch._foreach_mul_(self.matrices, 1 - length * self.decay)
        torch._foreach_sub_(self.matrices, list(steps.unbind()), alpha=length)
