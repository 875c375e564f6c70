"""The figures of queues and process, as Prometheus reads them."""

from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from icl.session.queue import Histogram, Queues


def registry_of(queues: Queues) -> CollectorRegistry:
    """All figures that ``/metrics`` answers with.

    Args:
        queues: method -> its queue.
    """
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(QueueCollector(queues))
    return registry


class QueueCollector(Collector):
    """Reads the figures of the queues when Prometheus asks.

    Args:
        queues: method -> its queue.
    """

    def __init__(self, queues: Queues) -> None:
        self.queues = queues

    def collect(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "tuneshot_requests", "Texts asked, of page and API.", labels=("method", "outcome")
        )
        waiting = GaugeMetricFamily("tuneshot_waiting", "Texts in the queue.", labels=("method",))
        seconds = HistogramMetricFamily(
            "tuneshot_seconds", "From a text to its answer; no files.", labels=("method",)
        )
        sizes = HistogramMetricFamily(
            "tuneshot_batch_size", "Texts of one call of the model.", labels=("method",)
        )
        for method, queue in self.queues.items():
            for outcome in ("answered", "failed", "refused"):
                requests.add_metric((method, outcome), getattr(queue, outcome))
            waiting.add_metric((method,), queue.waiting)
            seconds.add_metric((method,), _buckets(queue.seconds), queue.seconds.total)
            sizes.add_metric((method,), _buckets(queue.sizes), queue.sizes.total)
        yield from (requests, waiting, seconds, sizes)


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    bounds = (floatToGoString(bound) for bound in histogram.bounds)
    return list(zip(bounds, accumulate(histogram.counts), strict=True))
