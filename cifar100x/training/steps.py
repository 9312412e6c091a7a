"""Many training steps in one call; on an NVIDIA GPU each of them, but for the first, is one CUDA graph.

A GPU is done with the kernels of a small network before the next ones are launched. A CUDA graph launches all kernels
of a step at once, and they run with hardly a gap between them; what it holds are these kernels, their addresses and
the numbers they were given, so nothing else may change from step to step (the CUDA programming guide, "CUDA graphs").
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from cifar100x.errors import UserError
from cifar100x.training.recipe import Interval

WARM_UP_STEPS = 3
"""Taken kernel by kernel before one is captured: libraries choose their kernels, the optimiser makes its state."""

Counted = tuple[Tensor, ...]
"""What metrics are counted from, each with one row an image."""
Found = tuple[Tensor, ...]
"""The loss of a step and what is counted; or the losses of some and what is counted of all."""


class ManySteps:
    """Trains on one batch after the other, with the numbers that come of taking each step by itself.

    On an NVIDIA GPU a step is captured once the first ones are taken: the batch is cut from the chunk, augmented, sent
    forward and backward, the gradient clipped. The optimiser is in the graph where nothing changes its settings from
    step to step and its implementation can be captured; else it follows each replay. A last batch that is smaller is
    trained on kernel by kernel.

    Args:
        loss: of a batch, with what its metrics are counted from.
        optimizer: of the parameters that are trained.
        schedule: of the learning rate, if there is one.
        interval: what it goes by; epochs are not counted here.
        clip: clips the gradient, if the recipe says so.
        batch_size: images a step.

    Attributes:
        learning_rate: of the last step.
    """

    def __init__(
        self,
        loss: Callable[[tuple[Tensor, ...]], tuple[Tensor, Counted]],
        optimizer: Optimizer,
        schedule: LRScheduler | None,
        interval: Interval,
        clip: Callable[[], None],
        batch_size: int,
    ):
        self.loss, self.optimizer, self.clip, self.batch_size = loss, optimizer, clip, batch_size
        self.schedule, self.interval = schedule, interval
        self.captured: CapturedStep | None = None
        self.learning_rate: float = optimizer.param_groups[0]["lr"]

    def __call__(self, chunk: tuple[Tensor, ...]) -> tuple[Tensor, Counted]:
        """Train on each batch of a chunk in turn; return the losses (num_steps,) and what metrics are counted from.

        Args:
            chunk: images (N, ...) and what belongs to them, a row each.
        """
        num_whole = len(chunk[0]) // self.batch_size
        done, found = 0, []
        if self.captured is None and self.can_capture(chunk) and num_whole > WARM_UP_STEPS:
            done = WARM_UP_STEPS
            found += self._warmed_up(_rows(chunk, 0, done * self.batch_size))
            self.captured = CapturedStep(self, chunk, found[0])
        if self.captured and num_whole > done:
            whole = _rows(chunk, done * self.batch_size, num_whole * self.batch_size)
            found.append(self.captured(whole, num_whole - done))
            done = num_whole
        found += self._each(_rows(chunk, done * self.batch_size, None))
        losses, *counted = (torch.cat(parts) for parts in zip(*found, strict=True))
        return losses, tuple(counted)

    @staticmethod
    def can_capture(chunk: tuple[Tensor, ...]) -> bool:
        """Whether steps on its batches run on a device that has graphs."""
        return chunk[0].is_cuda

    def _warmed_up(self, chunk: tuple[Tensor, ...]) -> list[Found]:
        """Take steps on another stream than the usual one, as those before a capture have to be."""
        usual, other = torch.cuda.current_stream(), torch.cuda.Stream()
        other.wait_stream(usual)
        with torch.cuda.stream(other):
            found = list(self._each(chunk))
        usual.wait_stream(other)
        return found

    def _each(self, chunk: tuple[Tensor, ...]) -> Iterator[Found]:
        """Take steps kernel by kernel."""
        if len(chunk[0]):
            for batch in zip(*(values.split(self.batch_size) for values in chunk), strict=True):
                loss, *counted = self.differentiate(batch)
                self.advance()
                yield loss[None], *counted

    def differentiate(self, batch: tuple[Tensor, ...]) -> Found:
        """Find the gradient; return the loss, (), and what metrics are counted from."""
        torch.clear_autocast_cache()  # it holds the weights of the step before, and is else kept while autocast is on
        self.optimizer.zero_grad()
        loss, counted = self.loss(batch)
        with torch.autocast(loss.device.type, enabled=False):
            loss.backward()
            self.clip()
        return loss.detach(), *(values.detach() for values in counted)

    def advance(self) -> None:
        """Follow the gradient by a step."""
        self.learning_rate = float(self.optimizer.param_groups[0]["lr"])
        self.optimizer.step()
        if self.schedule and self.interval == "step":
            self.schedule.step()

    @property
    def is_constant(self) -> bool:
        """Whether the optimiser can be in a graph: each step does the same, and counts its steps on the device."""
        groups = self.optimizer.param_groups
        return self.schedule is None and type(self.optimizer) in (Adam, AdamW) and all(g["fused"] for g in groups)


class CapturedStep:
    """One training step as a CUDA graph, replayed for each batch of a chunk; where it is in the chunk it knows itself.

    Args:
        steps: whose step it is; some have been taken.
        chunk: of which it will see such, or shorter ones.
        like: what a step finds.
    """

    def __init__(self, steps: ManySteps, chunk: tuple[Tensor, ...], like: Found):
        self.steps, batch_size = steps, steps.batch_size
        device, num_steps = chunk[0].device, len(chunk[0]) // batch_size
        self.chunk = tuple(v.new_empty(num_steps, batch_size, *v.shape[1:]) for v in chunk)
        self.found = tuple(v.new_empty(num_steps, *v.shape) for v in (like[0][0], *like[1:]))
        self.place = torch.zeros(1, dtype=torch.int64, device=device)
        self.whole = steps.is_constant
        self.graph = torch.cuda.CUDAGraph()
        with refusing(device), torch.cuda.graph(self.graph):
            self._step()
        torch.clear_autocast_cache()
        self.gradients = [(p, p.grad) for group in steps.optimizer.param_groups for p in group["params"]]

    def _step(self) -> None:
        """What is captured."""
        found = self.steps.differentiate(tuple(values.index_select(0, self.place)[0] for values in self.chunk))
        if self.whole:
            self._advance()
        for kept, values in zip(self.found, found, strict=True):
            kept.index_copy_(0, self.place, values[None])
        self.place += 1

    def _advance(self) -> None:
        groups = self.steps.optimizer.param_groups
        for group in groups:
            group["capturable"] = True
        self.steps.optimizer.step()
        for group in groups:  # as a checkpoint should have it, which may go on where there is no GPU
            group["capturable"] = False

    def __call__(self, chunk: tuple[Tensor, ...], num_steps: int) -> Found:
        """Take the steps of a chunk of whole batches; what is returned is overwritten by the next call."""
        for parameter, gradient in self.gradients:  # a step without the graph has made its own
            parameter.grad = gradient
        for kept, values in zip(self.chunk, chunk, strict=True):
            kept[:num_steps].copy_(values.unflatten(0, (num_steps, self.steps.batch_size)))
        self.place.zero_()
        for _ in range(num_steps):
            self.graph.replay()
            if not self.whole:
                self.steps.advance()
        losses, *counted = (values[:num_steps] for values in self.found)
        return losses, *(values.flatten(0, 1) for values in counted)


@contextmanager
def refusing(device: torch.device) -> Iterator[None]:
    """Turn it into a UserError that a step cannot be captured; that memory is short stays what it is."""
    usual = torch.cuda.current_stream(device) if device.type == "cuda" else None
    try:
        yield
    except RuntimeError as error:
        if usual:
            torch.cuda.set_stream(usual)  # a capture that fails at its end leaves its own
        reason = error.__context__ or error  # the end of a capture that has failed fails, too
        if isinstance(reason, torch.OutOfMemoryError):
            raise reason from None
        raise UserError(
            f"a training step of this network cannot be captured as a CUDA graph ({str(reason).splitlines()[0]}): "
            "choose trainer.steps_at_once=1"
        ) from error


def _rows(chunk: tuple[Tensor, ...], start: int, end: int | None) -> tuple[Any, ...]:
    return tuple(values[start:end] for values in chunk)
