//! What `help` prints, made of the table in [`super::table`] alone.
//!
//! ```text
//! help          one line a command, by group, in 80 columns
//! help TOPIC    signature, what it does, reply, aliases, options, examples, exit codes
//! ```

use super::diagnostic::Diagnostic;
use super::exit;
use super::parse;
use super::table::{self, Group, Spec};

/// Widest line, in columns.
const WIDTH: usize = 80;

/// The overview, or the page on one command: its name or an alias, a meta-command's dot left out or not.
///
/// ```
/// use kvdb::shell::help::help;
/// assert!(help(None).unwrap().contains("set KEY VALUE"));
/// assert!(help(Some("del")).unwrap().starts_with("delete [KEY...]"));
/// assert!(help(Some("gte")).unwrap_err().help.unwrap().contains("get"));
/// ```
///
/// # Errors
/// There is no such command; the span covers `topic`.
pub fn help(topic: Option<&str>) -> Result<String, Diagnostic> {
    match topic {
        None => Ok(overview()),
        Some(name) => parse::topic(name.as_bytes(), 0..name.len()).map(page),
    }
}

fn overview() -> String {
    let sections: Vec<String> = Group::ALL.into_iter().map(section).collect();
    let notes = "\
A value with blanks or quotes is quoted: \"two words\" 'raw' x\"00ff\" b64\"AP8=\"
help COMMAND explains one command and its options; Ctrl-D leaves the shell.
";
    format!("{}\n{notes}", sections.concat())
}

fn section(group: Group) -> String {
    let lines = table::specs().filter(|spec| spec.group == group).map(|spec| {
        let options =
            if spec.options.iter().any(|option| !option.replaces_last_arg) { " [OPTIONS]" } else { "" };
        format!("  {:<27} {}\n", spec.short_signature() + options, spec.summary)
    });
    format!("{}:\n{}", group.title(), lines.collect::<String>())
}

fn page(spec: &Spec) -> String {
    let details: String = spec.details.lines().map(|line| wrapped(line, WIDTH)).collect();
    let aliases = match spec.aliases {
        [] => String::new(),
        aliases => format!("Also: {}\n", aliases.join(", ")),
    };
    [
        format!("{}\n{details}\nReply: {}\n{aliases}", signature(spec), spec.reply),
        options(spec),
        examples(spec),
        exits(spec),
    ]
    .concat()
}

/// The signature, its options on lines of their own where it is wide.
fn signature(spec: &Spec) -> String {
    let whole = spec.signature();
    if whole.len() <= WIDTH {
        return whole + "\n";
    }
    let (short, options) = whole.split_at(spec.short_signature().len());
    let mut text = short.to_owned();
    let mut column = WIDTH;
    for option in options.split_inclusive(']').map(str::trim_start) {
        if column + 1 + option.len() > WIDTH {
            text += "\n   ";
            column = 3;
        }
        text.extend([" ", option]);
        column += 1 + option.len();
    }
    text + "\n"
}

fn options(spec: &Spec) -> String {
    let line = |option: &table::Opt| format!("  {:<18} {}\n", option.signature(), option.summary);
    titled("Options", spec.options.iter().map(line))
}

fn examples(spec: &Spec) -> String {
    let line = |example: &table::Example| {
        std::iter::once(format!("  kvdb> {}\n", example.line))
            .chain(example.output.lines().map(|output| format!("  {output}\n")))
    };
    titled("Examples", spec.examples.iter().flat_map(line))
}

/// What the codes mean here; the general ones in short.
fn exits(spec: &Spec) -> String {
    let is_general = |code: u8| (1..128).contains(&code) && spec.exits.iter().all(|(own, _)| *own != code);
    let own = spec.exits.iter().map(|(code, meaning)| format!("  {code}  {meaning}\n"));
    let general = exit::MEANINGS.iter().filter(|(code, _)| *code == 0 || is_general(*code) && *code > 1);
    let short: Vec<_> = general.map(|(code, meaning)| format!("{code} {}", before_colon(meaning))).collect();
    let short = wrapped(&short.join("; "), WIDTH - 2);
    titled("Exit codes", own.chain(short.lines().map(|line| format!("  {line}\n")).collect::<Vec<_>>()))
}

/// The beginning of a meaning that says enough.
fn before_colon(meaning: &str) -> &str {
    meaning.split([';', ':', ',']).next().unwrap_or(meaning)
}

/// Lines below a title; nothing when there are none.
fn titled(title: &str, lines: impl Iterator<Item = String>) -> String {
    let body: String = lines.collect();
    if body.is_empty() { body } else { format!("\n{title}:\n{body}") }
}

/// A paragraph in lines of at most `width` columns, for text of one column a character.
pub(super) fn wrapped(paragraph: &str, width: usize) -> String {
    let mut text = String::new();
    let mut column = 0;
    for word in paragraph.split(' ') {
        let len = word.chars().count();
        if column > 0 && column + 1 + len > width {
            text.push('\n');
            column = 0;
        } else if column > 0 {
            text.push(' ');
            column += 1;
        }
        text += word;
        column += len;
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn too_wide(text: &str) -> Option<&str> {
        text.lines().find(|line| line.chars().count() > WIDTH)
    }

    #[test]
    fn the_overview_fits_the_width_and_names_every_command_once() {
        let text = help(None).unwrap();
        assert!(text.lines().count() <= 60, "{text}");
        assert_eq!(too_wide(&text), None);
        for spec in table::specs() {
            let entry = format!("\n  {} ", spec.name);
            assert_eq!(text.matches(&entry).count(), 1, "{}", spec.name);
        }
        assert!(text.contains("\n  get KEY... [OPTIONS]        print the value of each KEY\n"), "{text}");
        assert!(text.contains("\n  count [PREFIX] [OPTIONS]    count keys\n"), "{text}");
    }

    #[test]
    fn every_name_has_a_page_that_fits() {
        for name in table::one_shot_names() {
            let text = help(Some(name)).unwrap();
            assert_eq!(too_wide(&text), None, "{name}");
            assert!(text.ends_with('\n') && !text.contains("\n\n\n"), "{text}");
        }
    }

    #[test]
    fn a_page_holds_every_part() {
        assert_eq!(
            help(Some("GET")).unwrap(),
            "\
get KEY... [--default VALUE]

Prints the value of each KEY as a literal that reads back to the same bytes, or
null, without quotes, where there is none. With --default there is always one.

Reply: one literal or null for each KEY

Options:
  --default VALUE    what stands for a KEY that is not there

Examples:
  kvdb> set name \"Jaya Krishna\"
  OK
  kvdb> get name
  \"Jaya Krishna\"
  kvdb> get nobody
  null

Exit codes:
  1  one-shot: a key is missing; it is still printed as null or false
  0 done; 2 usage or syntax; 3 the database can't be opened; 4 corruption; 5
  input or output
"
        );
        let delete = help(Some("rm")).unwrap();
        assert!(delete.contains("\nAlso: del, rm\n"), "{delete}");
        let scan = help(Some("scan")).unwrap();
        assert!(
            scan.contains("\nOptions:\n  --from KEY         only keys from KEY on, KEY included\n"),
            "{scan}"
        );
    }

    #[test]
    fn an_unknown_topic_is_refused_with_a_suggestion() {
        let error = help(Some("scam")).unwrap_err();
        assert_eq!((error.message.as_str(), error.span), (r#"no help on "scam""#, 0..4));
        assert_eq!(error.help.as_deref(), Some(r#"did you mean "scan"?"#));
    }
}
