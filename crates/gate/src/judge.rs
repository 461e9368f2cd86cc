//! One budget after the other against the figures at hand.

use plimsoll_profile::{Basis, Bound, Budget, Limit, Metric, Profile, Source, Span, Spec, Unit};
use plimsoll_record::{BudgetSource, EndpointShift, EvidenceSource, Figure, Row, TakenOver, Verdict};

use crate::{endpoint, kind::Subject, load, note};

/// What is known of a model.
#[derive(Debug, Clone, Copy, Default)]
pub struct Evidence<'e> {
    /// Digest of the model that is judged; figures of any other are not looked at.
    pub model_digest: &'e str,
    /// Its figures; of several for one metric, the first that may settle the budget counts.
    pub figures: &'e [Figure],
    /// Figures from verified evidence, which go before those of this run. What can be counted is counted here, never taken over.
    pub taken_over: &'e [TakenOver],
    /// Figures of the baseline, for `max-increase`.
    pub baseline: &'e [Figure],
    /// Figures that were asked for and could not be had, as `metric: reason`.
    pub withheld: &'e [String],
    /// What goes with the figures of endpoints.
    pub endpoints: &'e [EndpointShift],
}

/// What is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Scope {
    /// Every budget.
    #[default]
    All,
    /// What can be counted on any machine; the rest is skipped.
    CostOnly,
}

/// Holds a model against a profile's budgets.
pub fn judge_profile(profile: &Profile, evidence: &Evidence<'_>, scope: Scope) -> Vec<Row> {
    judge(&Subject::profile(profile), evidence, scope)
}

/// Holds a model against a spec's margins, its own budgets and its endpoints.
pub fn judge_spec(spec: &Spec, evidence: &Evidence<'_>, scope: Scope) -> Vec<Row> {
    let both = [&spec.margins, &spec.budgets];
    let rows = both.into_iter().flat_map(|budgets| judge(&Subject::spec(spec, budgets), evidence, scope));
    rows.chain(endpoint::rows(spec, evidence, scope)).collect()
}

/// Holds a model against budgets: one row for each limit.
pub fn judge(subject: &Subject<'_>, evidence: &Evidence<'_>, scope: Scope) -> Vec<Row> {
    let each = |budget: &Budget| {
        let row = |limit: &Limit| Judge { subject, evidence, metric: budget.metric }.row(budget, limit, scope);
        budget.limits.iter().map(row).collect::<Vec<_>>()
    };
    subject.budgets.budgets.iter().flat_map(each).collect()
}

/// The metric whose figure judges a limit, and what that figure must rest on.
pub(crate) fn figure_of(metric: Metric, bound: Bound) -> (Metric, Basis) {
    match (bound, metric.paired_ratio()) {
        // The paired ratio of the same run, not two averages.
        (Bound::MaxIncrease(_), Some(ratio)) => (ratio, Basis::Paired),
        // Taken alike on one machine, whichever it is.
        (Bound::MaxIncrease(_), None) if metric.basis() == Basis::Machine => (metric, Basis::Paired),
        _ => (metric, metric.basis()),
    }
}

/// What was found out about one limit.
struct Finding {
    figure: Option<Figure>,
    evidence: Option<EvidenceSource>,
    baseline: Option<Figure>,
    /// Value and interval where they are not the figure's own: of an increase.
    grown: Option<(f64, [f64; 2])>,
    found: String,
    verdict: Verdict,
    note: String,
}

impl Finding {
    fn inconclusive(figure: Option<Candidate<'_>>, found: impl Into<String>, note: impl Into<String>) -> Self {
        Self {
            figure: figure.map(|c| c.figure.clone()),
            evidence: figure.and_then(|c| c.source.cloned()),
            baseline: None,
            grown: None,
            found: found.into(),
            verdict: Verdict::Inconclusive,
            note: note.into(),
        }
    }

    fn skipped(reason: &str) -> Self {
        Self { verdict: Verdict::Skipped(reason.into()), ..Self::inconclusive(None, "", "") }
    }
}

/// A figure that may settle a limit, and where it was taken over from.
#[derive(Clone, Copy)]
struct Candidate<'c> {
    figure: &'c Figure,
    source: Option<&'c EvidenceSource>,
}

pub(crate) struct Judge<'j> {
    pub(crate) subject: &'j Subject<'j>,
    pub(crate) evidence: &'j Evidence<'j>,
    pub(crate) metric: Metric,
}

impl Judge<'_> {
    fn row(&self, budget: &Budget, limit: &Limit, scope: Scope) -> Row {
        let finding = if scope == Scope::CostOnly && self.metric.is_measured() {
            Finding::skipped("only counted figures were asked for")
        } else {
            self.tolerant(budget, limit)
        };
        let held = load::Held { figure: finding.figure.as_ref(), grown: finding.grown };
        // Money is in the currency of its figure.
        let unit = finding.figure.as_ref().filter(|f| is_in(f, self.metric)).map(|f| f.unit.as_str());
        let unit = unit.unwrap_or(self.metric.unit().name());
        Row {
            profile: self.subject.name.into(),
            metric: self.metric.name().into(),
            limit: budget.words(limit),
            level: budget.level.name().into(),
            load: Some(load::load([limit.bound, budget.widened(limit)], unit, held)),
            figure: finding.figure,
            evidence: finding.evidence,
            baseline: finding.baseline,
            found: finding.found,
            verdict: finding.verdict,
            note: finding.note,
            source: place(&self.subject.budgets.source, limit),
            waiver: None,
            loosened: None,
        }
    }

    /// A limit with its tolerance: what lies between the two is kept, and the row says so.
    fn tolerant(&self, budget: &Budget, limit: &Limit) -> Finding {
        let finding = self.held(limit.bound);
        if budget.tolerance == 0.0 || finding.verdict == Verdict::Pass {
            return finding;
        }
        let widened = self.held(budget.widened(limit));
        if widened.verdict == Verdict::Pass {
            let found = format!("{}, within the tolerance", finding.found);
            return Finding { verdict: Verdict::Pass, found, note: String::new(), ..finding };
        }
        Finding { verdict: widened.verdict, note: widened.note, ..finding }
    }

    fn held(&self, bound: Bound) -> Finding {
        match bound {
            Bound::Max(max) => self.absolute(max, |bounds| below(bounds, max)),
            Bound::Min(min) => self.absolute(min, |[low, high]| below([-high, -low], -min)),
            Bound::MaxIncrease(most) => match self.metric.paired_ratio() {
                Some(ratio) => self.paired(ratio, most),
                None => self.increase(most),
            },
        }
    }

    /// A limit on the figure itself.
    fn absolute(&self, limit: f64, settle: impl Fn([f64; 2]) -> Verdict) -> Finding {
        let picked = match self.pick(self.metric.figure(), self.metric.basis(), Some(limit)) {
            Ok(picked) => picked,
            Err(finding) => return *finding,
        };
        let figure = self.scaled(picked.figure);
        let found = note::found(self.metric, &figure, Some(limit));
        let verdict = settle(figure.bounds());
        let note = match verdict {
            Verdict::Fail => note::remedy(self.metric).to_owned(),
            Verdict::Inconclusive => note::straddles(self.metric, &figure, Some(limit)),
            _ => self.lowered_elsewhere(&figure).unwrap_or_else(|| note::caveat(self.metric).to_owned()),
        };
        let evidence = picked.source.cloned();
        Finding { figure: Some(figure), evidence, baseline: None, grown: None, found, verdict, note }
    }

    /// A limit on the increase of a time: the paired ratio of the same run, not two averages.
    fn paired(&self, of_times: Metric, most: f64) -> Finding {
        let picked = match self.pick(of_times.figure(), Basis::Paired, None) {
            Ok(picked) => picked,
            Err(finding) => return *finding,
        };
        let ratio = picked.figure.clone();
        let [low, high] = ratio.bounds();
        let (grown, span) = (ratio.value - 1.0, [low - 1.0, high - 1.0]);
        let found = format!("{}, paired", note::increase(grown, span));
        let verdict = below([low, high], 1.0 + most);
        let note = match verdict {
            Verdict::Fail => note::remedy(self.metric).to_owned(),
            Verdict::Inconclusive => note::straddles(of_times, &ratio, None),
            _ => self.lowered_elsewhere(&ratio).unwrap_or_default(),
        };
        let (evidence, grown) = (picked.source.cloned(), Some((grown, span)));
        Finding { figure: Some(ratio), evidence, baseline: None, grown, found, verdict, note }
    }

    /// A limit on the increase of anything else: both figures with their whole intervals.
    fn increase(&self, most: f64) -> Finding {
        let (_, basis) = figure_of(self.metric, Bound::MaxIncrease(most));
        // Evidence holds no figure of the baseline that was taken beside the model's.
        let here = Evidence { taken_over: &[], ..*self.evidence };
        let here = Judge { subject: self.subject, evidence: &here, metric: self.metric };
        let picked = match here.pick(self.metric.figure(), basis, None) {
            Ok(picked) => picked,
            Err(finding) => return *finding,
        };
        let figure = picked.figure;
        let of_metric = |f: &&Figure| f.metric == self.metric.figure();
        let of_baseline = || self.evidence.baseline.iter().filter(of_metric);
        // Models may have been run in several executors.
        let alike = of_baseline().find(|b| unlike(figure, b).is_none());
        let Some(baseline) = alike.or_else(|| of_baseline().next()) else {
            let found = note::found(self.metric, figure, None);
            return Finding::inconclusive(
                Some(picked),
                found,
                "there is no figure of a baseline; give one with --baseline",
            );
        };
        if let Some(why) = self.obstacle(baseline, basis).or_else(|| unlike(figure, baseline)) {
            let found = note::found(self.metric, figure, None);
            return Finding::inconclusive(Some(picked), found, format!("the baseline's figure settles nothing: {why}"));
        }
        let ([low, high], [base_low, base_high]) = (figure.bounds(), baseline.bounds());
        let over = |a: f64, b: f64| if a == b { 1.0 } else { a / b };
        let span = [over(low, base_high), over(high, base_low)];
        if span.iter().any(|x| !x.is_finite()) {
            let found = note::found(self.metric, figure, None);
            return Finding::inconclusive(Some(picked), found, "the baseline's figure is zero: set an absolute limit");
        }
        let verdict = below(span, 1.0 + most);
        let shown = |f| note::found(self.metric, f, None);
        let grown = (over(figure.value, baseline.value) - 1.0, span.map(|x| x - 1.0));
        let found = format!("{}: {} after {}", note::increase(grown.0, grown.1), shown(figure), shown(baseline));
        let note = match verdict {
            Verdict::Fail => note::remedy(self.metric).to_owned(),
            Verdict::Inconclusive => note::straddles(self.metric, figure, None),
            _ => String::new(),
        };
        Finding {
            figure: Some(figure.clone()),
            evidence: picked.source.cloned(),
            baseline: Some(baseline.clone()),
            grown: Some(grown),
            found,
            verdict,
            note,
        }
    }

    /// Figures of a metric: those taken over, then those of this run.
    fn candidates<'c>(&'c self, metric: &str, basis: Basis) -> Vec<Candidate<'c>> {
        let counted = matches!(basis, Basis::Counted | Basis::Estimated);
        let over = self.evidence.taken_over.iter().filter(|_| !counted);
        let over = over.map(|t| Candidate { figure: &t.figure, source: Some(&t.source) });
        let here = self.evidence.figures.iter().map(|figure| Candidate { figure, source: None });
        over.chain(here).filter(|c| c.figure.metric == metric).collect()
    }

    /// The figure that may settle a limit, or what stands in the way.
    fn pick(&self, metric: &str, basis: Basis, limit: Option<f64>) -> Result<Candidate<'_>, Box<Finding>> {
        let of_metric = self.candidates(metric, basis);
        let own = || of_metric.iter().copied().filter(|c| c.figure.model_digest == self.evidence.model_digest);
        if let Some(found) = own().find(|c| self.obstacle(c.figure, basis).is_none()) {
            return Ok(found);
        }
        let finding = match (own().next(), of_metric.is_empty()) {
            (Some(found), _) => {
                let why = self.obstacle(found.figure, basis).unwrap_or_default();
                Finding::inconclusive(Some(found), note::found(self.metric, found.figure, limit), why)
            }
            (None, false) => {
                Finding::inconclusive(None, "no figure", format!("the figures of `{metric}` are of another model"))
            }
            (None, true) => {
                let withheld = self.evidence.withheld.iter().find_map(|w| w.strip_prefix(metric)?.strip_prefix(": "));
                let why = withheld.map_or_else(|| note::absent(self.metric, metric).to_owned(), str::to_owned);
                Finding::inconclusive(None, "no figure", why)
            }
        };
        Err(Box::new(finding))
    }

    /// Ratios hold on any machine, as far as machines run the same plans: what else is to be known of one.
    fn lowered_elsewhere(&self, figure: &Figure) -> Option<String> {
        let is_ratio = Metric::find(&figure.metric).is_some_and(|m| m.basis() == Basis::Paired);
        (is_ratio && self.subject.stranger(&figure.machine).is_some()).then(|| note::lowered_elsewhere(figure))?
    }

    /// Why a figure cannot settle a limit; `None` where it can.
    pub(crate) fn obstacle(&self, figure: &Figure, basis: Basis) -> Option<String> {
        if let Err(e) = figure.clone().checked() {
            return Some(e.to_string());
        }
        let metric = Metric::ALL.iter().copied().find(|m| m.name() == figure.metric).unwrap_or(self.metric);
        if !is_in(figure, metric) {
            return Some(format!("the figure is in `{}`, not in `{}`", figure.unit, metric.unit().name()));
        }
        if matches!(basis, Basis::Counted | Basis::Estimated) {
            return None;
        }
        if figure.build != "release" {
            return Some(format!("it was taken in a {} build, which is slower; use a release build", figure.build));
        }
        if let Some(executor) = self.subject.executor.filter(|e| *e != figure.executor) {
            return Some(format!(
                "it was taken in {}, and the budget holds in {executor}: measure with --executor {executor}{}",
                figure.executor,
                if executor == "onnxruntime" { ", whose library --ort-lib or ORT_DYLIB_PATH names" } else { "" }
            ));
        }
        if basis == Basis::Machine
            && let Some(why) = self.subject.stranger(&figure.machine)
        {
            return Some(format!(
                "{why}; measure on a machine of this profile's kind (`bench --sign` there, `check --evidence` here)"
            ));
        }
        if metric.is_relative() && figure.baseline_digest.is_empty() {
            return Some("it does not say which model it compares with".into());
        }
        if basis == Basis::Data && figure.data_digest.is_empty() {
            return Some("it does not say on which data it was taken".into());
        }
        let sampled = metric.is_sampled() && figure.interval.is_none();
        sampled.then(|| format!("the figure carries no interval (n = {}): too few independent samples", figure.n))
    }

    /// The real-time factor is the time over the hop.
    fn scaled(&self, figure: &Figure) -> Figure {
        let Some(hop) = self.subject.hop.filter(|_| self.metric == Metric::RealTimeFactor) else {
            return figure.clone();
        };
        Figure {
            metric: self.metric.name().into(),
            value: figure.value / hop,
            unit: self.metric.unit().name().into(),
            interval: figure.interval.map(|bounds| bounds.map(|b| b / hop)),
            method: format!("{} over the hop of {hop} s; {}", figure.metric, figure.method),
            ..figure.clone()
        }
    }
}

/// Pass where the whole interval lies at or below a limit, fail where the whole interval lies above it. The last digits of a
/// rounding (10 % of 1000 is 100.00000000000001) decide nothing.
pub(crate) fn below([low, high]: [f64; 2], limit: f64) -> Verdict {
    let limit = limit + limit.abs() * 1e-12;
    match (high <= limit, low > limit) {
        (true, _) => Verdict::Pass,
        (_, true) => Verdict::Fail,
        _ => Verdict::Inconclusive,
    }
}

/// Why a figure settles nothing of a profile: it comes from another executor, another kind of machine, or is none.
pub fn obstacle(profile: &Profile, figure: &Figure) -> Option<String> {
    let metric = Metric::find(&figure.metric)?;
    if profile.executor.is_none() && metric.is_measured() {
        return Some(format!("no executor here runs models for {}", profile.name));
    }
    let (subject, evidence) = (Subject::profile(profile), Evidence::default());
    Judge { subject: &subject, evidence: &evidence, metric }.obstacle(figure, metric.basis())
}

/// Whether a figure is in the unit of its metric: money in some currency, which is that of its limits.
pub(crate) fn is_in(figure: &Figure, metric: Metric) -> bool {
    match metric.unit() {
        Unit::Money => figure.unit.len() == 3 && figure.unit.bytes().all(|b| b.is_ascii_uppercase()),
        unit => figure.unit == unit.name(),
    }
}

/// Why two figures cannot be compared.
fn unlike(figure: &Figure, baseline: &Figure) -> Option<String> {
    if figure.executor != baseline.executor || figure.executor_version != baseline.executor_version {
        return Some("it was taken in another executor".into());
    }
    (figure.machine != baseline.machine).then(|| "it was taken on another machine".into())
}

pub(crate) fn place(source: &Source, limit: &Limit) -> BudgetSource {
    place_of(source, limit.span)
}

pub(crate) fn place_of(source: &Source, at: Span) -> BudgetSource {
    let (place, (file, span)) = (source.place(at), source.file_of(at));
    BudgetSource {
        file: file.path().display().to_string(),
        line: place.line as u64,
        column: place.column as u64,
        offset: span.start as u64,
        length: span.end.saturating_sub(span.start) as u64,
        text: source.line(at).to_owned(),
    }
}
