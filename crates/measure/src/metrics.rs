//! The metrics of `evaluate`: their names, and when each is taken.

/// Every metric, as `--metric` and figures name it.
pub(crate) const NAMES: &[&str] = &[
    "accuracy",
    "balanced-accuracy",
    "auc",
    "f1",
    "f1-macro",
    "f1-weighted",
    "kappa",
    "kappa-linear",
    "kappa-quadratic",
    "top-5",
    "mae",
    "rmse",
    "agreement",
    "accuracy-drop",
    "balanced-accuracy-drop",
    "auc-drop",
    "f1-macro-drop",
    "kappa-drop",
    "mae-increase",
    "rmse-increase",
    "output-error",
    "output-sqnr",
    "output-cosine",
];

/// Metrics that are taken where they are named: they suppose an order of the classes, or repeat another.
pub(crate) const NAMED_ONLY: &[&str] = &["f1-weighted", "kappa-linear", "kappa-quadratic"];

/// Metrics of a model beside its baseline.
pub(crate) const RELATIVE: &[&str] = &["agreement", "output-error", "output-sqnr", "output-cosine"];

/// Metrics of a regression, whose labels are floats. All others but those of the outputs suppose classes.
pub(crate) const REGRESSION: &[&str] = &["mae", "rmse", "mae-increase", "rmse-increase"];

/// Those that a margin may stand for: how much worse the model is.
pub(crate) fn comparisons() -> Vec<&'static str> {
    NAMES.iter().copied().filter(|n| n.ends_with("-drop") || n.ends_with("-increase")).collect()
}

/// Whether a figure says something of two models.
pub(crate) fn compares(metric: &str) -> bool {
    metric == "latency.ratio"
        || metric == "end-to-end.ratio"
        || metric.starts_with("endpoint.")
        || RELATIVE.contains(&metric)
        || comparisons().contains(&metric)
}

/// Classes up to which the area under the curve is taken unasked: it sorts all samples once a class.
pub(crate) const SORTED_CLASSES: usize = 64;
