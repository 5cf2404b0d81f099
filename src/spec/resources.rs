//! Limits, as the OCI specification has them.

use oci_spec::runtime::{
    LinuxBlockIo, LinuxBlockIoBuilder, LinuxCpu, LinuxCpuBuilder, LinuxMemory, LinuxMemoryBuilder, LinuxPidsBuilder,
    LinuxResources, LinuxResourcesBuilder, LinuxThrottleDevice, LinuxThrottleDeviceBuilder, LinuxWeightDevice,
    LinuxWeightDeviceBuilder,
};

use super::Error;
use crate::model::host_config::{HostConfig, ThrottleDevice};

/// A device's numbers, by its path on the host.
pub type Numbers<'a> = &'a dyn Fn(&str) -> Option<(i64, i64)>;

/// The period of a quota that comes from a number of processors, in microseconds: dockerd's.
const PERIOD: u64 = 100_000;

/// The limits that a container asks for; none if it asks for none.
///
/// # Errors
/// A block device that is none.
pub fn resources(host: &HostConfig, numbers: Numbers<'_>) -> Result<Option<LinuxResources>, Error> {
    let (memory, cpu, io) = (memory(host), cpu(host), block_io(host, numbers)?);
    let pids = host.pids_limit.filter(|limit| *limit > 0);
    if memory.is_none() && cpu.is_none() && io.is_none() && pids.is_none() {
        return Ok(None);
    }
    let mut all = LinuxResourcesBuilder::default().build().expect("nothing is required");
    all.set_devices(None);
    all.set_memory(memory);
    all.set_cpu(cpu);
    all.set_block_io(io);
    all.set_pids(pids.map(|limit| LinuxPidsBuilder::default().limit(limit).build().expect("the limit is given")));
    Ok(Some(all))
}

fn memory(host: &HostConfig) -> Option<LinuxMemory> {
    if host.memory == 0 && host.memory_reservation == 0 {
        return None;
    }
    let mut memory = LinuxMemoryBuilder::default().build().expect("nothing is required");
    if host.memory > 0 {
        memory.set_limit(Some(host.memory));
        // Unless it is said otherwise, as much swap as memory.
        let both = if host.memory_swap == 0 { host.memory.saturating_mul(2) } else { host.memory_swap };
        memory.set_swap(Some(both));
    }
    memory.set_reservation(Some(host.memory_reservation).filter(|kept| *kept > 0));
    Some(memory)
}

fn cpu(host: &HostConfig) -> Option<LinuxCpu> {
    let by_number = host.nano_cpus > 0;
    let quota = if by_number { host.nano_cpus / 10_000 } else { host.cpu_quota };
    let period = if by_number { PERIOD } else { u64::try_from(host.cpu_period).unwrap_or_default() };
    let text = |text: &String| (!text.is_empty()).then(|| text.clone());
    let mut cpu = LinuxCpuBuilder::default().build().expect("nothing is required");
    cpu.set_shares(u64::try_from(host.cpu_shares).ok().filter(|shares| *shares > 0));
    cpu.set_quota(Some(quota).filter(|quota| *quota != 0));
    cpu.set_period(Some(period).filter(|period| *period > 0));
    cpu.set_cpus(text(&host.cpuset_cpus));
    cpu.set_mems(text(&host.cpuset_mems));
    let asked = cpu.shares().is_some() || cpu.quota().is_some() || cpu.period().is_some();
    (asked || cpu.cpus().is_some() || cpu.mems().is_some()).then_some(cpu)
}

fn block_io(host: &HostConfig, numbers: Numbers<'_>) -> Result<Option<LinuxBlockIo>, Error> {
    let of = |path: &str| numbers(path).ok_or_else(|| Error(format!("{path} is not a block device")));
    let weights = host.blkio_weight_device.iter().flatten().map(|device| -> Result<LinuxWeightDevice, Error> {
        let (major, minor) = of(&device.path)?;
        let built = LinuxWeightDeviceBuilder::default().major(major).minor(minor).weight(device.weight).build();
        Ok(built.expect("every field is given"))
    });
    let weights = weights.collect::<Result<Vec<_>, _>>()?;
    let throttles = |devices: &Option<Vec<ThrottleDevice>>| -> Result<Option<Vec<LinuxThrottleDevice>>, Error> {
        let all = devices.iter().flatten().map(|device| {
            let (major, minor) = of(&device.path)?;
            let built = LinuxThrottleDeviceBuilder::default().major(major).minor(minor).rate(device.rate).build();
            Ok(built.expect("every field is given"))
        });
        let all = all.collect::<Result<Vec<_>, Error>>()?;
        Ok((!all.is_empty()).then_some(all))
    };
    let mut io = LinuxBlockIoBuilder::default().build().expect("nothing is required");
    io.set_weight(Some(host.blkio_weight).filter(|weight| *weight > 0));
    io.set_weight_device((!weights.is_empty()).then_some(weights));
    io.set_throttle_read_bps_device(throttles(&host.blkio_device_read_bps)?);
    io.set_throttle_write_bps_device(throttles(&host.blkio_device_write_bps)?);
    io.set_throttle_read_iops_device(throttles(&host.blkio_device_read_iops)?);
    io.set_throttle_write_iops_device(throttles(&host.blkio_device_write_iops)?);
    let none = io == LinuxBlockIoBuilder::default().build().expect("nothing is required");
    Ok((!none).then_some(io))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_and_no_more() {
        let none = |_: &str| None;
        assert_eq!(resources(&HostConfig::default(), &none).expect("nothing"), None);
        let host =
            HostConfig { memory: 64 << 20, nano_cpus: 1_500_000_000, pids_limit: Some(10), ..HostConfig::default() };
        let all = resources(&host, &none).expect("limits").expect("some");
        let memory = all.memory().as_ref().expect("memory");
        assert_eq!((memory.limit(), memory.swap()), (Some(64 << 20), Some(128 << 20)));
        let cpu = all.cpu().as_ref().expect("cpu");
        assert_eq!((cpu.quota(), cpu.period(), cpu.shares()), (Some(150_000), Some(100_000), None));
        assert_eq!(all.pids().as_ref().expect("pids").limit(), 10);
        let rate = ThrottleDevice { path: "/dev/null".to_owned(), rate: 1 };
        let host = HostConfig { blkio_device_read_bps: Some(vec![rate]), ..HostConfig::default() };
        assert!(resources(&host, &none).is_err());
        assert!(resources(&host, &|_| Some((8, 0))).expect("limits").is_some_and(|all| all.block_io().is_some()));
    }
}
