"""aioresponses for the aiohttp of today: what its mocked answers need, in one place."""

from __future__ import annotations

from functools import partialmethod
from typing import Any
from unittest.mock import Mock

import aiohttp
from aioresponses import aioresponses


class Response(aiohttp.ClientResponse):
    """An answer for which aiohttp's `stream_writer`, which aioresponses does not know of, is supplied."""

    __init__ = partialmethod(aiohttp.ClientResponse.__init__, stream_writer=Mock(output_size=0))


class Mocked(aioresponses):
    """`aioresponses` whose answers are made of `Response`."""

    def add(self, *args: Any, **kwargs: Any) -> None:
        super().add(*args, **{"response_class": Response, **kwargs})
