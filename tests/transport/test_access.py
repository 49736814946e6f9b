"""Access keys open their own role and nothing else, and survive no typing error; fingerprints compare secrets."""

from __future__ import annotations

import pytest

from mltb_transport.access import access_key, credential_of, fingerprint
from mltb_transport.keys import Keyring, SecretError, new_secret

SECRET = new_secret()
RING = Keyring.from_secret(SECRET)


@pytest.mark.parametrize("role", ["viewer", "admin"])
def test_a_key_comes_back_as_the_credential_of_its_role(role: str) -> None:
    key = access_key(RING, role)
    assert credential_of(f"  {key.upper()}\n") == RING.credential(role)
    assert SECRET[6:] not in key


def test_the_secret_itself_is_admin() -> None:
    assert credential_of(SECRET) == RING.credential("admin")


@pytest.mark.parametrize("role", ["viewer", "admin"])
def test_any_single_typing_error_is_found(role: str) -> None:
    key = access_key(RING, role)
    head = len(f"mltb1-{role}-")
    for at in range(head, len(key)):
        other = "b" if key[at] == "a" else "a"
        with pytest.raises(SecretError, match="typing error"):
            credential_of(key[:at] + other + key[at + 1 :])
    with pytest.raises(SecretError, match="112 characters"):
        credential_of(key[:-1])
    with pytest.raises(SecretError, match="other than a-z"):
        credential_of(key[:-1] + "1")


def test_a_key_cannot_be_turned_into_that_of_another_role() -> None:
    with pytest.raises(SecretError, match="typing error"):
        credential_of(access_key(RING, "viewer").replace("viewer", "admin"))


@pytest.mark.parametrize("role", ["viewer", "admin"])
def test_a_node_does_not_take_it_for_the_secret(role: str) -> None:
    with pytest.raises(SecretError, match=f"{role} key for `mltbctl`, not the secret"):
        Keyring.from_secret(access_key(RING, role))


def test_fingerprints() -> None:
    assert fingerprint(SECRET) == fingerprint(f" {SECRET.upper()}\n")
    assert fingerprint(SECRET) != fingerprint(new_secret())
    assert len(fingerprint(SECRET)) == 8
