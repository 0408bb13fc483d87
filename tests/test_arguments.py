"""Arguments of magnitude_mask and random_mask: numbers of any library; anything else is named."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from parp_fairseq.pruning import Mask, magnitude_mask, random_mask
from parp_fairseq.pruning.arguments import as_share

W = {"w": torch.randn(10, 100, generator=torch.Generator().manual_seed(0))}
NUMBERS = [
    np.float64(0.7), np.float32(0.7), np.float16(0.7), np.array(0.7), np.float32(0.7).reshape(()),
    torch.tensor(0.7), torch.tensor(0.7, dtype=torch.float64), Fraction(7, 10),
]  # fmt: skip
NO_NUMBERS = [
    "0.5", b"0.5", None, True, False, np.bool_(1), torch.tensor(True), [0.5], 1j,
    torch.tensor([0.5]), np.array([0.5]), torch.empty((), device="meta"),
]  # fmt: skip


@pytest.mark.parametrize("sparsity", NUMBERS)
def test_a_sparsity_may_be_any_number(sparsity):
    """0.7 in float32 is 0.699999988, which would be another number of 85 million weights."""
    assert as_share("sparsity", sparsity) == 0.7
    assert magnitude_mask(W, sparsity) == magnitude_mask(W, 0.7)
    assert random_mask(W, sparsity) == random_mask(W, 0.7)


@pytest.mark.parametrize("sparsity", NO_NUMBERS)
def test_a_sparsity_that_is_no_number_is_named(sparsity):
    for make in (magnitude_mask, random_mask):
        with pytest.raises(ValueError, match=r"^sparsity is .*expected a number, 0 <= spar[^\n]*$"):
            make(W, sparsity)


@pytest.mark.parametrize("sparsity", [float("nan"), np.nan, 1, 1.5, -0.1, float("inf")])
def test_a_sparsity_out_of_range_is_named(sparsity):
    with pytest.raises(ValueError, match=r"^sparsity is \S+: expected 0 <= sparsity < 1$"):
        magnitude_mask(W, sparsity)


def test_a_seed_may_be_any_whole_number():
    masks = [random_mask(W, 0.5, seed) for seed in (7, np.int64(7), torch.tensor(7))]
    assert masks[0] == masks[1] == masks[2]
    for seed in ("7", 7.0, True, None):
        with pytest.raises(ValueError, match=r"seed is .*: expected a whole number"):
            random_mask(W, 0.5, seed)


@pytest.mark.parametrize(
    "pattern, meant", [(124, "2:4"), ("124", "2:4"), (64, "1:4"), (248, "4:8")]
)
def test_a_pattern_that_yaml_reads_in_base_60(pattern, meant):
    for make in (magnitude_mask, random_mask):
        with pytest.raises(ValueError, match=rf"number {pattern}: .*write '{meant}' in quotes"):
            make(W, 0.5, pattern=pattern)


@pytest.mark.parametrize("pattern", [3, "3", None, 2.4, ["global"]])
def test_another_pattern_is_refused(pattern):
    with pytest.raises(ValueError, match=r"pattern.*expected global, .*, ffn_channels or N:M"):
        magnitude_mask(W, 0.5, pattern)


# Networks that are sparse already -------------------------------------------------------------


@pytest.fixture
def sparse():
    """Four weights with 700 zeros in each 1,000."""
    weights = {}
    for name in "abcd":
        weight = torch.rand(1000) + 1
        weight[torch.randperm(1000)[:700]] = 0
        weights[name] = weight.view(10, 100)
    return weights


def test_a_network_that_is_sparser_than_asked_for_is_told(sparse):
    with pytest.warns(UserWarning, match=r"2,800 .*\(70\.0%\) are zero already.* 2,000 \(50\.0%\)"):
        magnitude_mask(sparse, 0.5)


@pytest.mark.parametrize("sparsity", [0, 0.7, 0.9])
@pytest.mark.filterwarnings("error")
def test_growing_sparsity_is_no_cause_for_a_warning(sparse, sparsity):
    magnitude_mask(sparse, sparsity)


def test_many_weights_are_sampled_first(sparse):
    large = {"w": torch.nn.functional.pad(torch.zeros(2000, 700), (0, 300), value=1.0)}
    with pytest.warns(UserWarning, match=r"1,400,000 of 2,000,000 weights \(70\.0%\)"):
        magnitude_mask(large, 0.5)


def test_the_mask_of_the_zeros(sparse):
    mask = Mask.of_zeros(sparse, "all", "a test")
    assert mask.sparsity == 0.7 and (mask.scope, mask.origin) == ("all", "a test")
    assert all(torch.equal(keep, sparse[name] != 0) for name, keep in mask.items())
    sparse["c"][0, 0] = torch.nan
    with pytest.raises(ValueError, match="c holds values that are infinite or not a number"):
        Mask.of_zeros(sparse)
