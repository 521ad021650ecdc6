from __future__ import annotations

import io
import logging
import pickle
import traceback
from typing import TYPE_CHECKING, Any

import pytest

from phonesys import ConfigError, PhonesysError, PhoneSystem, UsageError
from phonesys.backends.leadconnector.oauth import exchange_code
from phonesys.oauth import FileTokenStore, MemoryTokenStore
from phonesys.sandbox import Sandbox, body, drop_after, status
from tests.oauth.agencies import agency, backend, company_key, store_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Witness:
    """Collects every text that could leak, and searches it for secrets."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._log = io.StringIO()
        self._seen: list[str] = []
        self.handler = logging.StreamHandler(self._log)

    def look(self, *things: Any) -> None:
        for thing in things:
            self._seen.append(f"{thing!r} {thing!s} {vars(thing) if hasattr(thing, '__dict__') else ''}")

    def catch(self, error: BaseException) -> None:
        self.look(error)
        seen = traceback.TracebackException.from_exception(error, capture_locals=True)
        self._seen.append("".join(seen.format()))
        raw = pickle.dumps(error)
        self._seen.append(raw.decode("latin-1"))
        self.look(pickle.loads(raw))  # noqa: S301 -- our own

    def leaks(self) -> list[str]:
        state = self._sandbox.oauth
        secrets = {state.client_secret, *state._access, *state._live, *state._spent, *state._codes}
        everything = "\n".join([self._log.getvalue(), *self._seen])
        assert len(secrets) > 1
        return sorted(secret for secret in secrets if secret in everything)


@pytest.fixture
def witness(sandbox: Sandbox) -> Iterator[Witness]:
    witness, root = Witness(sandbox), logging.getLogger()
    before = root.level
    root.addHandler(witness.handler)
    root.setLevel(logging.DEBUG)
    yield witness
    root.removeHandler(witness.handler)
    root.setLevel(before)


async def echo(exchange: Any, /) -> Any:
    """Reject a request, and echo its credentials in the message."""
    form = await exchange.request.post()
    sent = " ".join([*map(str, form.values()), exchange.request.headers.get("Authorization", "")])
    return await status(400, {"message": f"cannot use {sent}"})(exchange)


FAULTS: dict[str, tuple[str, Any]] = {
    "nothing wrong": ("leadconnector.token", None),
    "rejected": ("leadconnector.token", status(400, {"error": "invalid_grant"})),
    "echoed by the token endpoint": ("leadconnector.token", echo),
    "lost": ("leadconnector.token", drop_after()),
    "unreadable": ("leadconnector.token", body(b"<html>")),
    "an outage": ("leadconnector.token", status(503)),
    "echoed by the exchange": ("leadconnector.location_token", echo),
    "an exchange without a token": ("leadconnector.location_token", body(b'{"a": 1}')),
    "a page that is rejected": ("leadconnector.numbers", status(401, {"message": "Invalid JWT"})),
    "a list that is rejected": ("leadconnector.installed", status(403)),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_no_secret_is_shown_after_any_fault(
    sandbox: Sandbox, witness: Witness, fault: tuple[str, Any]
) -> None:
    """No secret is in logs at DEBUG, `repr`, errors, their pickles, tracebacks with locals, or the report."""
    route, behavior = fault
    if behavior is not None:
        sandbox.script(route, behavior, repeat=True)
    store = await store_of(sandbox, expired=True)
    auth = agency(sandbox, store)
    lc = backend(sandbox, auth)
    async with PhoneSystem(lc) as phones:
        async with phones.sweep() as sweep:
            _ = [page async for page in sweep]
        for failure in sweep.report.failures:
            witness.catch(failure.error)
        try:
            await lc.page(sandbox.location_ids[0])
        except PhonesysError as error:
            witness.catch(error)
    saved = await store.load(company_key(sandbox))
    caches = [*auth._location_caches.values(), auth._token_cache]
    witness.look(lc, lc.http, auth, store, saved, sweep.report, *caches, *[c._token for c in caches])
    witness.look([c.headers() for c in caches])
    witness._seen.append(pickle.dumps(saved).decode("latin-1"))
    witness._seen.append(pickle.dumps(sweep.report.failures).decode("latin-1"))
    assert witness.leaks() == []


async def test_credentials_are_not_pickled(sandbox: Sandbox) -> None:
    """Pickling signed headers is a UsageError."""
    auth = agency(sandbox, await store_of(sandbox))
    async with backend(sandbox, auth) as lc:
        await lc.page(sandbox.location_ids[0])
        cache = auth._token_cache
        with pytest.raises(UsageError, match="cannot be pickled"):
            pickle.dumps(cache.headers())


async def test_a_damaged_file_shows_nothing_of_what_is_in_it(
    sandbox: Sandbox, witness: Witness, tmp_path: Path
) -> None:
    """A damaged file is not quoted, not even in a traceback with locals."""
    store = FileTokenStore(tmp_path / "tokens.json")
    await store_of(sandbox, store)
    loaded = await store.load(company_key(sandbox))
    assert loaded is not None
    store.cache("other", loaded)
    await store.flush()
    for file in (tmp_path / "tokens.json", tmp_path / "tokens.json.d" / "cache"):
        file.write_bytes(b"x" + file.read_bytes())
    for stale in (FileTokenStore(tmp_path / "tokens.json"), store):
        with pytest.raises(ConfigError) as failure:
            await stale.load("absent")
        witness.catch(failure.value)
    with pytest.raises(ConfigError) as failure:
        await store.save("k", loaded)
    witness.catch(failure.value)
    store.cache("other", loaded)
    await store.flush()  # which warns
    assert witness.leaks() == []


async def test_a_login_that_fails_shows_nothing(sandbox: Sandbox, witness: Witness) -> None:
    """A failed login shows neither the code, nor the client secret, nor a token that could not be saved."""
    from phonesys.sandbox.oauth import Code, Subject

    code = sandbox.oauth.issue_code(Subject("Company", sandbox.oauth.company_id))

    class Full(MemoryTokenStore):
        async def save(self, key: str, token: Any) -> None:
            raise ConfigError("full")

    for _ in range(2):  # the second time, the code is spent
        with pytest.raises(PhonesysError) as failure:
            await exchange_code(
                sandbox.oauth.client_id,
                sandbox.oauth.client_secret,
                code,
                store=Full(),
                base_url=sandbox.leadconnector_url,
            )
        # This test's own frame holds the code.
        failure.value.__traceback__ = failure.value.__traceback__ and failure.value.__traceback__.tb_next
        witness.catch(failure.value)
    sandbox.oauth._codes[code] = Code(Subject("Company", "x"))
    assert witness.leaks() == []
