"""What Prometheus reads of a server."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from fergi_reward.serve.scoring import Row

BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """Counts of one server, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "fergi_requests", "Requests by address and status.", ["address", "status"], registry=self.registry
        )
        self.images = Counter("fergi_images", "Images by outcome.", ["outcome"], registry=self.registry)
        self.waiting = Gauge("fergi_waiting_images", "Images that wait or are scored.", registry=self.registry)
        self.workers = Gauge("fergi_workers", "Workers that are ready.", registry=self.registry)
        self.batches = Histogram("fergi_batch_images", "Images per batch.", buckets=BATCHES, registry=self.registry)
        self.seconds = Histogram(
            "fergi_request_seconds", "Time per scoring request.", ["address"], buckets=SECONDS, registry=self.registry
        )

    def count(self, rows: list[Row]) -> None:
        """Count the images of a request."""
        failed = sum(isinstance(row, str) for row in rows)
        self.images.labels("scored").inc(len(rows) - failed)
        self.images.labels("failed").inc(failed)

    def text(self) -> bytes:
        """In Prometheus's text format."""
        return generate_latest(self.registry)
