//! Values of arguments as people write them: times, shares, shapes.

use plimsoll_transform::{
    prune::{Compensation, Repair},
    quantize::{Calibration, Portion},
};

/// A number between two others; clap has ranges for types of known width only.
pub(super) fn number<const LEAST: usize, const MOST: usize>(text: &str) -> Result<usize, String> {
    let n = text.parse::<usize>().map_err(|_| format!("`{text}` is no whole number"))?;
    if (LEAST..=MOST).contains(&n) { Ok(n) } else { Err(format!("it must lie between {LEAST} and {MOST}")) }
}

/// A time that can be waited for.
pub(crate) fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse::<f64>().map_err(|_| format!("`{text}` is no number of seconds"))?;
    if (0.01..=86_400.0).contains(&seconds) { Ok(seconds) } else { Err("it must lie between 0.01 and 86400".into()) }
}

/// A time in seconds: `90s`, `5m`, `1h`, or a plain number of seconds.
pub(super) fn span(text: &str) -> Result<f64, String> {
    const UNITS: [(&str, f64); 5] = [("min", 60.0), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    let (number, factor) = UNITS.iter().find_map(|(u, f)| Some((text.strip_suffix(u)?, *f))).unwrap_or((text, 1.0));
    let time = number.trim().parse::<f64>().map_err(|_| format!("`{text}` is no time: write 90s, 5m or 1h"))? * factor;
    if (0.01..=604_800.0).contains(&time) { Ok(time) } else { Err("it must lie between 10ms and 168h".into()) }
}

/// `1/3`: one of so many parts, from 1.
pub(super) fn shard(text: &str) -> Result<(usize, usize), String> {
    let wrong = || format!("`{text}` is no part: write 1/3 for the first of three");
    let (k, n) = text.split_once('/').ok_or_else(wrong)?;
    let (k, n) = (k.trim().parse().map_err(|_| wrong())?, n.trim().parse().map_err(|_| wrong())?);
    if (1..=n).contains(&k) { Ok((k, n)) } else { Err(wrong()) }
}

/// How much more there may be of something: `5%` or `0.05`.
pub(super) fn increase(text: &str) -> Result<f64, String> {
    let (digits, unit) = text.trim().strip_suffix('%').map_or((text.trim(), 1.0), |d| (d.trim_end(), 100.0));
    let share = digits.parse::<f64>().map_err(|_| format!("`{text}` is no share such as 5%"))? / unit;
    if (0.0..=10.0).contains(&share) { Ok(share) } else { Err("it must lie between 0% and 1000%".into()) }
}

/// SHA-256 in hex, as releases are named by.
pub(super) fn digest(text: &str) -> Result<String, String> {
    let text = text.to_ascii_lowercase();
    let good = text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    if good { Ok(text) } else { Err("a release digest has 64 hex digits; `verify` prints it".into()) }
}

/// `images=1x3x320x320`; names may hold `=`.
pub(super) fn shape(text: &str) -> Result<(String, Vec<usize>), String> {
    let wrong = || format!("`{text}` is no shape: write INPUT=1x3x224x224");
    let (name, dims) = text.rsplit_once('=').ok_or_else(wrong)?;
    let dims = dims.split(['x', ',']).map(|d| d.trim().parse()).collect::<Result<_, _>>().map_err(|_| wrong())?;
    Ok((name.to_owned(), dims))
}

/// A calibration method, its parameter after a colon.
pub(super) fn calibration(text: &str) -> Result<String, String> {
    text.parse::<Calibration>().map(|c| c.to_string()).map_err(|e| e.to_string())
}

/// `99%` or `0.99`, both ends included.
pub(super) fn portion(text: &str) -> Result<String, String> {
    text.parse::<Portion>().map(|_| text.to_owned()).map_err(|e| e.to_string())
}

/// One of a few names.
pub(super) fn named<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<String, String> {
    text.parse::<T>().map(|_| text.to_owned()).map_err(|e| e.to_string())
}

/// A repair of channels or of single weights; which one fits the target the recipe says.
pub(super) fn repair(text: &str) -> Result<String, String> {
    let sparse = text.parse::<Compensation>().is_ok();
    if sparse { Ok(text.to_owned()) } else { named::<Repair>(text) }
}

/// `30%` or `0.3`.
pub(super) fn share(text: &str) -> Result<f64, String> {
    let (number, scale) = text.strip_suffix('%').map_or((text, 1.0), |n| (n, 100.0));
    let value = number.trim().parse::<f64>().map_err(|_| format!("`{text}` is no share: write 30% or 0.3"))? / scale;
    if value > 0.0 && value < 1.0 { Ok(value) } else { Err(format!("`{text}` does not lie between 0 and 100 %")) }
}

/// `accuracy-drop=0.5pp`, `auc-drop=0.005`.
pub(super) fn margin(text: &str) -> Result<(String, f64), String> {
    let wrong = || format!("`{text}` is no margin: write accuracy-drop=0.5pp");
    let (metric, number) = text.split_once('=').ok_or_else(wrong)?;
    let points = number.strip_suffix("pp").or_else(|| number.strip_suffix('%'));
    let value = points.unwrap_or(number).trim().parse::<f64>().map_err(|_| wrong())?;
    let value = if points.is_some() { value / 100.0 } else { value };
    if value.is_finite() && value >= 0.0 { Ok((metric.to_owned(), value)) } else { Err(wrong()) }
}
