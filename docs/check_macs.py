#!/usr/bin/env python3
"""Multiply-accumulates and parameters as `inspect` counts them, beside those of the onnx-tool package, node by node.

    python docs/check_macs.py [--suite] [MODEL[:INPUT=1x3x32x32,…]]...   without arguments the fixtures

`--suite` adds the models that come with the onnx package (its backend test suite but for the tests of single operators). Needs the
packages onnx and onnx-tool (1.0.1), and cargo, or the path of the binary in the environment variable PLIMSOLL.

What onnx-tool counts otherwise is allowed for, and explained in docs/cost.md: it gives element-wise operators, pools and normalizations a
count of their own (only products are compared), adds one for each element that a bias is added to, counts no parameters in Constant
nodes, none that are inputs of the graph and none for scalars, does not go into branches, gives one figure for products, biases and sigmoids of recurrent
layers, and multiplies the outputs of a ConvTranspose by the whole kernel. Prints one line a model and one for each difference that is
left; ends with 1 where there is one.
"""
import contextlib
import glob
import io
import json
import math
import os
import subprocess
import sys
import tempfile
import warnings

import onnx
import onnx_tool
from onnx_tool.node import NODE_REGISTRY, GlobalAveragePoolNode

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# A shape rule that onnx-tool lacks.
NODE_REGISTRY.register(type("GlobalMaxPoolNode", (GlobalAveragePoolNode,), {}))
PRODUCTS = ("Conv", "Gemm", "MatMul", "ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul")


def inspected(path):
    command = [os.environ["PLIMSOLL"]] if "PLIMSOLL" in os.environ else ["cargo", "xtask"]
    run = subprocess.run([*command, "inspect", path, "--json"], cwd=ROOT, capture_output=True, text=True)
    if run.returncode:
        raise SystemExit(f"plimsoll inspect {path}: {run.stderr.strip()}")
    return json.loads(run.stdout)


def settled(path, given, work):
    """The same model with a name for each node, by which both tools tell them, and sizes for open dimensions of its inputs."""
    model = onnx.load(path)
    for i, node in enumerate(model.graph.node):
        node.name = f"{i}:{node.op_type}"
    for value in model.graph.input:
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            dim.dim_value = given[value.name][axis] if value.name in given else max(dim.dim_value, 0) or 1
    copy = os.path.join(work, "settled.onnx")
    onnx.save(model, copy)
    return model, copy


def counted(path):
    """Products of each node and all parameters by onnx-tool; the second is why there are none."""
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            graph = onnx_tool.Model(path, {"verbose": False, "constant_folding": False}).graph
            graph.shape_infer(None)
            graph.profile()
    except Exception as error:
        return None, f"{type(error).__name__}: {error}"
    return ({name: int(node.macs[0]) for name, node in graph.nodemap.items()}, int(graph.params)), None


def biases(node, shape):
    """What onnx-tool adds: one for each element that a Gemm or a Conv adds a bias to."""
    has = node.op_type in ("Conv", "Gemm") and len(node.input) > 2 and node.input[2]
    return math.prod(shape) if has else 0


def graphs_in(node):
    for attribute in node.attribute:
        yield from ([attribute.g] if attribute.HasField("g") else [])
        yield from attribute.graphs


def elements(tensor):
    return math.prod(tensor.dims)


def beyond_initializers(graph, found):
    """Parameters that onnx-tool passes over: in Constant nodes that some node reads, in bodies, in inputs of the graph, and those
    initializers that bodies alone read."""

    def constants(nodes):
        for node in nodes:
            if node.op_type == "Constant":
                yield node.output[0], sum(elements(a.t) for a in node.attribute if a.name == "value")

    def reads(graph):
        names = {name for node in graph.node for name in node.input}
        return names.union(*(reads(body) for node in graph.node for body in graphs_in(node)), {o.name for o in graph.output})

    def within(graph):
        held = sum(elements(t) for t in graph.initializer) + sum(n for _, n in constants(graph.node))
        return held + sum(within(body) for node in graph.node for body in graphs_in(node))

    bodies = [body for node in graph.node for body in graphs_in(node)]
    direct = {name for node in graph.node for name in node.input}
    captured = set().union(*(reads(body) for body in bodies)) if bodies else set()
    sum_of = sum(n for name, n in constants(graph.node) if name in direct | captured)
    sum_of += sum(elements(t) for t in graph.initializer if t.name in captured - direct)
    sum_of += sum(within(body) for body in bodies)
    # A scalar has no dimensions to multiply.
    sum_of += sum(1 for t in graph.initializer if not t.dims and t.name in direct)
    fed = {absent["name"] for absent in found.get("absent", []) if absent["reason"] == "it is an input of the graph"}
    sizes = {v.name: math.prod(d.dim_value for d in v.type.tensor_type.shape.dim) for v in graph.input}
    return sum_of + sum(sizes[name] for name in fed)


def compare(path, given, work):
    """Prints the line of a model; gives the number of differences, and whether onnx-tool could count it."""
    model, copy = settled(path, given, work)
    found = inspected(copy)
    ours = {n["name"]: n for n in found["nodes"]}
    theirs, why = counted(copy)
    name = os.path.join(*os.path.normpath(os.path.abspath(path)).split(os.sep)[-2:])
    if theirs is None:
        print(f"{name}: inspect {found['totals']['macs']}; onnx-tool cannot count it ({why[:80]})")
        return 0, False
    theirs, params = theirs
    pairs = {}
    for node in (n for n in model.graph.node if n.op_type in PRODUCTS):
        mine = ours[node.name]
        pairs[node.name] = (mine["macs"], theirs[node.name] - biases(node, mine["shape"] or []))
    beyond = beyond_initializers(model.graph, found)
    pairs["parameters"] = (found["totals"]["params"], params + beyond)
    totals = [sum(n or 0 for n in column) for column in zip(*(pair for name, pair in pairs.items() if name != "parameters"))] or [0, 0]
    and_beyond = f" + {beyond}" if beyond else ""
    print(f"{name}: {len(pairs) - 1} nodes, inspect {totals[0]}, onnx-tool {totals[1]}; parameters {pairs['parameters'][0]}, {params}{and_beyond}")
    different = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
    for node, (mine, other) in different.items():
        print(f"    {node}: inspect {mine}, onnx-tool {other}")
    return len(different), True


def main():
    arguments = sys.argv[1:]
    if "--suite" in arguments:
        arguments.remove("--suite")
        data = os.path.join(os.path.dirname(onnx.__file__), "backend", "test", "data")
        # Models without numbers: sequences, strings, gradients.
        arguments += sorted(p for p in glob.glob(f"{data}/**/*.onnx", recursive=True) if "/node/" not in p)
    arguments = arguments or [f"{ROOT}/fixtures/{name}/model.onnx" for name in ("sleep-wake", "digits")]
    wrong = same = uncounted = 0
    with tempfile.TemporaryDirectory() as work:
        for argument in arguments:
            path, _, sizes = argument.partition(":")
            given = dict(one.rsplit("=", 1) for one in sizes.split(",") if one)
            given = {k: [int(d) for d in v.split("x")] for k, v in given.items()}
            differences, could = compare(path, given, work)
            wrong += differences > 0
            same += could and not differences
            uncounted += not could
    print(f"{same} models are the same, {wrong} differ, {uncounted} onnx-tool cannot count")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
