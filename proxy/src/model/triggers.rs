//! When that happened of which changes of slices came, until somebody asks how long it took to
//! program them (services.md, section 2: network_programming_duration_seconds).

use std::collections::HashMap;

use super::{IpFamily, ObjectKey};

/// Changes of one Service, and Services, that are counted between two passes; the metric is a
/// distribution, and more than these tell nothing new.
const SERVICE_TRIGGERS_MAX: usize = 16;
const SERVICES_MAX: usize = 4096;

/// Something that changed a slice of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trigger {
    pub family: IpFamily,
    /// Milliseconds since 1970.
    pub at_ms: i64,
}

#[derive(Debug, Default)]
pub(super) struct Triggers(HashMap<ObjectKey, Vec<Trigger>>);

// === impl Triggers ===

impl Triggers {
    pub(super) fn add(&mut self, service: &ObjectKey, trigger: Trigger) {
        if let Some(known) = self.0.get_mut(service) {
            if known.len() < SERVICE_TRIGGERS_MAX {
                known.push(trigger);
            }
        } else if self.0.len() < SERVICES_MAX {
            self.0.insert(service.clone(), vec![trigger]);
        }
    }

    /// A slice of this Service is gone. Its last trigger was that of an earlier change, so nothing
    /// is known of when the deletion happened.
    pub(super) fn forget(&mut self, service: &ObjectKey) {
        self.0.remove(service);
    }

    pub(super) fn take(&mut self) -> Vec<Trigger> {
        std::mem::take(&mut self.0)
            .into_values()
            .flatten()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        Kind,
        testing::{apply_slice, delete, endpoint, key, slice, synced_cluster},
    };

    fn changed(addr: &str, at_ms: i64) -> crate::model::EndpointSlice {
        crate::model::EndpointSlice {
            triggered_ms: Some(at_ms),
            ..slice(&["/tcp=80"], vec![endpoint(addr)])
        }
    }

    #[test]
    fn a_change_counts_once_and_an_annotation_alone_is_no_change_127() {
        let mut cluster = synced_cluster();
        apply_slice(&mut cluster, "web", "a", changed("10.1.0.1", 1));
        apply_slice(&mut cluster, "web", "b", changed("fd00::1", 2));
        cluster.take_dirty();
        apply_slice(&mut cluster, "web", "a", changed("10.1.0.1", 3));
        assert!(cluster.take_dirty().is_empty());
        let triggers = [(IpFamily::V4, 1), (IpFamily::V6, 2)];
        let triggers = triggers.map(|(family, at_ms)| Trigger { family, at_ms });
        assert_eq!(cluster.take_triggers(), triggers);
        assert_eq!(cluster.take_triggers(), []);
    }

    #[test]
    fn a_deletion_takes_the_triggers_of_its_service_along() {
        let mut cluster = synced_cluster();
        apply_slice(&mut cluster, "web", "a", changed("10.1.0.1", 1));
        delete(&mut cluster, Kind::EndpointSlice, "web-a");
        assert_eq!(cluster.take_triggers(), []);
    }

    #[test]
    fn triggers_that_nobody_takes_are_bounded() {
        let mut triggers = Triggers::default();
        let trigger = |at_ms| Trigger {
            family: IpFamily::V4,
            at_ms,
        };
        for at_ms in 0..100 {
            triggers.add(&key("web"), trigger(at_ms));
        }
        for name in 0..2 * SERVICES_MAX {
            triggers.add(&key(&name.to_string()), trigger(0));
        }
        assert_eq!(
            triggers.take().len(),
            SERVICE_TRIGGERS_MAX + SERVICES_MAX - 1
        );
    }
}
