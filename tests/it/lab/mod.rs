//! What holds over real packets: the agents of a lab of network namespaces, their programs and
//! maps, and clients that only see who answers.

mod wiring;

use tests::lab::Topology;

const TOPOLOGIES: [Topology; 3] = [Topology::Ptp, Topology::Bridge, Topology::Vxlan];
