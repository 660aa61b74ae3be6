//! The certificates and keys of a control plane, and the kubeconfigs that name them.

use std::{
    fs,
    fs::Permissions,
    net::IpAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use serde_json::json;

/// The names by which clients inside a cluster know the API server.
const SERVER_NAMES: [&str; 5] = [
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "localhost",
];

/// A folder of certificates, all from one authority whose key stays in memory.
pub(super) struct Pki {
    dir: PathBuf,
    authority: Issuer<'static, KeyPair>,
}

// === impl Pki ===

impl Pki {
    /// Makes a new authority, and the keys of the service accounts beside it.
    pub(super) fn create(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
        let mut params = CertificateParams::default();
        params.distinguished_name = subject("switchboard-test-ca", None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let key = KeyPair::generate().context("make the authority's key")?;
        let certificate = params.self_signed(&key).context("sign the authority")?;
        write(&dir.join("ca.crt"), &certificate.pem())?;
        let accounts = KeyPair::generate().context("make the service accounts' key")?;
        write(&dir.join("sa.key"), &accounts.serialize_pem())?;
        write(&dir.join("sa.pub"), &accounts.public_key_pem())?;
        Ok(Self {
            dir: dir.to_owned(),
            authority: Issuer::new(params, key),
        })
    }

    /// The API server's own certificate: `apiserver.crt`, `apiserver.key`.
    pub(super) fn issue_server(&self, addresses: &[IpAddr]) -> Result<()> {
        let mut params = CertificateParams::new(SERVER_NAMES.map(str::to_owned))
            .context("name the API server")?;
        params.distinguished_name = subject("kube-apiserver", None);
        params
            .subject_alt_names
            .extend(addresses.iter().map(|&ip| SanType::IpAddress(ip)));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(params, "apiserver")
    }

    /// A client's certificate, `NAME.crt` and `NAME.key`, and `NAME.kubeconfig` that uses it.
    pub(super) fn issue_client(&self, name: &str, user: User<'_>, server: &str) -> Result<()> {
        let mut params = CertificateParams::default();
        params.distinguished_name = subject(user.name, user.group);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params, name)?;
        let credentials = json!({
            "client-certificate": self.dir.join(format!("{name}.crt")),
            "client-key": self.dir.join(format!("{name}.key")),
        });
        write_kubeconfig(&self.dir, name, server, &credentials)
    }

    fn issue(&self, mut params: CertificateParams, name: &str) -> Result<()> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().with_context(|| format!("make the key of {name}"))?;
        let certificate = params
            .signed_by(&key, &self.authority)
            .with_context(|| format!("sign the certificate of {name}"))?;
        write(&self.dir.join(format!("{name}.crt")), &certificate.pem())?;
        write(&self.dir.join(format!("{name}.key")), &key.serialize_pem())
    }
}

/// Whom the API server takes the holder of a certificate for.
#[derive(Clone, Copy)]
pub(super) struct User<'a> {
    pub(super) name: &'a str,
    pub(super) group: Option<&'a str>,
}

/// Writes `NAME.kubeconfig` into `dir`, which holds `ca.crt`.
pub(super) fn write_kubeconfig(
    dir: &Path,
    name: &str,
    server: &str,
    credentials: &serde_json::Value,
) -> Result<()> {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{"name": name, "cluster": {
            "server": server, "certificate-authority": dir.join("ca.crt"),
        }}],
        "users": [{"name": name, "user": credentials}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
    });
    write(&dir.join(format!("{name}.kubeconfig")), &config.to_string())
}

/// Kubernetes reads the user from the common name and its groups from the organisations.
fn subject(name: &str, group: Option<&str>) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    if let Some(group) = group {
        subject.push(DnType::OrganizationName, group);
    }
    subject
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    fs::set_permissions(path, Permissions::from_mode(0o600))
        .with_context(|| format!("restrict {}", path.display()))
}
