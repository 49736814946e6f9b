"""The cluster secret and what is derived from it: one CURVE key pair per role.

Keys are per role, not per node: whoever holds the secret can derive every key, so a key per node would prove
nothing more.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from mltb_transport.regular import regular

SECRET_PREFIX = "mltb1-"
SECRET_BYTES = 32
CHECKSUM_BYTES = 3
SECRET_FILE_BYTES_MAX = 4096
NEXT, PREVIOUS = "next", "previous"
ROLES = ("server", "node", "admin", "viewer")

ACCESS_ROLES = ("viewer", "admin")
"""Roles whose key can be given to somebody who shall not have the secret."""

_SECRET_CHARS = (SECRET_BYTES + CHECKSUM_BYTES) * 8 // 5
_HKDF_SALT = b"mltb secret 1"


class SecretError(Exception):
    """A secret that cannot be used. Says why, never what it was."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A CURVE key pair, both halves as 40 characters of Z85."""

    public: bytes
    secret: bytes

    def __repr__(self) -> str:
        return f"KeyPair(public={self.public!r}, secret=...)"


@dataclass(frozen=True, slots=True)
class Credential:
    """What a client needs to get in: its role's key pair and the key that proves the server."""

    role: str
    pair: KeyPair
    server: bytes


@dataclass(frozen=True, slots=True)
class Keyring:
    """All key pairs of a cluster. Whoever has it is a full member."""

    server: KeyPair
    node: KeyPair
    admin: KeyPair
    viewer: KeyPair

    @classmethod
    def from_secret(cls, secret: str) -> Keyring:
        """The same secret gives the same keys everywhere. Raises SecretError."""
        seed = _decode(secret)
        return cls(*[_derive(seed, role) for role in ROLES])

    def credential(self, role: str) -> Credential:
        """To connect as `role`: node, admin or viewer."""
        pairs = {"node": self.node, "admin": self.admin, "viewer": self.viewer}
        return Credential(role, pairs[role], self.server.public)


def new_secret() -> str:
    """A new random secret: the prefix, then 56 characters that hold 256 bits and a checksum."""
    return _encode(os.urandom(SECRET_BYTES))


def check_secret(secret: str) -> None:
    """Raises SecretError unless this is a whole secret without a typing error."""
    _decode(secret)


@dataclass(frozen=True, slots=True)
class Secrets:
    """What a secret file holds: the one in use and, while it is being changed, the other one.

    `which`: NEXT when `other` will be used, PREVIOUS when it was; empty without one.
    """

    used: str = field(repr=False)
    other: str = field(default="", repr=False)
    which: str = ""

    def text(self) -> str:
        """As the file has it: the secret, then perhaps `next ...` or `previous ...`."""
        return f"{self.used}\n" + (f"{self.which} {self.other}\n" if self.other else "")


def read_secrets(path: Path) -> Secrets:
    """What is in a file that only its owner can read. Raises SecretError.

    A systemd credential is let off the group check: its access list shows up as group bits.
    """
    try:
        with open(path, "rb", opener=regular) as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(SECRET_FILE_BYTES_MAX + 1)
    except OSError as error:
        raise SecretError(f"cannot read the secret file `{path}`: {error.strerror}") from error
    open_to = mode & (stat.S_IRWXO if _is_credential(path) else stat.S_IRWXO | stat.S_IRWXG)
    if open_to:
        raise SecretError(
            f"the secret file `{path}` has mode {stat.S_IMODE(mode):04o}: others can get at it",
            f"run `chmod 600 {path}`",
        )
    if len(content) > SECRET_FILE_BYTES_MAX:
        raise SecretError(f"the secret file `{path}` is larger than {SECRET_FILE_BYTES_MAX} bytes")
    try:
        secrets = _parse(content.decode("ascii"))
    except UnicodeDecodeError as error:
        raise SecretError(f"the secret file `{path}` does not hold text") from error
    except SecretError as error:
        raise SecretError(f"the secret file `{path}`: {error.message}", error.hint) from error
    return secrets


def _parse(text: str) -> Secrets:
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [""]
    check_secret(lines[0])
    if len(lines) == 1:
        return Secrets(lines[0])
    which, _, other = lines[1].partition(" ")
    if len(lines) > 2 or which not in (NEXT, PREVIOUS):
        raise SecretError("after the secret there may be one line, `next ...` or `previous ...`")
    check_secret(other)
    return Secrets(lines[0], other.strip(), which)


def _is_credential(path: Path) -> bool:
    directory = os.environ.get("CREDENTIALS_DIRECTORY", "")
    return bool(directory) and path.resolve().is_relative_to(Path(directory).resolve())


def _encode(seed: bytes) -> str:
    import base64

    return SECRET_PREFIX + base64.b32encode(seed + _checksum(seed)).decode("ascii").lower()


def _decode(secret: str) -> bytes:
    import base64
    import binascii

    hint = "run `mltbctl secret new` to make one, or copy it anew from another node"
    text = secret.strip().lower()
    if not text:
        raise SecretError("the secret is empty", hint)
    if not text.startswith(SECRET_PREFIX):
        raise SecretError(f"a secret begins with `{SECRET_PREFIX}`, this one does not", hint)
    body = text[len(SECRET_PREFIX) :]
    if body.startswith(ACCESS_ROLES):
        raise SecretError(f"this is {_an(body)} key for `mltbctl`, not the secret that a node needs", hint)
    if len(body) != _SECRET_CHARS:
        raise SecretError(
            f"a secret has {_SECRET_CHARS} characters after `{SECRET_PREFIX}`, this one {len(body)}", hint
        )
    try:
        raw = base64.b32decode(body.upper())
    except (binascii.Error, ValueError) as error:
        raise SecretError("the secret holds a character other than a-z and 2-7", hint) from error
    seed, checksum = raw[:SECRET_BYTES], raw[SECRET_BYTES:]
    if checksum != _checksum(seed):
        raise SecretError("the secret has a typing error: its checksum does not match", hint)
    return seed


def _an(body: str) -> str:
    return "an admin" if body.startswith("admin") else "a viewer"


def _checksum(seed: bytes) -> bytes:
    import hashlib

    return hashlib.sha256(b"mltb checksum 1" + seed).digest()[:CHECKSUM_BYTES]


def _derive(seed: bytes, role: str) -> KeyPair:
    import zmq
    from zmq.utils import z85

    secret = z85.encode(hkdf_sha256(seed, _HKDF_SALT, f"curve {role}".encode(), 32))
    return KeyPair(public=zmq.curve_public(secret), secret=secret)


def hkdf_sha256(key: bytes, salt: bytes, label: bytes, length: int) -> bytes:
    """RFC 5869 with SHA-256: `length` bytes, at most 255 * 32, bound to `label`."""
    import hmac

    if not 0 < length <= 255 * 32:
        raise ValueError(f"HKDF gives 1 to {255 * 32} bytes, not {length}")
    extracted = hmac.digest(salt or bytes(32), key, "sha256")
    block, output = b"", b""
    counter = 0
    while len(output) < length:
        counter += 1
        block = hmac.digest(extracted, block + label + bytes([counter]), "sha256")
        output += block
    return output[:length]
