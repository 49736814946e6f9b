"""The line an operator pastes to let a machine join: where the cluster is and its secret, in one checked token."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass, field

from mltb_transport.keys import SecretError, check_secret

PREFIX = "mltbj1-"
SEEDS_MAX = 16
TEXT_BYTES_MAX = 4096
_LENGTH_BYTES, _CHECK_BYTES = 2, 6


class InvitationError(Exception):
    """A token that cannot be used. Says why, never what it held."""


@dataclass(frozen=True, slots=True)
class Invitation:
    """`seeds`: `host:port` of gossip ports. Whoever holds it is a full member."""

    name: str
    seeds: tuple[str, ...]
    secret: str = field(repr=False)


def token_of(invitation: Invitation) -> str:
    """As one word that survives a shell. Raises ValueError for more than it can hold."""
    body = json.dumps([invitation.name, list(invitation.seeds), invitation.secret], separators=(",", ":")).encode()
    if len(body) > TEXT_BYTES_MAX or not 0 < len(invitation.seeds) <= SEEDS_MAX:
        raise ValueError(f"an invitation of {len(body)} bytes to {len(invitation.seeds)} seeds")
    whole = len(body).to_bytes(_LENGTH_BYTES, "big") + body + _check(body)
    return PREFIX + base64.urlsafe_b64encode(whole).decode().rstrip("=")


def invitation_of(token: str) -> Invitation:
    """The inverse; white space that pasting brought in is left out. Raises InvitationError."""
    text = "".join(token.split())
    if not text.startswith(PREFIX):
        raise InvitationError(f"a token begins with `{PREFIX}`, this one does not")
    encoded = text[len(PREFIX) :]
    usable = encoded[: len(encoded) // 4 * 4]
    try:
        start = base64.b64decode(usable[:4], altchars=b"-_", validate=True)
        length = int.from_bytes(start[:_LENGTH_BYTES], "big")
        needed = -(-(_LENGTH_BYTES + length + _CHECK_BYTES) * 4 // 3)
        if len(start) < _LENGTH_BYTES or len(encoded) < needed:
            raise InvitationError(f"the token is cut off: {len(encoded)} of {needed} characters came")
        whole = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvitationError("the token is damaged: it holds characters that no token has") from error
    body = whole[_LENGTH_BYTES : _LENGTH_BYTES + length]
    if len(whole) != _LENGTH_BYTES + length + _CHECK_BYTES or whole[_LENGTH_BYTES + length :] != _check(body):
        raise InvitationError("the token is damaged: its checksum does not fit")
    return _read(body)


def _read(body: bytes) -> Invitation:
    try:
        match json.loads(body):
            case [str() as name, [*seeds], str() as secret] if seeds and all(type(seed) is str for seed in seeds):
                check_secret(secret)
                return Invitation(name, tuple(seeds[:SEEDS_MAX]), secret)
    except (ValueError, RecursionError, SecretError) as error:
        raise InvitationError("the token is of another release") from error
    raise InvitationError("the token is of another release")


def _check(body: bytes) -> bytes:
    return hashlib.sha256(b"mltb join 1" + body).digest()[:_CHECK_BYTES]
