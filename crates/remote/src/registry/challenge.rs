//! What a registry demands before it answers (`WWW-Authenticate`, RFC 9110), and where a token is had (Docker Registry v2 token
//! authentication).

use plimsoll_trust::hex;

/// What is demanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// Name and password.
    Basic,
    /// A token, from a server that gives them out.
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

impl Challenge {
    /// Of several, a token before a password; nothing where neither is known.
    pub(super) fn strongest<'t>(texts: impl Iterator<Item = &'t str>) -> Option<Self> {
        let mut found: Vec<Self> = texts.filter_map(Self::parse).collect();
        let token = found.iter().position(|c| matches!(c, Self::Bearer { .. }));
        (!found.is_empty()).then(|| found.swap_remove(token.unwrap_or(0)))
    }

    fn parse(text: &str) -> Option<Self> {
        let (scheme, mut rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (mut realm, mut service, mut scope) = (None, None, None);
        loop {
            rest = rest.trim_start_matches([' ', ',']);
            let Some((name, after)) = rest.split_once('=') else { break };
            let (value, next) = match after.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"')?,
                None => after.split_once(',').unwrap_or((after, "")),
            };
            match name.trim().to_ascii_lowercase().as_str() {
                "realm" => realm = Some(value.to_owned()),
                "service" => service = Some(value.to_owned()),
                "scope" => scope = Some(value.to_owned()),
                _ => {}
            }
            rest = next;
        }
        Some(Self::Bearer { realm: realm?, service, scope })
    }
}

/// Where a token is asked for.
pub(super) fn token_url(realm: &str, service: Option<&str>, scope: &str) -> String {
    let joint = if realm.contains('?') { '&' } else { '?' };
    let service = service.map(|s| format!("service={}&", escaped(s))).unwrap_or_default();
    format!("{realm}{joint}{service}scope={}", escaped(scope))
}

fn escaped(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' | b'/' => {
            char::from(byte).to_string()
        }
        _ => format!("%{}", hex(&[byte]).to_ascii_uppercase()),
    };
    text.bytes().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(texts: &[&str]) -> Option<Challenge> {
        Challenge::strongest(texts.iter().copied())
    }

    #[test]
    fn demands_are_read_as_registries_write_them() {
        let token = Challenge::Bearer {
            realm: "https://auth.example/token".into(),
            service: Some("registry.example".into()),
            scope: Some("repository:a/b:pull,push".into()),
        };
        let text = "Bearer realm=\"https://auth.example/token\",service=\"registry.example\",scope=\"repository:a/b:pull,push\"";
        assert_eq!(check(&[text]), Some(token.clone()));
        assert_eq!(check(&["Basic realm=\"a\"", text]), Some(token));
        assert_eq!(check(&["basic realm=\"a\""]), Some(Challenge::Basic));
        let plain = Challenge::Bearer { realm: "r".into(), service: Some("s".into()), scope: None };
        assert_eq!(check(&["bearer service=s, realm=r"]), Some(plain));
    }

    #[test]
    fn demands_that_name_no_place_are_none() {
        for text in ["", "Bearer", "Bearer service=\"a\"", "Bearer realm=\"never closed", "Negotiate", "Bearer ,,,="] {
            assert_eq!(check(&[text]), None, "{text}");
        }
    }

    #[test]
    fn what_a_registry_names_adds_nothing_to_the_address_of_a_token() {
        let url = token_url("https://auth.example/token", Some("a&scope=repository:all:push b"), "repository:a/b:pull");
        assert_eq!(
            url,
            "https://auth.example/token?service=a%26scope%3Drepository:all:push%20b&scope=repository:a/b:pull"
        );
        assert_eq!(token_url("https://a.example/t?x=1", None, "s"), "https://a.example/t?x=1&scope=s");
    }
}
