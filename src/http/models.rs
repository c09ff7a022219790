//! Reads the list of models entry by entry and by type: it may be long, and only a few of its models are looked up.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Formatter};

use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::response::Unusable;

/// The longest member of an entry that is read, in bytes: a date, or an object of a few.
const MAX_MEMBER: usize = 10_000;

/// The models with these names that a list has, the first of each, with what says how long each is served: `id`,
/// `shutdown_date` and `deprecation`.
pub(super) fn read(body: &[u8], names: &BTreeSet<&str>) -> Result<Vec<Value>, Unusable> {
    let mut found = BTreeMap::new();
    let mut json = serde_json::Deserializer::from_slice(body);
    let list = List(|model: Model| {
        if let Some(name) = names.get(&*model.id) {
            found.entry(*name).or_insert_with(|| model.value());
        }
    });
    match list.deserialize(&mut json).and_then(|()| json.end()) {
        Ok(()) => Ok(found.into_values().collect()),
        Err(error) if error.is_data() => Err(Unusable::Unexpected("JSON that is not a list of models")),
        Err(error) => Err(error.into()),
    }
}

#[derive(Deserialize)]
struct Model<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    shutdown_date: Option<&'a RawValue>,
    #[serde(borrow)]
    deprecation: Option<&'a RawValue>,
}

impl Model<'_> {
    fn value(&self) -> Value {
        let member = |json: Option<&RawValue>| match json.map(RawValue::get) {
            Some(json) if json.len() > MAX_MEMBER => Value::from(format!("a value of {} bytes", json.len())),
            // What cannot be parsed, such as the number 1e400, is there all the same.
            Some(json) => serde_json::from_str(json).unwrap_or_else(|_| Value::from(json)),
            None => Value::Null,
        };
        json!({
            "id": self.id,
            "shutdown_date": member(self.shutdown_date),
            "deprecation": member(self.deprecation),
        })
    }
}

/// Calls its function with each entry of `data`.
struct List<F>(F);

impl<'de, F: FnMut(Model<'de>)> DeserializeSeed<'de> for List<F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, F: FnMut(Model<'de>)> Visitor<'de> for List<F> {
    type Value = ();

    fn expecting(&self, f: &mut Formatter) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let mut has_data = false;
        while let Some(name) = map.next_key::<Cow<str>>()? {
            if name == "data" {
                map.next_value_seed(Entries(&mut self.0))?;
                has_data = true;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        if has_data { Ok(()) } else { Err(A::Error::missing_field("data")) }
    }
}

struct Entries<'a, F>(&'a mut F);

impl<'de, F: FnMut(Model<'de>)> DeserializeSeed<'de> for Entries<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, F: FnMut(Model<'de>)> Visitor<'de> for Entries<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut Formatter) -> fmt::Result {
        f.write_str("an array of models")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        while let Some(model) = entries.next_element()? {
            self.0(model);
        }
        Ok(())
    }

    /// Some servers have null in place of an empty list.
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn models(json: &str) -> Result<Vec<Value>, Unusable> {
        read(json.as_bytes(), &BTreeSet::from(["a", "b"]))
    }

    #[test]
    fn only_what_is_looked_up_is_kept() {
        let long = "1,".repeat(MAX_MEMBER);
        let list = format!(
            r#"{{"object":"list","data":[{{"id":"c"}},{{"id":"\u0061","shutdown_date":null,"x":[{{}}]}},
            {{"deprecation":{{"inference":1}},"id":"b","shutdown_date":[{long}1]}},{{"id":"a","shutdown_date":1}}]}}"#
        );
        let expected = [
            json!({ "id": "a", "shutdown_date": null, "deprecation": null }),
            json!({ "id": "b", "shutdown_date": "a value of 20003 bytes", "deprecation": { "inference": 1 } }),
        ];
        assert_eq!(models(&list).unwrap(), expected);
        assert!(models(r#"{"data":null}"#).unwrap().is_empty());
    }

    #[test]
    fn a_date_that_cannot_be_parsed_is_there_all_the_same() {
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        for date in ["1e400", r#""\ud800""#, &deep] {
            let found = models(&format!(r#"{{"data":[{{"id":"a","shutdown_date":{date}}}]}}"#)).unwrap();
            assert_eq!(found[0]["shutdown_date"], date);
            let found = models(&format!(r#"{{"data":[{{"id":"a","deprecation":{{"inference":{date}}}}}]}}"#)).unwrap();
            assert!(found[0]["deprecation"].is_string(), "{date}");
        }
    }

    #[test]
    fn what_is_no_list_of_models_is_an_error() {
        for json in ["[]", "1", "{}", r#"{"data":{}}"#, r#"{"data":[1]}"#, r#"{"data":[{"id":1}]}"#, r#"{"data":[{}]}"#]
        {
            assert!(matches!(models(json), Err(Unusable::Unexpected(_))), "{json}");
        }
        for json in ["", "<html>", r#"{"data":[{"id":"a"}"#, r#"{"data":[]} x"#] {
            assert!(matches!(models(json), Err(Unusable::Json(_))), "{json}");
        }
    }
}
