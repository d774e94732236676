"""What can be measured of an observation without any model that was fitted to it.

Under the name of a physics latent stands an independent measurement of it: whether a sample made at
chosen values has them is asked of these, and of no guide. The others say what the data are like.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from scipy.integrate import cumulative_trapezoid

from groundvae.data.dataset import Dataset

BRIGHT = 0.25  # of an image's brightest light, what belongs to its galaxy
WINDOW = 0.35  # half sides about the middle: further out other objects stand
FLOOR = 1e-12

Measured = Mapping[str, np.ndarray]


def measure_any(data: Dataset) -> Measured:
    """Of any observation: mean, spread and, from sample to sample, roughness, (observation,)."""
    flat = data.x.reshape(len(data), -1).astype(float)
    steps = np.diff(data.x.astype(float), axis=1).reshape(len(data), -1)
    return {
        "mean": flat.mean(1),
        "spread": flat.std(1),
        "roughness": np.sqrt(np.square(steps).mean(1)),
    }


def measure_pendulum(data: Dataset) -> Measured:
    """Of angles (observation, time), rad: ``omega``, ``theta0``, ``decay``, reach and roughness.

    Newton's law integrated twice, ``theta - theta0 = -omega^2 II sin(theta) - decay I theta``, by
    least squares: what pushes fast has hardly a part in integrals.
    """
    theta, times = data.x.astype(float), data.coordinates["t"]

    def integrated(y: np.ndarray) -> np.ndarray:
        return np.asarray(cumulative_trapezoid(y, times, axis=1, initial=0))

    force = integrated(integrated(np.sin(theta)))
    one = np.ones_like(theta)
    drag = integrated(theta) - times * theta[:, :1]
    found = _least_squares([one, -force, -drag], theta)
    return {
        "omega": np.sqrt(found[:, 1].clip(FLOOR)),
        "theta0": theta[:, 0],
        "decay": found[:, 2],
        "reach": np.abs(theta).max(1),
        "roughness": np.sqrt(np.square(np.diff(theta, 2, axis=1)).mean(1)),
    }


def measure_field(data: Dataset) -> Measured:
    """Of fields (observation, time, place): ``diffusion``, ``speed``, ``magnitude``, what is left.

    ``y - y(0) = diffusion I y_ss + speed I y_s``, integrated over time, by least squares.
    """
    y, times, places = data.x.astype(float), data.coordinates["t"], data.coordinates["s"]
    spacing = places[1] - places[0]
    beyond = np.pad(y, ((0, 0), (0, 0), (1, 1)))
    left, right = beyond[..., :-2], beyond[..., 2:]

    def integrated(rate: np.ndarray) -> np.ndarray:
        whole = cumulative_trapezoid(rate, times, axis=1, initial=0)
        return np.asarray(whole).reshape(len(y), -1)

    sine = np.sin(np.pi * np.arange(y.shape[2]) / (y.shape[2] - 1))
    first = np.broadcast_to(sine, y.shape).reshape(len(y), -1)
    curved = integrated((left - 2 * y + right) / spacing**2)
    sloped = integrated((right - left) / (2 * spacing))
    found = _least_squares([first, curved, sloped], y.reshape(len(y), -1))
    return {
        "magnitude": found[:, 0],
        "diffusion": found[:, 1],
        "speed": found[:, 2],
        "left": y[:, -1].mean(1) / y[:, 0].mean(1),
    }


def measure_gait(data: Dataset) -> Measured:
    """Of joint angles (observation, time, joint), rad: range of motion, and when it is greatest."""
    x, times = data.x.astype(float), data.coordinates["t"]
    found = {}
    for i, joint in enumerate(("hip", "knee", "ankle")):
        found[f"{joint}_range"] = np.ptp(x[..., i], axis=1)
        found[f"{joint}_peak"] = times[x[..., i].argmax(1)]
    return found | {"roughness": np.sqrt(np.square(np.diff(x, 2, axis=1)).mean((1, 2)))}


def measure_image(data: Dataset) -> Measured:
    """Of images (observation, row, column, band): axes by moments of what is bright, and light.

    ``position_angle`` (rad, modulo pi), ``axis_ratio``, ``extent`` (half sides), ``brightness``.
    """
    light = data.x.astype(float).mean(-1)
    edge = np.concatenate([light[:, 0], light[:, -1], light[:, :, 0], light[:, :, -1]], 1)
    light = light - np.median(edge, axis=1)[:, None, None]
    right, up = np.meshgrid(data.coordinates["right"], data.coordinates["up"])
    inner = light * (np.hypot(right, up) < WINDOW)
    brightest = inner.max((1, 2), keepdims=True)
    weight = np.where(inner > BRIGHT * brightest, inner, 0.0) + FLOOR * (
        np.hypot(right, up) < WINDOW
    )
    weight = weight / weight.sum((1, 2), keepdims=True)
    x, y = (right - _mean(weight, right), up - _mean(weight, up))
    xx, yy, xy = ((weight * each).sum((1, 2)) for each in (x * x, y * y, x * y))
    apart = np.hypot(xx - yy, 2 * xy)
    return {
        "position_angle": 0.5 * np.arctan2(2 * xy, xx - yy) % math.pi,
        "axis_ratio": np.sqrt(((xx + yy - apart) / (xx + yy + apart)).clip(0)),
        "extent": np.sqrt(0.5 * (xx + yy + apart)),
        "brightness": brightest[:, 0, 0],
    }


def _mean(weight: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.asarray((weight * values).sum((1, 2), keepdims=True))


def _least_squares(columns: list[np.ndarray], target: np.ndarray) -> np.ndarray:
    """Coefficients (observation, column) of each observation's own regression.

    ``columns`` and ``target`` (observation, sample).
    """
    design = np.stack(columns, -1)
    gram = np.einsum("nsi,nsj->nij", design, design)
    pull = np.einsum("nsi,ns->ni", design, target)
    ridge = FLOOR * np.trace(gram, axis1=1, axis2=2)[:, None, None] * np.eye(len(columns))
    return np.asarray(np.linalg.solve(gram + ridge, pull[..., None])[..., 0])
