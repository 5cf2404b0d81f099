//! Makes an image of one layer from an archive of a root file system.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::sync::mpsc;
use std::thread;

use sha2::{Digest, Sha256};

use crate::model::ids::hex;
use crate::model::reference::Reference;
use crate::model::time;

use super::chain::chain_ids;
use super::changes;
use super::compress::Format;
use super::config::{History, ImageConfig, RootFs, host_architecture};
use super::layers::{Extracted, extract, nameable};
use super::meta::{Descriptor, ImageMeta, LayerRef};
use super::outcome::{Loaded, Progress};
use super::platform::Platform;
use super::publish::{Ready, publish};
use super::spool::{Spool, Spooled};
use super::staging::Staging;
use super::unpack::Privilege;
use super::{Error, Result, Store};

const BUFFER: usize = 1 << 20;

/// What to make of the archive.
#[derive(Debug, Clone, Default)]
pub struct Import {
    /// The image's name, with a tag.
    pub name: Option<Reference>,
    /// Where the archive came from; empty: standard input.
    pub source: String,
    /// A message for its history; empty: where it came from.
    pub message: String,
    /// Instructions of a Dockerfile, one each, for its configuration.
    pub changes: Vec<String>,
    /// The machine it is for; none: this one.
    pub platform: Option<Platform>,
}

/// Imports an archive, packed or not. No bytes at all are an image without files, as in Docker.
///
/// # Errors
/// [`Error::Invalid`] for bad changes, [`Error::Archive`], [`Error::Unpack`] and [`Error::Read`] for a bad archive, and
/// those of the file system. Nothing is left behind.
pub fn import(store: &Store, body: impl Read + Send, import: Import) -> Result<Loaded> {
    let platform = import.platform.unwrap_or_default();
    if !["", "linux"].contains(&platform.os.as_str()) {
        return Err(Error::Invalid("operating system is not supported".to_owned()));
    }
    let config = changes::apply(&import.changes)?;
    let staging = Staging::new(store)?;
    let (blob, layer) = receive(&staging, body)?;
    let blob = nameable(&blob, &staging.join("plain"))?;
    let diff_id = layer.diff_id.clone().unwrap_or_else(|| format!("sha256:{}", blob.hex));
    let or = |text: String, default: &str| if text.is_empty() { default.to_owned() } else { text };
    let created = time::rfc3339(time::now());
    let message = or(import.message, &format!("Imported from {}", or(import.source, "-")));
    let config = ImageConfig {
        architecture: or(platform.architecture, host_architecture()),
        variant: Some(platform.variant).filter(|variant| !variant.is_empty()),
        os: or(platform.os, "linux"),
        created: Some(created.clone()),
        comment: Some(message.clone()),
        config: Some(config),
        rootfs: RootFs { diff_ids: vec![diff_id.clone()], ..RootFs::default() },
        history: vec![History { created: Some(created), comment: Some(message), ..History::default() }],
        ..ImageConfig::default()
    };
    let bytes = serde_json::to_vec(&config).map_err(|err| Error::Invalid(err.to_string()))?;
    // Read back: what could not be loaded again is not worth keeping.
    ImageConfig::parse(&bytes)?;
    let config_hex = hex(&Sha256::digest(&bytes));
    let config_path = staging.join("config");
    fs::write(&config_path, &bytes).map_err(Error::at(&config_path))?;
    let chain = chain_ids(std::slice::from_ref(&diff_id)).swap_remove(0);
    let media_type = Format::of_file(&blob.path)?.layer_media_type().to_owned();
    let layer_ref = LayerRef {
        chain: chain.clone(),
        diff_id,
        blob: Descriptor { media_type, digest: format!("sha256:{}", blob.hex), size: blob.size },
        size: layer.unpacked.size,
    };
    layer.seal(&layer_ref, "")?;
    let ready = Ready {
        meta: ImageMeta::new(format!("sha256:{config_hex}"), &config, vec![layer_ref]),
        names: import.name.into_iter().collect(),
        blobs: vec![(blob.path, blob.hex), (config_path, config_hex)],
        new_layers: BTreeMap::from([(chain, layer)]),
        ..Ready::default()
    };
    let mut ignore = |_: Progress| {};
    publish(store, &staging, vec![ready], &mut ignore)?
        .pop()
        .ok_or_else(|| Error::Archive("the import made no image".to_owned()))
}

/// Keeps the archive as it arrives and unpacks it meanwhile.
fn receive(staging: &Staging, mut body: impl Read + Send) -> Result<(Spooled, Extracted)> {
    let mut spool = Spool::create(&staging.join("blob"))?;
    let reader = spool.reader();
    let dir = staging.join("layer");
    thread::scope(|scope| {
        let (written, bytes) = mpsc::channel();
        scope.spawn(move || staging.disk().follow(&bytes));
        let worker = scope.spawn(move || extract(reader, &dir, &Privilege::of_this_process()));
        let mut buffer = vec![0; BUFFER];
        loop {
            let count = body.read(&mut buffer).map_err(Error::Read)?;
            if count == 0 {
                break;
            }
            let _ = written.send(count as u64);
            spool.write(&buffer[..count])?;
        }
        drop(written);
        let blob = spool.finish();
        let layer = worker.join().map_err(|_| Error::Archive("the archive cannot be unpacked".to_owned()))??;
        Ok((blob, layer))
    })
}
