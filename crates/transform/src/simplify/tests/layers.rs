//! Layers: BatchNormalization and Pad into the layer before or after them, Dropout.

use plimsoll_onnx::{Tensor, attr, node, proto::AttributeProto};

use super::*;
use crate::testing::{F32, Net};

/// Parameters of a normalisation of `n` channels, as values `g b m v`.
fn parameters(net: Net, n: usize) -> Net {
    let spread: Vec<f32> = (0..n).map(|i| 0.5 + i as f32 / 8.0).collect();
    net.random("g", &[n]).random("b", &[n]).random("m", &[n]).weight("v", &Tensor::vector(&spread))
}

fn normalised(layer: plimsoll_onnx::proto::NodeProto, weight: &[usize], channels: usize, input: &[i64]) -> Net {
    parameters(Net::new().input("x", F32, input).random("w", weight), channels)
        .node(layer)
        .node(node::new("BatchNormalization", &["c", "g", "b", "m", "v"], &["y"]))
        .output("y", F32)
}

fn conv(attributes: Vec<AttributeProto>) -> plimsoll_onnx::proto::NodeProto {
    node::with("Conv", &["x", "w"], &["c"], attributes)
}

#[test]
fn batch_norm_goes_into_conv() {
    let model = normalised(conv(vec![]), &[4, 3, 3, 3], 4, &[-1, 3, 6, 6]).build();
    let found = check(&model, "Conv");
    assert_eq!(weights(&found).len(), 2, "{:?}", weights(&found));
}

#[test]
fn batch_norm_goes_into_grouped_and_transposed_layers() {
    let grouped = conv(vec![attr::from_int("group", 2)]);
    check(&normalised(grouped, &[6, 2, 3, 3], 6, &[1, 4, 6, 6]).build(), "Conv");
    let transposed = node::with("ConvTranspose", &["x", "w"], &["c"], vec![attr::from_int("group", 2)]);
    check(&normalised(transposed, &[4, 3, 2, 2], 6, &[1, 4, 5, 5]).build(), "ConvTranspose");
    let gemm = node::with("Gemm", &["x", "w"], &["c"], vec![attr::from_int("transB", 1)]);
    check(&normalised(gemm, &[5, 4], 5, &[-1, 4]).build(), "Gemm");
    check(&normalised(node::new("Gemm", &["x", "w"], &["c"]), &[4, 5], 5, &[-1, 4]).build(), "Gemm");
}

#[test]
fn batch_norm_stays_after_a_scaled_gemm() {
    let gemm = node::with("Gemm", &["x", "w"], &["c"], vec![attr::from_float("alpha", 0.5)]);
    check(&normalised(gemm, &[4, 5], 5, &[-1, 4]).build(), "Gemm BatchNormalization");
}

#[test]
fn batch_norm_in_training_stays() {
    let mut net = normalised(conv(vec![]), &[4, 3, 3, 3], 4, &[1, 3, 6, 6]);
    attr::set(&mut net.graph().node[1], attr::from_int("training_mode", 1));
    check_unrun(&net.build(), "Conv BatchNormalization");
    let mut net = normalised(conv(vec![]), &[4, 3, 3, 3], 4, &[1, 3, 6, 6]).opset(9);
    net.graph().node[1].output.push("mean".into());
    check_unrun(&net.build(), "Conv BatchNormalization");
    // Before operator set 7 training is the default.
    check_unrun(&normalised(conv(vec![]), &[4, 3, 3, 3], 4, &[1, 3, 6, 6]).opset(6).build(), "Conv BatchNormalization");
}

#[test]
fn batch_norm_stays_where_others_read_the_conv() {
    let net = normalised(conv(vec![]), &[4, 3, 3, 3], 4, &[1, 3, 6, 6]).node(node::new("Relu", &["c"], &["z"]));
    check(&net.output("z", F32).build(), "Conv BatchNormalization Relu");
    let net = normalised(conv(vec![]), &[4, 3, 3, 3], 4, &[1, 3, 6, 6]).output("c", F32);
    check(&net.build(), "Conv BatchNormalization");
}

#[test]
fn a_weight_that_two_layers_share_is_changed_for_one() {
    let net = normalised(conv(vec![]), &[4, 3, 3, 3], 4, &[1, 3, 6, 6]);
    let net = net.node(node::new("Conv", &["x", "w"], &["z"])).output("z", F32);
    let found = check(&net.build(), "Conv Conv");
    assert!(weights(&found).contains(&"w"));
}

#[test]
fn what_a_caller_may_override_is_not_folded() {
    let mut net = normalised(conv(vec![]), &[4, 3, 3, 3], 4, &[1, 3, 6, 6]);
    net.graph().input.push(crate::testing::value("g", F32, Some(&[4])));
    check(&net.build(), "Conv BatchNormalization");
    // Before IR version 4 every initializer was an input, and none could be overridden.
    let mut net = normalised(conv(vec![]), &[4, 3, 3, 3], 4, &[1, 3, 6, 6]).ir(3).opset(8);
    for (name, dims) in [("w", &[4, 3, 3, 3][..]), ("g", &[4]), ("b", &[4]), ("m", &[4]), ("v", &[4])] {
        net.graph().input.push(crate::testing::value(name, F32, Some(dims)));
    }
    check(&net.build(), "Conv BatchNormalization");
}

fn padded(pads: &[i64], attributes: Vec<AttributeProto>, conv: Vec<AttributeProto>) -> Net {
    Net::new()
        .input("x", F32, &[1, 3, 6, 6])
        .weight("p", &Tensor::vector(pads))
        .random("w", &[4, 3, 3, 3])
        .node(node::with("Pad", &["x", "p"], &["q"], attributes))
        .node(node::with("Conv", &["q", "w"], &["y"], conv))
        .output("y", F32)
}

#[test]
fn asymmetric_pads_are_added_up() {
    let own = vec![attr::from_ints("pads", &[0, 1, 2, 0])];
    let found = check(&padded(&[0, 0, 1, 0, 0, 0, 2, 3], vec![], own).build(), "Conv");
    assert_eq!(attr::ints(&found.graph().node[0], "pads"), Some(&[1, 1, 4, 3][..]));
    let valid = vec![attr::from_string("auto_pad", "VALID")];
    let found = check(&padded(&[0, 0, 1, 0, 0, 0, 2, 3], vec![], valid).build(), "Conv");
    assert_eq!(attr::ints(&found.graph().node[0], "pads"), Some(&[1, 0, 2, 3][..]));
}

#[test]
fn pads_that_a_conv_cannot_express_stay() {
    let kept = "Pad Conv";
    check(&padded(&[0, 0, 1, 1, 0, 0, 1, 1], vec![attr::from_string("mode", "reflect")], vec![]).build(), kept);
    check(&padded(&[0, 0, 1, 1, 0, 0, 1, 1], vec![attr::from_string("mode", "edge")], vec![]).build(), kept);
    check_unrun(&padded(&[0, 0, -1, 0, 0, 0, 0, 0], vec![], vec![]).build(), kept);
    let same = vec![attr::from_string("auto_pad", "SAME_UPPER")];
    check(&padded(&[0, 0, 1, 1, 0, 0, 1, 1], vec![], same).build(), kept);
    // Channels are not places.
    let mut net = padded(&[0, 1, 0, 0, 0, 0, 0, 0], vec![], vec![]);
    net.graph().initializer.retain(|t| t.name != "w");
    check(&net.random("w", &[4, 4, 3, 3]).build(), kept);
    // A value other than zero.
    let mut net = padded(&[0, 0, 1, 1, 0, 0, 1, 1], vec![], vec![]).weight("one", &Tensor::scalar(1f32));
    net.graph().node[0].input.push("one".into());
    check(&net.build(), kept);
}

#[test]
fn a_pad_that_others_read_stays() {
    let net = padded(&[0, 0, 1, 1, 0, 0, 1, 1], vec![], vec![]).node(node::new("Relu", &["q"], &["z"]));
    check(&net.output("z", F32).build(), "Pad Conv Relu");
}

#[test]
fn pads_given_as_attribute_are_read_too() {
    let pads = attr::from_ints("pads", &[0, 0, 1, 1, 0, 0, 1, 1]);
    let net = Net::new().opset(9).input("x", F32, &[1, 3, 6, 6]).random("w", &[4, 3, 3, 3]);
    let net = net.node(node::with("Pad", &["x"], &["q"], vec![pads])).node(node::new("Conv", &["q", "w"], &["y"]));
    check(&net.output("y", F32).build(), "Conv");
}

fn dropped(inputs: &[&str], outputs: &[&str]) -> Net {
    let net = Net::new().input("x", F32, &[-1, 4]).weight("r", &Tensor::scalar(0.5f32));
    let net = net.weight("yes", &Tensor::scalar(true)).weight("no", &Tensor::scalar(false));
    net.node(node::new("Dropout", inputs, outputs)).node(node::new("Relu", &["d"], &["y"])).output("y", F32)
}

#[test]
fn dropout_goes_where_it_does_nothing() {
    check(&dropped(&["x"], &["d"]).build(), "Relu");
    check(&dropped(&["x", "r", "no"], &["d", "mask"]).build(), "Relu");
    check(&dropped(&["x"], &["d"]).opset(9).build(), "Relu");
}

#[test]
fn dropout_in_training_or_with_a_mask_stays() {
    check_unrun(&dropped(&["x", "r", "yes"], &["d"]).build(), "Dropout Relu");
    check_unrun(&dropped(&["x", "r", "t"], &["d"]).input("t", 9, &[]).build(), "Dropout Relu");
    check_unrun(&dropped(&["x"], &["d", "mask"]).output("mask", 9).build(), "Dropout Relu");
    // Before operator set 7 training is the default.
    check_unrun(&dropped(&["x"], &["d"]).opset(6).build(), "Dropout Relu");
}
