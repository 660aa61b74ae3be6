//! Ports, counts and durations: what they say, and which are wrong.

use std::{str::FromStr, time::Duration};

use super::Reader;
use crate::config::{
    GoDuration,
    proxy::{Conntrack, PortRange},
};

impl Reader<'_> {
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
}

fn port_range(text: &str) -> Option<PortRange> {
    let (first, last) = text.split_once('-')?;
    let (first, last) = (u16::from_str(first).ok()?, u16::from_str(last).ok()?);
    (0 < first && first <= last).then_some(PortRange { first, last })
}
