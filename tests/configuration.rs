//! The configuration seen from the command line and from its documentation.

#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_yaml::{Mapping, Value};
use standin::config::{Host, parse};

/// Every broken configuration with the errors it gets, as the pages in tests/cli/config show them.
#[test]
fn broken_configurations() {
    trycmd::TestCases::new().env("STANDIN_HOST", "node1").case("tests/cli/config/*.md");
}

/// Each page's examples, so that a directory of inputs nobody runs cannot stay behind unnoticed.
#[test]
fn every_broken_configuration_is_shown() {
    let mut shown = 0;
    for page in files("tests/cli/config", "md") {
        let text = std::fs::read_to_string(&page).unwrap();
        for input in files(page.with_extension("in").to_str().unwrap(), "yaml") {
            let name = input.file_name().unwrap().to_str().unwrap();
            assert!(text.contains(name), "{} does not show {name}", page.display());
            shown += 1;
        }
    }
    assert!(shown >= 25, "{shown}");
}

#[test]
fn examples_are_valid_on_both_nodes() {
    let examples = files("docs/examples", "yaml");
    assert!(examples.len() >= 4);
    for example in examples {
        let text = std::fs::read_to_string(&example).unwrap();
        for node in node_names(&text) {
            let config = parse(&text, &example, &Host::fixed(&node))
                .unwrap_or_else(|errors| panic!("{}:\n{errors}", example.display()));
            assert_eq!(config.this_node.name, node);
            assert_ne!(config.peer.name, node);
        }
    }
}

/// The first block of the page is a whole configuration; each other one is a part that can replace its own.
#[test]
fn what_the_documentation_shows_is_valid() {
    let page = std::fs::read_to_string("docs/configuration.md").unwrap();
    let blocks: Vec<&str> =
        page.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(blocks.len() > 5);
    let whole: Mapping = serde_yaml::from_str(blocks[0]).unwrap();
    for block in blocks {
        let part: Mapping =
            serde_yaml::from_str(block).unwrap_or_else(|error| panic!("{error} in:\n{block}"));
        let mut changed = whole.clone();
        changed.extend(part);
        let text = serde_yaml::to_string(&changed).unwrap();
        parse(&text, Path::new("r0.yaml"), &Host::fixed("node1"))
            .unwrap_or_else(|errors| panic!("{errors}\nin:\n{block}"));
    }
}

/// An unknown key is answered with the keys there are: the page must explain each of them.
#[test]
fn the_documentation_explains_every_key() {
    let page = std::fs::read_to_string("docs/configuration.md").unwrap();
    let mut whole: Mapping =
        serde_yaml::from_str(page.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap()).unwrap();
    let strange = || Value::String("zzzzzzzzzzzzzzzzzzzz".into());
    let mut explained = 0;
    whole.insert(strange(), Value::Null);
    for (_, section) in &mut whole {
        if let Value::Mapping(section) = section {
            section.insert(strange(), Value::Null);
        }
    }
    let nodes = whole.get_mut("nodes").and_then(Value::as_mapping_mut).unwrap();
    nodes.remove(strange());
    nodes.get_mut("node1").and_then(Value::as_mapping_mut).unwrap().insert(strange(), Value::Null);
    let text = serde_yaml::to_string(&whole).unwrap();
    let errors = parse(&text, Path::new("r0.yaml"), &Host::fixed("node1")).unwrap_err();
    for error in errors.iter() {
        let (_, keys) =
            error.help().split_once(" here are ").or(error.help().split_once(" here is ")).unwrap();
        for key in keys.split(", ") {
            assert!(page.contains(&format!("`{key}`")), "docs/configuration.md does not explain `{key}`");
            explained += 1;
        }
    }
    assert!(explained > 40, "{explained}");
}

#[test]
fn credentials_that_others_can_read_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let credentials = directory.path().join("r0.cnf");
    std::fs::write(&credentials, "[client]\nuser=standin\npassword=hunter2\n").unwrap();
    let example = std::fs::read_to_string("docs/examples/heartbeat.yaml").unwrap();
    let key = format!("mysqld:\n  credentials: {}", credentials.display());
    let file = directory.path().join("r0.yaml");
    std::fs::write(&file, example.replace("mysqld:", &key).replace("eth0", "clients0")).unwrap();

    let refused = |mode| {
        std::fs::set_permissions(&credentials, std::fs::Permissions::from_mode(mode)).unwrap();
        let errors = String::from_utf8(plan(&file).stderr).unwrap();
        assert!(!errors.contains("hunter2"));
        errors.contains(&format!("has mode {mode:04o}")) && errors.contains("chmod 0600")
    };
    assert!(refused(0o644));
    assert!(refused(0o640));
    assert!(!refused(0o600));
    std::fs::set_permissions(&credentials, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(plan(&file).status.code(), Some(2));
}

#[test]
fn a_release_does_without_its_credentials() {
    let directory = tempfile::tempdir().unwrap();
    let example = std::fs::read_to_string("docs/examples/heartbeat.yaml").unwrap();
    let file = directory.path().join("r0.yaml");
    let key = "mysqld:\n  credentials: /nonexistent/r0.cnf";
    std::fs::write(&file, example.replace("mysqld:", key)).unwrap();
    let code = |arguments: &[&str]| {
        let mut standin = Command::new(env!("CARGO_BIN_EXE_standin"));
        standin.arg("--config").arg(&file).args(arguments).env("STANDIN_HOST", "node1");
        standin.output().unwrap().status.code()
    };
    assert_eq!(code(&["takeover", "--plan"]), Some(2));
    assert_ne!(code(&["release", "--plan"]), Some(2));
}

#[test]
fn something_that_is_not_a_file_is_not_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe.yaml");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let output = plan(&pipe);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("not a regular file"));
}

#[test]
fn a_file_that_is_too_large_is_not_read() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("large.yaml");
    std::fs::write(&file, "# padding\n".repeat(7_000)).unwrap();
    let output = plan(&file);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("larger than 64 KiB"));
}

fn plan(file: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_standin"))
        .args(["plan".as_ref(), "--config".as_ref(), file])
        .env("STANDIN_HOST", "node1")
        .output()
        .unwrap()
}

fn node_names(text: &str) -> Vec<String> {
    let value: Value = serde_yaml::from_str(text).unwrap();
    let nodes = value.get("nodes").and_then(Value::as_mapping).unwrap();
    nodes.keys().map(|name| name.as_str().unwrap().to_owned()).collect()
}

fn files(directory: &str, extension: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { panic!("no {directory}") };
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    files.sort();
    files
}
