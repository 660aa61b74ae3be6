//! The configuration file: Switchboard's own, or kube-proxy's for what means the same here.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::Value;

use super::{Attach, LogFormat, Source};

/// Every setting is that of the flag of the same name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConfigFile {
    pub node_name: Option<String>,
    pub manifests: Option<PathBuf>,
    pub kubeconfig: Option<PathBuf>,
    #[serde(default)]
    pub api_servers: Vec<String>,
    pub pin_dir: Option<PathBuf>,
    pub run_dir: Option<PathBuf>,
    pub cgroup: Option<PathBuf>,
    pub attach: Option<Attach>,
    pub log: Option<String>,
    pub log_format: Option<LogFormat>,
    /// What was set without effect.
    #[serde(skip)]
    pub notes: Vec<String>,
}

// === impl ConfigFile ===

impl ConfigFile {
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let read = || {
            let text = fs::read_to_string(path)?;
            Self::parse(&text)
        };
        read().with_context(|| format!("read configuration {}", path.display()))
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let value: Value = serde_saphyr::from_str(text)?;
        match value.get("kind").and_then(Value::as_str) {
            Some("KubeProxyConfiguration") => Ok(Self::from_kube_proxy(&value)),
            Some(kind) => bail!("a {kind} is no configuration of Switchboard"),
            None if value.is_null() => Ok(Self::default()),
            None => Ok(serde_json::from_value(value)?),
        }
    }

    /// Who the node is and where the API is; the rest concerns frontends other than ClusterIPs, or
    /// machinery that Switchboard does not have.
    fn from_kube_proxy(value: &Value) -> Self {
        let text = |pointer: &str| {
            value
                .pointer(pointer)
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
        };
        let used = ["apiVersion", "kind", "hostnameOverride", "clientConnection"];
        let fields = value.as_object().into_iter().flatten();
        let unused = fields.filter(|(name, value)| !used.contains(&name.as_str()) && is_set(value));
        Self {
            node_name: text("/hostnameOverride").map(str::to_owned),
            kubeconfig: text("/clientConnection/kubeconfig").map(PathBuf::from),
            notes: unused
                .map(|(name, _)| format!("KubeProxyConfiguration: {name} has no effect"))
                .collect(),
            ..Self::default()
        }
    }

    /// Where objects come from, if the file says it.
    pub(super) fn source(&self) -> anyhow::Result<Option<Source>> {
        let api = self.kubeconfig.is_some() || !self.api_servers.is_empty();
        Ok(match &self.manifests {
            Some(_) if api => {
                bail!("the configuration names both manifests and an API server: choose one")
            }
            Some(dir) => Some(Source::Directory(dir.clone())),
            None if api => Some(Source::Api {
                kubeconfig: self.kubeconfig.clone(),
                servers: self.api_servers.clone(),
            }),
            None => None,
        })
    }
}

/// Whether a field says more than that it is there: a written-out default does not.
fn is_set(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty() && text != "0s",
        Value::Array(values) => !values.is_empty(),
        Value::Object(fields) => fields.values().any(is_set),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_that_does_not_exist_is_named() {
        let error = ConfigFile::parse("nodeName: a\nmanifest: /b\n").unwrap_err();
        assert!(
            format!("{error:#}").contains("unknown field `manifest`"),
            "{error:#}"
        );
    }

    #[test]
    fn an_empty_file_sets_nothing() {
        assert_eq!(
            ConfigFile::parse("# nothing\n").unwrap(),
            ConfigFile::default()
        );
    }

    #[test]
    fn settings_are_those_of_the_flags() {
        let text = "nodeName: Edge-1\napiServers: [https://10.0.0.1:6443]\nattach: clsact\n";
        let file = ConfigFile::parse(text).unwrap();
        assert_eq!(file.node_name.as_deref(), Some("Edge-1"));
        assert_eq!(file.attach, Some(Attach::Clsact));
        assert_eq!(
            file.source().unwrap(),
            Some(Source::Api {
                kubeconfig: None,
                servers: vec!["https://10.0.0.1:6443".into()]
            })
        );
    }

    #[test]
    fn two_sources_in_one_file_are_refused() {
        let file = ConfigFile::parse("manifests: /a\nkubeconfig: /b\n").unwrap();
        assert!(file.source().is_err());
    }

    #[test]
    fn of_kube_proxys_configuration_the_node_and_the_api_count() {
        let file = ConfigFile::parse(
            "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n\
             hostnameOverride: node-1\nclientConnection: {kubeconfig: /k, qps: 5}\n\
             mode: nftables\nclusterCIDR: ''\niptables: {masqueradeAll: false, syncPeriod: 0s}\n",
        )
        .unwrap();
        assert_eq!(file.node_name.as_deref(), Some("node-1"));
        assert_eq!(file.kubeconfig, Some("/k".into()));
        assert_eq!(file.notes, ["KubeProxyConfiguration: mode has no effect"]);
    }

    #[test]
    fn another_kind_of_object_is_refused() {
        let error = ConfigFile::parse("kind: ConfigMap\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "a ConfigMap is no configuration of Switchboard"
        );
    }
}
