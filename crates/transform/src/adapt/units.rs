//! Units of one kind, and how a number in one becomes one in another. Words that are not listed are units of a kind of their own.

/// Word, kind, and what `x` of it is in the base unit of the kind: `factor · x + offset`.
const UNITS: &[(&str, &str, f64, f64)] = &[
    ("s", "time", 1.0, 0.0),
    ("ms", "time", 1e-3, 0.0),
    ("us", "time", 1e-6, 0.0),
    ("µs", "time", 1e-6, 0.0),
    ("min", "time", 60.0, 0.0),
    ("h", "time", 3600.0, 0.0),
    ("Hz", "frequency", 1.0, 0.0),
    ("1/s", "frequency", 1.0, 0.0),
    ("kHz", "frequency", 1e3, 0.0),
    ("1/min", "frequency", 1.0 / 60.0, 0.0),
    ("beats/min", "beats", 1.0 / 60.0, 0.0),
    ("bpm", "beats", 1.0 / 60.0, 0.0),
    ("beats/s", "beats", 1.0, 0.0),
    ("breaths/min", "breaths", 1.0 / 60.0, 0.0),
    ("breaths/s", "breaths", 1.0, 0.0),
    ("°C", "temperature", 1.0, 273.15),
    ("K", "temperature", 1.0, 0.0),
    ("°F", "temperature", 5.0 / 9.0, 273.15 - 32.0 * 5.0 / 9.0),
    ("m/s²", "acceleration", 1.0, 0.0),
    ("m/s2", "acceleration", 1.0, 0.0),
    ("g", "acceleration", 9.806_65, 0.0),
    ("mg", "acceleration", 9.806_65e-3, 0.0),
    ("m", "length", 1.0, 0.0),
    ("cm", "length", 1e-2, 0.0),
    ("mm", "length", 1e-3, 0.0),
    ("km", "length", 1e3, 0.0),
    ("V", "voltage", 1.0, 0.0),
    ("mV", "voltage", 1e-3, 0.0),
    ("µV", "voltage", 1e-6, 0.0),
    ("uV", "voltage", 1e-6, 0.0),
    ("Pa", "pressure", 1.0, 0.0),
    ("hPa", "pressure", 1e2, 0.0),
    ("kPa", "pressure", 1e3, 0.0),
    ("bar", "pressure", 1e5, 0.0),
    ("mmHg", "pressure", 133.322_387_415, 0.0),
    ("rad", "angle", 1.0, 0.0),
    ("deg", "angle", std::f64::consts::PI / 180.0, 0.0),
    ("°", "angle", std::f64::consts::PI / 180.0, 0.0),
    ("share", "share", 1.0, 0.0),
    ("%", "share", 1e-2, 0.0),
];

/// `a` and `b` with which `a · x + b` is in the second unit what `x` is in the first; `None` where they are not of one kind.
pub(super) fn conversion(from: &str, to: &str) -> Option<[f64; 2]> {
    if from == to {
        return Some([1.0, 0.0]);
    }
    let find = |word: &str| UNITS.iter().find(|(unit, ..)| *unit == word);
    let ((_, kind, factor, offset), (_, other, to_factor, to_offset)) = (find(from)?, find(to)?);
    (kind == other).then(|| [factor / to_factor, (offset - to_offset) / to_factor])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(from: &str, to: &str, x: f64, y: f64) {
        let [a, b] = conversion(from, to).unwrap();
        assert!((a * x + b - y).abs() < 1e-9 * y.abs().max(1.0), "{x} {from} is {} {to}", a * x + b);
    }

    #[test]
    fn units_of_one_kind_become_one_another() {
        check("beats/min", "beats/s", 90.0, 1.5);
        check("°F", "°C", 212.0, 100.0);
        check("K", "°F", 273.15, 32.0);
        check("ms", "s", 1500.0, 1.5);
        check("furlong", "furlong", 3.0, 3.0);
    }

    #[test]
    fn units_of_other_kinds_do_not() {
        for (from, to) in [("beats/min", "breaths/min"), ("s", "Hz"), ("furlong", "m")] {
            assert_eq!(conversion(from, to), None);
        }
    }
}
