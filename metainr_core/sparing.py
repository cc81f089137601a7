"""What weights may cost: bytes for a whole volume, and bytes that a brick is not worth."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from . import coding
from .rounding import HIGHEST_CODE, Rounding
from .siren import Siren


def within_budget(
    siren: Siren, codes: Tensor, reference: Siren, bricks: int, budget: float
) -> Tensor:
    """Codes of steps ``(N, tensors)``, raised until every volume keeps its budget.

    ``bricks``: networks of a volume. ``budget``: bytes that they may take when they are coded as
    differences to ``reference``.
    """
    if budget == math.inf:
        return codes
    codes, weights = codes.clone(), siren.flat()
    sizes = [t[0].numel() for t in siren.tensors]
    for volume in torch.arange(len(weights), device=codes.device).split(bricks):
        own = reference.map(lambda t: t[volume])  # noqa: B023
        while int(codes[volume].min()) < HIGHEST_CODE:
            numbers = Rounding.of(own, codes[volume]).numbers(weights[volume])
            if coding.estimate(numbers.cpu().numpy(), sizes).sum() <= budget:
                break
            codes[volume] = codes[volume].clamp(max=HIGHEST_CODE - 1) + 1
    return codes


def spare(
    siren: Siren,
    rounding: Rounding,
    means: Tensor,
    added: Tensor,
    errors_of: Callable[[Siren], Tensor],
) -> Siren:
    """Each fitted network, or its reference as it is, or a constant, whichever is worth it.

    ``means``: ``(N, components)``, of what a network was fitted to. ``added``: ``(N,)``, the mean
    squared error that rounding adds (``choose_codes``), which sets the price of a byte: there a
    bit less for each of n weights doubles twice what rounding adds, so a bit is worth
    2 ln 2 ``added`` / n. ``errors_of``: mean squared errors ``(N,)`` of networks. All in units of
    the networks' output.
    """
    reference = siren.view(rounding.reference)
    *kept, weight, bias = reference.tensors
    constant = siren.with_tensors(
        [*kept, torch.zeros_like(weight), means[:, None].expand_as(bias).contiguous()]
    )
    choices = torch.stack([rounding.round(s.flat()) for s in (siren, reference, constant)])
    parameters, sizes = choices.shape[2], [t[0].numel() for t in siren.tensors]
    price = 8 * 2 * math.log(2) * added / parameters
    costs = []
    for weights in choices:
        numbers = rounding.numbers(weights).cpu().numpy()
        size = torch.from_numpy(coding.estimate(numbers, sizes)).to(price)
        costs.append(errors_of(siren.view(weights)) + price * size)
    best = torch.stack(costs).argmin(0)
    return siren.view(choices[best, torch.arange(len(best), device=best.device)])
