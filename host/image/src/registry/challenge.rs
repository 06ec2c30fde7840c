//! What a server wants to see before it answers: the `WWW-Authenticate` header (RFC 9110, section 11.6.1).

/// A server's demand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// User name and password with every request.
    Basic,
    /// A token from another server.
    Bearer {
        /// Where tokens are given out.
        realm: String,
        /// What the token is for; some servers leave it out.
        service: Option<String>,
    },
}

/// The strongest demand that hull can meet among the values of all such headers: a token before a password.
pub(super) fn choose<'a>(values: impl IntoIterator<Item = &'a str>) -> Option<Challenge> {
    let mut basic = None;
    for challenge in values.into_iter().flat_map(parse) {
        match challenge {
            Challenge::Bearer { .. } => return Some(challenge),
            Challenge::Basic => basic = Some(challenge),
        }
    }
    basic
}

/// All demands in one value that hull knows; others are passed over.
fn parse(value: &str) -> Vec<Challenge> {
    let mut found = Vec::new();
    let mut current: Option<(String, Vec<(String, String)>)> = None;
    let mut rest = value.trim_start_matches([' ', '\t', ',']);
    while !rest.is_empty() {
        let Some((word, after)) = token(rest) else { break };
        let spaced = after.trim_start_matches([' ', '\t']);
        if let (Some(value), Some((_, parameters))) = (spaced.strip_prefix('='), current.as_mut()) {
            let Some((value, after)) = parameter(value.trim_start_matches([' ', '\t'])) else { break };
            parameters.push((word.to_ascii_lowercase(), value));
            rest = after;
        } else {
            found.extend(current.take().and_then(known));
            current = Some((word.to_ascii_lowercase(), Vec::new()));
            rest = after;
        }
        rest = rest.trim_start_matches([' ', '\t', ',']);
    }
    found.extend(current.and_then(known));
    found
}

fn known((scheme, parameters): (String, Vec<(String, String)>)) -> Option<Challenge> {
    let mut parameters = parameters.into_iter().rev().collect::<std::collections::HashMap<_, _>>();
    match scheme.as_str() {
        "basic" => Some(Challenge::Basic),
        "bearer" => {
            Some(Challenge::Bearer { realm: parameters.remove("realm")?, service: parameters.remove("service") })
        }
        _ => None,
    }
}

fn token(text: &str) -> Option<(&str, &str)> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let end = text.bytes().position(|byte| !allowed(byte)).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// A parameter's value, bare or quoted, and what follows it.
fn parameter(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', '\t', ',']).unwrap_or(text.len());
        return Some((text[..end].to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(letters.next()?.1),
            _ => value.push(letter),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>) -> Challenge {
        Challenge::Bearer { realm: realm.to_owned(), service: service.map(str::to_owned) }
    }

    #[test]
    fn demands_are_read() {
        let hub = r#"Bearer realm="https://auth.example/token",service="r.example",scope="repository:a/b:pull,push""#;
        assert_eq!(parse(hub), [bearer("https://auth.example/token", Some("r.example"))]);
        assert_eq!(parse(r#"Basic realm="Registry Realm""#), [Challenge::Basic]);
        assert_eq!(parse("basic"), [Challenge::Basic]);
        assert_eq!(parse(r#"bearer REALM = "a\"b" , x=y"#), [bearer("a\"b", None)]);
        assert_eq!(
            parse(r#"Negotiate, Basic realm="x", Bearer realm=https://a"#),
            [Challenge::Basic, bearer("https://a", None)]
        );
    }

    #[test]
    fn a_token_goes_before_a_password() {
        assert_eq!(choose([r#"Basic realm="x""#, r#"Bearer realm="y""#]), Some(bearer("y", None)));
        assert_eq!(choose(["Digest x=y", "Basic"]), Some(Challenge::Basic));
        assert_eq!(choose([]), None);
    }

    #[test]
    fn nonsense_is_no_demand() {
        for value in
            ["", ",,,", "=", "\"", "Bearer", "Bearer service=x", "Bearer realm=\"open", "\u{1}", "Bearer realm=\"a\\"]
        {
            assert_eq!(parse(value), [], "{value:?}");
        }
    }
}
