"""A variational autoencoder, which the paper surmises it should have used (section V), of the sparse one's layers."""

import torch
from torch import Tensor, nn

from cifar100x.nets.autoencoder import Autoencoder, Reconstruction


class VariationalAutoencoder(Autoencoder):
    """An autoencoder whose code is the mean of a normal distribution (Kingma and Welling 2014).

    In training the decoder sees a draw from it, in evaluation the mean; the encoder alone gives the mean, so that
    whatever stands on an encoder stands on this one too. The log-variance is a dense layer beside that of the code.

    Args:
        batch_norm: as for `Autoencoder`.
        width_multiplier: the same.

    Shapes: images (N, 3, 32, 32) in 0..1 -> `Reconstruction` with a log-variance.
    """

    def __init__(self, *, batch_norm: str, width_multiplier: float = 1.0):
        super().__init__(batch_norm=batch_norm, width_multiplier=width_multiplier)
        self.log_variance = nn.Linear(self.encoder.code.in_features, self.encoder.num_units)
        nn.init.zeros_(self.log_variance.weight)  # it starts with draws of deviation 1, whatever the image
        nn.init.zeros_(self.log_variance.bias)

    def forward(self, x: Tensor) -> Reconstruction:
        """Encode, draw and decode."""
        features = self.encoder.features(x.contiguous(memory_format=torch.channels_last))
        mean, log_variance = self.encoder.code_of(features), self.log_variance(features.flatten(1))
        drawn = mean + torch.randn_like(mean) * (log_variance / 2).exp() if self.training else mean
        return Reconstruction(self.decoder(drawn).float(), mean.float(), log_variance.float())
