//! What a budget needs to know of a profile, so that a limit that nothing could ever judge is refused where it is written.

use std::sync::Arc;

use crate::{
    budget::{Bound, Budget, Level, Limit},
    error::Problem,
    hardware::{ByType, Hardware, Power, Stream},
    metric::{Metric, Unit},
    money::Money,
    reader::{FromToml as _, Table, Value},
    server::Server,
    source::{Source, Span},
};

/// Facts of a profile.
pub(crate) struct Facts {
    pub(crate) hardware: Hardware,
    pub(crate) stream: Option<Stream>,
    pub(crate) power: Option<Power>,
    pub(crate) server: Option<Server>,
}

/// Something that a profile may state: any of some keys of a table.
#[derive(Clone, Copy)]
struct Fact {
    keys: &'static [&'static str],
    table: &'static str,
}

const fn fact(keys: &'static [&'static str], table: &'static str) -> Fact {
    Fact { keys, table }
}

const FLASH: Fact = fact(&["flash"], "hardware");
const CORES: Fact = fact(&["cores"], "hardware");
const ROOFLINE: [Fact; 3] =
    [fact(&["clock"], "hardware"), fact(&["macs-per-cycle"], "hardware"), fact(&["memory-bandwidth"], "hardware")];
const HOP: Fact = fact(&["hop"], "stream");
const ACTIVE: Fact = fact(&["active"], "power");
const IDLE: Fact = fact(&["idle"], "power");
const BATTERY: Fact = fact(&["battery"], "power");
const CALLS: Fact = fact(&["inferences-per-day", "inferences-per-device"], "server");
const LOAD: [Fact; 4] = [CALLS, fact(&["peak-to-mean"], "server"), fact(&["utilization"], "server"), CORES];
const TODAY: Fact = fact(&["instances"], "server");
const PRICE: Fact = fact(&["price"], "server");
const DEVICES: Fact = fact(&["devices"], "server");
const KEPT: Fact = fact(&["versions", "output"], "server.storage");

impl Fact {
    /// Whether it is written at all; what is wrong with it is told already.
    fn is_written(self, table: &Table<'_>) -> bool {
        let mut entries = table.entries();
        for part in self.table.split('.') {
            match entries.get(part).and_then(|v| v.get_ref().as_table()) {
                Some(inner) => entries = inner,
                None => return false,
            }
        }
        self.keys.iter().any(|key| entries.contains_key(*key))
    }

    fn words(self) -> String {
        let keys: Vec<String> = self.keys.iter().map(|k| format!("`{k}`")).collect();
        format!("{} in [{}]", keys.join(" or "), self.table)
    }
}

impl Facts {
    /// The limit that a server sets by the instances that it runs today, unless it has been set as a budget.
    pub(crate) fn of_today(&self, source: &Source, budgets: &[Budget]) -> Option<Budget> {
        let today = self.server.as_ref()?.instances.as_ref()?;
        if budgets.iter().any(|b| b.metric == Metric::Instances) {
            return None;
        }
        let text = source.slice(today.span).trim_matches(['"', '\'']).to_owned();
        let limit = Limit { bound: Bound::Max(today.value.0 as f64), text, span: today.span };
        Some(Budget { metric: Metric::Instances, limits: vec![limit], level: Level::Error, tolerance: 0.0 })
    }

    /// Reports what a budget needs and the profile does not say.
    pub(crate) fn check(&self, table: &Table<'_>, budget: &Budget, span: Span, source: &Arc<Source>) {
        let mut absent: Vec<String> = Vec::new();
        for fact in self.needed(budget.metric) {
            let words = fact.words();
            if !fact.is_written(table) && !absent.contains(&words) {
                absent.push(words);
            }
        }
        if !absent.is_empty() {
            let message = format!("`{}` needs facts that the profile does not state", budget.metric);
            table.report(Problem::at(span, message).help(format!("add {}", absent.join(", "))));
        }
        if budget.metric.unit() == Unit::Money {
            self.currency(table, budget, source);
        }
    }

    /// Limits are compared with prices, and nothing is converted.
    fn currency(&self, table: &Table<'_>, budget: &Budget, source: &Arc<Source>) {
        let Some(currency) = self.server.as_ref().and_then(Server::currency) else { return };
        for limit in &budget.limits {
            let text = source.slice(limit.span).trim_matches(['"', '\'']).to_owned();
            let Ok(Money { currency: written, .. }) = Money::from_toml(&Value::String(text.into())) else { continue };
            if written != currency {
                let message = format!("this limit is in {written}, and the prices of [server] are in {currency}");
                table.report(Problem::at(limit.span, message).help("write it in the currency of the prices"));
            }
        }
    }

    fn needed(&self, metric: Metric) -> Vec<Fact> {
        use Metric::{
            BatteryLife, BatteryLifeEstimate, Capacity, CostPerMillion, DutyCycle, DutyCycleEstimate, EnergyEstimate,
            EnergyPerInference, EnergyShare, EnergyShareEstimate, FlashUse, Instances, LatencyEstimate, MonthlyCost,
            RealTimeFactor, Storage, TransferPerRollout, Utilization, WaitP99,
        };
        match metric {
            LatencyEstimate => ROOFLINE.to_vec(),
            DutyCycle | RealTimeFactor => vec![HOP],
            DutyCycleEstimate => [&[HOP], &ROOFLINE[..]].concat(),
            EnergyPerInference => vec![ACTIVE],
            EnergyEstimate => self.energy(),
            EnergyShare => vec![HOP, ACTIVE, IDLE],
            EnergyShareEstimate => [&self.energy()[..], &[HOP, IDLE]].concat(),
            BatteryLife => vec![HOP, ACTIVE, IDLE, BATTERY],
            BatteryLifeEstimate => [&self.energy()[..], &[HOP, IDLE, BATTERY]].concat(),
            FlashUse => vec![FLASH],
            Instances => LOAD.to_vec(),
            Utilization | WaitP99 | Capacity => [&LOAD[..], &[TODAY]].concat(),
            MonthlyCost | CostPerMillion => [&LOAD[..], &[PRICE]].concat(),
            Storage => [&[KEPT], self.stored()].concat(),
            TransferPerRollout => vec![DEVICES],
            _ => vec![],
        }
    }

    /// Energy of operations, or of the estimated time.
    fn energy(&self) -> Vec<Fact> {
        match self.power.is_some_and(|p| p.mac != ByType::default()) {
            true => vec![],
            false => [&[fact(&["energy-per-mac", "active"], "power")], &ROOFLINE[..]].concat(),
        }
    }

    /// What is stored of inferences needs their number.
    fn stored(&self) -> &'static [Fact] {
        if self.server.as_ref().is_some_and(|s| s.output.is_some()) { &[CALLS] } else { &[] }
    }
}
