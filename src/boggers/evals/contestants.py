"""Who can take part in a contest. A new contestant is one line."""

import difflib
from collections.abc import Sequence

from boggers.errors import UserError
from boggers.evals.contest import Contestant
from boggers.evals.controls import (
    MLP,
    Learning,
    LearningTwoBasins,
    LearningTwoStepsTwoBasins,
    MLPTwice,
    ScanAlone,
    Stream,
    TwoBasins,
    TwoHeads,
    TwoSteps,
    TwoStepsTwoBasins,
)
from boggers.evals.peers import LSTM, Llama, Mamba

CONTESTANTS = {
    contestant.name: contestant
    for contestant in (
        Contestant("stream", Stream),
        Contestant("stream-k2", TwoSteps),
        Contestant("stream-n2", TwoBasins),
        Contestant("stream-k2n2", TwoStepsTwoBasins),
        Contestant("stream-fast", Learning),
        Contestant("stream-n2-fast", LearningTwoBasins),
        Contestant("stream-k2n2-fast", LearningTwoStepsTwoBasins),
        Contestant("stream-k0", ScanAlone),
        Contestant("stream-mlp", MLP),
        Contestant("stream-mlp-k2", MLPTwice),
        Contestant("stream-mlp2", TwoHeads),
        Contestant("llama", Llama),
        Contestant("lstm", LSTM),
        Contestant("mamba", Mamba),
    )
}
"""Every contestant by its name."""


def find(names: Sequence[str]) -> list[Contestant]:
    """The contestants of these names, in their order.

    Raises:
        UserError: no name came, one came twice, or there is no such contestant.
    """
    if not names:
        raise UserError(f"--contestants needs at least one of {', '.join(CONTESTANTS)}; none came.")
    for place, name in enumerate(names):
        if name not in CONTESTANTS:
            close = difflib.get_close_matches(name, CONTESTANTS, n=1)
            known = f"Did you mean {close[0]}?" if close else f"Use {', '.join(CONTESTANTS)}."
            raise UserError(f"--contestants knows no {name!r}. {known}")
        if name in names[:place]:
            raise UserError(f"--contestants must name each contestant once; {name} came twice.")
    return [CONTESTANTS[name] for name in names]
