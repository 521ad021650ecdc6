"""dlt's `rest_api` source: the whole job of sweeping locations into a file of JSON lines."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
os.environ["RUNTIME__LOG_LEVEL"] = "CRITICAL"
os.environ["NORMALIZE__DATA_WRITER__DISABLE_COMPRESSION"] = "true"

import dlt
from dlt.sources.rest_api import rest_api_source

from benchmarks.job import TOKEN, Outcome, Stopwatch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.job import Job


def to_file(job: Job) -> Outcome:
    """Extract, normalize and load into the `filesystem` destination."""
    folder = Path(tempfile.mkdtemp(prefix="benchmark-dlt-"))
    watch = Stopwatch()
    try:
        with watch.lap():
            pipeline = dlt.pipeline(
                "numbers",
                pipelines_dir=str(folder / "pipelines"),
                destination=dlt.destinations.filesystem(bucket_url=(folder / "out").as_uri()),
                dataset_name="numbers",
            )
            pipeline.run(_source(job), loader_file_format="jsonl")
        return watch.outcome(pipeline.last_trace.last_normalize_info.row_counts["numbers"])
    finally:
        shutil.rmtree(folder)


def _source(job: Job) -> Any:
    """Describe the API: a resource of locations, and a page of numbers for each."""
    numbers = {
        "name": "numbers",
        "include_from_parent": ["id"],
        "endpoint": {
            "path": "phone-system/numbers/location/{resources.locations.id}",
            "params": {"pageSize": job.rows, "skipNumberPool": "false"},
            "data_selector": "numbers",
            "paginator": {"type": "page_number", "base_page": 0, "total_path": None},
        },
    }
    return rest_api_source(
        {
            "client": {"base_url": job.url, "auth": {"type": "bearer", "token": TOKEN}},
            "resources": [dlt.resource(lambda: _locations(job), name="locations"), numbers],
        }
    )


def _locations(job: Job) -> Iterator[list[dict[str, str]]]:
    yield [{"id": location} for location in job.ids()]
