"""What a client may ask for: a limit on everything that it sends."""

from dataclasses import dataclass

from boggers.errors import UserError

MEGABYTE = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds on requests and on what the server holds for them."""

    max_batch: int = 64
    """Texts that are written together; others wait."""

    max_queue: int = 256
    """Prompts that may wait; the next one is refused at once with 429."""

    max_prompt_tokens: int = 32_768
    """Longest prompt, in tokens."""

    max_tokens: int = 4096
    """Most tokens that a request may ask for, per choice."""

    max_choices: int = 16
    """Largest n and best_of."""

    max_prompts: int = 128
    """Most prompts in one request."""

    max_seconds: float = 300.0
    """Time that a request may take, waiting included; what is written by then is the answer."""

    max_body_mb: float = 4.0
    """Largest request, in megabytes."""

    prefix_cache_mb: float = 64.0
    """Memory for beginnings of prompts that have been read already; 0 = none."""

    states_mb: float = 256.0
    """Memory for saved states; the least recently used are forgotten."""

    def __post_init__(self) -> None:
        for option in (
            "max_batch",
            "max_queue",
            "max_prompt_tokens",
            "max_tokens",
            "max_choices",
            "max_prompts",
            "max_seconds",
            "max_body_mb",
            "states_mb",
        ):
            value = getattr(self, option)
            least = 1 if isinstance(value, int) else 0
            if not value >= least or value == 0:
                raise UserError(
                    f"--{option.replace('_', '-')} must be above 0, {value} came. "
                    "Choose another value."
                )
        if not self.prefix_cache_mb >= 0:
            raise UserError(f"--prefix-cache-mb must be 0 or more, {self.prefix_cache_mb} came.")
        if self.max_choices > self.max_batch:
            raise UserError(
                f"--max-choices must be at most --max-batch; {self.max_choices} and "
                f"{self.max_batch} came."
            )
