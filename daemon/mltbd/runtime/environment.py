"""What the processes around a workload are told by their environment: the workload itself, its hooks, its checks."""

from __future__ import annotations

import os
from collections.abc import Mapping

from mltbd.config.settings import Settings
from mltbd.config.workloads import WorkloadSpec
from mltbd.orders import WITHHELD

HEARTBEAT = "MLTB_HEARTBEAT"
"""Names the file a workload touches to say that it does its work; set where a `heartbeat` check is written."""


class Environment:
    """One node's. The secret and what systemd means for the daemon alone are never in it."""

    def __init__(self, settings: Settings, control_socket: str, environ: Mapping[str, str]) -> None:
        self._settings = settings
        self._control_socket = control_socket
        self._environ = environ
        self._beating = {check.workload for check in settings.checks if check.kind == "heartbeat"}

    def beat_path(self, workload: str) -> str:
        """Beside the control socket, which is ours alone."""
        # No name of a workload has a `%`, so no two of them share a file.
        name = f"{self._settings.node_id}.{workload.replace('/', '%')}.beat"
        return os.path.join(os.path.dirname(self._control_socket), name)

    def of_workload(self, spec: WorkloadSpec, token: int) -> dict[str, str]:
        names = {"MLTB_WORKLOAD": spec.name, "MLTB_TOKEN": str(token)}
        if spec.name in self._beating:
            names[HEARTBEAT] = self.beat_path(spec.name)
        return spec.environment(self._environ) | self._names() | names

    def of_node(self) -> dict[str, str]:
        """For a check of the node itself."""
        return {name: value for name, value in self._environ.items() if name not in WITHHELD} | self._names()

    def _names(self) -> dict[str, str]:
        return {"MLTB_NODE_ID": self._settings.node_id, "MLTB_SOCKET": self._control_socket}
