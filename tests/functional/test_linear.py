"""`functional.linear` against the float64 reference: times and gradients."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firstspike.surrogate import atan, rectangle, sigmoid, triangle

from ..compare import check_layer
from ..samples import PATTERNS, REGIMES, decays, layer

STEPS = [1, 2, 8, 64, 254]
ROUND = [triangle(), triangle(0.5), rectangle(), rectangle(0.5), atan(), sigmoid()]  # less steep, for inexact sums
SURROGATES = [triangle(), triangle(0.25), triangle(3.0), rectangle(), rectangle(0.5), atan(), sigmoid(), sigmoid(1.5)]
SHAPES = [(1, 1, 1), (2, 3, 5), (3, 17, 16), (4, 40, 33), (1, 130, 70), (9, 8, 129), (40, 300, 20)]


def name(value: object) -> str:
    """Readable test id of a surrogate."""
    return f"{value.kind}-{value.scale}" if hasattr(value, "kind") else str(value)


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("steps", STEPS)
def test_steps_and_patterns(steps: int, pattern: str, regime: str) -> None:
    got = check_layer("linear", layer((3, 13), (19, 13), steps, pattern=pattern, regime=regime))
    if regime != "balanced":
        assert bool(got.silent.all() if regime == "quiet" else (~got.silent).all())


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes(shape: tuple[int, int, int], exact: bool) -> None:
    batch, inputs, outputs = shape
    check_layer("linear", layer((batch, inputs), (outputs, inputs), 8, exact=exact))
    check_layer("linear", layer((batch, inputs), (outputs, inputs), 8, exact=exact, bias=False, seed=1))


@pytest.mark.parametrize("steps", [15, 16, 17])
@pytest.mark.parametrize("inputs", [63, 64, 65, 300])
def test_numbers_of_steps_and_inputs_at_which_sorting_changes(inputs: int, steps: int) -> None:
    for pattern in ("mixed", "tied"):
        check_layer("linear", layer((2, inputs), (9, inputs), steps, pattern=pattern, exact=False))


@pytest.mark.parametrize("threshold", [0.5, 1.0, 2.25])
@pytest.mark.parametrize("surrogate", SURROGATES, ids=name)
def test_surrogates_and_thresholds(surrogate: object, threshold: float) -> None:
    options = {"surrogate": surrogate, "threshold": threshold}
    check_layer("linear", layer((4, 21), (18, 21), 8, **options))
    check_layer("linear", layer((4, 21), (18, 21), 33, exact=False, **options))


@pytest.mark.parametrize("surrogate", [triangle(), rectangle(), atan(), sigmoid()], ids=name)
@pytest.mark.parametrize(
    ("decay", "steps", "exact"),
    [(0.5, 8, True), (0.9, 8, False), (0.99, 254, False), (0.1, 64, False), (1.5, 8, False), (2.0, 6, True)],
)
def test_decay(decay: float, steps: int, exact: bool, surrogate: object) -> None:
    case = layer((4, 21), (18, 21), steps, exact=exact, decay=decay, surrogate=surrogate)
    check_layer("linear", case)


@pytest.mark.parametrize("surrogate", [triangle(), sigmoid()], ids=name)
@pytest.mark.parametrize(
    ("inputs", "pool"), [((2, 3, 4, 6), 2), ((3, 5, 3, 3), 3), ((2, 1, 8, 4), 4), ((2, 3, 5, 7), 1), ((2, 4, 5, 7), 2)]
)
def test_map_is_pooled_and_flattened(inputs: tuple[int, ...], pool: int, surrogate: object) -> None:
    _batch, channels, height, width = inputs
    features = channels * (height // pool) * (width // pool)
    for pattern in ("mixed", "tied"):
        case = layer(inputs, (11, features), 8, pattern=pattern, exact=pool != 3, avg_pool=pool, surrogate=surrogate)
        check_layer("linear", case)


@pytest.mark.parametrize("inputs", [(1, 12, 12), (2, 13, 11), (150, 2, 2), (37, 7, 7)], ids=str)
def test_blocks_of_weight_rows(inputs: tuple[int, int, int]) -> None:
    """More taps than a block has rows, more channels than one block, and both."""
    rows = inputs[0] * inputs[1] * inputs[2]
    check_layer("linear", layer((35, *inputs), (19, rows), 8, exact=False))


def test_more_support_entries_than_one_chunk_holds() -> None:
    """Every neuron that has not fired has an entry at every step."""
    check_layer("linear", layer((160, 9), (70, 9), 64, regime="quiet", surrogate=rectangle(64.0)))
    check_layer("linear", layer((160, 9), (70, 9), 64, exact=False, surrogate=rectangle(64.0)))


@settings(max_examples=60)
@given(data=st.data())
def test_random_layers(data: st.DataObject) -> None:
    steps = data.draw(st.sampled_from(STEPS), "steps")
    pool = data.draw(st.sampled_from([0, 0, 1, 2, 3]), "pool (0: no map)")
    batch, outputs = data.draw(st.integers(1, 6), "batch"), data.draw(st.integers(1, 40), "outputs")
    if pool:
        inputs = (
            batch,
            data.draw(st.integers(1, 5)),
            pool * data.draw(st.integers(1, 3)),
            pool * data.draw(st.integers(1, 3)),
        )
        features = inputs[1] * (inputs[2] // pool) * (inputs[3] // pool)
    else:
        features = data.draw(st.integers(1, 50), "inputs")
        inputs = (batch, features)
    case = layer(
        inputs,
        (outputs, features),
        steps,
        pattern=data.draw(st.sampled_from(PATTERNS), "pattern"),
        regime=data.draw(st.sampled_from(REGIMES), "regime"),
        exact=False,
        bias=data.draw(st.booleans(), "bias"),
        seed=data.draw(st.integers(0, 2**20), "seed"),
        avg_pool=max(pool, 1),
        surrogate=data.draw(st.sampled_from(ROUND), "surrogate"),
        threshold=data.draw(st.floats(0.25, 3), "threshold"),
        decay=data.draw(st.sampled_from(decays(steps)), "decay"),
    )
    check_layer("linear", case, enough=0)
