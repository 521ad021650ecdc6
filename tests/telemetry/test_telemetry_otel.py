"""OpenTelemetry: spans and metrics, as its SDK exports them."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv.attributes import (
    error_attributes,
    http_attributes,
    server_attributes,
    url_attributes,
)
from opentelemetry.semconv.metrics.http_metrics import HTTP_CLIENT_REQUEST_DURATION

from phonesys import ConnectError, Leadping, NotFound, PhoneSystem, ServerError
from phonesys.sandbox import Sandbox
from phonesys.sandbox.faults import status
from phonesys.telemetry import (
    AccountEnded,
    CallFailed,
    PageRead,
    RequestEnded,
    RequestStarted,
    RetryScheduled,
    TokenRenewed,
    TokenRequest,
    WaitEnded,
    WaitReason,
)
from phonesys.telemetry.otel import OpenTelemetryObserver
from tests.http.raw_vendor import OK, TOKEN, RawVendor, answer, client, read
from tests.telemetry.test_telemetry_system import leadconnector, sweep

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from opentelemetry.sdk.trace import ReadableSpan


class Collector:
    """The SDK with exporters in memory, and an observer that reports to it."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader])
        self.observer = OpenTelemetryObserver(tracer_provider=self.tracers, meter_provider=self.meters)

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())

    def points(self, name: str) -> list[tuple[dict[str, Any], Any]]:
        """Return the attributes and the sum of each series of a metric."""
        data = self.reader.get_metrics_data()
        assert data is not None
        return [
            (dict(point.attributes or {}), getattr(point, "sum", None) or getattr(point, "value", 0))
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.tracers.shutdown()
    made.meters.shutdown()


async def test_a_request_is_a_span_of_the_conventions(collector: Collector) -> None:
    """Named by its template, of kind client, below the span of the program, on the direct transport."""
    tracer = collector.tracers.get_tracer("program")
    vendor = RawVendor(OK)
    async with vendor, client(vendor, observers=[collector.observer]) as http:
        assert http.fallback_reason is None
        with tracer.start_as_current_span("nightly"):
            await http.send(read(target="/things/1?q=2", url_template="/things/{id}"))
    span, program = collector.spans
    assert span.name == "GET /things/{id}"
    assert span.kind is trace.SpanKind.CLIENT
    assert span.parent is not None
    assert program.context is not None
    assert span.parent.span_id == program.context.span_id
    assert dict(span.attributes or {}) == {
        http_attributes.HTTP_REQUEST_METHOD: "GET",
        http_attributes.HTTP_RESPONSE_STATUS_CODE: 200,
        server_attributes.SERVER_ADDRESS: "127.0.0.1",
        server_attributes.SERVER_PORT: int(vendor.url.rpartition(":")[2]),
        url_attributes.URL_FULL: f"{vendor.url}/things/1?q=2",
        url_attributes.URL_SCHEME: "http",
        "url.template": "/things/{id}",
        "phonesys.account": "acc_1",
        "phonesys.backend": "test",
        "phonesys.operation": "read_thing",
    }
    assert span.status.is_unset


@pytest.mark.jumping
async def test_each_attempt_is_a_span(collector: Collector) -> None:
    """The second one says so, and the first one's status is its error."""
    vendor = RawVendor(answer("{}", 503), OK)
    async with vendor, client(vendor, observers=[collector.observer]) as http:
        await http.send(read())
    first, second = collector.spans
    assert (first.name, first.status.status_code) == ("GET", trace.StatusCode.ERROR)
    assert (first.attributes or {})[error_attributes.ERROR_TYPE] == "503"
    assert (second.attributes or {})[http_attributes.HTTP_REQUEST_RESEND_COUNT] == 1
    assert collector.points("phonesys.retries") == [
        ({"phonesys.backend": "test", "phonesys.operation": "read_thing", "error.type": "ServerError"}, 1)
    ]
    assert [facts["phonesys.wait.reason"] for facts, _ in collector.points("phonesys.wait.duration")] == [
        "retry"
    ]


async def test_a_request_without_a_response_names_its_error(
    collector: Collector, unused_tcp_port: int
) -> None:
    """In spans and in the histogram."""
    url = f"http://127.0.0.1:{unused_tcp_port}"
    async with client(url, observers=[collector.observer], retries=0) as http:
        with pytest.raises(ConnectError):
            await http.send(read())
    (span,) = collector.spans
    assert (span.attributes or {})[error_attributes.ERROR_TYPE] == "ConnectError"
    ((facts, _),) = collector.points(HTTP_CLIENT_REQUEST_DURATION)
    assert facts[error_attributes.ERROR_TYPE] == "ConnectError"
    assert http_attributes.HTTP_RESPONSE_STATUS_CODE not in facts


async def test_metrics_have_few_series(collector: Collector) -> None:
    """However many accounts and ids there are: a series for each operation, status and outcome."""
    async with Sandbox(locations=20, not_connected=6, numbers=(1, 5), leadping=30, agents=0) as sandbox:
        sandbox.script("leadping.list", status(403), repeat=True)
        leadping = Leadping(sandbox.leadping_key, base_url=sandbox.leadping_url)
        lc = leadconnector(sandbox)
        async with PhoneSystem(lc, leadping, observers=[collector.observer]) as phones:
            report = await sweep(phones)
    durations = collector.points(HTTP_CLIENT_REQUEST_DURATION)
    assert {(facts["phonesys.backend"], facts["http.response.status_code"]) for facts, _ in durations} == {
        ("leadconnector", 200), ("leadconnector", 404), ("leadping", 403),
    }  # fmt: skip
    assert len(durations) == 3
    accounts = {
        (facts["phonesys.backend"], facts["phonesys.outcome"]): count
        for facts, count in collector.points("phonesys.accounts")
    }
    assert accounts == {
        (backend, outcome): count
        for backend, outcomes in report.by_provider.items()
        for outcome, count in outcomes.items()
    }
    assert collector.points("phonesys.numbers") == [({"phonesys.backend": "leadconnector"}, report.numbers)]
    assert len(collector.spans) == report.requests
    for _, facts in ((span.name, span.attributes or {}) for span in collector.spans):
        assert TOKEN not in repr(dict(facts))


async def test_instrumentation_of_aiohttp_reports_no_second_span(collector: Collector) -> None:
    """Nor a header of its own: while a request is observed here, it is silent."""
    AioHttpClientInstrumentor().instrument(tracer_provider=collector.tracers)
    try:
        vendor = RawVendor(OK, answer("{}", 404))
        async with vendor, client(vendor, observers=[collector.observer]) as http:
            assert http.fallback_reason == "aiohttp's session has traces or middlewares"
            await http.send(read())
            with pytest.raises(NotFound):
                await http.send(read())
        assert [span.instrumentation_scope.name for span in collector.spans] == ["phonesys", "phonesys"]  # type: ignore[union-attr]
        assert "traceparent" not in vendor.requests[0][0].lower()
    finally:
        AioHttpClientInstrumentor().uninstrument()


async def test_concurrent_requests_do_not_nest(collector: Collector) -> None:
    """Each is below the program's span, and not below another request's."""
    vendor = RawVendor(OK)
    tracer = collector.tracers.get_tracer("program")
    async with vendor, client(vendor, observers=[collector.observer]) as http:
        with tracer.start_as_current_span("nightly") as program:
            await asyncio.gather(*(http.send(read()) for _ in range(8)))
            assert trace.get_current_span() is program
    parents = {span.parent.span_id for span in collector.spans if span.parent is not None}
    assert parents == {program.get_span_context().span_id}


DASHBOARD = Path(__file__).parents[2] / "docs" / "guides" / "grafana-dashboard.json"


def everything(observer: OpenTelemetryObserver) -> None:
    """Report each kind of event, with and without an error."""
    call: dict[str, Any] = {"backend": "test", "account": "1", "operation": "read"}
    error = ServerError("down", status=503)
    observer(WaitEnded(**call, reason=WaitReason.RETRY, duration=1.0))
    observer(RetryScheduled(**call, attempt=1, delay=1.0, error=error))
    observer(CallFailed(**call, attempts=2, duration=1.0, error=error))
    request: dict[str, Any] = {
        **call, "id": 1, "attempt": 1, "method": "GET", "url": "https://vendor.example/x",
        "url_template": "/x", "request_size": 0,
    }  # fmt: skip
    observer(RequestStarted(**request))
    observer(RequestEnded(**request, duration=1.0, status=503))
    account: dict[str, Any] = {"backend": "test", "account": "1"}
    observer(TokenRenewed(**account, kind=TokenRequest.REFRESH, duration=1.0, error=error))
    observer(PageRead(**account, numbers=1, rejected=0))
    observer(AccountEnded(**account, outcome="done", numbers=1, pages=1, passes=1))


def test_the_dashboard_shows_what_prometheus_gets() -> None:
    """Every metric and label in its queries is exported under that name, and every metric is shown."""
    reader = PrometheusMetricReader()
    meters = MeterProvider([reader])
    try:
        everything(OpenTelemetryObserver(meter_provider=meters))
        samples = [sample for metric in reader._collector.collect() for sample in metric.samples]
    finally:
        meters.shutdown()
    labels = {sample.name: set(sample.labels) for sample in samples if sample.name != "target_info"}
    panels = json.loads(DASHBOARD.read_text())["panels"]
    used = set()
    for query in (target["expr"] for panel in panels for target in panel["targets"]):
        (name,) = re.findall(r"(\w+)\{", query)
        used.add(name)
        grouping = re.search(r"by \(([^)]*)\)", query)
        wanted = re.findall(r"(\w+)(?:=|!=|=~)\"", query) + (grouping[1].split(", ") if grouping else [])
        assert set(wanted) <= labels[name], query
    assert families(used) == families(labels) - {"phonesys_pages"}


def families(samples: Iterable[str]) -> set[str]:
    """Return the metrics that these series belong to."""
    return {re.sub("_(bucket|count|sum|total|created)$", "", name) for name in samples}
