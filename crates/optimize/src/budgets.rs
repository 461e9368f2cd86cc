//! The budgets of a spec and its profiles, asked of an assessed model.

use plimsoll_gate::{Evidence, Scope, Subject, Wanted, judge_profile, judge_spec, report, waive, wanted};
use plimsoll_measure::{Endpoint, EndpointOf, ShiftStatistic};
use plimsoll_profile::{Day, Metric, Profile, Spec};
use plimsoll_record::{Figure, Forecast, Machine, Report, Row};

use crate::{Assessed, derived::derive, forecast};

/// What models are held against.
#[derive(Debug, Clone, Copy, Default)]
pub struct Budgeted<'b> {
    /// The spec's margins and own budgets, where there is a spec.
    pub spec: Option<&'b Spec>,
    /// Servers and devices.
    pub profiles: &'b [Profile],
    /// Only what can be counted; the rest is skipped.
    pub cost_only: bool,
    /// The day on which the spec's waivers hold; without it none does.
    pub today: Option<Day>,
}

impl Budgeted<'_> {
    /// Whether any budget needs the model to be run.
    pub fn needs_measuring(&self) -> bool {
        let spec = self
            .spec
            .is_some_and(|s| s.budgets.needs_measuring() || s.margins.needs_measuring() || !s.endpoints.is_empty());
        spec || self.profiles.iter().any(|p| p.budgets.needs_measuring())
    }

    /// The metrics of all budgets.
    pub fn asked(&self) -> Vec<Metric> {
        let of_spec = self.spec.into_iter().flat_map(|s| [&s.margins, &s.budgets]);
        let all = of_spec.chain(self.profiles.iter().map(|p| &p.budgets));
        let mut asked: Vec<Metric> = all.flat_map(|b| b.budgets.iter().map(|b| b.metric)).collect();
        asked.sort_unstable();
        asked.dedup();
        asked
    }

    /// Everything that is asked for, with what was found.
    pub fn report(&self, name: &str, model_digest: &str, assessed: &Assessed) -> Report {
        let mut rows = self.rows(model_digest, assessed);
        let remarks = self.waive(&mut rows);
        let endpoints = assessed.endpoints.clone();
        Report { endpoints, remarks, ..report(name, model_digest, rows, assessed.withheld.clone()) }
    }

    /// How long what runs today will do, by each profile; and what the listed types of instances cost beside each other.
    pub fn forecast(&self, assessed: &Assessed, today: Day) -> (Vec<Forecast>, Vec<String>) {
        let of_one = |p: &Profile| forecast::forecast(p, assessed, &derive(p, assessed), today);
        let remarks = self.profiles.iter().filter_map(|p| forecast::remark(p, assessed));
        (self.profiles.iter().flat_map(of_one).collect(), remarks.collect())
    }

    /// What a month costs over all profiles that say what they are charged and how much is asked of them; `None` where one of them cannot
    /// be worked out, or none is charged anything.
    pub fn monthly_cost(&self, assessed: &Assessed) -> Option<f64> {
        let charged = self.profiles.iter().filter(|p| p.server.as_ref().is_some_and(|s| s.price.is_some()));
        let of = |profile: &Profile| {
            let derived = derive(profile, assessed);
            let here = |f: &&Figure| {
                f.metric == Metric::MonthlyCost.figure() && profile.executor.is_some_and(|e| e.name() == f.executor)
            };
            derived.figures.iter().find(here).map(|f| f.value)
        };
        let costs: Vec<f64> = charged.map(of).collect::<Option<_>>()?;
        (!costs.is_empty()).then(|| costs.iter().sum())
    }

    /// The spec's endpoints, as they are measured.
    pub fn endpoints(&self) -> Vec<Endpoint> {
        self.spec.map(|s| s.endpoints.iter().map(measured).collect()).unwrap_or_default()
    }

    /// What is left to measure where evidence has been taken over, on a machine like `here`.
    pub fn wanted(&self, model_digest: &str, assessed: &Assessed, here: &Machine) -> Vec<Wanted<'_>> {
        let evidence = evidence(model_digest, assessed);
        let of_spec = self.spec.into_iter().flat_map(|s| [&s.margins, &s.budgets].map(|b| Subject::spec(s, b)));
        let subjects = of_spec.chain(self.profiles.iter().map(Subject::profile));
        subjects.flat_map(|subject| wanted(&subject, &evidence, here)).collect()
    }

    /// Puts the spec's waivers to rows, and says which of them do nothing.
    pub fn waive(&self, rows: &mut [Row]) -> Vec<String> {
        self.spec.zip(self.today).map(|(spec, today)| waive(rows, spec, today)).unwrap_or_default()
    }

    /// A row for each limit, as it stands without waivers.
    pub fn rows(&self, model_digest: &str, assessed: &Assessed) -> Vec<Row> {
        let scope = if self.cost_only { Scope::CostOnly } else { Scope::All };
        let evidence = evidence(model_digest, assessed);
        let mut rows = self.spec.map(|s| judge_spec(s, &evidence, scope)).unwrap_or_default();
        for profile in self.profiles {
            let derived = derive(profile, assessed);
            let figures = [&assessed.figures[..], &derived.figures].concat();
            let taken_over = [&assessed.taken_over[..], &derived.taken_over].concat();
            let baseline = [&assessed.baseline[..], &derived.baseline].concat();
            let withheld = [&derived.withheld[..], &assessed.withheld].concat();
            let (figures, taken_over, baseline) = (&figures[..], &taken_over[..], &baseline[..]);
            let evidence = Evidence { figures, taken_over, baseline, withheld: &withheld, ..evidence };
            rows.extend(judge_profile(profile, &evidence, scope));
        }
        rows
    }
}

fn measured(endpoint: &plimsoll_profile::Endpoint) -> Endpoint {
    let statistic = |statistic| match statistic {
        plimsoll_profile::ShiftStatistic::Mean => ShiftStatistic::Mean,
        plimsoll_profile::ShiftStatistic::P95 => ShiftStatistic::P95,
        plimsoll_profile::ShiftStatistic::Max => ShiftStatistic::Max,
    };
    Endpoint {
        name: endpoint.name.value.clone(),
        of: match endpoint.of {
            plimsoll_profile::EndpointOf::Total => EndpointOf::Total,
            plimsoll_profile::EndpointOf::Onset { lasting } => EndpointOf::Onset { lasting: lasting.0 },
        },
        class: endpoint.class,
        class_name: endpoint.class_name.clone(),
        per: endpoint.per.0,
        limits: endpoint.limits.iter().map(|l| (statistic(l.statistic), l.seconds())).collect(),
    }
}

fn evidence<'e>(model_digest: &'e str, assessed: &'e Assessed) -> Evidence<'e> {
    Evidence {
        model_digest,
        figures: &assessed.figures,
        taken_over: &assessed.taken_over,
        baseline: &assessed.baseline,
        withheld: &assessed.withheld,
        endpoints: &assessed.endpoints,
    }
}
