"""Adam and Muon for batches of small networks.

Written out, not taken from ``torch.optim``, because every network of a batch needs its own update
(Muon orthogonalises each network's matrices apart), because the meta-learning loops restart the
state thousands of times, and because all numbers that vary from step to step are made beforehand
(``Descent.schedule``), so that a loop over minibatches needs nothing from the host.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .siren import Siren

# x becomes a x + b x³ + c x⁵ for every singular value x. The coefficients are those of Jordan et
# al. 2024, who iterate five times; four give fits as good (examples/benchmarks/RESULTS.md). Also
# in fused/optimizer.h.
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
ITERATIONS = 4


def cosine(progress: float, floor: float = 0.0) -> float:
    """Learning-rate factor from 1 at ``progress`` 0 to ``floor`` at 1, along half a cosine."""
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(max(progress, 0.0), 1.0)))


def orthogonalize(matrices: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """The nearest semi-orthogonal matrices, roughly, of a batch ``(N, n, n)``.

    Newton–Schulz iteration on the matrices over their Frobenius norms, with products in
    ``dtype``; it brings singular values near 1 without reaching it.
    """
    a, b, c = NEWTON_SCHULZ
    x = (matrices / (matrices.flatten(1).norm(dim=1)[:, None, None] + 1e-12)).to(dtype)
    for _ in range(ITERATIONS):
        gram = torch.bmm(x.mT, x)
        step = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, x, step, beta=a)
    return x.float()


class Adam:
    """Adam (Kingma and Ba 2015, arXiv 1412.6980) on a list of tensors, updated in place."""

    def __init__(self, tensors: Sequence[Tensor]):
        self.tensors = list(tensors)
        self.first = [torch.zeros_like(t) for t in self.tensors]
        self.second = [torch.zeros_like(t) for t in self.tensors]
        self.count = 0

    def step(self, gradients: Sequence[Tensor], rate: float) -> None:
        self.count += 1
        size = rate / (1 - 0.9**self.count)
        correction = math.sqrt(1 - 0.999**self.count)
        gradients = list(gradients)
        torch._foreach_lerp_(self.first, gradients, 0.1)
        torch._foreach_mul_(self.second, 0.999)
        torch._foreach_addcmul_(self.second, gradients, gradients, 0.001)
        denominator = torch._foreach_sqrt(self.second)
        torch._foreach_div_(denominator, correction)
        torch._foreach_add_(denominator, 1e-8)
        torch._foreach_addcdiv_(self.tensors, self.first, denominator, -size)


class Descent:
    """Adam on all weights of a batch of networks, or Muon on their hidden matrices.

    Muon (Jordan et al. 2024) steps along the orthogonalised momentum: each singular direction of
    a matrix moves by ``RATIO`` times the learning rate; first and last layers and biases stay with
    Adam. ``decay`` pulls the hidden matrices toward zero by that share of a step, without which
    long training at a high rate lets their norms grow until the fit collapses. Without ``hidden``
    the hidden matrices stay as they are.
    """

    RATIO = 1.5
    MOMENTUM = 0.95

    def __init__(
        self,
        siren: Siren,
        muon: bool,
        decay: float = 0.0,
        dtype: torch.dtype = torch.float32,
        hidden: bool = True,
    ):
        """For networks of the shape of ``siren`` on its device, stored as ``Siren.flat``.

        ``dtype``: of Muon's products.
        """
        self.siren = siren
        self.dtype = dtype
        self.muon = muon and len(siren.weights) > 2
        self.hidden = hidden
        self.decay = decay
        # With Muon Adam has a short memory of the gradients' size: a fit takes hundreds of steps,
        # not many thousands.
        self.betas = (0.9, 0.99) if muon else (0.9, 0.999)
        self.count = 0
        self.first = torch.zeros_like(siren.flat())
        self.second = torch.zeros_like(self.first)
        # What a moment takes in of a gradient.
        intake = siren.map(lambda t: torch.full_like(t[:1], 1 - self.betas[0]))
        if self.muon:
            for matrix in intake.weights[1:-1]:
                matrix.fill_(1 - self.MOMENTUM)
        self.intake = intake.flat()

    def restart(self) -> None:
        self.count = 0
        self.first.zero_()
        self.second.zero_()

    def schedule(self, rates: Sequence[float]) -> Tensor:
        """What the next steps need, one row ``(4,)`` float32 each.

        Adam's step size and correction of the second moment, Muon's step, and the factor of its
        decay.
        """
        rows = []
        for rate in rates:
            self.count += 1
            size = rate / (1 - self.betas[0] ** self.count)
            correction = math.sqrt(1 - self.betas[1] ** self.count)
            step = rate * self.RATIO
            rows.append((size, correction, step, 1 - step * self.decay))
        return torch.tensor(rows, dtype=torch.float32).view(-1, 4)

    def step(self, weights: Tensor, gradients: Tensor, row: Tensor) -> None:
        """Updates ``weights`` ``(N, parameters)`` in place; ``row`` is one of the schedule's."""
        size, correction, step, shrink = row.unbind()
        self.first.lerp_(gradients, self.intake)
        self.second.lerp_(gradients.square(), 1 - self.betas[1])
        update = self.first / (self.second.sqrt() / correction + 1e-8)
        update *= size
        if not self.hidden:
            for own in self.siren.view(update).weights[1:-1]:
                own.zero_()
        elif self.muon:
            moments, steps = self.siren.view(self.first), self.siren.view(update)
            slopes, matrices = self.siren.view(gradients), self.siren.view(weights)
            momentum = torch.stack(moments.weights[1:-1])
            nesterov = torch.lerp(torch.stack(slopes.weights[1:-1]), momentum, self.MOMENTUM)
            # All hidden matrices have one shape: one batch of products for layers and networks.
            direction = orthogonalize(nesterov.flatten(0, 1), dtype=self.dtype).view_as(nesterov)
            for layer, own in enumerate(direction.unbind(), start=1):
                steps.weights[layer].copy_(own * step)
                matrices.weights[layer].mul_(shrink)
        weights -= update
