"""The language node under the original's settings, and under ours."""

import itertools
import math
from typing import Any

import numpy as np
import pytest

from boggers.errors import UserError
from boggers.graph.harness import run_wave_cycle
from boggers.graph.language import NAME, LanguageNode
from boggers.graph.living import LivingGraph
from boggers.graph.tscore import bootstrap
from tests.graph.golden import close, golden, same_activations

GOLDEN = golden("tscore_substrate")


def original(**settings: Any) -> LanguageNode:
    renamed = {
        {"high_tension_threshold": "language_threshold"}.get(name, name): value
        for name, value in settings.items()
    }
    seconds = itertools.count(1_700_000_000)
    return LanguageNode(bootstrap(), original=True, clock=lambda: next(seconds), **renamed)


@pytest.mark.parametrize("name", GOLDEN["sequences"])
def test_a_sequence_of_batches_matches_the_original(name: str) -> None:
    case = GOLDEN["sequences"][name]
    node = original(**case["kwargs"])
    graph, start = node.graph, case["initial"]
    assert close(graph.tension(), start["tension"])
    assert same_activations(graph, start["activation"])
    assert [list(edge) for edge in graph.edges()] == start["edges"]
    for batch in case["batches"]:
        felt = node.on_batch([0.9, batch["lang_tension"]])
        assert felt.fired is not batch["skipped"]
        assert (felt.evolved > 0) is batch["evolved"]
        assert close(node.last_ts_tension, batch["last_ts_tension"])
        assert node.evolve_count == batch["evolve_count"]
        assert (graph.tick, len(graph)) == (batch["tick"], batch["n_nodes"])
        assert graph.num_edges == batch["n_edges"]
        assert close(graph.tension(), batch["graph_tension_after_call"])
        assert same_activations(graph, batch["activation"])


def test_odd_values_match_the_original() -> None:
    edge = GOLDEN["edge_cases"]
    node = original()
    node.on_batch(None)
    node.on_batch([])
    assert node.graph.tick == edge["no_attribute_tick"] == edge["empty_curve_tick"]
    node.on_batch([math.nan])
    assert node.graph.tick == edge["nan_curve"]["tick"]
    assert node.evolve_count == edge["nan_curve"]["evolve_count"]
    assert np.isfinite(node.graph.activation).all()
    assert original().feel(math.inf).language_tension == edge["inf_maps_to"]
    assert original().feel(math.nan).language_tension == float(edge["python_min_1_nan"])
    twice = original(auto_attach=True)
    twice.feel(0.3)
    assert twice.evolve_count == edge["auto_attach_and_on_batch_evolves_per_call"]


def test_reopening_doubles_the_edge_only_under_the_originals_settings() -> None:
    node = original()
    for expected in GOLDEN["edge_cases"]["reopen_three_times"]:
        node.feel(0.3)
        if node.evolve_count == 0:  # the file's graphs had evolved before they were saved
            node.graph.add_node(f"evolve_{len(node.graph)}")
        node = LanguageNode(node.graph, original=True)
        joined = sum({NAME, "ts_native"} == {s, t} for s, t, _ in node.graph.edges())
        assert joined == expected["edges_ts_native_llm"]
    ours = LanguageNode(bootstrap())
    for _ in range(3):
        ours = LanguageNode(ours.graph)
    assert sum(NAME in (s, t) for s, t, _ in ours.graph.edges()) == 1


@pytest.mark.parametrize(
    ("thresholds", "tension", "batches", "evolved"),
    [
        ({}, 0.30, 3000, 1),
        ({"evolve_threshold": 0.05, "high_tension_threshold": 0.01}, 0.32, 400, 10),
    ],
)
def test_the_original_soon_stops_evolving(
    thresholds: dict[str, float], tension: float, batches: int, evolved: int
) -> None:
    node = original(**thresholds)
    for _ in range(batches):
        node.feel(tension)
    assert node.evolve_count == evolved


@pytest.mark.parametrize("number", range(9))
def test_the_cycle_of_the_harness_matches_the_original(number: int) -> None:
    case = golden("tscore_wave_cycle")["cases"][number]
    node = original(**case["kwargs"])
    previous = case["previous_persisted_lang_tension"]
    if previous is not None:  # a graph that one earlier batch had grown, saved and opened again
        node.feel(previous)
        node.graph.tick = 0
        node = reopened(node.graph, case["kwargs"])
    result = case["result"]
    fed = itertools.cycle(case["tensions_fed"])
    seen = [next(fed) for _ in case["batch_sizes_seen"]]
    report = run_wave_cycle(node, seen, case["max_ticks"])
    for name in ("ts_tension_before", "ts_tension_after"):
        assert close(getattr(report, name), result[name])
    assert report.ts_ticks == result["ts_ticks"]
    assert report.evolve_count == result["evolve_count"]
    if result["mean_lang_tension"] is None:
        assert report.mean_lang_tension is None
    else:
        assert close(report.mean_lang_tension, result["mean_lang_tension"])


def reopened(graph: LivingGraph, given: dict[str, float]) -> LanguageNode:
    seconds = itertools.count(1_800_000_000)
    return LanguageNode(
        graph,
        original=True,
        clock=lambda: next(seconds),
        evolve_threshold=given["evolve_threshold"],
        language_threshold=given["high_tension_threshold"],
    )


def test_ours_feels_the_level_of_the_tension_and_the_original_does_not() -> None:
    def settled(tension: float, **settings: Any) -> float:
        node = LanguageNode(bootstrap(), evolve_threshold=9.0, **settings)
        for _ in range(800):
            node.feel(tension)
        return node.graph.tension()

    assert settled(0.2) - settled(0.7) > 0.02
    assert settled(0.2, original=True) < 1e-9
    assert settled(0.7, original=True) < 1e-9


def test_what_ours_grows_lies_where_the_strain_was() -> None:
    node = LanguageNode(bootstrap())
    for _ in range(200):
        node.feel(0.12)
    assert node.evolve_count > 0
    source, target, _ = node.graph.edge_arrays
    strain = np.abs(node.graph.activation[source] - node.graph.activation[target])
    assert strain.max() <= node.evolve_threshold + 1e-3
    grown = len(node.graph)
    for _ in range(200):
        node.feel(0.12)
    assert len(node.graph) == grown


def test_our_cycle_of_the_harness_tells_models_apart_and_the_originals_does_not() -> None:
    def after(tension: float, ticks: int = 11, **settings: Any) -> float:
        node = LanguageNode(bootstrap(), evolve_threshold=9.0, **settings)
        report = run_wave_cycle(node, [tension] * 8, ticks)
        assert report.ts_ticks <= ticks or node.original
        return report.ts_tension_after

    assert after(0.2) - after(0.7) > 0.02
    assert abs(after(0.2, original=True) - after(0.7, original=True)) < 0.003
    assert after(0.2, ticks=1) > 0
    with pytest.raises(UserError, match="--max-ticks"):
        after(0.2, ticks=-1)


def test_unusable_tensions_are_counted_and_not_felt() -> None:
    node = LanguageNode(bootstrap())
    before = node.graph.activation.copy()
    for value in (math.nan, math.inf, None):
        assert not node.feel(value).fired
    assert node.total.unusable == 3
    assert close(node.graph.activation, before)
    assert node.feel(1.7).language_tension == 1.0


def test_counts_begin_anew_with_an_epoch_and_silence_is_told() -> None:
    node = LanguageNode(bootstrap())
    assert node.complaint() is None
    node.feel(0.01)
    said = node.complaint()
    assert said is not None
    assert "threshold 0.1" in said
    node.feel(0.3)
    assert node.complaint() is None
    ended = node.new_epoch()
    assert (ended.batches, ended.fired) == (2, 1)
    assert (node.epoch.batches, node.total.batches) == (0, 2)


def test_impossible_thresholds_are_refused() -> None:
    with pytest.raises(UserError, match="language threshold"):
        LanguageNode(bootstrap(), language_threshold=math.nan)
    with pytest.raises(UserError, match="above 0"):
        LanguageNode(bootstrap(), evolve_threshold=0.0)
