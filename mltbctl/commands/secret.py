"""`mltbctl secret`: make the cluster's secret, tell where it comes from, give out keys that open less than it does."""

from __future__ import annotations

import os

from mltbctl.errors import CliError
from mltbctl.result import Result
from mltbctl.settings import Secret, find_secret

NEW_HINT = "keep it in a file of mode 600 on every node and name that file in CLUSTER_SECRET_FILE"


def new() -> Result:
    """A fresh secret; every node of one cluster needs the same."""
    from mltb_transport.keys import new_secret

    secret = new_secret()
    return Result({"secret": secret}, secret)


def show(config: str, *, reveal: bool) -> Result:
    """Where the secret comes from and its fingerprint; the secret itself only with `reveal`."""
    from mltb_transport.access import fingerprint

    found = needed(config)
    data = {
        "is_set": True,
        "origin": found.origin,
        "fingerprint": fingerprint(found.text),
        "other_fingerprint": fingerprint(found.other) if found.other else None,
        **({"secret": found.text} if reveal else {}),
    }
    words = f"set by {found.origin}, fingerprint {data['fingerprint']}"
    if found.other:
        words += f"; {found.which or 'second'} {data['other_fingerprint']}"
    return Result(data, found.text if reveal else words)


def key(config: str, role: str) -> Result:
    """The key of `role` (viewer, admin), for a machine that shall not have the secret."""
    from mltb_transport.access import access_key
    from mltb_transport.keys import Keyring, SecretError

    found = needed(config)
    try:
        text = access_key(Keyring.from_secret(found.text), role)
    except SecretError as error:
        raise CliError(error.message, error.hint, code="usage") from None
    return Result({"role": role, "key": text}, text)


def needed(config: str) -> Secret:
    """The secret of this machine, or the error that there is none."""
    found = find_secret(config, os.environ)
    if found is None:
        raise CliError(
            "no secret: neither $CLUSTER_SECRET, $CLUSTER_SECRET_FILE nor a configuration file has one",
            "make one with `mltbctl secret new`",
        )
    return found
