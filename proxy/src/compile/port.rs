//! One service port: its endpoints, which of them may be chosen, and its rows.

use super::{
    endpoints::join,
    part::{NoRoom, Part, Wanted},
    service::{Offer, ServicePortState, frontend_keys},
    store::{Store, Tabled},
    topology::Place,
    traffic_policy::select_cluster_ip,
};
use crate::{
    model::{Cluster, ObjectKey, Service},
    plan::Changes,
};

/// The Service that is compiled.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) key: &'a ObjectKey,
    pub(super) service: &'a Service,
}

// === impl Store: service ports ===

impl Store {
    /// A service port that is not in the desired tables: adopted from the maps, or with the lowest
    /// free id.
    pub(super) fn new_port(
        &mut self,
        service: &ObjectKey,
        offer: &Offer<'_>,
    ) -> Option<ServicePortState> {
        let (v4, v6) = (frontend_keys(&offer.claims), frontend_keys(&offer.claims));
        let parts = match self.adopt(&v4, &v6) {
            Some(adopted) => adopted,
            None => (self.take_service_id()?, Part::default(), Part::default()),
        };
        Some(ServicePortState::new(service.clone(), offer.port, parts))
    }

    /// Brings both families' rows to what they should be. One that does not fit does not keep the
    /// other back.
    pub(super) fn write_port(
        &mut self,
        target: Target<'_>,
        offer: &Offer<'_>,
        state: &mut ServicePortState,
        changes: &mut Changes,
    ) -> Result<(), NoRoom> {
        let (wanted4, wanted6) = (target.wanted(offer), target.wanted(offer));
        let v4 = Tabled::pass(self, changes).write(&mut state.v4, state.id, &wanted4);
        let v6 = Tabled::pass(self, changes).write(&mut state.v6, state.id, &wanted6);
        v4.and(v6)
    }
}

// === impl Target ===

impl Target<'_> {
    fn wanted<F: Tabled>(&self, offer: &Offer<'_>) -> Wanted<F> {
        let Self {
            cluster,
            key,
            service,
        } = self;
        let frontends = frontend_keys(&offer.claims);
        if frontends.is_empty() {
            return Wanted::default();
        }
        let zone = cluster.node().and_then(|node| node.zone.as_deref());
        let place = Place {
            node: cluster.node_name(),
            zone,
        };
        let endpoints = join(cluster.slices(key), offer.port);
        let selection = select_cluster_ip(service.internal_traffic_policy, &endpoints, place);
        Wanted::new(frontends, offer.port, &endpoints, &selection)
    }
}
