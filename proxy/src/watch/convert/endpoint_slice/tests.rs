//! Each rule about EndpointSlices as the smallest object that shows it.

use expect_test::{Expect, expect};
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::watch::text;

/// `fields` over an ordinary slice.
fn object(fields: &Value) -> Value {
    let mut object = json!({
        "metadata": {"namespace": "n", "name": "s-1",
            "labels": {"kubernetes.io/service-name": "s"}},
        "addressType": "IPv4",
        "ports": [{"name": "", "port": 80, "protocol": "TCP"}],
        "endpoints": [{"addresses": ["10.1.0.5"]}]});
    for (field, value) in fields.as_object().unwrap() {
        object[field] = value.clone();
    }
    object
}

#[track_caller]
fn check(origin: Origin, object: Value, expect: &Expect) {
    let scope = Scope {
        node: "a".into(),
        origin,
    };
    let object = serde_json::from_value(object).unwrap();
    expect.assert_eq(&text::render(&endpoint_slice(&object, &scope)));
}

#[rstest]
#[case::fqdn_9(json!({"addressType": "FQDN"}), expect!["delete EndpointSlice n/s-1"])]
#[case::unknown_address_type_9(
    json!({"addressType": "IPv7"}),
    expect![[r#"
        invalid EndpointSlice n/s-1
          ! addressType "IPv7" is unknown"#]],
)]
#[case::unnamed_ports_10(
    json!({"ports": [{"port": 80}, {"name": "", "port": 81}, {"name": "a", "port": 82}]}),
    expect![[r#"
        apply EndpointSlice n/s-1 of=s ports=[:81/tcp a:82/tcp]
          10.1.0.5"#]],
)]
#[case::ports_without_number_10(
    json!({"ports": [{"name": "a"}, {"name": "b", "port": 0}, {"name": "c", "port": 1}]}),
    expect![[r#"
        apply EndpointSlice n/s-1 of=s ports=[c:1/tcp]
          10.1.0.5"#]],
)]
#[case::bad_ports_lose_themselves_only(
    json!({"ports": [{"name": "a", "port": -5}, {"name": "b", "port": 1, "protocol": "X"},
        {"name": "c", "port": 53, "protocol": "UDP"}]}),
    expect![[r#"
        apply EndpointSlice n/s-1 of=s ports=[c:53/udp]
          10.1.0.5
          ! port "a" has the impossible number -5
          ! port "b" has the unknown protocol "X""#]],
)]
#[case::only_the_first_address_10(
    json!({"endpoints": [{"addresses": []}, {"addresses": ["10.1.0.6", "10.1.0.7"]}]}),
    expect![[r#"
        apply EndpointSlice n/s-1 of=s ports=[:80/tcp]
          10.1.0.6"#]],
)]
#[case::nil_conditions_14(
    json!({"endpoints": [{"addresses": ["10.1.0.5"], "conditions": {}},
        {"addresses": ["10.1.0.6"], "conditions": {"ready": null, "serving": null}}]}),
    expect![[r#"
        apply EndpointSlice n/s-1 of=s ports=[:80/tcp]
          10.1.0.5
          10.1.0.6"#]],
)]
#[case::conditions_14(
    json!({"endpoints": [
        {"addresses": ["10.1.0.5"], "conditions": {"ready": false}},
        {"addresses": ["10.1.0.6"],
            "conditions": {"ready": false, "serving": true, "terminating": true}},
        {"addresses": ["10.1.0.7"], "conditions": {"ready": false, "serving": false}}]}),
    expect![[r#"
        apply EndpointSlice n/s-1 of=s ports=[:80/tcp]
          10.1.0.5 unready
          10.1.0.6 unready terminating
          10.1.0.7 unready unserving"#]],
)]
#[case::node_15(
    json!({"endpoints": [{"addresses": ["10.1.0.5"], "nodeName": "a", "zone": "z"},
        {"addresses": ["10.1.0.6"], "nodeName": ""}]}),
    expect![[r#"
        apply EndpointSlice n/s-1 of=s ports=[:80/tcp]
          10.1.0.5 node=a zone=z
          10.1.0.6"#]],
)]
#[case::published_while_terminating_16(
    json!({"endpoints": [
        {"addresses": ["10.1.0.5"], "conditions": {"ready": true, "terminating": true}}]}),
    expect![[r#"
        apply EndpointSlice n/s-1 of=s ports=[:80/tcp]
          10.1.0.5 terminating"#]],
)]
#[case::hints_38(
    json!({"endpoints": [{"addresses": ["10.1.0.5"],
        "hints": {"forZones": [{"name": "z1"}, {"name": ""}, {"name": "z2"}], "forNodes": [{"name": "a"}]}}]}),
    expect![[r#"
        apply EndpointSlice n/s-1 of=s ports=[:80/tcp]
          10.1.0.5 zones=[z1 z2] nodes=[a]"#]],
)]
#[case::leading_zeros_7(
    json!({"endpoints": [{"addresses": ["010.01.0.005"]}]}),
    expect![[r#"
        apply EndpointSlice n/s-1 of=s ports=[:80/tcp]
          10.1.0.5"#]],
)]
#[case::bad_endpoints_lose_themselves_only(
    json!({"endpoints": [{"addresses": ["10.1.0"]}, {"addresses": ["fd01::5"]},
        {"addresses": ["10.1.0.5"]}]}),
    expect![[r#"
        apply EndpointSlice n/s-1 of=s ports=[:80/tcp]
          10.1.0.5
          ! endpoint "10.1.0" is not an IP address
          ! endpoint "fd01::5" is no IPv4 address, as its slice says"#]],
)]
#[case::mapped_address_is_not_ipv6(
    json!({"addressType": "IPv6", "endpoints": [{"addresses": ["::ffff:10.1.0.5"]},
        {"addresses": ["fd01::5"]}]}),
    expect![[r#"
        apply EndpointSlice n/s-1 of=s ports=[:80/tcp]
          fd01::5
          ! endpoint "::ffff:10.1.0.5" is no IPv6 address, as its slice says"#]],
)]
fn slice_of_the_api_converts(#[case] fields: Value, #[case] expect: Expect) {
    check(Origin::Api, object(&fields), &expect);
}

#[rstest]
#[case::any_value("true")]
#[case::empty_value("")]
fn headless_label_takes_the_slice_away_2(#[case] value: &str) {
    let mut object = object(&json!({}));
    object["metadata"]["labels"][HEADLESS_LABEL] = json!(value);
    check(Origin::Api, object, &expect!["delete EndpointSlice n/s-1"]);
}

#[rstest]
#[case::absent(json!({}))]
#[case::empty(json!({"kubernetes.io/service-name": ""}))]
fn slice_of_no_service_is_reported_9(#[case] labels: Value) {
    let mut object = object(&json!({}));
    object["metadata"]["labels"] = labels;
    check(
        Origin::Api,
        object,
        &expect![[r#"
            invalid EndpointSlice n/s-1
              ! no label kubernetes.io/service-name: it belongs to no Service"#]],
    );
}

#[test]
fn port_name_and_protocol_of_a_manifest_are_defaulted() {
    check(
        Origin::Manifest,
        object(&json!({"ports": [{"port": 80}, {"port": null}]})),
        &expect![[r#"
            apply EndpointSlice n/s-1 of=s ports=[:80/tcp]
              10.1.0.5"#]],
    );
}

#[test]
fn hundred_thousand_bad_endpoints_are_a_short_report() {
    let bad: Vec<Value> = (0..100_000).map(|_| json!({"addresses": ["x"]})).collect();
    let scope = Scope {
        node: "a".into(),
        origin: Origin::Api,
    };
    let object = serde_json::from_value(object(&json!({"endpoints": bad}))).unwrap();
    let Event::Apply { problems, .. } = endpoint_slice(&object, &scope) else {
        panic!("the slice has a port and is used");
    };
    assert_eq!(problems.last().map(String::as_str), Some("and 99992 more"));
}

#[rstest]
#[case::read("2026-01-01T00:00:00.25Z", " triggered=1767225600250")]
#[case::unreadable("yesterday", "")]
fn time_of_the_change_is_read(#[case] text: &str, #[case] triggered: &str) {
    let mut object = object(&json!({}));
    object["metadata"]["annotations"] =
        json!({"endpoints.kubernetes.io/last-change-trigger-time": text});
    let scope = Scope {
        node: "a".into(),
        origin: Origin::Api,
    };
    let object = serde_json::from_value(object).unwrap();
    assert_eq!(
        text::render(&endpoint_slice(&object, &scope)),
        format!("apply EndpointSlice n/s-1 of=s ports=[:80/tcp]{triggered}\n  10.1.0.5")
    );
}
