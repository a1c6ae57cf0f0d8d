//! The engine against transformers (`tests/suite/reference/jinja.py` made the values), and against hostile templates.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value as Json;

use super::{Data, render};

fn data(value: &Json) -> Data {
    match value {
        Json::Array(values) => Data::List(values.iter().map(data).collect()),
        Json::String(text) => Data::Text(text.clone()),
        other => panic!("{other} is not in a conversation"),
    }
}

/// A conversation as the engine gets it: a dict of role and content for each message.
fn messages(value: &Json) -> Data {
    let message = |message: &Json| {
        Data::Dict(["role", "content"].map(|name| (name.to_string(), data(&message[name]))).to_vec())
    };
    Data::List(value.as_array().expect("messages").iter().map(message).collect())
}

fn variables(messages: Data) -> Vec<(String, Data)> {
    let text = |text: &str| Data::Text(text.into());
    let variables = [
        ("messages", messages),
        ("add_generation_prompt", Data::Bool(true)),
        ("tools", Data::None),
        ("documents", Data::None),
        ("bos_token", text("<s>")),
        ("eos_token", text("</s>")),
    ];
    variables.map(|(name, value)| (name.to_string(), value)).to_vec()
}

#[test]
fn templates_are_rendered_as_by_transformers() {
    let reference: Json =
        serde_json::from_str(include_str!("../../../tests/suite/reference/jinja.json")).expect("JSON");
    let now = UNIX_EPOCH + Duration::from_secs(reference["now"].as_u64().expect("seconds"));
    let rows = reference["rows"].as_array().expect("rows");
    assert!(rows.len() > 200, "{} rows", rows.len());
    for row in rows {
        let template = row["template"].as_str().expect("a template");
        for (conversation, expected) in row["texts"].as_object().expect("texts") {
            let variables = variables(messages(&reference["conversations"][conversation]));
            match (render(template, &variables, now), expected.as_str()) {
                (Ok(text), Some(expected)) => assert_eq!(text, expected, "{conversation}: {template}"),
                (Ok(text), None) => panic!("{template}: gives {text:?}, and should be refused"),
                (Err(error), Some(expected)) => {
                    panic!("{template}: {error}, and transformers gives {expected:?}")
                }
                (Err(_), None) => {}
            }
        }
    }
}

/// Templates that try to take all time, memory or stack.
fn hostile() -> Vec<String> {
    let fixed = [
        "{% set ns = namespace() %}{% set ns.a = ns %}{{ ns }}",
        "{% set ns = namespace() %}{% set ns.a = [ns, [ns]] %}{{ ns ~ ns }}{{ ns.a }}",
        "{% set a = namespace() %}{% set b = namespace(a=a) %}{% set a.b = b %}{{ a }}{{ b|string|length }}",
        "{% set ns = namespace() %}{% set ns.a = ns %}{{ ns|tojson }}",
        "{% set ns = namespace() %}{% set ns.a = ns %}{{ ns == ns.a }}{{ '%s' % ns }}{{ '{}'.format(ns) }}",
        "{% set ns = namespace(v=[]) %}{% for i in range(99999) %}{% set ns.v = [ns.v] %}{% endfor %}{{ ns.v }}",
        "{% set ns = namespace(v=1) %}{% for i in range(99) %}{% set ns.v = [ns.v, ns.v] %}{% endfor %}{{ ns.v }}",
        "{% set ns = namespace(v=1) %}{% for i in range(99) %}{% set ns.v = {'a': ns.v, 'b': ns.v} %}{% endfor %}{{ ns.v|tojson }}",
        "{% set a = namespace(v=1) %}{% set b = namespace(v=1) %}{% for i in range(90) %}{% set a.v = [a.v, a.v] %}{% set b.v = [b.v, b.v] %}{% endfor %}{{ a.v == b.v }}{{ a.v < b.v }}{{ a.v in [b.v] }}",
        "{% set ns = namespace(v=[1]) %}{% for i in range(60) %}{% set ns.v = ns.v + ns.v %}{% endfor %}{{ ns.v|length }}",
        "{% set ns = namespace(v='x') %}{% for i in range(60) %}{% set ns.v = ns.v ~ ns.v %}{% endfor %}{{ ns.v }}",
        "{% set ns = namespace(v='x') %}{% for i in range(60) %}{% set ns.v = ns.v.replace('x', 'xxxxxxxx') %}{% endfor %}",
        "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}{% endfor %}{% endfor %}{% endfor %}",
        "{% for a in range(99999) %}{{ 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx' * 1000 }}{% endfor %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% macro m(n) %}{{ m(n + 1) }}{{ m(n + 1) }}{% endmacro %}{{ m(0) }}",
        "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}{{ a() }}",
        "{% macro m(f) %}{{ f(f) }}{% endmacro %}{{ m(m) }}",
        "{% macro m() %}{% call m() %}{{ caller() }}{% endcall %}{% endmacro %}{{ m() }}",
        "{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}",
        "{% for i in [1] recursive %}{{ loop([1]) ~ loop([1]) }}{% endfor %}",
        "{{ range(10**10)|list }}",
        "{{ range(-9223372036854775807, 9223372036854775807)|list|length }}",
        "{{ range(0, 9223372036854775807, 99999999999999)[5] }}",
        "{{ 10**10**10 }}{{ 9**9**9**9 }}{{ 2.0**99999 }}",
        "{{ 9223372036854775807 * 2 }}{{ -9223372036854775807 - 2 }}",
        "{{ (-9223372036854775807 - 1) // -1 }}{{ (-9223372036854775807 - 1) % -1 }}{{ -(-9223372036854775807 - 1) }}",
        "{{ (-9223372036854775807 - 1)|abs }}{{ 9223372036854775807 is divisibleby(0) }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '%.1000000000f' % 1 }}",
        "{{ '%.60000f|%.66000f' % (1, 1) }}",
        "{{ '%*d' % (10000000000, 1) }}{{ '%-*s' % (-9223372036854775807 - 1, 1) }}",
        "{{ '%99999999999999999999d' % 1 }}",
        "{{ '{:10000000000}'.format(1) }}",
        "{{ '{:.10000000000f}'.format(1.0) }}{{ '{:.70000e}'.format(1.0) }}",
        "{{ '{:99999999999999999999}'.format(1) }}",
        "{{ '{:{w}}'.format(1, w=10000000000) }}{{ '{0:{0:{0}}}'.format(9999999999) }}",
        "{{ '\u{1f600}'.center(10000000000, '\u{1f600}') }}",
        "{{ 'x\ty'.expandtabs(10000000000) }}",
        "{{ [1, 2, 3]|batch(10000000000, 'x')|list }}",
        "{{ [1, 2, 3]|slice(10000000000)|list }}",
        "{{ [1]|tojson(indent=10000000000) }}",
        "{{ [[[[[[[[1]]]]]]]]|tojson(indent=40000000) }}",
        "{{ [1, 2]|tojson(separators=('x' * 100000000, 'y' * 100000000)) }}",
        "{{ ('x\\n' * 1000000)|indent(1000000) }}",
        "{{ (['x' * 1000] * 1000)|join('y' * 1000000) }}",
        "{{ ('y' * 1000000).join(['x'] * 1000000) }}",
        "{% set s = 'a' * 1000000 %}{% for i in range(99999) %}{{ 'b' in s }}{% endfor %}",
        "{% set s = 'a' * 1000000 %}{% for i in range(99999) %}{{ s|length }}{{ s[-1] }}{% endfor %}",
        "{% set l = range(99999)|list %}{% for i in l %}{{ -1 in l }}{% endfor %}",
        "{% set l = range(99999)|list %}{{ l|unique|list|length }}",
        "{% set l = (range(99999)|list) * 9 %}{{ l|sort|length }}{{ l|sum }}{{ l|map('string')|join|length }}",
        "{% set d = dict.fromkeys(range(99999)) %}{{ d|length }}",
        "{% set ns = namespace() %}{% for i in range(99999) %}{% set ns.a = ns.a|default([]) + [i] %}{% endfor %}",
        "{{ messages|map('map', 'map', 'map')|map('list')|list }}",
        "{{ 'x'|truncate(-9223372036854775807) }}{{ 'x'|indent(-1) }}{{ 'x'[:-9223372036854775807] }}",
        "{{ 'abc'[9223372036854775807:-9223372036854775807:-9223372036854775807] }}{{ 'abc'[::9223372036854775807] }}",
        "{{ [1, 2, 3][-9223372036854775807:9223372036854775807:2] }}{{ [1][9223372036854775807] }}",
        "{{ strftime_now('%A' * 10000000)|length }}",
        "{{ raise_exception('x' * 1000000000) }}",
        "{{ cycler(*range(99999)).next() }}{{ dict(**dict.fromkeys(['a'] * 99999)) }}",
        "{% set x = ['x' * 1000000] * 1000000 %}{{ x|string|length }}",
        "{% set x = [1].count %}{% for i in range(9999) %}{% set x = [x] %}{% endfor %}{{ x }}",
        "{{ 1e308|int }}{{ 'inf'|float|int }}{{ 'nan'|float|round }}{{ 1.5|round(99999999999) }}{{ 1|round(-99999999999) }}",
    ];
    let mut all: Vec<String> = fixed.map(String::from).to_vec();
    // Nesting in the source, and functions whose result has a size that a number says.
    for (open, middle, close) in [
        ("(", "1", ")"),
        ("[", "1", "]"),
        ("{1:", "1", "}"),
        ("-", "1", ""),
        ("not ", "1", ""),
        ("1 if 1 else ", "1", ""),
        ("f(", "1", ")"),
        ("a[", "1", "]"),
        ("1 + (", "1", ")"),
    ] {
        for depth in [100, 1_000, 100_000] {
            all.push(format!("{{{{ {}{middle}{} }}}}", open.repeat(depth), close.repeat(depth)));
        }
    }
    for (open, close) in [
        ("{% if 1 %}", "{% endif %}"),
        ("{% for i in [1] %}", "{% endfor %}"),
        ("{% macro m() %}", "{% endmacro %}"),
        ("{% filter upper %}", "{% endfilter %}"),
        ("{% with %}", "{% endwith %}"),
        ("{% set x %}", "{% endset %}"),
        ("{% generation %}", "{% endgeneration %}"),
    ] {
        for depth in [50, 1_000, 50_000] {
            all.push(format!("{}x{}", open.repeat(depth), close.repeat(depth)));
        }
    }
    for (link, tail) in
        [(".a", ""), ("|upper", ""), ("()", ""), ("[0]", ""), (" + 1", ""), (" ~ 1", ""), (" and 1", "")]
    {
        for count in [50, 5_000, 100_000] {
            all.push(format!("{{{{ x|default(1){}{tail} }}}}", link.repeat(count)));
        }
    }
    for size in ["1000000", "10**8", "10**10", "10**18", "9223372036854775807"] {
        for call in [
            "'x' * N",
            "N * 'x'",
            "[1] * N",
            "(1, 2) * N",
            "'x'|indent(N, true)",
            "'x'|center(N)",
            "'x'.ljust(N)",
            "'x'.rjust(N)",
            "'x'.zfill(N)",
            "'x'.center(N, 'y')",
            "range(N)|list",
            "range(N)|join",
            "range(N)|sum",
            "'x y'|replace(' ', 'z' * N)",
            "'%*d' % (N, 1)",
            "'x\\ty'.expandtabs(N)",
            "[1]|batch(N, 0)|list",
            "[1]|slice(N)|list",
            "{'a': 1}|tojson(indent=N)",
        ] {
            all.push(format!("{{{{ ({})|length }}}}", call.replace('N', size)));
        }
    }
    all
}

/// The name of the variable that holds the share of the hostile templates for a child process.
const SHARE: &str = "DISCO_TEST_HOSTILE_TEMPLATES";

/// Runs in a child process of the other tests: the end of a process is seen only from outside.
#[test]
#[ignore = "runs inside of other tests"]
fn hostile_templates_in_this_process() {
    let Some(every) = std::env::var(SHARE).ok().and_then(|every| every.parse().ok()) else { return };
    let templates = hostile();
    assert!(templates.len() >= 200, "{} templates", templates.len());
    for template in templates.iter().step_by(every) {
        let begun = std::time::Instant::now();
        let _ = render(template, &variables(Data::List(Vec::new())), UNIX_EPOCH);
        let taken = begun.elapsed();
        assert!(taken < Duration::from_secs(20), "{taken:?} for {}", &template[..template.len().min(200)]);
    }
    println!("{} templates survived", templates.len().div_ceil(every));
}

fn survive(every: usize) {
    let program = std::env::current_exe().expect("the test's own program");
    let output = std::process::Command::new(program)
        .args([
            "--exact",
            "--ignored",
            "--nocapture",
            "text::jinja::tests::hostile_templates_in_this_process",
        ])
        .env(SHARE, every.to_string())
        .output()
        .expect("the test's own program starts");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.contains("templates survived"), "{}\n{out}\n{err}", output.status);
}

#[test]
fn hostile_templates_end_with_an_error_and_not_with_the_process() {
    survive(5);
}

#[test]
#[ignore = "sweep: 250 hostile templates, one minute"]
fn sweep_hostile_templates() {
    survive(1);
}

#[test]
fn a_limit_is_named() {
    for (template, named) in [
        ("{{ 'x' * 10**10 }}", "values of more than 256 MiB"),
        (
            "{% for a in range(99999) %}{% for b in [1, 2, 3, 4, 5, 6, 7, 8, 9] %}{{ b + a }}{% endfor %}{% endfor %}",
            "5000000 steps",
        ),
        ("{% macro m() %}{{ m() }}{% endmacro %}\n{{ m() }}", "calls itself too deeply"),
        ("\n\n{% include 'x' %}", "line 3: the tag `include` is not known"),
        ("{{ 1 | nofilter }}", "No filter named 'nofilter'"),
    ] {
        let error = render(template, &variables(Data::List(Vec::new())), UNIX_EPOCH).expect_err(template);
        assert!(error.to_string().contains(named), "{template}: {error}");
    }
}
