//! A container's limits, as files of its cgroup: pure, then written.

use std::fs;
use std::io;
use std::path::Path;

use oci_spec::runtime::{LinuxResources, LinuxThrottleDevice};

/// A limit: the controller that it is of, a file, and what is written to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// The controller.
    pub controller: &'static str,
    /// The file.
    pub file: &'static str,
    /// What goes there.
    pub value: String,
}

/// What these resources mean.
pub fn limits(resources: &LinuxResources) -> Vec<Limit> {
    let mut limits = Vec::new();
    let mut limit = |controller, file, value: String| limits.push(Limit { controller, file, value });
    let bytes = |value: i64| if value < 0 { "max".to_owned() } else { value.to_string() };
    if let Some(memory) = resources.memory() {
        if let Some(most) = memory.limit() {
            limit("memory", "memory.max", bytes(most));
        }
        if let Some(both) = memory.swap() {
            // Docker counts memory and swap together.
            let swap = if both < 0 { -1 } else { both.saturating_sub(memory.limit().unwrap_or_default()).max(0) };
            limit("memory", "memory.swap.max", bytes(swap));
        }
        if let Some(kept) = memory.reservation() {
            limit("memory", "memory.low", bytes(kept));
        }
    }
    if let Some(cpu) = resources.cpu() {
        if let Some(shares) = cpu.shares() {
            limit("cpu", "cpu.weight", weight_of_shares(shares).to_string());
        }
        if cpu.quota().is_some() || cpu.period().is_some() {
            let quota = cpu.quota().filter(|quota| *quota > 0).map_or("max".to_owned(), |quota| quota.to_string());
            limit("cpu", "cpu.max", format!("{quota} {}", cpu.period().unwrap_or(PERIOD)));
        }
        if let Some(cpus) = cpu.cpus() {
            limit("cpuset", "cpuset.cpus", cpus.clone());
        }
        if let Some(nodes) = cpu.mems() {
            limit("cpuset", "cpuset.mems", nodes.clone());
        }
    }
    if let Some(pids) = resources.pids() {
        limit("pids", "pids.max", bytes(if pids.limit() > 0 { pids.limit() } else { -1 }));
    }
    if let Some(io) = resources.block_io() {
        if let Some(weight) = io.weight() {
            limit("io", "io.weight", weight_of_blkio(weight).to_string());
        }
        for device in io.weight_device().iter().flatten() {
            if let Some(weight) = device.weight() {
                let value = format!("{}:{} {}", device.major(), device.minor(), weight_of_blkio(weight));
                limit("io", "io.weight", value);
            }
        }
        let throttles: [(&str, &Option<Vec<LinuxThrottleDevice>>); 4] = [
            ("rbps", io.throttle_read_bps_device()),
            ("wbps", io.throttle_write_bps_device()),
            ("riops", io.throttle_read_iops_device()),
            ("wiops", io.throttle_write_iops_device()),
        ];
        for (what, devices) in throttles {
            for device in devices.iter().flatten() {
                limit("io", "io.max", format!("{}:{} {what}={}", device.major(), device.minor(), device.rate()));
            }
        }
    }
    limits
}

/// The kernel's period of a quota, in microseconds.
const PERIOD: u64 = 100_000;

/// Shares of version 1 (2 to 262144, 1024 usual) as a weight (1 to 10000, 100 usual): the curve through these three
/// points that runc and crun have since 2025.
fn weight_of_shares(shares: u64) -> u64 {
    if shares <= 2 {
        return 1;
    }
    let log = (shares.min(262_144) as f64).log2();
    let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
    (10_f64.powf(exponent).ceil() as u64).clamp(1, 10_000)
}

/// A weight of version 1 (10 to 1000) as one of version 2 (1 to 10000).
fn weight_of_blkio(weight: u16) -> u64 {
    1 + (u64::from(weight.max(10)) - 10) * 9999 / 990
}

/// Sets limits in a group. Those of a controller that it does not have are passed over: who created the container was
/// told.
///
/// # Errors
/// The kernel refuses a value.
pub fn apply(group: &Path, limits: &[Limit]) -> io::Result<()> {
    let has = fs::read_to_string(group.join("cgroup.controllers")).unwrap_or_default();
    for limit in limits {
        if !has.split_whitespace().any(|controller| controller == limit.controller) {
            continue;
        }
        match fs::write(group.join(limit.file), &limit.value) {
            // A kernel without accounting of swap; the scheduler of the device has no weights.
            Err(err) if err.kind() == io::ErrorKind::NotFound => {}
            Err(err) => {
                return Err(io::Error::new(err.kind(), format!("cannot set {} to {}: {err}", limit.file, limit.value)));
            }
            Ok(()) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::runtime::{LinuxCpuBuilder, LinuxMemoryBuilder, LinuxPidsBuilder, LinuxResourcesBuilder};

    #[test]
    fn as_files() {
        let memory = LinuxMemoryBuilder::default().limit(64 << 20).swap(96 << 20).reservation(32 << 20);
        let cpu = LinuxCpuBuilder::default().shares(1024_u64).quota(50_000).cpus("0-1");
        let resources = LinuxResourcesBuilder::default()
            .memory(memory.build().expect("memory"))
            .cpu(cpu.build().expect("cpu"))
            .pids(LinuxPidsBuilder::default().limit(20).build().expect("pids"));
        let limits = limits(&resources.build().expect("resources"));
        let shown: Vec<String> = limits.iter().map(|limit| format!("{}={}", limit.file, limit.value)).collect();
        assert_eq!(
            shown,
            [
                "memory.max=67108864",
                "memory.swap.max=33554432",
                "memory.low=33554432",
                "cpu.weight=100",
                "cpu.max=50000 100000",
                "cpuset.cpus=0-1",
                "pids.max=20",
            ]
        );
    }

    #[test]
    fn weights() {
        for (shares, weight) in [(0, 1), (2, 1), (1024, 100), (262_144, 10_000), (u64::MAX, 10_000)] {
            assert_eq!(weight_of_shares(shares), weight, "{shares}");
        }
        assert_eq!([10, 1000, 0].map(weight_of_blkio), [1, 10_000, 1]);
    }
}
