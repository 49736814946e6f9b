"""The token of a join: what goes in comes out, and a token that pasting cut off or damaged says so."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltb_transport.invitation import PREFIX, SEEDS_MAX, Invitation, InvitationError, invitation_of, token_of
from mltb_transport.keys import new_secret

SECRET = new_secret()
INVITATION = Invitation("homelab", ("10.0.1.10:7946", "n2.example:7946"), SECRET)
TOKEN = token_of(INVITATION)


@given(
    st.text(max_size=63),
    st.lists(st.text(min_size=1, max_size=60), min_size=1, max_size=SEEDS_MAX).map(tuple),
)
def test_what_goes_in_comes_out(name: str, seeds: tuple[str, ...]) -> None:
    invitation = Invitation(name, seeds, SECRET)
    try:
        token = token_of(invitation)
    except ValueError:
        return  # More than it can hold.
    assert invitation_of(token) == invitation
    assert token.isascii()
    assert set(token) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")


def test_line_breaks_that_a_terminal_brought_in_do_no_harm() -> None:
    assert invitation_of(f"  {TOKEN[:30]}\n {TOKEN[30:]}\n") == INVITATION


@pytest.mark.parametrize("left", range(len(PREFIX) + 1, len(TOKEN)))
def test_a_token_that_was_cut_off_says_so(left: int) -> None:
    with pytest.raises(InvitationError, match=r"cut off|damaged"):
        invitation_of(TOKEN[:left])


def test_most_of_what_is_cut_off_is_told_by_its_length() -> None:
    with pytest.raises(InvitationError, match=f"cut off: 40 of {len(TOKEN) - len(PREFIX)} characters"):
        invitation_of(TOKEN[: len(PREFIX) + 40])


@pytest.mark.parametrize("at", range(len(PREFIX) + 4, len(TOKEN) - 1, 7))
def test_one_wrong_character_is_noticed(at: int) -> None:
    wrong = "A" if TOKEN[at] != "A" else "B"
    with pytest.raises(InvitationError):
        invitation_of(TOKEN[:at] + wrong + TOKEN[at + 1 :])


@pytest.mark.parametrize("token", ["", "mltb1-abc", "hello", TOKEN + "A" * 8, TOKEN.replace("-", "!", 2)])
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(InvitationError):
        invitation_of(token)


@given(st.text(max_size=200))
def test_any_text_is_an_invitation_or_an_error(text: str) -> None:
    with contextlib.suppress(InvitationError):
        invitation_of(PREFIX + text)


def test_the_secret_is_not_shown_by_accident() -> None:
    assert SECRET not in repr(INVITATION)


def test_nobody_is_invited_to_nowhere() -> None:
    with pytest.raises(ValueError, match="0 seeds"):
        token_of(Invitation("x", (), SECRET))
