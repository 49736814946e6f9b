"""Which addresses are loopback, and what a socket is bound to."""

from __future__ import annotations

import pytest

from mltb_transport.addresses import bindable, check_exposed, is_loopback
from mltb_transport.bus import BindError, InsecureBind


@pytest.mark.parametrize(
    ("address", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("*", False),
        ("", False),
        ("::", False),
        ("10.0.0.1", False),
    ],
)
def test_loopback(address: str, loopback: bool) -> None:
    assert is_loopback(address) == loopback
    check_exposed(address, secured=True)
    if loopback:
        check_exposed(address, secured=False)
    else:
        with pytest.raises(InsecureBind, match="no cluster secret"):
            check_exposed(address, secured=False)


def test_what_libzmq_is_given() -> None:
    assert bindable("*") == bindable("") == "0.0.0.0"
    assert bindable("0:0:0:0:0:0:0:1") == "::1"
    assert bindable("localhost") in ("127.0.0.1", "::1")


@pytest.mark.parametrize("address", ["no..name", "nul\0byte"])
def test_a_name_without_an_address_is_named(address: str) -> None:
    with pytest.raises(BindError, match="it has no address"):
        bindable(address)
