//! What an archive of images says is in it: `docker save`'s manifest.json, or an OCI layout's index.json.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;

use crate::model::reference::{Reference, sha256_hex};

use super::manifest::{self, Document, Member, is_attestation};
use super::meta::Descriptor;
use super::platform::Platform;
use super::spool::Spooled;
use super::unpack::clean;
use super::{Error, Result};

/// Largest manifest or configuration in bytes.
const MAX_JSON: u64 = 16 << 20;
/// Indexes within indexes, links to links.
const MAX_DEPTH: usize = 16;

/// The files of an archive by their clean paths.
#[derive(Debug, Default)]
pub struct Files {
    files: BTreeMap<Vec<u8>, Spooled>,
    links: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// One image of the archive.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// Path of its configuration.
    pub config: Vec<u8>,
    /// Paths of its layers, the lowest first.
    pub layers: Vec<Vec<u8>>,
    /// Its names.
    pub names: Vec<Reference>,
    /// Its manifest's path and descriptor, if there is one.
    pub manifest: Option<(Vec<u8>, Descriptor)>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct DockerEntry {
    #[serde(rename = "Config")]
    config: String,
    #[serde(rename = "RepoTags")]
    tags: Option<Vec<String>>,
    #[serde(rename = "Layers")]
    layers: Option<Vec<String>>,
}

impl Files {
    /// Adds a file.
    pub fn add(&mut self, path: Vec<u8>, file: Spooled) {
        self.links.remove(&path);
        self.files.insert(path, file);
    }

    /// Adds a link to another file of the archive. Links that lead out of it lead nowhere.
    pub fn add_link(&mut self, path: Vec<u8>, target: &[u8], symbolic: bool) {
        let whole = match path.iter().rposition(|byte| *byte == b'/') {
            Some(slash) if symbolic => [&path[..=slash], target].concat(),
            _ => target.to_vec(),
        };
        if let Some(target) = clean(&whole) {
            self.links.insert(path, target);
        }
    }

    /// The file at a path, links followed.
    pub fn get(&self, path: &[u8]) -> Option<&Spooled> {
        let mut path = path;
        for _ in 0..MAX_DEPTH {
            match self.links.get(path) {
                Some(target) => path = target,
                None => return self.files.get(path),
            }
        }
        None
    }

    /// The file at a path that the archive refers to.
    ///
    /// # Errors
    /// [`Error::Archive`] if it is missing, or is not what its name says.
    pub fn need(&self, path: &[u8]) -> Result<&Spooled> {
        let shown = String::from_utf8_lossy(path);
        let file = self.get(path).ok_or_else(|| Error::Archive(format!("invalid archive: {shown} is missing")))?;
        match shown.strip_prefix("blobs/sha256/") {
            Some(want) if want != file.hex => {
                Err(Error::Archive(format!("invalid archive: {shown} has the digest sha256:{}", file.hex)))
            }
            _ => Ok(file),
        }
    }

    /// The bytes of a small file that the archive refers to.
    ///
    /// # Errors
    /// As [`Files::need`]; or it is too large; or those of the file system.
    pub fn read(&self, path: &[u8]) -> Result<Vec<u8>> {
        let file = self.need(path)?;
        if file.size > MAX_JSON {
            let shown = String::from_utf8_lossy(path);
            return Err(Error::Archive(format!("invalid archive: {shown} is too large")));
        }
        read(&file.path)
    }

    /// A small file of JSON that the archive refers to.
    ///
    /// # Errors
    /// As [`Files::read`]; or it is none.
    pub fn json<T: for<'de> Deserialize<'de>>(&self, path: &[u8]) -> Result<T> {
        serde_json::from_slice(&self.read(path)?)
            .map_err(|err| Error::Archive(format!("invalid archive: {}: {err}", String::from_utf8_lossy(path))))
    }

    /// The images that the archive says it has.
    ///
    /// # Errors
    /// [`Error::Archive`] if it says nothing sensible.
    pub fn plans(&self, platform: Option<&Platform>) -> Result<Vec<Plan>> {
        let plans = if self.get(b"manifest.json").is_some() {
            self.docker_plans()?
        } else if self.get(b"index.json").is_some() {
            self.oci_plans(platform)?
        } else if self.get(b"repositories").is_some() {
            return Err(Error::Archive("archives of before Docker 1.10 are not supported".to_owned()));
        } else {
            return Err(Error::Archive("invalid archive: neither manifest.json nor index.json in it".to_owned()));
        };
        if plans.is_empty() {
            return Err(Error::Archive("invalid archive: there is no image in it".to_owned()));
        }
        Ok(plans)
    }

    fn docker_plans(&self) -> Result<Vec<Plan>> {
        let entries: Vec<DockerEntry> = self.json(b"manifest.json")?;
        // Newer archives have an OCI index as well, which alone knows the manifests.
        let manifests = self.manifests_by_config();
        let path = |text: &str| {
            let inside = clean(text.as_bytes()).filter(|path| !path.is_empty());
            inside.ok_or_else(|| Error::Archive(format!("invalid archive: manifest.json names {text:?}")))
        };
        let mut plans = Vec::new();
        for entry in entries {
            let config = path(&entry.config)?;
            let names = entry.tags.unwrap_or_default();
            let names: Result<Vec<Reference>> = names.iter().map(|name| Ok(Reference::parse(name)?)).collect();
            let layers: Result<Vec<Vec<u8>>> = entry.layers.unwrap_or_default().iter().map(|text| path(text)).collect();
            let manifest = self.get(&config).and_then(|file| manifests.get(&file.hex).cloned());
            let names = names?.into_iter().map(Reference::with_default_tag).collect();
            plans.push(Plan { config, layers: layers?, names, manifest });
        }
        Ok(plans)
    }

    fn manifests_by_config(&self) -> BTreeMap<String, (Vec<u8>, Descriptor)> {
        let mut found = BTreeMap::new();
        let mut open = match self.json::<Document>(b"index.json") {
            Ok(index) => index.manifests.unwrap_or_default(),
            Err(_) => Vec::new(),
        };
        for _ in 0..MAX_DEPTH * MAX_DEPTH {
            let Some(descriptor) = open.pop() else { break };
            let Ok(path) = blob_path(&descriptor.blob.digest) else { continue };
            let Ok(document) = self.json::<Document>(&path) else { continue };
            open.extend(document.manifests.unwrap_or_default());
            if let Some(hex) = document.config.as_ref().and_then(|config| sha256_hex(&config.blob.digest)) {
                found.insert(hex.to_owned(), (path, descriptor.blob));
            }
        }
        found
    }

    fn oci_plans(&self, platform: Option<&Platform>) -> Result<Vec<Plan>> {
        let index: Document = self.json(b"index.json")?;
        let mut groups: Vec<(Vec<Reference>, Vec<Member>)> = Vec::new();
        for descriptor in index.manifests.unwrap_or_default() {
            let names = names_of(&descriptor)?;
            match groups.iter_mut().find(|(have, _)| *have == names) {
                Some((_, members)) => members.push(descriptor),
                None => groups.push((names, vec![descriptor])),
            }
        }
        let mut plans = Vec::new();
        for (names, members) in groups {
            let for_machines = members.len() > 1 && members.iter().all(|member| member.platform.is_some());
            let members = if for_machines { vec![self.choose(members, platform)?] } else { members };
            for member in members {
                plans.extend(self.oci_plan(member, &names, platform, 0)?);
            }
        }
        Ok(plans)
    }

    fn oci_plan(
        &self,
        descriptor: Member,
        names: &[Reference],
        platform: Option<&Platform>,
        depth: usize,
    ) -> Result<Option<Plan>> {
        if is_attestation(&descriptor) {
            return Ok(None);
        }
        let path = blob_path(&descriptor.blob.digest)?;
        let document: Document = self.json(&path)?;
        if let Some(manifests) = document.manifests {
            if depth >= MAX_DEPTH {
                return Err(Error::Archive("invalid archive: indexes too deep".to_owned()));
            }
            let chosen = self.choose(manifests, platform)?;
            return self.oci_plan(chosen, names, platform, depth + 1);
        }
        let Some(config) = document.config else {
            return Err(Error::Archive(format!("invalid archive: {} is no manifest", descriptor.blob.digest)));
        };
        let layers = document.layers.unwrap_or_default();
        let layers: Result<Vec<Vec<u8>>> = layers.iter().map(|layer| blob_path(&layer.blob.digest)).collect();
        Ok(Some(Plan {
            config: blob_path(&config.blob.digest)?,
            layers: layers?,
            names: names.to_vec(),
            manifest: Some((path, descriptor.blob)),
        }))
    }

    /// Of several for different machines: the one that is asked for, else this machine's, else the only one. Those
    /// whose blobs were left out of the archive do not count.
    fn choose(&self, mut members: Vec<Member>, platform: Option<&Platform>) -> Result<Member> {
        members.retain(|member| {
            let there = blob_path(&member.blob.digest).is_ok_and(|path| self.get(&path).is_some());
            there && !is_attestation(member)
        });
        match manifest::choose(&members, platform) {
            Some(at) => Ok(members.swap_remove(at)),
            None => {
                let wanted = platform.cloned().unwrap_or_else(Platform::host);
                Err(Error::Archive(format!("no image for {}/{} in the archive", wanted.os, wanted.architecture)))
            }
        }
    }
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(Error::at(path))
}

fn blob_path(digest: &str) -> Result<Vec<u8>> {
    let hex = sha256_hex(digest).ok_or_else(|| Error::Archive(format!("invalid archive: bad digest {digest:?}")))?;
    Ok(format!("blobs/sha256/{hex}").into_bytes())
}

fn names_of(descriptor: &Member) -> Result<Vec<Reference>> {
    let annotation = |key: &str| descriptor.annotations.as_ref().and_then(|all| all.get(key));
    let whole = annotation("io.containerd.image.name").or_else(|| {
        // A bare word there is a tag of nobody knows which repository.
        annotation("org.opencontainers.image.ref.name").filter(|name| name.contains([':', '/']))
    });
    Ok(match whole {
        Some(name) => vec![Reference::parse(name)?.with_default_tag()],
        None => Vec::new(),
    })
}
