"""LeadConnector's operations as data."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from phonesys.backends.leadconnector.wire import Listing, decode_listing, decode_pools
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

    `page` counts from 0. `page_size` is always sent, since the vendor documents two different defaults.
    `skip_number_pool` is always sent, since the vendor's default leaves out numbers in pools.
    """
    query = _numbers_query(page, page_size, search_filter, skip_number_pool, include_rcs_sender_ids)
    return Call(
        operation="active_numbers",
        method="GET",
        target=f"/phone-system/numbers/location/{encode_segment(location_id, 'location id')}{query}",
        url_template="/phone-system/numbers/location/{locationId}",
        decode=decode_listing,
        account=location_id,
    )


# The same for every location of a sweep; encoding it each time costs a sixth of sending the request.
@lru_cache(typed=True)
def _numbers_query(page: int, page_size: int, search: str | None, skip: bool, rcs: bool | None) -> str:
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
    encode_segment(location_id, "location id")  # validates it: the rule is the same as in a path
    return Call(
        operation="number_pools",
        method="GET",
        target="/phone-system/number-pools" + encode_query({"locationId": location_id}),
        url_template="/phone-system/number-pools",
        decode=decode_pools,
        account=location_id,
    )
