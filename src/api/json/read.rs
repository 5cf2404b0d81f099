//! From a tree to a type, as Go's `encoding/json` does it.

use std::fmt;

use serde::de::value::{SeqDeserializer, StrDeserializer};
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;

use super::parse::Tree;

/// Reads a value.
///
/// # Errors
/// A value of another type than its place has.
pub fn read<T: DeserializeOwned>(tree: &Tree) -> Result<T, Error> {
    T::deserialize(Reader::of(tree))
}

/// Why a tree is not the type that it should be.
#[derive(Debug)]
pub struct Error {
    what: What,
    /// Names of the members that lead to it, the innermost first.
    path: Vec<&'static str>,
    /// The innermost type that has it.
    owner: Option<&'static str>,
}

#[derive(Debug)]
enum What {
    Mismatch { value: String, wanted: String },
    Other(String),
}

impl Error {
    fn new(what: What) -> Self {
        Self { what, path: Vec::new(), owner: None }
    }

    fn within(mut self, owner: &'static str, member: &'static str) -> Self {
        self.owner.get_or_insert(owner);
        self.path.push(member);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.what, self.owner) {
            (What::Other(text), _) => f.write_str(text),
            (What::Mismatch { value, wanted }, None) => {
                write!(f, "json: cannot unmarshal {value} into Go value of type {wanted}")
            }
            (What::Mismatch { value, wanted }, Some(owner)) => {
                let path: Vec<&str> = self.path.iter().rev().copied().collect();
                let path = path.join(".");
                write!(f, "json: cannot unmarshal {value} into Go struct field {owner}.{path} of type {wanted}")
            }
        }
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(What::Other(message.to_string()))
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let value = match unexpected {
            Unexpected::Bool(_) => "bool",
            Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_) => "number",
            Unexpected::Str(_) => "string",
            Unexpected::Seq => "array",
            Unexpected::Map => "object",
            _ => "null",
        };
        Self::new(What::Mismatch { value: value.to_owned(), wanted: expected.to_string() })
    }
}

/// A tree on its way to a type. Where a type does not take `null`, it is that type's empty value.
struct Reader<'a> {
    tree: &'a Tree,
    /// It is one of the types that share an object, which Go does not name.
    embedded: bool,
}

impl<'a> Reader<'a> {
    fn of(tree: &'a Tree) -> Self {
        Self { tree, embedded: false }
    }

    fn mismatch<T>(&self, wanted: &str) -> Result<T, Error> {
        let value = match self.tree {
            Tree::Null => "null".to_owned(),
            Tree::Bool(_) => "bool".to_owned(),
            Tree::Number(text) if wanted.contains("int") => format!("number {text}"),
            Tree::Number(_) => "number".to_owned(),
            Tree::Text(_) => "string".to_owned(),
            Tree::List(_) => "array".to_owned(),
            Tree::Object(_) => "object".to_owned(),
        };
        Err(Error::new(What::Mismatch { value, wanted: wanted.to_owned() }))
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident $type:ty, $name:literal;)*) => { $(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            match self.tree {
                Tree::Null => visitor.$visit(<$type>::default()),
                Tree::Number(text) => match text.parse() {
                    Ok(number) => visitor.$visit(number),
                    Err(_) => self.mismatch($name),
                },
                _ => self.mismatch($name),
            }
        }
    )* };
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.tree {
            Tree::Null => visitor.visit_unit(),
            Tree::Bool(value) => visitor.visit_bool(*value),
            Tree::Number(text) => match (text.parse(), text.parse()) {
                (Ok(number), _) => visitor.visit_u64(number),
                (_, Ok(number)) => visitor.visit_i64(number),
                _ => self.deserialize_f64(visitor),
            },
            Tree::Text(text) => visitor.visit_str(text),
            Tree::List(_) => self.deserialize_seq(visitor),
            Tree::Object(_) => self.deserialize_map(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.tree {
            Tree::Null => visitor.visit_bool(false),
            Tree::Bool(value) => visitor.visit_bool(*value),
            _ => self.mismatch("bool"),
        }
    }

    numbers! {
        deserialize_i8 visit_i8 i8, "int8";
        deserialize_i16 visit_i16 i16, "int16";
        deserialize_i32 visit_i32 i32, "int32";
        deserialize_i64 visit_i64 i64, "int64";
        deserialize_u8 visit_u8 u8, "uint8";
        deserialize_u16 visit_u16 u16, "uint16";
        deserialize_u32 visit_u32 u32, "uint32";
        deserialize_u64 visit_u64 u64, "uint64";
        deserialize_f64 visit_f64 f64, "float64";
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.tree {
            Tree::Null => visitor.visit_str(""),
            Tree::Text(text) => visitor.visit_str(text),
            _ => self.mismatch("string"),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if *self.tree == Tree::Null { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.tree {
            Tree::Null => visitor.visit_seq(Elements { trees: &[], left: 0 }),
            Tree::List(trees) => visitor.visit_seq(Elements { trees, left: trees.len() }),
            _ => self.mismatch("array"),
        }
    }

    /// A list of a fixed length: as in Go, what is missing is empty, and what is too much is passed over.
    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        match self.tree {
            Tree::Null => visitor.visit_seq(Elements { trees: &[], left: len }),
            Tree::List(trees) => visitor.visit_seq(Elements { trees: &trees[..len.min(trees.len())], left: len }),
            _ => self.mismatch("array"),
        }
    }

    /// Several types that share one object, as embedded ones do in Go: each reads the whole of it.
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        let part = |tree| Reader { tree, embedded: true };
        match self.tree {
            Tree::Null | Tree::Object(_) => {
                visitor.visit_seq(SeqDeserializer::new(std::iter::repeat_n(self.tree, len).map(part)))
            }
            _ => self.mismatch(name),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let entries: &[(String, Tree)] = match self.tree {
            Tree::Null => &[],
            Tree::Object(entries) => entries,
            _ => return self.mismatch("map"),
        };
        visitor.visit_map(Entries { entries, value: None })
    }

    /// Names fit without regard to case; of several members with one name the last counts; `null` is as good as none.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let entries: &[(String, Tree)] = match self.tree {
            Tree::Null => &[],
            Tree::Object(entries) => entries,
            _ => return self.mismatch(name),
        };
        let mut members: Vec<(&'static str, &Tree)> = Vec::new();
        for (key, value) in entries.iter().filter(|(_, value)| *value != Tree::Null) {
            let exact = fields.iter().find(|field| *field == key);
            let Some(field) = exact.or_else(|| fields.iter().find(|field| field.eq_ignore_ascii_case(key))) else {
                continue;
            };
            match members.iter_mut().find(|(known, _)| known == field) {
                Some((_, earlier)) => *earlier = value,
                None => members.push((field, value)),
            }
        }
        visitor.visit_map(Members {
            owner: if self.embedded { "" } else { name },
            members: members.into_iter(),
            value: None,
        })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.tree {
            Tree::Null => visitor.visit_enum(text("")),
            Tree::Text(value) => visitor.visit_enum(text(value)),
            _ => self.mismatch("string"),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! { i128 u128 f32 char bytes byte_buf unit unit_struct identifier }
}

fn text(value: &str) -> StrDeserializer<'_, Error> {
    value.into_deserializer()
}

impl<'de> IntoDeserializer<'de, Error> for Reader<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

struct Elements<'a> {
    trees: &'a [Tree],
    left: usize,
}

impl<'de> SeqAccess<'de> for Elements<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let (tree, rest) = self.trees.split_first().unwrap_or((&Tree::Null, &[]));
        self.trees = rest;
        seed.deserialize(Reader::of(tree)).map(Some)
    }
}

struct Entries<'a> {
    entries: &'a [(String, Tree)],
    value: Option<&'a Tree>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some(((key, value), rest)) = self.entries.split_first() else { return Ok(None) };
        (self.entries, self.value) = (rest, Some(value));
        seed.deserialize(text(key)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        seed.deserialize(Reader::of(self.value.take().unwrap_or(&Tree::Null)))
    }
}

struct Members<'a> {
    owner: &'static str,
    members: std::vec::IntoIter<(&'static str, &'a Tree)>,
    value: Option<(&'static str, &'a Tree)>,
}

impl<'de> MapAccess<'de> for Members<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        self.value = self.members.next();
        self.value.map(|(name, _)| seed.deserialize(text(name))).transpose()
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        let (name, tree) = self.value.take().unwrap_or(("", &Tree::Null));
        seed.deserialize(Reader::of(tree)).map_err(|err| err.within(self.owner, name))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::super::parse::parse;
    use super::*;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(rename_all = "PascalCase", default)]
    struct Inner {
        size: i64,
        names: Vec<String>,
        pair: Option<[u32; 2]>,
    }

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(rename_all = "PascalCase", default)]
    struct Outer {
        inner: Inner,
        port: u16,
        labels: BTreeMap<String, String>,
        flag: bool,
        cpus: f64,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Both(Outer, Inner);

    fn from<T: DeserializeOwned>(json: &str) -> Result<T, String> {
        read(&parse(json.as_bytes()).expect("parses").0).map_err(|err| err.to_string())
    }

    #[test]
    fn as_go_reads() {
        let outer: Outer = from(
            r#"{"inner":{"SIZE":1,"size":2,"Names":["a",null]},"Port":7,"PORT":8,"LABELS":{"A":"x","a":null,"A":"y"},
                "flag":true,"Unknown":{"deep":[1]},"Cpus":1e-1,"Flag":null}"#,
        )
        .expect("reads");
        let labels = [("A".to_owned(), "y".to_owned()), ("a".to_owned(), String::new())].into();
        let inner = Inner { size: 2, names: vec!["a".to_owned(), String::new()], pair: None };
        assert_eq!(outer, Outer { inner, port: 8, labels, flag: true, cpus: 0.1 });
        assert_eq!(from::<Outer>("null"), Ok(Outer::default()));
        assert_eq!(from::<Outer>(r#"{"Inner":null,"Labels":null,"Port":null}"#), Ok(Outer::default()));
        for (pair, read) in [("[5]", [5, 0]), ("[5,6,7]", [5, 6]), ("[]", [0, 0])] {
            assert_eq!(from::<Inner>(&format!("{{\"Pair\":{pair}}}")).map(|inner| inner.pair), Ok(Some(read)));
        }
        let both: Both = from(r#"{"size":3,"Port":4}"#).expect("reads");
        assert_eq!((both.0.port, both.1.size), (4, 3));
    }

    #[test]
    fn mismatches_as_go_words_them() {
        for (json, message) in [
            ("[]", "json: cannot unmarshal array into Go value of type Outer"),
            ("\"x\"", "json: cannot unmarshal string into Go value of type Outer"),
            ("{\"Port\":\"7\"}", "json: cannot unmarshal string into Go struct field Outer.Port of type uint16"),
            ("{\"port\":70000}", "json: cannot unmarshal number 70000 into Go struct field Outer.Port of type uint16"),
            ("{\"flag\":1}", "json: cannot unmarshal number into Go struct field Outer.Flag of type bool"),
            (
                "{\"Inner\":{\"Size\":1.5}}",
                "json: cannot unmarshal number 1.5 into Go struct field Inner.Inner.Size of type int64",
            ),
            ("{\"Inner\":[]}", "json: cannot unmarshal array into Go struct field Outer.Inner of type Inner"),
            (
                "{\"Labels\":{\"a\":1}}",
                "json: cannot unmarshal number into Go struct field Outer.Labels of type string",
            ),
        ] {
            assert_eq!(from::<Outer>(json), Err(message.to_owned()), "{json}");
        }
        for (json, message) in [
            ("[]", "json: cannot unmarshal array into Go value of type Both"),
            ("{\"Size\":\"\"}", "json: cannot unmarshal string into Go struct field .Size of type int64"),
        ] {
            assert_eq!(from::<Both>(json), Err(message.to_owned()), "{json}");
        }
    }
}
