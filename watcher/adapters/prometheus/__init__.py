"""Prometheus, or anything that speaks its HTTP API, as a port that answers every query and never raises for trouble."""

from watcher.adapters.prometheus.metrics import PrometheusMetrics
from watcher.adapters.prometheus.settings import PrometheusSettings

__all__ = ["PrometheusMetrics", "PrometheusSettings"]
