"""What a run will take, found by following one training step with tensors that have shapes but no numbers."""

import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from cifar100x.data.store import EVAL_BATCH_SIZE
from cifar100x.errors import UserError
from cifar100x.stopping import is_interrupt

FLOAT32 = 4  # bytes


@dataclass(frozen=True)
class Needs:
    """What training a network takes.

    Attributes:
        parameters: number of them, trained or not.
        flops_per_image: of one image's forward and backward pass; a multiplication and an addition are two.
        memory: bytes of tensors alive at the peak: weights, gradients, the optimiser's state, activations of a training
            batch or an evaluation batch. Images, libraries and a GPU's own context come on top.
        checkpoint: bytes of an unfinished run's checkpoint; a finished one keeps the weights alone.
        output: shape of what it makes of a training batch; None if that is no tensor.
    """

    parameters: int
    flops_per_image: float
    memory: int
    checkpoint: int
    output: tuple[int, ...] | None = None

    @property
    def weights(self) -> int:
        """Bytes of the weights."""
        return self.parameters * FLOAT32


def needs_of(
    make_net: Callable[[], nn.Module],
    image_shape: tuple[int, ...],
    batch_size: int,
    precision: str,
    make_optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.Adam,
) -> Needs:
    """Follow a training step and an evaluation step of a network.

    A network that cannot be followed without numbers is built and run for real, once.

    Args:
        make_net: makes it.
        image_shape: of one input.
        batch_size: images a training step.
        precision: float32 or bf16, as in `cifar100x.training.machine.PRECISIONS`.
        make_optimizer: makes the optimiser of its trained parameters, given them and `lr`.
    """
    try:
        with torch.device("meta"):
            net = make_net()
        return _follow(net, FakeTensorMode(), image_shape, batch_size, precision, make_optimizer)
    except UserError:
        raise
    except Exception as error:  # tensors as plain attributes, numbers asked for in a constructor, and whatever else
        if is_interrupt(error):
            raise
        with torch.random.fork_rng(devices=[]):
            return _follow(make_net(), nullcontext(), image_shape, batch_size, precision, make_optimizer)


def _follow(
    net: nn.Module,
    mode: AbstractContextManager[Any],
    image_shape: tuple[int, ...],
    batch_size: int,
    precision: str,
    make_optimizer: Callable[..., torch.optim.Optimizer],
) -> Needs:
    shapes = {name: (tensor.shape, tensor.dtype) for name, tensor in net.state_dict().items()}
    is_trained = {name for name, parameter in net.named_parameters() if parameter.requires_grad}
    with mode, LiveBytes() as live:
        tensors = {name: torch.zeros(shape, dtype=dtype) for name, (shape, dtype) in shapes.items()}
        trained = [tensors[name].requires_grad_() for name in is_trained]

        def outputs(num_images: int) -> Any:
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                return torch.func.functional_call(net, tensors, torch.zeros(num_images, *image_shape))

        with FlopCounterMode(display=False) as flops:
            made = outputs(batch_size)
            parts = (part.float().sum() for part in tree_leaves(made) if isinstance(part, Tensor))
            sum(parts, start=torch.zeros(())).backward()
        with torch.no_grad():
            outputs(EVAL_BATCH_SIZE)
        peak = live.peak
        state = _state_of(make_optimizer(trained, lr=0.0))
    parameters = sum(p.numel() for p in net.parameters())
    return Needs(
        parameters=parameters,
        flops_per_image=flops.get_total_flops() / batch_size,
        memory=peak + state,
        checkpoint=FLOAT32 * parameters + state,
        output=tuple(made.shape) if isinstance(made, Tensor) else None,
    )


def _state_of(optimizer: torch.optim.Optimizer) -> int:
    """Bytes that an optimiser keeps from step to step, found by a step on gradients of zero."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    kept = (t for state in optimizer.state.values() for t in state.values() if isinstance(t, Tensor) and t.ndim)
    return sum(t.numel() * t.element_size() for t in kept)


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of all tensors made inside it, from their first use until they are freed.

    Attributes:
        peak: the most there were at one time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self.known: weakref.WeakSet[Any] = weakref.WeakSet()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor) and (storage := leaf.untyped_storage()) not in self.known:
                self.known.add(storage)
                self._add(storage.nbytes())
                weakref.finalize(storage, self._add, -storage.nbytes())
        if func is torch.ops.aten.convolution.default:  # its library copies both to a layout of its own
            self.peak = max(self.peak, self.live + args[0].untyped_storage().nbytes() + out.untyped_storage().nbytes())
        return out

    def _add(self, num_bytes: int) -> None:
        self.live += num_bytes
        self.peak = max(self.peak, self.live)
