"""The Leadping backend."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, ClassVar, Self

from phonesys._validation import validate_e164
from phonesys.backends.base import DEFAULT_ACCOUNT, WritingBackend, resolve_auth, validate_page_size
from phonesys.backends.info import BackendInfo, BackendOption
from phonesys.backends.leadping import calls
from phonesys.backends.leadping.lookup import LeadpingLookup
from phonesys.backends.leadping.requests import ListOptions
from phonesys.backends.reconcile import OutcomeEvaluator, drop_none, look_up_until_settled, write_of
from phonesys.errors import CallError, InvalidArgument
from phonesys.http.auth import Auth, Bearer
from phonesys.http.ratelimit.window import RateLimit
from phonesys.model import Page
from phonesys.writes import CLOCK_SKEW, GRACE_PERIOD, Write

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import date

    import aiohttp

    from phonesys.backends.leadping.wire import LeadpingNumber, LeadpingRow, LeadpingStatus, Listing
    from phonesys.errors import OutcomeUnknown
    from phonesys.http.options import HttpOptions
    from phonesys.model import Cursor
    from phonesys.sandbox import Sandbox
    from phonesys.secret import Secret
    from phonesys.writes import Reconciled

_LARGEST_PAGE = 100


class Leadping(WritingBackend):
    """An organization's phone numbers; one key reads one organization.

    - `account`: what that organization is called here; `"default"` unless given. With
      `auth=PerAccount({organization: key, …})` there are several.
    - `options`: which numbers a listing holds, and in which order.
    - `limit`: 300 requests per 60 s and organization.
    """

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
        page_size: int = _LARGEST_PAGE,
        account: str = DEFAULT_ACCOUNT,
        options: ListOptions = ListOptions(),
        limit: RateLimit | None = RateLimit(300, per=60),
        name: str = "leadping",
        http: HttpOptions | None = None,
        session: aiohttp.ClientSession | None = None,
    ) -> None:
        super().__init__(
            name,
            base_url=base_url,
            auth=resolve_auth(api_key, auth, what="api_key", kind=Bearer),
            limit=limit,
            http=http,
            session=session,
        )
        self.page_size = validate_page_size(page_size, _LARGEST_PAGE)
        self.options = options
        self._account = account
        self._without_number: Counter[tuple[str, str]] = Counter()

    @classmethod
    def from_sandbox(cls, sandbox: Sandbox, /) -> Self:
        """Make a backend that talks to the sandbox."""
        return cls(sandbox.leadping_key, base_url=sandbox.leadping_url)

    async def accounts(self) -> AsyncIterator[str]:
        """Yield the organizations that the credentials name; the one of a single key otherwise."""
        for account in self.http.auth.accounts() or (self._account,):
            yield account

    async def page(self, account: str, cursor: Cursor | None = None) -> Page[LeadpingRow]:
        """Fetch one page; `cursor` is the vendor's continuation token, so that one page leads to the next.

        A single key reads one organization whatever it is called here: `account` is what the numbers are
        labelled with.
        """
        return await self._list(account, cursor, self.options)

    async def search(self, account: str, number: str, cursor: Cursor | None = None) -> Page[LeadpingRow]:
        """Fetch a page of the rows whose number matches this one."""
        return await self._list(
            account, cursor, ListOptions(search=validate_e164(number), search_fields=("number",))
        )

    async def _list(self, account: str, cursor: Cursor | None, options: ListOptions) -> Page[LeadpingRow]:
        if cursor is not None and (not isinstance(cursor, str) or not cursor):
            raise InvalidArgument(f"cursor: expected a continuation token, got {cursor!r}")
        call = calls.list_numbers(
            page_size=self.page_size, continuation_token=cursor, options=options, account=account
        )
        return self._page(account, cursor, await self.send(call))

    def _page(self, account: str, cursor: Cursor | None, listing: Listing) -> Page[LeadpingRow]:
        for row in listing.rows:
            row.account = account
        return Page(
            account=account,
            provider=self.name,
            cursor=cursor,
            numbers=listing.rows,
            next=(listing.token,) if listing.token else (),
            total=listing.total,
            rejected=listing.rejected,
        )

    async def create(
        self,
        *,
        name: str,
        number: str | None = None,
        organization_id: str | None = None,
        business_id: str | None = None,
        enabled: bool | None = None,
        number_id: str | None = None,
        account: str | None = None,
    ) -> LeadpingNumber:
        """Create a number, once: `name` is up to 255 characters, `number` E.164.

        `business_id` is the older generation's name for `organization_id`. Raises OutcomeUnknown where the
        answer is lost, since the vendor has no idempotency key and every request may cost money; without a
        `number` it can be looked up only where the name is one that nothing else bears.
        """
        call = calls.create_number(
            name=name,
            number=number,
            organization_id=organization_id,
            business_id=business_id,
            enabled=enabled,
            number_id=number_id,
            account=self._account_or_default(account),
        )
        wanted = drop_none(
            name=name, organization_id=organization_id, business_id=business_id, enabled=enabled
        )
        facts = Write(kind="create", account=self._account_or_default(account), number=number, wanted=wanted)
        if number is None:
            self._without_number[facts.account, name] += 1
        return self._with_account(await self.write(call, facts), account)

    async def get(self, number_id: str, *, account: str | None = None) -> LeadpingNumber:
        """Fetch the full answer on one number."""
        return self._with_account(
            await self.send(calls.get_number(number_id, account=self._account_or_default(account))), account
        )

    async def update(
        self,
        number_id: str,
        *,
        name: str | None = None,
        number: str | None = None,
        organization_id: str | None = None,
        business_id: str | None = None,
        enabled: bool | None = None,
        account: str | None = None,
    ) -> LeadpingNumber:
        """Change the fields that are given.

        The vendor replaces the whole record, so that what is not given is fetched first. Raises
        OutcomeUnknown where the answer is lost.
        """
        calls.check_fields(name, number)  # before anything is fetched
        wanted = drop_none(
            name=name,
            number=number,
            organization_id=organization_id,
            business_id=business_id,
            enabled=enabled,
        )
        version = None
        unplaced = organization_id is None and business_id is None
        if name is None or number is None or enabled is None or unplaced:
            now = await self._before(number_id, account)
            version = now.updated_at or now.created_at
            name = now.label or now.number if name is None else name
            number = now.number if number is None else number
            enabled = now.enabled if enabled is None else enabled
            if unplaced:
                organization_id = now.organization.id if now.organization else None
                business_id = now.business.id if now.business else None
        call = calls.update_number(
            number_id,
            name=name,
            number=number,
            organization_id=organization_id,
            business_id=business_id,
            enabled=enabled,
            account=self._account_or_default(account),
        )
        facts = Write(
            kind="update",
            account=self._account_or_default(account),
            number_id=number_id,
            wanted=wanted,
            version=version,
        )
        return self._with_account(await self.write(call, facts), account)

    async def _before(self, number_id: str, account: str | None) -> LeadpingNumber:
        """Fetch a number that is to be changed."""
        try:
            return await self.get(number_id, account=account)
        except CallError as error:
            error.not_executed = True  # nothing is changed yet
            raise

    async def delete(self, number_id: str, *, account: str | None = None) -> None:
        """Delete a number; raises OutcomeUnknown where the answer is lost."""
        facts = Write(kind="delete", account=self._account_or_default(account), number_id=number_id)
        await self.write(calls.delete_number(number_id, account=facts.account), facts)

    async def reconcile(
        self,
        lost: OutcomeUnknown | Write,
        /,
        *,
        grace_period: float = GRACE_PERIOD,
        clock_skew: float = CLOCK_SKEW,
    ) -> Reconciled[LeadpingNumber]:
        """Look up whether a write was carried out whose answer was lost.

        - `grace_period`: seconds after that during which the request may still be under way. It is looked up
          again until then, unless it is done.
        - `clock_skew`: how many seconds the vendor's clock and this one may be apart.
        """
        facts = write_of(lost, self.name, ("create", "update", "delete"))
        shared = self._without_number[facts.account, str(facts.wanted.get("name"))] > 1
        look = LeadpingLookup(self, OutcomeEvaluator(facts, clock_skew), shared_name=shared)
        return await look_up_until_settled(look, facts, grace_period)

    async def status(
        self,
        phone_number: str,
        *,
        window_days: int | None = None,
        start_date: date | None = None,
        end_date: date | None = None,
        account: str | None = None,
    ) -> LeadpingStatus:
        """Fetch what a number, given as E.164, can send now, and its metrics over a window of days."""
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
        """Fetch the same by the number's id."""
        call = calls.number_warmup(
            number_id,
            window_days=window_days,
            start_date=start_date,
            end_date=end_date,
            account=self._account_or_default(account),
        )
        return await self.send(call)

    def _account_or_default(self, account: str | None) -> str:
        return self._account if account is None else account

    def _with_account(self, number: LeadpingNumber, account: str | None) -> LeadpingNumber:
        number.account = self._account_or_default(account)
        return number
