"""What Ray does for a sweep: it queues jobs and says which slot is whose."""

import json
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cifar100x.app.parts import open_store
from cifar100x.data.building import alone_at
from cifar100x.data.store import cache_folder
from cifar100x.disk.writing import put_in_place
from cifar100x.errors import UserError
from cifar100x.stopping import SIGNALS
from cifar100x.sweep.plan import PlannedJob
from cifar100x.sweep.processes import JobProcess
from cifar100x.sweep.queues import NO_CLUSTER, NO_GPU

SMALLEST_OBJECT_STORE = 80 << 20  # bytes; Ray takes no less, and jobs put nothing there
STOP_SECONDS = 60.0
LEAVE_SECONDS = 5.0  # that processes have to end when Ray does


@contextmanager
def cluster(address: str | None, num_gpus: int | None, num_cpus: int | None) -> Iterator[None]:
    """Start Ray on this machine for this process, or join it where it is.

    Args:
        address: of a cluster that is there; None starts one.
        num_gpus: how many a cluster of our own has; None asks the machine.
        num_cpus: the same of cores.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_worker_niceness", "0")  # else jobs run at nice 15, and stand still beside other work
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    handlers = {number: signal.getsignal(number) for number in SIGNALS}  # Ray has its own, which end in a core dump
    if address:
        try:
            ray.init(address=address, **quiet)
        except ConnectionError as error:
            raise UserError(NO_CLUSTER.format(address)) from error
    else:
        ray.init(
            address="local",  # whatever RAY_ADDRESS says
            num_gpus=num_gpus,
            num_cpus=num_cpus,
            include_dashboard=False,
            object_store_memory=SMALLEST_OBJECT_STORE,
            **quiet,
        )
    for number, handler in handlers.items():
        signal.signal(number, handler)
    try:
        yield
    finally:
        family = [] if address else psutil.Process().children(recursive=True)
        ray.shutdown()
        for process in psutil.wait_procs(family, timeout=LEAVE_SECONDS)[1]:  # one that answers to no signal
            process.kill()


def run_all(
    processes: Sequence[JobProcess], jobs_per_gpu: int | None, cores_per_job: int | None
) -> Iterator[tuple[int, int]]:
    """Run jobs in this order as slots come free; yield the index and the exit status of each when it ends.

    A job that was killed is not tried again here: whoever sweeps again goes on from its checkpoint. If the caller is
    interrupted, all jobs are, and this returns when they have ended.

    Args:
        processes: the jobs.
        jobs_per_gpu: how many share a GPU; None for jobs that need none.
        cores_per_job: threads of a job; None shares the cores of a machine among its GPUs' jobs.

    Raises:
        UserError: there are no GPUs, but jobs want them.
    """
    threads = cores_per_job or _fair_share(jobs_per_gpu or 1)
    options = {"num_gpus": 1 / jobs_per_gpu, "num_cpus": 0} if jobs_per_gpu else {"num_gpus": 0, "num_cpus": threads}
    if jobs_per_gpu and not ray.cluster_resources().get("GPU"):
        raise UserError(NO_GPU)
    most = max(node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"])
    if not jobs_per_gpu and threads > most:
        raise UserError(f"launch.cores_per_job is {threads}, expected at most the {most:g} cores of the largest node")
    task = ray.remote(max_retries=0, **options)(JobProcess.run)
    limited = [process.with_environment(OMP_NUM_THREADS=str(threads)) for process in processes]
    queued = {task.remote(process): index for index, process in enumerate(limited)}
    try:
        while queued:
            ended, _ = ray.wait(list(queued))
            for job in ended:
                yield queued.pop(job), _status(job)
    finally:
        for job in queued:
            ray.cancel(job)
        if queued:
            ray.wait(list(queued), num_returns=len(queued), timeout=STOP_SECONDS)


def _status(job: ray.ObjectRef) -> int:
    try:
        return ray.get(job)
    except ray.exceptions.RayTaskError as error:  # it could not be started
        if isinstance(error.cause, OSError):
            return os.EX_OSERR
        raise
    except ray.exceptions.RayError:
        return -9  # its worker died, and took it along


def _fair_share(jobs_per_gpu: int) -> int:
    """Cores for each job on a GPU if all are busy, on the node that has fewest; at least one."""
    shares = [
        node["Resources"].get("CPU", 1) / (node["Resources"]["GPU"] * jobs_per_gpu)
        for node in ray.nodes()
        if node["Alive"] and node["Resources"].get("GPU")
    ]
    return max(1, int(min(shares, default=1)))


def with_store_on_all_nodes(processes: Sequence[JobProcess], jobs: Sequence[PlannedJob]) -> list[JobProcess]:
    """Give every node of the cluster the image stores of the jobs, each once, and the jobs their names.

    The folder of stores is found on each node, since its environment may name it.
    """
    receive = ray.remote(num_cpus=0)(receive_store)
    nodes = [NodeAffinitySchedulingStrategy(node["NodeID"], soft=False) for node in ray.nodes() if node["Alive"]]
    sent: set[tuple[str | None, Path]] = set()
    named = []
    for process, job in zip(processes, jobs, strict=True):
        path, cache = open_store(job.config).path, job.config["cache"]
        if (cache, path) not in sent:
            files = ray.put({file.name: file.read_bytes() for file in path.iterdir()})
            ray.get([receive.options(scheduling_strategy=node).remote(cache, path.name, files) for node in nodes])
            sent.add((cache, path))
        has_source = job.config["data"].get("source") is not None
        data = job.config["data"] | ({"source": path.name} if has_source else {})
        named.append(replace(process, input=json.dumps(job.config | {"data": data})))
    return named


def receive_store(cache: str | None, name: str, files: dict[str, bytes]) -> None:
    """Write a store into this node's cache unless it is there."""
    path = cache_folder(cache) / name
    with alone_at(path) as receiver:
        if not path.exists():
            partial = receiver.folder / "received"
            partial.mkdir(exist_ok=True)
            for file, content in files.items():
                (partial / file).write_bytes(content)
            put_in_place(partial, path)
