//! Addresses, CIDRs and names of devices: what they say, and which are wrong.

use std::{
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use ipnet::IpNet;

use super::Reader;
use crate::{
    config::{
        Dialect, Problem,
        proxy::{DetectLocal, DetectMode, NodePortAddresses},
    },
    model::IpFamily,
    watch::convert::{parse_addr, parse_prefix},
};

impl Reader<'_> {
    /// Without a list the dialect says (services.md 90 and section 3).
    pub(super) fn node_port_addresses(&mut self, mode: Dialect) -> NodePortAddresses {
        let mut addresses = NodePortAddresses {
            primary: false,
            localhost: false,
            all: false,
            cidrs: Vec::new(),
        };
        let list = words(self.settings.node_port_addresses.as_deref());
        for (index, word) in &list {
            match *word {
                "primary" => addresses.primary = true,
                "localhost" => addresses.localhost = true,
                "all" => addresses.all = true,
                cidr => match parse_prefix(cidr) {
                    Some(cidr) => addresses.cidrs.push(cidr),
                    None => {
                        let reason = format!("{cidr:?} is not primary, localhost, all or a CIDR");
                        let problem = Problem::at("nodePortAddresses", *index, reason);
                        self.problems.push(problem);
                    }
                },
            }
        }
        if list.is_empty() {
            addresses.primary = mode == Dialect::Nftables;
            addresses.all = !addresses.primary;
        }
        addresses
    }

    pub(super) fn detect_local(&mut self) -> DetectLocal {
        let settings = self.settings;
        let text = settings.detect_local_mode.as_deref().unwrap_or_default();
        let mode = match text {
            "" | "ClusterCIDR" => DetectMode::ClusterCidr,
            "NodeCIDR" => DetectMode::NodeCidr,
            "BridgeInterface" => {
                let name = settings.pod_bridge_interface.as_deref();
                DetectMode::BridgeInterface(self.interface("podBridgeInterface", name))
            }
            "InterfaceNamePrefix" => {
                let prefix = settings.pod_interface_name_prefix.as_deref();
                DetectMode::InterfaceNamePrefix(self.interface("podInterfaceNamePrefix", prefix))
            }
            "None" => DetectMode::None,
            _ => {
                let modes = "ClusterCIDR, NodeCIDR, BridgeInterface, InterfaceNamePrefix or None";
                self.problem("detectLocalMode", format!("{text:?} is not {modes}"));
                DetectMode::None
            }
        };
        let cluster_cidrs = self.cluster_cidrs(mode == DetectMode::ClusterCidr);
        DetectLocal {
            mode,
            cluster_cidrs,
        }
    }

    fn interface(&mut self, field: &'static str, name: Option<&str>) -> String {
        let name = name.unwrap_or_default();
        if name.is_empty() {
            self.problem(field, "must not be empty with this detectLocalMode");
        }
        name.to_owned()
    }

    /// They are checked only where they count, as upstream; elsewhere they still say which
    /// addresses are pods', as far as they can be read.
    fn cluster_cidrs(&mut self, count: bool) -> Vec<IpNet> {
        let field = "clusterCidrs";
        let list = words(self.settings.cluster_cidrs.as_deref());
        let before = self.problems.len();
        let cidrs = self.cidrs(field, &list);
        if !count {
            self.problems.truncate(before);
            return cidrs;
        }
        let is_of_one_family = match cidrs.as_slice() {
            [one, other] => IpFamily::of_net(one) == IpFamily::of_net(other),
            _ => false,
        };
        if list.len() > 2 || is_of_one_family {
            self.problem(field, "must be one CIDR, or one of each family");
        }
        cidrs
    }

    pub(super) fn cidrs(&mut self, field: &'static str, list: &[(usize, &str)]) -> Vec<IpNet> {
        let mut cidrs = Vec::new();
        for (index, word) in list {
            match parse_prefix(word) {
                Some(cidr) => cidrs.push(cidr),
                None => {
                    let problem = Problem::at(field, *index, format!("{word:?} is no CIDR"));
                    self.problems.push(problem);
                }
            }
        }
        cidrs
    }

    /// Whoever wants no server says so with an empty address or with port 0.
    pub(super) fn bind(
        &mut self,
        field: &'static str,
        text: Option<&str>,
        default: SocketAddr,
    ) -> Option<SocketAddr> {
        let text = text.map_or_else(|| default.to_string(), |text| text.trim().to_owned());
        if text.is_empty() {
            return None;
        }
        let bind = socket_addr(&text, default.port());
        if bind.is_none() {
            self.problem(field, format!("{text:?} is neither IP:PORT nor an IP"));
        }
        bind.filter(|bind| bind.port() != 0)
    }

    pub(super) fn bind_address(&mut self) -> Option<IpAddr> {
        let text = self.settings.bind_address.as_deref().map(str::trim)?;
        if text.is_empty() {
            return None;
        }
        let addr = parse_addr(text);
        if addr.is_none() {
            self.problem("bindAddress", format!("{text:?} is no IP address"));
        }
        addr
    }
}

/// The entries of a list that say something, and where they stand.
pub(super) fn words(list: Option<&[String]>) -> Vec<(usize, &str)> {
    let list = list.unwrap_or_default().iter().map(|word| word.trim());
    list.enumerate()
        .filter(|(_, word)| !word.is_empty())
        .collect()
}

/// `IP:PORT`, or an address to which the usual port is added.
fn socket_addr(text: &str, port: u16) -> Option<SocketAddr> {
    if let Some(addr) = parse_addr(text) {
        return Some((addr, port).into());
    }
    let (addr, port) = text.rsplit_once(':')?;
    let addr = match addr.strip_prefix('[') {
        Some(rest) => parse_addr(rest.strip_suffix(']')?)?,
        None => parse_addr(addr).filter(IpAddr::is_ipv4)?,
    };
    Some((addr, u16::from_str(port).ok()?).into())
}
