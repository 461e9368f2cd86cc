//! Models and contracts that could go wrong, adapted and proved in tract.

use plimsoll_onnx::{Model, Tensor, attr, check, node, proto::NodeProto};
use plimsoll_profile::Contract;
use plimsoll_runtime::TractExecutor;

use super::*;
use crate::{
    Context,
    testing::{F32, Net},
};

/// The pipeline's input and output, and the model's side.
fn contract(input: &str, output: &str, model: &str) -> Contract {
    Contract::from_text("c.toml", &format!("schema = 1\n[[inputs]]\n{input}\n[[outputs]]\n{output}\n{model}\n"))
        .unwrap()
}

/// Adapts, asks for the proof, and gives the operators that are left.
fn adapted(contract: &Contract, model: &Model) -> (Model, Vec<String>) {
    let compared = compare(contract, model);
    let plan = compared.plan.unwrap_or_else(|| panic!("{:#?}", compared.points));
    let context = Context::new(&TractExecutor);
    let made = build(contract, model, &plan, &context).unwrap().model;
    assert!(check(&made).is_ok());
    let proof = prove(model, &made, &plan, &drawn(contract, 1).unwrap(), &context).unwrap();
    assert!(matches!(proof.against, Against::Same { samples: 32 }), "{:?}", proof.against);
    let operators = made.graph().node.iter().map(|n| n.op_type.clone()).collect();
    (made, operators)
}

const SIGNAL: &str =
    "name = \"x\"\ndtype = \"f32\"\nshape = [\"n\", 4, 9]\naxes = [\"batch\", \"channel\", \"time\"]\nrange = [1, 5]";
const MAP: &str = "name = \"y\"\ndtype = \"f32\"\nshape = [\"n\", 6, 9]\naxes = [\"batch\", \"channel\", \"time\"]\nmeaning = \"value\"";
const NORMALISED: &str =
    "[[model.inputs]]\nname = \"x\"\nnormalisation = { mean = [1, 2, 3, 4], std = [0.5, 1, 2, 4] }";

fn layer(group: i64, pads: &[i64]) -> Net {
    let attributes = vec![attr::from_ints("pads", pads), attr::from_int("group", group)];
    let width = 4 / group as usize;
    Net::new()
        .input("x", F32, &[-1, 4, if pads == [0, 0] { 11 } else { 9 }])
        .random("w", &[6, width, 3])
        .node(node::with("Conv", &["x", "w"], &["y"], attributes))
        .output("y", F32)
}

#[test]
fn a_shift_does_not_go_through_a_padding_and_a_factor_does() {
    for group in [1, 2] {
        let (_, operators) = adapted(&contract(SIGNAL, MAP, NORMALISED), &layer(group, &[1, 1]).build());
        assert_eq!(operators, ["Sub", "Conv"], "{group}");
    }
}

#[test]
fn where_nothing_is_padded_both_go_into_the_layer() {
    let input = SIGNAL.replace("4, 9", "4, 11");
    for group in [1, 2] {
        let (_, operators) = adapted(&contract(&input, MAP, NORMALISED), &layer(group, &[0, 0]).build());
        assert_eq!(operators, ["Conv"], "{group}");
    }
}

#[test]
fn weights_that_others_read_are_not_changed() {
    let net = layer(1, &[1, 1]).node(node::with("Conv", &["x", "w"], &["z"], vec![attr::from_ints("pads", &[1, 1])]));
    let (_, operators) = adapted(&contract(SIGNAL, MAP, NORMALISED), &net.output("z", F32).build());
    // The second layer was an output that the pipeline does not read.
    assert_eq!(operators, ["Sub", "Conv"]);
    let both = vec![
        node::with("Conv", &["x", "w"], &["a"], vec![attr::from_ints("pads", &[1, 1])]),
        node::new("Relu", &["x"], &["r"]),
    ];
    let rest = vec![node::new("ReduceMax", &["r"], &["m"]), node::new("Add", &["a", "m"], &["y"])];
    let net = Net::new().input("x", F32, &[-1, 4, 9]).random("w", &[6, 4, 3]).output("y", F32);
    let net = both.into_iter().chain(rest).fold(net, Net::node);
    let (_, operators) = adapted(&contract(SIGNAL, MAP, NORMALISED), &net.build());
    assert!(operators.contains(&"Mul".to_owned()), "{operators:?}");
}

#[test]
fn names_of_the_pipeline_may_be_those_of_inner_values() {
    let nodes: Vec<NodeProto> = vec![node::new("Relu", &["a"], &["b"]), node::new("Neg", &["b"], &["c"])];
    let model = nodes.into_iter().fold(Net::new().input("a", F32, &[-1, 4]), Net::node).output("c", F32).build();
    let tensor = |name: &str| {
        format!("name = \"{name}\"\ndtype = \"f32\"\nshape = [\"n\", 4]\naxes = [\"batch\", \"feature\"]\n")
    };
    let side = "[[model.inputs]]\nname = \"a\"\nfrom = \"b\"\n[[model.outputs]]\nname = \"c\"\nto = \"a\"";
    let (input, output) = (tensor("b") + "range = [-1, 1]", tensor("a") + "meaning = \"value\"");
    let (made, _) = adapted(&contract(&input, &output, side), &model);
    assert_eq!((made.inputs()[0].name.as_str(), made.outputs()[0].name.as_str()), ("b", "a"));
}

#[test]
fn an_output_that_is_read_inside_stays_right() {
    let model = Net::new()
        .input("x", F32, &[-1, 4])
        .node(node::new("Relu", &["x"], &["y"]))
        .node(node::new("Neg", &["y"], &["z"]))
        .output("y", F32)
        .output("z", F32)
        .build();
    let tensor = |name: &str| {
        format!("name = \"{name}\"\ndtype = \"f32\"\nshape = [\"n\", 4]\naxes = [\"batch\", \"feature\"]\n")
    };
    let outputs: Vec<String> = ["q", "r"].iter().map(|n| tensor(n) + "meaning = \"value\"").collect();
    let side = "[[model.inputs]]\nname = \"x\"\nnormalisation = { mean = 1, std = 2 }\n[[model.outputs]]\nname = \"y\"\nto = \"q\"\n[[model.outputs]]\nname = \"z\"\nto = \"r\"";
    let (made, _) =
        adapted(&contract(&(tensor("x") + "range = [-3, 3]"), &outputs.join("\n[[outputs]]\n"), side), &model);
    assert_eq!(made.outputs().into_iter().map(|o| o.name).collect::<Vec<_>>(), ["q", "r"]);
}

#[test]
fn a_pipeline_without_a_batch_gets_one() {
    let input = "name = \"x\"\ndtype = \"f32\"\nshape = [4, 9]\naxes = [\"channel\", \"time\"]\nrange = [1, 5]";
    let output = "name = \"y\"\ndtype = \"f32\"\nshape = [6, 9]\naxes = [\"channel\", \"time\"]\nmeaning = \"value\"";
    let side = "[[model.inputs]]\nname = \"x\"\naxes = [\"batch\", \"channel\", \"time\"]\n[[model.outputs]]\nname = \"y\"\naxes = [\"batch\", \"channel\", \"time\"]";
    let contract = contract(input, output, side);
    let model = layer(1, &[1, 1]).build();
    let plan = compare(&contract, &model).plan.unwrap();
    let context = Context::new(&TractExecutor);
    let made = build(&contract, &model, &plan, &context).unwrap().model;
    let proof = prove(&model, &made, &plan, &drawn(&contract, 1).unwrap(), &context).unwrap();
    assert!(matches!(proof.against, Against::Same { .. }), "{:?}", proof.against);
    assert_eq!(proof.outputs[0]["y"].shape(), [6, 9]);
}

#[test]
fn a_wrong_adapter_is_found_by_the_proof() {
    let contract = contract(SIGNAL, MAP, NORMALISED);
    let model = layer(1, &[1, 1]).build();
    let plan = compare(&contract, &model).plan.unwrap();
    let context = Context::new(&TractExecutor);
    // The original in the place of the adapted model: nothing is normalised.
    let proof = prove(&model, &model, &plan, &drawn(&contract, 1).unwrap(), &context).unwrap();
    assert!(matches!(proof.against, Against::Differs(_)));
}

#[test]
fn ranks_shapes_and_batches_that_do_not_go_together_are_named() {
    let says = |input: &str, model: &Model, side: &str, text: &str| {
        let compared = compare(&contract(input, MAP, side), model);
        assert!(compared.plan.is_none());
        let notes: Vec<&str> =
            compared.points.iter().filter(|p| p.fit == Fit::Never).map(|p| p.note.as_str()).collect();
        assert!(notes.iter().any(|n| n.contains(text)), "{text}: {notes:?}");
    };
    let model = layer(1, &[1, 1]).build();
    says(&SIGNAL.replace("4, 9", "5, 9"), &model, "", "needs 4 along `channel`");
    says(&SIGNAL.replace(", 9]", ", \"t\"]"), &model, "", "fixed length");
    says(SIGNAL, &model, "[[model.inputs]]\nname = \"x\"\naxes = [\"batch\", \"channel\"]", "3 dimensions");
    says(SIGNAL, &model, "[[model.inputs]]\nname = \"z\"\nfrom = \"x\"", "no input of this name");
    says(SIGNAL, &model, "[[model.inputs]]\nname = \"x\"\nunit = \"K\"", "say the pipeline's unit");
    says(
        SIGNAL,
        &model,
        "[[model.inputs]]\nname = \"x\"\nnormalisation = { mean = [1, 2], std = 1 }",
        "one for each channel",
    );
    let one = Net::new().input("x", F32, &[1, 4, 9]).weight("w", &Tensor::scalar(1f32));
    let one = one.node(node::new("Mul", &["x", "w"], &["y"])).output("y", F32).build();
    says(SIGNAL, &one, "", "exactly 1 samples");
}
