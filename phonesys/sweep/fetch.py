"""The requests for the pages of one source, in the form that best shows whether rows moved."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phonesys.provider import OverlapsPages, SearchesNumbers, VerifiesRows

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from phonesys._matching import NumberQuery
    from phonesys.model import Cursor, Page, PhoneNumber
    from phonesys.sweep.source import Source


class PageFetcher:
    """Requests pages of one backend. The backend's abilities are looked up once, not for each page."""

    def __init__(self, source: Source, query: NumberQuery | None, *, verify: bool) -> None:
        self.source = source
        self.verify = verify
        provider = source.provider
        self._text = None if query is None else query.search_text
        self._search = provider if self._text is not None and isinstance(provider, SearchesNumbers) else None
        listed = verify and self._search is None
        self._windows = provider if listed and isinstance(provider, OverlapsPages) else None
        self._rows = provider if listed and isinstance(provider, VerifiesRows) else None

    @property
    def overlaps(self) -> bool:
        """True if pages are requested that overlap."""
        return self._windows is not None and self._windows.overlaps

    def stop_overlapping(self) -> None:
        """Request pages of one size in all sweeps from now on: the vendor does not page by index and size."""
        if self._windows is not None:
            self._windows.overlaps = False

    def page(self, account: str, cursor: Cursor | None, *, overlapping: bool) -> Awaitable[Page[PhoneNumber]]:
        """Request one page."""
        if overlapping and self._windows is not None:
            return self._windows.overlapping_page(account, cursor)
        if self._search is not None and self._text is not None:
            return self._search.search(account, self._text, cursor)
        return self.source.provider.page(account, cursor)

    async def has_row_at(self, account: str, offset: int, row: str) -> bool:
        """Return False if another row is at the offset now; True also if the backend cannot check that."""
        return self._rows is None or await self._rows.has_row_at(account, offset, row)
