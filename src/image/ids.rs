//! By which id maps files on disk have their owners.
//!
//! A layer unpacked in a user namespace belongs to ids of the host that are somebody else's, or nobody's, once the user's
//! ranges have changed. So each layer remembers the maps' name ([`crate::holder::map_id`]), and is unpacked anew where
//! that does not fit any more.

/// An id map: first id inside, first on the host, count.
type Map = Vec<(u64, u64, u64)>;

/// Whether all that was unpacked by the maps `made` has the same owners by the maps `now`: each id of the former is the
/// same one on the host. Longer ranges do no harm, since what was outside of the old ones was refused.
pub fn covers(now: &str, made: &str) -> bool {
    let (Some(now), Some(made)) = (parse(now), parse(made)) else { return false };
    let within = |made: &Map, now: &Map| {
        made.iter().all(|(inside, outside, count)| {
            now.iter().any(|(first, host, length)| {
                // The same distance, and no further than the range goes.
                first <= inside && inside + count <= first + length && inside + host == outside + first
            })
        })
    };
    // Without a user namespace layers have other attributes for overlayfs.
    is_initial(&now[0]) == is_initial(&made[0]) && within(&made[0], &now[0]) && within(&made[1], &now[1])
}

/// The same where files of older versions, which did not remember their maps, are taken as they are.
pub fn accepts(now: &str, made: &str) -> bool {
    made.is_empty() || covers(now, made)
}

fn is_initial(map: &Map) -> bool {
    *map == [(0, 0, u32::MAX.into())]
}

/// Reads `u0:1000:1,1:100000:65536 g0:1000:1`.
fn parse(text: &str) -> Option<[Map; 2]> {
    let (users, groups) = text.strip_prefix('u')?.split_once(" g")?;
    let range = |range: &str| {
        let mut numbers = range.split(':').map(|number| number.parse().ok());
        Some((numbers.next()??, numbers.next()??, numbers.next()??))
    };
    let map = |text: &str| text.split(',').map(range).collect::<Option<Map>>();
    Some([map(users)?, map(groups)?])
}

#[cfg(test)]
mod tests {
    use super::covers;

    #[test]
    fn the_same_and_longer_ranges_cover() {
        let map = "u0:1000:1,1:100000:65536 g0:1000:1,1:100000:65536";
        assert!(covers(map, map));
        assert!(covers(map, "u0:1000:1 g0:1000:1"));
        assert!(covers("u0:1000:1,1:100000:200000 g0:1000:1,1:100000:65536", map));
        for other in [
            "u0:1000:1,1:200000:65536 g0:1000:1,1:200000:65536",
            "u0:1001:1,1:100000:65536 g0:1000:1,1:100000:65536",
            "u0:1000:1,1:100000:1000 g0:1000:1,1:100000:65536",
            "u0:0:4294967295 g0:0:4294967295",
            "",
        ] {
            assert!(!covers(other, map) && !covers(map, other) || other.contains(":1000 "), "{other}");
        }
        assert!(!covers("u0:1000:1,1:100000:1000 g0:1000:1,1:100000:65536", map));
        assert!(!covers("u0:0:4294967295 g0:0:4294967295", "u0:0:65536 g0:0:65536"), "other attributes");
    }
}
