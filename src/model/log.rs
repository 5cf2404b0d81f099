//! Where a container's output is kept.

use serde::{Deserialize, Serialize};

use super::host_config::LogConfig;
use super::size::{self, Base};

/// A container's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Log {
    /// Kept nowhere.
    None,
    /// A file, in Docker's format.
    JsonFile {
        /// Bytes at which the file is full; none: never.
        max_size: Option<u64>,
        /// How many files to keep, the current one included; at least 1.
        max_file: u32,
    },
}

impl Default for Log {
    fn default() -> Self {
        Self::JsonFile { max_size: None, max_file: 1 }
    }
}

/// Options that every driver of Docker's has.
const COMMON: [&str; 3] = ["mode", "max-buffer-size", "cache-disabled"];
/// Options of `json-file` that change nothing here: said in a warning.
pub const WITHOUT_EFFECT: [&str; 8] =
    ["mode", "max-buffer-size", "compress", "labels", "labels-regex", "env", "env-regex", "tag"];

impl Log {
    /// Reads a request's log driver and its options.
    ///
    /// # Errors
    /// Docker's text for a driver, an option or a value that is none.
    pub fn parse(config: &LogConfig) -> Result<Self, String> {
        let option = |name: &str| config.config.get(name).map(String::as_str);
        if config.r#type == "none" {
            return Ok(Self::None);
        }
        match option("mode").unwrap_or_default() {
            "" | "blocking" | "non-blocking" => {}
            mode => return Err(format!("logger: logging mode not supported: {mode}")),
        }
        if let Some(size) = option("max-buffer-size") {
            if option("mode") != Some("non-blocking") {
                return Err("logger: max-buffer-size option is only supported with 'mode=non-blocking'".to_owned());
            }
            size::parse(size, Base::Binary).map_err(|err| format!("error parsing option max-buffer-size: {err}"))?;
        }
        if let Some(text) = option("cache-disabled").filter(|text| go_bool(text).is_none()) {
            return Err(format!("invalid value for option cache-disabled: {text}"));
        }
        if !matches!(config.r#type.as_str(), "" | "json-file") {
            let driver = &config.r#type;
            return Err(format!("error looking up logging plugin {driver}: plugin \"{driver}\" not found"));
        }
        let known = |name: &str| {
            COMMON.contains(&name) || WITHOUT_EFFECT.contains(&name) || ["max-size", "max-file"].contains(&name)
        };
        if let Some(name) = config.config.keys().find(|name| !known(name)) {
            return Err(format!("unknown log opt '{name}' for json-file log driver"));
        }
        let max_size = option("max-size").map(|text| size::parse(text, Base::Decimal)).transpose()?;
        if max_size == Some(0) {
            return Err("max-size must be a positive number".to_owned());
        }
        let max_file = match option("max-file") {
            None => 1,
            Some(text) => {
                let count: i64 = text.parse().map_err(|_| format!("strconv.Atoi: parsing {text:?}: invalid syntax"))?;
                if count < 1 {
                    return Err("max-file cannot be less than 1".to_owned());
                }
                u32::try_from(count).unwrap_or(u32::MAX)
            }
        };
        match option("compress").map(|text| (text, go_bool(text))) {
            Some((text, None)) => return Err(format!("strconv.ParseBool: parsing {text:?}: invalid syntax")),
            Some((_, Some(true))) if max_file == 1 || max_size.is_none() => {
                return Err("compress cannot be true when max-file is less than 2 or max-size is not set".to_owned());
            }
            _ => {}
        }
        Ok(Self::JsonFile { max_size, max_file })
    }
}

/// A truth value as Go writes them.
pub fn go_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(options: &[(&str, &str)]) -> Result<Log, String> {
        let config = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Log::parse(&LogConfig { r#type: String::new(), config })
    }

    #[test]
    fn options() {
        assert_eq!(read(&[]), Ok(Log::default()));
        assert_eq!(
            read(&[("max-size", "10k"), ("max-file", "3")]),
            Ok(Log::JsonFile { max_size: Some(10_000), max_file: 3 })
        );
        assert_eq!(read(&[("max-file", "3")]), Ok(Log::JsonFile { max_size: None, max_file: 3 }));
        for bad in [("max-size", "x"), ("max-size", "0"), ("max-file", "0"), ("max-file", "x"), ("compress", "true")] {
            assert!(read(&[bad]).is_err(), "{bad:?}");
        }
    }
}
