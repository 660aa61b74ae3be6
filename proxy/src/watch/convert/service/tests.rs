//! Each rule about Services as the smallest object that shows it.

use expect_test::{Expect, expect};
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::watch::text;

/// `spec` over an ordinary Service; `null` takes a field away.
fn object(spec: &Value) -> Value {
    let mut object = json!({
        "metadata": {"namespace": "n", "name": "s"},
        "spec": {"clusterIP": "10.96.0.10", "ports": [{"port": 80}]}});
    for (field, value) in spec.as_object().unwrap() {
        object["spec"][field] = value.clone();
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
    expect.assert_eq(&text::render(&service(&object, &scope)));
}

#[rstest]
#[case::defaults(
    json!({}),
    expect!["apply Service n/s ClusterIp ips=[10.96.0.10] ports=[:80/tcp]"],
)]
#[case::headless_1(json!({"clusterIP": "None"}), expect!["delete Service n/s"])]
#[case::no_address_5(json!({"clusterIP": ""}), expect!["delete Service n/s"])]
#[case::external_name_5(json!({"type": "ExternalName"}), expect!["delete Service n/s"])]
#[case::family_selects_address_6(
    json!({"ipFamilies": ["IPv6", "IPv4"], "clusterIPs": ["fd00::a", "10.96.0.10"]}),
    expect!["apply Service n/s ClusterIp ips=[fd00::a 10.96.0.10] ports=[:80/tcp]"],
)]
#[case::address_without_family_6(
    json!({"ipFamilies": ["IPv4"], "clusterIPs": ["10.96.0.10", "fd00::a"]}),
    expect!["apply Service n/s ClusterIp ips=[10.96.0.10] ports=[:80/tcp]"],
)]
#[case::no_families_only_cluster_ip_6(
    json!({"clusterIPs": ["10.96.0.10", "fd00::a"]}),
    expect!["apply Service n/s ClusterIp ips=[10.96.0.10] ports=[:80/tcp]"],
)]
#[case::address_of_another_family_6(
    json!({"ipFamilies": ["IPv4", "IPv6"], "clusterIPs": ["10.96.0.10", "10.96.0.11"]}),
    expect![[r#"
        apply Service n/s ClusterIp ips=[10.96.0.10] ports=[:80/tcp]
          ! clusterIP "10.96.0.11" is not of the family "IPv6" it is listed as"#]],
)]
#[case::leading_zeros_7(
    json!({"clusterIP": "172.30.0.041"}),
    expect!["apply Service n/s ClusterIp ips=[172.30.0.41] ports=[:80/tcp]"],
)]
#[case::unparsable_cluster_ip_7(
    json!({"clusterIP": "10.96.0.256"}),
    expect![[r#"
        invalid Service n/s
          ! clusterIP "10.96.0.256" is not an IP address"#]],
)]
#[case::external_ips_7(
    json!({"externalIPs": ["203.0.113.01", "", " ", "x", "fd00::1", "203.0.113.1"]}),
    expect![[r#"
        apply Service n/s ClusterIp ips=[10.96.0.10] external=[203.0.113.1 fd00::1] ports=[:80/tcp]
          ! externalIP "x" is not an IP address"#]],
)]
#[case::unread_fields_17(
    json!({"trafficDistribution": "PreferClose", "selector": {"a": "b"},
        "loadBalancerIP": "1.2.3.4"}),
    expect!["apply Service n/s ClusterIp ips=[10.96.0.10] ports=[:80/tcp]"],
)]
#[case::node_port(
    json!({"type": "NodePort", "ports": [{"name": "a", "port": 80, "nodePort": 30080}]}),
    expect!["apply Service n/s NodePort ips=[10.96.0.10] ports=[a:80/tcp@30080]"],
)]
#[case::affinity_defaults_20(
    json!({"sessionAffinity": "ClientIP"}),
    expect!["apply Service n/s ClusterIp ips=[10.96.0.10] ports=[:80/tcp] affinity=10800"],
)]
#[case::affinity_timeout_20(
    json!({"sessionAffinity": "ClientIP",
        "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}}}),
    expect!["apply Service n/s ClusterIp ips=[10.96.0.10] ports=[:80/tcp] affinity=60"],
)]
#[case::affinity_timeout_out_of_range_20(
    json!({"sessionAffinity": "ClientIP",
        "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 0}}}),
    expect![[r#"
        apply Service n/s ClusterIp ips=[10.96.0.10] ports=[:80/tcp] affinity=10800
          ! session affinity of 0 s is out of range; taken for 10800 s"#]],
)]
#[case::timeout_without_affinity_20(
    json!({"sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}}}),
    expect!["apply Service n/s ClusterIp ips=[10.96.0.10] ports=[:80/tcp]"],
)]
#[case::policies_26_27(
    json!({"internalTrafficPolicy": "Local", "externalTrafficPolicy": "Local"}),
    expect!["apply Service n/s ClusterIp ips=[10.96.0.10] ports=[:80/tcp] itp=Local etp=Local"],
)]
#[case::unknown_words_are_reported(
    json!({"type": "Magic", "internalTrafficPolicy": "Near", "sessionAffinity": "Cookie"}),
    expect![[r#"
        apply Service n/s ClusterIp ips=[10.96.0.10] ports=[:80/tcp]
          ! type "Magic" is unknown; taken for ClusterIP
          ! internalTrafficPolicy "Near" is unknown; taken for Cluster
          ! sessionAffinity "Cookie" is unknown; taken for None"#]],
)]
#[case::one_port_of_each_protocol_11(
    json!({"ports": [{"name": "d", "port": 53, "protocol": "UDP"},
        {"name": "e", "port": 53, "protocol": "TCP"},
        {"name": "x", "port": 9, "protocol": "SCTP"}]}),
    expect!["apply Service n/s ClusterIp ips=[10.96.0.10] ports=[d:53/udp e:53/tcp x:9/sctp]"],
)]
#[case::bad_ports_lose_themselves_only(
    json!({"ports": [{"name": "a", "port": 0}, {"name": "b", "port": 70000},
        {"name": "c", "port": 80, "protocol": "QUIC"}, {"name": "d", "port": 80, "nodePort": -1},
        {"name": "e", "port": 80}, {"name": "e", "port": 81}, {"name": "f", "port": 80}]}),
    expect![[r#"
        apply Service n/s ClusterIp ips=[10.96.0.10] ports=[e:80/tcp]
          ! port "a" has the impossible number 0
          ! port "b" has the impossible number 70000
          ! port "c" has the unknown protocol "QUIC"
          ! port "d" has the impossible nodePort -1
          ! port "e" (81/tcp) is there twice
          ! port "f" (80/tcp) is there twice"#]],
)]
#[case::no_usable_port_72(
    json!({"ports": []}),
    expect![[r#"
        apply Service n/s ClusterIp ips=[10.96.0.10] ports=[]
          ! no usable port"#]],
)]
fn service_of_the_api_converts(#[case] spec: Value, #[case] expect: Expect) {
    check(Origin::Api, object(&spec), &expect);
}

#[rstest]
#[case::any_value(json!("other"))]
#[case::empty_value(json!(""))]
fn service_of_another_proxy_is_none_of_ours_1(#[case] value: Value) {
    let mut object = object(&json!({}));
    object["metadata"]["labels"] = json!({PROXY_NAME_LABEL: value});
    check(Origin::Api, object, &expect!["delete Service n/s"]);
}

#[rstest]
#[case::vip(json!([{"ip": "192.0.2.1", "ipMode": "VIP"}]), "192.0.2.1")]
#[case::mode_unset(json!([{"ip": "192.0.2.01"}]), "192.0.2.1")]
fn load_balancer_address_is_a_vip_18(#[case] ingress: Value, #[case] vip: &str) {
    let mut object = object(&json!({"type": "LoadBalancer"}));
    object["status"] = json!({"loadBalancer": {"ingress": ingress}});
    let expect = format!("LoadBalancer ips=[10.96.0.10] addresses=[{vip}]");
    let scope = Scope {
        node: "a".into(),
        origin: Origin::Api,
    };
    let rendered = text::render(&service(&serde_json::from_value(object).unwrap(), &scope));
    assert!(rendered.contains(&expect), "{rendered}");
}

#[rstest]
#[case::proxy_mode(json!([{"ip": "192.0.2.1", "ipMode": "Proxy"}]))]
#[case::host_name_17(json!([{"hostname": "lb.example"}]))]
#[case::blank(json!([{"ip": ""}]))]
fn load_balancer_address_is_no_vip_18(#[case] ingress: Value) {
    let mut object = object(&json!({"type": "LoadBalancer"}));
    object["status"] = json!({"loadBalancer": {"ingress": ingress}});
    check(
        Origin::Api,
        object,
        &expect!["apply Service n/s LoadBalancer ips=[10.96.0.10] ports=[:80/tcp]"],
    );
}

#[test]
fn age_is_kept_for_conflicts_22() {
    let mut object = object(&json!({}));
    object["metadata"]["creationTimestamp"] = json!("1970-01-02T00:00:00Z");
    check(
        Origin::Api,
        object,
        &expect!["apply Service n/s ClusterIp ips=[10.96.0.10] ports=[:80/tcp] created=86400"],
    );
}

#[rstest]
#[case::families_follow_addresses(
    json!({"clusterIPs": ["10.96.0.10", "fd00::a"]}),
    expect!["apply Service n/s ClusterIp ips=[10.96.0.10 fd00::a] ports=[:80/tcp]"],
)]
#[case::cluster_ip_alone_with_a_family(
    json!({"ipFamilies": ["IPv4"]}),
    expect!["apply Service n/s ClusterIp ips=[10.96.0.10] ports=[:80/tcp]"],
)]
#[case::cluster_ips_alone(
    json!({"clusterIP": null, "clusterIPs": ["fd00::a"]}),
    expect!["apply Service n/s ClusterIp ips=[fd00::a] ports=[:80/tcp]"],
)]
#[case::headless_by_the_list(
    json!({"clusterIP": null, "clusterIPs": ["None"]}),
    expect!["delete Service n/s"],
)]
#[case::two_of_a_family(
    json!({"clusterIPs": ["10.96.0.10", "10.96.0.11"]}),
    expect![[r#"
        apply Service n/s ClusterIp ips=[10.96.0.10] ports=[:80/tcp]
          ! clusterIP "10.96.0.11" is the second of its family"#]],
)]
#[case::standalone_load_balancer(
    json!({"clusterIP": null, "externalIPs": ["203.0.113.1"]}),
    expect!["apply Service n/s ClusterIp ips=[] external=[203.0.113.1] ports=[:80/tcp]"],
)]
#[case::nothing_to_serve(
    json!({"clusterIP": null}),
    expect![[r#"
        invalid Service n/s
          ! no clusterIP and no other address to serve"#]],
)]
fn service_of_a_manifest_gets_the_servers_defaults(#[case] spec: Value, #[case] expect: Expect) {
    check(Origin::Manifest, object(&spec), &expect);
}

#[test]
fn manifest_without_namespace_is_in_default() {
    let mut object = object(&json!({}));
    object["metadata"] = json!({"name": "s"});
    check(
        Origin::Manifest,
        object,
        &expect!["apply Service default/s ClusterIp ips=[10.96.0.10] ports=[:80/tcp]"],
    );
}

#[rstest]
#[case::port(
    json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 30001}),
    expect![
        "apply Service n/s LoadBalancer ips=[10.96.0.10] ports=[:80/tcp] etp=Local health=30001"
    ],
)]
#[case::none(
    json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local"}),
    expect![[r#"
        apply Service n/s LoadBalancer ips=[10.96.0.10] ports=[:80/tcp] etp=Local
          ! no healthCheckNodePort: load balancers cannot ask for it"#]],
)]
#[case::impossible(
    json!({"healthCheckNodePort": 70000}),
    expect![[r#"
        apply Service n/s ClusterIp ips=[10.96.0.10] ports=[:80/tcp]
          ! healthCheckNodePort 70000 is impossible"#]],
)]
fn port_for_health_checks_is_read_30(#[case] spec: Value, #[case] expect: Expect) {
    let mut service = object(&spec);
    service["spec"]["ipFamilies"] = json!(["IPv4"]);
    service["spec"]["clusterIPs"] = json!(["10.96.0.10"]);
    check(Origin::Api, service, &expect);
}

#[rstest]
#[case::none(json!(null), expect!["apply Service n/s ClusterIp ips=[10.96.0.10] ports=[:80/tcp]"])]
#[case::blank(
    json!(["", " "]),
    expect!["apply Service n/s ClusterIp ips=[10.96.0.10] ports=[:80/tcp]"],
)]
#[case::both_families(
    json!([" 203.0.113.000/025 ", "fd00::1/64", "203.0.113.0/25"]),
    expect![[r#"
apply Service n/s ClusterIp ips=[10.96.0.10] ports=[:80/tcp] sources=[203.0.113.0/25 fd00::/64]"#]],
)]
#[case::one_is_unreadable(
    json!(["203.0.113.0", "10.0.0.0/8"]),
    expect![[r#"
        apply Service n/s ClusterIp ips=[10.96.0.10] ports=[:80/tcp] sources=[10.0.0.0/8]
          ! loadBalancerSourceRange "203.0.113.0" is not a prefix"#]],
)]
#[case::all_are_unreadable(
    json!(["203.0.113.0"]),
    expect![[r#"
        apply Service n/s ClusterIp ips=[10.96.0.10] ports=[:80/tcp] sources=[]
          ! loadBalancerSourceRange "203.0.113.0" is not a prefix
          ! no loadBalancerSourceRange can be read: nobody is admitted"#]],
)]
fn source_ranges_are_read_7(#[case] ranges: Value, #[case] expect: Expect) {
    let object = object(&json!({"loadBalancerSourceRanges": ranges}));
    check(Origin::Api, object, &expect);
}

#[rstest]
#[case::known(
    json!({ALGORITHM_ANNOTATION: "maglev", "switchboard.io/forwarding": "dsr"}),
    expect![[r#"
        apply Service n/s ClusterIp ips=[10.96.0.10] ports=[:80/tcp] algorithm=Maglev"#]],
)]
#[case::unknown(
    json!({ALGORITHM_ANNOTATION: "least-connections"}),
    expect![[r#"
        apply Service n/s ClusterIp ips=[10.96.0.10] ports=[:80/tcp]
          ! annotation switchboard.io/algorithm: "least-connections" is unknown"#]],
)]
#[case::empty(
    json!({ALGORITHM_ANNOTATION: ""}),
    expect![[r#"
        apply Service n/s ClusterIp ips=[10.96.0.10] ports=[:80/tcp]
          ! annotation switchboard.io/algorithm: "" is unknown"#]],
)]
fn annotations_choose_among_what_is_there(#[case] annotations: Value, #[case] expect: Expect) {
    let mut object = object(&json!({}));
    object["metadata"]["annotations"] = annotations;
    check(Origin::Api, object, &expect);
}
