//! Instances that a load needs, what they cost, and what is stored and sent.

use plimsoll_cost::{
    queue::{Patience, Station},
    server::{DAY, GIGABYTE, HOURS_A_MONTH, Limits, Load, Month, capacity, instances, kept},
};
use plimsoll_profile::{Metric, Profile, Server};
use plimsoll_record::Figure;

use super::{Time, counted, plain};

/// Share of the calls that `max-wait` and `wait.p99` speak of.
const PATIENT: f64 = 0.99;

/// A type of instance.
#[derive(Debug, Clone, Copy)]
struct Kind<'k> {
    name: &'k str,
    cores: u64,
    /// Bytes.
    memory: Option<f64>,
    /// An hour.
    price: Option<f64>,
}

/// What is asked of a server, and one way to answer it.
pub(crate) struct Plan<'p> {
    server: &'p Server,
    load: Load,
    limits: Limits,
    today: Kind<'p>,
    time: Time<'p>,
}

impl<'p> Plan<'p> {
    /// `None` where the profile says too little to plan with.
    pub(crate) fn new(profile: &'p Profile, time: Time<'p>) -> Option<Self> {
        let server = profile.server.as_ref()?;
        let load = Load { calls_a_day: server.inferences_per_day?, peak_to_mean: server.peak_to_mean? };
        let patience = server.max_wait.map(|w| Patience { seconds: w.0, share: PATIENT });
        let limits = Limits { ceiling: server.utilization?.0, patience };
        let today = Kind {
            name: server.kind.as_deref().unwrap_or(&profile.name),
            cores: profile.hardware.cores?,
            memory: profile.hardware.memory.map(|m| m.0 as f64),
            price: server.price.as_ref().map(|p| p.amount),
        };
        Some(Self { server, load, limits, today, time })
    }

    /// Calls that a type serves at once: as many processes as cores and memory hold.
    fn servers(&self, kind: Kind<'_>) -> Result<u64, String> {
        let threads = self.time.mean.machine.threads.max(1) as u64;
        let by_cores = kind.cores / threads;
        if by_cores == 0 {
            return Err(format!(
                "the time was measured with {threads} threads, and {} has {} cores",
                kind.name, kind.cores
            ));
        }
        let by_memory = kind.memory.zip(self.time.memory).map(|(memory, peak)| (memory / peak.value.max(1.0)) as u64);
        match by_memory {
            Some(0) => Err(format!("one process needs more memory than {} has", kind.name)),
            Some(n) => Ok(by_cores.min(n)),
            None => Ok(by_cores),
        }
    }

    /// The value and the ends of what follows from the time of service and its variation.
    fn through(&self, kind: Kind<'_>, of: impl Fn(Station) -> Option<f64>) -> Option<(f64, Option<[f64; 2]>)> {
        let servers = self.servers(kind).ok()?;
        let variation = self.time.variation?;
        let at = |service, variation| of(Station { servers, service, variation });
        let ends = self.time.mean.interval.map(|[low, high]| {
            let [calm, wild] = variation.bounds();
            Some([at(low, calm)?, at(high, wild)?])
        });
        Some((at(self.time.mean.value, variation.value)?, ends.flatten()))
    }

    /// Instances of a type that the load needs.
    fn needed(&self, kind: Kind<'_>) -> Option<(f64, Option<[f64; 2]>)> {
        self.through(kind, |station| instances(self.load, station, self.limits))
    }

    /// Inferences a day that today's instances carry.
    pub(crate) fn capacity(&self) -> Option<(f64, Option<[f64; 2]>)> {
        let today = self.server.instances.as_ref()?.value.0 as f64;
        self.through(self.today, |station| capacity(today, self.load.peak_to_mean, station, self.limits))
    }

    /// Of all types that are listed, today's too, the one that the load is cheapest on, and how it stands beside today's.
    pub(crate) fn cheapest(&self) -> Option<String> {
        let others = self.server.types.iter().map(|t| Kind {
            name: &t.name,
            cores: t.cores,
            memory: t.memory.map(|m| m.0 as f64),
            price: Some(t.price.amount),
        });
        let currency = self.server.currency()?;
        let priced = |kind: Kind<'p>| {
            // Of an interval, what is needed at the worst.
            let (value, ends) = self.needed(kind)?;
            let most = ends.map_or(value, |e| e[0].max(e[1]));
            Some((most * kind.price? * HOURS_A_MONTH, most, kind.name))
        };
        let all: Vec<(f64, f64, &str)> = std::iter::once(self.today).chain(others).filter_map(priced).collect();
        let tell = |(cost, most, name): &(f64, f64, &str)| format!("{most} × {name} ({cost:.2} {currency} a month)");
        let today = all.first().filter(|(_, _, name)| *name == self.today.name)?;
        let best = all.iter().min_by(|a, b| a.0.total_cmp(&b.0))?;
        let running = self.server.instances.as_ref().map(|i| i.value.0 as f64);
        let holds = match running {
            Some(n) if today.1 <= n => format!("today's {n} × {} hold", today.2),
            Some(n) => {
                format!("today's {n} × {} do not hold for certain: the load needs up to {}", today.2, tell(today))
            }
            None => format!("the load needs up to {}", tell(today)),
        };
        Some(if best.2 == today.2 {
            format!("{holds}; no listed type is cheaper for this load than {}", tell(today))
        } else {
            format!("{holds}; of the listed types {} is the cheapest for this load", tell(best))
        })
    }

    /// How the instances are reckoned, in a line.
    fn words(&self) -> String {
        let peak = format!(
            "{} calls a day / {} × {} = {} in the busiest second",
            plain(self.load.calls_a_day),
            plain(DAY),
            plain(self.load.peak_to_mean),
            plain(self.load.peak())
        );
        let wait = self.limits.patience.map(|p| format!(", waits of {} at most for 99 in 100", super::time(p.seconds)));
        let cv = self.time.variation.map_or(0.0, |v| v.value);
        format!(
            "{peak}; {} a call (mean), cv {}, M/G/{} on {} up to {} %{}",
            super::time(self.time.mean.value),
            plain(cv),
            self.servers(self.today).unwrap_or(0),
            self.today.name,
            plain(self.limits.ceiling * 100.0),
            wait.unwrap_or_default()
        )
    }
}

/// What a measured time means for a server; or why nothing can be said.
pub(crate) fn of_time(profile: &Profile, time: Time<'_>, counts: &[Figure]) -> Result<Vec<Figure>, String> {
    let Some(plan) = Plan::new(profile, time) else { return Ok(vec![]) };
    plan.servers(plan.today)?;
    if time.variation.is_none() {
        return Err("`latency.cv` was not measured beside the mean time".into());
    }
    let mut found = Vec::new();
    let words = plan.words();
    let load = plan.load;
    let needed = plan.needed(plan.today);
    if let Some((value, ends)) = needed {
        found.extend(time.figure(Metric::Instances, value, ends, words.clone()));
        found.extend(cost(&plan, value, ends, counts));
    }
    if let Some(today) = plan.server.instances.as_ref().map(|i| i.value.0 as f64) {
        let each = load.peak() / today;
        let used = plan.through(plan.today, |station| Some(station.utilization(each)));
        let waits = plan.through(plan.today, |station| station.wait(each, PATIENT));
        let promised = plan.through(plan.today, |station| station.safe_wait(each, PATIENT));
        let method = format!("on {today} instance(s); {words}");
        found.extend(used.and_then(|(v, ends)| time.figure(Metric::Utilization, v, ends, method.clone())));
        found.extend(waits.and_then(|(v, ends)| {
            let method = format!("Erlang C, Allen–Cunneen, exponential tail, the upper end with a margin; {method}");
            let most = promised.map_or(v, |(v, ends)| ends.map_or(v, |e| e[0].max(e[1])));
            time.figure(Metric::WaitP99, v, Some([ends.map_or(v, |e| e[0].min(e[1])), most]), method)
        }));
        found.extend(plan.capacity().and_then(|(v, ends)| {
            let round = |x: f64| x.floor();
            time.figure(Metric::Capacity, round(v), ends.map(|e| e.map(round)), method.clone())
        }));
    }
    Ok(found)
}

/// The cost of a month and of a million inferences with so many instances of today's type.
fn cost(plan: &Plan<'_>, value: f64, ends: Option<[f64; 2]>, counts: &[Figure]) -> Vec<Figure> {
    let (server, time) = (plan.server, plan.time);
    let Some((price, currency)) = plan.today.price.zip(server.currency()) else { return vec![] };
    let size = counts.iter().find(|f| f.metric == Metric::ArtifactSize.figure()).map(|f| f.value);
    let stored = size.and_then(|size| stored(server, size));
    let sent = size.zip(server.devices).map(|(size, devices)| size * devices.0 as f64 * server.rollouts.unwrap_or(0.0));
    let amount = |price: &Option<plimsoll_profile::Money>| price.as_ref().map_or(0.0, |p| p.amount);
    let (price_stored, price_sent) = (amount(&server.storage_price), amount(&server.transfer_price));
    let month = |n: f64| Month::of(n, price, stored.unwrap_or(0.0), price_stored, sent.unwrap_or(0.0), price_sent);
    let mut method = format!("{value} instance(s) × {price} {currency}/h × {HOURS_A_MONTH} h");
    let mut part = |bytes: Option<f64>, price: f64, what: &str| {
        if let Some(bytes) = bytes.filter(|b| *b > 0.0 && price > 0.0) {
            method.push_str(&format!(" + {} GB {what} × {price} {currency}", plain(bytes / GIGABYTE)));
        }
    };
    part(stored, price_stored, "stored");
    part(sent, price_sent, "sent");
    let per_million = |n: f64| month(n).per_million(plan.load.calls_a_day);
    let each = format!("({method}) / {} million inferences a month", plain(plan.load.calls_a_day * 365.0 / 12.0 / 1e6));
    let money = |metric, value: f64, ends: Option<[f64; 2]>, method: String| {
        time.figure(metric, value, ends, method).map(|f| Figure { unit: currency.to_owned(), ..f })
    };
    let total = |n: f64| month(n).total();
    [
        money(Metric::MonthlyCost, total(value), ends.map(|e| e.map(total)), method),
        money(Metric::CostPerMillion, per_million(value), ends.map(|e| e.map(per_million)), each),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Bytes that are kept.
fn stored(server: &Server, size: f64) -> Option<f64> {
    let versions = server.versions.map_or(0.0, |v| v.0 as f64);
    let outputs = server.output.map(|o| o.0 as f64).zip(server.keep).zip(server.inferences_per_day);
    let ((output, keep), calls) = outputs.map_or(((0.0, 0.0), 0.0), |((o, k), calls)| ((o, k.0), calls));
    (server.versions.is_some() || outputs.is_some()).then(|| kept(size, versions, output, calls, keep))
}

/// What is stored, and what a roll-out sends: counted, no run is needed.
pub(crate) fn stored_and_sent(profile: &Profile, figures: &[Figure]) -> Vec<Figure> {
    let size = figures.iter().find(|f| f.metric == Metric::ArtifactSize.figure());
    let Some((server, size)) = profile.server.as_ref().zip(size) else { return vec![] };
    let bytes = plain(size.value);
    let storage = stored(server, size.value).and_then(|total| {
        let mut parts = Vec::new();
        if let Some(versions) = server.versions {
            parts.push(format!("{bytes} bytes × {} versions", plain(versions.0 as f64)));
        }
        if let Some(((output, keep), calls)) = server.output.zip(server.keep).zip(server.inferences_per_day) {
            let (output, days) = (plain(output.0 as f64), plain(keep.0 / DAY));
            parts.push(format!("{output} bytes × {} inferences a day × {days} days", plain(calls)));
        }
        counted(size, Metric::Storage, total, parts.join(" + "))
    });
    let transfer = server.devices.and_then(|devices| {
        let devices = devices.0 as f64;
        let method = format!("{bytes} bytes × {} devices", plain(devices));
        counted(size, Metric::TransferPerRollout, size.value * devices, method)
    });
    storage.into_iter().chain(transfer).collect()
}
