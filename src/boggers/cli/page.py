"""The interactive pages: a report with its pictures, and all pictures of a run."""

from pathlib import Path

from boggers.evals.figures import Report
from boggers.evals.render import (
    predictor_rows,
    render,
    span,
    writing_rows,
)
from boggers.evals.uncertainty import Uncertainty
from boggers.plots.columns import ACROSS, numeric_columns
from boggers.plots.page import Page, add_columns, add_scene
from boggers.plots.scene import Scene


def write_report(report: Report, run: Path, target: Path) -> None:
    """One self-contained page of a report.

    Args:
        report: the figures.
        run: the folder that they are of, for the heading.
        target: the file.
    """
    page = Page(f"Evaluation of {run}")
    for leak in report.leaks:
        page.text(leak.sentence, alarming=True)
    rows = [("", "bits per byte", "nats per token")]
    rows.append(("this run", span(report.val_bpb_interval), span(report.val_ce_interval)))
    rows += [(n, f"{each.bpb:.4f}", f"{each.ce:.4f}") for n, each in report.baselines.items()]
    page.table(rows)
    page.text(render(report).rpartition("\n\n")[2])
    if report.diagnosis is not None:
        page.text(report.diagnosis.sentence)
    inside = report.inside
    if inside is not None:
        for title, each in (
            ("Does it know when it errs?", inside.uncertainty),
            ("Do disturbed starts agree?", inside.agreement),
        ):
            if each is not None:
                page.heading(title)
                _add_uncertainty(page, each)
        if inside.generation is not None:
            page.heading("What it writes")
            page.table(writing_rows(inside.generation.written, inside.generation.truth))
            for prompt, text in inside.generation.examples:
                page.plain(f"{prompt}▸{text}")
        _add_attractors(page, report)
    page.heading("All of it")
    page.plain(render(report))
    page.write(target)


def write_pictures(run: Path, scene: Scene | None, target: Path) -> None:
    """One self-contained page of all pictures of a run: its tables, and its inside if given."""
    page = Page(f"Pictures of {run}")
    for table in sorted(run.glob("*.csv")):
        columns = numeric_columns(table)
        across = next((name for name in ACROSS if name in columns), None)
        rows = len(next(iter(columns.values())))
        steps = columns.pop(across) if across else [float(row) for row in range(rows)]
        page.heading(table.name)
        add_columns(page, "Choose a column on the right", columns, steps)
    if scene is not None:
        add_scene(page, scene)
    page.write(target)


def _add_uncertainty(page: Page, found: Uncertainty) -> None:
    page.text(found.verdict)
    page.table(predictor_rows(found))
    page.curves(
        {
            name: ([float(share) for share in each.error_at], list(each.error_at.values()))
            for name, each in found.predictors.items()
        },
        title="Errors among the surest tokens",
        across="share of tokens answered",
        up="share of them wrong",
    )
    page.curves(
        {
            "calibrated": ([0.0, 1.0], [0.0, 1.0]),
            "this run": (
                [part.confidence for part in found.bins],
                [part.accuracy for part in found.bins],
            ),
        },
        title=f"Calibration, expected error {found.ece:.4f}",
        across="probability of the likeliest token",
        up="share of them right",
    )


def _add_attractors(page: Page, report: Report) -> None:
    inside = report.inside
    assert inside is not None
    if inside.attractors is not None:
        page.heading("Attractors")
        rows = [("text before", "next", "mass", "energy", "read there")]
        for example in inside.attractors.examples:
            for basin in example.basins:
                said = ", ".join(f"{token!r} {p:.2f}" for token, p in basin["tokens"])
                rows.append(
                    (
                        f"…{example.context[-40:]}",
                        repr(example.truth),
                        f"{100 * basin['mass']:.0f} %",
                        f"{basin['energy']:.4g}",
                        said,
                    )
                )
        page.table(rows)
    if inside.traces:
        page.heading("Which patterns pulled")
        traced = [("text before", "predicted", "pattern", "nats", "votes for", "woken by")]
        for trace in inside.traces:
            for pattern in trace.patterns:
                traced.append(
                    (
                        f"…{trace.context[-40:]}",
                        repr(trace.predicted),
                        str(pattern.pattern),
                        f"{pattern.nats:+.3f}",
                        ", ".join(repr(token) for token in pattern.votes),
                        " | ".join(f"…{context[-40:]}" for context in pattern.contexts),
                    )
                )
        page.table(traced)
    if inside.timescales:
        page.heading("Timescales")
        page.table(
            [
                ("silenced", "bits per byte lost"),
                *((loss.band, f"{loss.bits_per_byte:+.4f}") for loss in inside.timescales),
            ]
        )
