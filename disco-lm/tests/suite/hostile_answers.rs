//! Answers that no hub should give: for each what is wrong with it, its bytes, and what is to be said of it.

use crate::{
    hostile_server::{
        Answer::{self, Bytes, Drip, Endless, Hold},
        HostileServer, SIZE, answer, content, etag, head_of,
    },
    hub_server::{COMMIT, sha256},
};

/// The name of a fault, the answer, and what is expected.
pub(crate) type Fault = (&'static str, Answer, Expected);

/// A part of the message, or `FETCHED` where the model is to be had.
pub(crate) type Expected = &'static str;

pub(crate) const FETCHED: Expected = "";

pub(crate) const MODEL: &str = "model.safetensors";

pub(crate) const PAGE: &str = "<!DOCTYPE html><html><title>Log in</title></html>";

/// Answers in the place of the list of a repository's files.
pub(crate) fn lists(server: &HostileServer) -> Vec<Fault> {
    let page = answer("200 OK|Content-Type: text/html", PAGE);
    let to = |location: &str| answer(&format!("302 Found|Location: {location}|Content-Length: 0"), "");
    let json = |text: &str| answer(&format!("200 OK|Content-Length: {}", text.len()), text);
    let status = |line: &str| answer(&format!("{line}|Content-Length: 0"), "");
    let many: Vec<_> =
        (0..50_000).map(|index| serde_json::json!({"rfilename": format!("{index}")})).collect();
    let many = serde_json::json!({"sha": COMMIT, "siblings": many}).to_string();
    let escapes =
        format!(r#"{{"sha": "{COMMIT}", "siblings": [{{"rfilename": "a\u001b[2J\u009b31m.bin"}}]}}"#);
    let outside = format!(
        r#"{{"sha": "{COMMIT}", "siblings": [{{"rfilename": "../config.json"}}, {{"rfilename": "/etc/config.json"}}]}}"#
    );
    vec![
        ("a login page", page, "not JSON"),
        ("a redirection to a login page", to(&format!("{}/config.json", server.store)), "without `sha`"),
        ("a redirection in a circle", to("/api/again"), "more than 5 redirections"),
        ("a redirection to itself", to(""), "more than 5 redirections"),
        ("a redirection to nowhere", status("302 Found"), "names no URL"),
        ("a redirection to another protocol", to("ftp://host/x"), "names no URL"),
        ("a redirection to a file", to("file:///etc/passwd"), "names no URL"),
        ("a redirection that is no text", answer("302 Found|Location: \u{1}", ""), "does not answer"),
        ("an empty body", status("200 OK"), "not JSON"),
        ("a list", json("[]"), "without `sha`"),
        ("null", json("null"), "without `sha`"),
        ("a commit that leads out", json(r#"{"sha": "../../x", "siblings": []}"#), "without `sha`"),
        ("a commit with a null byte", json(r#"{"sha": "a\u0000b", "siblings": []}"#), "without `sha`"),
        ("a commit that is a number", json(r#"{"sha": 1, "siblings": []}"#), "without `sha`"),
        ("files that are a number", json(r#"{"sha": "a", "siblings": 1}"#), "without `sha`"),
        ("files without names", json(r#"{"sha": "a", "siblings": [1, {}, null]}"#), "there is: nothing"),
        ("deep lists", json(&"[".repeat(100_000)), "not JSON"),
        ("text that is not UTF-8", answer("200 OK|Content-Length: 4", b"\xff\xfe{}"), "not JSON"),
        ("an endless list", Endless(head_of("200 OK")), "more than 33554432 bytes"),
        ("an encoding", answer("200 OK|Content-Encoding: gzip", b"\x1f\x8b\x08"), "encoding `gzip`"),
        ("a header that never ends", Drip(b"HTTP/1.1 200 OK\r\nX: ".into(), b'x'), "does not answer"),
        ("headers that never end", Drip(b"HTTP/1.1 200 OK\r\n".into(), b'\n'), "does not answer"),
        (
            "a header of a megabyte",
            answer(&format!("200 OK|X: {}", "x".repeat(1 << 20)), ""),
            "does not answer",
        ),
        (
            "a hundred thousand headers",
            answer(&format!("200 OK{}", "|X: y".repeat(100_000)), ""),
            "does not answer",
        ),
        ("a status line that never ends", Drip(b"HTTP/1.1 200 ".into(), b'x'), "does not answer"),
        ("no answer", Hold(Vec::new()), "does not answer"),
        ("a closed connection", Bytes(Vec::new()), "does not answer"),
        ("another protocol", Bytes(b"SSH-2.0-OpenSSH_9.2\r\n".into()), "does not answer"),
        ("a status that is none", status("999 Odd"), "status 999"),
        ("too many requests", status("429 Too Many Requests"), "too many requests, try later"),
        ("a fault of the server", status("500 Oops"), "status 500"),
        ("no content", answer("204 No Content", ""), "status 204"),
        ("nothing new", answer("304 Not Modified", ""), "status 304"),
        ("no such model", status("404 Not Found"), "no such model"),
        ("not for this account", status("401 Unauthorized"), "no access"),
        ("conditions", status("403 Forbidden"), "accept its conditions"),
        ("half of the body", answer("200 OK|Content-Length: 900", r#"{"sha": "#), "does not answer"),
        ("a length that is none", answer("200 OK|Content-Length: -1", "{}"), "does not answer"),
        (
            "a length that is too long",
            answer("200 OK|Content-Length: 99999999999999999999", "{}"),
            "does not answer",
        ),
        ("chunks of no size", answer("200 OK|Transfer-Encoding: chunked", "zz\r\n{}"), "does not answer"),
        (
            "a chunk that is too long",
            answer("200 OK|Transfer-Encoding: chunked", "FFFFFFFFFFFFFFFFF\r\n{}"),
            "does not answer",
        ),
        (
            "a size of a chunk that never ends",
            Drip(head_of("200 OK|Transfer-Encoding: chunked"), b'0'),
            "does not answer",
        ),
        ("a body that drips", Drip(head_of("200 OK|Content-Length: 9000"), b' '), "does not answer"),
        ("names that a terminal obeys", json(&escapes), r"a\u{1b}[2J\u{9b}31m.bin"),
        ("names that lead out", json(&outside), "it has no `config.json`"),
        ("fifty thousand names", json(&many), "it has no `config.json`"),
    ]
}

/// Answers in the place of a description of the weights.
pub(crate) fn heads(server: &HostileServer) -> Vec<Fault> {
    let with = |headers: &str| answer(&format!("200 OK|{headers}"), "");
    let (sized, tagged) = (format!("Content-Length: {SIZE}"), format!("ETag: \"{}\"", etag(MODEL)));
    let etagged = |etag: &str| with(&format!("{sized}|ETag: {etag}"));
    vec![
        ("no ETag", with(&sized), "without an ETag"),
        ("an empty ETag", etagged("\"\""), "without an ETag"),
        ("an ETag that leads out", etagged("\"../../../x\""), "without an ETag"),
        ("an absolute ETag", etagged("\"/etc/passwd\""), "without an ETag"),
        ("an ETag of dots", etagged(".."), "without an ETag"),
        ("an ETag that is hidden", etagged("\".x\""), "without an ETag"),
        ("an ETag with a backslash", etagged("\"a\\b\""), "without an ETag"),
        ("a long ETag", etagged(&"a".repeat(5000)), "without an ETag"),
        ("the ETag of a partial file", etagged("\"x.disco-partial\""), "without an ETag"),
        ("a linked ETag that leads out", with(&format!("{sized}|X-Linked-Etag: ../x")), "without an ETag"),
        ("no size", with(&tagged), "without an ETag or a size"),
        ("a size that is none", with(&format!("{tagged}|X-Linked-Size: many")), "without an ETag or a size"),
        ("a size below zero", with(&format!("{tagged}|X-Linked-Size: -5")), "without an ETag or a size"),
        (
            "a size that no number holds",
            with(&format!("{tagged}|X-Linked-Size: 99999999999999999999")),
            "or a size",
        ),
        ("a size that no disk holds", with(&format!("{tagged}|X-Linked-Size: {}", u64::MAX)), "broke off"),
        (
            "a size that is too small",
            with(&format!("{tagged}|X-Linked-Size: 19999")),
            "more than the 19999 bytes",
        ),
        ("a size of nothing", with(&format!("{tagged}|X-Linked-Size: 0")), "more than the 0 bytes"),
        ("another commit", with(&format!("{sized}|{tagged}|X-Repo-Commit: abc")), "commit `abc`"),
        ("an encoding", with(&format!("{sized}|{tagged}|Content-Encoding: br")), "encoding `br`"),
        ("a weak ETag", etagged(&format!("W/\"{}\"", etag(MODEL))), FETCHED),
        ("a hash in capitals", etagged(&format!("\"{}\"", etag(MODEL).to_uppercase())), FETCHED),
        ("another hash", etagged(&format!("\"{}\"", sha256(b"x"))), "its SHA-256 is"),
        (
            "a redirection in a circle",
            answer(&format!("307 Temporary Redirect|Location: /x/{MODEL}"), ""),
            "redirections",
        ),
        (
            "a redirection to the store without hash and size",
            answer(&format!("302 Found|Location: {}/{MODEL}", server.store), ""),
            FETCHED,
        ),
        (
            "no such file",
            answer("404 Not Found|X-Error-Code: EntryNotFound", ""),
            "it has no `model.safetensors`",
        ),
        ("a header that never ends", Drip(b"HTTP/1.1 200 OK\r\nX: ".into(), b'x'), "does not answer"),
        ("no answer", Hold(Vec::new()), "does not answer"),
    ]
}

/// Answers in the place of the weights.
pub(crate) fn bodies(server: &HostileServer) -> Vec<Fault> {
    let weights = content(MODEL);
    let sized = |length: usize| format!("200 OK|Content-Length: {length}");
    let chunked = |end: &str| {
        [format!("{:x}\r\n", SIZE / 2).as_bytes(), &weights[..SIZE / 2], b"\r\n", end.as_bytes()].concat()
    };
    let second = [format!("{:x}\r\n", SIZE / 2).as_bytes(), &weights[SIZE / 2..], b"\r\n0\r\n\r\n"].concat();
    let page = format!("{PAGE:<SIZE$}");
    let mut wrong = weights.clone();
    wrong[SIZE / 2] ^= 1;
    let store = |prefix: &str| {
        format!("302 Found|Location: {prefix}{}/{MODEL}", server.store.trim_start_matches("http:"))
    };
    vec![
        ("a body that drips", Drip(head_of(&sized(SIZE)), 0), "broke off"),
        (
            "a body that stops",
            Hold([head_of(&sized(SIZE)), weights[..99].to_vec()].concat()),
            "broke off after",
        ),
        ("a body that ends early", answer(&sized(SIZE), &weights[..0]), "broke off after 0 of 20000"),
        ("a length that is too short", answer(&sized(99), &weights), "broke off"),
        ("a length that is too long", answer(&sized(SIZE + 1), &weights), FETCHED),
        (
            "a body that is too long",
            answer(&sized(SIZE + 1), [&weights[..], b"x"].concat()),
            "more than the 20000",
        ),
        ("an endless body", Endless(head_of("200 OK")), "more than the 20000"),
        ("no length", answer("200 OK", &weights), FETCHED),
        (
            "chunks",
            Bytes([head_of("200 OK|Transfer-Encoding: chunked"), chunked(""), second].concat()),
            FETCHED,
        ),
        ("chunks that end early", answer("200 OK|Transfer-Encoding: chunked", chunked("")), "broke off"),
        ("chunks of no size", answer("200 OK|Transfer-Encoding: chunked", chunked("size\r\n")), "broke off"),
        (
            "an encoding",
            answer(&format!("{}|Content-Encoding: gzip", sized(SIZE)), &weights),
            "encoding `gzip`",
        ),
        ("one wrong byte", answer(&sized(SIZE), &wrong), "its SHA-256 is"),
        ("a login page", answer("200 OK|Content-Type: text/html", PAGE), "it is a web page"),
        ("a login page of the same size", answer(&sized(SIZE), &page), "its SHA-256 is"),
        ("a part that nobody asked for", answer("206 Partial Content", &weights), "status 206"),
        ("no such part", answer("416 Range Not Satisfiable", ""), "status 416"),
        ("no content", answer("204 No Content", ""), "status 204"),
        ("a fault of the server", answer("503 Busy", ""), "status 503"),
        ("another port", answer(&store("http:"), ""), FETCHED),
        ("the scheme of this request", answer(&store(""), ""), FETCHED),
        ("a user in the URL", answer(&store("http:").replace("//", "//127.0.0.1:80@"), ""), "names no URL"),
        ("a redirection in a circle", answer(&format!("302 Found|Location: {MODEL}"), ""), "redirections"),
        ("a closed connection", Bytes(Vec::new()), "broke off after 0"),
    ]
}

/// Answers in the place of the rest of the weights, after the first 4000 bytes.
pub(crate) fn rests() -> Vec<Fault> {
    let weights = content(MODEL);
    let part = |range: &str, body: &[u8]| {
        answer(&format!("206 Partial Content|Content-Range: {range}|Content-Length: {}", body.len()), body)
    };
    let rest = &weights[4000..];
    vec![
        ("another part", part("bytes 3999-19999/20000", &weights[3999..]), "broke off after 4000"),
        ("a part of another content", part("bytes 4000-19999/30000", rest), "broke off after 4000"),
        ("a part after the end", part("bytes 4000-20000/20001", rest), "broke off after 4000"),
        ("a part without a range", answer("206 Partial Content", rest), "broke off after 4000"),
        ("a part of unknown size", part("bytes 4000-19999/*", rest), FETCHED),
        ("no such part", answer("416 Range Not Satisfiable", ""), "broke off after 4000"),
        ("the whole", answer("200 OK", &weights), FETCHED),
        (
            "the rest of another content",
            part("bytes 4000-19999/20000", &rest.iter().map(|byte| byte ^ 1).collect::<Vec<_>>()),
            "its SHA-256",
        ),
        ("too much", part("bytes 4000-19999/20000", &weights), "more than the 20000"),
    ]
}

/// Answers in the place of a small file, for which the hub gives no hash.
pub(crate) fn small_files() -> Vec<Fault> {
    let right = content("config.json");
    let own = |etag: &str| format!("200 OK|ETag: \"{etag}\"|Content-Length: {}", right.len());
    let padded = |text: &str| format!("{text:<0$}", right.len()).into_bytes();
    vec![
        ("another ETag", answer(&own("abc"), &right), "the ETag `abc`"),
        (
            "another commit",
            answer(&format!("{}|X-Repo-Commit: abc", own(&etag("config.json"))), &right),
            "commit `abc`",
        ),
        (
            "a web page of the same size",
            answer(&own(&etag("config.json")), padded("<html>Log in")),
            "it is a web page",
        ),
        (
            "a text of the same size",
            answer(&own(&etag("config.json")), padded("Log in, please")),
            "it is not JSON",
        ),
        (
            "a size of a chunk that never ends",
            Drip(head_of("200 OK|Transfer-Encoding: chunked"), b'0'),
            "broke off",
        ),
        ("right content without an ETag", answer("200 OK", &right), FETCHED),
    ]
}
