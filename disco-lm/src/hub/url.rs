//! URLs of a hub: their origins, and the targets of redirections.

use ureq::http::Uri;

use crate::{Error, Result};

/// Scheme, host and port of a URL. A token for one origin is sent to no other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    is_secure: bool,
    host: String,
    port: u16,
}

impl Origin {
    /// The origin of a URL that begins with `http://` or `https://`; `None` for other texts.
    pub(crate) fn of(url: &str) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let is_secure = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let host = uri.host().filter(|host| !host.is_empty())?.to_ascii_lowercase();
        let port = uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
        Some(Self { is_secure, host, port })
    }

    /// Whether a redirection from here to `target` gives up encryption.
    pub(crate) fn loses_encryption(&self, target: &Self) -> bool {
        self.is_secure && !target.is_secure
    }
}

/// The URL of a hub, without a slash at its end.
///
/// # Errors
/// [`Error::Invalid`] for another text; a user name or password in it is not repeated.
pub(crate) fn endpoint(text: &str) -> Result<String> {
    let refused = |value: String| {
        let allowed = "https://HOST or http://HOST, without user, query and fragment; HF_TOKEN has the token";
        Error::invalid("HF_ENDPOINT", value, allowed)
    };
    let url = text.trim_end_matches('/');
    if url.contains('@') {
        return Err(refused("a URL with a user name or password, which is not shown".into()));
    }
    let is_plain = url.chars().all(|c| c.is_ascii_graphic()) && !url.contains(['?', '#', '\\']);
    if is_plain && Origin::of(url).is_some() { Ok(url.into()) } else { Err(refused(format!("{text:?}"))) }
}

/// The URL that the header `Location` of a response to `url` names; `None` if it names none, or one with a user or a password,
/// which a client would send along.
pub(crate) fn target(url: &str, location: &str) -> Option<String> {
    let location = location.split('#').next().unwrap_or_default();
    let host = url.find("://")? + 3;
    let path = url[host..].find(['/', '?']).map_or(url.len(), |at| host + at);
    let found = if location.contains("://") && !location.starts_with(['/', '?']) {
        location.to_string()
    } else if location.starts_with("//") {
        format!("{}:{location}", &url[..host - 3])
    } else if location.starts_with('/') {
        format!("{}{location}", &url[..path])
    } else {
        let before_query = url.split('?').next().unwrap_or(url);
        let folder = match before_query.rfind('/') {
            _ if location.starts_with('?') => before_query,
            Some(slash) if slash >= path => &before_query[..=slash],
            _ => return Some(format!("{}/{location}", &url[..path])),
        };
        format!("{folder}{location}")
    };
    let has_user = |uri: &Uri| uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
    let is_plain = found.parse().is_ok_and(|uri| !has_user(&uri));
    (is_plain && Origin::of(&found).is_some()).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let origin = |url| Origin::of(url).expect(url);
        for same in ["http://HOST:80/x", "http://host", "http://host?y", "http://user:secret@host/"] {
            assert_eq!(origin(same), origin("http://host/"), "{same}");
        }
        for other in [
            "https://host",
            "http://host:8080",
            "http://host.",
            "http://host@evil/",
            "http://a.host",
            "http://127.0.0.1",
        ] {
            assert_ne!(origin(other), origin("http://host"), "{other}");
        }
        for none in ["host/x", "ftp://host", "http://", "//host", "http://ho st/"] {
            assert_eq!(Origin::of(none), None, "{none}");
        }
        assert!(origin("https://host").loses_encryption(&origin("http://host")));
        assert!(!origin("http://host").loses_encryption(&origin("https://host")));
    }

    #[test]
    fn endpoints_that_are_not_urls_are_refused_and_passwords_are_not_repeated() {
        for text in [
            "",
            "huggingface.co",
            "http://",
            "ftp://host",
            "http://h/?q",
            "http://h#f",
            "http://h\\x",
            "http://a b",
        ] {
            let error = endpoint(text).expect_err(text).to_string();
            assert!(error.contains("HF_ENDPOINT") && error.contains("https://HOST"), "{error}");
        }
        let error = endpoint("https://user:hf_secret@host").expect_err("a password").to_string();
        assert!(error.contains("HF_TOKEN") && !error.contains("hf_secret"), "{error}");
        assert_eq!(endpoint("http://host:1/mirror//").expect("valid"), "http://host:1/mirror");
    }

    /// The examples of RFC 3986, section 5.4, that a hub can give.
    #[test]
    fn redirections_are_relative_to_the_url_that_gave_them() {
        for (location, expected) in [
            ("http://c/d", "http://c/d"),
            ("//g", "http://g"),
            ("/g", "http://a/g"),
            ("g", "http://a/b/c/g"),
            ("g?y#s", "http://a/b/c/g?y"),
            ("?y", "http://a/b/c/d;p?y"),
            ("/x?to=https://b/", "http://a/x?to=https://b/"),
        ] {
            assert_eq!(target("http://a/b/c/d;p?q", location).as_deref(), Some(expected), "{location}");
        }
        assert_eq!(target("http://a", "g").as_deref(), Some("http://a/g"));
        for none in ["ftp://c/d", "javascript://x", "http://", "//", "http://c d/", "http://user:secret@c/"] {
            assert_eq!(target("http://a/b", none), None, "{none}");
        }
    }
}
