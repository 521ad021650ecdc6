from __future__ import annotations

import ssl
from math import inf, nan
from typing import Any

import pytest

from phonesys import HttpOptions, InvalidArgument

# fmt: off
WRONG: list[dict[str, Any]] = [
    *({name: value}
      for name in ("timeout", "connect_timeout", "read_timeout", "deadline")
      for value in (0, -1, inf, nan, "60", True, [60])),
    *({"retries": value} for value in (-1, 1.5, "3", None, True)),
    *({"max_body": value} for value in (0, -1, 1e9, "64", None)),
    *({"connections": value} for value in (0, -1, 2.0, None, False)),
    *({name: value} for name in ("backoff", "backoff_cap") for value in (-0.1, inf, nan, "1", None, True)),
    *({"ssl": value} for value in (True, False, "ca.pem", ssl.SSLContext)),
]
# fmt: on


@pytest.mark.parametrize("options", WRONG, ids=str)
def test_senseless_options_are_refused(options: dict[str, Any]) -> None:
    """When it is given, and the message names the option, what was expected, and what came."""
    ((name, value),) = options.items()
    with pytest.raises(InvalidArgument, match=f"^HttpOptions.{name}: expected ") as caught:
        HttpOptions(**options)
    assert str(caught.value).endswith(f"got {value!r}")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"timeout": None, "connect_timeout": None, "read_timeout": None, "deadline": None},
        {"timeout": 1, "deadline": 0.001, "retries": 0, "max_body": 1, "connections": 1},
        {"backoff": 0, "backoff_cap": 0},
        {"retries": 1000, "backoff": 3600},
        {"ssl": None},
        {"ssl": ssl.create_default_context()},
    ],
)
def test_sensible_options_are_accepted(options: dict[str, Any]) -> None:
    """No bound at all, and the tightest there are."""
    made = HttpOptions(**options)
    assert all(getattr(made, name) == value for name, value in options.items())


def test_options_are_a_value() -> None:
    """Frozen, so that they can be shared; jitter draws from 0 to 1."""
    options = HttpOptions()
    with pytest.raises(AttributeError):
        options.timeout = 1.0  # type: ignore[misc]
    assert all(0 <= options.jitter() <= 1 for _ in range(100))
