//! kube-proxy's flags that are none of Switchboard's, so that its command line can be kept.
//!
//! Those that are Switchboard's as well are in `settings`. They do not appear in the help.

use std::net::SocketAddr;

use clap::Args;
use serde::Serialize;

use super::{Algorithm, GoDuration, LogFormat, Settings, log_filter, reasons, settings::fields_of};
use crate::watch::convert::parse_addr;

#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct KubeProxyFlags {
    /// As --node-name, before which it goes
    #[arg(long, value_name = "NAME", hide = true)]
    hostname_override: Option<String>,
    /// The API server's address, instead of the kubeconfig's
    #[arg(long, value_name = "URL", hide = true)]
    pub(super) master: Option<String>,
    /// The port of --healthz-bind-address; 0 serves nothing
    #[arg(long, value_name = "PORT", hide = true)]
    healthz_port: Option<u16>,
    /// The port of --metrics-bind-address; 0 serves nothing
    #[arg(long, value_name = "PORT", hide = true)]
    metrics_port: Option<u16>,
    #[arg(long, value_name = "DURATION", hide = true)]
    iptables_sync_period: Option<GoDuration>,
    #[arg(long, value_name = "DURATION", hide = true)]
    ipvs_sync_period: Option<GoDuration>,
    #[arg(long, value_name = "NAME", hide = true)]
    ipvs_scheduler: Option<String>,
    /// As --log-format
    #[arg(long, value_name = "FORMAT", hide = true)]
    logging_format: Option<LogFormat>,
    /// How much is logged, unless --log says it
    #[arg(short, long = "v", value_name = "LEVEL", hide = true)]
    verbosity: Option<u32>,
    #[command(flatten)]
    without_effect: WithoutEffect,
}

/// Whatever they say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args, Serialize)]
#[serde(rename_all = "kebab-case")]
struct WithoutEffect {
    #[arg(long, hide = true)]
    boot_id_file: Option<String>,
    #[arg(long, hide = true)]
    config_sync_period: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "")]
    iptables_localhost_nodeports: Option<String>,
    #[arg(long, hide = true)]
    iptables_masquerade_bit: Option<String>,
    #[arg(long, hide = true)]
    iptables_min_sync_period: Option<String>,
    #[arg(long, hide = true)]
    ipvs_exclude_cidrs: Option<String>,
    #[arg(long, hide = true)]
    ipvs_min_sync_period: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "")]
    ipvs_strict_arp: Option<String>,
    #[arg(long, hide = true)]
    ipvs_tcp_timeout: Option<String>,
    #[arg(long, hide = true)]
    ipvs_tcpfin_timeout: Option<String>,
    #[arg(long, hide = true)]
    ipvs_udp_timeout: Option<String>,
    #[arg(long, hide = true)]
    kube_api_burst: Option<String>,
    #[arg(long, hide = true)]
    kube_api_content_type: Option<String>,
    #[arg(long, hide = true)]
    kube_api_qps: Option<String>,
    #[arg(long, hide = true)]
    log_flush_frequency: Option<String>,
    #[arg(long, hide = true)]
    log_json_info_buffer_size: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "")]
    log_json_split_stream: Option<String>,
    #[arg(long, hide = true)]
    log_text_info_buffer_size: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "")]
    log_text_split_stream: Option<String>,
    #[arg(long, hide = true)]
    machine_id_file: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "")]
    masquerade_all: Option<String>,
    #[arg(long, hide = true, allow_hyphen_values = true)]
    oom_score_adj: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "")]
    profiling: Option<String>,
    #[arg(long, hide = true)]
    show_hidden_metrics_for_version: Option<String>,
    #[arg(long, hide = true)]
    vmodule: Option<String>,
}

// === impl KubeProxyFlags ===

impl KubeProxyFlags {
    /// What they mean as Switchboard's own flags, which go before them where both are there.
    pub(super) fn apply(&self, settings: &mut Settings) {
        if let Some(name) = self
            .hostname_override
            .clone()
            .filter(|name| !name.is_empty())
        {
            settings.node_name = Some(name);
        }
        let (log, format) = (self.verbosity.and_then(log_filter), self.logging_format);
        settings.log = settings.log.take().or(log.map(str::to_owned));
        settings.log_format = settings.log_format.or(format);
        let proxy = &mut settings.proxy;
        for (bind, port, addr) in [
            (
                &mut proxy.healthz_bind_address,
                self.healthz_port,
                "0.0.0.0",
            ),
            (
                &mut proxy.metrics_bind_address,
                self.metrics_port,
                "127.0.0.1",
            ),
        ] {
            if let Some(port) = port {
                with_port(bind, port, addr);
            }
        }
        let period = if proxy.proxy_mode.as_deref() == Some("ipvs") {
            let algorithm = self.scheduler().and_then(Algorithm::of_scheduler);
            proxy.algorithm = proxy.algorithm.or(algorithm);
            self.ipvs_sync_period
        } else {
            self.iptables_sync_period
        };
        proxy.sync_period = proxy.sync_period.or(period);
    }

    fn scheduler(&self) -> Option<&str> {
        let scheduler = self.ipvs_scheduler.as_deref();
        scheduler.filter(|name| !name.is_empty())
    }

    /// Which flags have no effect, and why.
    pub(super) fn notes(&self) -> anyhow::Result<Vec<String>> {
        let fields = fields_of(&self.without_effect)?;
        let set = fields.iter().filter(|(_, value)| !value.is_null());
        let set = set.map(|(name, _)| (name.as_str(), why(name)));
        let scheduler = self
            .scheduler()
            .filter(|name| Algorithm::of_scheduler(name).is_none());
        let scheduler = scheduler.map(|_| ("ipvs-scheduler", reasons::SCHEDULER));
        Ok(set
            .chain(scheduler)
            .map(|(name, why)| format!("--{name}: no effect: {why}"))
            .collect())
    }
}

fn why(flag: &str) -> &'static str {
    match flag {
        "config-sync-period" => reasons::WATCHED,
        "iptables-localhost-nodeports" => reasons::LOOPBACK,
        "iptables-masquerade-bit" => reasons::MARK,
        "iptables-min-sync-period" | "ipvs-min-sync-period" => reasons::AT_ONCE,
        "kube-api-burst" | "kube-api-qps" => reasons::PACE,
        "kube-api-content-type" => reasons::ENCODING,
        "log-flush-frequency" => reasons::FLUSHED,
        "masquerade-all" => reasons::MASQUERADE,
        "oom-score-adj" => reasons::OOM,
        "profiling" => reasons::PROFILES,
        "show-hidden-metrics-for-version" => reasons::HIDDEN,
        "vmodule" => reasons::MODULES,
        _ if flag.starts_with("ipvs-") => reasons::IPVS,
        _ if flag.starts_with("log-") => reasons::STDERR,
        _ => reasons::UNUSED,
    }
}

/// As upstream: port 0 switches the server off, and an address that has a port keeps it.
fn with_port(bind: &mut Option<String>, port: u16, default: &str) {
    let text = bind.as_deref().unwrap_or(default);
    if port == 0 {
        *bind = Some(String::new());
    } else if let Some(addr) = parse_addr(text) {
        *bind = Some(SocketAddr::from((addr, port)).to_string());
    }
}
