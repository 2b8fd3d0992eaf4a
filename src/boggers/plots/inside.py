"""The inside of a run as pictures: states, paths, energy, text and timescales."""

from pathlib import Path
from typing import Any

from boggers.plots.canvas import COLOURS, GRID, INK, canvas, save
from boggers.plots.scene import OTHERS, Scene, Word, visible

COLUMNS = 110
"""Characters a line of heat-mapped text."""

LINES = 14


def draw_inside(scene: Scene, target: Path) -> list[Path]:
    """Every picture of a scene, as files beside each other.

    Args:
        scene: what to draw.
        target: the folder.
    """
    drawn = draw_states(scene, target / "states")
    drawn += draw_energy(scene, target / "energy")
    drawn += draw_text(scene, target / "text")
    if scene.losses:
        drawn += draw_timescales(scene, target / "timescales")
    return drawn


def draw_states(scene: Scene, target: Path) -> list[Path]:
    """Where states end, coloured by the token that followed, and how some of them came there."""
    with canvas(2, height=4.6) as (figure, (dots, paths)):
        for name, rows in by_group(scene).items():
            points = scene.dots[rows]
            dots.plot(
                points[:, 0].tolist(),
                points[:, 1].tolist(),
                ".",
                color=colour_of(scene, name),
                markersize=5 if name == OTHERS else 8,
                label=name,
                zorder=1 if name == OTHERS else 2,
            )
        dots.set(title="Where states end")
        dots.legend(title="next token", fontsize=8, markerscale=1.2)
        for number, path in enumerate(scene.paths):
            colour = COLOURS[number % len(COLOURS)]
            across, up = path[:, 0].tolist(), path[:, 1].tolist()
            paths.plot(across, up, color=colour, linewidth=1.2, marker=".", markersize=4)
            paths.plot(across[-1], up[-1], "s", color=colour, markersize=5)
        paths.set(title="How they come there")
        for axes in (dots, paths):
            axes.set(
                xlabel=f"first main direction ({100 * scene.shares[0]:.0f} % of the spread)",
                ylabel=f"second ({100 * scene.shares[1]:.0f} %)",
            )
        return save(figure, target)


def draw_energy(scene: Scene, target: Path) -> list[Path]:
    """A slice of the energy through the end of one settling, and the way there."""
    plane = scene.plane
    with canvas(1, width=6.2, height=4.8) as (figure, (axes,)):
        levels = axes.contourf(
            plane.across.tolist(), plane.up.tolist(), plane.energy.tolist(), 24, cmap="viridis"
        )
        figure.colorbar(levels, ax=axes, label="energy above the end's (dimensionless)")
        axes.plot(
            plane.path[:, 0].tolist(),
            plane.path[:, 1].tolist(),
            color="white",
            marker=".",
            linewidth=1.6,
        )
        axes.plot(0, 0, "s", color="white", markeredgecolor=INK, markersize=7)
        axes.set(
            title="A slice of the energy, the last place of the text",
            xlabel="along the last move (lengths of the state)",
            ylabel="across it (lengths of the state)",
        )
        axes.grid(False)
        return save(figure, target)


def draw_text(scene: Scene, target: Path) -> list[Path]:
    """The held-out text, each token on a ground the darker the more it surprised."""
    lines = laid_out(scene.words)[:LINES]
    with canvas(1, width=9.0, height=0.6 + 0.3 * len(lines)) as (figure, (axes,)):
        most = max(1e-9, max(word.surprise for line in lines for _, word in line))
        for row, line in enumerate(lines):
            for column, word in line:
                shown = visible(word.text)
                share = min(1.0, word.surprise / most)
                box = {"facecolor": (*_rgb(COLOURS[1]), share), "edgecolor": "none", "pad": 1.2}
                axes.text(
                    column, -row, shown, bbox=box, fontfamily="monospace", fontsize=8.5, va="center"
                )
        axes.set(
            title=f"Surprise at each token, white 0 to full colour {most:.1f} nats",
            xlim=(0, COLUMNS + 8),
            ylim=(-len(lines) + 0.4, 0.6),
            xlabel="characters of the line",
            ylabel="line of the text",
        )
        axes.set_xticks([])
        axes.set_yticks([])
        axes.grid(False)
        return save(figure, target)


def draw_timescales(scene: Scene, target: Path) -> list[Path]:
    """Bits lost without each band of timescales."""
    with canvas(1, width=6.6, height=3.4) as (figure, (axes,)):
        places = range(len(scene.losses))
        lost = [loss.bits_per_byte for loss in scene.losses]
        axes.barh(places, lost, color=[COLOURS[0] if bits >= 0 else COLOURS[1] for bits in lost])
        axes.set_yticks(list(places), [loss.band for loss in scene.losses])
        axes.invert_yaxis()
        axes.axvline(0, color=GRID)
        axes.set(
            title="What the text costs without a timescale",
            xlabel="lost (bits per byte)",
            ylabel="silenced (tokens)",
        )
        return save(figure, target)


def by_group(scene: Scene) -> dict[str, list[int]]:
    """The dots of every group, the others last."""
    names = sorted(set(scene.groups), key=lambda name: (name == OTHERS, -scene.groups.count(name)))
    return {name: [i for i, own in enumerate(scene.groups) if own == name] for name in names}


def colour_of(scene: Scene, name: str) -> str:
    """The colour of a group."""
    order = [group for group in by_group(scene) if group != OTHERS]
    return GRID if name == OTHERS else COLOURS[order.index(name) % len(COLOURS)]


def laid_out(words: list[Word]) -> list[list[tuple[int, Word]]]:
    """Words in lines of about 110 characters, each with the column that it begins at."""
    lines: list[list[tuple[int, Word]]] = [[]]
    column = 0
    for word in words:
        width = len(visible(word.text))
        if column and column + width > COLUMNS:
            lines.append([])
            column = 0
        lines[-1].append((column, word))
        column += width
    return [line for line in lines if line]


def _rgb(colour: str) -> tuple[Any, Any, Any]:
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return red, green, blue
