//! What a creation refuses: bodies and texts, as dockerd 28.5 has them.

use serde_json::{Value, json};

/// Refused by dockerd with 400 (or, where the client is to blame and it says 500, by us with 400), in its words.
pub fn host_configs() -> Vec<(Value, &'static str)> {
    let bind = |more: Value| mount(json!({"Type": "bind", "Source": "/tmp", "Target": "/x"}), more);
    vec![
        // Modes.
        (json!({"IpcMode": "beer"}), "invalid IPC mode: beer"),
        (json!({"IpcMode": "Host"}), "invalid IPC mode: Host"),
        (json!({"IpcMode": "container:"}), "invalid IPC mode: container:"),
        (json!({"IpcMode": "container:nobody"}), "No such container: nobody"),
        (json!({"PidMode": "private"}), "invalid PID mode: private"),
        (json!({"PidMode": "container:"}), "invalid PID mode: container:"),
        (json!({"PidMode": "container:nobody"}), "No such container: nobody"),
        (json!({"UTSMode": "private"}), "invalid UTS mode: private"),
        (json!({"CgroupnsMode": "none"}), "invalid cgroup namespace mode: none"),
        (json!({"UsernsMode": "beer"}), "invalid user namespace mode: beer"),
        (json!({"Isolation": "process"}), "invalid isolation (process): linux only supports 'default'"),
        (json!({"Runtime": "nope"}), "unknown or invalid runtime name: nope"),
        (
            json!({"Annotations": {"": "x"}}),
            "invalid Annotations: the empty string is not permitted as an annotation key",
        ),
        // Restart policies.
        (
            json!({"RestartPolicy": {"Name": "beer"}}),
            "invalid restart policy: unknown policy 'beer'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'",
        ),
        (
            json!({"RestartPolicy": {"Name": "always", "MaximumRetryCount": 1}}),
            "invalid restart policy: maximum retry count can only be used with 'on-failure'",
        ),
        (
            json!({"RestartPolicy": {"MaximumRetryCount": 1}}),
            "invalid restart policy: maximum retry count can only be used with 'on-failure'",
        ),
        (
            json!({"RestartPolicy": {"Name": "no", "MaximumRetryCount": -1}}),
            "invalid restart policy: maximum retry count can only be used with 'on-failure' and cannot be negative",
        ),
        (
            json!({"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": -1}}),
            "invalid restart policy: maximum retry count cannot be negative",
        ),
        (
            json!({"AutoRemove": true, "RestartPolicy": {"Name": "always"}}),
            "can't create 'AutoRemove' container with restart policy",
        ),
        // Networks.
        (json!({"NetworkMode": "container:"}), "invalid network mode: invalid container format container:<name|id>"),
        (json!({"NetworkMode": "container"}), "invalid network mode: invalid container format container:<name|id>"),
        (json!({"NetworkMode": "container:nobody"}), "No such container: nobody"),
        (
            json!({"NetworkMode": "container:peer", "Links": ["peer"]}),
            "conflicting options: container type network can't be used with links. This would result in undefined behavior",
        ),
        (json!({"NetworkMode": "container:peer", "Dns": ["1.1.1.1"]}), "conflicting options: dns and the network mode"),
        (
            json!({"NetworkMode": "container:peer", "ExtraHosts": ["a:1.2.3.4"]}),
            "conflicting options: custom host-to-IP mapping and the network mode",
        ),
        (
            json!({"NetworkMode": "container:peer", "PortBindings": {"80/tcp": [{}]}}),
            "conflicting options: port publishing and the container type network mode",
        ),
        (
            json!({"NetworkMode": "container:peer", "PublishAllPorts": true}),
            "conflicting options: port publishing and the container type network mode",
        ),
        (
            json!({"NetworkMode": "host", "Links": ["peer"]}),
            "conflicting options: host type networking can't be used with links. This would result in undefined behavior",
        ),
        (json!({"Links": ["nobody:x"]}), "could not get container for nobody: No such container: nobody"),
        (json!({"Links": ["peer:a:b"]}), "bad format for links: peer:a:b"),
        (json!({"Links": [""]}), "empty string specified for links"),
        (
            json!({"Links": ["hosty:x"]}),
            "conflicting options: host type networking can't be used with links. This would result in undefined behavior",
        ),
        (json!({"ExtraHosts": ["a"]}), "bad format for add-host: \"a\""),
        (json!({"ExtraHosts": [":1.2.3.4"]}), "bad format for add-host: \":1.2.3.4\""),
        (json!({"ExtraHosts": ["a=1.2.3.4"]}), "bad format for add-host: \"a=1.2.3.4\""),
        (json!({"ExtraHosts": ["a:b"]}), "invalid IP address in add-host: \"b\""),
        (json!({"ExtraHosts": ["a:[::1]"]}), "invalid IP address in add-host: \"[::1]\""),
        (json!({"PortBindings": {"x/tcp": [{}]}}), "invalid port specification: \"x\""),
        (json!({"PortBindings": {"99999/tcp": [{}]}}), "invalid port specification: \"99999\""),
        (json!({"PortBindings": {"80-90/tcp": [{}]}}), "invalid port specification: \"80-90\""),
        (json!({"PortBindings": {"80/tcp": [{"HostPort": "x"}]}}), "invalid port specification: \"x\""),
        (json!({"PortBindings": {"80/tcp": [{"HostPort": "90-80"}]}}), "invalid port specification: \"90-80\""),
        (json!({"PortBindings": {"80/tcp": [{"HostPort": "-1"}]}}), "invalid port specification: \"-1\""),
        (
            json!({"Sysctls": {"net.ipv4.conf.eth0.forwarding": "1"}}),
            "interface specific sysctl setting \"net.ipv4.conf.eth0.forwarding\" must be supplied using driver option 'com.docker.network.endpoint.sysctls'",
        ),
        // Resources.
        (json!({"Memory": 1}), "Minimum memory limit allowed is 6MB"),
        (json!({"Memory": -1}), "Minimum memory limit allowed is 6MB"),
        (json!({"Memory": 6_291_455}), "Minimum memory limit allowed is 6MB"),
        (json!({"MemorySwap": 5}), "You should always set the Memory limit when using Memoryswap limit, see usage"),
        (
            json!({"Memory": 8_000_000, "MemorySwap": 7_000_000}),
            "Minimum memoryswap limit should be larger than memory limit, see usage",
        ),
        (json!({"MemoryReservation": 1}), "Minimum memory reservation allowed is 6MB"),
        (
            json!({"Memory": 8_000_000, "MemoryReservation": 9_000_000}),
            "Minimum memory limit can not be less than memory reservation limit, see usage",
        ),
        (json!({"MemorySwappiness": 101}), "Invalid value: 101, valid memory swappiness range is 0-100"),
        (
            json!({"NanoCpus": 1_000_000_000, "CpuPeriod": 1000}),
            "Conflicting options: Nano CPUs and CPU Period cannot both be set",
        ),
        (
            json!({"NanoCpus": 1_000_000_000, "CpuQuota": 1000}),
            "Conflicting options: Nano CPUs and CPU Quota cannot both be set",
        ),
        (json!({"CpuShares": -1}), "invalid CPU shares (-1): value must be a positive integer"),
        (
            json!({"CpuPeriod": 1}),
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        ),
        (json!({"CpuQuota": 1}), "CPU cfs quota can not be less than 1ms (i.e. 1000)"),
        (json!({"CpuRealtimePeriod": 5}), "kernel does not support CPU real-time scheduler"),
        (json!({"CpusetCpus": "x"}), "Invalid value x for cpuset cpus: invalid format: x"),
        (json!({"CpusetMems": "0-"}), "Invalid value 0- for cpuset mems: invalid format: 0-"),
        (json!({"BlkioWeight": 5}), "Range of blkio weight is from 10 to 1000"),
        (
            json!({"IOMaximumBandwidth": 5}),
            "invalid option: QoS maximum bandwidth configuration is not supported on linux",
        ),
        (json!({"IOMaximumIOps": 5}), "invalid option: QoS maximum IOPs configuration is not supported on linux"),
        (json!({"ShmSize": -1}), "SHM size can not be less than 0"),
        (json!({"OomScoreAdj": 1001}), "Invalid value 1001, range for oom score adj is [-1000, 1000]"),
        (json!({"StorageOpt": {"nope": "x"}}), "Unknown option nope"),
        (
            json!({"StorageOpt": {"size": "1G"}}),
            "--storage-opt is supported only for overlay over xfs with 'pquota' mount option",
        ),
        (json!({"Ulimits": [{"Name": "beer", "Soft": 1, "Hard": 1}]}), "invalid ulimit type: beer"),
        (
            json!({"Ulimits": [{"Name": "nofile", "Soft": 10, "Hard": 5}]}),
            "ulimit soft limit must be less than or equal to hard limit: 10 > 5",
        ),
        (
            json!({"Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "rel", "CgroupPermissions": "rwm"}]}),
            "invalid device path: 'rel' must be an absolute path",
        ),
        (
            json!({"Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/x", "CgroupPermissions": "xyz"}]}),
            "invalid device mode: xyz",
        ),
        (json!({"Sysctls": {"vm.swappiness": "1"}}), "sysctl \"vm.swappiness\" is not in a separate kernel namespace"),
        (
            json!({"Sysctls": {"net.core.somaxconn": "1"}, "NetworkMode": "host"}),
            "sysctl \"net.core.somaxconn\" is not in a separate kernel namespace",
        ),
        // Security.
        (json!({"CapAdd": ["NOPE"]}), "invalid CapAdd: unknown capability: \"CAP_NOPE\""),
        (json!({"CapDrop": ["cap_nope"]}), "invalid CapDrop: unknown capability: \"CAP_NOPE\""),
        (json!({"CapAdd": ["CAP_ALL"]}), "invalid CapAdd: unknown capability: \"CAP_ALL\""),
        (json!({"SecurityOpt": ["what"]}), "invalid --security-opt 1: \"what\""),
        (json!({"SecurityOpt": ["a=b"]}), "invalid --security-opt 2: \"a=b\""),
        (json!({"SecurityOpt": ["no-new-privileges=maybe"]}), "invalid --security-opt 2: \"no-new-privileges=maybe\""),
        // Logs.
        (json!({"LogConfig": {"Type": "nope"}}), "error looking up logging plugin nope: plugin \"nope\" not found"),
        (
            json!({"LogConfig": {"Type": "json-file", "Config": {"x": "y"}}}),
            "unknown log opt 'x' for json-file log driver",
        ),
        (json!({"LogConfig": {"Config": {"mode": "x"}}}), "logger: logging mode not supported: x"),
        (
            json!({"LogConfig": {"Config": {"max-buffer-size": "4m"}}}),
            "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
        ),
        (
            json!({"LogConfig": {"Config": {"mode": "non-blocking", "max-buffer-size": "x"}}}),
            "error parsing option max-buffer-size: invalid size: 'x'",
        ),
        (json!({"LogConfig": {"Config": {"cache-disabled": "x"}}}), "invalid value for option cache-disabled: x"),
        (json!({"LogConfig": {"Config": {"max-file": "0"}}}), "max-file cannot be less than 1"),
        (json!({"LogConfig": {"Config": {"max-size": "0"}}}), "max-size must be a positive number"),
        // Bind strings.
        (json!({"Binds": ["/a:/b:/c:/d"]}), "invalid volume specification: '/a:/b:/c:/d'"),
        (json!({"Binds": [""]}), "invalid volume specification: ''"),
        (json!({"Binds": [":/x"]}), "invalid volume specification: ':/x'"),
        (json!({"Binds": ["/tmp:ro"]}), "invalid volume specification: '/tmp:ro'"),
        (json!({"Binds": ["/tmp:/x:nonsense"]}), "invalid mode: nonsense"),
        (json!({"Binds": ["/tmp:/x:ro,rw"]}), "invalid mode: ro,rw"),
        (
            json!({"Binds": ["/a:b"]}),
            "invalid volume specification: '/a:b': invalid mount config for type \"bind\": invalid mount path: 'b' mount path must be absolute",
        ),
        (
            json!({"Binds": ["/tmp:/x/.."]}),
            "invalid volume specification: '/tmp:/x/..': invalid mount config for type \"bind\": invalid specification: destination can't be '/'",
        ),
        (
            json!({"Binds": ["/tmp:/x:nocopy"]}),
            "invalid volume specification: '/tmp:/x:nocopy': invalid mount config for type \"bind\": field VolumeOptions must not be specified",
        ),
        (
            json!({"Binds": ["vol:/x:rslave"]}),
            "invalid volume specification: 'vol:/x:rslave': invalid mount config for type \"volume\": field BindOptions must not be specified",
        ),
        (
            json!({"Binds": ["../x:/y"]}),
            "create ../x: \"../x\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path",
        ),
        (json!({"Binds": ["/tmp:/x", "/tmp:/x/"]}), "Duplicate mount point: /x"),
        (json!({"Binds": ["/tmp:/x"], "Tmpfs": {"/x": ""}}), "Duplicate mount point: /x"),
        (json!({"VolumesFrom": ["nobody"]}), "No such container: nobody"),
        (json!({"VolumesFrom": ["peer:beer"]}), "invalid mode: beer"),
        (json!({"VolumesFrom": ["peer:rslave"]}), "invalid mode: rslave"),
        (json!({"VolumesFrom": [""]}), "volumes-from specification cannot be an empty string"),
        // Mount objects.
        (bind(json!({"Type": "nonsense"})), "invalid mount config for type \"nonsense\": mount type unknown"),
        (bind(json!({"Type": ""})), "invalid mount config for type \"\": mount type unknown"),
        (bind(json!({"Type": "npipe"})), "invalid mount config for type \"npipe\": mount type unknown"),
        (bind(json!({"Target": ""})), "invalid mount config for type \"bind\": field Target must not be empty"),
        (
            bind(json!({"Target": "/.."})),
            "invalid mount config for type \"bind\": invalid specification: destination can't be '/'",
        ),
        (
            bind(json!({"Target": "x"})),
            "invalid mount config for type \"bind\": invalid mount path: 'x' mount path must be absolute",
        ),
        (bind(json!({"Source": ""})), "invalid mount config for type \"bind\": field Source must not be empty"),
        (
            bind(json!({"Source": "rel"})),
            "invalid mount config for type \"bind\": invalid mount path: 'rel' mount path must be absolute",
        ),
        (
            bind(json!({"Source": "/nope"})),
            "invalid mount config for type \"bind\": bind source path does not exist: /nope",
        ),
        (
            bind(json!({"BindOptions": {"Propagation": "beer"}})),
            "invalid mount config for type \"bind\": invalid propagation mode: beer",
        ),
        (bind(json!({"VolumeOptions": {}})), "VolumeOptions must not be specified on mount type \"bind\""),
        (bind(json!({"TmpfsOptions": {}})), "TmpfsOptions must not be specified on mount type \"bind\""),
        (
            bind(json!({"ImageOptions": {}})),
            "invalid mount config for type \"bind\": field ImageOptions must not be specified",
        ),
        (bind(json!({"Type": "tmpfs"})), "invalid mount config for type \"tmpfs\": field Source must not be specified"),
        (
            mount(json!({"Type": "tmpfs", "Target": "/x"}), json!({"TmpfsOptions": {"Options": [["beer"]]}})),
            "invalid mount config for type \"tmpfs\": invalid option: beer",
        ),
        (
            mount(json!({"Type": "tmpfs", "Target": "/x"}), json!({"TmpfsOptions": {"Options": [[]]}})),
            "invalid mount config for type \"tmpfs\": invalid option array length",
        ),
        (
            mount(json!({"Type": "volume", "Target": "/x"}), json!({"ReadOnly": true})),
            "invalid mount config for type \"volume\": must not set ReadOnly mode when using anonymous volumes",
        ),
        (
            mount(json!({"Type": "volume", "Target": "/x"}), json!({"VolumeOptions": {"Subpath": "a"}})),
            "invalid mount config for type \"volume\": must not set Subpath when using anonymous volumes",
        ),
        (
            mount(
                json!({"Type": "volume", "Source": "v1", "Target": "/x"}),
                json!({"VolumeOptions": {"Subpath": "../a"}}),
            ),
            "invalid mount config for type \"volume\": subpath must be a relative path within the volume",
        ),
        (
            mount(json!({"Type": "image", "Target": "/x"}), json!({})),
            "invalid mount config for type \"image\": field Source must not be empty",
        ),
        (json!({"Tmpfs": {"rel": ""}}), "invalid mount path: 'rel' mount path must be absolute"),
        (json!({"Tmpfs": {"/": ""}}), "invalid specification: destination can't be '/'"),
        (json!({"Tmpfs": {"/a/..": ""}}), "invalid specification: destination can't be '/'"),
    ]
}

/// One mount object: `base` with some members replaced.
pub fn mount(mut base: Value, more: Value) -> Value {
    base.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"Mounts": [base]})
}

/// The portable half.
pub fn configs() -> Vec<(Value, &'static str)> {
    let networks = |endpoints: Value| json!({"Image": "busybox", "NetworkingConfig": {"EndpointsConfig": endpoints}});
    let busybox = |more: Value| {
        let mut body = json!({"Image": "busybox"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    vec![
        (json!({}), "config cannot be empty in order to create a container"),
        (json!({"HostConfig": {}}), "config cannot be empty in order to create a container"),
        (
            busybox(json!({"WorkingDir": "rel"})),
            "the working directory 'rel' is invalid, it needs to be an absolute path",
        ),
        (busybox(json!({"StopSignal": "NOPE"})), "invalid signal: NOPE"),
        (busybox(json!({"StopSignal": "RTMAX-20"})), "invalid signal: RTMAX-20"),
        (busybox(json!({"Env": [""]})), "invalid environment variable: "),
        (busybox(json!({"Env": ["=x"]})), "invalid environment variable: =x"),
        (busybox(json!({"Healthcheck": {"Interval": 1}})), "Interval in Healthcheck cannot be less than 1ms"),
        (busybox(json!({"Healthcheck": {"Timeout": 999_999}})), "Timeout in Healthcheck cannot be less than 1ms"),
        (busybox(json!({"Healthcheck": {"Retries": -1}})), "Retries in Healthcheck cannot be negative"),
        (busybox(json!({"Healthcheck": {"StartPeriod": 5}})), "StartPeriod in Healthcheck cannot be less than 1ms"),
        (
            busybox(json!({"Healthcheck": {"StartInterval": -5}})),
            "StartInterval in Healthcheck cannot be less than 1ms",
        ),
        (
            busybox(json!({"Hostname": "h", "HostConfig": {"UTSMode": "host"}})),
            "conflicting options: hostname and the UTS mode",
        ),
        (
            busybox(json!({"Hostname": "h", "HostConfig": {"NetworkMode": "container:peer"}})),
            "conflicting options: hostname and the network mode",
        ),
        (
            busybox(json!({"ExposedPorts": {"80/tcp": {}}, "HostConfig": {"NetworkMode": "container:peer"}})),
            "conflicting options: port exposing and the container type network mode",
        ),
        (busybox(json!({"MacAddress": "nonsense"})), "invalid config for network bridge: invalid MAC address nonsense"),
        (networks(json!({"a": null})), "invalid config for network a: EndpointsConfig is nil"),
        (
            networks(json!({"bridge": {"IPAMConfig": {"IPv4Address": "1.2.3.4"}}})),
            "invalid config for network bridge: invalid endpoint settings:\n* user specified IP address is supported on user defined networks only\n* user specified IP address is supported only when connecting to networks with user configured subnets",
        ),
        (
            networks(json!({"u": {"IPAMConfig": {"IPv4Address": "x", "IPv6Address": "1.2.3.4"}}})),
            "invalid config for network u: invalid endpoint settings:\n* invalid IPv4 address: x\n* invalid IPv6 address: 1.2.3.4",
        ),
        (
            networks(json!({"bridge": {"Aliases": ["x"]}})),
            "invalid config for network bridge: invalid endpoint settings:\nnetwork-scoped alias is supported only for containers in user defined networks",
        ),
        // The first of several faults is dockerd's first.
        (
            busybox(json!({"WorkingDir": "rel", "HostConfig": {"ShmSize": -1, "IpcMode": "beer"}})),
            "the working directory 'rel' is invalid, it needs to be an absolute path",
        ),
        (busybox(json!({"HostConfig": {"ShmSize": -1, "IpcMode": "beer"}})), "invalid IPC mode: beer"),
        (
            busybox(json!({"HostConfig": {"Memory": 1, "CapAdd": ["x"], "Binds": [""]}})),
            "invalid CapAdd: unknown capability: \"CAP_X\"",
        ),
        (json!({"Image": "UPPER"}), "invalid reference format: repository name (library/UPPER) must be lowercase"),
        (json!({"Image": "a b"}), "invalid reference format"),
    ]
}
