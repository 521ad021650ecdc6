from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.changes.desk import Desk, open_desk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    async with open_desk() as desk:
        yield desk
