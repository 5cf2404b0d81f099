//! The filters of lists and event streams.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};

use super::time::{self, Nanos};

/// Filters by name, each with its values; values of one filter are alternatives unless the filter says otherwise.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filters(BTreeMap<String, Vec<String>>);

/// Why filters were refused.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum FilterError {
    /// The text is not the JSON that Docker's clients send.
    #[error("invalid filter")]
    Malformed,
    /// The list does not know a filter of that name.
    #[error("invalid filter '{0}'")]
    Unknown(String),
    /// The value does not fit the filter.
    #[error("invalid filter '{0}={1}'")]
    Value(String, String),
    /// The value does not fit the filter, and why.
    #[error("invalid filter '{0}={1}': {2}")]
    Unfit(String, String, String),
    /// There may be one value.
    #[error("more than one {0} filter specified")]
    Several(String),
}

impl Filters {
    /// The moment of the filter `until`, before which something must have been made to be pruned.
    ///
    /// # Errors
    /// There are several; it is no moment.
    pub fn until(&self, now: Nanos) -> Result<Option<Nanos>, FilterError> {
        match self.get("until") {
            [] => Ok(None),
            [text] => time::parse_moment(text, now).map(Some).ok_or_else(|| {
                FilterError::Unfit("until".to_owned(), text.clone(), "not a time or duration".to_owned())
            }),
            _ => Err(FilterError::Several("until".to_owned())),
        }
    }

    /// Reads `{"label":["a=b"]}`, and the form of before API 1.22, `{"label":{"a=b":true}}`. Empty text: no filter.
    ///
    /// # Errors
    /// [`FilterError::Malformed`] for anything else.
    pub fn parse(json: &str) -> Result<Self, FilterError> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Values {
            List(Vec<String>),
            Map(BTreeMap<String, bool>),
        }
        if json.is_empty() {
            return Ok(Self::default());
        }
        let map: BTreeMap<String, Values> = serde_json::from_str(json).map_err(|_| FilterError::Malformed)?;
        let list = |values| match values {
            Values::List(list) => list,
            Values::Map(map) => map.into_iter().filter(|(_, on)| *on).map(|(value, _)| value).collect(),
        };
        Ok(Self(map.into_iter().map(|(name, values)| (name, list(values))).collect()))
    }

    /// Filters built in code.
    #[cfg(test)]
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> Self {
        let mut map = BTreeMap::<String, Vec<String>>::new();
        for (name, value) in pairs {
            map.entry(name.to_owned()).or_default().push(value);
        }
        Self(map)
    }

    /// These filters and one value more.
    #[must_use]
    pub fn and(mut self, name: &str, value: String) -> Self {
        self.0.entry(name.to_owned()).or_default().push(value);
        self
    }

    /// Checks that every filter is one of these.
    ///
    /// # Errors
    /// [`FilterError::Unknown`] names the first that is not.
    pub fn allow(&self, known: &[&str]) -> Result<(), FilterError> {
        match self.0.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(FilterError::Unknown(name.clone())),
            None => Ok(()),
        }
    }

    /// The values of a filter; empty if it was not given.
    pub fn get(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether the filter is absent or one of its values is accepted.
    pub fn any(&self, name: &str, accept: impl FnMut(&str) -> bool) -> bool {
        let values = self.get(name);
        values.is_empty() || values.iter().map(String::as_str).any(accept)
    }

    /// Whether all `label` values (`name` or `name=value`) are among the labels.
    pub fn labels(&self, labels: &BTreeMap<String, String>) -> bool {
        self.get("label").iter().all(|want| has_label(labels, want))
    }

    /// Whether none of the `label!` values is among the labels.
    pub fn without_labels(&self, labels: &BTreeMap<String, String>) -> bool {
        !self.get("label!").iter().any(|want| has_label(labels, want))
    }

    /// A filter of one truth value: `true`, `1`, `false`, `0`.
    ///
    /// # Errors
    /// [`FilterError::Value`] for anything else.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, FilterError> {
        let mut found = None;
        for value in self.get(name) {
            found = Some(match value.as_str() {
                "true" | "1" | "True" | "TRUE" | "t" | "T" => true,
                "false" | "0" | "False" | "FALSE" | "f" | "F" => false,
                _ => return Err(FilterError::Value(name.to_owned(), format!("[{}]", self.get(name).join(" ")))),
            });
        }
        Ok(found)
    }
}

/// From the JSON text that a query carries.
impl<'de> Deserialize<'de> for Filters {
    fn deserialize<D: Deserializer<'de>>(de: D) -> Result<Self, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = Filters;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("filters as JSON text")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Filters, E> {
                Filters::parse(text).map_err(E::custom)
            }
        }
        de.deserialize_str(Text)
    }
}

impl JsonSchema for Filters {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Filters".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "contentMediaType": "application/json" })
    }
}

fn has_label(labels: &BTreeMap<String, String>, want: &str) -> bool {
    match want.split_once('=') {
        Some((name, value)) => labels.get(name).is_some_and(|have| have == value),
        None => labels.contains_key(want),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_encodings_mean_the_same() {
        let new = Filters::parse(r#"{"label":["a=b","c"]}"#).expect("new form");
        let old = Filters::parse(r#"{"label":{"a=b":true,"c":true,"d":false}}"#).expect("old form");
        assert_eq!(new, old);
        let labels = BTreeMap::from([("a".into(), "b".into()), ("c".into(), String::new())]);
        assert!(new.labels(&labels));
        assert!(!new.labels(&BTreeMap::from([("a".into(), "b".into())])));
        assert!(Filters::parse("[1]").is_err());
        assert_eq!(new.allow(&["name"]), Err(FilterError::Unknown("label".into())));
    }
}
