//! Amounts of money and prices. A currency is part of the amount: nothing is converted.

use std::fmt;

use crate::{
    reader::{FromToml, Value, Wrong},
    units::split,
};

/// An amount: `"120 USD"`.
#[derive(Debug, Clone, PartialEq)]
pub struct Money {
    /// How much.
    pub amount: f64,
    /// ISO 4217 code of the currency.
    pub currency: String,
}

/// A price an hour: `"0.0893 USD/h"`.
#[derive(Debug, Clone, PartialEq)]
pub struct Price(pub Money);

/// A price of a gigabyte (10⁹ bytes): `"0.023 USD/GB"`.
#[derive(Debug, Clone, PartialEq)]
pub struct PriceOfGigabyte(pub Money);

/// An amount before a unit.
fn read(value: &Value<'_>, unit: &str, what: &str, example: &str) -> Result<Money, Wrong> {
    let wrong = |message: &str| Wrong::new(message, format!("write it like \"{example}\""));
    let none = || wrong(&format!("this is no {what}"));
    let (amount, written) = value.as_str().and_then(split).ok_or_else(none)?;
    let currency = written.strip_suffix(unit).map(str::trim).unwrap_or_default();
    if currency.len() != 3 || !currency.bytes().all(|b| b.is_ascii_uppercase()) {
        return Err(none());
    }
    if !amount.is_finite() || amount < 0.0 {
        return Err(wrong("an amount of money is a number and not negative"));
    }
    Ok(Money { amount, currency: currency.into() })
}

impl FromToml for Money {
    fn from_toml(value: &Value<'_>) -> Result<Self, Wrong> {
        read(value, "", "amount of money", "120 USD")
    }
}

impl FromToml for Price {
    fn from_toml(value: &Value<'_>) -> Result<Self, Wrong> {
        read(value, "/h", "price an hour", "0.0893 USD/h").map(Self)
    }
}

impl FromToml for PriceOfGigabyte {
    fn from_toml(value: &Value<'_>) -> Result<Self, Wrong> {
        read(value, "/GB", "price of a gigabyte", "0.023 USD/GB").map(Self)
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.amount, self.currency)
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/h", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: FromToml>(text: &str) -> Option<T> {
        T::from_toml(&Value::String(text.into())).ok()
    }

    #[test]
    fn prices_without_currency_or_unit_negative_and_nan_are_refused() {
        for text in ["3 USD", "3 usd/h", "3 US/h", "-3 USD/h", "nan USD/h", "USD/h", "3/h", "3 USD/GB", ""] {
            assert_eq!(check::<Price>(text), None, "{text}");
        }
        for text in ["3 USD/h", "3", "-3 USD", "3 DOLLARS", "inf USD"] {
            assert_eq!(check::<Money>(text), None, "{text}");
        }
        assert!(Price::from_toml(&Value::Boolean(true)).is_err());
    }

    #[test]
    fn amounts_are_read_with_their_currency() {
        let usd = |amount| Money { amount, currency: "USD".into() };
        assert_eq!(check("0.0893 USD/h"), Some(Price(usd(0.0893))));
        assert_eq!(check("0.023USD/GB"), Some(PriceOfGigabyte(usd(0.023))));
        assert_eq!(check("1_200 USD"), Some(usd(1200.0)));
        assert_eq!(Price(usd(0.5)).to_string(), "0.5 USD/h");
    }
}
