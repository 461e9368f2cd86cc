//! Forecasts: how long what runs today will do.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How long something of a profile lasts with a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Forecast {
    /// Name of the profile.
    pub profile: String,
    /// `instances`, `flash` or `battery`.
    pub subject: String,
    /// What it lasts for, in `unit`; `null` where it is not known, or where nothing uses it up.
    pub value: Option<f64>,
    /// 95 % interval, in `unit`; `null` where the value is exact or has none.
    pub interval: Option<[f64; 2]>,
    /// `devices`, `inferences/day`, `releases` or `s`.
    pub unit: String,
    /// `measured`, `counted`, or `estimated`, an estimate from the profile's facts.
    pub basis: String,
    /// The day on which it is used up at the growth that the profile states, and the days at the ends of the interval, the earlier first;
    /// `null` where no growth is stated.
    pub until: Option<Until>,
    /// How it was worked out; where there is no value, why.
    pub method: String,
}

/// A day, and the days at the ends of an interval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Until {
    /// Such as `2031-04-30`, UTC.
    pub day: String,
    /// The earlier end first; `null` where there is no interval, or no end of it.
    pub interval: Option<[String; 2]>,
}
