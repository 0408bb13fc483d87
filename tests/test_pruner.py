"""The pruner alone, in states that short trainings do not come to."""

import pytest
import torch

from parp_fairseq.pruning import Mask, Pruner, Schedule, magnitude_mask, parse_pattern

GROWING = Schedule(0.5, initial_sparsity=0.1, ramp_updates=10, interval=1)


def weights(**shapes):
    torch.manual_seed(0)
    return {name: torch.nn.Parameter(torch.randn(*shape)) for name, shape in shapes.items()}


def test_weights_without_masters_are_kept_while_they_are_hidden():
    """Frozen ones, in mixed precision: the optimizer has no copy of them."""
    params = weights(trained=(8, 8), frozen=(8, 8))
    pruner = Pruner(params, GROWING)
    pruner.start({"trained": params["trained"].data.clone(), "frozen": params["frozen"].data})
    before = {name: param.detach().clone() for name, param in params.items()}
    pruner.hide()
    mask = pruner.subnetwork_mask()
    hidden = pruner.state_dict(mask)["hidden"]
    for name, values in before.items():
        assert torch.equal(hidden[name], values[~mask[name]])


def test_before_the_first_update_the_subnetwork_is_as_sparse_as_the_target():
    params = weights(a=(8, 8), b=(4, 8))
    first = magnitude_mask(weights(b=(4, 8), a=(8, 8)), 0.1)
    pruner = Pruner(params, GROWING, initial_mask=first)
    subnetwork = pruner.subnetwork_mask()
    assert subnetwork.num_pruned == round(0.5 * 96)
    assert subnetwork.num_revived(first) == 0
    pruner.start()
    assert subnetwork == pruner.subnetwork_mask()


@pytest.mark.parametrize("pattern", ["layerwise", "2:4"])
def test_a_mask_of_another_pattern_is_refused(pattern):
    params = weights(a=(64, 64), b=(64, 64))
    schedule, follows = Schedule(0.5, interval=1), parse_pattern(pattern)
    mask = magnitude_mask(params, 0.5, pattern)
    assert Pruner(params, schedule, pattern=follows, initial_mask=mask).initial_mask == mask
    # As many weights in all, and in layers the same share but for one weight.
    other = {name: mask[name].clone() for name in mask}
    other["a"].view(-1)[other["a"].view(-1).nonzero()[0]] = False
    other["b"].view(-1)[(~other["b"]).view(-1).nonzero()[0]] = True
    with pytest.raises(ValueError, match=f"the mask does not follow the pattern {pattern}"):
        Pruner(params, schedule, pattern=follows, initial_mask=Mask(other.items()))


def test_epochs_that_begin_anew_are_pruned_before_too():
    """checkpoint.reset_dataloader counts epochs from 1 again."""
    schedule = Schedule(0.5, epochs=50)
    assert schedule.due_before_epoch(51, pruned_in_epoch=300)
    assert not schedule.due_before_epoch(51, pruned_in_epoch=51)
    assert not schedule.due_before_epoch(52, pruned_in_epoch=51)
