"""A stretch cut into blocks and joined again."""

import pytest
import torch

from boggers.field.blocks import Blocks


@pytest.mark.parametrize("most", [128, 256])
@pytest.mark.parametrize("places", [1, 16, 255, 256, 257, 300, 1000, 16_384])
def test_blocks_are_few_and_little_is_filled_up(places: int, most: int) -> None:
    cut = Blocks.of(places, most)
    assert cut.length <= most
    assert 0 <= cut.count * cut.length - places < cut.count
    rows = torch.arange(2 * places).view(2, places, 1)
    assert torch.equal(cut.join(cut.divide(rows), places), rows)
