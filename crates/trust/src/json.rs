//! JSON whose bytes depend on its content alone: keys sorted, two spaces, a newline at the end.

use serde::Serialize;
use serde_json::Value;

/// Pretty JSON with sorted keys. A crate elsewhere may turn on serde_json's insertion order, so the order is not left to it.
pub fn to_sorted_json(value: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let mut bytes = serde_json::to_vec_pretty(&sorted(serde_json::to_value(value)?))?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(String, Value)> = map.into_iter().collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(entries.into_iter().map(|(k, v)| (k, sorted(v))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::to_sorted_json;

    #[test]
    fn the_order_of_insertion_does_not_show() {
        let one = serde_json::json!({"b": {"d": 1, "c": [{"z": 0, "a": 0}]}, "a": 2});
        let two = serde_json::json!({"a": 2, "b": {"c": [{"a": 0, "z": 0}], "d": 1}});
        assert_eq!(to_sorted_json(&one).unwrap(), to_sorted_json(&two).unwrap());
        assert!(String::from_utf8(to_sorted_json(&one).unwrap()).unwrap().starts_with("{\n  \"a\": 2"));
    }
}
