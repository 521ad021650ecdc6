"""LeadConnector's operations as data."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from phonesys.backends.leadconnector.wire import Listing, read_listing, read_pools
from phonesys.http.call import Call, encode_query, encode_segment

if TYPE_CHECKING:
    from phonesys.model import NumberPool


def active_numbers(  # one parameter for each of the vendor's
    location_id: str,
    *,
    page: int = 0,
    page_size: int = 1000,
    search_filter: str | None = None,
    skip_number_pool: bool = False,
    include_rcs_sender_ids: bool | None = None,
) -> Call[Listing]:
    """`GET /phone-system/numbers/location/{locationId}`, scope `phonenumbers.read`.

    `page` counts from 0. `page_size` is always sent, since the vendor's page names two defaults, and so is
    `skip_number_pool`: the vendor's default leaves the numbers that sit in a pool out.
    """
    asked = _asked(page, page_size, search_filter, skip_number_pool, include_rcs_sender_ids)
    return Call(
        operation="active_numbers",
        method="GET",
        target=f"/phone-system/numbers/location/{encode_segment(location_id, 'location id')}{asked}",
        decode=read_listing,
        account=location_id,
    )


# A sweep asks every location the same; encoding it anew costs a sixth of sending it.
@lru_cache(typed=True)
def _asked(page: int, page_size: int, search: str | None, skip: bool, rcs: bool | None) -> str:
    parameters = {
        "pageSize": page_size,
        "page": page,
        "searchFilter": search,
        "skipNumberPool": skip,
        "includeRcsSenderIds": rcs,
    }
    return encode_query(parameters)


def number_pools(location_id: str) -> Call[tuple[NumberPool, ...]]:
    """`GET /phone-system/number-pools`, scope `numberpools.read`; not paged."""
    encode_segment(location_id, "location id")  # one rule for what an id may be, in a path or not
    return Call(
        operation="number_pools",
        method="GET",
        target="/phone-system/number-pools" + encode_query({"locationId": location_id}),
        decode=read_pools,
        account=location_id,
    )
