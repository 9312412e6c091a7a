"""Multinomial logistic regression on the outputs of a network, as a measure of what can be read off them."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PENALTIES = (1.0, 0.1, 0.01, 0.001)  # strongest first: each fit starts where the one before it ended
VALIDATION_SHARE = 0.1
MAX_ITERATIONS = 50
GRADIENT_TOLERANCE = 1e-4


class LinearProbe(nn.Module):
    """Standardised inputs, then a linear map to logits.

    Shapes: (N, D) -> (N, num_classes).
    """

    def __init__(self, mean: Tensor, deviation: Tensor, num_classes: int):
        super().__init__()
        self.mean, self.deviation = mean, deviation.clamp(min=1e-6)
        self.linear = nn.Linear(len(mean), num_classes, device=mean.device)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def standardise(self, x: Tensor) -> Tensor:
        """Give every column mean 0 and variance 1, as far as it has them on the rows of the fit."""
        return (x.float() - self.mean).div_(self.deviation)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the logits."""
        return self.linear(self.standardise(x))


def fit_linear_probe(
    inputs: Tensor, labels: Tensor, training: Tensor, seed: int, penalties: Sequence[float] = PENALTIES
) -> LinearProbe:
    """Fit a probe by L-BFGS: mean cross-entropy plus penalty / 2 * ||weights||^2, biases free.

    The penalty is the one with the highest accuracy on a tenth of the training rows, drawn with the seed and left out
    of the fit.

    Args:
        inputs: (N, D), of any float type.
        labels: (N,) classes from 0.
        training: rows to use; their inputs are held once more, in float32.
        seed: of the drawing.
        penalties: to choose from, in the order in which they are tried.
    """
    order = training[torch.randperm(len(training), generator=torch.Generator().manual_seed(seed))]
    num_validation = round(VALIDATION_SHARE * len(order)) if len(penalties) > 1 else 0
    validation, fitting = order[:num_validation], order[num_validation:]
    x, y = inputs[fitting].float(), labels[fitting]
    probe = LinearProbe(x.mean(0), x.std(0, correction=0), int(labels.max()) + 1)
    x.sub_(probe.mean).div_(probe.deviation)
    x_validation, y_validation = probe.standardise(inputs[validation]), labels[validation]
    best, most = {k: v.clone() for k, v in probe.state_dict().items()}, -1
    for penalty in penalties:
        _minimise(probe.linear, x, y, penalty)
        correct = int((probe.linear(x_validation).argmax(1) == y_validation).sum())
        if correct > most:
            best, most = {k: v.clone() for k, v in probe.state_dict().items()}, correct
    probe.load_state_dict(best)
    return probe.requires_grad_(False)


def _minimise(linear: nn.Linear, x: Tensor, y: Tensor, penalty: float) -> None:
    optimizer = torch.optim.LBFGS(
        linear.parameters(),
        max_iter=MAX_ITERATIONS,
        tolerance_grad=GRADIENT_TOLERANCE,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(linear(x), y) + penalty / 2 * linear.weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
