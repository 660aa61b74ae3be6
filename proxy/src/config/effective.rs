//! A decided configuration written back: as settings, and as kube-proxy's configuration.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    Dialect, FeatureGates, GoDuration, ProxySettings,
    proxy::{DetectMode, EXTERNAL_IPS_GATE, NodePortAddresses, Proxy},
    settings::{fields_of, typed},
};

// === impl ProxySettings ===

impl From<&Proxy> for ProxySettings {
    /// Every setting, also those that nobody has set.
    fn from(proxy: &Proxy) -> Self {
        let (detect_local_mode, bridge, prefix) = detect_mode(&proxy.detect_local.mode);
        let conntrack = &proxy.conntrack;
        let count = |count: u32| Some(i32::try_from(count).unwrap_or(i32::MAX));
        let bind = |bind: Option<_>| Some(bind.map(text).unwrap_or_default());
        Self {
            proxy_mode: Some(proxy.mode.name().to_owned()),
            node_port_addresses: Some(node_port_addresses(&proxy.node_port_addresses)),
            detect_local_mode: Some(detect_local_mode.to_owned()),
            cluster_cidrs: Some(texts(&proxy.detect_local.cluster_cidrs)),
            pod_bridge_interface: bridge.map(str::to_owned),
            pod_interface_name_prefix: prefix.map(str::to_owned),
            external_ip_cidrs: Some(texts(&proxy.external_ips.allowed)),
            algorithm: Some(proxy.algorithm),
            snat_ports: proxy
                .snat_ports
                .map(|range| format!("{}-{}", range.first, range.last)),
            close_other_family: Some(proxy.close_other_family),
            healthz_bind_address: bind(proxy.healthz_bind),
            metrics_bind_address: bind(proxy.metrics_bind),
            bind_address_hard_fail: Some(proxy.bind_hard_fail),
            bind_address: proxy.bind_address.map(text),
            sync_period: Some(proxy.sync_period.into()),
            conntrack_max_per_core: count(conntrack.max_per_core),
            conntrack_min: count(conntrack.min),
            conntrack_tcp_timeout_established: Some(conntrack.tcp_established.into()),
            conntrack_tcp_timeout_close_wait: Some(conntrack.tcp_close_wait.into()),
            conntrack_tcp_be_liberal: Some(conntrack.tcp_be_liberal),
            conntrack_udp_timeout: Some(conntrack.udp_timeout.into()),
            conntrack_udp_timeout_stream: Some(conntrack.udp_stream_timeout.into()),
            feature_gates: Some(FeatureGates(gates(proxy))),
        }
    }
}

impl ProxySettings {
    /// Without what says the same as the default, which depends on two settings.
    pub fn without_defaults(&self) -> anyhow::Result<Self> {
        let mut defaults = Proxy::new(&Self {
            proxy_mode: self.proxy_mode.clone(),
            bind_address: self.bind_address.clone(),
            ..Self::default()
        })?;
        defaults.mode = Dialect::default();
        defaults.bind_address = None;
        let defaults = fields_of(&Self::from(&defaults))?;
        let mut fields = fields_of(self)?;
        fields.retain(|name, value| {
            let default = &defaults[name];
            *value != *default && !(default.is_null() && value.as_str() == Some(""))
        });
        typed(&Value::Object(fields))
    }
}

/// Those that say something else than their default.
fn gates(proxy: &Proxy) -> BTreeMap<String, bool> {
    let closed = (!proxy.external_ips.enabled).then(|| (EXTERNAL_IPS_GATE.to_owned(), false));
    closed.into_iter().collect()
}

fn text(value: impl ToString) -> String {
    value.to_string()
}

fn texts<T: ToString>(values: &[T]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

/// The mode's name, the bridge and the prefix.
const fn detect_mode(mode: &DetectMode) -> (&'static str, Option<&str>, Option<&str>) {
    match mode {
        DetectMode::ClusterCidr => ("ClusterCIDR", None, None),
        DetectMode::NodeCidr => ("NodeCIDR", None, None),
        DetectMode::BridgeInterface(name) => ("BridgeInterface", Some(name.as_str()), None),
        DetectMode::InterfaceNamePrefix(prefix) => {
            ("InterfaceNamePrefix", None, Some(prefix.as_str()))
        }
        DetectMode::None => ("None", None, None),
    }
}

fn node_port_addresses(addresses: &NodePortAddresses) -> Vec<String> {
    let keywords = [
        (addresses.primary, "primary"),
        (addresses.localhost, "localhost"),
        (addresses.all, "all"),
    ];
    let set = keywords.into_iter().filter(|(is_set, _)| *is_set);
    set.map(|(_, keyword)| keyword.to_owned())
        .chain(texts(&addresses.cidrs))
        .collect()
}

/// As kube-proxy shows its own. What has no effect is not in it.
pub(super) fn kube_proxy_configuration(proxy: &Proxy) -> Value {
    let (detect_local_mode, bridge, prefix) = detect_mode(&proxy.detect_local.mode);
    let conntrack = &proxy.conntrack;
    let duration = |duration| GoDuration::from(duration).to_string();
    let bind = |bind: Option<_>| bind.map(text).unwrap_or_default();
    let mut configuration = json!({
        "apiVersion": super::kube_proxy::API_VERSION,
        "kind": super::kube_proxy::KIND,
        "bindAddress": proxy.bind_address.map_or_else(|| "0.0.0.0".to_owned(), text),
        "bindAddressHardFail": proxy.bind_hard_fail,
        "clusterCIDR": texts(&proxy.detect_local.cluster_cidrs).join(","),
        "conntrack": {
            "maxPerCore": conntrack.max_per_core,
            "min": conntrack.min,
            "tcpBeLiberal": conntrack.tcp_be_liberal,
            "tcpCloseWaitTimeout": duration(conntrack.tcp_close_wait),
            "tcpEstablishedTimeout": duration(conntrack.tcp_established),
            "udpStreamTimeout": duration(conntrack.udp_stream_timeout),
            "udpTimeout": duration(conntrack.udp_timeout),
        },
        "detectLocal": {
            "bridgeInterface": bridge.unwrap_or_default(),
            "interfaceNamePrefix": prefix.unwrap_or_default(),
        },
        "detectLocalMode": detect_local_mode,
        "featureGates": gates(proxy),
        "healthzBindAddress": bind(proxy.healthz_bind),
        "metricsBindAddress": bind(proxy.metrics_bind),
        "mode": proxy.mode.name(),
        "nodePortAddresses": node_port_addresses(&proxy.node_port_addresses),
    });
    configuration[proxy.mode.name()] = json!({ "syncPeriod": duration(proxy.sync_period) });
    configuration
}
