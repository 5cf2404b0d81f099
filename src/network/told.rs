//! What is told of a container's connections.

use super::record::{HOST_ID, NONE_ID};
use crate::model::networking::Endpoint;
use crate::state::container::ContainerRecord;
use crate::state::events::Event;

/// The events that a container is connected (`connect`) to the networks of these connections, or has left them
/// (`disconnect`). One without is in `host` or `none`, of which is told as well.
pub fn events(record: &ContainerRecord, endpoints: &[Endpoint], action: &str) -> Vec<Event> {
    let mut networks: Vec<_> =
        endpoints.iter().map(|endpoint| (endpoint.network_id.as_str(), endpoint.network.as_str(), "bridge")).collect();
    match record.host_config.network_mode.as_str() {
        "host" => networks.push((HOST_ID, "host", "host")),
        "none" => networks.push((NONE_ID, "none", "null")),
        _ => {}
    }
    let told = |(id, name, kind): (&str, &str, &str)| {
        let attributes = [("container", record.id.as_str()), ("name", name), ("type", kind)];
        let attributes = attributes.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Event::new("network", action, id, attributes)
    };
    networks.into_iter().map(told).collect()
}
