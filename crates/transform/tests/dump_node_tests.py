#!/usr/bin/env python3
"""Write the ONNX backend tests of the installed `onnx` wheel to a folder, for `cargo xtask node-tests FOLDER`.

    python dump_node_tests.py FOLDER

One folder a case: `model.onnx`, `test_data_set_N/input_M.pb` and `output_M.pb` (a TensorProto each; sequences, optionals and
maps are written as the type that the model declares). Node cases are generated, the others (`simple`, `pytorch-converted`,
`pytorch-operator`) are copied from the wheel. Prints how many cases of each kind there are.
"""

import pathlib
import shutil
import sys
import warnings

import onnx
from onnx import numpy_helper
from onnx.backend.test.loader import load_model_tests

COPIED = ("simple", "pytorch-converted", "pytorch-operator")


def encode(value, declared):
    """The value of an input or output, as the wire type that its declaration names."""
    if isinstance(value, onnx.TensorProto):
        message = onnx.TensorProto()
        message.CopyFrom(value)
        message.name = declared.name
    elif declared.type.HasField("map_type"):
        message = numpy_helper.from_dict(value, declared.name)
    elif declared.type.HasField("sequence_type"):
        message = numpy_helper.from_list(value, declared.name)
    elif declared.type.HasField("optional_type"):
        message = numpy_helper.from_optional(value, declared.name)
    else:
        message = numpy_helper.from_array(value, declared.name)
    return message.SerializeToString()


def write(case, folder):
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(case.model.SerializeToString())
    for number, (inputs, outputs) in enumerate(case.data_sets):
        data = folder / f"test_data_set_{number}"
        data.mkdir()
        for kind, values, declared in (("input", inputs, case.model.graph.input), ("output", outputs, case.model.graph.output)):
            for index, (value, info) in enumerate(zip(values, declared)):
                (data / f"{kind}_{index}.pb").write_bytes(encode(value, info))


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    root = pathlib.Path(sys.argv[1])
    if root.exists() and any(root.iterdir()):
        sys.exit(f"{root} is not empty")
    warnings.simplefilter("ignore")
    counts = {}
    for case in load_model_tests(kind="node"):
        write(case, root / "node" / case.name)
        counts["node"] = counts.get("node", 0) + 1
    for kind in COPIED:
        for case in load_model_tests(kind=kind):
            shutil.copytree(case.model_dir, root / kind / case.name)
            counts[kind] = counts.get(kind, 0) + 1
    for kind, count in counts.items():
        print(f"{count} {kind} cases of onnx {onnx.__version__} written to {root}")


if __name__ == "__main__":
    main()
