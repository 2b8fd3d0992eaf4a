"""A report as tables of plain text: the figures, whether to believe them, and what they mean."""

from collections.abc import Sequence

from boggers.evals.bootstrap import Interval
from boggers.evals.figures import Report, perplexity
from boggers.evals.generation import Writing
from boggers.evals.inside import Inside
from boggers.evals.uncertainty import Uncertainty
from boggers.probe.timescales import Loss

Row = tuple[str, ...]


def render(report: Report) -> str:
    """The run beside the counting models, whether it beats the trigram, and its inside."""
    rows = [("this run", report.val_bpb, report.val_ce)]
    rows += [(name, each.bpb, each.ce) for name, each in report.baselines.items()]
    wide = max(len(name) for name, _, _ in rows)
    lines = [f"{'':<{wide}}  bits per byte  nats per token  perplexity"]
    lines += [
        f"{name:<{wide}}  {bpb:>13.4f}  {ce:>14.4f}  {perplexity(ce):>10.1f}"
        for name, bpb, ce in rows
    ]
    parts = ["\n".join(lines), _settling(report)]
    if report.inside is not None:
        parts += _inside(report.inside)
    parts += [leak.sentence for leak in report.leaks]
    return "\n\n".join([*parts, verdict(report)])


def verdict(report: Report) -> str:
    """Whether the run beats the trigram, and by how much."""
    trigram = report.baselines["trigram"].bpb
    share = 100.0 * abs(report.val_bpb / trigram - 1.0)
    how = "beats" if report.beats_trigram else "does not beat"
    sure = "" if report.trigram_margin.excludes_zero else " (which may be chance)"
    return (
        f"The run {how} the Kneser–Ney trigram: {report.val_bpb:.4f} against {trigram:.4f} bits "
        f"per byte, {share:.1f} % {'fewer' if report.beats_trigram else 'more'}{sure}, on "
        f"{report.val_tokens:,} held-out tokens with {report.params:,} parameters "
        f"({report.params_embedding:,} of them the embedding table)."
    )


def table(rows: Sequence[Row]) -> str:
    """Rows as aligned columns, the first to the left and the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            f"{cell:<{w}}" if i == 0 else f"{cell:>{w}}"
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def span(interval: Interval, digits: int = 4) -> str:
    """An interval as value (low–high)."""
    return f"{interval.value:.{digits}f} ({interval.low:.{digits}f}–{interval.high:.{digits}f})"


def _settling(report: Report) -> str:
    rows: list[Row] = [
        ("bits per byte, 95 %", span(report.val_bpb_interval)),
        ("nats per token, 95 %", span(report.val_ce_interval)),
        ("trigram minus run, bits per byte", span(report.trigram_margin)),
        ("likeliest token right", f"{100 * report.accuracy:.1f} %"),
        ("tension at the end", f"{report.mean_tension:.4g}"),
        ("energy at the end", f"{report.mean_energy:.4g}"),
        ("residual of the last step", f"{report.mean_residual:.4g}"),
        ("relaxation steps", f"{report.mean_relax_steps:.4g}"),
    ]
    if report.val_traj_contrast is not None:
        rows.append(("path contrast", f"{report.val_traj_contrast:.4f}"))
    rows.append(("held-out bytes also trained on", f"{100 * report.overlap.share:.2f} %"))
    lines = [table(rows)]
    if report.diagnosis is not None:
        found = report.diagnosis
        lines.append(
            f"{found.sentence} (likeness {found.likeness:.2f}, next move {found.ratio:.2f} of the "
            f"last, turn {found.turn:+.2f})."
        )
    if report.wave_cycle is not None:
        from boggers.evals.coupled import render_cycle  # needs the extra graph

        lines.append(render_cycle(report.wave_cycle))
    elif report.no_cycle is not None:
        lines.append(report.no_cycle)
    return "\n".join(lines)


def _inside(inside: Inside) -> list[str]:
    parts = []
    if inside.generation is not None:
        found = inside.generation
        parts.append(
            f"Writing, {found.samples} continuations of {found.tokens} tokens beside the text's own"
            f":\n{table(writing_rows(found.written, found.truth))}"
        )
    for title, each in (
        ("Warnings of error", inside.uncertainty),
        ("Agreement of disturbed starts", inside.agreement),
    ):
        if each is not None:
            parts.append(
                f"{title}, {each.tokens:,} tokens of which {100 * each.error:.1f} % were wrong, "
                f"calibration error {each.ece:.4f}:\n{table(predictor_rows(each))}\n{each.verdict}"
            )
    if inside.attractors is not None:
        found_ = inside.attractors
        parts.append(
            f"Attractors, {found_.starts} starts at each of {found_.places} places: "
            f"{found_.count:.2f} a place, the heaviest holds {100 * found_.heaviest:.0f} % of the "
            f"starts and the model's own settling at {100 * found_.own:.0f} % of the places; "
            f"settling ends {found_.away:.3g} of the state's length from rest."
        )
    if inside.stability is not None:
        found__ = inside.stability
        parts.append(
            f"Stability, the update's largest eigenvalue at {found__.places} places: median "
            f"{found__.median:.3f}, largest {found__.largest:.3f}, above 1 at "
            f"{100 * found__.unstable:.0f} %."
        )
    if inside.timescales:
        rows: list[Row] = [("silenced", "share", "bits per byte lost")]
        rows += [
            (loss.band, _share(loss), f"{loss.bits_per_byte:+.4f}") for loss in inside.timescales
        ]
        parts.append(f"Timescales:\n{table(rows)}")
    return [*parts, *inside.silent]


def _share(loss: Loss) -> str:
    return "" if loss.channels is None else f"{100 * loss.channels:.0f} %"


def writing_rows(written: Writing, truth: Writing) -> list[Row]:
    """The figures of generated text beside those of the true text."""

    def row(name: str, mine: Interval | None, own: Interval | None) -> Row:
        return (name, *("none" if each is None else span(each, 3) for each in (mine, own)))

    rows: list[Row] = [("", "the run", "the text")]
    for order in written.distinct:
        rows.append(row(f"distinct-{order}", written.distinct[order], truth.distinct[order]))
    rows.append(
        row("repeated bigrams", written.bigram_repetition_rate, truth.bigram_repetition_rate)
    )
    rows.append(row("names kept", written.entity_consistency, truth.entity_consistency))
    rows.append(row("known by heart", written.by_heart, truth.by_heart))
    rows.append(
        (
            "longest by heart",
            f"{written.longest_by_heart} tokens",
            f"{truth.longest_by_heart} tokens",
        )
    )
    return rows


def predictor_rows(found: Uncertainty) -> list[Row]:
    """Every predictor's AUROC and what the surest part of the tokens gets wrong."""
    rows: list[Row] = [("", "AUROC", "wrong at 50 %", "at 80 %", "area")]
    for name, each in found.predictors.items():
        sign = "" if each.sign > 0 else " (smaller warns)"
        rows.append(
            (
                f"{name}{sign}",
                span(each.auroc),
                f"{100 * each.error_at['0.5']:.1f} %",
                f"{100 * each.error_at['0.8']:.1f} %",
                f"{each.area:.4f}",
            )
        )
    return rows
