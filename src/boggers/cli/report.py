"""What a measurement looks like to a person: the table of `eval.json`."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table


def print_evaluation(console: Console, values: Mapping[str, Any]) -> None:
    """Print held-out numbers of the run beside those of the n-gram models.

    Args:
        console: where to print.
        values: what `eval.json` holds.
    """
    table = Table(title="Held-out text", title_justify="left", title_style="bold")
    table.add_column("model")
    table.add_column("bits per byte", justify="right")
    table.add_column("nats per token", justify="right")
    table.add_column("perplexity", justify="right")
    table.add_row(
        "this run",
        f"{values['val_bpb']:.3f}",
        f"{values['val_ce']:.3f}",
        f"{values['val_ppl']:.1f}",
        style="bold",
    )
    for name, baseline in values.get("baselines", {}).items():
        table.add_row(name, f"{baseline['bpb']:.3f}", f"{baseline['ce']:.3f}", "")
    console.print(table)
    console.print(verdict(values), highlight=False)


def verdict(values: Mapping[str, Any]) -> str:
    """Whether the run beats the best n-gram model, and what it consists of, in two sentences."""
    baselines = values.get("baselines", {})
    parts = [
        f"{values['val_tokens']:,} held-out tokens, {values['params']:,} parameters "
        f"({values['params_embedding']:,} of them the embedding table)."
    ]
    if baselines:
        name, best = min(baselines.items(), key=lambda item: item[1]["bpb"])
        gain = 100.0 * (1.0 - values["val_bpb"] / best["bpb"])
        how = f"{gain:.1f} % better" if gain > 0 else f"{-gain:.1f} % worse"
        parts.insert(0, f"In bits per byte this run is {how} than the best of them, {name}.")
    return " ".join(parts)
