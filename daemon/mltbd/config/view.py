"""What the rules of validation look at: what was asked for, and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mltbd.config.checks import CheckSpec
from mltbd.config.derive import Effective, seeds_of
from mltbd.config.layers import Layers, Sourced
from mltbd.config.workloads import STOP_TIMEOUT_S, WorkloadSpec
from mltbd.core.timing import Timing


@dataclass(frozen=True, slots=True)
class View:
    """What the rules look at: what was `asked` for, and the `values` that follow from it."""

    asked: Mapping[str, Sourced]
    values: Mapping[str, Sourced]
    missing: tuple[str, ...]
    preset: str | None
    workloads: tuple[WorkloadSpec, ...]
    checks: tuple[CheckSpec, ...]
    api_port: Sourced
    root: bool

    @classmethod
    def of(cls, layers: Layers, effective: Effective, root: bool) -> View:
        """The view of a merged and derived configuration."""
        preset = layers.preset.name if layers.preset else None
        return cls(
            layers.values,
            effective.values,
            effective.missing,
            preset,
            layers.workloads,
            layers.checks,
            layers.api_port,
            root,
        )

    def number(self, name: str) -> float:
        """The value of a numeric option."""
        value = self.values[name].value
        return value if isinstance(value, int | float) else 0.0

    def text(self, name: str) -> str:
        """The value as text; empty when there is none."""
        value = self.values[name].value
        return "" if value is None else str(value)

    def texts(self, name: str) -> tuple[str, ...]:
        """The value of a list."""
        value = self.values[name].value
        return value if isinstance(value, tuple) else ()

    def on(self, name: str) -> bool:
        """The value is true."""
        return self.values[name].value is True

    def origin(self, name: str) -> str:
        """Where the value came from, for a problem's origin."""
        return self.values[name].origin

    def resolved(self, check: CheckSpec) -> CheckSpec:
        """With what it takes from the HEALTH_ options."""
        interval_s, timeout_s = self.number("HEALTH_CHECK_INTERVAL"), self.number("HEALTH_CHECK_TIMEOUT")
        return check.resolved(interval_s, timeout_s, int(self.number("HEALTH_FAILURE_THRESHOLD")))

    @property
    def written_checks(self) -> tuple[CheckSpec, ...]:
        """Those of the node, then those of the workloads."""
        return (*self.checks, *(check for workload in self.workloads for check in workload.checks))

    @property
    def joins(self) -> bool:
        """It founds nothing and names no number, as `mltbctl init` and `join` write it: who votes is in the log."""
        bootstrap = self.asked["CLUSTER_BOOTSTRAP"]
        return bootstrap.explicit and bootstrap.value is False and not self.asked["HA_MIN_NODES"].given

    @property
    def voters(self) -> int:
        """How many voters this configuration speaks of, as far as one node can tell."""
        seeds = len(seeds_of(self.values))
        return max(int(self.number("HA_MIN_NODES")), seeds + 1 if seeds else 0)

    @property
    def timing(self) -> Timing:
        """What the lease arithmetic makes of it; the workload that is slowest to stop counts."""
        slowest = max((workload.stop_timeout_s for workload in self.workloads), default=STOP_TIMEOUT_S)
        return Timing.derive(self.number("CLUSTER_LEASE_DURATION"), slowest, self.number("CLUSTER_ELECTION_TIMEOUT"))
