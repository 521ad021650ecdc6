"""Alerts: one message per sweep and destination, sent through apprise."""

from __future__ import annotations

import logging
import re
import warnings
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from phonesys._concurrency import run_shielded
from phonesys._extras import require_extra
from phonesys.errors import InvalidArgument
from phonesys.inventory.audit import Severity
from phonesys.inventory.watch.events import AlertEvent
from phonesys.inventory.watch.findings import now
from phonesys.inventory.watch.messages import Message, fold, message_of
from phonesys.secret import Secret

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from phonesys.inventory.store.watch_rows import Outbox
    from phonesys.inventory.store.watching import WatchState
    from phonesys.inventory.watch.events import SweepEvent

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}").fullmatch
_SERVICE_TIMEOUT = 60
"""Seconds for one message. A program that is told to end waits for it, so that no message is sent twice."""
_SECRET_PART = re.compile(r"[^\s:/?&=@,#+]{5,}")
_HIDDEN = "***"


class Alerts:
    """Sends what a watch finds: `Watch(phones, interval=900, store=inventory, audit=True, alerts=Alerts(…))`.

    `urls` are apprise's addresses by name, such as `{"ops": "slack://…"}`. Names are kept in the store and
    printed. Addresses are secrets: they are in no message, log, error or `repr`.

    - `severity`: the mildest findings to send.
    - `changes`: also send numbers that were added, removed, moved or changed.
    - `resolved`: also send findings that are resolved.
    - `quiet_period`: seconds after a message in which its destination gets no other. What is found meanwhile
      is in the next message.
    - `max_items`, `max_length`: lines and characters of a message. It says how many items it leaves out.

    Needs `phonesys[alerts]`. Raise InvalidArgument for an address that apprise does not understand.
    """

    def __init__(
        self,
        urls: Mapping[str, str | Secret],
        *,
        severity: Severity | str = Severity.WARNING,
        changes: bool = True,
        resolved: bool = False,
        quiet_period: float | timedelta = 0,
        max_items: int = 20,
        max_length: int = 2000,
    ) -> None:
        quiet = quiet_period if isinstance(quiet_period, timedelta) else timedelta(seconds=quiet_period)
        if quiet < timedelta():
            raise InvalidArgument(f"quiet_period: expected a positive duration, got {quiet_period!r}")
        if max_items < 1 or max_length < _MIN_LENGTH:
            raise InvalidArgument(f"max_items, max_length: expected at least 1 and {_MIN_LENGTH}")
        try:
            self.severity = Severity(severity)
        except ValueError:
            raise InvalidArgument(f"severity: expected {', '.join(Severity)}, got {severity!r}") from None
        self.changes = changes
        self.resolved = resolved
        self._quiet_period = quiet
        self._limits = {"max_items": max_items, "max_length": max_length}
        self._destinations = {name: _Destination(name, url) for name, url in urls.items()}

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the destinations."""
        return tuple(self._destinations)

    def __repr__(self) -> str:
        return f"Alerts({', '.join(self.names)})"

    async def test(self) -> list[AlertEvent]:
        """Send a test message to every destination, and return the results."""
        message = Message("phonesys: test", "Alerts from `phonesys watch` will arrive here.", 0)
        results: list[AlertEvent] = []
        for name, destination in self._destinations.items():
            problem = await destination.send(message)
            results.append(AlertEvent(destination=name, sent=problem is None, items=0, problem=problem))
        return results

    async def send(self, state: WatchState, sweep: SweepEvent | None) -> AsyncGenerator[AlertEvent]:
        """Send the alerts that wait for each destination, unless its quiet period lasts."""
        for destination in self._destinations.values():
            # A program that is told to end waits for the message, so that its outcome is known.
            event = await run_shielded(self._send(state, destination, sweep))
            if event is not None:
                yield event

    async def _send(
        self, state: WatchState, destination: _Destination, sweep: SweepEvent | None
    ) -> AlertEvent | None:
        name = destination.name
        outbox = await state.outbox(name)
        if not outbox.alerts or self._is_quiet(outbox):
            return None
        last = outbox.alerts[-1].id or 0
        alerts = fold(outbox.alerts, with_resolved=self.resolved)
        if not alerts:
            await state.skip(name, last)
            return None
        message = message_of(alerts, sweep, outbox.uncertain, **self._limits)
        await state.begin_sending(name, last)
        problem = await destination.send(message)
        await state.end_sending(name, last if problem is None else None)
        return AlertEvent(
            destination=name,
            sent=problem is None,
            items=message.items,
            problem=problem,
            uncertain=outbox.uncertain,
        )

    def _is_quiet(self, outbox: Outbox) -> bool:
        # A clock that was set back must not silence alerts until it has caught up.
        return outbox.sent_at is not None and timedelta() <= now() - outbox.sent_at < self._quiet_period


_MIN_LENGTH = 300


class _Destination:
    """One address, and its service in apprise."""

    def __init__(self, name: str, url: str | Secret) -> None:
        if not _NAME(name):
            raise InvalidArgument(
                f"alerts: expected a name of letters, digits, '.', '_' and '-', got {name!r:.80}"
            )
        self.name = name
        self._url = url if isinstance(url, Secret) else Secret(url, what=f"alerts: {name}")
        # The first address makes apprise import its plugins, and these import deprecated modules.
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            self._apprise = _load_apprise()
            self._service = self._make_service()

    def _make_service(self) -> Any:
        asset = self._apprise.AppriseAsset(
            storage_mode=self._apprise.PersistentStoreMode.MEMORY,
            secure_logging=True,
            allow_templates=False,
            service_timeout=_SERVICE_TIMEOUT,
        )
        asset.app_id = asset.app_desc = "phonesys"
        service = self._apprise.Apprise(asset=asset)
        if not service.add(self._url.reveal()) or len(service) != 1:
            raise InvalidArgument(f"alerts: {self.name}: apprise does not understand this address")
        return service

    def __repr__(self) -> str:
        return f"<destination {self.name}>"

    async def send(self, message: Message) -> str | None:
        """Send a message. Return the reason if it could not be sent."""
        try:
            result = await self._service.async_notify(
                body=message.body,
                title=message.title,
                body_format=self._apprise.NotifyFormat.TEXT,
                interpret_escapes=False,
            )
        except Exception as failure:  # noqa: BLE001 -- a plugin may raise anything, and its text may hold the address
            return type(failure).__name__
        return None if result else self._reason(result)

    def _reason(self, result: Any) -> str:
        said: Sequence[str] = [entry.message for entry in result.logs()]
        text = " ".join(said[-1].split()) if said else "apprise gives no reason"
        for part in _SECRET_PART.findall(self._url.reveal()):
            text = text.replace(part, _HIDDEN)
        return text


def _load_apprise() -> Any:
    apprise = require_extra("alerts", "apprise")
    # Without a handler of its own, Python would print its warnings to stderr. Reasons are in the results.
    log = logging.getLogger("apprise")
    if not log.handlers:
        log.addHandler(logging.NullHandler())
    return apprise
