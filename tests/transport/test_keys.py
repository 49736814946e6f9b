"""Secrets: made, checked, read from files, and turned into keys."""

from __future__ import annotations

from pathlib import Path

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from mltb_transport.keys import (
    SECRET_FILE_BYTES_MAX,
    Keyring,
    SecretError,
    check_secret,
    hkdf_sha256,
    new_secret,
    read_secrets,
)

SECRET = new_secret()
ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"


def secret_file(path: Path, content: str, mode: int = 0o600) -> Path:
    path.write_text(content)
    path.chmod(mode)
    return path


def test_secrets_differ_and_have_a_known_shape() -> None:
    assert len({new_secret() for _ in range(20)}) == 20
    assert SECRET.startswith("mltb1-")
    assert len(SECRET) == 62
    check_secret(f"  {SECRET.upper()}\n")


@given(st.integers(6, 61), st.sampled_from(ALPHABET))
def test_one_wrong_character_is_found(where: int, letter: str) -> None:
    typed = SECRET[:where] + letter + SECRET[where + 1 :]
    if typed == SECRET:
        check_secret(typed)
    else:
        with pytest.raises(SecretError, match="typing error"):
            check_secret(typed)


@given(st.integers(6, 60))
def test_two_swapped_characters_are_found(where: int) -> None:
    typed = SECRET[:where] + SECRET[where + 1] + SECRET[where] + SECRET[where + 2 :]
    if typed != SECRET:
        with pytest.raises(SecretError, match="typing error"):
            check_secret(typed)


@pytest.mark.parametrize(
    ("secret", "why"),
    [
        ("", "is empty"),
        ("swordfish", "begins with `mltb1-`"),
        (SECRET[:-1], "has 56 characters"),
        (SECRET + "a", "has 56 characters"),
        (SECRET[:-1] + "1", "character other than"),
        (SECRET[:-1] + "é", "character other than"),
    ],
)
def test_what_is_wrong_is_said_without_showing_the_secret(secret: str, why: str) -> None:
    with pytest.raises(SecretError, match=why) as caught:
        Keyring.from_secret(secret)
    assert SECRET[8:40] not in f"{caught.value} {caught.value.hint}"
    assert "mltbctl secret new" in caught.value.hint


def test_the_same_secret_gives_the_same_keys_and_every_role_its_own() -> None:
    ring, again, other = (Keyring.from_secret(s) for s in (SECRET, SECRET, new_secret()))
    assert ring == again
    pairs = [ring.server, ring.node, ring.admin, ring.viewer, other.server, other.node]
    assert len({pair.secret for pair in pairs}) == len(pairs)
    for pair in pairs:
        assert zmq.curve_public(pair.secret) == pair.public


def test_credentials_are_the_role_and_the_server() -> None:
    ring = Keyring.from_secret(SECRET)
    viewer = ring.credential("viewer")
    assert (viewer.role, viewer.pair, viewer.server) == ("viewer", ring.viewer, ring.server.public)


def test_secret_keys_stay_out_of_logs() -> None:
    ring = Keyring.from_secret(SECRET)
    assert ring.admin.secret.decode() not in repr(ring)


def test_hkdf_follows_rfc_5869() -> None:
    """Test cases 1 and 3 of its appendix A."""
    key = bytes([0x0B] * 22)
    found = hkdf_sha256(key, bytes(range(13)), bytes(range(0xF0, 0xFA)), 42)
    assert found.hex() == ("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865")
    assert hkdf_sha256(key, b"", b"", 42).hex() == (
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
    )


@pytest.mark.parametrize("length", [0, 255 * 32 + 1])
def test_hkdf_has_a_limit(length: int) -> None:
    assert len(hkdf_sha256(b"k", b"", b"", 255 * 32)) == 255 * 32
    with pytest.raises(ValueError, match="HKDF gives 1 to 8160 bytes"):
        hkdf_sha256(b"k", b"", b"", length)


def test_a_private_file_is_read(tmp_path: Path) -> None:
    assert read_secrets(secret_file(tmp_path / "secret", f"{SECRET}\n")).used == SECRET


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644])
def test_a_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(SecretError, match=f"has mode 0{mode:o}") as caught:
        read_secrets(secret_file(tmp_path / "secret", SECRET, mode))
    assert "chmod 600" in caught.value.hint


def test_a_systemd_credential_may_have_group_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert read_secrets(secret_file(tmp_path / "secret", SECRET, 0o440)).used == SECRET
    with pytest.raises(SecretError, match="has mode 0444"):
        read_secrets(secret_file(tmp_path / "other", SECRET, 0o444))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match=r"cannot read the secret file `.*absent`"):
        read_secrets(tmp_path / "absent")


def test_a_file_with_a_wrong_secret_is_named(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match=r"the secret file `.*secret`: the secret is empty"):
        read_secrets(secret_file(tmp_path / "secret", "\n"))


def test_a_file_that_is_too_large_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match="larger than 4096 bytes"):
        read_secrets(secret_file(tmp_path / "large", "x" * (SECRET_FILE_BYTES_MAX + 1)))
    with pytest.raises(SecretError, match="does not hold text"):
        read_secrets(secret_file(tmp_path / "binary", "é"))
