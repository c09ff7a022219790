//! What a run keeps of the API's answers: a server may send as much as it likes, but cannot exhaust the memory.

use std::sync::{Arc, Mutex};
use std::{mem, slice};

use serde_json::Value;

/// What JSON takes. An object in memory takes 640 bytes with one member and 2 kB with twelve, and any value 32 at least.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    pub bytes: usize,
    /// Items of arrays, members of objects, and the whole.
    pub values: usize,
    pub objects: usize,
}

/// 10,000 real jobs have 10.7 MB, 360,000 values and 60,000 objects.
const MOST: Cost = Cost { bytes: 16 << 20, values: 500_000, objects: 100_000 };

impl Cost {
    /// Counts without building anything. An empty array or object counts as if it had one value.
    pub fn of(json: &[u8]) -> Self {
        let mut cost = Cost { bytes: json.len(), values: 1, objects: 0 };
        let mut bytes = json.iter();
        while let Some(byte) = bytes.next() {
            match byte {
                b',' | b'[' => cost.values += 1,
                b'{' => (cost.values, cost.objects) = (cost.values + 1, cost.objects + 1),
                b'"' => skip_string(&mut bytes),
                _ => {}
            }
        }
        cost
    }

    /// The same of what has been read already, about.
    pub fn of_value(value: &Value) -> Self {
        let mut cost = Cost { bytes: 1, values: 1, objects: 0 };
        match value {
            Value::String(text) => cost.bytes += text.len(),
            Value::Array(items) => items.iter().for_each(|item| cost.add(Self::of_value(item))),
            Value::Object(members) => {
                cost.objects += 1;
                for (name, value) in members {
                    cost.bytes += name.len();
                    cost.add(Self::of_value(value));
                }
            }
            _ => {}
        }
        cost
    }

    fn add(&mut self, Cost { bytes, values, objects }: Cost) {
        self.bytes += bytes;
        self.values += values;
        self.objects += objects;
    }
}

/// Goes behind the end of a JSON string.
fn skip_string(bytes: &mut slice::Iter<u8>) {
    while let Some(byte) = bytes.next().filter(|byte| **byte != b'"') {
        if *byte == b'\\' {
            bytes.next();
        }
    }
}

/// The account of what a run keeps, over all its answers.
#[derive(Clone, Default)]
pub struct Budget(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    cost: Cost,
    answers: usize,
}

/// An answer's share of the account, given back when it is dropped with the answer.
pub struct Charge {
    budget: Budget,
    cost: Cost,
}

/// Why an answer cannot be kept.
#[derive(Debug)]
pub struct TooMuch {
    /// What there would be too much of, such as "over 16 MiB".
    pub what: &'static str,
    /// How many answers are kept.
    pub kept: usize,
}

impl Budget {
    /// Counts an answer, before anything is built of it.
    pub fn take(&self, cost: Cost) -> Result<Charge, TooMuch> {
        let mut kept = self.0.lock().unwrap();
        let mut sum = kept.cost;
        sum.add(cost);
        let what = match sum {
            Cost { bytes, .. } if bytes > MOST.bytes => "over 16 MiB",
            Cost { values, .. } if values > MOST.values => "over 500,000 values",
            Cost { objects, .. } if objects > MOST.objects => "over 100,000 objects",
            _ => {
                *kept = Kept { cost: sum, answers: kept.answers + 1 };
                return Ok(Charge { budget: self.clone(), cost });
            }
        };
        Err(TooMuch { what, kept: kept.answers })
    }
}

impl Charge {
    /// For an answer that is kept until the run ends.
    pub fn keep(self) {
        mem::forget(self);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let mut kept = self.budget.0.lock().unwrap();
        kept.answers -= 1;
        kept.cost.bytes -= self.cost.bytes;
        kept.cost.values -= self.cost.values;
        kept.cost.objects -= self.cost.objects;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_and_objects_are_counted() {
        for (json, values, objects) in [
            ("1", 1, 0),
            (r#"{"a":1,"b":[1,2,{"c":null}]}"#, 7, 2),
            (r#"{"a,[{\"":"\\","b":"[,{"}"#, 3, 1),
            ("[[],{}]", 5, 1),
            (r#"["unfinished, ["#, 2, 0),
            (r#"["\"#, 2, 0),
        ] {
            assert_eq!(Cost::of(json.as_bytes()), Cost { bytes: json.len(), values, objects }, "{json}");
        }
    }

    #[test]
    fn what_was_read_costs_no_more_than_its_bytes_did() {
        let value = json!({ "a": [1, { "": "text" }, [], {}], "bc": { "d": 1.5, "e": null } });
        let (tree, bytes) = (Cost::of_value(&value), Cost::of(value.to_string().as_bytes()));
        assert_eq!(tree, Cost { bytes: 19, values: 10, objects: 4 });
        assert!(tree.bytes <= bytes.bytes && tree.values <= bytes.values && tree.objects <= bytes.objects);
    }

    #[test]
    fn what_is_dropped_is_given_back() {
        let budget = Budget::default();
        let half = Cost { bytes: 1, values: MOST.values / 2, objects: 0 };
        let charges = [budget.take(half).unwrap(), budget.take(half).unwrap()];
        let error = budget.take(half).err().unwrap();
        assert_eq!((error.what, error.kept), ("over 500,000 values", 2));
        drop(charges);
        assert!(budget.take(MOST).is_ok());
        budget.take(MOST).unwrap().keep();
        for cost in [Cost { bytes: 1, ..Cost::default() }, Cost { objects: 1, ..Cost::default() }] {
            assert!(budget.take(cost).is_err(), "{cost:?}");
        }
    }
}
