//! `rookery agents`, with the real program: beside a host, through one, and without one.

use std::path::Path;

use rookery_tests::Client;
use rookery_tests::program::Program;
use serde_json::Value;

use crate::program::{Place, client};

/// What the command said on stdout; it must have done what it was asked to.
async fn said(words: &str) -> String {
    let (code, stdout, stderr) = Program::start(&split(words)).said().await;
    assert_eq!(code, Some(0), "{words}: {stderr}");
    stdout
}

/// What the command said on stderr; it must not have done what it was asked to.
async fn refused(words: &str) -> String {
    let (code, stdout, stderr) = Program::start(&split(words)).said().await;
    assert_eq!((code, stdout.as_str()), (Some(1), ""), "{words}: {stderr}");
    stderr
}

fn split(words: &str) -> Vec<&str> {
    ["agents"].into_iter().chain(words.split(' ')).collect()
}

/// A host with an admin address: the words that name it, and a client.
async fn serving(place: &Place) -> (Program, String, Client) {
    let mut program = place.serve(&["--admin", "127.0.0.1:0"]);
    let admin = format!("--admin {}", program.says("admin on ").await);
    let client = client(&mut program).await;
    (program, admin, client)
}

fn data(folder: &Path) -> String {
    format!("--data {}", folder.display())
}

async fn stop(program: Program) {
    program.interrupt().await;
    let (status, stderr) = program.end().await;
    assert_eq!(status.code(), Some(0), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_host_is_asked_and_its_agents_go_on() {
    let place = Place::with(&["keeper"]);
    let files = tempfile::tempdir().unwrap();
    let copy = files.path().join("copy.db").display().to_string();
    let (program, admin, client) = serving(&place).await;
    assert_eq!(said(&format!("ls {admin}")).await, "");
    client.text("keeper/alice", "set k1 a").await;

    let list = said(&format!("ls {admin}")).await;
    let lines: Vec<_> = list.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
    assert_eq!(lines[0], ["AGENT", "SIZE", "LAST", "USED", "STATE"]);
    assert_eq!((lines[1][0], *lines[1].last().unwrap(), lines.len()), ("keeper/alice", "live", 2), "{list}");
    let shown: Value =
        serde_json::from_str(&said(&format!("show keeper/alice --json {admin}")).await).unwrap();
    assert_eq!((shown["runs"].as_u64(), shown["live"].as_bool()), (Some(1), Some(true)));

    let done = said(&format!("export keeper/alice {copy} {admin}")).await;
    assert!(done.starts_with(&format!("exported keeper/alice to {copy} (")), "{done}");
    assert!(refused(&format!("export keeper/alice {copy} {admin}")).await.contains("exists already"));
    said(&format!("import {copy} keeper/bob {admin}")).await;
    said(&format!("fork keeper/alice keeper/carol {admin}")).await;
    for name in ["keeper/alice", "keeper/bob", "keeper/carol"] {
        assert_eq!(client.text(name, "get k1").await, "a", "{name}");
    }
    assert!(refused(&format!("import {copy} keeper/bob {admin}")).await.contains("keeps something already"));

    assert!(refused(&format!("rm keeper/alice {admin}")).await.contains("add --yes"));
    let done = said(&format!("rm keeper/alice --yes {admin}")).await;
    assert!(done.starts_with("removed keeper/alice: ") && done.ends_with(" and 2 runs\n"), "{done}");
    assert!(refused(&format!("rm keeper/alice --yes {admin}")).await.contains("there is nothing of agent"));
    assert_eq!(client.text("keeper/alice", "get k1").await, "none");
    stop(program).await;
    assert!(refused(&format!("ls {admin}")).await.contains("no host answers at"));
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_running_host_agents_can_be_looked_at_and_copied_and_not_changed() {
    let place = Place::with(&["keeper"]);
    let copy = place.data.path().join("copy.db").display().to_string();
    let (program, admin, client) = serving(&place).await;
    client.text("keeper/alice", "set k1 a").await;
    let data = data(place.data.path());

    assert!(said(&format!("ls {data}")).await.contains("\nkeeper/alice"));
    assert!(said(&format!("show keeper/alice {data}")).await.ends_with("\nruns       1 kept\n"));
    said(&format!("export keeper/alice {copy} {data}")).await;
    for change in [
        "rm keeper/alice --yes".to_owned(),
        format!("import {copy} keeper/bob"),
        "fork keeper/alice keeper/bob".to_owned(),
    ] {
        let stderr = refused(&format!("{change} {data}")).await;
        assert!(stderr.contains("another rookery uses the agents in"), "{stderr}");
        assert!(stderr.contains(&format!("hint: have it done there: add {admin}")), "{stderr}");
    }
    assert_eq!(client.text("keeper/alice", "get k1; set k2 b").await, "a\nOk(())");
    said(&format!("import {copy} keeper/bob {admin}")).await;
    assert_eq!(client.text("keeper/bob", "list k").await, "k1");
    stop(program).await;
    // What was written after the copies has not gone with them.
    let (program, _, client) = serving(&place).await;
    assert_eq!(client.text("keeper/alice", "list k").await, "k1 k2");
    stop(program).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_host_it_is_done_in_the_data_folder() {
    let (place, elsewhere) = (Place::with(&["keeper"]), Place::with(&["keeper"]));
    let copy = place.data.path().join("copy.db").display().to_string();
    let (program, _, client) = serving(&place).await;
    for name in ["keeper/alice", "keeper/bob"] {
        client.text(name, "set k1 a").await;
    }
    stop(program).await;

    let here = data(place.data.path());
    said(&format!("fork keeper/alice keeper/carol {here}")).await;
    said(&format!("export keeper/carol {copy} {here}")).await;
    let fresh = elsewhere.data.path().join("fresh");
    said(&format!("import {copy} keeper/dave {}", data(&fresh))).await;
    assert_eq!(said(&format!("ls --json {}", data(&fresh))).await.lines().count(), 1);
    let done = said(&format!("rm keeper/alice --yes {here}")).await;
    assert!(done.ends_with(" and 1 run\n"), "{done}");
    assert!(refused(&format!("show keeper/alice {here}")).await.contains("nothing of agent `keeper/alice`"));
    assert!(refused(&format!("rm keeper/alice --yes {here}")).await.contains("hint: "));
    assert!(refused(&format!("import {copy} keeper/bob {here}")).await.contains("keeps something already"));

    let (program, _, client) = serving(&place).await;
    assert_eq!(client.text("keeper/alice", "get k1").await, "none");
    assert_eq!(client.text("keeper/bob", "get k1").await, "a");
    assert_eq!(client.text("keeper/carol", "get k1").await, "a");
    assert_eq!(client.get("/runs?agent=keeper/alice").await.json()["runs"].as_array().unwrap().len(), 1);
    stop(program).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let none = folder.path().join("none");
    for words in ["ls", "show keeper/alice", "rm keeper/alice --yes", "fork keeper/alice keeper/bob"] {
        let stderr = refused(&format!("{words} {}", data(&none))).await;
        assert!(stderr.contains("there is no data folder") && stderr.contains("hint: "), "{stderr}");
    }
    let words = format!("import {}/none.db keeper/alice {}", folder.path().display(), data(folder.path()));
    assert!(refused(&words).await.contains("none.db"));
    assert!(!none.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_host_at_a_time_has_a_folder_of_agents() {
    let place = Place::with(&["keeper"]);
    let (program, ..) = serving(&place).await;
    for more in [&["--keep", "off"][..], &[]] {
        let (status, stderr) = place.serve(more).end().await;
        assert_eq!(status.code(), Some(1));
        assert!(stderr.contains("another rookery uses"), "{stderr}");
        assert!(
            stderr.contains("hint: stop it, or give this one a folder of its own with --data"),
            "{stderr}"
        );
    }
    program.kill().await;
    let (program, ..) = serving(&place).await;
    stop(program).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_address_that_others_reach_wants_a_token() {
    let place = Place::with(&["keeper"]);
    let (status, stderr) = place.serve(&["--admin", "0.0.0.0:0"]).end().await;
    assert_eq!(status.code(), Some(1));
    assert!(stderr.contains("needs a token") && stderr.contains("ROOKERY_ADMIN_TOKEN"), "{stderr}");
    let short = place.serve(&["--admin", "0.0.0.0:0", "--admin-token", "short"]).end().await;
    assert_eq!(short.0.code(), Some(2), "{}", short.1);

    let token = "--admin-token 0123456789abcdef";
    let mut program = place.serve(&["--admin", "0.0.0.0:0", "--admin-token", "0123456789abcdef"]);
    let port = program.says("admin on http://0.0.0.0:").await;
    client(&mut program).await.text("keeper/alice", "set k1 a").await;
    let admin = format!("--admin 127.0.0.1:{port}");
    assert!(refused(&format!("ls {admin}")).await.contains("put the host's token into ROOKERY_ADMIN_TOKEN"));
    assert!(said(&format!("ls {admin} {token}")).await.contains("keeper/alice"));
    stop(program).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_address_for_clients_is_no_admin_address_and_that_is_said() {
    let place = Place::with(&["keeper"]);
    let mut program = place.serve(&[]);
    let host = program.says("listening on ").await;
    let stderr = refused(&format!("ls --admin {host}")).await;
    assert!(stderr.contains("name the address that the host says `admin on` of"), "{stderr}");
    stop(program).await;
}
