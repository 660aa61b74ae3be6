//! What a directory says: its files, their documents, and what is wrong with them.

mod live;

use std::{fs, os::unix::fs::symlink};

use expect_test::{Expect, expect};
use tempfile::TempDir;

use super::*;
use crate::watch::text;

fn service(name: &str, last: u8) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\n\
         spec: {{clusterIP: 10.96.0.{last}, ports: [{{port: 80}}]}}\n"
    )
}

fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = TempDir::new().unwrap();
    for (name, text) in files {
        fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

#[track_caller]
fn check(files: &[(&str, &str)], expect: &Expect) {
    let directory = directory(files);
    let events = load(directory.path(), "a").unwrap();
    let (objects, synced) = events.split_at(events.len() - Kind::ALL.len());
    assert_eq!(synced, Kind::ALL.map(Event::Synced));
    expect.assert_eq(&text::render_all(objects));
}

#[test]
fn every_kind_is_read() {
    let text = "\
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.0.10, ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{port: 8080}]
endpoints: [{addresses: [10.1.0.9]}]
---
apiVersion: v1
kind: Pod
metadata: {name: web-0, namespace: shop}
spec: {nodeName: a}
status: {podIPs: [{ip: 10.1.0.9}]}
---
apiVersion: v1
kind: Node
metadata: {name: a}
status: {addresses: [{type: InternalIP, address: 10.0.0.1}]}
---
apiVersion: networking.k8s.io/v1
kind: ServiceCIDR
metadata: {name: kubernetes}
spec: {cidrs: [10.96.0.0/16]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
---
apiVersion: serving.knative.dev/v1
kind: Service
metadata: {name: not-ours}
";
    check(
        &[("all.yaml", text)],
        &expect![[r#"
            apply Service shop/web ClusterIp ips=[10.96.0.10] ports=[:80/tcp]
            apply EndpointSlice shop/web-1 of=web ports=[:8080/tcp]
              10.1.0.9
            apply Pod shop/web-0 addrs=[10.1.0.9]
            apply Node a addrs=[10.0.0.1]
            apply ServiceCIDR kubernetes cidrs=[10.96.0.0/16]"#]],
    );
}

#[test]
fn only_manifests_right_in_the_directory_are_read() {
    let directory = directory(&[
        ("a.yaml", &service("a", 1)),
        ("b.yml", &service("b", 2)),
        (
            "c.json",
            r#"{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "c"},
            "spec": {"clusterIP": "10.96.0.3", "ports": [{"port": 80}]}}"#,
        ),
        ("d.txt", &service("d", 4)),
        (".e.yaml", &service("e", 5)),
        ("f.yaml~", &service("f", 6)),
    ]);
    fs::create_dir(directory.path().join("g.yaml")).unwrap();
    fs::write(directory.path().join("g.yaml/h.yaml"), service("h", 7)).unwrap();
    symlink("nowhere", directory.path().join("i.yaml")).unwrap();
    let events = load(directory.path(), "a").unwrap();
    expect![[r#"
        apply Service default/a ClusterIp ips=[10.96.0.1] ports=[:80/tcp]
        apply Service default/b ClusterIp ips=[10.96.0.2] ports=[:80/tcp]
        apply Service default/c ClusterIp ips=[10.96.0.3] ports=[:80/tcp]
        synced Service
        synced EndpointSlice
        synced Pod
        synced Node
        synced ServiceCIDR"#]]
    .assert_eq(&text::render_all(&events));
}

#[test]
fn bad_documents_are_reported_by_line_and_stop_nothing() {
    let text = format!(
        "# a comment\n{}---\nkind: Service\nmetadata: [oops\n---\n{}---\n- a list\n---\n\
         apiVersion: v1\nkind: Service\nmetadata:\n  namespace: shop\n  name: typed\n\
         spec:\n  ports:\n  - name: http\n    port: http\n---\n\
         kind: Service\n---\napiVersion: v1\nkind: Service\nmetadata:\n  namespace: shop\n---\n\
         apiVersion: discovery.k8s.io/v1beta1\nkind: EndpointSlice\nmetadata: {{name: old}}\n\
         ---\nmetadata: {{name: what}}\n",
        service("first", 1),
        service("last", 2),
    );
    check(
        &[("x.yaml", &text)],
        &expect![[r#"
            apply Service default/first ClusterIp ips=[10.96.0.1] ports=[:80/tcp]
            apply Service default/last ClusterIp ips=[10.96.0.2] ports=[:80/tcp]
            invalid x.yaml:15
              ! not an object
            invalid x.yaml:25
              ! Service shop/typed: spec.ports[0].port: invalid type: string "http", expected i32
            invalid x.yaml:27
              ! Service without apiVersion
            invalid x.yaml:32
              ! Service without metadata.name
            invalid x.yaml:34
              ! EndpointSlice old: apiVersion "discovery.k8s.io/v1beta1" is not read, only v1
            invalid x.yaml:38
              ! an object without kind
            invalid x.yaml:8
              ! unclosed bracket '['"#]],
    );
}

#[test]
fn json_values_may_follow_one_another() {
    let json = |name: &str, last: u8| {
        format!(
            "{{\n  \"apiVersion\": \"v1\", \"kind\": \"Service\",\n  \
             \"metadata\": {{\"name\": \"{name}\"}},\n  \
             \"spec\": {{\"clusterIP\": \"10.96.0.{last}\", \"ports\": [{{\"port\": 80}}]}}\n}}\n"
        )
    };
    let bad = "{\n  \"apiVersion\": \"v1\", \"kind\": \"Service\"\n}\n";
    let several = [json("a", 1), json("b", 2), bad.to_owned(), json("c", 3)];
    let broken = format!("{}{},\n{}", json("d", 4), json("e", 5), json("f", 6));
    check(
        &[("1.json", &several.concat()), ("2.json", &broken)],
        &expect![[r#"
            apply Service default/a ClusterIp ips=[10.96.0.1] ports=[:80/tcp]
            apply Service default/b ClusterIp ips=[10.96.0.2] ports=[:80/tcp]
            apply Service default/c ClusterIp ips=[10.96.0.3] ports=[:80/tcp]
            apply Service default/d ClusterIp ips=[10.96.0.4] ports=[:80/tcp]
            apply Service default/e ClusterIp ips=[10.96.0.5] ports=[:80/tcp]
            invalid 1.json:11
              ! Service without metadata.name
            invalid 2.json:11
              ! a comma between objects: they stand without, or in the items of a List"#]],
    );
}

#[test]
fn lists_are_expanded() {
    let mixed = "\
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Service
  metadata: {name: a}
  spec: {clusterIP: 10.96.0.1, ports: [{port: 80}]}
- apiVersion: v1
  kind: Service
  metadata: {name: b}
  spec:
    clusterIP: 10.96.0.2
    ports: 80
- null
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: ignored}
";
    let typed = "\
apiVersion: v1
kind: ServiceList
items:
- metadata: {name: c}
  spec: {clusterIP: 10.96.0.3, ports: [{port: 80}]}
- metadata: {}
";
    let empty = "apiVersion: v1\nkind: List\nitems:\n---\napiVersion: v1\nkind: List\nitems: 7\n";
    check(
        &[("1.yaml", mixed), ("2.yaml", typed), ("3.yaml", empty)],
        &expect![[r#"
            apply Service default/a ClusterIp ips=[10.96.0.1] ports=[:80/tcp]
            apply Service default/c ClusterIp ips=[10.96.0.3] ports=[:80/tcp]
            invalid 1.yaml:13
              ! Service b: spec.ports: invalid type: integer `80`, expected a sequence
            invalid 2.yaml:6
              ! Service without metadata.name
            invalid 3.yaml:7
              ! items is not a list"#]],
    );
}

#[test]
fn last_of_two_definitions_wins_in_byte_order_of_files() {
    let again = format!("{}---\n{}", service("web", 3), service("web", 4));
    check(
        &[
            ("b.yaml", &service("web", 2)),
            ("B.yaml", &service("web", 1)),
            ("c.yaml", &again),
        ],
        &expect![[r#"
            apply Service default/web ClusterIp ips=[10.96.0.4] ports=[:80/tcp]
            invalid B.yaml:1
              ! Service default/web is defined again at b.yaml:1, which wins
            invalid b.yaml:1
              ! Service default/web is defined again at c.yaml:1, which wins
            invalid c.yaml:1
              ! Service default/web is defined again at c.yaml:6, which wins"#]],
    );
}

#[test]
fn headless_definition_wins_over_an_earlier_one() {
    let headless = service("web", 1).replace("10.96.0.1", "None");
    check(
        &[("a.yaml", &service("web", 1)), ("b.yaml", &headless)],
        &expect![[r#"
            invalid a.yaml:1
              ! Service default/web is defined again at b.yaml:1, which wins"#]],
    );
}

#[test]
fn bytes_that_are_no_text_are_reported_by_line() {
    let directory = directory(&[("a.yaml", &service("a", 1))]);
    fs::write(
        directory.path().join("b.yaml"),
        b"# one\n# two\nkind: \xff\xfe\n",
    )
    .unwrap();
    let events = load(directory.path(), "a").unwrap();
    let rendered = text::render_all(&events);
    assert!(rendered.contains("apply Service default/a"), "{rendered}");
    assert!(
        rendered.contains("invalid b.yaml:3\n  ! the file is not UTF-8"),
        "{rendered}"
    );
}

#[test]
fn directory_that_cannot_be_read_is_an_error() {
    let directory = TempDir::new().unwrap();
    let missing = directory.path().join("missing");
    let error = load(&missing, "a").unwrap_err();
    assert!(
        error.to_string().starts_with("cannot read directory"),
        "{error}"
    );
}
