"""What deploy/ gives each node: the environment of every service of Compose and of every pod of Kubernetes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return found


def kubernetes() -> dict[str, dict[str, Any]]:
    """The objects by kind; one of each."""
    found = {each["kind"]: each for each in yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())}
    assert len(found) == (DEPLOY / "kubernetes.yaml").read_text().count("\nkind:")
    return found


def services() -> dict[str, dict[str, str]]:
    """The environment of each service of Compose."""
    return {name: dict(service["environment"]) for name, service in compose()["services"].items()}


def pods(secret: str) -> dict[str, dict[str, str]]:
    """The environment of each pod, filled in as Kubernetes does: fields, the secret, `$(NAME)`."""
    stateful = kubernetes()["StatefulSet"]
    name, replicas = stateful["metadata"]["name"], stateful["spec"]["replicas"]
    return {f"{name}-{ordinal}": _pod(f"{name}-{ordinal}", secret) for ordinal in range(replicas)}


def _pod(pod: str, secret: str) -> dict[str, str]:
    found = {"KUBERNETES_SERVICE_HOST": "10.96.0.1"}
    for item in kubernetes()["StatefulSet"]["spec"]["template"]["spec"]["containers"][0]["env"]:
        source = item.get("valueFrom", {})
        if "secretKeyRef" in source:
            value = secret
        elif "fieldRef" in source:
            assert source["fieldRef"]["fieldPath"] == "metadata.name"
            value = pod
        else:
            value = re.sub(r"\$\(([A-Z_]+)\)", lambda match: found[match[1]], item["value"])
        found[item["name"]] = value
    return found
