//! Devices whose pipelines are not what a release was made for.

use plimsoll_record::DeviceAction;

use super::{
    check,
    support::{Team, model},
};

#[test]
fn a_pipeline_with_other_units_classes_or_operators_is_not_what_a_release_was_made_for() {
    let team = Team::new();
    let contract = |range: &str, labels: &str, executor: &str| {
        format!(
            "schema = 1\n[[inputs]]\nname = \"image\"\ndtype = \"f32\"\nshape = [\"batch\", 1, 8, 8]\n\
             axes = [\"batch\", \"channel\", \"height\", \"width\"]\nunit = \"grey\"\nrange = {range}\n\
             [[outputs]]\nname = \"scores\"\ndtype = \"f32\"\nshape = [\"batch\", 10]\naxes = [\"batch\", \"class\"]\nmeaning = \"logits\"\n\
             labels = [{labels}]\n{executor}"
        )
    };
    let digits = |from: usize| (0..10).map(|i| format!("\"{}\"", (i + from) % 10)).collect::<Vec<_>>().join(", ");
    let shipped = contract("[0.0, 16.0]", &digits(0), "");
    team.release("1.0.0", &model(), |input| input.contract = Some(shipped.clone().into_bytes()));
    team.promote(10_000, 0);
    for (id, pipeline, says) in [
        ("d0", shipped.replace("1, 8, 8", "3, 8, 8"), "the input `image` is"),
        ("d1", contract("[0.0, 255.0]", &digits(0), ""), "range [0.0, 255.0] in the pipeline"),
        ("d2", contract("[0.0, 16.0]", &digits(1), ""), "the output `scores`: classes"),
        ("d3", shipped.replace("grey", "lux"), "unit \"lux\" in the pipeline, \"grey\""),
        ("d4", contract("[0.0, 16.0]", &digits(0), "[executor]\nmax-opset = 1\n"), "reads 1 at most"),
        ("d5", contract("[0.0, 16.0]", &digits(0), "[executor]\noperators = [\"Relu\"]\n"), "the model needs "),
    ] {
        check(&team.agent_under(id, &pipeline), DeviceAction::Unfit, says, "none");
    }
    check(&team.agent_under("d6", &shipped), DeviceAction::Switched, "", "1.0.0");
}
