"""What answers a call, in one text whichever the vendor: `what:target`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from phonesys.model import InboundService, NumberPool

POOL_FACTS = ("pool", "pool_name", "pool_active", "pool_route")
"""The record's fields that `facts_of_pool` knows."""


def route(service: InboundService | None, forwarding: str | None) -> str | None:
    """Say where calls go: a service outweighs forwarding."""
    if service is not None and service.type:
        return f"{service.type}:{service.value}" if service.value else service.type
    return f"forward:{forwarding}" if forwarding else None


def facts_of_pool(pool: NumberPool | str | None) -> dict[str, Any]:
    """Return what a record says of the pool that its number sits in."""
    if pool is None or isinstance(pool, str):
        return {"pool": pool}
    return {
        "pool": pool.id,
        "pool_name": pool.name,
        "pool_active": pool.is_active,
        "pool_route": route(pool.inbound, pool.forwarding_number),
    }
