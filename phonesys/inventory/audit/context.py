"""Facts for an audit beside the records: users, agents, pools and incomplete accounts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import msgspec

from phonesys._routes import pool_fields
from phonesys.errors import InvalidArgument
from phonesys.inventory.audit.index import NumberIndex

if TYPE_CHECKING:
    from phonesys.inventory.record import AccountKey
    from phonesys.model import NumberPool
    from phonesys.record import NumberRecord

Ids: TypeAlias = Iterable[Any] | Mapping[str, Iterable[Any]]
"""Ids, or objects with an `id`: for all backends, or by backend."""

_ALL_BACKENDS = ""


class AuditContext:
    """Facts that an audit uses beside the records. A fact that is not given is not checked.

    `users` and `agents` are complete lists: a number assigned to anyone else is a finding. `pools` give the
    pool of numbers whose records do not name one. `incomplete` gives the reasons why accounts were not read
    completely, so that nothing in them is reported as missing. `audit` adds to it. `overlays` are the kinds
    of backend that list numbers which a carrier holds too.
    """

    def __init__(
        self,
        *,
        users: Ids | None = None,
        agents: Ids | None = None,
        pools: Iterable[NumberPool] = (),
        incomplete: Mapping[AccountKey, str] | None = None,
        overlays: Iterable[str] = ("agents",),
    ) -> None:
        self._users, self._agents = _by_backend("users", users), _by_backend("agents", agents)
        self._pools = {(pool.account, number): pool for pool in pools for number in pool.numbers}
        self.incomplete = dict(incomplete or {})
        self._overlays = frozenset(overlays)
        self.numbers = NumberIndex(self._overlays)
        """The holders of the numbers of the current audit."""

    def start(self) -> None:
        """Forget the numbers of an earlier audit."""
        self.numbers = NumberIndex(self._overlays)

    def users(self, backend: str) -> frozenset[str] | None:
        """Return the ids of all users of a backend, or None if they are unknown."""
        return self._users.get(backend, self._users.get(_ALL_BACKENDS))

    def agents(self, backend: str) -> frozenset[str] | None:
        """Return the ids of all agents of a backend, or None if they are unknown."""
        return self._agents.get(backend, self._agents.get(_ALL_BACKENDS))

    def with_pool(self, record: NumberRecord) -> NumberRecord:
        """Return the record with its pool, if the record names none and one of `pools` holds its number."""
        if not self._pools or record.pool is not None:
            return record
        pool = self._pools.get((record.account, record.number))
        return record if pool is None else _in_pool(record, pool)


def _in_pool(record: NumberRecord, pool: NumberPool) -> NumberRecord:
    fields = pool_fields(pool)
    routed = record.is_routed or (None if record.is_routed is None else fields["pool_route"] is not None)
    return msgspec.structs.replace(record, **fields, is_routed=routed)


def _by_backend(argument: str, ids: Ids | None) -> dict[str, frozenset[str]]:
    if ids is None:
        return {}
    if isinstance(ids, str):
        raise InvalidArgument(f"{argument}: expected ids, got the string {ids!r:.80}")
    if isinstance(ids, Mapping):
        by_backend = cast("Mapping[str, Iterable[Any]]", ids)
        return {backend: frozenset(map(_id, some)) for backend, some in by_backend.items()}
    return {_ALL_BACKENDS: frozenset(map(_id, ids))}


def _id(item: Any) -> str:
    return str(getattr(item, "id", item))
