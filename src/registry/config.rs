//! `config.toml`: the user's registries and proxies. Read anew for each pull.
//!
//! ```toml
//! [proxy]                            # instead of HTTP_PROXY, HTTPS_PROXY and NO_PROXY
//! https = "http://proxy.example:3128"
//! no = "localhost,.example.com"
//!
//! [registry."docker.io"]
//! mirrors = ["https://mirror.example"]
//!
//! [registry."registry.example:5000"]
//! insecure = true                    # neither a known certificate nor TLS is needed
//! ca = "/home/me/registry.crt"
//! client-cert = "/home/me/client.crt"
//! client-key = "/home/me/client.key"
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Error, Result};

/// What the user says of registries.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// Proxies.
    pub proxy: Proxy,
    /// By host, or `host:port`.
    pub registry: BTreeMap<String, Host>,
    /// Where Docker's `certs.d` may be.
    #[serde(skip)]
    pub certs: Vec<PathBuf>,
}

/// Proxies, as URLs; empty: none.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Proxy {
    /// For plain HTTP.
    pub http: String,
    /// For HTTPS.
    pub https: String,
    /// Hosts that are reached without: names, `.domain`, addresses, `*`; with commas.
    pub no: String,
}

/// What the user says of one registry.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Host {
    /// Addresses to ask before it, with `https://` or `http://`.
    pub mirrors: Vec<String>,
    /// Its certificate is not looked at, and plain HTTP will do.
    pub insecure: bool,
    /// A file of certificates that vouch for it.
    pub ca: Option<PathBuf>,
    /// The user's certificate.
    pub client_cert: Option<PathBuf>,
    /// Its key.
    pub client_key: Option<PathBuf>,
}

impl Config {
    /// The user's.
    ///
    /// # Errors
    /// The file cannot be read, or has what is not known.
    pub fn load() -> Result<Self> {
        let var = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let folder = var("XDG_CONFIG_HOME").or_else(|| Some(var("HOME")?.join(".config")));
        let mut config = match &folder {
            Some(folder) => Self::read(&folder.join("pierless/config.toml"))?,
            None => Self::default(),
        };
        config.certs.extend(folder.map(|folder| folder.join("docker/certs.d")));
        config.certs.push("/etc/docker/certs.d".into());
        let env = |names: [&str; 2]| names.iter().find_map(|name| std::env::var(name).ok().filter(|v| !v.is_empty()));
        for (field, names) in [
            (&mut config.proxy.https, ["HTTPS_PROXY", "https_proxy"]),
            // In capitals a CGI program's client can set it; this is none.
            (&mut config.proxy.http, ["http_proxy", "HTTP_PROXY"]),
            (&mut config.proxy.no, ["NO_PROXY", "no_proxy"]),
        ] {
            if field.is_empty() {
                *field = env(names).unwrap_or_default();
            }
        }
        Ok(config)
    }

    /// A file; a missing one says nothing.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn read(path: &Path) -> Result<Self> {
        let wrong = |why: String| Error::Config { path: path.to_owned(), why: why.trim_end().to_owned() };
        match fs::read_to_string(path) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(err) => Err(wrong(err.to_string())),
            Ok(text) => toml::from_str(&text).map_err(|err| wrong(err.to_string())),
        }
    }

    /// What is said of a registry, by its host and port.
    pub fn host(&self, domain: &str) -> Host {
        self.registry.get(domain).cloned().unwrap_or_default()
    }

    /// Whether a registry needs no known certificate, nor TLS: by the file, or because it is this machine. Where the user
    /// says whose certificate it has, that counts.
    pub fn is_insecure(&self, domain: &str) -> bool {
        (self.host(domain).insecure || is_loopback(host_of(domain))) && self.authorities(domain).is_empty()
    }

    /// Files of certificates that vouch for a registry besides those that the host trusts.
    pub fn authorities(&self, domain: &str) -> Vec<PathBuf> {
        let mut found: Vec<PathBuf> = self.host(domain).ca.into_iter().collect();
        found.extend(self.docker_files(domain).filter(|path| path.extension().is_some_and(|end| end == "crt")));
        found
    }

    /// What is in Docker's folders of a registry.
    pub fn docker_files(&self, domain: &str) -> impl Iterator<Item = PathBuf> {
        let folders = self.certs.iter().flat_map(move |folder| fs::read_dir(folder.join(domain)));
        folders.flatten().flatten().map(|entry| entry.path())
    }

    /// The proxy for a request; none: straight.
    pub fn proxy_for(&self, https: bool, host: &str) -> Option<&str> {
        let proxy = if https { &self.proxy.https } else { &self.proxy.http };
        let excepted = |entry: &str| {
            let entry = entry.trim();
            let name = entry.trim_start_matches('.');
            entry == "*"
                || (!name.is_empty()
                    && (host == name || host.strip_suffix(name).is_some_and(|rest| rest.ends_with('.'))))
        };
        let straight = proxy.is_empty() || is_loopback(host) || self.proxy.no.split(',').any(excepted);
        (!straight).then_some(proxy.as_str())
    }
}

/// `host:port` of an address as clients and files write it: with a scheme and a path, or without.
pub fn registry_of(address: &str) -> &str {
    let bare = address.trim_start_matches("https://").trim_start_matches("http://");
    bare.split('/').next().unwrap_or_default()
}

/// `host:port` without the port.
pub fn host_of(domain: &str) -> &str {
    match domain.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => host,
        _ => domain,
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_are_told_with_their_line() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("config.toml");
        let read = |text: &str| {
            fs::write(&path, text).expect("write");
            Config::read(&path)
        };
        assert!(Config::read(&dir.path().join("none")).expect("missing").registry.is_empty());
        let good = read("[registry.\"r.example:5000\"]\ninsecure = true\nclient-cert = \"/c\"\n").expect("good");
        assert!(good.is_insecure("r.example:5000") && !good.is_insecure("r.example"));
        for (text, line, word) in [
            ("[proxy]\nhttps = \"x\"\nnope = 1\n", "line 3", "nope"),
            ("[registry.\"a\"]\ninsecur = true\n", "line 2", "insecur"),
            ("mirrors = []\n", "line 1", "mirrors"),
            ("[registry.a]\ninsecure = 3\n", "line 2", "boolean"),
        ] {
            let err = read(text).expect_err(text).to_string();
            assert!(err.contains(line) && err.contains(word) && err.contains("config.toml"), "{err}");
        }
    }

    #[test]
    fn loopback_is_insecure_and_needs_no_proxy() {
        let proxy = Proxy { https: "http://p:1".into(), http: "http://q:1".into(), no: "a.example, .b.example".into() };
        let config = Config { proxy, ..Config::default() };
        for domain in ["localhost:5000", "127.0.0.1:5000", "127.9.9.9", "[::1]:5000", "localhost"] {
            assert!(config.is_insecure(domain), "{domain}");
        }
        assert!(!config.is_insecure("localhost.example:5000") && !config.is_insecure("docker.io"));
        assert_eq!(config.proxy_for(true, "docker.io"), Some("http://p:1"));
        assert_eq!(config.proxy_for(false, "docker.io"), Some("http://q:1"));
        for host in ["a.example", "x.a.example", "b.example", "x.b.example", "localhost", "127.0.0.1"] {
            assert_eq!(config.proxy_for(true, host), None, "{host}");
        }
        assert!(config.proxy_for(true, "notb.example").is_some());
    }
}
