//! Populations to draw samples from: their metrics are known, so that it can be counted how often an interval holds them.

use plimsoll_stats::{Estimate, Groups, Loss, Random, metrics};

/// How samples come.
#[derive(Debug, Clone, Copy)]
pub(super) enum Design {
    /// Independent samples.
    Samples(usize),
    /// Groups of about 30 samples each, alike within a group.
    Groups(usize),
    /// The same, but of 10 to 120 samples each.
    UnequalGroups(usize),
}

impl Design {
    fn sizes(self, random: &mut Random) -> Vec<usize> {
        match self {
            Self::Samples(n) => vec![1; n],
            Self::Groups(g) => (0..g).map(|_| 25 + random.below(11)).collect(),
            Self::UnequalGroups(g) => {
                (0..g).map(|_| (10.0 * (random.unit() * 12f64.ln()).exp()).round() as usize).collect()
            }
        }
    }

    /// The same design with about so many samples.
    fn population(self, samples: usize) -> Self {
        match self {
            Self::Samples(_) => Self::Samples(samples),
            Self::Groups(_) => Self::Groups(samples / 30),
            Self::UnequalGroups(_) => Self::UnequalGroups(samples / 44),
        }
    }

    fn is_grouped(self) -> bool {
        !matches!(self, Self::Samples(_))
    }
}

/// A population.
#[derive(Debug, Clone, Copy)]
pub(super) enum World {
    /// Two classes; the model's separation and the baseline's. Groups differ in prevalence, level and separation.
    Binary { model: f64, baseline: f64, prevalence: f64 },
    /// So many classes of unequal frequency.
    Classes { classes: usize, model: f64, baseline: f64 },
    /// Rows of values with noise on them, the model's 5 % larger than the baseline's.
    Values,
}

/// Samples of a population.
pub(super) struct Data {
    pub(super) classes: usize,
    pub(super) labels: Vec<usize>,
    /// Row-major scores of the model and of the baseline.
    pub(super) scores: [Vec<f64>; 2],
    /// What values should be, in the same shape.
    pub(super) wanted: Vec<f64>,
    pub(super) groups: Option<Groups>,
}

/// What is counted: a name, and how it comes of samples.
pub(super) type Metric = (&'static str, fn(&Data) -> Option<Estimate>);
/// A comparison: a name, and how it comes of samples.
pub(super) type Comparison = (&'static str, fn(&Data) -> Option<Loss>);

impl World {
    pub(super) fn draw(self, design: Design, random: &mut Random) -> Data {
        let sizes = design.sizes(random);
        let alike = if design.is_grouped() { 1.0 } else { 0.0 };
        let mut data = Data { classes: 2, labels: vec![], scores: [vec![], vec![]], wanted: vec![], groups: None };
        let mut names = Vec::new();
        for (group, size) in sizes.iter().enumerate() {
            match self {
                Self::Binary { model, baseline, prevalence } => {
                    // Of the group: how its classes are mixed, where its scores lie, how hard it is; and how both models differ in it.
                    let odds = (prevalence / (1.0 - prevalence)).ln() + alike * 0.6 * normal(random);
                    let level = alike * 0.4 * normal(random);
                    let ease = alike * 0.3 * normal(random);
                    let own = [alike * 0.15 * normal(random), alike * 0.15 * normal(random)];
                    for _ in 0..*size {
                        let label = usize::from(random.unit() < 1.0 / (1.0 + (-odds).exp()));
                        let sign = if label == 1 { 1.0 } else { -1.0 };
                        let common = 0.9f64.sqrt() * normal(random);
                        data.labels.push(label);
                        for (i, separation) in [model, baseline].into_iter().enumerate() {
                            let score =
                                sign * (separation + ease) + level + own[i] + common + 0.1f64.sqrt() * normal(random);
                            data.scores[i].extend([-score, score]);
                        }
                    }
                }
                Self::Classes { classes, model, baseline } => {
                    data.classes = classes;
                    let levels: Vec<f64> = (0..classes).map(|_| alike * 0.4 * normal(random)).collect();
                    let ease = alike * 0.3 * normal(random);
                    for _ in 0..*size {
                        // The first class is the most frequent, the last half as frequent.
                        let label = loop {
                            let label = random.below(classes);
                            if random.unit() * 2.0 < 2.0 - label as f64 / (classes - 1) as f64 {
                                break label;
                            }
                        };
                        let common: Vec<f64> = (0..classes).map(|_| 0.8f64.sqrt() * normal(random)).collect();
                        data.labels.push(label);
                        for (i, separation) in [model, baseline].into_iter().enumerate() {
                            let row: Vec<f64> = (0..classes)
                                .map(|c| {
                                    let right = if c == label { separation + ease } else { 0.0 };
                                    right + levels[c] + common[c] + 0.2f64.sqrt() * normal(random)
                                })
                                .collect();
                            let total: f64 = row.iter().map(|v| v.exp()).sum();
                            data.scores[i].extend(row.iter().map(|v| v.exp() / total));
                        }
                    }
                }
                Self::Values => {
                    data.classes = 4;
                    let bias = alike * 0.4 * normal(random);
                    let noise = 0.1 * (alike * 0.3 * normal(random)).exp();
                    for _ in 0..*size {
                        let loud = (0.3 * normal(random)).exp();
                        data.labels.push(0);
                        for _ in 0..data.classes {
                            let wanted = loud * normal(random);
                            let common = bias + 0.8f64.sqrt() * normal(random);
                            data.wanted.push(wanted);
                            for (i, larger) in [1.05, 1.0].into_iter().enumerate() {
                                let own = 0.2f64.sqrt() * normal(random);
                                data.scores[i].push(wanted + noise * larger * (common + own));
                            }
                        }
                    }
                }
            }
            names.extend(std::iter::repeat_n(group as i64, *size));
        }
        data.groups = design.is_grouped().then(|| Groups::new(&names));
        data
    }

    pub(super) fn metrics(self) -> Vec<Metric> {
        match self {
            Self::Binary { .. } => vec![
                ("accuracy", |d| metrics::share(&d.hits(0))),
                ("balanced accuracy", |d| metrics::balanced_accuracy(&d.labels, &d.predicted(0))),
                ("F1 of class 1", |d| metrics::f1(&d.labels, &d.predicted(0), metrics::Average::Class(1))),
                ("macro F1", |d| metrics::f1(&d.labels, &d.predicted(0), metrics::Average::Macro)),
                ("kappa", |d| metrics::kappa(&d.labels, &d.predicted(0), metrics::Weights::None)),
                ("AUC", |d| metrics::auc(&d.margin(0), &d.positive())),
                ("recall of class 1", |d| metrics::recall(&d.labels, &d.predicted(0), 1)),
                ("precision of class 1", |d| metrics::precision(&d.labels, &d.predicted(0), 1)),
                ("agreement", |d| {
                    let same = d.predicted(0).iter().zip(d.predicted(1)).map(|(a, b)| *a == b).collect::<Vec<_>>();
                    metrics::share(&same)
                }),
            ],
            Self::Classes { .. } => vec![
                ("accuracy", |d| metrics::share(&d.hits(0))),
                ("balanced accuracy", |d| metrics::balanced_accuracy(&d.labels, &d.predicted(0))),
                ("macro F1", |d| metrics::f1(&d.labels, &d.predicted(0), metrics::Average::Macro)),
                ("weighted F1", |d| metrics::f1(&d.labels, &d.predicted(0), metrics::Average::Weighted)),
                ("kappa", |d| metrics::kappa(&d.labels, &d.predicted(0), metrics::Weights::None)),
                ("linear kappa", |d| metrics::kappa(&d.labels, &d.predicted(0), metrics::Weights::Linear)),
                ("quadratic kappa", |d| metrics::kappa(&d.labels, &d.predicted(0), metrics::Weights::Quadratic)),
                ("AUC, one vs rest", |d| d.one_vs_rest(0)),
                ("top-2", |d| {
                    let rows = d.scores[0].chunks_exact(d.classes);
                    let hits: Vec<bool> = rows.zip(&d.labels).map(|(row, &l)| metrics::in_top(row, l, 2)).collect();
                    metrics::share(&hits)
                }),
            ],
            Self::Values => vec![
                ("MAE", |d| metrics::mae(&d.first(&d.scores[0]), &d.first(&d.wanted))),
                ("RMSE", |d| metrics::rmse(&d.first(&d.scores[0]), &d.first(&d.wanted))),
                ("SQNR", |d| metrics::sqnr(&d.scores[0], &d.wanted, d.classes)),
                ("relative error", |d| metrics::relative_error(&d.scores[0], &d.wanted, d.classes)),
                ("cosine", |d| metrics::cosine(&d.scores[0], &d.wanted, d.classes)),
            ],
        }
    }

    pub(super) fn comparisons(self) -> Vec<Comparison> {
        match self {
            Self::Binary { .. } => vec![
                ("accuracy", |d| Loss::of_hits(&d.hits(1), &d.hits(0))),
                ("balanced accuracy", |d| {
                    let of = |i| metrics::balanced_accuracy(&d.labels, &d.predicted(i));
                    Some(Loss::of_merit(&of(1)?, &of(0)?))
                }),
                ("F1 of class 1", |d| {
                    let of = |i| metrics::f1(&d.labels, &d.predicted(i), metrics::Average::Class(1));
                    Some(Loss::of_merit(&of(1)?, &of(0)?))
                }),
                ("kappa", |d| {
                    let of = |i| metrics::kappa(&d.labels, &d.predicted(i), metrics::Weights::None);
                    Some(Loss::of_merit(&of(1)?, &of(0)?))
                }),
                ("AUC", |d| {
                    let of = |i| metrics::auc(&d.margin(i), &d.positive());
                    Some(Loss::of_merit(&of(1)?, &of(0)?))
                }),
            ],
            Self::Classes { .. } => vec![
                ("accuracy", |d| Loss::of_hits(&d.hits(1), &d.hits(0))),
                ("macro F1", |d| {
                    let of = |i| metrics::f1(&d.labels, &d.predicted(i), metrics::Average::Macro);
                    Some(Loss::of_merit(&of(1)?, &of(0)?))
                }),
                ("AUC, one vs rest", |d| Some(Loss::of_merit(&d.one_vs_rest(1)?, &d.one_vs_rest(0)?))),
            ],
            Self::Values => vec![
                ("MAE", |d| {
                    let of = |i: usize| metrics::mae(&d.first(&d.scores[i]), &d.first(&d.wanted));
                    Some(Loss::of_error(&of(1)?, &of(0)?))
                }),
                ("RMSE", |d| {
                    let of = |i: usize| metrics::rmse(&d.first(&d.scores[i]), &d.first(&d.wanted));
                    Some(Loss::of_error(&of(1)?, &of(0)?))
                }),
            ],
        }
    }

    /// The metrics and losses of so many samples that they are the population's.
    pub(super) fn truth(self, design: Design, samples: usize) -> Truth {
        let data = self.draw(design.population(samples), &mut Random::new(1));
        Truth {
            metrics: self.metrics().iter().map(|(_, of)| of(&data).map_or(f64::NAN, |e| e.value())).collect(),
            losses: self.comparisons().iter().map(|(_, of)| of(&data).map_or(f64::NAN, |l| l.value())).collect(),
        }
    }
}

/// What is true of a population, in the order of [`World::metrics`] and [`World::comparisons`].
pub(super) struct Truth {
    pub(super) metrics: Vec<f64>,
    pub(super) losses: Vec<f64>,
}

impl Data {
    pub(super) fn predicted(&self, i: usize) -> Vec<usize> {
        let best = |row: &[f64]| row.iter().enumerate().fold(0, |best, (c, v)| if *v > row[best] { c } else { best });
        self.scores[i].chunks_exact(self.classes).map(best).collect()
    }

    pub(super) fn hits(&self, i: usize) -> Vec<bool> {
        self.predicted(i).iter().zip(&self.labels).map(|(p, l)| p == l).collect()
    }

    pub(super) fn margin(&self, i: usize) -> Vec<f64> {
        self.scores[i].chunks_exact(2).map(|row| row[1]).collect()
    }

    pub(super) fn positive(&self) -> Vec<bool> {
        self.labels.iter().map(|l| *l == 1).collect()
    }

    fn one_vs_rest(&self, i: usize) -> Option<Estimate> {
        let column = |c: usize| self.scores[i].chunks_exact(self.classes).map(|row| row[c]).collect();
        metrics::auc_one_vs_rest(column, &self.labels, self.classes)
    }

    fn first(&self, table: &[f64]) -> Vec<f64> {
        table.chunks_exact(self.classes).map(|row| row[0]).collect()
    }
}

/// A standard normal (Box and Muller).
pub(super) fn normal(random: &mut Random) -> f64 {
    let radius = (-2.0 * (1.0 - random.unit()).ln()).sqrt();
    radius * (2.0 * std::f64::consts::PI * random.unit()).cos()
}
