//! Recipes are data: names of passes with parameters, turned into passes here and nowhere else.
//!
//! | pass | parameters |
//! |---|---|
//! | `simplify` | – |
//! | `prune` | one of `remove-macs`, `remove-params`, `remove-bytes`, `sparsity`: a share such as `30%`; or `max-latency`, such as |
//! | | `2.5ms`, or `pattern`, such as `2:4`; where they are not the defaults, `repair`, `exclude` (one node a line); for channels |
//! | | `score`, `allocation`, `round-to` (a number of channels) |
//! | `quantize` | `scheme`, and where they are not the defaults `granularity`, `calibration`, `activations`, `reduce-range`, |
//! | | `equalize`, `repair`, `exclude` (one node a line), `min-agreement`, `max-drop` |
//! | `pad-channels` | `multiple` (a number of channels) |
//! | `strip-names` | – |

use std::collections::BTreeMap;

use plimsoll_onnx::Model;
use plimsoll_profile::{PASSES, PRUNE_TARGETS};
use plimsoll_record::{PassRecord, Recipe, Step};
use plimsoll_transform::{
    Context, Outcome, PadChannels, Pass, PipelineError,
    equalize::{Equalization, Equalize},
    opset::RaiseOpset,
    prune::{Pattern, PruneOptions, Share, Sparsity, Structured, Target},
    quantize::{self, QuantizeOptions, Scheme},
    run, simplify, strip_names,
    verify::{self, Checked},
};

/// Why a recipe could not be carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecipeError {
    /// A pass that does not exist.
    #[error("there is no pass `{0}` (there are simplify, prune, quantize, pad-channels, strip-names)")]
    UnknownPass(String),
    /// A parameter that the pass does not take, or that is missing, or whose value is none.
    #[error("pass `{pass}`: {reason}")]
    Parameter {
        /// The pass.
        pass: String,
        /// What is wrong.
        reason: String,
    },
    /// The passes did not come to their end.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
}

impl RecipeError {
    /// What the user can do about it.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Pipeline(e) => e.help(),
            _ => None,
        }
    }
}

/// What a recipe made.
#[derive(Debug, Clone)]
pub struct Made {
    /// The model.
    pub model: Model,
    /// Every pass, in order.
    pub passes: Vec<PassRecord>,
    /// Whether exact passes were checked, and on what.
    pub checked: Vec<Checked>,
    /// Old name of each inner value by its new one, where they were shortened.
    pub names: BTreeMap<String, String>,
}

/// A step without parameters.
pub fn step(pass: &str) -> Step {
    Step { pass: pass.into(), parameters: BTreeMap::new() }
}

/// A step with parameters.
pub fn step_with(pass: &str, parameters: impl IntoIterator<Item = (&'static str, String)>) -> Step {
    let parameters = parameters.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
    Step { pass: pass.into(), parameters }
}

/// Refuses a recipe whose passes or parameters do not exist, before anything runs.
pub fn check(recipe: &Recipe) -> Result<(), RecipeError> {
    recipe.steps.iter().try_for_each(|step| Parsed::new(step).map(drop))
}

/// Carries out a recipe. The model given is as it was.
pub fn apply(recipe: &Recipe, model: &Model, context: &Context<'_>) -> Result<Made, RecipeError> {
    let passes = recipe.steps.iter().map(Parsed::new).collect::<Result<Vec<_>, _>>()?;
    // Shares are those of the model that was given, not of what exact passes make of it.
    let context = &Context { origin: context.origin.or(Some(model)), ..*context };
    let mut made = Made { model: model.clone(), passes: vec![], checked: vec![], names: BTreeMap::new() };
    for pass in passes {
        match pass {
            Parsed::Simplify => {
                let (model, steps, checked) = simplify::simplify(&made.model, context)?;
                made.model = model;
                made.passes.extend(steps.into_iter().map(pass_record));
                made.checked.push(checked);
            }
            Parsed::Quantize(equalize, options) => {
                raise(&mut made, quantize::opset_of(&options), context)?;
                equalized(&mut made, &equalize, context)?;
                let (model, steps, _) = run(&made.model, &[&*quantize::pass(options)], 1, context)?;
                made.model = model;
                made.passes.extend(steps.into_iter().map(pass_record));
            }
            Parsed::PadChannels(pass) => {
                let (model, steps, checked) = run(&made.model, &[&pass], 1, context)?;
                made.model = model;
                made.passes.extend(steps.into_iter().map(pass_record));
                made.checked.push(checked);
            }
            Parsed::Prune(pass) => {
                let (model, steps, _) = run(&made.model, &[&*pass], 1, context)?;
                made.model = model;
                made.passes.extend(steps.into_iter().map(pass_record));
            }
            Parsed::StripNames => strip(&mut made, context)?,
        }
    }
    Ok(made)
}

/// The model that the first `quantize` step of a recipe works on, and its options; `None` where there is no such step.
pub fn before_quantization(
    recipe: &Recipe,
    model: &Model,
    context: &Context<'_>,
) -> Result<Option<(Model, QuantizeOptions)>, RecipeError> {
    let Some(at) = recipe.steps.iter().position(|s| s.pass == "quantize") else { return Ok(None) };
    let (equalize, options) = quantize_options(&recipe.steps[at])?;
    let mut made = apply(&Recipe::new(&recipe.name, recipe.steps[..at].to_vec()), model, context)?;
    raise(&mut made, quantize::opset_of(&options), context)?;
    equalized(&mut made, &equalize, context)?;
    Ok(Some((made.model, options)))
}

/// Moves factors between layers where the quantization that follows gains by it.
fn equalized(made: &mut Made, pass: &Equalize, context: &Context<'_>) -> Result<(), RecipeError> {
    if pass.is_idle() {
        return Ok(());
    }
    let (model, steps, checked) = run(&made.model, &[pass], 1, context)?;
    if steps.iter().any(|s| s.outcome != Outcome::NothingToDo) {
        made.model = model;
        made.passes.extend(steps.into_iter().map(pass_record));
        made.checked.push(checked);
    }
    Ok(())
}

/// Raises the operator set where the pass that follows needs a newer one; checked by running the model before and after.
fn raise(made: &mut Made, to: i64, context: &Context<'_>) -> Result<(), RecipeError> {
    if made.model.opset("").unwrap_or(1) < to {
        let (model, steps, checked) = run(&made.model, &[&RaiseOpset { to }], 1, context)?;
        made.model = model;
        made.passes.extend(steps.into_iter().map(pass_record));
        made.checked.push(checked);
    }
    Ok(())
}

fn strip(made: &mut Made, context: &Context<'_>) -> Result<(), RecipeError> {
    const PASS: &str = "strip-names";
    let size = |m: &Model| m.to_bytes().map_or(0, |b| b.len() as u64);
    let (model, names) = strip_names(&made.model);
    let checked = verify::same(&made.model, &model, context);
    made.checked.push(checked.map_err(|difference| PipelineError::Differs { pass: PASS, difference })?);
    let nodes = [&made.model, &model].map(|m| m.graph().node.len() as u64);
    made.passes.push(PassRecord {
        pass: PASS.into(),
        outcome: "applied".into(),
        reasons: vec![format!("{} values have shorter names", names.len())],
        nodes,
        bytes: [size(&made.model), size(&model)],
    });
    made.model = model;
    made.names = names.into_iter().map(|(old, new)| (new, old)).collect();
    Ok(())
}

/// What a pass did, as it is recorded.
pub fn pass_record(step: plimsoll_transform::Step) -> PassRecord {
    let outcome = match step.outcome {
        Outcome::Applied => "applied".into(),
        Outcome::NothingToDo => "nothing to do".into(),
        Outcome::Refused(why) => format!("refused: {why}"),
    };
    PassRecord {
        pass: step.pass.into(),
        outcome,
        reasons: step.reasons,
        nodes: step.nodes.map(|n| n as u64),
        bytes: step.bytes.map(|n| n as u64),
    }
}

enum Parsed {
    Simplify,
    StripNames,
    Prune(Box<dyn Pass + Send>),
    PadChannels(PadChannels),
    Quantize(Equalize, QuantizeOptions),
}

impl Parsed {
    fn new(step: &Step) -> Result<Self, RecipeError> {
        let wrong = |reason: String| RecipeError::Parameter { pass: step.pass.clone(), reason };
        let Some((_, known)) = PASSES.iter().find(|(pass, _)| *pass == step.pass) else {
            return Err(RecipeError::UnknownPass(step.pass.clone()));
        };
        if let Some(name) = step.parameters.keys().find(|k| !known.contains(&k.as_str())) {
            return Err(wrong(format!("it has no parameter `{name}` (it has {})", known.join(", "))));
        }
        Ok(match step.pass.as_str() {
            "simplify" => Self::Simplify,
            "strip-names" => Self::StripNames,
            "prune" => Self::Prune(prune(step)?),
            "pad-channels" => {
                let multiple = parse(step, "multiple")?.filter(|m| (2..=64).contains(m));
                let multiple = multiple.ok_or_else(|| wrong("multiple: a number of channels from 2 to 64".into()))?;
                Self::PadChannels(PadChannels { multiple })
            }
            _ => {
                let (equalize, options) = quantize_options(step)?;
                Self::Quantize(equalize, options)
            }
        })
    }
}

fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(step: &Step, name: &str) -> Result<Option<T>, RecipeError> {
    let value = step.parameters.get(name).map(|text| text.parse());
    value.transpose().map_err(|e| RecipeError::Parameter { pass: step.pass.clone(), reason: format!("{name}: {e}") })
}

fn prune(step: &Step) -> Result<Box<dyn Pass + Send>, RecipeError> {
    let wrong = |reason: String| RecipeError::Parameter { pass: step.pass.clone(), reason };
    let mut targets = PRUNE_TARGETS.into_iter().filter(|t| step.parameters.contains_key(*t));
    let (Some(name), None) = (targets.next(), targets.next()) else {
        return Err(wrong(format!("exactly one of {} is needed", PRUNE_TARGETS.join(", "))));
    };
    if let "sparsity" | "pattern" = name {
        return sparsity(step, name);
    }
    let missing = || wrong(format!("{name} is missing"));
    let share = || -> Result<Share, RecipeError> { parse(step, name)?.ok_or_else(missing) };
    let target = match name {
        "remove-macs" => Target::Macs(share()?),
        "remove-params" => Target::Params(share()?),
        "remove-bytes" => Target::Bytes(share()?),
        _ => Target::Latency(parse(step, name)?.ok_or_else(missing)?),
    };
    let mut options = PruneOptions::new(target);
    options.score = parse(step, "score")?;
    options.allocation = parse(step, "allocation")?;
    options.repair = parse(step, "repair")?;
    options.round_to = parse(step, "round-to")?;
    if options.round_to.is_some_and(|n| n < 2) {
        return Err(wrong("round-to: channels are rounded to 2 and more".into()));
    }
    options.exclude = excluded(step);
    Ok(Box::new(Structured::new(options)))
}

/// Zeros in weights whose shapes stay.
fn sparsity(step: &Step, name: &str) -> Result<Box<dyn Pass + Send>, RecipeError> {
    let wrong = |reason: String| RecipeError::Parameter { pass: step.pass.clone(), reason };
    if let Some(other) = ["score", "allocation", "round-to"].into_iter().find(|k| step.parameters.contains_key(*k)) {
        return Err(wrong(format!("{other} is for the removal of channels, not for {name}")));
    }
    let pattern = match (parse(step, "sparsity")?, parse(step, "pattern")?) {
        (Some(share), _) => Pattern::Anywhere(share),
        (None, Some(blocks)) => Pattern::Blocks(blocks),
        (None, None) => return Err(wrong(format!("{name} is missing"))),
    };
    let mut pass = Sparsity::of(pattern);
    pass.repair = parse(step, "repair")?;
    pass.exclude = excluded(step);
    Ok(Box::new(pass))
}

/// Names of nodes, one a line.
fn excluded(step: &Step) -> Vec<String> {
    let exclude = step.parameters.get("exclude").map(String::as_str).unwrap_or_default();
    exclude.lines().filter(|l| !l.is_empty()).map(str::to_owned).collect()
}

fn quantize_options(step: &Step) -> Result<(Equalize, QuantizeOptions), RecipeError> {
    let mut options = QuantizeOptions::new(parse(step, "scheme")?.unwrap_or(Scheme::Int8));
    options.granularity = parse(step, "granularity")?.unwrap_or_default();
    options.calibration = parse(step, "calibration")?.unwrap_or_default();
    options.activations = parse(step, "activations")?.unwrap_or_default();
    options.reduce_range = parse(step, "reduce-range")?.unwrap_or(false);
    options.repair = parse(step, "repair")?;
    options.target =
        quantize::Target { min_agreement: parse(step, "min-agreement")?, max_drop: parse(step, "max-drop")? };
    options.exclude = excluded(step);
    // Who wants nothing repaired wants nothing tried either.
    let usual = if options.repair == Some(quantize::Repair::None) { Equalization::None } else { Equalization::Auto };
    Ok((Equalize::new(parse(step, "equalize")?.unwrap_or(usual), options.clone()), options))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pass: &str, parameters: &[(&'static str, &str)]) -> Result<(), String> {
        let parameters = parameters.iter().map(|(k, v)| (*k, (*v).to_owned()));
        Parsed::new(&step_with(pass, parameters)).map(drop).map_err(|e| e.to_string())
    }

    #[test]
    fn a_misspelt_recipe_is_refused_before_anything_runs() {
        assert!(check("simplify", &[]).is_ok());
        assert!(check("prune", &[("remove-macs", "30%")]).is_ok());
        assert!(check("quantize", &[("scheme", "f16")]).is_ok());
        assert!(check("quantise", &[]).unwrap_err().contains("no pass `quantise`"));
        assert!(check("quantize", &[("schema", "f16")]).unwrap_err().contains("no parameter `schema`"));
        assert!(check("quantize", &[("scheme", "int9")]).unwrap_err().contains("int9"));
        assert!(check("quantize", &[("calibration", "percentile:99.9"), ("activations", "s8")]).is_ok());
        assert!(check("quantize", &[("calibration", "percentile:7")]).unwrap_err().contains("percentile:7"));
        assert!(check("quantize", &[("min-agreement", "99%"), ("max-drop", "0.01")]).is_ok());
        assert!(check("quantize", &[("min-agreement", "101%")]).unwrap_err().contains("101%"));
        assert!(check("quantize", &[("equalize", "smooth")]).is_ok());
        assert!(check("quantize", &[("equalize", "smoothly")]).unwrap_err().contains("smoothly"));
        assert!(check("quantize", &[("reduce-range", "maybe")]).unwrap_err().contains("reduce-range"));
        assert!(check("prune", &[]).unwrap_err().contains("exactly one"));
        assert!(check("prune", &[("remove-macs", "30%"), ("sparsity", "50%")]).unwrap_err().contains("exactly one"));
        assert!(check("prune", &[("pattern", "2:4"), ("repair", "obs"), ("exclude", "a\nb")]).is_ok());
        assert!(check("prune", &[("pattern", "4:2")]).unwrap_err().contains("4:2"));
        assert!(check("prune", &[("pattern", "2:4"), ("sparsity", "50%")]).unwrap_err().contains("exactly one"));
        assert!(check("prune", &[("sparsity", "50%"), ("repair", "distill")]).unwrap_err().contains("distill"));
        assert!(check("prune", &[("sparsity", "50%"), ("score", "obs")]).unwrap_err().contains("score"));
        assert!(check("prune", &[("remove-macs", "130%")]).unwrap_err().contains("130%"));
        assert!(check("prune", &[("remove-macs", "30%"), ("repair", "distill"), ("score", "obs")]).is_ok());
        assert!(check("prune", &[("remove-macs", "30%"), ("repair", "pray")]).unwrap_err().contains("least-squares"));
        assert!(check("prune", &[("remove-macs", "30%"), ("round-to", "8")]).is_ok());
        assert!(check("prune", &[("remove-macs", "30%"), ("round-to", "1")]).unwrap_err().contains("round-to"));
        assert!(check("prune", &[("sparsity", "30%"), ("round-to", "8")]).unwrap_err().contains("round-to"));
        assert!(check("prune", &[("max-latency", "2.5ms")]).is_ok());
        assert!(check("prune", &[("max-latency", "2.5")]).unwrap_err().contains("2.5ms"));
        assert!(check("prune", &[("sparsity", "30%"), ("score", "obs")]).unwrap_err().contains("score"));
    }
}
