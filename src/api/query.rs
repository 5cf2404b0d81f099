//! Reads query and path parameters into structs, in the encodings that Docker's clients use.
//!
//! A truth value is false if it is empty, `0`, `no`, `false` or `none` in any case, and true otherwise. An empty
//! number is as good as none. Of a repeated name a scalar takes the first value, a list all of them.

use std::fmt;

use percent_encoding::percent_decode_str;
use serde::de::value::{SeqDeserializer, StrDeserializer};
use serde::de::{self, DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::error::ApiError;

/// Reads a struct from decoded pairs.
///
/// # Errors
/// 400 that names the parameter and its value.
pub(super) fn parse<T: DeserializeOwned>(pairs: &[(String, String)]) -> Result<T, ApiError> {
    T::deserialize(Pairs { pairs, next: 0, value: None }).map_err(|err| ApiError::bad_request(err.0))
}

/// Splits and decodes a query string.
///
/// # Errors
/// 400 for what Go's `url.ParseQuery` refuses, in its words.
pub(super) fn pairs(query: &str) -> Result<Vec<(String, String)>, ApiError> {
    let mut found = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        if pair.contains(';') {
            return Err(ApiError::bad_request("invalid semicolon separator in query"));
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let text = |part: &str| unescape(&part.replace('+', " ")).map(|bytes| String::from_utf8_lossy(&bytes).into());
        found.push((text(name)?, text(value)?));
    }
    Ok(found)
}

/// Undoes percent-encoding.
///
/// # Errors
/// 400 for a `%` without two digits after it, in Go's words.
pub(super) fn unescape(text: &str) -> Result<Vec<u8>, ApiError> {
    let bad = text.match_indices('%').map(|(at, _)| &text.as_bytes()[at..]).find(|rest| {
        let digits = rest.iter().skip(1).take(2).filter(|byte| byte.is_ascii_hexdigit());
        digits.count() < 2
    });
    if let Some(rest) = bad {
        let escape = String::from_utf8_lossy(&rest[..rest.len().min(3)]).into_owned();
        return Err(ApiError::bad_request(format!("invalid URL escape {escape:?}")));
    }
    Ok(percent_decode_str(text).collect())
}

#[derive(Debug)]
struct Invalid(String);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Invalid {}

impl de::Error for Invalid {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

struct Pairs<'a> {
    pairs: &'a [(String, String)],
    next: usize,
    value: Option<Value<'a>>,
}

impl<'de> Deserializer<'de> for Pairs<'_> {
    type Error = Invalid;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        visitor.visit_map(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de> MapAccess<'de> for Pairs<'_> {
    type Error = Invalid;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Invalid> {
        while let Some((name, _)) = self.pairs.get(self.next) {
            let seen = self.pairs[..self.next].iter().any(|(earlier, _)| earlier == name);
            self.next += 1;
            if !seen {
                let all = self.pairs.iter().filter(|(other, _)| other == name);
                self.value = Some(Value { name, values: all.map(|(_, value)| value.as_str()).collect() });
                let key: StrDeserializer<'_, Invalid> = name.as_str().into_deserializer();
                return seed.deserialize(key).map(Some);
            }
        }
        Ok(None)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Invalid> {
        let value = self.value.take().ok_or_else(|| Invalid("value without a name".into()))?;
        seed.deserialize(value)
    }
}

/// All values of one name, at least one.
struct Value<'a> {
    name: &'a str,
    values: Vec<&'a str>,
}

impl Value<'_> {
    fn first(&self) -> &str {
        self.values.first().copied().unwrap_or_default()
    }

    fn invalid(&self, what: &str) -> Invalid {
        Invalid(format!("invalid value {:?} for parameter '{}': {what}", self.first(), self.name))
    }

    /// An empty number is zero, the empty value of its type.
    fn number<T: std::str::FromStr + Default>(&self) -> Result<T, Invalid> {
        match self.first().trim() {
            "" => Ok(T::default()),
            text => text.parse().map_err(|_| self.invalid("not a number in range")),
        }
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident)*) => { $(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
            visitor.$visit(self.number()?)
        }
    )* };
}

impl<'de> Deserializer<'de> for Value<'_> {
    type Error = Invalid;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        let result: Result<_, Invalid> = visitor.visit_str(self.first());
        // A string that is more than a string (filters, an enumeration) fails with its own reason.
        result.map_err(|err| if err.0.starts_with("invalid filter") { err } else { self.invalid(&err.0) })
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        let text = self.first().trim().to_ascii_lowercase();
        visitor.visit_bool(!matches!(text.as_str(), "" | "0" | "no" | "false" | "none"))
    }

    numbers! {
        deserialize_i16 visit_i16 deserialize_i32 visit_i32 deserialize_i64 visit_i64
        deserialize_u16 visit_u16 deserialize_u32 visit_u32 deserialize_u64 visit_u64
        deserialize_f64 visit_f64
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        if self.first().is_empty() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Invalid> {
        visitor.visit_seq(SeqDeserializer::new(self.values.into_iter()))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Invalid> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Invalid> {
        let text: StrDeserializer<'_, Invalid> = self.first().into_deserializer();
        text.deserialize_enum(name, variants, visitor).map_err(|err| self.invalid(&err.0))
    }

    forward_to_deserialize_any! {
        i8 i128 u8 u128 f32 char str string bytes byte_buf unit unit_struct tuple tuple_struct map struct identifier
        ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::model::filters::Filters;

    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Sample {
        all: bool,
        limit: Option<i64>,
        names: Vec<String>,
        filters: Filters,
        signal: Option<String>,
    }

    fn read(query: &str) -> Result<Sample, ApiError> {
        parse(&pairs(query)?)
    }

    #[test]
    fn dockers_encodings() {
        for (value, truth) in [("1", true), ("True", true), ("yes", true), ("0", false), ("None", false), ("", false)] {
            assert_eq!(read(&format!("all={value}")).expect("reads").all, truth, "{value}");
        }
        let sample = read("names=a&limit=-1&names=b%2Fc&other=x&signal=&filters=%7B%22label%22%3A%5B%22a%22%5D%7D")
            .expect("reads");
        assert_eq!(sample.names, ["a", "b/c"]);
        assert_eq!((sample.limit, sample.signal), (Some(-1), None));
        assert_eq!(sample.filters.get("label"), ["a"]);
        assert_eq!(read("limit=").expect("reads").limit, None);
    }

    #[test]
    fn bad_values_are_named() {
        let message = |query| read(query).err().expect("refused").message().to_owned();
        assert_eq!(message("limit=ten"), "invalid value \"ten\" for parameter 'limit': not a number in range");
        assert_eq!(message("filters=%7B"), "invalid filter");
    }

    #[test]
    fn queries_as_go_splits_them() {
        let read = |query| pairs(query).map_err(|err| err.message().to_owned());
        let two = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(
            read("&a=b+c&&d&=e&f=%3D%c3%a4%ff&g=h=i"),
            Ok(vec![two("a", "b c"), two("d", ""), two("", "e"), two("f", "=\u{e4}\u{fffd}"), two("g", "h=i"),])
        );
        for (query, message) in [
            ("a=%zz&b", "invalid URL escape \"%zz\""),
            ("a=%4", "invalid URL escape \"%4\""),
            ("a=1;b=2", "invalid semicolon separator in query"),
        ] {
            assert_eq!(read(query), Err(message.to_owned()));
        }
    }
}
