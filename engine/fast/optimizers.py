"""Optimizer steps: each kernel reads and writes every array once, where the chain of ufuncs in `optim` takes a dozen passes.

Same operations in the same order, rounded one by one, so the results are those of the chains to the last bit. All but `nadam`
take (p, g, *state, c, maximize): c[0] is the weight decay that goes into the gradient, c[1] the factor on the parameter, and
from c[2] on come the constants of the chain. Constants are read before the loop: one that might be overwritten in it would keep
the loop from becoming vector instructions.
"""

from __future__ import annotations

import numpy as np

from .functions import ONE, ZERO
from .jit import exact, kernel


@exact
def _gradient(p, g, sign, decay):  # type: ignore[no-untyped-def]
    """The gradient as the chain sees it."""
    g = g * sign
    return g + p * decay if decay != ZERO else g


@exact
def _common(c, maximize):  # type: ignore[no-untyped-def]
    """What every kernel reads first: the gradient's sign, weight decay, the factor on the parameter."""
    return -ONE if maximize else ONE, c[0], c[1]


@exact
def sgd(p, g, c, maximize):  # type: ignore[no-untyped-def]
    (sign, decay, shrink), minus_lr = _common(c, maximize), c[2]
    for j in range(p.size):
        p[j] = p[j] * shrink + _gradient(p[j], g[j], sign, decay) * minus_lr


@exact
def sgd_momentum(p, g, buffer, c, maximize):  # type: ignore[no-untyped-def]
    (sign, decay, shrink), minus_lr, momentum, new_part = _common(c, maximize), c[2], c[3], c[4]
    for j in range(p.size):
        b = buffer[j] * momentum + _gradient(p[j], g[j], sign, decay) * new_part
        buffer[j] = b
        p[j] = p[j] * shrink + b * minus_lr


@exact
def sgd_nesterov(p, g, buffer, c, maximize):  # type: ignore[no-untyped-def]
    (sign, decay, shrink), minus_lr, momentum, new_part = _common(c, maximize), c[2], c[3], c[4]
    for j in range(p.size):
        d = _gradient(p[j], g[j], sign, decay)
        b = buffer[j] * momentum + d * new_part
        buffer[j] = b
        p[j] = p[j] * shrink + (d + b * momentum) * minus_lr


@exact
def adam(p, g, m, v, c, maximize):  # type: ignore[no-untyped-def]
    (sign, decay, shrink), new_part, beta2, new_part_sq = _common(c, maximize), c[2], c[3], c[4]
    eps, minus_step = c[5], c[6]
    for j in range(p.size):
        d = _gradient(p[j], g[j], sign, decay)
        mean = m[j] + (d - m[j]) * new_part
        square = v[j] * beta2 + d * new_part_sq * d
        m[j], v[j] = mean, square
        p[j] = p[j] * shrink + mean * minus_step / (np.sqrt(square) + eps)


@exact
def amsgrad(p, g, m, v, largest, c, maximize):  # type: ignore[no-untyped-def]
    (sign, decay, shrink), new_part, beta2, new_part_sq = _common(c, maximize), c[2], c[3], c[4]
    eps, minus_step = c[5], c[6]
    for j in range(p.size):
        d = _gradient(p[j], g[j], sign, decay)
        mean = m[j] + (d - m[j]) * new_part
        square = v[j] * beta2 + d * new_part_sq * d
        most = largest[j]
        most = square if square > most or square != square else most
        m[j], v[j], largest[j] = mean, square, most
        p[j] = p[j] * shrink + mean * minus_step / (np.sqrt(most) + eps)


@exact
def rmsprop(p, g, square_avg, c, maximize):  # type: ignore[no-untyped-def]
    (sign, decay, shrink), minus_lr, alpha, new_part, eps = _common(c, maximize), c[2], c[3], c[4], c[5]
    for j in range(p.size):
        d = _gradient(p[j], g[j], sign, decay)
        square = square_avg[j] * alpha + d * new_part * d
        square_avg[j] = square
        p[j] = p[j] * shrink + d * minus_lr / (np.sqrt(square) + eps)


@exact
def rmsprop_momentum(p, g, square_avg, buffer, c, maximize):  # type: ignore[no-untyped-def]
    (sign, decay, shrink), minus_lr, alpha, new_part, eps = _common(c, maximize), c[2], c[3], c[4], c[5]
    momentum = c[6]
    for j in range(p.size):
        d = _gradient(p[j], g[j], sign, decay)
        square = square_avg[j] * alpha + d * new_part * d
        b = buffer[j] * momentum + d / (np.sqrt(square) + eps)
        square_avg[j], buffer[j] = square, b
        p[j] = p[j] * shrink + b * minus_lr


@exact
def adagrad(p, g, total, c, maximize):  # type: ignore[no-untyped-def]
    (sign, decay, shrink), minus_rate, eps = _common(c, maximize), c[2], c[3]
    for j in range(p.size):
        d = _gradient(p[j], g[j], sign, decay)
        square = total[j] + d * d
        total[j] = square
        p[j] = p[j] * shrink + d * minus_rate / (np.sqrt(square) + eps)


@exact
def rmsprop_centered(p, g, square_avg, grad_avg, c, maximize):  # type: ignore[no-untyped-def]
    (sign, decay, shrink), minus_lr, alpha, new_part, eps = _common(c, maximize), c[2], c[3], c[4], c[5]
    for j in range(p.size):
        d = _gradient(p[j], g[j], sign, decay)
        square = square_avg[j] * alpha + d * new_part * d
        mean = grad_avg[j] + (d - grad_avg[j]) * new_part
        square_avg[j], grad_avg[j] = square, mean
        p[j] = p[j] * shrink + d * minus_lr / (np.sqrt(square - mean * mean) + eps)


@exact
def rmsprop_centered_momentum(p, g, square_avg, buffer, grad_avg, c, maximize):  # type: ignore[no-untyped-def]
    (sign, decay, shrink), minus_lr, alpha, new_part, eps = _common(c, maximize), c[2], c[3], c[4], c[5]
    momentum = c[6]
    for j in range(p.size):
        d = _gradient(p[j], g[j], sign, decay)
        square = square_avg[j] * alpha + d * new_part * d
        mean = grad_avg[j] + (d - grad_avg[j]) * new_part
        b = buffer[j] * momentum + d / (np.sqrt(square - mean * mean) + eps)
        square_avg[j], grad_avg[j], buffer[j] = square, mean, b
        p[j] = p[j] * shrink + b * minus_lr


@exact
def adadelta(p, g, square_avg, acc_delta, c, maximize):  # type: ignore[no-untyped-def]
    (sign, decay, shrink), minus_lr, rho, new_part, eps = _common(c, maximize), c[2], c[3], c[4], c[5]
    for j in range(p.size):
        d = _gradient(p[j], g[j], sign, decay)
        square = square_avg[j] * rho + d * new_part * d
        step = np.sqrt(acc_delta[j] + eps) / np.sqrt(square + eps) * d
        square_avg[j], acc_delta[j] = square, acc_delta[j] * rho + step * new_part * step
        p[j] = p[j] * shrink + step * minus_lr


@exact
def adamax(p, g, m, largest, c, maximize):  # type: ignore[no-untyped-def]
    (sign, decay, shrink), new_part, beta2, eps, minus_rate = _common(c, maximize), c[2], c[3], c[4], c[5]
    for j in range(p.size):
        d = _gradient(p[j], g[j], sign, decay)
        mean = m[j] + (d - m[j]) * new_part
        before, size = largest[j] * beta2, abs(d) + eps
        most = before if before > size or before != before else size
        m[j], largest[j] = mean, most
        p[j] = p[j] * shrink + mean * minus_rate / most


@exact
def nadam(p, g, m, v, c):  # type: ignore[no-untyped-def]
    """Weight decay and `maximize` are in `p` and `g` already."""
    new_part, beta2, new_part_sq, correction, eps, step, step_next = c[0], c[1], c[2], c[3], c[4], c[5], c[6]
    for j in range(p.size):
        d = g[j]
        mean = m[j] + (d - m[j]) * new_part
        square = v[j] * beta2 + d * d * new_part_sq
        root = np.sqrt(square / correction) + eps
        m[j], v[j] = mean, square
        p[j] = p[j] + d / root * step + mean / root * step_next


@exact
def moments(p, g, m, v, c, maximize):  # type: ignore[no-untyped-def]
    """RAdam's first steps: both moments take in the gradient, and the step goes along the first."""
    (sign, decay, shrink), new_part, beta2, new_part_sq, step = _common(c, maximize), c[2], c[3], c[4], c[6]
    for j in range(p.size):
        d = _gradient(p[j], g[j], sign, decay)
        mean = m[j] + (d - m[j]) * new_part
        m[j], v[j] = mean, v[j] * beta2 + d * new_part_sq * d
        p[j] = p[j] * shrink + mean * step


@exact
def move(a, b, weight):  # type: ignore[no-untyped-def]
    """a += (b - a) * weight: a step of a running average."""
    for j in range(a.size):
        a[j] = a[j] + (b[j] - a[j]) * weight


@kernel
def unscale(g, factor):  # type: ignore[no-untyped-def]
    """g *= factor; whether all of g was finite."""
    doubt = ZERO
    for j in range(g.size):
        doubt += g[j] * ZERO  # NaN for NaN and infinity
        g[j] = g[j] * factor
    return doubt == ZERO
