//! What an archive of images says is in it: `docker save`'s manifest.json, or an OCI layout's index.json.

use serde::Deserialize;

use crate::model::reference::{Reference, sha256_hex};

use super::archive::Files;
use super::manifest::{self, Document, Member, is_attestation};
use super::meta::Descriptor;
use super::platform::{Platform, none_of};
use super::unpack::clean;
use super::{Error, Result};

/// Indexes within indexes.
const MAX_DEPTH: usize = 16;
/// Manifests of all indexes.
const MAX_MANIFESTS: usize = 256;

/// One image of the archive.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// Path of its configuration.
    pub config: Vec<u8>,
    /// Paths of its layers, the lowest first.
    pub layers: Vec<Vec<u8>>,
    /// Its names.
    pub names: Vec<Reference>,
    /// Paths and descriptors of its manifest, which is the last, and of the indexes above that, the outermost first; none
    /// if it has none.
    pub documents: Vec<(Vec<u8>, Descriptor)>,
    /// Another image of the same index has the names.
    pub beside: bool,
    /// The machines for which the same index has images that nobody asked for.
    pub others: Vec<Platform>,
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

/// The images that an archive says it has: of an index those for these platforms, without any this machine's.
///
/// # Errors
/// [`Error::Archive`] if it says nothing sensible; [`Error::NoPlatform`] if an image is for none of these.
pub fn plans(files: &Files, platforms: &[Platform]) -> Result<Vec<Plan>> {
    let (docker, oci) = (files.get(b"manifest.json").is_some(), files.get(b"index.json").is_some());
    // Only the index knows of several machines.
    let plans = if docker && (platforms.is_empty() || !oci) {
        docker_plans(files)?
    } else if oci {
        Layout { files, platforms }.plans()?
    } else if files.get(b"repositories").is_some() {
        return Err(Error::Archive("archives of before Docker 1.10 are not supported".to_owned()));
    } else {
        return Err(Error::Archive("invalid archive: neither manifest.json nor index.json in it".to_owned()));
    };
    if plans.is_empty() {
        return Err(Error::Archive("invalid archive: there is no image in it".to_owned()));
    }
    Ok(plans)
}

fn docker_plans(files: &Files) -> Result<Vec<Plan>> {
    let entries: Vec<DockerEntry> = files.json(b"manifest.json")?;
    // Newer archives have an OCI index as well, which alone knows the manifests.
    let known = known_manifests(files);
    let path = |text: &str| {
        let inside = clean(text.as_bytes()).filter(|path| !path.is_empty());
        inside.ok_or_else(|| Error::Archive(format!("invalid archive: manifest.json names {text:?}")))
    };
    let mut plans: Vec<Plan> = Vec::new();
    for entry in entries {
        let config = path(&entry.config)?;
        let layers: Result<Vec<Vec<u8>>> = entry.layers.unwrap_or_default().iter().map(|text| path(text)).collect();
        let layers = layers?;
        let names = entry.tags.unwrap_or_default();
        let names: Result<Vec<Reference>> =
            names.iter().map(|name| Ok(Reference::parse(name)?.with_default_tag())).collect();
        let same = |path: &[u8], other: &[u8]| match (files.get(path), files.get(other)) {
            (Some(one), Some(other)) => one.hex == other.hex,
            _ => false,
        };
        let fits = |one: &&Plan| {
            let layer = |(one, other): (&Vec<u8>, &Vec<u8>)| same(one, other);
            same(&one.config, &config) && one.layers.len() == layers.len() && one.layers.iter().zip(&layers).all(layer)
        };
        let fitting: Vec<&Plan> = known.iter().filter(fits).collect();
        let documents = |name: Option<&Reference>| {
            let named = fitting.iter().find(|one| name.is_some_and(|name| one.names.contains(name)));
            named.or(fitting.first()).map(|one| one.documents.clone()).unwrap_or_default()
        };
        let first = plans.len();
        for name in names? {
            let documents = documents(Some(&name));
            // What a registry means by one name is not what it means by another.
            match plans[first..].iter_mut().find(|plan| same_target(&plan.documents, &documents)) {
                Some(plan) => plan.names.push(name),
                None => plans.push(Plan {
                    config: config.clone(),
                    layers: layers.clone(),
                    names: vec![name],
                    documents,
                    ..Plan::default()
                }),
            }
        }
        if plans.len() == first {
            plans.push(Plan { config, layers, documents: documents(None), ..Plan::default() });
        }
    }
    Ok(plans)
}

fn same_target(one: &[(Vec<u8>, Descriptor)], other: &[(Vec<u8>, Descriptor)]) -> bool {
    one.first().map(|(path, _)| path) == other.first().map(|(path, _)| path)
}

/// All manifests that an archive's index leads to. What cannot be read is passed over: manifest.json says what counts.
fn known_manifests(files: &Files) -> Vec<Plan> {
    let index = files.json::<Document>(b"index.json").unwrap_or_default();
    let mut open: Vec<_> = index.manifests.unwrap_or_default().into_iter().map(|one| (one, Plan::default())).collect();
    let mut found = Vec::new();
    for _ in 0..MAX_MANIFESTS {
        let Some((member, mut above)) = open.pop() else { break };
        let Ok(path) = blob_path(&member.blob.digest) else { continue };
        let Ok(document) = files.json::<Document>(&path) else { continue };
        above.names.extend(names_of(&member).unwrap_or_default());
        above.documents.push((path, member.blob));
        if above.documents.len() > MAX_DEPTH {
            continue;
        }
        match document.manifests {
            Some(members) => {
                let room = MAX_MANIFESTS.saturating_sub(open.len());
                open.extend(members.into_iter().take(room).map(|member| (member, above.clone())));
            }
            None => found.extend(with_blobs(above, &document)),
        }
    }
    found
}

/// A plan with a manifest's configuration and layers.
fn with_blobs(plan: Plan, document: &Document) -> Option<Plan> {
    let config = blob_path(&document.config.as_ref()?.blob.digest).ok()?;
    let layers = document.layers.iter().flatten().map(|layer| blob_path(&layer.blob.digest).ok());
    Some(Plan { config, layers: layers.collect::<Option<_>>()?, ..plan })
}

/// An OCI layout, and the machines that are asked for.
struct Layout<'a> {
    files: &'a Files,
    platforms: &'a [Platform],
}

impl Layout<'_> {
    fn plans(&self) -> Result<Vec<Plan>> {
        let index: Document = self.files.json(b"index.json")?;
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
            let plan = Plan { names, ..Plan::default() };
            if members.len() > 1 && members.iter().all(|member| member.platform.is_some()) {
                self.choose(members, plan, &mut plans)?;
            } else {
                members.into_iter().try_for_each(|member| self.follow(member, plan.clone(), &mut plans))?;
            }
        }
        Ok(plans)
    }

    /// Plans what a descriptor leads to.
    fn follow(&self, member: Member, mut plan: Plan, plans: &mut Vec<Plan>) -> Result<()> {
        if is_attestation(&member) {
            return Ok(());
        }
        let path = blob_path(&member.blob.digest)?;
        let document: Document = self.files.json(&path)?;
        plan.documents.push((path, member.blob.clone()));
        if plan.documents.len() > MAX_DEPTH {
            return Err(Error::Archive("invalid archive: indexes too deep".to_owned()));
        }
        if let Some(members) = document.manifests {
            return self.choose(members, plan, plans);
        }
        if document.config.is_none() {
            return Err(Error::Archive(format!("invalid archive: {} is no manifest", member.blob.digest)));
        }
        let whole = with_blobs(plan, &document);
        plans.push(
            whole.ok_or_else(|| Error::Archive(format!("invalid archive: bad digest in {}", member.blob.digest)))?,
        );
        Ok(())
    }

    /// Of several for different machines: those that are asked for, else this machine's, else the only one. Those whose
    /// blobs were left out of the archive do not count.
    fn choose(&self, mut members: Vec<Member>, plan: Plan, plans: &mut Vec<Plan>) -> Result<()> {
        members.retain(|member| {
            let there = blob_path(&member.blob.digest).is_ok_and(|path| self.files.get(&path).is_some());
            there && !is_attestation(member)
        });
        let mut chosen: Vec<usize> = match self.platforms {
            [] => manifest::choose(&members, None).into_iter().collect(),
            all => all.iter().filter_map(|want| manifest::choose(&members, Some(want))).collect(),
        };
        if chosen.is_empty() {
            let host = Platform::host();
            return Err(match (self.platforms, plan.names.first()) {
                ([], _) => Error::Archive(format!("no image for {host} in the archive")),
                (all, name) => none_of(name.map_or_else(|| "<none>".to_owned(), Reference::familiar), all),
            });
        }
        // Names are this machine's image's, if that is among them.
        let own = manifest::choose(&members, Some(&Platform::host()));
        chosen.sort_by_key(|at| (Some(*at) != own, *at));
        chosen.dedup();
        let others = members.iter().enumerate().filter(|(at, _)| self.platforms.is_empty() && !chosen.contains(at));
        let others: Vec<Platform> = others.filter_map(|(_, member)| member.platform.clone()).collect();
        for (nth, at) in chosen.iter().enumerate() {
            let mut one = plan.clone();
            if nth > 0 {
                one.names.clear();
                one.beside = true;
            } else {
                one.others.clone_from(&others);
            }
            self.follow(members[*at].clone(), one, plans)?;
        }
        Ok(())
    }
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
