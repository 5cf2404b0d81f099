//! Unpacks layers anew: those that were unpacked by other id maps, or that are not what they should be any more.

use std::fs;
use std::io;

use crate::model::ids::short;
use crate::model::reference::sha256_hex;
use crate::state::lock::Lock;
use crate::state::{self, atomic};

use super::ids::{accepts, covers};
use super::layers::{Extracted, extract_file, map_id};
use super::meta::{LayerRecord, LayerRef};
use super::staging::Staging;
use super::{Error, Result, Store};

impl Store {
    /// The record of a layer that can be used by this process; none if it is not unpacked, or was by other id maps.
    ///
    /// # Errors
    /// /proc is not there.
    pub fn usable_layer(&self, chain: &str) -> Result<Option<LayerRecord>> {
        let now = map_id()?;
        Ok(self.layer(chain).filter(|layer| covers(&now, &layer.ids)))
    }

    /// The same, or one of before layers remembered their maps: a load replaces it, if it can, and until then it serves.
    ///
    /// # Errors
    /// /proc is not there.
    pub fn accepted_layer(&self, chain: &str) -> Result<Option<LayerRecord>> {
        let now = map_id()?;
        Ok(self.layer(chain).filter(|layer| accepts(&now, &layer.ids)))
    }

    /// What a load need not bring: a layer that can be used, or an old one that a running container uses.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn kept_layer(&self, chain: &str) -> Result<Option<LayerRecord>> {
        if let Some(layer) = self.usable_layer(chain)? {
            return Ok(Some(layer));
        }
        match self.accepted_layer(chain)? {
            Some(layer) if self.running_on(chain)?.is_some() => Ok(Some(layer)),
            _ => Ok(None),
        }
    }

    /// Whether a container can use all these layers as they are.
    ///
    /// # Errors
    /// /proc is not there.
    pub fn are_usable(&self, chains: &[String]) -> Result<bool> {
        let now = map_id()?;
        Ok(chains.iter().all(|chain| self.layer(chain).is_some_and(|layer| accepts(&now, &layer.ids))))
    }

    /// Makes sure that a container can use these layers: what was unpacked by other id maps, or has vanished, is unpacked
    /// from the archive that it came with.
    ///
    /// # Errors
    /// [`Error::Conflict`] if that archive is gone, or a running container uses the layer; and as unpacking it.
    pub fn renew_layers(&self, chains: &[String]) -> Result<()> {
        if self.are_usable(chains)? {
            return Ok(());
        }
        let staging = Staging::new(self)?;
        let mut renewed = Vec::new();
        for (at, chain) in chains.iter().enumerate() {
            if self.accepted_layer(chain)?.is_none() {
                let parent = if at > 0 { chains[at - 1].as_str() } else { "" };
                renewed.push((chain, self.unpack_again(&staging, chain, parent)?));
            }
        }
        staging.disk().sync()?;
        let _lock = self.lock()?;
        for (chain, layer) in renewed {
            tracing::info!(%chain, "unpacked anew");
            self.put_layer(&staging, chain, &layer)?;
        }
        Ok(atomic::sync(&[&self.layers_dir()])?)
    }

    fn unpack_again(&self, staging: &Staging, chain: &str, parent: &str) -> Result<Extracted> {
        let gone =
            || Error::Conflict(format!("layer {} has to be unpacked anew, and its archive is gone", short(chain)));
        let layer = self.layer_ref(chain)?.ok_or_else(gone)?;
        let hex = sha256_hex(&layer.blob.digest).ok_or_else(gone)?;
        let blob = self.blob(hex);
        if !blob.exists() {
            return Err(gone());
        }
        let extracted = extract_file(&blob, &staging.join(format!("renewed-{chain}")))?;
        let have = extracted.diff_id.as_ref().unwrap_or(&layer.blob.digest);
        if *have != layer.diff_id {
            return Err(Error::Conflict(format!(
                "the archive of layer {} is damaged: load its image again",
                short(chain)
            )));
        }
        extracted.seal(&layer, parent)?;
        Ok(extracted)
    }

    /// What is known of a layer, by the images that have it, or by its own record.
    fn layer_ref(&self, chain: &str) -> Result<Option<LayerRef>> {
        let of_images = self.metas()?.into_iter().flat_map(|meta| meta.layers).find(|layer| layer.chain == chain);
        let own = || {
            let LayerRecord { diff_id, blob, size, .. } = self.layer(chain)?;
            Some(LayerRef { chain: chain.to_owned(), diff_id, blob, size })
        };
        Ok(of_images.or_else(own))
    }

    /// Moves a sealed layer to its place, in place of one that cannot be used. The caller holds the lock, and syncs.
    ///
    /// # Errors
    /// [`Error::Conflict`] if a running container uses the one that is there; those of the file system.
    pub fn put_layer(&self, staging: &Staging, chain: &str, layer: &Extracted) -> Result<()> {
        let target = self.layers_dir().join(chain);
        // Another one brought it meanwhile, or one archive has it twice.
        if self.usable_layer(chain)?.is_some() || !layer.dir.exists() {
            return Ok(());
        }
        if target.exists()
            && let Some(user) = self.running_on(chain)?
        {
            let (layer, user) = (short(chain), short(&user));
            return Err(Error::Conflict(format!(
                "layer {layer} has to be unpacked anew, and the running container {user} uses it"
            )));
        }
        self.replace_layer(staging, chain, layer)
    }

    /// The same, whatever is in its place. The caller holds the lock, has seen that no container runs on it, and syncs.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn replace_layer(&self, staging: &Staging, chain: &str, layer: &Extracted) -> Result<()> {
        let target = self.layers_dir().join(chain);
        match fs::rename(&target, staging.join(format!("replaced-{chain}"))) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => {}
            Err(err) => return Err(Error::at(&target)(err)),
            Ok(()) => {}
        }
        fs::rename(&layer.dir, &target).map_err(Error::at(&layer.dir))
    }

    /// A container that runs on a layer.
    pub(super) fn running_on(&self, chain: &str) -> Result<Option<String>> {
        let home = self.home();
        let runs = |id: &String| Lock::is_held(&home.container(id).monitor_lock()).unwrap_or(true);
        let uses = |id: &String| {
            state::store::load(home, id).map_or(true, |record| record.layers.iter().any(|layer| layer == chain))
        };
        Ok(state::store::ids(home)?.into_iter().find(|id| runs(id) && uses(id)))
    }
}
