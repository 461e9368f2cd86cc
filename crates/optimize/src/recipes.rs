//! The recipes that are tried where a spec names none.

use plimsoll_record::{Recipe, Step};

use crate::recipe::{step, step_with};

/// Name of the candidate that is the model as it came.
pub const ORIGINAL: &str = "original";

/// The original, and what is worth trying on any model: exact simplification, fewer bits, fewer channels, and both. Schemes that
/// need calibration samples are left out where there are none.
pub fn default_recipes(calibrated: bool) -> Vec<Recipe> {
    let quantize = |scheme: &str| step_with("quantize", [("scheme", scheme.to_owned())]);
    // Every candidate is judged anyway: the search for the best counts of each would take longer than all the rest.
    let prune =
        |share: &str| step_with("prune", [("remove-macs", share.to_owned()), ("allocation", "global".to_owned())]);
    let mut lossy: Vec<(String, Vec<Step>)> = vec![(String::new(), vec![])];
    lossy.extend(["f16", "int8-weights"].map(|s| (s.to_owned(), vec![quantize(s)])));
    lossy.extend(["10%", "20%"].map(|s| (format!("prune-{}", s.trim_end_matches('%')), vec![prune(s)])));
    lossy.push(("prune-10+int8-weights".into(), vec![prune("10%"), quantize("int8-weights")]));
    if calibrated {
        lossy.push(("int8".into(), vec![quantize("int8")]));
        lossy.push(("prune-10+int8".into(), vec![prune("10%"), quantize("int8")]));
    }
    let whole = |(name, lossy): (String, Vec<Step>)| {
        let name = if name.is_empty() { "simplify".into() } else { format!("simplify+{name}") };
        let steps = [vec![step("simplify")], lossy, vec![step("strip-names")]].concat();
        Recipe::new(name, steps)
    };
    std::iter::once(Recipe::new(ORIGINAL, vec![])).chain(lossy.into_iter().map(whole)).collect()
}
