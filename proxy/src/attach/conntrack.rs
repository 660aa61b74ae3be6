//! Sets up the kernel's connection tracking, as kube-proxy does when it starts (services.md 117,
//! 118).
//!
//! Our flows are in maps of our own; the rest of the node's traffic is tracked by the kernel, whose
//! defaults are too small for a node of Kubernetes. The hash is resized by its sysctl and not by
//! the module's parameter below /sys, which is the same number, so that /proc/sys is all that must
//! be writable. In a network namespace other than the host's some of these are read only: there
//! they are the host's to set.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, ErrorKind},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::Duration,
};

use rustix::thread::sched_getaffinity;
use tracing::{debug, info};

use crate::config::proxy::Conntrack;

/// Below /proc/sys.
const FOLDER: &str = "net/netfilter";
const MAX: &str = "nf_conntrack_max";
const BUCKETS: &str = "nf_conntrack_buckets";
const TCP_ESTABLISHED: &str = "nf_conntrack_tcp_timeout_established";
const TCP_CLOSE_WAIT: &str = "nf_conntrack_tcp_timeout_close_wait";
const TCP_BE_LIBERAL: &str = "nf_conntrack_tcp_be_liberal";
const UDP: &str = "nf_conntrack_udp_timeout";
const UDP_STREAM: &str = "nf_conntrack_udp_timeout_stream";

const NAMES: [&str; 7] = [
    MAX,
    BUCKETS,
    TCP_ESTABLISHED,
    TCP_CLOSE_WAIT,
    TCP_BE_LIBERAL,
    UDP,
    UDP_STREAM,
];

/// What the cores may ask for; a minimum that is configured may be more.
const SCALED_MAX: u64 = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("count the cores")]
    Cores(#[source] io::Error),
    #[error("read the sysctl net.netfilter.{name}")]
    Read {
        name: &'static str,
        source: io::Error,
    },
    #[error("set the sysctl net.netfilter.{name} to {value}")]
    Write {
        name: &'static str,
        value: u64,
        source: io::Error,
    },
}

/// Writes what differs. `proc_sys` is /proc/sys, or where a container has the host's.
///
/// A sysctl that does not exist is left out: without the kernel's module nothing is tracked.
pub fn apply(proc_sys: &Path, settings: &Conntrack) -> Result<(), Error> {
    let folder = proc_sys.join(FOLDER);
    let mut current = BTreeMap::new();
    for name in NAMES {
        if let Some(value) = read(&folder.join(name), name)? {
            current.insert(name, value);
        }
    }
    let cores = sched_getaffinity(None)
        .map_err(|errno| Error::Cores(errno.into()))?
        .count();
    for (name, value) in differences(settings, u64::from(cores), &current) {
        fs::write(folder.join(name), value.to_string()).map_err(|source| Error::Write {
            name,
            value,
            source,
        })?;
        info!(sysctl = name, value, before = current[name], "set");
    }
    Ok(())
}

/// The value, unless there is none that could be set.
fn read(path: &Path, name: &'static str) -> Result<Option<u64>, Error> {
    let failed = |source| Error::Read { name, source };
    let mode = match fs::metadata(path) {
        Ok(metadata) => metadata.permissions().mode(),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            debug!(sysctl = name, "not there: nothing to set");
            return Ok(None);
        }
        Err(error) => return Err(failed(error)),
    };
    if mode & 0o222 == 0 {
        debug!(sysctl = name, "not ours to set");
        return Ok(None);
    }
    let text = fs::read_to_string(path).map_err(failed)?;
    let value = text.trim().parse();
    value
        .map(Some)
        .map_err(|error| failed(io::Error::new(ErrorKind::InvalidData, error)))
}

/// What must be written so that the kernel's values become those of the settings.
fn differences(
    settings: &Conntrack,
    cores: u64,
    current: &BTreeMap<&'static str, u64>,
) -> Vec<(&'static str, u64)> {
    let mut wanted = Vec::new();
    if let Some(max) = max(settings, cores) {
        wanted.push((MAX, max));
        // Longer chains than four entries make every look-up slow; shorter ones do no harm.
        let buckets = max / 4;
        if current.get(BUCKETS).is_some_and(|now| *now < buckets) {
            wanted.push((BUCKETS, buckets));
        }
    }
    for (name, timeout) in [
        (TCP_ESTABLISHED, settings.tcp_established),
        (TCP_CLOSE_WAIT, settings.tcp_close_wait),
        (UDP, settings.udp_timeout),
        (UDP_STREAM, settings.udp_stream_timeout),
    ] {
        if timeout > Duration::ZERO {
            // A part of a second would be none at all.
            wanted.push((name, timeout.as_secs().max(1)));
        }
    }
    if settings.tcp_be_liberal {
        wanted.push((TCP_BE_LIBERAL, 1));
    }
    wanted.retain(|(name, value)| current.get(name).is_some_and(|now| now != value));
    wanted
}

/// How many flows the kernel may track; `None` leaves that as it is.
fn max(settings: &Conntrack, cores: u64) -> Option<u64> {
    let scaled = u64::from(settings.max_per_core) * cores;
    match scaled {
        0 => None,
        _ if scaled > SCALED_MAX => Some(SCALED_MAX),
        _ => Some(scaled.max(settings.min.into())),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use tempfile::TempDir;

    use super::*;
    use crate::attach::testing::Namespace;

    /// Leaves everything as it is.
    const NOTHING: Conntrack = Conntrack {
        max_per_core: 0,
        min: 0,
        tcp_established: Duration::ZERO,
        tcp_close_wait: Duration::ZERO,
        tcp_be_liberal: false,
        udp_timeout: Duration::ZERO,
        udp_stream_timeout: Duration::ZERO,
    };

    fn kernel() -> BTreeMap<&'static str, u64> {
        BTreeMap::from([
            (MAX, 65_536),
            (BUCKETS, 65_536),
            (TCP_ESTABLISHED, 432_000),
            (TCP_CLOSE_WAIT, 60),
            (TCP_BE_LIBERAL, 0),
            (UDP, 30),
            (UDP_STREAM, 120),
        ])
    }

    #[rstest]
    #[case::the_minimum(32_768, 131_072, 2, &[(MAX, 131_072)])]
    #[case::by_cores(32_768, 131_072, 8, &[(MAX, 262_144)])]
    #[case::a_hash_that_is_too_small(32_768, 131_072, 16, &[(MAX, 524_288), (BUCKETS, 131_072)])]
    #[case::the_maximum(32_768, 131_072, 33, &[(MAX, 1_048_576), (BUCKETS, 262_144)])]
    #[case::the_same_value(32_768, 0, 2, &[])]
    #[case::a_smaller_value(1_000, 0, 2, &[(MAX, 2_000)])]
    #[case::none_for_a_core_ignores_the_minimum(0, 131_072, 8, &[])]
    fn the_table_grows_with_the_cores_117(
        #[case] max_per_core: u32,
        #[case] min: u32,
        #[case] cores: u64,
        #[case] writes: &[(&str, u64)],
    ) {
        let settings = Conntrack {
            max_per_core,
            min,
            ..NOTHING
        };
        assert_eq!(differences(&settings, cores, &kernel()), writes);
    }

    #[test]
    fn timeouts_are_written_where_they_differ_118() {
        let defaults = Conntrack {
            max_per_core: 0,
            ..Conntrack::default()
        };
        let writes = [(TCP_ESTABLISHED, 86_400), (TCP_CLOSE_WAIT, 3_600)];
        assert_eq!(differences(&defaults, 2, &kernel()), writes);

        let second = Duration::from_secs(1);
        let all = Conntrack {
            tcp_established: 432_000 * second,
            tcp_be_liberal: true,
            udp_timeout: 40 * second,
            udp_stream_timeout: 120 * second,
            ..NOTHING
        };
        let writes = [(UDP, 40), (TCP_BE_LIBERAL, 1)];
        assert_eq!(differences(&all, 2, &kernel()), writes);
    }

    #[test]
    fn what_is_liberal_already_stays_so_118() {
        let mut kernel = kernel();
        kernel.insert(TCP_BE_LIBERAL, 1);
        assert_eq!(differences(&NOTHING, 2, &kernel), []);
    }

    /// A stand-in for /proc/sys.
    fn proc_sys(values: &BTreeMap<&'static str, u64>) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join(FOLDER)).unwrap();
        for (name, value) in values {
            fs::write(dir.path().join(FOLDER).join(name), format!("{value}\n")).unwrap();
        }
        dir
    }

    fn value(dir: &TempDir, name: &str) -> String {
        fs::read_to_string(dir.path().join(FOLDER).join(name)).unwrap()
    }

    #[test]
    fn what_differs_is_written_and_nothing_else() {
        let dir = proc_sys(&kernel());
        apply(dir.path(), &Conntrack::default()).unwrap();
        assert_eq!(value(&dir, TCP_CLOSE_WAIT), "3600");
        assert_eq!(value(&dir, UDP), "30\n", "it is not even opened");
    }

    #[test]
    fn without_the_module_there_is_nothing_to_set() {
        let dir = tempfile::tempdir().unwrap();
        apply(dir.path(), &Conntrack::default()).unwrap();
        assert!(!dir.path().join(FOLDER).exists());
    }

    #[test]
    fn what_is_read_only_in_this_namespace_is_the_hosts() {
        let dir = proc_sys(&kernel());
        for name in [MAX, BUCKETS] {
            let path = dir.path().join(FOLDER).join(name);
            fs::set_permissions(path, fs::Permissions::from_mode(0o444)).unwrap();
        }
        apply(dir.path(), &Conntrack::default()).unwrap();
        assert_eq!(value(&dir, MAX), "65536\n");
        assert_eq!(value(&dir, TCP_CLOSE_WAIT), "3600");
    }

    #[test]
    fn a_failure_names_the_sysctl_118() {
        let dir = proc_sys(&kernel());
        let path = dir.path().join(FOLDER).join(TCP_CLOSE_WAIT);
        fs::write(&path, "soon").unwrap();
        let error = apply(dir.path(), &Conntrack::default()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("read the sysctl net.netfilter.{TCP_CLOSE_WAIT}")
        );
    }

    #[test]
    fn the_kernel_takes_the_timeouts_and_keeps_what_is_the_hosts_118() {
        let Some(namespace) = Namespace::new() else {
            return;
        };
        namespace.enter(|| {
            let proc_sys = Path::new("/proc/sys");
            let max = || fs::read_to_string(proc_sys.join(FOLDER).join(MAX)).ok();
            let before = max();
            apply(proc_sys, &Conntrack::default()).unwrap();
            assert_eq!(max(), before);
            // Not there where the kernel has no connection tracking.
            let close_wait = fs::read_to_string(proc_sys.join(FOLDER).join(TCP_CLOSE_WAIT));
            assert!(close_wait.is_err() || close_wait.unwrap() == "3600\n");
        });
    }
}
