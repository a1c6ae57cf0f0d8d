//! The environment variables of Python's huggingface_hub (its `constants.py`).

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{Error, Hub, Result};

/// The endpoint if `HF_ENDPOINT` is not set.
const ENDPOINT: &str = "https://huggingface.co";

impl Hub {
    /// The hub, cache and token that the environment names, by the variables of Python's huggingface_hub:
    ///
    /// | variable | meaning | default |
    /// |---|---|---|
    /// | `HF_ENDPOINT` | URL of the hub | `https://huggingface.co` |
    /// | `HF_HUB_CACHE` | folder of the cache | `hub` in `HF_HOME` |
    /// | `HF_HOME` | folder of cache and token | `huggingface` in `XDG_CACHE_HOME` or `~/.cache` |
    /// | `HF_TOKEN` | token that gives access to private or gated models | content of the file `HF_TOKEN_PATH`, or of `token` in `HF_HOME` |
    /// | `HF_HUB_DISABLE_IMPLICIT_TOKEN` | whether the token is left out | 0 |
    /// | `HF_HUB_OFFLINE` | whether only the cache is used | `TRANSFORMERS_OFFLINE`, or 0 |
    /// | `HF_HUB_DOWNLOAD_TIMEOUT` | seconds, for [`with_timeout`](Self::with_timeout) | 30 |
    ///
    /// `~`, `$NAME` and `${NAME}` are expanded in paths. Of the older names, `HUGGINGFACE_HUB_CACHE` and `HUGGING_FACE_HUB_TOKEN`
    /// count where the newer ones are not set.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the variable; [`Error::Io`] for a token file that cannot be read.
    pub fn from_env() -> Result<Self> {
        Self::from_variables(|name| std::env::var_os(name).filter(|value| !value.is_empty()))
    }

    fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self> {
        let user = variable("HOME").map(PathBuf::from).or_else(std::env::home_dir);
        let path = |names: &[&str]| {
            let value = names.iter().find_map(|name| variable(name))?;
            Some(expanded(value, user.as_deref(), &variable))
        };
        let text = |name: &'static str| match variable(name).map(OsString::into_string) {
            None => Ok(None),
            Some(Ok(text)) => Ok(Some(text)),
            // The value of a token is not shown.
            Some(Err(_)) => Err(Error::invalid(name, "not text", "text in UTF-8")),
        };
        let caches = || variable("XDG_CACHE_HOME").map(PathBuf::from).or(Some(user.as_ref()?.join(".cache")));
        let home = path(&["HF_HOME"]).or_else(|| Some(caches()?.join("huggingface")));
        let cache = path(&["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"]);
        let cache = cache.or_else(|| home.as_ref().map(|home| home.join("hub")));
        let unknown = "a folder, where there is no home folder to have one in";
        let cache = cache.ok_or_else(|| Error::invalid("HF_HUB_CACHE", "not set", unknown))?;
        let has_token = !text("HF_HUB_DISABLE_IMPLICIT_TOKEN")?.is_some_and(is_true);
        let token = match [text("HF_TOKEN")?, text("HUGGING_FACE_HUB_TOKEN")?].into_iter().flatten().next() {
            Some(token) => Some(token),
            None => match path(&["HF_TOKEN_PATH"]).or_else(|| home.map(|home| home.join("token"))) {
                Some(path) if has_token && path.exists() => {
                    Some(std::fs::read_to_string(&path).map_err(|source| Error::io(&path, source))?)
                }
                _ => None,
            },
        };
        let offline = match text("HF_HUB_OFFLINE")? {
            Some(value) => is_true(value),
            None => text("TRANSFORMERS_OFFLINE")?.is_some_and(is_true),
        };
        let endpoint = text("HF_ENDPOINT")?.unwrap_or_else(|| ENDPOINT.into());
        let hub = Self::new(&endpoint, &cache)?.with_token(token.as_deref().filter(|_| has_token))?;
        let hub = match text("HF_HUB_DOWNLOAD_TIMEOUT")? {
            None => hub,
            Some(value) => {
                let seconds = value.trim().parse().map(Duration::from_secs);
                let refused =
                    || Error::invalid("HF_HUB_DOWNLOAD_TIMEOUT", format!("{value:?}"), "seconds, 1 to 86400");
                hub.with_timeout(seconds.map_err(|_| refused())?).map_err(|_| refused())?
            }
        };
        Ok(if offline { hub.offline() } else { hub })
    }
}

/// Whether huggingface_hub takes a value for true.
fn is_true(value: String) -> bool {
    ["1", "true", "yes", "on"].iter().any(|yes| value.eq_ignore_ascii_case(yes))
}

/// A path with `~` at its beginning, `$NAME` and `${NAME}` replaced. Variables that are not set stay as they are.
fn expanded(path: OsString, user: Option<&Path>, variable: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    // Paths that are not UTF-8 are taken as they are.
    let Some(text) = path.to_str() else { return path.into() };
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = OsString::new();
    let mut rest = text;
    match (text.strip_prefix('~'), user) {
        (Some(after), Some(user)) if after.is_empty() || after.starts_with('/') => {
            found.push(user);
            rest = after;
        }
        _ => {}
    }
    while let Some(at) = rest.find('$') {
        found.push(&rest[..at]);
        let after = &rest[at + 1..];
        let (name, length) = match after.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            Some((name, _)) => (name, name.len() + 2),
            None => {
                let end = after.find(|c| !is_name(c)).unwrap_or(after.len());
                (&after[..end], end)
            }
        };
        match variable(name) {
            Some(value) if !name.is_empty() => found.push(value),
            _ => found.push(&rest[at..=at + length]),
        }
        rest = &after[length..];
    }
    found.push(rest);
    found.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub(variables: &[(&str, &str)]) -> Result<Hub> {
        Hub::from_variables(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn the_environment_names_hub_cache_and_token() {
        let home = tempfile::tempdir().expect("a folder");
        std::fs::write(home.path().join("token"), "from-the-file\n").expect("written");
        let path = home.path().to_str().expect("text");
        let endpoint = ("HF_ENDPOINT", "http://host/");
        let found = hub(&[("HF_HOME", path), endpoint]).expect("valid");
        assert_eq!(found.client.endpoint, "http://host");
        assert_eq!(found.cache, home.path().join("hub"));
        assert_eq!(found.client.requests.token.as_deref(), Some("from-the-file"));
        assert!(!found.offline && !format!("{found:?}").contains("from-the-file"));

        let variables = [("HF_HOME", path), ("HF_HUB_CACHE", "/elsewhere"), ("HF_TOKEN", "mine"), endpoint];
        let found = hub(&[&variables[..], &[("HF_HUB_OFFLINE", "True")]].concat()).expect("valid");
        assert_eq!((found.cache, found.offline), (PathBuf::from("/elsewhere"), true));
        assert_eq!(found.client.requests.token.as_deref(), Some("mine"));
        let found = hub(&[("XDG_CACHE_HOME", "/caches"), ("HF_HUB_OFFLINE", "0"), endpoint]).expect("valid");
        assert_eq!((found.cache, found.offline), (PathBuf::from("/caches/huggingface/hub"), false));
    }

    #[test]
    fn invalid_variables_are_refused_and_a_token_is_not_repeated() {
        let error = hub(&[("HF_ENDPOINT", "huggingface.co")]).expect_err("no URL").to_string();
        assert!(error.contains("HF_ENDPOINT") && error.contains("https://HOST"), "{error}");
        let error = hub(&[("HF_ENDPOINT", "http://host"), ("HF_TOKEN", "se\ncret")]).expect_err("two lines");
        assert!(error.to_string().contains("HF_TOKEN") && !error.to_string().contains("cret"), "{error}");
    }

    #[test]
    fn the_variables_mean_what_they_mean_to_huggingface_hub() {
        let endpoint = ("HF_ENDPOINT", "http://host");
        let of = |variables: &[(&str, &str)]| hub(&[variables, &[endpoint, ("HOME", "/people/me")]].concat());
        for (variables, cache) in [
            (&[][..], "/people/me/.cache/huggingface/hub"),
            (&[("HF_HOME", "~/hf")], "/people/me/hf/hub"),
            (&[("HF_HOME", "~")], "/people/me/hub"),
            (&[("HF_HOME", "$DATA/hf")], "/data/hf/hub"),
            (&[("HF_HUB_CACHE", "/x${DATA}y/$NONE/$")], "/x/datay/$NONE/$"),
            (&[("HF_HUB_CACHE", "~other/x")], "~other/x"),
            (&[("HUGGINGFACE_HUB_CACHE", "/old")], "/old"),
            (&[("HUGGINGFACE_HUB_CACHE", "/old"), ("HF_HUB_CACHE", "/new")], "/new"),
        ] {
            let found = of(&[variables, &[("DATA", "/data")]].concat()).expect("valid").cache;
            assert!(found.ends_with(cache), "{variables:?}: {}", found.display());
        }
        for (variables, offline) in [
            (&[("HF_HUB_OFFLINE", "on")][..], true),
            (&[("HF_HUB_OFFLINE", "2")], false),
            (&[("TRANSFORMERS_OFFLINE", "YES")], true),
            (&[("TRANSFORMERS_OFFLINE", "1"), ("HF_HUB_OFFLINE", "0")], false),
        ] {
            assert_eq!(of(variables).expect("valid").offline, offline, "{variables:?}");
        }
        for (variables, token) in [
            (&[("HUGGING_FACE_HUB_TOKEN", "old")][..], Some("old")),
            (&[("HUGGING_FACE_HUB_TOKEN", "old"), ("HF_TOKEN", " new\n")], Some("new")),
            (&[("HF_TOKEN", "new"), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")], None),
        ] {
            let found = of(variables).expect("valid");
            assert_eq!(found.client.requests.token.as_deref(), token, "{variables:?}");
        }
        let patience = of(&[("HF_HUB_DOWNLOAD_TIMEOUT", "7")]).expect("valid").client.requests.patience;
        assert_eq!(patience, Duration::from_secs(7));
        for wrong in ["0", "-1", "1.5", "1000000", "never"] {
            let error = of(&[("HF_HUB_DOWNLOAD_TIMEOUT", wrong)]).expect_err(wrong).to_string();
            assert!(error.contains("HF_HUB_DOWNLOAD_TIMEOUT") && error.contains(wrong), "{error}");
        }
    }
}
