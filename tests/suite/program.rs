//! The real program: started, signalled, and read as its users do.

use rookery_tests::program::Program;
use rookery_tests::{Client, guests};

/// Plugins and data for one program.
pub(crate) struct Place {
    plugins: tempfile::TempDir,
    pub(crate) data: tempfile::TempDir,
}

impl Place {
    pub(crate) fn with(names: &[&str]) -> Self {
        let place = Self { plugins: tempfile::tempdir().unwrap(), data: tempfile::tempdir().unwrap() };
        for name in names {
            let to = place.plugins.path().join(format!("{name}.wasm"));
            std::fs::copy(guests::component(name), to).unwrap();
        }
        place
    }

    pub(crate) fn serve(&self, more: &[&str]) -> Program {
        let (plugins, data) = (self.plugins.path().to_str().unwrap(), self.data.path().to_str().unwrap());
        let arguments = ["serve", plugins, "--data", data, "--listen", "127.0.0.1:0"];
        Program::start(&[&arguments, more].concat())
    }
}

/// The client of a program that says where it listens.
pub(crate) async fn client(program: &mut Program) -> Client {
    Client::new(program.listening().await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_free_port_is_taken_and_told() {
    let place = Place::with(&["echo"]);
    let mut program = place.serve(&[]);
    let client = client(&mut program).await;
    assert_eq!(client.text("echo/alice", "hello").await, "hello");
    program.interrupt().await;
    let (status, stderr) = program.end().await;
    assert_eq!(status.code(), Some(0), "{stderr}");
    assert!(stderr.contains("loaded echo"), "{stderr}");
    assert!(!stderr.contains('\u{1b}'), "colours are for terminals: {stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_lets_a_running_run_end() {
    let place = Place::with(&["badly"]);
    let mut program = place.serve(&[]);
    let client = client(&mut program).await;
    let mut stream = client.prompt("badly/x", "nap 500").await;
    program.interrupt().await;
    stream.until("event: done").await;
    let (status, stderr) = program.end().await;
    assert_eq!(status.code(), Some(0), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_it_drains_new_runs_are_refused() {
    let place = Place::with(&["badly"]);
    let mut program = place.serve(&["--drain", "1h"]);
    let client = client(&mut program).await;
    let _running = client.prompt("badly/x", "never").await;
    program.interrupt().await;
    let refused = loop {
        let answer = client.prompt("badly/y", "count").await;
        if answer.status != 200 {
            break answer;
        }
        drop(answer);
    };
    assert_eq!(refused.status, 503);
    assert_eq!(refused.whole().await.json()["code"], "draining");
    program.interrupt().await;
    let (status, stderr) = program.end().await;
    assert_eq!(status.code(), Some(1), "a second ctrl-c stops at once: {stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_end_in_time_ends_with_an_error_that_says_so() {
    let place = Place::with(&["badly"]);
    let mut program = place.serve(&["--drain", "100ms"]);
    let client = client(&mut program).await;
    let mut stream = client.prompt("badly/x", "spin").await;
    program.interrupt().await;
    let body = stream.rest().await;
    assert!(body.contains("event: error\n") && body.contains(r#""code":"interrupted""#), "{body}");
    let (status, stderr) = program.end().await;
    assert_eq!(status.code(), Some(0), "{stderr}");
    assert!(stderr.contains("1 of them did not end in time"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_request_is_one_log_line_with_the_line_that_would_allow_it() {
    let place = Place::with(&["fetcher"]);
    let mut program = place.serve(&[]);
    let client = client(&mut program).await;
    let said = client.text("fetcher/alice", "https://api.example.com/v1?key=hidden").await;
    assert!(said.contains("HttpRequestDenied"), "{said}");
    program.interrupt().await;
    let (_, log) = program.end().await;
    let lines: Vec<_> = log.lines().filter(|line| line.contains("api.example.com")).collect();
    let [line] = lines[..] else { panic!("{log}") };
    assert!(
        line.contains(r#"allow = ["https://api.example.com"]"#) && line.contains("fetcher/alice"),
        "{line}"
    );
    assert!(!log.contains("hidden"), "a query may hold a secret: {log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_guest_prints_is_in_the_log_under_its_agents_name() {
    let place = Place::with(&["talker"]);
    let mut program = place.serve(&[]);
    let client = client(&mut program).await;
    client.text("talker/alice", "print look at this").await;
    program.interrupt().await;
    let (_, log) = program.end().await;
    let printed: Vec<_> = log.lines().filter(|line| line.contains("look at this")).collect();
    assert_eq!(printed.len(), 2, "stdout and stderr: {log}");
    assert!(printed.iter().all(|line| line.contains("talker/alice")), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_folder_is_said_to_be_empty() {
    let place = Place::with(&[]);
    let (status, stderr) = place.serve(&[]).end().await;
    assert_eq!(status.code(), Some(1));
    assert!(stderr.contains("is empty") && stderr.contains("hint: "), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_not_there_and_a_port_that_is_taken_are_errors_with_a_hint() {
    let place = Place::with(&["echo"]);
    let data = place.data.path().to_str().unwrap();
    let arguments = ["serve", "/no/such/folder", "--data", data, "--listen", "127.0.0.1:0"];
    let (status, stderr) = Program::start(&arguments).end().await;
    assert_eq!(status.code(), Some(1));
    assert!(stderr.contains("/no/such/folder") && stderr.contains("hint: "), "{stderr}");

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let plugins = place.plugins.path().to_str().unwrap();
    let (status, stderr) =
        Program::start(&["serve", plugins, "--data", data, "--listen", &address]).end().await;
    assert_eq!(status.code(), Some(1));
    assert!(stderr.contains(&address) && stderr.contains("--listen"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_understood_ends_with_2() {
    for arguments in [&["nonsense"][..], &["serve"], &["serve", ".", "--drain", "soon"]] {
        let (status, stderr) = Program::start(arguments).end().await;
        assert_eq!(status.code(), Some(2), "{arguments:?}: {stderr}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_terminal_prompts_follows_and_cancels() {
    let place = Place::with(&["badly"]);
    let mut program = place.serve(&[]);
    let host = program.says("listening on ").await;
    let mut prompt = Program::start(&["prompt", "--host", &host, "badly/x", "drip 3"]);
    assert_eq!(prompt.line().await, "0 1 2");
    assert_eq!(prompt.end().await.0.code(), Some(0));

    let mut prompt = Program::start(&["prompt", "--host", &host, "--background", "badly/x", "never"]);
    let run = prompt.line().await;
    assert_eq!(prompt.end().await.0.code(), Some(0));
    let (status, _) = Program::start(&["runs", "cancel", "--host", &host, &run]).end().await;
    assert_eq!(status.code(), Some(0));
    let (status, stderr) = Program::start(&["runs", "follow", "--host", &host, &run]).end().await;
    assert_eq!(status.code(), Some(1), "it did not end well");
    assert!(stderr.contains("cancelled"), "{stderr}");

    let mut list = Program::start(&["runs", "list", "--host", &host, "--json"]);
    let newest: serde_json::Value = serde_json::from_str(&list.line().await).unwrap();
    assert_eq!((newest["run"].as_str(), newest["state"].as_str()), (Some(&*run), Some("cancelled")));

    let (status, stderr) = Program::start(&["prompt", "--host", &host, "badly/x", "fail"]).end().await;
    assert_eq!(status.code(), Some(1));
    assert!(stderr.contains("as it was asked to"), "{stderr}");
    let (status, stderr) =
        Program::start(&["prompt", "--host", "http://127.0.0.1:1", "badly/x", "hi"]).end().await;
    assert_eq!(status.code(), Some(1));
    assert!(stderr.contains("rookery serve"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_practice_model_runs_alone() {
    let mut program = Program::start(&["practice-model", "--listen", "127.0.0.1:0"]);
    let address = program.says("practice model on http://").await;
    let client = Client::new(address.strip_suffix("/v1").unwrap().parse().unwrap());
    assert!(client.get("/").await.body.contains("/tokens"));
    program.interrupt().await;
    assert_eq!(program.end().await.0.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_recorded_is_answered_again_without_a_model_and_what_was_spent_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let mut model = Program::start(&["practice-model", "--listen", "127.0.0.1:0"]);
    let url = model.says("practice model on ").await;
    let provider =
        format!("[models.practice]\nprovider = \"openai\"\nmodel = \"practice\"\nurl = \"{url}\"\n");
    std::fs::write(path("rookery.toml"), provider).unwrap();
    let examples = guests::root().join("guest-examples");
    let (config, data, cassettes) = (path("rookery.toml"), path("data"), path("cassettes"));
    let start = |how: &str| {
        Program::start(&[
            "dev",
            examples.to_str().unwrap(),
            "--config",
            &config,
            "--data",
            &data,
            "--listen",
            "127.0.0.1:0",
            "--practice-listen",
            "127.0.0.1:0",
            how,
            &cassettes,
        ])
    };

    let mut recording = start("--record");
    recording.says("practice model on http://").await;
    assert_eq!(client(&mut recording).await.text("chat/alice", "hello there").await, "You said: hello there");
    recording.interrupt().await;
    assert_eq!(recording.end().await.0.code(), Some(0));
    let cassette = std::fs::read_to_string(path("cassettes/chat/alice.toml")).unwrap();
    assert!(cassette.contains("hello there") && cassette.contains("[[exchange]]"), "{cassette}");
    model.interrupt().await;
    model.end().await;

    // So that the conversation begins anew.
    std::fs::remove_dir_all(path("data/agents")).unwrap();
    let mut replaying = start("--replay");
    replaying.says("practice model on http://").await;
    let client = client(&mut replaying).await;
    assert_eq!(client.text("chat/alice", "hello there").await, "You said: hello there");
    let answer = client.ask("chat/alice", "something else").await;
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(answer.status == 503 && detail.contains("is not in the cassette"), "{}", answer.body);
    replaying.interrupt().await;
    assert_eq!(replaying.end().await.0.code(), Some(0));

    let usage = Program::start(&["usage", "--data", &data, "--json"]);
    let (code, shown, stderr) = usage.said().await;
    assert_eq!(code, Some(0), "{stderr}");
    let row: serde_json::Value = serde_json::from_str(shown.lines().next().unwrap()).unwrap();
    assert_eq!(row["agent"], "chat/alice", "{row}");
    assert_eq!(row["requests"], 3, "{row}");
}

#[tokio::test(flavor = "multi_thread")]
async fn dev_builds_the_examples_and_serves_them_with_the_practice_model() {
    let data = tempfile::tempdir().unwrap();
    let examples = guests::root().join("guest-examples");
    let mut program = Program::start(&[
        "dev",
        examples.to_str().unwrap(),
        "--data",
        data.path().to_str().unwrap(),
        "--listen",
        "127.0.0.1:0",
        "--practice-listen",
        "127.0.0.1:0",
    ]);
    program.says("practice model on http://").await;
    let client = client(&mut program).await;
    assert_eq!(client.text("echo/alice", "hello").await, "hello");
    assert_eq!(client.text("counter/alice", "count").await, "1");
    program.interrupt().await;
    let (status, stderr) = program.end().await;
    assert_eq!(status.code(), Some(0), "{stderr}");
    for name in ["chat", "counter", "echo"] {
        assert!(stderr.contains(&format!("loaded {name}")), "{stderr}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dev_does_not_have_one_project_replace_what_another_of_the_same_name_made() {
    let folder = tempfile::tempdir().unwrap();
    for project in ["first", "second"] {
        let project = folder.path().join(project);
        std::fs::create_dir_all(project.join("src")).unwrap();
        let manifest =
            "[package]\nname = \"twin\"\nedition = \"2024\"\n[lib]\ncrate-type = [\"cdylib\"]\n[workspace]\n";
        std::fs::write(project.join("Cargo.toml"), manifest).unwrap();
        std::fs::write(project.join("src/lib.rs"), "").unwrap();
    }
    let path = folder.path().canonicalize().unwrap();
    let (status, stderr) = Program::start(&["dev", path.to_str().unwrap()]).end().await;
    assert_eq!(status.code(), Some(1), "{stderr}");
    let (first, second) = (path.join("first"), path.join("second"));
    let error = format!(
        "error: plugin `twin` is made by two packages, in `{}` and in `{}`",
        first.display(),
        second.display()
    );
    assert!(stderr.contains(&error) && stderr.contains("hint: give one of them another `name`"), "{stderr}");
}
