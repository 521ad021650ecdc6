"""OpenTelemetry: an observer that reports requests as spans, and everything as metrics.

Spans and the histogram `http.client.request.duration` follow OpenTelemetry's semantic conventions for HTTP
clients (https://opentelemetry.io/docs/specs/semconv/http/). Accounts and URLs are attributes of spans only:
an agency has thousands, and each would be a time series of its own.
"""

from __future__ import annotations

from contextlib import ExitStack, nullcontext
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from phonesys._version import __version__
from phonesys.telemetry.events import (
    AccountEnded,
    CallFailed,
    PageRead,
    RequestEnded,
    RequestStarted,
    RetryScheduled,
    TokenRenewed,
    WaitEnded,
)

try:
    from opentelemetry import metrics, trace
except ImportError as missing:
    raise ImportError("this needs OpenTelemetry: pip install 'phonesys[otel]'") from missing

_suppress_instrumentation: Callable[[], AbstractContextManager[None]]
try:
    from opentelemetry.instrumentation.utils import suppress_http_instrumentation
except ImportError:  # then nothing is instrumented
    _suppress_instrumentation = nullcontext
else:
    _suppress_instrumentation = suppress_http_instrumentation

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from phonesys.telemetry.events import Event, RequestEvent

    Attributes = dict[str, str | int]

__all__ = ["OpenTelemetryObserver"]

_SCHEMA = "https://opentelemetry.io/schemas/1.37.0"
_FIRST_ERROR = 400
_PORTS = {"https": 443, "http": 80}
# The boundaries that the semantic conventions recommend for durations.
_SECONDS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]
_WAIT_SECONDS = [0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300]


class OpenTelemetryObserver:
    """Observer that reports to OpenTelemetry: `PhoneSystem(…, observers=[OpenTelemetryObserver()])`.

    A request is a span, `GET /phone-system/numbers/location/{locationId}`, below the span that was current
    when its call was made; a retry is another one. Metrics are:

    - `http.client.request.duration`: seconds of a request, a histogram.
    - `phonesys.wait.duration`: seconds of a wait, a histogram by `phonesys.wait.reason`.
    - `phonesys.retries`, `phonesys.call.failures`, `phonesys.token.renewals`: counters.
    - `phonesys.pages`, `phonesys.numbers`, `phonesys.rejected_rows`, `phonesys.accounts`: counters of
      sweeps, accounts by `phonesys.outcome`.

    All have `phonesys.backend`. Providers are the global ones unless given. Instrumentation of aiohttp beside
    it reports no second span. No context is propagated: vendors are no part of the trace.
    """

    def __init__(
        self,
        *,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
    ) -> None:
        self._tracer = trace.get_tracer("phonesys", __version__, tracer_provider, schema_url=_SCHEMA)
        self._spans: dict[int, tuple[trace.Span, ExitStack]] = {}
        meter = metrics.get_meter("phonesys", __version__, meter_provider, schema_url=_SCHEMA)
        self._request_duration = meter.create_histogram(
            "http.client.request.duration",
            unit="s",
            description="Duration of HTTP client requests.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._wait_duration = meter.create_histogram(
            "phonesys.wait.duration",
            unit="s",
            description="Duration of waits of calls.",
            explicit_bucket_boundaries_advisory=_WAIT_SECONDS,
        )
        self._retries = meter.create_counter(
            "phonesys.retries", unit="{retry}", description="Attempts that failed and were repeated."
        )
        self._failures = meter.create_counter(
            "phonesys.call.failures", unit="{call}", description="Calls that failed for good."
        )
        self._renewals = meter.create_counter(
            "phonesys.token.renewals", unit="{request}", description="Requests for a token."
        )
        self._pages = meter.create_counter("phonesys.pages", unit="{page}", description="Pages read.")
        self._numbers = meter.create_counter("phonesys.numbers", unit="{number}", description="Numbers read.")
        self._rejected = meter.create_counter(
            "phonesys.rejected_rows", unit="{row}", description="Rows that could not be read."
        )
        self._accounts = meter.create_counter(
            "phonesys.accounts", unit="{account}", description="Accounts with an outcome."
        )
        self._handlers: dict[type[Event], Callable[[Any], None]] = {
            RequestStarted: self._on_request_started,
            RequestEnded: self._on_request_ended,
            WaitEnded: self._on_wait_ended,
            RetryScheduled: self._on_retry,
            CallFailed: self._on_call_failed,
            TokenRenewed: self._on_token,
            PageRead: self._on_page,
            AccountEnded: self._on_account,
        }

    def __call__(self, event: Event) -> None:
        """Report one event."""
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(event)

    def _on_request_started(self, event: RequestStarted) -> None:
        template = event.url_template
        attributes = _http_attributes(event) | {
            "url.full": event.url,
            "phonesys.backend": event.backend,
            "phonesys.operation": event.operation,
        }
        if event.account:
            attributes["phonesys.account"] = event.account
        if template:
            attributes["url.template"] = template
        if event.attempt > 1:
            attributes["http.request.resend_count"] = event.attempt - 1
        name = f"{event.method} {template}" if template else event.method
        span = self._tracer.start_span(name, kind=trace.SpanKind.CLIENT, attributes=attributes)
        context = ExitStack()
        context.enter_context(trace.use_span(span, record_exception=False, set_status_on_exception=False))
        context.enter_context(_suppress_instrumentation())
        self._spans[event.id] = span, context

    def _on_request_ended(self, event: RequestEnded) -> None:
        attributes = _http_attributes(event) | _response_attributes(event)
        started = self._spans.pop(event.id, None)
        if started is not None:  # else the request was under way when the observer was added
            span, context = started
            context.close()
            span.set_attributes(_response_attributes(event))
            if "error.type" in attributes:
                span.set_status(trace.StatusCode.ERROR, None if event.error is None else str(event.error))
            span.end()
        if event.url_template:
            attributes["url.template"] = event.url_template
        attributes["phonesys.backend"] = event.backend
        self._request_duration.record(event.duration, attributes)

    def _on_wait_ended(self, event: WaitEnded) -> None:
        attributes = {"phonesys.backend": event.backend, "phonesys.wait.reason": event.reason.value}
        self._wait_duration.record(event.duration, attributes)

    def _on_retry(self, event: RetryScheduled) -> None:
        self._retries.add(1, _failure_attributes(event.backend, event.operation, event.error))

    def _on_call_failed(self, event: CallFailed) -> None:
        self._failures.add(1, _failure_attributes(event.backend, event.operation, event.error))

    def _on_token(self, event: TokenRenewed) -> None:
        attributes = {"phonesys.backend": event.backend, "phonesys.token.request": event.kind.value}
        if event.error is not None:
            attributes["error.type"] = type(event.error).__name__
        self._renewals.add(1, attributes)

    def _on_page(self, event: PageRead) -> None:
        attributes = {"phonesys.backend": event.backend}
        self._pages.add(1, attributes)
        self._numbers.add(event.numbers, attributes)
        self._rejected.add(event.rejected, attributes)

    def _on_account(self, event: AccountEnded) -> None:
        attributes = {"phonesys.backend": event.backend, "phonesys.outcome": str(event.outcome)}
        self._accounts.add(1, attributes)


def _http_attributes(event: RequestEvent) -> Attributes:
    url = urlsplit(event.url)
    return {
        "http.request.method": event.method,
        "server.address": url.hostname or "",
        "server.port": url.port or _PORTS[url.scheme],
        "url.scheme": url.scheme,
    }


def _response_attributes(event: RequestEnded) -> Attributes:
    """Return the status, or the error without one. Redirects are errors here, since none is followed."""
    if event.status is None:
        return {"error.type": type(event.error).__name__}
    attributes: Attributes = {"http.response.status_code": event.status}
    if event.status >= _FIRST_ERROR:
        attributes["error.type"] = str(event.status)
    return attributes


def _failure_attributes(backend: str, operation: str, error: Exception) -> Attributes:
    return {
        "phonesys.backend": backend,
        "phonesys.operation": operation,
        "error.type": type(error).__name__,
    }
