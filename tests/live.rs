//! The page's server: what pages see, what they can do, and what nobody can do to the run.

mod program;

use program::{Ended, epochs, folder, program, said, train, wait_until};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// More than any answer takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
const SMALL: &str = "--hidden 20,20 --limit 200 --batch 50";
const ENDLESS: &str = "--hidden 20,20 --limit 200 --batch 50 --epochs 1000000 --set schedule.kind=constant";

/// A program that serves a page. It is killed when this is dropped.
struct Served {
    child: Child,
    port: u16,
    token: String,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Served {
    fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        // train --quiet says it on standard error, watch on standard output.
        if output.read_line(&mut line).unwrap_or(0) == 0 || !line.contains("watch it at") {
            panic!("no address: {line}");
        }
        std::thread::spawn(move || std::io::copy(&mut errors, &mut std::io::sink()));
        std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
        let address = line.trim().rsplit_once("http://127.0.0.1:").unwrap().1;
        let (port, token) = address.split_once("/#token=").unwrap();
        assert_eq!(token.len(), 32);
        Served { child, port: port.parse().unwrap(), token: token.into() }
    }

    /// `train` with a page on any port.
    fn train(more: &str, run: &Path) -> Self {
        // Not quiet: the address is then on standard output, which has a pipe of its own.
        let mut command = program(&["train", "fmnist", "--device", "cpu", "--no-tuning", "--live", "0", "--out"]);
        command.arg(run).args(more.split_whitespace());
        Self::start(command)
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// The answer to a whole request.
    fn ask(&self, request: &str) -> String {
        let mut stream = self.connect();
        // A server that refuses need not read everything.
        let _ = stream.write_all(request.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn get(&self, path: &str, headers: &str) -> String {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: localhost:{}\r\n{headers}\r\n", self.port))
    }

    /// A request that acts, with these headers.
    fn post(&self, headers: &str, body: &str) -> String {
        let length = body.len();
        self.ask(&format!("POST /act HTTP/1.1\r\n{headers}Content-Length: {length}\r\n\r\n{body}"))
    }

    fn good_headers(&self) -> String {
        let Served { port, token, .. } = self;
        format!("Host: 127.0.0.1:{port}\r\nContent-Type: application/json\r\nX-Spikegrad-Token: {token}\r\n")
    }

    /// Acts as the page does.
    fn act(&self, command: Value) -> Value {
        let answer = self.post(&self.good_headers(), &command.to_string());
        assert_eq!(status(&answer), 200, "{answer}");
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    }

    fn does(&self, command: Value) {
        let answer = self.act(command.clone());
        assert_eq!(answer, json!({"ok": true}), "{command}");
    }

    fn view(&self) -> Page {
        let mut stream = self.connect();
        // Without chunks, which HTTP/1.0 does not have.
        write!(stream, "GET /events HTTP/1.0\r\nHost: localhost:{}\r\n\r\n", self.port).unwrap();
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(reader.read_line(&mut head).unwrap() > 0, "{head}");
        }
        assert!(status(&head) == 200 && head.to_lowercase().contains("text/event-stream"), "{head}");
        Page(reader)
    }
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// A page that is open.
struct Page(BufReader<TcpStream>);

impl Page {
    fn next(&mut self) -> Value {
        let begun = Instant::now();
        loop {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).unwrap() > 0, "the stream has ended");
            assert!(begun.elapsed() < PATIENCE, "no message");
            if let Some(json) = line.strip_prefix("data: ") {
                return serde_json::from_str(json).unwrap();
            }
        }
    }

    /// The next message of this type for which `right` holds.
    fn wait(&mut self, kind: &str, right: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let message = self.next();
            if message["type"] == kind && right(&message) {
                return message;
            }
            assert!(begun.elapsed() < PATIENCE, "no {kind}, but {message}");
        }
    }

    fn any(&mut self, kind: &str) -> Value {
        self.wait(kind, |_| true)
    }

    fn state(&mut self, state: &str) {
        self.wait("state", |message| message["state"] == state);
    }
}

#[test]
fn pages_see_the_run_and_act_on_it() {
    let (_temp, runs) = folder();
    let served = Served::train(ENDLESS, &runs.join("a"));
    let mut page = served.view();
    let hello = page.any("hello");
    assert_eq!((&hello["source"], &hello["device"]["kind"]), (&json!("native"), &json!("cpu")));
    assert_eq!(hello["data"]["shape"], json!([1, 28, 28]));
    assert_eq!(hello["settings"]["hidden"], json!([20, 20]));
    let step = page.any("step");
    assert!(step["loss"].as_f64().unwrap() > 0.0 && step["batches"] == 4, "{step}");
    page.wait("epochs", |message| message["records"].as_array().unwrap().len() >= 2);
    let sample = page.wait("sample", |message| message["wrong_count"].as_u64() > Some(0));
    let spikes = sample["input"]["t"].as_array().unwrap();
    assert!(spikes.len() > 10 && spikes.len() == sample["input"]["i"].as_array().unwrap().len());
    assert_eq!((&sample["index"], sample["layers"].as_array().unwrap().len()), (&json!(0), 2));
    assert!(sample["image"]["pixels"].as_str().unwrap().len() > 784);
    assert_eq!(sample["readout"]["v"].as_str().unwrap().len(), "f32:".len() + (100 * 10 * 4usize).div_ceil(3) * 4);

    // One that comes late is told everything but what is past.
    let mut late = served.view();
    assert_eq!(late.next()["type"], "hello");
    assert_eq!(late.next()["type"], "state");
    assert!(late.next()["records"].as_array().unwrap().len() >= 2);
    assert_eq!(late.next()["type"], "sample");
    late.any("step");
    drop(late);

    served.does(json!({"do": "sample", "index": 7}));
    page.wait("sample", |message| message["index"] == 7);
    served.does(json!({"do": "sample", "move": 1}));
    page.wait("sample", |message| message["index"] == 8);
    served.does(json!({"do": "pause"}));
    page.state("paused");
    served.does(json!({"do": "sample", "move": 1, "wrong": true}));
    let wrong = page.wait("sample", |message| message["index"].as_i64() > Some(8));
    assert!(wrong["position"].as_u64() < wrong["wrong_count"].as_u64(), "{}", wrong["position"]);

    let before = epochs(&runs.join("a"));
    served.does(json!({"do": "step"}));
    let (mut stepped, mut paused) = (false, false);
    // In either order: a page that has not taken both yet gets the state first.
    while !(stepped && paused) {
        let message = page.next();
        stepped |= message["type"] == "step";
        paused |= message["state"] == "paused";
    }
    assert!(epochs(&runs.join("a")) <= before + 1);
    served.does(json!({"do": "set", "lr": 0.001}));
    assert!(page.any("note")["text"].as_str().unwrap().contains("0.001"));
    served.does(json!({"do": "weights", "layer": 0, "neuron": 19}));
    let weights = page.any("weights");
    assert_eq!(weights["shape"], json!([1, 28, 28]));
    assert_eq!(weights["values"].as_str().unwrap().len(), "f32:".len() + (784 * 4usize).div_ceil(3) * 4);
    // 784 bytes of 255.
    let pixels = format!("u8:{}/w==", "////".repeat(261));
    served.does(json!({"do": "draw", "pixels": pixels}));
    let drawn = page.wait("sample", |message| message["index"] == -1);
    assert!(drawn["label"].is_null() && drawn["input"]["t"].as_array().unwrap().len() == 784);
    served.does(json!({"do": "race", "on": true}));
    let race = page.wait("race", |message| message["dense"]["steps"].as_u64() > Some(2));
    assert!(race["sparse"]["ms"].as_f64().unwrap() > 0.0 && race["sparse"]["steps"] == race["dense"]["steps"]);
    served.does(json!({"do": "race", "on": false}));
    served.does(json!({"do": "resume"}));
    page.state("running");
    page.any("step");
    let answer = served.act(json!({"do": "restart", "settings": {"hidden": [0]}}));
    assert!(answer["ok"] == false && answer["error"].as_str().unwrap().contains("neurons"), "{answer}");

    served.does(json!({"do": "restart", "settings": {"hidden": [10], "b_th": 0.3, "surrogate": "arctan", "seed": 5}}));
    let hello = page.any("hello");
    assert_eq!(hello["settings"]["hidden"], json!([10]));
    page.any("step");
    let config = std::fs::read_to_string(runs.join("a-2/config.toml")).unwrap();
    assert!(config.contains("seed = 5") && config.contains("b_th = 0.3") && config.contains("arctan"), "{config}");
    interrupted_at_once(served, page);
}

/// Ctrl-C ends a run with a page open, and a paused one.
fn interrupted_at_once(mut served: Served, mut page: Page) {
    served.does(json!({"do": "pause"}));
    page.state("paused");
    #[cfg(unix)]
    {
        let begun = Instant::now();
        program::signal(&served.child, "INT");
        page.state("interrupted");
        assert_eq!(served.child.wait().unwrap().code(), Some(1));
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    }
    #[cfg(not(unix))]
    served.child.kill().unwrap();
}

#[test]
fn strangers_are_refused() {
    let (_temp, runs) = folder();
    let served = Served::train(ENDLESS, &runs.join("a"));
    let (port, token) = (served.port, served.token.clone());
    let page = served.get("/", "");
    assert!(status(&page) == 200 && page.contains("<!doctype html>"), "{page}");
    let head = page.split_once("\r\n\r\n").unwrap().0.to_lowercase();
    assert!(head.contains("content-security-policy: default-src 'none'") && !head.contains("access-control"), "{head}");

    let host = |host: &str| status(&served.ask(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")));
    assert_eq!(host(&format!("127.0.0.1:{port}")), 200);
    for foreign in ["evil.example", "127.0.0.1", "localhost:1", &format!("evil.example:{port}")] {
        assert_eq!(host(foreign), 421, "{foreign}");
    }
    assert_eq!(status(&served.get("/events", "Origin: http://evil.example\r\n")), 403);
    assert_eq!(status(&served.get("/events", "Sec-Fetch-Site: cross-site\r\n")), 403);
    for path in ["/../Cargo.toml", "/%2e%2e/Cargo.toml", "/..%2fCargo.toml", "//etc/passwd", "/etc/passwd", "/C:/x"] {
        assert_eq!(status(&served.get(path, "")), 404, "{path}");
    }

    let pause = r#"{"do":"pause"}"#;
    let own = format!("Host: 127.0.0.1:{port}\r\n");
    let json = "Content-Type: application/json\r\n";
    let with = |headers: &str, body: &str| status(&served.post(&format!("{own}{headers}"), body));
    assert_eq!(with(json, pause), 403);
    assert_eq!(with(&format!("{json}X-Spikegrad-Token: {}\r\n", "0".repeat(32)), pause), 403);
    assert_eq!(with(&format!("{json}X-Spikegrad-Token: {token}x\r\n"), pause), 403);
    let good = format!("{json}X-Spikegrad-Token: {token}\r\n");
    assert_eq!(with(&format!("{good}Origin: http://evil.example\r\n"), pause), 403);
    assert_eq!(with(&format!("X-Spikegrad-Token: {token}\r\nContent-Type: text/plain\r\n"), pause), 415);
    assert_eq!(with(&good, &" ".repeat(65 << 10)), 413);
    let get = served.get("/act", &good);
    assert_eq!(status(&get), 405);
    let preflight = served.ask(&format!("OPTIONS /act HTTP/1.1\r\n{own}Origin: http://127.0.0.1:{port}\r\n\r\n"));
    assert!(status(&preflight) == 405 && !preflight.to_lowercase().contains("access-control"), "{preflight}");
    let many: String = (0..200).map(|k| format!("X-{k}: x\r\n")).collect();
    assert_eq!(status(&served.get("/", &many)), 431);
    assert_eq!(status(&served.get("/", &format!("X: {}\r\n", "x".repeat(100 << 10)))), 431);
    assert_eq!(status(&served.ask("nonsense\r\n\r\n")), 400);
    odd_requests_are_answered_once(&served);

    // None of it paused the run, and the page's own requests pass.
    let mut page = served.view();
    page.state("running");
    assert!(served.act(json!({"do": "fly"}))["error"].as_str().unwrap().contains("fly"));
    let pages: Vec<Page> = (1..64).map(|_| served.view()).collect();
    assert_eq!(status(&served.get("/events", "")), 503);
    drop(pages);
    page.any("step");
}

/// Requests that browsers do not send.
fn odd_requests_are_answered_once(served: &Served) {
    let own = format!("Host: 127.0.0.1:{}\r\n", served.port);
    // HTTP/1.0 has no Host.
    assert_eq!(status(&served.ask("GET / HTTP/1.0\r\n\r\n")), 421);
    assert_eq!(status(&served.ask("GET / HTTP/1.1\r\n\r\n")), 421);
    assert_eq!(status(&served.ask(&format!("GET http://evil.example/ HTTP/1.1\r\n{own}\r\n"))), 421);
    assert_eq!(status(&served.ask(&format!("GET / HTTP/1.1\r\n{own}{own}\r\n"))), 421);
    let head = served.ask(&format!("HEAD / HTTP/1.1\r\n{own}\r\n"));
    assert!(status(&head) == 200 && head.ends_with("\r\n\r\n"), "{head}");
    for method in ["HEAD /events", "POST /", "PUT /act", "DELETE /", "TRACE /", "CONNECT /", "BREW /"] {
        let answer = served.ask(&format!("{method} HTTP/1.1\r\n{own}\r\n"));
        assert!([400, 405, 421].contains(&status(&answer)), "{method}: {answer}");
    }
    // A second request in one go is not even read.
    let twice = format!("GET /icon.svg HTTP/1.1\r\n{own}\r\n").repeat(2);
    assert_eq!(served.ask(&twice).matches("HTTP/1.1 ").count(), 1);
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n";
    assert_eq!(status(&served.get("/", upgrade)), 200);
    assert_eq!(status(&served.get("/events", &format!("{upgrade}Origin: http://evil.example\r\n"))), 403);
    // The length of a body that is not the one that was announced, or announced twice.
    let headers = served.good_headers();
    let smuggled = format!(
        "POST /act HTTP/1.1\r\n{headers}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n{own}\r\n"
    );
    assert_eq!(served.ask(&smuggled).matches("HTTP/1.1 ").count(), 1);
    let lengths = format!("POST /act HTTP/1.1\r\n{headers}Content-Length: 4\r\nContent-Length: 5\r\n\r\nxxxxx");
    assert_eq!(status(&served.ask(&lengths)), 400);
    let chunks = format!("{:x}\r\n{}\r\n", 32 << 10, " ".repeat(32 << 10)).repeat(4);
    let chunked = format!("POST /act HTTP/1.1\r\n{headers}Transfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n");
    assert_eq!(status(&served.ask(&chunked)), 413);
    let vast = |length: &str| format!("POST /act HTTP/1.1\r\n{headers}Content-Length: {length}\r\n\r\n{{");
    assert_eq!(status(&served.ask(&vast("1000000000000"))), 413);
    assert_eq!(status(&served.ask(&vast("18446744073709551615"))), 431);
    assert_eq!(status(&served.ask(&vast("-1"))), 400);
    let folded = served.get("/", "X: a\r\n b\r\n");
    assert!([200, 400].contains(&status(&folded)), "{folded}");
    assert_eq!(status(&served.get("/\0", "")), 400);
    assert_eq!(status(&served.get(&format!("/{}", "a".repeat(8 << 10)), "")), 404);
}

#[test]
fn nothing_that_viewers_do_changes_the_result() {
    let (_temp, runs) = folder();
    let more = format!("{SMALL} --epochs 12");
    let alone = train("cpu", &more, &runs.join("alone")).output().unwrap();
    said(&alone, 0);

    let mut served = Served::train(&more, &runs.join("watched"));
    let mut page = served.view();
    // So that the run cannot end before the attacks.
    while served.act(json!({"do": "pause"}))["ok"] != true {}
    page.state("paused");
    let mut stopped_reading = served.view();
    stopped_reading.next();
    let mut half = served.connect();
    half.write_all(b"GET / HTTP/1.1\r\nHost: local").unwrap();
    assert!(attack(&served, 600) > 200);
    for _ in 0..50 {
        drop(served.view());
        served.does(json!({"do": "sample", "move": 1}));
        page.any("sample");
    }
    // The kernels are timed after a while, which makes a step and takes it back.
    std::thread::sleep(Duration::from_secs(5));
    served.does(json!({"do": "resume"}));
    page.any("kernels");
    page.state("ended");
    let run = runs.join("watched");
    wait_until(&mut served.child, "the end", || run.join("curves.png").exists() && epochs(&run) == 12);
    // The page keeps the program running until it is closed.
    served.does(json!({"do": "sample", "index": 3}));
    page.wait("sample", |message| message["index"] == 3);
    assert!(served.act(json!({"do": "pause"}))["error"].as_str().unwrap().contains("not possible"));
    drop((page, stopped_reading, half));
    assert_eq!(served.child.wait().unwrap().code(), Some(0));
    let differences = Ended::read(&runs.join("alone")).differences(&Ended::read(&run));
    assert!(differences.is_empty(), "{differences:?}");
}

/// Opens connections that ask for nothing, leaves them open for a while, and returns how many there were. The server answers
/// again once they are gone.
fn attack(served: &Served, connections: usize) -> usize {
    // Those that the server has no room for are closed by it; the system may have no descriptors for more.
    let open: Vec<TcpStream> =
        (0..connections).map_while(|_| TcpStream::connect(("127.0.0.1", served.port)).ok()).collect();
    let count = open.len();
    drop(open);
    answers_again(served);
    count
}

fn answers_again(served: &Served) {
    let begun = Instant::now();
    while status(&served.get("/", "")) != 200 {
        assert!(begun.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Requests that are begun and never completed: a header, a body, an answer that nobody reads.
fn begun_requests(served: &Served, connections: usize) -> Vec<TcpStream> {
    let act = format!("POST /act HTTP/1.1\r\n{}Content-Length: 1000\r\n\r\n{{", served.good_headers());
    let kinds = ["GET / HTTP/1.1\r\nHost: local", "", &act];
    let begin = |k: usize| {
        let mut stream = TcpStream::connect(("127.0.0.1", served.port)).ok()?;
        let _ = stream.write_all(kinds[k % kinds.len()].as_bytes());
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        Some(stream)
    };
    (0..connections).filter_map(begin).collect()
}

#[test]
fn requests_that_never_end_are_closed_and_do_not_stop_the_run() {
    let (_temp, runs) = folder();
    let served = Served::train(ENDLESS, &runs.join("a"));
    let mut page = served.view();
    let mut open = begun_requests(&served, 400);
    assert!(open.len() > 300, "{}", open.len());
    let begun = Instant::now();
    // A byte per second must not keep a request alive.
    while begun.elapsed() < Duration::from_secs(8) {
        open.iter_mut().for_each(|stream| drop(stream.write_all(b"x")));
        let step = page.any("step")["step"].as_u64();
        page.wait("step", |message| message["step"].as_u64() > step);
        std::thread::sleep(Duration::from_secs(1));
    }
    for mut stream in open {
        let _ = stream.read_to_end(&mut Vec::new());
        assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
    }
    answers_again(&served);
    served.does(json!({"do": "pause"}));
}

#[test]
#[ignore = "minutes; 10,000 connections at once: scripts/long-suite"]
fn thousands_of_connections_leave_nothing_behind() {
    let wanted = std::env::var("SPIKEGRAD_CONNECTIONS").ok().map_or(10_000, |number| number.parse().unwrap());
    let (_temp, runs) = folder();
    let served = Served::train(ENDLESS, &runs.join("a"));
    let mut page = served.view();
    let mut stopped_reading = served.view();
    stopped_reading.next();
    // What the first attack makes the server allocate, it keeps.
    attack(&served, wanted);
    let before = descriptors_and_memory(served.child.id());
    let begun = Instant::now();
    let mut counts = Vec::new();
    for _ in 0..2 {
        counts.push(attack(&served, wanted));
        drop(begun_requests(&served, 1000));
        answers_again(&served);
        page.any("step");
    }
    println!("{counts:?} connections at once, {:?}", begun.elapsed());
    assert!(
        counts.iter().all(|&count| count >= wanted),
        "{counts:?} of {wanted}: raise the limit of open files (ulimit -n)"
    );
    drop(stopped_reading);
    page.any("step");
    if let (Some((open, bytes)), Some((open_then, bytes_then))) = (before, descriptors_and_memory(served.child.id())) {
        println!("{open} descriptors and {} MiB before, {open_then} and {} MiB after", bytes >> 20, bytes_then >> 20);
        assert!(open_then <= open && bytes_then < bytes + (32 << 20));
    }
}

/// Open files and resident bytes of a process, where the system tells.
fn descriptors_and_memory(process: u32) -> Option<(usize, usize)> {
    let open = std::fs::read_dir(format!("/proc/{process}/fd")).ok()?.count();
    let pages = std::fs::read_to_string(format!("/proc/{process}/statm")).ok()?;
    Some((open, pages.split(' ').nth(1)?.parse::<usize>().ok()? * 4096))
}

#[test]
fn a_runs_folder_is_shown_and_followed() {
    let (_temp, runs) = folder();
    let run = runs.join("a");
    said(&train("cpu", &format!("{SMALL} --epochs 2"), &run).output().unwrap(), 0);
    let mut command = program(&["watch", "--port", "0"]);
    command.arg(&run);
    let served = Served::start(command);
    let mut page = served.view();
    let hello = page.any("hello");
    assert_eq!((&hello["source"], &hello["can"]), (&json!("watch"), &json!(["sample", "weights", "draw"])));
    page.wait("epochs", |message| message["records"].as_array().unwrap().len() == 2);
    let mut late = served.view();
    late.wait("state", |message| message["state"] == "ended");
    late.wait("sample", |message| message["wrong_count"].as_u64() > Some(0));
    served.does(json!({"do": "sample", "move": -1}));
    page.wait("sample", |message| message["index"] == 999);
    assert!(served.act(json!({"do": "pause"}))["error"].as_str().unwrap().contains("not possible here"));
    // What another process writes is seen.
    let metrics = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let third = metrics.lines().last().unwrap().replace("{\"epoch\":2", "{\"epoch\":3");
    std::fs::write(run.join("metrics.jsonl"), format!("{metrics}{third}\n")).unwrap();
    page.wait("epochs", |message| message["records"].as_array().unwrap().len() == 3);
}

#[test]
fn a_taken_port_is_named() {
    let (_temp, runs) = folder();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = train("cpu", &format!("{SMALL} --epochs 1 --live {port}"), &runs.join("a")).output().unwrap();
    let text = said(&output, 1);
    assert!(text.contains(&format!("port {port}")) && text.contains("another port"), "{text}");
    assert!(!runs.join("a/config.toml").exists());
}
