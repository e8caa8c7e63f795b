//! What kvdb is built from is what `deny.toml` allows: licences, versions, bans and sources, tests included.

#![allow(clippy::unwrap_used, reason = "a test fails where its surroundings do")]

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;
use toml::Table;

fn deny() -> Table {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deny.toml");
    std::fs::read_to_string(path).unwrap().parse().unwrap()
}

/// The strings of a list in `deny.toml`.
fn list<'a>(deny: &'a Table, section: &str, key: &str) -> Vec<&'a str> {
    let list = deny[section][key].as_array().unwrap();
    list.iter().map(|entry| entry.as_str().unwrap_or_else(|| entry["crate"].as_str().unwrap())).collect()
}

/// Every crate that a build on this platform takes in, that of the tests included.
fn packages() -> Vec<Value> {
    metadata()["packages"].as_array().unwrap().clone()
}

/// The identities of the crates that the binary is built from.
fn built_in() -> BTreeSet<String> {
    let metadata = metadata();
    let (nodes, root) = (metadata["resolve"]["nodes"].as_array().unwrap(), &metadata["resolve"]["root"]);
    let (mut found, mut next) = (BTreeSet::new(), vec![root.as_str().unwrap().to_owned()]);
    while let Some(id) = next.pop() {
        let node = nodes.iter().find(|node| node["id"] == id.as_str()).unwrap();
        let is_for_tests = |kinds: &Value| kinds.as_array().unwrap().iter().all(|kind| kind["kind"] == "dev");
        let used = node["deps"].as_array().unwrap().iter().filter(|used| !is_for_tests(&used["dep_kinds"]));
        if found.insert(id) {
            next.extend(used.map(|used| used["pkg"].as_str().unwrap().to_owned()));
        }
    }
    found
}

fn metadata() -> Value {
    let mut metadata = Command::new(env!("CARGO"));
    metadata.args(["metadata", "--locked", "--offline", "--format-version", "1", "--manifest-path"]);
    metadata.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
    metadata.args(["--filter-platform", "x86_64-unknown-linux-gnu"]);
    let output = metadata.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Whether a licence expression can be met with what is allowed. A slash is an old way to write `OR`, an exception only adds to
/// what its licence permits.
fn is_met(expression: &str, allowed: &BTreeSet<&str>) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words: Vec<&str> = spaced.split_whitespace().rev().collect();
    let met = any(&mut words, allowed);
    assert!(words.is_empty(), "{expression} is no licence expression");
    met
}

fn any(words: &mut Vec<&str>, allowed: &BTreeSet<&str>) -> bool {
    let mut met = all(words, allowed);
    while words.pop_if(|word| *word == "OR").is_some() {
        met |= all(words, allowed);
    }
    met
}

fn all(words: &mut Vec<&str>, allowed: &BTreeSet<&str>) -> bool {
    let mut met = one(words, allowed);
    while words.pop_if(|word| *word == "AND").is_some() {
        met &= one(words, allowed);
    }
    met
}

fn one(words: &mut Vec<&str>, allowed: &BTreeSet<&str>) -> bool {
    match words.pop().unwrap() {
        "(" => {
            let met = any(words, allowed);
            assert_eq!(words.pop(), Some(")"));
            met
        }
        licence => {
            if words.pop_if(|word| *word == "WITH").is_some() {
                words.pop().unwrap();
            }
            allowed.contains(licence)
        }
    }
}

#[test]
fn licence_expressions_are_understood() {
    let allowed = BTreeSet::from(["MIT", "Unicode-3.0"]);
    for met in ["MIT", "GPL-3.0 OR MIT", "Apache-2.0/MIT", "(MIT OR X) AND Unicode-3.0", "MIT WITH Exception"]
    {
        assert!(is_met(met, &allowed), "{met}");
    }
    for unmet in ["GPL-3.0", "MIT AND GPL-3.0", "(MIT OR X) AND Y", "X WITH MIT"] {
        assert!(!is_met(unmet, &allowed), "{unmet}");
    }
}

#[test]
fn every_crate_has_a_licence_that_is_allowed_and_no_licence_is_allowed_in_vain() {
    let (deny, packages) = (deny(), packages());
    let allowed: BTreeSet<&str> = list(&deny, "licenses", "allow").into_iter().collect();
    let licence = |package: &Value| package["license"].as_str().unwrap_or("none").to_owned();
    for package in &packages {
        assert!(is_met(&licence(package), &allowed), "{}: {}", package["name"], licence(package));
    }
    for name in &allowed {
        assert!(packages.iter().any(|package| licence(package).contains(name)), "nothing is under {name}");
    }
    assert!(packages.len() > 30, "the test has lost sight of the crates");
}

#[test]
fn every_crate_comes_from_the_registry_once_and_none_is_banned() {
    let (deny, packages, built_in) = (deny(), packages(), built_in());
    let sources: Vec<String> =
        list(&deny, "sources", "allow-registry").into_iter().map(|url| format!("registry+{url}")).collect();
    let banned = list(&deny, "bans", "deny");
    let mut names = BTreeSet::new();
    for package in &packages {
        let name = package["name"].as_str().unwrap();
        let source = package["source"].as_str();
        assert!(
            source.map_or(name == "kvdb", |source| sources.contains(&source.to_owned())),
            "{name}: {source:?}"
        );
        assert!(!banned.contains(&name), "{name} is banned");
        // Of what only tests need there may be two.
        if built_in.contains(package["id"].as_str().unwrap()) {
            assert!(names.insert(name), "there are two versions of {name}");
        }
    }
    assert!(names.len() > 15, "the test has lost sight of the crates");
}
