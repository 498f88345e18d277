//! [config]: values that a plugin's guests may read, under any key.

use std::collections::BTreeMap;

use rookery_tables::Table;
use toml::de::DeValue;

pub(super) fn read(config: &Table<'_>) -> BTreeMap<String, String> {
    let mut read = BTreeMap::new();
    for entry in config.entries() {
        let text = match entry.value {
            DeValue::String(text) => Some(text.to_string()),
            // As it was written: 0.10 is not 0.1 to everybody.
            DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
            DeValue::Integer(number) => {
                i128::from_str_radix(number.as_str(), number.radix()).ok().map(|number| number.to_string())
            }
            DeValue::Float(number) => Some(number.as_str().to_owned()),
            DeValue::Boolean(truth) => Some(truth.to_string()),
            DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
        };
        match text {
            Some(text) => drop(read.insert(entry.key.to_owned(), text)),
            None => entry.is_not(
                "a plain value",
                "write a string, a number, true or false; put all else in a string".into(),
            ),
        }
    }
    read
}
