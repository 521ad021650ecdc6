"""Leadping's own Python SDK, pointed at the sandbox, completes a day's work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from phonesys.sandbox import Sandbox

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class Sdk:
    """The client, and the models that it wants its bodies in."""

    def __init__(self, client: Any, find: Callable[[str], Any]) -> None:
        self.numbers = client.phone_numbers
        self._find = find

    def model(self, name: str, /, **fields: Any) -> Any:
        module = "".join("_" + letter.lower() if letter.isupper() else letter for letter in name).lstrip("_")
        made = getattr(self._find(f"leadping.models.{module}"), name)()
        for field, value in fields.items():
            setattr(made, field, value)
        return made


@pytest.fixture
async def sdk(peer: Callable[[str], Any], vendors: Sandbox) -> AsyncIterator[Sdk]:
    keys = peer("kiota_abstractions.authentication.api_key_authentication_provider")
    adapter = peer("kiota_http.httpx_request_adapter").HttpxRequestAdapter(
        keys.ApiKeyAuthenticationProvider(
            keys.KeyLocation.Header, f"Bearer {vendors.leadping_key}", "Authorization", ["127.0.0.1"]
        )
    )
    adapter.base_url = vendors.leadping_url
    yield Sdk(peer("leadping.leadping_open_api_client").LeadpingOpenApiClient(adapter), peer)
    await adapter._http_client.aclose()  # it has no other way to be closed


async def test_it_lists_and_pages_through(sdk: Sdk, vendors: Sandbox) -> None:
    """Every number of the organization, token by token."""
    found: list[str] = []
    token, pages = None, 0
    while pages == 0 or token:
        options = sdk.model("RequestDataOptions", page_size=25, continuation_token=token, include_count=True)
        page = await sdk.numbers.all.organization.post(options)
        found += [row.number for row in page.items]
        token, pages = page.continuation_token, pages + 1
    assert (pages, len(found), page.total_count) == (3, 60, 60)
    assert set(found) == vendors.truth["leadping", "default"]


async def test_it_creates_updates_and_deletes(sdk: Sdk, vendors: Sandbox) -> None:
    """A number's whole life."""
    created = await sdk.numbers.post(sdk.model("PhoneNumberRequest", name="Desk", number="+15005550006"))
    assert (created.name, created.number, created.enabled) == ("Desk", "+15005550006", True)
    item = sdk.numbers.by_phone_number_id(created.id)
    changed = await item.put(sdk.model("PhoneNumberRequest", name="Front desk", number="+15005550006"))
    assert (changed.name, changed.enabled) == ("Front desk", True)
    assert (await item.get()).name == "Front desk"
    assert (await item.warmup.get()).number == "+15005550006"
    await item.delete()
    assert "+15005550006" not in vendors.truth["leadping", "default"]
    with pytest.raises(Exception, match="404") as caught:
        await item.get()
    assert type(caught.value).__name__ == "ProblemDetails"


async def test_it_looks_for_numbers_to_buy(sdk: Sdk) -> None:
    """Searching, and asking whether one is free."""
    found = await sdk.numbers.search.post(sdk.model("PhoneNumberSearchRequest", phone_number="+1"))
    number = found.numbers[0].number
    request = sdk.model("PhoneNumberAvailabilityRequest", phone_number=number)
    answer = await sdk.numbers.is_available_for_purchase.post(request)
    assert (answer.phone_number, answer.is_available) == (number, True)


async def test_it_sees_the_vendors_errors(sdk: Sdk) -> None:
    """Problem details, with the sentence in them."""
    with pytest.raises(Exception, match="400") as caught:
        await sdk.numbers.post(sdk.model("PhoneNumberRequest", name="x" * 256, number="+15005550006"))
    assert type(caught.value).__name__ == "ProblemDetails"
    assert "255" in str(vars(caught.value)["detail"])
