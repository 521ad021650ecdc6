"""The LeadConnector backend."""

from __future__ import annotations

import logging
import re
from collections import OrderedDict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Self

import msgspec

from phonesys._validation import suggestion, validate_digits
from phonesys.backends.base import HttpBackend, resolve_auth, set_owner, validate_page_size
from phonesys.backends.info import BackendInfo, BackendOption, OAuthInfo
from phonesys.backends.leadconnector.calls import active_numbers, number_pools
from phonesys.backends.leadconnector.changes import RULES
from phonesys.backends.leadconnector.lookup import PurchaseLookup
from phonesys.backends.leadconnector.oauth.calls import search_locations
from phonesys.backends.leadconnector.oauth.discovery import ListsLocations, list_by_offset
from phonesys.backends.leadconnector.purchase import as_offer, available_numbers, purchase_number
from phonesys.backends.leadconnector.wire import LeadConnectorNumber, LeadConnectorPage, Listing
from phonesys.backends.paging import (
    END_ERRORS,
    MAX_PAGES,
    Position,
    brings_new_rows,
    effective_page_size,
    is_beyond_end,
    may_be_capped,
    plausible_total,
    position_of,
)
from phonesys.backends.reconcile import drop_none, poll_until_done, write_of
from phonesys.backends.windows import WindowPosition, pages_named_by
from phonesys.change_rules import Offer
from phonesys.errors import (
    CallError,
    InvalidArgument,
    NotFound,
    OutcomeUnknown,
    PhoneSystemMissing,
    UsageError,
)
from phonesys.http.auth import Auth, Bearer, PerAccount
from phonesys.http.ratelimit.headers import RateLimitHeaders
from phonesys.http.ratelimit.window import RateLimit
from phonesys.provider import NamedAccount
from phonesys.writes import CLOCK_SKEW, GRACE_PERIOD, Reconciled, Write

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

    import aiohttp

    from phonesys.backends.leadconnector.purchase import AvailableNumbers, Purchase
    from phonesys.http.call import Call
    from phonesys.http.options import HttpOptions
    from phonesys.http.transport import Transport
    from phonesys.model import Cursor, NumberForSale, NumberPool
    from phonesys.oauth.store import TokenStore
    from phonesys.sandbox import Sandbox
    from phonesys.secret import Secret
    from phonesys.writes import Value

log = logging.getLogger("phonesys")

_PURCHASE_KEYWORDS = ("country_code", "number_type", "fingerprint_id")

_VERSIONS = ("2021-07-28", "v3")
_MAX_PAGE_SIZE = 1000
_SEARCHED_DIGITS = 7  # of a number that is looked for among those for sale
_MAX_CACHED_POOLS = 256  # locations whose pools are kept between two of their pages

# The vendor's page on OAuth, "Rate limits".
_LIMIT_HEADERS = RateLimitHeaders(
    limit="X-RateLimit-Max",
    remaining="X-RateLimit-Remaining",
    daily_remaining="X-RateLimit-Daily-Remaining",
    daily_reset="X-RateLimit-Daily-Reset",
    daily_reset_unit="milliseconds",
)

_NO_POOLS: Mapping[str, NumberPool] = {}


def _oauth(
    *,
    client_id: str,
    client_secret: Secret,
    store: TokenStore,
    company_id: str | None = None,
    location_ids: Sequence[str] = (),
    app_id: str | None = None,
    version: str = "2021-07-28",
) -> Auth:
    from phonesys.backends.leadconnector.oauth import AgencyTokens, OAuthToken  # unused with a static token

    if company_id is not None:
        if location_ids:
            raise InvalidArgument("company_id: expected this or location_ids, and not both")
        return AgencyTokens(
            client_id, client_secret, company_id=company_id, store=store, app_id=app_id, version=version
        )
    if not location_ids:
        raise InvalidArgument(
            'expected company_id = "…" of the agency that installed the app, or location_ids = ["…"]; '
            "`phonesys auth login` shows it"
        )
    if app_id is not None:
        raise InvalidArgument("app_id: expected only beside company_id")
    return PerAccount(
        {
            id_: OAuthToken(client_id, client_secret, location_id=id_, store=store, version=version)
            for id_ in location_ids
        }
    )


class LeadConnector(HttpBackend):
    """Numbers and number pools of HighLevel's locations.

    `token` is a Private Integration Token or any other static Bearer token. `auth` is for everything else,
    such as a token for each location.

    - `locations`: the location ids that `accounts()` lists.
    - `company_id`: the agency whose locations `accounts()` searches for, with its Private Integration Token.
    - `include_pooled`: list numbers in pools too, which the vendor leaves out by default.
    - `with_pools`: fetch each location's pools as well, for `number.pool`.
    - `include_rcs_senders`: with version v3, ask for the RCS sender ids (`page.rcs_senders`).
    - `speculate`: the most pages requested ahead of the last full one, since responses have no total.
    - `limit`: 100 requests per 10 s and location (vendor's page on OAuth, "Rate limits").
    """

    change_rules = RULES
    unique_numbers = True  # and version v3 leaves the sid out
    overlaps = True

    info: ClassVar = BackendInfo(
        credential="token",
        make_auth=Bearer,
        options=(
            BackendOption("page_size", int, "Numbers per page, 1 to 1000."),
            BackendOption("speculate", int, "The most pages requested ahead of the last full one."),
            BackendOption("version", str, "Version of the vendor's API: 2021-07-28 or v3."),
            BackendOption("company_id", str, "Agency whose locations are searched for."),
            BackendOption("include_pooled", bool, "List numbers in pools too, which the vendor leaves out."),
            BackendOption("with_pools", bool, "Fetch each location's pools as well."),
            BackendOption("include_rcs_senders", bool, "With version v3, ask for RCS sender ids."),
        ),
        one_account=False,
        discovery_options=("company_id",),
        oauth=OAuthInfo(
            _oauth,
            (
                BackendOption("company_id", str, "Agency that installed the app."),
                BackendOption("location_ids", tuple, "Locations that installed the app one by one."),
                BackendOption("app_id", str, "App whose installations are listed; needs company_id."),
                BackendOption("version", str, "Version of the OAuth API: 2021-07-28 or v3."),
            ),
            scopes=("phonenumbers.read", "numberpools.read"),
        ),
    )

    def __init__(
        self,
        token: str | Secret | None = None,
        *,
        auth: Auth | None = None,
        base_url: str = "https://services.leadconnectorhq.com",
        version: str = "2021-07-28",
        page_size: int = _MAX_PAGE_SIZE,
        include_pooled: bool = True,
        with_pools: bool = False,
        include_rcs_senders: bool = False,
        speculate: int = 12,
        locations: Iterable[str] | None = None,
        company_id: str | None = None,
        limit: RateLimit | None = RateLimit(100, per=10),
        name: str = "leadconnector",
        http: HttpOptions | None = None,
        session: aiohttp.ClientSession | None = None,
        transport: Transport | None = None,
    ) -> None:
        if version not in _VERSIONS:
            raise InvalidArgument(f"version: expected one of {', '.join(_VERSIONS)}, got {version!r}")
        if not isinstance(speculate, int) or speculate < 1:
            raise InvalidArgument(f"speculate: expected a whole number from 1, got {speculate!r}")
        super().__init__(
            name,
            base_url=base_url,
            auth=resolve_auth(token, auth, what="token", kind=Bearer),
            limit=limit,
            limit_headers=_LIMIT_HEADERS,
            headers={"Version": version},
            http=http,
            session=session,
            transport=transport,
        )
        self.page_size = validate_page_size(page_size, _MAX_PAGE_SIZE)
        self.include_pooled = include_pooled
        self.with_pools = with_pools
        self.include_rcs_senders = include_rcs_senders
        self.speculate = speculate
        self._locations = None if locations is None else tuple(locations)
        self._company_id = company_id
        self._pools: OrderedDict[str, Mapping[str, NumberPool]] = OrderedDict()
        self._warned_of_pools = False
        self._largest_page = 0

    @classmethod
    def from_sandbox(cls, sandbox: Sandbox, /, **options: Any) -> Self:
        """Make a backend that talks to the sandbox and knows its locations and their pools."""
        options.setdefault("with_pools", True)
        return cls(
            sandbox.leadconnector_token,
            base_url=sandbox.leadconnector_url,
            locations=sandbox.location_ids,
            **options,
        )

    @property
    def company(self) -> str | None:
        """The agency whose token opens every location, or that is asked for them; None without one.

        The vendor counts exchanges of location tokens and lists of locations against its rate window.
        """
        auth = self.http.auth
        return auth.company_id if isinstance(auth, ListsLocations) else self._company_id

    async def accounts(self) -> AsyncIterator[str]:
        """Yield the locations given to the constructor, or those that the credentials name or can list.

        AgencyTokens list the locations where the app is installed. With `company_id`, all locations of the
        agency are searched for. Raises UsageError otherwise: a static token does not say which locations it
        opens.
        """
        async for account in self.accounts_with_names():
            yield account.id

    async def accounts_with_names(self) -> AsyncIterator[NamedAccount]:
        """Yield what `accounts` yields, with the names of locations that had to be listed."""
        named = self.http.auth.accounts() if self._locations is None else self._locations
        if named or self._locations is not None:
            for location in named:
                yield NamedAccount(location, None)
            return
        async for account in self._discover_accounts():
            yield account

    def _discover_accounts(self) -> AsyncIterator[NamedAccount]:
        if isinstance(auth := self.http.auth, ListsLocations):
            return auth.locations_with_names()
        if self._company_id is not None:
            return self._search_locations(self._company_id)
        raise UsageError(
            f"backend {self.name!r} does not know its locations; pass them to the sweep, as in "
            f"sweep({self.name}=[…]), or to LeadConnector(locations=[…]), or let AgencyTokens list them"
        )

    async def _search_locations(self, company_id: str) -> AsyncIterator[NamedAccount]:
        rows = list_by_offset(lambda skip, limit: self.send(search_locations(company_id, skip, limit)))
        async for row in rows:
            if row.id is not None:
                yield NamedAccount(row.id, row.name)

    async def page(self, account: str, cursor: Cursor | None = None) -> LeadConnectorPage:
        """Fetch one page of a location's active numbers. `cursor` is its index, from 0.

        Raises PhoneSystemMissing if the location has no phone system.
        """
        return await self._page(account, cursor)

    async def overlapping_page(self, account: str, cursor: Cursor | None = None) -> LeadConnectorPage:
        """Fetch one page of a location's active numbers that shares rows with those beside it."""
        position = WindowPosition.parse(cursor, self.page_size)
        window = position.window
        listing = await self._send_listing(self._listing_call(account, window))
        rows = _row_count(listing)
        offset = window.page and window.page * effective_page_size(window.size, listing.page_size)
        total = plausible_total(listing.total, offset + rows)
        more = True if total is not None and total > rows else None
        self._largest_page = max(self._largest_page, rows)
        position = position.resized(rows, reported=listing.page_size, more=more, largest=self._largest_page)
        following = position.following(rows, total, lookahead=self.speculate)
        overlap = min(position.overlap, rows)
        pools = await self._pools_of(account, listing, offset) if self.with_pools else _NO_POOLS
        return self._as_page(account, cursor, listing, offset, following, total, pools, overlap)

    async def search(self, account: str, number: str, cursor: Cursor | None = None) -> LeadConnectorPage:
        """Fetch a page of the location's numbers that contain this one (`searchFilter`)."""
        return await self._page(account, cursor, search=validate_digits(number))

    async def has_row_at(self, account: str, offset: int, row: str) -> bool:
        """Return True if the row is still at that offset of the location's list."""
        listing = await self._send_listing(self._listing_call(account, Position(offset, 1)))
        if _row_count(listing) > 1:
            return True  # the vendor ignores the page size
        return [number.number or number.id for number in listing.numbers] == [row]

    async def pools(self, location_id: str) -> tuple[NumberPool, ...]:
        """Fetch the number pools of a location."""
        return await self.send(number_pools(location_id))

    async def available(
        self,
        location_id: str,
        *,
        country_code: str,
        number_types: Sequence[str] = (),
        first_part: str | None = None,
        last_part: str | None = None,
        anywhere: str | None = None,
        sms_enabled: bool | None = None,
        mms_enabled: bool | None = None,
        voice_enabled: bool | None = None,
    ) -> AvailableNumbers:
        """Search for numbers that the location can purchase.

        `number_types` are the vendor's words: `local`, `tollFree`, `mobile`. Parts are digits of the number.
        """
        call = available_numbers(
            location_id,
            countryCode=country_code,
            numberTypes=",".join(number_types) or None,
            firstPart=first_part,
            lastPart=last_part,
            anywhere=anywhere,
            smsEnabled=sms_enabled,
            mmsEnabled=mms_enabled,
            voiceEnabled=voice_enabled,
        )
        return await self.send(call)

    async def for_sale(
        self, *, account: str | None = None, country: str | None = None, digits: str | None = None
    ) -> tuple[NumberForSale, ...]:
        """Search for numbers that a location can purchase. The vendor needs a country, by default US."""
        if account is None:
            raise UsageError(f"backend {self.name!r} sells numbers to a location; expected account=")
        found = await self.available(account, country_code=country or "US", anywhere=digits)
        return tuple(as_offer(number, account) for number in found.numbers)

    async def purchase(
        self,
        location_id: str,
        *,
        phone_number: str,
        country_code: str | None = None,
        number_type: str | None = None,
        fingerprint_id: str | None = None,
        **fields: Any,
    ) -> Purchase:
        """Purchase a number for the location. It costs money, so the request is sent once.

        `fingerprint_id` is that of the search which found the number. `fields` are others of the vendor's, by
        its names: `addressSid`, `bundleSid`, `locality`, `region`, `skipLocationKYC`; version v3 requires all
        of them, and `paymentIntentId`, `stripeAccountId`, `paymentMethodId`. Raises OutcomeUnknown if the
        response is lost.
        """
        for name in fields:
            if "_" in name:  # none of the vendor's names has one
                raise InvalidArgument(
                    f"purchase: no such field {name!r}{suggestion(name, _PURCHASE_KEYWORDS)}"
                )
        call = purchase_number(
            location_id,
            phone_number=phone_number,
            countryCode=country_code,
            numberType=number_type,
            fingerprintId=fingerprint_id,
            **fields,
        )
        wanted = drop_none(country_code=country_code, number_type=number_type)
        write = Write(kind="purchase", account=location_id, number=phone_number, wanted=wanted)
        try:
            return await self.send(call)
        except OutcomeUnknown as unknown:
            ended = msgspec.structs.replace(write, ended_at=datetime.now(UTC))
            unknown.with_write(ended, by=self)
            raise

    async def carry_out(self, write: Write, /) -> LeadConnectorNumber | None:
        """Purchase a number of a plan, as the vendor asks: by the search that offers it."""
        number = write.number or ""
        try:
            offers = await self._search_offers(write.account, number, write.wanted)
        except CallError as error:
            error.not_executed = True  # the purchase was not sent
            raise
        if number not in {offer.number for offer in offers.numbers}:
            refusal = CallError(f"{number} is not for sale any more")
            refusal.not_executed = True
            raise refusal.with_call(backend=self.name, operation="purchase_number", account=write.account)
        await self.purchase(
            write.account, phone_number=number, fingerprint_id=offers.fingerprint_id, **write.wanted
        )
        return None

    async def offer(self, account: str, number: str, fields: Mapping[str, Value], /) -> Offer:
        """Look up whether the location can purchase a number, and its price."""
        kind = RULES.fields["kind"].words.get(str(fields.get("kind")))
        wanted = drop_none(country_code=fields.get("country"), number_type=kind)
        offers = await self._search_offers(account, number, wanted)
        found = next((offer for offer in offers.numbers if offer.number == number), None)
        price = None if found is None else found.price
        if price is None or price.price is None:
            return Offer(available=found is not None)
        amount = f"{price.price:.2f} {price.price_unit or ''}".rstrip()
        return Offer(available=True, price=f"{amount} a month")

    async def _search_offers(
        self, location_id: str, number: str, wanted: Mapping[str, Any]
    ) -> AvailableNumbers:
        kind = wanted.get("number_type")
        return await self.available(
            location_id,
            country_code=wanted["country_code"],
            number_types=() if kind is None else (kind,),
            anywhere=number[-_SEARCHED_DIGITS:],
        )

    async def reconcile(
        self,
        lost: OutcomeUnknown | Write,
        /,
        *,
        grace_period: float = GRACE_PERIOD,
        clock_skew: float = CLOCK_SKEW,
    ) -> Reconciled[LeadConnectorNumber]:
        """Look up whether a purchase whose response was lost was executed, as the other backends do.

        No time is compared, so `clock_skew` does not matter.
        """
        write = write_of(lost, self.name, ("purchase",))
        return await poll_until_done(PurchaseLookup(write, self.search), write, grace_period)

    def _listing_call(
        self, location_id: str, position: tuple[int, int], search: str | None = None
    ) -> Call[Listing]:
        page, size = position
        return active_numbers(
            location_id,
            page=page,
            page_size=size,
            search_filter=search,
            skip_number_pool=not self.include_pooled,
            include_rcs_sender_ids=self.include_rcs_senders or None,
        )

    async def _fetch(self, account: str, position: Position, search: str | None) -> Listing:
        """Fetch a page. One beyond the end is empty, even if the vendor refuses it."""
        try:
            return await self._send_listing(self._listing_call(account, position, search))
        except END_ERRORS:
            if position.number == 0 or not await self._is_beyond_end(account, position, search):
                raise
        return Listing(numbers=())

    async def _is_beyond_end(self, account: str, position: Position, search: str | None) -> bool:
        async def count_rows(number: int) -> int:
            call = self._listing_call(account, Position(number, position.size), search)
            return _row_count(await self._send_listing(call))

        async def has_row(offset: int) -> bool:
            call = self._listing_call(account, Position(offset, 1), search)
            return _row_count(await self._send_listing(call)) > 0

        return await is_beyond_end(
            position.number, count_rows=count_rows, size=position.size, has_row=has_row
        )

    async def _ids(self, account: str, position: Position, search: str | None) -> set[str]:
        listing = await self._send_listing(self._listing_call(account, position, search))
        return {number.number for number in listing.numbers}

    async def _send_listing(self, call: Call[Listing]) -> Listing:
        """Send the call. Raises PhoneSystemMissing for a 404 that says so."""
        try:
            return await self.send(call)
        except NotFound as error:
            if not _says_no_phone_system(error):
                raise
            raise as_phone_system_missing(error) from None

    async def _pools_of(self, location_id: str, listing: Listing, offset: int) -> Mapping[str, NumberPool]:
        """Fetch the location's pools by number with its first page, and cache them for its other pages.

        Pools that cannot be fetched are unknown: a failure here never costs the numbers.
        """
        if not listing.numbers:
            return _NO_POOLS
        known = self._pools.get(location_id)
        if known is not None and offset:
            return known
        try:
            pools = await self.pools(location_id)
        except CallError as failure:
            self._warn_of_unknown_pools(failure)
            pools = ()
        found = {number: pool for pool in pools for number in pool.numbers}
        self._pools[location_id] = found
        self._pools.move_to_end(location_id)
        if len(self._pools) > _MAX_CACHED_POOLS:
            self._pools.popitem(last=False)
        return found

    def _warn_of_unknown_pools(self, failure: CallError) -> None:
        """Log one warning per backend: the reason is mostly a scope, which all locations lack."""
        level = logging.DEBUG if self._warned_of_pools else logging.WARNING
        self._warned_of_pools = True
        log.log(level, "pools are unknown where they cannot be fetched: %s", failure)

    async def _page(
        self, account: str, cursor: Cursor | None, search: str | None = None
    ) -> LeadConnectorPage:
        position = position_of(cursor, self.page_size, first=0)
        listing = await self._fetch(account, position, search)
        index, rows = position.number, _row_count(listing)
        size = _page_size(position, listing)
        total = plausible_total(listing.total, index * size + rows)
        following = _next_pages(index, size, rows, total, self.speculate)
        self._largest_page = largest = max(self._largest_page, rows)
        if not following and index == 0 and total is None and may_be_capped(rows, size, largest=largest):
            second = self._ids(account, Position(1, rows), search)
            if await brings_new_rows(second, {number.number for number in listing.numbers}):
                following, size = _next_pages(0, rows, rows, None, self.speculate), rows
        cursors = tuple(Position(number, size).cursor(self.page_size) for number in following)
        pools = await self._pools_of(account, listing, index * size) if self.with_pools else _NO_POOLS
        return self._as_page(account, cursor, listing, index * size, cursors, total, pools)

    def _as_page(
        self,
        account: str,
        cursor: Cursor | None,
        listing: Listing,
        offset: int,
        following: tuple[Cursor, ...],
        total: int | None,
        pools: Mapping[str, NumberPool],
        overlap: int = 0,
    ) -> LeadConnectorPage:
        _fill_in(listing, self.name, account, pools)
        return LeadConnectorPage(
            account=account,
            provider=self.name,
            cursor=cursor,
            offset=offset,
            overlap=overlap,
            numbers=listing.numbers,
            next=following,
            total=total,
            rejected=listing.rejected,
            mended=listing.mended,
            account_status=listing.account_status,
            is_under_ghl=listing.is_under_ghl,
            rcs_senders=listing.rcs_senders,
        )


def _page_size(position: Position, listing: Listing) -> int:
    """Return the rows per page: those that a first page has, if others follow it."""
    rows = _row_count(listing)
    size = effective_page_size(position.size, listing.page_size)
    more_follow = position.number == 0 and listing.total is not None and listing.total > rows
    return min(size, rows) if rows and more_follow else size


def _next_pages(index: int, size: int, rows: int, total: int | None, speculate: int) -> Sequence[int]:
    """Return the pages to fetch after this one.

    With a total, the first page names all others. Without one, a page that is not full is the last.
    """
    if rows and total is not None and total <= MAX_PAGES * size:
        return range(1, (total - 1) // size + 1) if index == 0 else ()
    return pages_named_by(index, speculate) if rows >= size else ()


def _row_count(listing: Listing) -> int:
    return len(listing.numbers) + len(listing.rejected)


def _fill_in(listing: Listing, backend: str, account: str, pools: Mapping[str, NumberPool]) -> None:
    """Set on each number what the vendor says once for the whole page."""
    set_owner(listing.numbers, account, backend)
    if listing.account_status not in {None, "active"}:  # rare, and each attribute costs a big page 3 %
        for number in listing.numbers:
            number.account_status = listing.account_status
    if pools:
        for number in listing.numbers:
            number.pool = pools.get(number.number)


_LONGEST_SENTENCE = 500


def _says_no_phone_system(error: NotFound) -> bool:
    """Return True unless the route is missing, or a proxy answered: the vendor's sentences vary.

    Seen: "Phone system is not connected to this account", "No Twilio account found".
    """
    is_the_vendors = bool(error.details) and 0 < len(error.message) < _LONGEST_SENTENCE
    return is_the_vendors and not _is_missing_route(error.message)


_is_missing_route = re.compile(r"cannot (get|post|put|patch|delete|head) /", re.IGNORECASE).match


def as_phone_system_missing(error: NotFound) -> PhoneSystemMissing:
    """Return the same error as a PhoneSystemMissing."""
    other = PhoneSystemMissing(error.message)
    other.__dict__.update(error.__dict__)
    return other
