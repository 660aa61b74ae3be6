//! One service port: its endpoints, which of them may be chosen, and its rows.

use proxy_datapath::frontend::{KIND_SHIFT, SOURCE_RANGES, kind};

use super::{
    Settings,
    endpoints::join,
    offers::{Offer, frontend_keys},
    part::{NoRoom, Part, Wanted, WantedFrontend},
    scene::Scene,
    service::ServicePortState,
    sources,
    store::{Store, Tabled},
    topology::Place,
    traffic_policy::{List, Lists, cluster_ip_list, is_local, wire_list},
};
use crate::{
    config::Algorithm,
    model::{Cluster, IpFamily, ObjectKey, Service},
    plan::Changes,
};

/// The Service that is compiled, and where.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) scene: &'a Scene,
    pub(super) settings: &'a Settings,
    pub(super) key: &'a ObjectKey,
    pub(super) service: &'a Service,
}

/// Nanoseconds in the programs' second (`Services::now_s`).
const TICK_NS: u64 = 1 << 30;

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
        let wanted4 = target.wanted(offer, IpFamily::V4);
        let wanted6 = target.wanted(offer, IpFamily::V6);
        let v4 = Tabled::pass(self, changes).write(&mut state.v4, state.id, wanted4);
        let v6 = Tabled::pass(self, changes).write(&mut state.v6, state.id, wanted6);
        v4.and(v6)
    }
}

// === impl Target ===

impl Target<'_> {
    fn wanted<F: Tabled>(&self, offer: &Offer<'_>, family: IpFamily) -> Wanted<F> {
        let Self {
            cluster,
            scene,
            settings,
            key,
            service,
        } = *self;
        let admitted = sources::admitted(service, family, scene, settings);
        let frontends = self.frontends(offer, admitted.is_some());
        if frontends.is_empty() {
            return Wanted::default();
        }
        let place = Place {
            node: cluster.node_name(),
            zone: cluster.node().and_then(|node| node.zone.as_deref()),
        };
        let endpoints = join(cluster.slices(key), offer.port);
        let asked_for = frontends
            .iter()
            .flat_map(|frontend| [frontend.inside, frontend.wire]);
        let lists = Lists::choose(asked_for, &endpoints, place);
        let is_guarded = |frontend: &WantedFrontend<F>| frontend.flags & SOURCE_RANGES != 0;
        let algorithm = service.algorithm.unwrap_or(settings.algorithm);
        let mut wanted = Wanted {
            sources: if frontends.iter().any(is_guarded) {
                admitted.unwrap_or_default()
            } else {
                Vec::new()
            },
            frontends,
            maglev: algorithm == Algorithm::Maglev,
            affinity: service.affinity_timeout_s.map_or(0, ticks),
            ..Wanted::default()
        };
        wanted.add_backends(offer.port, &endpoints, &lists, |endpoint| {
            is_local(endpoint, place.node) || scene.is_here(endpoint.addr)
        });
        wanted
    }

    /// `is_guarded`: the load-balancer addresses of this family ask who comes.
    fn frontends<F: Tabled>(&self, offer: &Offer<'_>, is_guarded: bool) -> Vec<WantedFrontend<F>> {
        let (cluster_ip, wire) = (cluster_ip_list(self.service), wire_list(self.service));
        let frontend = |offered: &super::offers::Offered| {
            let (inside, wire) = match offered.kind {
                kind::CLUSTER_IP => (cluster_ip, cluster_ip),
                _ => (List::Cluster, wire),
            };
            let guard = match offered.kind {
                kind::LOAD_BALANCER if is_guarded => SOURCE_RANGES,
                _ => 0,
            };
            Some(WantedFrontend {
                key: offered.key()?,
                inside,
                wire,
                flags: offered.kind << KIND_SHIFT | guard,
            })
        };
        offer.claims.iter().filter_map(frontend).collect()
    }
}

/// Seconds on the programs' clock, rounded up.
fn ticks(seconds: u32) -> u32 {
    let ticks = (u64::from(seconds) * 1_000_000_000).div_ceil(TICK_NS);
    u32::try_from(ticks).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_never_shorter_on_the_programs_clock_84() {
        for (seconds, expected) in [(1, 1), (125, 117), (10_800, 10_059), (86_400, 80_467)] {
            let ticks = ticks(seconds);
            assert_eq!(ticks, expected, "{seconds} s");
            assert!(u64::from(ticks) * TICK_NS >= u64::from(seconds) * 1_000_000_000);
        }
    }
}
