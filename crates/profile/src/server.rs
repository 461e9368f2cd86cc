//! What a server has to carry, on which instances, and what that is paid with.

use crate::{
    error::Problem,
    hardware::positive,
    money::{Money, Price, PriceOfGigabyte},
    reader::{Number, Table},
    source::{Span, Spanned},
    units::{Bytes, Count, Increase, Seconds, Share},
};

/// Cores of an instance at most; what waits for one is worked out core by core.
const MOST_CORES: u64 = 4096;
/// Inferences a day at most: whole numbers above this lose digits in a figure.
const MOST_CALLS: f64 = 9_007_199_254_740_992.0;

/// What a server has to carry and costs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Server {
    /// Devices that call it.
    pub devices: Option<Count>,
    /// Inferences a day, all clients together: as written, or those of each device times the devices.
    pub inferences_per_day: Option<f64>,
    /// The busiest second over the mean one.
    pub peak_to_mean: Option<f64>,
    /// Share of an instance's time that may be used, below 1.
    pub utilization: Option<Share>,
    /// Time that 99 calls in 100 may wait for a core, at most.
    pub max_wait: Option<Seconds>,
    /// By how much devices become more in a month.
    pub growth: Option<f64>,
    /// Instances that run today.
    pub instances: Option<Spanned<Count>>,
    /// The type of these instances, whose cores and memory `[hardware]` states.
    pub kind: Option<String>,
    /// Price of one of them.
    pub price: Option<Money>,
    /// Other types that may be had, with cores like those of `[hardware]`.
    pub types: Vec<InstanceType>,
    /// Versions of the model that are kept.
    pub versions: Option<Count>,
    /// What is stored of each inference.
    pub output: Option<Bytes>,
    /// How long that is kept.
    pub keep: Option<Seconds>,
    /// Price of a gigabyte that is kept for a month.
    pub storage_price: Option<Money>,
    /// Roll-outs to all devices in a month.
    pub rollouts: Option<f64>,
    /// Price of a gigabyte that is sent to devices.
    pub transfer_price: Option<Money>,
}

/// A type of instance.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceType {
    /// As its provider calls it.
    pub name: String,
    /// Inferences at once.
    pub cores: u64,
    /// Main memory, where it is stated.
    pub memory: Option<Bytes>,
    /// Price an hour.
    pub price: Money,
}

/// Reads `[server]`.
pub(crate) fn server(table: &Table<'_>) -> Server {
    let devices = table.get::<Count>("devices");
    let mut server = Server {
        inferences_per_day: calls(table, devices.as_ref()),
        devices: devices.map(|d| d.value),
        peak_to_mean: peak(table),
        utilization: ceiling(table),
        max_wait: table.get("max-wait").map(|w| w.value),
        growth: table.get::<Increase>("growth").map(|g| g.value.0),
        instances: table.get("instances"),
        kind: table.get::<String>("type").map(|t| t.value),
        ..Server::default()
    };
    let mut paid: Vec<Spanned<Money>> = Vec::new();
    let mut pay = |price: Option<Spanned<Money>>| {
        paid.extend(price.clone());
        price.map(|p| p.value)
    };
    server.price = pay(table.get::<Price>("price").map(|p| Spanned { value: p.value.0, span: p.span }));
    for inner in table.tables("types") {
        server.types.extend(kind(&inner, &mut pay));
    }
    let gigabyte =
        |t: &Table<'_>| t.get::<PriceOfGigabyte>("price").map(|p| Spanned { value: p.value.0, span: p.span });
    if let Some(storage) = table.table("storage") {
        server.versions = storage.get("versions").map(|v| v.value);
        let (output, keep) = (storage.get::<Bytes>("output"), storage.get::<Seconds>("keep"));
        if output.is_some() && storage.raw("keep").is_none() {
            storage.missing("keep", "how long outputs are kept, such as \"365d\"");
        }
        if let (Some(keep), None) = (&keep, &output) {
            let problem = Problem::at(keep.span, "nothing is said to be kept for so long");
            storage.report(problem.help("add `output`, the bytes that are stored of each inference"));
        }
        (server.output, server.keep) = (output.map(|o| o.value), keep.map(|k| k.value));
        server.storage_price = pay(gigabyte(&storage));
        storage.finish();
    }
    if let Some(transfer) = table.table("transfer") {
        server.rollouts = positive(&transfer, "rollouts");
        server.transfer_price = pay(gigabyte(&transfer));
        transfer.finish();
    }
    one_currency(table, &paid);
    table.finish();
    server
}

impl Server {
    /// The currency that prices are in.
    pub fn currency(&self) -> Option<&str> {
        let all = [&self.price, &self.storage_price, &self.transfer_price];
        all.into_iter().flatten().next().map(|m| m.currency.as_str())
    }
}

fn one_currency(table: &Table<'_>, paid: &[Spanned<Money>]) {
    let Some(first) = paid.first() else { return };
    for other in paid.iter().filter(|p| p.value.currency != first.value.currency) {
        let message = format!("this price is in {}, and another in {}", other.value.currency, first.value.currency);
        table.report(Problem::at(other.span, message).help("state all prices in one currency: none is converted"));
    }
}

/// Inferences a day: all of them, or those of each device.
fn calls(table: &Table<'_>, devices: Option<&Spanned<Count>>) -> Option<f64> {
    let (all, each) = (table.get::<Count>("inferences-per-day"), table.get::<Count>("inferences-per-device"));
    let (calls, span): (f64, Span) = match (all, each, devices) {
        (Some(_), Some(each), _) => {
            let problem = Problem::at(each.span, "the inferences of a day are stated twice");
            table.report(problem.help("keep `inferences-per-day`, or `inferences-per-device` with `devices`"));
            return None;
        }
        // Wrong ones are told already.
        (None, Some(_), None) if table.raw("devices").is_some() => return None,
        (None, Some(each), None) => {
            let problem = Problem::at(each.span, "nothing says how many devices call");
            table.report(problem.help("add `devices`, or write `inferences-per-day`"));
            return None;
        }
        (Some(all), None, _) => (all.value.0 as f64, all.span),
        (None, Some(each), Some(devices)) => (each.value.0 as f64 * devices.value.0 as f64, each.span),
        (None, None, _) => return None,
    };
    if calls > MOST_CALLS {
        table.report(Problem::at(span, "these are more inferences than a day can hold").help("write fewer than 2^53"));
        return None;
    }
    Some(calls)
}

fn peak(table: &Table<'_>) -> Option<f64> {
    let peak = table.get::<Number>("peak-to-mean")?;
    if peak.value.0 >= 1.0 {
        return Some(peak.value.0);
    }
    let problem = Problem::at(peak.span, "the busiest second is at least as busy as the mean one");
    table.report(problem.help("write a number of 1 or more, such as 3"));
    None
}

fn ceiling(table: &Table<'_>) -> Option<Share> {
    let ceiling = table.get::<Share>("utilization")?;
    if ceiling.value.0 > 0.0 && ceiling.value.0 < 1.0 {
        return Some(ceiling.value);
    }
    let problem = Problem::at(ceiling.span, "at this share nothing is served, or a queue grows without end");
    table.report(problem.help("write a share between 0 % and 100 %, such as \"60%\""));
    None
}

fn kind(table: &Table<'_>, pay: &mut impl FnMut(Option<Spanned<Money>>) -> Option<Money>) -> Option<InstanceType> {
    let name = table.need::<String>("name", "as its provider calls it, such as \"c7i.xlarge\"");
    let cores = table.need::<Count>("cores", "inferences at once: physical cores, of which two vCPU are often one");
    let memory = table.get("memory").map(|m| m.value);
    let price = table.need::<Price>("price", "such as \"0.1785 USD/h\"");
    let price = pay(price.map(|p| Spanned { value: p.value.0, span: p.span }));
    table.finish();
    let cores = few(table, cores)?;
    Some(InstanceType { name: name?.value, cores, memory, price: price? })
}

/// Refuses more cores than anybody puts behind one queue.
pub(crate) fn few(table: &Table<'_>, cores: Option<Spanned<Count>>) -> Option<u64> {
    let cores = cores?;
    if cores.value.0 > MOST_CORES {
        let problem = Problem::at(cores.span, format!("no machine has more than {MOST_CORES} cores"));
        table.report(problem.help("write the cores of one machine"));
        return None;
    }
    Some(cores.value.0)
}
