#!/usr/bin/env python3
"""Multiply-accumulates as `inspect` counts them, beside those of the onnx-tool package, node by node.

    python docs/check_macs.py MODEL[:INPUT=1x3x32x32,…]...   without arguments the fixtures

Needs the packages onnx and onnx-tool (1.0.1), and cargo, or the path of the binary in the environment variable PLIMSOLL. Compares the
nodes that multiply by weights or by each other: Conv, Gemm, MatMul. What onnx-tool counts besides is left out: it gives element-wise
operators, pools and normalizations a count of their own, and one for each element that a bias is added to; `inspect` counts products
only. Two operators cannot be compared: of an LSTM it gives one figure for products, biases, sigmoids and all, and for ConvTranspose it
multiplies the outputs by the output channels and the whole kernel, where each input meets each weight of its channel once. Prints one line a model and one for each node that differs; ends with 1 where there is one.
"""
import json
import math
import os
import subprocess
import sys
import tempfile

import onnx
import onnx_tool
from onnx_tool.node import NODE_REGISTRY, GlobalAveragePoolNode

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# A shape rule that onnx-tool lacks.
NODE_REGISTRY.register(type("GlobalMaxPoolNode", (GlobalAveragePoolNode,), {}))
PRODUCTS = ("Conv", "Gemm", "MatMul")


def inspected(path):
    command = [os.environ["PLIMSOLL"]] if "PLIMSOLL" in os.environ else ["cargo", "xtask"]
    run = subprocess.run([*command, "inspect", path, "--json"], cwd=ROOT, capture_output=True, text=True)
    if run.returncode:
        raise SystemExit(f"plimsoll inspect {path}: {run.stderr.strip()}")
    return {n["name"]: n for n in json.loads(run.stdout)["nodes"]}


def settled(path, given, work):
    """The same model with a name for each node, by which both tools tell them, and sizes for open dimensions of its inputs."""
    model = onnx.load(path)
    for i, node in enumerate(model.graph.node):
        node.name = f"{i}:{node.op_type}"
    for value in model.graph.input:
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            dim.dim_value = given[value.name][axis] if value.name in given else dim.dim_value or 1
    copy = os.path.join(work, "settled.onnx")
    onnx.save(model, copy)
    return model, copy


def counted(path):
    found = onnx_tool.Model(path, {"verbose": False, "constant_folding": False})
    try:
        found.graph.shape_infer(None)
        found.graph.profile()
    except Exception as error:
        raise SystemExit(f"onnx-tool cannot count this model: {error!r}") from error
    return {name: int(node.macs[0]) for name, node in found.graph.nodemap.items()}


def biases(node, shape):
    """What onnx-tool adds: one for each element that a Gemm or a Conv adds a bias to."""
    has = node.op_type in ("Conv", "Gemm") and len(node.input) > 2 and node.input[2]
    return math.prod(shape) if has else 0


def main():
    wrong = 0
    arguments = sys.argv[1:] or [f"{ROOT}/fixtures/{name}/model.onnx" for name in ("sleep-wake", "digits")]
    with tempfile.TemporaryDirectory() as work:
        for argument in arguments:
            path, _, sizes = argument.partition(":")
            given = dict(one.split("=") for one in sizes.split(",") if one)
            given = {k: [int(d) for d in v.split("x")] for k, v in given.items()}
            model, copy = settled(path, given, work)
            ours, theirs = inspected(copy), counted(copy)
            pairs = {}
            for node in (n for n in model.graph.node if n.op_type in PRODUCTS):
                mine = ours[node.name]
                pairs[node.name] = (mine["macs"], theirs[node.name] - biases(node, mine["shape"] or []))
            totals = [sum(column) for column in zip(*pairs.values())] or [0, 0]
            name = os.path.relpath(path, os.path.dirname(os.path.dirname(os.path.abspath(path))))
            print(f"{name}: {len(pairs)} nodes, inspect {totals[0]}, onnx-tool {totals[1]}")
            for node, (mine, other) in pairs.items():
                if mine != other:
                    wrong += 1
                    print(f"    {node}: inspect {mine}, onnx-tool {other}")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
