//! ServiceCIDRs: the ranges that ClusterIPs are taken from (4).

use k8s_openapi::api::networking::v1::ServiceCIDR as ApiServiceCidr;

use super::{Problems, Scope, address::parse_prefix, apply, invalid, key};
use crate::model::{Event, Kind, Object, ServiceCidr};

pub fn service_cidr(object: &ApiServiceCidr, scope: &Scope) -> Event {
    let key = key(Kind::ServiceCidr, &object.metadata, scope);
    let texts = object
        .spec
        .as_ref()
        .and_then(|spec| spec.cidrs.as_deref())
        .unwrap_or_default();
    let mut problems = Problems::default();
    let mut cidrs = Vec::new();
    for text in texts {
        match parse_prefix(text) {
            Some(prefix) => cidrs.push(prefix),
            None => problems.push(format!("cidr {text:?} is not a prefix")),
        }
    }
    if cidrs.is_empty() {
        problems.push("no usable cidr".to_owned());
        return invalid(Kind::ServiceCidr, key, problems);
    }
    apply(Object::ServiceCidr(key, ServiceCidr { cidrs }), problems)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;
    use crate::watch::{convert::Origin, text};

    #[rstest]
    #[case::dual_stack_4(
        json!(["10.96.0.0/16", "fd00:96::/112"]),
        expect!["apply ServiceCIDR kubernetes cidrs=[10.96.0.0/16 fd00:96::/112]"],
    )]
    #[case::sloppy_7(
        json!([" 010.96.0.0/016 "]),
        expect!["apply ServiceCIDR kubernetes cidrs=[10.96.0.0/16]"],
    )]
    #[case::bad_one_loses_itself_only(
        json!(["10.96.0.0", "fd00:96::/112"]),
        expect![[r#"
            apply ServiceCIDR kubernetes cidrs=[fd00:96::/112]
              ! cidr "10.96.0.0" is not a prefix"#]],
    )]
    #[case::none_usable(
        json!(["10.96.0.0/99"]),
        expect![[r#"
            invalid ServiceCIDR kubernetes
              ! cidr "10.96.0.0/99" is not a prefix
              ! no usable cidr"#]],
    )]
    fn service_cidr_converts(#[case] cidrs: Value, #[case] expect: Expect) {
        let scope = Scope {
            node: "a".into(),
            origin: Origin::Api,
        };
        let object = json!({"metadata": {"name": "kubernetes"}, "spec": {"cidrs": cidrs}});
        let object = serde_json::from_value(object).unwrap();
        expect.assert_eq(&text::render(&service_cidr(&object, &scope)));
    }
}
