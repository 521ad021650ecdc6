"""Hypothesis settings: the same examples in every run, so that a failure is reproducible."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from tests.fuzz.answers import mangled, mutated

if TYPE_CHECKING:
    from collections.abc import Sequence

always_the_same = settings(
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.too_slow],
)
"""`python -m tests.fuzz.guided` is what looks for new ones."""


def changed(examples: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Answers with something wrong in their document, or in their bytes."""
    return st.builds(mutated, st.sampled_from(examples), st.randoms(use_true_random=False))


def damaged(examples: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """Files with something wrong in their bytes."""
    return st.builds(mangled, st.sampled_from(examples), st.randoms(use_true_random=False))
