//! What upstream refuses in fields that are no settings here, or in a way that settings do not.

use super::{GoDuration, KubeProxyConfiguration};
use crate::{config::problem::Problem, watch::convert::parse_prefix};

const BIT_MAX: i32 = 31;
const OOM_SCORE_MAX: i32 = 1000;
const INFO_FORMATS: [&str; 3] = ["", "text", "json"];

impl KubeProxyConfiguration {
    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut problems = self.servers();
        let mut bits = vec![("iptables.masqueradeBit", self.iptables.masquerade_bit)];
        if self.mode == "nftables" {
            bits.push(("nftables.masqueradeBit", self.nftables.masquerade_bit));
        }
        for (field, bit) in bits {
            if bit.is_some_and(|bit| !(0..=BIT_MAX).contains(&bit)) {
                problems.push(Problem::new(
                    field,
                    format!("is not within 0 and {BIT_MAX}"),
                ));
            }
        }
        if self.mode == "ipvs" {
            problems.extend(self.ipvs());
        }
        problems.extend(self.min_sync_period());
        if let Some(score) = self.oom_score_adj
            && score.unsigned_abs() > OOM_SCORE_MAX.unsigned_abs()
        {
            let reason = format!("{score} is not within -{OOM_SCORE_MAX} and {OOM_SCORE_MAX}");
            problems.push(Problem::new("oomScoreAdj", reason));
        }
        if self.config_sync_period < GoDuration::ZERO {
            problems.push(Problem::new("configSyncPeriod", "must be greater than 0"));
        }
        if self.client_connection.burst < 0 {
            problems.push(Problem::new("clientConnection.burst", "is less than 0"));
        }
        if !INFO_FORMATS.contains(&self.logging.format.as_str()) {
            let reason = format!("{:?} is not text or json", self.logging.format);
            problems.push(Problem::new("logging.format", reason));
        }
        problems
    }

    /// An empty address is the default, so that port 0 would be the only way to say "none", which
    /// upstream refuses.
    fn servers(&self) -> Vec<Problem> {
        let servers = [
            ("healthzBindAddress", &self.healthz_bind_address),
            ("metricsBindAddress", &self.metrics_bind_address),
        ];
        let is_zero = |bind: &str| {
            bind.rsplit_once(':')
                .is_some_and(|(_, port)| port.parse() == Ok(0))
        };
        servers
            .into_iter()
            .filter(|(_, bind)| is_zero(bind) && !bind.ends_with("::0"))
            .map(|(field, _)| Problem::new(field, "port 0 is not within 1 and 65535"))
            .collect()
    }

    fn min_sync_period(&self) -> Option<Problem> {
        let (field, period, default) = match self.mode.as_str() {
            "nftables" => (
                "nftables.minSyncPeriod",
                self.nftables.min_sync_period,
                GoDuration::from_secs(1),
            ),
            "ipvs" => (
                "ipvs.minSyncPeriod",
                self.ipvs.min_sync_period,
                GoDuration::ZERO,
            ),
            _ => (
                "iptables.minSyncPeriod",
                self.iptables.min_sync_period,
                GoDuration::from_secs(1),
            ),
        };
        let period = if period == GoDuration::ZERO {
            default
        } else {
            period
        };
        let longest = self.sync_period();
        if period < GoDuration::ZERO {
            return Some(Problem::new(field, format!("{period} is less than 0")));
        }
        // What is wrong with a period that is not positive is its setting's to say.
        let is_longer = longest > GoDuration::ZERO && period > longest;
        let reason = || format!("{period} is longer than syncPeriod, {longest}");
        is_longer.then(|| Problem::new(field, reason()))
    }

    fn ipvs(&self) -> Vec<Problem> {
        let timeouts = [
            ("ipvs.tcpTimeout", self.ipvs.tcp_timeout),
            ("ipvs.tcpFinTimeout", self.ipvs.tcp_fin_timeout),
            ("ipvs.udpTimeout", self.ipvs.udp_timeout),
        ];
        let negative = timeouts
            .into_iter()
            .filter(|(_, timeout)| *timeout < GoDuration::ZERO);
        let negative = negative
            .map(|(field, timeout)| Problem::new(field, format!("{timeout} is less than 0")));
        let cidrs = self.ipvs.exclude_cidrs.iter().enumerate();
        let unreadable = cidrs.filter(|(_, cidr)| parse_prefix(cidr).is_none());
        let unreadable = unreadable.map(|(index, cidr)| {
            Problem::at("ipvs.excludeCIDRs", index, format!("{cidr:?} is no CIDR"))
        });
        negative.chain(unreadable).collect()
    }
}
