//! Kubernetes' feature gates, as `A=true,B=false` and as a mapping.

use std::{collections::BTreeMap, str::FromStr};

use serde::{Deserialize, Serialize};

use super::go_bool;

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct FeatureGates(pub BTreeMap<String, bool>);

// === impl FeatureGates ===

impl FromStr for FeatureGates {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut gates = BTreeMap::new();
        for part in text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            let Some((name, value)) = part.split_once('=') else {
                return Err(format!("{part:?} is not GATE=true or GATE=false"));
            };
            gates.insert(name.trim().to_owned(), go_bool(value.trim())?);
        }
        Ok(Self(gates))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_are_read_from_a_flag() {
        let gates: FeatureGates = "A=true, B=F,,".parse().unwrap();
        assert_eq!(
            gates.0,
            BTreeMap::from([("A".to_owned(), true), ("B".to_owned(), false)])
        );
        for text in ["A", "A=", "A=yes"] {
            assert!(text.parse::<FeatureGates>().is_err(), "{text}");
        }
    }
}
