//! kube-proxy's own configuration, `KubeProxyConfiguration` v1alpha1, whole.
//!
//! Its fields and defaults are those of the API; an empty value means the default, as there.

mod become_settings;
mod fields;
mod validate;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{GoDuration, Invalid, Proxy, Settings, settings::typed};

pub use self::fields::{Fate, Field};

pub(super) const KIND: &str = "KubeProxyConfiguration";
pub(super) const API_VERSION: &str = "kubeproxy.config.k8s.io/v1alpha1";

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct KubeProxyConfiguration {
    api_version: String,
    kind: String,
    feature_gates: BTreeMap<String, bool>,
    client_connection: ClientConnection,
    logging: Logging,
    hostname_override: String,
    bind_address: String,
    healthz_bind_address: String,
    metrics_bind_address: String,
    bind_address_hard_fail: bool,
    enable_profiling: bool,
    show_hidden_metrics_for_version: String,
    mode: String,
    iptables: Iptables,
    ipvs: Ipvs,
    nftables: Nftables,
    winkernel: Winkernel,
    detect_local_mode: String,
    detect_local: DetectLocal,
    #[serde(rename = "clusterCIDR")]
    cluster_cidr: String,
    node_port_addresses: Vec<String>,
    oom_score_adj: Option<i32>,
    conntrack: Conntrack,
    config_sync_period: GoDuration,
    port_range: String,
    windows_run_as_service: bool,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct ClientConnection {
    kubeconfig: String,
    accept_content_types: String,
    content_type: String,
    qps: f32,
    burst: i32,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Logging {
    format: String,
    flush_frequency: FlushFrequency,
    verbosity: u32,
    vmodule: Vec<VModule>,
    options: LoggingOptions,
}

/// Text, or nanoseconds.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(untagged)]
enum FlushFrequency {
    Text(GoDuration),
    Nanoseconds(i64),
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct VModule {
    file_pattern: String,
    verbosity: u32,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct LoggingOptions {
    text: OutputRouting,
    json: OutputRouting,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct OutputRouting {
    split_stream: bool,
    /// A quantity: text or a number.
    info_buffer_size: Value,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Iptables {
    masquerade_bit: Option<i32>,
    masquerade_all: bool,
    localhost_node_ports: Option<bool>,
    #[serde(rename = "snatNodeInternalIP")]
    snat_node_internal_ip: bool,
    sync_period: GoDuration,
    min_sync_period: GoDuration,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Ipvs {
    sync_period: GoDuration,
    min_sync_period: GoDuration,
    scheduler: String,
    #[serde(rename = "excludeCIDRs")]
    exclude_cidrs: Vec<String>,
    #[serde(rename = "strictARP")]
    strict_arp: bool,
    tcp_timeout: GoDuration,
    tcp_fin_timeout: GoDuration,
    udp_timeout: GoDuration,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Nftables {
    masquerade_bit: Option<i32>,
    masquerade_all: bool,
    sync_period: GoDuration,
    min_sync_period: GoDuration,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Winkernel {
    network_name: String,
    source_vip: String,
    #[serde(rename = "enableDSR")]
    enable_dsr: bool,
    root_hns_endpoint_name: String,
    forward_health_check_vip: bool,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct DetectLocal {
    bridge_interface: String,
    interface_name_prefix: String,
    #[serde(rename = "clusterCIDRs")]
    cluster_cidrs: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Conntrack {
    max_per_core: Option<i32>,
    min: Option<i32>,
    tcp_established_timeout: Option<GoDuration>,
    tcp_close_wait_timeout: Option<GoDuration>,
    tcp_be_liberal: bool,
    udp_timeout: GoDuration,
    udp_stream_timeout: GoDuration,
}

/// What a KubeProxyConfiguration says to Switchboard.
pub(super) struct Read {
    pub(super) settings: Settings,
    /// What became of each field that says something.
    pub(super) fields: Vec<Field>,
}

/// `value` is without nulls.
pub(super) fn read(value: &Value) -> anyhow::Result<Read> {
    let config: KubeProxyConfiguration = typed(value).context("a KubeProxyConfiguration")?;
    if config.api_version != API_VERSION {
        bail!("apiVersion: {:?} is not {API_VERSION}", config.api_version);
    }
    let settings = config.settings();
    let mut problems = config.problems();
    if let Err(invalid) = Proxy::new(&settings.proxy) {
        let mode = config.mode.as_str();
        problems.extend(invalid.problems.into_iter().map(|mut problem| {
            problem.field = fields::named(problem.field, mode);
            problem
        }));
    }
    if !problems.is_empty() {
        return Err(Invalid { problems }.into());
    }
    Ok(Read {
        fields: fields::fates(value, &config.mode)?,
        settings,
    })
}

// === impl FlushFrequency ===

impl Default for FlushFrequency {
    fn default() -> Self {
        Self::Nanoseconds(0)
    }
}
