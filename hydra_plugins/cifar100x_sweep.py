"""How cifar100x sweeps, as a plugin of Hydra, which takes them from this namespace only; cifar100x.sweep does the work.

Hydra imports this file whenever any application of it starts, so nothing of ours is imported before a sweep of ours
begins.
"""

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser


class LongestFirstSweeper(BasicSweeper):
    """All combinations of the values on the command line, checked and ordered before the first one is launched."""

    def sweep(self, arguments: list[str]) -> None:
        """Train all that is not finished."""
        from cifar100x.app.command import see_working_folder
        from cifar100x.app.sweeps import combined, compose_all

        see_working_folder()
        assert self.hydra_context is not None
        assert self.config is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        combinations = combined(parser.parse_overrides([*self._parse_config(), *arguments]))
        configs = compose_all(self.hydra_context, self.config, combinations)

        from cifar100x.sweep.sweep import sweep  # heavy, so what is wrong with a config is told before

        sweep(combinations, configs)
