//! Estimates without a run: the roofline of a profile's hardware, and energy from it or from counts.

use plimsoll_cost::{
    energy::Day,
    roofline::{Roofline, Work},
};
use plimsoll_profile::{ByType, Metric, Profile};
use plimsoll_record::Figure;

use super::{counted, plain};

fn get(figures: &[Figure], metric: Metric) -> Option<&Figure> {
    figures.iter().find(|f| f.metric == metric.figure() && f.executor == "static")
}

/// All that can be estimated of a model.
pub(crate) fn estimates(profile: &Profile, figures: &[Figure]) -> Vec<Figure> {
    let time = time(profile, figures);
    let hop = profile.stream.map(|s| s.hop.0);
    let duty = time.as_ref().zip(hop).and_then(|(time, hop)| {
        let method = format!("estimate: {} over the hop of {hop} s", super::time(time.value));
        counted(time, Metric::DutyCycleEstimate, time.value / hop, method)
    });
    let energy = energy(profile, figures, time.as_ref());
    let whole = energy.as_ref().and_then(|e| counted(e.of, Metric::EnergyEstimate, e.joules, e.method.clone()));
    let day = hop.zip(profile.power.and_then(|p| p.idle)).map(|(hop, idle)| Day { idle: idle.0, hop });
    let share = energy.as_ref().zip(day).and_then(|(e, day)| {
        let method = format!("estimate: {} J a hop more than idling at {} W; {}", plain(e.extra), day.idle, e.method);
        counted(e.of, Metric::EnergyShareEstimate, day.share(e.extra)?, method)
    });
    let battery = profile.power.and_then(|p| p.battery);
    let life = energy.as_ref().zip(day).zip(battery).and_then(|((e, day), battery)| {
        let power = day.mean_power(e.extra);
        let method = format!("estimate: {} J at a mean of {} W; {}", plain(battery.0), plain(power), e.method);
        counted(e.of, Metric::BatteryLifeEstimate, day.battery_life(battery.0, e.extra)?, method)
    });
    let (whole, share, life, duty) = (whole.into_iter(), share, life, duty);
    let mut found: Vec<Figure> = whole.chain(share).chain(life).chain(duty).collect();
    found.extend(time);
    found
}

/// Multiply-accumulates by their types.
struct Products {
    /// How many, and a fact of each.
    parts: Vec<(f64, f64)>,
    /// How many of which type, such as `1,236,384 in f32 × 4`.
    words: Vec<String>,
}

/// The products of a model, each type with its fact; what is done in a type without a fact goes by that of f32, which holds as an upper
/// bound of narrower types. `None` where products are left over that no fact is stated for.
fn products(figures: &[Figure], facts: ByType) -> Option<Products> {
    let all = get(figures, Metric::Macs)?.value;
    let of = |metric| get(figures, metric).map_or(0.0, |f| f.value);
    let (f16, i8) = (of(Metric::MacsF16), of(Metric::MacsI8));
    let typed =
        [("f32", all - f16 - i8, facts.f32), ("f16", f16, facts.f16.or(facts.f32)), ("i8", i8, facts.i8.or(facts.f32))];
    let mut found = Products { parts: vec![], words: vec![] };
    for (name, macs, fact) in typed.into_iter().filter(|(_, macs, _)| *macs > 0.0) {
        found.parts.push((macs, fact?));
        found.words.push(format!("{} in {name} × {:e}", plain(macs), fact?));
    }
    Some(found)
}

/// Bytes that move at least: weights as they are stored, and the most that activations take at once.
fn moved(figures: &[Figure]) -> Option<f64> {
    Some(get(figures, Metric::WeightBytes)?.value + get(figures, Metric::PeakActivationMemory)?.value)
}

/// The roofline of one core.
fn time(profile: &Profile, figures: &[Figure]) -> Option<Figure> {
    let hardware = &profile.hardware;
    let roofline = Roofline { clock_hertz: hardware.clock?.0, bytes_per_second: hardware.memory_bandwidth?.0 };
    let products = products(figures, hardware.macs_per_cycle)?;
    let work: Vec<Work> = products.parts.iter().map(|&(macs, per_cycle)| Work { macs, per_cycle }).collect();
    let bytes = moved(figures)?;
    let seconds = roofline.seconds(&work, bytes)?;
    let method = format!(
        "estimate: roofline of one core of `{}`, a lower bound; multiply-accumulates a cycle: {}; {} bytes",
        profile.name,
        products.words.join(", ").replace(" × ", " at "),
        plain(bytes)
    );
    counted(get(figures, Metric::Macs)?, Metric::LatencyEstimate, seconds, method)
}

/// An estimate of energy.
struct Energy<'e> {
    of: &'e Figure,
    /// Of one inference.
    joules: f64,
    /// More than idling takes in the same time.
    extra: f64,
    method: String,
}

/// From single operations where the profile states them, else from the power and the estimated time.
fn energy<'e>(profile: &Profile, figures: &'e [Figure], time: Option<&'e Figure>) -> Option<Energy<'e>> {
    let power = profile.power?;
    if power.mac != ByType::default() {
        let products = products(figures, power.mac)?;
        let bytes = moved(figures)?;
        let computing: f64 = products.parts.iter().map(|(macs, joules)| macs * joules).sum();
        let joules = computing + bytes * power.byte.unwrap_or(0.0);
        let moved = power.byte.map(|b| format!(" + {} bytes × {b:e} J", plain(bytes))).unwrap_or_default();
        let method = format!("estimate: multiply-accumulates × J: {}{moved}", products.words.join(" + "));
        return Some(Energy { of: get(figures, Metric::Macs)?, joules, extra: joules, method });
    }
    let (active, time) = (power.active?.0, time?);
    let extra = power.idle.map_or(active, |idle| active - idle.0) * time.value;
    let method = format!("estimate: {active} W × {} of the roofline; a lower bound", super::time(time.value));
    Some(Energy { of: time, joules: active * time.value, extra, method })
}
