"""Routes of calls as one text for every vendor: `kind:target`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from phonesys.model import InboundService, NumberPool

POOL_FIELDS = ("pool", "pool_name", "pool_active", "pool_route")
"""The fields of a record that `pool_fields` fills in."""


def describe_route(service: InboundService | None, forwarding: str | None) -> str | None:
    """Return where calls go; a service outweighs forwarding."""
    if service is not None and service.type:
        return f"{service.type}:{service.value}" if service.value else service.type
    return f"forward:{forwarding}" if forwarding else None


def pool_fields(pool: NumberPool | str | None) -> dict[str, Any]:
    """Return the record fields of a number's pool."""
    if pool is None or isinstance(pool, str):
        return {"pool": pool}
    return {
        "pool": pool.id,
        "pool_name": pool.name,
        "pool_active": pool.is_active,
        "pool_route": describe_route(pool.inbound, pool.forwarding_number),
    }
