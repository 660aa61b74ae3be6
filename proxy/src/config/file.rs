//! The configuration file: Switchboard's own, or kube-proxy's for what means the same here.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use serde_json::Value;

use super::Settings;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigFile {
    pub settings: Settings,
    /// What was set without effect.
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
        // A node may be called `n` or `on`.
        let options = serde_saphyr::options! { strict_booleans: true };
        let value: Value = serde_saphyr::from_str_with_options(text, options)?;
        match value.get("kind").and_then(Value::as_str) {
            Some("KubeProxyConfiguration") => Ok(Self::from_kube_proxy(&value)),
            Some(kind) => bail!("a {kind} is no configuration of Switchboard"),
            None if value.is_null() => Ok(Self::default()),
            None => Ok(Self {
                settings: serde_json::from_value(value)?,
                notes: Vec::new(),
            }),
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
            settings: Settings {
                node_name: text("/hostnameOverride").map(str::to_owned),
                kubeconfig: text("/clientConnection/kubeconfig").map(PathBuf::from),
                ..Settings::default()
            },
            notes: unused
                .map(|(name, _)| format!("KubeProxyConfiguration: {name} has no effect"))
                .collect(),
        }
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
    use crate::config::Attach;

    #[test]
    fn a_setting_that_does_not_exist_is_named() {
        let error = ConfigFile::parse("nodeName: a\nmanifest: /b\n").unwrap_err();
        assert!(
            format!("{error:#}").contains("unknown field `manifest`"),
            "{error:#}"
        );
    }

    #[test]
    fn a_node_may_have_a_name_that_reads_like_a_boolean() {
        let settings = ConfigFile::parse("nodeName: n\n").unwrap().settings;
        assert_eq!(settings.node_name.as_deref(), Some("n"));
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
        let settings = ConfigFile::parse(text).unwrap().settings;
        assert_eq!(settings.node_name.as_deref(), Some("Edge-1"));
        assert_eq!(settings.api_servers, ["https://10.0.0.1:6443"]);
        assert_eq!(settings.attach, Some(Attach::Clsact));
    }

    #[test]
    fn of_kube_proxys_configuration_the_node_and_the_api_count() {
        let file = ConfigFile::parse(
            "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n\
             hostnameOverride: node-1\nclientConnection: {kubeconfig: /k, qps: 5}\n\
             mode: nftables\nclusterCIDR: ''\niptables: {masqueradeAll: false, syncPeriod: 0s}\n",
        )
        .unwrap();
        assert_eq!(file.settings.node_name.as_deref(), Some("node-1"));
        assert_eq!(file.settings.kubeconfig, Some("/k".into()));
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
