"""How cifar100x sweeps, as plugins of Hydra, which takes them from this namespace only; cifar100x.sweep does the work.

Hydra imports this file whenever it starts, so what is heavy is imported when a sweep begins.
"""

import copy
import os
from abc import abstractmethod
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from cifar100x import cli

if TYPE_CHECKING:
    from cifar100x.sweep.preflight import Slots
    from cifar100x.sweep.processes import JobProcess


class LongestFirstSweeper(BasicSweeper):
    """All combinations of the values on the command line, checked and ordered before the first one is launched."""

    def sweep(self, arguments: list[str]) -> None:
        """Train all that is not finished."""
        from cifar100x.sweep.sweep import sweep

        assert self.hydra_context is not None
        assert self.config is not None
        assert self.launcher is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides = parser.parse_overrides([*self._parse_config(), *arguments])
        (combinations,) = self.split_arguments(overrides, None)
        sweep(combinations, compose_all(self.hydra_context, self.config, combinations), self.launcher)


def compose_all(context: HydraContext, config: DictConfig, jobs: Sequence[Sequence[str]]) -> list[DictConfig]:
    """The configs of jobs, without Hydra's own.

    Composing one takes a quarter of a second, so each choice of groups is composed once and single values are set
    afterwards, as Hydra does it.
    """
    parser, groups = OverridesParser.create(), cli.groups()
    composed: dict[tuple[str, ...], DictConfig] = {}
    configs = []
    for job in jobs:
        values = [o for o in parser.parse_overrides(list(job)) if is_value(o, groups)]
        choices = tuple(override for override in job if override not in [value.input_line for value in values])
        if choices not in composed:
            composed[choices] = context.config_loader.load_sweep_config(config, list(choices))
            with open_dict(composed[choices]):
                del composed[choices]["hydra"]
        configs.append(copy.deepcopy(composed[choices]))
        for value in values:
            OmegaConf.update(configs[-1], value.key_or_group, value.value())
    return configs


def is_value(override: Override, groups: Collection[str]) -> bool:
    """Whether an override gives a key another value and changes nothing else."""
    key = override.key_or_group
    return override.type == OverrideType.CHANGE and key not in groups and not key.startswith("hydra.")


class ProcessLauncher(Launcher):
    """Starts every job as a process of its own, which says what it has to say to the log of its run."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra gives."""
        self.context, self.config = hydra_context, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run all jobs; print the last words of each when it ends."""
        from cifar100x.jobs.job import job_class
        from cifar100x.sweep.processes import JobProcess, ending

        configs = compose_all(self.context, self.config, job_overrides)
        runs = [job_class(config).directory(config) for config in configs]
        processes = [
            JobProcess("cifar100x.train", overrides, str(Path.cwd()), str(run.log))
            for overrides, run in zip(job_overrides, runs, strict=True)
        ]
        returns = [JobReturn(overrides=overrides) for overrides in job_overrides]
        for index, status in self.run(processes):
            words = processes[index].last_words() if status >= 0 else ending(status)
            returns[index].status = JobStatus.FAILED if status else JobStatus.COMPLETED
            returns[index].return_value = RuntimeError(words) if status else None
            if status and not runs[index].is_held:
                runs[index].mark_failed(words)
                words = f"{runs[index].path} failed: {words}"
            print(words, flush=True)
        return returns

    @property
    @abstractmethod
    def slots(self) -> "Slots":
        """Where jobs run, and how many at one time."""

    @abstractmethod
    def run(self, processes: Sequence["JobProcess"]) -> Iterator[tuple[int, int]]:
        """Run them in this order as slots come free; yield the index and the exit status of each when it ends."""


class RayLauncher(ProcessLauncher):
    """Over the GPUs or the cores of this machine or of a Ray cluster.

    Args:
        address: of a cluster to join; None starts Ray on this machine for as long as the sweep lasts.
        gpus: how many are used; None for all there are, 0 for a sweep over cores.
        jobs_per_gpu: jobs that share a GPU.
        cores: how many are used; None for all there are.
        cores_per_job: cores, and so threads, of a job; None divides them among the jobs on GPUs.
    """

    def __init__(
        self,
        *,
        address: str | None = None,
        gpus: int | None = None,
        jobs_per_gpu: int = 1,
        cores: int | None = None,
        cores_per_job: int | None = None,
    ):
        self.address, self.gpus, self.jobs_per_gpu = address, gpus, jobs_per_gpu
        self.cores, self.cores_per_job = cores, cores_per_job

    @property
    def slots(self) -> "Slots":
        """Those of this machine; those of a cluster are not known before it is joined."""
        from cifar100x import system
        from cifar100x.sweep.preflight import Slots

        if self.address:
            return Slots(1, here=False)
        if self.gpus == 0:
            return Slots(max(1, (self.cores or system.num_cores()) // (self.cores_per_job or 1)))
        return Slots(system.num_gpus() if self.gpus is None else self.gpus, self.jobs_per_gpu)

    def run(self, processes: Sequence["JobProcess"]) -> Iterator[tuple[int, int]]:
        """Queue them with Ray."""
        if not self.address:  # Ray looks when it is imported: one machine alone needs to listen on localhost only
            os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        from cifar100x.sweep import ray_queue

        with ray_queue.cluster(self.address, self.gpus, self.cores):
            if self.address:
                processes = ray_queue.with_store_on_all_nodes(processes, self.config)
            yield from ray_queue.run_all(
                processes,
                jobs_per_gpu=self.jobs_per_gpu if self.gpus != 0 else None,
                cores_per_job=self.cores_per_job,
            )


class SlurmLauncher(ProcessLauncher):
    """As an array on Slurm, from a folder that all its nodes see.

    Args:
        jobs: how many run at one time.
        options: of submitit's executor, by its names, as `slurm_partition` or `timeout_min`.
    """

    def __init__(self, *, jobs: int, options: DictConfig):
        self.jobs, self.options = jobs, options

    @property
    def slots(self) -> "Slots":
        """On other machines."""
        from cifar100x.sweep.preflight import Slots

        return Slots(self.jobs, here=False)

    def run(self, processes: Sequence["JobProcess"]) -> Iterator[tuple[int, int]]:
        """Submit them."""
        from cifar100x.sweep import slurm_array

        folder = Path(self.config.runs, self.config.study, "slurm")
        yield from slurm_array.run_all(processes, folder, self.jobs, dict(self.options))
