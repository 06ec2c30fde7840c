//! The grammar, by example.

use super::*;

const HEX: &str = "6c3c624b58dbbcd3c0dd82b4c53f04194d1247c6eebdaab7c610cf7d66709b3b";

fn full(text: &str) -> String {
    Reference::parse(text).unwrap_or_else(|error| panic!("{error}")).to_string()
}

#[test]
fn defaults_are_filled_in() {
    for (text, expected) in [
        ("alpine", "docker.io/library/alpine:latest"),
        ("alpine:3.19", "docker.io/library/alpine:3.19"),
        ("hull/busybox", "docker.io/hull/busybox:latest"),
        ("docker.io/alpine", "docker.io/library/alpine:latest"),
        ("index.docker.io/alpine", "docker.io/library/alpine:latest"),
        ("test.com:5000", "docker.io/library/test.com:5000"),
        ("test.com/a", "test.com/a:latest"),
        ("localhost/a", "localhost/a:latest"),
        ("localhost:5000/a/b:Tag_1.2-x", "localhost:5000/a/b:Tag_1.2-x"),
        ("127.0.0.1:5000/a", "127.0.0.1:5000/a:latest"),
        ("[::1]:5000/a:b", "[::1]:5000/a:b"),
        ("[2001:db8::1]/a", "[2001:db8::1]/a:latest"),
        ("Host/a", "Host/a:latest"),
        ("foo_bar/a", "docker.io/foo_bar/a:latest"),
        ("foo_bar.com:8080", "docker.io/library/foo_bar.com:8080"),
        ("a__b/c---d/e.f", "docker.io/a__b/c---d/e.f:latest"),
        ("xn--n3h.com/myimage:xn--n3h.com", "xn--n3h.com/myimage:xn--n3h.com"),
    ] {
        assert_eq!(full(text), expected, "{text}");
    }
}

#[test]
fn a_digest_takes_the_place_of_the_default_tag() {
    let reference = Reference::parse(&format!("test:5000/repo@sha256:{HEX}")).unwrap();
    assert_eq!(reference.tag(), None);
    assert_eq!(reference.target(), format!("sha256:{HEX}"));
    let both = Reference::parse(&format!("repo:1@sha256:{HEX}")).unwrap();
    assert_eq!((both.tag(), both.target()), (Some("1"), format!("sha256:{HEX}").as_str()));
    assert_eq!(full(&both.to_string()), both.to_string());
}

#[test]
fn familiar_forms_read_back_as_the_same_reference() {
    for (text, expected) in [
        ("docker.io/library/alpine:latest", "alpine:latest"),
        ("docker.io/hull/busybox:1", "hull/busybox:1"),
        ("docker.io/library/a/b:1", "library/a/b:1"),
        ("localhost:5000/a:1", "localhost:5000/a:1"),
        ("docker.io/localhost/a:1", "docker.io/localhost/a:1"),
        ("docker.io/a.b/c:1", "docker.io/a.b/c:1"),
    ] {
        let reference = Reference::parse(text).unwrap();
        assert_eq!(reference.familiar(), expected);
        assert_eq!(Reference::parse(expected).unwrap(), reference);
    }
}

#[test]
fn a_bare_name_stands_for_the_repository() {
    let name = Reference::parse_name("alpine").unwrap();
    assert_eq!((name.tag(), name.to_string().as_str()), (None, "docker.io/library/alpine"));
    assert_eq!(name.with_tag("3").unwrap().familiar(), "alpine:3");
    assert!(name.with_tag("-3").is_err());
}

#[test]
fn what_does_not_follow_the_grammar_is_refused() {
    let long = format!("a/{}", "b".repeat(254));
    let long_tag = format!("a:{}", "b".repeat(129));
    let id_like = HEX.to_owned();
    let short_digest = format!("a@sha256:{}", &HEX[..32]);
    let upper_digest = format!("a@sha256:{}", HEX.to_uppercase());
    let unknown = format!("a@md5000:{HEX}");
    for text in [
        "",
        ":tag",
        "/",
        "a/",
        "/a",
        "a//b",
        "Alpine",
        "a/B",
        "a:",
        "a:tag:tag",
        "a: b",
        "a:é",
        "é",
        "a:-x",
        "a:.x",
        "a..b",
        "a._b",
        "a___b",
        "_a",
        "a_",
        "-a",
        "a-",
        "a.com:/b",
        "a.com:x/b",
        "a.com:99999/b",
        "-a.com/b",
        "a..com/b",
        "[::1/b",
        "[zz]:5/b",
        "[::1]",
        "http://a/b",
        "a@",
        "a@sha256",
        "a@b@c",
        "a\n",
        "a b",
        &long,
        &long_tag,
        &id_like,
        &short_digest,
        &upper_digest,
        &unknown,
    ] {
        assert!(Reference::parse(text).is_err(), "{text:?} was taken");
    }
}

#[test]
fn it_is_written_as_text() {
    let reference = Reference::parse("localhost:5000/a:b").unwrap();
    let text = serde_json::to_string(&reference).unwrap();
    assert_eq!(text, "\"localhost:5000/a:b\"");
    assert_eq!(serde_json::from_str::<Reference>(&text).unwrap(), reference);
    assert!(serde_json::from_str::<Reference>("\"A\"").is_err());
}
