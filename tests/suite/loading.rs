//! A folder of plugins: what is served, what is not and why, and the code that is kept between starts.

use std::path::Path;

use rookery_tests::{TestHost, guests};

fn refusal<'a>(host: &'a TestHost, file: &str) -> &'a rookery::Refused {
    let named = |refused: &&rookery::Refused| refused.file.file_name().is_some_and(|name| name == file);
    host.refused().iter().find(named).unwrap_or_else(|| panic!("{file} was served"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_served_is_named_with_the_reason_and_the_rest_is_served() {
    let host = TestHost::builder()
        .plugin("echo", "")
        .plugin("wrong-world", "")
        .plugin("needs-more", "")
        .plugin("counter", "[limits]\nmemry = \"1MiB\"\n")
        .plugin_as("talker", "Not_A_Name", "")
        .file("text.wasm", b"not wasm at all")
        .file("module.wasm", b"\0asm\x01\0\0\0")
        .file("broken.wasm", b"\0asm\x0d\0\x01\0\xff\xff\xff")
        .start()
        .await;

    for (file, error, hint) in [
        ("wrong-world.wasm", "rookery:agent/handler@0.1.0", "rookery:agent/plugin"),
        ("needs-more.wasm", "test:needs-more/telepathy", "rookery:agent/plugin"),
        ("counter.toml", "memry", "memory"),
        ("Not_A_Name.wasm", "Not_A_Name", "not-a-name"),
        ("text.wasm", "not a WebAssembly file", ".wasm"),
        ("module.wasm", "not a component", "wasm32-wasip2"),
        ("broken.wasm", "does not compile", "wasm-tools validate"),
    ] {
        let refused = refusal(&host, file);
        assert!(refused.error.contains(error), "{file}: {refused:?}");
        assert!(format!("{} {}", refused.error, refused.hint).contains(hint), "{file}: {refused:?}");
    }
    assert_eq!(host.refused().len(), 7);
    assert_eq!(host.client().text("echo/x", "still here").await, "still here");
    assert_eq!(host.client().code("wrong-world/x", "hello").await, "unknown-plugin");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_reads_the_plain_values_of_its_sidecar() {
    let sidecar = "[config]\nmodel = \"m\"\ncount = 3\nratio = 0.5\nloud = true\n";
    let host = TestHost::builder().plugin("talker", sidecar).start().await;
    let client = host.client();
    assert_eq!(client.text("talker/x", "config model").await, r#"Ok(Some("m"))"#);
    assert_eq!(client.text("talker/x", "config nothing").await, "Ok(None)");
    assert_eq!(
        client.text("talker/x", "config-all").await,
        r#"[("count", "3"), ("loud", "true"), ("model", "m"), ("ratio", "0.5")]"#
    );
}

async fn serves(folder: &Path) {
    let host = TestHost::builder().plugin("echo", "").code(folder).start().await;
    assert_eq!(host.client().text("echo/x", "hello").await, "hello");
}

fn code(folder: &Path) -> Vec<std::path::PathBuf> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn compiled_code_is_kept_and_used_again() {
    let data = tempfile::tempdir().unwrap();
    serves(data.path()).await;
    let [file] = &code(data.path())[..] else { panic!("one plugin, one file") };
    let written = std::fs::metadata(file).unwrap().modified().unwrap();
    serves(data.path()).await;
    assert_eq!(code(data.path()).len(), 1);
    assert_eq!(std::fs::metadata(file).unwrap().modified().unwrap(), written, "not written again");
}

#[tokio::test(flavor = "multi_thread")]
async fn corrupted_and_foreign_code_is_compiled_anew() {
    let data = tempfile::tempdir().unwrap();
    serves(data.path()).await;
    let file = code(data.path()).remove(0);
    let whole = std::fs::read(&file).unwrap();

    let mut flipped = whole.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let foreign = std::fs::read(guests::component("counter")).unwrap();
    for bad in [flipped, whole[..whole.len() / 2].to_vec(), foreign, Vec::new()] {
        std::fs::write(&file, bad).unwrap();
        serves(data.path()).await;
        assert_eq!(std::fs::read(&file).unwrap(), whole, "and kept anew");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_served_can_be_listed() {
    let host = TestHost::serving(&["echo", "counter"]).await;
    let listed = host.client().get("/agents").await;
    let names: Vec<_> =
        listed.json()["plugins"].as_array().unwrap().iter().map(|plugin| plugin["name"].clone()).collect();
    assert_eq!(names, ["counter", "echo"]);
    assert_eq!(host.client().get("/healthz").await.status, 200);
    assert_eq!(host.client().get("/readyz").await.status, 200);
}
