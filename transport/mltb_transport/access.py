"""Keys for people who shall not have the secret: one role each, as text to paste. And the fingerprint of a secret."""

from __future__ import annotations

import base64
import binascii
import hashlib

from mltb_transport.keys import ACCESS_ROLES, SECRET_PREFIX, Credential, KeyPair, Keyring, SecretError

KEY_BYTES = 32
CHECKSUM_BYTES = 6
ACCESS_CHARS = (2 * KEY_BYTES + CHECKSUM_BYTES) * 8 // 5
FINGERPRINT_CHARS = 8


def access_key(keyring: Keyring, role: str) -> str:
    """The key of `role` (viewer or admin) as text: its prefix, then its own secret half, the server's public one, a
    checksum. From it neither the secret nor the key of another role can be worked out."""
    from zmq.utils import z85

    credential = keyring.credential(role)
    raw = z85.decode(credential.pair.secret) + z85.decode(credential.server)
    return f"{SECRET_PREFIX}{role}-" + base64.b32encode(raw + _checksum(role, raw)).decode("ascii").lower()


def credential_of(text: str) -> Credential:
    """To connect with this: the cluster's secret (as admin), or an access key. Raises SecretError."""
    bare = text.strip().lower()
    role = next((role for role in ACCESS_ROLES if bare.startswith(f"{SECRET_PREFIX}{role}-")), None)
    if role is None:
        return Keyring.from_secret(bare).credential("admin")
    return _access_credential(role, bare.removeprefix(f"{SECRET_PREFIX}{role}-"))


def _access_credential(role: str, body: str) -> Credential:
    import zmq
    from zmq.utils import z85

    hint = f"run `mltbctl secret show --{role}` on a node, and copy all of it"
    if len(body) != ACCESS_CHARS:
        raise SecretError(f"{_a(role)} key has {ACCESS_CHARS} characters after its prefix, this one {len(body)}", hint)
    try:
        raw = base64.b32decode(body.upper())
    except (binascii.Error, ValueError) as error:
        raise SecretError(f"the {role} key holds a character other than a-z and 2-7", hint) from error
    keys, checksum = raw[: 2 * KEY_BYTES], raw[2 * KEY_BYTES :]
    if checksum != _checksum(role, keys):
        raise SecretError(f"the {role} key has a typing error: its checksum does not match", hint)
    secret = z85.encode(keys[:KEY_BYTES])
    return Credential(role, KeyPair(zmq.curve_public(secret), secret), z85.encode(keys[KEY_BYTES:]))


def fingerprint(secret: str) -> str:
    """A short name for a secret, by which nodes can be compared. Of 256 random bits it gives nothing away."""
    return hashlib.sha256(b"mltb fingerprint 1" + secret.strip().lower().encode()).hexdigest()[:FINGERPRINT_CHARS]


def _checksum(role: str, keys: bytes) -> bytes:
    return hashlib.sha256(b"mltb access 1" + role.encode() + keys).digest()[:CHECKSUM_BYTES]


def _a(role: str) -> str:
    return "an admin" if role == "admin" else "a viewer"
