//! Numbers with units. A unit is part of the value, so that nobody has to remember whether a limit was in ms or in s.

use crate::reader::{FromToml, Value, Wrong, a, shortened};

/// Whole numbers above this lose digits in a figure.
const LARGEST_WHOLE: f64 = 9_007_199_254_740_992.0;

/// A unit and what one of it is worth.
type Unit = (&'static str, f64);

const BYTES: &[Unit] = &[
    ("B", 1.0),
    ("kB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("KiB", 1024.0),
    ("MiB", 1_048_576.0),
    ("GiB", 1_073_741_824.0),
];
const BYTES_A_SECOND: &[Unit] = &[("MB/s", 1e6), ("GB/s", 1e9), ("MiB/s", 1_048_576.0), ("GiB/s", 1_073_741_824.0)];
const SECONDS: &[Unit] = &[
    ("ns", 1e-9),
    ("us", 1e-6),
    ("µs", 1e-6),
    ("ms", 1e-3),
    ("s", 1.0),
    ("min", 60.0),
    ("h", 3600.0),
    ("d", 86_400.0),
];
const WATTS: &[Unit] = &[("uW", 1e-6), ("µW", 1e-6), ("mW", 1e-3), ("W", 1.0), ("kW", 1e3)];
const JOULES: &[Unit] =
    &[("pJ", 1e-12), ("nJ", 1e-9), ("uJ", 1e-6), ("µJ", 1e-6), ("mJ", 1e-3), ("J", 1.0), ("mWh", 3.6), ("Wh", 3600.0)];
const HERTZ: &[Unit] = &[("Hz", 1.0), ("kHz", 1e3), ("MHz", 1e6), ("GHz", 1e9)];
const COUNTS: &[Unit] = &[("k", 1e3), ("M", 1e6), ("G", 1e9)];
const SHARES: &[Unit] = &[("%", 0.01), ("pp", 0.01)];
const PERCENT: &[Unit] = &[("%", 0.01)];

/// What is wrong with a quantity, with all that may be written instead.
fn wrong(message: impl Into<String>, units: &[Unit], example: &str) -> Wrong {
    let list = units.iter().map(|(u, _)| *u).collect::<Vec<_>>().join(", ");
    Wrong::new(message, format!("write it like {example}; accepted units are {list}"))
}

/// A plain number, where TOML holds one.
fn plain(value: &Value<'_>) -> Option<f64> {
    if let Some(integer) = value.as_integer() {
        return i128::from_str_radix(integer.as_str(), integer.radix()).ok().map(|n| n as f64);
    }
    value.as_float().and_then(|f| f.as_str().parse().ok())
}

/// Text as a number and a unit.
pub(crate) fn split(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '_' | '-' | '+'))).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    if number.starts_with('_') || number.ends_with('_') {
        return None;
    }
    let number: f64 = number.replace('_', "").parse().ok()?;
    Some((number, unit.trim()))
}

/// A quantity in its base unit. Plain numbers are accepted where `bare` says so; never negative, never infinite, never NaN.
fn quantity(value: &Value<'_>, units: &[Unit], bare: bool, example: &str) -> Result<f64, Wrong> {
    let number = match (plain(value), value.as_str()) {
        (Some(_), _) if !bare => return Err(wrong("this number has no unit", units, example)),
        (Some(number), _) => number,
        (None, Some(text)) => {
            let unreadable = || wrong(format!("`{}` is no number with a unit", shortened(text)), units, example);
            let (number, unit) = split(text).ok_or_else(unreadable)?;
            match units.iter().find(|(u, _)| *u == unit) {
                Some((_, factor)) => number * factor,
                None if unit.is_empty() && bare => number,
                None if unit.is_empty() => return Err(wrong("this number has no unit", units, example)),
                None => {
                    let meant = units.iter().find(|(u, _)| u.eq_ignore_ascii_case(unit));
                    let hint = meant.map(|(u, _)| format!(", did you mean `{u}`?")).unwrap_or_default();
                    return Err(wrong(format!("there is no unit `{}` here{hint}", shortened(unit)), units, example));
                }
            }
        }
        (None, None) => return Err(wrong(format!("this is {}", a(value)), units, example)),
    };
    if !number.is_finite() {
        return Err(wrong("this is no finite number", units, example));
    }
    if number < 0.0 {
        return Err(wrong("this is negative", units, example));
    }
    Ok(number)
}

fn positive(number: f64, units: &[Unit], example: &str) -> Result<f64, Wrong> {
    if number > 0.0 { Ok(number) } else { Err(wrong("this is zero", units, example)) }
}

/// A whole number of something; halves come from units such as `1.5kB`, not from counting.
fn whole(value: &Value<'_>, units: &[Unit], example: &str) -> Result<u64, Wrong> {
    let number = positive(quantity(value, units, true, example)?, units, example)?;
    let rounded = number.round();
    if (number - rounded).abs() > 1e-9 * number {
        return Err(wrong("this is no whole number", units, example));
    }
    if rounded > LARGEST_WHOLE {
        return Err(wrong("this is too large", units, example));
    }
    Ok(rounded as u64)
}

macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident($inner:ty), $read:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
        pub struct $name(pub $inner);

        impl FromToml for $name {
            fn from_toml(value: &Value<'_>) -> Result<Self, Wrong> {
                let read: fn(&Value<'_>) -> Result<$inner, Wrong> = $read;
                read(value).map(Self)
            }
        }
    };
}

quantity! {
    /// Bytes: `"256KiB"`, `"1.5MB"`, or a plain integer. Never zero.
    Bytes(u64), |v| whole(v, BYTES, "\"256KiB\" or 262144")
}
quantity! {
    /// A count: `"2M"`, `150_000`. Never zero.
    Count(u64), |v| whole(v, COUNTS, "\"2M\" or 2_000_000")
}
quantity! {
    /// Seconds: `"8ms"`, `"750s"`, `"30min"`, `"30d"`. Never zero, never without unit.
    Seconds(f64), |v| positive(quantity(v, SECONDS, false, "\"8ms\"")?, SECONDS, "\"8ms\"")
}
quantity! {
    /// A frequency in Hz: `"1.2GHz"`. Never zero, never without unit.
    Hertz(f64), |v| positive(quantity(v, HERTZ, false, "\"1.2GHz\"")?, HERTZ, "\"1.2GHz\"")
}
quantity! {
    /// Bytes a second: `"4GB/s"`. Never zero, never without unit.
    Bandwidth(f64), |v| positive(quantity(v, BYTES_A_SECOND, false, "\"4GB/s\"")?, BYTES_A_SECOND, "\"4GB/s\"")
}
quantity! {
    /// Power in watts: `"1.2W"`, `"350mW"`. Never zero, never without unit.
    Watts(f64), |v| positive(quantity(v, WATTS, false, "\"350mW\"")?, WATTS, "\"350mW\"")
}
quantity! {
    /// Energy in joules: `"2mJ"`, `"4pJ"`, `"9.5Wh"`. Never zero, never without unit.
    Joules(f64), |v| positive(quantity(v, JOULES, false, "\"2mJ\" or \"9.5Wh\"")?, JOULES, "\"2mJ\" or \"9.5Wh\"")
}
quantity! {
    /// What is used over what there is: `"5%"`, `0.05`; more than all may be used.
    Usage(f64), |v| positive(quantity(v, PERCENT, true, "\"5%\" or 0.05")?, PERCENT, "\"5%\" or 0.05")
}
quantity! {
    /// A share from 0 to 1: `"95%"`, `0.95`, and for differences `"0.5pp"`.
    Share(f64), |v| {
        let share = quantity(v, SHARES, true, "\"95%\", 0.95 or, for a difference, \"0.5pp\"")?;
        if share <= 1.0 { Ok(share) } else { Err(wrong("this is more than all", SHARES, "\"95%\" or 0.95")) }
    }
}
quantity! {
    /// A relative increase: `"5%"`, `0.05`.
    Increase(f64), |v| {
        let increase = quantity(v, PERCENT, true, "\"5%\" or 0.05")?;
        if plain(v).is_some() && increase >= 1.0 {
            return Err(wrong("is this meant as a percentage?", PERCENT, "\"5%\""));
        }
        Ok(increase)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use toml::de::DeValue;

    use super::*;

    fn read<T: FromToml>(text: &str) -> Result<T, String> {
        let value = DeValue::parse(text).map_err(|e| e.to_string())?;
        T::from_toml(value.get_ref()).map_err(|w| format!("{} | {}", w.message, w.help))
    }

    fn check<T: FromToml + PartialEq + std::fmt::Debug>(text: &str, expected: Option<T>) {
        assert_eq!(read::<T>(text).ok(), expected, "{text}");
    }

    #[test]
    fn sizes_are_read_with_their_units() {
        check("\"256KiB\"", Some(Bytes(262_144)));
        check("\"64 MiB\"", Some(Bytes(67_108_864)));
        check("\"1.5MB\"", Some(Bytes(1_500_000)));
        check("1_000", Some(Bytes(1_000)));
        check("\"1_000 B\"", Some(Bytes(1_000)));
        check("0x10", Some(Bytes(16)));
        check("\"2M\"", Some(Count(2_000_000)));
    }

    #[test]
    fn wrong_units_zero_negative_nan_and_infinity_are_refused() {
        for text in [
            "\"8ms\"",
            "\"5KB\"",
            "\"KiB\"",
            "-1",
            "0",
            "nan",
            "inf",
            "-inf",
            "1e999",
            "\"1.3B\"",
            "true",
            "\"\"",
            "\"1e300GiB\"",
            "\"9999999999GiB\"",
            "\"_1B\"",
            "[1]",
        ] {
            check::<Bytes>(text, None);
        }
        for text in ["8", "8.0", "\"8\"", "\"8 parsec\"", "\"-8ms\"", "\"0s\"", "\"nan s\"", "inf"] {
            check::<Seconds>(text, None);
        }
        for text in ["1.01", "\"101%\"", "-0.1", "\"-1pp\"", "nan"] {
            check::<Share>(text, None);
        }
        for text in ["5", "\"5pp\"", "-0.05"] {
            check::<Increase>(text, None);
        }
        for text in ["3", "\"3\"", "\"3 VA\"", "\"0W\"", "\"-1mW\"", "nan"] {
            check::<Watts>(text, None);
        }
        for text in ["3", "\"3Ws\"", "\"0J\"", "\"1e999J\""] {
            check::<Joules>(text, None);
        }
    }

    #[test]
    fn a_wrong_unit_names_the_accepted_ones() {
        let error = read::<Bytes>("\"5KB\"").unwrap_err();
        assert!(error.contains("`kB`") && error.contains("KiB, MiB, GiB"), "{error}");
    }

    #[test]
    fn durations_shares_and_prices_are_read() {
        check("\"2 us\"", Some(Seconds(2e-6)));
        check("\"30min\"", Some(Seconds(1800.0)));
        check("\"5%\"", Some(Share(0.05)));
        check("\"0.5pp\"", Some(Share(0.005)));
        check("0.05", Some(Share(0.05)));
        check("\"5%\"", Some(Increase(0.05)));
        check("\"150%\"", Some(Increase(1.5)));
        check("\"1.2GHz\"", Some(Hertz(1.2e9)));
        check("\"4 GB/s\"", Some(Bandwidth(4e9)));
        check("\"250 mW\"", Some(Watts(0.25)));
        check("\"2Wh\"", Some(Joules(7200.0)));
        check("\"120%\"", Some(Usage(1.2)));
    }

    proptest! {
        #[test]
        fn no_text_panics_or_yields_an_odd_number(text in "\\PC{0,24}") {
            let value = DeValue::String(text.into());
            if let Ok(Seconds(s)) = Seconds::from_toml(&value) {
                prop_assert!(s.is_finite() && s > 0.0);
            }
            if let Ok(Share(s)) = Share::from_toml(&value) {
                prop_assert!((0.0..=1.0).contains(&s));
            }
            let _ = Bytes::from_toml(&value);
        }

        #[test]
        fn every_whole_number_of_kibibytes_is_exact(n in 1u64..(1 << 30)) {
            prop_assert_eq!(read::<Bytes>(&format!("\"{n}KiB\"")), Ok(Bytes(n * 1024)));
        }
    }
}
