//! Settings → `Proxy`: defaults filled in, text given its meaning, and all that is wrong said.

mod addresses;
mod amounts;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    Dialect, Invalid, Problem, ProxySettings, effective,
    proxy::{EXTERNAL_IPS_GATE, ExternalIps, Proxy},
};
use crate::model::IpFamily;

const HEALTHZ_PORT: u16 = 10256;
const METRICS_PORT: u16 = 10249;

impl Proxy {
    pub fn new(settings: &ProxySettings) -> Result<Self, Invalid> {
        let mut reader = Reader {
            settings,
            problems: Vec::new(),
        };
        let proxy = reader.proxy();
        match reader.problems {
            problems if problems.is_empty() => Ok(Self {
                configz: effective::kube_proxy_configuration(&proxy),
                ..proxy
            }),
            problems => Err(Invalid { problems }),
        }
    }
}

/// Collects what is wrong; the value in its place is any, because nobody gets to see it.
struct Reader<'a> {
    settings: &'a ProxySettings,
    problems: Vec<Problem>,
}

// === impl Reader ===

impl Reader<'_> {
    fn proxy(&mut self) -> Proxy {
        let settings = self.settings;
        let defaults = Proxy::default();
        let mode = self.dialect();
        let bind_address = self.bind_address();
        let (any, loopback): (IpAddr, IpAddr) = match bind_address.map(IpFamily::of) {
            Some(IpFamily::V6) => (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::LOCALHOST.into()),
            _ => (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::LOCALHOST.into()),
        };
        let healthz = settings.healthz_bind_address.as_deref();
        let metrics = settings.metrics_bind_address.as_deref();
        Proxy {
            node_port_addresses: self.node_port_addresses(mode),
            detect_local: self.detect_local(),
            external_ips: self.external_ips(),
            algorithm: settings.algorithm.unwrap_or_default(),
            snat_ports: self.snat_ports(),
            close_other_family: settings.close_other_family.unwrap_or_default(),
            healthz_bind: self.bind("healthzBindAddress", healthz, (any, HEALTHZ_PORT).into()),
            metrics_bind: self.bind(
                "metricsBindAddress",
                metrics,
                (loopback, METRICS_PORT).into(),
            ),
            bind_hard_fail: settings.bind_address_hard_fail.unwrap_or_default(),
            bind_address: bind_address.filter(|addr| !addr.is_unspecified()),
            sync_period: self.positive("syncPeriod", settings.sync_period, defaults.sync_period),
            conntrack: self.conntrack(),
            mode,
            configz: defaults.configz,
        }
    }

    fn problem(&mut self, field: &'static str, reason: impl std::fmt::Display) {
        self.problems.push(Problem::new(field, reason));
    }

    fn dialect(&mut self) -> Dialect {
        let text = self.settings.proxy_mode.as_deref().unwrap_or_default();
        match text {
            "" | "nftables" => Dialect::Nftables,
            "iptables" => Dialect::Iptables,
            "ipvs" => Dialect::Ipvs,
            _ => {
                let reason = format!("{text:?} is not nftables, iptables or ipvs");
                self.problem("proxyMode", reason);
                Dialect::default()
            }
        }
    }

    fn external_ips(&mut self) -> ExternalIps {
        let settings = self.settings;
        let gates = settings.feature_gates.as_ref();
        let gate = gates.and_then(|gates| gates.0.get(EXTERNAL_IPS_GATE));
        ExternalIps {
            enabled: gate.copied().unwrap_or(true),
            allowed: self.cidrs(
                "externalIpCidrs",
                &addresses::words(settings.external_ip_cidrs.as_deref()),
            ),
        }
    }
}
