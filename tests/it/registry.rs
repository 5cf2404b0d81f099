//! What is asked of registries besides pulling and pushing.

use serde_json::json;

use super::fixtures;
use super::harness::Env;
use super::raw;
use super::registries::{self, Faults, PASSWORD, Proxy, Registry, USER};

#[test]
fn a_registry_is_searched_where_it_can_be() {
    let registry = registries::with_busybox();
    let proxy = Proxy::before(&registry);
    let env = Env::new();
    let term = proxy.name("bu sy");
    let message = env.docker(["search", &term]).fails(1);
    assert!(message.contains("cannot be searched, it has no /v1/search"), "{message}");
    let found = serde_json::json!({"num_results": 3, "results": [
        {"name": "busybox", "description": "small", "star_count": 30, "is_official": true, "is_automated": true},
        {"name": "x/busybox", "description": null, "star_count": 3},
        {"name": "y/busybox", "star_count": 12, "more": {}},
    ]});
    proxy.set(Faults { found: Some(found.to_string()), ..Faults::default() });
    let names = |options: &[&str]| {
        let arguments = [&["search", "--format", "{{.Name}} {{.StarCount}}"], options, &[&term]].concat();
        env.docker(arguments).ok()
    };
    assert_eq!(names(&[]), "busybox 30\nx/busybox 3\ny/busybox 12\n");
    assert!(proxy.seen("/v1/search")[0].contains("q=bu%20sy&n=25"), "{:?}", proxy.seen(""));
    assert_eq!(names(&["--filter", "stars=10", "--limit", "7"]), "busybox 30\ny/busybox 12\n");
    assert!(proxy.seen("/v1/search")[1].contains("&n=7"));
    assert_eq!(names(&["--filter", "is-official=true"]), "busybox 30\n");
    assert_eq!(names(&["--filter", "is-official=false", "--filter", "stars=5"]), "y/busybox 12\n");
    let search = |query: &str| {
        let path = format!("/v1.51/images/search?term={}&{query}", proxy.name("x"));
        raw::request(&env.socket(), "GET", &path, "", b"")
    };
    for (query, words) in [
        ("limit=101", "limit 101 is outside the range of [1, 100]"),
        ("limit=x", "limit"),
        ("filters=%7B%22nope%22%3A%5B%22x%22%5D%7D", "invalid filter 'nope'"),
        ("filters=%7B%22stars%22%3A%5B%22x%22%5D%7D", "invalid filter 'stars=x'"),
    ] {
        let answer = search(query);
        assert!(answer.status == 400 && answer.message().contains(words), "{query}: {answer:?}");
    }
    // Who asks is proved here, too.
    let found = Some(found.to_string());
    proxy.set(Faults { found, token_uses: Some(100), ..Faults::default() });
    assert_eq!(search("").status, 401);
    env.docker(["login", "-u", USER, "-p", PASSWORD, &format!("127.0.0.1:{}", proxy.port)]).ok();
    assert!(names(&[]).contains("busybox 30"));
}

/// Makes `busybox:stated` an index of busybox and of what is stated about it.
fn state(registry: &Registry, statements: &[(&str, &str)]) -> String {
    let layer = |(kind, text): &(&str, &str)| {
        let digest = registry.put_blob("busybox", text.as_bytes());
        json!({"mediaType": "application/vnd.in-toto+json", "digest": digest, "size": text.len(),
            "annotations": {"in-toto.io/predicate-type": kind}})
    };
    let layers: Vec<_> = statements.iter().map(layer).collect();
    let config = json!({"mediaType": "application/vnd.oci.image.config.v1+json",
        "digest": registry.put_blob("busybox", b"{}"), "size": 2});
    let (kind, index) = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json");
    let about = json!({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers}).to_string();
    registry.put("busybox", "about", kind, &about);
    let image = registry.digest("busybox:latest");
    let size = registry.raw("busybox:latest").len();
    let members = json!([
        {"mediaType": "application/vnd.docker.distribution.manifest.v2+json", "digest": image, "size": size,
            "platform": {"os": "linux", "architecture": "amd64"}},
        {"mediaType": kind, "digest": format!("sha256:{}", fixtures::sha256(about.as_bytes())), "size": about.len(),
            "platform": {"os": "unknown", "architecture": "unknown"},
            "annotations": {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": image}},
    ]);
    let text = json!({"schemaVersion": 2, "mediaType": index, "manifests": members}).to_string();
    registry.put("busybox", "stated", index, &text);
    registry.name("busybox:stated")
}

#[test]
fn what_is_stated_about_an_image_is_fetched_when_asked_for() {
    let registry = registries::with_busybox();
    // To the byte: as no program would write them.
    let (provenance, sbom) = (r#"{"z": 1.50, "a": [ ]}"#, r#"{"packages":1.10,"a":[ 2]}"#);
    let name =
        state(&registry, &[("https://slsa.dev/provenance/v0.2", provenance), ("https://spdx.dev/Document", sbom)]);
    let env = Env::new();
    env.docker(["pull", &name]).ok();
    env.docker(["pull", &registry.name("busybox")]).ok();
    let get = |name: &str, query: &str| env.get(&format!("/v1.55/images/{name}/attestations?{query}"));
    let all = get(&name, "").expect(200).json();
    let kinds: Vec<_> = all.as_array().unwrap().iter().map(|one| one["PredicateType"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["https://slsa.dev/provenance/v0.2", "https://spdx.dev/Document"]);
    assert!(all[0].get("Statement").is_none(), "{all}");
    assert_eq!(all[1]["Descriptor"]["annotations"]["in-toto.io/predicate-type"], "https://spdx.dev/Document");
    let one = get(&name, "statement=1&type=https://spdx.dev/Document").expect(200);
    let text = one.text();
    assert!(text.contains(&format!("\"Statement\":{sbom}")) && !text.contains("slsa"), "{text}");
    let text = get(&name, "statement=true").expect(200).text();
    assert!(text.contains(provenance), "{text}");
    assert_eq!(get(&name, "type=https://other").expect(200).json(), json!([]));
    assert_eq!(get(&registry.name("busybox"), "").expect(200).json(), json!([]), "no index");
    let platform = |architecture: &str| {
        format!("platform=%7B%22os%22%3A%22linux%22%2C%22architecture%22%3A%22{architecture}%22%7D")
    };
    assert_eq!(get(&name, &platform("amd64")).expect(200).json(), all);
    get(&name, &platform("s390x")).expect(404);
    get(&name, &format!("{}&{}", platform("amd64"), platform("amd64"))).expect(400);
    get(&registry.name("nothing"), "").expect(404);
    // Nothing of them is kept.
    drop(registry);
    get(&name, "").expect(500);
}
