//! Which containers use which images.

use crate::image::Result;
use crate::state::lock::Lock;
use crate::state::paths::Home;
use crate::state::store;

/// A container, as far as its image is concerned.
#[derive(Debug, Clone)]
pub struct User {
    /// The container's id.
    pub id: String,
    /// Its image's id.
    pub image_id: String,
    /// Whether its process exists.
    pub running: bool,
}

/// All containers with their images. One that vanishes or cannot be read is passed over.
pub fn all(home: &Home) -> Result<Vec<User>> {
    let ids = store::ids(home)?;
    Ok(ids
        .into_iter()
        .filter_map(|id| {
            let record = store::load(home, &id).ok()?;
            let says_so = store::load_state(home, &id).is_ok_and(|state| state.is_running());
            // A container whose monitor was killed is not running, whatever its last record says.
            let running = says_so && Lock::is_held(&home.container(&id).monitor_lock()).unwrap_or(true);
            Some(User { id, image_id: record.image_id, running })
        })
        .collect())
}
