//! Estimates without a run: the roofline of a profile's hardware, and energy from it or from counts.

use plimsoll_cost::{
    energy::{Day, PerOperation},
    roofline::Roofline,
};
use plimsoll_profile::{Metric, Profile};
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

/// The roofline of one core. In f32, which holds for narrower types as an upper bound.
fn time(profile: &Profile, figures: &[Figure]) -> Option<Figure> {
    let hardware = &profile.hardware;
    let macs = get(figures, Metric::Macs)?;
    let bytes =
        get(figures, Metric::WeightBytes)?.value as u64 + get(figures, Metric::PeakActivationMemory)?.value as u64;
    let roofline = Roofline {
        macs_per_cycle: hardware.macs_per_cycle.f32?,
        clock_hertz: hardware.clock?.0,
        bytes_per_second: hardware.memory_bandwidth?.0,
    };
    let seconds = roofline.seconds(macs.value as u64, bytes)?;
    let method = format!("estimate: roofline of one core of `{}` in f32; a lower bound", profile.name);
    counted(macs, Metric::LatencyEstimate, seconds, method)
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
    if let Some(mac) = power.mac.f32 {
        let macs = get(figures, Metric::Macs)?;
        let bytes = get(figures, Metric::WeightBytes)?.value + get(figures, Metric::PeakActivationMemory)?.value;
        let byte = power.byte.unwrap_or(0.0);
        let joules = PerOperation { mac, byte }.joules(macs.value, bytes);
        let moved = power.byte.map(|b| format!(" + {} bytes × {b:e} J", plain(bytes))).unwrap_or_default();
        let method = format!("estimate: {} multiply-accumulates × {mac:e} J{moved}", plain(macs.value));
        return Some(Energy { of: macs, joules, extra: joules, method });
    }
    let (active, time) = (power.active?.0, time?);
    let extra = power.idle.map_or(active, |idle| active - idle.0) * time.value;
    let method = format!("estimate: {active} W × {} of the roofline; a lower bound", super::time(time.value));
    Some(Energy { of: time, joules: active * time.value, extra, method })
}
