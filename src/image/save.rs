//! Writes images as an archive: an OCI layout with `docker save`'s manifest.json beside its index.json, as dockerd writes
//! it, so that both families of readers find what they look for.
//!
//! The same images make the same bytes, whenever and in whatever order they are asked for. Manifests and indexes are the
//! ones that the images arrived with, to the byte; an image that was made here gets one that follows from its layers. What
//! the store lacks of an index is left out of the archive, not of the index.

use std::collections::btree_map::Entry::Vacant;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Write};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::model::ids::hex;
use crate::model::reference::{Reference, sha256_hex};

use super::manifest::OCI_INDEX;
use super::meta::Descriptor;
use super::platform::{Platform, none_of};
use super::tree::Node;
use super::{Error, Result, Store};

const BLOCK: usize = 512;
const BUFFER: usize = 256 << 10;

/// An image to save.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// `sha256:…`.
    pub id: String,
    /// The name that it has in the archive.
    pub name: Option<Reference>,
    /// What that means to a registry.
    pub target: Option<Descriptor>,
}

/// An archive that is ready to be written: whatever it needs is open, so that nobody can take it away.
#[derive(Debug, Default)]
pub struct Archive {
    blobs: BTreeMap<String, Part>,
    /// Descriptors of `index.json`: names come first, so that they make the order.
    index: BTreeSet<(String, String, u64, String)>,
    /// Entries of `manifest.json` by their manifests' digests.
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug)]
enum Part {
    Bytes(Vec<u8>),
    Blob(File, u64),
}

#[derive(Debug, Default)]
struct Entry {
    config: String,
    layers: Vec<String>,
    tags: BTreeSet<String>,
}

/// Makes an archive of images, of those of their manifests that are for one of these platforms; none: of all that are
/// here.
///
/// # Errors
/// [`Error::Missing`], [`Error::NoPlatform`], [`Error::Damaged`], or those of the file system.
pub fn prepare(store: &Store, chosen: &[Chosen], platforms: &[Platform]) -> Result<Archive> {
    let mut archive = Archive::default();
    let _hold = store.hold()?;
    for one in chosen {
        archive.add(store, one, platforms)?;
    }
    Ok(archive)
}

impl Archive {
    fn add(&mut self, store: &Store, one: &Chosen, platforms: &[Platform]) -> Result<()> {
        let meta = store.meta(&one.id)?;
        let node = store.tree_of(&meta, one.target.as_ref())?;
        let wanted: Vec<&Node> = match platforms {
            [] => node.manifests().into_iter().map(|(_, manifest)| manifest).collect(),
            [_] => store.fitting(&node, platforms).into_iter().take(1).collect(),
            _ => store.fitting(&node, platforms),
        };
        let main = wanted.iter().find(|manifest| manifest.image_id() == one.id).or(wanted.first());
        let name = one.name.as_ref().map_or_else(|| one.id.clone(), Reference::familiar);
        let main = *main.ok_or_else(|| none_of(name, platforms))?;
        // For one machine its own manifest is meant, whatever it is among.
        let top = if platforms.len() == 1 { main } else { &node };
        self.add_node(store, top, &|manifest| wanted.iter().any(|one| one.blob.digest == manifest.blob.digest))?;
        let name = one.name.as_ref().map(ToString::to_string).unwrap_or_default();
        self.index.insert((name, top.blob.digest.clone(), top.blob.size, top.document.kind(&top.blob.media_type)));
        let entry = self.entries.entry(main.blob.digest.clone()).or_insert_with(|| {
            let layers = main.document.layers.iter().flatten().map(|layer| path(&layer.blob.digest));
            Entry { config: path(main.image_id()), layers: layers.collect(), tags: BTreeSet::new() }
        });
        entry.tags.extend(one.name.iter().map(Reference::familiar));
        Ok(())
    }

    /// Adds a manifest with its blobs, or an index with what is kept of it.
    fn add_node(&mut self, store: &Store, node: &Node, keep: &dyn Fn(&Node) -> bool) -> Result<()> {
        self.blobs.insert(path(&node.blob.digest), Part::Bytes(node.bytes.clone()));
        for below in node.members.iter().filter_map(|(_, below)| below.as_ref()) {
            if below.manifests().iter().any(|(_, manifest)| keep(manifest)) {
                self.add_node(store, below, keep)?;
            }
        }
        for blob in node.document.blobs() {
            if let Vacant(place) = self.blobs.entry(path(&blob.digest)) {
                place.insert(Part::Blob(store.open_blob(&blob)?, blob.size));
            }
        }
        Ok(())
    }

    /// Writes the archive.
    ///
    /// # Errors
    /// [`Error::Damaged`] for a blob that is not what its name says: then what was written must not be taken for an
    /// archive; [`Error::Write`], and those of the file system.
    pub fn write(self, out: &mut impl Write) -> Result<()> {
        let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": self.index() });
        let manifest = self.manifest();
        for dir in ["blobs/", "blobs/sha256/"] {
            out.write_all(&header(dir, b'5', 0o755, 0)?).map_err(Error::Write)?;
        }
        for (name, part) in self.blobs {
            match part {
                Part::Bytes(bytes) => small(out, &name, 0o444, &bytes)?,
                Part::Blob(file, size) => blob(out, &name, file, size)?,
            }
        }
        small(out, "index.json", 0o644, index.to_string().as_bytes())?;
        small(out, "manifest.json", 0o644, manifest.to_string().as_bytes())?;
        small(out, "oci-layout", 0o444, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        out.write_all(&[0; 2 * BLOCK]).and_then(|()| out.flush()).map_err(Error::Write)
    }

    fn index(&self) -> Vec<Value> {
        let descriptor = |(name, digest, size, media_type): &(String, String, u64, String)| {
            let mut one = json!({ "mediaType": media_type, "digest": digest, "size": size });
            if let Ok(whole) = Reference::parse(name) {
                let tag = whole.tag().or(whole.digest()).unwrap_or_default();
                one["annotations"] =
                    json!({ "io.containerd.image.name": name, "org.opencontainers.image.ref.name": tag });
            }
            one
        };
        self.index.iter().map(descriptor).collect()
    }

    fn manifest(&self) -> Value {
        let mut entries: Vec<&Entry> = self.entries.values().collect();
        entries.sort_by(|a, b| a.tags.cmp(&b.tags));
        let entry = |entry: &&Entry| {
            let tags = (!entry.tags.is_empty()).then_some(&entry.tags);
            json!({ "Config": entry.config, "RepoTags": tags, "Layers": entry.layers })
        };
        entries.iter().map(entry).collect()
    }
}

fn path(digest: &str) -> String {
    format!("blobs/sha256/{}", sha256_hex(digest).unwrap_or_default())
}

/// The header of an entry: root's, and of no time.
fn header(name: &str, kind: u8, mode: u32, size: u64) -> Result<[u8; BLOCK]> {
    let mut header = tar::Header::new_gnu();
    header.set_path(name).map_err(Error::Write)?;
    header.set_entry_type(tar::EntryType::new(kind));
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    Ok(*header.as_bytes())
}

fn small(out: &mut impl Write, name: &str, mode: u32, bytes: &[u8]) -> Result<()> {
    let header = header(name, b'0', mode, bytes.len() as u64)?;
    out.write_all(&header).and_then(|()| out.write_all(bytes)).map_err(Error::Write)?;
    fill_up(out, bytes.len() as u64)
}

/// Writes a blob of the store, and checks it on its way.
fn blob(out: &mut impl Write, name: &str, file: File, size: u64) -> Result<()> {
    out.write_all(&header(name, b'0', 0o444, size)?).map_err(Error::Write)?;
    let want = name.rsplit('/').next().unwrap_or_default();
    let damaged = || Error::Damaged(format!("sha256:{want}"));
    let (mut hash, mut buffer, mut left) = (Sha256::new(), vec![0; BUFFER], size);
    let mut file = file.take(size);
    while left > 0 {
        let count = match file.read(&mut buffer) {
            Ok(0) => return Err(damaged()),
            Ok(count) => count,
            Err(err) if err.kind() == io::ErrorKind::Interrupted => continue,
            Err(err) => return Err(Error::Read(err)),
        };
        hash.update(&buffer[..count]);
        left -= count as u64;
        // Before the last bytes are given away: a reader that has all of a blob takes it for whole.
        if left == 0 && hex(&hash.clone().finalize()) != want {
            return Err(damaged());
        }
        out.write_all(&buffer[..count]).map_err(Error::Write)?;
    }
    fill_up(out, size)
}

fn fill_up(out: &mut impl Write, size: u64) -> Result<()> {
    let padding = (size.wrapping_neg() % BLOCK as u64) as usize;
    out.write_all(&[0; BLOCK][..padding]).map_err(Error::Write)
}
