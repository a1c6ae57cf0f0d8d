//! Chat templates: they turn a conversation into the text format that a model was trained on.
//!
//! A template is a Jinja program that comes with the tokenizer. It is rendered as by Hugging Face transformers
//! (`text/jinja/mod.rs`), and given the conversation and the special tokens by their names.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Error, Result,
    text::{
        jinja::{self, Data},
        special_tokens::special_tokens,
    },
};

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
    /// The place of the template among the model's files, for messages.
    name: String,
    special_tokens: BTreeMap<String, String>,
}

impl ChatTemplate {
    /// Finds the template among a model's files: in `chat_template.jinja`, or else in `tokenizer_config.json` or
    /// `chat_template.json`.
    pub(crate) fn find(files: &BTreeMap<String, Vec<u8>>) -> Result<Self> {
        let json = |name: &str| match files.get(name) {
            None => Ok(Value::Null),
            Some(bytes) => {
                serde_json::from_slice(bytes).map_err(|error| Error::format(PathBuf::from(name), error))
            }
        };
        let config = json("tokenizer_config.json")?;
        let (source, name) = match files.get("chat_template.jinja") {
            Some(bytes) => {
                let source = String::from_utf8(bytes.clone())
                    .map_err(|error| Error::format(Path::new("chat_template.jinja"), error))?;
                (source, "chat_template.jinja".to_string())
            }
            None => {
                let older = json("chat_template.json")?;
                let in_json = [("tokenizer_config.json", &config), ("chat_template.json", &older)];
                let found = in_json.into_iter().find(|(_, json)| !json["chat_template"].is_null());
                let (file, json) = found.ok_or(Error::NoChatTemplate)?;
                let name = format!("`chat_template` in {file}");
                (default_template(&json["chat_template"], &name)?, name)
            }
        };
        let map = json("special_tokens_map.json")?;
        let special_tokens = special_tokens(&config, &map, &Value::Null).named;
        Ok(Self { source, name, special_tokens })
    }

    /// Renders a conversation, up to the beginning of the next answer.
    pub(crate) fn render(&self, messages: &[Message], now: SystemTime) -> Result<String> {
        let text = |text: &str| Data::Text(text.into());
        let message = |message: &Message| {
            let entries = [("role", &message.role), ("content", &message.content)];
            Data::Dict(entries.map(|(name, value)| (name.to_string(), text(value))).to_vec())
        };
        let mut variables: Vec<(String, Data)> =
            self.special_tokens.iter().map(|(name, token)| (name.clone(), text(token))).collect();
        variables.extend([
            ("messages".into(), Data::List(messages.iter().map(message).collect())),
            ("add_generation_prompt".into(), Data::Bool(true)),
            ("tools".into(), Data::None),
            ("documents".into(), Data::None),
        ]);
        jinja::render(&self.source, &variables, now)
            .map_err(|cause| Error::ChatTemplate { template: self.name.clone(), cause: cause.into() })
    }
}

/// The template in a JSON file: a text, or a list of named templates, of which one is named `default`.
fn default_template(value: &Value, name: &str) -> Result<String> {
    let refused =
        |cause: String| Err(Error::ChatTemplate { template: name.to_string(), cause: cause.into() });
    match value {
        Value::String(source) => Ok(source.clone()),
        Value::Array(named) => {
            let default = named.iter().find(|entry| entry["name"] == "default");
            if let Some(source) = default.and_then(|default| default["template"].as_str()) {
                return Ok(source.to_string());
            }
            let names: Vec<&str> = named.iter().filter_map(|entry| entry["name"].as_str()).collect();
            refused(format!(
                "there are several templates ({}), and none is named `default`",
                names.join(", ")
            ))
        }
        _ => refused("it is neither a text nor a list of named templates".into()),
    }
}
