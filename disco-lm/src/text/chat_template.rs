//! Chat templates: they turn a conversation into the text format that a model was trained on.
//!
//! A template is a Jinja program that comes with the tokenizer. It is rendered as by Hugging Face transformers: with
//! `trim_blocks` and `lstrip_blocks`, and with `raise_exception`, `strftime_now` and a `tojson` that escapes nothing.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::SystemTime,
};

use minijinja::{
    Environment, ErrorKind, Value as Jinja, context,
    syntax::SyntaxConfig,
    value::{Kwargs, Serde},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, ser::Formatter};

use crate::{Error, Result, text::strftime};

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Message {
    /// The role of the speaker, in the template's words: usually `system`, `user` or `assistant`.
    pub role: String,
    /// The text of the message.
    pub content: String,
}

impl Message {
    /// The message with text `content` from `role`.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into() }
    }
}

/// The chat template of a model, with the special tokens that the template can refer to.
#[derive(Clone, Debug)]
pub(crate) struct ChatTemplate {
    source: String,
    special_tokens: BTreeMap<String, String>,
}

impl ChatTemplate {
    /// Finds the template among a model's files: in `chat_template.jinja`, or else in `tokenizer_config.json`.
    pub(crate) fn find(files: &BTreeMap<String, Vec<u8>>) -> Result<Self> {
        let json = |name: &str| match files.get(name) {
            None => Ok(Value::Null),
            Some(bytes) => {
                serde_json::from_slice(bytes).map_err(|error| Error::format(PathBuf::from(name), error))
            }
        };
        let config = json("tokenizer_config.json")?;
        let source = match files.get("chat_template.jinja") {
            Some(bytes) => String::from_utf8(bytes.clone())
                .map_err(|error| Error::format(Path::new("chat_template.jinja"), error))?,
            None => default_template(&config["chat_template"]).ok_or(Error::NoChatTemplate)?,
        };
        let mut special_tokens = BTreeMap::new();
        for tokens in [&json("special_tokens_map.json")?, &config] {
            for (name, token) in tokens.as_object().into_iter().flatten() {
                // A token is written as its text, or as an object that holds its text.
                let text = token.as_str().or_else(|| token["content"].as_str());
                if let Some(text) = text.filter(|_| name.ends_with("_token")) {
                    special_tokens.insert(name.clone(), text.to_string());
                }
            }
        }
        Ok(Self { source, special_tokens })
    }

    /// Renders a conversation, up to the beginning of the next answer.
    pub(crate) fn render(&self, messages: &[Message], now: SystemTime) -> Result<String> {
        let refused = |error: minijinja::Error| Error::ChatTemplate { cause: error.into() };
        let environment = environment(now).map_err(refused)?;
        let template = environment.template_from_str(&self.source).map_err(refused)?;
        let context = context! {
            messages => Jinja::from(Serde(messages)),
            add_generation_prompt => true,
            tools => Jinja::from(()),
            documents => Jinja::from(()),
            ..Jinja::from(Serde(&self.special_tokens))
        };
        template.render(context).map_err(refused)
    }
}

/// The template in `tokenizer_config.json`: a text, or a list of named templates, of which one is named `default`.
fn default_template(value: &Value) -> Option<String> {
    let named = |list: &Vec<Value>| {
        let default = list.iter().find(|entry| entry["name"] == "default")?;
        default["template"].as_str().map(String::from)
    };
    value.as_str().map(String::from).or_else(|| value.as_array().and_then(named))
}

fn environment(now: SystemTime) -> std::result::Result<Environment<'static>, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function("raise_exception", |message: String| -> std::result::Result<String, _> {
        Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
    });
    environment.add_function("strftime_now", move |format: String| {
        strftime::format(&format, now)
            .map_err(|problem| minijinja::Error::new(ErrorKind::InvalidOperation, problem))
    });
    environment.add_filter("tojson", to_json);
    Ok(environment)
}

/// JSON as Python writes it: a space after commas and colons, unless lines are indented.
fn to_json(value: Jinja, options: Kwargs) -> std::result::Result<String, minijinja::Error> {
    let failed =
        |error: serde_json::Error| minijinja::Error::new(ErrorKind::BadSerialization, error.to_string());
    let indent: Option<usize> = options.get("indent")?;
    let mut bytes = Vec::new();
    match indent {
        Some(width) => {
            let indent = vec![b' '; width];
            let formatter = serde_json::ser::PrettyFormatter::with_indent(&indent);
            value
                .serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter))
                .map_err(failed)?;
        }
        None => {
            value
                .serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, Spaced))
                .map_err(failed)?;
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// JSON formatter that writes a space after commas and colons.
struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: std::io::Write + ?Sized>(
        &mut self,
        to: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { to.write_all(b", ") }
    }

    fn begin_object_key<W: std::io::Write + ?Sized>(
        &mut self,
        to: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { to.write_all(b", ") }
    }

    fn begin_object_value<W: std::io::Write + ?Sized>(&mut self, to: &mut W) -> std::io::Result<()> {
        to.write_all(b": ")
    }
}
