//! What a device has to give: share of a hop, energy, battery, flash.

use plimsoll_cost::energy::Day;
use plimsoll_profile::{Metric, Profile};
use plimsoll_record::Figure;

use super::{Time, counted, plain};

/// What a measured time takes of a device.
pub(crate) fn of_time(profile: &Profile, time: Time<'_>) -> Vec<Figure> {
    let seconds = super::time(time.mean.value);
    let through = |metric, method: String, of: &dyn Fn(f64) -> Option<f64>| {
        let ends = time.mean.interval.map(|[low, high]| Some([of(low)?, of(high)?]));
        time.figure(metric, of(time.mean.value)?, ends.flatten(), method)
    };
    let hop = profile.stream.map(|s| s.hop.0);
    let duty = hop.and_then(|hop| {
        through(Metric::DutyCycle, format!("{seconds} (mean) over the hop of {hop} s"), &|s| Some(s / hop))
    });
    let Some(power) = profile.power else { return duty.into_iter().collect() };
    let active = power.active.map(|p| p.0);
    let energy = active.and_then(|active| {
        let method = format!("estimate: {active} W, as the profile states, × {seconds} (mean, measured)");
        through(Metric::EnergyPerInference, method, &|s| Some(active * s))
    });
    let parts =
        active.zip(power.idle).zip(hop).map(|((active, idle), hop)| (active - idle.0, Day { idle: idle.0, hop }));
    let share = parts.and_then(|(more, day)| {
        let method = format!(
            "estimate: {} W more than idling for {seconds} (mean, measured) of {} s, over all energy",
            plain(more),
            day.hop
        );
        through(Metric::EnergyShare, method, &|s| day.share(more * s))
    });
    let life = parts.zip(power.battery).and_then(|((more, day), battery)| {
        let mean = plain(day.mean_power(more * time.mean.value));
        let method =
            format!("estimate: {} J at a mean of {mean} W, {seconds} of each {} s active", plain(battery.0), day.hop);
        through(Metric::BatteryLife, method, &|s| day.battery_life(battery.0, more * s))
    });
    [duty, energy, share, life].into_iter().flatten().collect()
}

/// Copies of a model that a flash must hold at once: one, unless the profile says otherwise.
pub(crate) fn slots(profile: &Profile) -> f64 {
    profile.hardware.slots.unwrap_or(1) as f64
}

/// What the model takes of the flash.
pub(crate) fn flash(profile: &Profile, figures: &[Figure]) -> Option<Figure> {
    let (flash, slots) = (profile.hardware.flash?.0 as f64, slots(profile));
    let size = figures.iter().find(|f| f.metric == Metric::ArtifactSize.figure())?;
    let method = format!("{} bytes × {slots} slot(s) / {} bytes of flash", plain(size.value), plain(flash));
    counted(size, Metric::FlashUse, size.value * slots / flash, method)
}
