//! Builds small guest projects for real, getting the wasm target into the workspace's cache if it is missing.
#![expect(clippy::unwrap_used, reason = "the helpers here are parts of tests, which clippy cannot see")]

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use rookery_builder::{Builder, Environment, Error, Project, Settings, Step, default_cache};

/// How a component begins; a plain module has another fifth byte.
const COMPONENT: [u8; 8] = [0, b'a', b's', b'm', 0x0d, 0, 1, 0];

const LIBRARY: &str =
    "#[unsafe(no_mangle)]\npub extern \"C\" fn run() { println!(\"{:?}\", std::env::args()); }\n";

/// A folder with guest projects, and a builder that works in it.
struct Bench {
    folder: tempfile::TempDir,
    builder: Builder,
    steps: Arc<Mutex<Vec<Step>>>,
}

impl Bench {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let file = folder.path().join("guests").join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        let environment: Environment = std::env::vars_os().collect();
        let workspaces = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../target");
        let settings = Settings {
            out: folder.path().join("out"),
            target_dir: folder.path().join("target"),
            cache: default_cache(&environment, &workspaces),
            // What would break the build if it reached it.
            environment: environment.with("RUSTFLAGS", "--no-such-flag"),
        };
        let steps = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&steps);
        let builder = Builder::new(settings, move |step| told.lock().unwrap().push(step));
        Self { folder, builder, steps }
    }

    fn project(&self) -> Project {
        Project::all_in(&self.folder.path().join("guests")).unwrap().remove(0)
    }
}

fn manifest(name: &str) -> String {
    format!(
        "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[lib]\ncrate-type = [\"cdylib\"]\n"
    )
}

#[test]
fn a_workspace_becomes_components_called_after_its_packages() {
    let bench = Bench::new(&[
        ("Cargo.toml", "[workspace]\nmembers = [\"chat\", \"plain\"]\nresolver = \"3\"\n"),
        ("chat/Cargo.toml", &manifest("my-chat")),
        ("chat/my-chat.toml", "[limits]\nmemory = \"64MiB\"\n"),
        ("chat/src/lib.rs", LIBRARY),
        ("plain/Cargo.toml", "[package]\nname = \"plain\"\nedition = \"2024\"\n"),
        ("plain/src/lib.rs", ""),
    ]);
    let components = bench.builder.build(&bench.project()).unwrap();

    assert_eq!(components.len(), 1, "a plain library makes no component");
    let component = &components[0];
    assert_eq!(component.plugin, "my-chat");
    assert_eq!(component.file, bench.folder.path().join("out/my-chat.wasm"));
    assert!(fs::read(&component.file).unwrap().starts_with(&COMPONENT));
    assert_eq!(
        fs::read_to_string(component.sidecar.as_ref().unwrap()).unwrap(),
        "[limits]\nmemory = \"64MiB\"\n"
    );

    let steps = bench.steps.lock().unwrap().clone();
    assert!(steps.contains(&Step::Building { project: "guests".into() }), "{steps:?}");
    assert!(steps.contains(&Step::Compiling { krate: "my-chat v0.1.0".into() }), "{steps:?}");
    assert_eq!(steps.last(), Some(&Step::Built { component: component.clone() }));

    let again = bench.builder.build(&bench.project()).unwrap();
    assert!(!again[0].changed, "nothing has changed");
}

#[test]
fn of_two_projects_that_make_the_same_plugin_the_second_is_an_error_and_replaces_nothing() {
    let alone = manifest("chat") + "[workspace]\n";
    let bench = Bench::new(&[
        ("one/Cargo.toml", &alone),
        ("one/src/lib.rs", LIBRARY),
        ("one/chat.toml", "# of the first"),
        ("two/Cargo.toml", &alone),
        ("two/src/lib.rs", LIBRARY),
        ("two/chat.toml", "# of the second"),
    ]);
    let projects = Project::all_in(&bench.folder.path().join("guests")).unwrap();
    let [one, two] = &projects[..] else { panic!("{projects:?}") };
    bench.builder.build(one).unwrap();
    let error = bench.builder.build(two).unwrap_err();
    let (first, second) = (one.folder().display(), two.folder().display());
    assert_eq!(
        error.to_string(),
        format!("plugin `chat` is made by two packages, in `{first}` and in `{second}`")
    );
    assert!(error.hint().unwrap().contains("another `name`"));
    let sidecar = fs::read_to_string(bench.folder.path().join("out/chat.toml")).unwrap();
    assert_eq!(sidecar, "# of the first");
    bench.builder.build(one).unwrap();
}

#[test]
fn a_member_of_a_workspace_is_built_alone() {
    let bench = Bench::new(&[
        ("Cargo.toml", "[workspace]\nmembers = [\"chat\", \"broken\"]\nresolver = \"3\"\n"),
        ("chat/Cargo.toml", &manifest("chat")),
        ("chat/src/lib.rs", LIBRARY),
        ("broken/Cargo.toml", &manifest("broken")),
        ("broken/src/lib.rs", "fn"),
    ]);
    let member = Project::all_in(&bench.folder.path().join("guests/chat")).unwrap().remove(0);
    let components = bench.builder.build(&member).unwrap();
    assert_eq!(components.iter().map(|c| c.plugin.as_str()).collect::<Vec<_>>(), ["chat"]);
}

#[test]
fn what_the_compiler_said_comes_with_the_error_and_line_by_line() {
    let bench = Bench::new(&[
        ("Cargo.toml", &(manifest("broken") + "[workspace]\n")),
        ("src/lib.rs", "pub fn number() -> u32 { \"three\" }\n"),
    ]);
    let error = bench.builder.build(&bench.project()).unwrap_err();

    let Error::Build { project, diagnostics } = error else { panic!("{error}") };
    assert_eq!(project, "guests");
    assert!(diagnostics.contains("error[E0308]: mismatched types"), "{diagnostics}");
    assert!(diagnostics.contains("src/lib.rs:1:26"), "{diagnostics}");
    assert!(!diagnostics.contains("Compiling"), "progress is no diagnostic: {diagnostics}");
    let line = Step::Diagnostic { line: "error[E0308]: mismatched types".into() };
    assert!(bench.steps.lock().unwrap().contains(&line));
}

#[test]
fn a_project_without_a_component_says_what_it_lacks() {
    let bench = Bench::new(&[
        ("Cargo.toml", "[package]\nname = \"plain\"\nedition = \"2024\"\n[workspace]\n"),
        ("src/lib.rs", ""),
    ]);
    let error = bench.builder.build(&bench.project()).unwrap_err();
    assert_eq!(error.to_string(), "guest project `guests` was built, but no package of it made a component");
    assert!(error.hint().unwrap().contains("cdylib"));
}
