//! A team with a trial repository, and devices that follow it.

#![allow(dead_code, reason = "each test file uses its part")]

#[path = "../../../release/tests/support/mod.rs"]
mod release;

use std::{
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use plimsoll_device::{Agent, Reference, distributions};
use plimsoll_onnx::{Model, Tensor, Tensors, proto};
use plimsoll_profile::DeviceSpec;
use plimsoll_release::{GENERAL, Placement, Promotion, Repository, build};
use plimsoll_runtime::{Executor, LoadOptions, TractExecutor};

/// The fixture of handwritten digits.
pub(crate) fn model() -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/digits/model.onnx")).unwrap()
}

/// An image of one grey.
pub(crate) fn image(grey: f32) -> Tensors {
    Tensors::from([("image".to_owned(), Tensor::from_elements(&[1, 1, 8, 8], &[grey; 64]).unwrap())])
}

fn node(op: &str, inputs: &[&str], output: &str) -> proto::NodeProto {
    proto::NodeProto {
        op_type: op.into(),
        name: format!("graft/{output}"),
        input: inputs.iter().map(|&i| i.to_owned()).collect(),
        output: vec![output.to_owned()],
        ..Default::default()
    }
}

fn cast(input: &str, output: &str, to: i64) -> proto::NodeProto {
    let mut node = node("Cast", &[input], output);
    node.attribute.push(proto::AttributeProto {
        name: "to".into(),
        type_: proto::attribute_proto::AttributeType::INT.into(),
        i: to,
        ..Default::default()
    });
    node
}

/// The same model with a division that panics on a pixel of zero: it passes a self-test on other pixels, and crashes in the field.
pub(crate) fn crashing(model: &[u8]) -> Vec<u8> {
    let model = Model::from_bytes(model).unwrap();
    let mut changed = model.proto().clone();
    let graph = changed.graph.as_mut().unwrap();
    let last = graph.node.iter_mut().find(|n| n.output == ["scores"]).unwrap();
    last.output = vec!["graft/scores".into()];
    graph.initializer.push(Tensor::scalar(1i32).to_proto("graft/one"));
    graph.initializer.push(Tensor::scalar(1e-30f32).to_proto("graft/tiny"));
    graph.node.extend([
        cast("image", "graft/whole", 6),
        node("Div", &["graft/one", "graft/whole"], "graft/quotient"),
        cast("graft/quotient", "graft/float", 1),
        node("GlobalMaxPool", &["graft/float"], "graft/most"),
        node("Flatten", &["graft/most"], "graft/flat"),
        node("Mul", &["graft/flat", "graft/tiny"], "graft/nought"),
        node("Add", &["graft/scores", "graft/nought"], "scores"),
    ]);
    model.with_proto(changed).to_bytes().unwrap()
}

/// Who releases.
pub(crate) struct Team {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) repository: Repository,
}

impl Team {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = |name| folder.path().join(name);
        let repository =
            Repository::open_or_create_trial(&place("repository"), &place("keys"), SystemTime::now()).unwrap();
        fs::copy(place("repository").join("metadata/1.root.json"), place("root.json")).unwrap();
        Self { repository, folder }
    }

    pub(crate) fn place(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts a version into beta.
    pub(crate) fn release(
        &self,
        version: &str,
        model: &[u8],
        change: impl FnOnce(&mut plimsoll_release::ReleaseInput),
    ) {
        let mut input = release::input(version, model);
        input.contract = None;
        let sample = image(3.0);
        let mut session = TractExecutor.load(model, &LoadOptions::for_inputs(&sample)).unwrap();
        // Pixels from 1 to 16: no zero among them.
        let data: Vec<Tensors> = (1u8..=16).map(|grey| image(grey.into())).collect();
        let outputs: Vec<Tensors> = data.iter().map(|d| session.run(d).unwrap()).collect();
        let made = Reference::make(&mut *session, &sample, distributions(&data, &outputs), 4).unwrap();
        input.extra = made.files().unwrap();
        change(&mut input);
        let built = build(&input, self.repository.signing_key().unwrap(), &self.place("releases")).unwrap();
        self.repository.publish(&built.folder, &Placement::default(), SystemTime::now()).unwrap();
    }

    /// Lets what beta is at into general, for a share.
    pub(crate) fn promote(&self, percent_bp: u16, holdback_bp: u16) {
        let beta = self.repository.at("beta").unwrap().unwrap();
        let placement = Placement { percent_bp, holdback_bp, ..Placement::default() };
        let promotion =
            Promotion { name: &beta.release, version: &beta.version, channel: GENERAL, placement: &placement };
        self.repository.promote(&promotion, SystemTime::now()).unwrap();
    }

    /// What people write for a device.
    pub(crate) fn spec(&self, id: &str, more: &str) -> DeviceSpec {
        let text = self.spec_text(id, more);
        DeviceSpec::from_text(self.place(&format!("{id}.toml")), &text).unwrap_or_else(|e| panic!("{}", e.render()))
    }

    pub(crate) fn spec_text(&self, id: &str, more: &str) -> String {
        format!(
            "schema = 1\n[device]\nid = \"{id}\"\nstate = \"state-{id}\"\n[channel]\nrepository = \"repository\"\nroot = \"root.json\"\n\
             name = \"sleep-wake\"\ntrial = true\n{more}\n"
        )
    }

    pub(crate) fn agent(&self, id: &str, more: &str) -> Agent {
        Agent::new(self.spec(id, more)).unwrap()
    }

    /// An agent beside a pipeline with such a contract.
    pub(crate) fn agent_under(&self, id: &str, contract: &str) -> Agent {
        let file = format!("{id}-contract.toml");
        fs::write(self.place(&file), contract).unwrap();
        let text = self.spec_text(id, "").replacen("schema = 1\n", &format!("schema = 1\ncontract = \"{file}\"\n"), 1);
        Agent::new(DeviceSpec::from_text(self.place(&format!("{id}.toml")), &text).unwrap()).unwrap()
    }
}

/// The version that a device runs.
pub(crate) fn version(agent: &Agent) -> String {
    agent.state().active().unwrap().map_or("none".into(), |(_, i)| i.release.version)
}
