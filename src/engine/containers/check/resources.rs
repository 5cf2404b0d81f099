//! Memory, processors, block devices. None of it is applied yet, which warnings tell; what cannot be is refused.

use std::fs;

use super::refusal::refuse;
use crate::engine::Result;
use crate::model::host_config::HostConfig;

/// The least memory limit that Docker takes, in bytes.
const LEAST_MEMORY: i64 = 6 << 20;

pub(super) fn quality_of_service(host: &HostConfig) -> Result<()> {
    if host.io_maximum_bandwidth != 0 {
        return refuse("invalid option: QoS maximum bandwidth configuration is not supported on linux");
    }
    if host.io_maximum_iops != 0 {
        return refuse("invalid option: QoS maximum IOPs configuration is not supported on linux");
    }
    Ok(())
}

/// Real-time groups are a thing of cgroup version 1.
pub(super) fn real_time(host: &HostConfig) -> Result<()> {
    if host.cpu_realtime_period != 0 || host.cpu_realtime_runtime != 0 {
        return refuse("kernel does not support CPU real-time scheduler");
    }
    Ok(())
}

pub(super) fn shares(host: &HostConfig) -> Result<()> {
    if host.cpu_shares < 0 {
        return refuse(format!("invalid CPU shares ({}): value must be a positive integer", host.cpu_shares));
    }
    Ok(())
}

pub(super) fn limits(host: &HostConfig) -> Result<()> {
    memory(host)?;
    processors(host)?;
    cpuset("CPUs", "cpus", &host.cpuset_cpus, "/sys/devices/system/cpu/online")?;
    cpuset("memory nodes", "mems", &host.cpuset_mems, "/sys/devices/system/node/online")?;
    if host.blkio_weight > 0 && !(10..=1000).contains(&host.blkio_weight) {
        return refuse("Range of blkio weight is from 10 to 1000");
    }
    Ok(())
}

fn memory(host: &HostConfig) -> Result<()> {
    let (memory, swap, reservation) = (host.memory, host.memory_swap, host.memory_reservation);
    if memory != 0 && memory < LEAST_MEMORY {
        return refuse("Minimum memory limit allowed is 6MB");
    }
    if memory > 0 && swap > 0 && swap < memory {
        return refuse("Minimum memoryswap limit should be larger than memory limit, see usage");
    }
    if memory == 0 && swap > 0 {
        return refuse("You should always set the Memory limit when using Memoryswap limit, see usage");
    }
    if let Some(value) = host.memory_swappiness.filter(|value| *value != -1 && !(0..=100).contains(value)) {
        return refuse(format!("Invalid value: {value}, valid memory swappiness range is 0-100"));
    }
    if reservation > 0 && reservation < LEAST_MEMORY {
        return refuse("Minimum memory reservation allowed is 6MB");
    }
    if memory > 0 && reservation > 0 && memory < reservation {
        return refuse("Minimum memory limit can not be less than memory reservation limit, see usage");
    }
    Ok(())
}

fn processors(host: &HostConfig) -> Result<()> {
    if host.nano_cpus > 0 && host.cpu_period > 0 {
        return refuse("Conflicting options: Nano CPUs and CPU Period cannot both be set");
    }
    if host.nano_cpus > 0 && host.cpu_quota > 0 {
        return refuse("Conflicting options: Nano CPUs and CPU Quota cannot both be set");
    }
    let count = std::thread::available_parallelism().map_or(1, |count| count.get() as i64);
    if host.nano_cpus < 0 || host.nano_cpus > count.saturating_mul(1_000_000_000) {
        return refuse(format!("range of CPUs is from 0.01 to {count}.00, as there are only {count} CPUs available"));
    }
    if host.cpu_period != 0 && !(1000..=1_000_000).contains(&host.cpu_period) {
        return refuse("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)");
    }
    if host.cpu_quota > 0 && host.cpu_quota < 1000 {
        return refuse("CPU cfs quota can not be less than 1ms (i.e. 1000)");
    }
    Ok(())
}

/// A list as `0-2,7` of what the host has.
fn cpuset(what: &str, field: &str, asked: &str, online: &str) -> Result<()> {
    if asked.is_empty() {
        return Ok(());
    }
    let Some(wanted) = ranges(asked) else {
        return refuse(format!("Invalid value {asked} for cpuset {field}: invalid format: {asked}"));
    };
    let Ok(text) = fs::read_to_string(online) else { return Ok(()) };
    let have = ranges(text.trim()).unwrap_or_default();
    let covered = |(first, last): &(u32, u32)| have.iter().any(|(low, high)| low <= first && last <= high);
    if !wanted.iter().all(covered) {
        return refuse(format!("Requested {what} are not available - requested {asked}, available: {}", text.trim()));
    }
    Ok(())
}

fn ranges(text: &str) -> Option<Vec<(u32, u32)>> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        (first <= last).then_some((first, last))
    };
    text.split(',').map(range).collect()
}

/// Quotas of the root file system are none that a user can set.
pub(super) fn storage(host: &HostConfig) -> Result<()> {
    let options = host.storage_opt.iter().flatten();
    match options.map(|(name, _)| name.as_str()).find(|name| *name != "size") {
        Some(name) => refuse(format!("Unknown option {name}")),
        None if host.storage_opt.as_ref().is_some_and(|options| !options.is_empty()) => {
            refuse("--storage-opt is supported only for overlay over xfs with 'pquota' mount option")
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_numbers() {
        assert_eq!(ranges("0-2,7"), Some(vec![(0, 2), (7, 7)]));
        for bad in ["", "x", "0-", "2-1", "0,,1", "-1"] {
            assert_eq!(ranges(bad), None, "{bad}");
        }
        assert!(cpuset("CPUs", "cpus", "0", "/sys/devices/system/cpu/online").is_ok());
        assert!(cpuset("CPUs", "cpus", "4000", "/sys/devices/system/cpu/online").is_err());
    }
}
