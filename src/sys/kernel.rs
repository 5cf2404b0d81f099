//! Which kernel this is.

/// The first two numbers of a kernel's version.
pub fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// The first two numbers of the running kernel's version; zeros if it tells something else than a version.
pub fn version() -> (u32, u32) {
    parse_version(&rustix::system::uname().release().to_string_lossy()).unwrap_or_default()
}

/// The directories in which this machine tells how often it has slowed its processors down for their heat: by that a
/// program can find out what others compute.
pub fn thermal_throttles() -> Vec<String> {
    let possible = std::fs::read_to_string("/sys/devices/system/cpu/possible").unwrap_or_default();
    let last = possible.trim().rsplit([',', '-']).next().and_then(|number| number.parse::<u32>().ok());
    let paths = (0..=last.unwrap_or(0)).map(|cpu| format!("/sys/devices/system/cpu/cpu{cpu}/thermal_throttle"));
    paths.filter(|path| std::path::Path::new(path).exists()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        assert_eq!(parse_version("6.1.0-41-cloud-amd64"), Some((6, 1)));
        assert_eq!(parse_version("beer"), None);
        assert!(version() >= (5, 11));
    }
}
