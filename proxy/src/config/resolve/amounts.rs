//! Ports, counts and durations: what they say, and which are wrong.

use std::{ops::RangeInclusive, str::FromStr, time::Duration};

use super::Reader;
use crate::config::{
    Dialect, GoDuration,
    proxy::{Conntrack, PortRange, Tunnel},
};

/// An identifier has 24 bits.
const VNI_MAX: u32 = (1 << 24) - 1;
const OOM_SCORE: RangeInclusive<i32> = -1000..=1000;

impl Reader<'_> {
    pub(super) fn tunnel(&mut self) -> Tunnel {
        let defaults = Tunnel::default();
        let port = self.settings.tunnel_port.unwrap_or(defaults.port);
        let vni = self.settings.tunnel_vni.unwrap_or(defaults.vni);
        if port == 0 {
            self.problem("tunnelPort", "must not be 0");
        }
        if !(1..=VNI_MAX).contains(&vni) {
            self.problem("tunnelVni", format!("{vni} is not within 1 and {VNI_MAX}"));
        }
        Tunnel { port, vni }
    }

    pub(super) fn snat_ports(&mut self) -> Option<PortRange> {
        let text = self.settings.snat_ports.as_deref().map(str::trim)?;
        if text.is_empty() {
            return None;
        }
        let range = port_range(text);
        if range.is_none() {
            let reason = format!("{text:?} is no range of ports such as 1024-29999");
            self.problem("snatPorts", reason);
        }
        range
    }

    pub(super) fn conntrack(&mut self) -> Conntrack {
        let settings = self.settings;
        let defaults = Conntrack::default();
        Conntrack {
            max_per_core: self.count(
                "conntrackMaxPerCore",
                settings.conntrack_max_per_core,
                defaults.max_per_core,
            ),
            min: self.count("conntrackMin", settings.conntrack_min, defaults.min),
            tcp_established: self.duration(
                "conntrackTcpTimeoutEstablished",
                settings.conntrack_tcp_timeout_established,
                defaults.tcp_established,
            ),
            tcp_close_wait: self.duration(
                "conntrackTcpTimeoutCloseWait",
                settings.conntrack_tcp_timeout_close_wait,
                defaults.tcp_close_wait,
            ),
            tcp_be_liberal: settings.conntrack_tcp_be_liberal.unwrap_or_default(),
            udp_timeout: self.duration(
                "conntrackUdpTimeout",
                settings.conntrack_udp_timeout,
                defaults.udp_timeout,
            ),
            udp_stream_timeout: self.duration(
                "conntrackUdpTimeoutStream",
                settings.conntrack_udp_timeout_stream,
                defaults.udp_stream_timeout,
            ),
        }
    }

    fn count(&mut self, field: &'static str, value: Option<i32>, default: u32) -> u32 {
        value.map_or(default, |value| {
            u32::try_from(value).unwrap_or_else(|_| {
                self.problem(field, format!("{value} is less than 0"));
                default
            })
        })
    }

    fn duration(
        &mut self,
        field: &'static str,
        value: Option<GoDuration>,
        default: Duration,
    ) -> Duration {
        value.map_or(default, |value| {
            value.duration().unwrap_or_else(|| {
                self.problem(field, format!("{value} is less than 0"));
                default
            })
        })
    }

    pub(super) fn positive(
        &mut self,
        field: &'static str,
        value: Option<GoDuration>,
        default: Duration,
    ) -> Duration {
        let duration = self.duration(field, value, default);
        if duration.is_zero() {
            self.problem(field, "must be greater than 0");
        }
        duration
    }

    pub(super) fn min_sync_period(&mut self, mode: Dialect, sync_period: Duration) -> Duration {
        let field = "minSyncPeriod";
        // Upstream does not wait in ipvs mode (services.md 124).
        let default = match mode {
            Dialect::Ipvs => Duration::ZERO,
            Dialect::Nftables | Dialect::Iptables => Duration::from_secs(1),
        };
        let value = self.settings.min_sync_period;
        let period = self.duration(field, value, default.min(sync_period));
        if period > sync_period {
            let (period, longest) = (GoDuration::from(period), GoDuration::from(sync_period));
            self.problem(
                field,
                format!("{period} is longer than syncPeriod, {longest}"),
            );
        }
        period
    }

    pub(super) fn oom_score_adj(&mut self, default: i32) -> i32 {
        let score = self.settings.oom_score_adj.unwrap_or(default);
        if !OOM_SCORE.contains(&score) {
            let (least, most) = OOM_SCORE.into_inner();
            self.problem(
                "oomScoreAdj",
                format!("{score} is not within {least} and {most}"),
            );
        }
        score
    }
}

fn port_range(text: &str) -> Option<PortRange> {
    let (first, last) = text.split_once('-')?;
    let (first, last) = (u16::from_str(first).ok()?, u16::from_str(last).ok()?);
    (0 < first && first <= last).then_some(PortRange { first, last })
}
