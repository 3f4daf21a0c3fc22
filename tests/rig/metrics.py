"""The daemon's metrics as its operators scrape them."""

from __future__ import annotations

import urllib.request

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

SECONDS = 5.0


def text(url: str) -> str:
    """Return the metrics as they are served."""
    with urllib.request.urlopen(url, timeout=SECONDS) as answer:
        body: bytes = answer.read()
    return body.decode()


def scrape(url: str) -> dict[str, Metric]:
    """Return the metric families by name."""
    return {family.name: family for family in text_string_to_metric_families(text(url))}


def value(families: dict[str, Metric], sample: str, **labels: str) -> float:
    """Return the sum of the samples with this name and at least these labels; 0 when there is none."""
    return sum(
        found.value
        for family in families.values()
        for found in family.samples
        if found.name == sample and labels.items() <= found.labels.items()
    )


def histograms(families: dict[str, Metric]) -> dict[str, float]:
    """Return each histogram's number of samples, over all labels."""
    return {name: value(families, f"{name}_count") for name, family in families.items() if family.type == "histogram"}


def steps(families: dict[str, Metric]) -> dict[str, float]:
    """Return the seconds spent in each step of an attempt, over all attempts."""
    name = "gatewayd_step_duration_seconds"
    return {found.labels["step"]: found.value for found in families[name].samples if found.name == f"{name}_sum"}
