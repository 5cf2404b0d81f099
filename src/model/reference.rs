//! Names of images, parsed and normalised as Docker's clients and registries do (the distribution project's grammar).
//!
//! `busybox` means `docker.io/library/busybox:latest`, and people are shown `busybox:latest`: the *familiar* form.

use std::fmt;

use super::ids::is_full_id;

const DEFAULT_DOMAIN: &str = "docker.io";
const LEGACY_DOMAIN: &str = "index.docker.io";
const OFFICIAL: &str = "library/";
/// The tag that is meant where none is given.
pub const DEFAULT_TAG: &str = "latest";
/// Longest repository name, domain included, in bytes.
const MAX_NAME: usize = 255;
/// Longest tag in bytes.
const MAX_TAG: usize = 128;

/// An image's name in its normal form: domain, path, and at most one tag and one digest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<String>,
}

/// Why a text is no image name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// It does not follow the grammar.
    #[error("invalid reference format")]
    Format,
    /// The repository has upper-case letters.
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    Uppercase(String),
    /// The repository name has more than 255 bytes.
    #[error("invalid reference format: repository name must not be more than {MAX_NAME} characters")]
    TooLong,
    /// Looks like an image id, which a name must not.
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    LooksLikeId(String),
    /// The digest's algorithm is unknown.
    #[error("unsupported digest algorithm")]
    Algorithm,
    /// The digest does not have its algorithm's length.
    #[error("invalid checksum digest length")]
    DigestLength,
}

impl Reference {
    /// Parses what a person wrote. Neither tag nor digest is added.
    ///
    /// # Errors
    /// As [`ReferenceError`] says.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        if is_full_id(text) {
            return Err(ReferenceError::LooksLikeId(text.to_owned()));
        }
        let (domain, remainder) = split_domain(text);
        let remote = remainder.split(':').next().unwrap_or_default();
        if remote.chars().any(char::is_uppercase) {
            return Err(ReferenceError::Uppercase(remote.split('@').next().unwrap_or_default().to_owned()));
        }
        let (named, digest) = match remainder.split_once('@') {
            Some((named, digest)) => (named, Some(check_digest(digest)?.to_owned())),
            None => (remainder.as_str(), None),
        };
        let (path, tag) = match named.split_once(':') {
            Some((path, tag)) if is_tag(tag) => (path, Some(tag.to_owned())),
            Some(_) => return Err(ReferenceError::Format),
            None => (named, None),
        };
        if !is_domain(&domain) || !path.split('/').all(is_path_component) {
            return Err(ReferenceError::Format);
        }
        if domain.len() + 1 + path.len() > MAX_NAME {
            return Err(ReferenceError::TooLong);
        }
        Ok(Self { domain, path: path.to_owned(), tag, digest })
    }

    /// The registry's host and port.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository's path in its registry.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The manifest's digest, `sha256:…`.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// Domain and path: the repository.
    pub fn name(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// Adds `latest` if there is neither tag nor digest.
    #[must_use]
    pub fn with_default_tag(mut self) -> Self {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some(DEFAULT_TAG.to_owned());
        }
        self
    }

    /// The same repository with this tag and no digest.
    ///
    /// # Errors
    /// [`ReferenceError::Format`] if it is no tag.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ReferenceError> {
        if !is_tag(tag) {
            return Err(ReferenceError::Format);
        }
        Ok(Self { tag: Some(tag.to_owned()), digest: None, ..self.clone() })
    }

    /// The same repository with this digest and no tag.
    ///
    /// # Errors
    /// If it is no digest.
    pub fn with_digest(&self, digest: &str) -> Result<Self, ReferenceError> {
        Ok(Self { tag: None, digest: Some(check_digest(digest)?.to_owned()), ..self.clone() })
    }

    /// What a lookup goes by: a digest makes the tag meaningless; with neither, `latest` is meant.
    #[must_use]
    pub fn lookup_key(mut self) -> Self {
        if self.digest.is_some() {
            self.tag = None;
        }
        self.with_default_tag()
    }

    /// The repository as people are shown it.
    pub fn familiar_name(&self) -> String {
        if self.domain != DEFAULT_DOMAIN {
            return self.name();
        }
        match self.path.strip_prefix(OFFICIAL) {
            // `docker.io/library/a/b` is not `a/b`, which would be read as another repository.
            Some(short) if !short.contains('/') => short.to_owned(),
            _ => self.path.clone(),
        }
    }

    /// The whole name as people are shown it.
    pub fn familiar(&self) -> String {
        let mut text = self.familiar_name();
        self.push_suffix(&mut text);
        text
    }

    fn push_suffix(&self, text: &mut String) {
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(digest);
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.name();
        self.push_suffix(&mut text);
        f.write_str(&text)
    }
}

/// Splits off the registry, if the text names one, and completes the path of an official image.
fn split_domain(text: &str) -> (String, String) {
    let (domain, path) = match text.split_once('/') {
        Some((LEGACY_DOMAIN | DEFAULT_DOMAIN, path)) => (DEFAULT_DOMAIN, path),
        Some((first, path)) if first == "localhost" || first.contains(['.', ':']) => (first, path),
        Some((first, path)) if first.chars().any(char::is_uppercase) => (first, path),
        _ => (DEFAULT_DOMAIN, text),
    };
    if domain == DEFAULT_DOMAIN && !path.contains('/') {
        return (domain.to_owned(), format!("{OFFICIAL}{path}"));
    }
    (domain.to_owned(), path.to_owned())
}

fn is_domain(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    };
    let port_ok = port.is_none_or(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let host_ok = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => !address.is_empty() && address.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':'),
        None => host.split('.').all(label),
    };
    port_ok && host_ok
}

/// Lower-case letters and digits, parted by one `.`, one or two `_`, or any number of `-`.
fn is_path_component(text: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut separator = String::new();
    for byte in text.bytes() {
        if alphanumeric(byte) {
            separator.clear();
            continue;
        }
        separator.push(char::from(byte));
        let good = matches!(separator.as_str(), "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-');
        if !good {
            return false;
        }
    }
    separator.is_empty() && text.bytes().next().is_some_and(alphanumeric)
}

/// Whether the text can be a tag.
pub fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= MAX_TAG
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|byte| word(byte) || byte == b'.' || byte == b'-')
}

/// Checks `sha256:` with 64 lower-case hexadecimal digits (or the longer hashes of its family).
fn check_digest(text: &str) -> Result<&str, ReferenceError> {
    let (algorithm, hex) = text.split_once(':').ok_or(ReferenceError::Format)?;
    let lower = hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    if hex.len() < 32 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(ReferenceError::Format);
    }
    let length = match algorithm {
        "sha256" => 64,
        "sha384" => 96,
        "sha512" => 128,
        _ if algorithm.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic()) => {
            return Err(ReferenceError::Algorithm);
        }
        _ => return Err(ReferenceError::Format),
    };
    match (hex.len() == length, lower) {
        (true, true) => Ok(text),
        (true, false) => Err(ReferenceError::Format),
        (false, _) => Err(ReferenceError::DigestLength),
    }
}

/// The hexadecimal part of a `sha256:` digest, if the text is one.
pub fn sha256_hex(digest: &str) -> Option<&str> {
    digest.strip_prefix("sha256:").filter(|hex| is_full_id(hex))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_normalised_and_shortened() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (text, full, familiar) in [
            ("busybox", "docker.io/library/busybox", "busybox"),
            ("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
            ("a/b", "docker.io/a/b", "a/b"),
            ("docker.io/busybox", "docker.io/library/busybox", "busybox"),
            ("index.docker.io/a/b", "docker.io/a/b", "a/b"),
            ("localhost/x", "localhost/x", "localhost/x"),
            ("localhost:5000/x/y:Tag_1.2-3", "localhost:5000/x/y:Tag_1.2-3", "localhost:5000/x/y:Tag_1.2-3"),
            ("reg.example.com/a__b/c---d/e.f", "reg.example.com/a__b/c---d/e.f", "reg.example.com/a__b/c---d/e.f"),
            ("[2001:db8::1]:5000/x", "[2001:db8::1]:5000/x", "[2001:db8::1]:5000/x"),
            ("docker.io/library/a/b", "docker.io/library/a/b", "library/a/b"),
            ("UPPER/x", "UPPER/x", "UPPER/x"),
        ] {
            let parsed = Reference::parse(text).unwrap_or_else(|err| panic!("{text}: {err}"));
            assert_eq!((parsed.to_string().as_str(), parsed.familiar().as_str()), (full, familiar));
        }
        let pinned = Reference::parse(&format!("busybox:1@{digest}")).expect("tag and digest");
        assert_eq!(pinned.lookup_key().familiar(), format!("busybox@{digest}"));
        assert_eq!(Reference::parse("x").expect("x").with_default_tag().familiar(), "x:latest");
    }

    #[test]
    fn bad_names_are_refused_with_dockers_words() {
        for bad in [
            "",
            ":",
            "/",
            "a:",
            "a:b:c",
            "-a",
            "a-",
            "a_",
            "a..b",
            "a___b",
            "a b",
            "a//b",
            "a/",
            "/a",
            "a:-x",
            "a@b",
            "a@sha256:12",
            "ä",
            "a:ä",
            "a.-b/x/",
            "[::1/x",
            "a\n",
        ] {
            assert_eq!(Reference::parse(bad), Err(ReferenceError::Format), "{bad:?}");
        }
        assert_eq!(
            Reference::parse("Busybox:1").expect_err("upper case").to_string(),
            "invalid reference format: repository name (library/Busybox) must be lowercase"
        );
        assert!(matches!(Reference::parse(&"a".repeat(64)), Err(ReferenceError::LooksLikeId(_))));
        assert_eq!(Reference::parse(&"z".repeat(300)), Err(ReferenceError::TooLong));
        assert_eq!(Reference::parse(&format!("a:{}", "x".repeat(129))), Err(ReferenceError::Format));
        let short = format!("a@sha256:{}", "a".repeat(40));
        assert_eq!(Reference::parse(&short), Err(ReferenceError::DigestLength));
        assert_eq!(Reference::parse(&format!("a@md7:{}", "a".repeat(40))), Err(ReferenceError::Algorithm));
    }
}
