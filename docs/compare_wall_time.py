#!/usr/bin/env python3
"""How long quantizing takes: our whole command beside the whole process of onnxruntime's MinMax calibration, per channel.

    python docs/compare_wall_time.py [--repeat N] [TASK_DIR ...]

A task is a folder with model.onnx and calib.npz (arrays named as the inputs); without any, both fixtures are taken. Needs
.ci/requirements.txt and cargo. The first 256 samples are used by everybody. Commands take turns, and medians are compared: the ratios
hold for one machine, and only where nothing else runs on it. Where onnxruntime fails on a model, it is asked again for Conv and MatMul
alone, and the table says so.
"""
import os
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

from compare_quantizers import ROOT, SAMPLES, Reader, fixed_batch, session


def onnxruntime(model, data, out, only):
    """What a user's script would do."""
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process
    prepared = out + ".prepared"
    quant_pre_process(model, prepared, skip_symbolic_shape=True)
    with np.load(data) as z:
        samples = {k: z[k] for k in z.files}
    batch = fixed_batch(session(prepared)) or 16
    quantize_static(prepared, out, Reader(samples, batch), quant_format=QuantFormat.QDQ, per_channel=True, weight_type=QuantType.QInt8,
                    activation_type=QuantType.QUInt8, calibrate_method=CalibrationMethod.MinMax, op_types_to_quantize=only or None)


def seconds(command):
    start = time.perf_counter()
    ran = subprocess.run(command, capture_output=True, text=True)
    return time.perf_counter() - start, ran


def main():
    arguments = sys.argv[1:]
    if arguments[:1] == ["--onnxruntime"]:
        model, data, out, *only = arguments[1:]
        return onnxruntime(model, data, out, only)
    repeat = 5
    if arguments[:1] == ["--repeat"]:
        repeat, arguments = int(arguments[1]), arguments[2:]
    tasks = arguments or [os.path.join(ROOT, "fixtures", name) for name in ("sleep-wake", "digits")]
    build = ["cargo", "build", "--release", "--locked", "-p", "plimsoll-cli", "--manifest-path", os.path.join(ROOT, "Cargo.toml")]
    subprocess.run(build, check=True)
    target = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
    binary = os.path.join(target, "release", "plimsoll")
    print("| task | onnxruntime | MinMax, no repair | default |\n|---|---|---|---|")
    for task in tasks:
        with tempfile.TemporaryDirectory() as folder:
            data, model = os.path.join(folder, "data.npz"), os.path.join(task, "model.onnx")
            with np.load(os.path.join(task, "calib.npz")) as z:
                np.savez(data, **{k: z[k][:SAMPLES] for k in z.files if k not in ("label", "group")})
            out = os.path.join(folder, "out.onnx")
            theirs = [sys.executable, os.path.abspath(__file__), "--onnxruntime", model, data, out]
            ours = [binary, "quantize", model, "-o", out, "--data", data]
            note = ""
            if seconds(theirs)[1].returncode != 0:
                theirs, note = theirs + ["Conv", "MatMul"], " (Conv and MatMul alone)"
            commands = [theirs, ours + ["--repair", "none", "--calibration", "minmax"], ours]
            times = [[] for _ in commands]
            for _ in range(repeat):
                for command, found in zip(commands, times):
                    took, ran = seconds(command)
                    if ran.returncode != 0:
                        sys.exit(f"{' '.join(command)}\n{ran.stderr}")
                    found.append(took)
            base, *rest = (statistics.median(found) for found in times)
            ratios = " | ".join(f"{value:.2f} s, {value / base:.2f} ×" for value in rest)
            print(f"| {os.path.basename(os.path.abspath(task))} | {base:.2f} s{note} | {ratios} |", flush=True)


if __name__ == "__main__":
    main()
