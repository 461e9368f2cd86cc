//! Recipes that a spec lists for the search: passes with parameters, as the command line takes them.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    error::Problem,
    reader::{Name, Table, Value, unknown},
    source::{Span, Spanned},
};

/// Families of passes and the parameters that each takes: what a recipe may hold, wherever it comes from.
pub const PASSES: &[(&str, &[&str])] = &[
    ("simplify", &[]),
    (
        "prune",
        &[
            "remove-macs",
            "remove-params",
            "remove-bytes",
            "max-latency",
            "sparsity",
            "pattern",
            "score",
            "allocation",
            "repair",
            "round-to",
            "exclude",
        ],
    ),
    (
        "quantize",
        &[
            "scheme",
            "granularity",
            "calibration",
            "activations",
            "reduce-range",
            "equalize",
            "repair",
            "exclude",
            "min-agreement",
            "max-drop",
        ],
    ),
    ("pad-channels", &["multiple"]),
    ("strip-names", &[]),
];

/// What a prune step may aim at: exactly one of these.
pub const PRUNE_TARGETS: [&str; 6] =
    ["remove-macs", "remove-params", "remove-bytes", "max-latency", "sparsity", "pattern"];

/// One pass.
#[derive(Debug, Clone, PartialEq)]
pub struct StepSpec {
    /// Its family: `simplify`, `prune`, `quantize`, `pad-channels`, `strip-names`.
    pub pass: Spanned<String>,
    /// Its parameters, as text.
    pub parameters: BTreeMap<String, Spanned<String>>,
}

/// An ordered list of passes.
#[derive(Debug, Clone, PartialEq)]
pub struct RecipeSpec {
    /// A short name.
    pub name: Spanned<String>,
    /// The passes, at least one.
    pub steps: Vec<StepSpec>,
}

/// Reads `[[recipes]]`; `None` where there are none.
pub(crate) fn read(table: &Table<'_>) -> Option<Vec<RecipeSpec>> {
    table.raw("recipes")?;
    let tables = table.tables("recipes");
    let mut names = BTreeSet::new();
    let mut recipes = Vec::new();
    for recipe in &tables {
        let name = recipe.need::<Name>("name", "a short name, such as \"prune-20+int8\"");
        if let Some(name) = &name
            && !names.insert(name.value.0.clone())
        {
            recipe.report(Problem::at(name.span, "another recipe has this name").help("name each recipe differently"));
        }
        if recipe.raw("steps").is_none() {
            recipe.missing(
                "steps",
                "write steps = [{ pass = \"simplify\" }, { pass = \"quantize\", scheme = \"int8\" }]",
            );
        }
        let steps: Vec<_> = recipe.tables("steps").iter().filter_map(step).collect();
        if let Some((value, span)) = recipe.raw("steps")
            && value.as_array().is_some_and(|a| a.is_empty())
        {
            recipe.report(Problem::at(span, "a recipe needs a step").help("write steps = [{ pass = \"simplify\" }]"));
        }
        recipe.finish();
        if let Some(name) = name {
            recipes.push(RecipeSpec { name: Spanned { value: name.value.0, span: name.span }, steps });
        }
    }
    Some(recipes)
}

fn step(table: &Table<'_>) -> Option<StepSpec> {
    let passes: Vec<&str> = PASSES.iter().map(|(p, _)| *p).collect();
    let pass = table.need::<String>("pass", &format!("one of {}", passes.join(", ")))?;
    let Some((_, known)) = PASSES.iter().find(|(p, _)| *p == pass.value) else {
        table.report(unknown(&pass.value, pass.span, "pass", &passes));
        return None;
    };
    let mut parameters = BTreeMap::new();
    for (key, value) in table.entries() {
        let name = key.get_ref().as_ref();
        if name == "pass" {
            continue;
        }
        if !known.contains(&name) {
            let problem = unknown(name, key.span().into(), &format!("parameter of `{}`", pass.value), known);
            table.report(if known.is_empty() { problem.help("it takes none") } else { problem });
            continue;
        }
        let span = Span::from(value.span());
        let text = match value.get_ref() {
            Value::String(s) if !s.chars().any(char::is_control) => s.to_string(),
            Value::Integer(i) => i.as_str().to_owned(),
            Value::Float(f) => f.as_str().to_owned(),
            Value::Boolean(b) => b.to_string(),
            _ => {
                table.report(
                    Problem::at(span, "a parameter is text, a number, or true or false")
                        .help("write it as the command line takes it"),
                );
                continue;
            }
        };
        parameters.insert(name.to_owned(), Spanned { value: text, span });
    }
    let targets = parameters.keys().filter(|k| PRUNE_TARGETS.contains(&k.as_str())).count();
    if pass.value == "prune" && targets != 1 {
        let problem = Problem::at(pass.span, "a prune step needs exactly one target");
        table.report(problem.help(format!("write one of {}, such as remove-macs = \"20%\"", PRUNE_TARGETS.join(", "))));
    }
    Some(StepSpec { pass, parameters })
}
