//! Each field of a KubeProxyConfiguration: the setting that it becomes, or why it has no effect.

use std::fmt::{self, Display};

use serde_json::Value;

use super::KubeProxyConfiguration;
use crate::config::{
    Algorithm,
    reasons::{
        AT_ONCE, ENCODING, FLUSHED, HIDDEN, IPVS, LOOPBACK, MARK, MASQUERADE, MODULES, OOM, PACE,
        PROFILES, SCHEDULER, STDERR, UNUSED, WATCHED,
    },
};

/// A field that says something, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    pub path: String,
    pub fate: Fate,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The setting of this name.
    Becomes(&'static str),
    /// It says what is so anyway, or asks for what Switchboard does not have.
    NoEffect {
        why: &'static str,
        is_default: bool,
    },
    Unknown,
}

#[derive(Clone, Copy)]
enum Meaning {
    Becomes(&'static str),
    /// A setting, if the section is that of the mode.
    OfMode(&'static str),
    /// The algorithm, if one comes close.
    Scheduler,
    /// Why, and the default as JSON.
    Nothing(&'static str, &'static str),
}

use Meaning::{Becomes, Nothing, OfMode, Scheduler};

const MODES: [&str; 3] = ["iptables", "ipvs", "nftables"];
const OTHER_MODE: &str = "it is for another mode";

/// Sections and lists without fields of their own here are taken as a whole.
const FIELDS: [(&str, Meaning); 55] = [
    ("featureGates", Becomes("featureGates")),
    ("clientConnection.kubeconfig", Becomes("kubeconfig")),
    ("clientConnection.acceptContentTypes", Nothing(ENCODING, "")),
    (
        "clientConnection.contentType",
        Nothing(ENCODING, "\"application/vnd.kubernetes.protobuf\""),
    ),
    ("clientConnection.qps", Nothing(PACE, "5")),
    ("clientConnection.burst", Nothing(PACE, "10")),
    ("logging.format", Becomes("logFormat")),
    ("logging.verbosity", Becomes("log")),
    ("logging.flushFrequency", Nothing(FLUSHED, "\"5s\"")),
    ("logging.vmodule", Nothing(MODULES, "")),
    ("logging.options", Nothing(STDERR, "")),
    ("hostnameOverride", Becomes("nodeName")),
    ("bindAddress", Becomes("bindAddress")),
    ("healthzBindAddress", Becomes("healthzBindAddress")),
    ("metricsBindAddress", Becomes("metricsBindAddress")),
    ("bindAddressHardFail", Becomes("bindAddressHardFail")),
    ("enableProfiling", Nothing(PROFILES, "")),
    ("showHiddenMetricsForVersion", Nothing(HIDDEN, "")),
    ("mode", Becomes("proxyMode")),
    ("iptables.masqueradeBit", Nothing(MARK, "14")),
    ("iptables.masqueradeAll", Nothing(MASQUERADE, "")),
    ("iptables.localhostNodePorts", Nothing(LOOPBACK, "false")),
    (
        "iptables.snatNodeInternalIP",
        Nothing("replies must come back to the node's own address", ""),
    ),
    ("iptables.syncPeriod", OfMode("syncPeriod")),
    ("iptables.minSyncPeriod", Nothing(AT_ONCE, "\"1s\"")),
    ("ipvs.syncPeriod", OfMode("syncPeriod")),
    ("ipvs.minSyncPeriod", Nothing(AT_ONCE, "")),
    ("ipvs.scheduler", Scheduler),
    ("ipvs.excludeCIDRs", Nothing(IPVS, "")),
    ("ipvs.strictARP", Nothing(IPVS, "")),
    ("ipvs.tcpTimeout", Nothing(IPVS, "")),
    ("ipvs.tcpFinTimeout", Nothing(IPVS, "")),
    ("ipvs.udpTimeout", Nothing(IPVS, "")),
    ("nftables.masqueradeBit", Nothing(MARK, "14")),
    ("nftables.masqueradeAll", Nothing(MASQUERADE, "")),
    ("nftables.syncPeriod", OfMode("syncPeriod")),
    ("nftables.minSyncPeriod", Nothing(AT_ONCE, "\"1s\"")),
    ("winkernel", Nothing("it is for Windows", "")),
    ("detectLocalMode", Becomes("detectLocalMode")),
    ("detectLocal.bridgeInterface", Becomes("podBridgeInterface")),
    (
        "detectLocal.interfaceNamePrefix",
        Becomes("podInterfaceNamePrefix"),
    ),
    ("clusterCIDR", Becomes("clusterCidrs")),
    ("detectLocal.clusterCIDRs", Becomes("clusterCidrs")),
    ("nodePortAddresses", Becomes("nodePortAddresses")),
    ("oomScoreAdj", Nothing(OOM, "-999")),
    ("conntrack.maxPerCore", Becomes("conntrackMaxPerCore")),
    ("conntrack.min", Becomes("conntrackMin")),
    (
        "conntrack.tcpEstablishedTimeout",
        Becomes("conntrackTcpTimeoutEstablished"),
    ),
    (
        "conntrack.tcpCloseWaitTimeout",
        Becomes("conntrackTcpTimeoutCloseWait"),
    ),
    ("conntrack.tcpBeLiberal", Becomes("conntrackTcpBeLiberal")),
    ("conntrack.udpTimeout", Becomes("conntrackUdpTimeout")),
    (
        "conntrack.udpStreamTimeout",
        Becomes("conntrackUdpTimeoutStream"),
    ),
    ("configSyncPeriod", Nothing(WATCHED, "\"15m0s\"")),
    ("portRange", Nothing(UNUSED, "")),
    ("windowsRunAsService", Nothing("it is for Windows", "")),
];

/// What became of every field of `value`, which was written in this mode, that says something.
pub(super) fn fates(value: &Value, mode: &str) -> anyhow::Result<Vec<Field>> {
    let known = serde_json::to_value(KubeProxyConfiguration::default())?;
    let mut fields = Vec::new();
    walk("", value, &known, &mut |path, meaning, value| {
        fields.push(Field {
            path: path.to_owned(),
            fate: meaning.map_or(Fate::Unknown, |meaning| fate(path, meaning, value, mode)),
        });
    });
    Ok(fields)
}

/// Calls `visit` for each field that says something, and each that does not exist; `known` has all
/// that there are, and in those where zero is a value of its own, nothing.
fn walk(
    section: &str,
    value: &Value,
    known: &Value,
    visit: &mut impl FnMut(&str, Option<Meaning>, &Value),
) {
    for (name, value) in value.as_object().into_iter().flatten() {
        let path = match section {
            "" => name.clone(),
            section => format!("{section}.{name}"),
        };
        let meaning = FIELDS.iter().find(|(field, _)| *field == path);
        match (meaning, known.get(name)) {
            _ if ["apiVersion", "kind"].contains(&path.as_str()) => {}
            (Some((_, meaning)), known) => {
                if is_set(value) || known.is_some_and(Value::is_null) {
                    visit(&path, Some(*meaning), value);
                }
            }
            (None, Some(known)) => walk(&path, value, known, visit),
            (None, None) => visit(&path, None, value),
        }
    }
}

fn fate(path: &str, meaning: Meaning, value: &Value, mode: &str) -> Fate {
    let no_effect = |why, is_default| Fate::NoEffect { why, is_default };
    match meaning {
        // Nor in kube-proxy, so that nobody needs to hear of it.
        _ if is_of_other_mode(path, mode) => no_effect(OTHER_MODE, true),
        Becomes(setting) | OfMode(setting) => Fate::Becomes(setting),
        Scheduler => match value.as_str().and_then(Algorithm::of_scheduler) {
            Some(_) => Fate::Becomes("algorithm"),
            None => no_effect(SCHEDULER, false),
        },
        Nothing(why, default) => {
            let written = value.to_string();
            no_effect(why, written == default)
        }
    }
}

/// Without a mode it is iptables; and in ipvs mode, only the periods are in a section of their own.
fn is_of_other_mode(path: &str, mode: &str) -> bool {
    let section = match (mode, path) {
        ("ipvs", "iptables.masqueradeAll") | ("", _) => "iptables",
        (mode, _) => mode,
    };
    path.split_once('.')
        .is_some_and(|(name, _)| MODES.contains(&name) && name != section)
}

/// The field that becomes a setting.
pub(super) fn named(setting: &'static str, mode: &str) -> &'static str {
    let field = FIELDS.iter().find(|(path, meaning)| match meaning {
        Becomes(name) => *name == setting,
        OfMode(name) => *name == setting && !is_of_other_mode(path, mode),
        Scheduler | Nothing(..) => false,
    });
    field.map_or(setting, |(path, _)| path)
}

#[cfg(test)]
pub(super) fn has_meaning(path: &str) -> bool {
    FIELDS.iter().any(|(field, _)| *field == path)
}

/// Whether a field says more than that it is there.
fn is_set(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !["", "0", "0s"].contains(&text.as_str()),
        Value::Array(values) => !values.is_empty(),
        Value::Object(fields) => fields.values().any(is_set),
    }
}

// === impl Field ===

impl Field {
    /// Whether somebody who wrote it would want to know.
    pub fn is_noteworthy(&self) -> bool {
        match &self.fate {
            Fate::Becomes(_) => false,
            Fate::NoEffect { is_default, .. } => !is_default,
            Fate::Unknown => true,
        }
    }
}

impl Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, fate } = self;
        match fate {
            Fate::Becomes(setting) => write!(f, "{path}: becomes {setting}"),
            Fate::NoEffect { why, .. } => write!(f, "{path}: no effect: {why}"),
            Fate::Unknown => write!(f, "{path}: no effect: unknown"),
        }
    }
}
