//! A container's configuration as its creator wrote it: the portable half.
//!
//! Docker's own field names are kept, in records on disk too: they are the terms that every user of the engine knows,
//! image configurations use the same ones, and one type then serves the request, the record and the inspection.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// A set in Docker's JSON: an object whose values are empty objects.
pub type Set = BTreeMap<String, Empty>;

/// The empty object of [`Set`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Empty {}

/// `null` is what a Go client sends for an empty value of any type.
pub(crate) fn or_default<'de, D, T>(de: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(de)?.unwrap_or_default())
}

/// A command as one string or as a list: a string stands for a list of one, as in dockerd's `strslice`.
fn command<'de, D: Deserializer<'de>>(de: D) -> Result<Option<Vec<String>>, D::Error> {
    struct Command;
    impl<'de> Visitor<'de> for Command {
        type Value = Option<Vec<String>>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("[]string")
        }
        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }
        fn visit_str<E>(self, one: &str) -> Result<Self::Value, E> {
            Ok(Some(vec![one.to_owned()]))
        }
        fn visit_seq<A: SeqAccess<'de>>(self, many: A) -> Result<Self::Value, A::Error> {
            Vec::deserialize(SeqAccessDeserializer::new(many)).map(Some)
        }
    }
    de.deserialize_any(Command)
}

pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The configuration that travels with an image and that a container's creator overrides.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct ContainerConfig {
    /// Host name inside the container; empty: the first twelve digits of its id.
    #[serde(deserialize_with = "or_default")]
    pub hostname: String,
    /// NIS domain name inside the container.
    #[serde(deserialize_with = "or_default")]
    pub domainname: String,
    /// `user[:group]`, names or numbers; empty: the image's, else root.
    #[serde(deserialize_with = "or_default")]
    pub user: String,
    /// Whether the creator means to attach to standard input.
    #[serde(deserialize_with = "or_default")]
    pub attach_stdin: bool,
    /// Whether the creator means to attach to standard output.
    #[serde(deserialize_with = "or_default")]
    pub attach_stdout: bool,
    /// Whether the creator means to attach to standard error.
    #[serde(deserialize_with = "or_default")]
    pub attach_stderr: bool,
    /// Ports that the program listens on, as `8080/tcp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exposed_ports: Option<Set>,
    /// Give the process a terminal.
    #[serde(deserialize_with = "or_default")]
    pub tty: bool,
    /// Keep standard input open even when nobody is attached.
    #[serde(deserialize_with = "or_default")]
    pub open_stdin: bool,
    /// Close standard input when the first attached client leaves.
    #[serde(deserialize_with = "or_default")]
    pub stdin_once: bool,
    /// Environment, `NAME=value`; a bare `NAME` in a request removes it.
    pub env: Option<Vec<String>>,
    /// Command, or the entrypoint's arguments.
    #[serde(deserialize_with = "command")]
    pub cmd: Option<Vec<String>>,
    /// How to test that the container is healthy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// Windows only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args_escaped: Option<bool>,
    /// The image as the creator named it.
    #[serde(deserialize_with = "or_default")]
    pub image: String,
    /// Mount points of anonymous volumes.
    pub volumes: Option<Set>,
    /// Working directory of the process.
    #[serde(deserialize_with = "or_default")]
    pub working_dir: String,
    /// Program and its first arguments.
    #[serde(deserialize_with = "command")]
    pub entrypoint: Option<Vec<String>>,
    /// No network at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_disabled: Option<bool>,
    /// Hardware address of the first interface (before API 1.44).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac_address: Option<String>,
    /// Build triggers of an image.
    pub on_build: Option<Vec<String>>,
    /// Labels.
    #[serde(deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
    /// Signal that asks the process to end; empty: SIGTERM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// Seconds between the stop signal and SIGKILL; none: 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<i64>,
    /// Shell for the shell form of build instructions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
}

/// A health check; times in nanoseconds, zero: the default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]`, `["CMD-SHELL", command]`, or empty to inherit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<Vec<String>>,
    /// Between two checks.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub interval: i64,
    /// Until one check is given up.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub timeout: i64,
    /// Failures in a row that make the container unhealthy.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub retries: i64,
    /// Time after the start in which failures do not count.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub start_period: i64,
    /// Between two checks during the start period.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_default")]
    pub start_interval: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nulls_and_bare_strings_are_accepted() {
        let config: ContainerConfig =
            serde_json::from_str(r#"{"Cmd":"true","Entrypoint":null,"Labels":null,"User":null,"Env":null}"#)
                .expect("parses");
        assert_eq!(config.cmd, Some(vec!["true".to_owned()]));
        assert_eq!(config.entrypoint, None);
        assert!(config.labels.is_empty());
    }
}
