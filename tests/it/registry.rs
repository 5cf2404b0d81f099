//! What is asked of registries besides pulling and pushing.

use super::harness::Env;
use super::raw;
use super::registries::{self, Faults, PASSWORD, Proxy, USER};

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
