//! Messages of errors.

use std::{error::Error as _, path::Path};

use super::*;

#[test]
fn a_message_contains_its_cause_which_is_not_a_source_as_well() {
    let file = || Error::read(Path::new("a.txt"), io::ErrorKind::NotFound.into());
    let shown = file().to_string();
    assert!(shown.starts_with("cannot read a.txt: ") && shown.len() > "cannot read a.txt: ".len(), "{shown}");
    for error in [
        file(),
        Error::Step { step: "tidy".into(), cause: Box::new(file()) },
        Error::Python { needed: "Python", cause: Box::new(file()) },
        regex::Error::Syntax("unclosed group".into()).into(),
    ] {
        assert!(error.source().is_none(), "{error:?}");
        assert!(error.to_string().contains(&shown) || matches!(error, Error::Pattern(_)), "{error}");
    }
}
