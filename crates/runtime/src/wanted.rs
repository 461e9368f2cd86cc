//! The values that a session gives: the model's outputs, then what is captured and what is summarised, each once.

use std::collections::BTreeMap;

use crate::{LoadOptions, Summary};

/// A value that every run gives.
pub(crate) struct Wanted {
    pub(crate) name: String,
    /// It is an output, or captured; else only its summary is kept.
    pub(crate) returned: bool,
    pub(crate) summary: Option<Summary>,
}

impl Wanted {
    /// The model's outputs in their order, then the inner values.
    pub(crate) fn all(outputs: impl IntoIterator<Item = String>, options: &LoadOptions) -> Vec<Self> {
        let mut all: Vec<Self> = outputs.into_iter().map(|name| Self { name, returned: true, summary: None }).collect();
        let captured = options.capture.iter().map(|name| (name, None));
        let summarised = options.summarise.iter().map(|(name, keep)| (name, Some(Summary::new(*keep))));
        for (name, summary) in captured.chain(summarised) {
            match all.iter_mut().find(|w| w.name == *name) {
                Some(known) => known.summary = known.summary.take().or(summary),
                None => all.push(Self { name: name.clone(), returned: summary.is_none(), summary }),
            }
        }
        all
    }

    /// What was kept of the runs so far.
    pub(crate) fn summaries(all: &[Self]) -> BTreeMap<String, Summary> {
        all.iter().filter_map(|w| Some((w.name.clone(), w.summary.clone()?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Keep;

    #[test]
    fn what_is_captured_and_summarised_is_returned_as_well() {
        let options = LoadOptions {
            capture: vec!["h".into()],
            summarise: [("h".to_owned(), Keep::Range), ("y".to_owned(), Keep::Range)].into(),
            ..LoadOptions::default()
        };
        let all = Wanted::all(["y".to_owned()], &options);
        let told: Vec<(&str, bool, bool)> =
            all.iter().map(|w| (w.name.as_str(), w.returned, w.summary.is_some())).collect();
        assert_eq!(told, [("y", true, true), ("h", true, true)]);
    }
}
