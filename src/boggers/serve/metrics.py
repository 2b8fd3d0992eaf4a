"""What a monitoring system reads: the counters of well-known servers, and those of settling.

Names follow vLLM and llama.cpp, after the prefix `boggers_`; what only a model that settles has
(steps, residuals, energies) stands beside them.
"""

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

from boggers.serve.dials import Dials
from boggers.serve.physics import Physics

CONTENT_TYPE = CONTENT_TYPE_LATEST
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
FAST = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 16384, 65536)
RESIDUALS = (1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.03, 0.1, 0.3, 1, 3, 10)
ENERGIES = (-1e4, -3e3, -1e3, -300, -100, -30, -10, -3, -1, -0.1, 0, 0.1, 1, 10, 100, 1e3)
TENSIONS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.5, 1, 2, 5, 20)


class Metrics:
    """Everything that is counted, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = self._counter(
            "http_requests", "Requests by path and status.", "path status"
        )
        self.prompt_tokens = self._counter("prompt_tokens", "Tokens of prompts.")
        self.generation_tokens = self._counter("generation_tokens", "Tokens written.")
        self.predicted = self._counter("tokens_predicted", "Tokens written, by llama.cpp's name.")
        self.predict_seconds = self._counter("tokens_predicted_seconds", "Seconds of writing.")
        self.decodes = self._counter("n_decode", "Steps of a batch.")
        self.finished = self._counter("request_success", "Ends, by reason.", "finished_reason")
        self.cache_queries = self._counter("prefix_cache_queries", "Prompt tokens looked up.")
        self.cache_hits = self._counter("prefix_cache_hits", "Prompt tokens that were known.")
        self.relax_steps = self._counter("relax_steps", "Relaxation steps taken by written tokens.")
        self.unconverged = self._counter(
            "unconverged_tokens", "Measured tokens that had not come to rest at a given tolerance."
        )
        self.running = self._gauge("num_requests_running", "Texts that are being written.")
        self.processing = self._gauge("requests_processing", "The same, by llama.cpp's name.")
        self.reading = self._gauge("num_requests_reading", "Prompts that are being read.")
        self.waiting = self._gauge("num_requests_waiting", "Prompts in the queue.")
        self.deferred = self._gauge("requests_deferred", "The same, by llama.cpp's name.")
        self.cache_bytes = self._gauge("prefix_cache_bytes", "Memory of the prefix cache.")
        self.tension = self._gauge("last_tension", "Tension of the token that was measured last.")
        self.first_token = self._histogram(
            "time_to_first_token_seconds", "From submission to the first token.", SECONDS
        )
        self.between_tokens = self._histogram(
            "inter_token_latency_seconds", "From one token to the next.", FAST
        )
        self.e2e = self._histogram("e2e_request_latency_seconds", "All of a choice.", SECONDS)
        self.lengths = self._histogram("request_generation_tokens", "Tokens of a choice.", COUNTS)
        self.iteration = self._histogram("iteration_tokens_total", "Tokens of one step.", COUNTS)
        self.steps_per_token = self._histogram(
            "relax_steps_per_token", "Relaxation steps of a measured token.", COUNTS
        )
        self.residual = self._histogram("relax_residual", "How far its last step went.", RESIDUALS)
        self.energy = self._histogram("energy_per_token", "Its energy at the end.", ENERGIES)
        self.tensions = self._histogram("tension_per_token", "Its tension at the end.", TENSIONS)

    def render(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self.registry)

    def on_prompt(self, tokens: int, cached: int, seconds: float) -> None:
        """A prompt has been read."""
        self.prompt_tokens.inc(tokens)
        self.cache_queries.inc(tokens)
        self.cache_hits.inc(cached)

    def on_step(self, texts: int, steps: int, seconds: float) -> None:
        """Every text has one more token."""
        self.generation_tokens.inc(texts)
        self.predicted.inc(texts)
        self.predict_seconds.inc(seconds)
        self.decodes.inc()
        self.relax_steps.inc(steps)
        self.iteration.observe(texts)

    def on_physics(self, physics: Physics, dials: Dials) -> None:
        """How a position settled."""
        self.steps_per_token.observe(physics.steps)
        self.residual.observe(physics.residual)
        self.energy.observe(physics.energy)
        self.tensions.observe(physics.tension)
        self.tension.set(physics.tension)
        if dials.tolerance and physics.residual >= dials.tolerance:
            self.unconverged.inc()

    def on_token(self, first: bool, seconds: float) -> None:
        """A token, so long after what came before it."""
        (self.first_token if first else self.between_tokens).observe(seconds)

    def on_end(self, reason: str, tokens: int, seconds: float) -> None:
        """A choice, or a whole job, has ended."""
        self.finished.labels(reason).inc()
        self.e2e.observe(seconds)
        self.lengths.observe(tokens)

    def on_sizes(self, running: int, reading: int, waiting: int, cache_bytes: int) -> None:
        """How many texts and jobs there are."""
        for gauge, value in (
            (self.running, running),
            (self.processing, running + reading),
            (self.reading, reading),
            (self.waiting, waiting),
            (self.deferred, waiting),
            (self.cache_bytes, cache_bytes),
        ):
            gauge.set(value)

    def _counter(self, name: str, says: str, labels: str = "") -> Counter:
        return Counter(f"boggers_{name}", says, labels.split(), registry=self.registry)

    def _gauge(self, name: str, says: str) -> Gauge:
        return Gauge(f"boggers_{name}", says, registry=self.registry)

    def _histogram(self, name: str, says: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"boggers_{name}", says, buckets=buckets, registry=self.registry)
