"""`mltbctl secret`: make the cluster's secret, or tell where it comes from."""

from __future__ import annotations

import os

from mltbctl.errors import CliError
from mltbctl.result import Result
from mltbctl.settings import find_secret

NEW_HINT = "keep it in a file of mode 600 on every node and name that file in CLUSTER_SECRET_FILE"


def new() -> Result:
    """A fresh secret; every node of one cluster needs the same."""
    from mltb_transport.keys import new_secret

    secret = new_secret()
    return Result({"secret": secret}, secret)


def show(config: str, *, reveal: bool) -> Result:
    """Where the secret comes from; the secret itself only with `reveal`."""
    found = find_secret(config, os.environ)
    if found is None:
        raise CliError(
            "no secret: neither $CLUSTER_SECRET, $CLUSTER_SECRET_FILE nor a configuration file has one",
            "make one with `mltbctl secret new`",
        )
    data = {"is_set": True, "origin": found.origin, **({"secret": found.text} if reveal else {})}
    return Result(data, found.text if reveal else f"set by {found.origin}")
