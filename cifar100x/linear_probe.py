"""Multinomial logistic regression on the outputs of a network, as a measure of what can be read off them."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PENALTIES = (1.0, 0.1, 0.01, 0.001)  # strongest first: each fit starts where the one before it ended
VALIDATION_SHARE = 0.1
MAX_ITERATIONS = 50
CHUNK = 4096  # inputs at a time in float32


class LinearProbe(nn.Module):
    """Standardised inputs, then a linear map to logits.

    Shapes: (N, D) -> (N, num_classes).
    """

    def __init__(self, mean: Tensor, deviation: Tensor, num_classes: int):
        super().__init__()
        self.mean, self.scale = mean, 1 / deviation.clamp(min=1e-6)
        self.linear = nn.Linear(len(mean), num_classes, device=mean.device)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the logits."""
        return self.linear((x.float() - self.mean) * self.scale)


def fit_linear_probe(
    inputs: Tensor, labels: Tensor, training: Tensor, seed: int, penalties: Sequence[float] = PENALTIES
) -> LinearProbe:
    """Fit a probe by L-BFGS: mean cross-entropy plus penalty / 2 * ||weights||^2, biases free.

    The penalty is the one with the highest accuracy on a tenth of the training rows, drawn with the seed and left out
    of the fit.

    Args:
        inputs: (N, D), of any float type.
        labels: (N,) classes from 0.
        training: rows to use.
        seed: of the drawing.
        penalties: to choose from, in the order in which they are tried.
    """
    order = training[torch.randperm(len(training), generator=torch.Generator().manual_seed(seed))]
    num_validation = round(VALIDATION_SHARE * len(order)) if len(penalties) > 1 else 0
    validation, fitting = order[:num_validation], order[num_validation:]
    mean, deviation = _moments(inputs, fitting)
    probe = LinearProbe(mean, deviation, int(labels.max()) + 1)
    best, best_accuracy = {k: v.clone() for k, v in probe.state_dict().items()}, -1.0
    for penalty in penalties:
        _minimise(probe, inputs, labels, fitting, penalty)
        accuracy = _accuracy(probe, inputs, labels, validation)
        if accuracy > best_accuracy:
            best, best_accuracy = {k: v.clone() for k, v in probe.state_dict().items()}, accuracy
    probe.load_state_dict(best)
    return probe.requires_grad_(False)


def _moments(inputs: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each column."""
    total = torch.zeros(2, inputs.shape[1], dtype=torch.float64, device=inputs.device)
    for chunk in rows.split(CHUNK):
        x = inputs[chunk].double()
        total += torch.stack([x.sum(0), x.square().sum(0)])
    mean, square = total / len(rows)
    return mean.float(), (square - mean.square()).clamp(min=0).sqrt().float()


def _minimise(probe: LinearProbe, inputs: Tensor, labels: Tensor, rows: Tensor, penalty: float) -> None:
    optimizer = torch.optim.LBFGS(probe.parameters(), max_iter=MAX_ITERATIONS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = penalty / 2 * probe.linear.weight.square().sum()
        loss.backward()
        for chunk in rows.split(CHUNK):
            part = F.cross_entropy(probe(inputs[chunk]), labels[chunk], reduction="sum") / len(rows)
            part.backward()
            loss = loss + part
        return loss.detach()

    optimizer.step(closure)


@torch.no_grad()
def _accuracy(probe: LinearProbe, inputs: Tensor, labels: Tensor, rows: Tensor) -> float:
    correct = [(probe(inputs[chunk]).argmax(1) == labels[chunk]).sum() for chunk in rows.split(CHUNK)]
    return float(sum(correct)) / max(1, len(rows))
