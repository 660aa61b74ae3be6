//! Why some of what kube-proxy can be told has no effect here.

pub(super) const ENCODING: &str = "the API is spoken to in JSON";
pub(super) const PACE: &str = "only lists and watches are asked for";
pub(super) const FLUSHED: &str = "every line is written at once";
pub(super) const MODULES: &str = "the setting log names modules instead";
pub(super) const STDERR: &str = "everything goes to standard error";
pub(super) const HIDDEN: &str = "no metric is hidden";
pub(super) const MARK: &str = "packets are not marked";
pub(super) const MASQUERADE: &str = "the client's address is kept where replies find back";
pub(super) const LOOPBACK: &str = "only nodePortAddresses can name loopback";
pub(super) const AT_ONCE: &str = "what changed is programmed at once";
pub(super) const WATCHED: &str = "a watch tells everything, and is not listed again";
pub(super) const IPVS: &str = "the kernel's IPVS is not used";
pub(super) const SCHEDULER: &str = "there is no such algorithm: backends are drawn at random";
pub(super) const PROFILES: &str = "there are no profiles";
pub(super) const OOM: &str = "the kubelet sets it, by the priority of the pod";
pub(super) const DEVICES: &str = "this node's pods are known by their devices";
pub(super) const GATE: &str = "nothing here depends on it";
pub(super) const UNUSED: &str = "kube-proxy does not use it either";
