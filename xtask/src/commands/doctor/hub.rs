//! The hub: its address, its cache, and whether it can be reached from here. Compiled with the feature `lm` only.

use std::{
    net::{TcpStream, ToSocketAddrs},
    sync::mpsc,
    thread,
    time::Duration,
};

use serde::Serialize;

use super::folders::Folder;
use crate::Result;

/// The time in which a connection has to be open.
const PATIENCE: Duration = Duration::from_secs(3);

/// The state of the hub.
#[derive(Clone, Debug, Serialize)]
pub(super) struct HubState {
    /// Its URL.
    endpoint: String,
    /// Whether this program can download from it.
    is_compiled: bool,
    /// Whether a setting keeps every command from asking it.
    is_offline: bool,
    /// The reason why no connection opens; `None` if one does, or if none was tried.
    problem: Option<String>,
    /// Its cache.
    pub(super) cache: Folder,
}

impl HubState {
    /// Looks at the hub that the environment names, and opens a connection to it, unless a setting forbids it.
    ///
    /// # Errors
    /// The error of a variable that has an invalid value.
    pub(super) fn look() -> Result<Self> {
        let hub = disco_lm::Hub::from_env()?;
        let problem = if hub.is_offline() { None } else { connect(hub.endpoint(), PATIENCE).err() };
        Ok(Self {
            endpoint: hub.endpoint().into(),
            is_compiled: hub.is_compiled(),
            is_offline: hub.is_offline(),
            problem,
            cache: Folder::cache(hub.cache()),
        })
    }

    /// The state in words, with what to do about it.
    pub(super) fn text(&self) -> String {
        let endpoint = &self.endpoint;
        if self.is_offline {
            return format!(
                "{endpoint}: not asked, since HF_HUB_OFFLINE says so; models in its cache can be used"
            );
        }
        let reached = match &self.problem {
            Some(problem) => format!(
                "{endpoint}: offline ({problem}); models in its cache can be used, and HF_ENDPOINT may name a mirror"
            ),
            None => format!("{endpoint}: reachable"),
        };
        match self.is_compiled {
            true => reached,
            false => format!(
                "{reached}; this program has no TLS, and downloads nothing over https (feature `hub`)"
            ),
        }
    }
}

/// Opens a connection to the host of a URL.
///
/// # Errors
/// The problem, in words.
fn connect(endpoint: &str, patience: Duration) -> Result<(), String> {
    let url: ureq::http::Uri = endpoint.parse().map_err(|_| "it is no URL".to_owned())?;
    let host = url.host().ok_or("its URL names no host")?.trim_matches(['[', ']']).to_owned();
    let port = url.port_u16().unwrap_or(if url.scheme_str() == Some("http") { 80 } else { 443 });
    // Looking up a name has no time limit of its own. A thread that is still at it ends with the process.
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let opened = || {
            let mut problem = "its name has no address".to_owned();
            for address in (host.as_str(), port).to_socket_addrs().map_err(|error| error.to_string())? {
                match TcpStream::connect_timeout(&address, patience) {
                    Ok(_) => return Ok(()),
                    Err(error) => problem = error.to_string(),
                }
            }
            Err(problem)
        };
        // Nobody may be waiting any more.
        let _ = sender.send(opened());
    });
    receiver
        .recv_timeout(patience)
        .unwrap_or_else(|_| Err(format!("no connection in {} s", patience.as_secs())))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_host_that_listens_is_told_from_one_that_does_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}/path", listener.local_addr().unwrap());
        assert_eq!(connect(&endpoint, PATIENCE), Ok(()));
        drop(listener);
        assert!(connect(&endpoint, PATIENCE).unwrap_err().contains("refused"));
        assert!(connect("https://no-such-host.invalid", PATIENCE).is_err());
    }
}
