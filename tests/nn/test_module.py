"""The Module protocol: registration, finding, modes, conversion, printing, and what a call costs."""

from __future__ import annotations

import copy
import gc
import pickle
import sys
import weakref
from typing import Any

import numpy as np
import pytest

import engine
from engine import nn


class Net(nn.Module):
    """Two layers, one shared, a buffer of each kind and a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(2, 3)
        self.second = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
        self.again = self.first
        self.scale = nn.Parameter(engine.ones(3))
        self.register_buffer("count", engine.zeros(()))
        self.register_buffer("scratch", engine.zeros(2), persistent=False)

    def forward(self, x: Any) -> Any:
        return self.second(self.first(x)) * self.scale


class TestRegistration:
    def test_assignment_registers_by_kind_and_order(self) -> None:
        net = Net()
        assert [name for name, _ in net.named_parameters()] == [
            "scale",
            "first.weight",
            "first.bias",
            "second.0.weight",
            "second.0.bias",
        ]
        assert [name for name, _ in net.named_buffers()] == ["count", "scratch"]
        assert [name for name, _ in net.named_children()] == ["first", "second"]
        assert [name for name, _ in net.named_modules()] == ["", "first", "second", "second.0", "second.1"]
        assert list(net._modules) == ["first", "second", "again"]

    def test_shared_members_come_once_unless_asked_for(self) -> None:
        names = [name for name, _ in Net().named_parameters(remove_duplicate=False)]
        assert "again.weight" in names and "first.weight" in names

    def test_parameters_and_modules_come_in_the_order_of_their_names(self) -> None:
        net = nn.Sequential(Net(), nn.Sequential(nn.Linear(1, 1), Net()))
        net.append(net[1][0])
        net[0].late = net[1]
        assert [id(p) for p in net.parameters()] == [id(p) for _, p in net.named_parameters()]
        assert [id(b) for b in net.buffers()] == [id(b) for _, b in net.named_buffers()]
        assert list(net.modules()) == [module for _, module in net.named_modules()]

    def test_prefix_and_recurse(self) -> None:
        assert [name for name, _ in Net().named_parameters(prefix="net", recurse=False)] == ["net.scale"]
        assert len(list(Net().buffers(recurse=False))) == 2

    def test_a_name_can_change_its_kind(self) -> None:
        module = nn.Module()
        module.thing = 3
        module.thing = nn.Parameter(engine.ones(1))
        assert list(module._parameters) == ["thing"]
        module.thing = nn.Linear(1, 1)
        assert list(module._parameters) == [] and list(module._modules) == ["thing"]
        module.thing = nn.Buffer(engine.ones(1), persistent=False)
        assert list(module._modules) == [] and module._non_persistent_buffers_set == {"thing"}

    def test_none_keeps_the_name(self) -> None:
        layer = nn.Linear(2, 2)
        layer.bias = None
        assert "bias" in layer._parameters and list(layer.state_dict()) == ["weight"]
        layer.bias = nn.Parameter(engine.zeros(2))
        assert list(layer.state_dict()) == ["weight", "bias"]

    @pytest.mark.parametrize(
        ("name", "value", "text"),
        [
            ("weight", 3, "cannot assign 'int' as parameter 'weight' (torch.nn.Parameter or None expected)"),
            ("running_mean", 3, "cannot assign 'int' as buffer 'running_mean'"),
        ],
    )
    def test_wrong_kinds_are_refused(self, name: str, value: Any, text: str) -> None:
        with pytest.raises(TypeError) as caught:
            setattr(nn.BatchNorm1d(2), name, value)
        assert text in str(caught.value)

    def test_a_tensor_is_no_parameter_and_no_module(self) -> None:
        layer = nn.Linear(2, 2)
        with pytest.raises(TypeError, match="as parameter 'weight'"):
            layer.weight = engine.ones(2, 2)
        with pytest.raises(TypeError, match=r"cannot assign 'int' as child module '0' \(torch.nn.Module or None"):
            setattr(nn.Sequential(layer), "0", 3)

    def test_a_buffer_takes_a_new_tensor(self) -> None:
        norm = nn.BatchNorm1d(2)
        norm.running_mean = engine.ones(2)
        assert norm.state_dict()["running_mean"].tolist() == [1, 1]

    @pytest.mark.parametrize("name", ["", "a.b"])
    def test_bad_names_are_refused(self, name: str) -> None:
        with pytest.raises(KeyError):
            nn.Module().register_buffer(name, None)
        with pytest.raises(KeyError):
            nn.Module().register_parameter(name, None)
        with pytest.raises(KeyError):
            nn.Module().add_module(name, None)

    def test_taken_names_are_refused(self) -> None:
        with pytest.raises(KeyError, match="attribute 'forward' already exists"):
            nn.Module().register_buffer("forward", engine.ones(1))

    def test_members_before_init_are_refused(self) -> None:
        class Forgetful(nn.Module):
            def __init__(self, member: Any) -> None:
                self.member = member

        with pytest.raises(AttributeError, match=r"before Module.__init__\(\) call"):
            Forgetful(nn.Linear(1, 1))
        with pytest.raises(AttributeError, match=r"before Module.__init__\(\) call"):
            Forgetful(nn.Parameter(engine.ones(1)))
        with pytest.raises(AttributeError, match=r"Module.__init__\(\) was not called"):
            Forgetful(3)()

    def test_a_computed_tensor_is_no_parameter(self) -> None:
        with pytest.raises(TypeError):
            nn.Module().register_parameter("w", engine.ones(1))
        with pytest.raises(TypeError):
            nn.Parameter([1.0])
        with pytest.raises(TypeError, match="is not a Module subclass"):
            nn.Module().add_module("m", 3)

    def test_deleting_unregisters(self) -> None:
        net = Net()
        del net.again, net.scale, net.count
        assert list(net._modules) == ["first", "second"]
        assert "scale" not in dict(net.named_parameters()) and not hasattr(net, "scale")
        with pytest.raises(AttributeError):
            del net.scale

    def test_surgery_through_the_views(self) -> None:
        net = Net()
        net._modules["second"] = nn.Identity()
        assert isinstance(net.second, nn.Identity)
        net._parameters["extra"] = nn.Parameter(engine.ones(1))
        assert "extra" in dict(net.named_parameters()) and net.extra.item() == 1
        removed = net._parameters.pop("extra")
        assert removed.item() == 1 and not hasattr(net, "extra")

    def test_a_parameter_found_in_a_class_attribute_wins(self) -> None:
        class Annotated(nn.Module):
            layer: Any = None

            def __init__(self) -> None:
                super().__init__()
                self.layer = nn.Linear(1, 1)

        assert isinstance(Annotated().layer, nn.Linear)

    def test_getattr_can_be_extended(self) -> None:
        class Wrapper(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.inner = nn.Linear(2, 3)

            def __getattr__(self, name: str) -> Any:
                try:
                    return super().__getattr__(name)
                except AttributeError:
                    return getattr(self.inner, name)

        assert Wrapper().out_features == 3

    def test_unexpected_constructor_arguments(self) -> None:
        with pytest.raises(TypeError, match="takes 1 positional argument but 2 were given"):
            nn.Module(1)
        with pytest.raises(TypeError, match="unexpected keyword argument 'size'"):
            nn.Sigmoid(size=1)


class TestFinding:
    def test_by_dotted_name(self) -> None:
        net = Net()
        assert net.get_submodule("second.1") is net.second[1]
        assert net.get_submodule("") is net
        assert net.get_parameter("second.0.bias") is net.second[0].bias
        assert net.get_buffer("count") is net.count

    @pytest.mark.parametrize(
        ("method", "target", "text"),
        [
            ("get_submodule", "second.7", "Sequential has no attribute `7`"),
            ("get_submodule", "scale", "`scale` is not an nn.Module"),
            ("get_parameter", "count", "`count` is not an nn.Parameter"),
            ("get_buffer", "scale", "`scale` is not a buffer"),
            ("get_parameter", "first.gain", "Linear has no attribute `gain`"),
        ],
    )
    def test_what_is_not_there(self, method: str, target: str, text: str) -> None:
        with pytest.raises(AttributeError, match=text):
            getattr(Net(), method)(target)

    def test_unknown_attributes_are_named(self) -> None:
        with pytest.raises(AttributeError, match="'Linear' object has no attribute 'wieght'") as caught:
            _ = nn.Linear(1, 1).wieght
        assert caught.value.name == "wieght"

    def test_dir_lists_members_and_no_numbers(self) -> None:
        assert "weight" in dir(nn.Linear(1, 1))
        assert "0" not in dir(nn.Sequential(nn.ReLU()))


class TestModes:
    def test_train_and_eval_reach_all(self) -> None:
        net = Net().eval()
        assert not any(module.training for module in net.modules())
        assert all(module.training for module in net.train().modules())
        with pytest.raises(ValueError, match="boolean"):
            net.train(1)

    def test_apply_goes_bottom_up_and_returns_self(self) -> None:
        seen: list[str] = []
        net = Net()
        assert net.apply(lambda module: seen.append(type(module).__name__)) is net
        assert seen == ["Linear", "Linear", "ReLU", "Sequential", "Net"]

    def test_requires_grad_and_zero_grad(self) -> None:
        net = Net()
        net(engine.ones(1, 2)).sum().backward()
        net.zero_grad(set_to_none=False)
        assert all(p.grad.abs().sum().item() == 0 for p in net.parameters())
        net.zero_grad()
        assert all(p.grad is None for p in net.parameters())
        net.first.requires_grad_(False)
        assert [p.requires_grad for p in net.parameters()] == [True, False, False, True, True]

    def test_missing_forward(self) -> None:
        with pytest.raises(NotImplementedError, match=r'Module \[Module\] is missing the required "forward" function'):
            nn.Module()(1)

    def test_compile_and_share_memory(self) -> None:
        net = Net()
        net.compile()
        assert net(engine.ones(1, 2)).shape == (1, 3)
        with pytest.raises(NotImplementedError, match="state_dict"):
            net.share_memory()


class TestConversion:
    def test_parameters_stay_the_same_objects(self) -> None:
        net = Net()
        before = [id(p) for p in net.parameters()]
        net(engine.ones(1, 2)).sum().backward()
        net.double()
        assert [id(p) for p in net.parameters()] == before
        assert {p.dtype for p in net.parameters()} == {engine.float64}
        assert {p.grad.dtype for p in net.parameters()} == {engine.float64}
        net(engine.ones(1, 2, dtype=engine.float64)).sum().backward()

    def test_integers_keep_their_type(self) -> None:
        norm = nn.BatchNorm1d(2).half()
        assert norm.running_mean.dtype == engine.float16 and norm.num_batches_tracked.dtype == engine.int64
        assert norm.to(engine.bfloat16).weight.dtype == engine.bfloat16

    @pytest.mark.parametrize(
        "arguments",
        [
            (engine.float64,),
            ("cpu", engine.float64),
            (engine.device("cpu"), engine.float64, True),
            (engine.zeros(1, dtype=engine.float64),),
        ],
    )
    def test_forms_of_to(self, arguments: tuple) -> None:
        assert nn.Linear(1, 1).to(*arguments).weight.dtype == engine.float64

    def test_to_by_keyword(self) -> None:
        assert nn.Linear(1, 1).to(device="cpu", dtype=engine.float64).bias.dtype == engine.float64
        assert nn.Linear(1, 1).to("cpu").cpu().float().weight.dtype == engine.float32

    def test_to_refuses_integer_types_and_unknown_arguments(self) -> None:
        with pytest.raises(TypeError, match="floating point or complex dtypes, but got desired dtype=torch.int64"):
            nn.Linear(1, 1).to(engine.int64)
        with pytest.raises(TypeError, match="'place'"):
            nn.Linear(1, 1).to(place="cpu")

    def test_to_empty_keeps_shapes(self) -> None:
        assert nn.Linear(2, 3).to_empty(device="cpu").weight.shape == (3, 2)

    def test_constructors_take_a_dtype(self) -> None:
        assert nn.Linear(2, 2, dtype=engine.float64).bias.dtype == engine.float64
        assert nn.LSTM(2, 2, dtype=engine.float64).weight_hh_l0.dtype == engine.float64


class TestCopies:
    def test_copies_are_independent_and_keep_sharing(self) -> None:
        net = Net()
        for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
            assert twin.first is twin.again and twin.first is not net.first
            assert list(twin.state_dict()) == list(net.state_dict())
            with engine.no_grad():
                twin.scale.add_(1)
            assert net.scale.tolist() == [1, 1, 1]
            np.testing.assert_array_equal(twin.first.weight.detach().numpy(), net.first.weight.detach().numpy())

    def test_parameters_carry_attributes_and_flags(self) -> None:
        parameter = nn.Parameter(engine.ones(2), requires_grad=False)
        parameter.is_expert = True
        for twin in (copy.deepcopy(parameter), pickle.loads(pickle.dumps(parameter))):
            assert isinstance(twin, nn.Parameter) and twin.is_expert and not twin.requires_grad

    def test_a_parameter_shares_its_tensors_storage(self) -> None:
        data = engine.zeros(2)
        parameter = nn.Parameter(data)
        data.fill_(5)
        assert parameter.tolist() == [5, 5]
        assert parameter.is_leaf and parameter.requires_grad and not data.requires_grad


class TestPrinting:
    def test_nested(self) -> None:
        assert repr(Net()) == (
            "Net(\n"
            "  (first): Linear(in_features=2, out_features=3, bias=True)\n"
            "  (second): Sequential(\n"
            "    (0): Linear(in_features=3, out_features=3, bias=True)\n"
            "    (1): ReLU()\n"
            "  )\n"
            "  (again): Linear(in_features=2, out_features=3, bias=True)\n"
            ")"
        )

    def test_extra_lines_and_missing_children(self) -> None:
        class Odd(nn.Module):
            def extra_repr(self) -> str:
                return "one\ntwo"

        odd = Odd()
        odd.add_module("gone", None)
        assert repr(odd) == "Odd(\n  one\n  two\n  (gone): None\n)"
        assert repr(nn.Module()) == "Module()"


def test_a_model_is_freed_without_the_garbage_collector() -> None:
    net = Net()
    net(engine.ones(1, 2)).sum().backward()
    list(net.parameters()), net.state_dict(), repr(net), net.double()
    gone = [weakref.ref(net), weakref.ref(net.scale), weakref.ref(net.first.weight)]
    gc.disable()
    try:
        del net
        assert [reference() for reference in gone] == [None, None, None]
    finally:
        gc.enable()


def test_a_call_without_hooks_adds_one_python_frame() -> None:
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(engine.ones(1))

        def forward(self, x: Any) -> Any:
            return self.weight

    module = Plain()
    calls: list[str] = []

    def note(frame: Any, event: str, argument: Any) -> None:
        if event == "call":
            calls.append(frame.f_code.co_name)

    sys.setprofile(note)
    try:
        module(1)
    finally:
        sys.setprofile(None)
    assert calls == ["__call__", "forward"]
