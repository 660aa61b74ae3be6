//! Flags and file weighed against each other.

use std::path::Path;

use super::{
    ConfigFile, KubeProxyFlags, Proxy, ProxySettings, Settings, file::Kind,
    proxy::EXTERNAL_IPS_GATE, reasons, settings::fields_of,
};

/// What somebody has said, before defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    pub settings: Settings,
    /// What was said without effect.
    pub notes: Vec<String>,
}

// === impl Told ===

impl Told {
    /// Flags win over the file. Only beside a KubeProxyConfiguration it is as with kube-proxy: of
    /// what such a file can say, nothing is taken from flags but the node's name, where the API is
    /// and what is logged.
    pub fn new(
        mut flags: Settings,
        kube_proxy: &KubeProxyFlags,
        file: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let mut file = match file {
            Some(path) => ConfigFile::read(path)?,
            None => ConfigFile::default(),
        };
        kube_proxy.apply(&mut flags);
        let mut notes = kube_proxy.notes()?;
        if file.kind == Kind::KubeProxy {
            notes.extend(outdone(&flags.proxy, &file.settings.proxy)?);
            file.settings.proxy = file.settings.proxy.or(std::mem::take(&mut flags.proxy));
        }
        notes.append(&mut file.notes);
        let mut settings = flags.or(file.settings);
        if let Some(master) = kube_proxy.master.clone().filter(|url| !url.is_empty())
            && settings.manifests.is_none()
            && settings.api_servers.is_empty()
        {
            settings.api_servers.push(master);
        }
        notes.extend(without_effect(&settings.proxy));
        Ok(Self { settings, notes })
    }

    /// With every default of the proxy's spelled out.
    pub fn effective(&self) -> anyhow::Result<Settings> {
        Ok(Settings {
            proxy: ProxySettings::from(&Proxy::new(&self.settings.proxy)?),
            ..self.settings.clone()
        })
    }
}

/// What is read, because kube-proxy has it, and changes nothing.
fn without_effect(settings: &ProxySettings) -> Vec<String> {
    let devices = [
        ("podBridgeInterface", &settings.pod_bridge_interface),
        (
            "podInterfaceNamePrefix",
            &settings.pod_interface_name_prefix,
        ),
    ];
    let set = devices
        .into_iter()
        .filter(|(_, name)| name.as_ref().is_some_and(|name| !name.is_empty()));
    let devices = set.map(|(name, _)| format!("{name}: no effect: {}", reasons::DEVICES));
    let gates = settings.feature_gates.iter();
    let gates = gates
        .flat_map(|gates| gates.0.keys())
        .filter(|name| *name != EXTERNAL_IPS_GATE)
        .map(|name| format!("featureGates.{name}: no effect: {}", reasons::GATE));
    devices.chain(gates).collect()
}

/// The flags that the file goes before.
fn outdone(flags: &ProxySettings, file: &ProxySettings) -> anyhow::Result<Vec<String>> {
    let (flags, file) = (fields_of(flags)?, fields_of(file)?);
    let outdone = flags.iter().filter(|(name, value)| {
        !value.is_null() && !file[*name].is_null() && file[*name] != **value
    });
    Ok(outdone
        .map(|(name, _)| format!("{name}: the KubeProxyConfiguration counts, and not the flag"))
        .collect())
}
