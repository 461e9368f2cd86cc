//! What may be tried on a model: points of a space whose axes are the share of what is pruned, by what it is counted, the scheme of
//! quantization and its details. Points become recipes; which of them are worth their time is for the search.

use plimsoll_profile::{Aim, Objective};
use plimsoll_record::{Recipe, Step};

use crate::recipe::{step, step_with};

/// Name of the candidate that is the model as it came.
pub const ORIGINAL: &str = "original";

/// How a pruned model is made good, from the quickest to the longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Care {
    /// Channels go by one order over all layers; what is left is refitted.
    Quick,
    /// Other numbers of channels for each layer are tried.
    Search,
    /// And all weights are trained to give the original's outputs.
    Distill,
}

/// Channels that go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Prune {
    /// Parameter of the pass: `remove-bytes` or `remove-macs`.
    pub(crate) of: &'static str,
    /// Share in tenths of a per cent, so that points compare exactly.
    pub(crate) permille: u32,
    pub(crate) care: Care,
}

/// Fewer bits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Quantize {
    pub(crate) scheme: &'static str,
    pub(crate) per_tensor: bool,
    /// Whether the inputs of convolutions get channels of zeros afterwards.
    pub(crate) padded: bool,
    /// Nodes that stay as they are.
    pub(crate) exclude: Vec<String>,
}

/// One recipe of the space.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Point {
    pub(crate) prune: Option<Prune>,
    pub(crate) quantize: Option<Quantize>,
}

/// The axes.
#[derive(Debug, Clone)]
pub(crate) struct Space {
    /// Schemes, the most promising first.
    pub(crate) schemes: Vec<&'static str>,
    /// What shares are counted by, the most promising first.
    pub(crate) prune_by: Vec<&'static str>,
    /// Whether channels of zeros may gain time: onnxruntime's kernels take four at once, those of tract (lowered) take what is there.
    pub(crate) pad: bool,
}

/// Shares that are bisected, in tenths of a per cent; finer ones come by refinement.
pub(crate) const SHARES: [u32; 13] = [50, 100, 150, 200, 250, 300, 350, 400, 450, 500, 600, 700, 800];

/// What input channels are padded to a multiple of.
const PADDED: usize = 4;

/// Schemes that store weights in four bits: an executor that cannot load one of them can load none.
pub(crate) const NARROW: [&str; 2] = ["int4-weights", "w4a8"];

impl Space {
    /// What is worth trying for an objective, in these executors, with or without calibration samples.
    pub(crate) fn new(objective: &Objective, executors: &[&str], calibrated: bool) -> Self {
        let small = objective.weight(Aim::ArtifactSize) > 0.0;
        let quick = objective.is_timed();
        // What is loaded and what gains is settled by trying each once without pruning; tract is known not to load four bits.
        let narrow = small && !executors.contains(&"tract");
        let mut schemes = Vec::new();
        if narrow {
            schemes.push("int4-weights");
        }
        if calibrated {
            schemes.push("int8");
        }
        if small || !quick {
            schemes.push("int8-weights");
        }
        if narrow && calibrated && quick {
            schemes.push("w4a8");
        }
        if small {
            schemes.push("f16");
        }
        let prune_by =
            if small && !quick { vec!["remove-bytes", "remove-macs"] } else { vec!["remove-macs", "remove-bytes"] };
        Self { schemes, prune_by, pad: quick && executors.contains(&"onnxruntime") }
    }

    /// Every scheme by itself, and none.
    pub(crate) fn seeds(&self) -> Vec<Point> {
        let mut seeds = vec![Point::default()];
        seeds.extend(self.schemes.iter().map(|s| Point::default().with_scheme(Some(s))));
        seeds
    }

    /// What is near a point, in the order in which it is worth trying.
    pub(crate) fn neighbours(&self, point: &Point) -> Vec<Point> {
        let mut near = Vec::new();
        let permille = point.prune.map_or(0, |p| p.permille);
        let by = point.prune.map_or(self.prune_by[0], |p| p.of);
        let care = point.prune.map_or(Care::Quick, |p| p.care);
        let at = |of, permille, care| point.with_prune((permille > 0).then_some(Prune { of, permille, care }));
        let [less, more] = around(permille);
        if let Some(quantize) = point.quantize.as_ref().filter(|q| self.pad && !q.padded && q.scheme == "int8") {
            near.push(Point { quantize: Some(Quantize { padded: true, ..quantize.clone() }), ..point.clone() });
        }
        near.push(at(by, more, care));
        for scheme in std::iter::once(None).chain(self.schemes.iter().copied().map(Some)) {
            if scheme != point.quantize.as_ref().map(|q| q.scheme) {
                near.push(point.with_scheme(scheme));
            }
        }
        for other in self.prune_by.iter().copied().filter(|o| *o != by && permille > 0) {
            near.push(at(other, permille, care));
            near.push(at(other, less, care));
        }
        near.push(at(by, less, care));
        if let Some(quantize) = point.quantize.as_ref().filter(|q| !q.per_tensor && q.scheme.starts_with("int8")) {
            near.push(Point { quantize: Some(Quantize { per_tensor: true, ..quantize.clone() }), ..point.clone() });
        }
        // Half steps.
        near.push(at(by, (permille + more) / 2, care));
        if care < Care::Search {
            near.push(at(by, more, Care::Search));
            near.push(at(by, permille.max(SHARES[0]), Care::Search));
        }
        if care < Care::Distill {
            near.push(at(by, more, Care::Distill));
        }
        near.retain(|n| n != point);
        near
    }
}

/// The shares below and above one; 0 below the least.
fn around(permille: u32) -> [u32; 2] {
    let below = SHARES.iter().copied().rev().find(|s| *s < permille).unwrap_or(0);
    let above = SHARES.iter().copied().find(|s| *s > permille).unwrap_or(permille);
    [below, above]
}

impl Point {
    pub(crate) fn with_prune(&self, prune: Option<Prune>) -> Self {
        Self { prune, ..self.clone() }
    }

    pub(crate) fn with_scheme(&self, scheme: Option<&'static str>) -> Self {
        let quantize = scheme.map(|scheme| Quantize { scheme, per_tensor: false, padded: false, exclude: vec![] });
        Self { quantize, ..self.clone() }
    }

    pub(crate) fn scheme(&self) -> Option<&'static str> {
        self.quantize.as_ref().map(|q| q.scheme)
    }

    /// The recipe: exact simplification, fewer channels, fewer bits, short names.
    pub(crate) fn recipe(&self) -> Recipe {
        let (mut steps, mut name) = (vec![step("simplify")], Vec::new());
        if let Some(prune) = self.prune {
            steps.push(prune.step());
            name.push(prune.name());
        }
        if let Some(quantize) = &self.quantize {
            steps.push(quantize.step());
            name.push(quantize.name());
            if quantize.padded {
                steps.push(step_with("pad-channels", [("multiple", PADDED.to_string())]));
            }
        }
        steps.push(step("strip-names"));
        let name = if name.is_empty() { "simplify".into() } else { name.join("+") };
        Recipe::new(name, steps)
    }
}

impl Prune {
    fn step(self) -> Step {
        let share = format!("{}%", f64::from(self.permille) / 10.0);
        let mut parameters = vec![(self.of, share)];
        let care = match self.care {
            Care::Quick => [("allocation", "global"), ("repair", "least-squares")],
            Care::Search => [("allocation", "search"), ("repair", "least-squares")],
            Care::Distill => [("allocation", "global"), ("repair", "distill")],
        };
        parameters.extend(care.map(|(k, v)| (k, v.to_owned())));
        step_with("prune", parameters)
    }

    fn name(self) -> String {
        let of = self.of.trim_start_matches("remove-");
        let care = match self.care {
            Care::Quick => "",
            Care::Search => "-search",
            Care::Distill => "-distill",
        };
        format!("prune-{of}-{}{care}", f64::from(self.permille) / 10.0)
    }
}

impl Quantize {
    fn step(&self) -> Step {
        let mut parameters = vec![("scheme", self.scheme.to_owned())];
        if self.per_tensor {
            parameters.push(("granularity", "per-tensor".into()));
        }
        if !self.exclude.is_empty() {
            parameters.push(("exclude", self.exclude.join("\n")));
        }
        step_with("quantize", parameters)
    }

    fn name(&self) -> String {
        let mut name = self.scheme.to_owned();
        if self.per_tensor {
            name.push_str("-per-tensor");
        }
        if self.padded {
            name.push_str("-padded");
        }
        if !self.exclude.is_empty() {
            name.push_str(&format!("-less-{}", self.exclude.len()));
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_is_a_recipe_with_a_name_of_its_own() {
        for aim in Aim::ALL {
            for executors in [&["tract"][..], &["onnxruntime"]] {
                let space = Space::new(&Objective::of(aim), executors, true);
                let mut points = space.seeds();
                for _ in 0..3 {
                    let near: Vec<Point> = points.iter().flat_map(|p| space.neighbours(p)).collect();
                    points.extend(near);
                    points.sort();
                    points.dedup();
                }
                let mut names: Vec<String> = points.iter().map(|p| p.recipe().name).collect();
                names.sort();
                names.dedup();
                assert_eq!(names.len(), points.len());
                for point in &points {
                    crate::recipe::check(&point.recipe()).unwrap();
                }
            }
        }
    }

    #[test]
    fn four_bits_are_not_tried_where_tract_has_to_load_them() {
        let schemes = |executors: &[&str]| Space::new(&Objective::default(), executors, true).schemes;
        assert!(schemes(&["onnxruntime"]).contains(&"int4-weights"));
        assert!(!schemes(&["onnxruntime", "tract"]).iter().any(|s| NARROW.contains(s)));
        assert!(!Space::new(&Objective::default(), &["tract"], false).schemes.contains(&"int8"));
    }
}
