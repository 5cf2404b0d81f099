//! Names of containers.

/// Whether the text may name a container: `[a-zA-Z0-9][a-zA-Z0-9_.-]+`, as Docker allows.
pub fn is_valid_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    let first = bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    // A name is also a file name in the state directory.
    first && (2..=255).contains(&name.len()) && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

/// A readable name for a container that was given none.
pub fn random_name() -> String {
    let mut bytes = [0u8; 4];
    // Names need not be unpredictable: on failure any name does, and a taken one is drawn again.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    let pick =
        |list: &[&'static str], low: u8, high: u8| list[usize::from(u16::from_le_bytes([low, high])) % list.len()];
    format!("{}_{}", pick(MOODS, bytes[0], bytes[1]), pick(SHIPS, bytes[2], bytes[3]))
}

const MOODS: &[&str] = &[
    "able", "amber", "ample", "azure", "balmy", "bold", "brave", "breezy", "brisk", "bright", "calm", "candid",
    "clear", "clever", "cosy", "crisp", "curious", "deft", "eager", "early", "easy", "fair", "fleet", "fond", "frank",
    "free", "gentle", "glad", "golden", "grand", "happy", "hardy", "hearty", "honest", "jolly", "keen", "kind",
    "lively", "lucid", "lucky", "mellow", "merry", "mild", "modest", "neat", "nimble", "noble", "patient", "placid",
    "plucky", "polite", "proud", "quick", "quiet", "ready", "robust", "rosy", "serene", "silver", "sincere", "snug",
    "sober", "sound", "spry", "stable", "steady", "stout", "sunny", "swift", "tidy", "trim", "true", "upbeat",
    "valiant", "vivid", "warm", "wise", "witty", "young", "zesty",
];

const SHIPS: &[&str] = &[
    "albatross",
    "anchor",
    "barge",
    "barque",
    "beacon",
    "bosun",
    "bowline",
    "brig",
    "buoy",
    "capstan",
    "caravel",
    "catamaran",
    "clipper",
    "compass",
    "coracle",
    "corvette",
    "cove",
    "current",
    "cutter",
    "dhow",
    "dinghy",
    "dolphin",
    "dory",
    "estuary",
    "ferry",
    "fjord",
    "foresail",
    "frigate",
    "galleon",
    "gannet",
    "gull",
    "gunwale",
    "harbour",
    "hawser",
    "helm",
    "heron",
    "jib",
    "junk",
    "kayak",
    "keel",
    "kelp",
    "ketch",
    "lagoon",
    "lantern",
    "lugger",
    "mast",
    "monsoon",
    "narwhal",
    "oar",
    "osprey",
    "packet",
    "pelican",
    "pinnace",
    "plover",
    "porpoise",
    "puffin",
    "punt",
    "raft",
    "reef",
    "rigging",
    "rudder",
    "sampan",
    "schooner",
    "sextant",
    "shoal",
    "skiff",
    "sloop",
    "spar",
    "spinnaker",
    "starboard",
    "swell",
    "tern",
    "tide",
    "tiller",
    "trawler",
    "tug",
    "wherry",
    "windlass",
    "xebec",
    "yawl",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_dockers_pattern() {
        for good in ["ab", "web_1", "a.b-c", "9x"] {
            assert!(is_valid_name(good), "{good}");
        }
        for bad in ["", "a", "_a", "-a", ".a", "a/b", "a b", "ä1", "a\n"] {
            assert!(!is_valid_name(bad), "{bad}");
        }
        assert!(is_valid_name(&random_name()));
    }
}
