"""Refreshing: which refresh token is spent, when, and what happens to the token that it buys."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from phonesys import ConfigError, OutcomeUnknown, Unauthorized
from phonesys.errors import BadRequest, ServerError
from phonesys.oauth import MemoryTokenStore, Token
from phonesys.oauth.refresh import Refresher
from phonesys.secret import Secret
from tests.oauth.agencies import Clock

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

KEY = "leadconnector/app/company/c1"


class Vendor:
    """Takes refresh tokens, and responds with what it is given, by default with a token of its own."""

    def __init__(self, *responses: Token | Exception) -> None:
        self.responses = list(responses)
        self.spent: list[str] = []
        self.pauses = 0

    async def request(self, refresh: Secret) -> Token:
        self.spent.append(refresh.reveal())
        response = self.responses.pop(0) if self.responses else token(f"new{len(self.spent)}")
        if isinstance(response, Exception):
            raise response
        return response

    async def back_off(self) -> None:
        self.pauses += 1


def token(name: str, *, refresh: str | None = "", at: float = 1000.0) -> Token:
    return Token(
        access=Secret(name),
        refresh=None if refresh is None else Secret(refresh or f"refresh-{name}"),
        obtained_at=at,
        expires_at=at + 1000.0,
    )


def refresher(
    vendor: Vendor, store: MemoryTokenStore, *, initial: str | None = None, now: float = 1000.0
) -> Refresher:
    return Refresher(
        KEY,
        store,
        vendor.request,
        back_off=vendor.back_off,
        clock=Clock(now),
        initial_token=None if initial is None else Secret(initial),
    )


async def holding(stored: Token | None) -> MemoryTokenStore:
    store = MemoryTokenStore()
    if stored is not None:
        await store.save(KEY, stored)
    return store


OLD = token("old", at=0.0)
"""A token that has expired."""


async def test_a_stored_token_that_is_usable_costs_nothing() -> None:
    """For as long as it must be usable, and unless it is the rejected one."""
    vendor, stored = Vendor(), token("a")
    refresh = refresher(vendor, await holding(stored))
    assert await refresh(None) == stored
    assert await refresh(token("b")) == stored
    assert await refresh(None, valid_for=939.0) == stored
    assert vendor.spent == []
    assert await refresh(None, valid_for=940.0) == token("new1")
    assert await refresh(token("new1")) == token("new2")
    assert vendor.spent == ["refresh-a", "refresh-new1"]


async def test_a_token_is_usable_to_its_end_without_a_lock() -> None:
    """Another process that refreshes it holds up no call."""

    class Locked(MemoryTokenStore):
        def lock(self, key: str) -> Any:
            raise AssertionError(key)

    vendor, store = Vendor(), Locked()
    await store.save(KEY, token("a"))
    assert await refresher(vendor, store, now=1939.5)(None) == token("a")
    assert vendor.spent == []


async def test_a_token_of_another_process_is_used() -> None:
    """It was saved while this process waited for the lock."""

    class Shared(MemoryTokenStore):
        @asynccontextmanager
        async def lock(self, key: str) -> AsyncGenerator[None]:
            assert key == KEY
            await self.save(key, token("theirs"))
            async with super().lock(key):
                yield

    vendor, store = Vendor(), Shared()
    await store.save(KEY, OLD)
    assert await refresher(vendor, store)(None) == token("theirs")
    assert vendor.spent == []


@pytest.mark.parametrize(
    ("stored", "initial", "spent"),
    [(None, "first", "first"), (OLD, "first", "refresh-old"), (OLD, None, "refresh-old")],
)
async def test_the_stored_refresh_token_wins(stored: Token | None, initial: str | None, spent: str) -> None:
    """The one that was given serves while the store is empty."""
    vendor, store = Vendor(), await holding(stored)
    assert await refresher(vendor, store, initial=initial)(None) == token("new1")
    assert vendor.spent == [spent]
    assert await store.load(KEY) == token("new1")


@pytest.mark.parametrize(("stored", "initial"), [(None, None), (token("x", refresh=None, at=0.0), "first")])
async def test_without_a_refresh_token_nothing_is_sent(stored: Token | None, initial: str | None) -> None:
    """The error names the key, and what to do."""
    vendor = Vendor()
    with pytest.raises(ConfigError) as caught:
        await refresher(vendor, await holding(stored), initial=initial)(None)
    assert str(caught.value) == (
        f"the token store holds no refresh token under '{KEY}': authorise first, as with "
        "`phonesys auth login`, or give refresh_token="
    )
    assert vendor.spent == []


async def test_a_refresh_token_without_a_successor_is_kept() -> None:
    """The old one stays valid."""
    vendor, store = Vendor(token("bare", refresh=None)), await holding(OLD)
    assert await refresher(vendor, store)(None) == token("bare", refresh="refresh-old")
    assert await store.load(KEY) == token("bare", refresh="refresh-old")


async def test_a_lost_response_is_followed_by_one_more_attempt(caplog: pytest.LogCaptureFixture) -> None:
    """With the same refresh token, after a pause, and with a line in the log."""
    caplog.set_level(logging.WARNING, "phonesys")
    vendor, store = Vendor(OutcomeUnknown("lost")), await holding(OLD)
    assert await refresher(vendor, store)(None) == token("new2")
    assert (vendor.spent, vendor.pauses) == (["refresh-old"] * 2, 1)
    assert [record.getMessage() for record in caplog.records] == [
        "the response to a refresh was lost; trying once more with the same refresh token"
    ]
    vendor = Vendor(OutcomeUnknown("lost"), OutcomeUnknown("lost again"))
    with pytest.raises(OutcomeUnknown, match="lost again"):
        await refresher(vendor, await holding(OLD))(None)
    assert vendor.pauses == 1


async def test_an_error_after_a_lost_response_says_what_is_lost() -> None:
    """The token, if the refresh token was spent. After an error that passes, it may still be valid."""
    lost = OutcomeUnknown("lost", cause="connection reset")
    vendor = Vendor(lost, BadRequest("invalid_grant", status=400))
    with pytest.raises(Unauthorized) as caught:
        await refresher(vendor, await holding(OLD))(None)
    assert caught.value.message == (
        "invalid_grant; an earlier response was lost (connection reset), and with it the token"
    )
    vendor = Vendor(OutcomeUnknown("lost"), ServerError("down", status=503))
    with pytest.raises(ServerError) as passing:
        await refresher(vendor, await holding(OLD))(None)
    assert passing.value.message == "down"


async def test_a_rejected_refresh_token_is_not_sent_again() -> None:
    """The error is final and keeps its facts. Another refresh token, from a login, is tried."""
    error = BadRequest("invalid_grant", status=400)
    error.attempts = 2
    vendor, store = Vendor(error), await holding(OLD)
    refresh = refresher(vendor, store)
    found: list[Unauthorized] = []
    for _ in range(3):
        with pytest.raises(Unauthorized) as caught:
            await refresh(None)
        found.append(caught.value)
    assert vendor.spent == ["refresh-old"]
    assert len({id(each) for each in found}) == 3
    for each in found:
        assert (each.message, each.status, each.attempts) == ("invalid_grant", 400, 2)
        assert each.renewable is False
        assert not each.transient
        assert each.__suppress_context__ or each.__context__ is None
    await store.save(KEY, token("login", at=0.0))
    assert await refresh(None) == token("new2")
    assert vendor.spent == ["refresh-old", "refresh-login"]


async def test_an_error_that_passes_is_not_remembered() -> None:
    """The next call tries the same refresh token."""
    vendor, store = Vendor(ServerError("down", status=503)), await holding(OLD)
    refresh = refresher(vendor, store)
    with pytest.raises(ServerError, match="down"):
        await refresh(None)
    assert await refresh(None) == token("new2")
    assert vendor.spent == ["refresh-old"] * 2


async def test_a_token_that_could_not_be_saved_is_saved_first() -> None:
    """Its refresh token is not spent for another one, even if this one was rejected meanwhile."""

    class Failing(MemoryTokenStore):
        broken = True

        async def save(self, key: str, token: Token) -> None:
            if self.broken:
                raise ConfigError("disk full")
            await super().save(key, token)

    vendor, store = Vendor(), Failing()
    refresh = refresher(vendor, store, initial="first")
    for _ in range(2):
        with pytest.raises(ConfigError, match="disk full"):
            await refresh(None)
    store.broken = False
    assert await refresh(token("new1")) == token("new1")
    assert await store.load(KEY) == token("new1")
    assert vendor.spent == ["first"]
    assert await refresh(token("new1")) == token("new2")
    assert vendor.spent == ["first", "refresh-new1"]
