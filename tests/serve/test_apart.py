"""What is kept for long lies apart, and its memory goes back to the system."""

from pathlib import Path

import pytest
import torch

from boggers.model.stream import StreamConfig, StreamModel, StreamState
from boggers.serve.apart import apart

from .conftest import stream_mind


def test_a_place_apart_is_the_same_place() -> None:
    model = stream_mind().model
    assert isinstance(model, StreamModel)
    with torch.inference_mode():
        place = model(torch.tensor([[5, 77, 200]])).state
    kept = apart(place)
    assert isinstance(kept, StreamState)
    for name, tensor in place.tensors().items():
        assert torch.equal(kept.tensors()[name], tensor), name
        assert kept.tensors()[name].dtype == tensor.dtype
        if tensor.numel():
            assert kept.tensors()[name].data_ptr() != tensor.data_ptr()
            assert kept.tensors()[name].data_ptr() % 64 == 0


def test_the_ids_of_a_window_stay_where_they_are() -> None:
    place = (1, 2, 3)
    assert apart(place) is place


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
def test_memory_goes_back_when_a_place_is_let_go_of() -> None:
    config = StreamConfig(state_dim=2048, num_stages=2, num_waves=2, memory_patterns=8)
    place = StreamModel(config, 17, torch.Generator().manual_seed(0)).start(1, 1)
    before = own_pages()
    places = [apart(place) for _ in range(400)]
    kept = own_pages() - before
    assert kept * 4096 >= 400 * place.bytes_per_row
    del places
    assert own_pages() - before < 0.05 * kept


def own_pages() -> int:
    """Pages of this process that no file stands behind."""
    _, resident, shared, *_ = Path("/proc/self/statm").read_text().split()
    return int(resident) - int(shared)
