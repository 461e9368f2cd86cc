//! Shorter names for inner values, and no names at all for nodes: what an executor does not need. Exact; inputs and outputs
//! keep their names, because callers feed and read by them.
//!
//! Dropped as well: `value_info` (what is said about inner values can be inferred), doc strings of graphs, nodes and values,
//! metadata of nodes (where exporters write stack traces), and quantization annotations (they name inner values). The doc string of the model and its metadata stay: they are for people.
//! Bodies of functions are left as they are. Not a [`Pass`](crate::Pass): a patch changes what a graph computes, this only how
//! it is written.

use std::collections::{BTreeMap, HashMap, HashSet};

use plimsoll_onnx::{
    Model,
    proto::{GraphProto, ModelProto, NodeProto},
};

/// The same model with short names, and the old names of values by their new ones' order: old name → new name. Names that stay
/// are not in the map.
pub fn strip_names(model: &Model) -> (Model, BTreeMap<String, String>) {
    let mut proto = model.proto().clone();
    let mut names = Names::of(&proto);
    if let Some(graph) = proto.graph.as_mut() {
        names.number(graph);
        names.rewrite(graph);
    }
    let map: BTreeMap<String, String> = names.new.into_iter().filter(|(old, new)| old != new).collect();
    (model.with_proto(proto), map)
}

/// Old names of values, and what they become.
struct Names {
    /// Names that must stay, and must not be given to others.
    kept: HashSet<String>,
    new: HashMap<String, String>,
    count: usize,
}

impl Names {
    fn of(proto: &ModelProto) -> Self {
        let graph = proto.graph.get_or_default();
        let mut kept: HashSet<String> =
            graph.input.iter().chain(&graph.output).map(|v| v.name.clone()).filter(|n| !n.is_empty()).collect();
        // Training graphs name values of the main graph, which are left as they are.
        if !proto.training_info.is_empty() {
            collect(graph, &mut kept);
        }
        Self { kept, new: HashMap::new(), count: 0 }
    }

    /// A number for every name, over nested graphs too: one old name is one new name everywhere, so that captures and hiding
    /// stay what they were. The names that are used most come first and get the shortest numbers.
    fn number(&mut self, graph: &GraphProto) {
        let mut uses: HashMap<String, usize> = HashMap::new();
        let mut order = Vec::new();
        count(graph, &mut |name: &str| {
            if name.is_empty() {
                return;
            }
            let n = uses.entry(name.to_owned()).or_insert(0);
            *n += 1;
            if *n == 1 {
                order.push(name.to_owned());
            }
        });
        order.sort_by_key(|name| std::cmp::Reverse(uses[name]));
        for name in order {
            if self.kept.contains(&name) {
                continue;
            }
            let short = loop {
                let short = short(self.count);
                self.count += 1;
                if !self.kept.contains(&short) {
                    break short;
                }
            };
            self.new.insert(name, short);
        }
    }

    fn rename(&self, name: &mut String) {
        if let Some(new) = self.new.get(name.as_str()) {
            name.clone_from(new);
        }
    }

    fn rewrite(&self, graph: &mut GraphProto) {
        graph.doc_string.clear();
        graph.value_info.clear();
        graph.quantization_annotation.clear();
        for value in graph.input.iter_mut().chain(&mut graph.output) {
            value.doc_string.clear();
            self.rename(&mut value.name);
        }
        for tensor in &mut graph.initializer {
            tensor.doc_string.clear();
            self.rename(&mut tensor.name);
        }
        for sparse in &mut graph.sparse_initializer {
            if let Some(values) = sparse.values.as_mut() {
                self.rename(&mut values.name);
            }
        }
        graph.node.iter_mut().for_each(|n| self.rewrite_node(n));
    }

    fn rewrite_node(&self, n: &mut NodeProto) {
        n.doc_string.clear();
        n.metadata_props.clear();
        n.name.clear();
        n.input.iter_mut().chain(&mut n.output).for_each(|name| self.rename(name));
        for attribute in &mut n.attribute {
            attribute.doc_string.clear();
            if let Some(tensor) = attribute.t.as_mut() {
                // A name inside an attribute says nothing to anybody.
                tensor.name.clear();
                tensor.doc_string.clear();
            }
            for graph in attribute.g.as_mut().into_iter().chain(&mut attribute.graphs) {
                self.rewrite(graph);
            }
        }
    }
}

/// Every name of a graph and of those nested in it.
fn collect(graph: &GraphProto, into: &mut HashSet<String>) {
    count(graph, &mut |name| {
        into.insert(name.to_owned());
    });
}

/// Calls `seen` with every occurrence of a value's name, nested graphs included.
fn count(graph: &GraphProto, seen: &mut dyn FnMut(&str)) {
    graph.input.iter().chain(&graph.output).for_each(|v| seen(&v.name));
    graph.initializer.iter().for_each(|t| seen(&t.name));
    graph.sparse_initializer.iter().for_each(|t| seen(&t.values.name));
    for n in &graph.node {
        n.input.iter().chain(&n.output).for_each(|name| seen(name));
        for attribute in &n.attribute {
            for inner in attribute.g.as_ref().into_iter().chain(&attribute.graphs) {
                count(inner, seen);
            }
        }
    }
}

/// `a`, `b`, …, `z`, `aa`, `ab`, …: letters alone, which every tool takes for a name.
fn short(mut n: usize) -> String {
    let mut letters = Vec::new();
    loop {
        letters.push(char::from(b'a' + (n % 26) as u8));
        if n < 26 {
            break;
        }
        n = n / 26 - 1;
    }
    letters.into_iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use plimsoll_onnx::{
        Names as Taken, node,
        proto::{AttributeProto, attribute_proto::AttributeType},
    };

    use super::*;
    use crate::testing::{F32, Net, value};

    fn branch(name: &str, nodes: Vec<NodeProto>, output: &str) -> AttributeProto {
        let output = vec![value(output, F32, None)];
        let graph = GraphProto { name: name.into(), node: nodes, output, ..Default::default() };
        let type_ = AttributeType::GRAPH.into();
        AttributeProto { name: name.into(), g: Some(graph).into(), type_, ..Default::default() }
    }

    /// Strips, and asks that nothing but names has changed.
    fn check(model: &Model) -> (Model, BTreeMap<String, String>) {
        let (stripped, map) = strip_names(model);
        assert_eq!(stripped.digest(), model.digest());
        assert_eq!((stripped.inputs(), stripped.outputs()), (model.inputs(), model.outputs()));
        assert!(plimsoll_onnx::check(&stripped).is_ok());
        (stripped, map)
    }

    #[test]
    fn inner_names_get_short_and_outer_ones_stay() {
        let mut net = Net::new().input("a", F32, &[-1, 4]).random("encoder.weight", &[4]);
        let mut add = node::new("Add", &["a", "encoder.weight"], &["sum"]);
        (add.name, add.doc_string) = ("/encoder/Add".into(), "stack trace".into());
        net.graph().value_info.push(value("sum", F32, Some(&[-1, 4])));
        let model = net.node(add).node(node::new("Relu", &["sum"], &["b"])).output("b", F32).build();
        let (stripped, map) = check(&model);
        // `a` and `b` are taken by the interface.
        assert_eq!(map["encoder.weight"], "c");
        assert_eq!(map["sum"], "d");
        assert_eq!(map.len(), 2);
        let graph = stripped.graph();
        assert!(graph.value_info.is_empty() && graph.node.iter().all(|n| n.name.is_empty() && n.doc_string.is_empty()));
    }

    #[test]
    fn captures_and_hidden_names_stay_what_they_were() {
        let then = branch(
            "then_branch",
            vec![node::new("Neg", &["inner"], &["hidden"]), node::new("Add", &["hidden", "weight"], &["t"])],
            "t",
        );
        let own = vec![node::new("Abs", &["x"], &["inner"]), node::new("Exp", &["inner"], &["e"])];
        let net = Net::new().input("x", F32, &[4]).input("p", 9, &[]).random("weight", &[4]);
        let net = net.node(node::new("Relu", &["x"], &["inner"]));
        let branches = vec![then, branch("else_branch", own, "e")];
        let (stripped, map) = check(&net.node(node::with("If", &["p"], &["y"], branches)).output("y", F32).build());
        let n = &stripped.graph().node[1];
        let mut graphs = plimsoll_onnx::subgraphs(n);
        assert_eq!(graphs.next().unwrap().node[0].input[0], map["inner"]);
        assert_eq!(graphs.next().unwrap().node[0].input[0], "x");
        let mut taken = Taken::of(&stripped);
        assert_ne!(taken.fresh(&map["weight"]), map["weight"]);
    }

    #[test]
    fn every_number_is_another_name() {
        let names: Vec<String> = (0..2000).map(short).collect();
        assert_eq!((&*names[0], &*names[25], &*names[26], &*names[27]), ("a", "z", "aa", "ab"));
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
    }
}
