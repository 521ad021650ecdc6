"""For tests: the conformance kit for backends, and pytest fixtures (`phonesys.testing.plugin`).

`BackendUnderTest` and what it is made of can be imported anywhere; the kit itself needs pytest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phonesys.testing.backend import BackendUnderTest, FailureMode

if TYPE_CHECKING:
    from phonesys.testing.conformance import ProviderConformance

__all__ = ["BackendUnderTest", "FailureMode", "ProviderConformance"]


def __getattr__(name: str) -> Any:
    """Import what needs pytest when it is asked for."""
    if name != "ProviderConformance":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        import pytest

        pytest.register_assert_rewrite("phonesys.testing.conformance")  # so that failures show values
        from phonesys.testing.conformance import ProviderConformance
    except ModuleNotFoundError as missing:
        if missing.name != "pytest":
            raise
        raise ImportError("phonesys.testing.ProviderConformance needs pytest: pip install pytest") from None
    return ProviderConformance
