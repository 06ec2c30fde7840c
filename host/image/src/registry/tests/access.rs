//! Being let in: passwords, tokens, redirects.

use super::*;
use base64::Engine;

fn basic(password: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("ann:{password}")))
}

/// A registry that wants a password.
fn guarded() -> Fake {
    Fake::start(|asked| {
        if asked.header("authorization") == basic("good") {
            return if asked.target == "/v2/" { Answer::new(200, "{}") } else { Answer::new(200, manifest()) };
        }
        Answer::new(401, r#"{"errors":[{"message":"who are you?"}]}"#).header("WWW-Authenticate", r#"Basic realm="x""#)
    })
}

#[test]
fn a_password_opens() {
    let fake = guarded();
    with_password(&fake.authority, "good").digest(&reference(&fake, "a")).unwrap();
    let error = with_password(&fake.authority, "bad").digest(&reference(&fake, "a")).unwrap_err();
    assert!(matches!(error, RegistryError::Denied { .. }), "{error}");
    let error = anonymous().digest(&reference(&fake, "a")).unwrap_err();
    assert!(error.to_string().contains(&format!("hull login {}", fake.authority)), "{error}");
}

#[test]
fn login_tells_right_from_wrong() {
    let fake = guarded();
    let credential =
        |password: &str| Credential::Password { username: "ann".to_owned(), password: password.to_owned() };
    anonymous().login(&fake.authority, &credential("good")).unwrap();
    let error = anonymous().login(&fake.authority, &credential("bad")).unwrap_err();
    assert!(matches!(error, RegistryError::Login { .. }), "{error}");
    assert!(error.to_string().contains("who are you?"), "{error}");
}

/// A registry that wants a token, which it gives out itself at `/token`; a token is good for `uses` requests.
fn with_tokens(uses: usize) -> Fake {
    let (given, used) = (Mutex::new(0), Mutex::new(0));
    Fake::start(move |asked| {
        let mut given = given.lock().unwrap();
        let mut used = used.lock().unwrap();
        if asked.target.starts_with("/token") {
            (*given, *used) = (*given + 1, 0);
            return match (asked.method.as_str(), asked.header("authorization")) {
                ("GET", header) if header.is_empty() || header == basic("good") => {
                    Answer::new(200, format!(r#"{{"token":"t{given}","expires_in":300}}"#))
                }
                ("POST", "") => Answer::new(200, format!(r#"{{"access_token":"t{given}"}}"#)),
                _ => Answer::new(401, r#"{"details":"incorrect username or password"}"#),
            };
        }
        let granted = asked.header("authorization") == format!("Bearer t{given}") && *used < uses;
        if !granted {
            let challenge = format!(r#"Bearer realm="http://{}/token",service="svc""#, asked.header("host"));
            return Answer::new(401, "{}").header("WWW-Authenticate", challenge);
        }
        *used += 1;
        Answer::new(200, manifest())
    })
}

#[test]
fn a_token_is_fetched_once_for_a_repository() {
    let fake = with_tokens(100);
    let client = anonymous();
    client.digest(&reference(&fake, "a/b:1")).unwrap();
    client.digest(&reference(&fake, "a/b:2")).unwrap();
    assert_eq!(fake.count("GET /token"), 1);
    let token = fake.asked().into_iter().find(|asked| asked.target.starts_with("/token")).unwrap();
    assert!(
        token.target.contains("service=svc") && token.target.contains("scope=repository%3Aa%2Fb%3Apull"),
        "{token:?}"
    );
    client.digest(&reference(&fake, "other")).unwrap();
    assert_eq!(fake.count("GET /token"), 2);
}

#[test]
fn a_token_that_ran_out_is_replaced() {
    let fake = with_tokens(1);
    let client = anonymous();
    for tag in ["1", "2", "3"] {
        client.digest(&reference(&fake, &format!("a:{tag}"))).unwrap();
    }
    assert_eq!(fake.count("GET /token"), 3);
}

#[test]
fn a_token_server_sees_the_password_and_says_no() {
    let fake = with_tokens(9);
    with_password(&fake.authority, "good").digest(&reference(&fake, "a")).unwrap();
    let error = with_password(&fake.authority, "bad").digest(&reference(&fake, "a")).unwrap_err();
    assert!(matches!(error, RegistryError::Login { .. }), "{error}");
    assert!(error.to_string().contains("incorrect username or password"), "{error}");
}

#[test]
fn an_identity_token_is_traded_in() {
    let fake = with_tokens(9);
    let single = Single { registry: fake.authority.clone(), credential: Credential::IdentityToken("id&1".to_owned()) };
    Client::new(settings(), Arc::new(single)).digest(&reference(&fake, "a")).unwrap();
    let asked = fake.asked().into_iter().find(|asked| asked.method == "POST").unwrap();
    let form = String::from_utf8(asked.body).unwrap();
    assert!(form.contains("grant_type=refresh_token") && form.ends_with("refresh_token=id%261"), "{form}");
}

#[test]
fn a_registry_that_never_lets_in_is_asked_twice_at_most() {
    let fake = with_tokens(0);
    let error = anonymous().digest(&reference(&fake, "a")).unwrap_err();
    assert!(matches!(error, RegistryError::Denied { .. }), "{error}");
    assert_eq!(fake.count("GET /v2/a/manifests"), 2);
}

#[test]
fn tokens_are_not_asked_for_in_the_open() {
    for realm in ["http://192.0.2.1/token", "ftp://127.0.0.1/token", "https://u:p@127.0.0.1/token", "nonsense x"] {
        let challenge = format!("Bearer realm=\"{realm}\"");
        let fake = Fake::start(move |_| Answer::new(401, "{}").header("WWW-Authenticate", challenge.clone()));
        let error = with_password(&fake.authority, "good").digest(&reference(&fake, "a")).unwrap_err();
        assert!(matches!(error, RegistryError::Plain { .. } | RegistryError::Protocol { .. }), "{realm}: {error}");
    }
}

#[test]
fn nonsense_from_a_token_server_is_no_token() {
    for body in ["", "{}", r#"{"token":""}"#, r#"{"token":7}"#, "{\"token\":\"a\\r\\nX: y\"}"] {
        let fake = Fake::start(move |asked| match asked.target.as_str() {
            target if target.starts_with("/token") => Answer::new(200, body),
            _ => {
                let challenge = format!("Bearer realm=\"http://{}/token\"", asked.header("host"));
                Answer::new(401, "{}").header("WWW-Authenticate", challenge)
            }
        });
        let error = anonymous().digest(&reference(&fake, "a")).unwrap_err();
        let kind = matches!(error, RegistryError::Malformed { .. } | RegistryError::Protocol { .. });
        assert!(kind, "{body}: {error}");
    }
}

#[test]
fn credentials_do_not_follow_a_redirect_elsewhere() {
    let storage = Fake::start(|_| Answer::new(200, manifest()));
    let target = format!("http://{}/stored?signature=x", storage.authority);
    let fake = Fake::start(move |asked| match asked.header("authorization") {
        "" => Answer::new(401, "{}").header("WWW-Authenticate", "Basic"),
        _ if asked.target == "/v2/" => Answer::new(200, "{}"),
        _ => Answer::new(307, "").header("Location", target.clone()),
    });
    with_password(&fake.authority, "good").digest(&reference(&fake, "a")).unwrap();
    let asked = storage.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!((asked[0].target.as_str(), asked[0].header("authorization")), ("/stored?signature=x", ""));
}

#[test]
fn redirects_end_and_do_not_lead_into_the_open() {
    let circle = open(|asked| Answer::new(302, "").header("Location", asked.target.clone()));
    let error = anonymous().digest(&reference(&circle, "a")).unwrap_err();
    assert!(matches!(error, RegistryError::Protocol { .. }), "{error}");
    assert_eq!(circle.count("GET /v2/a/"), 6);
    let astray = open(|_| Answer::new(302, "").header("Location", "http://192.0.2.1/x"));
    let error = anonymous().digest(&reference(&astray, "a")).unwrap_err();
    assert!(matches!(error, RegistryError::Plain { .. }), "{error}");
    let nowhere = open(|_| Answer::new(302, "").header("Location", "file:///etc/passwd"));
    assert!(anonymous().digest(&reference(&nowhere, "a")).is_err());
    // A redirect to nowhere at all is an answer like any other.
    let silent = open(|_| Answer::new(302, ""));
    assert!(matches!(
        anonymous().digest(&reference(&silent, "a")).unwrap_err(),
        RegistryError::Status { status: 302, .. }
    ));
}
