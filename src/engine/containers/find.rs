//! From what a client calls a container to its id and its records.

use super::list::View;
use crate::engine::{Engine, Error, Result};
use crate::model::ids::{is_full_id, is_id_prefix};
use crate::state::store;

impl Engine {
    /// The id of the container that a full id, a name (with or without the slash) or an unambiguous beginning of an
    /// id means; in this order, as dockerd looks.
    ///
    /// # Errors
    /// Not found; a beginning that fits several is an invalid parameter.
    pub fn find(&self, name: &str) -> Result<String> {
        let bare = name.strip_prefix('/').unwrap_or(name);
        if is_full_id(bare) && store::has_record(&self.home.container(bare)) {
            return Ok(bare.to_owned());
        }
        // A name is looked up as a file: it must be one component.
        if !bare.is_empty()
            && !bare.contains('/')
            && let Some(id) = store::name_owner(&self.home, bare)
            && store::has_record(&self.home.container(&id))
        {
            return Ok(id);
        }
        if !is_id_prefix(bare) {
            return Err(Error::no_container(name));
        }
        let mut fits = store::ids(&self.home)?.into_iter().filter(|id| id.starts_with(bare));
        match (fits.next(), fits.next()) {
            (Some(id), None) => Ok(id),
            (Some(_), Some(_)) => {
                Err(Error::InvalidParameter(format!("multiple IDs found with provided prefix: {bare}")))
            }
            (None, _) => Err(Error::no_container(name)),
        }
    }

    /// A container's records, by what a client calls it. Finishes first what a killed monitor left.
    ///
    /// # Errors
    /// As [`Engine::find`], and those of the state.
    pub fn container(&self, name: &str) -> Result<View> {
        let id = self.find(name)?;
        self.view(&id).map_err(Error::vanished(name))
    }
}
