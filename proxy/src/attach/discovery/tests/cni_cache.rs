//! What the files of container runtimes claim.

use std::fs;

use tempfile::TempDir;

use super::super::{CniCache, CniClaims};

fn result(pod: &str, rest: &str) -> String {
    format!(
        r#"{{"kind":"cniCacheV1","containerId":"c0","config":"e30=","ifName":"eth0",
        "networkName":"net","netns":"/run/netns/c0","cniArgs":[["IgnoreUnknown","1"],
        ["K8S_POD_NAMESPACE","default"],["K8S_POD_NAME","{pod}"],["K8S_POD_UID","uid-{pod}"]],
        "capabilityArgs":{{"dns":{{}}}},"result":{rest}}}"#
    )
}

fn claims_of(text: &str) -> CniClaims {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("net-c0-eth0"), text).unwrap();
    CniCache::new([dir.path()]).claims()
}

/// The claims as text: what, whose.
fn render(claims: &CniClaims) -> Vec<String> {
    let addrs = claims
        .by_addr
        .iter()
        .map(|(addr, claim)| (addr.to_string(), claim));
    let ifnames = claims
        .by_ifname
        .iter()
        .map(|(ifname, claim)| (ifname.clone(), claim));
    addrs
        .chain(ifnames)
        .map(|(what, claim)| format!("{what} {}", claim.pod))
        .collect()
}

#[test]
fn result_claims_its_addresses_and_the_device_on_the_host() {
    let claims = claims_of(&result(
        "web",
        r#"{"cniVersion":"1.0.0","dns":{},
        "interfaces":[{"name":"veth1a","mac":"0a:00:00:00:00:01"},
                      {"name":"eth0","mac":"0a:00:00:00:00:02","sandbox":"/run/netns/c0"}],
        "ips":[{"address":"10.1.0.9/24","gateway":"10.1.0.1","interface":1},
               {"address":"fd00:1::9/64","interface":1}]}"#,
    ));
    let expected = [
        "10.1.0.9 default/web",
        "fd00:1::9 default/web",
        "veth1a default/web",
    ];
    assert_eq!(render(&claims), expected);
    assert!(
        claims
            .by_addr
            .values()
            .all(|claim| claim.uid.as_deref() == Some("uid-web"))
    );
}

#[test]
fn result_of_the_oldest_version_claims_its_addresses() {
    let claims = claims_of(&result(
        "web",
        r#"{"cniVersion":"0.2.0","ip4":{"ip":"10.1.0.9/24"},"ip6":{"ip":"fd00:1::9/64"}}"#,
    ));
    assert_eq!(
        render(&claims),
        ["10.1.0.9 default/web", "fd00:1::9 default/web"]
    );
}

#[test]
fn what_is_no_result_of_a_pod_claims_nothing() {
    let not_a_pod = r#"{"cniArgs":[["K8S_POD_NAME","x"]],"result":{"ips":[]}}"#;
    let no_arguments = r#"{"cniArgs":null,"result":{"ips":[{"address":"10.1.0.9/24"}]}}"#;
    let no_addresses = result("web", r#"{"interfaces":null,"ips":null}"#);
    let bad_address = result("web", r#"{"ips":[{"address":"10.1.0"}]}"#);
    for text in [
        "",
        "{",
        "[]",
        not_a_pod,
        no_arguments,
        &no_addresses,
        &bad_address,
    ] {
        assert_eq!(claims_of(text), CniClaims::default(), "{text}");
    }
}

#[test]
fn missing_directory_claims_nothing_until_it_is_there() {
    let dir = TempDir::new().unwrap();
    let results = dir.path().join("results");
    let mut cache = CniCache::new([&results]);
    assert_eq!(cache.claims(), CniClaims::default());

    fs::create_dir(&results).unwrap();
    let file = results.join("net-c0-eth0");
    let text = result("web", r#"{"ips":[{"address":"10.1.0.9/24"}]}"#);
    fs::write(&file, &text[..text.len() / 2]).unwrap();
    assert_eq!(
        cache.claims(),
        CniClaims::default(),
        "half a file is not read"
    );

    fs::write(&file, &text).unwrap();
    assert_eq!(render(&cache.claims()), ["10.1.0.9 default/web"]);

    fs::remove_file(&file).unwrap();
    assert_eq!(cache.claims(), CniClaims::default());
}

#[test]
fn newest_file_wins_an_address() {
    let dir = TempDir::new().unwrap();
    let ips = r#"{"ips":[{"address":"10.1.0.9/24"}]}"#;
    let write = |name: &str, pod: &str, seconds: u64| {
        let path = dir.path().join(name);
        fs::write(&path, result(pod, ips)).unwrap();
        let modified = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        fs::File::open(&path)
            .unwrap()
            .set_modified(modified)
            .unwrap();
    };
    write("net-a-eth0", "later", 2_000);
    write("net-b-eth0", "sooner", 1_000);
    assert_eq!(
        render(&CniCache::new([dir.path()]).claims()),
        ["10.1.0.9 default/later"]
    );
}
