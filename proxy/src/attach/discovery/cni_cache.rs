//! Which pod has which address, according to the results that container runtimes keep.
//!
//! libcni writes a file for each interface of a sandbox once the plugin has answered, and removes
//! it with the sandbox (<https://github.com/containernetworking/cni/blob/main/libcni/api.go>,
//! `cachedInfo`). The files are a help, never a need: a directory that is missing and a file that
//! cannot be read claim nothing.

use std::{
    collections::BTreeMap,
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use ipnet::IpNet;
use serde::Deserialize;
use tracing::debug;

use super::Claim;
use crate::model::ObjectKey;

/// Where libcni keeps its results.
pub const DEFAULT_DIRS: [&str; 2] = ["/var/lib/cni/results", "/var/lib/cni/cache/results"];
/// A result takes a few kilobytes.
const FILE_LEN_MAX: u64 = 1 << 20;

/// The pods that the cache names, by what it says they have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CniClaims {
    pub by_addr: BTreeMap<IpAddr, Claim>,
    /// By the name of the host's end of the device.
    pub by_ifname: BTreeMap<String, Claim>,
}

/// The files, each read again only when it has changed.
#[derive(Debug, Default)]
pub struct CniCache {
    dirs: Vec<PathBuf>,
    files: BTreeMap<PathBuf, File>,
}

#[derive(Debug)]
struct File {
    modified: SystemTime,
    len: u64,
    result: Option<SandboxResult>,
}

/// What one file says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct SandboxResult {
    claim: Claim,
    addrs: Vec<IpAddr>,
    host_ifnames: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CachedInfo {
    #[serde(default)]
    cni_args: Option<Vec<(String, String)>>,
    result: PluginResult,
}

/// The result of a plugin, of any version of the specification.
#[derive(Deserialize)]
struct PluginResult {
    #[serde(default)]
    interfaces: Option<Vec<Interface>>,
    #[serde(default)]
    ips: Option<Vec<IpConfig>>,
    ip4: Option<OldIpConfig>,
    ip6: Option<OldIpConfig>,
}

#[derive(Deserialize)]
struct Interface {
    name: String,
    /// Empty for devices of the host.
    #[serde(default)]
    sandbox: String,
}

#[derive(Deserialize)]
struct IpConfig {
    address: String,
}

/// Before version 0.3 of the specification.
#[derive(Deserialize)]
struct OldIpConfig {
    ip: String,
}

// === impl CniCache ===

impl CniCache {
    pub fn new(dirs: impl IntoIterator<Item = impl Into<PathBuf>>) -> Self {
        Self {
            dirs: dirs.into_iter().map(Into::into).collect(),
            files: BTreeMap::new(),
        }
    }

    /// Looks at the files again, and says what they claim. The newest wins: a sandbox that ended
    /// without notice leaves its file behind.
    pub fn claims(&mut self) -> CniClaims {
        self.refresh();
        let mut files: Vec<_> = self.files.values().collect();
        files.sort_by_key(|file| file.modified);
        let mut claims = CniClaims::default();
        for result in files.into_iter().filter_map(|file| file.result.as_ref()) {
            let claim = || result.claim.clone();
            claims
                .by_addr
                .extend(result.addrs.iter().map(|addr| (*addr, claim())));
            let ifnames = result.host_ifnames.iter().cloned();
            claims
                .by_ifname
                .extend(ifnames.map(|ifname| (ifname, claim())));
        }
        claims
    }

    fn refresh(&mut self) {
        let mut earlier = std::mem::take(&mut self.files);
        for path in self.dirs.iter().flat_map(|dir| list(dir)) {
            let Ok(metadata) = fs::metadata(&path) else {
                continue;
            };
            let Ok(modified) = metadata.modified() else {
                continue;
            };
            let len = metadata.len();
            if !metadata.is_file() || len > FILE_LEN_MAX {
                continue;
            }
            let unchanged = earlier
                .remove(&path)
                .filter(|file| file.modified == modified && file.len == len);
            let file = unchanged.unwrap_or_else(|| File {
                modified,
                len,
                result: read_result(&path),
            });
            self.files.insert(path, file);
        }
    }
}

fn list(dir: &Path) -> Vec<PathBuf> {
    match fs::read_dir(dir) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                debug!(dir = %dir.display(), %error, "cannot list cni results");
            }
            Vec::new()
        }
    }
}

fn read_result(path: &Path) -> Option<SandboxResult> {
    let text = fs::read(path).ok()?;
    let result = parse_result(&text);
    if let Err(error) = &result {
        debug!(file = %path.display(), %error, "cannot read a cni result");
    }
    result.ok().flatten()
}

/// `None` if the sandbox is not a pod's.
fn parse_result(text: &[u8]) -> serde_json::Result<Option<SandboxResult>> {
    let CachedInfo { cni_args, result } = serde_json::from_slice(text)?;
    let args: BTreeMap<_, _> = cni_args.into_iter().flatten().collect();
    let arg = |name| args.get(name).map(|value| Arc::<str>::from(value.as_str()));
    let (Some(namespace), Some(name)) = (arg("K8S_POD_NAMESPACE"), arg("K8S_POD_NAME")) else {
        return Ok(None);
    };
    let claim = Claim {
        pod: ObjectKey { namespace, name },
        uid: arg("K8S_POD_UID"),
    };
    let ips = result
        .ips
        .into_iter()
        .flatten()
        .map(|config| config.address);
    let old = [result.ip4, result.ip6]
        .into_iter()
        .flatten()
        .map(|config| config.ip);
    let nets = ips.chain(old).filter_map(|text| text.parse::<IpNet>().ok());
    let addrs = nets.map(|net| net.addr()).collect();
    let interfaces = result.interfaces.into_iter().flatten();
    let host = interfaces.filter(|interface| interface.sandbox.is_empty());
    let host_ifnames = host.map(|interface| interface.name).collect();
    Ok(Some(SandboxResult {
        claim,
        addrs,
        host_ifnames,
    }))
}
