//! How long what runs today will do with a model: instances until so many devices, flash for so many releases, a battery for so many days.

use plimsoll_cost::server::{DAYS_A_MONTH, months_until};
use plimsoll_gate::obstacle;
use plimsoll_profile::{Day, Metric, Profile, Server};
use plimsoll_record::{Figure, Forecast, Until};

use crate::{
    Assessed,
    derived::{Derived, Time, device, plain, server::Plan},
};

/// The forecasts of a profile: what can be known, and of what cannot why.
pub(crate) fn forecast(profile: &Profile, assessed: &Assessed, derived: &Derived, today: Day) -> Vec<Forecast> {
    let instances = profile.server.as_ref().map(|server| instances(profile, server, assessed, today));
    let power = profile.power.filter(|p| p.battery.is_some());
    let flash = profile.hardware.flash.and_then(|f| flash(profile, f.0 as f64, assessed));
    [instances, flash, power.map(|_| battery(profile, derived))].into_iter().flatten().collect()
}

/// What the profile's types of instances cost beside each other, in a sentence; of times that settle nothing, nothing.
pub(crate) fn remark(profile: &Profile, assessed: &Assessed) -> Option<String> {
    let plan = Plan::new(profile, settled(profile, assessed).ok()?)?;
    Some(format!("{}: {}", profile.name, plan.cheapest()?))
}

fn blank(profile: &Profile, subject: &str, unit: &str, basis: &str, method: String) -> Forecast {
    Forecast {
        profile: profile.name.clone(),
        subject: subject.into(),
        value: None,
        interval: None,
        unit: unit.into(),
        basis: basis.into(),
        until: None,
        method,
    }
}

/// The time of one inference that settles something of the profile, or why there is none.
fn settled<'t>(profile: &Profile, assessed: &'t Assessed) -> Result<Time<'t>, String> {
    let over = assessed.taken_over.iter().map(|t| &t.figure);
    let times = [Time::among(over), Time::among(assessed.figures.iter())].concat();
    let mut why = "the mean time of one inference was not measured".to_owned();
    for time in times {
        match obstacle(profile, time.mean) {
            None => return Ok(time),
            Some(reason) => why = reason,
        }
    }
    Err(why)
}

fn instances(profile: &Profile, server: &Server, assessed: &Assessed, today: Day) -> Forecast {
    let by_devices = server.devices.zip(server.inferences_per_day).map(|(d, calls)| calls / d.0 as f64);
    let (unit, each) = by_devices.map_or(("inferences/day", 1.0), |each| ("devices", each));
    let none = |why: String| blank(profile, "instances", unit, "measured", why);
    let time = match settled(profile, assessed) {
        Ok(time) => time,
        Err(why) => return none(why),
    };
    let Some(plan) = Plan::new(profile, time) else {
        return none("[server] does not state the load, its peak and how far instances may be used".into());
    };
    let Some((value, ends)) = plan.capacity() else {
        return none("[server] does not state `instances`, or the model does not fit into one".into());
    };
    let interval = ends.map(|[a, b]| [a.min(b), a.max(b)].map(|x| (x / each).floor()));
    let times = |carried: f64| carried / server.inferences_per_day.unwrap_or(f64::NAN);
    let day = |carried: f64| {
        let months = months_until(times(carried), server.growth?)?;
        today.after((months * DAYS_A_MONTH).floor()).map(|d| d.to_string())
    };
    let until = day(value)
        .map(|until| Until { day: until, interval: ends.and_then(|[a, b]| Some([day(a.min(b))?, day(a.max(b))?])) });
    let running = server.instances.as_ref().map_or(0.0, |i| i.value.0 as f64);
    let growth = match server.growth {
        Some(growth) if times(value) >= 1.0 => format!(", growing by {} % a month", plain(growth * 100.0)),
        _ if times(value) < 1.0 => ": the load of today is more".to_owned(),
        _ => String::new(),
    };
    let method = format!(
        "{} instance(s) carry {} inferences a day, {} times those of today{growth}",
        plain(running),
        plain(value.floor()),
        plain(times(value))
    );
    Forecast { value: Some((value / each).floor()), interval, until, ..none(method) }
}

/// How many more releases fit that grow as this one does.
fn flash(profile: &Profile, flash: f64, assessed: &Assessed) -> Option<Forecast> {
    let size = |figures: &[Figure]| figures.iter().find(|f| f.metric == Metric::ArtifactSize.figure()).map(|f| f.value);
    let (now, slots) = (size(&assessed.figures)?, device::slots(profile));
    let copies = (flash / now).floor();
    let fits = format!(
        "{} bytes of flash hold {} copies of {} bytes, of which {slots} must fit",
        plain(flash),
        plain(copies),
        plain(now)
    );
    let forecast = |value, method| Forecast { value, ..blank(profile, "flash", "releases", "counted", method) };
    let growth = size(&assessed.baseline).map_or(0.0, |before| now - before);
    Some(if copies < slots {
        forecast(Some(0.0), format!("{fits}: this release does not"))
    } else if growth > 0.0 {
        let more = ((flash / slots - now) / growth).floor();
        forecast(
            Some(more),
            format!("{fits}; more releases that grow by {} bytes each, as this one does", plain(growth)),
        )
    } else {
        forecast(
            None,
            format!(
                "{fits}; this release is no larger than the one that it is compared with: nothing uses the flash up"
            ),
        )
    })
}

fn battery(profile: &Profile, derived: &Derived) -> Forecast {
    let over = derived.taken_over.iter().map(|t| &t.figure);
    let all = || over.clone().chain(&derived.figures);
    let measured = all().find(|f| f.metric == Metric::BatteryLife.name() && obstacle(profile, f).is_none());
    let estimated = || all().find(|f| f.metric == Metric::BatteryLifeEstimate.name());
    let from = |figure: &Figure, basis: &str| Forecast {
        value: Some(figure.value),
        interval: figure.interval,
        ..blank(profile, "battery", "s", basis, figure.method.clone())
    };
    match (measured, estimated()) {
        (Some(figure), _) => from(figure, "measured"),
        (None, Some(figure)) => from(figure, "estimated"),
        (None, None) => {
            let why = "no time of an inference on this device is known, measured or estimated, or [power] and [stream] say too little";
            blank(profile, "battery", "s", "estimated", why.into())
        }
    }
}
