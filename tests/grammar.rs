//! Holds grammar.md against the program: its commands are those of the table, word for word, and its examples behave as it says.
//!
//! ~~~text
//! #### `signature`        a command; below it its reply, aliases and options as the table has them
//! ```kvdb                 lines that parse
//! ```kvdb-error           lines that fail, then exactly the text of the error
//! ```kvdb-print           a value, and behind blanks how it is printed
//! ~~~

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use kvdb::shell::lexer::{LineEnd, tokens};
use kvdb::shell::literal::literal;
use kvdb::shell::look::Look;
use kvdb::shell::{parse, table};

const GRAMMAR: &str = include_str!("../grammar.md");

/// The contents of the blocks that are marked as `language`.
fn blocks(language: &str) -> Vec<&'static str> {
    let opening = format!("\n```{language}\n");
    let blocks: Vec<_> = GRAMMAR
        .split(&opening)
        .skip(1)
        .map(|rest| rest.split_once("```").expect("the block ends").0)
        .collect();
    assert!(!blocks.is_empty(), "no {language} blocks");
    blocks
}

/// The logical lines of a script.
fn lines(mut script: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    while let Some(end) = LineEnd::new().feed(script.as_bytes()) {
        lines.push(&script[..end]);
        script = &script[end..];
    }
    assert_eq!(script, "", "a line is left open");
    lines
}

/// The heading and the text of each command.
fn sections() -> Vec<(&'static str, &'static str)> {
    let commands = GRAMMAR.split_once("\n## Commands\n").expect("there are commands").1;
    let commands = commands.split("\n## ").next().unwrap_or_default();
    let sections = commands.split("\n#### `").skip(1);
    sections.map(|section| section.split_once("`\n").expect("the heading is code")).collect()
}

/// The list items of a section.
fn items(section: &str) -> Vec<&str> {
    section.lines().filter_map(|line| line.strip_prefix("- ")).collect()
}

#[test]
fn the_commands_are_those_of_the_table() {
    let documented: Vec<&str> = sections().into_iter().map(|(signature, _)| signature).collect();
    let mut grouped = Vec::new();
    for group in table::Group::ALL {
        grouped.extend(table::specs().filter(|spec| spec.group == group).map(table::Spec::signature));
    }
    assert_eq!(documented, grouped);
    assert_eq!(grouped.len(), table::specs().count());
}

#[test]
fn replies_aliases_and_options_are_those_of_the_table() {
    for (signature, text) in sections() {
        let spec = table::specs().find(|spec| spec.signature() == signature).expect("in the table");
        let details = spec.details.replace('\n', "\n\n");
        assert!(text.contains(&format!("\n{details}\n")), "{signature}: {details}");
        let mut expected = vec![format!("Reply: {}", spec.reply)];
        if !spec.aliases.is_empty() {
            let aliases: Vec<_> = spec.aliases.iter().map(|alias| format!("`{alias}`")).collect();
            expected.push(format!("Also: {}", aliases.join(", ")));
        }
        expected.extend(
            spec.options.iter().map(|option| format!("`{}`: {}", option.signature(), option.summary)),
        );
        let (errors, found): (Vec<_>, Vec<_>) =
            items(text).into_iter().partition(|item| item.starts_with("Errors: "));
        assert_eq!(found, expected, "{signature}");
        assert_eq!(errors.len(), 1, "{signature}");
    }
}

#[test]
fn every_example_of_the_table_is_shown_with_its_output() {
    for (signature, text) in sections() {
        let spec = table::specs().find(|spec| spec.signature() == signature).expect("in the table");
        let mut block = "\n```kvdb\n".to_owned();
        for example in spec.examples {
            block.extend([example.line, "\n"]);
            block.extend(example.output.lines().map(|output| format!("# {output}\n")));
        }
        assert!(text.contains(&(block.clone() + "```\n")), "{signature}: {block}");
    }
}

#[test]
fn every_output_mode_and_no_other_is_explained() {
    let modes = GRAMMAR.split_once("\n## Output modes\n").expect("there are modes").1;
    let modes = modes.split("\n## ").next().unwrap_or_default();
    let rows = modes.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    assert_eq!(rows.map(|(mode, _)| mode).collect::<Vec<_>>(), table::OUTPUT_MODES);
}

#[test]
fn every_example_parses() {
    let mut commands = 0;
    for line in blocks("kvdb").into_iter().flat_map(lines) {
        match parse::line(line.as_bytes()) {
            Ok(command) => commands += usize::from(command.is_some()),
            Err(error) => panic!("{}", error.render(line.as_bytes(), None, Look::PLAIN)),
        }
    }
    assert!(commands > table::specs().count());
}

#[test]
fn every_wrong_example_fails_as_shown() {
    for block in blocks("kvdb-error") {
        let at = block.find("\nerror: ").expect("an error is shown");
        let (source, shown) = (&block[..at], &block[at + 1..]);
        let error = parse::line(source.as_bytes()).expect_err(source);
        assert_eq!(error.render(source.as_bytes(), None, Look::PLAIN), shown);
    }
}

#[test]
fn every_literal_is_printed_as_shown_and_reads_back() {
    for row in blocks("kvdb-print").into_iter().flat_map(str::lines) {
        let read: Vec<_> = tokens(row.as_bytes()).collect::<Result<_, _>>().expect(row);
        let [value, printed] = &read[..] else { panic!("{row}") };
        assert_eq!(literal(&value.bytes), row[printed.span.clone()]);
        assert_eq!(value.bytes, printed.bytes, "{row}");
    }
}
