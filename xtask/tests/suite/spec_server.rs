//! Run files whose model is on a server.

use std::path::Path;

use xtask::{ModelSource, ServerDialect, ServerSpec, Spec, SpecError, read_spec};

/// A run file with these lines in [model] and behind it.
fn read(model: &str, more: &str) -> Result<Spec, SpecError> {
    let text = format!(
        "[model]\n{model}\n[contexts]\nlist = [\"Once\"]\n{more}\n[[features]]\nname = \"w\"\nkind = \"contains\"\ntext = \"w\"\nmean = \
         0.5\n"
    );
    read_spec("test.toml", &text, Path::new(""))
}

fn problems(model: &str, more: &str) -> String {
    read(model, more).unwrap_err().to_string()
}

const SERVER: &str = "source = \"http://127.0.0.1:8000/v1\"\n";
const UNTUNED: &str = "[tune]\nsteps = 0\n";

#[test]
fn a_server_is_a_source_with_fields_of_its_own() {
    let fields = "dialect = \"llama.cpp\"\nname = \"small\"\nconnections = 3\ntimeout = 9\ntries = 2\n";
    let spec = read(&format!("{SERVER}{fields}"), UNTUNED).unwrap();
    assert_eq!(spec.model.source, ModelSource::Server("http://127.0.0.1:8000/v1".into()));
    let expected = ServerSpec {
        dialect: Some(ServerDialect::LlamaCpp),
        name: Some("small".into()),
        connections: 3,
        timeout: 9.0,
        tries: 2,
        ..ServerSpec::default()
    };
    assert_eq!(spec.model.server, expected);
    assert_eq!(read(SERVER, UNTUNED).unwrap().model.server, ServerSpec::default());
}

#[test]
fn problems_with_a_server_are_told_with_their_field() {
    for (model, more, told) in [
        (
            SERVER,
            "[tune]\nsteps = 3\n",
            "`tune.steps` is 3, but the model runs on a server, and tuning needs its weights here",
        ),
        (
            "source = \"http://host:99999/v1\"",
            UNTUNED,
            "`model.source` has a port that is no number up to 65535",
        ),
        ("source = \"http://me:word@host/v1\"", UNTUNED, "which belongs into `headers`"),
        (&format!("{SERVER}dialect = \"openai\""), UNTUNED, "did you mean `vllm`"),
        (&format!("{SERVER}connections = 0"), UNTUNED, "`model.connections` is 0"),
        (
            &format!("{SERVER}headers = {{ Authorization = \"Bearer x\" }}"),
            UNTUNED,
            "names no environment variable",
        ),
        (
            &format!("{SERVER}choices = [\"a\", \"b\"]"),
            UNTUNED,
            "`model.choices` needs a model whose tokens can be chosen here",
        ),
        (SERVER, "chat = true\n[tune]\nsteps = 0\n", "`contexts.chat` needs the model's chat template"),
        (
            "source = \"embedded\"\nconnections = 2",
            "",
            "`model.connections` is of a model on a server, and this one runs here",
        ),
    ] {
        let said = problems(model, more);
        assert!(said.contains(told), "{model} {more}: {said}");
    }
    // All at once, each with its line.
    let model = format!("{SERVER}choices = [\"a\", \"b\"]");
    let said = problems(&model, "chat = true\n[tune]\nsteps = 3\n");
    assert!(said.contains("test.toml has 3 problems"), "{said}");
    for place in
        ["test.toml:3:11: `model.choices`", "test.toml:6:8: `contexts.chat`", "test.toml:8:9: `tune.steps`"]
    {
        assert!(said.contains(place), "{place}: {said}");
    }
    let said = problems(SERVER, "[model.grammar]\nregex = \"a|b\"\n");
    assert!(said.contains("`model.grammar` needs a model whose tokens can be chosen here"), "{said}");
    #[cfg(not(feature = "tls"))]
    {
        let said = problems("source = \"https://host/v1\"", UNTUNED);
        assert!(
            said.contains("is an address for TLS, which this program was built without")
                && said.contains("`tls`"),
            "{said}"
        );
    }
}
