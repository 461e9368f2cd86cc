#!/usr/bin/env python3
"""Recurrent layers with half their units: that nothing but the units is missing, in onnxruntime and in tract.

    python docs/check_pruned_recurrent.py [--operator LSTM|GRU]...

Needs fixtures/requirements.txt and cargo, or the path of the binary in the environment variable PLIMSOLL. Trains an LSTM and a GRU of
64 units, forward and bidirectional, on simulated breathing (regular, periodic, irregular, pausing; two sensors with noise and drift),
writes each as ONNX, has `prune` remove units until 32 are left, and holds the result, unrepaired, against the original in which the
weights that read the missing units are zero. Prints one line each: accuracy of the original, of the pruned model, and of one repaired
with 256 unlabelled samples; the largest error against the masked original in either executor. Ends with 1 where it is above 1e-4 of
the largest output, or a file does not pass the ONNX checker.
"""
import argparse
import os
import subprocess
import sys
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
STEPS, WIDTH, HIDDEN, LEFT, CLASSES = 48, 2, 64, 32, 4
GATES = {"LSTM": 4, "GRU": 3}
MOST = 1e-4


def plimsoll(*arguments, refusable=False):
    command = [os.environ["PLIMSOLL"]] if "PLIMSOLL" in os.environ else ["cargo", "xtask"]
    run = subprocess.run([*command, *arguments], cwd=ROOT, capture_output=True, text=True)
    if run.returncode and not (refusable and run.returncode == 97):
        raise SystemExit(f"plimsoll {' '.join(arguments)}: {run.stderr.strip()}")
    return run.returncode == 0


def breathing(count, seed):
    """Two sensors over a breathing chest, and which pattern it breathes in."""
    draw = np.random.default_rng(seed)
    label = draw.integers(0, CLASSES, count)
    time = np.arange(STEPS) / 4
    rate = draw.uniform(0.18, 0.38, (count, 1)) + 0.08 * np.cumsum(draw.normal(0, 0.12, (count, STEPS)), 1) * (label == 2)[:, None]
    wave = np.sin(2 * np.pi * (rate * time + draw.uniform(0, 1, (count, 1))))
    swell = 0.5 + 0.5 * np.sin(2 * np.pi * (time / 9 + draw.uniform(0, 1, (count, 1))))
    pause = (time > draw.uniform(2, 6, (count, 1))) & (time < draw.uniform(7, 11, (count, 1)))
    depth = np.where((label == 1)[:, None], swell, np.where((label == 3)[:, None] & pause, 0.05, 1.0))
    gain = draw.uniform(0.6, 1.4, (count, 1, 2))
    drift = np.cumsum(draw.normal(0, 0.05, (count, STEPS, 2)), 1)
    x = gain * (wave * depth)[:, :, None] * np.array([1.0, -0.6]) + drift + draw.normal(0, 0.25, (count, STEPS, 2))
    return x.astype(np.float32), label.astype(np.int64)


def one_direction(operator, w, r, b, x):
    """The layer as ONNX defines it, over [steps, batch, width]; gates i o f c, or z r h with the reset behind the product."""
    split = lambda v: jnp.split(v, GATES[operator], -1)
    before, behind = jnp.split(b, 2)

    def lstm(state, x):
        h, c = state
        i, o, f, g = split(x @ w.T + h @ r.T + before + behind)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    def gru(state, x):
        h, _ = state
        (xz, xr, xh), (hz, hr, hh) = split(x @ w.T + before), split(h @ r.T + behind)
        z, reset = jax.nn.sigmoid(xz + hz), jax.nn.sigmoid(xr + hr)
        h = (1 - z) * jnp.tanh(xh + reset * hh) + z * h
        return (h, h), h

    zero = jnp.zeros((x.shape[1], HIDDEN))
    return jax.lax.scan(lstm if operator == "LSTM" else gru, (zero, zero), x)[1]


def logits(operator, weights, x):
    """All hidden states, averaged over time, into a dense layer."""
    x = jnp.transpose(x, (1, 0, 2))
    states = []
    for d in range(weights["w"].shape[0]):
        w, r, b = (weights[k][d] for k in "wrb")
        run = one_direction(operator, w, r, b, x if d == 0 else x[::-1])
        states.append(run if d == 0 else run[::-1])
    return jnp.concatenate(states, -1).mean(0) @ weights["v"] + weights["c"]


def trained(operator, directions):
    draw = np.random.default_rng(len(operator) * 10 + directions)
    rows = GATES[operator] * HIDDEN
    shapes = {
        "w": ((directions, rows, WIDTH), WIDTH**-0.5),
        "r": ((directions, rows, HIDDEN), HIDDEN**-0.5),
        "b": ((directions, 2 * rows), 0.0),
        "v": ((directions * HIDDEN, CLASSES), HIDDEN**-0.5),
        "c": ((CLASSES,), 0.0),
    }
    weights = {k: jnp.asarray(draw.normal(0, 1, s) * scale, jnp.float32) for k, (s, scale) in shapes.items()}
    x, label = breathing(4096, 1)

    def loss(weights, x, label):
        return -jnp.take_along_axis(jax.nn.log_softmax(logits(operator, weights, x)), label[:, None], 1).mean()

    @jax.jit
    def step(weights, first, second, count, x, label):
        slope = jax.grad(loss)(weights, x, label)
        first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, slope)
        second = jax.tree.map(lambda v, g: 0.99 * v + 0.01 * g * g, second, slope)
        move = lambda w, m, v: w - 3e-3 * (m / (1 - 0.9**count)) / (jnp.sqrt(v / (1 - 0.99**count)) + 1e-8)
        return jax.tree.map(move, weights, first, second), first, second

    first = second = jax.tree.map(jnp.zeros_like, weights)
    for count in range(1, 401):
        batch = draw.integers(0, len(x), 128)
        weights, first, second = step(weights, first, second, count, x[batch], label[batch])
    return {k: np.asarray(v) for k, v in weights.items()}


def write(operator, weights, path):
    directions = weights["w"].shape[0]
    attributes = {"hidden_size": HIDDEN, "direction": "bidirectional" if directions == 2 else "forward"}
    if operator == "GRU":
        attributes["linear_before_reset"] = 1
    constants = {**weights, "flat": np.array([0, 0, -1], np.int64)}
    nodes = [
        helper.make_node("Transpose", ["x"], ["steps"], perm=[1, 0, 2]),
        helper.make_node(operator, ["steps", "w", "r", "b"], ["states"], name="recurrent", **attributes),
        helper.make_node("Transpose", ["states"], ["aside"], perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", ["aside", "flat"], ["together"]),
        helper.make_node("ReduceMean", ["together"], ["mean"], axes=[0], keepdims=0),
        helper.make_node("Gemm", ["mean", "v", "c"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "breathing",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", STEPS, WIDTH])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", CLASSES])],
        [numpy_helper.from_array(v, k) for k, v in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def recurrent(path):
    """W, R and B of the only recurrent layer of a file."""
    model = onnx.load(path)
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    node = next(n for n in model.graph.node if n.op_type in GATES)
    return [constants[name] for name in node.input[1:4]]


def masked(operator, weights, path):
    """The original with zeros in whatever reads a unit that the pruned file lacks."""
    rows = lambda w, r, b, units, u: np.concatenate([w[:, u::units].ravel(), b[:, u::units].ravel()])
    w, r, b = recurrent(path)
    left = w.shape[1] // GATES[operator]
    there = {rows(w, r, b, left, u).tobytes() for u in range(left)}
    gone = [u for u in range(HIDDEN) if rows(weights["w"], None, weights["b"], HIDDEN, u).tobytes() not in there]
    changed = {k: v.copy() for k, v in weights.items()}
    changed["r"][:, :, gone] = 0
    for d in range(w.shape[0]):
        changed["v"][[d * HIDDEN + u for u in gone]] = 0
    return changed, left, len(gone)


def halved(work, *options):
    """Prunes until LEFT units are left: the share of parameters is searched for."""
    low, high = 0.3, 0.9
    for _ in range(14):
        share = (low + high) / 2
        done = plimsoll("prune", f"{work}/model.onnx", "-o", f"{work}/pruned.onnx", "--remove-params", f"{share:.4f}", *options, refusable=True)
        units = recurrent(f"{work}/pruned.onnx")[1].shape[2] if done else 0
        if units == LEFT:
            return
        low, high = (share, high) if units > LEFT else (low, share)
    raise SystemExit(f"no share of the parameters leaves {LEFT} units: {units}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--operator", action="append", choices=GATES)
    operators = parser.parse_args().operator or list(GATES)
    (calib, _), (test, label) = breathing(256, 2), breathing(1024, 3)
    worst = 0.0
    with tempfile.TemporaryDirectory() as work:
        at = lambda name: os.path.join(work, name)
        np.savez(at("calib.npz"), x=calib)
        np.savez(at("test.npz"), x=test, label=label)

        def run(path):
            onnx.checker.check_model(onnx.load(path), full_check=True)
            session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
            plimsoll("evaluate", path, "--data", at("test.npz"), "--save-scores", at("scores.npy"))
            return session.run(None, {"x": test})[0], np.load(at("scores.npy"))

        accuracy = lambda scores: float((scores.argmax(1) == label).mean())
        for operator in operators:
            for directions in (1, 2):
                weights = trained(operator, directions)
                write(operator, weights, at("model.onnx"))
                original, _ = run(at("model.onnx"))
                halved(work, "--repair", "none", "--score", "magnitude")
                zeroed, left, gone = masked(operator, weights, at("pruned.onnx"))
                write(operator, zeroed, at("masked.onnx"))
                expected, _ = run(at("masked.onnx"))
                found = run(at("pruned.onnx"))
                errors = [float(np.abs(f - expected).max() / np.abs(expected).max()) for f in found]
                halved(work, "--data", at("calib.npz"))
                repaired, _ = run(at("pruned.onnx"))
                print(
                    f"{operator:<4} x{directions}  {left + gone} → {left} units   accuracy {accuracy(original):.3f} → {accuracy(found[0]):.3f}, "
                    f"repaired {accuracy(repaired):.3f}   error against masked units in onnxruntime {errors[0]:.1e}, in tract {errors[1]:.1e}",
                    flush=True,
                )
                worst = max(worst, *errors)
    sys.exit(worst > MOST)


if __name__ == "__main__":
    main()
