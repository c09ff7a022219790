//! How a job is written as JSON without a copy of what the API sent.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::text::JsonText;

/// Whether a value has the type that is documented.
pub type Fits = fn(&Value) -> bool;

/// A value, mostly by reference.
pub enum View<'a> {
    Null,
    Api(&'a Value),
    /// The JSON text of a value.
    Text(&'a Value),
    /// An array whose items are null unless they fit.
    Items(&'a [Value], Fits),
    /// An object whose members are, likewise.
    Members(&'a Map<String, Value>, Fits),
    Object(BTreeMap<Cow<'a, str>, View<'a>>),
}

impl<'a> View<'a> {
    pub fn object() -> Self {
        View::Object(BTreeMap::new())
    }

    /// The members of an object, which it becomes if it is none.
    pub fn members(&mut self) -> &mut BTreeMap<Cow<'a, str>, View<'a>> {
        if !matches!(self, View::Object(_)) {
            *self = Self::object();
        }
        match self {
            View::Object(members) => members,
            _ => unreachable!("it has become an object"),
        }
    }
}

impl Serialize for View<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        fn or_null(value: &Value, fits: Fits) -> Option<&Value> {
            Some(value).filter(|value| fits(value))
        }
        match self {
            View::Null => serializer.serialize_unit(),
            View::Api(value) => value.serialize(serializer),
            View::Text(value) => JsonText(value).serialize(serializer),
            View::Items(items, fits) => serializer.collect_seq(items.iter().map(|item| or_null(item, *fits))),
            View::Members(members, fits) => {
                serializer.collect_map(members.iter().map(|(name, value)| (name, or_null(value, *fits))))
            }
            View::Object(members) => serializer.collect_map(members),
        }
    }
}

/// A value of the result, which is a string.
pub enum Flat<'a> {
    Text(&'a str),
    /// The JSON text of this.
    Json(View<'a>),
    /// The JSON text of what this builds: that may be large, and is dropped when it has been written.
    Later(Box<dyn Fn() -> View<'a> + 'a>),
}

impl Serialize for Flat<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Flat::Text(text) => text.serialize(serializer),
            Flat::Json(view) => JsonText(view).serialize(serializer),
            Flat::Later(build) => JsonText(build()).serialize(serializer),
        }
    }
}
