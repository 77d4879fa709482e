"""The table of one- and two-input pointwise functions: a row is an operator."""

from __future__ import annotations

import numpy as np

from .pointwise import unary

unary("exp", ufunc=np.exp, keep="y", grad=lambda xp, g, x, y: g * xp.conj(y), doc="""
e to the power of each element.

>>> torch.exp(torch.tensor([0., 1.]))
tensor([1.0000, 2.7183])
""")
unary("log", ufunc=np.log, keep="x", domain=(0.2, 3.0), grad=lambda xp, g, x, y: g / xp.conj(x), doc="""
The natural logarithm of each element.

>>> torch.log(torch.tensor([1., 2.]))
tensor([0.0000, 0.6931])
""")
unary("sqrt", ufunc=np.sqrt, keep="y", domain=(0.2, 3.0), grad=lambda xp, g, x, y: g / xp.conj(2 * y), doc="""
The square root of each element.

>>> torch.sqrt(torch.tensor([4., 9.]))
tensor([2., 3.])
""")
unary("sin", ufunc=np.sin, keep="x", grad=lambda xp, g, x, y: g * xp.conj(xp.cos(x)), doc="""
The sine of each element, in radians.

>>> torch.sin(torch.tensor([0., 1.]))
tensor([0.0000, 0.8415])
""")
unary("cos", ufunc=np.cos, keep="x", grad=lambda xp, g, x, y: -g * xp.conj(xp.sin(x)), doc="""
The cosine of each element, in radians.

>>> torch.cos(torch.tensor([0., 1.]))
tensor([1.0000, 0.5403])
""")
unary("tanh", ufunc=np.tanh, keep="y", functional=True, grad=lambda xp, g, x, y: g * xp.conj(1 - y * y), doc="""
The hyperbolic tangent of each element.

>>> torch.tanh(torch.tensor([0., 1.]))
tensor([0.0000, 0.7616])
""")
