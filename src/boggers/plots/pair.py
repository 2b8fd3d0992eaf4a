"""Two texts in one picture: their paths in the plane, and how far apart they are step by step."""

from pathlib import Path

import torch

from boggers.plots.canvas import COLOURS, GRID, canvas, save
from boggers.probe.pair import Pair

LONGEST_LABEL = 40


def draw_pair(pair: Pair, target: Path) -> list[Path]:
    """Left the two paths in the plane of their main directions, right distance and cosine.

    Args:
        pair: from `boggers.probe.pair.compare`.
        target: where the picture goes, without suffix.
    """
    both = torch.cat([side.path for side in pair.sides]).double()
    centre = both.mean(dim=0)
    _, lengths, directions = torch.linalg.svd(both - centre, full_matrices=False)
    shares = (lengths[:2].square() / lengths.square().sum().clamp_min(1e-30)).tolist()
    with canvas(3, width=11.0, height=3.8) as (figure, (plane, distance, cosine)):
        for side, colour in zip(pair.sides, COLOURS, strict=False):
            points = (side.path.double() - centre) @ directions[:2].t()
            across, up = points[:, 0].tolist(), points[:, 1].tolist()
            plane.plot(across, up, color=colour, marker=".", label=_label(side.text))
            plane.plot(across[0], up[0], "o", color=colour, fillstyle="none")
            plane.plot(across[-1], up[-1], "s", color=colour)
        plane.set(
            title="Paths of the two states",
            xlabel=f"first main direction ({100 * shares[0]:.0f} %)",
            ylabel=f"second ({100 * shares[1]:.0f} %)",
        )
        steps = range(len(pair.distance))
        distance.plot(steps, pair.distance, color=COLOURS[2], marker=".")
        distance.set(
            title="Distance", xlabel="relaxation step", ylabel="between states (state units)"
        )
        cosine.plot(steps, pair.cosine, color=COLOURS[3], marker=".")
        cosine.axhline(1.0, color=GRID)
        cosine.set(title="Cosine", xlabel="relaxation step", ylabel="between states (cosine)")
        for axes in (distance, cosine):
            axes.xaxis.get_major_locator().set_params(integer=True)
        figure.legend(loc="outside lower center", ncols=2)
        return save(figure, target)


def _label(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= LONGEST_LABEL else "…" + flat[-LONGEST_LABEL:]
