//! The configuration file: Switchboard's own, or kube-proxy's.

use std::{fs, path::Path};

use anyhow::{Context, bail};
use serde_json::Value;

use super::{Field, Settings, kube_proxy};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigFile {
    pub kind: Kind,
    pub settings: Settings,
    /// What was set without effect, or does not exist.
    pub notes: Vec<String>,
    /// Of a KubeProxyConfiguration: what became of each field that says something.
    pub fields: Vec<Field>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    #[default]
    Switchboard,
    KubeProxy,
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

    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        // A node may be called `n` or `on`.
        let options = serde_saphyr::options! { strict_booleans: true };
        let value: Value = serde_saphyr::from_str_with_options(text, options)?;
        let value = without_nulls(value);
        match value.get("kind").and_then(Value::as_str) {
            Some(kube_proxy::KIND) => Self::from_kube_proxy(&value),
            Some(kind) => bail!("a {kind} is no configuration of Switchboard"),
            None => match value {
                Value::Null => Ok(Self::default()),
                Value::Object(fields) => Ok(Self {
                    settings: Settings::read(fields)?,
                    ..Self::default()
                }),
                _ => bail!("not a mapping of settings"),
            },
        }
    }

    fn from_kube_proxy(value: &Value) -> anyhow::Result<Self> {
        let kube_proxy::Read { settings, fields } = kube_proxy::read(value)?;
        let noteworthy = fields.iter().filter(|field| field.is_noteworthy());
        Ok(Self {
            kind: Kind::KubeProxy,
            settings,
            notes: noteworthy
                .map(|field| format!("{}: {field}", kube_proxy::KIND))
                .collect(),
            fields,
        })
    }
}

/// A field without a value is the same as no field.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().filter(|(_, value)| !value.is_null());
            fields
                .map(|(name, value)| (name, without_nulls(value)))
                .collect()
        }
        other => other,
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
    fn a_value_of_another_type_is_named_by_its_field() {
        let error = ConfigFile::parse("conntrackMin: [1]\n").unwrap_err();
        assert!(
            error.to_string().starts_with("conntrackMin: invalid type"),
            "{error:#}"
        );
        assert!(ConfigFile::parse("- nodeName\n").is_err());
    }

    #[test]
    fn a_setting_without_a_value_is_not_set() {
        assert_eq!(
            ConfigFile::parse("nodeName:\napiServers: null\n").unwrap(),
            ConfigFile::default()
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
    fn another_kind_of_object_is_refused() {
        let error = ConfigFile::parse("kind: ConfigMap\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "a ConfigMap is no configuration of Switchboard"
        );
    }
}
