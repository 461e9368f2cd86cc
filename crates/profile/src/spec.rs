//! The release spec, `plimsoll.toml` beside a model: what is released, what it is made from, and what it must keep.

use std::{
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use crate::{
    budget::{self, Budgets},
    change::{self, Change},
    endpoint::{self, Endpoint},
    error::{ConfigError, Problem},
    metric::Metric,
    objective::{self, Models, Objective},
    reader::{self, FromToml, Name, Table, Value, Wrong, one_of},
    recipe::{self, RecipeSpec},
    source::{Source, Span, Spanned},
    version::Version,
    waiver::{self, Waiver},
};

/// A path that a file names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathAt {
    /// Resolved against the folder of the file that names it.
    pub path: PathBuf,
    /// As written.
    pub written: String,
    /// Where it was written.
    pub span: Span,
}

/// Samples, each set for one purpose.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DataPaths {
    /// For ranges of activations; no labels needed.
    pub calibration: Option<PathAt>,
    /// What the search chooses by.
    pub validation: Option<PathAt>,
    /// What the gate judges by, touched once.
    pub test: Option<PathAt>,
}

/// What stands around the model where it runs: command lines, run by the shell in the spec's folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pipeline {
    /// Makes the model's inputs of the samples.
    pub before: Option<String>,
    /// Takes the model's outputs.
    pub after: Option<String>,
    /// What the command before the model takes; without it, the test data.
    pub samples: Option<PathAt>,
}

/// How good a model is, in one number.
struct Quality(Metric);

impl FromToml for Quality {
    fn from_toml(value: &Value<'_>) -> Result<Self, Wrong> {
        let metrics = [Metric::Accuracy, Metric::BalancedAccuracy, Metric::Auc].map(|m| (m.name(), m));
        one_of(value, &metrics).map(Self)
    }
}

/// A release spec.
#[derive(Debug, Clone, PartialEq)]
pub struct Spec {
    /// The file.
    pub source: Arc<Source>,
    /// Name of the release: safe as a file name.
    pub name: Spanned<String>,
    /// Version of the release.
    pub version: Spanned<Version>,
    /// Licence of the model, as an SPDX expression.
    pub license: Option<String>,
    /// Text of the licence.
    pub license_file: Option<PathAt>,
    /// The model.
    pub model: PathAt,
    /// Names of the classes, in the order of the scores; empty where none are given.
    pub labels: Vec<String>,
    /// Samples.
    pub data: DataPaths,
    /// How good a model is: accuracy, balanced accuracy or AUC.
    pub metric: Metric,
    /// What the running pipeline delivers and expects.
    pub contract: Option<PathAt>,
    /// Servers and devices.
    pub profiles: Vec<PathAt>,
    /// How far a candidate may fall behind the original.
    pub margins: Budgets,
    /// Budgets of this model besides those of the profiles; they hold on whatever machine measures.
    pub budgets: Budgets,
    /// What users feel, and how far it may shift against the baseline.
    pub endpoints: Vec<Endpoint>,
    /// Commands around the model, for the time end to end.
    pub pipeline: Pipeline,
    /// What a new idea must beat: the spec of another model on the same samples.
    pub incumbent: Option<PathAt>,
    /// Budgets that may be violated until a day.
    pub waivers: Vec<Waiver>,
    /// Why there is a release, for those who keep records of changes.
    pub change: Option<Change>,
    /// What the search makes small.
    pub objective: Objective,
    /// Whether one model serves all profiles.
    pub models: Models,
    /// Recipes to try; `None` for the default ones.
    pub recipes: Option<Vec<RecipeSpec>>,
}

impl Spec {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        Self::from_source(reader::open(path)?)
    }

    /// Reads a text under the path that it is known by; paths in it are relative to that path's folder.
    pub fn from_text(path: impl AsRef<Path>, text: &str) -> Result<Self, ConfigError> {
        Self::from_source(Arc::new(Source::new(path.as_ref(), text)))
    }

    fn from_source(source: Arc<Source>) -> Result<Self, ConfigError> {
        reader::read(&source, |table| spec(table, &source))
    }

    /// Whether a text is meant as a release spec, broken or not: it has the tables `release` and `model`.
    pub fn is_meant_by(text: &str) -> bool {
        let (tree, _) = toml::de::DeTable::parse_recoverable(text);
        ["release", "model"].iter().all(|key| tree.get_ref().get(*key).is_some_and(|v| v.get_ref().is_table()))
    }

    /// An error about a path of this spec, found by whoever opened it.
    pub fn path_error(&self, path: &PathAt, message: impl Into<String>, help: impl Into<String>) -> ConfigError {
        ConfigError::later(&self.source, path.span, message, help)
    }
}

/// What compares a candidate with the original.
const MARGINS: &[Metric] = &[
    Metric::AccuracyDrop,
    Metric::BalancedAccuracyDrop,
    Metric::AucDrop,
    Metric::F1MacroDrop,
    Metric::KappaDrop,
    Metric::MaeIncrease,
    Metric::RmseIncrease,
    Metric::Agreement,
    Metric::OutputError,
    Metric::OutputSqnr,
    Metric::OutputCosine,
];

fn spec(table: &Table<'_>, source: &Arc<Source>) -> Option<Spec> {
    table.schema();
    let resolve = |p: Spanned<String>| resolve(source, p);
    let profiles: Vec<PathAt> =
        table.list::<String>("profiles").map(|l| l.value).unwrap_or_default().into_iter().map(resolve).collect();
    let contract = table.get::<String>("contract").map(resolve);

    let release = table.need_table("release", "write [release] with `name` and `version`");
    let named = release.as_ref().map(|t| {
        let name = t.need::<Name>("name", "the name of the release, such as \"sleep-wake\"");
        let version = t.need::<Version>("version", "the version of the release, such as \"1.0.0\"");
        let license = t.get::<String>("license").map(|l| l.value);
        let license_file = t.get::<String>("license-file").map(resolve);
        t.finish();
        (name.map(|n| Spanned { value: n.value.0, span: n.span }), version, license, license_file)
    });

    let model = table.need_table("model", "write [model] with `path`").map(|t| {
        let path = t.need::<String>("path", "the ONNX file, relative to this file").map(resolve);
        let labels = labels(&t);
        t.finish();
        (path, labels)
    });

    let endpoints = endpoint::read(table, model.as_ref().map(|(_, labels)| labels.as_slice()), source);

    let waivers = waiver::read(table, &endpoints);
    let change = change::read(table, &endpoints);

    let mut metric = Metric::Accuracy;
    let data = table.table("data").map_or_else(DataPaths::default, |t| {
        metric = t.get::<Quality>("metric").map_or(metric, |q| q.value.0);
        let paths = DataPaths {
            calibration: t.get::<String>("calibration").map(resolve),
            validation: t.get::<String>("validation").map(resolve),
            test: t.get::<String>("test").map(resolve),
        };
        t.finish();
        apart(&t, &paths);
        paths
    });

    let margins = budget::read(table, "margins", MARGINS, source);
    // What needs a profile's facts is limited there.
    let without_profile: Vec<Metric> = Metric::ALL.iter().copied().filter(|m| !m.needs_profile()).collect();
    let budgets = budget::read(table, "budget", &without_profile, source);
    if profiles.is_empty() && budgets.is_empty() && table.raw("profiles").is_none() {
        table.missing(
            "profiles",
            "name at least one server or device, such as profiles = [\"profiles/server-x86.toml\"], or set a [budget]",
        );
    }

    let pipeline = table.table("pipeline").map_or_else(Pipeline::default, |t| {
        let before = t.get::<String>("before").map(|c| c.value);
        let after = t.get::<String>("after").map(|c| c.value);
        let samples = t.get::<String>("samples").map(resolve);
        if let (Some(samples), None) = (&samples, &before) {
            let problem = Problem::at(samples.span, "there is no command `before` that would take these samples");
            t.report(problem.help("name one, or leave `samples` out: the model takes the test data"));
        }
        let pipeline = Pipeline { before, after, samples };
        t.finish();
        pipeline
    });
    let incumbent = table.table("compare").and_then(|t| {
        let help = "the spec of the model that this one must beat, relative to this file";
        let baseline = t.need::<String>("baseline", help).map(resolve);
        t.finish();
        baseline
    });
    let (objective, models, recipes) = table.table("optimize").map_or((Objective::default(), Models::One, None), |t| {
        let objective = objective::read(&t);
        let models = t.get::<Models>("models").map_or(Models::One, |m| m.value);
        let recipes = recipe::read(&t);
        t.finish();
        (objective, models, recipes)
    });

    let (name, version, license, license_file) = named?;
    let (model, labels) = model?;
    let budgets_of = |budgets| Budgets { source: Arc::clone(source), budgets };
    Some(Spec {
        name: name?,
        version: version?,
        license,
        license_file,
        model: model?,
        labels,
        data,
        metric,
        contract,
        profiles,
        margins: budgets_of(margins),
        budgets: budgets_of(budgets),
        endpoints,
        pipeline,
        incumbent,
        waivers,
        change,
        objective,
        models,
        recipes,
        source: Arc::clone(source),
    })
}

pub(crate) fn resolve(source: &Source, written: Spanned<String>) -> PathAt {
    PathAt { path: tidy(&source.folder().join(&written.value)), span: written.span, written: written.value }
}

/// `a/../b` is `b`, unless `a` is a link that leads elsewhere: messages name files as people would.
fn tidy(path: &Path) -> PathBuf {
    let mut tidied = PathBuf::new();
    for part in path.components() {
        let named = matches!(tidied.components().next_back(), Some(Component::Normal(_)));
        if part == Component::ParentDir && named && !tidied.is_symlink() {
            tidied.pop();
        } else if part != Component::CurDir {
            tidied.push(part);
        }
    }
    tidied
}

/// Names of classes, each once.
pub(crate) fn labels(table: &Table<'_>) -> Vec<String> {
    let labels = table.list::<String>("labels").map(|l| l.value).unwrap_or_default();
    for (i, label) in labels.iter().enumerate() {
        if labels.iter().take(i).any(|l| l.value == label.value) {
            table.report(
                Problem::at(label.span, "this label is there twice")
                    .help("name each class once, in the order of the scores"),
            );
        }
    }
    labels.into_iter().map(|l| l.value).collect()
}

/// Search chooses on validation and the test set is touched once: one file cannot be both.
fn apart(table: &Table<'_>, data: &DataPaths) {
    let paths: Vec<&PathAt> = [&data.calibration, &data.validation, &data.test].into_iter().flatten().collect();
    for (i, path) in paths.iter().enumerate() {
        if paths.iter().take(i).any(|p| p.path == path.path) {
            let problem = Problem::at(path.span, "the same file serves two purposes");
            table.report(
                problem.help("calibration, validation and test samples must be different ones: split the file"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, tidied: &str) {
        assert_eq!(tidy(Path::new(path)), Path::new(tidied));
    }

    #[test]
    fn paths_are_tidied_without_leaving_their_place() {
        check("fixtures/a/../../profiles/p.toml", "profiles/p.toml");
        check("../a/./b", "../a/b");
        check("../../a", "../../a");
        check("/a/../b", "/b");
        check("/../b", "/../b");
        check("a/b/..", "a");
    }

    #[cfg(unix)]
    #[test]
    fn links_are_not_folded_away() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("/", &link).unwrap();
        assert_eq!(tidy(&link.join("../x")), link.join("../x"));
    }
}
