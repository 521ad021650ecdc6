"""The Leadping backend."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Self

from phonesys._validation import validate_digits
from phonesys.backends.base import (
    DEFAULT_ACCOUNT,
    WritingBackend,
    resolve_auth,
    set_owner,
    validate_page_size,
)
from phonesys.backends.info import BackendInfo, BackendOption
from phonesys.backends.leadping import calls
from phonesys.backends.leadping.changes import RULES
from phonesys.backends.leadping.lookup import LeadpingLookup
from phonesys.backends.leadping.requests import ListOptions
from phonesys.backends.leadping.wire import LeadpingNumber
from phonesys.backends.reconcile import drop_none
from phonesys.change_rules import Offer
from phonesys.errors import CallError, InvalidArgument
from phonesys.http.auth import Auth, Bearer
from phonesys.http.ratelimit.window import RateLimit
from phonesys.model import Page
from phonesys.writes import Write

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    import aiohttp

    from phonesys.backends.leadping.wire import (
        Availability,
        LeadpingRow,
        LeadpingStatus,
        Listing,
        PurchasableNumber,
    )
    from phonesys.backends.reconcile import OutcomeEvaluator
    from phonesys.http.call import Call
    from phonesys.http.options import HttpOptions
    from phonesys.http.transport import Transport
    from phonesys.model import Cursor, NumberForSale
    from phonesys.sandbox import Sandbox
    from phonesys.secret import Secret
    from phonesys.writes import Value

_MAX_PAGE_SIZE = 100


class Leadping(WritingBackend[LeadpingNumber]):
    """An organization's phone numbers. One key opens one organization.

    - `account`: name of that organization here; `"default"` unless given. `auth=PerAccount({…: Bearer(key)})`
      opens several.
    - `options`: filters and order of listings.
    - `limit`: 300 requests per 60 s and organization.
    """

    write_kinds = ("create", "update", "delete")
    change_rules = RULES

    info: ClassVar = BackendInfo(
        credential="api_key",
        make_auth=Bearer,
        options=(BackendOption("page_size", int, "Numbers per page, 1 to 100."),),
    )

    def __init__(
        self,
        api_key: str | Secret | None = None,
        *,
        auth: Auth | None = None,
        base_url: str = "https://api.leadping.ai",
        page_size: int = _MAX_PAGE_SIZE,
        account: str = DEFAULT_ACCOUNT,
        options: ListOptions = ListOptions(),
        limit: RateLimit | None = RateLimit(300, per=60),
        name: str = "leadping",
        http: HttpOptions | None = None,
        session: aiohttp.ClientSession | None = None,
        transport: Transport | None = None,
    ) -> None:
        super().__init__(
            name,
            account=account,
            base_url=base_url,
            auth=resolve_auth(api_key, auth, what="api_key", kind=Bearer),
            limit=limit,
            http=http,
            session=session,
            transport=transport,
        )
        self.page_size = validate_page_size(page_size, _MAX_PAGE_SIZE)
        self.options = options
        self._created_without_number: Counter[tuple[str, str]] = Counter()

    @classmethod
    def from_sandbox(cls, sandbox: Sandbox, /, **options: Any) -> Self:
        """Make a backend that talks to the sandbox."""
        return cls(sandbox.leadping_key, base_url=sandbox.leadping_url, **options)

    async def page(self, account: str, cursor: Cursor | None = None) -> Page[LeadpingRow]:
        """Fetch one page. `cursor` is the vendor's continuation token: each page names the next.

        With a single key, `account` is only the name that the numbers get.
        """
        return await self._list(account, cursor, self.options)

    async def search(self, account: str, number: str, cursor: Cursor | None = None) -> Page[LeadpingRow]:
        """Fetch a page of the rows whose number contains this one."""
        return await self._list(
            account, cursor, ListOptions(search=validate_digits(number), search_fields=("number",))
        )

    async def _list(self, account: str, cursor: Cursor | None, options: ListOptions) -> Page[LeadpingRow]:
        if cursor is not None and (not isinstance(cursor, str) or not cursor):
            raise InvalidArgument(f"cursor: expected a continuation token, got {cursor!r}")
        call = calls.list_numbers(
            page_size=self.page_size, continuation_token=cursor, options=options, account=account
        )
        return self._page(account, cursor, await self.send(call))

    def _page(self, account: str, cursor: Cursor | None, listing: Listing) -> Page[LeadpingRow]:
        set_owner(listing.rows, account, self.name)
        return Page(
            account=account,
            provider=self.name,
            cursor=cursor,
            numbers=listing.rows,
            next=(listing.token,) if listing.token else (),
            total=listing.total,
            rejected=listing.rejected,
            mended=listing.mended,
        )

    async def create(
        self,
        *,
        name: str,
        number: str | None = None,
        organization_id: str | None = None,
        business_id: str | None = None,
        enabled: bool | None = None,
        number_health_enabled: bool | None = None,
        number_id: str | None = None,
        account: str | None = None,
    ) -> LeadpingNumber:
        """Create a number: `name` has up to 255 characters, `number` is E.164.

        `number_health_enabled=False` opts out of the paid add-on, which the vendor adds by default.
        `business_id` is the older generation's name for `organization_id`. The request is sent once: the
        vendor has no idempotency key, and every request may cost money. Raises OutcomeUnknown if the response
        is lost. Without a `number`, it can be looked up only if no other number bears the name.
        """
        call = calls.create_number(
            name=name,
            number=number,
            organization_id=organization_id,
            business_id=business_id,
            enabled=enabled,
            number_health_enabled=number_health_enabled,
            number_id=number_id,
            account=self._account_or_default(account),
        )
        wanted = drop_none(
            name=name,
            organization_id=organization_id,
            business_id=business_id,
            enabled=enabled,
            number_health_enabled=number_health_enabled,
        )
        write = Write(kind="create", account=self._account_or_default(account), number=number, wanted=wanted)
        if number is None:
            self._created_without_number[write.account, name] += 1
        return self._with_account(await self.write(call, write), account)

    async def update(
        self,
        number_id: str,
        *,
        name: str | None = None,
        number: str | None = None,
        organization_id: str | None = None,
        business_id: str | None = None,
        enabled: bool | None = None,
        number_health_enabled: bool | None = None,
        account: str | None = None,
    ) -> LeadpingNumber:
        """Update the given fields.

        The vendor replaces the whole record, so the other fields are fetched first and sent back as they
        are. Raises OutcomeUnknown if the response is lost.
        """
        calls.validate_fields(name, number)  # before anything is fetched
        wanted = drop_none(
            name=name,
            number=number,
            organization_id=organization_id,
            business_id=business_id,
            enabled=enabled,
            number_health_enabled=number_health_enabled,
        )
        version = None
        unplaced = organization_id is None and business_id is None
        if unplaced or None in {name, number, enabled, number_health_enabled}:
            current = await self._fetch_current(number_id, account)
            version = current.updated_at or current.created_at
            name = (current.label or current.number or None) if name is None else name
            number = (current.number or None) if number is None else number
            enabled = current.enabled if enabled is None else enabled
            if number_health_enabled is None:
                number_health_enabled = current.number_health_enabled
            if unplaced:
                organization_id = current.organization.id if current.organization else None
                business_id = current.business.id if current.business else None
        call = calls.update_number(
            number_id,
            name=name,
            number=number,
            organization_id=organization_id,
            business_id=business_id,
            enabled=enabled,
            number_health_enabled=number_health_enabled,
            account=self._account_or_default(account),
        )
        write = Write(
            kind="update",
            account=self._account_or_default(account),
            number_id=number_id,
            wanted=wanted,
            version=version,
        )
        return self._with_account(await self.write(call, write), account)

    async def carry_out(self, write: Write, /) -> LeadpingNumber | None:
        """Send a write of a plan."""
        if write.kind == "delete":
            await self.delete(write.number_id or "", account=write.account)
            return None
        if write.kind == "create":
            return await self.create(number=write.number, account=write.account, **write.wanted)
        return await self.update(write.number_id or "", account=write.account, **write.wanted)

    async def offer(self, account: str, number: str, fields: Mapping[str, Value], /) -> Offer:
        """Look up whether a number can be bought, and its price."""
        found = await self.is_available_for_purchase(number, account=account)
        price = None if found.price is None else f"{found.price:.2f} {found.currency or ''}".strip()
        return Offer(available=found.is_available, price=price)

    async def _fetch_current(self, number_id: str, account: str | None) -> LeadpingNumber:
        """Fetch a number before it is changed."""
        try:
            return await self.get(number_id, account=account)
        except CallError as error:
            error.not_executed = True  # the change was not sent
            raise

    async def search_purchasable(
        self,
        phone_number: str | None = None,
        *,
        location: str | None = None,
        state: str | None = None,
        country_code: str | None = None,
        account: str | None = None,
    ) -> tuple[PurchasableNumber, ...]:
        """Search for numbers that can be purchased, by a part of the number or by place.

        The vendor calls it `search`, which is the name of the search among numbers that are held.
        """
        call = calls.search_purchasable(
            phone_number=phone_number,
            location={"location": location, "state": state, "countryCode": country_code},
            account=self._account_or_default(account),
        )
        return await self.send(call)

    async def for_sale(
        self, *, account: str | None = None, country: str | None = None, digits: str | None = None
    ) -> tuple[NumberForSale, ...]:
        """Search for numbers that can be purchased."""
        found = await self.search_purchasable(digits, country_code=country, account=account)
        holder = self._account_or_default(account)
        return tuple(calls.as_offer(number, holder) for number in found)

    async def is_available_for_purchase(
        self, phone_number: str, *, account: str | None = None
    ) -> Availability:
        """Check whether a number, in E.164, can be purchased, and at what price."""
        account = self._account_or_default(account)
        return await self.send(calls.is_available_for_purchase(phone_number, account=account))

    async def status(
        self,
        phone_number: str,
        *,
        window_days: int | None = None,
        start_date: date | None = None,
        end_date: date | None = None,
        account: str | None = None,
    ) -> LeadpingStatus:
        """Fetch a number's capacity to send and its metrics over a window of days. The number is E.164."""
        call = calls.number_status(
            phone_number,
            window_days=window_days,
            start_date=start_date,
            end_date=end_date,
            account=self._account_or_default(account),
        )
        return await self.send(call)

    async def warmup(
        self,
        number_id: str,
        *,
        window_days: int | None = None,
        start_date: date | None = None,
        end_date: date | None = None,
        account: str | None = None,
    ) -> LeadpingStatus:
        """Fetch the same as `status`, by the number's id."""
        call = calls.number_warmup(
            number_id,
            window_days=window_days,
            start_date=start_date,
            end_date=end_date,
            account=self._account_or_default(account),
        )
        return await self.send(call)

    def _get_call(self, number_id: str, account: str) -> Call[LeadpingNumber]:
        return calls.get_number(number_id, account=account)

    def _delete_call(self, number_id: str, account: str) -> Call[None]:
        return calls.delete_number(number_id, account=account)

    def _lookup(self, evaluator: OutcomeEvaluator) -> LeadpingLookup:
        write = evaluator.write
        return LeadpingLookup(
            evaluator,
            get=partial(self.get, account=write.account),
            list_numbers=self.send,
            shared_name=self._created_without_number[write.account, str(write.wanted.get("name"))] > 1,
        )
