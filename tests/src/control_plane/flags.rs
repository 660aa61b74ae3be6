//! What each program of the control plane is told on its command line.

use super::{CONTROLLER_MANAGER, ControlPlane};

/// The ranges of ClusterIPs, those of the lab.
const SERVICE_RANGES: &str = "10.96.0.0/16,fd00:96::/112";

// === impl ControlPlane ===

impl ControlPlane {
    fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    pub(super) fn etcd_flags(&self) -> Vec<String> {
        let client = self.state.etcd_url();
        let peer = format!("http://127.0.0.1:{}", self.state.peer_port);
        flags(&[
            ("name", "switchboard"),
            ("data-dir", &self.path("etcd")),
            // A crash of the machine may lose the cluster; a test does not care.
            ("unsafe-no-fsync", "true"),
            ("log-level", "warn"),
            ("listen-client-urls", &client),
            ("advertise-client-urls", &client),
            ("listen-peer-urls", &peer),
            ("initial-advertise-peer-urls", &peer),
            ("initial-cluster", &format!("switchboard={peer}")),
        ])
    }

    pub(super) fn api_server_flags(&self, index: usize) -> Vec<String> {
        let address = self.state.site.address;
        // The endpoint of the `kubernetes` Service is the first server's alone: two at one address
        // would take turns in writing their ports. A loopback address is refused there.
        let reconciler = if index > 0 || address.is_loopback() {
            "none"
        } else {
            "lease"
        };
        flags(&[
            ("etcd-servers", &self.state.etcd_url()),
            ("bind-address", &address.to_string()),
            ("advertise-address", &address.to_string()),
            ("secure-port", &self.state.api_ports[index].to_string()),
            ("endpoint-reconciler-type", reconciler),
            ("service-cluster-ip-range", SERVICE_RANGES),
            ("authorization-mode", "Node,RBAC"),
            ("allow-privileged", "true"),
            ("client-ca-file", &self.path("pki/ca.crt")),
            ("tls-cert-file", &self.path("pki/apiserver.crt")),
            ("tls-private-key-file", &self.path("pki/apiserver.key")),
            (
                "service-account-issuer",
                "https://kubernetes.default.svc.cluster.local",
            ),
            ("service-account-key-file", &self.path("pki/sa.pub")),
            ("service-account-signing-key-file", &self.path("pki/sa.key")),
        ])
    }

    pub(super) fn controller_flags(&self) -> Vec<String> {
        let kubeconfig = self.path(&format!("pki/{CONTROLLER_MANAGER}.kubeconfig"));
        flags(&[
            ("kubeconfig", &kubeconfig),
            ("use-service-account-credentials", "true"),
            ("service-account-private-key-file", &self.path("pki/sa.key")),
            ("root-ca-file", &self.path("pki/ca.crt")),
            ("service-cluster-ip-range", SERVICE_RANGES),
            ("leader-elect", "false"),
            // It serves nothing that anybody here reads.
            ("secure-port", "0"),
            // No kubelet reports the pods, so these two would evict and delete them.
            (
                "controllers",
                "*,-node-lifecycle-controller,-pod-garbage-collector-controller",
            ),
        ])
    }
}

fn flags(flags: &[(&str, &str)]) -> Vec<String> {
    flags
        .iter()
        .map(|(name, value)| format!("--{name}={value}"))
        .collect()
}
