"""Turns samples into calls on the engine and on torch, in one dtype, with or without gradients."""

from __future__ import annotations

import numpy as np

import engine
from engine.ops.samples import Array


def find(root, sample):
    """The function a sample names, in the engine or in torch."""
    if sample.module:
        for part in sample.module.split("."):
            root = getattr(root, part)
        return getattr(root, sample.name)
    fn = getattr(root, sample.name, None)
    if fn is None or not callable(fn):
        fn = getattr(root.Tensor, sample.name, None) or getattr(root.nn.functional, sample.name)
    return fn


def build(value, lib, dtype, leaves, grad=True, device=None):
    """Replace every Array in `value` by a tensor of `lib`; collect those that take gradients in `leaves`."""
    if isinstance(value, Array):
        floating = value.values.dtype.kind in "fc"
        t = lib.tensor(value.values)
        if floating:
            kind = dtype if value.values.dtype.kind == "f" else {"float64": "complex128"}.get(dtype, "complex64")
            t = t.to(getattr(lib, kind))
        t = t if device is None else t.to(device)
        if floating and value.grad and grad:
            t.requires_grad_()
            leaves.append(t)
        return t.transpose(0, -1) if value.transposed else t
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return type(value)(build(v, lib, dtype, leaves, grad, device) for v in value)
    if isinstance(value, dict):
        return {k: build(v, lib, dtype, leaves, grad, device) for k, v in value.items()}
    if isinstance(value, engine.dtype):
        return getattr(lib, value.name)
    return value


def call(sample, lib, dtype="float64", grad=False, device=None):
    """Run a sample, with its tensors on `device`; returns (outputs as a flat list, leaves)."""
    leaves: list = []
    args = build(sample.args, lib, dtype, leaves, grad and sample.grad, device)
    kwargs = build(sample.kwargs, lib, dtype, leaves, grad and sample.grad, device)
    return flat(find(lib, sample)(*args, **kwargs)), leaves


def flat(value):
    """All tensors (and numbers) in a nested result."""
    if isinstance(value, (list, tuple)):
        return [x for v in value for x in flat(v)]
    return [value]


def array(t):
    """A tensor of either library (or a number) as a NumPy array; bfloat16 as float32."""
    if isinstance(t, (bool, int, float, complex)) or t is None:
        return np.asarray(t)
    t = t.detach()
    if str(t.dtype).startswith("torch.complex"):
        t = t.resolve_conj()
    if str(t.dtype) == "torch.bfloat16":
        t = t.float()
    return t.numpy(force=True)
