"""Testing: a mock of the network, the conformance kit for backends, and fixtures (`phonesys.testing.plugin`).

Only `ProviderConformance` needs pytest. Each name is imported when it is used, because pytest imports this
package for the plugin in every session.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from phonesys.http.transport.mock import MockTransport, json_response
    from phonesys.testing.backend import BackendUnderTest, FailureMode
    from phonesys.testing.conformance import ProviderConformance

__all__ = ["BackendUnderTest", "FailureMode", "MockTransport", "ProviderConformance", "json_response"]


def __getattr__(name: str) -> object:
    """Import a public name."""
    if name in {"BackendUnderTest", "FailureMode"}:
        from phonesys.testing import backend

        return getattr(backend, name)
    if name in {"MockTransport", "json_response"}:
        from phonesys.http.transport import mock

        return getattr(mock, name)
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
