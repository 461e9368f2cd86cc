#!/usr/bin/env python3
"""Random contracts: each adapter is accepted by onnx.checker, and does what NumPy does of the contract's words.

    python docs/check_adapters.py [--cases N] [--seed N]

Needs .ci/requirements.txt and cargo, or the path of the binary in the environment variable PLIMSOLL. Draws small models and
contracts that an adapter can bridge (names, dtypes, layouts, joined and parted inputs, windows, sampling rates, gaps, units and
ranges, normalisation, class order, merged classes, meanings, thresholds, operator sets), adapts, and compares the adapted model in
onnxruntime with a conversion written here in NumPy around the original model. Ends with 1 where one differs.
"""
import argparse
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from binary import ROOT

PLIMSOLL = [os.environ["PLIMSOLL"]] if "PLIMSOLL" in os.environ else ["cargo", "xtask"]

BATCH = 3
DTYPES = {"f32": np.float32, "f64": np.float64, "f16": np.float16, "u8": np.uint8, "i16": np.int16, "i32": np.int32, "i64": np.int64}
CLASSES = ["awake", "light", "deep", "dream", "away"]
ort.set_default_logger_severity(3)


class Case:
    """A model, a contract, and what the pipeline delivers."""

    def __init__(self, seed):
        self.r = np.random.default_rng(seed)
        self.image = self.flip(0.3)
        self.channels = self.one([1, 2, 3, 4]) if not self.image else self.one([1, 3])
        self.length = int(self.r.integers(6, 13))
        self.classes = int(self.r.integers(2, 6))
        self.opset = self.one([11, 13, 15, 17, 18, 21])
        self.gives = self.one(["logits", "probabilities"])
        self.integers = self.flip(0.2) and not self.image

    def one(self, choices):
        return choices[int(self.r.integers(len(choices)))]

    def flip(self, chance=0.5):
        return self.r.random() < chance

    def numbers(self, low, high, n):
        return [round(float(x), 3) for x in self.r.uniform(low, high, n)]

    # The model: a layer over the input, pooled, and a matrix over that.
    def model(self, path):
        r, c = self.r, self.channels
        self.model_axes = ["batch", "channel", "height", "width"] if self.image else ["batch", "channel", "time"]
        spatial = [5, self.length] if self.image else [self.length]
        turned = self.flip()
        axes = self.model_axes
        if turned:
            self.model_axes = [axes[0], *axes[2:], axes[1]]
        shape = {"batch": "b", "channel": c, "time": self.length, "height": 5, "width": self.length}
        dims = [shape[a] for a in self.model_axes]
        kernel = [3] * len(spatial)
        pads = self.one([[0] * len(spatial) * 2, [1] * len(spatial) * 2])
        weights = {
            "w": r.normal(0, 0.5, (4, c, *kernel)),
            "v": r.normal(0, 0.5, (self.classes, 4)),
            "u": r.normal(0, 0.5, self.classes),
        }
        nodes, value = [], "x"
        if self.integers:
            nodes.append(helper.make_node("Cast", [value], ["c"], to=TensorProto.FLOAT))
            value = "c"
        if turned:
            perm = [self.model_axes.index(a) for a in axes]
            nodes.append(helper.make_node("Transpose", [value], ["t"], perm=perm))
            value = "t"
        nodes += [
            helper.make_node("Conv", [value, "w"], ["h"], pads=pads),
            helper.make_node("Tanh", ["h"], ["p"]),
            helper.make_node("GlobalAveragePool", ["p"], ["g"]),
            helper.make_node("Flatten", ["g"], ["f"]),
            helper.make_node("Gemm", ["f", "v", "u"], ["s" if self.gives == "probabilities" else "y"], transB=1),
        ]
        if self.gives == "probabilities":
            nodes.append(helper.make_node("Softmax", ["s"], ["y"], axis=1))
        graph = helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("x", TensorProto.INT32 if self.integers else TensorProto.FLOAT, dims)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["b", self.classes])],
            [numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()],
        )
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8), path)

    # What the pipeline delivers, as text of the contract and arrays; and what NumPy makes of them.
    def inputs(self):
        parts = [self.channels]
        if self.channels > 1 and not self.image and self.flip(0.3):
            first = int(self.r.integers(1, self.channels))
            parts = [first, self.channels - first]
        taken = len(parts) == 1 and not self.image and self.flip(0.2)
        side, said = "", ""
        order = [self.one([["batch", "channel", "time"], ["batch", "time", "channel"]]) for _ in parts]
        if self.image:
            order = [self.one([["batch", "channel", "height", "width"], ["batch", "height", "width", "channel"]])]
        if self.channels == 1 and not self.image and self.flip(0.4):
            order = [["batch", "time"]]
            taken = False
        factor = 1 if self.image else self.one([1, 1, 2, 3, 5])
        more = 0 if self.image or self.integers else self.one([0, 0, 2, -1])
        window = self.length * factor + more
        align = self.one(["start", "centre", "end"])
        pad = 1.5
        if self.integers:
            factor, more, window = 1, 0, self.length
        computes = not self.integers
        unit = self.one([None, ("beats/min", "beats/s", 1 / 60, 0.0), ("°C", "°F", 1.8, 32.0)]) if computes else None
        scaled = unit is None and computes and self.flip()
        dtype = self.one(["f32", "f32", "f64", "f16", "u8", "i16", "i32"]) if computes else self.one(["u8", "i16", "i64", "i32"])
        fractions = dtype in ("f32", "f64", "f16")
        low, high = (0.0, 100.0) if not fractions else (-3.0, 5.0)
        gaps = self.one(["never", "nan", "value"]) if fractions else self.one(["never", "value"])
        code = -9.0 if fractions else 77
        if self.image and gaps != "never":
            gaps = "never"
        fill = self.one(["hold", "mean", 0.5])
        norm = self.one([None, "fixed", "channels", "window"]) if computes else None
        mean = self.numbers(-1, 2, 1 if norm == "fixed" else self.channels)
        std = self.numbers(0.5, 3, len(mean))
        had = self.one([None, None, ([1.25], [2.0])]) if fractions and unit is None and norm != "window" else None
        model = 'name = "x"\n'
        names = ["x"] if len(parts) == 1 and self.flip() else [f"in{i}" for i in range(len(parts))]
        arrays, values = {}, []
        for name, channels, axes in zip(names, parts, order):
            sizes = {"batch": BATCH, "channel": channels + 2 * taken, "time": window, "height": 5, "width": self.length}
            shape = [sizes[a] for a in axes]
            x = self.r.uniform(low, high, shape)
            x = x.astype(DTYPES[dtype])
            if not fractions:
                x = np.where(x == code, code + 1, x).astype(DTYPES[dtype])
            if gaps != "never":
                hole = self.r.random(shape) < 0.25
                x = np.where(hole, np.nan if gaps == "nan" else code, x).astype(DTYPES[dtype])
            arrays[name] = x
            dims = ["n" if a == "batch" else sizes[a] for a in axes]
            side += f'[[inputs]]\nname = "{name}"\ndtype = "{dtype}"\nshape = {dims}\naxes = {axes}\nrange = [{low}, {high}]\n'
            if not self.image:
                side += f'sampling-rate = "{factor}Hz"\n'
            if unit:
                side += f'unit = "{unit[0]}"\n'
            if gaps != "never":
                side += f"missing = {chr(34) + 'nan' + chr(34) if gaps == 'nan' else code}\n"
            if had:
                side += f"normalisation = {{ mean = {had[0][0]}, std = {had[1][0]} }}\n"
            # NumPy, from here on.
            y = x.astype(np.float64)
            if axes == ["batch", "time"]:
                y = y[:, None, :]
                axes = ["batch", "channel", "time"]
            y = np.moveaxis(y, axes.index("channel"), 1)
            if taken:
                y = y[:, 1 : 1 + channels]
            values.append(y)
        y = np.concatenate(values, axis=1)
        if more:
            before = {"start": 0, "centre": abs(more) // 2, "end": abs(more)}[align]
            if more > 0:
                y = y[..., before : before + self.length * factor]
            else:
                y = np.pad(y, [(0, 0), (0, 0), (before, -more - before)], constant_values=pad)
            model += f'align = "{align}"\n' + (f"pad = {pad}\n" if more < 0 else "")
        axes = list(self.model_axes)
        model += f"axes = {axes}\n"
        if len(names) > 1:
            model += f'from = {names}\nalong = "channel"\n'
        elif names != ["x"]:
            model += f'from = "{names[0]}"\n'
        if taken:
            model += f"take = {{ channel = [1, {1 + self.channels}] }}\n"
        if not self.image:
            model += 'sampling-rate = "1Hz"\n'
        missing = np.isnan(y) if gaps == "nan" else (y == code) & (gaps == "value")
        if computes and gaps != "never":
            y = np.where(missing, np.nan, y)
        if factor > 1:
            with np.errstate(all="ignore"):
                z = y.reshape(*y.shape[:2], self.length, factor)
                count = (~np.isnan(z)).sum(-1)
                y = np.where(count > 0, np.nansum(z, -1) / np.maximum(count, 1), np.nan)
        # scale and centre
        a, b = 1.0, 0.0
        m0, s0 = (had[0][0], had[1][0]) if had else (0.0, 1.0)
        if unit:
            a, b = unit[2], unit[3]
            model += f'unit = "{unit[1]}"\n'
        if scaled:
            a = (10.0 - 2.0) / (high - low)
            b = 2.0 - a * low
            model += "range = [2.0, 10.0]\n"
        target = lambda c: (mean[c % len(mean)], std[c % len(std)])
        if norm in ("fixed", "channels"):
            model += f"normalisation = {{ mean = {mean}, std = {std} }}\n"
        elif norm == "window":
            model += 'normalisation = "per-window"\n'
        fixed = norm in ("fixed", "channels")
        affine = norm != "window" and (fixed or not had)
        scale = np.array([(a * s0 / target(c)[1]) if fixed else a for c in range(self.channels)])
        shift = np.array([((a * m0 + b - target(c)[0]) / target(c)[1]) if fixed else b for c in range(self.channels)])
        if not affine:
            scale, shift = np.ones(self.channels), np.zeros(self.channels)
        if gaps != "never":
            if computes:
                model += f'missing = "never"\nfill = {chr(34) + fill + chr(34) if isinstance(fill, str) else fill}\n'
                y = filled(y, fill, -shift / scale)
            else:
                model += "missing = 300\n"
                y = np.where(missing, 300, y)
        around = [1] * (y.ndim - 2)
        y = y * scale.reshape(1, -1, *around) + shift.reshape(1, -1, *around)
        if norm == "window":
            over = (2,) if not self.image else (1, 2, 3)
            y = (y - y.mean(over, keepdims=True)) / np.sqrt(y.var(over, keepdims=True) + 1e-5)
        y = np.moveaxis(y, 1, axes.index("channel"))
        return side, "[[model.inputs]]\n" + model, arrays, y.astype(np.int32 if self.integers else np.float32)

    def outputs(self):
        n = self.classes
        own = CLASSES[:n]
        self.theirs = [own[i] for i in self.r.permutation(n)] if self.flip() else own
        merged = n > 2 and self.flip(0.25)
        names = {c: c for c in own}
        if merged:
            names[own[1]] = own[0]
            self.theirs = [c for c in self.theirs if c != own[1]]
        wants = self.one(["logits", "probabilities", "label"])
        threshold = self.one([None, 0.3]) if wants == "label" and len(self.theirs) == 2 else None
        dtype = self.one(["i64", "i32"]) if wants == "label" else self.one(["f32", "f64"])
        axes, shape = (["batch"], ["n"]) if wants == "label" else (["batch", "class"], ["n", len(self.theirs)])
        side = f'[[outputs]]\nname = "out"\ndtype = "{dtype}"\nshape = {shape}\naxes = {axes}\nmeaning = "{wants}"\nlabels = {self.theirs}\n'
        if threshold:
            side += f"threshold = {threshold}\n"
        model = f'[[model.outputs]]\nname = "y"\nto = "out"\naxes = ["batch", "class"]\nmeaning = "{self.gives}"\nlabels = {own}\n'
        if merged:
            model += f'[model.outputs.map]\n{own[1]} = "{own[0]}"\n'

        def reference(y):
            y = y.astype(np.float64)
            sure = np.ones(len(y), bool)
            soft = lambda v: np.exp(v - v.max(1, keepdims=True)) / np.exp(v - v.max(1, keepdims=True)).sum(1, keepdims=True)
            kind = self.gives
            if merged and kind == "logits":
                y, kind = soft(y), "probabilities"
            into = np.zeros((n, len(self.theirs)))
            for i, c in enumerate(own):
                into[i, self.theirs.index(names[c])] = 1
            y = y @ into
            if wants == "probabilities" and kind == "logits":
                y = soft(y)
            if wants == "logits" and kind == "probabilities":
                y = np.log(y)
            if wants == "label":
                if threshold:
                    share = (soft(y) if kind == "logits" else y)[:, 1]
                    sure, y = abs(share - threshold) > 1e-4, (share >= threshold).astype(np.int64)
                else:
                    top = np.sort(y, 1)
                    sure, y = top[:, -1] - top[:, -2] > 1e-4, y.argmax(1)
            return y.astype(DTYPES[dtype]), sure

        return side, model, reference


def filled(y, fill, fallback):
    """Gaps along the last axis."""
    y = y.copy()
    for b in range(y.shape[0]):
        for c in range(y.shape[1]):
            line = y[b, c]
            known = ~np.isnan(line)
            if not isinstance(fill, str):
                line[~known] = fill
            elif not known.any():
                line[:] = fallback[c]
            elif fill == "mean":
                line[~known] = line[known].mean()
            else:
                at = np.maximum.accumulate(np.where(known, np.arange(len(line)), -1))
                line[:] = line[np.where(at < 0, known.argmax(), at)]
    return y


def run(path, feed):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(path, options).run(None, feed)[0]


def check(seed, folder):
    """What is wrong, or nothing; and whether nodes were added."""
    case = Case(seed)
    model, contract, adapted = (os.path.join(folder, name) for name in ("m.onnx", "c.toml", "a.onnx"))
    case.model(model)
    side, said, arrays, x = case.inputs()
    outputs, gives, reference = case.outputs()
    ceiling = f"[executor]\nmax-opset = {case.one([13, 17])}\n" if case.opset > 13 and case.flip(0.3) else ""
    text = "schema = 1\n" + side + outputs + said + gives + ceiling
    with open(contract, "w", encoding="utf-8") as file:
        file.write(text.replace("'", '"'))
    command = [*PLIMSOLL, "adapt", model, "--contract", contract, "-o", adapted, "--json"]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if made.returncode != 0:
        return f"adapt ended with {made.returncode}: {made.stderr}\n{text}"
    written = onnx.load(adapted)
    onnx.checker.check_model(written, full_check=True)
    if ceiling and written.opset_import[0].version > int(ceiling.split()[-1]):
        return f"the operator set is {written.opset_import[0].version}\n{text}"
    expected, sure = reference(run(model, {"x": x}))
    found = run(adapted, arrays)
    if found.dtype != expected.dtype or found.shape != expected.shape:
        return f"{found.dtype} {found.shape} instead of {expected.dtype} {expected.shape}\n{text}"
    # Half precision and small variances leave less than 24 bits.
    if not np.allclose(found[sure], expected[sure], rtol=2e-3, atol=2e-4):
        return f"differs by {abs(found[sure] - expected[sure]).max()}\n{text}"
    return None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(args.seed, args.seed + args.cases):
            try:
                problem = check(seed, folder)
            except Exception as error:
                problem = f"{type(error).__name__}: {error}"
            if problem:
                wrong += 1
                print(f"case {seed}: {problem}", file=sys.stderr)
    print(f"{args.cases - wrong} of {args.cases} random contracts: accepted by onnx.checker and equal to NumPy's conversion")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
