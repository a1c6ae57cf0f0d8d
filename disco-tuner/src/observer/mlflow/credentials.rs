//! How a request shows to an MLflow server who sends it.

use std::{env::VarError, fmt};

use disco_core::{Error, Result};

const USER: &str = "MLFLOW_TRACKING_USERNAME";
const PASSWORD: &str = "MLFLOW_TRACKING_PASSWORD";
const TOKEN: &str = "MLFLOW_TRACKING_TOKEN";
/// Ways of MLflow's client that need more than a header.
const UNSUPPORTED: [&str; 2] = ["MLFLOW_TRACKING_AUTH", "MLFLOW_TRACKING_AWS_SIGV4"];

/// The value of the header `Authorization`, if there is one. It is a secret: no message contains it.
#[derive(Clone, Default)]
pub(super) struct Credentials(Option<String>);

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Credentials(***)" } else { "Credentials(none)" })
    }
}

impl Credentials {
    /// From the part `USER:PASSWORD` of an address, else from the environment, in the order of MLflow's own client.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a user without a password or the reverse, characters that no header has, and variables
    /// that ask for another way.
    pub(super) fn new(
        user_and_password: Option<&str>,
        variable: impl Fn(&str) -> std::result::Result<String, VarError>,
    ) -> Result<Self> {
        let given = |name: &'static str| match variable(name) {
            Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
            Err(VarError::NotPresent) => Ok(None),
            Err(VarError::NotUnicode(_)) => Err(Error::invalid(name, "not UTF-8", "UTF-8")),
        };
        if let Some(pair) = user_and_password {
            let decoded = pair.split_once(':').and_then(|(user, password)| {
                Some((percent_decoded(user)?, percent_decoded(password)?)).filter(|pair| !pair.0.is_empty())
            });
            let (user, password) = decoded.ok_or_else(|| {
                let allowed = "USER:PASSWORD, with % and two hexadecimal digits for special characters";
                Error::invalid("user and password in the address of MLflow", "of another form", allowed)
            })?;
            return Ok(Self(Some(basic(&user, &password))));
        }
        for name in UNSUPPORTED {
            if given(name)?.is_some_and(|value| !["false", "0"].contains(&value.to_lowercase().as_str())) {
                let allowed = format!("unset: this client knows {USER} with {PASSWORD}, and {TOKEN}");
                return Err(Error::invalid(name, "set", allowed));
            }
        }
        match (given(USER)?, given(PASSWORD)?) {
            (Some(user), Some(password)) => Ok(Self(Some(basic(&user, &password)))),
            (Some(_), None) => Err(Error::invalid(PASSWORD, "not set", format!("set, as {USER} is"))),
            (None, Some(_)) => Err(Error::invalid(USER, "not set", format!("set, as {PASSWORD} is"))),
            (None, None) => match given(TOKEN)? {
                Some(token) if token.contains(|other: char| !other.is_ascii_graphic()) => {
                    let value = "a text with other characters";
                    Err(Error::invalid(TOKEN, value, "visible ASCII characters without spaces"))
                }
                token => Ok(Self(token.map(|token| format!("Bearer {token}")))),
            },
        }
    }

    /// The lines of the head of a request.
    pub(super) fn header(&self) -> String {
        self.0.as_ref().map(|value| format!("Authorization: {value}\r\n")).unwrap_or_default()
    }
}

/// An address without user and password.
pub(super) fn without_secret(address: &str) -> String {
    let Some((before, host)) = address.rsplit_once('@') else { return address.to_owned() };
    let scheme = before.find("://").map_or("", |at| &before[..at + 3]);
    format!("{scheme}***@{host}")
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", base64(format!("{user}:{password}").as_bytes()))
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let digits = rest.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).ok()
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let number = (0..3).fold(0u32, |number, at| number << 8 | u32::from(*three.get(at).unwrap_or(&0)));
        for at in 0..4 {
            let digit = DIGITS[(number >> (18 - 6 * at)) as usize & 63];
            text.push(if at <= three.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::env::VarError;

    use super::{Credentials, base64, without_secret};

    fn from(address: Option<&str>, variables: &[(&str, &str)]) -> Result<String, String> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(other, _)| *other == name);
            found.map(|(_, value)| (*value).to_owned()).ok_or(VarError::NotPresent)
        };
        let credentials = Credentials::new(address, variable).map_err(|error| error.to_string())?;
        assert!(!format!("{credentials:?}").contains("secret"));
        Ok(credentials.header())
    }

    /// The examples of RFC 4648, 10, and of RFC 7617, 2.
    #[test]
    fn base64_is_that_of_the_rfc() {
        let found = ["", "f", "fo", "foo", "foob", "fooba", "foobar"].map(|text| base64(text.as_bytes()));
        assert_eq!(found, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"]);
        let header = "Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n";
        assert_eq!(from(Some("Aladdin:open%20sesame"), &[]).unwrap(), header);
    }

    #[test]
    fn an_address_comes_before_a_user_and_a_user_before_a_token() {
        let all = [
            ("MLFLOW_TRACKING_USERNAME", "Aladdin"),
            ("MLFLOW_TRACKING_PASSWORD", "open sesame"),
            ("MLFLOW_TRACKING_TOKEN", "secret"),
        ];
        assert_eq!(from(Some("a:b:c"), &all).unwrap(), "Authorization: Basic YTpiOmM=\r\n");
        assert_eq!(from(None, &all).unwrap(), "Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n");
        assert_eq!(from(None, &all[2..]).unwrap(), "Authorization: Bearer secret\r\n");
        assert_eq!(from(None, &[("MLFLOW_TRACKING_TOKEN", "")]).unwrap(), "");
    }

    #[test]
    fn other_ways_are_refused_by_name_and_no_message_has_a_secret() {
        for (address, variables, said) in [
            (None, vec![("MLFLOW_TRACKING_USERNAME", "secret")], "MLFLOW_TRACKING_PASSWORD is not set"),
            (None, vec![("MLFLOW_TRACKING_PASSWORD", "secret")], "MLFLOW_TRACKING_USERNAME is not set"),
            (None, vec![("MLFLOW_TRACKING_TOKEN", "secret\r\nX: y")], "MLFLOW_TRACKING_TOKEN is"),
            (None, vec![("MLFLOW_TRACKING_AUTH", "secret")], "MLFLOW_TRACKING_AUTH is set"),
            (None, vec![("MLFLOW_TRACKING_AWS_SIGV4", "true")], "MLFLOW_TRACKING_AWS_SIGV4 is set"),
            (Some("secret"), vec![], "user and password in the address"),
            (Some(":secret"), vec![], "user and password in the address"),
            (Some("a:secret%2"), vec![], "user and password in the address"),
        ] {
            let error = from(address, &variables).unwrap_err();
            assert!(error.contains(said) && !error.contains("secret"), "{error}");
        }
        assert_eq!(from(None, &[("MLFLOW_TRACKING_AWS_SIGV4", "false")]).unwrap(), "");
        let shown = ["https://a:secret@h/x", "a:secret/@h", "http://h/x"].map(without_secret);
        assert_eq!(shown, ["https://***@h/x", "***@h", "http://h/x"]);
    }
}
