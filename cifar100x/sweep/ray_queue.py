"""Jobs over the GPUs or cores of one machine or a Ray cluster, as a queue of a sweep."""

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from importlib.util import find_spec
from typing import TYPE_CHECKING

from cifar100x.cores import num_cores
from cifar100x.errors import UsageError, UserError
from cifar100x.sweep.mps import side_by_side
from cifar100x.sweep.processes import JobProcess
from cifar100x.sweep.queues import NO_CLUSTER, ProcessQueue, Slots, at_least
from cifar100x.training import machine

if TYPE_CHECKING:
    from cifar100x.sweep.plan import PlannedJob


KNOCK_SECONDS = 5.0


class RayQueue(ProcessQueue):
    """Over the GPUs or the cores of this machine or of a Ray cluster.

    Args:
        address: of a cluster to join; None starts Ray on this machine for as long as the sweep lasts.
        gpus: how many are used; None for all there are, 0 for a sweep over cores.
        jobs_per_gpu: jobs that share a GPU.
        mps: whether their kernels run beside each other, by NVIDIA's Multi-Process Service, and do not take turns.
        cores: how many are used; None for all there are.
        cores_per_job: cores, and so threads, of a job; None divides them among the jobs on GPUs.

    Raises:
        UserError: Ray is not installed, or nobody listens at the address.
        UsageError: a number is none that there can be.
    """

    def __init__(
        self,
        *,
        address: str | None = None,
        gpus: int | None = None,
        jobs_per_gpu: int = 1,
        mps: bool = False,
        cores: int | None = None,
        cores_per_job: int | None = None,
    ):
        if find_spec("ray") is None:
            raise UserError("a sweep over GPUs or cores needs Ray: pip install 'cifar100x[sweep]'")
        at_least("launch.gpus", gpus, 0)
        at_least("launch.jobs_per_gpu", jobs_per_gpu, 1)
        at_least("launch.cores", cores, 1)
        at_least("launch.cores_per_job", cores_per_job, 1)
        for key, number in (("gpus", gpus or None), ("cores", cores)):
            if address is not None and number is not None:
                raise UsageError(
                    f"launch.{key} is {number}, but the cluster at {address} has what it has: leave it out"
                )
        if mps and address is not None:
            raise UsageError(f"launch.mps is true, but the service of the nodes at {address} is theirs: start it there")
        if address not in (None, "auto"):
            _knock(address)
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        num_visible = None if visible is None else len([name for name in visible.split(",") if name.strip()])
        if num_visible is not None and (gpus or 0) > num_visible:
            raise UsageError(f"launch.gpus is {gpus}, but CUDA_VISIBLE_DEVICES names {num_visible}")
        if address is None and 0 < (num_gpus := machine.num_gpus()) < (gpus or 0):  # Ray would believe it
            raise UsageError(f"launch.gpus is {gpus}, expected at most the {num_gpus} GPUs there are")
        there = cores or num_cores()
        if gpus == 0 and address is None and cores_per_job is not None and cores_per_job > there:
            raise UsageError(f"launch.cores_per_job is {cores_per_job}, expected at most the {there} cores there are")
        self.address, self.gpus, self.jobs_per_gpu, self.mps = address, gpus, jobs_per_gpu, mps
        self.cores, self.cores_per_job = cores, cores_per_job

    @property
    def slots(self) -> Slots:
        """Those of this machine; those of a cluster are not known before it is joined."""
        if self.address:
            return Slots(1, here=False)
        if self.gpus == 0:
            return Slots((self.cores or num_cores()) // (self.cores_per_job or 1))
        return Slots(machine.num_gpus() if self.gpus is None else self.gpus, self.jobs_per_gpu)

    def statuses(self, processes: Sequence[JobProcess], jobs: Sequence["PlannedJob"]) -> Iterator[tuple[int, int]]:
        """Queue them with Ray."""
        if not self.address:  # Ray looks when it is imported: one machine alone needs to listen on localhost only
            os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        from cifar100x.sweep import ray_jobs

        counted = None if self.address else self.cores or num_cores()  # Ray counts those of other processes
        with side_by_side() if self.mps else nullcontext(), ray_jobs.cluster(self.address, self.gpus, counted):
            if self.address:
                processes = ray_jobs.with_store_on_all_nodes(processes, jobs)
            yield from ray_jobs.run_all(
                processes,
                jobs_per_gpu=self.jobs_per_gpu if self.gpus != 0 else None,
                cores_per_job=self.cores_per_job,
            )


def _knock(address: str) -> None:
    """Raise UserError where nobody listens: Ray would try for minutes."""
    try:
        host, port = address.rsplit(":", 1)
        socket.create_connection((host.strip("[]"), int(port)), KNOCK_SECONDS).close()
    except (OSError, ValueError) as error:
        raise UserError(NO_CLUSTER.format(address)) from error
