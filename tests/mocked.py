"""aioresponses for the aiohttp of today: what its mocked answers need, in one place."""

from __future__ import annotations

from functools import partialmethod
from inspect import signature
from typing import Any
from unittest.mock import Mock

import aiohttp
from aioresponses import aioresponses

_MAKE = aiohttp.ClientResponse.__init__
_WRITER = "stream_writer"
_KNOWS_WRITER = _WRITER in signature(_MAKE).parameters
"""True for aiohttp 3.14 and later."""


class Response(aiohttp.ClientResponse):
    """An answer for which aiohttp's `stream_writer`, which aioresponses does not know of, is supplied."""

    __init__ = partialmethod(_MAKE, **({_WRITER: Mock(output_size=0)} if _KNOWS_WRITER else {}))


class Mocked(aioresponses):
    """`aioresponses` whose answers are made of `Response`."""

    def add(self, *args: Any, **kwargs: Any) -> None:
        super().add(*args, **{"response_class": Response, **kwargs})
