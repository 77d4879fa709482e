"""state_dict and load_state_dict: names, metadata, the report of differences, hooks, extra state."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest

import engine
from engine import nn


def model() -> Any:
    return nn.Sequential(OrderedDict(body=nn.Linear(2, 3), norm=nn.BatchNorm1d(3)))


def test_names_order_prefix_and_metadata() -> None:
    state = model().state_dict(prefix="net.")
    assert list(state) == [
        "net.body.weight",
        "net.body.bias",
        "net.norm.weight",
        "net.norm.bias",
        "net.norm.running_mean",
        "net.norm.running_var",
        "net.norm.num_batches_tracked",
    ]
    assert state._metadata["net.norm"] == {"version": 2}
    assert dict(model().state_dict()._metadata) == {
        "": {"version": 1},
        "body": {"version": 1},
        "norm": {"version": 2},
    }


def test_values_share_storage_and_leave_the_graph() -> None:
    net = model()
    state = net.state_dict()
    assert not state["body.weight"].requires_grad and state["body.weight"].is_leaf
    state["body.weight"].fill_(7)
    assert net.body.weight[0, 0].item() == 7
    assert net.state_dict(keep_vars=True)["body.weight"] is net.body.weight


def test_destination_by_keyword_and_position() -> None:
    mine: dict = {}
    assert nn.Linear(1, 1).state_dict(destination=mine, prefix="a.") is mine
    assert nn.Linear(1, 1).state_dict(mine, "b.", False) is mine
    assert list(mine) == ["a.weight", "a.bias", "b.weight", "b.bias"]


def test_non_persistent_buffers_are_left_out_and_not_expected() -> None:
    module = nn.Module()
    module.register_buffer("kept", engine.ones(1))
    module.register_buffer("scratch", engine.ones(1), persistent=False)
    assert list(module.state_dict()) == ["kept"]
    assert module.load_state_dict({"kept": engine.zeros(1)}) == ([], [])
    with pytest.raises(RuntimeError, match='Unexpected key.s. in state_dict: "scratch"'):
        module.load_state_dict({"kept": engine.zeros(1), "scratch": engine.zeros(1)})


def test_a_round_trip_copies_in_place() -> None:
    source, target = model(), model()
    weight = target.body.weight
    source(engine.ones(4, 2))
    report = target.load_state_dict(source.state_dict())
    assert repr(report) == "<All keys matched successfully>"
    assert target.body.weight is weight and weight.requires_grad
    assert weight.tolist() == source.body.weight.tolist()
    assert target.norm.num_batches_tracked.item() == 1


def test_the_report_names_everything_at_once() -> None:
    state = model().state_dict()
    del state["body.bias"]
    state["head.weight"] = engine.ones(1)
    state["body.gain"] = engine.ones(1)
    state["body.weight"] = engine.ones(5, 2)
    state["norm.weight"] = [1, 2, 3]
    with pytest.raises(RuntimeError) as caught:
        model().load_state_dict(state)
    text = str(caught.value)
    assert text.startswith("Error(s) in loading state_dict for Sequential:\n\t")
    assert 'Missing key(s) in state_dict: "body.bias". ' in text
    assert 'Unexpected key(s) in state_dict: "head.weight", "body.gain". ' in text
    assert (
        "size mismatch for body.weight: copying a param with shape torch.Size([5, 2]) from checkpoint, "
        "the shape in current model is torch.Size([3, 2])." in text
    )
    assert 'While copying the parameter named "norm.weight", expected torch.Tensor' in text


def test_the_report_is_torchs() -> None:
    torch = pytest.importorskip("torch")

    def report(library: Any, neural: Any) -> str:
        net = neural.Sequential(neural.Linear(2, 3), neural.Linear(3, 1))
        with pytest.raises(RuntimeError) as caught:
            net.load_state_dict({"0.weight": library.ones(1), "1.bias": library.ones(1), "2.x": library.ones(1)})
        return str(caught.value)

    assert report(engine, nn) == report(torch, torch.nn)


def test_not_strict_returns_the_differences_but_not_of_shape() -> None:
    net = nn.Linear(2, 1)
    report = net.load_state_dict({"weight": engine.ones(1, 2), "other": engine.ones(1)}, strict=False)
    assert report.missing_keys == ["bias"] and report.unexpected_keys == ["other"]
    assert repr(report) == "_IncompatibleKeys(missing_keys=['bias'], unexpected_keys=['other'])"
    assert net.weight.tolist() == [[1, 1]]
    with pytest.raises(RuntimeError, match="size mismatch for weight"):
        net.load_state_dict({"weight": engine.ones(2, 2)}, strict=False)


def test_only_mappings_are_accepted() -> None:
    with pytest.raises(TypeError, match="Expected state_dict to be dict-like"):
        model().load_state_dict([1, 2])


def test_values_are_cast_to_the_modules_type() -> None:
    net = nn.Linear(1, 1)
    net.load_state_dict({"weight": engine.ones(1, 1, dtype=engine.float64), "bias": engine.ones(1)})
    assert net.weight.dtype == engine.float32 and net.weight.item() == 1


def test_assign_takes_the_given_tensors() -> None:
    net = nn.BatchNorm1d(2)
    net.weight.requires_grad_(False)
    state = {key: value.double() if value.is_floating_point() else value for key, value in net.state_dict().items()}
    net.load_state_dict(state, assign=True)
    assert net.weight.dtype == engine.float64 and isinstance(net.weight, nn.Parameter)
    assert not net.weight.requires_grad and net.bias.requires_grad
    assert net.running_mean.dtype == engine.float64
    assert list(net.state_dict()) == list(state)


def test_the_given_dict_is_not_changed() -> None:
    state = {key: value for key, value in nn.BatchNorm1d(2).state_dict().items() if "tracked" not in key}
    before = list(state)
    nn.BatchNorm1d(2).load_state_dict(state)  # saved before there was a counter
    assert list(state) == before


def test_extra_state() -> None:
    class Counting(nn.Linear):
        steps = 0

        def get_extra_state(self) -> dict:
            return {"steps": self.steps}

        def set_extra_state(self, state: dict) -> None:
            self.steps = state["steps"]

    source, target = Counting(1, 1), Counting(1, 1)
    source.steps = 5
    state = source.state_dict()
    assert state["_extra_state"] == {"steps": 5}
    target.load_state_dict(state)
    assert target.steps == 5
    del state["_extra_state"]
    with pytest.raises(RuntimeError, match='Missing key.s. in state_dict: "_extra_state"'):
        target.load_state_dict(state)
    with pytest.raises(RuntimeError, match='Unexpected key.s. in state_dict: "_extra_state"'):
        nn.Linear(1, 1).load_state_dict(source.state_dict())


def test_overriding_load_renames_old_keys() -> None:
    class Renamed(nn.Linear):
        _version = 3

        def _load_from_state_dict(self, state_dict: Any, prefix: str, local_metadata: dict, *rest: Any) -> None:
            if local_metadata.get("version", 1) < 3:
                state_dict[prefix + "weight"] = state_dict.pop(prefix + "kernel")
            super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)

    net = nn.Sequential(Renamed(1, 1))
    net.load_state_dict({"0.kernel": engine.ones(1, 1), "0.bias": engine.ones(1)})
    assert net[0].weight.item() == 1
    assert net.load_state_dict(net.state_dict()) == ([], [])


def test_save_and_load_hooks() -> None:
    net = nn.Sequential(nn.Linear(1, 1))
    seen: list[str] = []
    net.register_state_dict_pre_hook(lambda module, prefix, keep_vars: seen.append(f"save {prefix!r}"))
    net.register_state_dict_post_hook(
        lambda module, state, prefix, metadata: state.update({prefix + "note": state.pop(prefix + "0.bias")})
    )
    state = net.state_dict()
    assert list(state) == ["0.weight", "note"]

    def rename(module: Any, state: dict, prefix: str, *rest: Any) -> None:
        state[prefix + "0.bias"] = state.pop(prefix + "note")

    net.register_load_state_dict_pre_hook(rename)
    net.register_load_state_dict_post_hook(lambda module, keys: seen.append(f"loaded {keys}"))
    net.load_state_dict(state)
    assert seen == ["save ''", "loaded <All keys matched successfully>"]


def test_a_post_hook_can_forgive_missing_keys() -> None:
    net = nn.Linear(1, 1)
    net.register_load_state_dict_post_hook(lambda module, keys: keys.missing_keys.clear())
    net.load_state_dict({"weight": engine.ones(1, 1)})
    net.register_load_state_dict_post_hook(lambda module, keys: keys)
    with pytest.raises(AssertionError):
        net.load_state_dict({"weight": engine.ones(1, 1)})


def test_torchs_state_dict_loads_by_value() -> None:
    torch = pytest.importorskip("torch")
    theirs = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2)).state_dict()
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    net.load_state_dict({key: engine.from_numpy(value.numpy()) for key, value in theirs.items()})
    assert net[0].bias.tolist() == theirs["0.bias"].tolist()
