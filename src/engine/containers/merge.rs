//! A creator's configuration over its image's.

use crate::model::config::{ContainerConfig, Healthcheck};
use crate::model::signal;

/// What the container gets: the creator's fields, and the image's where the creator left them open.
///
/// An entrypoint of the creator's drops the image's command, for it was written as the image's entrypoint's arguments;
/// the entrypoint `[""]` means none.
pub fn over_image(mut own: ContainerConfig, image: &ContainerConfig) -> ContainerConfig {
    let is_empty = |list: &Option<Vec<String>>| list.as_ref().is_none_or(Vec::is_empty);
    if is_empty(&own.entrypoint) {
        if is_empty(&own.cmd) {
            own.cmd = image.cmd.clone();
        }
        if own.entrypoint.is_none() {
            own.entrypoint = image.entrypoint.clone();
        }
    }
    if own.entrypoint.as_deref() == Some(&[String::new()]) {
        own.entrypoint = None;
    }
    for (own, image) in [(&mut own.user, &image.user), (&mut own.working_dir, &image.working_dir)] {
        if own.is_empty() {
            own.clone_from(image);
        }
    }
    own.env = Some(merge_env(image.env.as_deref().unwrap_or_default(), own.env.as_deref().unwrap_or_default()));
    for (name, value) in &image.labels {
        own.labels.entry(name.clone()).or_insert_with(|| value.clone());
    }
    for (own, image) in [(&mut own.exposed_ports, &image.exposed_ports), (&mut own.volumes, &image.volumes)] {
        own.take_if(|set| set.is_empty());
        if let Some(image) = image {
            own.get_or_insert_default().extend(image.clone());
        }
    }
    let set = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    if !set(&own.stop_signal) {
        // An image's signal that is none stops nobody from running it.
        own.stop_signal = image.stop_signal.clone().filter(|text| signal::parse(text).is_some());
    }
    own.healthcheck = merge_healthcheck(own.healthcheck, image.healthcheck.as_ref());
    own
}

fn merge_healthcheck(own: Option<Healthcheck>, image: Option<&Healthcheck>) -> Option<Healthcheck> {
    let (Some(mut own), Some(image)) = (own.clone(), image) else { return own.or_else(|| image.cloned()) };
    if own.test.as_ref().is_none_or(Vec::is_empty) {
        own.test = image.test.clone();
    }
    let fields = [
        (&mut own.interval, image.interval),
        (&mut own.timeout, image.timeout),
        (&mut own.retries, image.retries),
        (&mut own.start_period, image.start_period),
        (&mut own.start_interval, image.start_interval),
    ];
    for (own, image) in fields {
        if *own == 0 {
            *own = image;
        }
    }
    Some(own)
}

/// The creator's variables, then those of the image's that the creator does not name: in dockerd's order, which
/// inspections show.
fn merge_env(image: &[String], own: &[String]) -> Vec<String> {
    let name = |entry: &str| entry.split_once('=').map_or(entry, |(name, _)| name).to_owned();
    let named = |entry: &&String| own.iter().any(|have| name(have) == name(entry));
    own.iter().chain(image.iter().filter(|entry| !named(entry))).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(list: &[&str]) -> Option<Vec<String>> {
        Some(list.iter().map(|word| (*word).to_owned()).collect())
    }

    #[test]
    fn command_and_entrypoint_as_in_dockers_table() {
        let image = ContainerConfig { cmd: words(&["c"]), entrypoint: words(&["e"]), ..Default::default() };
        let merged = |cmd: &[&str], entrypoint: Option<&[&str]>| {
            let own = ContainerConfig {
                cmd: (!cmd.is_empty()).then(|| words(cmd)).flatten(),
                entrypoint: entrypoint.and_then(words),
                ..Default::default()
            };
            let merged = over_image(own, &image);
            (merged.entrypoint, merged.cmd)
        };
        assert_eq!(merged(&[], None), (words(&["e"]), words(&["c"])));
        assert_eq!(merged(&["x"], None), (words(&["e"]), words(&["x"])));
        assert_eq!(merged(&[], Some(&["y"])), (words(&["y"]), None));
        assert_eq!(merged(&["x"], Some(&[""])), (None, words(&["x"])));
    }

    #[test]
    fn the_creators_environment_goes_first() {
        let env = |list: &[&str]| list.iter().map(|entry| (*entry).to_owned()).collect::<Vec<_>>();
        assert_eq!(merge_env(&env(&["A=1", "B=2"]), &env(&["C=3", "A=4"])), env(&["C=3", "A=4", "B=2"]));
    }
}
