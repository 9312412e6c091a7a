"""One run on several devices: each takes its share of every batch."""

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from cifar100x.errors import UserError
from cifar100x.training.learner import Learner


def check_shares(num_devices: int, learner: Learner) -> None:
    """Raise UserError if a batch has no equal shares for all devices: the mean of their gradients would not be its."""
    num_images, batch_size = learner.num_images, learner.batch_size
    if 0 < len(learner.data.held_out) < num_devices:
        raise UserError(f"trainer.devices is {num_devices}, but {len(learner.data.held_out)} images are held out")
    for size in (batch_size, num_images % batch_size):
        if size % num_devices:
            raise UserError(
                f"trainer.devices is {num_devices}, but a batch of {size} images has no {num_devices} equal shares: "
                f"choose data.batch_size, trainer.devices and data.limit (held_out, too, in pre-training) so that all "
                f"batches of {num_images} images have"
            )


def normalises_batches(learner: Learner) -> bool:
    """Whether a network's batch-norm takes its statistics from the batch: of several devices each from its share."""
    with torch.random.fork_rng(devices=[]):
        modules = learner.make_net().train().modules()
    return any(isinstance(module, _BatchNorm) and module.training for module in modules)
