//! A pipeline against the one that a release was made for, word by word. What names, types and shapes say is held against the model by
//! whoever has it.

use std::fmt::Debug;

use super::{Contract, InputSpec, OutputSpec, words::Signal};
use crate::source::Spanned;

impl Contract {
    /// In what this pipeline differs from the one that a release was made for, of what both say: units, rates, scales, the order of axes
    /// and classes. `None` where it does not.
    pub fn difference(&self, made_for: &Self) -> Option<String> {
        let inputs = self.inputs.iter().filter_map(|here| {
            let there = made_for.inputs.iter().find(|i| i.name.value == here.name.value)?;
            let what = input(here, there)?;
            Some(format!("the input `{}`: {what}", here.name.value))
        });
        let outputs = self.outputs.iter().filter_map(|here| {
            let there = made_for.outputs.iter().find(|o| o.name.value == here.name.value)?;
            let what = output(here, there)?;
            Some(format!("the output `{}`: {what}", here.name.value))
        });
        inputs.chain(outputs).next()
    }
}

fn input(here: &InputSpec, there: &InputSpec) -> Option<String> {
    let (a, b) = (&here.signal, &there.signal);
    let wider = |s: &Signal| s.range.as_ref().map(|r| r.value);
    let wider = wider(a).zip(wider(b)).filter(|(here, there)| here[0] < there[0] || here[1] > there[1]);
    other("axes", Some(&here.axes), Some(&there.axes))
        .or_else(|| other("unit", a.unit.as_ref(), b.unit.as_ref()))
        .or_else(|| other("sampling rate", a.sampling_rate.as_ref(), b.sampling_rate.as_ref()))
        .or_else(|| other("normalisation", a.normalisation.as_ref(), b.normalisation.as_ref()))
        .or_else(|| other("missing values", a.missing.as_ref(), b.missing.as_ref()))
        .or_else(|| wider.map(|(here, there)| said("range", &here, &there)))
}

fn output(here: &OutputSpec, there: &OutputSpec) -> Option<String> {
    let labels = !here.labels.is_empty() && !there.labels.is_empty() && here.labels != there.labels;
    other("axes", Some(&here.axes), Some(&there.axes))
        .or_else(|| other("meaning", Some(&here.meaning), Some(&there.meaning)))
        .or_else(|| labels.then(|| said("classes", &here.labels, &there.labels)))
        .or_else(|| other("threshold", here.threshold.as_ref(), there.threshold.as_ref()))
}

/// What differs, where both sides say something.
fn other<T: PartialEq + Debug>(what: &str, here: Option<&Spanned<T>>, there: Option<&Spanned<T>>) -> Option<String> {
    let (here, there) = here.zip(there)?;
    (here.value != there.value).then(|| said(what, &here.value, &there.value))
}

fn said(what: &str, here: &dyn Debug, there: &dyn Debug) -> String {
    format!("{what} {here:?} in the pipeline, {there:?} where the release was made")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "schema = 1\n[[inputs]]\nname = \"x\"\ndtype = \"f32\"\nshape = [\"batch\", 300]\naxes = [\"batch\", \"time\"]\n\
        unit = \"bpm\"\nrange = [0.0, 200.0]\nsampling-rate = \"10Hz\"\n\
        [[outputs]]\nname = \"y\"\ndtype = \"f32\"\nshape = [\"batch\", 2]\naxes = [\"batch\", \"class\"]\nmeaning = \"logits\"\n\
        labels = [\"wake\", \"sleep\"]\n";

    fn check(from: &str, to: &str, says: Option<&str>) {
        let [made_for, here] =
            [TEXT.to_owned(), TEXT.replace(from, to)].map(|t| Contract::from_text("c.toml", &t).unwrap());
        match (here.difference(&made_for), says) {
            (None, None) => {}
            (Some(found), Some(says)) => assert!(found.contains(says), "{found}"),
            (found, _) => panic!("{from} → {to}: {found:?}"),
        }
    }

    #[test]
    fn a_pipeline_in_another_unit_is_another_pipeline() {
        check("", "", None);
        check("bpm", "Hz", Some("unit \"Hz\" in the pipeline, \"bpm\""));
        check("10Hz", "20Hz", Some("sampling rate"));
        check("[\"wake\", \"sleep\"]", "[\"sleep\", \"wake\"]", Some("the output `y`: classes"));
        check("logits", "probabilities", Some("meaning"));
        check("200.0", "300.0", Some("range"));
        // Less than what it was made for, and what only one side says.
        check("200.0", "100.0", None);
        check("unit = \"bpm\"\n", "", None);
    }
}
