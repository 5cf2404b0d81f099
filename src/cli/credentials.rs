//! The user's own credentials: docker's configuration with its helpers, then podman's file.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::registry::Credentials;
use crate::registry::config::registry_of;

/// What docker calls its hub.
const HUB: &str = "https://index.docker.io/v1/";

/// docker's `config.json`, or podman's `auth.json`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct File {
    auths: BTreeMap<String, Credentials>,
    #[serde(rename = "credsStore")]
    store: String,
    #[serde(rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
}

/// The credentials for a registry, by its domain in image names; nobody's if there are none.
pub fn of(domain: &str) -> Credentials {
    let var = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let docker = var("DOCKER_CONFIG").or_else(|| Some(var("HOME")?.join(".docker"))).map(|dir| dir.join("config.json"));
    let podman = var("XDG_RUNTIME_DIR").map(|dir| dir.join("containers/auth.json"));
    for path in [docker, podman].into_iter().flatten() {
        let Ok(bytes) = fs::read(&path) else { continue };
        match serde_json::from_slice::<File>(&bytes) {
            Ok(file) => {
                if let Some(found) = file.find(domain) {
                    return found.completed();
                }
            }
            Err(err) => eprintln!("pierless: {}: {err}", path.display()),
        }
    }
    Credentials::default()
}

impl File {
    fn find(&self, domain: &str) -> Option<Credentials> {
        let key = if domain == "docker.io" { HUB } else { domain };
        let helper = self.helpers.get(key).or_else(|| self.helpers.get(domain));
        if let Some(helper) = helper.or(Some(&self.store).filter(|store| !store.is_empty()))
            && let Some(found) = ask(helper, key)
        {
            return Some(found);
        }
        let same =
            |(known, _): &(&String, &Credentials)| registry_of(known) == registry_of(key) || known.as_str() == domain;
        let (_, found) = self.auths.iter().find(same)?;
        (*found != Credentials::default()).then(|| found.clone())
    }
}

/// Asks a helper program, as docker does.
fn ask(helper: &str, key: &str) -> Option<Credentials> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        username: String,
        secret: String,
    }
    let mut command = Command::new(format!("docker-credential-{helper}"));
    let mut child = command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
    child.stdin.take()?.write_all(key.as_bytes()).ok()?;
    let output = child.wait_with_output().ok().filter(|output| output.status.success())?;
    let Answer { username, secret } = serde_json::from_slice(&output.stdout).ok()?;
    // Under this name a helper keeps an identity token.
    Some(match username.as_str() {
        "<token>" => Credentials { identitytoken: secret, ..Credentials::default() },
        _ => Credentials { username, password: secret, ..Credentials::default() },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registrys_entry_is_found_however_it_is_written() {
        let text = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"YTpi"},"https://r.example:5000/v2/":{"auth":"YzpkOmU="},
            "empty.example":{}},"credsStore":"does-not-exist"}"#;
        let file: File = serde_json::from_str(text).expect("file");
        let of = |domain: &str| {
            file.find(domain).map(Credentials::completed).map(|c| format!("{}/{}", c.username, c.password))
        };
        assert_eq!(of("docker.io").as_deref(), Some("a/b"));
        assert_eq!(of("r.example:5000").as_deref(), Some("c/d:e"));
        assert_eq!(of("r.example"), None);
        assert_eq!(of("empty.example"), None);
    }
}
