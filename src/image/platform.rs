//! Which machine an image is for.

use std::fmt;

use serde::Deserialize;

use super::config::{ImageConfig, host_architecture};
use super::{Error, Result};

/// Operating systems that may stand alone.
const SYSTEMS: &[&str] = &[
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "hurd",
    "illumos",
    "ios",
    "js",
    "linux",
    "nacl",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "windows",
    "zos",
];
/// Architectures that may stand alone.
const ARCHITECTURES: &[&str] = &[
    "386",
    "amd64",
    "amd64p32",
    "arm",
    "armbe",
    "arm64",
    "arm64be",
    "ppc64",
    "ppc64le",
    "loong64",
    "mips",
    "mipsle",
    "mips64",
    "mips64le",
    "mips64p32",
    "mips64p32le",
    "ppc",
    "riscv",
    "riscv64",
    "s390",
    "s390x",
    "sparc",
    "sparc64",
    "wasm",
];

/// A machine, or which image of several for different machines is meant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Platform {
    /// Operating system.
    pub os: String,
    /// Processor architecture in Go's words.
    pub architecture: String,
    /// Its variant, or empty.
    pub variant: String,
}

impl Platform {
    /// What an image's configuration says.
    pub fn of(config: &ImageConfig) -> Self {
        let variant = config.variant.clone().unwrap_or_default();
        Self { os: config.os.clone(), architecture: config.architecture.clone(), variant }
    }

    /// How well it serves a wish, the smaller the better: the same variant before any. None: not at all.
    pub fn fits(&self, want: &Self) -> Option<u8> {
        if self.os != want.os || self.architecture != want.architecture {
            return None;
        }
        match (want.variant.as_str(), self.variant.as_str()) {
            (want, have) if want == have => Some(0),
            // arm64 has one variant that all speak of differently.
            ("", "v8") | ("v8", "") if want.architecture == "arm64" => Some(0),
            ("", _) => Some(1),
            _ => None,
        }
    }

    /// This machine.
    pub fn host() -> Self {
        Self { os: "linux".to_owned(), architecture: host_architecture().to_owned(), variant: String::new() }
    }
}

/// An image, as the client calls it, is for none of these.
pub fn none_of(name: String, platforms: &[Platform]) -> Error {
    let want: Vec<String> = platforms.iter().map(ToString::to_string).collect();
    Error::NoPlatform { name, want: want.join(", ") }
}

/// `os/architecture[/variant]`.
impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if self.variant.is_empty() { Ok(()) } else { write!(f, "/{}", self.variant) }
    }
}

/// Reads `os[(version)][/arch[/variant]]`, or an architecture alone, in the words and with the errors of containerd.
///
/// # Errors
/// [`Error::Invalid`] if it is neither.
pub fn parse(text: &str) -> Result<Platform> {
    let bad = |why: String| Err(Error::Invalid(format!("{why}: invalid argument")));
    if text.contains('*') {
        return bad(format!("{text:?}: wildcards not yet supported"));
    }
    let word = |part: &str, more: &[u8]| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte) || more.contains(&byte);
        !part.is_empty() && part.bytes().all(fits)
    };
    let parts: Vec<&str> = text.splitn(4, '/').collect();
    let first = parts[0];
    let (os, version) = match first.split_once('(') {
        Some((os, rest)) => (os, rest.strip_suffix(')')),
        None => (first, Some("")),
    };
    if !word(os, b"") || !version.is_some_and(|version| version.is_empty() || word(version, b".")) {
        return bad(format!(
            "{first:?} is an invalid OS component of {text:?}: OSAndVersion specifier component must match \
             \"^([A-Za-z0-9_-]+)(?:\\\\(([A-Za-z0-9_.-]*)\\\\))?$\""
        ));
    }
    if let Some(part) = parts[1..].iter().find(|part| !word(part, b".")) {
        return bad(format!(
            "{part:?} is an invalid component of {text:?}: platform specifier component must match \
             \"^[A-Za-z0-9_.-]+$\""
        ));
    }
    let os = normal_os(os);
    let (architecture, variant) = match parts[..] {
        [_] if SYSTEMS.contains(&os.as_str()) => (host_architecture().to_owned(), String::new()),
        [alone] => match normal_architecture(alone, "") {
            (known, variant) if ARCHITECTURES.contains(&known.as_str()) => {
                let variant = if known == "arm" && variant == "v7" { String::new() } else { variant };
                return Ok(Platform { os: "linux".to_owned(), architecture: known, variant });
            }
            _ => return bad(format!("{text:?}: unknown operating system or architecture")),
        },
        [_, architecture] => match normal_architecture(architecture, "") {
            (arm, variant) if arm == "arm" && variant == "v7" => (arm, String::new()),
            other => other,
        },
        [_, architecture, variant] => match normal_architecture(architecture, variant) {
            (arm, variant) if arm == "arm64" && variant.is_empty() => (arm, "v8".to_owned()),
            other => other,
        },
        _ => return bad(format!("{text:?}: cannot parse platform specifier")),
    };
    Ok(Platform { os, architecture, variant })
}

fn normal_os(os: &str) -> String {
    match os.to_ascii_lowercase() {
        os if os == "macos" => "darwin".to_owned(),
        os => os,
    }
}

fn normal_architecture(architecture: &str, variant: &str) -> (String, String) {
    let (architecture, variant) = (architecture.to_ascii_lowercase(), variant.to_ascii_lowercase());
    let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
        ("i386", _) => ("386", ""),
        ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
        ("x86_64" | "x86-64" | "amd64", variant) => ("amd64", variant),
        ("aarch64" | "arm64", "8" | "v8" | "v8.0") => ("arm64", ""),
        ("aarch64" | "arm64", "9" | "9.0" | "v9.0") => ("arm64", "v9"),
        ("aarch64" | "arm64", variant) => ("arm64", variant),
        ("armhf", _) | ("arm", "" | "7") => ("arm", "v7"),
        ("armel", _) | ("arm", "6") => ("arm", "v6"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "8") => ("arm", "v8"),
        other => other,
    };
    (architecture.to_owned(), variant.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_containerd_reads_them() {
        let of =
            |text: &str| parse(text).map(|platform| [platform.os, platform.architecture, platform.variant].join("/"));
        for (text, want) in [
            ("linux/amd64", "linux/amd64/"),
            ("Linux/X86_64/v1", "linux/amd64/"),
            ("aarch64", "linux/arm64/"),
            ("linux/arm64/8", "linux/arm64/v8"),
            ("linux/arm/v7", "linux/arm/v7"),
            ("linux/arm", "linux/arm/"),
            ("linux/armel", "linux/arm/v6"),
            ("macos/arm64", "darwin/arm64/"),
            ("windows(10.0.17763)/amd64", "windows/amd64/"),
            ("anything/else", "anything/else/"),
        ] {
            assert_eq!(of(text).expect("platform"), want, "{text}");
        }
        assert_eq!(of("linux").expect("platform"), format!("linux/{}/", host_architecture()));
        for (text, want) in [
            ("", "\"\" is an invalid OS component"),
            ("a b", "\"a b\" is an invalid OS component of \"a b\""),
            ("linux/", "\"\" is an invalid component of \"linux/\""),
            ("nonsense", "\"nonsense\": unknown operating system or architecture: invalid argument"),
            ("a/b/c/d", "\"a/b/c/d\": cannot parse platform specifier: invalid argument"),
            ("linux/*", "\"linux/*\": wildcards not yet supported: invalid argument"),
        ] {
            let err = of(text).expect_err(text).to_string();
            assert!(err.starts_with(want), "{err}");
        }
    }
}
