//! Which Service has a frontend that several claim: the older one, then the lesser name
//! (services.md 22 and section 3).

use std::{
    collections::HashMap,
    fmt,
    net::{IpAddr, SocketAddr},
};

use crate::model::{ObjectKey, Protocol};

/// What is claimed: an address, a port and a protocol. The unspecified address stands for every
/// address of the node, where node ports are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Claim {
    pub(super) addr: IpAddr,
    pub(super) port: u16,
    pub(super) protocol: Protocol,
}

#[derive(Debug, Default)]
pub(super) struct Claims {
    claimants: HashMap<ObjectKey, Claimant>,
    owners: HashMap<Claim, Ownership>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Claimant {
    created_s: i64,
    claims: Box<[Claim]>,
}

#[derive(Debug)]
struct Ownership {
    owner: ObjectKey,
    waiting: Vec<ObjectKey>,
}

// === impl Claims ===

impl Claims {
    pub(super) fn owner(&self, claim: &Claim) -> Option<&ObjectKey> {
        self.owners.get(claim).map(|ownership| &ownership.owner)
    }

    /// Replaces what a Service claims, and names the other Services that won or lost a frontend by
    /// it. `claims` has no repetition.
    pub(super) fn set(
        &mut self,
        service: &ObjectKey,
        created_s: i64,
        claims: Vec<Claim>,
    ) -> Vec<ObjectKey> {
        let claimant = Claimant {
            created_s,
            claims: claims.into(),
        };
        if self
            .claimants
            .get(service)
            .unwrap_or(&Claimant::default())
            .eq_for_owners(&claimant)
        {
            return Vec::new();
        }
        let mut affected = Vec::new();
        for claim in self.claimants.remove(service).unwrap_or_default().claims {
            affected.extend(self.withdraw(&claim, service));
        }
        for claim in &claimant.claims {
            affected.extend(self.enter(*claim, service, created_s));
        }
        if !claimant.claims.is_empty() {
            self.claimants.insert(service.clone(), claimant);
        }
        affected.retain(|other| other != service);
        affected
    }

    /// Takes one claim back, and names the Service that has the frontend instead.
    fn withdraw(&mut self, claim: &Claim, service: &ObjectKey) -> Option<ObjectKey> {
        let mut ownership = self.owners.remove(claim)?;
        if ownership.owner != *service {
            ownership.waiting.retain(|other| other != service);
            self.owners.insert(*claim, ownership);
            return None;
        }
        let heir = ownership
            .waiting
            .iter()
            .min_by_key(|other| self.precedence(other))?
            .clone();
        ownership.waiting.retain(|other| *other != heir);
        self.owners.insert(
            *claim,
            Ownership {
                owner: heir.clone(),
                waiting: ownership.waiting,
            },
        );
        Some(heir)
    }

    /// Enters one claim, and names the Service that loses the frontend to it.
    fn enter(&mut self, claim: Claim, service: &ObjectKey, created_s: i64) -> Option<ObjectKey> {
        let Some(owner) = self.owner(&claim) else {
            let ownership = Ownership {
                owner: service.clone(),
                waiting: Vec::new(),
            };
            self.owners.insert(claim, ownership);
            return None;
        };
        let wins = (created_s, service) < self.precedence(owner);
        let ownership = self.owners.get_mut(&claim)?;
        if !wins {
            ownership.waiting.push(service.clone());
            return None;
        }
        let loser = std::mem::replace(&mut ownership.owner, service.clone());
        ownership.waiting.push(loser.clone());
        Some(loser)
    }

    fn precedence<'a>(&self, service: &'a ObjectKey) -> (i64, &'a ObjectKey) {
        let created_s = self
            .claimants
            .get(service)
            .map_or(i64::MAX, |found| found.created_s);
        (created_s, service)
    }
}

// === impl Claimant ===

impl Claimant {
    /// Without claims, the age says nothing.
    fn eq_for_owners(&self, other: &Self) -> bool {
        self == other || (self.claims.is_empty() && other.claims.is_empty())
    }
}

// === impl Claim ===

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            addr,
            port,
            protocol,
        } = *self;
        if addr.is_unspecified() {
            return write!(f, "nodePort {port}/{protocol}");
        }
        write!(f, "{}/{protocol}", SocketAddr::new(addr, port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new("default", name)
    }

    fn claim(port: u16) -> Claim {
        Claim {
            addr: "10.96.0.1".parse().unwrap(),
            port,
            protocol: Protocol::Tcp,
        }
    }

    fn owner(claims: &Claims, port: u16) -> Option<String> {
        claims
            .owner(&claim(port))
            .map(|owner| owner.name.to_string())
    }

    #[test]
    fn the_older_service_wins_whoever_comes_first_22() {
        for order in [["old", "young"], ["young", "old"]] {
            let mut claims = Claims::default();
            for name in order {
                let created_s = if name == "old" { 100 } else { 200 };
                claims.set(&key(name), created_s, vec![claim(80)]);
            }
            assert_eq!(owner(&claims, 80).as_deref(), Some("old"), "{order:?}");
        }
    }

    #[test]
    fn the_name_decides_between_equals_22() {
        let mut claims = Claims::default();
        claims.set(&key("b"), 100, vec![claim(80)]);
        assert_eq!(claims.set(&key("a"), 100, vec![claim(80)]), [key("b")]);
        assert_eq!(owner(&claims, 80).as_deref(), Some("a"));
    }

    #[test]
    fn the_next_in_age_takes_over_what_is_given_up_22() {
        let mut claims = Claims::default();
        claims.set(&key("first"), 100, vec![claim(80), claim(81)]);
        claims.set(&key("third"), 300, vec![claim(80)]);
        claims.set(&key("second"), 200, vec![claim(80)]);
        assert_eq!(
            claims.set(&key("first"), 100, vec![claim(81)]),
            [key("second")]
        );
        assert_eq!(owner(&claims, 80).as_deref(), Some("second"));
        assert_eq!(claims.set(&key("second"), 0, Vec::new()), [key("third")]);
        assert_eq!(claims.set(&key("third"), 0, Vec::new()), []);
        assert_eq!(owner(&claims, 80), None);
        assert_eq!(owner(&claims, 81).as_deref(), Some("first"));
    }

    #[test]
    fn a_service_that_is_made_anew_is_younger_22() {
        let mut claims = Claims::default();
        claims.set(&key("a"), 100, vec![claim(80)]);
        claims.set(&key("b"), 200, vec![claim(80)]);
        assert_eq!(claims.set(&key("a"), 300, vec![claim(80)]), [key("b")]);
        assert_eq!(owner(&claims, 80).as_deref(), Some("b"));
    }

    #[test]
    fn who_waits_and_leaves_affects_nobody() {
        let mut claims = Claims::default();
        claims.set(&key("a"), 100, vec![claim(80)]);
        claims.set(&key("b"), 200, vec![claim(80)]);
        assert_eq!(claims.set(&key("b"), 0, Vec::new()), []);
        assert_eq!(claims.set(&key("a"), 0, Vec::new()), []);
        assert!(claims.owners.is_empty() && claims.claimants.is_empty());
    }
}
