"""What an audit may be told beside the numbers: who is there, which pools, what could not be read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import msgspec

from phonesys._routes import pool_fields
from phonesys.errors import InvalidArgument

if TYPE_CHECKING:
    from phonesys.inventory.audit.finding import Place
    from phonesys.inventory.record import NumberRecord
    from phonesys.model import NumberPool

People: TypeAlias = Iterable[Any] | Mapping[str, Iterable[Any]]
"""Ids, or anything that has an `id`; for all backends, or by the name of the backend."""

_EVERYWHERE = ""


class AuditContext:
    """What is known beside the numbers; what is not given is not checked.

    `users` and `agents` are all there are: a number that is assigned to anybody else is found. `pools` say
    which numbers sit in them, for records that do not say so themselves. `incomplete` names the accounts
    that were not read whole, of which nothing can be said to be missing; `audit` adds to it.
    """

    def __init__(
        self,
        *,
        users: People | None = None,
        agents: People | None = None,
        pools: Iterable[NumberPool] = (),
        incomplete: Iterable[Place] = (),
    ) -> None:
        self._users, self._agents = _by_backend("users", users), _by_backend("agents", agents)
        self._pools = {(pool.account, number): pool for pool in pools for number in pool.numbers}
        self.incomplete = set(incomplete)

    def users(self, backend: str) -> frozenset[str] | None:
        """Return the ids of all users of a backend, or None if they are not known."""
        return self._users.get(backend, self._users.get(_EVERYWHERE))

    def agents(self, backend: str) -> frozenset[str] | None:
        """As `users`."""
        return self._agents.get(backend, self._agents.get(_EVERYWHERE))

    def with_pool(self, record: NumberRecord) -> NumberRecord:
        """Say which pool a number sits in, where the pools that were given tell."""
        if not self._pools or record.pool is not None:
            return record
        pool = self._pools.get((record.account, record.number))
        return record if pool is None else _in_pool(record, pool)


def _in_pool(record: NumberRecord, pool: NumberPool) -> NumberRecord:
    facts = pool_fields(pool)
    routed = record.is_routed or (None if record.is_routed is None else facts["pool_route"] is not None)
    return msgspec.structs.replace(record, **facts, is_routed=routed)


def _by_backend(what: str, people: People | None) -> dict[str, frozenset[str]]:
    if people is None:
        return {}
    if isinstance(people, str):
        raise InvalidArgument(f"{what}: expected ids, got the string {people!r:.80}")
    if isinstance(people, Mapping):
        by_backend = cast("Mapping[str, Iterable[Any]]", people)
        return {backend: frozenset(map(_id, some)) for backend, some in by_backend.items()}
    return {_EVERYWHERE: frozenset(map(_id, people))}


def _id(person: Any) -> str:
    return str(getattr(person, "id", person))
