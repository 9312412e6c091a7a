"""The transfer classifier of the paper (section III.D): a pre-trained encoder and dense layers on its code."""

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cifar100x.nets.autoencoder import Encoder
from cifar100x.nets.conv import NEGATIVE_SLOPE, check_dropout, dense_layers, glorot_uniform_, scaled


class TransferNet(nn.Module):
    """An encoder and a head of dense layers, which ends in a leaky-ReLU on the logits, as the paper has it.

    Args:
        batch_norm: of the encoder, as in `Encoder`.
        frozen: whether the encoder stays as it is, batch-norm statistics included: no gradients are computed for it
            and it is always in evaluation mode.
        dense: units of the hidden dense layers.
        dropout: probability to drop a unit, after every hidden dense layer.
        width_multiplier: scales encoder and dense layers, as in `ConvNet`.
        num_classes: number of logits.

    Shapes: images (N, 3, 32, 32) in 0..1 -> logits (N, num_classes), float32; `head` maps codes (N, 512) to the same.

    Raises:
        UserError: dropout outside [0, 1), or an unknown batch_norm.
    """

    def __init__(
        self,
        *,
        batch_norm: str,
        frozen: bool,
        dense: Sequence[int],
        dropout: float,
        num_classes: int,
        width_multiplier: float = 1.0,
    ):
        super().__init__()
        check_dropout(dropout)
        self.frozen = frozen
        self.encoder = Encoder(batch_norm=batch_norm, width_multiplier=width_multiplier)
        self.head = TransferHead(
            [self.encoder.num_units, *(scaled(units, width_multiplier) for units in dense)], dropout, num_classes
        )
        if frozen:
            self.encoder.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Choose the mode; a frozen encoder stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Compute the logits."""
        return self.head(self.encoder(x))


class TransferHead(nn.Module):
    """Dense layers from a code to the logits.

    Shapes: code (N, units[0]) -> logits (N, num_classes), float32.
    """

    def __init__(self, units: Sequence[int], dropout: float, num_classes: int):
        super().__init__()
        self.hidden = nn.Sequential(*dense_layers(units, dropout))
        self.logits = nn.Linear(units[-1], num_classes)
        glorot_uniform_(self)

    def forward(self, code: Tensor) -> Tensor:
        """Compute the logits."""
        x = self.hidden(code)
        with torch.autocast(x.device.type, enabled=False):
            return F.leaky_relu(self.logits(x.float()), NEGATIVE_SLOPE)
