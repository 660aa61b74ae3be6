//! What `switchboard status` and `service list` say with `-o json`, as another program reads it:
//! only the fields that tests look at.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use serde::Deserialize;

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    pub pid: u32,
    pub source: Source,
    /// Single map writes since the start.
    pub writes_total: u64,
    pub endpoints: Vec<Endpoint>,
    pub diagnostics: Vec<Problem>,
    pub counters: Vec<Counter>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Source {
    pub kind: String,
    /// By kind of object.
    pub synced: BTreeMap<String, bool>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Endpoint {
    pub ifname: String,
    /// `pod`, `pending`, `unclaimed`, `uplink`.
    pub state: String,
    pub addresses: Vec<IpAddr>,
    pub pod: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Problem {
    pub object: String,
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Counter {
    pub direction: String,
    pub verdict: String,
    pub packets: u64,
}

/// A service port.
#[derive(Clone, Debug, Deserialize)]
pub struct Service {
    pub name: Option<String>,
    pub frontends: Vec<Frontend>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Frontend {
    pub address: SocketAddr,
    pub backends: Vec<Backend>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Backend {
    pub address: SocketAddr,
    pub state: String,
}

// === impl Source ===

impl Source {
    /// Whether every kind has been listed once.
    pub fn is_synced(&self) -> bool {
        !self.synced.is_empty() && self.synced.values().all(|&synced| synced)
    }
}
